//! HTTP/1 on a socket, plainly: no library in between that could hide what was sent.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::Value;

use super::PATIENCE;

/// One end of a connection, with the bytes that were read ahead.
pub(crate) struct Wire<S> {
    pub(crate) stream: S,
    ahead: Vec<u8>,
}

/// The first line of a message and its fields.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) line: String,
    pub(crate) fields: Vec<(String, String)>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

/// A request: `line` without the version, `Host: shop.localhost` unless `fields` name another.
pub(crate) fn request(line: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut text = format!("{line} HTTP/1.1\r\n");
    if !fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        text.push_str("Host: shop.localhost\r\n");
    }
    for (name, value) in fields {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// A connection whose reads and writes are bounded.
pub(crate) fn connect(address: SocketAddr) -> Wire<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    Wire::new(stream)
}

/// Reads once. Where a read is bounded in time, a process that was stopped and goes on finds it broken off.
pub(crate) fn read(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

impl Wire<TcpStream> {
    /// Says that nothing more will be sent.
    pub(crate) fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}

impl<S: Read + Write> Wire<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, ahead: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// The next answer, whole. To a HEAD request, see [`Wire::head`].
    pub(crate) fn answer(&mut self) -> Answer {
        let head = self.head().unwrap().expect("an answer, not the end of the connection");
        let status = head.status();
        let bodyless = status < 200 || status == 204 || status == 304;
        let body = if bodyless { Vec::new() } else { self.body(&head).unwrap() };
        Answer { status, head, body }
    }

    /// The next head; `None` if the peer closed without another byte.
    pub(crate) fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = self.ahead.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let bytes: Vec<u8> = self.ahead.drain(..end + 4).collect();
                return Ok(Some(Head::parse(&String::from_utf8_lossy(&bytes[..end]))));
            }
            if self.fill()? == 0 {
                return if self.ahead.is_empty() { Ok(None) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// The body that belongs to `head`. An answer without a length ends with its connection.
    pub(crate) fn body(&mut self, head: &Head) -> io::Result<Vec<u8>> {
        if head.get("transfer-encoding").is_some() {
            return self.chunks();
        }
        match head.get("content-length") {
            Some(length) => self.take(length.parse().unwrap()),
            None if head.line.starts_with("HTTP/") => self.rest(),
            None => Ok(Vec::new()),
        }
    }

    /// A chunked body up to its end, put together. Trailers are read and dropped.
    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let chunk = self.chunk()?;
            if chunk.is_empty() {
                self.trailers()?;
                return Ok(body);
            }
            body.extend(chunk);
        }
    }

    /// The lines after the last chunk.
    pub(crate) fn trailers(&mut self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(lines);
            }
            lines.push(line);
        }
    }

    /// The data of the next chunk; empty for the last, whose trailers are still to come.
    pub(crate) fn chunk(&mut self) -> io::Result<Vec<u8>> {
        let line = self.line()?;
        let size = line.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
        let data = self.take(size)?;
        if size > 0 {
            assert_eq!(self.line()?, "", "a chunk's data ends in CR LF");
        }
        Ok(data)
    }

    /// The next line, without its end.
    pub(crate) fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.ahead.windows(2).position(|bytes| bytes == b"\r\n") {
                let line: Vec<u8> = self.ahead.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            self.more()?;
        }
    }

    /// Exactly `length` bytes.
    pub(crate) fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < length {
            self.more()?;
        }
        Ok(self.ahead.drain(..length).collect())
    }

    /// Reads `length` bytes and keeps none.
    pub(crate) fn skip(&mut self, mut length: u64) -> io::Result<()> {
        loop {
            let known = length.min(self.ahead.len() as u64);
            self.ahead.drain(..known as usize);
            length -= known;
            if length == 0 {
                return Ok(());
            }
            self.more()?;
        }
    }

    /// Everything up to the end of the connection.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.fill()? > 0 {}
        Ok(std::mem::take(&mut self.ahead))
    }

    /// Waits for the peer to end the connection, by whatever means, and drops what it still sends.
    pub(crate) fn wait_for_end(&mut self) {
        loop {
            self.ahead.clear();
            match self.fill() {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => {
                    let timeout = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                    assert!(!timeout, "the peer should have ended the connection");
                    return;
                }
            }
        }
    }

    fn more(&mut self) -> io::Result<()> {
        if self.fill()? == 0 { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 64 * 1024];
        let read = read(&mut self.stream, &mut buffer)?;
        self.ahead.extend_from_slice(&buffer[..read]);
        Ok(read)
    }
}

impl Head {
    fn parse(text: &str) -> Self {
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let field = |line: &str| {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            (name.to_owned(), value.trim().to_owned())
        };
        Self { line, fields: lines.map(field).collect() }
    }

    /// The value of a field that is there at most once.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} is there {} times: {self:?}", all.len());
        all.first().copied()
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// Of an answer.
    pub(crate) fn status(&self) -> u16 {
        let status = self.line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
        status.and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status line: {self:?}"))
    }

    /// Of a request.
    pub(crate) fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }
}

impl Answer {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.head.get(name)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The `code` of a problem document.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Asserts that the gateway itself answered, in the shape that all its refusals have; returns the document.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) -> Value {
        let document = self.json();
        assert_eq!((self.status, document["code"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(self.get("content-type"), Some("application/problem+json"), "{self:?}");
        assert_eq!(self.get("cache-control"), Some("no-store"), "{self:?}");
        assert_eq!(self.get("x-request-id"), document["request_id"].as_str(), "{self:?}");
        assert_eq!(document["status"], status, "{self:?}");
        let fields: Vec<_> = document.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, ["code", "detail", "request_id", "status", "title", "type"], "{self:?}");
        assert!(fields.iter().all(|field| document[field] != ""), "{self:?}");
        document
    }
}
