//! Keeps an access token for every grant: fetched when the grant comes into force, renewed well ahead of its end, off the
//! request path. While the endpoint does not give one, the token that still lives is used.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::{self, JoinSet};
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
/// How often the wall clock is looked at: a machine that slept, or whose clock was set, finds a token ended long before the
/// time it was to be renewed after.
const LOOK: Duration = Duration::from_secs(2);
/// Grants that are asked for at once.
const AT_ONCE: usize = 8;

/// One grant that is in force.
struct Task {
    client: Arc<Client>,
    due: Instant,
    /// When its token is to be renewed by the wall clock at the latest, in Unix milliseconds.
    renew: i64,
    failures: u32,
    asking: Option<task::Id>,
}

impl Task {
    fn new(client: Arc<Client>) -> Self {
        Self { client, due: Instant::now(), renew: i64::MAX, failures: 0, asking: None }
    }

    /// Whether it is to be asked for; what failed waits as long as that takes.
    fn is_due(&self, now: Instant, wall: i64) -> bool {
        let is_late = self.failures == 0 && self.renew <= wall;
        self.asking.is_none() && (self.due <= now || is_late)
    }

    fn put_off(&mut self) {
        self.due = Instant::now() + wait(self.failures);
        self.failures = self.failures.saturating_add(1);
    }
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
        let (now, wall) = (Instant::now(), Timestamp::now().as_millisecond());
        for (name, task) in tasks.iter_mut().filter(|(_, task)| task.is_due(now, wall)) {
            if attempts.len() >= AT_ONCE {
                break;
            }
            // Read when it is first needed: most gateways have no grants.
            let Some(trust) = trusted(&mut trust) else { break };
            let asking = attempts.spawn(attempt(name.clone(), task.client.clone(), trust));
            task.asking = Some(asking.id());
        }
        let waiting = tasks.values().filter(|task| task.asking.is_none()).map(|task| task.due).min();
        let full = attempts.len() >= AT_ONCE;
        let due = async {
            match waiting.filter(|_| !full) {
                Some(due) => {
                    let next = due.clamp(now + Duration::from_millis(10), now + LOOK);
                    tokio::time::sleep_until(next).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            changed = changes.changed() => if changed.is_err() { return },
            Some(done) = attempts.join_next() => match done {
                Ok(attempt) => conclude(&vault, &mut tasks, attempt),
                Err(broken) => abandon(&mut tasks, broken.id()),
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
            tasks.insert(name, Task::new(client));
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
    task.asking = None;
    let now = Instant::now();
    let result = match result {
        Ok(Issued { value, lifetime }) => {
            if task.failures > 0 {
                tracing::info!(secret = %name, "the token endpoint gives access tokens again");
            }
            task.failures = 0;
            let ahead = AHEAD.min(lifetime / 4);
            task.due = now + lifetime - ahead;
            let after =
                |time: Duration| began.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
            task.renew = after(lifetime - ahead);
            Ok(AccessToken { value, expires: after(lifetime) })
        }
        Err(refused) => {
            if task.failures == 0 {
                tracing::warn!(secret = %name, "no access token: {refused}");
            }
            task.put_off();
            Err(refused.to_string())
        }
    };
    vault.granted(&name, &client, result);
}

/// An attempt that broke off failed too.
fn abandon(tasks: &mut HashMap<SecretName, Task>, which: task::Id) {
    if let Some((name, task)) = tasks.iter_mut().find(|(_, task)| task.asking == Some(which)) {
        tracing::error!(secret = %name, "asking for an access token broke off");
        task.asking = None;
        task.put_off();
    }
}

/// Twice as long each time, and not at the same moment for all.
fn wait(failures: u32) -> Duration {
    let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_WAIT);
    wait.mul_f64(0.75 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ClientAuth, Grant, TokenUrl};
    use crate::secrets::Value;

    fn client() -> Arc<Client> {
        let grant = Grant {
            token_url: TokenUrl::parse("http://127.0.0.1:1/token").unwrap(),
            client_id: "ann".to_owned(),
            scopes: Vec::new(),
            auth: ClientAuth::Basic,
        };
        Arc::new(Client { grant, secret: Value::copied("hunter2") })
    }

    fn asked(client: &Arc<Client>, tasks: &mut HashMap<SecretName, Task>, result: Result<Issued, Refused>) {
        let name = SecretName::parse("A").unwrap();
        conclude(
            &Vault::default(),
            tasks,
            Attempt { name, client: client.clone(), began: 1_000_000, result },
        );
    }

    #[tokio::test]
    async fn a_token_is_renewed_ahead_of_its_end_by_whichever_clock_is_first_there() {
        let client = client();
        let mut tasks = HashMap::from([(SecretName::parse("A").unwrap(), Task::new(client.clone()))]);
        let lifetime = Duration::from_secs(3600);
        asked(&client, &mut tasks, Ok(Issued { value: Value::copied("t"), lifetime }));
        let task = tasks.values().next().unwrap();
        let (now, ahead) = (Instant::now(), lifetime - AHEAD);
        let renew = 1_000_000 + 2_700_000;
        assert!(!task.is_due(now, renew - 1) && task.is_due(now, renew));
        assert!(task.is_due(now + ahead, 0));
        // It is not asked for all the time while nobody gives one.
        asked(&client, &mut tasks, Err(Refused::Unfit));
        let task = tasks.values().next().unwrap();
        let now = Instant::now();
        assert!(!task.is_due(now, renew) && task.is_due(now + LONGEST_WAIT, 0));
    }

    #[tokio::test]
    async fn an_attempt_that_breaks_off_is_made_again() {
        let mut attempts = JoinSet::new();
        let broken = attempts.spawn(std::future::pending::<()>());
        let asking = Some(broken.id());
        let mut tasks =
            HashMap::from([(SecretName::parse("A").unwrap(), Task { asking, ..Task::new(client()) })]);
        broken.abort();
        abandon(&mut tasks, attempts.join_next().await.unwrap().unwrap_err().id());
        let task = tasks.values().next().unwrap();
        assert!(task.failures == 1 && task.is_due(Instant::now() + LONGEST_WAIT, 0));
    }
}
