//! Setting, showing, editing, revoking and deleting upstream secrets. A value comes in and never goes out again.

mod needs;
mod rekey;
mod wish;

use jiff::Timestamp;

use super::{Caller, Control, Fault, Faults, Page, cursor, page, page_length};
use crate::model::{AppName, EnvironmentName, Grant, Scope, Secret, SecretName, SecretScope};
use crate::secrets::{ALWAYS, Content, Owner, SealError};
use crate::store::{NewSecret, NotDone, Refused, SealedSecret, SecretEdit};

pub use needs::{Needed, Needs};
pub use rekey::Rekeyed;
pub use wish::{AskedGrant, EditSecret, ListSecrets, PutSecret};

/// How often a change is tried that others come in the way of.
const ATTEMPTS: usize = 5;
const NOUN: &str = "secret";

/// A secret as its caller may see it: of apps, those that they see.
#[derive(Debug)]
pub struct SecretView {
    pub secret: Secret,
    /// The environments whose requests need it, by the configuration in force.
    pub used_by: Vec<(AppName, EnvironmentName)>,
    /// Of a grant: until when there is an access token, and why the last attempt to get one failed.
    pub token: Option<(Option<Timestamp>, Option<String>)>,
}

impl Control {
    /// Gives a name a value; also says whether the name is new. What is not given stays as it was, but for the expiry,
    /// which goes with the value.
    ///
    /// # Errors
    /// When a field is wrong, the caller may not, it was changed meanwhile, or the store or the key cannot be used.
    pub async fn put_secret(
        &self,
        caller: &Caller,
        name: &str,
        asked: PutSecret,
    ) -> Result<(SecretView, bool), Fault> {
        caller.require(Scope::Secrets)?;
        let mut faults = Faults::default();
        let Some(name) = faults.take("key", SecretName::parse(name)) else {
            faults.none()?;
            return Err(Fault::NotFound(NOUN));
        };
        for _ in 0..ATTEMPTS {
            let before = self.store.secret(name.clone()).await?.map(|stored| stored.secret);
            if let Some(before) = &before {
                may_write(caller, &before.scope)?;
            }
            let seen = before.as_ref().map(|before| before.revision);
            if asked.fresh && seen.is_some() {
                let mut faults = Faults::default();
                faults.add("key", "there is one of this name: its page sets another value");
                faults.none()?;
            }
            meets(asked.expected.as_deref(), seen)?;
            let judged = wish::judge(&asked, before.as_ref(), self.now())?;
            may_write(caller, &judged.scope)?;
            may_ask(caller, &asked, judged.grant.as_ref())?;
            let (scope, grant) = (&judged.scope, judged.grant.as_ref());
            let owner = Owner { name: &name, kind: judged.kind, scope, grant };
            let sealed = self.safe.keyring.seal(owner, &judged.value).map_err(|e| no_key(&e))?;
            let new = NewSecret {
                name: name.clone(),
                kind: judged.kind,
                description: judged.description,
                scope: judged.scope,
                grant: judged.grant,
                sealed,
                expires_at: judged.expires_at,
                seen,
            };
            match self.store.put_secret(caller.act(self.now()), new).await {
                Err(NotDone::Refused(Refused::Stale)) => {}
                done => return Ok((self.secret_in_force(caller, done).await?, seen.is_none())),
            }
        }
        Err(Fault::Stale)
    }

    /// # Errors
    /// When a parameter is wrong, the caller may not, or the store cannot be read.
    pub async fn list_secrets(&self, caller: &Caller, asked: ListSecrets) -> Result<Page<SecretView>, Fault> {
        caller.require(Scope::Read)?;
        let mut faults = asked.faults;
        let length = page_length(asked.limit.as_deref(), &mut faults);
        let before = cursor(asked.cursor.as_deref(), |text| text.parse().ok(), &mut faults);
        faults.none()?;
        let found = self.store.secrets(caller.app().cloned(), before, length + 1).await?;
        let found = page(found, length, |(number, _)| number.to_string());
        let items = found.items.into_iter().map(|(_, secret)| self.secret_view(caller, secret)).collect();
        Ok(Page { items, next_cursor: found.next_cursor })
    }

    /// # Errors
    /// When there is no such secret that the caller may see, or the store cannot be read.
    pub async fn show_secret(&self, caller: &Caller, name: &str) -> Result<SecretView, Fault> {
        caller.require(Scope::Read)?;
        Ok(self.secret_view(caller, self.visible_secret(caller, name).await?.secret))
    }

    /// # Errors
    /// When a field is wrong, there is no such secret that the caller may see, the caller may not, it was changed
    /// meanwhile, or the store or the key cannot be used.
    pub async fn edit_secret(
        &self,
        caller: &Caller,
        name: &str,
        asked: EditSecret,
    ) -> Result<SecretView, Fault> {
        caller.require(Scope::Secrets)?;
        for _ in 0..ATTEMPTS {
            let stored = self.visible_secret(caller, name).await?;
            let before = &stored.secret;
            may_write(caller, &before.scope)?;
            meets(asked.expected.as_deref(), Some(before.revision))?;
            let judged = wish::judge_edit(&asked, before, self.now())?;
            may_write(caller, &judged.scope)?;
            // Its places are sealed in with a value.
            let value = self.safe.keyring.unseal(Owner::of(before), &stored.sealed).map_err(|why| {
                Fault::refused(
                    NotDone::Refused(Refused::Unopened(before.name.clone(), why.to_string())),
                    NOUN,
                )
            })?;
            let owner = Owner { scope: &judged.scope, ..Owner::of(before) };
            let sealed = self.safe.keyring.seal(owner, &value).map_err(|e| no_key(&e))?;
            let edit = SecretEdit {
                description: judged.description,
                scope: judged.scope,
                sealed,
                expires_at: judged.expires_at,
                seen: before.revision,
            };
            match self.store.edit_secret(caller.act(self.now()), before.name.clone(), edit).await {
                Err(NotDone::Refused(Refused::Stale)) => {}
                done => return self.secret_in_force(caller, done).await,
            }
        }
        Err(Fault::Stale)
    }

    /// Ends a secret's value for good; another may be set.
    ///
    /// # Errors
    /// When there is no such secret that the caller may see, the caller may not, or the store cannot be written.
    pub async fn revoke_secret(&self, caller: &Caller, name: &str) -> Result<SecretView, Fault> {
        caller.require(Scope::Secrets)?;
        let Secret { name, scope, .. } = self.visible_secret(caller, name).await?.secret;
        may_write(caller, &scope)?;
        let done = self.store.revoke_secret(caller.act(self.now()), name).await;
        self.secret_in_force(caller, done.map(|done| (done.of, done.revision))).await
    }

    /// # Errors
    /// When there is no such secret that the caller may see, the caller may not, or the store cannot be written.
    pub async fn delete_secret(&self, caller: &Caller, name: &str) -> Result<SecretView, Fault> {
        caller.require(Scope::Secrets)?;
        let Secret { name, scope, .. } = self.visible_secret(caller, name).await?.secret;
        may_write(caller, &scope)?;
        let done = self.store.delete_secret(caller.act(self.now()), name).await;
        self.secret_in_force(caller, done).await
    }

    async fn secret_in_force(
        &self,
        caller: &Caller,
        done: Result<(SealedSecret, u64), NotDone>,
    ) -> Result<SecretView, Fault> {
        let (stored, revision) = done.map_err(|e| Fault::refused(e, NOUN))?;
        self.reached.wait(revision).await;
        Ok(self.secret_view(caller, stored.secret))
    }

    async fn visible_secret(&self, caller: &Caller, name: &str) -> Result<SealedSecret, Fault> {
        let found = match SecretName::parse(name) {
            Ok(name) => self.store.secret(name).await?,
            Err(_) => None,
        };
        let in_reach =
            |stored: &SealedSecret| caller.app().is_none_or(|bound| stored.secret.scope.apps.contains(bound));
        found.filter(in_reach).ok_or(Fault::NotFound(NOUN))
    }

    fn secret_view(&self, caller: &Caller, mut secret: Secret) -> SecretView {
        let sees = |app: &AppName| caller.app().is_none_or(|bound| bound == app);
        secret.scope.apps.retain(sees);
        let config = self.config.load();
        let seen = config.apps.iter().filter(|app| sees(&app.name));
        let all = seen.flat_map(|app| app.environments.iter().map(move |one| (app, one)));
        let used_by = all
            .filter(|(_, environment)| environment.secrets().any(|name| *name == secret.name))
            .map(|(app, environment)| (app.name.clone(), environment.name.clone()))
            .collect();
        let held = secret.grant.as_ref().and_then(|_| self.safe.vault.all().get(&secret.name).cloned());
        let token = held.and_then(|held| match &held.content {
            Content::Grant(granted) => {
                let end = granted.token.as_ref().filter(|token| token.expires != ALWAYS);
                let end = end.and_then(|token| Timestamp::from_millisecond(token.expires).ok());
                Some((end, granted.trouble.clone()))
            }
            Content::Value(_) | Content::Unreadable => None,
        });
        SecretView { secret, used_by, token }
    }
}

/// Whether a caller may have access tokens asked for there: whoever may only set secrets is not to reach services of the
/// gateway's own machine through it.
fn may_ask(caller: &Caller, asked: &PutSecret, grant: Option<&Grant>) -> Result<(), Fault> {
    let is_new = matches!(asked.grant, Some(Some(_)));
    if is_new && caller.member().is_some() && grant.is_some_and(|grant| grant.token_url.is_near()) {
        let mut faults = Faults::default();
        faults.add(
            "grant.token_url",
            "leads to the gateway's own machine: only the operator, on its socket, may say that",
        );
        faults.none()?;
    }
    Ok(())
}

/// A key that is bound to an app writes what is for that app alone.
fn may_write(caller: &Caller, scope: &SecretScope) -> Result<(), Fault> {
    match caller.app() {
        Some(bound) if scope.apps != [bound.clone()] || !scope.products.is_empty() => {
            Err(Fault::Forbidden(format!(
                "this management key is bound to the app `{bound}`: it writes secrets whose only app is that one"
            )))
        }
        _ => Ok(()),
    }
}

/// Whether what the caller saw is what is there.
fn meets(expected: Option<&[u64]>, seen: Option<u64>) -> Result<(), Fault> {
    match expected {
        Some(expected) if !seen.is_some_and(|seen| expected.contains(&seen)) => Err(Fault::Stale),
        _ => Ok(()),
    }
}

fn no_key(error: &SealError) -> Fault {
    tracing::error!("a secret could not be sealed: {error}");
    match error {
        SealError::NoRandomness(e) => Fault::NoRandomness(*e),
        SealError::Key(_) | SealError::TooLong => Fault::NoKey,
    }
}
