//! Answers what the gateway asks: joins the board to the commands.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::board::{LeakReport, Question, Reported, Shared};
use crate::control::{Control, Spent};
use crate::credential::Digest;
use crate::leaks::github::{Desk, SignedReport, Untaken};

/// Questions that are answered at once.
const AT_ONCE: usize = 8;

/// Answers until `stop` is true or its sender is gone.
pub(super) async fn answer(
    control: Control,
    desk: Arc<Desk>,
    mut questions: mpsc::Receiver<Question>,
    mut stop: watch::Receiver<bool>,
) {
    let mut under_way = JoinSet::new();
    loop {
        let question = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            Some(_) = under_way.join_next() => continue,
            question = questions.recv(), if under_way.len() < AT_ONCE => question,
        };
        let Some(question) = question else { return };
        under_way.spawn(one(control.clone(), desk.clone(), question));
    }
}

async fn one(control: Control, desk: Arc<Desk>, question: Question) {
    match question {
        Question::Share { code, spend, client, answer } => {
            let digest = Digest::from_bytes(code);
            let found = if spend {
                control.spend_share(digest, client).await
            } else {
                control.find_share(digest).await
            };
            let shared = match found {
                Ok(Spent::Open { token, landing }) => Shared::Open { token: *token.as_bytes(), landing },
                Ok(Spent::UsedUp) => Shared::UsedUp,
                Ok(Spent::Unknown) => Shared::Unknown,
                Err(_) => Shared::Unavailable,
            };
            // Whoever asked may have left.
            let _ = answer.send(shared);
        }
        Question::Leaks { report, answer, place: _place } => {
            let LeakReport { key, signature, body } = &*report;
            let judged = desk.judge(SignedReport { key, signature, body }).await;
            let reported = match judged {
                Ok(judged) => {
                    let tell = |verdicts| answer.send(Reported::Taken(verdicts)).is_ok();
                    return desk.answer(judged, tell).await;
                }
                Err(Untaken::Off) => Reported::Unwanted,
                Err(Untaken::UnknownKey) => Reported::Refused("the report is signed with an unknown key"),
                Err(Untaken::WrongSignature) => Reported::Refused("the report's signature does not fit it"),
                Err(Untaken::Malformed) => Reported::Refused(
                    "the report is not a JSON array of at most 20,000 `{\"token\", \"type\", …}`",
                ),
                Err(Untaken::Replayed) => Reported::Refused("the very same report was taken before"),
                Err(Untaken::Unavailable) => Reported::Unavailable,
            };
            let _ = answer.send(reported);
        }
    }
}
