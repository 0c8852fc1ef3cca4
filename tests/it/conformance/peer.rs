//! The client's side of a case: it keeps to the rules only as far as the case has it.

use std::io::{Read, Write};

use crate::support::http2::{
    ACK, Client, DATA, END_HEADERS, END_STREAM, Frame, HEADER_TABLE_SIZE, HEADERS, PING, PREFACE, RST_STREAM,
    WINDOW_UPDATE, block, fields,
};
use crate::support::wire::Answer;

/// The stream of the request that shows whether a connection goes on.
pub(super) const PROBE: u32 = 0x1001;

const TOKEN: &str = "x-portcullis-token";

/// Whatever carries the frames.
pub(super) trait Carrier: Read + Write {}

impl<S: Read + Write> Carrier for S {}

pub(super) struct Peer {
    pub(super) client: Client<Box<dyn Carrier>>,
    token: String,
}

impl Peer {
    pub(super) fn new(carrier: Box<dyn Carrier>, token: &str) -> Self {
        Self { client: Client::new(carrier), token: token.to_owned() }
    }

    /// Sends what every connection begins with. The server may not keep a table for its answers, so that each can be read
    /// by itself.
    pub(super) fn greet(&mut self, settings: &[(u16, u32)]) {
        self.raw(PREFACE);
        self.settings(&[&[(HEADER_TABLE_SIZE, 0)], settings].concat());
    }

    pub(super) fn settings(&mut self, settings: &[(u16, u32)]) {
        self.raw(Frame::settings(settings).bytes());
    }

    /// Sends bytes as they are. A server that has hung up already has done what it had to.
    pub(super) fn raw(&mut self, bytes: impl AsRef<[u8]>) {
        self.client.try_send(bytes.as_ref());
    }

    pub(super) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) {
        self.raw(Frame::new(kind, flags, stream, payload).bytes());
    }

    /// The header block of a request that would be let in.
    pub(super) fn block(&self, method: &str, path: &str, others: &[(&str, &str)]) -> Vec<u8> {
        block(&fields(method, path, &[&[(TOKEN, &*self.token)], others].concat()))
    }

    /// The field that lets a request in, as a block.
    pub(super) fn pass(&self) -> Vec<u8> {
        block(&[(TOKEN, &self.token)])
    }

    /// Sends a whole request that is answered at once.
    pub(super) fn get(&mut self, stream: u32) {
        self.ask(stream, "GET", "/", &[]);
    }

    /// Sends a whole request that is answered only when everything ends.
    pub(super) fn hang(&mut self, stream: u32) {
        self.ask(stream, "GET", "/wait", &[]);
    }

    pub(super) fn ask(&mut self, stream: u32, method: &str, path: &str, others: &[(&str, &str)]) {
        let block = self.block(method, path, others);
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, block);
    }

    /// Sends the head of a request whose body is to follow.
    pub(super) fn post(&mut self, stream: u32, others: &[(&str, &str)]) {
        let block = self.block("POST", "/", others);
        self.send(HEADERS, END_HEADERS, stream, block);
    }

    pub(super) fn data(&mut self, stream: u32, data: &[u8]) {
        self.send(DATA, 0, stream, data);
    }

    /// Sends the last of a body.
    pub(super) fn last(&mut self, stream: u32, data: &[u8]) {
        self.send(DATA, END_STREAM, stream, data);
    }

    pub(super) fn widen(&mut self, stream: u32, by: u32) {
        self.send(WINDOW_UPDATE, 0, stream, by.to_be_bytes());
    }

    pub(super) fn reset(&mut self, stream: u32, code: u32) {
        self.send(RST_STREAM, 0, stream, code.to_be_bytes());
    }

    /// Sends the request that shows whether the connection goes on.
    pub(super) fn probe(&mut self) {
        self.ask(PROBE, "GET", "/probe", &[]);
    }

    /// Waits until the server has read all that was sent, and has said all that it has to say to that by itself.
    pub(super) fn sync(&mut self) {
        self.client.sync();
    }

    /// The answer of a stream, which is then closed.
    #[track_caller]
    pub(super) fn answer(&mut self, stream: u32) -> Answer {
        self.client.answer(stream)
    }

    /// The DATA frames of a stream that have come so far, in bytes.
    #[track_caller]
    pub(super) fn received(&mut self, stream: u32, bytes: usize) {
        let mut seen = 0;
        while seen < bytes {
            let data = self.client.wait(|frame| frame.kind == DATA && frame.stream == stream);
            seen += data.expect("more of the body").payload.len();
        }
        self.sync();
        assert_eq!((seen, self.client.kept(DATA)), (bytes, 0), "not as much as the window allows");
    }

    /// Waits for the answer to a PING with this payload.
    #[track_caller]
    pub(super) fn echoed(&mut self, payload: [u8; 8]) {
        let echo = self.client.wait(|frame| frame.kind == PING && frame.has(ACK)).expect("an answer");
        assert_eq!((echo.flags, echo.stream, &echo.payload[..]), (ACK, 0, &payload[..]));
    }
}
