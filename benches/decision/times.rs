//! How long the decision takes among so many tokens, all of which are asked for as often. Of many, most are in no cache
//! of the processor's.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use http::Request as Message;
use portcullis::board::Board;
use portcullis::config;
use portcullis::credential::{Digest, Kind, Plaintext};
use portcullis::gateway::head::{BodyLength, Head};
use portcullis::gateway::request::Request;
use portcullis::gateway::{Settings, decide};
use portcullis::index::Index;
use serde_json::json;

use super::case::{CLIENT, CONFIG, NOW, identity, open_all};

/// Of more tokens only so many are asked for, spread over all: enough to be more than the caches hold.
const ASKED: usize = 200_000;
/// Requests that are made ready at a time: they themselves are to be in the caches.
const BATCH: usize = 100;
const PASSES: usize = 5;

pub(super) fn run(counts: &[usize], record: Option<&Path>) -> Result<()> {
    println!("{:>12}{:>22}{:>10}", "tokens", "decision", "to first");
    let (mut first, mut all) = (None, Vec::new());
    for count in counts {
        let taken = measure(*count)?;
        let first = *first.get_or_insert(taken);
        println!("{count:>12}{taken:>19.0} ns{:>10.2}", taken / first);
        all.push(json!({ "tokens": count, "decision_ns": taken.round() }));
    }
    if let Some(folder) = record {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("decision_times.json"), serde_json::to_string_pretty(&all)? + "\n")?;
    }
    Ok(())
}

/// Nanoseconds: the median of some passes.
fn measure(count: usize) -> Result<f64> {
    let config = config::parse(CONFIG, Path::new("bench.toml"), Path::new(""), [])?.config;
    let (index, writer) = Index::new();
    let (board, _) = Board::new(1);
    let settings = Settings::new(&config, &index, &board, None)?;
    open_all(&config, &writer);
    let put = |digest: Digest| writer.put(digest, identity(&writer));
    let number = count.min(ASKED);
    let asked = (0..number).map(|_| Plaintext::generate(Kind::Token)).collect::<Result<Vec<_>, _>>()?;
    // Between those that are never asked for.
    let between = count / number;
    for token in &asked {
        put(token.digest());
        for _ in 1..between {
            let mut digest = [0; 32];
            fastrand::fill(&mut digest);
            put(Digest::from_bytes(digest));
        }
    }

    let mut passes = Vec::with_capacity(PASSES);
    for _ in 0..PASSES {
        let mut taken = 0.0;
        for batch in asked.chunks(BATCH) {
            let requests = batch.iter().map(request).collect::<Result<Vec<_>>>()?;
            let began = Instant::now();
            for request in &requests {
                let decision = decide(black_box(&settings), &index, black_box(request), CLIENT, NOW);
                if black_box(decision).is_err() {
                    bail!("a token was refused");
                }
            }
            taken += began.elapsed().as_secs_f64() * 1e9;
        }
        passes.push(taken / number as f64);
    }
    passes.sort_by(f64::total_cmp);
    passes.get(PASSES / 2).copied().context("no pass was made")
}

fn request(token: &Plaintext) -> Result<Request> {
    let message = Message::builder()
        .uri("/v1/orders?page=2&limit=50")
        .header("host", "shop.example.com")
        .header("user-agent", "acme-sync/2.4")
        .header("accept", "application/json")
        .header("authorization", format!("Bearer {}", token.reveal()));
    let (parts, ()) = message.body(())?.into_parts();
    let head = Head { offence: None, body: BodyLength::None, fields: parts.headers.len() };
    let Ok(request) = Request::accept(parts, head) else { bail!("the request was not accepted") };
    Ok(request)
}
