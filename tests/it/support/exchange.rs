//! Requests that many topics send alike.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use super::PATIENCE;
use super::wire::{Answer, Wire, request};

/// A request that presents a token in the gateway's own header.
pub(crate) fn with_token(line: &str, host: &str, token: &str) -> Vec<u8> {
    request(line, &[("Host", host), ("X-Portcullis-Token", token)])
}

/// A call of the admin API over its socket, to a gateway that may die meanwhile; `None` where it gave no whole answer.
pub(crate) fn attempt(socket: &Path, line: &str, body: Option<&Value>) -> Option<Answer> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let body = body.map(Value::to_string).unwrap_or_default();
    let head = request(line, &[("Content-Length", &body.len().to_string())]);
    stream.write_all(&[head, body.into_bytes()].concat()).ok()?;
    let mut wire = Wire::new(stream);
    let head = wire.head().ok()??;
    let body = wire.body(&head).ok()?;
    Some(Answer { status: head.status(), head, body })
}
