//! `mentions(text, …, what)`, known to SQL: whether a text holds what is searched for, in any ASCII case. LIKE takes time
//! that grows with the square of the text, and `instr(lower(…), …)` a copy of each text.

use std::cell::RefCell;

use memchr::memmem::Finder;
use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;

pub(super) fn register(conn: &Connection) -> rusqlite::Result<()> {
    let lowered = RefCell::new(Vec::new());
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    conn.create_scalar_function("mentions", 3, flags, move |context: &Context<'_>| {
        let finder = context.get_or_create_aux(2, |what| {
            what.as_str().map(|what| Finder::new(&what.to_ascii_lowercase()).into_owned())
        })?;
        let mut lowered = lowered.borrow_mut();
        Ok([0, 1].into_iter().any(|text| {
            let ValueRef::Text(text) = context.get_raw(text) else { return false };
            lowered.clear();
            lowered.extend_from_slice(text);
            lowered.make_ascii_lowercase();
            finder.find(&lowered).is_some()
        }))
    })
}
