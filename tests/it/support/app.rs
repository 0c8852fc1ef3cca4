//! The app behind the gateway: does what a test tells it, and remembers every byte that reached it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::wire::{Head, Wire};
use super::{PATIENCE, until};

/// A running app. Its threads end with the connections that the gateway opened.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// What came over each connection, in the order in which they were opened.
    connections: Vec<Vec<u8>>,
    requests: Vec<Request>,
}

/// A request as it reached the app.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) head: Head,
    /// As far as the script has read it.
    pub(crate) body: Vec<u8>,
}

/// One request being answered by a script.
pub(crate) struct Exchange<'a> {
    pub(crate) head: Head,
    pub(crate) wire: &'a mut Wire<Tapped>,
    number: usize,
    keep: bool,
}

/// A socket whose incoming bytes are written down.
pub(crate) struct Tapped {
    pub(crate) stream: TcpStream,
    seen: Arc<Mutex<Seen>>,
    /// Its number, as in [`Request`].
    pub(crate) connection: usize,
    off: bool,
}

impl App {
    /// An app that answers every request with 200 and the body that it sent, or `hello`.
    pub(crate) fn echo() -> Self {
        Self::start(|exchange| {
            let body = exchange.body();
            exchange.answer(if body.is_empty() { b"hello" } else { &body });
        })
    }

    /// An app that answers each request by `script`, on a thread for each connection.
    pub(crate) fn start(script: impl Fn(&mut Exchange<'_>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let app = Self { address: listener.local_addr().unwrap(), seen: Arc::default() };
        let (seen, script) = (app.seen.clone(), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_write_timeout(Some(PATIENCE)).unwrap();
                stream.set_nodelay(true).unwrap();
                let (seen, script) = (seen.clone(), script.clone());
                let connection = seen.lock().unwrap().connections.len();
                seen.lock().unwrap().connections.push(Vec::new());
                let tapped = Tapped { stream, seen, connection, off: false };
                thread::spawn(move || serve(Wire::new(tapped), &*script));
            }
        });
        app
    }

    /// What to write under `upstreams`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every byte that came, connection after connection.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.seen.lock().unwrap().connections.concat()
    }

    /// How many connections were opened.
    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections.len()
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().requests.clone()
    }

    /// The one request that came.
    #[track_caller]
    pub(crate) fn only(&self) -> Request {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }

    /// Waits until this many requests have come.
    pub(crate) fn wait_for(&self, count: usize) {
        until(&format!("{count} requests at the app"), || (self.requests().len() >= count).then_some(()));
    }
}

fn serve(mut wire: Wire<Tapped>, script: &(impl Fn(&mut Exchange<'_>) + ?Sized)) {
    // A connection that breaks off between requests has ended; within one, the script notices.
    while let Ok(Some(head)) = wire.head() {
        let seen = &wire.stream.seen;
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.requests.push(Request { head: head.clone(), body: Vec::new() });
            seen.requests.len() - 1
        };
        let mut exchange = Exchange { head, wire: &mut wire, number, keep: true };
        script(&mut exchange);
        if !exchange.keep {
            return;
        }
    }
}

impl Exchange<'_> {
    /// The request's body, whole, or as much of it as there is.
    pub(crate) fn body(&mut self) -> Vec<u8> {
        let body = self.wire.body(&self.head).unwrap_or_default();
        self.wire.stream.seen.lock().unwrap().requests[self.number].body.clone_from(&body);
        body
    }

    /// Reads `length` bytes and remembers none.
    pub(crate) fn skip(&mut self, length: u64) -> io::Result<()> {
        self.wire.stream.off = true;
        let result = self.wire.skip(length);
        self.wire.stream.off = false;
        result
    }

    /// Answers 200 with a body of known length.
    pub(crate) fn answer(&mut self, body: &[u8]) {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        self.send([head.as_bytes(), body].concat());
    }

    /// Sends bytes as they are. A gateway that has hung up is no fault of the app.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let stream = &mut self.wire.stream;
        let sent = stream.write_all(bytes.as_ref()).is_ok();
        self.keep &= sent;
        sent
    }

    /// Ends the connection once the script has returned.
    pub(crate) fn close(&mut self) {
        self.keep = false;
    }
}

impl Read for Tapped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        if !self.off {
            self.seen.lock().unwrap().connections[self.connection].extend_from_slice(&buffer[..read]);
        }
        Ok(read)
    }
}

impl Write for Tapped {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
