//! How long the dashboard's pages take, and how much they weigh, with many tokens in the store.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on has nothing better to do than stop, and prints what it measured"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use portcullis::cli::client::Client;
use serde_json::{Value, json};

const TOKENS: usize = 100_000;
/// Who mints them at once.
const CALLERS: usize = 16;
const ROUNDS: usize = 15;
/// What no page is to pass.
const SLOW: f64 = 100.0;
const HEAVY: usize = 100_000;
const CONFIGURATION: &str = r#"
[gateway]
listen = ["127.0.0.1:0"]
[gateway.access_log]
path = "off"
[admin]
listen = "127.0.0.1:0"
[notify.webhook]
url = "http://127.0.0.1:1/hook"
secret_file = "hook-secret"
[apps.shop.environments.development]
hosts = ["shop.dev.localhost"]
upstreams = ["http://127.0.0.1:1"]
[apps.shop.environments.production]
hosts = ["shop.localhost"]
upstreams = ["http://127.0.0.1:1"]
"#;

/// Ended with this program.
struct Gateway {
    process: Child,
    /// Where its pages are, as `127.0.0.1:9180`.
    pages: String,
}

fn main() {
    let home = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(home.path());
    let began = Instant::now();
    fill(home.path());
    println!("{TOKENS} tokens minted in {:.0} s\n", began.elapsed().as_secs_f64());

    let operator = operator(home.path());
    let all: Value = operator.get("/v1/tokens?limit=1").unwrap().json().unwrap();
    let id = all["items"][0]["id"].as_str().unwrap().to_owned();
    let mut visitor = gateway.connect();
    let cookie = format!("Cookie: {}\r\n", sign_in(&operator, &gateway));
    println!("| page | median ms | worst ms | bytes | |\n| --- | ---: | ---: | ---: | --- |");
    for page in pages(&id) {
        let mut times = Vec::new();
        let mut bytes = 0;
        for _ in 0..ROUNDS {
            let began = Instant::now();
            let (head, length) = ask(&mut visitor, &format!("GET {page}"), &gateway.pages, &cookie);
            times.push(began.elapsed().as_secs_f64() * 1e3);
            assert!(head.starts_with("HTTP/1.1 200 "), "{page}: {head}");
            bytes = length;
        }
        times.sort_by(f64::total_cmp);
        let (median, worst) = (times[ROUNDS / 2], times[ROUNDS - 1]);
        let slow = if median > SLOW { "SLOW " } else { "" };
        let heavy = if bytes > HEAVY { "HEAVY" } else { "" };
        println!("| {} | {median:.1} | {worst:.1} | {bytes} | {slow}{heavy} |", page.replace(&id, "ID"));
    }
}

fn pages(id: &str) -> Vec<String> {
    let fixed = [
        "/tokens",
        "/tokens?q=number+77777",
        "/tokens?q=nothing+like+it",
        "/tokens?status=active",
        "/tokens?status=revoked",
        "/tokens?expiring=7d",
        "/tokens?member=operator",
        "/tokens/new",
        "/tokens/ID",
        "/tokens/ID/edit",
        "/apps",
        "/apps/shop",
        "/apps/shop/environments/production/deployments",
        "/members",
        "/keys",
        "/secrets",
        "/secrets/new",
        "/secrets/SHOP_KEY",
        "/leaks",
        "/leaks?subject=ID",
        "/leaks/report",
        "/leaks/notices",
        "/audit",
        "/audit?action=token.mint",
        "/audit?action=token.revoke",
        "/audit?actor=nobody",
        "/audit?subject=ID",
    ];
    fixed.map(|page| page.replace("ID", id)).into()
}

/// Through the API, so that labels, audit and indexes are as they would be; with some of everything else.
fn fill(home: &Path) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                let operator = operator(home);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= TOKENS {
                        break;
                    }
                    let environment = ["development", "production"][number % 2];
                    let body = json!({
                        "label": format!("token number {number} of many"), "app": "shop",
                        "environment": environment,
                        "expires_in": if number.is_multiple_of(3) { "1y" } else { "7d" }, "scopes": ["GET /healthz"],
                    });
                    let minted: Value = operator.post("/v1/tokens", &body).unwrap().json().unwrap();
                    if number.is_multiple_of(1000) {
                        let secret = &minted["secret"];
                        let report = json!({ "tokens": [secret], "source": "bench", "url": "a paste" });
                        operator.post("/v1/leaks", &report).unwrap();
                    }
                }
            });
        }
    });
    let operator = operator(home);
    for number in 0..100 {
        let member = json!({ "member": format!("member-{number}"), "scopes": ["read"] });
        operator.post("/v1/keys", &member).unwrap();
    }
    operator.put("/v1/secrets/SHOP_KEY", &json!({ "value": "x", "apps": ["shop"] })).unwrap();
}

fn operator(home: &Path) -> Client {
    Client::socket(&home.join("portcullis.sock")).unwrap()
}

/// The cookie of a session that a link began.
fn sign_in(operator: &Client, gateway: &Gateway) -> String {
    let link: Value = operator.post("/v1/dashboard-links", &json!({})).unwrap().json().unwrap();
    let origin = format!("http://{}", gateway.pages);
    let path = link["url"].as_str().unwrap().strip_prefix(&origin).unwrap();
    let fields = format!("Origin: {origin}\r\nContent-Length: 0\r\n");
    let (head, _) = ask(&mut gateway.connect(), &format!("POST {path}"), &gateway.pages, &fields);
    let cookie = field(&head, "set-cookie: ").unwrap_or_else(|| panic!("no session: {head}"));
    cookie.split(';').next().unwrap().to_owned()
}

/// Sends a request over a connection that is kept; the head of its answer, and the length of its body.
fn ask(wire: &mut BufReader<TcpStream>, line: &str, host: &str, fields: &str) -> (String, usize) {
    let request = format!("{line} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
    wire.get_mut().write_all(request.as_bytes()).unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(wire.read_line(&mut head).unwrap() > 0, "{line}: hung up");
    }
    let length = field(&head, "content-length: ").map_or(0, |length| length.parse().unwrap());
    wire.read_exact(&mut vec![0; length]).unwrap();
    (head, length)
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name))
}

impl Gateway {
    fn start(home: &Path) -> Self {
        fs::write(home.join("proxy.toml"), CONFIGURATION).unwrap();
        fs::write(home.join("hook-secret"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .arg("serve")
            .current_dir(home)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let pages = lines.find_map(|line| {
            let line = line.ok()?;
            Some(line.split_once("admin listens on http://")?.1.to_owned())
        });
        let pages = pages.unwrap_or_else(|| panic!("it did not start"));
        thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Self { process, pages }
    }

    fn connect(&self) -> BufReader<TcpStream> {
        let stream = TcpStream::connect(&self.pages).unwrap();
        stream.set_nodelay(true).unwrap();
        BufReader::new(stream)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
