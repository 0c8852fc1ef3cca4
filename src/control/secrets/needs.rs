//! Which secrets the configuration needs and cannot have.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::super::Control;
use super::super::clock::Clock;
use crate::config::Config;
use crate::model::{AppName, EnvironmentName, SecretName};
use crate::secrets::{Place, Vault};

/// Looks whenever somebody asks. Clones look at the same.
#[derive(Clone, Debug)]
pub struct Needs {
    config: Arc<ArcSwap<Config>>,
    vault: Vault,
    clock: Clock,
}

/// A secret that requests to an environment need and cannot have: they are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    pub app: AppName,
    pub environment: EnvironmentName,
    pub secret: SecretName,
    /// In one word.
    pub reason: &'static str,
    /// As the end of a sentence that the secret's name begins.
    pub told: &'static str,
}

impl Control {
    /// Tells what is lacking.
    #[must_use]
    pub fn needs(&self) -> Needs {
        Needs { config: self.config.clone(), vault: self.safe.vault.clone(), clock: self.clock.clone() }
    }
}

impl Needs {
    /// In the order of the configuration, each once.
    #[must_use]
    pub fn unmet(&self) -> Vec<Needed> {
        let config = self.config.load();
        let now = self.clock.now().as_millisecond();
        let mut unmet: Vec<Needed> = Vec::new();
        for app in &config.apps {
            for environment in &app.environments {
                let (name, product) = (app.name.clone(), app.product.clone());
                let place = Place { app: name, product, environment: environment.name.clone() };
                for secret in environment.secrets() {
                    let Some(lack) = self.vault.lack(secret, Some(&place), now) else { continue };
                    let needed = Needed {
                        app: place.app.clone(),
                        environment: place.environment.clone(),
                        secret: secret.clone(),
                        reason: lack.as_str(),
                        told: lack.told(),
                    };
                    if !unmet.contains(&needed) {
                        unmet.push(needed);
                    }
                }
            }
        }
        unmet
    }
}
