//! Whether the process lives, and whether it can do its work.

use http::StatusCode;

use super::call::{Answer, Call, json};
use super::problem::Problem;
use super::wire;

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
        if !call.state.control.store_is_healthy() {
            return Err(Problem::unavailable(
                "the store could not be read or written when it was last tried: traffic goes on from memory",
            ));
        }
        json(StatusCode::OK, &wire::Health { status: "ready".to_owned() })
    })
}
