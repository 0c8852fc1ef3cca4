//! A mail server that keeps what it is sent, and answers letters as a test says.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::until;

pub(crate) struct Mailbox {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    letters: Vec<Letter>,
    /// User and password, each time that somebody authenticated.
    logins: Vec<(String, String)>,
    script: Vec<u16>,
}

/// A letter that was offered, whether it was taken or not.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) from: String,
    pub(crate) to: String,
    /// With its header, and lines that were folded for transport put together.
    pub(crate) text: String,
}

impl Letter {
    pub(crate) fn field(&self, name: &str) -> String {
        let start = format!("{name}: ");
        let line = self.text.lines().find_map(|line| line.strip_prefix(&*start));
        line.unwrap_or_else(|| panic!("no {name}: {self:?}")).to_owned()
    }
}

impl Mailbox {
    pub(crate) fn taking() -> Self {
        Self::saying(&[250])
    }

    /// Answers letters with these codes in turn, the last of them for ever; 0 hangs up without an answer, 550
    /// means that there is no such mailbox.
    pub(crate) fn saying(codes: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen { script: codes.to_vec(), ..Seen::default() }));
        let kept = seen.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let kept = kept.clone();
                // Whoever hangs up in the middle of it has said enough.
                thread::spawn(move || serve(&stream.unwrap(), &kept));
            }
        });
        Self { address, seen }
    }

    pub(crate) fn letters(&self) -> Vec<Letter> {
        self.seen.lock().unwrap().letters.clone()
    }

    pub(crate) fn logins(&self) -> Vec<(String, String)> {
        self.seen.lock().unwrap().logins.clone()
    }

    pub(crate) fn wait_for(&self, count: usize) -> Vec<Letter> {
        until(&format!("{count} letters"), || Some(self.letters()).filter(|letters| letters.len() >= count))
    }
}

fn serve(stream: &TcpStream, seen: &Mutex<Seen>) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let say = |line: &str| {
        let mut out = stream;
        out.write_all(format!("{line}\r\n").as_bytes()).ok()
    };
    say("220 mail.test")?;
    let (mut from, mut to) = (String::new(), String::new());
    loop {
        let line = lines.next()?.ok()?;
        let (verb, rest) = line.split_once([' ', ':']).unwrap_or((&line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => {
                say("250-mail.test")?;
                say("250-AUTH PLAIN")?;
                say("250 SMTPUTF8")?;
            }
            "AUTH" => {
                let given = BASE64_STANDARD.decode(rest.strip_prefix("PLAIN ")?).ok()?;
                let given = String::from_utf8(given).ok()?;
                let mut parts = given.split('\0').skip(1).map(str::to_owned);
                seen.lock().unwrap().logins.push((parts.next()?, parts.next()?));
                say("235 in")?;
            }
            "MAIL" => {
                from = address(rest);
                say("250 ok")?;
            }
            "RCPT" => {
                to = address(rest);
                say("250 ok")?;
            }
            "DATA" => {
                say("354 go on")?;
                let mut text = String::new();
                loop {
                    let line = lines.next()?.ok()?;
                    if line == "." {
                        break;
                    }
                    text.push_str(line.strip_prefix('.').unwrap_or(&line));
                    text.push('\n');
                }
                // Quoted-printable, as far as these letters need it.
                let text = text.replace("=\n", "").replace("=E2=80=A6", "…").replace("=3D", "=");
                let mut seen = seen.lock().unwrap();
                seen.letters.push(Letter { from: from.clone(), to: to.clone(), text });
                let code = if seen.script.len() > 1 { seen.script.remove(0) } else { seen.script[0] };
                drop(seen);
                if code == 0 {
                    return None;
                }
                let enhanced = if code == 550 { "5.1.1 " } else { "" };
                say(&format!("{code} {enhanced}as the test says"))?;
            }
            "QUIT" => {
                say("221 bye")?;
                return Some(());
            }
            _ => {
                say("250 ok")?;
            }
        }
    }
}

fn address(rest: &str) -> String {
    let (_, rest) = rest.split_once('<').unwrap();
    rest.split_once('>').unwrap().0.to_owned()
}
