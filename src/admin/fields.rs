//! A request's fields, read one by one so that all that is wrong with them is told at once.

use std::fmt;

use bytes::Bytes;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::problem::Problem;
use crate::control::Faults;

/// Fields not yet taken, and what was wrong with those that were.
#[derive(Debug)]
pub(super) struct Fields {
    rest: Map<String, Value>,
    faults: Faults,
}

impl Fields {
    /// The fields of a JSON body. An absent body has none, where `optional`.
    pub(super) fn of_body(body: &Bytes, optional: bool) -> Result<Self, Problem> {
        let mut faults = Faults::default();
        if optional && body.is_empty() {
            return Ok(Self { rest: Map::new(), faults });
        }
        let rest = match serde_json::from_slice(body) {
            Ok(Body::Object(pairs)) => {
                let mut rest = Map::new();
                for (name, value) in pairs {
                    if rest.contains_key(&name) {
                        faults.add(&quotable(&name), "is given more than once");
                    }
                    rest.insert(name, value);
                }
                rest
            }
            Ok(Body::Other) => {
                faults.add("", "the body must be a JSON object");
                Map::new()
            }
            Err(e) => {
                // Only where, not what: the message of a parser may quote the body.
                let (line, column) = (e.line(), e.column());
                return Err(Problem::invalid_request(format!(
                    "the body is not JSON (line {line}, column {column})"
                )));
            }
        };
        Ok(Self { rest, faults })
    }

    /// The parameters of a query string.
    pub(super) fn of_query(uri: &http::Uri) -> Result<Self, Problem> {
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| Problem::invalid_request("the query string does not read as name=value pairs"))?;
        let mut fields = Self { rest: Map::new(), faults: Faults::default() };
        for (name, value) in pairs.0 {
            if fields.rest.contains_key(&name) {
                fields.faults.add(&quotable(&name), "is given more than once");
            }
            fields.rest.insert(name, Value::String(value));
        }
        Ok(fields)
    }

    /// Takes a text; `null` counts as absent.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        match self.rest.remove(name)? {
            Value::String(text) => Some(text),
            Value::Null => None,
            _ => {
                self.faults.add(name, "must be a string");
                None
            }
        }
    }

    /// Takes a list of texts; `null` counts as absent.
    pub(super) fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        let taken = match self.rest.remove(name)? {
            Value::Null => return None,
            Value::Array(items) => items
                .into_iter()
                .map(|item| if let Value::String(text) = item { Some(text) } else { None })
                .collect(),
            _ => None,
        };
        if taken.is_none() {
            self.faults.add(name, "must be a list of strings");
        }
        taken
    }

    /// Takes a text that may be taken away: `null` is a value of its own.
    pub(super) fn text_or_none(&mut self, name: &str) -> Option<Option<String>> {
        let none = self.rest.get(name) == Some(&Value::Null);
        let text = self.text(name);
        if none { Some(None) } else { text.map(Some) }
    }

    /// The same of a list, whose absence is an empty one.
    pub(super) fn texts_or_none(&mut self, name: &str) -> Option<Vec<String>> {
        let none = self.rest.get(name) == Some(&Value::Null);
        let texts = self.texts(name);
        if none { Some(Vec::new()) } else { texts }
    }

    /// Takes an object, whose fields `read` takes; `null` is a value of its own. What is wrong in it is named with it.
    pub(super) fn object_or_none<T>(
        &mut self,
        name: &str,
        known: &[&str],
        read: impl FnOnce(&mut Self) -> T,
    ) -> Option<Option<T>> {
        match self.rest.remove(name)? {
            Value::Null => Some(None),
            Value::Object(rest) => {
                let mut inner = Self { rest, faults: Faults::default() };
                let taken = read(&mut inner);
                for fault in inner.end(known).told() {
                    self.faults.add(&format!("{name}.{}", fault.field), fault.message.as_str());
                }
                Some(Some(taken))
            }
            _ => {
                self.faults.add(name, "must be an object");
                None
            }
        }
    }

    /// Takes a truth value.
    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        match self.rest.remove(name)? {
            Value::Bool(flag) => Some(flag),
            _ => {
                self.faults.add(name, "must be true or false");
                None
            }
        }
    }

    /// Takes a whole number; `null` counts as absent.
    pub(super) fn count(&mut self, name: &str) -> Option<u64> {
        let value = self.rest.remove(name).filter(|value| !value.is_null())?;
        if value.as_u64().is_none() {
            self.faults.add(name, "must be a whole number");
        }
        value.as_u64()
    }

    /// Notes what is wrong with a field that was taken.
    pub(super) fn fault(&mut self, name: &str, message: &str) {
        self.faults.add(name, message);
    }

    /// Ends the taking: whatever is left is unknown.
    pub(super) fn end(mut self, known: &[&str]) -> Faults {
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        for name in self.rest.keys() {
            self.faults.add(&quotable(name), format!("is unknown; known are: {known}"));
        }
        self.faults
    }
}

/// A body's fields as they were written, twice where they were.
enum Body {
    Object(Vec<(String, Value)>),
    Other,
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Vec<(String, Value)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(pairs)
            }
        }

        let raw = Box::<RawValue>::deserialize(deserializer)?;
        if !raw.get().starts_with('{') {
            // Read through, so that what is no JSON at all is told apart.
            serde_json::from_str::<IgnoredAny>(raw.get()).map_err(D::Error::custom)?;
            return Ok(Self::Other);
        }
        let pairs = serde_json::Deserializer::from_str(raw.get()).deserialize_map(Pairs);
        pairs.map(Self::Object).map_err(D::Error::custom)
    }
}

/// A name from a stranger, cut so that an answer never holds a whole credential.
fn quotable(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(20).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Fault;

    fn wrong(body: &str) -> Vec<String> {
        let mut fields = Fields::of_body(&Bytes::copy_from_slice(body.as_bytes()), false).unwrap();
        fields.text("a");
        match fields.end(&["a"]).none() {
            Err(Fault::Invalid(faults)) => faults.into_iter().map(|fault| fault.field).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn a_name_stands_for_one_value() {
        assert!(wrong(r#"{"a": "x"}"#).is_empty());
        assert_eq!(wrong(r#"{"a": "x", "a": "y"}"#), ["a"]);
        assert_eq!(wrong(r#"{"a": "x", "\u0061": "x"}"#), ["a"], "however it is written");
        assert_eq!(wrong(r#"{"a": 1, "b": [], "b": {}}"#), ["b", "a"]);
        for other in ["[]", "null", "5", " \"a\" "] {
            assert_eq!(wrong(other), [""], "{other}");
        }
    }

    #[test]
    fn what_is_no_json_is_told_by_place_alone() {
        for body in ["", "{", "{\"a\": pct_x}", "{} {}", "[1,]", "{\"a\":1,}"] {
            let problem = Fields::of_body(&Bytes::copy_from_slice(body.as_bytes()), false).unwrap_err();
            assert!(!format!("{problem:?}").contains("pct_"), "{problem:?}");
        }
        assert!(Fields::of_body(&Bytes::new(), true).is_ok());
    }
}
