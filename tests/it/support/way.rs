//! The four ways to speak to the gateway, for what has to hold on each of them.

use std::io::{Read, Write};

use super::authority::Authority;
use super::gateway::Gateway;
use super::http2::{self, DATA, END_STREAM, Frame, HEADERS};
use super::wire::{self, Answer, Wire, request};

/// HTTP/1.1 or HTTP/2, in the clear or over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) http2: bool,
    pub(crate) tls: bool,
}

/// A connection, whatever is under it.
trait Socket: Read + Write {}

impl<S: Read + Write> Socket for S {}

/// A client's end of a connection, and what it speaks.
pub(crate) struct Talk(Spoken);

enum Spoken {
    Http1(Wire<Box<dyn Socket>>),
    Http2(http2::Client<Box<dyn Socket>>),
}

pub(crate) const HOST: &str = "shop.localhost";

impl Way {
    pub(crate) const ALL: [Self; 4] = [
        Self { http2: false, tls: false },
        Self { http2: false, tls: true },
        Self { http2: true, tls: false },
        Self { http2: true, tls: true },
    ];

    /// Connects, shakes hands, and sends what comes before the first request.
    #[track_caller]
    pub(crate) fn connect(self, gateway: &Gateway, authority: &Authority) -> Talk {
        if !self.http2 {
            return self.connect_in_silence(gateway, authority);
        }
        let mut client = http2::Client::new(self.stream(gateway, authority));
        client.greet(&[]);
        Talk(Spoken::Http2(client))
    }

    /// Connects, shakes hands, and says nothing.
    #[track_caller]
    pub(crate) fn connect_in_silence(self, gateway: &Gateway, authority: &Authority) -> Talk {
        Talk(Spoken::Http1(Wire::new(self.stream(gateway, authority))))
    }

    #[track_caller]
    fn stream(self, gateway: &Gateway, authority: &Authority) -> Box<dyn Socket> {
        if !self.tls {
            return Box::new(wire::connect(gateway.address()).stream);
        }
        let mut client = authority.client();
        client.config.alpn_protocols = vec![if self.http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
        Box::new(client.connect(gateway.tls_address(), HOST).stream)
    }
}

impl Talk {
    /// Sends a whole request and takes its answer. The length of a body is told in advance or not at all.
    #[track_caller]
    pub(crate) fn ask(
        &mut self,
        line: (&str, &str),
        fields: &[(&str, &str)],
        body: &[u8],
        announced: bool,
    ) -> Answer {
        let length = body.len().to_string();
        let mut fields = fields.to_vec();
        match &mut self.0 {
            Spoken::Http1(wire) => {
                let mut sent = body.to_vec();
                match (body, announced) {
                    ([], _) => {}
                    (_, true) => fields.push(("content-length", &length)),
                    (_, false) => {
                        fields.push(("transfer-encoding", "chunked"));
                        sent = [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n0\r\n\r\n"].concat();
                    }
                }
                wire.send([request(&format!("{} {}", line.0, line.1), &fields), sent].concat());
                wire.answer()
            }
            Spoken::Http2(client) => {
                if announced && !body.is_empty() {
                    fields.push(("content-length", &length));
                }
                if body.is_empty() {
                    let stream = client.ask(line.0, line.1, &fields);
                    return client.answer(stream);
                }
                let stream = client.begin(line.0, line.1, &fields);
                client.data(stream, body, END_STREAM);
                client.answer(stream)
            }
        }
    }

    /// Sends a request whose body of ten bytes stops after four, and takes the status of the answer.
    #[track_caller]
    pub(crate) fn half_a_body(&mut self, path: &str, fields: &[(&str, &str)]) -> u16 {
        let fields = [fields, &[("content-length", "10")]].concat();
        match &mut self.0 {
            Spoken::Http1(wire) => {
                wire.send([&request(&format!("POST {path}"), &fields)[..], b"some"].concat());
                wire.answer().status
            }
            Spoken::Http2(client) => {
                let stream = client.begin("POST", path, &fields);
                client.data(stream, b"some", 0);
                client.answer_head(stream).status()
            }
        }
    }

    /// Sends a request and reads nothing of its answer.
    pub(crate) fn begin(&mut self, path: &str, fields: &[(&str, &str)]) {
        match &mut self.0 {
            Spoken::Http1(wire) => wire.send(request(&format!("GET {path}"), fields)),
            Spoken::Http2(client) => drop(client.ask("GET", path, fields)),
        }
    }

    /// Asks for a WebSocket and reads nothing of what comes through it.
    pub(crate) fn begin_tunnel(&mut self, path: &str, fields: &[(&str, &str)]) {
        let upgrade = [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let version = ("sec-websocket-version", "13");
        match &mut self.0 {
            Spoken::Http1(wire) => {
                let fields = [fields, &upgrade, &[version]].concat();
                wire.send(request(&format!("GET {path}"), &fields));
            }
            Spoken::Http2(client) => {
                let fields = [fields, &[(":protocol", "websocket"), version]].concat();
                client.begin("CONNECT", path, &fields);
            }
        }
    }

    /// Sends more through a tunnel.
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Spoken::Http1(wire) => drop(wire.stream.write_all(bytes)),
            Spoken::Http2(client) => {
                let bytes = Frame::new(DATA, 0, 1, bytes).bytes();
                client.try_send(&bytes);
            }
        }
    }

    /// Sends the beginning of a head and no end.
    pub(crate) fn half_a_head(&mut self) {
        match &mut self.0 {
            Spoken::Http1(wire) => wire.send("GET / HT"),
            Spoken::Http2(client) => {
                let (stream, block) = (client.stream(), http2::block(&http2::fields("GET", "/", &[])));
                client.send(&Frame::new(HEADERS, END_STREAM, stream, &block[..10]));
            }
        }
    }

    /// Waits for the gateway to end the connection, by whatever means.
    #[track_caller]
    pub(crate) fn wait_for_end(&mut self) {
        match &mut self.0 {
            Spoken::Http1(wire) => wire.wait_for_end(),
            Spoken::Http2(client) => while client.frame().is_some() {},
        }
    }
}
