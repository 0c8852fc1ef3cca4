//! Links that sign a browser in once: `portcullis dashboard` asks for one and prints it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;

use super::random::{Hash, draw, hash};
use super::session::Holder;
use crate::admin::call::{Answer, Call, json};
use crate::admin::fields::Fields;
use crate::admin::wire;
use crate::config;
use crate::control::Fault;

/// How long a link waits to be followed.
const LIFE: Duration = Duration::from_secs(5 * 60);
/// Links that wait at once, in all and of one holder: past it the oldest goes.
const MOST: usize = 64;
const MOST_OF_ONE: usize = 4;

/// The links that were not followed yet, by the hash of what they hold.
#[derive(Debug, Default)]
pub(super) struct Links(Mutex<HashMap<Hash, (Holder, Instant)>>);

impl Links {
    fn make(&self, holder: Holder, now: Instant) -> Result<String, getrandom::Error> {
        let code = draw()?;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, (_, made)| now.saturating_duration_since(*made) < LIFE);
        let of_holder = all.values().filter(|(of, _)| *of == holder).count();
        if of_holder >= MOST_OF_ONE || all.len() >= MOST {
            let goes = |of: Holder| of_holder < MOST_OF_ONE || of == holder;
            let waiting = all.iter().filter(|(_, (of, _))| goes(*of));
            if let Some(oldest) = waiting.min_by_key(|(_, (_, made))| *made).map(|(code, _)| *code) {
                all.remove(&oldest);
            }
        }
        all.insert(hash(&code), (holder, now));
        Ok(code)
    }

    /// Nobody comes in by any of them any more.
    pub(super) fn drop_all(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// As whom a link signs in: once.
    pub(super) fn take(&self, code: &str, now: Instant) -> Option<Holder> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash(code));
        taken.filter(|(_, made)| now.saturating_duration_since(*made) < LIFE).map(|(holder, _)| holder)
    }
}

pub(in crate::admin) fn mint(call: Call) -> Answer {
    Box::pin(async move {
        Fields::of_body(&call.body, true)?.end(&[]).none()?;
        let holder = call.caller()?.key().map_or(Holder::Operator, Holder::Key);
        let code = call.state.dashboard.links.make(holder, Instant::now()).map_err(Fault::from)?;
        let control = &call.state.control;
        let body = wire::DashboardLink {
            url: format!("{}/sign-in/{code}", base(&control.config().admin)),
            expires_at: control.now() + LIFE,
        };
        json(StatusCode::CREATED, &body)
    })
}

/// Where a browser reaches the admin side.
fn base(admin: &config::Admin) -> String {
    let (scheme, usual) = if admin.tls.is_some() { ("https", 443) } else { ("http", 80) };
    let (ip, port) = (admin.listen.ip(), admin.listen.port());
    // A certificate is for a name, and "every address" is none.
    let named = admin.hosts.first().filter(|_| admin.tls.is_some() || ip.is_unspecified());
    let host = match named {
        Some(name) => format!("{name}:{port}"),
        None if ip.is_unspecified() => format!("localhost:{port}"),
        None => SocketAddr::new(ip, port).to_string(),
    };
    let host = host.strip_suffix(&format!(":{usual}")).unwrap_or(&host);
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::sample;
    use crate::model::KeyId;

    #[test]
    fn a_link_works_once_and_not_for_long() {
        let (links, now) = (Links::default(), Instant::now());
        let code = links.make(Holder::Operator, now).unwrap();
        assert_eq!(links.take("", now), None);
        assert_eq!(links.take(&code, now), Some(Holder::Operator));
        assert_eq!(links.take(&code, now), None);
        let late = links.make(Holder::Operator, now).unwrap();
        assert_eq!(links.take(&late, now + LIFE), None);
        for _ in 0..MOST {
            links.make(Holder::Operator, now).unwrap();
        }
        assert_eq!(links.0.lock().unwrap().len(), MOST_OF_ONE);
        for _ in 0..MOST * 2 {
            let key = KeyId::next(None, jiff::Timestamp::UNIX_EPOCH);
            links.make(Holder::Key(key), now).unwrap();
        }
        assert_eq!(links.0.lock().unwrap().len(), MOST);
    }

    #[test]
    fn links_lead_to_where_a_browser_gets() {
        let base = |listen: &str, hosts: &[&str]| {
            let mut admin = sample::config().admin;
            admin.listen = listen.parse().unwrap();
            admin.hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
            base(&admin)
        };
        assert_eq!(base("127.0.0.1:9180", &["admin.example"]), "http://127.0.0.1:9180");
        assert_eq!(base("127.0.0.1:80", &[]), "http://127.0.0.1");
        assert_eq!(base("[::1]:9180", &[]), "http://[::1]:9180");
        assert_eq!(base("0.0.0.0:9180", &["admin.example"]), "http://admin.example:9180");
        assert_eq!(base("0.0.0.0:9180", &[]), "http://localhost:9180");
    }
}
