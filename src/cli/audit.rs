//! `portcullis audit …`: who changed what, oldest first, as it is read from the gateway page by page.

use std::collections::VecDeque;
use std::time::Duration;

use clap::{Args, Subcommand};
use http::StatusCode;
use serde_json::value::RawValue;

use super::client::{Client, ClientError};
use super::failure::Failure;
use super::reach::Reach;
use super::screen::Screen;
use super::{moment, text};
use crate::admin::wire::{Entry, Page};

/// How often a follower looks for more.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Subcommand)]
pub(super) enum Command {
    /// List what was changed, oldest first
    List(List),
}

#[derive(Args)]
pub(super) struct List {
    /// Go on, and print each change as it is made
    #[arg(long)]
    follow: bool,
    /// Only what comes after the entry of this number
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    after: u64,
    /// Only the last so many of them
    #[arg(long, value_name = "N")]
    last: Option<usize>,
    /// Print JSON lines, each an entry as the admin API gives it
    #[arg(long)]
    json: bool,
}

impl Command {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let Self::List(list) = self;
        let client = reach.client(screen)?;
        let mut log = Log { client: &client, after: list.after };
        let mut kept = VecDeque::new();
        loop {
            let page = log.page()?;
            for entry in page.items {
                match list.last {
                    None => list.print(&log.read(&entry)?, &entry, screen)?,
                    Some(most) => {
                        kept.push_back(entry);
                        if kept.len() > most {
                            kept.pop_front();
                        }
                    }
                }
            }
            if page.next_cursor.is_none() {
                break;
            }
        }
        for entry in &kept {
            list.print(&log.read(entry)?, entry, screen)?;
        }
        if list.follow { list.follow(&mut log, screen) } else { Ok(()) }
    }
}

impl List {
    fn follow(&self, log: &mut Log<'_>, screen: &Screen) -> Result<(), Failure> {
        let mut away = false;
        loop {
            match log.page() {
                Ok(page) => {
                    away = false;
                    for entry in &page.items {
                        self.print(&log.read(entry)?, entry, screen)?;
                    }
                    if page.next_cursor.is_some() {
                        continue;
                    }
                }
                // A restart, or a store that is busy: what is logged meanwhile is read afterwards.
                Err(error) if is_passing(&error) => {
                    if !away {
                        screen.note(&format!("{error}; waiting for it"));
                    }
                    away = true;
                }
                Err(error) => return Err(error.into()),
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn print(&self, entry: &Entry, raw: &RawValue, screen: &Screen) -> Result<(), Failure> {
        if self.json {
            return Ok(screen.json(raw.get().as_bytes())?);
        }
        let [actor, action, subject] =
            [&entry.actor, &entry.action, &entry.subject].map(|part| text::plain(part));
        let (seq, at, detail) = (entry.seq, moment::exact(entry.at), text::plain(&entry.detail.to_string()));
        Ok(screen.say(&format!("{seq:>6}  {at}  {actor:<12}  {action:<20}  {subject}  {detail}"))?)
    }
}

/// The log behind the API, as far as it was read.
struct Log<'a> {
    client: &'a Client,
    after: u64,
}

impl Log<'_> {
    fn page(&mut self) -> Result<Page<Box<RawValue>>, ClientError> {
        let page: Page<Box<RawValue>> =
            self.client.get(&format!("/v1/audit?after={}&limit=500", self.after))?.json()?;
        if let Some(last) = page.items.last() {
            self.after = self.read(last)?.seq;
        }
        Ok(page)
    }

    fn read(&self, entry: &RawValue) -> Result<Entry, ClientError> {
        serde_json::from_str(entry.get())
            .map_err(|cause| ClientError::NotUnderstood { place: self.client.place(), cause })
    }
}

/// Whether the same question may be answered later.
fn is_passing(error: &ClientError) -> bool {
    match error {
        ClientError::NoGateway { .. }
        | ClientError::Unreachable { .. }
        | ClientError::Silent { .. }
        | ClientError::Broken { .. } => true,
        ClientError::Refused(problem) => problem.status == StatusCode::SERVICE_UNAVAILABLE.as_u16(),
        _ => false,
    }
}
