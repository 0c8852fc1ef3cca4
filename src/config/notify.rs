//! `[notify]`: who hears of events. This version sends nothing.

use super::section::Section;
use super::value::{path, text};

pub(super) fn read(section: &mut Section<'_>) {
    section.table_not_yet(
        "smtp",
        &[
            ("url", |given| text(given).map(drop)),
            ("password_file", |given| path(given).map(drop)),
            ("from", |given| text(given).map(drop)),
        ],
    );
    section.table_not_yet(
        "webhook",
        &[("url", |given| text(given).map(drop)), ("secret_file", |given| path(given).map(drop))],
    );
}
