//! Any bytes at all: what reaches the app is what was authorized, whatever came before, between and after.

use std::io::Write;
use std::thread;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::app::App;
use crate::support::gateway::Setup;
use crate::support::wire::Head;

/// Pieces of requests, well-formed and not, as an attacker would combine them. `TOKEN` stands for a token.
const PIECES: [&str; 30] = [
    "GET /open HTTP/1.1\r\n",
    "POST /open HTTP/1.1\r\n",
    "GET /open HTTP/1.0\r\n",
    "GET http://shop.localhost/open HTTP/1.1\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "Host: shop.localhost\r\n",
    "Host: elsewhere.localhost\r\n",
    "X-Portcullis-Token: TOKEN\r\n",
    "Authorization: Bearer TOKEN\r\n",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 57\r\n",
    "content-length:5 \r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding:\tChunked \r\n",
    "Connection: keep-alive, Content-Length\r\n",
    "Connection: upgrade\r\nUpgrade: websocket\r\n",
    "Expect: 100-continue\r\n",
    "\r\n",
    "\n",
    "\r",
    "\0",
    " ",
    "hello",
    "5\r\nhello\r\n",
    "0\r\n",
    "5;x=\"\r\nhello\r\n",
    "GET /hidden HTTP/1.1\r\nHost: shop.localhost\r\n\r\n",
    "POST /hidden HTTP/1.1\r\nHost: shop.localhost\r\nContent-Length: 0\r\n\r\n",
];

/// Sequences tried at once, each over a connection of its own.
const THREADS: usize = 8;
const SEQUENCES: u32 = 50;

#[test]
fn only_what_was_authorized_reaches_the_app() {
    let app = App::echo();
    // What waits for more bytes is soon closed.
    let gateway = Setup::new(&app)
        .set("gateway.limits", "header_timeout", "\"100ms\"")
        .set("gateway.limits", "idle_timeout", "\"100ms\"")
        .start();
    let token = gateway.mint("production").secret;
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let config = Config { cases: SEQUENCES, failure_persistence: None, ..Config::default() };
                let outcome = TestRunner::new(config).run(&sequence(), |text| {
                    let mut wire = gateway.connect();
                    // A gateway that has refused the beginning may have stopped reading.
                    let _ = wire.stream.write_all(text.replace("TOKEN", &token).as_bytes());
                    wire.wait_for_end();
                    let odd = app.requests().into_iter().find(|seen| !is_authorized(&seen.head));
                    prop_assert!(odd.is_none(), "{:?}", odd);
                    Ok(())
                });
                outcome.unwrap();
            });
        }
    });
    let passed = app.requests().len();
    assert!(passed > 20, "{passed} got through: this has shown nothing");
}

/// A sequence of pieces; three in four begin as a request that would be let in.
fn sequence() -> impl Strategy<Value = String> {
    let pieces = |most| {
        let piece = proptest::sample::select(&PIECES[..]);
        proptest::collection::vec(piece, 0..most).prop_map(|pieces| pieces.concat())
    };
    let start = "POST /open HTTP/1.1\r\nHost: shop.localhost\r\nX-Portcullis-Token: TOKEN\r\n";
    (0..4, pieces(3), pieces(6)).prop_map(move |(kind, fields, rest)| match kind {
        0 => format!("{fields}{rest}"),
        _ => format!("{start}{fields}\r\n{rest}"),
    })
}

/// Whether a request that reached the app has an identity, one host and at most one framing, and is not one that
/// only ever stood within another or without a token.
fn is_authorized(head: &Head) -> bool {
    let framings = head.all("content-length").len() + head.all("transfer-encoding").len();
    head.all("x-portcullis-token-id").len() == 1
        && head.all("host") == ["shop.localhost"]
        && framings < 2
        && !head.target().contains("hidden")
}
