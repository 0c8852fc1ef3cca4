//! Fields that stay the same from request to request, put together once and then written at one go.

use http::header::{HeaderName, HeaderValue};

use super::crossing::Fields;

/// Such fields, one by one and as HTTP/1 writes them.
#[derive(Debug)]
pub(super) struct Block {
    pub fields: Box<[(HeaderName, HeaderValue)]>,
    pub text: Box<[u8]>,
}

impl Block {
    pub(super) fn new(fields: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> Self {
        let fields: Box<[_]> = fields.into_iter().collect();
        let mut text = Vec::new();
        for (name, value) in &fields {
            text.copy(name, value);
        }
        Self { fields, text: text.into() }
    }
}
