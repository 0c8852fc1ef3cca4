//! What the store decides about environments: whether they let tokens in, and which deployment they serve.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;

use crate::model::{AppName, DeploymentId, EnvironmentName, NameRef, OnPublish, TokenApp, Upstream};

const UNUSED: u8 = 0;
const OFF: u8 = 1;
const ON: u8 = 2;

/// The state of one environment, the same value for the index's whole life.
#[derive(Debug)]
pub struct EnvironmentState {
    pub app: NameRef,
    pub name: NameRef,
    opened: AtomicBool,
    switch: AtomicU8,
    /// The number of the deployment that is served: all that most decisions look at.
    number: AtomicU32,
    /// Grows whenever the upstreams change.
    generation: AtomicU64,
    served: ArcSwap<Served>,
}

/// What an environment serves.
#[derive(Debug)]
struct Served {
    published: Vec<i64>,
    upstreams: Option<Arc<[Upstream]>>,
}

/// An environment as the store has it.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Whether a token was ever minted for it.
    pub opened: bool,
    /// Where somebody used the switch.
    pub switched: Option<bool>,
    pub deployment: DeploymentId,
    /// When each deployment after the initial one was published, in Unix milliseconds.
    pub published: Vec<i64>,
    /// Those of the current release; `None`: the configuration's.
    pub upstreams: Option<Vec<Upstream>>,
}

impl Default for Standing {
    fn default() -> Self {
        Self {
            opened: false,
            switched: None,
            deployment: DeploymentId::initial(),
            published: Vec::new(),
            upstreams: None,
        }
    }
}

impl EnvironmentState {
    fn new(app: NameRef, name: NameRef, opened: bool) -> Self {
        Self {
            app,
            name,
            opened: AtomicBool::new(opened),
            switch: AtomicU8::new(UNUSED),
            number: AtomicU32::new(0),
            generation: AtomicU64::new(0),
            served: ArcSwap::from_pointee(Served { published: Vec::new(), upstreams: None }),
        }
    }

    /// Whether tokens are let in, where the configuration leaves that to the first token and the switch.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self.switch.load(Ordering::Acquire) {
            ON => true,
            OFF => false,
            _ => self.opened.load(Ordering::Acquire),
        }
    }

    /// When a token ends that was minted under the deployment with this number, because that was replaced since.
    /// `None`: it does not. In Unix milliseconds.
    #[must_use]
    pub fn end_of(&self, minted_under: u32, rule: OnPublish) -> Option<i64> {
        if rule == OnPublish::Keep || self.number.load(Ordering::Acquire) <= minted_under {
            return None;
        }
        if rule == OnPublish::Stop {
            // Whatever the clock says.
            return Some(i64::MIN);
        }
        let served = self.served.load();
        served.published.get(usize::try_from(minted_under).ok()?).and_then(|at| rule.end(*at))
    }

    /// Tells one set of upstreams from the next.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The upstreams of the current release, where it has its own.
    #[must_use]
    pub fn upstreams(&self) -> Option<Arc<[Upstream]>> {
        self.served.load().upstreams.clone()
    }

    fn set(&self, standing: Standing) {
        let number = u32::try_from(standing.published.len()).unwrap_or(u32::MAX);
        let before = self.served.load_full();
        let moved = before.upstreams.as_deref() != standing.upstreams.as_deref();
        let upstreams = if moved { standing.upstreams.map(Arc::from) } else { before.upstreams.clone() };
        self.served.store(Arc::new(Served { published: standing.published, upstreams }));
        if moved {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        self.number.store(number, Ordering::Release);
        if standing.opened {
            self.opened.store(true, Ordering::Release);
        }
        let switch = standing.switched.map_or(UNUSED, |on| if on { ON } else { OFF });
        self.switch.store(switch, Ordering::Release);
    }
}

/// Every name and every environment that was spoken of so far.
#[derive(Debug, Default)]
pub(super) struct Environments {
    names: HashMap<Box<str>, NameRef, RandomState>,
    states: HashMap<(NameRef, NameRef), Arc<EnvironmentState>, RandomState>,
    /// Environment names that a token for every app has opened.
    opened_for_every_app: Vec<NameRef>,
}

impl Environments {
    pub(super) fn name(&mut self, name: &str) -> NameRef {
        if let Some(known) = self.names.get(name) {
            return *known;
        }
        let next = NameRef::nth(self.names.len());
        self.names.insert(name.into(), next);
        next
    }

    pub(super) fn find(&self, app: NameRef, name: NameRef) -> Option<&Arc<EnvironmentState>> {
        self.states.get(&(app, name))
    }

    pub(super) fn state(&mut self, app: &AppName, environment: &EnvironmentName) -> &Arc<EnvironmentState> {
        let (app, name) = (self.name(app.as_str()), self.name(environment.as_str()));
        let opened = self.opened_for_every_app.contains(&name);
        self.states.entry((app, name)).or_insert_with(|| Arc::new(EnvironmentState::new(app, name, opened)))
    }

    pub(super) fn set(&mut self, app: &TokenApp, environment: &EnvironmentName, standing: Standing) {
        match app {
            TokenApp::One(app) => self.state(app, environment).set(standing),
            // Of what holds in every app, only whether it was ever minted for is kept.
            TokenApp::Every if standing.opened => {
                let name = self.name(environment.as_str());
                if !self.opened_for_every_app.contains(&name) {
                    self.opened_for_every_app.push(name);
                }
                for state in self.states.values().filter(|state| state.name == name) {
                    state.opened.store(true, Ordering::Release);
                }
            }
            TokenApp::Every => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Index;

    fn names() -> (AppName, EnvironmentName) {
        (AppName::parse("shop").unwrap(), EnvironmentName::parse("production").unwrap())
    }

    #[test]
    fn a_token_for_every_app_opens_environments_known_before_and_after() {
        let (index, writer) = Index::new();
        let ((shop, production), blog) = (names(), AppName::parse("blog").unwrap());
        let development = EnvironmentName::parse("development").unwrap();
        let opened = || Standing { opened: true, ..Standing::default() };
        let before = index.environment(&shop, &production);
        assert!(!before.is_open());
        writer.set(&TokenApp::Every, &production, opened());
        assert!(before.is_open());
        assert!(index.environment(&blog, &production).is_open());
        assert!(!index.environment(&shop, &development).is_open());
        writer.set(&TokenApp::One(shop.clone()), &development, opened());
        assert!(index.environment(&shop, &development).is_open());
        assert!(!index.environment(&blog, &development).is_open());
    }

    #[test]
    fn the_switch_has_the_last_word() {
        let (index, writer) = Index::new();
        let (shop, production) = names();
        let state = index.environment(&shop, &production);
        for (opened, switched, open) in
            [(false, Some(true), true), (true, Some(false), false), (true, None, true)]
        {
            let standing = Standing { opened, switched, ..Standing::default() };
            writer.set(&TokenApp::One(shop.clone()), &production, standing);
            assert_eq!(state.is_open(), open, "{opened} {switched:?}");
        }
    }

    #[test]
    fn a_number_once_replaced_stays_so() {
        let (index, writer) = Index::new();
        let (shop, production) = names();
        let state = index.environment(&shop, &production);
        let publish = |published: &[i64], upstreams: Option<&str>| {
            let standing = Standing {
                published: published.to_vec(),
                upstreams: upstreams.map(|url| vec![Upstream::parse(url).unwrap()]),
                ..Standing::default()
            };
            writer.set(&TokenApp::One(shop.clone()), &production, standing);
        };
        let grace = OnPublish::parse("grace:1s").unwrap();
        assert_eq!(state.end_of(0, OnPublish::Stop), None);
        publish(&[5_000], None);
        assert_eq!(state.end_of(0, OnPublish::Stop), Some(i64::MIN));
        assert_eq!((state.end_of(0, OnPublish::Keep), state.end_of(1, OnPublish::Stop)), (None, None));
        assert_eq!(state.end_of(0, grace), Some(6_000));
        // The id of the first may be published again: its number is another.
        publish(&[5_000, 9_000], Some("http://127.0.0.1:1"));
        assert_eq!(state.end_of(0, grace), Some(6_000), "counted from the publish that replaced it");
        assert_eq!((state.end_of(1, grace), state.end_of(2, grace)), (Some(10_000), None));

        assert_eq!((state.generation(), state.upstreams().unwrap().len()), (1, 1));
        publish(&[5_000, 9_000], Some("http://127.0.0.1:1"));
        assert_eq!(state.generation(), 1);
        publish(&[5_000, 9_000], None);
        assert_eq!((state.generation(), state.upstreams().is_none()), (2, true));
    }
}
