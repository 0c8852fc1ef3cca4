//! How a command fails: what it says, and with which exit code.

use std::io;

use http::StatusCode;

use super::client::ClientError;
use super::text;
use crate::admin::wire::Problem;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// The command line asks for what cannot be.
    Usage(String),
    /// The configuration is at fault: each line already says where.
    Configuration(String),
    /// It was tried, and it did not work.
    Failed(String),
    /// What nobody wants to find was found; it is printed already.
    Alarm,
    /// Whoever read our output has gone; nothing is left to say to them.
    ReaderGone,
}

impl Failure {
    /// The exit code this failure means.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::ReaderGone => 0,
            Self::Failed(_) | Self::Alarm => 1,
            Self::Usage(_) | Self::Configuration(_) => 2,
        }
    }

    /// What to print to standard error.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        match self {
            Self::ReaderGone | Self::Alarm => None,
            Self::Configuration(lines) => Some(lines.clone()),
            Self::Usage(message) | Self::Failed(message) => Some(format!("error: {message}")),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::Failed(format!("cannot write the output: {error}")),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::BrokenPipe) => Self::ReaderGone,
            _ => Self::Failed(format!("{error:#}")),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Address => Self::Usage(format!("--admin: {error}")),
            ClientError::Authority { .. } => Self::Usage(format!("--ca (or PORTCULLIS_ADMIN_CA): {error}")),
            ClientError::Key => Self::Usage(format!("--key (or PORTCULLIS_KEY): {error}")),
            ClientError::Refused(problem) => Self::from(*problem),
            ClientError::NoGateway { .. }
            | ClientError::Denied { .. }
            | ClientError::Unreachable { .. }
            | ClientError::Distrusted { .. }
            | ClientError::Silent { .. }
            | ClientError::Broken { .. }
            | ClientError::TooLarge { .. }
            | ClientError::Foreign { .. }
            | ClientError::NotUnderstood { .. }
            | ClientError::Unwritten(_)
            | ClientError::System(_) => Self::Failed(error.to_string()),
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let detail = text::plain(&problem.detail);
        if problem.status == StatusCode::UNAUTHORIZED.as_u16() {
            return Self::Failed(format!(
                "the admin side does not accept this management key ({detail}): give a live one with --key or \
                 PORTCULLIS_KEY; `portcullis key create`, run on the gateway's own machine, makes one"
            ));
        }
        if problem.status == StatusCode::UNPROCESSABLE_ENTITY.as_u16() {
            if problem.errors.is_empty() {
                return Self::Usage(detail);
            }
            let lines: Vec<_> = problem
                .errors
                .iter()
                .map(|error| format!("{}: {}", flag(&error.field), text::plain(&error.message)))
                .collect();
            return Self::Usage(lines.join("\n       "));
        }
        Self::Failed(detail)
    }
}

/// The flag that fills a field of the admin API.
fn flag(field: &str) -> String {
    match field {
        "expires_in" | "expires_at" => "--expires".to_owned(),
        "scopes" => "--scope".to_owned(),
        "allowed_addresses" => "--allow".to_owned(),
        "rate_limit" => "--rate".to_owned(),
        "on_publish" => "--on-publish".to_owned(),
        "id" => "--deployment".to_owned(),
        "upstreams" => "--upstream".to_owned(),
        "app" | "environment" | "label" | "description" | "member" | "status" | "q" | "limit" | "reason"
        | "expiring" | "overlap" | "email" | "name" | "after" | "cursor" | "token" | "uses" | "path"
        | "origin" => format!("--{field}"),
        _ => text::plain(field),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::wire::FieldError;

    fn problem(status: u16, errors: &[(&str, &str)]) -> Failure {
        let errors = errors
            .iter()
            .map(|(field, message)| FieldError { field: (*field).into(), message: (*message).into() })
            .collect();
        Failure::from(Problem {
            kind: "about:blank".into(),
            title: String::new(),
            status,
            code: String::new(),
            detail: "the \u{1b}[31mdetail".into(),
            request_id: String::new(),
            errors,
            limit: None,
            live: None,
        })
    }

    #[test]
    fn fields_become_flags() {
        let failure = problem(422, &[("expires_in", "one of 1h, 7d"), ("app", "no app `x`"), ("other", "?")]);
        assert_eq!(failure.code(), 2);
        assert_eq!(
            failure.message().unwrap(),
            "error: --expires: one of 1h, 7d\n       --app: no app `x`\n       other: ?"
        );
    }

    #[test]
    fn refusals_are_failures_and_cannot_paint_the_terminal() {
        let failure = problem(409, &[]);
        assert_eq!(
            (failure.code(), failure.message().unwrap().as_str()),
            (1, "error: the \\u{1b}[31mdetail")
        );
        assert!(problem(401, &[]).message().unwrap().contains("PORTCULLIS_KEY"));
    }

    #[test]
    fn a_reader_who_left_is_no_failure() {
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        for failure in [Failure::from(gone()), Failure::from(anyhow::Error::from(gone()))] {
            assert_eq!((failure.code(), failure.message()), (0, None));
        }
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::StorageFull)).code(), 1);
    }
}
