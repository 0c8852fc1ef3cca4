//! The form that reports a leak. A credential goes in; none comes back, not even where the form does.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use super::page::{Frame, Wrong, go, html};
use super::{Answer, Ask, door, random};
use crate::admin::problem::Problem;
use crate::config::LeakAction;
use crate::control::{Fault, Holding, Reacted, ReportLeaks};
use crate::model::LeakDone;

#[derive(Template)]
#[template(path = "leak_report.html")]
struct Page {
    frame: Frame,
    /// What becomes of it.
    ends: &'static str,
    source: String,
    place: String,
    once: String,
    wrong: Wrong,
}

pub(in crate::admin) fn ask(ask: Ask) -> Answer {
    Box::pin(async move { form(&ask, StatusCode::OK, Wrong::default()) })
}

pub(in crate::admin) fn report(mut ask: Ask) -> Answer {
    Box::pin(async move {
        let value = ask.form.take("value");
        let asked = ReportLeaks {
            tokens: value.map(|value| vec![value.to_string()]),
            source: ask.form.filled("source"),
            url: ask.form.filled("url"),
            once: ask.once.clone(),
            ..ReportLeaks::default()
        };
        let reacted = match ask.state.control.report_leaks(ask.caller()?, asked).await {
            Ok(reacted) => reacted,
            Err(Fault::Invalid(faults)) => {
                return form(&ask, StatusCode::UNPROCESSABLE_ENTITY, Wrong::new(faults));
            }
            Err(fault) => return Err(fault.into()),
        };
        // It may have been the very key that its reporter came with.
        if let Some(session) = &ask.visit.session
            && door::caller(&ask.state, session.holder, ask.visit.from).await?.is_none()
        {
            return Ok(go("/sign-in?ended=reported"));
        }
        Ok(ask.done("/leaks", reacted.first().map(verdict).unwrap_or_default()))
    })
}

fn form(ask: &Ask, status: StatusCode, wrong: Wrong) -> Result<Response, Problem> {
    // What was refused may hold a credential.
    let again = |field: &str| match wrong.of(field) {
        None => ask.form.raw(field).to_owned(),
        Some(_) => String::new(),
    };
    let who = ask.caller()?.member().map_or_else(|| "operator".to_owned(), ToString::to_string);
    let source = if ask.form.is_empty() { who } else { again("source") };
    let page = Page {
        frame: ask.frame("leaks", "Report a leak"),
        ends: match ask.state.control.config().leaks.action {
            LeakAction::Revoke => "it is revoked at once",
            LeakAction::Grace(_) => "it ends soon",
        },
        source,
        place: again("url"),
        once: random::draw().map_err(Fault::from)?,
        wrong,
    };
    html(status, &page)
}

/// What became of it, and no more of whose it is than its reporter may see.
fn verdict(reacted: &Reacted) -> String {
    let Reacted::Known { of, done, .. } = reacted else {
        return "That is none of ours: no token or key that is known here. Nothing was done.".to_owned();
    };
    let what = match of {
        Holding::Token(token) => ("token", token.as_ref().map(|token| &token.hint)),
        Holding::Key(key) => ("key", key.as_ref().map(|key| &key.hint)),
    };
    let done = match done {
        LeakDone::Revoked => "was live, and is revoked",
        LeakDone::Grace => "was live, and ends soon",
        LeakDone::AlreadyEnded => "had ended before",
        LeakDone::Warned => "is known to be at risk, and its owner was warned",
    };
    match what {
        (kind, Some(hint)) => format!("The {kind} ending in …{hint} {done}."),
        (kind, None) => format!("The {kind} {done}. It is not yours: whose it is, your key may not see."),
    }
}
