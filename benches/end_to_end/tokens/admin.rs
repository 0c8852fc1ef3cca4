//! Calls of the admin API over the operator's socket, one connection for many.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

pub(super) struct Admin(UnixStream);

impl Admin {
    /// Of the gateway whose files are in a folder.
    pub(super) async fn connect(home: &Path) -> Result<Self> {
        Ok(Self(UnixStream::connect(home.join("portcullis.sock")).await?))
    }

    pub(super) async fn post(&mut self, path: &str, body: &Value) -> Result<Value> {
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.write_all(request.as_bytes()).await?;
        let mut answer = Vec::with_capacity(4096);
        loop {
            if let Some((status, start, end)) = whole(&answer)? {
                let said = &answer[start..end];
                ensure!(status < 300, "{path} answers {status}: {}", String::from_utf8_lossy(said));
                return Ok(serde_json::from_slice(said)?);
            }
            ensure!(self.0.read_buf(&mut answer).await? > 0, "the admin side hung up");
        }
    }

    /// Mints a token; its id and its value.
    pub(super) async fn mint(&mut self) -> Result<(String, String)> {
        let body = serde_json::json!({
            "app": "shop", "environment": "production", "label": "bench", "expires_in": "7d",
        });
        let answer = self.post("/v1/tokens", &body).await?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("no such member");
        Ok((text(&answer["token"]["id"])?, text(&answer["secret"])?))
    }

    pub(super) async fn revoke(&mut self, id: &str) -> Result<()> {
        let answer = self.post(&format!("/v1/tokens/{id}/revoke"), &serde_json::json!({})).await?;
        ensure!(answer["token"]["status"] == "revoked", "the answer is {answer}");
        Ok(())
    }
}

/// The status, and where the body begins and ends, once all of it is there.
fn whole(bytes: &[u8]) -> Result<Option<(u16, usize, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(start) = head.parse(bytes)? else { return Ok(None) };
    let status = head.code.context("no status")?;
    let length = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length = std::str::from_utf8(length.context("no length")?.value)?.trim().parse::<usize>()?;
    let end = start + length;
    Ok((bytes.len() >= end).then_some((status, start, end)))
}
