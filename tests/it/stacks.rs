//! Apps on servers that others wrote: what they say arrives as they said it.

use crate::support::authority::Authority;
use crate::support::gateway::{Gateway, Setup};
use crate::support::server::Server;
use crate::support::wire::request;

/// What every server of files does.
fn serves_files(gateway: &Gateway, server: &Server) {
    let token = gateway.mint("production").secret;
    let large: Vec<u8> = (0..1_000_000u32).map(|number| (number * 31 % 251) as u8).collect();
    server.serve("large", &large);
    server.serve("small.txt", b"hello");
    server.serve("empty", b"");
    let ask = |line: &str, fields: &[(&str, &str)]| {
        gateway.ask(request(line, &[&[("X-Portcullis-Token", token.as_str())], fields].concat()))
    };
    for _ in 0..3 {
        let answer = ask("GET /small.txt", &[]);
        assert_eq!((answer.status, answer.text()), (200, "hello"));
        assert_eq!(answer.get("content-type"), Some("text/plain"));
        let answer = ask("GET /large", &[]);
        assert!(answer.status == 200 && answer.body == large);
        let answer = ask("GET /empty", &[]);
        assert_eq!((answer.status, answer.text()), (200, ""));
        let mut wire = gateway.connect();
        wire.send(request("HEAD /large", &[("X-Portcullis-Token", &token), ("Connection", "close")]));
        let head = wire.head().unwrap().unwrap();
        assert_eq!((head.status(), head.get("content-length")), (200, Some("1000000")));
        assert!(wire.rest().unwrap().is_empty());
        assert_eq!(ask("GET /absent", &[]).status, 404);
        let modified = ask("GET /small.txt", &[]).get("last-modified").unwrap().to_owned();
        let unchanged = ask("GET /small.txt", &[("If-Modified-Since", &modified)]);
        assert_eq!((unchanged.status, unchanged.text()), (304, ""));
        assert!(ask("DELETE /small.txt", &[]).status >= 400);
    }
}

#[test]
fn nginx() {
    let authority = Authority::new();
    let server = Server::nginx(&authority.issue(&["localhost"]));
    let secure = format!("https://localhost:{}", server.secure.port());
    for (url, said) in [
        (format!("http://{}", server.address), "POST HTTP/1.1 shop.localhost shop"),
        (secure, "POST HTTP/2.0 shop.localhost shop"),
    ] {
        let mut setup = Setup::with_upstreams(&[&url]);
        if url.starts_with("https") {
            setup = setup.both("upstream_ca", "\"ca.pem\"");
        }
        let gateway = setup.start_beside("ca.pem", &authority.pem);
        let token = gateway.mint("production").secret;
        let post = request("POST /say", &[("X-Portcullis-Token", &token), ("Content-Length", "5")]);
        let answer = gateway.ask([post, b"hello".to_vec()].concat());
        assert_eq!((answer.status, answer.text()), (200, said));
        serves_files(&gateway, &server);
    }
}

#[test]
fn python() {
    let server = Server::python();
    let gateway = Setup::with_upstreams(&[&format!("http://{}", server.address)]).start();
    serves_files(&gateway, &server);
}
