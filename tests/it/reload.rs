//! The configuration read again while everything runs: all of it comes into force, or nothing does.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::authority::Authority;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::wire::{self, Wire, request};
use crate::support::{PATIENCE, lonely_address, until};

const HOST: &str = "shop.localhost";
const PRODUCTION: &str = "apps.shop.environments.production";
const HEALTH: &str = "GET /.portcullis/healthz";

/// Has the gateway read a new configuration; what it says has changed, and what needs a restart.
#[track_caller]
fn reload(gateway: &Gateway, setup: &Setup) -> (Vec<String>, Vec<String>) {
    gateway.rewrite(setup);
    let answer = gateway.admin("POST /v1/reload", None);
    assert_eq!(answer.status, 200, "{answer:?}");
    let json = answer.json();
    let list = |value: &Value| serde_json::from_value(value.clone()).unwrap();
    (list(&json["changed"]), list(&json["restart_needed"]))
}

fn ask(wire: &mut Wire<TcpStream>, host: &str, token: &str) -> (u16, String) {
    wire.send(with_token("GET /", host, token));
    let answer = wire.answer();
    (answer.status, if answer.status == 200 { String::new() } else { answer.code() })
}

#[test]
fn hosts_come_and_go_with_the_next_request() {
    let app = App::echo();
    let setup = || Setup::new(&app);
    let gateway = setup().start();
    let token = gateway.mint("production").secret;
    let mut wire = gateway.connect();
    let unknown = (404, "unknown_host".to_owned());
    assert_eq!(ask(&mut wire, HOST, &token).0, 200);
    assert_eq!(ask(&mut wire, "new.localhost", &token), unknown);

    gateway.rewrite(&setup().set(PRODUCTION, "hosts", "[\"new.localhost\"]"));
    gateway.signal(Signal::HUP);
    gateway.wait_for_words(&format!("changed: {PRODUCTION}.hosts"));
    assert_eq!(ask(&mut wire, HOST, &token), unknown);
    assert_eq!(ask(&mut wire, "new.localhost", &token).0, 200);

    gateway.rewrite(&setup());
    let ran = gateway.cli(&["reload"]);
    assert_eq!((ran.code, ran.stdout), (0, format!("Changed:\n  {PRODUCTION}.hosts\n")));
    assert_eq!(ask(&mut wire, HOST, &token).0, 200);
    assert_eq!(ask(&mut wire, "new.localhost", &token), unknown);
    assert_eq!(gateway.cli(&["reload"]).stdout, "Nothing has changed.\n");
    // The admin side knows no other apps than the gateway.
    let (changed, _) = reload(&gateway, &setup().set("apps.shop", "description", "\"Else\""));
    assert_eq!(changed, ["apps.shop.description"]);
    assert_eq!(gateway.admin("GET /v1/apps/shop", None).json()["description"], "Else");
}

#[test]
fn a_bad_file_changes_nothing_and_every_mistake_is_told() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let bad = Setup::new(&app)
        .set(PRODUCTION, "hosts", "[\"new.localhost\"]")
        .set("gateway", "drain_delay", "\"soon\"")
        .set("tokens", "color", "1");
    gateway.rewrite(&bad);
    let answer = gateway.admin("POST /v1/reload", None);
    assert_eq!((answer.status, answer.code().as_str()), (422, "validation_failed"));
    let errors = answer.json()["errors"].as_array().unwrap().clone();
    let text = bad.text();
    let line = |start: &str| text.lines().position(|line| line.starts_with(start)).unwrap() + 1;
    let (delay, color) = (line("drain_delay"), line("color"));
    let places: Vec<_> = errors.iter().map(|error| error["field"].as_str().unwrap()).collect();
    assert_eq!(places, [format!("proxy.toml:{delay}:15"), format!("proxy.toml:{color}:1")]);
    assert!(errors[0]["message"].as_str().unwrap().starts_with("`gateway.drain_delay` wants a duration"));

    let ran = gateway.cli(&["reload"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.stderr.contains("`gateway.drain_delay` wants") && ran.stderr.contains("`tokens.color` is not")
    );
    gateway.signal(Signal::HUP);
    gateway.wait_for_words(&format!("proxy.toml:{color}:1: `tokens.color` is not a key"));
    gateway.wait_for_words("reload: the configuration has 2 mistakes: nothing was changed");

    fs::remove_file(gateway.path("proxy.toml")).unwrap();
    let answer = gateway.admin("POST /v1/reload", None);
    assert_eq!((answer.status, answer.code().as_str()), (409, "conflict"));
    let mut wire = gateway.connect();
    assert_eq!(ask(&mut wire, HOST, &token).0, 200);
    assert_eq!(ask(&mut wire, "new.localhost", &token).0, 404);
}

#[test]
fn a_changed_upstream_takes_over_and_a_download_goes_on() {
    static GO_ON: AtomicBool = AtomicBool::new(false);
    let old = App::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
        until("the reload", || GO_ON.load(Ordering::Relaxed).then_some(()));
        exchange.send("rest");
    });
    let new = App::echo();
    let gateway = Gateway::before(&old);
    let token = gateway.mint("production").secret;
    let mut download = gateway.connect();
    download.send(with_token("GET /", HOST, &token));
    let head = download.head().unwrap().unwrap();
    assert_eq!((head.status(), download.take(4).unwrap()), (200, b"half".to_vec()));

    let (changed, _) = reload(&gateway, &Setup::new(&new));
    let upstreams =
        ["development", "production"].map(|name| format!("apps.shop.environments.{name}.upstreams"));
    assert_eq!(changed, upstreams);
    assert_eq!(gateway.ask(with_token("GET /", HOST, &token)).body, b"hello");
    GO_ON.store(true, Ordering::Relaxed);
    assert_eq!(download.take(4).unwrap(), b"rest");
    // The same connection, another app.
    assert_eq!(ask(&mut download, HOST, &token).0, 200);
    assert_eq!((old.requests().len(), new.requests().len()), (1, 2));
}

#[test]
fn listeners_are_kept_by_address() {
    let app = App::echo();
    let setup = || Setup::new(&app);
    let gateway = setup().start();
    let mut kept = gateway.connect();
    let healthy = |wire: &mut Wire<TcpStream>| {
        wire.send(request(HEALTH, &[]));
        wire.answer().status == 200
    };
    assert!(healthy(&mut kept));
    let second = lonely_address();
    let listen = |addresses: &[SocketAddr]| {
        let quoted: Vec<_> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
        setup().set("gateway", "listen", &format!("[{}]", quoted.join(", ")))
    };
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    assert_eq!(reload(&gateway, &listen(&[any, second])).0, ["gateway.listen"]);
    gateway.wait_for_words(&format!("gateway listens on http://{second}\n"));
    let mut other = wire::connect(second);
    assert!(healthy(&mut other) && healthy(&mut kept));

    // An address that somebody else has: nothing of the file comes into force.
    let taken = TcpListener::bind(any).unwrap();
    gateway.rewrite(&listen(&[any, taken.local_addr().unwrap()]).set(
        PRODUCTION,
        "hosts",
        "[\"new.localhost\"]",
    ));
    let answer = gateway.admin("POST /v1/reload", None);
    assert_eq!((answer.status, answer.code().as_str()), (409, "conflict"), "{answer:?}");
    assert!(
        answer.json()["detail"].as_str().unwrap().contains("gateway.listen: cannot listen on"),
        "{answer:?}"
    );
    assert_eq!(gateway.ask(request("GET /", &[("Host", "new.localhost")])).status, 404);
    assert!(healthy(&mut wire::connect(second)));

    // What was accepted lives on; nobody new comes in.
    reload(&gateway, &listen(&[any]));
    until("the end of the second listener", || {
        TcpStream::connect(second).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused).then_some(())
    });
    assert!(healthy(&mut other) && healthy(&mut kept) && healthy(&mut gateway.connect()));
    reload(&gateway, &listen(&[any, second]));
    assert!(healthy(&mut wire::connect(second)));
}

#[test]
fn an_address_begins_to_speak_tls_and_ceases() {
    let app = App::echo();
    let authority = Authority::new();
    authority.write("shop", &[HOST]);
    let address = lonely_address();
    let plain = || Setup::new(&app).set("gateway", "listen", &format!("[\"127.0.0.1:0\", \"{address}\"]"));
    let encrypted = || Setup::new(&app).and(&authority.entry(&address.to_string(), "shop"));
    let gateway = plain().start();
    let mut before = wire::connect(address);
    let reached = |setup: Setup| {
        reload(&gateway, &setup);
        let mut wire = authority.client().try_connect(address, HOST).ok()?;
        wire.send(request(HEALTH, &[]));
        Some(wire.answer().status)
    };
    assert_eq!(reached(encrypted()), Some(200));
    before.send(request(HEALTH, &[]));
    assert_eq!(before.answer().status, 200, "who came before speaks as before");
    assert_eq!(reached(plain()), None);
    let mut after = wire::connect(address);
    after.send(request(HEALTH, &[]));
    assert_eq!(after.answer().status, 200);
}

#[test]
fn what_needs_a_restart_is_named_and_stays() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let other = || {
        Setup::new(&app)
            .set("gateway", "workers", "3")
            .set("store", "path", "\"other.db\"")
            .set("admin", "socket", "\"other.sock\"")
            .set("tokens", "header", "\"X-Other\"")
    };
    let restart = ["gateway.workers", "store.path", "admin.socket"];
    for changed in [&["tokens.header"][..], &[]] {
        // It is named until there was one.
        let (found, needed) = reload(&gateway, &other());
        assert_eq!(
            (found.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), needed),
            (changed, restart.map(str::to_owned).to_vec())
        );
    }
    gateway.wait_for_words("only a restart changes gateway.workers, store.path, admin.socket");
    assert!(!gateway.path("other.db").exists() && !gateway.path("other.sock").exists());
    let token = gateway.mint("production").secret;
    assert_eq!(gateway.ask(request("GET /", &[("X-Other", &token)])).status, 200);
    assert_eq!(gateway.ask(with_token("GET /", HOST, &token)).code(), "token_missing");
    assert_eq!(reload(&gateway, &Setup::new(&app)).1, [""; 0]);
}

#[test]
fn the_access_log_goes_where_the_file_says() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let id = |gateway: &Gateway| gateway.ask(request(HEALTH, &[])).get("x-request-id").unwrap().to_owned();
    let log = |name: &str| fs::read_to_string(gateway.path(name)).unwrap_or_default();
    let first = id(&gateway);
    gateway.logged(&first);
    let switch = |path: &str| {
        let setup = Setup::new(&app).set("gateway.access_log", "path", &format!("\"{path}\""));
        assert_eq!(reload(&gateway, &setup).0, ["gateway.access_log.path"]);
        id(&gateway)
    };
    let second = switch("second.log");
    until("the line in the second file", || log("second.log").contains(&second).then_some(()));
    switch("off");
    let fourth = switch("access.log");
    gateway.logged(&fourth);
    assert!(log("access.log").contains(&first) && !log("access.log").contains(&second));
    assert_eq!(log("second.log").lines().count(), 1);

    let setup = Setup::new(&app).set("gateway.access_log", "path", "\"no/such/folder.log\"");
    gateway.rewrite(&setup);
    assert_eq!(gateway.admin("POST /v1/reload", None).status, 409);
    gateway.logged(&id(&gateway));
}

#[test]
fn limits_apply_to_what_comes_next() {
    let app = App::echo();
    let limit = |connections: &str| Setup::new(&app).set("gateway.limits", "connections", connections);
    let gateway = limit("2").start();
    let mut open: Vec<_> = (0..3).map(|_| gateway.connect()).collect();
    let answered = |wire: &mut Wire<TcpStream>, patience: Duration| {
        wire.stream.set_read_timeout(Some(patience)).unwrap();
        let head = wire.head().ok().flatten();
        head.is_some_and(|head| wire.body(&head).is_ok())
    };
    let moment = Duration::from_millis(200);
    for wire in &mut open {
        wire.send(request(HEALTH, &[]));
    }
    let (two, third) = open.split_at_mut(2);
    assert!(two.iter_mut().all(|wire| answered(wire, PATIENCE)));
    assert!(!answered(&mut third[0], moment));
    reload(&gateway, &limit("3"));
    assert!(answered(&mut third[0], PATIENCE), "there is room for a third now");

    reload(&gateway, &limit("1"));
    for wire in &mut open {
        wire.send(request(HEALTH, &[]));
        assert_eq!(wire.answer().status, 200, "who is in stays");
    }
    let mut fourth = gateway.connect();
    fourth.send(request(HEALTH, &[]));
    open.truncate(1);
    assert!(!answered(&mut fourth, moment), "one is open and one may be");
    open.clear();
    assert!(answered(&mut fourth, PATIENCE));
    drop(fourth);

    let token = gateway.mint("production").secret;
    let post = request("POST /", &[("X-Portcullis-Token", &token), ("Content-Length", "5")]);
    let mut wire = gateway.connect();
    let send = |wire: &mut Wire<TcpStream>| {
        wire.send([&post[..], b"12345"].concat());
        wire.answer().status
    };
    assert_eq!(send(&mut wire), 200);
    reload(&gateway, &limit("1").set("gateway.limits", "body_bytes", "4"));
    assert_eq!(send(&mut wire), 413);
}

#[test]
fn the_environment_wins_over_the_file_at_a_reload_too() {
    let app = App::echo();
    let gateway = Setup::new(&app).start_among(&[("PORTCULLIS_TOKENS__HEADER", "X-Mine")]);
    let token = gateway.mint("production").secret;
    reload(&gateway, &Setup::new(&app).set("tokens", "header", "\"X-Yours\""));
    assert_eq!(gateway.ask(request("GET /", &[("X-Mine", &token)])).status, 200);
    assert_eq!(gateway.ask(request("GET /", &[("X-Yours", &token)])).code(), "token_missing");
}

#[test]
fn the_service_manager_is_kept_informed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut message = [0; 200];
        let length = manager.recv(&mut message).unwrap();
        let text = String::from_utf8(message[..length].to_vec()).unwrap();
        text.lines().next().unwrap().to_owned()
    };
    let app = App::echo();
    let mut gateway = Setup::new(&app).start_among(&[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    assert_eq!(told(), "READY=1");
    gateway.signal(Signal::HUP);
    assert_eq!([told(), told()], ["RELOADING=1", "READY=1"]);
    gateway.signal(Signal::TERM);
    assert_eq!(told(), "STOPPING=1");
    assert!(gateway.exit().success());
}

#[test]
fn the_admin_side_moves_too() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let key = gateway.cli(&["key", "create", "--member", "ann", "--scopes", "admin", "--quiet"]).stdout;
    let bearer = format!("Bearer {}", key.trim_end());
    let call = |address: SocketAddr, host: &str, line: &str| {
        let mut wire = wire::connect(address);
        wire.send(request(line, &[("Host", host), ("Authorization", &bearer)]));
        wire.answer()
    };
    let before = gateway.admin_address();
    assert_eq!(call(before, "admin.test", "GET /v1/whoami").status, 403);
    let named = || Setup::new(&app).set("admin", "hosts", "[\"admin.test\"]");
    assert_eq!(reload(&gateway, &named()).0, ["admin.hosts"]);
    assert_eq!(call(before, "admin.test", "GET /v1/whoami").status, 200);

    let after = lonely_address();
    gateway.rewrite(&named().set("admin", "listen", &format!("\"{after}\"")));
    // The answer comes over the connection that the listener which goes has accepted.
    let answer = call(before, "admin.test", "POST /v1/reload");
    assert_eq!((answer.status, answer.json()["changed"].clone()), (200, json!(["admin.listen"])));
    assert_eq!(call(after, "admin.test", "GET /v1/whoami").status, 200);
    until("the end of the old address", || TcpStream::connect(before).is_err().then_some(()));
}

#[test]
fn reloads_under_load_lose_no_request() {
    // `make soak` reloads many more times.
    let reloads = std::env::var("RELOADS").map_or(5, |reloads| reloads.parse().unwrap());
    let (one, two) = (App::echo(), App::echo());
    let authority = Authority::new();
    authority.write("shop", &[HOST]);
    let entry = authority.entry("127.0.0.1:0", "shop");
    let setup = |app: &App| Setup::new(app).and(&entry);
    let gateway = setup(&one).start();
    let token = gateway.mint("production").secret;
    let (over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (ask, tls) = (with_token("GET /", HOST, &token), gateway.tls_address());
    let counted = |status: u16| {
        assert_eq!(status, 200);
        served.fetch_add(1, Ordering::Relaxed);
        !over.load(Ordering::Relaxed)
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut kept = gateway.connect();
            while {
                kept.send(&ask);
                counted(kept.answer().status)
            } {}
        });
        scope.spawn(|| while counted(gateway.ask(&ask).status) {});
        scope.spawn(|| {
            let client = authority.client();
            while {
                let mut wire = client.connect(tls, HOST);
                wire.send(&ask);
                counted(wire.answer().status)
            } {}
        });
        for round in 0..reloads {
            let before = served.load(Ordering::Relaxed);
            until("some requests", || (served.load(Ordering::Relaxed) >= before + 20).then_some(()));
            let app = if round % 2 == 0 { &two } else { &one };
            authority.write("shop", &[HOST]);
            // The upstreams of both environments; the certificate may have been followed already.
            assert!(reload(&gateway, &setup(app)).0.len() >= 2);
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(!one.requests().is_empty() && !two.requests().is_empty());
}
