//! Keeps an access token for every grant: fetched when the grant comes into force, renewed well ahead of its end, off the
//! request path. While the endpoint does not give one, the token that still lives is used.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::endpoint::{self, Issued, Refused};
use super::vault::{AccessToken, Client, Content, Vault};
use crate::model::SecretName;
use crate::outgoing::Trust;

/// How long before its end a token is renewed, at the most; one that lives shorter is after three quarters.
const AHEAD: Duration = Duration::from_secs(15 * 60);
/// The waits between attempts that fail.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Grants that are asked for at once.
const AT_ONCE: usize = 8;

/// One grant that is in force.
struct Task {
    client: Arc<Client>,
    due: Instant,
    failures: u32,
    asking: bool,
}

/// What one attempt came to.
struct Attempt {
    name: SecretName,
    client: Arc<Client>,
    /// In Unix milliseconds.
    began: i64,
    result: Result<Issued, Refused>,
}

/// Keeps tokens until `stop` is true or its sender is gone.
pub async fn run(vault: Vault, mut stop: watch::Receiver<bool>) {
    let mut changes = vault.changes();
    let mut tasks: HashMap<SecretName, Task> = HashMap::new();
    let mut attempts: JoinSet<Attempt> = JoinSet::new();
    let mut trust: Option<Trust> = None;
    loop {
        changes.mark_unchanged();
        survey(&vault, &mut tasks);
        let now = Instant::now();
        for (name, task) in tasks.iter_mut().filter(|(_, task)| !task.asking && task.due <= now) {
            if attempts.len() >= AT_ONCE {
                break;
            }
            // Read when it is first needed: most gateways have no grants.
            let Some(trust) = trusted(&mut trust) else { break };
            task.asking = true;
            attempts.spawn(attempt(name.clone(), task.client.clone(), trust));
        }
        let waiting = tasks.values().filter(|task| !task.asking).map(|task| task.due).min();
        let full = attempts.len() >= AT_ONCE;
        let due = async {
            match waiting.filter(|_| !full) {
                Some(due) => tokio::time::sleep_until(due.max(now + Duration::from_millis(10))).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            changed = changes.changed() => if changed.is_err() { return },
            Some(done) = attempts.join_next() => if let Ok(attempt) = done {
                conclude(&vault, &mut tasks, attempt);
            },
            () = due => {}
        }
    }
}

/// Takes note of grants that came, changed or went.
fn survey(vault: &Vault, tasks: &mut HashMap<SecretName, Task>) {
    let all = vault.all();
    let now = Timestamp::now().as_millisecond();
    let in_force = |name: &SecretName| {
        let held = all.get(name).filter(|held| !held.revoked && held.expires > now)?;
        match &held.content {
            Content::Grant(granted) => Some(granted.client.clone()),
            Content::Value(_) | Content::Unreadable => None,
        }
    };
    tasks.retain(|name, task| in_force(name).is_some_and(|client| Arc::ptr_eq(&client, &task.client)));
    for name in all.keys().filter(|name| !tasks.contains_key(*name)).cloned().collect::<Vec<_>>() {
        if let Some(client) = in_force(&name) {
            tasks.insert(name, Task { client, due: Instant::now(), failures: 0, asking: false });
        }
    }
}

fn trusted(trust: &mut Option<Trust>) -> Option<Trust> {
    if trust.is_none() {
        match Trust::system() {
            Ok(system) => *trust = Some(system),
            Err(e) => tracing::error!("access tokens cannot be asked for: {e}"),
        }
    }
    trust.clone()
}

async fn attempt(name: SecretName, client: Arc<Client>, trust: Trust) -> Attempt {
    // A token's time counts from before it was asked for: it may have been long on its way.
    let began = Timestamp::now().as_millisecond();
    let result = endpoint::ask(&client, &trust).await;
    Attempt { name, client, began, result }
}

fn conclude(vault: &Vault, tasks: &mut HashMap<SecretName, Task>, attempt: Attempt) {
    let Attempt { name, client, began, result } = attempt;
    // Another grant may have taken its place meanwhile.
    let Some(task) = tasks.get_mut(&name).filter(|task| Arc::ptr_eq(&task.client, &client)) else { return };
    task.asking = false;
    let now = Instant::now();
    let result = match result {
        Ok(Issued { value, lifetime }) => {
            if task.failures > 0 {
                tracing::info!(secret = %name, "the token endpoint gives access tokens again");
            }
            task.failures = 0;
            task.due = now + lifetime - AHEAD.min(lifetime / 4);
            let lifetime = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
            Ok(AccessToken { value, expires: began.saturating_add(lifetime) })
        }
        Err(refused) => {
            if task.failures == 0 {
                tracing::warn!(secret = %name, "no access token: {refused}");
            }
            task.due = now + wait(task.failures);
            task.failures = task.failures.saturating_add(1);
            Err(refused.to_string())
        }
    };
    vault.granted(&name, &client, result);
}

/// Twice as long each time, and not at the same moment for all.
fn wait(failures: u32) -> Duration {
    let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_WAIT);
    wait.mul_f64(0.75 + fastrand::f64() / 2.0)
}
