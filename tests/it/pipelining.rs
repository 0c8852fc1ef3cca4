//! What stands behind a request that is being served: it waits, it is judged like any other, and it ends nothing.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::support::app::App;
use crate::support::exchange::with_token;
use crate::support::gateway::Setup;
use crate::support::wire::request;

const HOST: &str = "shop.localhost";

/// The client takes some of an answer now and then, for longer than a head may take, and has sent more already.
#[test]
fn an_answer_that_is_taken_slowly_is_not_cut_for_what_stands_behind_its_request() {
    const LENGTH: usize = 300_000;
    let app = App::start(|exchange| exchange.answer(&vec![b'x'; LENGTH]));
    let gateway = Setup::new(&app).set("gateway.limits", "header_timeout", "\"300ms\"").start();
    let token = gateway.mint("production").secret;
    let get = with_token("GET /", HOST, &token);
    for (behind, answers) in [(&get[..], 2), (b"\r\n", 1)] {
        let mut wire = gateway.connect();
        SockRef::from(&wire.stream).set_recv_buffer_size(4096).unwrap();
        wire.send([&get, behind].concat());
        let (began, head) = (Instant::now(), wire.head().unwrap().unwrap());
        assert_eq!(head.status(), 200);
        let mut left = LENGTH;
        while began.elapsed() < Duration::from_millis(900) {
            let taken = wire.take(2000.min(left)).unwrap().len();
            left -= taken;
            std::thread::sleep(Duration::from_millis(10));
        }
        wire.skip(left as u64).unwrap();
        for _ in 1..answers {
            assert_eq!(wire.answer().text().len(), LENGTH);
        }
    }
}

#[test]
fn a_partial_head_is_not_waited_for_longer_because_it_came_behind_a_body() {
    let app = App::echo();
    let gateway = Setup::new(&app)
        .set("gateway.limits", "header_timeout", "\"500ms\"")
        .set("gateway.limits", "idle_timeout", "\"1h\"")
        .start();
    let mut wire = gateway.connect();
    let whole = request("GET /.portcullis/healthz", &[("Content-Length", "5")]);
    wire.send([&whole[..], b"helloGET / HT"].concat());
    assert_eq!(wire.answer().status, 200);
    wire.answer().refused(408, "request_timeout");
}

/// Who is refused in the middle of sending can send to the end and reads why.
#[test]
fn a_malformed_request_is_heard_out() {
    let app = App::echo();
    let gateway = Setup::new(&app).start();
    let many: Vec<_> = (0..120).map(|_| ("A", "b")).collect();
    for (fields, status, code) in [
        (&[("Content-Length", "500000"), ("Content-Length", "500000")][..], 400, "invalid_request"),
        (&many, 431, "headers_too_large"),
        (&[("Content-Length", "500000"), ("A b", "c")], 400, "invalid_request"),
    ] {
        let mut wire = gateway.connect();
        wire.send(request("POST /", fields));
        for _ in 0..50 {
            wire.stream.write_all(&[b'x'; 10_000]).unwrap();
        }
        let answer = wire.answer();
        answer.refused(status, code);
        assert_eq!(answer.get("connection"), Some("close"));
    }
}

/// Where the end of a body is in doubt, what follows it is no request.
#[test]
fn nothing_is_served_behind_a_malformed_body_that_nobody_took() {
    let app = App::echo();
    let gateway = Setup::new(&app).start();
    for body in ["0\r\nA B: c\r\n\r\n", "x\r\n"] {
        let mut wire = gateway.connect();
        let whole = request("GET /.portcullis/healthz", &[("Transfer-Encoding", "chunked")]);
        let next = request("GET /.portcullis/healthz", &[]);
        wire.send([&whole[..], body.as_bytes(), &next].concat());
        wire.finish();
        let mut answers = String::new();
        wire.stream.read_to_string(&mut answers).unwrap();
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
    }
}
