//! What runs over one HTTP/2 connection is ended stream by stream: by what let it in, by its client, by a drain.

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::support::app::App;
use crate::support::gateway::{Gateway, Minted, Setup};
use crate::support::http2::{
    CANCEL, Client, DATA, END_STREAM, Frame, GOAWAY, INITIAL_WINDOW_SIZE, NO_ERROR, Outcome, RST_STREAM,
    WINDOW_UPDATE, connect, connect_with,
};
use crate::support::{PATIENCE, until};

const TOKEN: &str = "x-portcullis-token";

/// An app that keeps its clients waiting, and tells the path of each request that was ended from the other side.
fn slow_app() -> (App, Receiver<String>) {
    let (end, ends) = channel();
    let app = App::start(move |exchange| {
        let path = exchange.head.target().to_owned();
        match path.as_str() {
            "/wait" => exchange.wire.wait_for_end(),
            "/stream" => {
                exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                while exchange.send("4\r\ntick\r\n") {
                    thread::sleep(Duration::from_millis(5));
                }
            }
            "/large" => {
                exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
                while exchange.send([b'x'; 65_536]) {}
            }
            "/upload" => while exchange.wire.chunk().is_ok_and(|chunk| !chunk.is_empty()) {},
            "/later" => {
                thread::sleep(Duration::from_millis(500));
                return exchange.answer(b"late");
            }
            _ => return exchange.answer(b"hello"),
        }
        exchange.close();
        let _ = end.send(path);
    });
    (app, ends)
}

/// Begins a request and waits for the first of its answer's body.
fn download(client: &mut Client, path: &str, token: &str) -> u32 {
    let stream = client.ask("GET", path, &[(TOKEN, token)]);
    assert_eq!(client.answer_head(stream).status(), 200);
    client.wait(|frame| frame.stream == stream && frame.kind == DATA).unwrap();
    stream
}

#[test]
fn a_revocation_cuts_the_streams_of_its_token_and_no_other() {
    let (app, ends) = slow_app();
    let gateway = Gateway::before(&app);
    let (lost, kept): (Minted, Minted) = (gateway.mint("production"), gateway.mint("production"));
    let mut client = connect(gateway.address());
    let other = download(&mut client, "/stream", &kept.secret);
    let running = download(&mut client, "/stream", &lost.secret);
    let waiting = client.ask("GET", "/wait", &[(TOKEN, &lost.secret)]);
    let sending = client.begin("POST", "/upload", &[(TOKEN, &lost.secret)]);
    client.data(sending, b"some", 0);
    app.wait_for(4);

    let receipt = gateway.revoke(&lost.id);
    assert_eq!(receipt["ended"], json!({ "requests": 2, "streams": 1 }));
    assert_eq!(client.reset(running), CANCEL);
    client.answer(waiting).refused(401, "token_revoked");
    client.answer(sending).refused(401, "token_revoked");
    let next = client.ask("GET", "/", &[(TOKEN, &lost.secret)]);
    client.answer(next).refused(401, "token_revoked");
    let mut told = [(); 3].map(|()| ends.recv_timeout(PATIENCE).unwrap());
    told.sort_unstable();
    assert_eq!(told, ["/stream", "/upload", "/wait"]);
    let line = until("the line of the stream that was cut", || {
        let of_running = |line: &serde_json::Value| line["path"] == "/stream" && line["token_id"] == *lost.id;
        gateway.log().into_iter().find(of_running)
    });
    assert_eq!(
        (&line["ended"], &line["status"], &line["code"]),
        (&json!("revoked"), &json!(200), &json!("ok"))
    );

    // The other token's goes on, over the same connection.
    client.wait(|frame| frame.stream == other && frame.kind == DATA).unwrap();
    let seen = client.kept(DATA);
    client.sync();
    until("more of the other stream", || {
        client.sync();
        (client.kept(DATA) > seen).then_some(())
    });
    assert_eq!(client.kept(GOAWAY), 0);
}

#[test]
fn a_revocation_cuts_a_stream_whose_client_takes_nothing() {
    let (app, ends) = slow_app();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production");
    let mut client = connect_with(gateway.address(), &[(INITIAL_WINDOW_SIZE, 0)]);
    let stream = client.ask("GET", "/large", &[(TOKEN, &token.secret)]);
    assert_eq!(client.answer_head(stream).status(), 200);
    // One that took something and stopped.
    let half = client.ask("GET", "/large", &[(TOKEN, &token.secret)]);
    assert_eq!(client.answer_head(half).status(), 200);
    client.send(&Frame::new(WINDOW_UPDATE, 0, half, 10_000u32.to_be_bytes()));
    client.wait(|frame| frame.stream == half && frame.kind == DATA).unwrap();
    assert_eq!(gateway.revoke(&token.id)["ended"], json!({ "requests": 0, "streams": 2 }));
    assert_eq!((client.reset(stream), client.reset(half)), (CANCEL, CANCEL));
    assert_eq!([(); 2].map(|()| ends.recv_timeout(PATIENCE).unwrap()), ["/large", "/large"]);
    let next = client.ask("GET", "/", &[(TOKEN, &token.secret)]);
    // Its window is shut for this answer too, so its head is all that can come.
    assert_eq!(client.answer_head(next).status(), 401);
}

#[test]
fn expiry_ends_streams_too() {
    let (app, ends) = slow_app();
    let gateway = Gateway::before(&app);
    let token = gateway.mint_for("production", Duration::from_secs(3)).secret;
    let mut client = connect(gateway.address());
    let running = download(&mut client, "/stream", &token);
    let waiting = client.ask("GET", "/wait", &[(TOKEN, &token)]);
    client.answer(waiting).refused(401, "token_expired");
    assert_eq!(client.reset(running), CANCEL);
    let mut told = [(); 2].map(|()| ends.recv_timeout(PATIENCE).unwrap());
    told.sort_unstable();
    assert_eq!(told, ["/stream", "/wait"]);
}

#[test]
fn a_client_that_takes_a_request_back_ends_it_at_the_app() {
    let (app, ends) = slow_app();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut client = connect(gateway.address());
    for path in ["/wait", "/stream", "/large", "/upload"] {
        let stream = match path {
            "/wait" => client.ask("GET", path, &[(TOKEN, &token)]),
            "/upload" => client.begin("POST", path, &[(TOKEN, &token)]),
            _ => download(&mut client, path, &token),
        };
        until("the request at the app", || {
            app.requests().iter().any(|request| request.head.target() == path).then_some(())
        });
        client.send(&Frame::reset(stream, CANCEL));
        assert_eq!(ends.recv_timeout(PATIENCE).unwrap(), path);
        let line = until("its line", || gateway.log().into_iter().find(|line| line["path"] == path));
        assert_eq!(line["ended"], "client_gone", "{line}");
    }
    // The whole connection gone is the same for each of its streams.
    let stream = client.ask("GET", "/wait", &[(TOKEN, &token)]);
    app.wait_for(5);
    assert!(stream > 0);
    drop(client);
    assert_eq!(ends.recv_timeout(PATIENCE).unwrap(), "/wait");
}

#[test]
fn an_app_that_goes_never_leaves_a_complete_answer() {
    let app = App::start(|exchange| {
        let head = match exchange.head.target() {
            "/chunked" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ntick\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ntick",
        };
        exchange.send(head);
        exchange.close();
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut client = connect(gateway.address());
    for path in ["/chunked", "/length"] {
        let stream = client.ask("GET", path, &[(TOKEN, &token)]);
        let outcome = client.outcome(stream);
        assert!(matches!(outcome, Outcome::Reset(..)), "{path}: {outcome:?}");
    }
}

#[test]
fn a_stream_that_stands_still_is_ended_and_its_neighbours_are_not() {
    let (app, ends) = slow_app();
    let gateway = Setup::new(&app).set("gateway.limits", "idle_timeout", "\"700ms\"").start();
    let token = gateway.mint("production").secret;
    let mut client = connect_with(gateway.address(), &[(INITIAL_WINDOW_SIZE, 0)]);
    let field = (TOKEN, token.as_str());
    let reader = client.ask("GET", "/large", &[field]);
    let sender = client.begin("POST", "/upload", &[field]);
    client.data(sender, b"some", 0);
    let honest = client.ask("GET", "/stream", &[field]);
    client.send(&Frame::new(WINDOW_UPDATE, 0, honest, 1_000_000u32.to_be_bytes()));
    assert_eq!(client.answer_head(sender).status(), 408);
    assert_eq!(client.answer_head(reader).status(), 200);
    assert_eq!(client.reset(reader), CANCEL);
    let mut told = [(); 2].map(|()| ends.recv_timeout(PATIENCE).unwrap());
    told.sort_unstable();
    assert_eq!(told, ["/large", "/upload"]);
    client.answer_head(honest);
    let seen = client.kept(DATA);
    until("more of the stream that moves", || {
        client.sync();
        (client.kept(DATA) > seen).then_some(())
    });
}

#[test]
fn a_drain_says_goodbye_and_lets_streams_finish() {
    let (app, _ends) = slow_app();
    let mut gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut client = connect(gateway.address());
    let mut idle = connect(gateway.address());
    idle.sync();
    let stream = client.ask("GET", "/later", &[(TOKEN, &token)]);
    let upload = client.begin("POST", "/echo", &[(TOKEN, &token), ("content-length", "4")]);
    app.wait_for(2);
    gateway.signal(Signal::TERM);
    let goaway = client.wait(|frame| frame.kind == GOAWAY).unwrap();
    assert_eq!((goaway.code(), &goaway.payload[..4]), (NO_ERROR, &[0x7f, 0xff, 0xff, 0xff][..]));
    client.data(upload, b"data", END_STREAM);
    assert_eq!(client.answer(stream).text(), "late");
    assert_eq!(client.answer(upload).text(), "hello");
    assert_eq!((client.goaway(), idle.goaway()), (NO_ERROR, NO_ERROR));
    assert!(gateway.exit().success());
}

#[test]
fn what_we_say_ourselves_is_taken_in_time_or_taken_back() {
    let (app, _ends) = slow_app();
    let gateway = Setup::new(&app).set("gateway.limits", "idle_timeout", "\"600ms\"").start();
    let mut client = connect_with(gateway.address(), &[(INITIAL_WINDOW_SIZE, 0)]);
    let long = format!("/{}", "a".repeat(10_000));
    for (path, status) in [(&*long, 401), ("/.portcullis/healthz", 200)] {
        let stream = client.ask("GET", path, &[]);
        let head = client.answer_head(stream);
        assert_eq!(client.reset(stream), CANCEL, "{path}");
        let line = gateway.logged(head.get("x-request-id").unwrap());
        assert_eq!((&line["status"], &line["ended"]), (&json!(status), &json!("client_gone")), "{line}");
        assert_eq!(line["bytes_out"], 0, "{line}");
        let logged = line["path"].as_str().unwrap();
        assert!(logged == path || (logged.len() < 3000 && logged.ends_with("[shortened]")), "{line}");
    }
}

#[test]
fn the_body_of_a_refused_request_is_heard_out() {
    let gateway = Setup::with_upstreams(&["http://127.0.0.1:1"]).start();
    let token = gateway.mint("production").secret;
    for (fields, status) in [(&[][..], 401), (&[(TOKEN, &*token)], 502)] {
        let mut client = connect(gateway.address());
        let length = [("content-length", "4")];
        let stream = client.begin("POST", "/", &[&length[..], fields].concat());
        assert_eq!(client.answer(stream).status, status);
        client.data(stream, b"data", END_STREAM);
        client.sync();
        // Told to stop, some clients would have dropped the answer.
        assert_eq!(client.kept(RST_STREAM), 0, "{status}");
    }
}
