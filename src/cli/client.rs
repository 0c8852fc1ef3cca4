//! A small HTTP/1.1 client for the admin API, over its Unix socket, TCP or TLS: one connection a request, every wait and
//! every answer bounded.

mod download;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, IF_MATCH, USER_AGENT,
};
use http::uri::{Authority, Scheme};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::trust::{self, Trust};
use crate::admin::wire::Problem;
use crate::credential::{Kind, Plaintext};

/// What makes a call that comes twice happen once.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Speaks to one admin side.
#[derive(Debug)]
pub struct Client {
    place: Place,
    key: Option<Plaintext>,
    bounds: Bounds,
    runtime: tokio::runtime::Runtime,
}

/// A successful answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
    from: String,
}

/// Why there is no successful answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    // The address is not repeated: people put passwords into URLs.
    #[error("an admin address is `https://HOST:PORT` or `http://HOST:PORT`, without user, path or query")]
    Address,
    #[error("{cause}")]
    Authority { cause: io::Error },
    #[error("this is not a management key: one is `pcm_` and 36 more characters, without spaces")]
    Key,
    #[error("no gateway answers on {place}: is `portcullis serve` running?")]
    NoGateway { place: String },
    #[error(
        "{place} may not be opened by this user: run the command as the socket's owner or root, or use `--admin URL` with a management key"
    )]
    Denied { place: String },
    #[error("cannot reach {place}: {cause}")]
    Unreachable { place: String, cause: io::Error },
    #[error(
        "{place} cannot prove who it is ({cause}): name the authority that signed its certificate with --ca FILE"
    )]
    Distrusted { place: String, cause: io::Error },
    #[error("{place} gave no answer within {seconds} s: what was asked may have been done all the same")]
    Silent { place: String, seconds: u64 },
    #[error("{place} broke off its answer ({cause}): what was asked may have been done all the same")]
    Broken { place: String, cause: hyper::Error },
    #[error("the answer of {place} is over {limit} bytes")]
    TooLarge { place: String, limit: usize },
    #[error("{place} answered {status}, but not as an admin side does: is the address right?")]
    Foreign { place: String, status: StatusCode },
    #[error("{place} answered with something this version does not understand: {cause}")]
    NotUnderstood { place: String, cause: serde_json::Error },
    #[error("the copy cannot be written: {0}")]
    Unwritten(io::Error),
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    #[error("the system gives this command no event loop: {0}")]
    System(io::Error),
}

impl Client {
    /// A client that speaks as the operator, over the admin socket.
    ///
    /// # Errors
    /// When the system refuses what an event loop needs.
    pub fn socket(path: &Path) -> Result<Self, ClientError> {
        Self::new(Place::Socket(path.to_owned()), None)
    }

    /// A client that speaks with a management key, over TCP or TLS. `ca` holds the authorities to trust in place of
    /// this machine's.
    ///
    /// # Errors
    /// When `url` is not a bare address, `key` could not be a key, or `ca` cannot be used.
    pub fn url(url: &str, key: &str, ca: Option<&Path>) -> Result<Self, ClientError> {
        let key = Plaintext::parse(Kind::Key, key.as_bytes()).ok_or(ClientError::Key)?;
        Self::new(Place::parse(url, ca)?, Some(key))
    }

    /// Whether what is said travels in the clear to another machine.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        match &self.place {
            Place::Socket(_) | Place::Tls(..) => false,
            Place::Tcp(authority) => {
                let host = bare_host(authority);
                let loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
                !loopback && host != "localhost" && !host.ends_with(".localhost")
            }
        }
    }

    /// Whom this client speaks to, for messages.
    #[must_use]
    pub fn place(&self) -> String {
        match &self.place {
            Place::Socket(path) => path.display().to_string(),
            Place::Tcp(authority) => format!("http://{authority}"),
            Place::Tls(authority, _) => format!("https://{authority}"),
        }
    }

    /// # Errors
    /// When there is no successful answer.
    pub fn get(&self, path: &str) -> Result<Answer, ClientError> {
        self.send(self.request(Method::GET, path, Bytes::new())?)
    }

    /// # Errors
    /// When there is no successful answer.
    pub fn post(&self, path: &str, body: &impl Serialize) -> Result<Answer, ClientError> {
        self.send(self.request(Method::POST, path, self.written(body)?)?)
    }

    /// Has something made, and made once: where the answer is lost the same call is made again, under the same name.
    ///
    /// # Errors
    /// When there is no successful answer.
    pub fn post_once(&self, path: &str, body: &impl Serialize) -> Result<Answer, ClientError> {
        let name = HeaderValue::try_from(format!("{:032x}", fastrand::u128(..))).ok();
        let body = self.written(body)?;
        let call = || {
            let mut request = self.request(Method::POST, path, body.clone())?;
            request.headers_mut().extend(name.clone().map(|name| (IDEMPOTENCY_KEY, name)));
            self.send(request)
        };
        call().or_else(|first| match first {
            ClientError::Silent { .. } | ClientError::Broken { .. } => {
                call().map_err(|second| match second {
                    refused @ ClientError::Refused(_) => refused,
                    _ => first,
                })
            }
            first => Err(first),
        })
    }

    /// # Errors
    /// When there is no successful answer.
    pub fn put(&self, path: &str, body: &impl Serialize) -> Result<Answer, ClientError> {
        self.send(self.request(Method::PUT, path, self.written(body)?)?)
    }

    /// Edits what is at `path`, where a `revision` is given only while that is the one there.
    ///
    /// # Errors
    /// When there is no successful answer.
    pub fn patch(
        &self,
        path: &str,
        body: &impl Serialize,
        revision: Option<u64>,
    ) -> Result<Answer, ClientError> {
        self.conditional(Method::PATCH, path, body, revision)
    }

    /// Puts something at `path`, where a `revision` is given only in the place of that one.
    ///
    /// # Errors
    /// When there is no successful answer.
    pub fn put_at(
        &self,
        path: &str,
        body: &impl Serialize,
        revision: Option<u64>,
    ) -> Result<Answer, ClientError> {
        self.conditional(Method::PUT, path, body, revision)
    }

    fn conditional(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
        revision: Option<u64>,
    ) -> Result<Answer, ClientError> {
        let mut request = self.request(method, path, self.written(body)?)?;
        let tag = revision.and_then(|revision| HeaderValue::try_from(format!("\"{revision}\"")).ok());
        request.headers_mut().extend(tag.map(|tag| (IF_MATCH, tag)));
        self.send(request)
    }

    /// # Errors
    /// When there is no successful answer.
    pub fn delete(&self, path: &str) -> Result<Answer, ClientError> {
        self.send(self.request(Method::DELETE, path, Bytes::new())?)
    }

    fn new(place: Place, key: Option<Plaintext>) -> Result<Self, ClientError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ClientError::System)?;
        Ok(Self { place, key, bounds: Bounds::default(), runtime })
    }

    fn written(&self, body: &impl Serialize) -> Result<Bytes, ClientError> {
        let body = serde_json::to_vec(body);
        body.map(Bytes::from).map_err(|cause| ClientError::NotUnderstood { place: self.place(), cause })
    }

    fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
        self.runtime.block_on(async {
            match &self.place {
                Place::Socket(socket) => self.converse(UnixStream::connect(socket), request).await,
                Place::Tcp(authority) => {
                    let port = authority.port_u16().unwrap_or(80);
                    self.converse(TcpStream::connect((bare_host(authority), port)), request).await
                }
                Place::Tls(authority, trust) => {
                    let port = authority.port_u16().unwrap_or(443);
                    self.converse(trust.connect(bare_host(authority), port), request).await
                }
            }
        })
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, ClientError> {
        let host = match &self.place {
            Place::Socket(_) => "localhost",
            Place::Tcp(authority) | Place::Tls(authority, _) => authority.as_str(),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, host)
            .header(USER_AGENT, HeaderValue::from_static(concat!("portcullis/", env!("CARGO_PKG_VERSION"))));
        request = request.header(ACCEPT, HeaderValue::from_static("application/json"));
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(key) = &self.key {
            let mut value =
                HeaderValue::from_str(&format!("Bearer {}", key.reveal())).map_err(|_| ClientError::Key)?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        request.body(Full::new(body)).map_err(|_| ClientError::Address)
    }

    async fn converse<S>(
        &self,
        connecting: impl Future<Output = io::Result<S>>,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = self.connected(connecting).await?;
        let exchange = async {
            let answer = self.exchange(stream, request).await?;
            self.collect(answer).await
        };
        timeout(self.bounds.answer, exchange).await.unwrap_or_else(|_| Err(self.silent()))
    }

    async fn connected<S>(&self, connecting: impl Future<Output = io::Result<S>>) -> Result<S, ClientError> {
        let connected = timeout(self.bounds.connect, connecting).await;
        connected
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| self.unreachable(error))
    }

    async fn exchange<S>(
        &self,
        stream: S,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(64 * 1024)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|cause| self.broken(cause))?;
        // What ends the connection also fails the request or its body, where it is reported.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        sender.send_request(request).await.map_err(|cause| self.broken(cause))
    }

    async fn collect(&self, answer: Response<Incoming>) -> Result<Answer, ClientError> {
        let status = answer.status();
        let body = Limited::new(answer.into_body(), self.bounds.bytes).collect().await.map_err(|error| {
            match error.downcast::<hyper::Error>() {
                Ok(cause) => self.broken(*cause),
                Err(_) => ClientError::TooLarge { place: self.place(), limit: self.bounds.bytes },
            }
        })?;
        self.judge(status, body.to_bytes())
    }

    fn silent(&self) -> ClientError {
        ClientError::Silent { place: self.place(), seconds: self.bounds.answer.as_secs() }
    }

    fn broken(&self, cause: hyper::Error) -> ClientError {
        ClientError::Broken { place: self.place(), cause }
    }

    fn judge(&self, status: StatusCode, body: Bytes) -> Result<Answer, ClientError> {
        if status.is_success() {
            return Ok(Answer { status, body, from: self.place() });
        }
        Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => ClientError::Refused(Box::new(problem)),
            Err(_) => ClientError::Foreign { place: self.place(), status },
        })
    }

    fn unreachable(&self, cause: io::Error) -> ClientError {
        let place = self.place();
        match cause.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NoGateway { place },
            io::ErrorKind::PermissionDenied => ClientError::Denied { place },
            _ if trust::is_distrust(&cause) => ClientError::Distrusted { place, cause },
            _ => ClientError::Unreachable { place, cause },
        }
    }
}

impl Answer {
    /// The answer as a value.
    ///
    /// # Errors
    /// When the body is not that value.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body)
            .map_err(|cause| ClientError::NotUnderstood { place: self.from.clone(), cause })
    }
}

#[derive(Clone, Debug)]
enum Place {
    Socket(PathBuf),
    Tcp(Authority),
    Tls(Authority, Trust),
}

impl Place {
    fn parse(url: &str, ca: Option<&Path>) -> Result<Self, ClientError> {
        let url: Uri = url.parse().map_err(|_| ClientError::Address)?;
        let authority = url.authority().filter(|authority| {
            !authority.as_str().contains('@')
                && !authority.host().is_empty()
                && (authority.port().is_none() || authority.port_u16().is_some_and(|port| port != 0))
        });
        let authority = authority.filter(|_| url.path() == "/" && url.query().is_none());
        let authority = authority.ok_or(ClientError::Address)?.clone();
        if url.scheme() == Some(&Scheme::HTTPS) {
            let trust = Trust::new(ca).map_err(|cause| ClientError::Authority { cause })?;
            return Ok(Self::Tls(authority, trust));
        }
        if url.scheme() == Some(&Scheme::HTTP) { Ok(Self::Tcp(authority)) } else { Err(ClientError::Address) }
    }
}

/// The host without the brackets of an IPv6 address.
fn bare_host(authority: &Authority) -> &str {
    authority.host().trim_start_matches('[').trim_end_matches(']')
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    connect: Duration,
    /// From the connection to the last byte of the answer.
    answer: Duration,
    bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), answer: Duration::from_secs(30), bytes: 16 * 1024 * 1024 }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::super::stub::{KEY, Stub};
    use super::*;

    #[test]
    fn a_key_travels_as_bearer_and_the_answer_comes_back_verbatim() {
        let stub = Stub::new(["HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{\"a\": 1}"]);
        let client = Client::url(&stub.url, KEY, None).unwrap();
        assert_eq!(client.get("/v1/apps").unwrap().body, "{\"a\": 1}");
        let request = stub.requests().remove(0);
        assert!(request.starts_with("GET /v1/apps HTTP/1.1\r\n"), "{request}");
        assert!(request.contains(&format!("authorization: Bearer {KEY}\r\n")), "{request}");
        assert!(!format!("{client:?}").contains("zQWB"));
    }

    #[test]
    fn a_problem_is_read_and_anything_else_is_called_foreign() {
        let problem = r#"{"type":"about:blank","title":"","status":404,"code":"not_found","detail":"no such","request_id":"r"}"#;
        let stub = Stub::new([
            format!("HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\n\r\n{problem}", problem.len()),
            "HTTP/1.1 404 Not Found\r\ncontent-length: 3\r\n\r\nno!".to_owned(),
        ]);
        let client = Client::url(&stub.url, KEY, None).unwrap();
        let refused = client.get("/x").unwrap_err();
        assert!(matches!(refused, ClientError::Refused(problem) if problem.code == "not_found"));
        let foreign = client.get("/x").unwrap_err();
        assert!(foreign.to_string().contains("is the address right?"), "{foreign}");
    }

    #[test]
    fn nobody_there_says_what_to_start() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("portcullis.sock");
        let absent = Client::socket(&socket).unwrap().get("/v1/apps").unwrap_err();
        assert!(absent.to_string().ends_with("portcullis.sock: is `portcullis serve` running?"), "{absent}");
        // A socket left behind by a process that died.
        drop(UnixListener::bind(&socket).unwrap());
        let stale = Client::socket(&socket).unwrap().get("/v1/apps").unwrap_err();
        assert!(matches!(stale, ClientError::NoGateway { .. }), "{stale}");
    }

    #[test]
    fn silence_length_and_nonsense_are_bounded() {
        let stub = Stub::holding("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{");
        let mut client = Client::url(&stub.url, KEY, None).unwrap();
        client.bounds.answer = Duration::from_millis(50);
        assert!(matches!(client.get("/").unwrap_err(), ClientError::Silent { .. }));
        drop(client);
        stub.requests();

        let stub = Stub::new([
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789",
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n012",
            "SSH-2.0-OpenSSH\r\n",
        ]);
        let mut client = Client::url(&stub.url, KEY, None).unwrap();
        client.bounds.bytes = 9;
        assert!(matches!(client.get("/").unwrap_err(), ClientError::TooLarge { limit: 9, .. }));
        for _ in 0..2 {
            let broken = client.get("/").unwrap_err();
            assert!(matches!(broken, ClientError::Broken { .. }), "{broken}");
        }
    }

    #[test]
    fn only_bare_addresses_and_well_formed_keys_are_taken() {
        for good in ["http://127.0.0.1:9180", "http://localhost/", "http://[::1]:1", "http://gateway.lan"] {
            let client = Client::url(good, KEY, None).unwrap();
            assert_eq!(client.is_exposed(), good.ends_with("lan"), "{good}");
        }
        for bad in [
            "",
            "localhost",
            "127.0.0.1:9180",
            "ftp://a",
            "http://a/b",
            "http://u:p@a",
            "http://a?b",
            "http://a:0",
        ] {
            let error = Client::url(bad, KEY, None).unwrap_err();
            assert!(matches!(error, ClientError::Address), "{bad}: {error}");
        }
        assert!(!Client::url("https://gateway.lan", KEY, None).unwrap().is_exposed());
        let none = Client::url("https://a", KEY, Some(Path::new("/nonexistent"))).unwrap_err();
        assert!(matches!(none, ClientError::Authority { .. }), "{none}");
        let typo = KEY.replace('z', "y");
        let error = Client::url("http://a", &typo, None).unwrap_err();
        assert!(!error.to_string().contains(&typo));
    }
}
