//! What pages load beside themselves, named by their content: a browser keeps each for good, and a new version is new.

use std::fmt::Write;
use std::sync::LazyLock;

use axum::body::{Body, Bytes};
use axum::response::Response;
use http::{HeaderValue, header};
use sha2::{Digest as _, Sha256};

use super::{Answer, Ask};
use crate::control::Fault;

pub(super) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("css", "text/css; charset=utf-8", include_bytes!("assets/style.css")));
pub(super) static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("js", "text/javascript; charset=utf-8", include_bytes!("assets/script.js")));
pub(super) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("svg", "image/svg+xml", include_bytes!("assets/icon.svg")));

/// A file that is part of the program.
#[derive(Debug)]
pub(super) struct Asset {
    path: String,
    kind: &'static str,
    content: &'static [u8],
}

impl Asset {
    fn new(ending: &str, kind: &'static str, content: &'static [u8]) -> Self {
        let hash = Sha256::digest(content);
        let name = hash.iter().take(8).fold(String::new(), |mut name, byte| {
            let _ = write!(name, "{byte:02x}");
            name
        });
        Self { path: format!("/assets/{name}.{ending}"), kind, content }
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

pub(in crate::admin) fn show(ask: Ask) -> Answer {
    Box::pin(async move {
        let all = [&*STYLE, &*SCRIPT, &*ICON];
        let asset = all.into_iter().find(|asset| asset.path == ask.uri.path());
        let asset = asset.ok_or(Fault::NotFound("file"))?;
        let mut response = Response::new(Body::from(Bytes::from_static(asset.content)));
        for (name, value) in [
            (header::CONTENT_TYPE, asset.kind),
            (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        Ok(response)
    })
}
