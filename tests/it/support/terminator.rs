//! TLS in front of an app.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{HandshakeKind, ServerConfig};

/// TLS at an address of its own, and the app behind it as it was.
pub(crate) struct Terminator {
    pub(crate) address: SocketAddr,
    /// Of each connection, in the order in which they were opened.
    agreed: Arc<Mutex<Vec<Agreed>>>,
    _runtime: tokio::runtime::Runtime,
}

/// What was agreed on for a connection.
#[derive(Clone, Debug)]
pub(crate) struct Agreed {
    pub(crate) protocol: Option<String>,
    /// Whether an earlier session was taken up again.
    pub(crate) resumed: bool,
}

impl Terminator {
    pub(crate) fn before(app: SocketAddr, config: Arc<ServerConfig>) -> Self {
        Self::start(app, config, false)
    }

    /// In front of a mail server, encrypted once the client asks for that (STARTTLS, RFC 3207).
    pub(crate) fn asked_before(server: SocketAddr, config: Arc<ServerConfig>) -> Self {
        Self::start(server, config, true)
    }

    fn start(app: SocketAddr, config: Arc<ServerConfig>, is_asked: bool) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let agreed = Arc::<Mutex<Vec<_>>>::default();
        let noted = agreed.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, noted) = (TlsAcceptor::from(config.clone()), noted.clone());
                tokio::spawn(async move {
                    let stream = if is_asked { asked(stream).await } else { Some(stream) };
                    let Some(stream) = stream else { return };
                    let Ok(mut outside) = acceptor.accept(stream).await else { return };
                    let protocol = outside.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
                    let protocol = protocol.map(|name| String::from_utf8(name).unwrap());
                    let resumed = outside.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
                    noted.lock().unwrap().push(Agreed { protocol, resumed });
                    let mut inside = TcpStream::connect(app).await.unwrap();
                    // The client was greeted already.
                    while is_asked && inside.read_u8().await.unwrap() != b'\n' {}
                    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                });
            }
        });
        Self { address, agreed, _runtime: runtime }
    }

    /// What was agreed on for each connection that got that far.
    pub(crate) fn agreed(&self) -> Vec<Agreed> {
        self.agreed.lock().unwrap().clone()
    }
}

/// Greets, and waits until it is asked for TLS; `None` where the client wants nothing else.
async fn asked(stream: TcpStream) -> Option<TcpStream> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 mail.test\r\n").await.ok()?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        let (reply, is_over) = match line.trim_end() {
            "STARTTLS" => ("220 go on\r\n", true),
            line if line.starts_with("EHLO") => ("250-mail.test\r\n250 STARTTLS\r\n", false),
            _ => ("530 STARTTLS first\r\n", false),
        };
        stream.write_all(reply.as_bytes()).await.ok()?;
        if is_over {
            return Some(stream.into_inner());
        }
    }
}
