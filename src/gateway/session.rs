//! Browser sessions: a sealed cookie that stands for a token. Nothing is stored: the cookie holds the token's digest,
//! which is looked up like any other, so a session ends with its token.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use http::{HeaderMap, HeaderValue, Method, header};

use super::credential::{Absence, Presented};
use super::navigation::{Sender, sender};
use super::request::Request;
use super::route::Route;
use super::upgrade;
use crate::credential::Digest;
use crate::secrets::Key;

/// How long a session lasts at most, in milliseconds and as cookies have it.
const LONGEST: i64 = 24 * 60 * 60 * 1000;
const MAX_AGE: &str = "86400";
/// How far ahead a session may seem to have begun: the clock may have been set back over a restart.
const AHEAD: i64 = 60 * 60 * 1000;

/// A browser takes the first from encrypted connections only, and from no other host.
const SECURE: &str = "__Host-portcullis";
const PLAIN: &str = "portcullis";
/// Cookies of the dashboard: a browser that knows it by the same host name, ports or not, sends them to apps too.
const DASHBOARD: [&str; 2] = ["__Host-portcullis-admin", "portcullis-admin"];

/// What the key that seals sessions is derived for.
const LABEL: &str = "portcullis browser session 1";

const NONCE: usize = 24;
const DIGEST: usize = 32;
/// Digest, and time of issue.
const CONTENT: usize = DIGEST + 8;
const TAG: usize = 16;
const SEALED: usize = NONCE + CONTENT + TAG;
/// The same in base64.
const TEXT: usize = (SEALED * 4).div_ceil(3);

/// Where a session's cookie may be sent from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Only from pages of its own site (`SameSite=Lax`).
    Site,
    /// From a frame in another's page too (`SameSite=None; Partitioned`).
    Frames,
}

/// Seals sessions, and opens them. One for all workers.
pub struct Seal(XChaCha20Poly1305);

/// A session as it was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    pub token: Digest,
    /// When it began, in Unix milliseconds.
    pub since: i64,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(…)")
    }
}

impl Seal {
    #[must_use]
    pub fn new(key: &Key) -> Self {
        Self(XChaCha20Poly1305::new((&*key.derive(LABEL)).into()))
    }

    /// The value of a cookie that opens at `host` and nowhere else; `None` where the system gives no randomness.
    #[must_use]
    pub fn seal(&self, session: &Session, host: &str) -> Option<String> {
        let mut content = [0; CONTENT];
        content[..DIGEST].copy_from_slice(session.token.as_bytes());
        content[DIGEST..].copy_from_slice(&session.since.to_be_bytes());
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).ok()?;
        let (key, host) = (&self.0, host.as_bytes());
        let tag = key.encrypt_inout_detached(&XNonce::from(nonce), host, (&mut content[..]).into()).ok()?;
        Some(BASE64_URL_SAFE_NO_PAD.encode([&nonce[..], &content, &tag].concat()))
    }

    /// What was sealed for `host`, if this key did it.
    #[must_use]
    pub fn open(&self, value: &[u8], host: &str) -> Option<Session> {
        let value: &[u8; TEXT] = value.try_into().ok()?;
        let mut bytes = [0; SEALED];
        let length = BASE64_URL_SAFE_NO_PAD.decode_slice(value, &mut bytes).ok()?;
        let (nonce, rest) = bytes.get_mut(..length)?.split_first_chunk_mut::<NONCE>()?;
        let (content, tag) = rest.split_first_chunk_mut::<CONTENT>()?;
        let tag = Tag::try_from(&tag[..]).ok()?;
        let (nonce, host) = (XNonce::from(*nonce), host.as_bytes());
        self.0.decrypt_inout_detached(&nonce, host, (&mut content[..]).into(), &tag).ok()?;
        let (token, since) = content.split_first_chunk::<DIGEST>()?;
        let since = i64::from_be_bytes(since.try_into().ok()?);
        Some(Session { token: Digest::from_bytes(*token), since })
    }
}

impl Session {
    /// When it is over, if nothing ends it before.
    const fn ends(&self) -> i64 {
        self.since.saturating_add(LONGEST)
    }

    const fn is_over(&self, now: i64) -> bool {
        self.ends() <= now || self.since.saturating_sub(now) > AHEAD
    }
}

/// Whether a session counts for a request. A browser sends cookies along with what other pages make it ask for, and
/// `SameSite` keeps back neither links, which is what sessions are for, nor neighbours on the same site.
fn counts_for(request: &Request) -> bool {
    let changes = !matches!(request.method, Method::GET | Method::HEAD | Method::OPTIONS);
    if !changes && !upgrade::is_websocket(request) {
        return true;
    }
    match sender(&request.headers, &request.uri, request.secure) {
        Sender::Ours | Sender::Unsaid => true,
        Sender::Another | Sender::Hidden => false,
    }
}

/// What a request presents that brings no token in another way: the session in its cookie; `None` where there is none.
#[must_use]
pub fn present(seal: Option<&Seal>, request: &Request, route: &Route, now: i64) -> Option<Presented> {
    let seal = seal.filter(|_| route.browser_sessions)?;
    let name = if request.secure { SECURE } else { PLAIN };
    // Another that was set for a whole domain may be there beside ours.
    let session = values(&request.headers, name).find_map(|value| seal.open(value, request.host()))?;
    Some(if session.is_over(now) {
        Presented::Nothing(Absence::SessionOver)
    } else if !counts_for(request) {
        Presented::Nothing(Absence::Elsewhere)
    } else {
        Presented::Session { digest: session.token, ends: session.ends() }
    })
}

/// The `Set-Cookie` of a session.
#[must_use]
pub fn set_cookie(value: &str, secure: bool, reach: Reach) -> Option<HeaderValue> {
    let text = match (secure, reach) {
        (true, Reach::Site) => {
            format!("{SECURE}={value}; Path=/; Max-Age={MAX_AGE}; HttpOnly; Secure; SameSite=Lax")
        }
        (true, Reach::Frames) => format!(
            "{SECURE}={value}; Path=/; Max-Age={MAX_AGE}; HttpOnly; Secure; SameSite=None; Partitioned"
        ),
        // Without encryption browsers take no other.
        (false, _) => format!("{PLAIN}={value}; Path=/; Max-Age={MAX_AGE}; HttpOnly; SameSite=Lax"),
    };
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Takes the session's cookie out, by either name, and the dashboard's, and leaves the others byte for byte.
pub(super) fn strip(headers: &mut HeaderMap) {
    let ours = |value: &HeaderValue| memchr::memmem::find(value.as_bytes(), PLAIN.as_bytes()).is_some();
    if !headers.get_all(header::COOKIE).iter().any(ours) {
        return;
    }
    let kept: Vec<HeaderValue> = headers.get_all(header::COOKIE).iter().filter_map(without).collect();
    headers.remove(header::COOKIE);
    for value in kept {
        headers.append(header::COOKIE, value);
    }
}

/// A `Cookie` field without the session's pairs; `None` where nothing is left.
fn without(field: &HeaderValue) -> Option<HeaderValue> {
    let all = || field.as_bytes().split(|byte| *byte == b';');
    let is_ours = |piece: &&[u8]| {
        let name = pair(piece).0;
        [SECURE, PLAIN].iter().chain(&DASHBOARD).any(|ours| name == ours.as_bytes())
    };
    if !all().any(|piece| is_ours(&piece)) {
        return Some(field.clone());
    }
    let kept = all().filter(|piece| !is_ours(piece)).collect::<Vec<_>>().join(&b';');
    let kept = kept.trim_ascii_start();
    HeaderValue::from_bytes(kept).ok().filter(|kept| !kept.is_empty())
}

/// The values of the cookies of this name.
fn values<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let fields = headers.get_all(header::COOKIE).iter();
    let pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';')).map(pair);
    pairs.filter(move |(found, _)| *found == name.as_bytes()).map(|(_, value)| value)
}

fn pair(piece: &[u8]) -> (&[u8], &[u8]) {
    let equals = piece.iter().position(|byte| *byte == b'=').unwrap_or(piece.len());
    let (name, value) = piece.split_at(equals);
    (name.trim_ascii(), value.get(1..).unwrap_or_default().trim_ascii())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seal() -> Seal {
        Seal::new(&Key::generate().unwrap())
    }

    const SESSION: Session = Session { token: Digest::from_bytes([7; 32]), since: 1_000 };

    #[test]
    fn what_is_sealed_opens_with_the_same_key_at_the_same_host() {
        let seal = seal();
        for session in [SESSION, Session { since: i64::MAX, ..SESSION }] {
            let value = seal.seal(&session, "shop.localhost").unwrap();
            assert_eq!(value.len(), TEXT);
            assert_eq!(seal.open(value.as_bytes(), "shop.localhost"), Some(session));
            assert_eq!(seal.open(value.as_bytes(), "blog.localhost"), None);
            assert_eq!(self::seal().open(value.as_bytes(), "shop.localhost"), None);
            assert_ne!(seal.seal(&session, "shop.localhost").unwrap(), value);
        }
    }

    #[test]
    fn a_session_lasts_a_day() {
        assert!(!SESSION.is_over(1_000) && !SESSION.is_over(999 + LONGEST));
        assert!(SESSION.is_over(1_000 + LONGEST));
        let later = Session { since: 1 + AHEAD, ..SESSION };
        assert!(later.is_over(0) && !later.is_over(1));
    }

    #[test]
    fn only_the_session_goes_from_a_cookie_field() {
        for (field, rest) in [
            ("portcullis=x", None),
            ("__Host-portcullis=x", None),
            ("portcullis", None),
            ("a=1; portcullis=x", Some("a=1")),
            ("portcullis-admin=x; a=1; __Host-portcullis-admin=y", Some("a=1")),
            ("portcullis=x; a=1", Some("a=1")),
            ("a=1; portcullis=x; b=2", Some("a=1; b=2")),
            ("a=1;portcullis=x;b=2", Some("a=1;b=2")),
            ("portcullis=x; __Host-portcullis=y;  portcullis = z ; a=\"1\"", Some("a=\"1\"")),
            ("a=portcullis; portcullis2=x; Portcullis=y", Some("a=portcullis; portcullis2=x; Portcullis=y")),
            ("a=1; ; b", Some("a=1; ; b")),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(header::COOKIE, HeaderValue::from_static("x=y"));
            headers.append(header::COOKIE, HeaderValue::from_str(field).unwrap());
            strip(&mut headers);
            let left: Vec<_> = headers.get_all(header::COOKIE).iter().skip(1).collect();
            assert_eq!(left, Vec::from_iter(rest), "{field}");
        }
    }

    proptest! {
        #[test]
        fn one_changed_character_is_noticed(place in 0..TEXT, byte: u8) {
            let seal = seal();
            let mut value = seal.seal(&SESSION, "a").unwrap().into_bytes();
            prop_assume!(value[place] != byte);
            value[place] = byte;
            prop_assert_eq!(seal.open(&value, "a"), None);
        }

        #[test]
        fn any_value_is_judged_without_panic(value: Vec<u8>) {
            prop_assert_eq!(seal().open(&value, "a"), None);
        }

        #[test]
        fn other_cookies_stay_byte_for_byte(pieces in proptest::collection::vec("[ a-z=_]{0,8}|portcullis=x", 1..6)) {
            let field = HeaderValue::try_from(pieces.join(";")).unwrap();
            let named = |piece: &&String| piece.split('=').next().unwrap().trim() == "portcullis";
            let rest: Vec<_> = pieces.iter().filter(|piece| !named(piece)).map(String::as_str).collect();
            let left = without(&field).map_or_else(String::new, |left| left.to_str().unwrap().to_owned());
            if rest.len() == pieces.len() {
                prop_assert_eq!(left.as_bytes(), field.as_bytes());
            } else {
                let rest = rest.join(";");
                prop_assert_eq!(left, rest.trim_start());
            }
        }
    }
}
