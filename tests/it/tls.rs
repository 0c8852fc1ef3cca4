//! TLS from clients: who is shown which certificate, what holds on the way, and what becomes of those who stall.

use std::fs;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustls::client::Resumption;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, HandshakeKind};
use socket2::{Domain, Socket, Type};

use crate::support::app::App;
use crate::support::authority::{Authority, Client};
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::program::finish;
use crate::support::websocket;
use crate::support::wire::request;
use crate::support::{lonely_address, until};

const HOST: &str = "shop.localhost";
const LISTEN: &str = "127.0.0.1:0";
const HEALTH: &str = "GET /.portcullis/healthz";

/// An authority, and a gateway that shows its certificate for [`HOST`].
fn site(app: &App) -> (Authority, Gateway) {
    let authority = Authority::new();
    authority.write("shop", &[HOST]);
    let gateway = Setup::new(app).and(&authority.entry(LISTEN, "shop")).start();
    (authority, gateway)
}

#[test]
fn curl_gets_through_with_either_version() {
    let app = App::echo();
    let (authority, gateway) = site(&app);
    let token = gateway.mint("production").secret;
    let address = gateway.tls_address();
    for (version, most) in [("--tlsv1.2", "1.2"), ("--tlsv1.3", "1.3")] {
        let ran = finish(Command::new("curl").args([
            "--silent",
            "--show-error",
            "--fail",
            version,
            "--tls-max",
            most,
            "--cacert",
            authority.path("ca.pem").to_str().unwrap(),
            "--resolve",
            &format!("{HOST}:{}:127.0.0.1", address.port()),
            "--header",
            &format!("X-Portcullis-Token: {token}"),
            "--header",
            "X-Forwarded-Proto: gopher",
            &format!("https://{HOST}:{}/hello", address.port()),
        ]));
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "hello"), "{ran:?}");
    }
    for request in app.requests() {
        assert_eq!(request.head.get("x-forwarded-proto"), Some("https"));
        assert_eq!(request.head.get("x-forwarded-port"), Some(address.port().to_string().as_str()));
    }
}

#[test]
fn bodies_of_any_size_and_websockets_pass() {
    let app = App::start(|exchange| {
        if exchange.head.get("upgrade").is_some() {
            exchange.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhi",
            );
            while let Ok(bytes) = exchange.wire.take(1) {
                exchange.send(bytes);
            }
            return exchange.close();
        }
        let body = exchange.body();
        exchange.answer(&body);
    });
    let (authority, gateway) = site(&app);
    let token = gateway.mint("production").secret;
    let mut wire = authority.client().connect(gateway.tls_address(), HOST);
    let body: Vec<u8> = (0..5_000_000_u32).map(|number| (number % 251) as u8).collect();
    let length = body.len().to_string();
    let head = request("POST /", &[("X-Portcullis-Token", &token), ("Content-Length", &length)]);
    for _ in 0..2 {
        wire.send([&head[..], &body].concat());
        let answer = wire.answer();
        assert!(answer.status == 200 && answer.body == body);
    }
    wire.send(request("GET /", &websocket::wish(&token)));
    assert_eq!(wire.head().unwrap().unwrap().status(), 101);
    assert_eq!(wire.take(2).unwrap(), b"hi");
    wire.send("again");
    assert_eq!(wire.take(5).unwrap(), b"again");
}

#[test]
fn each_name_gets_the_certificate_that_is_for_it() {
    let app = App::echo();
    let authority = Authority::new();
    let issued = [
        ("first", &[HOST][..]),
        ("exact", &["a.shop.localhost", "b.test"]),
        ("wild", &["*.shop.localhost", "*.b.test"]),
        ("elsewhere", &["elsewhere.localhost"]),
    ]
    .map(|(name, hosts)| authority.write(name, hosts));
    let mut setup = Setup::new(&app);
    for name in ["first", "exact", "wild"] {
        setup = setup.and(&authority.entry(LISTEN, name));
    }
    let gateway = setup.and(&authority.entry(&lonely_address().to_string(), "elsewhere")).start();
    let addresses = gateway.addresses("gateway listens on https://");
    assert_eq!(addresses.len(), 2, "entries with one address share it");
    let client = authority.client();
    for (host, expected) in [
        (HOST, 0),
        ("a.shop.localhost", 1),
        ("A.SHOP.localhost", 1),
        ("b.test", 1),
        ("c.shop.localhost", 2),
        ("x.b.test", 2),
    ] {
        assert!(client.shown(addresses[0], host) == issued[expected], "{host}");
    }
    assert!(client.shown(addresses[1], "elsewhere.localhost") == issued[3]);
    // Who names no host, or one that is nobody's, is shown the first.
    let mut silent = authority.client();
    silent.config.enable_sni = false;
    assert!(silent.shown(addresses[0], HOST) == issued[0]);
    let error = client.try_connect(addresses[0], "nobody.localhost").err().unwrap();
    assert!(error.to_string().contains("only valid for DnsName(\"shop.localhost\")"), "{error}");
}

#[test]
fn clients_come_back_without_a_whole_handshake_also_after_a_reload() {
    let app = App::echo();
    let (authority, gateway) = site(&app);
    for version in [&TLS12, &TLS13] {
        let client = authority.client_of(&[version]);
        let mut forgetful = client.clone();
        let kind = |client: &Client| {
            let mut wire = client.connect(gateway.tls_address(), HOST);
            // Tickets of TLS 1.3 come with the first answer.
            wire.send(request(HEALTH, &[]));
            assert_eq!(wire.answer().status, 200);
            wire.stream.conn.handshake_kind().unwrap()
        };
        assert_eq!(kind(&client), HandshakeKind::Full);
        assert_eq!(kind(&client), HandshakeKind::Resumed);
        let reload = gateway.cli(&["reload"]);
        assert_eq!(reload.code, 0, "{reload:?}");
        assert_eq!(kind(&client), HandshakeKind::Resumed);
        authority.write("shop", &[HOST]);
        let reload = gateway.cli(&["reload"]);
        let file = authority.path("shop.pem").display().to_string();
        assert_eq!(reload.code, 0, "{reload:?}");
        // Where it was noticed before the reload, that is told elsewhere.
        let told = || reload.stdout.contains(&file) || gateway.stderr().contains(&file);
        until("word of the other certificate", || told().then_some(()));
        assert_eq!(kind(&client), HandshakeKind::Resumed);
        forgetful.config.resumption = Resumption::disabled();
        assert_eq!(kind(&forgetful), HandshakeKind::Full);
    }
}

#[test]
fn certificates_are_followed_however_their_files_are_replaced() {
    let app = App::echo();
    let authority = Authority::new();
    let (old, new) = (authority.write("old", &[HOST]), authority.write("new", &[HOST]));
    // As Kubernetes mounts them: the files are links through a link that is swapped.
    for (version, name) in [("v1", "old"), ("v2", "new")] {
        fs::create_dir(authority.path(version)).unwrap();
        for (file, end) in [("live.pem", ".pem"), ("live-key.pem", "-key.pem")] {
            fs::rename(authority.path(&format!("{name}{end}")), authority.path(version).join(file)).unwrap();
        }
    }
    symlink("v1", authority.path("data")).unwrap();
    for file in ["live.pem", "live-key.pem"] {
        symlink(format!("data/{file}"), authority.path(file)).unwrap();
    }
    let gateway = Setup::new(&app).and(&authority.entry(LISTEN, "live")).start();
    let (address, mut client) = (gateway.tls_address(), authority.client());
    client.config.resumption = Resumption::disabled();
    let mut open = client.connect(address, HOST);
    assert!(client.shown(address, HOST) == old);

    symlink("v2", authority.path("next")).unwrap();
    fs::rename(authority.path("next"), authority.path("data")).unwrap();
    until("the certificate behind the swapped link", || (client.shown(address, HOST) == new).then_some(()));
    gateway.wait_for_words("live.pem was replaced");

    // Half of a renewal: what was there stays, and the log says why.
    let third = authority.write("third", &[HOST]);
    fs::copy(authority.path("third.pem"), authority.path("v2").join("live.pem")).unwrap();
    gateway.wait_for_words("does not belong to the certificate");
    assert!(client.shown(address, HOST) == new);
    let checked = gateway.cli(&["check"]);
    assert!(checked.code == 2 && checked.stderr.contains("does not belong to"), "{checked:?}");
    // A reload wants all of it in order.
    gateway.signal(Signal::HUP);
    gateway.wait_for_words("nothing was changed");
    assert!(client.shown(address, HOST) == new);

    fs::copy(authority.path("third-key.pem"), authority.path("v2").join("live-key.pem")).unwrap();
    until("the rest of the renewal", || (client.shown(address, HOST) == third).then_some(()));
    assert_eq!(gateway.stderr().matches("stays in use").count(), 1, "{}", gateway.stderr());
    // Who was there before all of this still is.
    open.send(request(HEALTH, &[]));
    assert_eq!(open.answer().status, 200);
}

#[test]
fn a_client_without_a_common_protocol_is_told_so() {
    let app = App::echo();
    let (authority, gateway) = site(&app);
    let mut client = authority.client();
    client.config.alpn_protocols = vec![b"spdy/3".to_vec()];
    let error = client.try_connect(gateway.tls_address(), HOST).err().unwrap();
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let expected = rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol);
    assert_eq!(inner, Some(&expected), "{error}");
    client.config.alpn_protocols.push(b"http/1.1".to_vec());
    let mut wire = client.connect(gateway.tls_address(), HOST);
    assert_eq!(wire.stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    wire.send(request(HEALTH, &[]));
    assert_eq!(wire.answer().status, 200);
}

#[test]
fn plain_http_gets_no_answer_where_tls_is_spoken() {
    let app = App::echo();
    let (_authority, gateway) = site(&app);
    let token = gateway.mint("production").secret;
    let mut wire = crate::support::wire::connect(gateway.tls_address());
    wire.send(with_token("GET /", HOST, &token));
    let mut said = Vec::new();
    // The end may come as a reset, for nobody read the request.
    let _ = wire.stream.read_to_end(&mut said);
    assert!(!said.starts_with(b"HTTP"), "{said:?}");
    assert!(app.requests().is_empty());
}

#[test]
fn ends_are_told_and_cuts_are_not() {
    let app = App::start(|exchange| {
        if exchange.head.target() == "/" {
            return exchange.answer(b"hello");
        }
        exchange.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
        while exchange.send("tick") {
            thread::sleep(Duration::from_millis(5));
        }
        exchange.close();
    });
    let (authority, gateway) = site(&app);
    let token = gateway.mint("production");
    let mut wire = authority.client().connect(gateway.tls_address(), HOST);
    let fields = [("X-Portcullis-Token", token.secret.as_str()), ("Connection", "close")];
    wire.send(request("GET /", &fields));
    assert_eq!(wire.answer().body, b"hello");
    // Without close_notify this would be an error.
    assert_eq!(wire.rest().unwrap(), b"");

    // An answer without a length, to HTTP/1.0: only the manner of its end tells that it is not whole.
    let mut wire = authority.client().connect(gateway.tls_address(), HOST);
    wire.send(format!(
        "GET /endless HTTP/1.0\r\nHost: {HOST}\r\nX-Portcullis-Token: {}\r\n\r\n",
        token.secret
    ));
    assert_eq!(wire.head().unwrap().unwrap().status(), 200);
    assert_eq!(wire.take(4).unwrap(), b"tick");
    gateway.revoke(&token.id);
    let error = wire.rest().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof), "{error}");
}

#[test]
fn a_slow_reader_is_told_from_one_that_does_not_read() {
    const PIECE: usize = 16 << 10;
    let app = App::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
        while exchange.send(vec![b'x'; 64 << 10]) {}
    });
    let authority = Authority::new();
    authority.write("shop", &[HOST]);
    let gateway = Setup::new(&app)
        .set("gateway.limits", "idle_timeout", "\"1s\"")
        .and(&authority.entry(LISTEN, "shop"))
        .start();
    let token = gateway.mint("production").secret;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // Before it connects: the window is agreed on then.
    socket.set_recv_buffer_size(PIECE).unwrap();
    socket.connect(&gateway.tls_address().into()).unwrap();
    let mut wire = authority.client().over(socket.into(), HOST).unwrap();
    wire.send(with_token("GET /", HOST, &token));
    let id = wire.head().unwrap().unwrap().get("x-request-id").unwrap().to_owned();
    let started = Instant::now();
    for piece in 0..90 {
        let due = Duration::from_millis(33) * piece;
        until("the time for the next piece", || (started.elapsed() >= due).then_some(()));
        wire.take(PIECE).unwrap();
    }
    // From here on nothing is read.
    let line = gateway.logged(&id);
    assert_eq!((&line["ended"], &line["status"]), (&"client_gone".into(), &200.into()), "{line}");
}

#[test]
fn a_handshake_that_stands_still_is_ended() {
    let app = App::echo();
    let authority = Authority::new();
    authority.write("shop", &[HOST]);
    let gateway = Setup::new(&app)
        .set("gateway.limits", "header_timeout", "\"400ms\"")
        .and(&authority.entry(LISTEN, "shop"))
        .start();
    let hello = hello(&authority);
    for said in [&b""[..], &hello[..20], &hello] {
        let mut wire = crate::support::wire::connect(gateway.tls_address());
        wire.send(said);
        wire.wait_for_end();
    }
    // A handshake that was done leaves what is left of the time for the head.
    let mut wire = authority.client().connect(gateway.tls_address(), HOST);
    wire.send("GET / HT");
    assert_eq!(wire.answer().status, 408);
}

#[test]
fn many_handshakes_that_stand_still_keep_nobody_out() {
    let app = App::echo();
    let (authority, gateway) = site(&app);
    let hello = hello(&authority);
    let stalled: Vec<_> = (0..300)
        .map(|number| {
            let mut wire = crate::support::wire::connect(gateway.tls_address());
            // Silent, within the greeting, and after our answer to it.
            wire.send([&b""[..], &hello[..20], &hello][number % 3]);
            wire
        })
        .collect();
    let client = authority.client();
    for _ in 0..5 {
        let mut wire = client.connect(gateway.tls_address(), HOST);
        wire.send(request(HEALTH, &[]));
        assert_eq!(wire.answer().status, 200);
    }
    for mut wire in stalled {
        // Still open: none of them had to go for the honest one. Those that greeted have been answered.
        wire.stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        match wire.stream.read(&mut [0; 16]) {
            Ok(read) => assert!(read > 0, "a stalled handshake was ended before its time"),
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}")
            }
        }
    }
}

#[test]
fn past_the_limit_encrypted_connections_wait_too() {
    let app = App::echo();
    let authority = Authority::new();
    authority.write("shop", &[HOST]);
    let gateway = Setup::new(&app)
        .set("gateway.limits", "connections", "1")
        .and(&authority.entry(LISTEN, "shop"))
        .start();
    let (client, address) = (authority.client(), gateway.tls_address());
    let mut first = client.connect(address, HOST);
    let second = thread::spawn(move || {
        let mut second = client.connect(address, HOST);
        second.send(request(HEALTH, &[]));
        second.answer().status
    });
    first.send(request(HEALTH, &[]));
    assert_eq!(first.answer().status, 200);
    thread::sleep(Duration::from_millis(100));
    assert!(!second.is_finished());
    drop(first);
    assert_eq!(second.join().unwrap(), 200);
}

#[test]
fn the_admin_side_speaks_tls_where_it_should() {
    let app = App::echo();
    let authority = Authority::new();
    authority.write("admin", &["localhost", "127.0.0.1"]);
    let gateway = Setup::new(&app)
        .set("admin", "listen", "\"0.0.0.0:0\"")
        .and(&format!("[admin.tls]\n{}", authority.pair("admin")))
        .start();
    assert_eq!(gateway.addresses("admin listens on https://").len(), 1);
    let key = gateway.cli(&["key", "create", "--member", "ann", "--scopes", "admin", "--quiet"]).stdout;
    let port = gateway.admin_address().port();
    let ca = authority.path("ca.pem");
    let remote = |host: &str, rest: &[&str]| {
        let url = format!("https://{host}:{port}");
        gateway.cli(&[&["token", "list", "--json", "--admin", &url, "--key", key.trim_end()], rest].concat())
    };
    for host in ["localhost", "127.0.0.1"] {
        let listed = remote(host, &["--ca", ca.to_str().unwrap()]);
        assert!(listed.code == 0 && listed.stdout.contains("items"), "{listed:?}");
        assert_eq!(listed.stderr, "", "nothing travels in the clear");
    }
    let distrusted = remote("localhost", &[]);
    assert!(distrusted.code == 1 && distrusted.stderr.contains("--ca FILE"), "{distrusted:?}");
    // Who speaks plainly is not answered.
    let mut wire = crate::support::wire::connect(([127, 0, 0, 1], port).into());
    wire.send(request("GET /healthz", &[("Host", "localhost")]));
    let mut said = Vec::new();
    let _ = wire.stream.read_to_end(&mut said);
    assert!(!said.starts_with(b"HTTP"), "{said:?}");
}

/// The first message of a handshake.
fn hello(authority: &Authority) -> Vec<u8> {
    let name = rustls::pki_types::ServerName::try_from(HOST).unwrap();
    let config = Arc::new(authority.client().config);
    let mut connection = rustls::ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    hello
}
