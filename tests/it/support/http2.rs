//! HTTP/2 on a socket, frame by frame: what is sent is what a test says, right or wrong.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::wire::{self, Answer, Head};

pub(crate) const DATA: u8 = 0x0;
pub(crate) const HEADERS: u8 = 0x1;
pub(crate) const PRIORITY: u8 = 0x2;
pub(crate) const RST_STREAM: u8 = 0x3;
pub(crate) const SETTINGS: u8 = 0x4;
pub(crate) const PUSH_PROMISE: u8 = 0x5;
pub(crate) const PING: u8 = 0x6;
pub(crate) const GOAWAY: u8 = 0x7;
pub(crate) const WINDOW_UPDATE: u8 = 0x8;
pub(crate) const CONTINUATION: u8 = 0x9;

pub(crate) const END_STREAM: u8 = 0x1;
pub(crate) const ACK: u8 = 0x1;
pub(crate) const END_HEADERS: u8 = 0x4;
pub(crate) const PADDED: u8 = 0x8;
/// Of HEADERS, that a priority is in it.
pub(crate) const PRIORITIZED: u8 = 0x20;

pub(crate) const NO_ERROR: u32 = 0x0;
pub(crate) const PROTOCOL_ERROR: u32 = 0x1;
pub(crate) const FLOW_CONTROL_ERROR: u32 = 0x3;
pub(crate) const STREAM_CLOSED: u32 = 0x5;
pub(crate) const FRAME_SIZE_ERROR: u32 = 0x6;
pub(crate) const REFUSED_STREAM: u32 = 0x7;
pub(crate) const CANCEL: u32 = 0x8;
pub(crate) const COMPRESSION_ERROR: u32 = 0x9;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 0xb;

/// What a client sends before its first frame.
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const HEADER_TABLE_SIZE: u16 = 0x1;
pub(crate) const ENABLE_PUSH: u16 = 0x2;
pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 0x3;
/// Of each stream's window.
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 0x4;
pub(crate) const MAX_FRAME_SIZE: u16 = 0x5;
pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 0x6;
pub(crate) const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;

/// A client's end of a connection.
pub(crate) struct Client<S = TcpStream> {
    pub(crate) stream: S,
    ahead: Vec<u8>,
    decoder: fluke_hpack::Decoder<'static>,
    /// Frames that came while others were waited for.
    kept: VecDeque<Frame>,
    next: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// How a stream came to its end.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// With an answer, and the fields after it.
    Whole(Answer, Vec<(String, String)>),
    /// With an error code.
    Reset(u32),
    /// The connection ended first.
    Gone,
}

impl Frame {
    pub(crate) fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, flags, stream, payload: payload.into() }
    }

    /// Settings by number and value.
    pub(crate) fn settings(settings: &[(u16, u32)]) -> Self {
        let setting = |(name, value): &(u16, u32)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat();
        Self::new(SETTINGS, 0, 0, settings.iter().flat_map(setting).collect::<Vec<_>>())
    }

    pub(crate) fn reset(stream: u32, code: u32) -> Self {
        Self::new(RST_STREAM, 0, stream, code.to_be_bytes())
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let [.., high, middle, low] = self.payload.len().to_be_bytes();
        let stream = self.stream.to_be_bytes();
        [&[high, middle, low, self.kind, self.flags][..], &stream, &self.payload].concat()
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The error code of a RST_STREAM or GOAWAY.
    pub(crate) fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// A header block in which every field stands in full: nothing indexed, nothing compressed.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    raw_block(&fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect::<Vec<_>>())
}

/// The same of bytes that need not be text.
pub(crate) fn raw_block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        // A literal that is not to be indexed, with its name in full: RFC 7541, section 6.2.2.
        block.push(0);
        put_string(&mut block, name);
        put_string(&mut block, value);
    }
    block
}

fn put_string(block: &mut Vec<u8>, bytes: &[u8]) {
    // A length with a prefix of seven bits: RFC 7541, section 5.1.
    let mut rest = bytes.len();
    if rest < 127 {
        block.push(rest as u8);
    } else {
        block.push(127);
        rest -= 127;
        while rest >= 128 {
            block.push((rest % 128) as u8 | 128);
            rest /= 128;
        }
        block.push(rest as u8);
    }
    block.extend_from_slice(bytes);
}

/// The fields of a request, pseudo-fields first; `target` as in a request line, `shop.localhost` unless an `:authority`
/// is among `fields`.
pub(crate) fn fields<'a>(
    method: &'a str,
    target: &'a str,
    fields: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let mut all = vec![(":method", method), (":scheme", "http"), (":path", target)];
    let of_pseudo = |(name, _): &&(&str, &str)| name.starts_with(':');
    all.extend(fields.iter().filter(of_pseudo));
    if !all.iter().any(|(name, _)| *name == ":authority") {
        all.push((":authority", "shop.localhost"));
    }
    all.extend(fields.iter().filter(|field| !of_pseudo(field)));
    all
}

/// A connection on which preface and settings went out.
pub(crate) fn connect(address: SocketAddr) -> Client {
    connect_with(address, &[])
}

/// The same with settings of one's own.
pub(crate) fn connect_with(address: SocketAddr, settings: &[(u16, u32)]) -> Client {
    let mut client = Client::new(wire::connect(address).stream);
    client.greet(settings);
    client
}

impl<S: Read + Write> Client<S> {
    /// A connection on which nothing was sent yet.
    pub(crate) fn new(stream: S) -> Self {
        let decoder = fluke_hpack::Decoder::new();
        Self { stream, ahead: Vec::new(), decoder, kept: VecDeque::new(), next: 1 }
    }

    /// Sends preface and settings. The server is allowed no table of fields: each block can be read by itself, whenever
    /// its turn comes.
    pub(crate) fn greet(&mut self, settings: &[(u16, u32)]) {
        self.send_bytes(PREFACE);
        self.send(&Frame::settings(&[&[(HEADER_TABLE_SIZE, 0)], settings].concat()));
    }

    pub(crate) fn send_bytes(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    pub(crate) fn send(&mut self, frame: &Frame) {
        self.send_bytes(frame.bytes());
    }

    /// Sends frames that the peer may have hung up on meanwhile.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The number of the next stream.
    pub(crate) fn stream(&mut self) -> u32 {
        let stream = self.next;
        self.next += 2;
        stream
    }

    /// Sends a whole request without a body; the number of its stream.
    pub(crate) fn ask(&mut self, method: &str, target: &str, others: &[(&str, &str)]) -> u32 {
        self.head(method, target, others, END_STREAM)
    }

    /// Sends the head of a request whose body is to follow.
    pub(crate) fn begin(&mut self, method: &str, target: &str, others: &[(&str, &str)]) -> u32 {
        self.head(method, target, others, 0)
    }

    fn head(&mut self, method: &str, target: &str, others: &[(&str, &str)], flags: u8) -> u32 {
        let stream = self.stream();
        let block = block(&fields(method, target, others));
        self.send(&Frame::new(HEADERS, END_HEADERS | flags, stream, block));
        stream
    }

    pub(crate) fn data(&mut self, stream: u32, data: &[u8], flags: u8) {
        self.send(&Frame::new(DATA, flags, stream, data));
    }

    /// The next frame as it comes, with nothing done about it; `None` where the connection has ended.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        match self.try_frame() {
            Ok(frame) => frame,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("no frame came, and no end of the connection")
            }
            Err(_) => None,
        }
    }

    fn try_frame(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let [high, middle, low, kind, flags, a, b, c, d, rest @ ..] = &self.ahead[..] {
                let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
                if let Some(payload) = rest.get(..length) {
                    let stream = u32::from_be_bytes([*a, *b, *c, *d]);
                    let frame = Frame::new(*kind, *flags, stream, payload);
                    self.ahead.drain(..9 + length);
                    return Ok(Some(frame));
                }
            }
            let mut buffer = [0; 64 * 1024];
            match wire::read(&mut self.stream, &mut buffer)? {
                0 => return Ok(None),
                read => self.ahead.extend_from_slice(&buffer[..read]),
            }
        }
    }

    /// The next frame that `wanted` picks, those kept before included. Meanwhile settings and pings are acknowledged,
    /// and other frames kept.
    pub(crate) fn wait(&mut self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        if let Some(place) = self.kept.iter().position(&wanted) {
            return self.kept.remove(place);
        }
        loop {
            let frame = self.frame()?;
            if matches!(frame.kind, SETTINGS | PING) && !frame.has(ACK) {
                let payload = if frame.kind == PING { &frame.payload[..] } else { &[] };
                let reply = Frame::new(frame.kind, ACK, 0, payload);
                self.try_send(&reply.bytes());
            }
            if wanted(&frame) {
                return Some(frame);
            }
            self.kept.push_back(frame);
        }
    }

    /// How many frames of a kind have come and were not asked for yet.
    pub(crate) fn kept(&self, kind: u8) -> usize {
        self.kept.iter().filter(|frame| frame.kind == kind).count()
    }

    /// Waits until the server is known to have read everything that was sent.
    pub(crate) fn sync(&mut self) {
        self.send(&Frame::new(PING, 0, 0, *b"in sync?"));
        self.wait(|frame| frame.kind == PING && frame.has(ACK))
            .expect("the end of the connection is too soon");
    }

    /// The head of a stream's answer.
    #[track_caller]
    pub(crate) fn answer_head(&mut self, stream: u32) -> Head {
        let frame = self.wait(|frame| frame.stream == stream && matches!(frame.kind, HEADERS | RST_STREAM));
        let frame = frame.expect("an answer, not the end of the connection");
        assert_eq!(frame.kind, HEADERS, "{frame:?}");
        self.decode(&frame)
    }

    /// Waits for the end of a stream and takes all that comes of it.
    pub(crate) fn outcome(&mut self, stream: u32) -> Outcome {
        let (mut head, mut body, mut trailers) = (None, Vec::new(), Vec::new());
        loop {
            let Some(frame) = self.wait(|frame| frame.stream == stream) else { return Outcome::Gone };
            match frame.kind {
                HEADERS if head.is_none() => head = Some(self.decode(&frame)),
                HEADERS => trailers = self.decode(&frame).fields,
                DATA if !frame.payload.is_empty() => {
                    body.extend_from_slice(&frame.payload);
                    let taken = (frame.payload.len() as u32).to_be_bytes();
                    for place in [0, stream] {
                        self.try_send(&Frame::new(WINDOW_UPDATE, 0, place, taken).bytes());
                    }
                }
                RST_STREAM => return Outcome::Reset(frame.code()),
                _ => {}
            }
            if matches!(frame.kind, DATA | HEADERS) && frame.has(END_STREAM) {
                let head = head.expect("a head before the end");
                return Outcome::Whole(Answer { status: head.status(), head, body }, trailers);
            }
        }
    }

    /// The answer of a stream that is to have a whole one.
    #[track_caller]
    pub(crate) fn answer(&mut self, stream: u32) -> Answer {
        match self.outcome(stream) {
            Outcome::Whole(answer, _) => answer,
            outcome => panic!("no whole answer: {outcome:?}"),
        }
    }

    /// The code of a stream's reset, which is to be its end.
    #[track_caller]
    pub(crate) fn reset(&mut self, stream: u32) -> u32 {
        match self.outcome(stream) {
            Outcome::Reset(code) => code,
            outcome => panic!("no reset: {outcome:?}"),
        }
    }

    /// The code of the GOAWAY that is to come before the end of the connection, of the last where there are several.
    #[track_caller]
    pub(crate) fn goaway(&mut self) -> u32 {
        let mut code = None;
        while let Some(frame) = self.wait(|frame| frame.kind == GOAWAY) {
            code = Some(frame.code());
        }
        code.expect("a GOAWAY before the end")
    }

    /// The fields of a whole HEADERS frame.
    fn decode(&mut self, frame: &Frame) -> Head {
        assert!(frame.has(END_HEADERS), "answers of the tests fit into one frame");
        let fields = self.decoder.decode(&frame.payload).unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let mut fields: Vec<_> = fields.into_iter().map(|(name, value)| (text(name), text(value))).collect();
        let status = fields.iter().position(|(name, _)| name == ":status");
        // As HTTP/1 would have it, so that both are read alike.
        let line = status.map(|place| format!("HTTP/1.1 {}", fields.remove(place).1)).unwrap_or_default();
        Head { line, fields }
    }
}
