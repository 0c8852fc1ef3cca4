//! `[notify]`: who is told of what happens to credentials, by mail and by webhook.

use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::Uri;
use http::uri::Scheme;
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use super::report::Placed;
use super::section::Section;
use super::value::{Given, path};
use super::{Notify, Password, Smtp, SmtpSecurity, SmtpServer, Webhook};
use crate::model::{Email, Template};

/// Far more than a password or a webhook's secret.
const LONGEST: u64 = 4096;
const SERVER: &str = "`smtps://USER@HOST:PORT`, `smtp://…` for STARTTLS, or `smtp+plain://…` to this machine alone, \
                      without a password";
const HOOK: &str = "an `https://` or `http://` URL without user and fragment";
const REFERENCE: &str = "a reference to a secret, as in \"$Secret{SMTP_PASSWORD}\"";

pub(super) fn read(section: &mut Section<'_>) -> Notify {
    Notify { smtp: section.table("smtp", smtp), webhook: section.table("webhook", webhook) }
}

fn smtp(section: &mut Section<'_>) -> Option<Smtp> {
    let wrong_before = section.count();
    let server = section.read("url", server);
    let from = section.read("from", email);
    let to = section.read("to", email);
    let file = section.read("password_file", path);
    let reference = section.read("password", reference);
    let nothing = server.is_none() && from.is_none() && to.is_none() && file.is_none() && reference.is_none();
    if nothing && !section.is_given() {
        return None;
    }
    section.missing("url", SERVER);
    section.missing("from", "the address that mail comes from");
    let password = match (file, reference) {
        (Some(_), Some(reference)) => {
            section.mistake(
                &reference.place,
                "password",
                "stands beside `password_file`: keep one of the two",
            );
            None
        }
        (Some(file), None) => {
            let resolved = section.resolve(&file.value);
            if section.looks_into_files()
                && let Err(wrong) = password(&resolved)
            {
                section.mistake(&file.place, "password_file", &wrong);
            }
            Some(Password::File(resolved))
        }
        (None, Some(Placed { value, place })) => {
            value.secrets().for_each(|name| section.mention(&place, "password", name));
            Some(Password::Reference(value))
        }
        (None, None) => None,
    };
    let server = server?;
    if to.is_none() && section.count() == wrong_before {
        let doubt = "is not given: nobody is written to about tokens of the operator, of removed members and of members \
                     without an address";
        section.warning(&server.place, "to", doubt);
    }
    match (&server.value.user, &password) {
        // One that is given and wrong was reported as such.
        (Some(_), None) if section.count() > wrong_before => {}
        (Some(_), None) => {
            section.missing("password_file", "the file with the user's password; or `password`")
        }
        (None, Some(_)) => {
            section.mistake(&server.place, "url", "names no user that the password would be of");
        }
        _ => {}
    }
    Some(Smtp { server: server.value, password, from: from?.value, to: to.map(|to| to.value) })
}

fn email(given: &Given<'_>) -> Result<Email, String> {
    Email::parse(given.text("an e-mail address")?).map_err(|wrong| format!("wants {wrong}"))
}

fn webhook(section: &mut Section<'_>) -> Option<Webhook> {
    let url = section.read("url", hook);
    let file = section.read("secret_file", path);
    if url.is_none() && file.is_none() && !section.is_given() {
        return None;
    }
    section.missing("url", HOOK);
    section.missing("secret_file", "the file with the secret that calls are signed with (`whsec_…`)");
    if let Some(url) =
        url.as_ref().filter(|url| url.value.scheme() == Some(&Scheme::HTTP) && !is_near(&url.value))
    {
        section.warning(&url.place, "url", "leads over the network in the clear");
    }
    let file = file?;
    let secret_file = section.resolve(&file.value);
    if section.looks_into_files()
        && let Err(wrong) = signing_secret(&secret_file)
    {
        section.mistake(&file.place, "secret_file", &wrong);
    }
    Some(Webhook { url: url?.value, secret_file })
}

/// The password in a file, without the newline that ends a line.
///
/// # Errors
/// When it cannot be read or holds none; the words end a sentence.
pub fn password(path: &Path) -> Result<Zeroizing<String>, String> {
    let text = contents(path)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.chars().any(char::is_control) {
        return Err("names a file that holds no password: one line is wanted".to_owned());
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// The key that a webhook's calls are signed with, out of a file (Standard Webhooks, "Signature scheme").
///
/// # Errors
/// When it cannot be read or holds none; the words end a sentence.
pub fn signing_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let text = contents(path)?;
    let encoded = text.trim().strip_prefix("whsec_").unwrap_or_default();
    let key = Zeroizing::new(BASE64_STANDARD.decode(encoded).unwrap_or_default());
    if !(24..=64).contains(&key.len()) {
        return Err(
            "names a file that holds no webhook secret: `whsec_` and the base64 of 24 to 64 bytes".to_owned()
        );
    }
    Ok(key)
}

fn contents(path: &Path) -> Result<Zeroizing<String>, String> {
    let mut text = Zeroizing::new(String::with_capacity(LONGEST as usize + 1));
    let read = File::open(path).and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text));
    match read {
        Ok(_) if text.len() as u64 > LONGEST => Err("names a file that is far too long".to_owned()),
        Ok(_) => Ok(text),
        Err(error) => Err(format!("names a file that cannot be read: {error}")),
    }
}

fn reference(given: &Given<'_>) -> Result<Template, String> {
    let template = Template::parse(given.text(REFERENCE)?).map_err(|e| e.to_string())?;
    // What is no secret's does not belong into this file.
    if template.pieces().len() == 1 && template.secrets().next().is_some() {
        Ok(template)
    } else {
        Err(format!("wants {REFERENCE}; a password itself belongs into a file (`password_file`)"))
    }
}

fn server(given: &Given<'_>) -> Result<SmtpServer, String> {
    let wanted = || format!("wants {SERVER}");
    let uri: Uri = given.text(SERVER)?.parse().map_err(|_| wanted())?;
    let (security, usual) = match uri.scheme_str() {
        Some("smtps") => (SmtpSecurity::Tls, 465),
        Some("smtp") => (SmtpSecurity::StartTls, 587),
        Some("smtp+plain") if is_near(&uri) => (SmtpSecurity::None, 25),
        _ => return Err(wanted()),
    };
    let authority = uri.authority().ok_or_else(wanted)?;
    let user = match authority.as_str().rsplit_once('@') {
        Some((user, _)) if user.is_empty() || user.contains(':') => return Err(wanted()),
        Some((user, _)) => Some(percent_decode_str(user).decode_utf8().map_err(|_| wanted())?.into_owned()),
        None => None,
    };
    let host = bare(authority.host()).to_owned();
    let port = match authority.port() {
        Some(_) => authority.port_u16().filter(|port| *port != 0).ok_or_else(wanted)?,
        None => usual,
    };
    let plain = uri.path_and_query().is_none_or(|path| path.as_str() == "/") && !host.is_empty();
    plain.then_some(SmtpServer { security, host, port, user }).ok_or_else(wanted)
}

fn hook(given: &Given<'_>) -> Result<Uri, String> {
    let text = given.text(HOOK)?;
    let uri: Option<Uri> = text.parse().ok().filter(|uri: &Uri| {
        let known = uri.scheme() == Some(&Scheme::HTTPS) || uri.scheme() == Some(&Scheme::HTTP);
        let bare = uri.authority().is_some_and(|authority| {
            let reachable = authority.port().is_none() || authority.port_u16().is_some_and(|port| port != 0);
            reachable && !authority.as_str().contains('@') && !authority.host().is_empty()
        });
        known && bare && !text.contains('#')
    });
    uri.ok_or_else(|| format!("wants {HOOK}"))
}

/// Whether it leads to this machine.
pub(super) fn is_near(uri: &Uri) -> bool {
    let host = bare(uri.host().unwrap_or_default());
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}
