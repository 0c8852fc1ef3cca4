//! Heads and framing: whatever bytes come, they mean one thing or are refused.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use proptest::prelude::*;

use portcullis::board::Board;
use portcullis::config;
use portcullis::credential::{Kind, Plaintext};
use portcullis::gateway::framing::{Begun, Framing};
use portcullis::gateway::head::{BodyLength, Head, HeadLimits, Offence};
use portcullis::gateway::request::Request;
use portcullis::gateway::{Moment, Settings, decide};
use portcullis::index::{Identity, Index, NEVER, Standing};
use portcullis::model::{AppName, EnvironmentName, OnPublish, TokenApp, TokenId};

use super::fuzz;
use super::mutate::{Sample, mutated};

const TOKEN: &str = "pct_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17";
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LIMITS: HeadLimits = HeadLimits { bytes: 4096, fields: 20 };

const SAMPLES: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: shop.localhost\r\nX-Portcullis-Token: pct_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17\r\n\r\n",
    "GET /a?project-protection-bypass=pct_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17&b HTTP/1.1\r\nHost: SHOP.localhost:80\r\n\r\n",
    "POST /a%20b?c=d HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 5\r\nAuthorization: Bearer \
     pct_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "PUT http://shop.localhost/x HTTP/1.1\r\nHost: shop.localhost\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n\
     A\r\n0123456789\r\n0\r\nT: 1\r\n\r\nOPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
    "\r\nGET /old HTTP/1.0\r\nUser-Agent: x\r\n\r\n",
    "DELETE /x HTTP/1.1\r\nHost: [::1]:8080\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
];

const PIECES: &[&str] = &[
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    "\u{b}",
    ": ",
    "Host: b\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 010\r\n",
    "Transfer-Encoding: chunked\r\n",
    "transfer-encoding:\tgzip, chunked\r\n",
    "X: y\r\n Transfer-Encoding: chunked\r\n",
    "Authorization: Bearer pct_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17\r\n",
    "&project%2Dprotection-bypass=",
    "HTTP/1.0",
    "HTTP/1.1\r\n",
    "chunked",
    "0\r\n\r\n",
    "5\r\nhello\r\n",
    "ffffffffffffffff",
    "#",
    "@",
    "http://",
];

fn streams() -> impl Strategy<Value = Sample> {
    mutated(SAMPLES.iter().map(|sample| sample.as_bytes().to_vec()).collect(), PIECES)
}

/// What the bytes of a connection hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Head(Head),
    Overlong(Offence),
    BadBody(Offence),
    BodyEnd,
}

/// Takes requests off the bytes of a connection until the first that is none.
fn events<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut framing = Framing::new(LIMITS);
    let mut events = Vec::new();
    for piece in pieces {
        framing.feed(piece);
        while let Some(event) = next(&mut framing, events.last()) {
            events.push(event);
            let is_over = match event {
                Event::Head(head) => head.offence.is_some(),
                Event::Overlong(_) | Event::BadBody(_) => true,
                Event::BodyEnd => false,
            };
            if is_over {
                return events;
            }
        }
    }
    events
}

fn next(framing: &mut Framing, last: Option<&Event>) -> Option<Event> {
    if !matches!(last, Some(Event::Head(_))) {
        return Some(match framing.head()? {
            Begun::Head(judged) => Event::Head(judged.head),
            Begun::Overlong(offence) => Event::Overlong(offence),
        });
    }
    loop {
        match framing.body() {
            Ok(Some(_)) => {}
            Ok(None) => return framing.has_ended().then_some(Event::BodyEnd),
            Err(offence) => return Some(Event::BadBody(offence)),
        }
    }
}

#[test]
fn however_bytes_are_cut_they_mean_the_same() {
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 0..12);
    fuzz((streams(), cuts), |(Sample(bytes), cuts)| {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let whole = events(std::iter::once(&bytes[..]));
        let in_pieces = events(cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]));
        prop_assert_eq!(&in_pieces, &whole);
        prop_assert_eq!(events(bytes.chunks(1)), whole);
        Ok(())
    });
}

/// The parser of the HTTP library, asked about the same bytes: where a head was accepted, it must see the same one,
/// and where a body ends, it must see the next begin.
#[test]
fn what_is_accepted_the_http_library_reads_the_same() {
    fuzz(streams(), |Sample(bytes)| {
        let mut rest = &bytes[..];
        let seen = events(std::iter::once(&bytes[..]));
        for (place, event) in seen.iter().enumerate() {
            let Event::Head(head) = event else { continue };
            if head.offence.is_some() {
                break;
            }
            while let Some(after) = rest.strip_prefix(b"\r\n") {
                rest = after;
            }
            let Some(length) = same_head(rest, *head)? else {
                return Err(TestCaseError::fail("the library refuses it"));
            };
            rest = &rest[length..];
            match (head.body, seen.get(place + 1)) {
                (_, Some(Event::BodyEnd)) => rest = &rest[body(head.body, rest)?..],
                // Malformed, or more is to come: nothing can follow.
                _ => prop_assert_eq!(seen.len(), (place + 2).min(seen.len())),
            }
        }
        Ok(())
    });
}

/// Whether httparse reads the head at the start of `bytes` as it was judged; returns its length if it takes it.
fn same_head(bytes: &[u8], head: Head) -> Result<Option<usize>, TestCaseError> {
    let mut fields = [httparse::EMPTY_HEADER; LIMITS.fields];
    let mut request = httparse::Request::new(&mut fields);
    let Ok(parsed) = request.parse(bytes) else { return Ok(None) };
    let httparse::Status::Complete(length) = parsed else {
        return Err(TestCaseError::fail("the library waits for more"));
    };
    prop_assert_eq!(request.headers.len(), head.fields);
    let all = |name: &str| -> Vec<&[u8]> {
        let named = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| field.value).collect()
    };
    let (lengths, encodings) = (all("content-length"), all("transfer-encoding"));
    match head.body {
        BodyLength::None => prop_assert!(lengths.is_empty() && encodings.is_empty()),
        BodyLength::Known(length) => {
            let plain = length.to_string();
            prop_assert_eq!(lengths, [plain.as_bytes()]);
            prop_assert!(encodings.is_empty());
        }
        BodyLength::Chunked => {
            prop_assert!(lengths.is_empty() && encodings.len() == 1);
            prop_assert!(encodings[0].eq_ignore_ascii_case(b"chunked"));
        }
    }
    prop_assert!(all("host").len() == 1 || (request.version == Some(0) && all("host").is_empty()));

    // Written out from what the library saw, it is judged the same again.
    let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    let mut again =
        format!("{method} {target} HTTP/1.{}\r\n", request.version.unwrap_or_default()).into_bytes();
    for field in request.headers.iter() {
        again.extend([field.name.as_bytes(), b": ", field.value, b"\r\n"].concat());
    }
    again.extend(b"\r\n");
    let first = events(std::iter::once(&again[..])).into_iter().next();
    prop_assert_eq!(first, Some(Event::Head(head)));
    Ok(Some(length))
}

/// The length of a whole body as httparse and plain arithmetic have it.
fn body(body: BodyLength, bytes: &[u8]) -> Result<usize, TestCaseError> {
    let mut at = match body {
        BodyLength::None => return Ok(0),
        BodyLength::Known(length) => return Ok(length as usize),
        BodyLength::Chunked => 0,
    };
    loop {
        let size = httparse::parse_chunk_size(&bytes[at..]);
        let Ok(httparse::Status::Complete((line, size))) = size else {
            return Err(TestCaseError::fail("the library sees no chunk"));
        };
        at += line;
        if size == 0 {
            break;
        }
        at += size as usize;
        prop_assert_eq!(bytes.get(at..at + 2), Some(&b"\r\n"[..]));
        at += 2;
    }
    // The trailers end at the first empty line.
    let end = bytes[at..]
        .windows(2)
        .enumerate()
        .find(|(place, pair)| *pair == b"\r\n" && (*place == 0 || bytes[at..at + place].ends_with(b"\r\n")));
    match end {
        Some((place, _)) => Ok(at + place + 2),
        None => Err(TestCaseError::fail("the library sees no end of the trailers")),
    }
}

const CONFIG: &str = r#"
[apps.shop.environments.production]
hosts = ["shop.localhost"]
upstreams = ["http://127.0.0.1:1"]
"#;

/// Whatever head comes, deciding about it ends well; and what is let in holds a token that opens the door.
#[test]
fn nobody_gets_in_without_the_token() {
    let config = config::parse(CONFIG, Path::new("proxy.toml"), Path::new(""), []).unwrap().config;
    let (index, writer) = Index::new();
    let settings = Settings::new(&config, &index, &Board::new(1).0, None).unwrap();
    let (app, environment) = (AppName::parse("shop").unwrap(), EnvironmentName::parse("production").unwrap());
    let opened = Standing { opened: true, ..Standing::default() };
    writer.set(&TokenApp::One(app), &environment, opened);
    let token = Plaintext::parse(Kind::Token, TOKEN.as_bytes()).unwrap();
    let identity = Identity {
        id: TokenId::next(None, jiff::Timestamp::UNIX_EPOCH),
        app: None,
        environment: writer.name("production"),
        expires: NEVER,
        minted_under: 0,
        on_publish: OnPublish::Stop,
        revoked: false,
        label: "".into(),
        restrictions: None,
    };
    writer.put(token.digest(), identity);
    let allowed = std::cell::Cell::new(0u32);
    fuzz(streams(), |Sample(bytes)| {
        let mut fields = [httparse::EMPTY_HEADER; LIMITS.fields];
        let mut parsed = httparse::Request::new(&mut fields);
        let Ok(httparse::Status::Complete(length)) = parsed.parse(&bytes) else { return Ok(()) };
        let Some(Event::Head(head)) = events(std::iter::once(&bytes[..])).into_iter().next() else {
            return Ok(());
        };
        let mut message = http::Request::builder()
            .method(parsed.method.unwrap_or_default())
            .uri(parsed.path.unwrap_or_default())
            .version(if parsed.version == Some(0) { http::Version::HTTP_10 } else { http::Version::HTTP_11 });
        for field in parsed.headers.iter() {
            message = message.header(field.name, field.value);
        }
        let Ok(message) = message.body(()) else { return Ok(()) };
        let Ok(request) = Request::accept(message.into_parts().0, head) else { return Ok(()) };
        prop_assert!(head.offence.is_none());
        let path = request.path();
        prop_assert!(path.starts_with('/') || (path == "*" && request.method == http::Method::OPTIONS));
        prop_assert!(!request.host().contains([':', '@', '/']) || request.host().starts_with('['));
        if decide(&settings, &index, &request, CLIENT, Moment { wall: 0, steady: 0 }).is_ok() {
            allowed.set(allowed.get() + 1);
            prop_assert_eq!(request.host(), "shop.localhost");
            let decoded: Vec<u8> = percent_encoding::percent_decode(&bytes[..length]).collect();
            let places = memchr::memmem::find_iter(&decoded, TOKEN);
            prop_assert!(places.count() >= 1);
        }
        Ok(())
    });
    assert!(allowed.get() > 0, "the samples open the door, so some of these must");
}
