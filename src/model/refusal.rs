//! The contract's codes: why the gateway answered a request itself.

/// A code of the contract's table, in the order in which the first that applies answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Refusal {
    InvalidRequest,
    UnknownHost,
    TokenMissing,
    TokenUnknown,
    TokenRevoked,
    DeploymentReplaced,
    TokenExpired,
    WrongApp,
    WrongEnvironment,
    ExternalAccessOff,
    AddressNotAllowed,
    InsufficientScope,
    RateLimited,
    MethodNotAllowed,
    RequestTimeout,
    BodyTooLarge,
    UriTooLong,
    ExpectationFailed,
    HeadersTooLarge,
    UpstreamUnreachable,
    UpstreamInvalid,
    SecretUnavailable,
    UpstreamUnavailable,
    UpstreamTimeout,
    /// No such path of the gateway's own.
    NotFound,
}

impl Refusal {
    /// All of them, each at the place that its number is.
    pub const ALL: [Self; 25] = [
        Self::InvalidRequest,
        Self::UnknownHost,
        Self::TokenMissing,
        Self::TokenUnknown,
        Self::TokenRevoked,
        Self::DeploymentReplaced,
        Self::TokenExpired,
        Self::WrongApp,
        Self::WrongEnvironment,
        Self::ExternalAccessOff,
        Self::AddressNotAllowed,
        Self::InsufficientScope,
        Self::RateLimited,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::BodyTooLarge,
        Self::UriTooLong,
        Self::ExpectationFailed,
        Self::HeadersTooLarge,
        Self::UpstreamUnreachable,
        Self::UpstreamInvalid,
        Self::SecretUnavailable,
        Self::UpstreamUnavailable,
        Self::UpstreamTimeout,
        Self::NotFound,
    ];

    /// The code as the contract spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::UnknownHost => "unknown_host",
            Self::TokenMissing => "token_missing",
            Self::TokenUnknown => "token_unknown",
            Self::TokenRevoked => "token_revoked",
            Self::DeploymentReplaced => "deployment_replaced",
            Self::TokenExpired => "token_expired",
            Self::WrongApp => "wrong_app",
            Self::WrongEnvironment => "wrong_environment",
            Self::ExternalAccessOff => "external_access_off",
            Self::AddressNotAllowed => "address_not_allowed",
            Self::InsufficientScope => "insufficient_scope",
            Self::RateLimited => "rate_limited",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::RequestTimeout => "request_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::UriTooLong => "uri_too_long",
            Self::ExpectationFailed => "expectation_failed",
            Self::HeadersTooLarge => "headers_too_large",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamInvalid => "upstream_invalid",
            Self::SecretUnavailable => "secret_unavailable",
            Self::UpstreamUnavailable => "upstream_unavailable",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::NotFound => "not_found",
        }
    }

    /// The status of the answer.
    #[must_use]
    pub const fn status(self) -> http::StatusCode {
        use http::StatusCode as S;
        match self {
            Self::InvalidRequest => S::BAD_REQUEST,
            Self::UnknownHost | Self::NotFound => S::NOT_FOUND,
            Self::TokenMissing
            | Self::TokenUnknown
            | Self::TokenRevoked
            | Self::DeploymentReplaced
            | Self::TokenExpired => S::UNAUTHORIZED,
            Self::WrongApp
            | Self::WrongEnvironment
            | Self::ExternalAccessOff
            | Self::AddressNotAllowed
            | Self::InsufficientScope => S::FORBIDDEN,
            Self::RateLimited => S::TOO_MANY_REQUESTS,
            Self::MethodNotAllowed => S::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => S::REQUEST_TIMEOUT,
            Self::BodyTooLarge => S::PAYLOAD_TOO_LARGE,
            Self::UriTooLong => S::URI_TOO_LONG,
            Self::ExpectationFailed => S::EXPECTATION_FAILED,
            Self::HeadersTooLarge => S::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UpstreamUnreachable | Self::UpstreamInvalid | Self::SecretUnavailable => S::BAD_GATEWAY,
            Self::UpstreamUnavailable => S::SERVICE_UNAVAILABLE,
            Self::UpstreamTimeout => S::GATEWAY_TIMEOUT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stands_at_its_place() {
        assert!(Refusal::ALL.iter().enumerate().all(|(place, refusal)| *refusal as usize == place));
        assert_eq!(Refusal::ALL.last(), Some(&Refusal::NotFound), "the last one of the enumeration");
    }
}
