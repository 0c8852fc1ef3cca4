//! Answers that one client could read differently from another: none passes, and none is followed by another.

use crate::support::app::App;
use crate::support::exchange::with_token;
use crate::support::gateway::Setup;
use crate::support::until;

#[test]
fn answers_that_leave_a_doubt_are_not_passed_on() {
    let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "b".repeat(70_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(101));
    let endless = "HTTP/1.1 102 Processing\r\n\r\n".repeat(100);
    let suspicious = [
        "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi",
        "HTTP/1.1 200 OK\r\nA: b\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nA: b\rc\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 02\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhi",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "HTTP/1.1 000 No\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 600 No\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 2000 No\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1 2x0 No\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        "HTTP/1.1200 OK\r\nContent-Length: 2\r\n\r\nhi",
        "<h1>HTTP/0.9</h1>\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        &long,
        &many,
        &endless,
    ];
    let answers = suspicious.map(str::to_owned);
    let app = App::start(move |exchange| {
        let number: usize = exchange.head.target()[1..].parse().unwrap();
        match answers.get(number) {
            Some(answer) => drop(exchange.send(answer)),
            None => exchange.answer(b"fine"),
        }
    });
    let gateway = Setup::new(&app).set("gateway", "workers", "1").start();
    let token = gateway.mint("production").secret;
    for (number, answer) in suspicious.iter().enumerate() {
        let (requests, connections) = (app.requests().len(), app.connections());
        let shown = &answer[..answer.len().min(100)];
        let refused = gateway.ask(with_token(&format!("GET /{number}"), "shop.localhost", &token));
        assert_eq!(refused.status, 502, "{shown:?}");
        refused.refused(502, "upstream_invalid");
        assert_eq!(gateway.logged(refused.get("x-request-id").unwrap())["code"], "upstream_invalid");
        // It was asked once, and not again over the same connection.
        assert_eq!(app.requests().len(), requests + 1, "{shown:?}");
        let fine = gateway.ask(with_token("GET /999", "shop.localhost", &token));
        assert_eq!(fine.text(), "fine", "{shown:?}");
        assert_eq!(app.connections(), connections + 1 + usize::from(number == 0), "{shown:?}");
    }
}

#[test]
fn sound_answers_in_odd_shapes_pass() {
    let app = App::start(|exchange| {
        let answer = match exchange.head.target() {
            "/interim" => {
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
                 HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
            }
            "/chunked" => "HTTP/1.1 200\r\ntransfer-encoding: CHUNKED\r\n\r\n2;a=b\r\nhi\r\n0\r\n\r\n",
            "/empty" => "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
            "/same" => "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        };
        exchange.send(answer);
    });
    let gateway = Setup::new(&app).set("gateway", "workers", "1").start();
    let token = gateway.mint("production").secret;
    for (path, status) in
        [("/interim", 200), ("/chunked", 200), ("/empty", 204), ("/same", 304), ("/plain", 200)]
    {
        let answer = gateway.ask(with_token(&format!("GET {path}"), "shop.localhost", &token));
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.text(), if status == 200 { "hi" } else { "" }, "{path}");
    }
    assert_eq!(app.connections(), 1);
}

#[test]
fn what_comes_behind_an_answer_is_given_to_nobody() {
    let stray = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let app = App::start(move |exchange| {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
        match exchange.head.target() {
            "/stray" => drop(exchange.send([answer, stray].concat())),
            "/later" => {
                exchange.send(answer);
                exchange.send(stray);
            }
            _ => exchange.answer(b"own"),
        }
    });
    let gateway = Setup::new(&app).set("gateway", "workers", "1").start();
    let token = gateway.mint("production").secret;
    for _ in 0..20 {
        assert_eq!(gateway.ask(with_token("GET /stray", "shop.localhost", &token)).text(), "hi");
        assert_eq!(gateway.ask(with_token("GET /", "shop.localhost", &token)).text(), "own");
    }
    // Twenty connections ended with a stray answer, and each was replaced by one.
    assert_eq!(app.connections(), 21);
}

#[test]
fn a_body_that_breaks_the_rules_does_not_look_whole() {
    let app = App::start(|exchange| {
        exchange.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n");
        // Only once that has gone through.
        while !std::fs::exists(exchange.head.get("x-go").unwrap()).unwrap() {
            std::thread::yield_now();
        }
        exchange.send("2\nhi\r\n0\r\n\r\n");
    });
    let gateway = Setup::new(&app).start();
    let token = gateway.mint("production").secret;
    let go = gateway.path("go");
    let mut wire = gateway.connect();
    let fields = [("X-Portcullis-Token", token.as_str()), ("X-Go", go.to_str().unwrap())];
    wire.send(crate::support::wire::request("GET /", &fields));
    let head = wire.head().unwrap().unwrap();
    assert_eq!(wire.chunk().unwrap(), b"hi");
    std::fs::write(&go, "").unwrap();
    assert!(wire.chunk().is_err());
    let line = gateway.logged(head.get("x-request-id").unwrap());
    assert_eq!(line["ended"], "upstream_gone");
    until("the connection's end", || (app.connections() == 1).then_some(()));
}

#[test]
fn what_comes_beside_a_body_has_an_end() {
    let app = App::start(|exchange| {
        let count = exchange.head.target()[1..].parse().unwrap();
        let chunk = format!("1;{}\r\na\r\n", "x".repeat(1000));
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        exchange.send([head, &chunk.repeat(count), "0\r\n\r\n"].concat());
    });
    let gateway = Setup::new(&app).start();
    let token = gateway.mint("production").secret;
    for (count, passes) in [(16, true), (17, false), (100, false)] {
        let mut wire = gateway.connect();
        wire.send(with_token(&format!("GET /{count}"), "shop.localhost", &token));
        let head = wire.head().unwrap().unwrap();
        assert_eq!(wire.body(&head).is_ok(), passes, "{count}");
    }
}
