//! HTTP/2 connections to an app, which the requests of many clients share: none pays for what another does.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use tokio::sync::Semaphore;

use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::http2::{
    CANCEL, Client, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frame, GOAWAY, HEADERS, PREFACE,
    REFUSED_STREAM, RST_STREAM, block,
};
use crate::support::modern::{Modern, Script, Settings};
use crate::support::until;
use crate::support::wire::{Answer, request};

/// An app of frames: `script` gets every request, with the number of its connection, after the settings.
fn app(script: impl Fn(usize, &mut Client, &Frame) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let script = Arc::new(script);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let (mut stream, script) = (stream.unwrap(), script.clone());
            thread::spawn(move || {
                if stream.read_exact(&mut [0; PREFACE.len()]).is_err() {
                    return;
                }
                let mut peer = Client::new(stream);
                peer.send(&Frame::settings(&[]));
                while let Some(asked) = peer.wait(|frame| frame.kind == HEADERS) {
                    script(number, &mut peer, &asked);
                }
            });
        }
    });
    address
}

/// Answers a request without a body.
fn answer(peer: &mut Client, asked: &Frame) {
    let block = block(&[(":status", "204")]);
    peer.try_send(&Frame::new(HEADERS, END_HEADERS | END_STREAM, asked.stream, block).bytes());
}

fn refuse(peer: &mut Client, asked: &Frame) {
    peer.try_send(&Frame::reset(asked.stream, REFUSED_STREAM).bytes());
}

fn start(apps: &[SocketAddr]) -> (Gateway, String) {
    let urls: Vec<_> = apps.iter().map(|app| format!("h2c://{app}")).collect();
    let urls: Vec<_> = urls.iter().map(String::as_str).collect();
    let gateway = Setup::with_upstreams(&urls).set("gateway", "workers", "1").start();
    let token = gateway.mint("production").secret;
    (gateway, token)
}

fn get(gateway: &Gateway, token: &str) -> Answer {
    gateway.ask(with_token("GET /", "shop.localhost", token))
}

/// What the admin side says of an upstream.
fn shown(gateway: &Gateway, key: &str) -> serde_json::Value {
    let app = gateway.admin("GET /v1/apps/shop", None).json();
    let production = app["environments"].as_array().unwrap().iter().find(|seen| seen["name"] == "production");
    production.unwrap()["upstreams"][0][key].clone()
}

#[test]
fn clients_that_break_off_use_up_a_connection_before_the_app_ends_it() {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let app = Modern::start(Settings::default(), move |seen| match seen.uri.path() {
        "/endless" => Script::new(200, "begin").endless(),
        _ => Script::new(200, "held").after(&held),
    });
    let (gateway, token) = start(&[app.address]);
    thread::scope(|scope| {
        let whole = scope.spawn(|| get(&gateway, &token).text().to_owned());
        until("the request that is held", || (app.requests().len() == 1).then_some(()));
        for broken in 1..=60 {
            let mut wire = gateway.connect();
            wire.send(with_token("GET /endless", "shop.localhost", &token));
            assert_eq!(wire.head().unwrap().unwrap().status(), 200);
            drop(wire);
            until("the reset", || (app.broken_off() == broken).then_some(()));
        }
        // The first one is left to those who use it.
        assert_eq!(app.connections(), 2);
        gate.add_permits(1);
        assert_eq!(whole.join().unwrap(), "held");
    });
    assert_eq!(shown(&gateway, "healthy"), true);
}

#[test]
fn a_connection_that_the_app_ends_for_calm_is_no_failure_of_the_app() {
    let asked_for = AtomicUsize::new(0);
    // Takes five requests, looks at all of them, and ends.
    let calm = app(move |_, peer, asked| {
        if asked_for.fetch_add(1, Ordering::SeqCst) >= 4 {
            let payload = [asked.stream.to_be_bytes(), ENHANCE_YOUR_CALM.to_be_bytes()].concat();
            peer.send(&Frame::new(GOAWAY, 0, 0, payload));
            peer.stream.shutdown(std::net::Shutdown::Write).unwrap();
        }
    });
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let other = Modern::start(Settings::default(), move |_| Script::new(204, "").after(&held));
    let (gateway, token) = start(&[calm, other.address]);
    let post = request("POST /", &[("X-Portcullis-Token", &token), ("Content-Length", "0")]);
    thread::scope(|scope| {
        // Both are used in turn, so that five come to the first.
        let posts: Vec<_> = (0..9).map(|_| scope.spawn(|| gateway.ask(&post))).collect();
        until("four at the other app", || (other.requests().len() == 4).then_some(()));
        gate.add_permits(4);
        let answers: Vec<_> = posts.into_iter().map(|post| post.join().unwrap()).collect();
        assert_eq!(answers.iter().filter(|answer| answer.status == 204).count(), 4);
        assert_eq!(answers.iter().filter(|answer| answer.status == 502).count(), 5);
    });
    assert_eq!(shown(&gateway, "healthy"), true);
}

#[test]
fn what_the_app_refuses_is_asked_once_more_and_the_connection_stays() {
    let connections = Arc::new(AtomicUsize::new(0));
    let (opened, asked_for) = (connections.clone(), AtomicUsize::new(0));
    // Refuses every other request.
    let app = app(move |number, peer, asked| {
        opened.fetch_max(number + 1, Ordering::SeqCst);
        match asked_for.fetch_add(1, Ordering::SeqCst) % 2 {
            0 => refuse(peer, asked),
            _ => answer(peer, asked),
        }
    });
    let (gateway, token) = start(&[app]);
    for _ in 0..5 {
        assert_eq!(get(&gateway, &token).status, 204);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    assert_eq!((shown(&gateway, "healthy"), shown(&gateway, "retries")), (true.into(), 5.into()));
    // Its body is under way: there is no second one to send.
    let post = request("POST /", &[("X-Portcullis-Token", &token), ("Content-Length", "2")]);
    let answer = gateway.ask([post, b"ab".to_vec()].concat());
    answer.refused(503, "upstream_unavailable");
    assert_eq!(answer.get("retry-after"), Some("1"));
}

#[test]
fn what_one_app_refuses_is_for_the_next_one() {
    let asked_for = Arc::new(AtomicUsize::new(0));
    let asked_of_full = asked_for.clone();
    let full = app(move |_, peer, asked| {
        asked_of_full.fetch_add(1, Ordering::SeqCst);
        refuse(peer, asked);
    });
    let free = app(|_, peer, asked| answer(peer, asked));
    let (gateway, token) = start(&[full, free]);
    for _ in 0..10 {
        let post = request("POST /", &[("X-Portcullis-Token", &token), ("Content-Length", "0")]);
        assert_eq!(gateway.ask(post).status, 204);
    }
    // It is asked each time: no request that was refused has counted against it.
    assert_eq!(asked_for.load(Ordering::SeqCst), 10);
    assert_eq!(shown(&gateway, "healthy"), true);
    let (gateway, token) = start(&[full]);
    let answer = get(&gateway, &token);
    answer.refused(503, "upstream_unavailable");
    assert_eq!((answer.get("retry-after"), asked_for.load(Ordering::SeqCst)), (Some("1"), 12));
}

#[test]
fn a_body_that_does_not_come_whole_is_cancelled() {
    let (tell, told) = mpsc::channel();
    let app = app(move |_, peer, asked| {
        let reset = peer.wait(|frame| frame.kind == RST_STREAM && frame.stream == asked.stream);
        tell.send(reset.map(|reset| reset.code())).unwrap();
    });
    let urls = format!("h2c://{app}");
    let gateway = Setup::with_upstreams(&[&urls]).set("gateway.limits", "body_bytes", "4").start();
    let token = gateway.mint("production").secret;
    let post = request("POST /", &[("X-Portcullis-Token", &token), ("Transfer-Encoding", "chunked")]);
    gateway.ask([post, b"5\r\nabcde\r\n".to_vec()].concat()).refused(413, "body_too_large");
    assert_eq!(told.recv().unwrap(), Some(CANCEL));
}
