//! The form that sets an upstream secret or edits one. A value goes in; none comes back, not even where the form does.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::form::Form;
use super::page::{Frame, Wrong, html};
use super::words::Moment;
use super::{Answer, Ask};
use crate::admin::problem::Problem;
use crate::control::{AskedGrant, EditSecret, Fault, FieldFault, PutSecret, SecretView};
use crate::model::{Secret, SecretKind};

/// Offered; on a date, any other end.
const LIFETIMES: [&str; 4] = ["7d", "30d", "90d", "1y"];

#[derive(Template)]
#[template(path = "secret_form.html")]
struct Page {
    frame: Frame,
    /// What is edited; `None`: a secret that is still to be made.
    before: Option<Before>,
    filled: Filled,
    kinds: [&'static str; 4],
    lifetimes: [&'static str; 4],
    wrong: Wrong,
}

struct Before {
    name: String,
    revision: u64,
    end: Option<Moment>,
}

/// The form as it was filled in, but for the value.
struct Filled {
    name: String,
    kind: String,
    description: String,
    apps: String,
    products: String,
    environments: String,
    expires: String,
    date: String,
    token_url: String,
    client: String,
    scopes: String,
    auth: String,
}

impl Filled {
    fn new(form: &Form) -> Self {
        let text = |name: &str| form.raw(name).to_owned();
        // Browsers end lines otherwise than we do.
        let lines = |name: &str| form.lines(name).join("\n");
        Self {
            name: text("key"),
            kind: text("type"),
            description: text("description"),
            apps: lines("apps"),
            products: lines("products"),
            environments: lines("environments"),
            expires: text("expires"),
            date: text("date"),
            token_url: text("token_url"),
            client: text("client_id"),
            scopes: lines("grant_scopes"),
            auth: text("auth"),
        }
    }

    fn of(secret: &Secret) -> Self {
        let lines = |items: Vec<String>| items.join("\n");
        let grant = secret.grant.as_ref();
        Self {
            name: secret.name.to_string(),
            kind: secret.kind.as_str().to_owned(),
            description: secret.description.to_string(),
            apps: lines(secret.scope.apps.iter().map(ToString::to_string).collect()),
            products: lines(secret.scope.products.iter().map(ToString::to_string).collect()),
            environments: lines(secret.scope.environments.iter().map(ToString::to_string).collect()),
            expires: String::new(),
            date: String::new(),
            token_url: grant.map(|grant| grant.token_url.to_string()).unwrap_or_default(),
            client: grant.map(|grant| grant.client_id.clone()).unwrap_or_default(),
            scopes: grant.map(|grant| lines(grant.scopes.clone())).unwrap_or_default(),
            auth: grant.map(|grant| grant.auth.as_str().to_owned()).unwrap_or_default(),
        }
    }

    /// Whether it says more than that the value is used itself.
    fn grants(&self) -> bool {
        !self.token_url.trim().is_empty() || !self.client.trim().is_empty() || !self.scopes.is_empty()
    }

    /// What changes only along with the value, in one piece.
    fn bound(&self) -> [&str; 5] {
        let auth = if self.grants() { &*self.auth } else { "" };
        [&*self.kind, self.token_url.trim(), self.client.trim(), &*self.scopes, auth]
    }
}

pub(in crate::admin) fn ask(ask: Ask) -> Answer {
    Box::pin(async move {
        let filled = Filled::new(&ask.query());
        form(&ask, StatusCode::OK, None, filled, Wrong::default())
    })
}

pub(in crate::admin) fn ask_again(ask: Ask) -> Answer {
    Box::pin(async move {
        let view = ask.state.control.show_secret(ask.caller()?, ask.name(0)).await?;
        let filled = Filled::of(&view.secret);
        form(&ask, StatusCode::OK, Some((&view, view.secret.revision)), filled, Wrong::default())
    })
}

fn form(
    ask: &Ask,
    status: StatusCode,
    before: Option<(&SecretView, u64)>,
    filled: Filled,
    wrong: Wrong,
) -> Result<Response, Problem> {
    let title = before.map_or("New secret".to_owned(), |(view, _)| format!("Edit {}", view.secret.name));
    let now = ask.state.control.now();
    let page = Page {
        frame: ask.frame("secrets", title),
        before: before.map(|(view, revision)| Before {
            name: view.secret.name.to_string(),
            revision,
            end: view.secret.expires_at.map(|end| Moment::new(end, now)),
        }),
        filled,
        kinds: SecretKind::ALL.map(SecretKind::as_str),
        lifetimes: LIFETIMES,
        wrong,
    };
    html(status, &page)
}

pub(in crate::admin) fn set(mut ask: Ask) -> Answer {
    Box::pin(async move {
        let value = ask.form.take("value");
        let (control, caller) = (&ask.state.control, ask.caller()?);
        let name = ask.form.filled("key").unwrap_or_default();
        // Whoever means to make one must not replace what others rely on.
        let asked = PutSecret { fresh: true, ..put(&ask.form, value, None) };
        match control.put_secret(caller, &name, asked).await {
            Ok(_) => Ok(ask.done(&format!("/secrets/{name}"), format!("{name} is set."))),
            Err(Fault::Invalid(faults)) => {
                form(&ask, StatusCode::UNPROCESSABLE_ENTITY, None, Filled::new(&ask.form), Wrong::new(faults))
            }
            Err(fault) => Err(fault.into()),
        }
    })
}

pub(in crate::admin) fn edit(mut ask: Ask) -> Answer {
    Box::pin(async move {
        let value = ask.form.take("value");
        let (control, caller) = (&ask.state.control, ask.caller()?);
        let view = control.show_secret(caller, ask.name(0)).await?;
        let name = view.secret.name.to_string();
        // What names no state of the secret's names one that it is not in.
        let revision = ask.form.raw("revision").parse().unwrap_or_default();
        let filled = Filled::new(&ask.form);
        let (done, said) = if value.is_some() {
            let asked = put(&ask.form, value, Some((&view.secret, revision)));
            (control.put_secret(caller, &name, asked).await.map(drop), "has another value")
        } else if filled.bound() == Filled::of(&view.secret).bound() {
            let asked = changes(&ask.form, revision);
            (control.edit_secret(caller, &name, asked).await.map(drop), "was edited")
        } else {
            let message = "is needed for another type or grant: those change only along with it".to_owned();
            (Err(Fault::Invalid(vec![FieldFault { field: "value".to_owned(), message }])), "")
        };
        match done {
            Ok(()) => Ok(ask.done(&format!("/secrets/{name}"), format!("{name} {said}."))),
            Err(Fault::Invalid(faults)) => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                form(&ask, status, Some((&view, revision)), filled, Wrong::new(faults))
            }
            Err(fault) => Err(fault.into()),
        }
    })
}

/// The form with a value in it.
fn put(form: &Form, value: Option<Zeroizing<String>>, before: Option<(&Secret, u64)>) -> PutSecret {
    let (expires_in, expires_at) = match form.raw("expires") {
        "date" => (None, Some(form.raw("date").to_owned())),
        "never" => (None, None),
        "" => (None, before.and_then(|(secret, _)| secret.expires_at).map(|end: Timestamp| end.to_string())),
        lifetime => (Some(lifetime.to_owned()), None),
    };
    let grant = Filled::new(form).grants().then(|| AskedGrant {
        token_url: form.filled("token_url"),
        client_id: form.filled("client_id"),
        scopes: Some(form.lines("grant_scopes")),
        auth: form.filled("auth"),
    });
    PutSecret {
        value,
        kind: form.filled("type"),
        description: Some(form.filled("description").unwrap_or_default()),
        apps: Some(form.lines("apps")),
        products: Some(form.lines("products")),
        environments: Some(form.lines("environments")),
        expires_in,
        expires_at,
        grant: Some(grant),
        expected: before.map(|(_, revision)| vec![revision]),
        ..PutSecret::default()
    }
}

/// The form without one.
fn changes(form: &Form, revision: u64) -> EditSecret {
    let (expires_in, expires_at) = match form.raw("expires") {
        "date" => (None, Some(Some(form.raw("date").to_owned()))),
        "never" => (None, Some(None)),
        "" => (None, None),
        lifetime => (Some(lifetime.to_owned()), None),
    };
    EditSecret {
        description: Some(form.filled("description").unwrap_or_default()),
        apps: Some(form.lines("apps")),
        products: Some(form.lines("products")),
        environments: Some(form.lines("environments")),
        expires_in,
        expires_at,
        expected: Some(vec![revision]),
        ..EditSecret::default()
    }
}
