//! Connections to apps: what goes on over one both ways at once, and when it is used again.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::thread;

use crate::support::app::App;
use crate::support::exchange::with_token;
use crate::support::gateway::Setup;
use crate::support::wire::{Wire, request};

const HOST: &str = "shop.localhost";

/// More than all buffers on the way hold together.
const MUCH: usize = 32 << 20;

#[test]
fn an_upload_goes_on_while_nobody_takes_its_answer() {
    let app = App::start(|exchange| {
        let mut stream = exchange.wire.stream.stream.try_clone().unwrap();
        let answer = thread::spawn(move || {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {MUCH}\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&vec![b'd'; MUCH]).unwrap();
        });
        exchange.skip(MUCH as u64).unwrap();
        answer.join().unwrap();
    });
    let gateway = Setup::new(&app).set("gateway", "workers", "1").start();
    let token = gateway.mint("production").secret;
    let length = MUCH.to_string();
    let mut wire = gateway.connect();
    for _ in 0..2 {
        wire.send(request("POST /", &[("X-Portcullis-Token", &token), ("Content-Length", &length)]));
        // All of it, before a byte of the answer is read.
        wire.send(vec![b'u'; MUCH]);
        assert_eq!(wire.head().unwrap().unwrap().status(), 200);
        wire.skip(MUCH as u64).unwrap();
    }
    assert_eq!(app.connections(), 1);
}

#[test]
fn a_connection_with_half_an_upload_on_it_is_not_used_again() {
    let app = App::start(|exchange| {
        exchange.answer(b"early");
        if exchange.head.line.starts_with("POST") {
            exchange.wire.wait_for_end();
            exchange.close();
        }
    });
    let gateway = Setup::new(&app).set("gateway", "workers", "1").start();
    let token = gateway.mint("production").secret;
    for (framing, begun) in
        [(("Content-Length", "10"), "hello"), (("Transfer-Encoding", "chunked"), "5\r\nhello\r\n")]
    {
        let mut wire = gateway.connect();
        wire.send(
            [&request("POST /", &[("X-Portcullis-Token", &token), framing])[..], begun.as_bytes()].concat(),
        );
        assert_eq!(wire.answer().text(), "early");
        let connections = app.connections();
        assert_eq!(gateway.ask(with_token("GET /", HOST, &token)).text(), "early");
        assert_eq!(app.connections(), connections + 1);
    }
}

#[test]
fn a_connection_that_the_app_has_closed_gets_no_request() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut wire = Wire::new(stream.unwrap());
            let head = wire.head().unwrap().unwrap();
            wire.body(&head).unwrap();
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            drop(wire);
            tell.send(()).unwrap();
        }
    });
    let gateway = Setup::with_upstreams(&[&url]).set("gateway", "workers", "1").start();
    let token = gateway.mint("production").secret;
    for _ in 0..20 {
        // It may not be sent twice, so that it must not meet a connection at its end.
        let post = request("POST /", &[("X-Portcullis-Token", &token), ("Content-Length", "2")]);
        assert_eq!(gateway.ask([post, b"ab".to_vec()].concat()).text(), "ok");
        told.recv().unwrap();
    }
}

#[test]
fn an_answer_cut_anywhere_is_the_same_answer() {
    const ANSWER: &str = "HTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\
                          X-A: b\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n";
    let app = App::start(|exchange| {
        let at: usize = exchange.head.target()[1..].parse().unwrap();
        exchange.send(&ANSWER[..at]);
        // In a piece of its own, or nearly always.
        thread::sleep(std::time::Duration::from_millis(1));
        exchange.send(&ANSWER[at..]);
    });
    let gateway = Setup::new(&app).set("gateway", "workers", "1").start();
    let token = gateway.mint("production").secret;
    for at in 1..ANSWER.len() {
        let answer = gateway.ask(with_token(&format!("GET /{at}"), HOST, &token));
        assert_eq!((answer.status, answer.text(), answer.get("x-a")), (200, "abcde", Some("b")), "{at}");
    }
    assert_eq!(app.connections(), 1);
}
