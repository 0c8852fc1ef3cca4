//! A refusal on its way to becoming an answer: the only type a stage may return instead of its own.

use crate::model::{Refusal, TokenId};

/// Why a request goes no further, and what its sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    pub refusal: Refusal,
    pub detail: &'static str,
    pub challenge: Challenge,
    /// The token whose possession the sender proved, for the log.
    pub token: Option<TokenId>,
    /// The connection can serve no further request.
    pub close: bool,
    /// The sender has a browser session, which does not count for this request.
    pub signed_in: bool,
    /// Seconds after which another try makes sense.
    pub retry_after: Option<u32>,
}

/// The `WWW-Authenticate` field of the answer (RFC 6750, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    None,
    /// No credential was presented, so no error is named.
    Bare,
    Error(&'static str),
}

impl Reject {
    /// A refusal that leaves the connection fit for another request.
    #[must_use]
    pub const fn new(refusal: Refusal, detail: &'static str) -> Self {
        let challenge = match refusal {
            Refusal::TokenMissing => Challenge::Bare,
            Refusal::TokenUnknown
            | Refusal::TokenRevoked
            | Refusal::DeploymentReplaced
            | Refusal::TokenExpired => Challenge::Error("invalid_token"),
            Refusal::InsufficientScope => Challenge::Error("insufficient_scope"),
            _ => Challenge::None,
        };
        Self { refusal, detail, challenge, token: None, close: false, signed_in: false, retry_after: None }
    }

    /// A request whose end is in doubt, or that broke the connection's framing.
    #[must_use]
    pub const fn malformed(detail: &'static str) -> Self {
        Self { close: true, ..Self::new(Refusal::InvalidRequest, detail) }
    }

    /// A token presented in more than one way, which RFC 6750 calls an invalid request.
    #[must_use]
    pub const fn ambiguous(detail: &'static str) -> Self {
        Self { challenge: Challenge::Error("invalid_request"), ..Self::new(Refusal::InvalidRequest, detail) }
    }

    /// The same, of a token that the sender was shown to hold.
    #[must_use]
    pub const fn of(self, token: TokenId) -> Self {
        Self { token: Some(token), ..self }
    }
}

/// What the holder of a token that was let in once is told when that ends.
#[must_use]
pub const fn ended(refusal: Refusal) -> Reject {
    let detail = match refusal {
        Refusal::UnknownHost => "no app here answers to this host any more",
        Refusal::TokenMissing => "the browser session is over: present the token again",
        Refusal::TokenExpired => "the token has expired",
        Refusal::TokenRevoked => "the token has been revoked",
        Refusal::DeploymentReplaced => "the deployment that the token was minted for has been replaced",
        Refusal::WrongApp => "this token opens another app",
        Refusal::WrongEnvironment => "this token opens another environment of the app",
        Refusal::ExternalAccessOff => "external access to this environment is off",
        Refusal::RequestTimeout => "the request's body did not arrive in time",
        Refusal::UpstreamTimeout => "the app did not answer in time",
        _ => "the request was ended",
    };
    Reject::new(refusal, detail)
}
