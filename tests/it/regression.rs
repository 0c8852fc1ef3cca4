//! One test for each bug that got as far as a running gateway, so that it does not come back.

use std::fs::File;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use socket2::{Domain, Socket, Type};
use tokio::sync::Semaphore;

use crate::support::app::App;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::http2::{self, DATA, END_STREAM, Frame};
use crate::support::modern::{Modern, Script, Settings};
use crate::support::wire::{self, Wire, request};
use crate::support::{PATIENCE, until};

const HOST: &str = "shop.localhost";
const DECLINED_TWICE_OVER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\
                                   2\r\nno\r\n0\r\n\r\n";
const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

fn upgrade(token: &str) -> Vec<u8> {
    let fields = [("X-Portcullis-Token", token), ("Connection", "Upgrade"), ("Upgrade", "websocket")];
    request("GET /chat", &fields)
}

#[test]
fn an_app_that_does_not_answer_is_given_up_also_after_trailers() {
    let app = App::start(|exchange| {
        exchange.body();
        exchange.wire.wait_for_end();
    });
    let modern =
        Modern::start(Settings::default(), |_| Script::new(200, "late").after(&Arc::new(Semaphore::new(0))));
    for url in [app.url(), format!("h2c://{}", modern.address)] {
        let timeouts = "{ response_header = \"300ms\" }";
        let gateway = Setup::with_upstreams(&[&url]).both("timeouts", timeouts).start();
        let token = gateway.mint("production").secret;
        let fields =
            [("X-Portcullis-Token", &*token), ("Transfer-Encoding", "chunked"), ("Trailer", "X-Sum")];
        let body = b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n".to_vec();
        let answer = gateway.ask([request("POST /", &fields), body].concat());
        answer.refused(504, "upstream_timeout");
    }
}

#[test]
fn an_answer_that_ends_in_trailers_is_complete_and_its_connection_kept() {
    let app = App::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n");
        exchange.send("2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n");
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    for _ in 0..2 {
        let answer = gateway.ask(with_token("GET /", HOST, &token));
        let line = gateway.logged(answer.get("x-request-id").unwrap());
        assert_eq!(line["ended"], "complete", "{line}");
    }
    assert_eq!(app.connections(), 1);
}

#[test]
fn a_declined_upgrade_is_judged_like_any_answer() {
    let app = App::start(|exchange| {
        exchange.send(DECLINED_TWICE_OVER);
    });
    let gateway = Gateway::before(&app);
    let answer = gateway.ask(upgrade(&gateway.mint("production").secret));
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_invalid"));
}

#[test]
fn an_upgrade_that_gets_no_answer_says_so() {
    let app = App::start(|exchange| exchange.close());
    let gateway = Gateway::before(&app);
    let answer = gateway.ask(upgrade(&gateway.mint("production").secret));
    assert_eq!((answer.status, answer.code().as_str()), (502, "upstream_unreachable"));
}

#[test]
fn an_upgrade_goes_to_the_upstream_that_is_there() {
    let app = App::start(|exchange| {
        exchange.send(AGREED);
        exchange.close();
    });
    // Bound and not listening: refuses, and nobody else can take the port.
    let gone = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    gone.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let gone_address = gone.local_addr().unwrap().as_socket().unwrap();
    let upstreams = format!("[\"http://{gone_address}\", \"{}\"]", app.url());
    let gateway = Setup::new(&app).set("apps.shop.environments.production", "upstreams", &upstreams).start();
    let token = gateway.mint("production").secret;
    for _ in 0..4 {
        let mut wire = gateway.connect();
        wire.send(upgrade(&token));
        assert_eq!(wire.head().unwrap().unwrap().status(), 101);
    }
}

#[test]
fn an_early_answer_ends_the_upload_and_with_it_what_a_revocation_would_have_to() {
    let (done, dones) = channel();
    let app = App::start(move |exchange| {
        exchange.answer(b"enough");
        let whole = exchange.skip(1 << 30);
        let _ = done.send(whole.is_ok());
        exchange.close();
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut wire = gateway.connect();
    let fields = [("X-Portcullis-Token", token.as_str()), ("Content-Length", "1073741824")];
    wire.send([request("POST /", &fields), vec![b'x'; 1000]].concat());
    assert_eq!(wire.answer().text(), "enough");
    // Without another byte from the client, and long before any of its timeouts.
    assert!(!dones.recv_timeout(Duration::from_secs(5)).unwrap());
    wire.wait_for_end();
}

#[test]
fn a_target_that_is_too_long_is_logged_as_it_was_answered() {
    let gateway = Gateway::before(&App::echo());
    let mut wire = gateway.connect();
    wire.send(request(&format!("GET /{}", "a".repeat(70_000)), &[]));
    let status = wire.head().unwrap().unwrap().status();
    assert_eq!(status, 414);
    let line = until("the line", || gateway.log().pop());
    assert_eq!((&line["status"], &line["code"]), (&414.into(), &"uri_too_long".into()), "{line}");
}

#[test]
fn a_listener_that_nobody_comes_to_holds_no_place() {
    let gateway = Setup::new(&App::echo())
        .set("gateway", "listen", "[\"127.0.0.1:0\", \"127.0.0.1:0\"]")
        .set("gateway.limits", "connections", "1")
        .start();
    let addresses: Vec<SocketAddr> = gateway
        .stderr()
        .lines()
        .filter_map(|line| line.split_once("gateway listens on http://")?.1.parse().ok())
        .collect();
    assert_eq!(addresses.len(), 2);
    for address in [addresses[0], addresses[1], addresses[1], addresses[0], addresses[0]] {
        let mut wire = wire::connect(address);
        wire.send(request("GET /.portcullis/healthz", &[("Connection", "close")]));
        assert_eq!(wire.answer().status, 200, "{address}");
        wire.wait_for_end();
    }
}

/// The kernel calls a socket writable only when a third of its buffer is empty, and that takes a slow reader longer
/// than a client may be idle. That in turn is longer than a busy machine keeps this one from its turn.
#[test]
fn a_client_that_reads_slowly_but_steadily_is_not_idle() {
    const PIECE: usize = 16 << 10;
    let app = App::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
        while exchange.send(vec![b'x'; 64 << 10]) {}
    });
    let gateway = Setup::new(&app).set("gateway.limits", "idle_timeout", "\"3s\"").start();
    let token = gateway.mint("production").secret;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // Before it connects: the window is agreed on then.
    socket.set_recv_buffer_size(PIECE).unwrap();
    socket.connect(&gateway.address().into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut wire = Wire::new(TcpStream::from(socket));
    wire.send(with_token("GET /", HOST, &token));
    wire.head().unwrap();
    let started = Instant::now();
    for piece in 0..120 {
        let due = Duration::from_millis(66) * piece;
        until("the time for the next piece", || (started.elapsed() >= due).then_some(()));
        wire.take(PIECE).unwrap();
    }
}

#[test]
fn an_access_log_that_nobody_reads_does_not_hold_up_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("log");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // For reading and writing, so that neither side waits for the other to open it.
    let _unread = File::options().read(true).write(true).open(&pipe).unwrap();
    let mut gateway = Setup::new(&App::echo())
        .set("gateway", "drain_timeout", "\"1s\"")
        .set("gateway.access_log", "path", &format!("{pipe:?}"))
        .start();
    let mut wire = gateway.connect();
    // More than a pipe holds.
    for _ in 0..300 {
        wire.send(request(&format!("GET /{}", "a".repeat(400)), &[("Host", "nowhere")]));
        assert_eq!(wire.answer().status, 404);
    }
    drop(wire);
    gateway.signal(Signal::TERM);
    assert!(gateway.exit().success());
}

#[test]
fn a_path_of_the_gateways_own_lists_its_own_methods() {
    let gateway = Gateway::before(&App::echo());
    let answer = gateway.ask(request("POST /.portcullis/healthz", &[("Content-Length", "0")]));
    assert_eq!((answer.status, answer.get("allow")), (405, Some("GET, HEAD")));
}

#[test]
fn an_app_that_refuses_an_upload_and_closes_is_heard() {
    let app = App::start(|exchange| {
        exchange.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nnope");
        exchange.close();
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let length = 4 << 20;
    let fields = [("X-Portcullis-Token", token.as_str()), ("Content-Length", &length.to_string())];
    for _ in 0..10 {
        let mut wire = gateway.connect();
        wire.send(request("POST /", &fields));
        // Cut short once the gateway has answered and hung up, which is its right.
        let _ = wire.stream.write_all(&vec![b'x'; length]);
        let answer = wire.answer();
        assert_eq!((answer.status, answer.text()), (413, "nope"));
    }
}

#[test]
fn a_trusted_proxy_does_not_repeat_the_token_in_the_url_it_tells() {
    let app = App::echo();
    let gateway = Setup::new(&app).set("gateway", "trusted_proxies", "[\"127.0.0.0/8\"]").start();
    let token = gateway.mint("production").secret;
    let target = format!("/x?a=b&project-protection-bypass={token}");
    let names = ["X-Forwarded-Uri", "X-Original-URI", "X-Original-URL", "X-Rewrite-URL", "Referer"];
    let fields = names.map(|name| (name, &*target));
    let answer = gateway.ask(request(&format!("GET {target}"), &fields));
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = app.only();
    assert!(names.iter().all(|name| seen.head.get(name) == Some("/x?a=b")), "{seen:?}");
    assert!(!String::from_utf8_lossy(&app.bytes()).contains(&token));
}

/// What a gRPC client streams: each message in a frame of its own, and many of them in one segment.
#[test]
fn many_small_messages_that_come_together_are_no_flood() {
    let gateway = Gateway::before(&App::echo());
    let token = gateway.mint("production").secret;
    let mut client = http2::connect(gateway.address());
    let stream = client.begin("POST", "/", &[("x-portcullis-token", &token)]);
    let message = Frame::new(DATA, 0, stream, *b"a message").bytes();
    client.send_bytes(message.repeat(7000));
    client.data(stream, b"", END_STREAM);
    assert_eq!(client.answer(stream).body.len(), 63_000);
}
