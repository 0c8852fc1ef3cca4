//! Publishing releases, and the switch for every token of an environment.

use std::net::IpAddr;

use super::repeat::{Made, Once, gone, made};
use super::{Caller, Control, Fault, Faults, Page, apps, cursor, page, page_length};
use crate::config::{Config, Environment, ExternalAccess};
use crate::model::{AppName, Deployment, DeploymentId, EnvironmentName, Scope, Upstream, is_link_local};
use crate::store::{NewDeployment, Prospect, ProspectFilter, Repeat};

/// Upstreams of one release, at most.
const UPSTREAMS: usize = 64;

/// A release as asked for; `faults` is what was already found wrong with the request.
#[derive(Debug, Default)]
pub struct Publish {
    pub app: String,
    pub environment: String,
    pub id: Option<String>,
    pub upstreams: Option<Vec<String>>,
    pub once: Option<Once>,
    pub faults: Faults,
}

/// How many tokens a look ahead shows at most, of those that would end and of those that would live on.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    pub ending: usize,
    pub living: usize,
}

impl Sight {
    pub const FULL: Self = Self { ending: 1000, living: 1000 };
}

/// What publishing came to.
#[derive(Debug)]
pub struct Release {
    pub deployment: Deployment,
    pub tokens_ended: u64,
    /// Whether this call put another deployment in the place of the one before.
    pub fresh: bool,
}

/// What the switch of an environment stopped.
#[derive(Clone, Copy, Debug)]
pub struct Switched {
    /// Requests ended before their answer began, and answers cut short.
    pub requests: u64,
    pub streams: u64,
}

/// Which page of deployments to list, as asked for; `faults` is what was already found wrong with the request.
#[derive(Debug, Default)]
pub struct ListDeployments {
    pub app: String,
    pub environment: String,
    pub limit: Option<String>,
    pub cursor: Option<String>,
    pub faults: Faults,
}

/// An environment that is in the configuration.
struct Place {
    app: AppName,
    environment: Environment,
}

impl Control {
    /// # Errors
    /// When a field is wrong, there is no such environment, the caller may not, or the store cannot be written.
    pub async fn publish(&self, caller: &Caller, asked: Publish) -> Result<Release, Fault> {
        caller.require(Scope::Deploy)?;
        let place = self.place(caller, &asked.app, &asked.environment)?;
        let act = caller.act_once(self.now(), asked.once.clone());
        if let Some(repeat) = self.earlier(&act).await? {
            return self.published_before(place, &repeat).await;
        }
        let (id, upstreams) = self.judge(caller, &place, asked)?;
        // It may end tokens.
        let _hurry = self.reached.hurry();
        let (app, environment) = (place.app.clone(), place.environment.name.clone());
        let new = NewDeployment { app, environment, id, upstreams };
        match made(self.store.publish(act, new).await, "environment")? {
            Made::Now(published) => {
                self.reached.wait(published.revision).await;
                Ok(Release {
                    deployment: published.deployment,
                    tokens_ended: published.ended,
                    fresh: published.replaced,
                })
            }
            Made::Before(repeat) => self.published_before(place, &repeat).await,
        }
    }

    /// What publishing would do, without doing it. Of the tokens, only what the caller may see is shown.
    ///
    /// # Errors
    /// When a field is wrong, there is no such environment, the caller may not, or the store cannot be read.
    pub async fn look_ahead(&self, caller: &Caller, asked: Publish, sight: Sight) -> Result<Prospect, Fault> {
        caller.require(Scope::Deploy)?;
        let place = self.place(caller, &asked.app, &asked.environment)?;
        let (id, _) = self.judge(caller, &place, asked)?;
        let filter = ProspectFilter {
            app: place.app,
            environment: place.environment.name,
            id,
            owner: caller.only_own().cloned(),
            now: self.now(),
            ending: sight.ending,
            living: sight.living,
        };
        let _turn = self.turns.take(caller).await;
        Ok(self.store.prospect(filter).await?)
    }

    /// # Errors
    /// When a parameter is wrong, there is no such environment, the caller may not, or the store cannot be read.
    pub async fn list_deployments(
        &self,
        caller: &Caller,
        asked: ListDeployments,
    ) -> Result<Page<Deployment>, Fault> {
        caller.require(Scope::Read)?;
        let place = self.place(caller, &asked.app, &asked.environment)?;
        let mut faults = asked.faults;
        let length = page_length(asked.limit.as_deref(), &mut faults);
        let before = cursor(asked.cursor.as_deref(), |text| text.parse().ok(), &mut faults);
        faults.none()?;
        let found = self.store.deployments(place.app, place.environment.name, before, length + 1).await?;
        Ok(page(found, length, |deployment| deployment.number.to_string()))
    }

    /// Puts a deployment away that is not the current one. Again is harmless.
    ///
    /// # Errors
    /// When there is no such deployment, it is the current one, the caller may not, or the store cannot be written.
    pub async fn archive_deployment(
        &self,
        caller: &Caller,
        app: &str,
        environment: &str,
        id: &str,
    ) -> Result<Deployment, Fault> {
        caller.require(Scope::Delete)?;
        let place = self.place(caller, app, environment)?;
        let id = DeploymentId::parse(id).map_err(|_| Fault::NotFound("deployment"))?;
        let act = caller.act(self.now());
        let archived = self.store.archive_deployment(act, place.app, place.environment.name, id).await;
        archived.map_err(|e| Fault::refused(e, "deployment"))
    }

    /// Lets the tokens of an environment in, or none of them; returns what that stopped.
    ///
    /// # Errors
    /// When the configuration decides it, there is no such environment, the caller may not, or the store cannot be
    /// written.
    pub async fn switch_external_access(
        &self,
        caller: &Caller,
        app: &str,
        environment: &str,
        on: Option<bool>,
        mut faults: Faults,
    ) -> Result<Switched, Fault> {
        caller.require(Scope::Deploy)?;
        let place = self.place(caller, app, environment)?;
        if on.is_none() {
            faults.add("enabled", "must be true or false");
        }
        faults.none()?;
        let mode = place.environment.external_access;
        if mode != ExternalAccess::OnFirstToken {
            return Err(Fault::Conflict(format!(
                "`external_access = \"{}\"` in the configuration decides it: with \"on-first-token\" the switch would",
                mode.as_str()
            )));
        }
        let _hurry = (on == Some(false)).then(|| self.reached.hurry());
        let act = caller.act(self.now());
        let (app, name, on) = (place.app, place.environment.name, on.unwrap_or_default());
        let switched = self.store.switch_environment(act, app, name, on).await;
        let revision = switched.map_err(|e| Fault::refused(e, "environment"))?;
        let receipt = self.reached.wait(revision).await;
        Ok(Switched { requests: receipt.requests, streams: receipt.streams })
    }

    async fn published_before(&self, place: Place, repeat: &Repeat) -> Result<Release, Fault> {
        self.reached.wait(repeat.revision).await;
        let number = repeat.subject.parse().map_err(|_| gone())?;
        let found = self.store.deployment(place.app, place.environment.name, number).await?;
        Ok(Release { deployment: found.ok_or_else(gone)?, tokens_ended: repeat.ended, fresh: false })
    }

    fn judge(
        &self,
        caller: &Caller,
        place: &Place,
        asked: Publish,
    ) -> Result<(DeploymentId, Option<Vec<Upstream>>), Fault> {
        let mut faults = asked.faults;
        let id = match asked.id.as_deref() {
            Some(id) => faults.name("id", id, DeploymentId::parse),
            None => {
                faults.add("id", "is missing: what to call the deployment, as in `blue` or a commit");
                None
            }
        };
        let upstreams = asked.upstreams.map(|urls| self.upstreams(caller, place, &urls, &mut faults));
        faults.none()?;
        Ok((id.ok_or(Fault::Invalid(Vec::new()))?, upstreams))
    }

    fn upstreams(
        &self,
        caller: &Caller,
        place: &Place,
        urls: &[String],
        faults: &mut Faults,
    ) -> Vec<Upstream> {
        const FIELD: &str = "upstreams";
        if !(1..=UPSTREAMS).contains(&urls.len()) {
            faults.add(
                FIELD,
                format!("must be 1 to {UPSTREAMS} URLs; leave it out for those of the configuration"),
            );
        }
        let parsed = urls.iter().take(UPSTREAMS).filter_map(|url| faults.name(FIELD, url, Upstream::parse));
        let parsed: Vec<_> = parsed.collect();
        let (config, is_anywhere) = (self.config.load(), caller.require_workspace().is_ok());
        for upstream in &parsed {
            let is_configured = place.environment.upstreams.contains(upstream);
            if let Some(why) = forbidden(&config, upstream, is_anywhere || is_configured) {
                faults.add(FIELD, format!("{upstream} {why}"));
            }
        }
        parsed
    }

    /// The environment of these names, if the caller may see it.
    fn place(&self, caller: &Caller, app: &str, environment: &str) -> Result<Place, Fault> {
        let config = self.config.load_full();
        let name = AppName::parse(app).ok().filter(|app| caller.may_see_app(app));
        let found = name.and_then(|name| apps::find(&config, &name)).ok_or(Fault::NotFound("app"))?;
        let name = EnvironmentName::parse(environment).ok();
        let environment = found.environments.iter().find(|known| Some(&known.name) == name.as_ref());
        let environment = environment.ok_or(Fault::NotFound("environment"))?.clone();
        Ok(Place { app: found.name.clone(), environment })
    }
}

/// Why a caller may not let requests go there, as far as can be told without asking a name server; `None`: they may.
fn forbidden(config: &Config, upstream: &Upstream, is_anywhere: bool) -> Option<&'static str> {
    if config.admin.is_at(upstream) {
        return Some("leads to the admin side: whoever has a token would be let in there");
    }
    if config.gateway.is_at(upstream) {
        return Some("leads back to the gateway itself");
    }
    if is_anywhere {
        return None;
    }
    let Some((host, _)) = upstream.host_and_port() else {
        return Some(
            "is a socket of the gateway's machine: those are named in `proxy.toml`, or by a key that may do everything",
        );
    };
    let address = host.parse::<IpAddr>().ok()?.to_canonical();
    let is_nobodys = address.is_unspecified() || address.is_multicast();
    (is_nobodys || is_link_local(address)).then_some(
        "is no app's address: link-local ones are named in `proxy.toml`, or by a key that may do everything",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::sample;

    #[test]
    fn no_release_leads_back_here() {
        let mut config = sample::config();
        config.gateway.listen = vec!["127.0.0.1:8080".parse().unwrap(), "0.0.0.0:8081".parse().unwrap()];
        config.admin.listen = "10.0.0.1:9180".parse().unwrap();
        let judge = |url: &str| forbidden(&config, &Upstream::parse(url).unwrap(), true);
        for own in [
            "http://127.0.0.1:8080",
            "http://localhost:8080",
            "http://127.0.0.1:8081",
            "https://10.0.0.1:9180",
            "http://localhost:9180",
        ] {
            assert!(judge(own).is_some(), "{own}");
        }
        for other in ["http://127.0.0.1:8082", "http://10.0.0.1:8080", "http://169.254.0.1", "unix:/a"] {
            assert_eq!(judge(other), None, "{other}");
        }
    }
}
