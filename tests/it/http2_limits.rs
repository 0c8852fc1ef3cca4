//! HTTP/2 clients that are slow, silent, or send what asks for nothing: bounded, told, and closed.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::app::App;
use crate::support::gateway::{Gateway, Setup};
use crate::support::http2::{
    self, ACK, CANCEL, CONTINUATION, Client, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frame, GOAWAY,
    HEADERS, NO_ERROR, Outcome, PING, PREFACE, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, connect,
    connect_with,
};
use crate::support::wire::{self, request};

const TOKEN: &str = "x-portcullis-token";

#[test]
fn what_is_spoken_shows_however_the_first_bytes_are_cut() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let drip = |stream: &mut std::net::TcpStream, bytes: &[u8], cut: usize| {
        for piece in bytes.chunks(cut) {
            stream.write_all(piece).unwrap();
            thread::sleep(Duration::from_millis(1));
        }
    };
    for cut in [1, 3, 23, 24, 25] {
        for method in ["P", "PR", "PRI", "PUT", "POST"] {
            let mut wire = gateway.connect();
            drip(&mut wire.stream, &request(&format!("{method} /"), &[(TOKEN, &token)]), cut);
            assert_eq!(wire.answer().status, 200, "{method}, cut every {cut}");
        }
        let mut wire = gateway.connect();
        drip(&mut wire.stream, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", cut);
        assert_eq!(wire.head().unwrap().map(|head| head.status()), Some(400));

        let mut client = Client::new(wire::connect(gateway.address()).stream);
        let head = block(&http2::fields("GET", "/", &[(TOKEN, &token)]));
        let frames = [Frame::settings(&[]), Frame::new(HEADERS, END_HEADERS | END_STREAM, 1, head)];
        let bytes = [PREFACE.to_vec(), frames.map(|frame| frame.bytes()).concat()].concat();
        drip(&mut client.stream, &bytes, cut);
        assert_eq!(client.answer(1).text(), "hello", "cut every {cut}");
    }
}

#[test]
fn a_beginning_without_an_end_is_closed_in_time() {
    let app = App::echo();
    let gateway = Setup::new(&app).set("gateway.limits", "header_timeout", "\"600ms\"").start();
    let token = gateway.mint("production").secret;
    let head = block(&http2::fields("GET", "/", &[(TOKEN, &token)]));
    let half = Frame::new(HEADERS, END_STREAM, 1, &head[..10]).bytes();
    let whole = Frame::new(HEADERS, END_STREAM | END_HEADERS, 1, &head[..]).bytes();
    let settings = Frame::settings(&[]).bytes();
    thread::scope(|scope| {
        for (begin, told) in [
            (b"PRI".to_vec(), false),
            (b"PRI * HT".to_vec(), false),
            (PREFACE[..23].to_vec(), false),
            (PREFACE.to_vec(), true),
            ([PREFACE, &settings[..5]].concat(), true),
            ([PREFACE, &settings[..], &half].concat(), true),
            ([PREFACE, &settings[..], &whole[..20]].concat(), true),
        ] {
            let began = Instant::now();
            let mut client = Client::new(wire::connect(gateway.address()).stream);
            scope.spawn(move || {
                client.send_bytes(&begin);
                assert_eq!(farewell(&mut client), told.then_some(NO_ERROR), "{}", begin.escape_ascii());
                assert!(began.elapsed() >= Duration::from_millis(550), "{}", begin.escape_ascii());
            });
        }
    });
    assert_eq!(app.connections(), 0);
    // A head that goes on and on does not come in time either.
    let mut client = connect(gateway.address());
    client.send_bytes(&half);
    let mut left = head[10..].to_vec();
    while !left.is_empty() && client.try_send(&Frame::new(CONTINUATION, 0, 1, vec![left.remove(0)]).bytes()) {
        thread::sleep(Duration::from_millis(250));
    }
    assert!(matches!(client.outcome(1), Outcome::Gone));
    assert_eq!(app.connections(), 0);
}

#[test]
fn a_connection_without_a_stream_is_closed_after_the_idle_time() {
    let app = App::echo();
    let gateway = Setup::new(&app).set("gateway.limits", "idle_timeout", "\"1s\"").start();
    let token = gateway.mint("production").secret;
    let mut client = connect(gateway.address());
    let mut ask = || {
        // Not after the answer: by then the gateway may be some way ahead.
        let began = Instant::now();
        let stream = client.ask("GET", "/", &[(TOKEN, &token)]);
        assert_eq!(client.answer(stream).status, 200);
        began
    };
    ask();
    let began = ask();
    assert_eq!(client.goaway(), NO_ERROR);
    assert!(began.elapsed() >= Duration::from_millis(950), "{:?}", began.elapsed());
}

#[test]
fn a_client_that_no_longer_answers_is_gone() {
    let app = App::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while exchange.send("4\r\ntick\r\n") {
            thread::sleep(Duration::from_millis(50));
        }
        exchange.close();
    });
    let gateway = Setup::new(&app).set("gateway.limits", "idle_timeout", "\"600ms\"").start();
    let token = gateway.mint("production").secret;
    let mut honest = connect(gateway.address());
    let going = honest.ask("GET", "/honest", &[(TOKEN, &token)]);
    let mut client = connect(gateway.address());
    client.ask("GET", "/dead", &[(TOKEN, &token)]);
    // Reads all that comes, and says nothing.
    let mut asked = false;
    while let Some(frame) = client.frame() {
        asked |= frame.kind == PING;
        honest.sync();
    }
    assert!(asked);
    honest.sync();
    assert_eq!(honest.answer_head(going).status(), 200);
    assert_eq!(gateway.metrics().of("connections_ended_total{reason=\"not_answering\"}"), 1.0);
    assert_eq!(honest.kept(GOAWAY) + honest.kept(RST_STREAM), 0);
}

#[test]
fn too_many_or_too_large_fields_are_refused() {
    let app = App::echo();
    let gateway = Setup::new(&app)
        .set("gateway.limits", "headers", "20")
        .set("gateway.limits", "header_bytes", "8192")
        .start();
    let token = gateway.mint("production").secret;
    let mut client = connect(gateway.address());
    let mut fields = vec![("x-a", "b"); 30];
    fields.push((TOKEN, &token));
    let stream = client.ask("GET", "/", &fields);
    client.answer(stream).refused(431, "headers_too_large");
    let long = "x".repeat(10_000);
    let stream = client.ask("GET", "/", &[("x-long", &long), (TOKEN, &token)]);
    assert_eq!(client.answer_head(stream).status(), 431);
    // As much again many times over is not even read.
    let endless = "x".repeat(16_000);
    let stream = client.ask("GET", "/", &[("x-long", &endless), (TOKEN, &token)]);
    assert_eq!(client.answer_head(stream).status(), 431);
    let head = block(&http2::fields("GET", "/", &[(TOKEN, &token)]));
    let stream = client.stream();
    client.send(&Frame::new(HEADERS, END_STREAM, stream, head));
    while client
        .try_send(&Frame::new(CONTINUATION, 0, stream, block(&[("x-more", &endless[..8_000])])).bytes())
    {}
    assert!(app.bytes().is_empty());
    let mut client = connect(gateway.address());
    let stream = client.ask("GET", "/", &[(TOKEN, &token)]);
    assert_eq!(client.answer(stream).status, 200);
}

/// Sends what `next` gives until the gateway hangs up; the code of its last GOAWAY. Its answers are taken meanwhile, or
/// both sides would wait for each other.
fn flood(client: &mut Client, mut next: impl FnMut(&mut Client) -> Vec<u8>) -> Option<u32> {
    let mut reader = Client::new(client.stream.try_clone().unwrap());
    let told = thread::spawn(move || farewell(&mut reader));
    let mut rounds = 0;
    loop {
        let bytes = next(client);
        if !client.try_send(&bytes) {
            return told.join().unwrap();
        }
        rounds += 1;
        assert!(rounds < 1_000_000, "all of it went through");
    }
}

/// Reads to the end and says nothing; the code of the last GOAWAY.
fn farewell(client: &mut Client) -> Option<u32> {
    let mut code = None;
    while let Some(frame) = client.frame() {
        code = if frame.kind == GOAWAY { Some(frame.code()) } else { code };
    }
    code
}

#[test]
fn frames_that_ask_for_nothing_are_counted() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    for frame in [
        Frame::new(PING, 0, 0, [0; 8]),
        Frame::new(PING, ACK, 0, [0; 8]),
        Frame::settings(&[]),
        Frame::new(PRIORITY, 0, 1, [0, 0, 0, 0, 15]),
        Frame::new(WINDOW_UPDATE, 0, 0, 1u32.to_be_bytes()),
        Frame::new(0xfa, 0, 0, []),
    ] {
        let mut client = connect(gateway.address());
        let stream = client.ask("GET", "/", &[(TOKEN, &token)]);
        assert_eq!(client.answer(stream).status, 200);
        let burst = frame.bytes().repeat(500);
        assert_eq!(flood(&mut client, |_| burst.clone()), Some(NO_ERROR), "{frame:?}");
    }
    assert!(!gateway.stderr().contains("PING"), "{}", gateway.stderr());
}

#[test]
fn floods_of_streams_end_with_goaway() {
    let app = App::start(|exchange| exchange.wire.wait_for_end());
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let head = block(&http2::fields("GET", "/", &[(TOKEN, &token)]));
    let nobody = block(&http2::fields("GET", "/", &[]));
    let two = |first: Frame, second: Frame| [first.bytes(), second.bytes()].concat();
    // Taken back as soon as they are there, let in or not.
    for block in [&head, &nobody] {
        let mut client = connect(gateway.address());
        let told = flood(&mut client, |client| {
            let stream = client.stream();
            let head = Frame::new(HEADERS, END_HEADERS | END_STREAM, stream, &block[..]);
            two(head, Frame::reset(stream, CANCEL))
        });
        assert!(matches!(told, Some(ENHANCE_YOUR_CALM | NO_ERROR)), "{told:?}");
    }
    // Broken, so that we have to take them back: a window that is widened by more than it may be.
    let mut client = connect(gateway.address());
    let told = flood(&mut client, |client| {
        let stream = client.stream();
        let head = Frame::new(HEADERS, END_HEADERS, stream, &nobody[..]);
        two(head, Frame::new(WINDOW_UPDATE, 0, stream, i32::MAX.to_be_bytes()))
    });
    assert_eq!(told, Some(ENHANCE_YOUR_CALM));
    // Empty pieces of a body.
    let mut client = connect(gateway.address());
    let stream = client.begin("POST", "/", &[(TOKEN, &token)]);
    let told = flood(&mut client, |_| Frame::new(DATA, 0, stream, []).bytes());
    assert_eq!(told, Some(ENHANCE_YOUR_CALM));
}

#[test]
fn honest_clients_may_probe_as_much_as_they_work() {
    let app = App::start(|exchange| {
        exchange.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 64 << 20));
        let piece = vec![b'x'; 64 << 10];
        for _ in 0..1024 {
            exchange.send(&piece);
        }
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut client = connect_with(gateway.address(), &[(http2::INITIAL_WINDOW_SIZE, 1 << 20)]);
    let stream = client.ask("GET", "/", &[(TOKEN, &token)]);
    let mut left = 64 << 20;
    while left > 0 {
        let frame = client.frame().expect("the whole answer");
        match frame.kind {
            DATA => {
                left -= frame.payload.len();
                // A probe and two wider windows for each piece, however small.
                let taken = (frame.payload.len() as u32).to_be_bytes();
                let mut reply = Frame::new(PING, 0, 0, [1; 8]).bytes();
                for place in [0, stream] {
                    reply.extend(Frame::new(WINDOW_UPDATE, 0, place, taken).bytes());
                }
                client.send_bytes(reply);
            }
            SETTINGS if !frame.has(ACK) => client.send(&Frame::new(SETTINGS, ACK, 0, [])),
            _ => assert_ne!(frame.kind, GOAWAY),
        }
    }
}
