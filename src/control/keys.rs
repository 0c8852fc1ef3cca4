//! Minting, listing and revoking management keys.

use jiff::Timestamp;

use super::apps::{self, listed};
use super::repeat::{Made, Once, gone, made};
use super::{Caller, Control, Fault, Faults, Page, cursor, expiry, members, page, page_length};
use crate::credential::{Kind, Plaintext};
use crate::model::{AppName, Key, KeyId, Lifetime, Scope, Scopes};
use crate::store::{KeyFilter, NewKey, Repeat};

/// A management key as asked for; `faults` is what was already found wrong with the request.
#[derive(Debug, Default)]
pub struct MintKey {
    pub member: Option<String>,
    pub scopes: Option<Vec<String>>,
    pub app: Option<String>,
    pub label: Option<String>,
    pub expires_in: Option<String>,
    pub once: Option<Once>,
    pub faults: Faults,
}

/// A key, with its value for the one answer that shows it: there is none where an earlier call had that answer.
#[derive(Debug)]
pub struct MintedKey {
    pub key: Key,
    pub value: Option<Plaintext>,
}

/// Which page of keys to list, as asked for; `faults` is what was already found wrong with the request.
#[derive(Debug, Default)]
pub struct ListKeys {
    pub limit: Option<String>,
    pub cursor: Option<String>,
    pub faults: Faults,
}

impl Control {
    /// # Errors
    /// When a field is wrong, the caller may not, or the store cannot be written.
    pub async fn mint_key(&self, caller: &Caller, asked: MintKey) -> Result<MintedKey, Fault> {
        caller.require(Scope::Admin)?;
        let config = self.config.load_full();
        let now = self.now();
        let act = caller.act_once(now, asked.once);
        if let Some(repeat) = self.earlier(&act).await? {
            return self.key_minted_before(&repeat).await;
        }
        let mut faults = asked.faults;
        let member = members::name("member", asked.member.as_deref(), &mut faults);
        let scopes = scopes(asked.scopes, &mut faults);
        let label = faults.text("label", asked.label.as_deref());
        let app = asked.app.as_deref().and_then(|app| faults.take("app", AppName::parse(app)));
        // A key must not make another that reaches further than itself.
        if let Some(bound) = caller.app()
            && app.as_ref() != Some(bound)
        {
            return Err(Fault::Forbidden(format!(
                "this management key is bound to the app `{bound}`, and so must be every key that it makes"
            )));
        }
        if app.as_ref().is_some_and(|app| apps::find(&config, app).is_none()) {
            let known = apps::names(&config, caller);
            faults.add("app", format!("there is no such app; there are: {known}"));
        }
        let end = end(asked.expires_in.as_deref(), now, &mut faults);
        faults.none()?;
        let (Some(member), Some(scopes), Some(label), Some(expires_at)) = (member, scopes, label, end) else {
            return Err(Fault::Invalid(Vec::new()));
        };
        let value = Plaintext::generate(Kind::Key)?;
        let hint = value.hint().to_owned();
        let new = NewKey { digest: value.digest(), hint, label, member, scopes, app, expires_at };
        match made(self.store.mint_key(act, new).await, "management key")? {
            Made::Now((key, revision)) => {
                self.reached.wait(revision).await;
                Ok(MintedKey { key, value: Some(value) })
            }
            Made::Before(repeat) => self.key_minted_before(&repeat).await,
        }
    }

    async fn key_minted_before(&self, repeat: &Repeat) -> Result<MintedKey, Fault> {
        self.reached.wait(repeat.revision).await;
        let found = match KeyId::parse(&repeat.subject) {
            Some(id) => self.store.key(id).await?,
            None => None,
        };
        Ok(MintedKey { key: found.ok_or_else(gone)?, value: None })
    }

    /// # Errors
    /// When a parameter is wrong, the caller may not, or the store cannot be read.
    pub async fn list_keys(&self, caller: &Caller, asked: ListKeys) -> Result<Page<Key>, Fault> {
        caller.require(Scope::Read)?;
        let mut faults = asked.faults;
        let length = page_length(asked.limit.as_deref(), &mut faults);
        let before = cursor(asked.cursor.as_deref(), KeyId::parse, &mut faults);
        faults.none()?;
        let filter = KeyFilter {
            owner: caller.only_own().cloned(),
            within: caller.app().cloned(),
            before,
            limit: length + 1,
        };
        let found = self.store.keys(filter).await?;
        Ok(page(found, length, |key| key.id.to_string()))
    }

    /// # Errors
    /// When there is no such key that the caller may see, none would be left that may do everything, or the store cannot be
    /// written.
    pub async fn revoke_key(&self, caller: &Caller, id: &str) -> Result<Key, Fault> {
        caller.require(Scope::Admin)?;
        let missing = || Fault::NotFound("management key");
        let parsed = KeyId::parse(id).ok_or_else(missing)?;
        let key = self.store.key(parsed).await?.filter(|key| caller.may_see_key(key)).ok_or_else(missing)?;
        // The operator needs no key to do everything.
        let keep_an_admin = caller.member().is_some();
        let done = self.store.revoke_key(caller.act(self.now()), key.id, keep_an_admin).await;
        let done = done.map_err(|e| Fault::refused(e, "management key"))?;
        self.reached.wait(done.revision).await;
        Ok(done.of)
    }
}

fn scopes(asked: Option<Vec<String>>, faults: &mut Faults) -> Option<Scopes> {
    let all = || listed(Scope::ALL.map(Scope::as_str));
    let asked = asked.unwrap_or_default();
    if asked.is_empty() {
        faults.add("scopes", format!("at least one is needed, of {}", all()));
        return None;
    }
    let scopes = asked.iter().map(|name| Scope::parse(name)).collect::<Option<Scopes>>();
    if scopes.is_none() {
        faults.add("scopes", format!("each must be one of {}", all()));
    }
    scopes
}

/// `None` where faults were added; otherwise the end, or that there is none.
fn end(asked: Option<&str>, now: Timestamp, faults: &mut Faults) -> Option<Option<Timestamp>> {
    let Some(asked) = asked.filter(|asked| *asked != expiry::NEVER) else { return Some(None) };
    let lifetime = faults.take("expires_in", Lifetime::parse(asked))?;
    let end = lifetime.after(now).filter(|end| *end > now);
    if end.is_none() {
        faults.add("expires_in", "must end after now and before the year 10000");
    }
    end.map(Some)
}
