//! What new upstreams are made from: whatever of the upstreams before is unchanged goes on as it is, with its
//! connections, its counts and its standing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::HeaderValue;
use rustls_pki_types::ServerName;

use super::cap::Cap;
use super::dial::Expected;
use super::place::Place;
use super::probe::Check;
use super::trust::{NoTrust, Trust, Trusts};
use super::{Target, Upstreams};
use crate::board::upstream::{Standings, Whose};
use crate::config::Environment;
use crate::model::{AppName, Upstream};

/// The upstreams in use, and where new ones are entered.
#[derive(Debug)]
pub struct Stock<'a> {
    standings: &'a Standings,
    targets: Vec<Arc<Target>>,
    trusts: Trusts,
}

impl<'a> Stock<'a> {
    /// With these upstreams in use.
    pub fn new(standings: &'a Standings, in_use: impl IntoIterator<Item = Arc<Target>>) -> Self {
        let targets: Vec<_> = in_use.into_iter().collect();
        let mut trusts = Trusts::default();
        for expected in targets.iter().filter_map(|target| target.expected.as_ref()) {
            trusts.know(&expected.trust);
        }
        Self { standings, targets, trusts }
    }

    /// Upstreams at these addresses, by the rules of an environment.
    ///
    /// # Errors
    /// When one is https and there is nothing that it could be judged by.
    pub fn upstreams(
        &mut self,
        app: &AppName,
        environment: &Environment,
        addresses: &[Upstream],
    ) -> Result<Upstreams, NoTrust> {
        let targets = addresses.iter().map(|address| self.target(app, environment, address));
        targets.collect::<Result<_, _>>().map(Upstreams::new)
    }

    fn target(
        &mut self,
        app: &AppName,
        environment: &Environment,
        address: &Upstream,
    ) -> Result<Arc<Target>, NoTrust> {
        let whose =
            Whose { app: app.clone(), environment: environment.name.clone(), address: address.clone() };
        let trust = match address.is_https() {
            true => Some(self.trusts.of(environment.upstream_ca.as_deref())?),
            false => None,
        };
        let check = environment.health_check.as_ref().map(|check| Check::new(check, environment, address));
        let unchanged = |target: &&Arc<Target>| {
            target.whose == whose
                && target.cap.as_ref().map_or(0, |cap| cap.most) == environment.connections
                && target.check == check
                && is_same(target.expected.as_ref(), trust.as_ref())
        };
        if let Some(target) = self.targets.iter().find(unchanged) {
            return Ok(target.clone());
        }
        let expected = trust.zip(server_name(address)).map(|(trust, name)| Expected { name, trust });
        let standing = self.standings.of(whose.clone());
        if check.is_none() {
            // Whoever found it down does not look any more.
            standing.down.store(false, Ordering::Relaxed);
        }
        Ok(Arc::new(Target {
            address: address.clone(),
            logged: serde_json::Value::from(address.to_string()).to_string().into(),
            name: address.to_string().into(),
            host_value: HeaderValue::from_str(address.authority()).ok(),
            standing,
            whose,
            place: Place::of(address),
            expected,
            cap: Cap::new(environment.connections),
            check,
        }))
    }
}

fn is_same(expected: Option<&Expected>, trust: Option<&Arc<Trust>>) -> bool {
    match (expected, trust) {
        (Some(expected), Some(trust)) => Arc::ptr_eq(&expected.trust, trust),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// The name that the certificate must be for. An https upstream has one, or it would not have been read as such.
fn server_name(address: &Upstream) -> Option<ServerName<'static>> {
    let (host, _) = address.host_and_port()?;
    ServerName::try_from(host.to_owned()).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;
    use crate::config::HealthCheck;

    #[test]
    fn what_is_unchanged_goes_on_as_it_is() {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = |params: &CertificateParams| {
            vec![params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()]
        };
        let standings = Standings::default();
        let (ca, other_ca) = (certificate(&params), certificate(&params));
        let app = crate::control::sample::config().apps[0].clone();
        let mut before = app.environments[0].clone();
        before.upstreams =
            ["http://a", "https://b", "https://c"].map(|url| Upstream::parse(url).unwrap()).into();
        before.upstream_ca = Some(ca);
        let old = Stock::new(&standings, []).upstreams(&app.name, &before, &before.upstreams).unwrap();
        let [a, b, c] = old.targets() else { panic!() };
        let trust =
            |target: &Target| target.expected.as_ref().map(|expected| expected.trust.clone()).unwrap();
        assert!(Arc::ptr_eq(&trust(b), &trust(c)));
        let reload = |environment: &Environment| {
            let mut stock = Stock::new(&standings, old.targets().to_vec());
            stock.upstreams(&app.name, environment, &environment.upstreams).unwrap().targets().to_vec()
        };
        let kept = |now: &[Arc<Target>]| {
            now.iter().map(|new| [a, b, c].iter().any(|old| Arc::ptr_eq(old, new))).collect::<Vec<_>>()
        };
        assert_eq!(kept(&reload(&before)), [true, true, true]);

        let mut after = before.clone();
        after.upstreams.insert(0, Upstream::parse("h2c://a").unwrap());
        assert_eq!(kept(&reload(&after)), [false, true, true, true]);
        after = Environment { upstream_ca: Some(other_ca), ..before.clone() };
        assert_eq!(kept(&reload(&after)), [true, false, false]);
        after = Environment { connections: 5, ..before.clone() };
        assert_eq!(kept(&reload(&after)), [false, false, false]);
        let second = Duration::from_secs(1);
        let check = HealthCheck {
            path: "/".parse().unwrap(),
            interval: second,
            timeout: second,
            unhealthy_after: 1,
            healthy_after: 1,
        };
        after = Environment { health_check: Some(check), ..before.clone() };
        a.standing.down.store(true, Ordering::Relaxed);
        let checked = reload(&after);
        assert_eq!(kept(&checked), [false, false, false]);
        // How it does is known all the same, until nobody looks any more.
        assert!(Arc::ptr_eq(&checked[0].standing, &a.standing) && a.standing.is_down());
        after = Environment { connections: 7, ..before };
        assert!(!reload(&after)[0].standing.is_down());
    }
}
