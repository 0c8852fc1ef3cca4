//! Secrets as callers wish for them, and what of that is valid.

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::super::apps::listed;
use super::super::fault::{CREDENTIAL, holds_credential};
use super::super::{Fault, Faults, expiry};
use crate::model::{
    AppName, ClientAuth, EnvironmentName, Grant, PLACES, Secret, SecretKind, SecretScope, Text, TokenUrl,
};
use crate::secrets::Value;

/// The longest value: as long as a field of a request can well be.
const LONGEST_VALUE: usize = 8 * 1024;
/// The longest client id and scope.
const LONGEST_WORD: usize = 256;

/// A value for a name, as asked for; `faults` is what was already found wrong with the request.
#[derive(Default)]
pub struct PutSecret {
    pub value: Option<Zeroizing<String>>,
    pub kind: Option<String>,
    pub description: Option<String>,
    pub apps: Option<Vec<String>>,
    pub products: Option<Vec<String>>,
    pub environments: Option<Vec<String>>,
    pub expires_in: Option<String>,
    pub expires_at: Option<String>,
    /// `Some(None)`: the value is to be used itself from here on.
    pub grant: Option<Option<AskedGrant>>,
    pub expected: Option<Vec<u64>>,
    /// Only where there is none of this name.
    pub fresh: bool,
    pub faults: Faults,
}

/// A client-credentials grant, as asked for; the value is the client's secret.
#[derive(Debug, Default)]
pub struct AskedGrant {
    pub token_url: Option<String>,
    pub client_id: Option<String>,
    pub scopes: Option<Vec<String>>,
    pub auth: Option<String>,
}

/// What is to change about a secret; what is `None` stays. `faults` is what was already found wrong with the request.
#[derive(Debug, Default)]
pub struct EditSecret {
    pub description: Option<String>,
    pub apps: Option<Vec<String>>,
    pub products: Option<Vec<String>>,
    pub environments: Option<Vec<String>>,
    pub expires_in: Option<String>,
    /// `Some(None)`: never.
    pub expires_at: Option<Option<String>>,
    pub expected: Option<Vec<u64>>,
    pub faults: Faults,
}

/// Which page of secrets to list, as asked for; `faults` is what was already found wrong with the request.
#[derive(Debug, Default)]
pub struct ListSecrets {
    pub limit: Option<String>,
    pub cursor: Option<String>,
    pub faults: Faults,
}

/// A valid wish.
pub(super) struct Judged {
    pub(super) value: Value,
    pub(super) kind: SecretKind,
    pub(super) description: Text<1000>,
    pub(super) scope: SecretScope,
    pub(super) grant: Option<Grant>,
    pub(super) expires_at: Option<Timestamp>,
}

/// A valid wish for a change.
pub(super) struct JudgedEdit {
    pub(super) description: Text<1000>,
    pub(super) scope: SecretScope,
    pub(super) expires_at: Option<Timestamp>,
}

pub(super) fn judge(asked: &PutSecret, before: Option<&Secret>, now: Timestamp) -> Result<Judged, Fault> {
    let mut faults = asked.faults.clone();
    let value = value(asked.value.as_ref(), &mut faults);
    let grant = match &asked.grant {
        Some(Some(asked)) => grant(asked, &mut faults),
        Some(None) => None,
        None => before.and_then(|before| before.grant.clone()),
    };
    let of_before = before.map(|before| before.kind);
    let kind = match asked.kind.as_deref() {
        Some(kind) => kind_of(kind, &mut faults),
        None if grant.is_some() => Some(SecretKind::OauthToken),
        None => of_before.or(Some(SecretKind::Credential)),
    };
    if grant.is_some() && kind.is_some_and(|kind| kind != SecretKind::OauthToken) {
        faults.add("type", "must be `oauth-token` where there is a grant");
    }
    let description = description(asked.description.as_deref(), before, &mut faults);
    let lists = (asked.apps.as_deref(), asked.products.as_deref(), asked.environments.as_deref());
    let scope = scope(lists, before, &mut faults);
    let expires_at = expiry::free(asked.expires_in.as_deref(), asked.expires_at.as_deref(), now, &mut faults);
    faults.none()?;
    let (Some(value), Some(kind), Some(description)) = (value, kind, description) else {
        return Err(Fault::Invalid(Vec::new()));
    };
    Ok(Judged { value, kind, description, scope, grant, expires_at })
}

pub(super) fn judge_edit(asked: &EditSecret, before: &Secret, now: Timestamp) -> Result<JudgedEdit, Fault> {
    let mut faults = asked.faults.clone();
    let description = description(asked.description.as_deref(), Some(before), &mut faults);
    let lists = (asked.apps.as_deref(), asked.products.as_deref(), asked.environments.as_deref());
    let scope = scope(lists, Some(before), &mut faults);
    let expires_at = match (&asked.expires_in, &asked.expires_at) {
        (None, None) => before.expires_at,
        (None, Some(None)) => None,
        (lifetime, end) => {
            let end = end.as_ref().and_then(Option::as_deref);
            expiry::free(lifetime.as_deref(), end, now, &mut faults)
        }
    };
    faults.none()?;
    let Some(description) = description else { return Err(Fault::Invalid(Vec::new())) };
    Ok(JudgedEdit { description, scope, expires_at })
}

fn value(asked: Option<&Zeroizing<String>>, faults: &mut Faults) -> Option<Value> {
    const FIELD: &str = "value";
    let Some(value) = asked else {
        faults.add(FIELD, "is missing: what the name is to stand for");
        return None;
    };
    if value.is_empty() || value.len() > LONGEST_VALUE {
        faults.add(FIELD, format!("must be 1 to {LONGEST_VALUE} bytes long"));
    } else if value.chars().any(char::is_control) {
        faults.add(FIELD, "must be one line: no field of a request can hold control characters");
    } else if value.trim().len() != value.len() {
        faults.add(FIELD, "must neither begin nor end with a space: fields of requests lose those");
    }
    Some(Value::copied(value))
}

fn kind_of(kind: &str, faults: &mut Faults) -> Option<SecretKind> {
    let found = SecretKind::parse(kind);
    if found.is_none() {
        faults.add("type", format!("must be one of {}", listed(SecretKind::ALL.map(SecretKind::as_str))));
    }
    found
}

fn description(asked: Option<&str>, before: Option<&Secret>, faults: &mut Faults) -> Option<Text<1000>> {
    match (asked, before) {
        (None, Some(before)) => Some(before.description.clone()),
        (asked, _) => faults.text("description", asked),
    }
}

type Lists<'a> = (Option<&'a [String]>, Option<&'a [String]>, Option<&'a [String]>);

fn scope(
    (apps, products, environments): Lists<'_>,
    before: Option<&Secret>,
    faults: &mut Faults,
) -> SecretScope {
    let before = before.map(|before| before.scope.clone()).unwrap_or_default();
    SecretScope {
        apps: apps.map_or(before.apps, |names| places("apps", names, AppName::parse, faults)),
        products: products.map_or(before.products, |names| places("products", names, AppName::parse, faults)),
        environments: environments.map_or(before.environments, |names| {
            places("environments", names, EnvironmentName::parse, faults)
        }),
    }
}

fn places<T: Ord, E: std::fmt::Display>(
    field: &str,
    asked: &[String],
    parse: impl Fn(&str) -> Result<T, E>,
    faults: &mut Faults,
) -> Vec<T> {
    if asked.len() > PLACES {
        faults.add(field, format!("must be at most {PLACES}"));
    }
    let mut names: Vec<T> =
        asked.iter().take(PLACES).filter_map(|name| faults.name(field, name, &parse)).collect();
    names.sort();
    names.dedup();
    names
}

fn grant(asked: &AskedGrant, faults: &mut Faults) -> Option<Grant> {
    let missing = "is missing";
    let token_url = match asked.token_url.as_deref() {
        Some(url) => faults.take("grant.token_url", TokenUrl::parse(url)),
        None => {
            faults.add("grant.token_url", missing);
            None
        }
    };
    let word = |text: &str, also: &[char]| {
        let plain = |c: char| matches!(c, '!'..='~') && !"\"\\".contains(c) || also.contains(&c);
        (1..=LONGEST_WORD).contains(&text.len()) && text.chars().all(plain)
    };
    let client_id = asked.client_id.clone().unwrap_or_default();
    if !word(&client_id, &[' ']) {
        faults.add("grant.client_id", format!("must be 1 to {LONGEST_WORD} printable ASCII characters"));
    }
    if holds_credential(&client_id) {
        faults.add("grant.client_id", CREDENTIAL);
    }
    let scopes = asked.scopes.clone().unwrap_or_default();
    if scopes.len() > PLACES || !scopes.iter().all(|scope| word(scope, &[])) {
        let message =
            format!("must be at most {PLACES} words of printable ASCII characters, {LONGEST_WORD} each");
        faults.add("grant.scopes", message);
    }
    let auth = match asked.auth.as_deref() {
        None => Some(ClientAuth::Basic),
        Some(auth) => {
            let found = ClientAuth::parse(auth);
            if found.is_none() {
                faults.add("grant.auth", "must be `basic` or `post`");
            }
            found
        }
    };
    Some(Grant { token_url: token_url?, client_id, scopes, auth: auth? })
}
