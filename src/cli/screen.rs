//! Where a command speaks and asks: standard output for what was asked for, standard error for the rest.

use std::io::{self, BufRead, IsTerminal, Write};

use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table, Width};

use super::failure::Failure;
use super::text;

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

    /// Writes rows under `header`, fitted to the terminal; one line a row where there is none. The first column
    /// identifies the row and is never broken.
    pub(super) fn rows(&self, header: &[&str], rows: Vec<Vec<Cell>>) -> io::Result<()> {
        let mut table = self.table();
        table.set_header(
            header.iter().map(|name| self.styled_cell(name, |cell| cell.add_attribute(Attribute::Bold))),
        );
        table.add_rows(rows);
        let identifiers = table.column_max_content_widths().first().copied().unwrap_or_default();
        if let Some(column) = table.column_mut(0) {
            let padding = 2;
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(identifiers + padding)));
        }
        self.say(&table.trim_fmt())
    }

    /// Writes the facts about one thing, a line each.
    pub(super) fn facts(&self, facts: Vec<(&str, Cell)>) -> io::Result<()> {
        let mut table = self.table();
        for (name, fact) in facts {
            table.add_row([Cell::new(name), fact]);
        }
        self.say(&table.trim_fmt())
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

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(NOTHING);
        if io::stdout().is_terminal() {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        } else {
            table.force_no_tty();
        }
        table
    }
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
