//! The cases whose instructions are counted, with all that each needs.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use http::Request as Message;
use jiff::Timestamp;
use portcullis::board::{Board, Outcome, Traffic};
use portcullis::config::{self, Config};
use portcullis::credential::{Digest, Kind, Plaintext};
use portcullis::gateway::framing::Framing;
use portcullis::gateway::head::{BodyLength, Head, HeadLimits};
use portcullis::gateway::request::Request;
use portcullis::gateway::{Moment, Settings, decide};
use portcullis::index::{Identity, Index, NEVER, Standing, Writer};
use portcullis::model::{OnPublish, Refusal, TokenApp, TokenId};
use sha2::Digest as _;

/// Tokens in the index.
const TOKENS: u32 = 10_000;
pub(super) const NOW: Moment = Moment { wall: 1_767_225_600_000, steady: 1_000_000 };
pub(super) const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The example of the token format; fixed, so that every run takes the same path through the table.
const MINTED: &str = "pct_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17";
/// As well formed, and never minted.
const UNKNOWN: &str = "pct_0000000000000000000000000000002C8GjS";

pub(super) const CONFIG: &str = r#"
[apps.shop.environments.production]
hosts = ["shop.example.com"]
upstreams = ["http://127.0.0.1:3000"]

[apps.blog.environments.production]
hosts = ["blog.example.com", "*.blog.example.com"]
upstreams = ["http://127.0.0.1:3001"]
"#;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    Header,
    Bearer,
    Query,
    UnknownToken,
    NoToken,
    /// The part of those with a token that hashes it.
    Digest,
    /// Not part of the decision: the head that is read before it, and what is counted at the end.
    Head,
    Counting,
}

impl Case {
    pub(super) const ALL: [Self; 8] = [
        Self::Header,
        Self::Bearer,
        Self::Query,
        Self::UnknownToken,
        Self::NoToken,
        Self::Digest,
        Self::Head,
        Self::Counting,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Bearer => "bearer",
            Self::Query => "query",
            Self::UnknownToken => "unknown-token",
            Self::NoToken => "no-token",
            Self::Digest => "digest-alone",
            Self::Head => "head",
            Self::Counting => "counting",
        }
    }

    fn target(self) -> String {
        match self {
            Self::Query => format!("/v1/orders?page=2&project-protection-bypass={MINTED}&limit=50"),
            _ => "/v1/orders?page=2&limit=50".to_owned(),
        }
    }

    /// The field that presents the token.
    fn field(self) -> Option<(&'static str, String)> {
        match self {
            Self::Header => Some(("x-portcullis-token", MINTED.to_owned())),
            Self::Bearer | Self::Head => Some(("authorization", format!("Bearer {MINTED}"))),
            Self::UnknownToken => Some(("authorization", format!("Bearer {UNKNOWN}"))),
            Self::Query | Self::NoToken | Self::Digest | Self::Counting => None,
        }
    }

    const fn refusal(self) -> Option<Refusal> {
        match self {
            Self::UnknownToken => Some(Refusal::TokenUnknown),
            Self::NoToken => Some(Refusal::TokenMissing),
            Self::Header | Self::Bearer | Self::Query | Self::Digest | Self::Head | Self::Counting => None,
        }
    }
}

/// Everything a case needs, made beforehand.
pub(super) struct Bench {
    case: Case,
    settings: Settings,
    index: std::sync::Arc<Index>,
    request: Request,
    raw: Vec<u8>,
    framing: Framing,
    token: Plaintext,
    traffic: std::sync::Arc<Traffic>,
}

/// A token of the shop's production, as the index has it.
pub(super) fn identity(writer: &Writer) -> Identity {
    Identity {
        id: TokenId::next(None, Timestamp::UNIX_EPOCH),
        app: Some(writer.name("shop")),
        environment: writer.name("production"),
        expires: NEVER,
        minted_under: 0,
        on_publish: OnPublish::Stop,
        revoked: false,
        label: "bench".into(),
        restrictions: None,
    }
}

/// Opens every environment for tokens.
pub(super) fn open_all(config: &Config, writer: &Writer) {
    for app in &config.apps {
        for environment in &app.environments {
            let opened = Standing { opened: true, ..Standing::default() };
            writer.set(&TokenApp::One(app.name.clone()), &environment.name, opened);
        }
    }
}

impl Bench {
    pub(super) fn new(case: Case) -> Result<Self> {
        let config = config::parse(CONFIG, Path::new("bench.toml"), Path::new(""), [])?.config;
        let (index, writer) = Index::new();
        let token = Plaintext::parse(Kind::Token, MINTED.as_bytes()).context("not a token")?;
        let shop = identity(&writer);
        writer.put(token.digest(), shop.clone());
        for number in 1..TOKENS {
            writer.put(Digest::from_bytes(sha2::Sha256::digest(number.to_le_bytes()).into()), shop.clone());
        }
        ensure!(index.len() == TOKENS as usize, "the index holds {} tokens", index.len());
        let (board, _) = Board::new(1);
        let settings = Settings::new(&config, &index, &board, None)?;
        let traffic = board.strangers().clone();
        open_all(&config, &writer);

        let fields = [
            ("host", "shop.example.com".to_owned()),
            ("user-agent", "acme-sync/2.4".to_owned()),
            ("accept", "application/json".to_owned()),
            ("accept-encoding", "gzip, br".to_owned()),
        ];
        let mut message = Message::builder().uri(case.target());
        let mut raw = format!("GET {} HTTP/1.1\r\n", case.target());
        for (name, value) in fields.into_iter().chain(case.field()) {
            raw.push_str(&format!("{name}: {value}\r\n"));
            message = message.header(name, value);
        }
        raw.push_str("\r\n");
        let (parts, ()) = message.body(())?.into_parts();
        let head = Head { offence: None, body: BodyLength::None, fields: parts.headers.len() };
        let Ok(request) = Request::accept(parts, head) else { bail!("the request was not accepted") };
        let framing = Framing::new(HeadLimits { bytes: 65_536, fields: 100 });
        let bench = Self { case, settings, index, request, raw: raw.into_bytes(), framing, token, traffic };
        let refusal = decide(&bench.settings, &bench.index, &bench.request, CLIENT, NOW)
            .err()
            .map(|reject| reject.refusal);
        let other = matches!(case, Case::Digest | Case::Head | Case::Counting);
        let expected = if other { refusal } else { case.refusal() };
        ensure!(refusal == expected, "{}: the decision was {refusal:?}", case.name());
        Ok(bench)
    }
}

/// Does what the case says, `rounds` times.
pub(super) fn run(bench: &mut Bench, rounds: u32) {
    for _ in 0..rounds {
        match bench.case {
            Case::Digest => {
                black_box(black_box(&bench.token).digest());
            }
            Case::Head => {
                bench.framing.feed(black_box(&bench.raw));
                black_box(bench.framing.head());
            }
            Case::Counting => {
                let outcome = Outcome {
                    refusal: None,
                    status: 200,
                    duration: 1_200,
                    upstream: Some(1_100),
                    received: 0,
                    sent: 128,
                    tunnel: false,
                };
                if let Some(cells) = bench.traffic.cells(0) {
                    cells.begin();
                    cells.end(black_box(&outcome));
                }
            }
            Case::Header | Case::Bearer | Case::Query | Case::UnknownToken | Case::NoToken => {
                let decision =
                    decide(black_box(&bench.settings), &bench.index, black_box(&bench.request), CLIENT, NOW);
                // A refusal is part of the answer, not a failure.
                let _ = black_box(decision);
            }
        }
    }
}
