//! What is asked of the proxies, and over what.

use std::fmt;

use super::site::{HOST, PARAMETER, Site};

/// Bytes that are posted.
const BODY: usize = 4096;

/// A way to use a proxy, by which proxies are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Workload {
    /// A small GET with a token that opens the app.
    Get,
    /// The same with a token that was never minted: refused by the proxy.
    Deny,
    /// The token in the query.
    Query,
    /// A POST of 4 KiB.
    Post4k,
    /// An answer of 1 MiB.
    Get1m,
    /// `get` over TLS, on connections that are kept.
    Tls,
    /// A connection and a full handshake for each request.
    Tlsnew,
    /// A connection and a resumed handshake for each request.
    Tlsagain,
    /// `get` over HTTP/2 over TLS, many streams at a time.
    H2,
    /// Memory of connections that are kept and not used.
    Conns,
    /// Two workers on two cores.
    Two,
    /// Time that is added at a fixed rate.
    Tail,
}

impl Workload {
    pub(super) const ALL: [Self; 12] = [
        Self::Get,
        Self::Deny,
        Self::Query,
        Self::Post4k,
        Self::Get1m,
        Self::Tls,
        Self::Tlsnew,
        Self::Tlsagain,
        Self::H2,
        Self::Conns,
        Self::Two,
        Self::Tail,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Deny => "deny",
            Self::Query => "query",
            Self::Post4k => "post4k",
            Self::Get1m => "get1m",
            Self::Tls => "tls",
            Self::Tlsnew => "tlsnew",
            Self::Tlsagain => "tlsagain",
            Self::H2 => "h2",
            Self::Conns => "conns",
            Self::Two => "two",
            Self::Tail => "tail",
        }
    }

    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::Get => "small answers",
            Self::Deny => "refusals",
            Self::Query => "token in the query",
            Self::Post4k => "4 KiB posted",
            Self::Get1m => "answers of 1 MiB",
            Self::Tls => "TLS, kept connections",
            Self::Tlsnew => "TLS, a full handshake a request",
            Self::Tlsagain => "TLS, a resumed handshake a request",
            Self::H2 => "HTTP/2 over TLS, 8 × 16 streams",
            Self::Conns => "10,000 idle connections",
            Self::Two => "two workers on both cores",
            Self::Tail => "time added at 5,000 requests a second",
        }
    }

    /// Whether the proxy is to let it through.
    pub(super) const fn allowed(self) -> bool {
        !matches!(self, Self::Deny)
    }

    pub(super) const fn encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::Tlsnew | Self::Tlsagain | Self::H2)
    }

    /// How many times as long a turn is. wrk reads no answers while it shakes hands on all its connections, and takes that
    /// time for theirs: it would be what p99 of a short turn shows.
    pub(super) const fn lengthening(self) -> u64 {
        match self {
            Self::Tls => 3,
            _ => 1,
        }
    }

    pub(super) fn request(self, site: &Site) -> Request {
        let token = if self.allowed() { site.token() } else { &site.unknown };
        let token = token.reveal();
        let mut request =
            Request { method: "GET", target: "/v1/orders?page=2".to_owned(), fields: Vec::new(), body: 0 };
        match self {
            Self::Query => {
                request.target = format!("/v1/orders?page=2&{PARAMETER}={token}&limit=50");
                return request;
            }
            Self::Post4k => {
                request.method = "POST";
                request.fields.push(("Content-Type", "application/octet-stream".to_owned()));
                request.body = BODY;
            }
            Self::Get1m => request.target = format!("{}?page=2", super::app::LARGE_PATH),
            Self::Tlsnew | Self::Tlsagain => request.fields.push(("Connection", "close".to_owned())),
            Self::Get | Self::Deny | Self::Tls | Self::H2 | Self::Conns | Self::Two | Self::Tail => {}
        }
        request.fields.push(("Authorization", format!("Bearer {token}")));
        request
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One request of a workload.
pub(super) struct Request {
    pub method: &'static str,
    pub target: String,
    /// Besides `Host`.
    pub fields: Vec<(&'static str, String)>,
    /// Bytes of its body.
    pub body: usize,
}

impl Request {
    /// As HTTP/1.1 has it.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\nHost: {HOST}\r\n", self.method, self.target);
        for (name, value) in &self.fields {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.body > 0 {
            text.push_str(&format!("Content-Length: {}\r\n", self.body));
        }
        text.push_str("\r\n");
        text.push_str(&"x".repeat(self.body));
        text.into_bytes()
    }
}
