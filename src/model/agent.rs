//! What a client calls itself. Anybody may call themselves anything.

use std::fmt;

/// The most that is kept of it.
const LONGEST: usize = 200;
/// What is in every credential of ours, and what one could be hidden by.
const DOUBTFUL: [&str; 3] = ["pct_", "pcm_", "%"];

/// The beginning of a `User-Agent`: visible ASCII and spaces, and nothing that could be a credential of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent(Box<str>);

impl Agent {
    /// `None` where it says nothing that may be kept.
    #[must_use]
    pub fn of(text: &[u8]) -> Option<Self> {
        let plain = |c: &char| c.is_ascii_graphic() || *c == ' ';
        let kept: String = text.iter().take(LONGEST).map(|byte| char::from(*byte)).filter(plain).collect();
        let lower = kept.to_ascii_lowercase();
        let fits = !kept.trim().is_empty() && DOUBTFUL.iter().all(|doubtful| !lower.contains(doubtful));
        fits.then(|| Self(kept.trim().into()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_plain_short_and_holds_no_credential() {
        let of = |text: &[u8]| Agent::of(text).map(|agent| agent.to_string());
        assert_eq!(of(b"curl/8.0").as_deref(), Some("curl/8.0"));
        assert_eq!(of(b" a\tb\x1b[1m\xff\n ").as_deref(), Some("ab[1m"));
        assert_eq!(of(&[b'x'; 1000]).map(|agent| agent.len()), Some(LONGEST));
        for nothing in ["", " ", "curl PCT_abc", "pcm_x", "p%63t_x", "\u{e9}"] {
            assert_eq!(of(nothing.as_bytes()), None, "{nothing}");
        }
    }
}
