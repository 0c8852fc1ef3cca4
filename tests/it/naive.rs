//! What a proxy gets wrong that puts the same libraries together and looks no further: each of these was seen in one.

use std::os::unix::net::UnixStream;
use std::time::Instant;

use crate::support::app::App;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::metrics::Metrics;
use crate::support::wire::{Answer, Wire, request};
use crate::support::{PATIENCE, until};

const HOST: &str = "shop.localhost";

/// Sends `head` with a good token in it; asserts that it is refused, the connection closed, and nothing forwarded.
#[track_caller]
fn refused(head: &str) -> Answer {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let mut wire = gateway.connect();
    wire.send(head.replace("TOKEN", &token));
    let answer = wire.answer();
    assert_eq!(answer.status, 400, "{head:?}: {answer:?}");
    wire.wait_for_end();
    assert_eq!(app.connections(), 0, "{head:?}");
    answer
}

#[test]
fn get_exclamation_mark_is_not_get_slash() {
    for target in ["!", "*", "shop.localhost:80", "*x", "index.html", "?a=b"] {
        refused(&format!("GET {target} HTTP/1.1\r\nHost: {HOST}\r\nX-Portcullis-Token: TOKEN\r\n\r\n"));
    }
}

#[test]
fn options_asterisk_goes_to_the_app_of_its_host_as_it_is() {
    let (production, development) = (App::echo(), App::echo());
    let gateway = Setup::new(&production)
        .set("apps.shop.environments.development", "upstreams", &format!("[\"{}\"]", development.url()))
        .start();
    for (environment, host, app) in
        [("production", HOST, &production), ("development", "shop.dev.localhost", &development)]
    {
        let token = gateway.mint(environment).secret;
        let answer = gateway.ask(with_token("OPTIONS *", host, &token));
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = app.only().head;
        assert_eq!((seen.line.as_str(), seen.get("host")), ("OPTIONS * HTTP/1.1", Some(host)));
    }
}

#[test]
fn two_transfer_encodings_reach_no_app() {
    for fields in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: gzip, chunked",
    ] {
        refused(&format!(
            "POST / HTTP/1.1\r\nHost: {HOST}\r\nX-Portcullis-Token: TOKEN\r\n{fields}\r\n\r\n0\r\n\r\n"
        ));
    }
}

#[test]
fn content_length_010_reaches_no_app() {
    for length in ["010", "+5", "5, 5", "0x5", ""] {
        refused(&format!(
            "POST / HTTP/1.1\r\nHost: {HOST}\r\nX-Portcullis-Token: TOKEN\r\nContent-Length: {length}\r\n\r\nhello"
        ));
    }
}

#[test]
fn of_two_authorizations_none_is_taken() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let bearer = format!("Bearer {token}");
    for second in [&*bearer, "Bearer pct_nonsense", "Basic dTpw", ""] {
        for fields in [[&*bearer, second], [second, &*bearer]] {
            let fields = fields.map(|value| ("Authorization", value));
            gateway.ask(request("GET /", &fields)).refused(400, "invalid_request");
        }
    }
    assert_eq!(app.connections(), 0);
}

#[test]
fn an_acceptor_without_descriptors_waits_and_recovers() {
    let gateway = Setup::new(&App::echo()).start_with_descriptors(96);
    // Opened before there are none left.
    let admin = UnixStream::connect(gateway.path("portcullis.sock")).unwrap();
    admin.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut admin = Wire::new(admin);
    let mut count = |what| {
        admin.send(request("GET /metrics", &[("Host", "localhost")]));
        Metrics::read(&admin.answer()).of(what)
    };
    const ERRORS: &str = "accept_errors_total";
    const ACCEPTED: &str = "connections_accepted_total";
    assert_eq!(count(ERRORS), 0.0);
    let mut before = gateway.connect();
    let healthy = |wire: &mut Wire<_>| {
        wire.send(request("GET /.portcullis/healthz", &[]));
        assert_eq!(wire.answer().status, 200);
    };
    healthy(&mut before);

    let began = Instant::now();
    let mut crowd: Vec<_> = (0..100).map(|_| gateway.connect()).collect();
    let failed = until("some attempts to accept", || Some(count(ERRORS)).filter(|failed| *failed >= 5.0));
    // Between any two of them it waits 10 ms at least.
    let most = began.elapsed().as_millis() as f64 / 10.0 + 1.0;
    assert!(failed <= most, "{failed} attempts where {most} would do");
    let told = || gateway.stderr().matches("accepting connections").count();
    until("the program's own word of it", || (told() > 0).then_some(()));
    // Each that was accepted makes room for one that waits, and the next attempt fails again.
    for gone in crowd.drain(..3) {
        let accepted = count(ACCEPTED);
        drop(gone);
        until("one more", || (count(ACCEPTED) > accepted).then_some(()));
        let failed = count(ERRORS);
        until("a failure after it", || (count(ERRORS) > failed).then_some(()));
    }
    assert_eq!(told(), 1, "{}", gateway.stderr());
    healthy(&mut before);

    drop(crowd);
    healthy(&mut gateway.connect());
    healthy(&mut before);
}
