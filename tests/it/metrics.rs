//! Metrics: what operators can count on, and what strangers cannot put there.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::app::App;
use crate::support::authority::Authority;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::http2::{self, CANCEL, Client, END_HEADERS, END_STREAM, Frame, HEADERS, PING};
use crate::support::metrics::Metrics;
use crate::support::wire::{connect, request};
use crate::support::{lonely_address, until};

const HOST: &str = "shop.localhost";
const PRODUCTION: &str = r#"{app="shop",environment="production"}"#;

fn outcome(environment: &str, code: &str, class: &str) -> String {
    let app = if environment.is_empty() { "" } else { "shop" };
    format!(
        r#"requests_total{{app="{app}",environment="{environment}",code="{code}",status_class="{class}"}}"#
    )
}

#[test]
fn every_request_is_counted_once_by_how_it_came_out() {
    let app = App::start(|exchange| match exchange.head.target() {
        "/missing" => drop(exchange.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")),
        _ => {
            let body = exchange.body();
            exchange.answer(&[&body[..], b"!!"].concat());
        }
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    for _ in 0..3 {
        let fields = [("X-Portcullis-Token", token.as_str()), ("Content-Length", "5")];
        gateway.ask([request("POST /", &fields), b"12345".to_vec()].concat());
    }
    gateway.ask(with_token("GET /missing", HOST, &token));
    gateway.ask(request("GET /", &[]));
    gateway.ask(with_token("GET /", "shop.dev.localhost", &token));
    gateway.ask(request("GET /", &[("Host", "elsewhere.example")]));
    gateway.ask(request("GET /.portcullis/healthz", &[]));
    let mut wire = gateway.connect();
    wire.send("GET\r\n\r\n");
    wire.wait_for_end();

    let lines = until("all lines", || Some(gateway.log()).filter(|lines| lines.len() == 9)).len();
    let metrics = gateway.metrics();
    for (environment, code, class, count) in [
        ("production", "ok", "2xx", 4.0),
        ("production", "ok", "4xx", 1.0),
        ("production", "token_missing", "4xx", 1.0),
        ("development", "wrong_environment", "4xx", 1.0),
        ("", "unknown_host", "4xx", 1.0),
        ("", "invalid_request", "4xx", 1.0),
    ] {
        assert_eq!(metrics.of(&outcome(environment, code, class)), count, "{environment} {code} {class}");
    }
    assert_eq!(metrics.sum("requests_total"), lines as f64);
    assert_eq!(metrics.sum("request_duration_seconds_count"), lines as f64);
    assert_eq!(metrics.of("heads_refused_total"), 1.0);
    assert_eq!(metrics.of(&format!("upstream_duration_seconds_count{PRODUCTION}")), 4.0);
    assert_eq!(metrics.of(&format!("request_body_bytes_total{PRODUCTION}")), 15.0);
    assert!(metrics.of(&format!("request_duration_seconds_sum{PRODUCTION}")) > 0.0);
    let sent: u64 = gateway.log().iter().map(|line| line["bytes_out"].as_u64().unwrap()).sum();
    assert_eq!(metrics.sum("response_body_bytes_total"), sent as f64);
    assert_eq!(metrics.sum("requests_in_flight"), 0.0);
    assert_eq!(metrics.of("connections_accepted_total"), 9.0);
    until("the connections' end", || (gateway.metrics().of("connections") == 0.0).then_some(()));
}

#[test]
fn what_has_not_ended_is_in_flight() {
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let app = App::start(move |exchange| {
        if exchange.head.target() == "/chat" {
            exchange.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            );
        }
        let _ = released.lock().unwrap().recv();
        exchange.close();
    });
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut waiting = gateway.connect();
    waiting.send(with_token("GET /", HOST, &token));
    app.wait_for(1);
    let (in_flight, open) = (format!("requests_in_flight{PRODUCTION}"), format!("tunnels_open{PRODUCTION}"));
    assert_eq!(gateway.metrics().of(&in_flight), 1.0);
    release.send(()).unwrap();
    assert_eq!(waiting.answer().status, 502);
    until("the request's end", || (gateway.metrics().of(&in_flight) == 0.0).then_some(()));

    let mut chat = gateway.connect();
    let upgrade =
        [("X-Portcullis-Token", token.as_str()), ("Connection", "upgrade"), ("Upgrade", "websocket")];
    chat.send(request("GET /chat", &upgrade));
    assert_eq!(chat.head().unwrap().unwrap().status(), 101);
    until("the tunnel", || (gateway.metrics().of(&open) == 1.0).then_some(()));
    assert_eq!(gateway.metrics().of(&in_flight), 1.0);
    let before = gateway.metrics().of(&format!("request_duration_seconds_count{PRODUCTION}"));
    release.send(()).unwrap();
    chat.wait_for_end();
    until("the tunnel's end", || (gateway.metrics().of(&open) == 0.0).then_some(()));
    let after = gateway.metrics();
    assert_eq!(after.of(&format!("tunnels_total{PRODUCTION}")), 1.0);
    assert_eq!(after.of(&outcome("production", "ok", "1xx")), 1.0);
    assert_eq!(after.of(&format!("request_duration_seconds_count{PRODUCTION}")), before);
}

#[test]
fn no_stranger_adds_a_label() {
    let gateway = Gateway::before(&App::echo());
    let token = gateway.mint("production").secret;
    let ask = |round: u32| {
        let hosts = [format!("h{round}.example"), format!("pct_{round}")];
        for host in &hosts {
            gateway.ask(request(&format!("GET /p{round}?q={round}"), &[("Host", host)]));
        }
        gateway.ask(with_token(&format!("GET /{token}/{round}"), HOST, &token));
        gateway.ask(request(&format!("M{round} /?project-protection-bypass={token}x"), &[]));
    };
    ask(0);
    until("what is there only once it is known", || {
        let metrics = gateway.metrics();
        metrics.get("tokens_expiring").and(metrics.get("last_use_flush_timestamp_seconds"))
    });
    let before = until("the first lines", || (gateway.log().len() == 4).then(|| gateway.metrics()));
    (1..20).for_each(ask);
    let after = until("the other lines", || (gateway.log().len() == 80).then(|| gateway.metrics()));
    assert_eq!(before.names(), after.names());
    assert_eq!(after.sum("requests_total"), 80.0);
    for secret in ["pct_", "pcm_", "example", &token[4..]] {
        assert!(!after.text.contains(secret), "{secret}");
    }
}

#[test]
fn both_formats_say_the_same() {
    let gateway = Gateway::before(&App::echo());
    for _ in 0..2 {
        gateway.logged(gateway.ask(request("GET /", &[])).get("x-request-id").unwrap());
    }
    let ask = |accept: &[(&str, &str)]| {
        let mut wire = connect(gateway.admin_address());
        wire.send(request("GET /metrics", &[&[("Host", "localhost")], accept].concat()));
        wire.answer()
    };
    let (plain, open) = (ask(&[]), ask(&[("Accept", "application/openmetrics-text; version=1.0.0")]));
    assert_eq!(plain.get("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(open.get("content-type").unwrap().starts_with("application/openmetrics-text; version=1.0.0"));
    let (plain, open, again) = (Metrics::read(&plain), Metrics::read(&open), gateway.metrics());
    // What comes up meanwhile is there the second time.
    assert!([plain.names(), again.names()].contains(&open.names()), "{}\n{}", plain.text, open.text);
    assert_eq!(plain.of(&outcome("production", "token_missing", "4xx")), 2.0);
}

#[test]
fn store_and_index_are_in_view() {
    let gateway = Gateway::before(&App::echo());
    let before = gateway.metrics();
    let token = gateway.mint("production");
    let after = gateway.metrics();
    assert_eq!((before.of("index_tokens"), after.of("index_tokens")), (0.0, 1.0));
    assert!(after.of("index_revision") > before.of("index_revision"));
    assert_eq!(after.of("index_revision"), after.of("store_revision"));
    assert_eq!(after.of("index_staleness_seconds"), 0.0);
    for operation in ["read", "write"] {
        let count = format!("store_operation_duration_seconds_count{{operation=\"{operation}\"}}");
        assert!(after.of(&count) > before.of(&count), "{operation}");
        assert_eq!(after.of(&format!("store_errors_total{{operation=\"{operation}\"}}")), 0.0);
    }
    assert_eq!(after.get("last_use_flush_timestamp_seconds"), None);
    gateway.ask(with_token("GET /", HOST, &token.secret));
    until("a flush of last uses", || gateway.metrics().get("last_use_flush_timestamp_seconds"));
    for process in ["resident_memory_bytes", "open_fds", "start_time_seconds"] {
        assert!(after.of(&format!("process_{process}")) > 1.0);
    }
}

#[test]
fn a_write_that_fails_is_counted() {
    let gateway = Setup::new(&App::echo()).set("gateway.access_log", "path", "\"off\"").start();
    let foreign = rusqlite::Connection::open(gateway.path("portcullis.db")).unwrap();
    foreign.execute_batch("ALTER TABLE audit RENAME TO elsewhere").unwrap();
    let order = serde_json::json!({ "app": "shop", "environment": "production", "expires_in": "1h" });
    assert_eq!(gateway.admin("POST /v1/tokens", Some(order)).status, 503);
    assert_eq!(gateway.metrics().of("store_errors_total{operation=\"write\"}"), 1.0);
}

#[test]
fn upstreams_are_told_apart_and_a_reload_forgets_nothing() {
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let app = App::start(move |exchange| {
        if exchange.head.target() == "/held" {
            let _ = released.lock().unwrap().recv();
        }
        exchange.answer(b"hi");
    });
    let dead = format!("http://{}", lonely_address());
    let setup = Setup::with_upstreams(&[&dead, &app.url()]).set("gateway", "workers", "1");
    let gateway = setup.start();
    let token = gateway.mint("production").secret;
    let of = |metrics: &Metrics, name: &str, upstream: &str| {
        let labels = format!(r#"app="shop",environment="production",upstream="{upstream}""#);
        metrics.of(&format!("upstream_{name}{{{labels}}}"))
    };
    let fresh = gateway.metrics();
    assert_eq!((of(&fresh, "healthy", &dead), of(&fresh, "ejections_total", &dead)), (1.0, 0.0));
    for _ in 0..10 {
        assert_eq!(gateway.ask(with_token("GET /", HOST, &token)).status, 200);
    }
    let mut held = gateway.connect();
    held.send(with_token("GET /held", HOST, &token));
    until("the request at the app", || {
        (of(&gateway.metrics(), "requests_in_flight", &app.url()) == 1.0).then_some(())
    });
    gateway.rewrite(&setup.both("host_header", "\"upstream\""));
    assert_eq!(gateway.cli(&["reload"]).code, 0);
    let after = gateway.metrics();
    for (name, of_dead, of_app) in [
        ("healthy", 0.0, 1.0),
        ("requests_in_flight", 0.0, 1.0),
        ("retries_total", 3.0, 0.0),
        ("ejections_total", 1.0, 0.0),
    ] {
        assert_eq!((of(&after, name, &dead), of(&after, name, &app.url())), (of_dead, of_app), "{name}");
    }
    release.send(()).unwrap();
    assert_eq!(held.answer().status, 200);
    until("the request's end", || {
        (of(&gateway.metrics(), "requests_in_flight", &app.url()) == 0.0).then_some(())
    });
}

#[test]
fn handshakes_and_the_end_of_certificates_are_in_view() {
    let authority = Authority::new();
    authority.save("shop", &authority.issue_until(&[HOST], 2050));
    authority.write("admin", &["localhost"]);
    let gateway = Setup::new(&App::echo())
        .and(&authority.entry("127.0.0.1:0", "shop"))
        .and(&format!("[admin.tls]\n{}", authority.pair("admin")))
        .start();
    let address = gateway.tls_address();
    let end = |metrics: &Metrics, listener: std::net::SocketAddr, file: &str| {
        let file = authority.path(file);
        let labels = format!(r#"listener="{listener}",file="{}""#, file.display());
        metrics.of(&format!("tls_certificate_expiry_timestamp_seconds{{{labels}}}"))
    };
    let fresh = gateway.metrics();
    assert_eq!(end(&fresh, address, "shop.pem"), 2_524_608_000.0);
    assert!(end(&fresh, gateway.admin_address(), "admin.pem") > 2_524_608_000.0);

    drop(authority.client().connect(address, HOST));
    let stranger = Authority::new().client();
    assert!(stranger.try_connect(address, HOST).is_err());
    let mut odd = authority.client();
    odd.config.alpn_protocols = vec![b"spdy/3".to_vec()];
    assert!(odd.try_connect(address, HOST).is_err());
    let mut plain = connect(address);
    plain.send(request("GET /", &[]));
    plain.wait_for_end();
    drop(connect(address));
    for outcome in ["ok", "refused", "no_protocol", "not_tls", "gone"] {
        let sample = format!("tls_handshakes_total{{outcome=\"{outcome}\"}}");
        until(&sample, || (gateway.metrics().of(&sample) == 1.0).then_some(()));
    }
    assert_eq!(gateway.metrics().sum("tls_handshakes_total"), 5.0);

    authority.save("shop", &authority.issue_until(&[HOST], 2060));
    until("the renewed certificate", || {
        (end(&gateway.metrics(), address, "shop.pem") == 2_840_140_800.0).then_some(())
    });
}

#[test]
fn connections_are_counted_by_what_is_spoken() {
    let authority = Authority::new();
    authority.write("shop", &[HOST]);
    let gateway = Setup::new(&App::echo()).and(&authority.entry("127.0.0.1:0", "shop")).start();
    let count = |protocol: &str, scheme: &str| {
        let labels = format!(r#"protocol="{protocol}",scheme="{scheme}""#);
        gateway.metrics().of(&format!("connections_by_protocol_total{{{labels}}}"))
    };
    const HEALTH: &str = "/.portcullis/healthz";
    drop(gateway.connect());
    for _ in 0..3 {
        assert_eq!(gateway.ask(request(&format!("GET {HEALTH}"), &[])).status, 200);
    }
    let mut client = authority.client();
    let mut wire = client.connect(gateway.tls_address(), HOST);
    wire.send(request(&format!("GET {HEALTH}"), &[]));
    assert_eq!(wire.answer().status, 200);
    client.config.alpn_protocols = vec![b"h2".to_vec()];
    let over_tls = client.connect(gateway.tls_address(), HOST).stream;
    let mut over_tls = Client::new(over_tls);
    over_tls.greet(&[]);
    let mut plain = [http2::connect(gateway.address()), http2::connect(gateway.address())];
    let stream = over_tls.ask("GET", HEALTH, &[]);
    assert_eq!(over_tls.answer(stream).status, 200);
    for client in &mut plain {
        let stream = client.ask("GET", HEALTH, &[]);
        assert_eq!(client.answer(stream).status, 200);
    }
    for (protocol, scheme, expected) in
        [("HTTP/1", "http", 3.0), ("HTTP/1", "https", 1.0), ("HTTP/2", "http", 2.0), ("HTTP/2", "https", 1.0)]
    {
        assert_eq!(count(protocol, scheme), expected, "{protocol} {scheme}");
    }
}

#[test]
fn clients_that_are_hung_up_on_are_counted_by_why() {
    static SENT: AtomicUsize = AtomicUsize::new(0);
    let app = App::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
        while exchange.send([b'x'; 65_536]) {
            SENT.fetch_add(1, Ordering::Relaxed);
        }
    });
    let gateway = Setup::new(&app)
        .set("gateway.limits", "header_timeout", "\"500ms\"")
        .set("gateway.limits", "idle_timeout", "\"700ms\"")
        .start();
    let token = gateway.mint("production").secret;
    let count =
        |reason: &str| gateway.metrics().of(&format!("connections_ended_total{{reason=\"{reason}\"}}"));
    let reaches = |reason: &str, expected: f64| {
        until(&format!("{reason} {expected}"), || (count(reason) == expected).then_some(()));
    };

    let mut pinging = http2::connect(gateway.address());
    let burst = Frame::new(PING, 0, 0, [0; 8]).bytes().repeat(1_000);
    while pinging.try_send(&burst) {}
    reaches("flood", 1.0);
    // This one the HTTP library notices.
    let mut resetting = http2::connect(gateway.address());
    let head = http2::block(&http2::fields("GET", "/", &[("x-portcullis-token", &token)]));
    let mut burst = Vec::new();
    for _ in 0..2_000 {
        let stream = resetting.stream();
        burst.extend(Frame::new(HEADERS, END_HEADERS | END_STREAM, stream, &head[..]).bytes());
        burst.extend(Frame::reset(stream, CANCEL).bytes());
    }
    resetting.try_send(&burst);
    reaches("flood", 2.0);

    let mut halves = [gateway.connect(), gateway.connect(), gateway.connect()];
    halves[1].send("GET / HT");
    halves[2].send(http2::PREFACE);
    reaches("late_head", 3.0);

    let mut deaf = gateway.connect();
    deaf.send(with_token("GET /", HOST, &token));
    let mut last = (0, Instant::now());
    until("everything between the app and the client to be full", || {
        let sent = SENT.load(Ordering::Relaxed);
        if sent != last.0 {
            last = (sent, Instant::now());
        }
        (sent > 0 && last.1.elapsed() > Duration::from_millis(200)).then_some(())
    });
    // Whoever looks first when all is late.
    gateway.signal(Signal::STOP);
    until("the end of its time", || (last.1.elapsed() > Duration::from_secs(1)).then_some(()));
    gateway.signal(Signal::CONT);
    reaches("not_reading", 1.0);
    assert_eq!(gateway.metrics().sum("connections_ended_total"), 6.0);
}
