//! What runs once, however many workers there are: putting new releases in force, and for each upstream its name
//! look-ups and health checks.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use super::Target;
use super::place::Place;
use crate::board::Notice;
use crate::gateway::Gateway;

/// How soon upstreams that a reload brought are tended to.
const LOOK: Duration = Duration::from_millis(100);

/// Puts releases in force as they are told of, and tends to the upstreams of whatever settings are in force, until
/// `stop` is true or its sender is gone.
pub async fn run(
    gateway: Arc<Gateway>,
    mut releases: mpsc::UnboundedReceiver<Notice>,
    mut stop: watch::Receiver<bool>,
) {
    let mut tended = Tended::default();
    let mut followed = None;
    loop {
        let settings = gateway.settings.load_full();
        if followed.as_ref().is_none_or(|followed| !Arc::ptr_eq(followed, &settings)) {
            tended.follow(&settings.routes.targets());
            followed = Some(settings);
        }
        let released = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            Some(done) = releases.recv() => Some(done),
            () = tokio::time::sleep(LOOK) => None,
        };
        if let Some(done) = released {
            let gateway = gateway.clone();
            let renewing = tokio::task::spawn_blocking(move || gateway.settings.renew(&gateway.board));
            // It fails only where the runtime is coming to its end.
            let _ = renewing.await;
            // It changes what the settings in force lead to, not the settings.
            followed = None;
            let _ = done.send(());
        }
    }
}

/// The targets that are being tended to, by their place in memory. What is running ends with this.
#[derive(Default)]
struct Tended(HashMap<usize, Tending>);

struct Tending {
    task: AbortHandle,
    /// Keeps that place from being given to another target.
    _target: Arc<Target>,
}

impl Tended {
    fn follow(&mut self, targets: &[Arc<Target>]) {
        let current: HashSet<usize> = targets.iter().map(place).collect();
        self.0.retain(|place, _| current.contains(place));
        for target in targets {
            self.0.entry(place(target)).or_insert_with(|| Tending {
                task: tokio::spawn(tend(target.clone())).abort_handle(),
                _target: target.clone(),
            });
        }
    }
}

fn place(target: &Arc<Target>) -> usize {
    Arc::as_ptr(target).addr()
}

impl Drop for Tending {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn tend(target: Arc<Target>) {
    let names = async {
        if let Place::Named(name) = &target.place {
            name.keep_fresh().await;
        }
    };
    let checks = async {
        if let Some(check) = &target.check {
            check.run(&target).await;
        }
    };
    tokio::join!(names, checks);
}
