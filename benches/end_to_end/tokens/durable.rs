//! Changes that are on disk before they are answered: how many a second.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::super::child::Core;
use super::super::peer::start_gateway;
use super::super::site::Site;
use super::Times;
use super::admin::Admin;
use super::stored::configuration;

/// Callers at once.
pub(super) const CALLERS: usize = 16;
const SYNCS: usize = 500;

/// Changes of one kind.
pub(super) struct Changes {
    a_second: f64,
    times: Times,
}

impl Changes {
    fn of(times: Vec<Duration>, took: Duration) -> Self {
        Self { a_second: times.len() as f64 / took.as_secs_f64(), times: Times::of(times) }
    }

    pub(super) fn value(&self) -> Value {
        json!({ "a_second": self.a_second.round(), "callers": CALLERS, "answered": self.times.value() })
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} a second; answered within {}", self.a_second, self.times)
    }
}

/// How long the disk takes for the least that a change needs.
pub(super) fn fsync(site: &Site) -> Result<Times> {
    let mut file = File::create(site.scratch("fsync"))?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let began = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    Ok(Times::of(times))
}

/// Mints for some seconds, then revokes all of it.
pub(super) fn run(site: &Site, seconds: u64) -> Result<(Changes, Changes)> {
    let home = site.home("durable")?;
    site.copy_store(&home)?;
    let (_gateway, _) = start_gateway(&home, Core::Both, &configuration(site))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let began = Instant::now();
        let until = began + Duration::from_secs(seconds);
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let mut admin = Admin::connect(&home).await?;
            callers.spawn(async move {
                let (mut times, mut ids) = (Vec::new(), Vec::new());
                while Instant::now() < until {
                    let began = Instant::now();
                    ids.push(admin.mint().await?.0);
                    times.push(began.elapsed());
                }
                anyhow::Ok((times, ids))
            });
        }
        let (mut times, mut ids) = (Vec::new(), VecDeque::new());
        for minted in callers.join_all().await {
            let minted = minted?;
            times.extend(minted.0);
            ids.extend(minted.1);
        }
        let minted = Changes::of(times, began.elapsed());
        Ok((minted, revoke(&home, ids).await?))
    })
}

async fn revoke(home: &Path, ids: VecDeque<String>) -> Result<Changes> {
    let ids = Arc::new(Mutex::new(ids));
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (mut admin, ids) = (Admin::connect(home).await?, ids.clone());
        callers.spawn(async move {
            let mut times = Vec::new();
            let next = || ids.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            while let Some(id) = next() {
                let began = Instant::now();
                admin.revoke(&id).await?;
                times.push(began.elapsed());
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::new();
    for revoked in callers.join_all().await {
        times.extend(revoked?);
    }
    Ok(Changes::of(times, began.elapsed()))
}
