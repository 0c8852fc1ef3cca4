//! An upgrade to a WebSocket: what a client asks and what the app answers.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest as _, Sha1};

use super::app::Exchange;

/// The fields of a client's wish, with its token.
pub(crate) fn wish(token: &str) -> [(&str, &str); 5] {
    [
        ("X-Portcullis-Token", token),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]
}

/// What a server makes of a key.
pub(crate) fn proof(key: &str) -> String {
    BASE64_STANDARD.encode(Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")))
}

/// Agrees to the upgrade that was asked for; `with` are further fields.
pub(crate) fn agree(exchange: &mut Exchange<'_>, with: &str) {
    let proof = proof(exchange.head.get("sec-websocket-key").unwrap());
    exchange.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {proof}\r\n{with}\r\n"
    ));
}
