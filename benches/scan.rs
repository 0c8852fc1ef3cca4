//! How fast `portcullis scan` reads, beside ripgrep looking for the same shape: many files, one long file, a stream.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on has nothing better to do than stop, and prints what it measured"
)]

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use portcullis::credential::{Kind, Plaintext};

const FILES: usize = 4_000;
const FILE: usize = 32 * 1024;
const LONG: usize = 512 * 1024 * 1024;
/// One file in so many holds a token, and the one after it what looks like one.
const SELDOM: usize = 100;
const ROUNDS: usize = 7;
const SHAPE: &str = "pc[tm]_[0-9A-Za-z]{36}";

/// What is looked through, by whom, and how long each took in each round.
struct Case {
    name: &'static str,
    bytes: usize,
    /// Lines with what has the shape, and those of them that hold a credential.
    shaped: usize,
    real: usize,
    commands: [Vec<&'static str>; 2],
    input: Option<&'static str>,
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let planted = plant(folder.path());
    let scan = |path| vec![env!("CARGO_BIN_EXE_portcullis"), "scan", path];
    let ripgrep = |path| vec!["rg", "--no-config", "--hidden", "--line-number", "--column", SHAPE, path];
    let case = |name, bytes, planted, path, input| Case {
        name,
        bytes,
        shaped: planted * 2,
        real: planted,
        commands: [scan(path), ripgrep(path)],
        input,
    };
    let cases = [
        case("files", FILES * FILE, planted, "files", None),
        case("long file", LONG, 1, "long", None),
        case("stream", LONG, 1, "-", Some("long")),
    ];
    println!("| | portcullis MB/s | ripgrep MB/s |\n| --- | ---: | ---: |");
    for case in &cases {
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..=ROUNDS {
            // Who begins changes with every round; the first one only warms up.
            for turn in 0..2 {
                let who = (round + turn) % 2;
                let time = case.run(folder.path(), who);
                times[who].extend(time.filter(|_| round > 0));
            }
        }
        let [ours, theirs] = times.map(|times| rate(case.bytes, times));
        println!("| {} | {ours} | {theirs} |", case.name);
    }
}

impl Case {
    /// Seconds; `None` where the program cannot be had.
    fn run(&self, folder: &Path, who: usize) -> Option<f64> {
        let (program, arguments) = self.commands[who].split_first().unwrap();
        let input = self.input.map_or_else(Stdio::null, |name| File::open(folder.join(name)).unwrap().into());
        let began = Instant::now();
        let output = Command::new(program).args(arguments).current_dir(folder).stdin(input).output().ok()?;
        let time = began.elapsed().as_secs_f64();
        let lines = output.stdout.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(
            lines,
            [self.real, self.shaped][who],
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Some(time)
    }
}

/// Writes what is looked through; in how many of the files there is a token.
fn plant(folder: &Path) -> usize {
    let mut random = fastrand::Rng::with_seed(7);
    let mut planted = 0;
    for number in 0..FILES {
        let parent = folder.join("files").join(format!("{:02}", number % 50));
        fs::create_dir_all(&parent).unwrap();
        let mut text = prose(&mut random, FILE - 200);
        match number % SELDOM {
            0 => {
                planted += 1;
                text.push_str(&token());
            }
            1 => text.push_str(&look_alike()),
            _ => {}
        }
        text.extend(std::iter::repeat_n(' ', FILE - text.len()));
        fs::write(parent.join(format!("{number}.txt")), text).unwrap();
    }
    let mut long = BufWriter::new(File::create(folder.join("long")).unwrap());
    let block = prose(&mut random, 1024 * 1024);
    for _ in 0..LONG / block.len() {
        long.write_all(block.as_bytes()).unwrap();
    }
    writeln!(long, "\n{}\n{}", token(), look_alike()).unwrap();
    long.flush().unwrap();
    planted
}

/// Words in lines, of this length to the byte.
fn prose(random: &mut fastrand::Rng, length: usize) -> String {
    let mut text = String::new();
    while text.len() < length {
        for _ in 0..random.usize(2..9) {
            text.push(random.char('a'..='z'));
        }
        text.push(if random.u8(..) < 24 { '\n' } else { [' ', '_', '='][random.usize(..3)] });
    }
    text.truncate(length);
    text
}

fn token() -> String {
    Plaintext::generate(Kind::Token).unwrap().reveal().to_owned()
}

/// Its checksum does not fit.
fn look_alike() -> String {
    format!("{}{}", &token()[..34], &token()[34..])
}

fn rate(bytes: usize, mut times: Vec<f64>) -> String {
    if times.is_empty() {
        return "–".to_owned();
    }
    times.sort_by(f64::total_cmp);
    let rate = |seconds: f64| bytes as f64 / 1e6 / seconds;
    let (least, most) = (rate(times[times.len() - 1]), rate(times[0]));
    format!("{:.0} ({least:.0}–{most:.0})", rate(times[times.len() / 2]))
}
