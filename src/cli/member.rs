//! `portcullis member …`: who uses the admin side.

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::client::ClientError;
use super::failure::Failure;
use super::key;
use super::listing::{Pages, Query, path};
use super::reach::Reach;
use super::screen::{Screen, cell, require_consent};
use super::{moment, text};
use crate::admin::wire::{AddMember, EditMember, Member, RemovedMember};
use crate::model::Scope;

/// What a key of a new member may do: see, mint and end tokens of their own.
const USUAL: [Scope; 2] = [Scope::Read, Scope::Mint];

#[derive(Subcommand)]
pub(super) enum Command {
    /// Add a member
    Add(Add),
    /// List the members, newest first
    List(List),
    /// Show one member
    Show(Show),
    /// Change a member's name or address
    Edit(Edit),
    /// Remove a member, with every token and key that they made
    Remove(Remove),
}

#[derive(Args)]
pub(super) struct Add {
    /// A person or automation, as in ann or ci@example.com
    name: String,
    /// Where to write to them
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// Mint a management key for them as well, which may read and mint, and print its value, this once
    #[arg(long)]
    with_key: bool,
    /// Print the key's value and nothing else
    #[arg(long, requires = "with_key", conflicts_with = "json")]
    quiet: bool,
    /// Print the admin API's own answer; with --with-key that which holds the key
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    pages: Pages,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Show {
    /// The member's name
    name: String,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Edit {
    /// The member's name
    name: String,
    /// Another name; their tokens and keys go with them
    #[arg(long = "name", value_name = "NAME", id = "new_name")]
    new: Option<String>,
    /// Where to write to them
    #[arg(long, value_name = "ADDRESS", conflicts_with = "no_email")]
    email: Option<String>,
    /// Forget where to write to them
    #[arg(long)]
    no_email: bool,
    /// Only if nobody has edited them since they had this revision (`member show --json` tells it)
    #[arg(long, value_name = "N")]
    revision: Option<u64>,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Remove {
    /// The member's name
    name: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

impl Command {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        match self {
            Self::Add(add) => add.run(reach, screen),
            Self::List(list) => list.run(reach, screen),
            Self::Show(show) => show.run(reach, screen),
            Self::Edit(edit) => edit.run(reach, screen),
            Self::Remove(remove) => remove.run(reach, screen),
        }
    }
}

impl Add {
    fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let client = reach.client(screen)?;
        let body = AddMember { name: self.name.clone(), email: self.email.clone() };
        let answer = client.post_once("/v1/members", &body).map_err(unflagged)?;
        let member: Member = answer.json()?;
        if self.with_key {
            if !self.json && !self.quiet {
                screen.say(&format!("Added {}.", text::plain(&member.name)))?;
            }
            let form = key::Form { quiet: self.quiet, json: self.json };
            let scopes = USUAL.map(|scope| scope.as_str().to_owned()).to_vec();
            return key::mint(&client, &member.name, scopes, &form, screen).map_err(|failure| {
                let name = text::plain(&member.name);
                let why = failure.message().unwrap_or_default();
                Failure::Failed(format!("{name} was added, but without a key\n{why}"))
            });
        }
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        Ok(screen.say(&format!("Added {}.", text::plain(&member.name)))?)
    }
}

impl List {
    fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let client = reach.client(screen)?;
        let listing = Query::new("/v1/members").pages(&self.pages).fetch(&client)?;
        let header = ["NAME", "EMAIL", "ADDED"];
        let none = "no members; `portcullis member add` adds one";
        listing.print(&client, screen, self.json, none, header, |member: &Member, now| {
            [
                cell(&member.name),
                cell(member.email.as_deref().unwrap_or("")),
                cell(&moment::away(Some(member.created_at), now)),
            ]
        })
    }
}

impl Show {
    fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let answer = reach.client(screen)?.get(&at(&self.name))?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        let member: Member = answer.json()?;
        Ok(screen.facts([
            ("name", cell(&member.name)),
            ("email", cell(member.email.as_deref().unwrap_or("none"))),
            ("added", cell(&moment::both(member.created_at, Timestamp::now()))),
        ])?)
    }
}

impl Edit {
    fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let edit = EditMember {
            name: self.new.clone(),
            email: if self.no_email { Some(None) } else { self.email.clone().map(Some) },
        };
        if edit == EditMember::default() {
            return Err(Failure::Usage(
                "nothing is to be changed: `portcullis member edit --help`".to_owned(),
            ));
        }
        let answer = reach.client(screen)?.patch(&at(&self.name), &edit, self.revision)?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        let member: Member = answer.json()?;
        Ok(screen.say(&format!("Edited {}.", text::plain(&member.name)))?)
    }
}

impl Remove {
    fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        require_consent(self.yes)?;
        let client = reach.client(screen)?;
        if !self.yes {
            let member: Member = client.get(&at(&self.name))?.json()?;
            screen.confirm(&format!(
                "Remove {}, and end every token and key that they made? It cannot be undone.",
                text::plain(&member.name)
            ))?;
        }
        let answer = client.delete(&at(&self.name))?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        let removed: RemovedMember = answer.json()?;
        Ok(screen.say(&format!(
            "Removed {}.\nEnded: {} tokens, {} keys.",
            text::plain(&self.name),
            removed.tokens_ended,
            removed.keys_ended
        ))?)
    }
}

/// The name stands alone here, where elsewhere a flag is before it.
fn unflagged(error: ClientError) -> ClientError {
    let ClientError::Refused(mut problem) = error else { return error };
    for wrong in problem.errors.iter_mut().filter(|wrong| wrong.field == "name") {
        wrong.field = "NAME".to_owned();
    }
    ClientError::Refused(problem)
}

fn at(name: &str) -> String {
    path(&["v1", "members", name])
}
