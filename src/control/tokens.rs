//! Minting, showing, editing, revoking and deleting tokens.

use super::apps::{self, listed};
use super::leaks::outlets;
use super::repeat::{Made, Minted, Once, made};
use super::{Caller, Control, Fault, Faults, Page, cursor, expiry, page, page_length, rules};
use crate::config::{Config, Environment, Tokens};
use crate::credential::{Kind, Plaintext};
use crate::model::{EnvironmentName, Lifetime, OnPublish, Rules, Scope, Status, Token, TokenApp, TokenId};
use crate::store::{Limits, NewShare, NewToken, Repeat, Revocation, TokenEdit, TokenFilter};

/// How much text may be searched for.
const LONGEST_SEARCH: usize = 200;

/// A token as asked for; `faults` is what was already found wrong with the request.
#[derive(Debug, Default)]
pub struct MintToken {
    pub label: Option<String>,
    pub description: Option<String>,
    pub app: Option<String>,
    pub environment: Option<String>,
    pub expires_in: Option<String>,
    pub expires_at: Option<String>,
    pub scopes: Option<Vec<String>>,
    pub allowed_addresses: Option<Vec<String>>,
    pub rate_limit: Option<String>,
    pub on_publish: Option<String>,
    pub once: Option<Once>,
    pub faults: Faults,
}

/// What is to change about a token; what is `None` stays. `faults` is what was already found wrong with the request.
#[derive(Debug, Default)]
pub struct EditToken {
    pub label: Option<String>,
    pub description: Option<String>,
    pub scopes: Option<Vec<String>>,
    pub allowed_addresses: Option<Vec<String>>,
    /// `Some(None)`: none any more.
    pub rate_limit: Option<Option<String>>,
    pub expires_in: Option<String>,
    pub expires_at: Option<String>,
    /// The revisions of which one must be the token's.
    pub expected: Option<Vec<u64>>,
    pub faults: Faults,
}

/// A revocation as asked for; `faults` is what was already found wrong with the request.
#[derive(Debug, Default)]
pub struct RevokeToken {
    pub reason: Option<String>,
    pub once: Option<Once>,
    pub faults: Faults,
}

/// A revoked token, and what this revocation stopped: nothing where it was revoked before.
#[derive(Debug)]
pub struct Revoked {
    pub token: Token,
    /// Requests ended before their answer began, and answers cut short.
    pub requests: u64,
    pub streams: u64,
}

/// Which tokens to list, as asked for; `faults` is what was already found wrong with the request.
#[derive(Debug, Default)]
pub struct ListTokens {
    pub app: Option<String>,
    pub environment: Option<String>,
    pub status: Option<String>,
    pub member: Option<String>,
    pub q: Option<String>,
    /// Only tokens in use that end within this time.
    pub expiring: Option<String>,
    pub limit: Option<String>,
    pub cursor: Option<String>,
    pub faults: Faults,
}

impl Control {
    /// # Errors
    /// When a field is wrong, the caller may not, or the store cannot be written.
    pub async fn mint_token(&self, caller: &Caller, asked: MintToken) -> Result<Minted, Fault> {
        self.mint(caller, asked, None).await
    }

    /// The same, with the link of `share` where nobody is to be shown the value.
    pub(super) async fn mint(
        &self,
        caller: &Caller,
        asked: MintToken,
        share: Option<NewShare>,
    ) -> Result<Minted, Fault> {
        caller.require(Scope::Mint)?;
        let config = self.config.load_full();
        let now = self.now();
        let act = caller.act_once(now, asked.once);
        if let Some(repeat) = self.earlier(&act).await? {
            return self.minted_before(&repeat).await;
        }
        let mut faults = asked.faults;
        let label = faults.text("label", asked.label.as_deref());
        let description = faults.text("description", asked.description.as_deref());
        let place = place(&config, caller, asked.app.as_deref(), asked.environment.as_deref(), &mut faults)?;
        let rules = Rules {
            scopes: rules::scopes(&asked.scopes.unwrap_or_default(), &mut faults),
            networks: rules::networks(&asked.allowed_addresses.unwrap_or_default(), &mut faults),
            rate: rules::rate(asked.rate_limit.as_deref(), &mut faults),
        };
        let on_publish = asked.on_publish.as_deref().map(|rule| on_publish(rule, &mut faults));
        let end = expiry::judge(
            asked.expires_in.as_deref(),
            asked.expires_at.as_deref(),
            &config.tokens,
            now,
            &mut faults,
        );
        faults.none()?;
        let (Some(label), Some(description), Some(place), Some(end)) = (label, description, place, end)
        else {
            return Err(Fault::Invalid(Vec::new()));
        };
        let on_publish = on_publish.flatten().unwrap_or(place.on_publish);
        if place.app == TokenApp::Every && on_publish != OnPublish::Keep {
            let message =
                "must be `keep` for a token that opens every app: it is pinned to no app's deployment";
            return Err(Fault::field("on_publish", message));
        }
        let value = Plaintext::generate(Kind::Token)?;
        let new = NewToken {
            digest: value.digest(),
            hint: value.hint().to_owned(),
            label,
            description,
            app: place.app,
            environment: place.environment,
            on_publish,
            rules,
            expires_at: end.at,
            lifetime: end.lifetime,
            share,
        };
        match made(self.store.mint_token(act, new, limits(&config.tokens)).await, "token")? {
            Made::Now((token, revision)) => {
                self.reached.wait(revision).await;
                Ok(Minted { token, value: Some(value) })
            }
            Made::Before(repeat) => self.minted_before(&repeat).await,
        }
    }

    /// # Errors
    /// When a filter is wrong, the caller may not, or the store cannot be read.
    pub async fn list_tokens(&self, caller: &Caller, asked: ListTokens) -> Result<Page<Token>, Fault> {
        caller.require(Scope::Read)?;
        let mut faults = asked.faults;
        let status = asked.status.as_deref().and_then(|name| {
            let status = Status::parse(name);
            if status.is_none() {
                let all = listed(Status::ALL.map(Status::as_str));
                faults.add("status", format!("must be one of {all}"));
            }
            status
        });
        if asked.q.as_ref().is_some_and(|q| q.chars().nth(LONGEST_SEARCH).is_some()) {
            faults.add("q", format!("must be at most {LONGEST_SEARCH} characters"));
        }
        let now = self.now();
        let ending_by = asked.expiring.as_deref().and_then(|within| {
            let end = Lifetime::parse(within).ok().and_then(|lifetime| lifetime.after(now));
            if end.is_none() {
                faults.add("expiring", "must be a time from now, as in `7d`");
            }
            end
        });
        let length = page_length(asked.limit.as_deref(), &mut faults);
        let before = cursor(asked.cursor.as_deref(), TokenId::parse, &mut faults);
        faults.none()?;
        let filter = TokenFilter {
            owner: caller.only_own().cloned(),
            within: caller.app().cloned(),
            app: asked.app,
            environment: asked.environment,
            status,
            member: asked.member,
            q: asked.q.filter(|q| !q.is_empty()),
            ending_by,
            before,
            now,
            limit: length + 1,
        };
        let _turn = self.turns.take(caller).await;
        let found = self.store.tokens(filter).await?;
        Ok(page(found, length, |token| token.id.to_string()))
    }

    /// # Errors
    /// When there is no such token that the caller may see, or the store cannot be read.
    pub async fn show_token(&self, caller: &Caller, id: &str) -> Result<Token, Fault> {
        caller.require(Scope::Read)?;
        self.visible_token(caller, id).await
    }

    /// # Errors
    /// When there is no such token that the caller may see, or the store cannot be written.
    pub async fn revoke_token(
        &self,
        caller: &Caller,
        id: &str,
        asked: RevokeToken,
    ) -> Result<Revoked, Fault> {
        caller.require(Scope::Mint)?;
        let _hurry = self.reached.hurry();
        let act = caller.act_once(self.now(), asked.once);
        if let Some(repeat) = self.earlier(&act).await? {
            return self.revoked_before(&repeat).await;
        }
        let mut faults = asked.faults;
        let reason = faults.text::<1000>("reason", asked.reason.as_deref());
        faults.none()?;
        let reason = reason.map(|reason| reason.to_string()).filter(|reason| !reason.is_empty());
        // Whose a token is never changes, so it may be looked at before the writing.
        let found = match TokenId::parse(id) {
            Some(id) => self.store.token_to_end(id).await?,
            None => None,
        };
        let token = found.filter(|token| caller.may_see_token(token)).ok_or(Fault::NotFound("token"))?;
        let outlets = outlets(&self.config.load());
        match made(self.store.revoke_token(act, token.id, reason, outlets).await, "token")? {
            Made::Now(done) => self.ended(done).await,
            Made::Before(repeat) => self.revoked_before(&repeat).await,
        }
    }

    /// What the same call revoked before, and what that stopped as far as it is remembered.
    async fn revoked_before(&self, repeat: &Repeat) -> Result<Revoked, Fault> {
        let Minted { token, .. } = self.minted_before(repeat).await?;
        let receipt = self.reached.wait(repeat.ended).await;
        Ok(Revoked { token, requests: receipt.requests, streams: receipt.streams })
    }

    /// Revokes a token and forgets it.
    ///
    /// # Errors
    /// When there is no such token that the caller may see, or the store cannot be written.
    pub async fn delete_token(&self, caller: &Caller, id: &str) -> Result<Revoked, Fault> {
        caller.require(Scope::Delete)?;
        let _hurry = self.reached.hurry();
        let token = self.visible_token(caller, id).await?;
        let outlets = outlets(&self.config.load());
        let done = self.store.delete_token(caller.act(self.now()), token.id, outlets).await;
        self.ended(done.map_err(|e| Fault::refused(e, "token"))?).await
    }

    async fn ended(&self, done: Revocation<Token>) -> Result<Revoked, Fault> {
        self.outbox.send_replace(());
        let receipt = self.reached.wait(done.revision).await;
        let (requests, streams) = if done.fresh { (receipt.requests, receipt.streams) } else { (0, 0) };
        Ok(Revoked { token: done.of, requests, streams })
    }

    /// # Errors
    /// When a field is wrong, there is no such token that the caller may see, it was changed meanwhile, or the store
    /// cannot be written.
    pub async fn edit_token(&self, caller: &Caller, id: &str, asked: EditToken) -> Result<Token, Fault> {
        caller.require(Scope::Mint)?;
        let token = self.visible_token(caller, id).await?;
        let config = self.config.load_full();
        let mut faults = asked.faults;
        let end = (asked.expires_in.is_some() || asked.expires_at.is_some()).then(|| {
            let (lifetime, at) = (asked.expires_in.as_deref(), asked.expires_at.as_deref());
            expiry::judge(lifetime, at, &config.tokens, self.now(), &mut faults)
        });
        // That it is never to end is never earlier.
        let end = end.flatten().and_then(|end| {
            if end.at.is_none() {
                faults.add("expires_in", "can only be brought forward");
            }
            end.at
        });
        let edit = TokenEdit {
            label: asked.label.and_then(|label| faults.text("label", Some(&label))),
            description: asked.description.and_then(|text| faults.text("description", Some(&text))),
            scopes: asked.scopes.map(|scopes| rules::scopes(&scopes, &mut faults)),
            networks: asked.allowed_addresses.map(|networks| rules::networks(&networks, &mut faults)),
            rate: asked.rate_limit.map(|rate| rules::rate(rate.as_deref(), &mut faults)),
            expires_at: end,
            expected: asked.expected,
        };
        faults.none()?;
        let edited = self.store.edit_token(caller.act(self.now()), token.id, edit).await;
        let (token, revision) = edited.map_err(|e| Fault::refused(e, "token"))?;
        self.reached.wait(revision).await;
        Ok(token)
    }

    pub(super) async fn visible_token(&self, caller: &Caller, id: &str) -> Result<Token, Fault> {
        let found = match TokenId::parse(id) {
            Some(id) => self.store.token(id).await?,
            None => None,
        };
        found.filter(|token| caller.may_see_token(token)).ok_or(Fault::NotFound("token"))
    }
}

/// How many tokens may live.
pub(super) const fn limits(tokens: &Tokens) -> Limits {
    Limits { in_all: tokens.max_active, per_member: tokens.max_active_per_member }
}

fn on_publish(rule: &str, faults: &mut Faults) -> Option<OnPublish> {
    let rule = OnPublish::parse(rule);
    if rule.is_none() {
        faults.add("on_publish", "must be `stop`, `keep`, or as in `grace:24h`");
    }
    rule
}

/// Where a new token is to open.
struct Place {
    app: TokenApp,
    environment: EnvironmentName,
    /// Unless the token says otherwise.
    on_publish: OnPublish,
}

fn place(
    config: &Config,
    caller: &Caller,
    app: Option<&str>,
    environment: Option<&str>,
    faults: &mut Faults,
) -> Result<Option<Place>, Fault> {
    let known = || apps::names(config, caller);
    let asked_app = match app {
        None => {
            faults.add("app", format!("is missing: the name of an app ({}) or `*` for every app", known()));
            None
        }
        Some(app) => faults.take("app", TokenApp::parse(app)),
    };
    if environment.is_none() {
        faults.add("environment", "is missing: the name of an environment of the app");
    }
    let name = environment.and_then(|name| faults.take("environment", EnvironmentName::parse(name)));
    let Some(app) = asked_app else { return Ok(None) };
    // Before anything is said about apps that the caller may not see.
    if let Some(bound) = caller.app()
        && app != TokenApp::One(bound.clone())
    {
        return Err(Fault::Forbidden(format!("this management key is bound to the app `{bound}`")));
    }
    let environments: Vec<&Environment> = match &app {
        TokenApp::Every => config.apps.iter().flat_map(|app| &app.environments).collect(),
        TokenApp::One(one) => match apps::find(config, one) {
            Some(found) => found.environments.iter().collect(),
            None => {
                faults.add("app", format!("there is no such app; there are: {}", known()));
                return Ok(None);
            }
        },
    };
    let Some(name) = name else { return Ok(None) };
    let Some(found) = environments.iter().find(|environment| environment.name == name) else {
        let mut all = environments.iter().map(|environment| environment.name.as_str()).collect::<Vec<_>>();
        all.sort_unstable();
        all.dedup();
        let of = if app == TokenApp::Every { "any app".to_owned() } else { format!("`{app}`") };
        faults
            .add("environment", format!("there is no such environment of {of}; there are: {}", listed(all)));
        return Ok(None);
    };
    let on_publish = match app {
        TokenApp::Every => OnPublish::Keep,
        TokenApp::One(_) => found.on_publish,
    };
    Ok(Some(Place { app, environment: name, on_publish }))
}
