//! A token's label as its app receives it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The longest that needs no heap.
pub(super) const SHORT: usize = 23;

/// Percent-encoded; may be empty. Bytes: a look-up copies it, and to show that they are text takes longer than that.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedLabel(Bytes);

#[derive(Clone, PartialEq, Eq)]
enum Bytes {
    /// Zeros behind its end.
    Short {
        length: u8,
        bytes: [u8; SHORT],
    },
    Long(Arc<[u8]>),
}

impl EncodedLabel {
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Short { length, bytes } => &bytes[..usize::from(*length).min(SHORT)],
            Bytes::Long(bytes) => bytes,
        }
    }

    /// Its length and its bytes, with zeros behind; `None` for a long one.
    pub(super) fn short(&self) -> Option<(u8, [u8; SHORT])> {
        match self.0 {
            Bytes::Short { length, bytes } => Some((length, bytes)),
            Bytes::Long(_) => None,
        }
    }

    #[inline]
    pub(super) fn of_short(length: u8, bytes: [u8; SHORT]) -> Self {
        Self(Bytes::Short { length, bytes })
    }
}

impl From<&str> for EncodedLabel {
    fn from(text: &str) -> Self {
        let mut bytes = [0; SHORT];
        match (u8::try_from(text.len()), bytes.get_mut(..text.len())) {
            (Ok(length), Some(place)) => {
                place.copy_from_slice(text.as_bytes());
                Self::of_short(length, bytes)
            }
            _ => Self(Bytes::Long(text.as_bytes().into())),
        }
    }
}

impl From<Cow<'_, str>> for EncodedLabel {
    fn from(text: Cow<'_, str>) -> Self {
        Self::from(&*text)
    }
}

impl fmt::Debug for EncodedLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self.as_bytes()), f)
    }
}
