//! Apps behind TLS: whom the gateway believes, and what it speaks with them.

use std::path::Path;

use http::Version;
use tokio_rustls::rustls::{ServerConnection, StreamOwned};

use crate::support::app::App;
use crate::support::authority::{Authority, Issued};
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::modern::{Modern, Settings};
use crate::support::program::Program;
use crate::support::terminator::Terminator;
use crate::support::until;
use crate::support::websocket;
use crate::support::wire::{Wire, request};

/// A gateway before an https app, believing `authority` alone.
fn gateway(url: &str, authority: &Authority) -> Gateway {
    Setup::with_upstreams(&[url])
        .both("upstream_ca", "\"ca.pem\"")
        .set("gateway", "workers", "1")
        .start_beside("ca.pem", &authority.pem)
}

#[test]
fn the_app_chooses_between_http2_and_http11() {
    let authority = Authority::new();
    let issued = authority.issue(&["localhost", "127.0.0.1"]);
    for (protocols, version, connections) in [
        (&["h2", "http/1.1"][..], Version::HTTP_2, 1),
        (&["http/1.1"], Version::HTTP_11, 1),
        (&[], Version::HTTP_11, 1),
    ] {
        let app = Modern::echo(Settings { tls: Some(issued.server(protocols)), ..Settings::default() });
        // By name, and by address.
        for host in ["localhost", "127.0.0.1"] {
            let before = (app.connections(), app.requests().len());
            let gateway = gateway(&format!("https://{host}:{}", app.address.port()), &authority);
            let token = gateway.mint("production").secret;
            for _ in 0..5 {
                let post = request("POST /a", &[("X-Portcullis-Token", &token), ("Content-Length", "5")]);
                let answer = gateway.ask([post, b"hello".to_vec()].concat());
                assert_eq!((answer.status, answer.text()), (200, "hello"), "{protocols:?}");
            }
            let seen = &app.requests()[before.1..];
            assert!(seen.len() == 5 && seen.iter().all(|seen| seen.version == version), "{seen:?}");
            assert_eq!(app.connections() - before.0, connections, "{protocols:?}");
            if version == Version::HTTP_2 {
                assert_eq!(seen[0].uri.to_string(), "https://shop.localhost/a");
            }
        }
    }
}

#[test]
fn an_app_that_cannot_prove_who_it_is_gets_no_byte() {
    let authority = Authority::new();
    let elsewhere = Authority::new();
    let app = App::echo();
    let refused = |issued: &Issued| {
        let terminator = Terminator::before(app.address, issued.server(&["http/1.1"]));
        let gateway = gateway(&format!("https://localhost:{}", terminator.address.port()), &authority);
        let token = gateway.mint("production").secret;
        let answer = gateway.ask(with_token("GET /", "shop.localhost", &token));
        let problem = answer.refused(502, "upstream_unreachable");
        assert!(problem["detail"].as_str().unwrap().contains("certificate"), "{problem}");
        // A WebSocket is no way around it.
        let upgrade = websocket::wish(&token);
        gateway.ask(request("GET /", &upgrade)).refused(502, "upstream_unreachable");
        // After a few of them the operator is told what exactly is wrong.
        gateway.ask(with_token("GET /", "shop.localhost", &token)).refused(502, "upstream_unreachable");
        let told = || gateway.stderr().contains("TLS: invalid peer certificate").then_some(());
        until("the reason in the log", told);
    };
    refused(&elsewhere.issue(&["localhost"]));
    refused(&authority.issue_until(&["localhost"], 2002));
    refused(&authority.issue(&["other.localhost", "127.0.0.1"]));
    assert!(app.bytes().is_empty());

    // What speaks no TLS at all is as little believed.
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = gateway(&format!("https://{}", plain.local_addr().unwrap()), &authority);
    let token = gateway.mint("production").secret;
    std::thread::spawn(move || {
        let mut wire = Wire::new(plain.accept().unwrap().0);
        wire.take(1).unwrap();
        wire.send("HTTP/1.1 400 Bad Request\r\n\r\n");
        wire.wait_for_end();
    });
    gateway.ask(with_token("GET /", "shop.localhost", &token)).refused(502, "upstream_unreachable");
}

#[test]
fn the_system_knows_whom_to_believe_unless_told_otherwise() {
    let authority = Authority::new();
    let app = Modern::echo(Settings {
        tls: Some(authority.issue(&["localhost"]).server(&["h2"])),
        ..Settings::default()
    });
    let setup = Setup::with_upstreams(&[&format!("https://localhost:{}", app.address.port())]);
    // The system's certificates are where these variables say.
    let folder = tempfile::tempdir().unwrap();
    let system = folder.path().join("system.pem");
    let variables = [("SSL_CERT_FILE", system.as_path()), ("SSL_CERT_DIR", Path::new(""))];
    let gateway = setup.start_in(folder, "system.pem", &authority.pem, &variables);
    let token = gateway.mint("production").secret;
    assert_eq!(gateway.ask(with_token("GET /", "shop.localhost", &token)).status, 200);

    let program = Program::new(&setup.text());
    std::fs::write(program.path("none.pem"), "").unwrap();
    let none = program.path("none.pem");
    let variables = [("SSL_CERT_FILE", none.to_str().unwrap()), ("SSL_CERT_DIR", "")];
    let checked = program.run_with(&["check"], &variables);
    assert_eq!(checked.code, 2, "{checked:?}");
    assert!(checked.stderr.contains("install its ca-certificates, or set `upstream_ca`"), "{checked:?}");
}

#[test]
fn websockets_pass_through_tls_over_http11() {
    let authority = Authority::new();
    let app = App::start(|exchange| {
        exchange.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nwelcome",
        );
        let said = exchange.wire.take(5).unwrap();
        exchange.send(said);
        exchange.close();
    });
    let issued = authority.issue(&["localhost"]);
    let terminator = Terminator::before(app.address, issued.server(&["h2", "http/1.1"]));
    let gateway = gateway(&format!("https://localhost:{}", terminator.address.port()), &authority);
    let token = gateway.mint("production").secret;
    let upgrade = websocket::wish(&token);
    let mut wire = gateway.connect();
    wire.send(request("GET /chat", &upgrade));
    assert_eq!(wire.head().unwrap().unwrap().status(), 101);
    assert_eq!(wire.take(7).unwrap(), b"welcome");
    wire.send("hello");
    assert_eq!(wire.take(5).unwrap(), b"hello");
    wire.wait_for_end();
    let [agreed] = &terminator.agreed()[..] else { panic!() };
    assert_eq!(agreed.protocol.as_deref(), Some("http/1.1"));
}

#[test]
fn a_new_connection_takes_the_session_up_again() {
    let authority = Authority::new();
    // Without a length the answer ends with the connection.
    let app = App::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\n\r\nall there is");
        exchange.close();
    });
    let terminator = Terminator::before(app.address, authority.issue(&["localhost"]).server(&[]));
    let gateway = gateway(&format!("https://localhost:{}", terminator.address.port()), &authority);
    let token = gateway.mint("production").secret;
    for _ in 0..3 {
        let answer = gateway.ask(with_token("GET /", "shop.localhost", &token));
        assert_eq!((answer.status, answer.text()), (200, "all there is"));
    }
    let resumed: Vec<_> = terminator.agreed().iter().map(|agreed| agreed.resumed).collect();
    assert_eq!(resumed, [false, true, true]);
}

#[test]
fn an_answer_that_was_cut_off_does_not_pass_for_a_whole_one() {
    let authority = Authority::new();
    let issued = authority.issue(&["localhost"]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway =
        gateway(&format!("https://localhost:{}", listener.local_addr().unwrap().port()), &authority);
    let token = gateway.mint("production").secret;
    let mut wire = gateway.connect();
    wire.send(with_token("GET /", "shop.localhost", &token));
    let stream = listener.accept().unwrap().0;
    let session = ServerConnection::new(issued.server(&["http/1.1"])).unwrap();
    let mut app = Wire::new(StreamOwned::new(session, stream));
    app.head().unwrap().unwrap();
    // No length, and in the end no word of TLS that this was all.
    app.send("HTTP/1.1 200 OK\r\n\r\nsome of it");
    let head = wire.head().unwrap().unwrap();
    assert_eq!(wire.chunk().unwrap(), b"some of it");
    drop(app);
    assert!(wire.chunk().is_err());
    assert_eq!(gateway.logged(head.get("x-request-id").unwrap())["ended"], "upstream_gone");
}
