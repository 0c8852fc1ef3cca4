//! The third stage: which token a request presents, and in which of the three ways in which one can be written. The fourth
//! way, a session, is in `session`.

use http::{HeaderMap, HeaderName, Uri, header};

use super::query;
use super::reject::Reject;
use crate::credential::{Digest, Kind, LENGTH};

/// How tokens are presented to this gateway.
#[derive(Clone, Debug)]
pub struct Ways {
    pub header: HeaderName,
    /// `None`: the query form is off.
    pub query_parameter: Option<String>,
}

/// What a request presents.
#[derive(Clone, Copy, Debug)]
pub enum Presented {
    Nothing(Absence),
    /// Something in a token's place; `None` where it has not even a token's shape.
    Token {
        digest: Option<Digest>,
        carrier: Carrier,
    },
    /// A browser's session with the token of this digest, and when it is over, in Unix milliseconds.
    Session {
        digest: Digest,
        ends: i64,
    },
}

/// Why a request that presents nothing may yet have been meant to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    Plain,
    /// An `Authorization` of the app's own is there.
    Foreign,
    /// A session that has lasted as long as one may.
    SessionOver,
    /// A session that another page makes use of.
    Elsewhere,
}

/// Where the token was, and so what must go before the request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    Header,
    Authorization,
    Query,
    Cookie,
}

/// Finds the token of a request.
///
/// # Errors
/// When a token is presented twice, in one way or in two, or `Authorization` is there twice.
#[inline]
pub fn present(ways: &Ways, headers: &HeaderMap, uri: &Uri) -> Result<Presented, Reject> {
    const TWICE: Reject =
        Reject::ambiguous("a token is presented more than once: send it in one way, one time");
    let mut presented = None;
    let mut take = |digest: Option<Digest>, carrier| match presented {
        Some(_) => Err(TWICE),
        None => {
            presented = Some(Presented::Token { digest, carrier });
            Ok(())
        }
    };

    // Once through all of them: most requests have few, and a look-up by name has to hash it first.
    let (mut absence, mut authorized) = (Absence::Plain, false);
    for (name, value) in headers {
        if *name == ways.header {
            take(Digest::of(Kind::Token, value.as_bytes()), Carrier::Header)?;
        } else if *name == header::AUTHORIZATION {
            if std::mem::replace(&mut authorized, true) {
                return Err(Reject::ambiguous("Authorization is there more than once"));
            }
            match bearer(value.as_bytes()) {
                Some(token) => take(Digest::of(Kind::Token, token), Carrier::Authorization)?,
                None => absence = Absence::Foreign,
            }
        }
    }

    if let (Some(name), Some(text)) = (&ways.query_parameter, uri.query()) {
        for pair in query::pairs(text, name) {
            let value = query::decode::<LENGTH>(&text[pair.value]);
            take(value.and_then(|value| Digest::of(Kind::Token, &value)), Carrier::Query)?;
        }
    }

    Ok(presented.unwrap_or(Presented::Nothing(absence)))
}

/// The token of an `Authorization` value, if it is a bearer token of ours.
pub(super) fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(6)?;
    let token = rest.trim_ascii();
    let ours = scheme.eq_ignore_ascii_case(b"bearer")
        && rest.first().is_some_and(|byte| matches!(byte, b' ' | b'\t'))
        && token.starts_with(Kind::Token.prefix().as_bytes());
    ours.then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "pct_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17";

    fn judge(target: &str, fields: &[(&str, &str)]) -> Result<Presented, Reject> {
        let ways = Ways {
            header: HeaderName::from_static("x-portcullis-token"),
            query_parameter: Some("bypass".into()),
        };
        let mut request = http::Request::builder().uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        present(&ways, &parts.headers, &parts.uri)
    }

    fn carrier(presented: Result<Presented, Reject>) -> (Carrier, bool) {
        match presented {
            Ok(Presented::Token { digest, carrier }) => (carrier, digest.is_some()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_way_is_found() {
        let bearer = format!("bEaReR  {TOKEN}");
        let encoded = format!("/?a=b&%62ypass={}%31%37", &TOKEN[..38]);
        assert_eq!(carrier(judge("/", &[("X-Portcullis-Token", TOKEN)])), (Carrier::Header, true));
        assert_eq!(carrier(judge("/", &[("Authorization", &bearer)])), (Carrier::Authorization, true));
        assert_eq!(carrier(judge(&format!("/?bypass={TOKEN}"), &[])), (Carrier::Query, true));
        assert_eq!(carrier(judge(&encoded, &[])), (Carrier::Query, true));
    }

    #[test]
    fn what_has_no_token_shape_is_still_presented() {
        for (target, fields) in [
            ("/", vec![("X-Portcullis-Token", "")]),
            ("/", vec![("X-Portcullis-Token", "nonsense")]),
            ("/", vec![("Authorization", "Bearer pct_nonsense")]),
            ("/?bypass", vec![]),
            ("/?bypass=", vec![]),
        ] {
            assert!(!carrier(judge(target, &fields)).1, "{target} {fields:?}");
        }
    }

    #[test]
    fn twice_is_refused() {
        let bearer = format!("Bearer {TOKEN}");
        let query = format!("/?bypass={TOKEN}");
        for (target, fields) in [
            ("/", vec![("X-Portcullis-Token", TOKEN), ("x-portcullis-token", TOKEN)]),
            ("/", vec![("X-Portcullis-Token", TOKEN), ("Authorization", &bearer)]),
            ("/", vec![("Authorization", &bearer), ("Authorization", "Basic eA==")]),
            ("/", vec![("Authorization", "Basic eA=="), ("Authorization", "Basic eA==")]),
            (&query, vec![("Authorization", &bearer)]),
            (&query, vec![("X-Portcullis-Token", "")]),
            (&format!("{query}&%62ypass=1"), vec![]),
        ] {
            let reject = judge(target, &fields).unwrap_err();
            assert_eq!(reject.refusal.as_str(), "invalid_request", "{target} {fields:?}");
        }
    }

    #[test]
    fn a_foreign_authorization_is_the_apps() {
        for value in ["Basic eA==", "Bearer eyJ", "Bearerpct_x", "Bearer", "pct_x", ""] {
            assert!(matches!(
                judge("/", &[("Authorization", value)]),
                Ok(Presented::Nothing(Absence::Foreign))
            ));
        }
        assert!(matches!(judge("/?bypasss=1", &[]), Ok(Presented::Nothing(Absence::Plain))));
        let both = judge("/", &[("Authorization", "Basic eA=="), ("X-Portcullis-Token", TOKEN)]);
        assert_eq!(carrier(both), (Carrier::Header, true));
    }
}
