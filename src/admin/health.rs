//! Whether the process lives, and whether it can do its work.

use std::time::{Duration, Instant};

use http::StatusCode;

use super::call::{Answer, Call, json};
use super::problem::Problem;
use super::wire;

/// How old what the gateway reads may be. The feed is looked at every second, also where nothing has changed.
const STALE: Duration = Duration::from_secs(5);

pub(super) fn live(_call: Call) -> Answer {
    Box::pin(async { json(StatusCode::OK, &wire::Health { status: "ok".to_owned() }) })
}

pub(super) fn ready(call: Call) -> Answer {
    Box::pin(async move {
        if call.state.board.draining() {
            return Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "draining",
                "the gateway is finishing what it has and takes nothing new",
            ));
        }
        let following = &call.state.board.following;
        let age = following.age(Instant::now());
        if following.failing() || age > STALE {
            return Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "index_stale",
                format!(
                    "the store's change feed was last read to its end {} s ago: later changes may not be in force",
                    age.as_secs()
                ),
            ));
        }
        if !call.state.control.store_is_healthy() {
            return Err(Problem::unavailable(
                "the store could not be read or written when it was last tried: traffic goes on from memory",
            ));
        }
        let lacking = call.state.control.needs().unmet().into_iter().map(|needed| wire::LackingSecret {
            app: needed.app.to_string(),
            environment: needed.environment.to_string(),
            secret: needed.secret.to_string(),
            reason: needed.reason.to_owned(),
        });
        let body = wire::Readiness { status: "ready".to_owned(), secrets_unavailable: lacking.collect() };
        json(StatusCode::OK, &body)
    })
}
