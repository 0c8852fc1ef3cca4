//! `/v1/denials`: why the gateway refused, told to those who may see the token.

use std::collections::HashSet;

use http::StatusCode;
use jiff::Timestamp;

use super::call::{Answer, Call, json};
use super::fields::Fields;
use super::problem::Problem;
use super::wire;
use crate::board::Denial;
use crate::control::{Caller, Fault, page_bounds};
use crate::model::{Scope, TokenId};

pub(super) fn list(call: Call) -> Answer {
    Box::pin(async move {
        let mut fields = Fields::of_query(&call.uri)?;
        let (token, app) = (fields.text("token"), fields.text("app"));
        let (limit, cursor) = (fields.text("limit"), fields.text("cursor"));
        let mut faults = fields.end(&["token", "app", "limit", "cursor"]);
        let id = token.as_deref().and_then(TokenId::parse);
        if token.is_some() && id.is_none() {
            faults.add("token", "must be the id of a token: `tok_` and 26 more characters");
        }
        let (length, before) = page_bounds(limit.as_deref(), cursor.as_deref(), &mut faults);
        faults.none()?;
        let wanted = |denial: &Denial| {
            (id.is_none() || denial.token == id)
                && app.as_deref().is_none_or(|app| denial.app.as_ref().is_some_and(|of| of.as_str() == app))
        };
        let mut found = call.state.board.denials(wanted);
        found.retain(|(number, _)| before.is_none_or(|before| *number < before));
        let mut found = visible(&call, found).await?;
        let more = found.len() > length;
        found.truncate(length);
        let next_cursor = found.last().filter(|_| more).map(|(number, _)| number.to_string());
        let items = found.iter().map(|(_, denial)| shown(denial)).collect::<Vec<_>>();
        json(StatusCode::OK, &wire::Page { items, next_cursor })
    })
}

pub(super) fn show(call: Call) -> Answer {
    Box::pin(async move {
        let id = call.name(0);
        let found = call.state.board.denials(|denial| &*denial.request_id == id);
        let visible = visible(&call, found).await?;
        let (_, denial) = visible.first().ok_or(Fault::NotFound("recent refusal"))?;
        json(StatusCode::OK, &shown(denial))
    })
}

/// Leaves what the caller may see: of tokens, what concerns those that they may see; of strangers, only who sees all.
async fn visible(call: &Call, found: Vec<(u64, Denial)>) -> Result<Vec<(u64, Denial)>, Problem> {
    let caller = call.caller()?;
    let tokens: HashSet<_> = found.iter().filter_map(|(_, denial)| denial.token).collect();
    let tokens = call.state.control.visible_tokens(caller, tokens.into_iter().collect()).await?;
    let tokens: HashSet<_> = tokens.into_iter().collect();
    let sees_all = caller.scopes().allow(Scope::Admin);
    Ok(found
        .into_iter()
        .filter(|(_, denial)| match denial.token {
            Some(token) => tokens.contains(&token),
            None => sees_all && in_reach(caller, denial),
        })
        .collect())
}

fn in_reach(caller: &Caller, denial: &Denial) -> bool {
    caller.app().is_none_or(|bound| denial.app.as_ref() == Some(bound))
}

fn shown(denial: &Denial) -> wire::Denial {
    wire::Denial {
        request_id: denial.request_id.to_string(),
        at: Timestamp::from_millisecond(denial.at).unwrap_or_default(),
        code: denial.code.as_str().to_owned(),
        status: denial.code.status().as_u16(),
        app: denial.app.as_ref().map(ToString::to_string),
        environment: denial.environment.as_ref().map(ToString::to_string),
        token: denial.token.map(|token| token.to_string()),
        method: denial.method.to_string(),
        path: denial.path.to_string(),
        address: denial.client.to_string(),
    }
}
