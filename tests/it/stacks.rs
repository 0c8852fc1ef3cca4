//! Apps on servers that others wrote: what they say arrives as they said it.

use std::fs;
use std::process::Command;

use crate::support::authority::Authority;
use crate::support::curl::{HOST, Site, WAYS};
use crate::support::gateway::{Gateway, Setup};
use crate::support::program::finish;
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

/// What curl says it got: status, fields and body, less what each hop says for itself.
fn got(command: &mut Command) -> (Vec<String>, Vec<u8>) {
    let body = tempfile::NamedTempFile::new().unwrap();
    let ran = finish(command.args(["--dump-header", "-", "--output"]).arg(body.path()));
    assert_eq!(ran.code, 0, "{command:?} {ran:?}");
    let own = ["cache-control", "connection", "date", "transfer-encoding", "x-request-id"];
    let mut lines = Vec::new();
    for line in ran.stdout.lines().filter(|line| !line.is_empty()) {
        match line.split_once(':') {
            None => lines.push(line.split(' ').nth(1).unwrap().to_owned()),
            Some((name, value)) if !own.contains(&name.to_ascii_lowercase().as_str()) => {
                lines.push(format!("{}:{value}", name.to_ascii_lowercase()));
            }
            Some(_) => {}
        }
    }
    lines.sort();
    // To curl the head is the body of an answer that has none.
    let head = command.get_args().any(|argument| argument == "--head");
    (lines, if head { Vec::new() } else { fs::read(body.path()).unwrap() })
}

#[test]
fn curl_gets_from_nginx_what_it_gets_without_a_gateway() {
    let issued = |name| {
        let authority = Authority::new();
        authority.write(name, &["localhost"]);
        authority
    };
    let believed = issued("app");
    let server = Server::nginx(&believed.issued("app"));
    server.serve("small.txt", b"hello");
    server.serve("long.txt", "words that can be said shorter ".repeat(5_000).as_bytes());
    let asked: [(&[&str], &str, &str); 10] = [
        (&[], "/small.txt", "200"),
        (&["--head"], "/long.txt", "200"),
        (&["--range", "2-3"], "/small.txt", "206"),
        (&["--range", "100-"], "/small.txt", "416"),
        (&["--header", "Accept-Encoding: gzip"], "/long.txt", "200"),
        (&["--header", "If-None-Match: *"], "/small.txt", "304"),
        (&[], "/nothing", "204"),
        (&["--location"], "/moved", "302"),
        (&["--request", "DELETE"], "/small.txt", "405"),
        (&[], "/absent", "404"),
    ];
    let plain = format!("http://{}", server.address);
    let secure = format!("https://localhost:{}", server.secure.port());
    for site in [Site::before(&plain, issued("other")), Site::before(&secure, believed)] {
        for (arguments, path, status) in asked {
            let mut direct = Command::new("curl");
            direct.args(["--silent", "--connect-to", &format!("::{}", server.address)]).args(arguments);
            let expected = got(direct.arg(format!("http://{HOST}{path}")));
            assert!(expected.0.iter().any(|line| line == status), "{path}: {:?}", expected.0);
            // Not HTTP/2 without TLS: some versions of curl cannot send a second request over it, to any server.
            for way in [WAYS[0], WAYS[2], WAYS[4]] {
                let answer = got(&mut site.curl(way, arguments, path));
                assert_eq!(answer.0, expected.0, "{way:?} {path} {arguments:?}");
                assert!(answer.1 == expected.1, "{way:?} {path} {arguments:?}");
            }
        }
    }
}
