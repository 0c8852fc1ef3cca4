//! Refusals, as RFC 9457 shapes them.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use super::reload::ReloadFault;
use super::wire;
use crate::config::Mistake;
use crate::control::{Fault, FieldFault};

/// What the caller is told instead of an answer.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    errors: Vec<FieldFault>,
    /// Of tokens: how many there may be, and how many live.
    limit: Option<(u64, u64)>,
}

/// Marks an answer's request, in the answer and in its header.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub(super) String);

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), errors: Vec::new(), limit: None }
    }

    pub(super) fn invalid_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", detail)
    }

    pub(super) fn unauthorized(detail: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    pub(super) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_unavailable", detail)
    }

    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    pub(super) fn errors(&self) -> &[FieldFault] {
        &self.errors
    }

    pub(super) fn render(self, request: &RequestId) -> Response {
        let body = wire::Problem {
            kind: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.status.as_u16(),
            code: self.code.to_owned(),
            detail: self.detail,
            request_id: request.0.clone(),
            errors: self
                .errors
                .into_iter()
                .map(|fault| wire::FieldError { field: fault.field, message: fault.message })
                .collect(),
            limit: self.limit.map(|(limit, _)| limit),
            live: self.limit.map(|(_, live)| live),
        };
        // A struct of strings and numbers always serializes.
        let mut response = Response::new(Body::from(serde_json::to_vec(&body).unwrap_or_default()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static(r#"Bearer realm="portcullis-admin""#);
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<ReloadFault> for Problem {
    fn from(fault: ReloadFault) -> Self {
        let detail = fault.to_string();
        match fault {
            ReloadFault::Invalid(mistakes) => {
                let fault = |mistake: Mistake| FieldFault {
                    field: mistake.place(),
                    message: mistake.message().to_owned(),
                };
                let errors = mistakes.into_iter().map(fault).collect();
                Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "validation_failed", detail) }
            }
            ReloadFault::Impossible(_) => Self::new(StatusCode::CONFLICT, "conflict", detail),
        }
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let detail = fault.to_string();
        match fault {
            Fault::Forbidden(_) => Self::forbidden(detail),
            Fault::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "not_found", detail),
            Fault::Invalid(errors) => {
                Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "validation_failed", detail) }
            }
            Fault::Unauthorized => Self::unauthorized(&detail),
            Fault::Conflict(_) => Self::new(StatusCode::CONFLICT, "conflict", detail),
            Fault::Limit { limit, live, .. } => Self {
                limit: Some((limit, live)),
                ..Self::new(StatusCode::CONFLICT, "limit_reached", detail)
            },
            Fault::Stale => Self::new(StatusCode::PRECONDITION_FAILED, "stale", detail),
            // What exactly failed is in the log, for the operator alone.
            Fault::Unavailable(_) => {
                Self::unavailable("the store cannot be used just now: nothing was changed; try again")
            }
            Fault::Slow | Fault::NoKey | Fault::NoRandomness(_) => Self::unavailable(detail),
        }
    }
}
