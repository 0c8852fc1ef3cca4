//! One turn under load, and the doubts that must be out of the way before its figures count.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem;
use portcullis::credential::{Kind, Plaintext};

use super::app;
use super::child::{Core, pinned};
use super::peer::Peer;
use super::site::{HOST, Site};

/// How long a proxy may take to come up, and to have logged the last request.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the clients ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Workload {
    /// A small GET with a token that opens the app.
    Get,
    /// The same with a token that was never minted: refused by the proxy.
    Deny,
    /// A POST of 4 KiB.
    Post4k,
}

impl Workload {
    pub(super) const ALL: [Self; 3] = [Self::Get, Self::Deny, Self::Post4k];

    const fn status(self) -> u16 {
        match self {
            Self::Get | Self::Post4k => 200,
            Self::Deny => 401,
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "get",
            Self::Deny => "deny",
            Self::Post4k => "post4k",
        })
    }
}

/// The figures of one turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// CPU time for each request, in microseconds.
    pub cpu: f64,
    pub requests_per_second: f64,
    pub p50: f64,
    pub p99: f64,
    /// MiB.
    pub rss: f64,
}

/// Loads a proxy for some seconds. Fails unless every single answer was the one that the workload expects.
pub(super) fn run(
    site: &Site,
    peer: &Peer,
    workload: Workload,
    connections: usize,
    seconds: u64,
) -> Result<Sample> {
    let bearer = match workload {
        Workload::Get | Workload::Post4k => site.token().clone(),
        Workload::Deny => Plaintext::generate(Kind::Token)?,
    };
    probe(peer, workload, &bearer)?;
    // The requests that wrk gives up on as it ends never get an answer, and their lines may come as late as in the
    // next turn: a log may hold those of two.
    let unanswered = 2 * connections as u64;
    let before = logged(peer, workload, 1, unanswered)?;
    site.write("wrk.lua", script(workload))?;

    let cpu = peer.process.cpu()?;
    let output = pinned(Core::Others, "wrk")
        .args(["-t1", "--latency", &format!("-c{connections}"), &format!("-d{seconds}s")])
        .args(["-H", &format!("Host: {HOST}"), "-H", &format!("Authorization: Bearer {}", bearer.reveal())])
        .arg("-s")
        .arg(site.folder().join("wrk.lua"))
        .arg(format!("http://{}/v1/orders?page=2", peer.address))
        .output()
        .context("cannot start wrk")?;
    let cpu = peer.process.cpu()? - cpu;

    let said = String::from_utf8_lossy(&output.stdout);
    let told = Told::read(&said).with_context(|| format!("wrk says:\n{said}"))?;
    ensure!(told.requests > 0 && !told.broken, "connections broke; wrk says:\n{said}");
    let refused = if workload.status() == 200 { 0 } else { told.requests };
    ensure!(told.not_ok == refused, "{} answers of {} were not 2xx", told.not_ok, told.requests);
    logged(peer, workload, before + told.requests, unanswered)?;
    if let Some(log) = &peer.log {
        // Every proxy appends, so each turn begins with an empty file.
        File::options().write(true).open(log)?.set_len(0)?;
    }
    Ok(Sample {
        cpu: cpu / told.requests as f64,
        requests_per_second: told.requests_per_second,
        p50: told.p50,
        p99: told.p99,
        rss: peer.process.rss()?,
    })
}

/// What wrk said of a run.
struct Told {
    requests: u64,
    requests_per_second: f64,
    p50: f64,
    p99: f64,
    not_ok: u64,
    broken: bool,
}

impl Told {
    fn read(said: &str) -> Result<Self> {
        let after = |mark: &str| {
            let found = said.lines().find_map(|line| line.trim().strip_prefix(mark));
            found.map(str::trim).with_context(|| format!("there is no `{mark}`"))
        };
        let requests = said.lines().find_map(|line| line.trim().split_once(" requests in "));
        Ok(Self {
            requests: requests.context("there is no count of requests")?.0.parse()?,
            requests_per_second: after("Requests/sec:")?.parse()?,
            p50: microseconds(after("50%")?)?,
            p99: microseconds(after("99%")?)?,
            not_ok: after("Non-2xx or 3xx responses:").map_or(Ok(0), str::parse)?,
            broken: after("Socket errors:").is_ok(),
        })
    }
}

/// Reads `813.00us`, `1.52ms` or `2.00s`.
fn microseconds(text: &str) -> Result<f64> {
    for (unit, factor) in [("us", 1.0), ("ms", 1e3), ("s", 1e6)] {
        if let Some(number) = text.strip_suffix(unit) {
            return Ok(number.parse::<f64>()? * factor);
        }
    }
    bail!("{text} is not a time")
}

fn script(workload: Workload) -> &'static str {
    match workload {
        Workload::Get | Workload::Deny => "",
        Workload::Post4k => {
            "wrk.method = \"POST\"\n\
             wrk.headers[\"Content-Type\"] = \"application/octet-stream\"\n\
             wrk.body = string.rep(\"x\", 4096)\n"
        }
    }
}

/// One request, whose answer is looked at closely: wrk tells only 2xx from others.
fn probe(peer: &Peer, workload: Workload, bearer: &Plaintext) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    let mut stream = loop {
        match TcpStream::connect(peer.address) {
            Ok(stream) => break stream,
            Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(error).context("it does not come up"),
        }
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    let (method, body) = match workload {
        Workload::Get | Workload::Deny => ("GET", String::new()),
        Workload::Post4k => ("POST", format!("Content-Length: 4096\r\n\r\n{}", "x".repeat(4094))),
    };
    write!(
        stream,
        "{method} /v1/orders?page=2 HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {}\r\n{body}\r\n",
        bearer.reveal()
    )?;
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    let wanted = if workload.status() == 200 { "x".repeat(app::ANSWER) } else { "}".to_owned() };
    while !answer.ends_with(wanted.as_bytes()) {
        let read = stream.read(&mut piece)?;
        ensure!(read > 0, "it hung up after {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..read]);
    }
    let status = format!("HTTP/1.1 {} ", workload.status());
    ensure!(answer.starts_with(status.as_bytes()), "it answered {}", String::from_utf8_lossy(&answer));
    Ok(())
}

/// Waits until `least` requests are in the log, and returns how many are. All but `odd` have the expected status.
fn logged(peer: &Peer, workload: Workload, least: u64, odd: u64) -> Result<u64> {
    let Some(path) = &peer.log else { return Ok(0) };
    let until = Instant::now() + PATIENCE;
    loop {
        let (lines, expected) = read_log(path, workload)?;
        if lines >= least {
            ensure!(lines - expected <= odd, "{} answers of {lines} had another status", lines - expected);
            return Ok(lines);
        }
        ensure!(Instant::now() < until, "only {lines} of {least} requests are in its log");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Whole lines of a log, and how many of them have the expected status.
fn read_log(path: &Path, workload: Workload) -> Result<(u64, u64)> {
    let log = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mark = format!("\"status\":{},", workload.status());
    let whole = memchr::memrchr(b'\n', &log).map_or(&log[..0], |end| &log[..=end]);
    let lines = memchr::memchr_iter(b'\n', whole).count() as u64;
    Ok((lines, memmem::find_iter(whole, &mark).count() as u64))
}
