//! Answers that are too long to be held in memory, or for one bound on their whole time.

use std::fs::File;
use std::io::{self, Write};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::{Client, ClientError, Place, bare_host};

impl Client {
    /// Writes what is at `path` to `file`, of any length; returns that length once all of it is there.
    ///
    /// # Errors
    /// When there is no successful answer of a type `kind`, it breaks off, or the file cannot be written.
    pub fn download(&self, path: &str, kind: &str, file: &mut File) -> Result<u64, ClientError> {
        let request = self.request(Method::GET, path, Bytes::new())?;
        self.runtime.block_on(async {
            match &self.place {
                Place::Socket(socket) => self.fetch(UnixStream::connect(socket), request, kind, file).await,
                Place::Tcp(authority) => {
                    let port = authority.port_u16().unwrap_or(80);
                    self.fetch(TcpStream::connect((bare_host(authority), port)), request, kind, file).await
                }
                Place::Tls(authority, trust) => {
                    let port = authority.port_u16().unwrap_or(443);
                    self.fetch(trust.connect(bare_host(authority), port), request, kind, file).await
                }
            }
        })
    }

    async fn fetch<S>(
        &self,
        connecting: impl Future<Output = io::Result<S>>,
        request: Request<Full<Bytes>>,
        kind: &str,
        file: &mut File,
    ) -> Result<u64, ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = self.connected(connecting).await?;
        let answer = timeout(self.bounds.answer, self.exchange(stream, request)).await;
        let answer = answer.unwrap_or_else(|_| Err(self.silent()))?;
        let status = answer.status();
        let is_kind = answer.headers().get(CONTENT_TYPE).is_some_and(|found| found == kind);
        // Without a length announced, an answer that breaks off could pass for a whole one.
        if !status.is_success() || !is_kind || !answer.headers().contains_key(CONTENT_LENGTH) {
            let answer = timeout(self.bounds.answer, self.collect(answer)).await;
            answer.unwrap_or_else(|_| Err(self.silent()))?;
            return Err(ClientError::Foreign { place: self.place(), status });
        }
        let (mut body, mut length) = (answer.into_body(), 0);
        loop {
            let frame = timeout(self.bounds.answer, body.frame()).await.map_err(|_| self.silent())?;
            let Some(frame) = frame else { return Ok(length) };
            if let Ok(data) = frame.map_err(|cause| self.broken(cause))?.into_data() {
                file.write_all(&data).map_err(ClientError::Unwritten)?;
                length += data.len() as u64;
            }
        }
    }
}
