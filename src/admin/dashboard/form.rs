//! What a form sent.

use axum::body::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use zeroize::Zeroizing;

use crate::admin::problem::Problem;

/// Fields in the order in which they were sent. Not for formatting: one may hold a management key.
#[derive(Default)]
pub(in crate::admin) struct Form(Vec<(String, String)>);

impl Form {
    pub(super) fn parse(headers: &HeaderMap, body: &Bytes) -> Result<Self, Problem> {
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !body.is_empty() && !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Problem::invalid_request("a form is sent as application/x-www-form-urlencoded"));
        }
        Ok(Self::of(body))
    }

    pub(super) fn of(encoded: &[u8]) -> Self {
        Self(form_urlencoded::parse(encoded).into_owned().collect())
    }

    /// Whether nothing was sent.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A field as it was written; empty where it was not sent.
    pub(super) fn raw(&self, name: &str) -> &str {
        self.0.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }

    /// A field that is written down nowhere, as it was typed: it is gone from the form, and wiped once it was used.
    pub(super) fn take(&mut self, name: &str) -> Option<Zeroizing<String>> {
        let field = self.0.iter_mut().find(|(field, _)| field == name);
        let value = field.map(|(_, value)| Zeroizing::new(std::mem::take(value)));
        value.filter(|value| !value.is_empty())
    }

    /// A field that was filled in, without the spaces around it.
    pub(super) fn filled(&self, name: &str) -> Option<String> {
        Some(self.raw(name).trim()).filter(|value| !value.is_empty()).map(str::to_owned)
    }

    /// The lines of a field that say something.
    pub(super) fn lines(&self, name: &str) -> Vec<String> {
        self.raw(name).lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// Every box that was ticked under this name.
    pub(super) fn ticked(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(field, _)| field == name).map(|(_, value)| value.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_browsers_send_them() {
        let form = Form::of(b"label=+a%C3%A9+&scopes=GET+%2Fa%0D%0A%0D%0A+POST+%2Fb&s=read&s=mint&empty=++");
        assert_eq!(form.filled("label").as_deref(), Some("a\u{e9}"));
        assert_eq!(form.lines("scopes"), ["GET /a", "POST /b"]);
        assert_eq!(form.ticked("s"), ["read", "mint"]);
        assert_eq!((form.filled("empty"), form.filled("absent")), (None, None));
        let mut form = form;
        assert_eq!(form.take("label").unwrap().as_str(), " a\u{e9} ");
        assert!(form.take("label").is_none() && form.raw("label").is_empty());
    }

    #[test]
    fn only_what_a_form_sends_is_read() {
        let body = Bytes::from_static(b"a=b");
        let mut headers = HeaderMap::new();
        assert!(Form::parse(&headers, &body).is_err());
        assert!(Form::parse(&headers, &Bytes::new()).is_ok());
        for (kind, taken) in [
            ("application/x-www-form-urlencoded", true),
            ("application/x-www-form-urlencoded; charset=UTF-8", true),
            ("text/plain", false),
            ("application/json", false),
        ] {
            headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
            assert_eq!(Form::parse(&headers, &body).is_ok(), taken, "{kind}");
        }
    }
}
