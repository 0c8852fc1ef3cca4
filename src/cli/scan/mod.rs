//! `portcullis scan`: credentials where they do not belong, and what the admin side knows of each.

mod document;
mod place;
mod sarif;
mod standing;
mod words;

use std::io;
use std::path::PathBuf;

use clap::Args;

use self::standing::Finding;
use super::client::Client;
use super::failure::Failure;
use super::leak::NO_ADMIN;
use super::reach::Reach;
use super::screen::{Screen, require_consent};
use super::text;
use crate::leaks::scan::{Report, Scan as Search, ScanError};

/// What stands for standard input.
const INPUT: &str = "-";

#[derive(Args)]
#[command(
    after_help = "Exit status: 1 where a credential was found that lives, or may live because nobody could be \
    asked, or where something that was named could not be looked through; else 0."
)]
pub(super) struct Scan {
    /// Files and folders, or - for standard input; what ignore files name is left out, and links are not followed
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Also every version of every file in the histories of the git repositories that hold the paths
    #[arg(long)]
    git_history: bool,
    /// Also what ignore files name, and binaries over 16 MiB
    #[arg(long)]
    all: bool,
    /// End those that live
    #[arg(long)]
    revoke: bool,
    /// Do not ask before that
    #[arg(long, requires = "revoke")]
    yes: bool,
    /// Print one JSON document
    #[arg(long, conflicts_with = "sarif")]
    json: bool,
    /// Print SARIF 2.1.0, for code-scanning dashboards
    #[arg(long)]
    sarif: bool,
}

impl Scan {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        if self.revoke {
            require_consent(self.yes)?;
        }
        let admin = if self.revoke { Ok(reach.client(screen)?) } else { reach.client_if_any(screen)? };
        let (inputs, paths): (Vec<_>, Vec<_>) =
            self.paths.iter().cloned().partition(|path| path.as_os_str() == INPUT);
        let search = Search { paths, history: self.git_history, all: self.all };
        let input = (!inputs.is_empty()).then(|| io::stdin().lock());
        let mut report = search.run(input)?;
        for warning in &report.warnings {
            screen.note(&format!("warning: {}", fit(warning)));
        }
        if report.unsaid > 0 {
            screen.note(&format!("warning: {} more like these", report.unsaid));
        }
        let mut findings: Vec<_> = report.leaks.drain(..).map(Finding::new).collect();
        self.learn(&mut findings, admin.as_ref(), reach, screen);
        let alarming = report.unlisted > 0 || findings.iter().any(|finding| finding.standing.may_live());
        match self.print(&findings, &report, screen) {
            // Whoever reads the exit status still does.
            Err(Failure::ReaderGone) if alarming || !report.failures.is_empty() => {
                return Err(Failure::Alarm);
            }
            printed => printed?,
        }
        if !report.failures.is_empty() {
            let failures: Vec<_> = report.failures.iter().map(|failure| fit(failure)).collect();
            return Err(Failure::Failed(failures.join("\n       ")));
        }
        if alarming { Err(Failure::Alarm) } else { Ok(()) }
    }

    /// Asks the admin side about what was found, and has it end what lives where that is wished.
    fn learn(
        &self,
        findings: &mut [Finding],
        admin: Result<&Client, &String>,
        reach: &Reach,
        screen: &Screen,
    ) {
        if findings.is_empty() {
            return;
        }
        let client = match admin {
            Ok(client) => client,
            Err(why) => return screen.note(&format!("note: nobody was asked which of them live: {why}")),
        };
        if let Err(error) = standing::ask(client, findings) {
            let why = Failure::from(error).message().unwrap_or_default();
            screen.note(&format!("warning: not everything is known of what was found: {}", fit(&why)));
        }
        let living = findings.iter().filter(|finding| finding.standing.lives()).count();
        if !self.revoke || living == 0 {
            return;
        }
        if !self.yes {
            for finding in findings.iter().filter(|finding| finding.standing.lives()) {
                screen.note(&words::of(finding));
            }
            let question = format!("Revoke {living} that live? It cannot be undone.");
            if let Err(declined) = screen.confirm(&question) {
                return screen.note(&declined.message().unwrap_or_default());
            }
        }
        if standing::revoke(client, findings, reach) {
            screen.note(NO_ADMIN);
        }
    }

    fn print(&self, findings: &[Finding], report: &Report, screen: &Screen) -> Result<(), Failure> {
        if self.json {
            return Ok(screen.json(&document::of(findings, report)?)?);
        }
        if self.sarif {
            return Ok(screen.json(&sarif::of(findings)?)?);
        }
        let lines = words::lines(findings);
        if !lines.is_empty() {
            screen.say(&lines)?;
        }
        screen.note(&words::summary(findings, report));
        Ok(())
    }
}

impl From<ScanError> for Failure {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Path { .. } | ScanError::Repository { .. } => Self::Usage(fit(&error.to_string())),
            ScanError::Git(_) | ScanError::Pattern(_) => Self::Failed(error.to_string()),
        }
    }
}

/// Text with a path in it, made fit for a terminal and rid of credentials.
fn fit(message: &str) -> String {
    text::plain(&text::redacted(message))
}
