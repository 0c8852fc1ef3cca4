//! Text that is typed or pasted on a terminal and is not to be seen there.

use std::io::{self, Read as _, Stdin, Write as _};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::failure::Failure;

/// What Ctrl-C types where it interrupts nothing.
const INTERRUPT: u8 = 3;

/// Reads until Ctrl-D, at most `longest` bytes and one more; Ctrl-C gives up. `invitation` is shown once nothing that is
/// typed is.
pub(super) fn read(longest: usize, invitation: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed =
        |e: io::Error| Failure::Failed(format!("cannot read from the terminal ({e}); nothing was changed"));
    let terminal = io::stdin();
    let _hidden = Hidden::begin(&terminal).map_err(failed)?;
    // Where that cannot be written, nobody is looking.
    let _ = writeln!(io::stderr(), "{invitation}");
    // Room for all of it at once: what grows leaves copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(longest + 1));
    let mut piece = Zeroizing::new([0; 4096]);
    let mut input = terminal.lock();
    while text.len() <= longest {
        let read = input.read(&mut *piece).map_err(failed)?;
        let typed = piece.get(..read.min(longest + 1 - text.len())).unwrap_or_default();
        if typed.contains(&INTERRUPT) {
            return Err(Failure::Failed("stopped; nothing was changed".to_owned()));
        }
        if typed.is_empty() {
            break;
        }
        text.extend_from_slice(typed);
    }
    Ok(text)
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Hidden<'a> {
    terminal: &'a Stdin,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn begin(terminal: &'a Stdin) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut hidden = before.clone();
        // Whoever is interrupted would leave the terminal as it is now: Ctrl-C ends a line instead.
        hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        hidden.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT;
        tcsetattr(terminal, OptionalActions::Now, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}
