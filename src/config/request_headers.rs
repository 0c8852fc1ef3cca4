//! `request_headers` and `upstream_auth`: the fields that every request of an environment gets on its way to the app.

use http::HeaderName;
use http::header::AUTHORIZATION;

use super::report::{Place, Placed};
use super::section::Section;
use super::value::Given;
use super::{FieldForm, RequestHeader};
use crate::model::Template;

/// What is the gateway's to say, or belongs to the connection.
const NOT_THESE: [&str; 16] = [
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded",
    "x-request-id",
];
const NOT_BEGINNING: [&str; 3] = ["x-forwarded-", "x-portcullis-", "sec-websocket-"];

const HEADERS: &str = "request_headers";
const AUTH: &str = "upstream_auth";

/// `everyone`: whether some requests come without a token.
pub(super) fn read(section: &mut Section<'_>, everyone: bool) -> Vec<RequestHeader> {
    let mut all = Vec::new();
    let given = section.read(HEADERS, |given| {
        Ok(given
            .pairs("a table of header fields, as in { \"X-Name\" = \"value\" }")?
            .into_iter()
            .map(field)
            .collect())
    });
    for read in given.map_or_else(Vec::new, |read: Placed<Vec<_>>| read.value) {
        match read {
            Ok(Placed { value, place }) => add(section, &mut all, value, &place, HEADERS),
            Err((place, wrong)) => section.mistake(&place, HEADERS, &wrong),
        }
    }
    if let Some(read) = section.read(AUTH, authorization) {
        if read.value.value.secrets().next().is_none() {
            let doubt = "holds a credential itself: keep that as a secret, and write $Secret{NAME} here";
            section.warning(&read.place, AUTH, doubt);
        }
        add(section, &mut all, read.value, &read.place, AUTH);
    }
    let place =
        all.iter().find(|(header, _)| header.value.secrets().next().is_some()).map(|(_, place)| place);
    if let Some(place) = place.filter(|_| everyone) {
        let doubt =
            "goes with every request, also with those that need no token (`public_paths`, `preflight`)";
        section.warning(&place.clone(), HEADERS, doubt);
    }
    all.into_iter().map(|(header, _)| header).collect()
}

fn add(
    section: &mut Section<'_>,
    all: &mut Vec<(RequestHeader, Place)>,
    header: RequestHeader,
    place: &Place,
    key: &'static str,
) {
    if all.iter().any(|(other, _)| other.name == header.name) {
        section.mistake(place, key, &format!("sets `{}` a second time", header.name));
        return;
    }
    for name in header.value.secrets() {
        section.mention(place, key, name);
    }
    all.push((header, place.clone()));
}

fn field((name, given): (Placed<String>, Given<'_>)) -> Result<Placed<RequestHeader>, (Place, String)> {
    let wrong = |place: &Place, wrong: String| (place.clone(), wrong);
    let parsed = HeaderName::from_bytes(name.value.as_bytes()).map_err(|_| {
        wrong(&name.place, "has a name that is none of a header field: letters, digits and `-`".to_owned())
    })?;
    let folded = parsed.as_str().replace('_', "-");
    if NOT_THESE.contains(&&*folded) || NOT_BEGINNING.iter().any(|prefix| folded.starts_with(prefix)) {
        return Err(wrong(&name.place, format!("sets `{parsed}`, which is the gateway's own to set")));
    }
    let value = given
        .text("a string, as in \"Bearer $Secret{SHOP_KEY}\"")
        .and_then(template)
        .map_err(|message| wrong(&given.place, message))?;
    Ok(Placed { value: RequestHeader { name: parsed, value, form: FieldForm::Plain }, place: given.place })
}

fn template(text: &str) -> Result<Template, String> {
    let template = Template::parse(text).map_err(|e| e.to_string())?;
    if template.fits_a_field() {
        Ok(template)
    } else {
        Err("holds what no header field may: control characters, or a space at its beginning".to_owned())
    }
}

fn authorization(given: &Given<'_>) -> Result<RequestHeader, String> {
    const WHAT: &str = "\"bearer $Secret{KEY}\" or \"basic user:$Secret{KEY}\"";
    let wanted = || format!("wants {WHAT}");
    let (scheme, rest) = given.text(WHAT)?.split_once(' ').ok_or_else(wanted)?;
    let value = template(rest.trim())?;
    let (value, form) = match scheme.to_ascii_lowercase().as_str() {
        "bearer" if !value.pieces().is_empty() => (value.after("Bearer "), FieldForm::Plain),
        // User and password may be one secret.
        "basic" if rest.contains(':') || value.secrets().next().is_some() && value.pieces().len() == 1 => {
            (value, FieldForm::Basic)
        }
        _ => return Err(wanted()),
    };
    Ok(RequestHeader { name: AUTHORIZATION, value, form })
}
