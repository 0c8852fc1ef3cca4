//! Links that sign a browser in without showing a token: looked at with GET, which programs that preview links do, and
//! used with POST, which they do not.

use http::{Response, StatusCode};

use super::credential::Presented;
use super::own::Visit;
use super::page;
use super::record::Record;
use super::reject::Reject;
use super::response::{self, Body};
use super::signin::{Entrance, ours};
use crate::board::Shared;
use crate::credential::{Digest, Kind};
use crate::index::NEVER;
use crate::model::{Landing, Refusal};

/// What stands before a link's code.
pub(super) const PATH: &str = "/.portcullis/share/";

/// What an open link is for.
struct Invitation {
    presented: Presented,
    landing: Landing,
}

/// The page that asks whether to go on.
pub(super) async fn show(entrance: Entrance<'_>, code: &str, mut record: Box<Record>) -> Response<Body> {
    let found = match find(&entrance, code, false).await {
        Ok(invitation) => entrance.judge(invitation.presented, entrance.worker.now().wall),
        Err(reject) => Err(reject),
    };
    match found {
        Ok((_, token)) => {
            record.token = Some(token);
            let html = page::invitation(entrance.route());
            response::page(entrance.lane, StatusCode::OK, html, record)
        }
        Err(reject) => entrance.refuse(reject, record),
    }
}

/// Signs in, and uses the link with that.
pub(super) async fn redeem(
    entrance: Entrance<'_>,
    code: &str,
    visit: Visit,
    record: Box<Record>,
) -> Response<Body> {
    let Visit { request, body, client: _ } = visit;
    drop(body);
    let found = match ours(&request) {
        Ok(()) => find(&entrance, code, false).await,
        Err(reject) => Err(reject),
    };
    // Nobody is to lose a use of it to a refusal.
    let judged = found.and_then(|found| entrance.judge(found.presented, entrance.worker.now().wall));
    let spent = match judged {
        Ok(_) => find(&entrance, code, true).await,
        Err(reject) => Err(reject),
    };
    match spent {
        Ok(Invitation { presented, landing }) => entrance.sign_in(&request, presented, landing, record),
        Err(reject) => entrance.refuse(reject, record),
    }
}

async fn find(entrance: &Entrance<'_>, code: &str, spend: bool) -> Result<Invitation, Reject> {
    const UNKNOWN: Reject =
        Reject::new(Refusal::TokenUnknown, "this link opens nothing here: is it complete?");
    let code = Digest::of(Kind::Share, code.as_bytes()).ok_or(UNKNOWN)?;
    let questions = &entrance.worker.gateway.board.questions;
    match questions.share(*code.as_bytes(), spend, entrance.client().address).await {
        Shared::Open { token, landing } => Ok(Invitation {
            presented: Presented::Session { digest: Digest::from_bytes(token), ends: NEVER },
            landing,
        }),
        Shared::UsedUp => {
            let detail = "this link has been used as often as it may be: ask for another";
            Err(Reject::new(Refusal::TokenExpired, detail))
        }
        Shared::Unknown => Err(UNKNOWN),
        Shared::Unavailable => {
            let detail = "the link cannot be looked up at present";
            Err(Reject { retry_after: Some(1), ..Reject::new(Refusal::UpstreamUnavailable, detail) })
        }
    }
}
