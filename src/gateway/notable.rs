//! Which of the fields that matter on the way a request has. Noted in one pass: a look-up by name has to hash it first, and
//! nearly all of them find nothing.

use http::{HeaderMap, header};

use super::trace;

/// What was noted. What is taken out of the fields later stays noted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Notable(u8);

/// A field that matters.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Field {
    Connection = 1,
    Cookie = 1 << 1,
    Expect = 1 << 2,
    Referer = 1 << 3,
    Te = 1 << 4,
    Traceparent = 1 << 5,
    Upgrade = 1 << 6,
}

impl Notable {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self(headers.keys().fold(0, |noted, name| {
            noted
                | match *name {
                    header::CONNECTION => Field::Connection as u8,
                    header::COOKIE => Field::Cookie as u8,
                    header::EXPECT => Field::Expect as u8,
                    header::REFERER => Field::Referer as u8,
                    header::TE => Field::Te as u8,
                    header::UPGRADE => Field::Upgrade as u8,
                    _ if *name == trace::PARENT => Field::Traceparent as u8,
                    _ => 0,
                }
        }))
    }

    pub(super) const fn has(self, field: Field) -> bool {
        self.0 & field as u8 != 0
    }
}
