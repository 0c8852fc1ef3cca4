//! `portcullis leak …`: credentials that were found where they do not belong.

use std::io::{self, IsTerminal as _, Read as _};

use clap::{Args, Subcommand};
use comfy_table::Cell;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::client::Client;
use super::failure::Failure;
use super::listing::{Pages, Query, path};
use super::reach::Reach;
use super::screen::{Screen, cell, require_consent};
use super::{moment, unseen};
use crate::admin::wire::{Leak, Notice, Page, Reaction, ReportLeaks};
use crate::credential::{Kind, Plaintext};

/// More than the credentials of one report may be long.
const LONGEST: usize = 64 * 1024;
/// More notices than are ever kept.
const ALL: usize = 100_000;
/// Credentials that a question names.
const NAMED: usize = 8;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Have leaked tokens and keys ended, which are read from standard input
    Report(Report),
    /// List leaks and warnings, newest first
    List(List),
    /// List what owners and webhooks are still to be told, and what was given up; have it sent again
    Notices(Notices),
}

/// Tokens, management keys and codes of links are read from standard input, whole, with white space between them; on a
/// terminal without being shown
#[derive(Args)]
pub(super) struct Report {
    /// Who found them
    #[arg(long, value_name = "TEXT", default_value = "hand")]
    source: String,
    /// Where they were found
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Print the admin API's own answer
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
pub(super) struct Notices {
    #[command(flatten)]
    pages: Pages,
    /// Send this notice (evt_…) again at once, be it that it was given up
    #[arg(long, value_name = "ID", num_args = 0..=1, conflicts_with_all = ["limit", "cursor"])]
    retry: Option<Option<String>>,
    /// With --retry: all that were given up
    #[arg(long, requires = "retry")]
    all: bool,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

impl Command {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        match self {
            Self::Report(report) => report.run(reach, screen),
            Self::List(list) => list.run(reach, screen),
            Self::Notices(notices) => notices.run(reach, screen),
        }
    }
}

impl Report {
    fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        // Standard input is taken by what is reported: there is nobody to ask on it.
        let on_terminal = io::stdin().is_terminal();
        let text = if on_terminal {
            let invitation =
                "the credentials, then Ctrl-D at the beginning of a line; what is typed is not shown:";
            checked(&unseen::read(LONGEST, invitation)?)?
        } else {
            require_consent(self.yes)?;
            read()?
        };
        let tokens: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        if on_terminal && !self.yes {
            screen.confirm(&question(&tokens))?;
        }
        let client = reach.client(screen)?;
        let body = ReportLeaks { tokens, source: self.source.clone(), url: self.url.clone(), places: None };
        let answer = client.post_once("/v1/leaks", &body)?;
        if self.json {
            return Ok(screen.json(&answer.body)?);
        }
        let page: Page<Reaction> = answer.json()?;
        for (number, reaction) in page.items.iter().enumerate() {
            screen.say(&format!("{}: {}", number + 1, described(reaction)))?;
        }
        if page.items.iter().any(|reaction| reaction.last_admin) {
            screen.note(NO_ADMIN);
        }
        Ok(())
    }
}

/// What is said where the last key went that might do everything.
pub(super) const NO_ADMIN: &str = "warning: that was the last management key that might do everything; on the gateway's machine the operator \
    makes another: portcullis key create --member NAME --scopes admin";

/// What is to be ended, by as much as is ever shown of it.
fn question(tokens: &[String]) -> String {
    let hint = |text: &String| {
        let value = Kind::ALL.into_iter().find_map(|kind| Plaintext::parse(kind, text.as_bytes()))?;
        Some(format!("…{}", value.hint()))
    };
    let mut hints: Vec<_> = tokens.iter().filter_map(hint).take(NAMED).collect();
    if tokens.len() > hints.len() {
        hints.push(format!("{} more", tokens.len() - hints.len()));
    }
    format!("Report as leaked, which ends them and what they have under way: {}?", hints.join(", "))
}

/// What happened to one of them, in words.
fn described(reaction: &Reaction) -> String {
    let what = match (&reaction.token, &reaction.key, &reaction.kind) {
        (Some(token), _, _) => format!("token {}", token.id),
        (_, Some(key), _) => format!("management key {}", key.id),
        (None, None, Some(kind)) => format!("another member's {kind}"),
        (None, None, None) => return "not known here".to_owned(),
    };
    match reaction.done.as_str() {
        "revoked" => {
            let (requests, streams) = (reaction.ended.requests, reaction.ended.streams);
            format!("{what}: revoked; requests ended: {requests}, answers cut short: {streams}")
        }
        "grace" => {
            let end = reaction.token.as_ref().and_then(|token| token.ends_at);
            let end = end.map_or_else(String::new, |end| format!(" {}", moment::both(end, Timestamp::now())));
            format!("{what}: ends{end}")
        }
        _ => format!("{what}: had ended before"),
    }
}

impl List {
    fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let client = reach.client(screen)?;
        let listing = Query::new("/v1/leaks").pages(&self.pages).fetch(&client)?;
        if self.json {
            return Ok(screen.json(&listing.json(&client)?)?);
        }
        let leaks: Vec<Leak> = listing.parse(&client)?;
        if leaks.is_empty() {
            screen.note("no leaks and no warnings");
            return Ok(());
        }
        let now = Timestamp::now();
        let row = |leak: &Leak| -> Vec<Cell> {
            vec![
                cell(&leak.id),
                cell(&leak.kind),
                cell(&leak.subject),
                cell(&leak.label),
                cell(&leak.owner),
                cell(&leak.done),
                cell(&moment::away(Some(leak.last_at), now)),
                cell(&leak.count.to_string()),
                cell(leak.client.as_deref().unwrap_or_default()),
                cell(&leak.source),
                cell(&leak.place),
            ]
        };
        let header =
            ["ID", "KIND", "OF", "LABEL", "OWNER", "DONE", "LAST", "TIMES", "FROM", "FOUND BY", "FOUND IN"];
        Ok(screen.rows(&header, leaks.iter().map(row).collect())?)
    }
}

impl Notices {
    fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let client = reach.client(screen)?;
        if let Some(retry) = &self.retry {
            return self.again(retry.as_deref(), &client, screen);
        }
        let listing = Query::new("/v1/notices").pages(&self.pages).fetch(&client)?;
        if self.json {
            return Ok(screen.json(&listing.json(&client)?)?);
        }
        let notices: Vec<Notice> = listing.parse(&client)?;
        if notices.is_empty() {
            screen.note("no notice waits, and none was given up");
            return Ok(());
        }
        let now = Timestamp::now();
        let row = |notice: &Notice| -> Vec<Cell> {
            vec![
                cell(&notice.id),
                cell(&notice.event),
                cell(&notice.subject),
                cell(notice.recipient.as_deref().unwrap_or(&notice.channel)),
                cell(&notice.status),
                cell(&notice.attempts.to_string()),
                cell(&notice.due_at.map_or_else(String::new, |due| moment::away(Some(due), now))),
                cell(notice.last_error.as_deref().unwrap_or_default()),
            ]
        };
        let header = ["ID", "EVENT", "OF", "TO", "STATUS", "ATTEMPTS", "NEXT", "LAST ERROR"];
        Ok(screen.rows(&header, notices.iter().map(row).collect())?)
    }
}

impl Notices {
    fn again(&self, id: Option<&str>, client: &Client, screen: &Screen) -> Result<(), Failure> {
        let mut ids: Vec<String> = match (id, self.all) {
            (Some(id), false) => vec![id.to_owned()],
            (None, true) => {
                let all = Query::new("/v1/notices").at_most(ALL).fetch(client)?;
                let all: Vec<Notice> = all.parse(client)?;
                all.into_iter().filter(|notice| notice.status == "dead").map(|notice| notice.id).collect()
            }
            _ => {
                let wanted =
                    "`--retry` wants the id of one notice, or `--all`; `portcullis leak notices` lists them";
                return Err(Failure::Usage(wanted.to_owned()));
            }
        };
        // Its letter and its webhook have the same, and are listed one after the other.
        ids.dedup();
        let mut done: Vec<Notice> = Vec::new();
        for id in &ids {
            let answer = client.post_once(&path(&["v1", "notices", id, "retry"]), &serde_json::json!({}))?;
            done.extend(answer.json::<Page<Notice>>()?.items);
        }
        if self.json {
            let page = Page { items: done, next_cursor: None };
            let text = serde_json::to_vec(&page).map_err(|e| Failure::Failed(e.to_string()))?;
            return Ok(screen.json(&text)?);
        }
        if done.is_empty() {
            screen.note("no notice was given up");
        }
        for notice in &done {
            let to = notice.recipient.as_deref().unwrap_or(&notice.channel);
            screen.say(&format!("{} {} to {to}: {}", notice.id, notice.event, notice.status))?;
        }
        Ok(())
    }
}

fn read() -> Result<Zeroizing<String>, Failure> {
    // Room for all of it at once: what grows leaves copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
    let failed =
        |e: io::Error| Failure::Failed(format!("cannot read what is reported ({e}); nothing was changed"));
    io::stdin().lock().take(LONGEST as u64 + 1).read_to_end(&mut text).map_err(failed)?;
    checked(&text)
}

fn checked(bytes: &[u8]) -> Result<Zeroizing<String>, Failure> {
    if bytes.len() > LONGEST {
        return Err(Failure::Usage("that is more than one report takes; nothing was changed".to_owned()));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| {
        Failure::Usage("what is reported is not text: tokens and keys are; nothing was changed".to_owned())
    })?;
    if text.trim().is_empty() {
        return Err(Failure::Usage("there is nothing on standard input; nothing was changed".to_owned()));
    }
    Ok(Zeroizing::new(text.to_owned()))
}
