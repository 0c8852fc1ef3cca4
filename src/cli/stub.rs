//! An admin side that says what a test tells it to.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

/// Well-formed, and minted nowhere.
pub(super) const KEY: &str = "pcm_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17";

/// Takes one request a connection, and gives one answer.
pub(super) struct Stub {
    pub(super) url: String,
    thread: JoinHandle<Vec<String>>,
}

impl Stub {
    pub(super) fn new<A: Into<String>>(answers: impl IntoIterator<Item = A>) -> Self {
        Self::start(answers.into_iter().map(Into::into).collect(), false)
    }

    /// Says `answer` and keeps the line open until the client closes it.
    pub(super) fn holding(answer: &str) -> Self {
        Self::start(vec![answer.to_owned()], true)
    }

    /// The heads of the requests, once all answers are given.
    pub(super) fn requests(self) -> Vec<String> {
        self.thread.join().unwrap()
    }

    fn start(answers: Vec<String>, hold: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let exchange = |answer: String| {
                let (mut stream, _) = listener.accept().unwrap();
                let head = head(&mut stream);
                stream.write_all(answer.as_bytes()).unwrap();
                if hold {
                    let _ = stream.read_to_end(&mut Vec::new());
                }
                head
            };
            answers.into_iter().map(exchange).collect()
        });
        Self { url, thread }
    }
}

fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut part = [0; 1024];
        let read = stream.read(&mut part).unwrap();
        assert_ne!(read, 0, "the client left within its head");
        head.extend_from_slice(&part[..read]);
    }
    String::from_utf8(head).unwrap()
}
