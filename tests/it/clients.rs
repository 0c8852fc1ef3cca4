//! Clients that others wrote: what they say reaches the app, and what it answers reaches them, whatever both speak.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::{Mutex, mpsc};

use crate::support::app::App;
use crate::support::authority::Authority;
use crate::support::curl::{HOST, Site, WAYS};
use crate::support::modern::{Modern, Settings};
use crate::support::program::finish;
use crate::support::until;

/// What makes curl say how it went.
const SAY: [&str; 2] = ["--write-out", "%{http_version} %{http_code}"];

#[test]
fn bodies_pass_whole_whatever_is_spoken() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let mut bytes = vec![0; 50_000_000];
    fastrand::Rng::with_seed(7).fill(&mut bytes);
    fs::write(path("large"), &bytes).unwrap();
    fs::write(path("small"), &bytes[..1_500_000]).unwrap();
    let http1 = App::echo();
    let h2c = Modern::echo(Settings::default());
    let believed = Authority::new();
    believed.write("app", &["localhost"]);
    let tls = Some(believed.issued("app").server(&["h2"]));
    let https = Modern::echo(Settings { tls, ..Settings::default() });
    let apps = [
        (http1.url(), Authority::new()),
        (format!("h2c://{}", h2c.address), Authority::new()),
        (format!("https://localhost:{}", https.address.port()), believed),
    ];
    for (row, (url, authority)) in apps.into_iter().enumerate() {
        let site = Site::before(&url, authority);
        for (column, way) in WAYS.into_iter().enumerate() {
            // Each app and each way has a large one to carry, and all pairs of them a small one.
            let sizes = if column % 3 == row { &["small", "large"][..] } else { &["small"] };
            for size in sizes {
                let (sent, back) = (path(size), path("back"));
                let form = ["--data-binary", &format!("@{sent}"), "--output", &back, SAY[0], SAY[1]];
                let ran = site.run(way, &form, "/");

                assert_eq!(ran.stdout, format!("{} 200", way.version), "{url} {way:?}");
                assert!(fs::read(&sent).unwrap() == fs::read(&back).unwrap(), "{url} {way:?} {size}");
            }
        }
    }
}

#[test]
fn a_large_upload_waits_until_it_is_let_in() {
    let app = App::echo();
    let site = Site::before(&app.url(), Authority::new());
    let file = site.gateway.path("upload");
    fs::write(&file, vec![b'x'; 2_000_000]).unwrap();
    let sent = format!("@{}", file.display());
    let form = [
        "--verbose",
        "--output",
        "/dev/null",
        "--data-binary",
        &sent,
        "--write-out",
        "%{http_code} %{size_upload}",
    ];
    for way in WAYS.into_iter().filter(|way| way.version == "1.1") {
        let ran = site.run(way, &form, "/");
        assert_eq!(ran.stdout, "200 2000000");
        assert!(ran.stderr.contains("< HTTP/1.1 100 Continue"), "{}", ran.stderr);
        // Whoever has no token learns so before a byte of it was sent.
        let ran = finish(&mut site.curl_without_token(way, &form, "/"));
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "401 0"), "{ran:?}");
        assert!(!ran.stderr.contains("100 Continue"), "{}", ran.stderr);
    }
    assert_eq!(app.requests().len(), 2);
    assert!(app.requests().iter().all(|request| request.head.get("expect").is_none()));
}

#[test]
fn events_arrive_one_by_one() {
    let (permit, permits) = mpsc::channel();
    let permits = Mutex::new(permits);
    let app = App::start(move |exchange| {
        exchange
            .send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        while let Some(event) = permits.lock().unwrap().recv().unwrap() {
            let text: String = event;
            exchange.send(format!("{:x}\r\n{text}\r\n", text.len()));
        }
        exchange.send("0\r\n\r\n");
    });
    let site = Site::before(&app.url(), Authority::new());
    for way in WAYS {
        let mut command =
            site.curl(way, &["--no-buffer", "--header", "Accept: text/event-stream"], "/events");
        let mut curl = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(curl.stdout.take().unwrap());
        for number in 0..20 {
            // The app sends the next one only after this one was read.
            permit.send(Some(format!("id: {number}\ndata: event\n\n"))).unwrap();
            let mut event = String::new();
            for _ in 0..3 {
                lines.read_line(&mut event).unwrap();
            }
            assert_eq!(event, format!("id: {number}\ndata: event\n\n"), "{way:?}");
        }
        permit.send(None).unwrap();
        assert!(curl.wait().unwrap().success(), "{way:?}");
    }
    // A reader that goes away is no longer written to.
    until("their lines in the log", || (site.gateway.log().len() == WAYS.len()).then_some(()));
    let mut curl = site.curl(WAYS[4], &["--no-buffer"], "/events").stdout(Stdio::piped()).spawn().unwrap();
    permit.send(Some("data: x\n".to_owned())).unwrap();
    curl.stdout.take().unwrap().read_exact(&mut [0; 8]).unwrap();
    curl.kill().unwrap();
    curl.wait().unwrap();
    let line = until("its line in the log", || site.gateway.log().get(WAYS.len()).cloned());
    assert_eq!(line["ended"], "client_gone", "{line}");
    permit.send(None).unwrap();
}

#[test]
fn old_clients_keep_connections_only_where_they_ask_for_it() {
    let app = App::start(|exchange| match exchange.head.target() {
        // An end that only HTTP/1.1 can tell.
        "/chunked" => {
            exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        }
        _ => exchange.answer(b"hello"),
    });
    let site = Site::before(&app.url(), Authority::new());
    for scheme in ["http", "https"] {
        let way = WAYS.into_iter().find(|way| way.scheme == scheme).unwrap();
        let old = |fields: &[&str], path: &str| {
            let say = ["--write-out", "|%{http_version} %{http_code} %{num_connects}\n"];
            let next = format!("{scheme}://{HOST}{path}");
            let form = [&["--http1.0", "--include", &next][..], &say, fields].concat();
            site.run(way, &form, path).stdout
        };
        let connects = |said: &str| -> Vec<String> {
            let ends = said.lines().filter_map(|line| line.split_once('|'));
            ends.map(|(_, how)| how.to_owned()).collect()
        };
        let said = old(&[], "/");
        assert_eq!(connects(&said), ["1 200 1", "1 200 1"], "{said}");
        assert!(said.contains("content-length: 5\r\n") && !said.contains("chunked"), "{said}");
        let said = old(&["--header", "Connection: keep-alive"], "/");
        assert_eq!(connects(&said), ["1 200 1", "1 200 0"], "{said}");
        assert!(said.contains("connection: keep-alive\r\n"), "{said}");
        let said = old(&["--header", "Connection: keep-alive"], "/chunked");
        assert_eq!(connects(&said), ["1 200 1", "1 200 1"], "{said}");
        assert!(!said.contains("chunked") && said.contains("\r\n\r\nhello|"), "{said}");
    }
    // One that names no host, as the oldest do, is told that there is no such host, and the connection ends.
    let mut wire = site.gateway.connect();
    wire.send(format!("GET / HTTP/1.0\r\nX-Portcullis-Token: {}\r\n\r\n", site.token.secret));
    wire.answer().refused(404, "unknown_host");
    wire.wait_for_end();
}

#[test]
fn thousands_of_requests_at_once_over_tls() {
    let app = App::echo();
    let site = Site::before(&app.url(), Authority::new());
    let ran = finish(Command::new("h2load").args(["-n", "5000", "-c", "4", "-m", "100"]).args([
        &format!("--connect-to={}", site.gateway.tls_address()),
        "--header",
        &format!("X-Portcullis-Token: {}", site.token.secret),
        &format!("https://{HOST}/load"),
    ]));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("5000 succeeded, 0 failed, 0 errored"), "{}", ran.stdout);
    assert!(ran.stdout.contains("5000 2xx") && ran.stdout.contains("protocol: h2"), "{}", ran.stdout);
    assert_eq!(app.requests().len(), 5_000);
}
