//! Where a command speaks and asks: standard output for what was asked for, standard error for the rest.

use std::io::{self, BufRead, IsTerminal, Write};

use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table};

use super::failure::Failure;
use super::text;

/// Spaces between columns.
const GAP: u16 = 2;

/// The streams of this process. Nothing is held back: what a method was given is out when it returns.
#[derive(Debug)]
pub(super) struct Screen {
    styled: bool,
}

impl Screen {
    pub(super) fn new() -> Self {
        // https://no-color.org: set and not empty means no colour.
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { styled: !plain && io::stdout().is_terminal() }
    }

    /// Writes `text` and ends the line.
    pub(super) fn say(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            out.write_all(b"\n")?;
        }
        out.flush()
    }

    /// Writes the API's own answer, byte for byte.
    pub(super) fn json(&self, answer: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(answer)?;
        if !answer.ends_with(b"\n") {
            out.write_all(b"\n")?;
        }
        out.flush()
    }

    /// Writes a line beside the output. Where even that cannot be written, nobody is listening.
    pub(super) fn note(&self, text: &str) {
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// Writes rows under `header`, one line each; on a terminal too narrow for that, row by row as facts.
    pub(super) fn rows(&self, header: &[&str], rows: Vec<Vec<Cell>>) -> io::Result<()> {
        let mut table = self.table();
        table.set_header(
            header.iter().map(|name| self.styled_cell(name, |cell| cell.add_attribute(Attribute::Bold))),
        );
        table.add_rows(rows.iter().cloned());
        let needed: u32 =
            table.column_max_content_widths().iter().map(|width| u32::from(*width) + u32::from(GAP)).sum();
        let room = table.width().filter(|width| *width > 0).map_or(u32::MAX, u32::from);
        // The gap after the last column may fall off the edge.
        if needed.saturating_sub(GAP.into()) <= room {
            return self.say(&rendered(&mut table));
        }
        let blocks = rows.into_iter().map(|row| self.block(header.iter().copied().zip(row)));
        self.say(&blocks.collect::<Vec<_>>().join("\n\n"))
    }

    /// Writes the facts about one thing, a line each.
    pub(super) fn facts<'a>(&self, facts: impl IntoIterator<Item = (&'a str, Cell)>) -> io::Result<()> {
        self.say(&self.block(facts))
    }

    /// A status, coloured where there are colours.
    pub(super) fn status(&self, status: &str) -> Cell {
        let colour = if status == "active" { Color::Green } else { Color::Red };
        self.styled_cell(status, |cell| cell.fg(colour))
    }

    /// Asks before what cannot be undone.
    pub(super) fn confirm(&self, question: &str) -> Result<(), Failure> {
        let mut out = io::stderr();
        let _ = write!(out, "{} [y/N] ", text::redacted(question)).and_then(|()| out.flush());
        let mut answer = String::new();
        // A line of any length would be read; nobody types a long one, and a terminal bounds it.
        io::stdin().lock().read_line(&mut answer).map_err(|error| {
            Failure::Failed(format!("cannot read the answer ({error}); nothing was changed"))
        })?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::Failed("not confirmed; nothing was changed".to_owned())),
        }
    }

    fn styled_cell(&self, text: &str, style: impl FnOnce(Cell) -> Cell) -> Cell {
        let cell = Cell::new(text::plain(text));
        if self.styled { style(cell) } else { cell }
    }

    fn block<'a>(&self, facts: impl IntoIterator<Item = (&'a str, Cell)>) -> String {
        let mut table = self.table();
        // Without a terminal there is no width to fit into, and nothing is broken.
        table.set_content_arrangement(ContentArrangement::Dynamic);
        for (name, fact) in facts {
            table.add_row([Cell::new(name), fact]);
        }
        rendered(&mut table)
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(NOTHING);
        if !io::stdout().is_terminal() {
            table.force_no_tty();
        }
        table
    }
}

fn rendered(table: &mut Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    table.trim_fmt()
}

/// Refuses what cannot be undone where nobody can be asked and nobody said yes.
pub(super) fn require_consent(yes: bool) -> Result<(), Failure> {
    if yes || io::stdin().is_terminal() {
        return Ok(());
    }
    Err(Failure::Usage(
        "this cannot be undone, and there is no terminal to ask on: repeat it with --yes; nothing was changed"
            .to_owned(),
    ))
}

/// A cell with text from elsewhere.
pub(super) fn cell(text: &str) -> Cell {
    Cell::new(text::plain(text))
}
