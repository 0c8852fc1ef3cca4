//! Credentials that were minted nowhere, and what looks like one.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use portcullis::credential::{Kind, Plaintext};
use serde_json::Value;

use super::gateway::{Ran, command};

pub(crate) fn token() -> String {
    Plaintext::generate(Kind::Token).unwrap().reveal().to_owned()
}

pub(crate) fn key() -> String {
    Plaintext::generate(Kind::Key).unwrap().reveal().to_owned()
}

/// As the admin API takes it.
pub(crate) fn digest(secret: &str) -> String {
    let kind = if secret.starts_with("pct_") { Kind::Token } else { Kind::Key };
    Plaintext::parse(kind, secret.as_bytes()).unwrap().digest().to_text()
}

/// The same with another last character, so that the checksum is wrong.
pub(crate) fn look_alike(credential: &str) -> String {
    let last = if credential.ends_with('a') { 'b' } else { 'a' };
    format!("{}{last}", &credential[..credential.len() - 1])
}

/// In UTF-16 with its mark.
pub(crate) fn wide(text: &str, big: bool) -> Vec<u8> {
    let order = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
    format!("\u{feff}{text}").encode_utf16().flat_map(order).collect()
}

/// `portcullis scan` in a folder.
pub(crate) fn scan(folder: &Path, arguments: &[&str]) -> Ran {
    scan_with(folder, arguments, b"")
}

/// The same, with something on standard input.
pub(crate) fn scan_with(folder: &Path, arguments: &[&str], input: &[u8]) -> Ran {
    feed(command(folder).arg("scan").args(arguments), input)
}

/// Runs a command that reads `input` and not more.
pub(crate) fn feed(command: &mut Command, input: &[u8]) -> Ran {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let input = input.to_vec();
    // It may end before it has read all.
    let writer = std::thread::spawn(move || drop(pipe.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// What `--json` says of each place, in the order of the places.
pub(crate) fn places(ran: &Ran) -> Vec<String> {
    let document: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    let items = document["items"].as_array().unwrap().iter();
    let places = items.flat_map(|item| item["places"].as_array().unwrap().clone());
    let mut places: Vec<_> = places.map(|place| place["text"].as_str().unwrap().to_owned()).collect();
    places.sort();
    places
}

/// That nothing which was said holds more of these than their hints.
#[track_caller]
pub(crate) fn assert_unsaid(ran: &Ran, credentials: &[&str]) {
    for credential in credentials {
        for part in [&credential[4..20], &credential[20..36]] {
            assert!(!ran.stdout.contains(part) && !ran.stderr.contains(part), "{ran:?}");
        }
    }
}
