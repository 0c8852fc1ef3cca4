//! Bodies and connections: passed on as they come, never held as a whole, and ended on both sides when one goes.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::support::app::App;
use crate::support::gateway::{Gateway, Setup};
use crate::support::until;
use crate::support::wire::{Wire, request};

const GIB: u64 = 1 << 30;

/// What the gateway may have used at its peak, buffers and the program itself included.
const PEAK_KIB: u64 = 50 * 1024;

/// The most memory that a process has had resident, in KiB.
fn peak(gateway: &Gateway) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn an_answer_arrives_as_it_trickles() {
    let (next, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let app = App::start(move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for word in ["one", "two", "three"] {
            exchange.send(format!("{:x}\r\n{word}\r\n", word.len()));
            // Nothing more until the client says that it has this one.
            held.lock().unwrap().recv().unwrap();
        }
        exchange.send("0\r\n\r\n");
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut wire = gateway.connect();
    wire.send(request("GET /", &[("X-Portcullis-Token", &token)]));
    assert_eq!(wire.head().unwrap().unwrap().status(), 200);
    for word in ["one", "two", "three"] {
        assert_eq!(String::from_utf8(wire.chunk().unwrap()).unwrap(), word);
        next.send(()).unwrap();
    }
    assert!(wire.chunk().unwrap().is_empty());
}

#[test]
fn an_upload_arrives_as_it_trickles_and_an_answer_may_overtake_it() {
    let (tell, told) = mpsc::channel();
    let app = App::start(move |exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        loop {
            let chunk = exchange.wire.chunk().unwrap();
            exchange.send([format!("{:x}\r\n", chunk.len()).as_bytes(), &chunk, b"\r\n"].concat());
            tell.send(chunk.len()).unwrap();
            if chunk.is_empty() {
                exchange.wire.trailers().unwrap();
                return;
            }
        }
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut wire = gateway.connect();
    wire.send(request("POST /", &[("X-Portcullis-Token", &token), ("Transfer-Encoding", "chunked")]));
    assert_eq!(wire.head().unwrap().unwrap().status(), 200);
    for word in ["one", "four", "seven"] {
        wire.send(format!("{:x}\r\n{word}\r\n", word.len()));
        assert_eq!(told.recv().unwrap(), word.len());
        assert_eq!(String::from_utf8(wire.chunk().unwrap()).unwrap(), word);
    }
    wire.send("0\r\n\r\n");
    assert!(wire.chunk().unwrap().is_empty());
}

#[test]
fn a_gibibyte_each_way_in_little_memory() {
    let app = App::start(|exchange| {
        if exchange.head.line.starts_with("PUT") {
            exchange.skip(GIB).unwrap();
            exchange.answer(b"taken");
            return;
        }
        exchange.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {GIB}\r\n\r\n"));
        let piece = vec![b'd'; 1 << 20];
        for _ in 0..GIB >> 20 {
            exchange.send(&piece);
        }
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut wire = gateway.connect();
            let length = GIB.to_string();
            let fields = [("X-Portcullis-Token", &*token), ("Content-Length", &length)];
            wire.send(request("PUT /", &fields));
            let piece = vec![b'u'; 1 << 20];
            for _ in 0..GIB >> 20 {
                wire.send(&piece);
            }
            assert_eq!(wire.answer().text(), "taken");
        });
        scope.spawn(|| {
            let mut wire = gateway.connect();
            wire.send(request("GET /", &[("X-Portcullis-Token", &token)]));
            assert_eq!(wire.head().unwrap().unwrap().status(), 200);
            wire.skip(GIB).unwrap();
        });
    });
    let peak = peak(&gateway);
    assert!(peak < PEAK_KIB, "{peak} KiB");
}

#[test]
fn a_reader_that_stops_holds_its_app_back() {
    let sent = Arc::new(Mutex::new(0_u64));
    let counter = sent.clone();
    let app = App::start(move |exchange| {
        exchange.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {GIB}\r\n\r\n"));
        let piece = vec![b'd'; 64 * 1024];
        while exchange.send(&piece) {
            *counter.lock().unwrap() += piece.len() as u64;
        }
    });
    let gateway = Setup::new(&app).set("gateway.limits", "idle_timeout", "\"1s\"").start();
    let token = gateway.mint("production").secret;
    let mut wire = gateway.connect();
    wire.send(request("GET /", &[("X-Portcullis-Token", &token)]));
    let head = wire.head().unwrap().unwrap();
    assert_eq!(head.status(), 200);
    // Without taking anything: what fits into the sockets' buffers has been sent when the gateway gives up.
    let id = head.get("x-request-id").unwrap();
    assert_eq!(gateway.logged(id)["ended"], "client_gone");
    assert!(*sent.lock().unwrap() < 64 << 20);
    assert!(peak(&gateway) < PEAK_KIB);
}

#[test]
fn a_client_that_goes_ends_the_request_at_the_app() {
    let (tell, told) = mpsc::channel();
    let app = App::start(move |exchange| {
        match exchange.head.target() {
            "/waiting" => tell.send("asked").unwrap(),
            _ => {
                exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun");
            }
        }
        exchange.wire.wait_for_end();
        exchange.close();
        tell.send("gone").unwrap();
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;

    // While it waits, whether it closes or only says that it will send no more.
    for half in [false, true] {
        let mut wire = gateway.connect();
        wire.send(request("GET /waiting", &[("X-Portcullis-Token", &token)]));
        assert_eq!(told.recv().unwrap(), "asked");
        if half {
            wire.finish();
        } else {
            drop(wire);
        }
        assert_eq!(told.recv().unwrap(), "gone");
    }
    let lines = until("both lines", || Some(gateway.log()).filter(|lines| lines.len() == 2));
    assert!(lines.iter().all(|line| line["ended"] == "client_gone"), "{lines:?}");

    // In the middle of an answer.
    let mut wire = gateway.connect();
    wire.send(request("GET /", &[("X-Portcullis-Token", &token)]));
    let head = wire.head().unwrap().unwrap();
    assert_eq!(wire.take(5).unwrap(), b"begun");
    drop(wire);
    assert_eq!(told.recv().unwrap(), "gone");
    assert_eq!(gateway.logged(head.get("x-request-id").unwrap())["ended"], "client_gone");
}

#[test]
fn a_client_that_goes_in_the_middle_of_its_upload_never_looks_complete() {
    let (tell, told) = mpsc::channel();
    let app = App::start(move |exchange| {
        tell.send("asked".to_owned()).unwrap();
        let head = exchange.head.clone();
        tell.send(format!("{:?}", exchange.wire.body(&head).is_err())).unwrap();
        exchange.close();
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    for (framing, begun) in
        [(("Content-Length", "10"), "hello"), (("Transfer-Encoding", "chunked"), "5\r\nhello\r\n")]
    {
        let mut wire = gateway.connect();
        wire.send(request("POST /", &[("X-Portcullis-Token", &token), framing]));
        wire.send(begun);
        assert_eq!(told.recv().unwrap(), "asked");
        drop(wire);
        assert_eq!(told.recv().unwrap(), "true", "{framing:?}");
    }
}

#[test]
fn an_app_that_goes_never_leaves_a_complete_answer() {
    let app = App::start(|exchange| {
        let framing = match exchange.head.target() {
            "/known" => "Content-Length: 1000\r\n\r\nbegun",
            _ => "Transfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n",
        };
        exchange.send(format!("HTTP/1.1 200 OK\r\n{framing}"));
        exchange.close();
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    for (target, version) in [("/known", "1.1"), ("/chunked", "1.1"), ("/known", "1.0"), ("/chunked", "1.0")]
    {
        let mut wire = gateway.connect();
        wire.send(format!(
            "GET {target} HTTP/{version}\r\nHost: shop.localhost\r\nX-Portcullis-Token: {token}\r\n\r\n"
        ));
        let head = wire.head().unwrap().unwrap();
        assert_eq!(head.status(), 200);
        // An answer that ends with its connection has to end in an error to be told from a whole one.
        assert!(wire.body(&head).is_err(), "{target} {version}");
        assert_eq!(gateway.logged(head.get("x-request-id").unwrap())["ended"], "upstream_gone");
    }
}

#[test]
fn connections_are_kept_on_both_sides() {
    let app = App::echo();
    let gateway = Setup::new(&app).set("gateway", "workers", "1").start();
    let token = gateway.mint("production").secret;
    let fields = [("X-Portcullis-Token", &*token)];
    let mut wire = gateway.connect();
    for _ in 0..20 {
        wire.send(request("GET /", &fields));
        assert_eq!(wire.answer().text(), "hello");
        wire.send([&request("POST /", &[fields[0], ("Content-Length", "3")])[..], b"abc"].concat());
        assert_eq!(wire.answer().text(), "abc");
    }
    for _ in 0..20 {
        assert_eq!(gateway.ask(request("GET /", &fields)).text(), "hello");
    }
    assert_eq!((app.requests().len(), app.connections()), (60, 1));
}

#[test]
fn what_may_have_been_done_is_not_done_twice() {
    // Answers the first request of each connection, and takes the second without a word.
    let served = Arc::new(Mutex::new(Vec::new()));
    let app = App::start(move |exchange| {
        let connection = exchange.wire.stream.connection;
        exchange.body();
        let mut served = served.lock().unwrap();
        if served.contains(&connection) {
            exchange.close();
        } else {
            served.push(connection);
            exchange.answer(b"first");
        }
    });
    let gateway = Setup::new(&app).set("gateway", "workers", "1").start();
    let token = gateway.mint("production").secret;
    let field = ("X-Portcullis-Token", &*token);
    // Which of them are sent once more, over a connection of their own.
    for (line, body, again) in [
        ("GET /", None, true),
        ("HEAD /", None, true),
        ("DELETE /", None, true),
        ("PUT /", None, true),
        ("POST /", None, false),
        ("PATCH /", None, false),
        ("POST /", Some("abc"), false),
        ("PUT /", Some("abc"), false),
    ] {
        // A connection that has served once is in the pool: a fresh request may find a used-up one and go again.
        assert_eq!(gateway.ask(request("GET /warm", &[field])).text(), "first");
        let before = app.requests().len();
        let length = body.unwrap_or_default().len().to_string();
        let mut fields = vec![field];
        if body.is_some() {
            fields.push(("Content-Length", &length));
        }
        let mut wire = gateway.connect();
        wire.send([&request(line, &fields)[..], body.unwrap_or_default().as_bytes()].concat());
        let status = wire.head().unwrap().unwrap().status();
        let requests = app.requests().len() - before;
        assert_eq!((status, requests), if again { (200, 2) } else { (502, 1) }, "{line} {body:?}");
    }
}

#[test]
fn an_upstream_that_is_down_is_passed_over() {
    let app = App::echo();
    let down = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let upstreams = format!("[\"http://{down}\", \"{}\"]", app.url());
    let gateway = Setup::new(&app).set("apps.shop.environments.production", "upstreams", &upstreams).start();
    let token = gateway.mint("production").secret;
    let fields = [("X-Portcullis-Token", &*token), ("Content-Length", "3")];
    // Nothing of the body has left the gateway when the first of them takes no connection.
    for _ in 0..6 {
        assert_eq!(gateway.ask([&request("POST /", &fields)[..], b"abc"].concat()).text(), "abc");
    }
    assert_eq!(app.requests().len(), 6);
}

#[test]
fn an_app_may_listen_on_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        let mut wire = Wire::new(listener.accept().unwrap().0);
        while let Ok(Some(head)) = wire.head() {
            let host = head.get("host").unwrap();
            wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{host}", host.len()));
        }
    });
    let upstreams = format!("[\"unix:{}\"]", path.display());
    let production = "apps.shop.environments.production";
    let gateway = Setup::new(&App::echo())
        .set("gateway", "workers", "1")
        .set(production, "upstreams", &upstreams)
        .set(production, "host_header", "\"upstream\"")
        .start();
    let token = gateway.mint("production").secret;
    for _ in 0..3 {
        let answer = gateway.ask(request("GET /", &[("X-Portcullis-Token", &token)]));
        assert_eq!(answer.text(), "localhost");
    }
}

#[test]
fn an_answer_that_stops_is_cut() {
    let app = App::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun");
        exchange.wire.wait_for_end();
        exchange.close();
    });
    let timeouts = "{ idle = \"300ms\" }";
    let gateway = Setup::new(&app).set("apps.shop.environments.production", "timeouts", timeouts).start();
    let token = gateway.mint("production").secret;
    let mut wire = gateway.connect();
    wire.send(request("GET /", &[("X-Portcullis-Token", &token)]));
    let head = wire.head().unwrap().unwrap();
    assert!(wire.body(&head).is_err());
    assert_eq!(gateway.logged(head.get("x-request-id").unwrap())["ended"], "upstream_gone");
}

#[test]
fn answers_without_a_body_end_with_their_head() {
    let app = App::start(|exchange| {
        let head = match exchange.head.target() {
            "/none" => "204 No Content\r\n\r\n",
            "/same" => "304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 1000\r\n\r\n",
            "/chunked" => "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            _ => "200 OK\r\nContent-Length: 1000\r\n\r\n",
        };
        exchange.send(format!("HTTP/1.1 {head}"));
    });
    let gateway = Setup::new(&app).set("gateway", "workers", "1").start();
    let token = gateway.mint("production").secret;
    let mut wire = gateway.connect();
    for (line, status, length) in [
        ("HEAD /", 200, Some("1000")),
        ("HEAD /chunked", 200, None),
        ("GET /none", 204, None),
        // It may say how long the document is, and need not (RFC 9110, section 15.4.5).
        ("GET /same", 304, None),
        ("HEAD /none", 204, None),
    ] {
        wire.send(request(line, &[("X-Portcullis-Token", &token)]));
        // The next head follows directly: a body in between would be read as one.
        let head = wire.head().unwrap().unwrap();
        assert_eq!((head.status(), head.get("content-length")), (status, length), "{line}: {head:?}");
        let line = gateway.logged(head.get("x-request-id").unwrap());
        assert_eq!((&line["ended"], &line["bytes_out"]), (&"complete".into(), &0.into()));
    }
    assert_eq!(app.connections(), 1);
}

#[test]
fn old_clients_are_served() {
    let app = App::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut wire = gateway.connect();
    wire.send(format!("GET / HTTP/1.0\r\nHost: shop.localhost\r\nX-Portcullis-Token: {token}\r\n\r\n"));
    let head = wire.head().unwrap().unwrap();
    assert_eq!((head.status(), head.get("transfer-encoding")), (200, None));
    assert_eq!(wire.rest().unwrap(), b"hello");
    let seen = app.only();
    assert_eq!(seen.head.line, "GET / HTTP/1.1");
    assert_eq!(gateway.logged(head.get("x-request-id").unwrap())["protocol"], "HTTP/1.0");
}

#[test]
fn a_body_is_called_for_only_once_the_request_is_authorized() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let expecting = [("Content-Length", "5"), ("Expect", "100-continue")];
    let answer = gateway.ask(request("POST /", &expecting));
    answer.refused(401, "token_missing");
    assert!(app.bytes().is_empty());

    let mut wire = gateway.connect();
    wire.send(request("POST /", &[&[("X-Portcullis-Token", &*token)], &expecting[..]].concat()));
    assert_eq!(wire.answer().status, 100);
    wire.send("hello");
    assert_eq!(wire.answer().text(), "hello");
    assert_eq!(app.only().head.get("expect"), None);
}

#[test]
fn interim_answers_of_the_app_stay_there() {
    let app = App::start(|exchange| {
        exchange.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
        exchange.answer(b"last");
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let answer = gateway.ask(request("GET /", &[("X-Portcullis-Token", &token)]));
    assert_eq!((answer.status, answer.text()), (200, "last"));
}

#[test]
fn what_an_app_sends_unasked_is_nobodys_answer() {
    // In one piece: what comes later than the next request cannot be told from its answer by anyone.
    let app = App::start(|exchange| {
        let one = |text: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{text}");
        match exchange.head.target() {
            "/twice" => exchange.send([one("hello"), one("stray")].concat()),
            _ => exchange.send(one("hello")),
        };
    });
    let gateway = Setup::new(&app).set("gateway", "workers", "1").start();
    let token = gateway.mint("production").secret;
    for target in ["/twice", "/next", "/twice", "/next"] {
        let answer = gateway.ask(request(&format!("GET {target}"), &[("X-Portcullis-Token", &token)]));
        assert_eq!(answer.text(), "hello", "{target}");
    }
}
