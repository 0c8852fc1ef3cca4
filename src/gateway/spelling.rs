//! How apps write a value that they show: in an address, in JSON, in HTML. Keys and pairs in base64 mostly hold bytes
//! that are written otherwise there, and who reads them back has the value.

use zeroize::Zeroizing;

use crate::secrets::Value;

/// What stays as it is in addresses, beside letters and digits, by whoever encodes for which part of one: RFC 3986's
/// unreserved, JavaScript's and the form's components, a path, a whole address.
const KEPT: [&[u8]; 5] = [b"-._~", b"-._~!*'()", b"-._*", b"-._~/", b"-._~!*'();/?:@&=+$,#"];
/// What JSON writes with a number, beside what it must: nothing, and as it is safe within HTML by Go and Rails, by Gson,
/// by PHP and by .NET.
const NUMBERED: [&[u8]; 5] = [b"", b"&<>", b"&<>='", b"&<>'\"", b"&<>'\"+`"];
/// What HTML writes as an entity: by most, by Python, by Go, by Jinja, by PHP, by templates after Mustache.
const ENTITIES: [&[(u8, &str)]; 6] = [
    &[(b'&', "&amp;"), (b'<', "&lt;"), (b'>', "&gt;"), (b'"', "&quot;")],
    &[(b'&', "&amp;"), (b'<', "&lt;"), (b'>', "&gt;"), (b'"', "&quot;"), (b'\'', "&#x27;")],
    &[(b'&', "&amp;"), (b'<', "&lt;"), (b'>', "&gt;"), (b'"', "&#34;"), (b'\'', "&#39;"), (b'+', "&#43;")],
    &[(b'&', "&amp;"), (b'<', "&lt;"), (b'>', "&gt;"), (b'"', "&#34;"), (b'\'', "&#39;")],
    &[(b'&', "&amp;"), (b'<', "&lt;"), (b'>', "&gt;"), (b'"', "&quot;"), (b'\'', "&#039;")],
    &[
        (b'&', "&amp;"),
        (b'<', "&lt;"),
        (b'>', "&gt;"),
        (b'"', "&quot;"),
        (b'\'', "&#39;"),
        (b'/', "&#x2F;"),
        (b'`', "&#x60;"),
        (b'=', "&#x3D;"),
    ],
];
/// One of these is where a spelling first differs.
pub(super) const MARKS: [u8; 4] = [b'%', b'\\', b'&', b'+'];
/// Bytes that one is written with at the most.
const LONGEST: usize = 6;

/// The spellings of a value other than its own, each once; none of what every one of them leaves as it is.
pub(super) fn others(value: &[u8]) -> Vec<Value> {
    let mut all: Vec<Zeroizing<Vec<u8>>> = Vec::new();
    let mut add = |write: &dyn Fn(u8, &mut Vec<u8>)| {
        // One that grows leaves a copy behind.
        let mut spelled = Zeroizing::new(Vec::with_capacity(value.len() * LONGEST));
        value.iter().for_each(|byte| write(*byte, &mut spelled));
        if **spelled != *value && !all.contains(&spelled) {
            all.push(spelled);
        }
    };
    for digits in [b"0123456789ABCDEF", b"0123456789abcdef"] {
        for kept in KEPT {
            for space in [&b"%20"[..], b"+"] {
                add(&|byte, out| match byte {
                    b' ' => out.extend_from_slice(space),
                    _ if byte.is_ascii_alphanumeric() || kept.contains(&byte) => out.push(byte),
                    _ => {
                        out.push(b'%');
                        out.extend_from_slice(&hexadecimal(byte, digits));
                    }
                });
            }
        }
        for numbered in NUMBERED {
            for slash in [&b"/"[..], b"\\/"] {
                add(&|byte, out| match byte {
                    b'/' => out.extend_from_slice(slash),
                    _ if numbered.contains(&byte) => {
                        out.extend_from_slice(b"\\u00");
                        out.extend_from_slice(&hexadecimal(byte, digits));
                    }
                    b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                    _ => out.push(byte),
                });
            }
        }
    }
    for entities in ENTITIES {
        add(&|byte, out| match entities.iter().find(|(of, _)| *of == byte) {
            Some((_, entity)) => out.extend_from_slice(entity.as_bytes()),
            None => out.push(byte),
        });
    }
    all.into_iter().map(Value::new).collect()
}

/// What a value and all its other spellings begin with; `None` where it has none.
pub(super) fn beginning(value: &[u8], others: &[Value]) -> Option<Value> {
    let shared = |other: &Value| value.iter().zip(other.reveal()).take_while(|(one, two)| one == two).count();
    let length = others.iter().map(shared).min()?;
    Some(Value::new(Zeroizing::new(value[..length].to_vec())))
}

fn hexadecimal(byte: u8, digits: &[u8; 16]) -> [u8; 2] {
    [digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_known_as_they_are_written_elsewhere() {
        let all = others(b"pass/word+%hunter&2=");
        let known = |text: &str| all.iter().any(|value| value.reveal() == text.as_bytes());
        for text in [
            "pass%2Fword%2B%25hunter%262%3D",
            "pass%2fword%2b%25hunter%262%3d",
            "pass/word%2B%25hunter%262%3D",
            "pass/word+%25hunter&2=",
            r"pass\/word+%hunter&2=",
            r"pass/word+%hunter\u00262=",
            r"pass\/word+%hunter\u00262=",
            r"pass/word\u002B%hunter\u00262=",
            r"pass/word+%hunter\u00262\u003d",
            "pass/word+%hunter&amp;2=",
            "pass/word&#43;%hunter&amp;2=",
            "pass&#x2F;word+%hunter&amp;2&#x3D;",
        ] {
            assert!(known(text), "{text}");
        }
        assert!(!known("pass/word+%hunter&2="));
        assert!(all.len() < 24, "{}", all.len());
        assert_eq!(beginning(b"pass/word+%hunter&2=", &all).unwrap().reveal(), b"pass");
        assert!(others(b"hunter2_-.").is_empty() && beginning(b"hunter2_-.", &[]).is_none());
        let quoted = others(br#"a "b"\c"#);
        assert!(quoted.iter().any(|value| value.reveal() == br#"a \"b\"\\c"#));
        assert!(quoted.iter().any(|value| value.reveal() == b"a+%22b%22%5Cc"));
    }
}
