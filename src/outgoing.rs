//! Calls to servers of others: every wait and every answer is bounded, no redirection is followed, and TLS is judged by
//! the system's certificates.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderMap, HeaderValue, USER_AGENT};
use http::uri::{PathAndQuery, Scheme};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// The certificates that servers are believed by: the system's.
#[derive(Clone, Debug)]
pub struct Trust(Arc<ClientConfig>);

/// How long a call may take in all, and how long its answer may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub patience: Duration,
    pub answer: usize,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why there is no answer, as the end of a sentence that begins with whom was asked. It holds nothing of what was sent
/// or answered.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("cannot be reached: {0}")]
    Unreachable(io::Error),
    #[error("gave no answer within {0} s")]
    Silent(u64),
    #[error("broke off its answer, or it is no HTTP")]
    Broken,
    #[error("gave an answer that is over {0} KiB")]
    TooLong(usize),
    #[error("has an address that no request can be sent to")]
    Unfit,
}

impl Trust {
    /// The same from where nothing may block.
    ///
    /// # Errors
    /// When TLS cannot be set up at all.
    pub async fn load() -> Result<Self, rustls::Error> {
        let loading = tokio::task::spawn_blocking(Self::system).await;
        loading.unwrap_or_else(|e| Err(rustls::Error::General(e.to_string())))
    }

    /// # Errors
    /// When TLS cannot be set up at all.
    pub fn system() -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        // What cannot be read of the system's own is not trusted, and that is all.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            tracing::warn!("this system has no certificates to judge servers by: none is believed over TLS");
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// Sends one request to the server at `uri`, which becomes its target, over a connection of its own.
    ///
    /// # Errors
    /// When there is no whole answer within the bounds.
    pub async fn call(
        &self,
        uri: &Uri,
        request: Request<Full<Bytes>>,
        bounds: Bounds,
    ) -> Result<Answer, Failure> {
        let called = timeout(bounds.patience, self.exchange(uri, request, bounds)).await;
        called.unwrap_or(Err(Failure::Silent(bounds.patience.as_secs())))
    }

    async fn exchange(
        &self,
        uri: &Uri,
        mut request: Request<Full<Bytes>>,
        bounds: Bounds,
    ) -> Result<Answer, Failure> {
        let authority = uri.authority().ok_or(Failure::Unfit)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let encrypted = uri.scheme() == Some(&Scheme::HTTPS);
        let port = authority.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(path);
        let named = HeaderValue::from_str(authority.as_str()).map_err(|_| Failure::Unfit)?;
        request.headers_mut().insert(HOST, named);
        let agent = HeaderValue::from_static(concat!("portcullis/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, agent);
        let stream = TcpStream::connect((host, port)).await.map_err(Failure::Unreachable)?;
        let response = if encrypted {
            let name = ServerName::try_from(host.to_owned())
                .map_err(|e| Failure::Unreachable(io::Error::other(e)))?;
            let connector = TlsConnector::from(self.0.clone());
            let stream = connector.connect(name, stream).await.map_err(Failure::Unreachable)?;
            send(stream, request, bounds).await?
        } else {
            send(stream, request, bounds).await?
        };
        let (head, body) = response.into_parts();
        let body = Limited::new(body, bounds.answer).collect().await.map_err(|e| {
            if e.is::<hyper::Error>() { Failure::Broken } else { Failure::TooLong(bounds.answer / 1024) }
        })?;
        Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
    }
}

async fn send<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    bounds: Bounds,
) -> Result<Response<Incoming>, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(bounds.answer.max(16 * 1024))
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| Failure::Broken)?;
    // What ends the connection also fails the request or its body, where it is told.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    sender.send_request(request).await.map_err(|_| Failure::Broken)
}
