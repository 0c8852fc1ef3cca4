//! One JSON object on one line, written field by field. A general serializer spends more on the keys of an access-log
//! line than the gateway does on the decision; what could need escaping still goes through it.

use std::fmt::Display;
use std::io::Write;
use std::net::IpAddr;

/// The name of a field as a [`Line`] takes it, with all that stands around it.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}
pub(super) use key;

/// A JSON object under construction at the end of a buffer.
pub(super) struct Line<'a> {
    out: &'a mut Vec<u8>,
    opened: bool,
}

impl<'a> Line<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>) -> Self {
        Self { out, opened: false }
    }

    #[inline]
    pub(super) fn text(&mut self, key: &'static str, value: &str) {
        self.text_and(key, value, "");
    }

    /// A text with something behind it that holds nothing that JSON escapes.
    #[inline]
    pub(super) fn text_and(&mut self, key: &'static str, value: &str, more: &'static str) {
        self.key(key);
        self.escaped(value, more);
    }

    fn escaped(&mut self, value: &str, more: &'static str) {
        let plain = |byte: &u8| matches!(byte, b' '..=b'~') & (*byte != b'"') & (*byte != b'\\');
        // To the end whatever comes: so it is done many bytes at a time.
        if value.as_bytes().iter().fold(true, |all, byte| all & plain(byte)) {
            self.out.push(b'"');
            self.out.extend_from_slice(value.as_bytes());
            self.out.extend_from_slice(more.as_bytes());
            self.out.push(b'"');
        } else if serde_json::to_writer(&mut *self.out, &[value, more].concat()).is_err() {
            // Writing to memory does not fail; the line stays whole even so.
            self.out.extend_from_slice(b"null");
        }
    }

    /// A text that holds nothing that JSON escapes.
    #[inline]
    pub(super) fn word(&mut self, key: &'static str, value: &str) {
        self.key(key);
        self.quoted(value);
    }

    pub(super) fn address(&mut self, key: &'static str, address: IpAddr) {
        let IpAddr::V4(v4) = address else { return self.shown(key, address) };
        self.key(key);
        let mut separator = b'"';
        for octet in v4.octets() {
            self.out.push(separator);
            self.out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
            separator = b'.';
        }
        self.out.push(b'"');
    }

    /// A value whose text holds nothing that JSON escapes.
    pub(super) fn shown(&mut self, key: &'static str, value: impl Display) {
        self.key(key);
        let _ = write!(self.out, "\"{value}\"");
    }

    pub(super) fn maybe(&mut self, key: &'static str, value: Option<&str>) {
        match value {
            Some(value) => self.text(key, value),
            None => self.null(key),
        }
    }

    #[inline]
    pub(super) fn number(&mut self, key: &'static str, value: u64) {
        self.key(key);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    #[inline]
    pub(super) fn null(&mut self, key: &'static str) {
        self.key(key);
        self.out.extend_from_slice(b"null");
    }

    pub(super) fn end(self) {
        self.out.push(b'}');
    }

    fn quoted(&mut self, value: &str) {
        self.out.push(b'"');
        self.out.extend_from_slice(value.as_bytes());
        self.out.push(b'"');
    }

    /// Inlined: with keys whose lengths are known, copying is a few moves.
    #[inline(always)]
    fn key(&mut self, key: &'static str) {
        if self.opened {
            self.out.extend_from_slice(key.as_bytes());
        } else {
            self.opened = true;
            self.out.push(b'{');
            self.out.extend_from_slice(&key.as_bytes()[1..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_reads_back(text: String, number: u64, some: bool, address: u32) {
            let mut out = Vec::new();
            let mut line = Line::begin(&mut out);
            line.text(key!("a"), &text);
            line.text_and(key!("h"), &text, "?[x]");
            line.number(key!("b"), number);
            line.maybe(key!("c"), some.then_some(&*text));
            line.shown(key!("d"), std::net::Ipv6Addr::LOCALHOST);
            line.word(key!("e"), "HTTP/2");
            line.address(key!("f"), std::net::Ipv6Addr::LOCALHOST.into());
            line.address(key!("g"), std::net::Ipv4Addr::from(address).into());
            line.end();
            prop_assert!(!out.contains(&b'\n'));
            let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
            let c = if some { serde_json::json!(text) } else { serde_json::Value::Null };
            let v4 = std::net::Ipv4Addr::from(address).to_string();
            let whole = serde_json::json!(
                {"a": text, "b": number, "c": c, "d": "::1", "e": "HTTP/2", "f": "::1", "g": v4,
                "h": format!("{text}?[x]")}
            );
            prop_assert_eq!(read, whole);
        }
    }
}
