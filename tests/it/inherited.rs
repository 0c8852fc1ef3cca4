//! Sockets that somebody else holds (`LISTEN_FDS`): a restart behind them is a pause, never a refusal.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rustix::process::Signal;

use crate::support::app::App;
use crate::support::authority::{Authority, Client};
use crate::support::exchange::with_token;
use crate::support::gateway::Setup;
use crate::support::wire::{Wire, connect, request};
use crate::support::{lonely_address, until};

const HOST: &str = "shop.localhost";
const HEALTH: &str = "GET /.portcullis/healthz";

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn copy(listener: &TcpListener) -> OwnedFd {
    listener.try_clone().unwrap().into()
}

#[test]
fn restarts_behind_held_sockets_lose_no_request() {
    // `make soak` restarts more often.
    let restarts = std::env::var("RESTARTS").map_or(2, |restarts| restarts.parse().unwrap());
    let app = App::echo();
    let authority = Authority::new();
    authority.write("shop", &[HOST]);
    let ((plain, plain_at), (encrypted, encrypted_at)) = (listener(), listener());
    let setup = Setup::new(&app).and(&authority.entry(&encrypted_at.to_string(), "shop"));
    let sockets = || [copy(&plain), copy(&encrypted)];
    let mut gateway = setup.start_with(|_| sockets());
    assert_eq!((gateway.address(), gateway.tls_address()), (plain_at, encrypted_at));
    let ask = with_token("GET /", HOST, &gateway.mint("production").secret);
    let (over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let goes_on = || {
        served.fetch_add(1, Ordering::Relaxed);
        !over.load(Ordering::Relaxed)
    };
    let client = authority.client();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while {
                    let mut wire = connect(plain_at);
                    wire.send(&ask);
                    assert_eq!(wire.answer().status, 200);
                    goes_on()
                } {}
            });
        }
        scope.spawn(|| {
            while {
                assert_eq!(over_tls(&client, encrypted_at, &ask), 200);
                goes_on()
            } {}
        });
        scope.spawn(|| {
            let mut kept = connect(plain_at);
            while {
                if !ask_over(&mut kept, &ask) {
                    kept = connect(plain_at);
                }
                goes_on()
            } {}
        });
        for _ in 0..restarts {
            let before = served.load(Ordering::Relaxed);
            until("some requests", || (served.load(Ordering::Relaxed) >= before + 50).then_some(()));
            gateway.signal(Signal::TERM);
            assert!(gateway.exit().success());
            gateway.restart_with(sockets());
        }
        let before = served.load(Ordering::Relaxed);
        until("requests after the restarts", || {
            (served.load(Ordering::Relaxed) >= before + 50).then_some(())
        });
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(gateway.stderr().matches("WARN").count(), 0, "{}", gateway.stderr());
}

fn over_tls(client: &Client, address: SocketAddr, ask: &[u8]) -> u16 {
    let mut wire = client.connect(address, HOST);
    wire.send(ask);
    wire.answer().status
}

/// Asks over a kept connection, as clients do: again over a new one where it was closed before a byte of the answer.
/// Whether it may be kept on.
fn ask_over(wire: &mut Wire<TcpStream>, ask: &[u8]) -> bool {
    if wire.stream.write_all(ask).is_err() {
        return false;
    }
    let head = match wire.head() {
        Ok(Some(head)) => head,
        Ok(None) => return false,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => return false,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(head.status(), 200);
    wire.body(&head).unwrap();
    head.get("connection") != Some("close")
}

#[test]
fn the_admin_side_inherits_too_and_leaves_the_file_alone() {
    let app = App::echo();
    let (admin, admin_at) = listener();
    let mut held = None;
    // Port 0 takes any inherited socket of its address.
    let setup = Setup::new(&app).set("gateway", "listen", &format!("[\"{}\"]", lonely_address()));
    let mut gateway = setup.start_with(|folder| {
        let socket = UnixListener::bind(folder.join("portcullis.sock")).unwrap();
        let copies = [copy(&admin), socket.try_clone().unwrap().into()];
        held = Some(socket);
        copies
    });
    assert_eq!(gateway.admin_address(), admin_at);
    gateway.mint("production");
    gateway.signal(Signal::TERM);
    assert!(gateway.exit().success());
    // Both still take calls, which the next one answers.
    let mut waiting = connect(admin_at);
    waiting.send(request("GET /healthz", &[("Host", "localhost")]));
    let mut operator = Wire::new(UnixStream::connect(gateway.path("portcullis.sock")).unwrap());
    operator.send(request("GET /v1/tokens", &[]));
    let socket = held.unwrap();
    gateway.restart_with([copy(&admin), socket.into()]);
    assert_eq!((waiting.answer().status, operator.answer().status), (200, 200));
}

#[test]
fn a_socket_that_is_not_asked_for_is_named_and_may_be_asked_for_later() {
    let app = App::echo();
    let ((one, one_at), (other, other_at)) = (listener(), listener());
    let admin = lonely_address();
    let setup = |listen: &str| {
        Setup::new(&app).set("gateway", "listen", listen).set("admin", "listen", &format!("\"{admin}\""))
    };
    let gateway = setup(&format!("[\"{one_at}\"]")).start_with(|_| [copy(&one), copy(&other)]);
    let words = format!("an inherited socket listens on {other_at}, which is neither in gateway.listen");
    gateway.wait_for_words(&words);
    assert!(!gateway.stderr().contains(&format!("listens on {one_at},")), "{}", gateway.stderr());
    let mut waiting = connect(other_at);
    waiting.send(request(HEALTH, &[]));
    gateway.rewrite(&setup(&format!("[\"{one_at}\", \"{other_at}\"]")));
    assert_eq!(gateway.cli(&["reload"]).code, 0);
    assert_eq!(waiting.answer().status, 200);
}

#[test]
fn a_socket_that_a_reload_gives_up_comes_back_with_another() {
    let app = App::echo();
    let ((one, one_at), (other, other_at)) = (listener(), listener());
    let admin = lonely_address();
    let setup = |listen: &str| {
        Setup::new(&app).set("gateway", "listen", listen).set("admin", "listen", &format!("\"{admin}\""))
    };
    let (both, alone) =
        (setup(&format!("[\"{one_at}\", \"{other_at}\"]")), setup(&format!("[\"{one_at}\"]")));
    let gateway = both.start_with(|_| [copy(&one), copy(&other)]);
    for _ in 0..2 {
        gateway.rewrite(&alone);
        assert_eq!(gateway.cli(&["reload"]).code, 0);
        gateway.wait_for_words(&format!("nobody answers any more on {other_at}"));
        let mut waiting = connect(other_at);
        waiting.send(request(HEALTH, &[]));
        gateway.rewrite(&both);
        assert_eq!(gateway.cli(&["reload"]).code, 0);
        assert_eq!(waiting.answer().status, 200);
    }
    assert!(!gateway.stderr().contains(&format!("any more on {one_at}")), "{}", gateway.stderr());
}
