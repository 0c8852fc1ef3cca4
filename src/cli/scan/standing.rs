//! What the admin side knows of what was found. It is asked by digest: only what is to end goes there by its value.

use std::collections::HashMap;

use super::fit;
use super::place;
use crate::admin::wire::{Holding, LookUp, Page, Reaction, ReportLeaks, Revoke, RevokedToken};
use crate::cli::client::{Client, ClientError};
use crate::cli::failure::Failure;
use crate::cli::reach::Reach;
use crate::credential::Kind;
use crate::leaks::scan::Leak;
use crate::model::Status;

/// The most that the admin side is asked about at once.
const TOGETHER: usize = 500;
/// Who found it, as the report of it says.
const SOURCE: &str = "portcullis scan";
/// The longest place that a report takes.
const PLACE: usize = 1000;
/// And how many of them.
const PLACES: usize = 100;

/// A credential that was found, and what is known of it.
pub(super) struct Finding {
    pub(super) leak: Leak,
    pub(super) standing: Standing,
    pub(super) ending: Ending,
}

pub(super) enum Standing {
    /// Nobody could be asked.
    Unasked,
    /// Never minted there, or deleted.
    Unknown,
    Known(Box<Holding>),
}

/// Whether it was ended on this occasion.
pub(super) enum Ending {
    None,
    Done,
    Failed(String),
}

impl Finding {
    pub(super) const fn new(leak: Leak) -> Self {
        Self { leak, standing: Standing::Unasked, ending: Ending::None }
    }
}

impl Standing {
    /// Whether it was alive when it was found, as far as is known.
    pub(super) fn lives(&self) -> bool {
        matches!(self, Self::Known(holding) if holding.status == Status::Active.as_str())
    }

    pub(super) fn may_live(&self) -> bool {
        self.lives() || matches!(self, Self::Unasked)
    }
}

pub(super) fn ask(client: &Client, findings: &mut [Finding]) -> Result<(), ClientError> {
    for findings in findings.chunks_mut(TOGETHER) {
        let digests = findings.iter().map(|finding| finding.leak.digest.to_text()).collect();
        let page: Page<Holding> = client.post("/v1/lookup", &LookUp { digests })?.json()?;
        let mut known: HashMap<String, Holding> =
            page.items.into_iter().map(|holding| (holding.digest.clone(), holding)).collect();
        for finding in findings {
            finding.standing = match known.remove(&finding.leak.digest.to_text()) {
                Some(holding) => Standing::Known(Box::new(holding)),
                None => Standing::Unknown,
            };
        }
    }
    Ok(())
}

/// Has what lives ended as leaked, whosever it is: the key that this is done with, if it is among them, last. Whether the
/// last key went with it that might do everything.
pub(super) fn revoke(client: &Client, findings: &mut [Finding], reach: &Reach) -> bool {
    let mut last_admin = false;
    let own = reach.key_digest();
    let mut living: Vec<_> = findings.iter_mut().filter(|finding| finding.standing.lives()).collect();
    living.sort_by_key(|finding| (finding.leak.kind == Kind::Key, Some(finding.leak.digest) == own));
    for finding in living {
        let Standing::Known(holding) = &mut finding.standing else { continue };
        finding.ending = match end(client, holding, &finding.leak) {
            Ok(last) => {
                last_admin |= last;
                Ending::Done
            }
            Err(failure) => {
                let message = failure.message().unwrap_or_default();
                Ending::Failed(fit(message.trim_start_matches("error: ")))
            }
        };
    }
    last_admin
}

fn end(client: &Client, holding: &mut Holding, leak: &Leak) -> Result<bool, Failure> {
    let text = |place| place::text(place, true).chars().take(PLACE).collect();
    let places = Some(leak.places.iter().take(PLACES).map(text).collect());
    let tokens = vec![leak.value.reveal().to_owned()];
    let report = ReportLeaks { tokens, source: SOURCE.to_owned(), url: None, places };
    let page: Page<Reaction> = client.post_once("/v1/leaks", &report)?.json()?;
    let reaction = page.items.into_iter().next();
    let Some(Reaction { token, key, status, last_admin, .. }) =
        reaction.filter(|reaction| reaction.kind.is_some())
    else {
        return Err(Failure::Failed("it is not known any more".to_owned()));
    };
    holding.token = token.or(holding.token.take());
    holding.key = key.or(holding.key.take());
    if status.as_deref() != Some(Status::Active.as_str()) {
        return Ok(last_admin);
    }
    // By the configuration it lives on for a while: what was asked for here is that it ends.
    let Some(token) = &mut holding.token else {
        return Err(Failure::Failed("it was reported, and lives on until its grace ends".to_owned()));
    };
    let reason = Some(format!("found by {SOURCE}"));
    let answer = client.post(&format!("/v1/tokens/{}/revoke", token.id), &Revoke { reason })?;
    *token = answer.json::<RevokedToken>()?.token;
    Ok(false)
}
