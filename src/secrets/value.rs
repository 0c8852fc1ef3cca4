//! A secret's value in memory: wiped when the last holder lets go, and shown by no formatter.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// A value. Clones share it.
#[derive(Clone)]
pub struct Value(Arc<Zeroizing<Vec<u8>>>);

impl Value {
    #[must_use]
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(Arc::new(bytes))
    }

    /// A value of which somebody else has a copy.
    #[must_use]
    pub fn copied(text: &str) -> Self {
        Self::new(Zeroizing::new(text.as_bytes().to_vec()))
    }

    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value(…)")
    }
}
