//! One JSON object on one line, written field by field. A general serializer spends more on the keys of an access-log
//! line than the gateway does on the decision; what could need escaping still goes through it.

use std::fmt::Display;
use std::io::Write;
use std::net::IpAddr;

/// The name of a field with all that stands around it, before a text and before anything else.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub text: &'static str,
    pub other: &'static str,
}

/// The name of a field as a [`Line`] takes it.
macro_rules! key {
    ($name:literal) => {
        $crate::gateway::line::Key {
            text: concat!(",\"", $name, "\":\""),
            other: concat!(",\"", $name, "\":"),
        }
    };
}
pub(super) use key;

/// A JSON object under construction at the end of a buffer.
pub(super) struct Line<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Line<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>) -> Self {
        let start = out.len();
        Self { out, start }
    }

    #[inline]
    pub(super) fn text(&mut self, key: Key, value: &str) {
        self.text_and(key, value, "");
    }

    /// A text with something behind it that holds nothing that JSON escapes.
    #[inline]
    pub(super) fn text_and(&mut self, key: Key, value: &str, more: &'static str) {
        self.put(key.other);
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
    pub(super) fn word(&mut self, key: Key, value: impl AsRef<[u8]>) {
        self.put(key.text);
        self.out.extend_from_slice(value.as_ref());
        self.out.push(b'"');
    }

    /// A value that is written as JSON has it.
    #[inline]
    pub(super) fn written(&mut self, key: Key, value: &str) {
        self.put(key.other);
        self.out.extend_from_slice(value.as_bytes());
    }

    pub(super) fn address(&mut self, key: Key, address: IpAddr) {
        let IpAddr::V4(v4) = address else { return self.shown(key, address) };
        let (mut text, mut end) = ([0; 16], 0);
        for octet in v4.octets() {
            let digits = [octet / 100, octet / 10 % 10, octet % 10];
            for digit in &digits[usize::from(octet < 100) + usize::from(octet < 10)..] {
                text[end] = b'0' + digit;
                end += 1;
            }
            text[end] = b'.';
            end += 1;
        }
        self.word(key, &text[..end - 1]);
    }

    /// A value whose text holds nothing that JSON escapes.
    pub(super) fn shown(&mut self, key: Key, value: impl Display) {
        self.put(key.text);
        let _ = write!(self.out, "{value}\"");
    }

    #[inline]
    pub(super) fn number(&mut self, key: Key, value: u64) {
        self.put(key.other);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    #[inline]
    pub(super) fn null(&mut self, key: Key) {
        self.put(key.other);
        self.out.extend_from_slice(b"null");
    }

    pub(super) fn end(self) {
        // In place of the comma before the first field.
        match self.out.get_mut(self.start) {
            Some(first) => *first = b'{',
            None => self.out.push(b'{'),
        }
        self.out.push(b'}');
    }

    /// Inlined: with keys whose lengths are known, copying is a few moves.
    #[inline(always)]
    fn put(&mut self, key: &'static str) {
        self.out.extend_from_slice(key.as_bytes());
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
            match some {
                true => line.written(key!("c"), &serde_json::Value::from(&*text).to_string()),
                false => line.null(key!("c")),
            }
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
