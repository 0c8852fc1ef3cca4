//! The command line. Management commands are a client of the admin API like any other; what runs the gateway itself
//! is left to the caller of [`parse`].

mod app;
mod audit;
mod backup;
pub mod client;
mod dashboard;
mod deployment;
mod document;
mod failure;
mod identity;
mod key;
mod leak;
mod listing;
mod member;
mod mint;
mod moment;
mod reach;
mod reload;
mod scan;
mod screen;
mod secret;
mod share;
#[cfg(test)]
mod stub;
mod text;
mod token;
mod trust;
mod unseen;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use failure::Failure;

use crate::config::Loaded;
use reach::Reach;
use screen::Screen;

/// What the command line asks for.
pub enum Invocation {
    /// Run the gateway with the configuration in this file.
    Serve(PathBuf),
    Demo,
    /// Judge the configuration in this file.
    Check(PathBuf),
    Manage(Box<Management>),
    Describe(Description),
}

/// A command about the command line itself.
pub struct Description(Document);

/// A command for the admin side of a running gateway.
pub struct Management {
    reach: Reach,
    command: Family,
}

/// Reads the command line.
///
/// # Errors
/// With the exit code, after help, the version or what is wrong was printed.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, ExitCode> {
    interpret(arguments).map_err(|error| {
        let code = ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        let text = error.render().to_string();
        match text::redacted(&text) {
            // Help that cannot be printed is read by nobody.
            std::borrow::Cow::Borrowed(_) => drop(error.print()),
            std::borrow::Cow::Owned(text) => drop(std::io::stderr().write_all(text.as_bytes())),
        }
        code
    })
}

/// Loads the configuration for a command that runs or judges it, and prints its warnings.
///
/// # Errors
/// When there is no valid configuration at `path`.
pub fn load(path: &Path) -> Result<Loaded, Failure> {
    let loaded = reach::load_to_serve(path)?;
    let screen = Screen::new();
    for warning in &loaded.warnings {
        screen.note(&format!("warning: {warning}"));
    }
    Ok(loaded)
}

/// Prints that the configuration at `path` would serve, and what is worth knowing about it.
///
/// # Errors
/// When the lines cannot be written.
pub fn approve(path: &Path, warnings: &[String], note: &str) -> Result<(), Failure> {
    let screen = Screen::new();
    for warning in warnings {
        screen.note(&format!("warning: {warning}"));
    }
    Ok(screen.say(&format!("{}: ok\n{note}", path.display()))?)
}

/// Prints why a command failed, if it did, and gives the exit code.
#[must_use]
pub fn conclude(result: Result<(), Failure>) -> ExitCode {
    let Err(failure) = result else { return ExitCode::SUCCESS };
    if let Some(message) = failure.message() {
        Screen::new().note(&text::redacted(&message));
    }
    ExitCode::from(failure.code())
}

impl Management {
    /// Carries the command out.
    ///
    /// # Errors
    /// When it was not carried out, or its result could not be shown.
    pub fn run(&self) -> Result<(), Failure> {
        let screen = Screen::new();
        match &self.command {
            Family::Token(command) => command.run(&self.reach, &screen),
            Family::Share(command) => command.run(&self.reach, &screen),
            Family::App(command) => command.run(&self.reach, &screen),
            Family::Member(command) => command.run(&self.reach, &screen),
            Family::Key(command) => command.run(&self.reach, &screen),
            Family::Secret(command) => command.run(&self.reach, &screen),
            Family::Audit(command) => command.run(&self.reach, &screen),
            Family::Backup(command) => command.run(&self.reach, &screen),
            Family::Reload(command) => command.run(&self.reach, &screen),
            Family::Leak(command) => command.run(&self.reach, &screen),
            Family::Scan(command) => command.run(&self.reach, &screen),
            Family::Whoami(command) => command.run(&self.reach, &screen),
            Family::Dashboard(command) => command.run(&self.reach, &screen),
        }
    }
}

impl Description {
    /// Carries the command out.
    ///
    /// # Errors
    /// When what it generates cannot be written.
    pub fn run(&self) -> Result<(), Failure> {
        match &self.0 {
            Document::Completions(command) => command.run(Cli::command()),
            Document::Man(command) => command.run(Cli::command()),
        }
    }
}

/// Lets in what cannot sign in, with tokens that can be taken back
#[derive(Parser)]
#[command(name = "portcullis", version, max_term_width = 110, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    reach: Reach,
    /// The same as `check`
    #[arg(short = 't')]
    test: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway and the admin side
    Serve,
    /// Run a gateway to try: free ports, a built-in echo app, a temporary store and two minted tokens
    Demo,
    /// Load and validate everything that `serve` would, and start nothing
    #[command(visible_alias = "validate")]
    Check,
    #[command(flatten)]
    Manage(Family),
    #[command(flatten)]
    Describe(Document),
}

#[derive(Subcommand)]
enum Family {
    /// External access tokens
    #[command(subcommand)]
    Token(token::Command),
    /// Print a link that signs a browser in, without showing a token
    Share(share::Share),
    /// The apps behind the gateway
    #[command(subcommand)]
    App(app::Command),
    /// Who uses the admin side
    #[command(subcommand)]
    Member(member::Command),
    /// Management keys, for the admin API
    #[command(subcommand)]
    Key(key::Command),
    /// Values that the gateway puts into upstream requests
    #[command(subcommand)]
    Secret(secret::Command),
    /// The log of every change
    #[command(subcommand)]
    Audit(audit::Command),
    /// Copy the whole store to a file while the gateway runs
    Backup(backup::Backup),
    /// Have a running gateway read its configuration again
    Reload(reload::Reload),
    /// Tokens and keys that leaked, and warnings that one may have
    #[command(subcommand)]
    Leak(leak::Command),
    /// Find leaked tokens and management keys in files, folders, standard input and git histories
    Scan(scan::Scan),
    /// Show as whom the admin side takes this command line
    Whoami(identity::Whoami),
    /// Print a link that signs a browser in to the dashboard, once; or sign everybody out of it
    Dashboard(dashboard::Dashboard),
}

#[derive(Subcommand)]
enum Document {
    /// Print a script that completes commands in a shell
    Completions(document::Completions),
    /// Print the manual page
    Man(document::Man),
}

fn interpret(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, clap::Error> {
    let mut definition = Cli::command();
    let matches = definition.try_get_matches_from_mut(arguments)?;
    let cli = Cli::from_arg_matches(&matches)?;
    let mut usage = |message: &str| definition.error(ErrorKind::ArgumentConflict, message);
    let reaches_out = ["admin", "key", "ca"].iter().any(|argument| given(&matches, argument));
    let command = match (cli.command, cli.test) {
        (Some(_), true) => return Err(usage("-t stands alone: it is short for `check`")),
        (None, false) => {
            let message = "a command is missing: `portcullis --help` lists them";
            return Err(definition.error(ErrorKind::MissingSubcommand, message));
        }
        (None, true) => Command::Check,
        (Some(command), false) => command,
    };
    match command {
        Command::Manage(command) => {
            if (given(&matches, "key") || given(&matches, "ca")) && cli.reach.admin.is_none() {
                return Err(usage("--key and --ca go with --admin: the socket needs neither"));
            }
            Ok(Invocation::Manage(Box::new(Management { reach: cli.reach, command })))
        }
        _ if reaches_out => Err(usage(
            "--admin, --key and --ca are for the commands that manage a running gateway: token, share, app, member, key, \
             secret, audit, backup, reload, leak, scan, whoami, dashboard",
        )),
        Command::Demo if given(&matches, "config") => {
            Err(usage("`demo` makes a configuration of its own; `serve` takes --config"))
        }
        Command::Describe(_) if given(&matches, "config") => {
            Err(usage("this command needs no configuration, and takes no --config"))
        }
        Command::Describe(command) => Ok(Invocation::Describe(Description(command))),
        Command::Serve => Ok(Invocation::Serve(cli.reach.config)),
        Command::Demo => Ok(Invocation::Demo),
        Command::Check => Ok(Invocation::Check(cli.reach.config)),
    }
}

/// Whether an argument was written on the command line, before or after the command; the environment is no wish.
fn given(matches: &ArgMatches, argument: &str) -> bool {
    let here = matches.try_contains_id(argument).unwrap_or(false)
        && matches.value_source(argument) == Some(ValueSource::CommandLine);
    here || matches.subcommand().is_some_and(|(_, matches)| given(matches, argument))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Invocation, clap::Error> {
        interpret(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn check_has_three_spellings() {
        for line in ["p check --config a.toml", "p --config a.toml validate", "p -t --config a.toml"] {
            assert!(
                matches!(read(line), Ok(Invocation::Check(path)) if path == Path::new("a.toml")),
                "{line}"
            );
        }
        assert!(read("p -t serve").is_err());
    }

    #[test]
    fn where_to_reach_may_stand_before_or_after() {
        for line in [
            "p --admin http://a --key k token list",
            "p token --admin http://a list --key k",
            "p token list --admin http://a --key k",
        ] {
            let Ok(Invocation::Manage(management)) = read(line) else { panic!("{line}") };
            assert_eq!(management.reach.admin.as_deref(), Some("http://a"), "{line}");
            assert_eq!(management.reach.key.as_deref(), Some("k"), "{line}");
        }
    }

    #[test]
    fn arguments_that_would_do_nothing_are_refused() {
        for line in [
            "p",
            "p --config a.toml",
            "p token",
            "p serve --admin http://a",
            "p check --key k",
            "p demo --config a.toml",
            "p token list --key k",
            "p reload --ca f",
            "p token list --status open",
            "p token list --limit 0",
            "p token create --app a --environment b --expires 7d --quiet --json",
            "p key create --member a --scopes read,write",
            "p key create --member a",
        ] {
            let Err(error) = read(line) else { panic!("{line}") };
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn scopes_are_read_from_one_list() {
        assert!(read("p key create --member a --scopes read,mint --expires 30d").is_ok());
        assert!(read("p token revoke tok_1 --yes --reason lost").is_ok());
    }
}
