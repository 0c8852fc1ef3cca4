//! `[leaks]`: what happens to a leaked token, and whose reports are taken.

use http::Uri;
use http::uri::Scheme;

use super::report::Placed;
use super::section::Section;
use super::value::{Given, boolean, lifetime};
use super::{GithubKeys, LeakAction, Leaks};
use crate::model::{EnvironmentName, Lifetime, TokenApp, TokenId};

const GITHUB_KEYS: &str = "https://api.github.com/meta/public_keys/secret_scanning";
const KEYS: &str = "an `https://` URL, the path of a file, or \"off\"";
const ACTION: &str = "\"revoke\", or as in \"grace:1h\"";

pub(super) fn read(section: &mut Section<'_>) -> Leaks {
    let github_keys = match section.read("github_keys", |given| keys(given.text(KEYS)?)) {
        Some(read) => match read.value {
            Keys::Off => GithubKeys::Off,
            Keys::Url(url) => GithubKeys::Url(url),
            Keys::File(path) => GithubKeys::File(section.resolve(&path)),
        },
        None => GithubKeys::Url(Uri::from_static(GITHUB_KEYS)),
    };
    Leaks {
        github_keys,
        action: section.or("action", LeakAction::Revoke, action),
        grace: graces(section),
        new_networks: section.or("new_networks", false, boolean),
    }
}

/// The tokens, by id or by app, environment and label, that live on for a while.
fn graces(section: &mut Section<'_>) -> Vec<(String, Lifetime)> {
    const KEY: &str = "grace";
    let given = section.read(KEY, |given| {
        let pairs =
            given.pairs("a table of tokens, as in { \"shop/production/nightly backup\" = \"1h\" }")?;
        Ok(pairs.into_iter().map(|(name, given)| (name, lifetime(&given))).collect::<Vec<_>>())
    });
    let mut graces = Vec::new();
    for (Placed { value: name, place }, grace) in given.map_or_else(Vec::new, |read| read.value) {
        match grace {
            Ok(grace) if TokenId::parse(&name).is_some() || is_full(&name) => {
                section.name_tokens(&place, &name);
                graces.push((name, grace));
            }
            Ok(_) => section.mistake(
                &place,
                KEY,
                "names a token by what is neither its id nor `APP/ENVIRONMENT/LABEL`: anybody may give any label",
            ),
            Err(wrong) => section.mistake(&place, KEY, &wrong),
        }
    }
    graces
}

/// Whether a name is of an app, an environment and a label.
fn is_full(name: &str) -> bool {
    let mut parts = name.splitn(3, '/');
    let (app, environment, label) = (parts.next(), parts.next(), parts.next());
    app.is_some_and(|app| TokenApp::parse(app).is_ok())
        && environment.is_some_and(|environment| EnvironmentName::parse(environment).is_ok())
        && label.is_some_and(|label| !label.trim().is_empty())
}

enum Keys {
    Off,
    Url(Uri),
    File(String),
}

fn keys(text: &str) -> Result<Keys, String> {
    if text == "off" {
        return Ok(Keys::Off);
    }
    if !text.contains("://") {
        let fits = !text.is_empty() && !text.contains('\0');
        return fits.then(|| Keys::File(text.to_owned())).ok_or_else(|| format!("wants {KEYS}"));
    }
    // Whoever can alter what comes from there can have tokens revoked.
    let uri: Option<Uri> = text.parse().ok().filter(|uri: &Uri| {
        let bare = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        bare && (uri.scheme() == Some(&Scheme::HTTPS) || super::notify::is_near(uri))
    });
    uri.map(Keys::Url).ok_or_else(|| format!("wants {KEYS}; `http://` leads to this machine alone"))
}

fn action(given: &Given<'_>) -> Result<LeakAction, String> {
    match given.text(ACTION)? {
        "revoke" => Ok(LeakAction::Revoke),
        action => match action.strip_prefix("grace:").map(Lifetime::parse) {
            Some(Ok(grace)) if !grace.is_zero() => Ok(LeakAction::Grace(grace)),
            Some(Ok(_) | Err(_)) | None => Err(format!("wants {ACTION}")),
        },
    }
}
