//! What a form of ours sends back.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use super::inlet::Inflow;
use super::lane::Lane;
use super::query;
use super::reject::Reject;
use super::upload;
use crate::model::Refusal;

/// Far more than a token and a path.
const LONGEST: usize = 8 * 1024;
const KIND: &[u8] = b"application/x-www-form-urlencoded";

/// Reads a body of at most `longest` bytes to its end.
///
/// # Errors
/// When it is malformed, longer, or does not arrive in time.
pub(super) async fn whole(
    body: impl Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
    longest: usize,
    lane: &Lane,
    within: Duration,
) -> Result<Bytes, Reject> {
    let read = timeout(within, Limited::new(body, longest).collect()).await;
    if lane.is_bad_body() {
        return Err(Reject::malformed("the request's body is malformed"));
    }
    match read {
        Err(_) => {
            let detail = "the request's body did not arrive in time";
            Err(Reject { close: true, ..Reject::new(Refusal::RequestTimeout, detail) })
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(upload::too_large()),
        Ok(Err(_)) => Err(Reject::malformed("the request's body did not arrive whole")),
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
    }
}

/// A form as it was sent.
pub(super) struct Form(Bytes);

impl Form {
    /// Reads a form to its end.
    ///
    /// # Errors
    /// When it is none, too long, or does not arrive in time.
    pub(super) async fn read(
        body: Inflow,
        headers: &HeaderMap,
        lane: &Lane,
        within: Duration,
    ) -> Result<Self, Reject> {
        let kind = headers.get(header::CONTENT_TYPE).map(|kind| kind.as_bytes());
        let kind = kind.and_then(|kind| kind.split(|byte| *byte == b';').next()).unwrap_or_default();
        if !kind.trim_ascii().eq_ignore_ascii_case(KIND) {
            let detail = "this path takes a form: application/x-www-form-urlencoded";
            return Err(Reject::new(Refusal::InvalidRequest, detail));
        }
        Ok(Self(whole(body, LONGEST, lane, within).await?))
    }

    /// The first field of this name, in the clear; `None` where there is none, or it is not text.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        let text = std::str::from_utf8(&self.0).ok()?;
        let pair = query::pairs(text, name).next()?;
        let value = text[pair.value].replace('+', " ");
        percent_encoding::percent_decode_str(&value).decode_utf8().ok().map(Into::into)
    }
}
