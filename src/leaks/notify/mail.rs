//! Mail over SMTP.

use std::time::Duration;

use lettre::message::header::{ContentTransferEncoding, ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};
use tokio::time::timeout;

use super::{Failed, letter};
use crate::config::{self, Password, Smtp, SmtpSecurity, Tokens};
use crate::control::Control;
use crate::model::Notice;

/// How long the server may be silent, and how long all of it may take.
const SILENCE: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(60);

/// Sends a notice once.
pub(super) async fn send(
    control: &Control,
    smtp: &Smtp,
    rules: &Tokens,
    notice: &Notice,
) -> Result<(), Failed> {
    let message = message(smtp, rules, notice)?;
    let transport = transport(control, smtp).await?;
    let sent = timeout(PATIENCE, transport.send(message)).await;
    match sent {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if error.is_permanent() => {
            let code = error.status().map_or_else(|| "no".to_owned(), |code| code.to_string());
            let said = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            let error = format!("the mail server refused ({code})");
            Err(match (nobody_there(&code, &said), is_about_one(&code)) {
                (true, _) => Failed::ForGood(error),
                (false, true) => Failed::Refused(error),
                (false, false) => Failed::ForNow(error, None),
            })
        }
        Ok(Err(error)) => {
            let code = error.status().map(|code| code.to_string());
            let is_about_one = code.is_some_and(|code| is_about_one(&code));
            let told = told(&error);
            Err(if is_about_one { Failed::Refused(told) } else { Failed::ForNow(told, None) })
        }
        Err(_) => {
            let error = format!("the mail server took longer than {} s", PATIENCE.as_secs());
            Err(Failed::ForNow(error, None))
        }
    }
}

/// Whether a refusal says that the owner has no mailbox there (RFC 3463). All others are about us, about the server or
/// about today, and somebody may mend that.
fn nobody_there(code: &str, said: &str) -> bool {
    const THERE: [&str; 5] = ["5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10"];
    let enhanced = said.split_ascii_whitespace().next().filter(|word| word.starts_with("5."));
    enhanced.map_or(["551", "553"].contains(&code), |enhanced| THERE.contains(&enhanced))
}

/// Whether a refusal is about one mailbox, such as a full one, or a letter that is to come again (RFC 5321, 4.2.3). A
/// greeting and a wrong password are answered by other codes.
fn is_about_one(code: &str) -> bool {
    ["450", "451", "452", "550", "551", "552", "553"].contains(&code)
}

/// What went wrong, without what the server said: it may repeat what it was told.
fn told(error: &lettre::transport::smtp::Error) -> String {
    if let Some(code) = error.status() {
        format!("the mail server refused for now ({code})")
    } else if error.is_timeout() {
        "the mail server gave no answer in time".to_owned()
    } else if error.is_tls() {
        "the mail server cannot prove who it is, or speaks no TLS".to_owned()
    } else if error.is_response() || error.is_client() {
        "the mail server speaks otherwise than SMTP, or lacks what is needed (STARTTLS, authentication)"
            .to_owned()
    } else {
        "the mail server cannot be reached, or hung up".to_owned()
    }
}

/// Tells programs that answer letters not to answer this one (RFC 3834).
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

fn message(smtp: &Smtp, rules: &Tokens, notice: &Notice) -> Result<Message, Failed> {
    let unfit = |what: &str| Failed::ForGood(format!("{what} is no address for mail"));
    if notice.recipient.is_empty() {
        let lack = "its owner has no address, and `notify.smtp.to` names none for such letters";
        return Err(Failed::ForGood(lack.to_owned()));
    }
    let mailbox = |address: &str| address.parse().map(|address| Mailbox::new(None, address));
    let letter::Letter { subject, text } = letter::letter(notice, rules);
    let domain = smtp.from.as_str().rsplit_once('@').map_or("localhost", |(_, domain)| domain);
    Message::builder()
        .from(mailbox(smtp.from.as_str()).map_err(|_| unfit("notify.smtp.from"))?)
        .to(mailbox(&notice.recipient).map_err(|_| unfit("the owner's address"))?)
        .subject(subject)
        // The same however often it is sent.
        .message_id(Some(format!("<{}@{domain}>", notice.id)))
        .header(AutoSubmitted)
        .singlepart(
            SinglePart::builder()
                .header(ContentType::TEXT_PLAIN)
                .header(ContentTransferEncoding::QuotedPrintable)
                .body(text),
        )
        .map_err(|_| Failed::ForGood("the letter cannot be put together".to_owned()))
}

async fn transport(control: &Control, smtp: &Smtp) -> Result<AsyncSmtpTransport<Tokio1Executor>, Failed> {
    let server = &smtp.server;
    let failed =
        |e: lettre::transport::smtp::Error| Failed::ForNow(format!("TLS cannot be set up: {e}"), None);
    let parameters = || TlsParameters::new_rustls(server.host.clone()).map_err(failed);
    let security = match server.security {
        SmtpSecurity::Tls => Tls::Wrapper(parameters()?),
        SmtpSecurity::StartTls => Tls::Required(parameters()?),
        SmtpSecurity::None => Tls::None,
    };
    let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&server.host)
        .port(server.port)
        .tls(security)
        .timeout(Some(SILENCE));
    if let (Some(user), Some(kept)) = (&server.user, &smtp.password) {
        let password = password(control, kept).await?;
        transport = transport.credentials(Credentials::new(user.clone(), password));
    }
    Ok(transport.build())
}

/// As it is now: it may have been changed since the last letter.
async fn password(control: &Control, kept: &Password) -> Result<String, Failed> {
    match kept {
        Password::File(path) => {
            let path = path.clone();
            let read = tokio::task::spawn_blocking(move || config::password(&path)).await;
            let read = read.map_err(|e| Failed::ForNow(e.to_string(), None))?;
            let wrong = |wrong| Failed::ForNow(format!("notify.smtp.password_file {wrong}"), None);
            // The library keeps a copy of its own in any case.
            read.map(|password| password.to_string()).map_err(wrong)
        }
        Password::Reference(template) => {
            let filled = control.own_secret(template).map_err(|lack| Failed::ForNow(lack, None))?;
            let text = std::str::from_utf8(&filled).map(str::to_owned);
            text.map_err(|_| Failed::ForGood("the password is not UTF-8".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_want_of_a_mailbox_is_final() {
        for (code, said) in
            [("550", "5.1.1 no such user"), ("550", "5.1.10\nnull MX"), ("551", "not here"), ("553", "no")]
        {
            assert!(nobody_there(code, said), "{code} {said}");
        }
        for (code, said) in [
            ("554", "5.3.2 no service at present"),
            ("550", "5.7.1 blocked"),
            ("550", "go away"),
            ("552", "5.2.2 full"),
            ("553", "5.7.1 not your address"),
            ("550", "5.1.8 bad sender"),
            ("535", ""),
        ] {
            assert!(!nobody_there(code, said), "{code} {said}");
        }
    }
}
