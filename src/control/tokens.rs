//! Minting, showing and revoking tokens.

use super::apps::{self, listed};
use super::{Caller, Control, Fault, Faults, Page, cursor, expiry, now, page, page_length};
use crate::config::{Config, Environment};
use crate::credential::{Kind, Plaintext};
use crate::model::{EnvironmentName, INITIAL_DEPLOYMENT, OnPublish, Scope, Status, Token, TokenApp, TokenId};
use crate::store::{NewToken, TokenFilter};

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
    pub faults: Faults,
}

/// A new token, with its value for the one answer that shows it.
#[derive(Debug)]
pub struct Minted {
    pub token: Token,
    pub value: Plaintext,
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
    pub limit: Option<String>,
    pub cursor: Option<String>,
    pub faults: Faults,
}

impl Control {
    /// # Errors
    /// When a field is wrong, the caller may not, or the store cannot be written.
    pub async fn mint_token(&self, caller: &Caller, asked: MintToken) -> Result<Minted, Fault> {
        caller.require(Scope::Mint)?;
        let config = self.config.load_full();
        let mut faults = asked.faults;
        let label = faults.text("label", asked.label.as_deref());
        let description = faults.text("description", asked.description.as_deref());
        let place = place(&config, caller, asked.app.as_deref(), asked.environment.as_deref(), &mut faults)?;
        let now = now();
        let end = expiry::judge(
            asked.expires_in.as_deref(),
            asked.expires_at.as_deref(),
            &config.tokens,
            now,
            &mut faults,
        );
        faults.none()?;
        let (Some(label), Some(description), Some(place), Some(expires_at)) =
            (label, description, place, end)
        else {
            return Err(Fault::Invalid(Vec::new()));
        };
        let value = Plaintext::generate(Kind::Token)?;
        let new = NewToken {
            digest: value.digest(),
            hint: value.hint().to_owned(),
            label,
            description,
            app: place.app,
            environment: place.environment,
            deployment: place.deployment,
            on_publish: place.on_publish,
            created_by: caller.member().cloned(),
            expires_at,
        };
        let Some((token, revision)) = self.store.mint_token(caller.act(now), new).await? else {
            return Err(Fault::Forbidden("the member of this management key was removed".to_owned()));
        };
        self.reached.wait(revision).await;
        Ok(Minted { token, value })
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
            before,
            now: now(),
            limit: length + 1,
        };
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
        reason: Option<&str>,
        mut faults: Faults,
    ) -> Result<Revoked, Fault> {
        caller.require(Scope::Mint)?;
        let reason = faults.text::<1000>("reason", reason);
        faults.none()?;
        let reason = reason.map(|reason| reason.to_string()).filter(|reason| !reason.is_empty());
        // Whose a token is never changes, so it may be looked at before the writing.
        let token = self.visible_token(caller, id).await?;
        let done = self.store.revoke_token(caller.act(now()), token.id, reason).await?;
        let done = done.ok_or(Fault::NotFound("token"))?;
        let receipt = self.reached.wait(done.revision).await;
        let (requests, streams) = if done.fresh { (receipt.requests, receipt.streams) } else { (0, 0) };
        Ok(Revoked { token: done.of, requests, streams })
    }

    async fn visible_token(&self, caller: &Caller, id: &str) -> Result<Token, Fault> {
        let found = match TokenId::parse(id) {
            Some(id) => self.store.token(id).await?,
            None => None,
        };
        found.filter(|token| caller.may_see_token(token)).ok_or(Fault::NotFound("token"))
    }
}

/// Where a new token is to open.
struct Place {
    app: TokenApp,
    environment: EnvironmentName,
    deployment: Option<String>,
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
    // What opens every app is pinned to no app's deployment.
    let (deployment, on_publish) = match app {
        TokenApp::Every => (None, OnPublish::Keep),
        TokenApp::One(_) => (Some(INITIAL_DEPLOYMENT.to_owned()), found.on_publish),
    };
    Ok(Some(Place { app, environment: name, deployment, on_publish }))
}
