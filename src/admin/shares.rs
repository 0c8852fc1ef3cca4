//! `/v1/shares`.

use http::StatusCode;

use super::call::{Answer, Call, json};
use super::fields::Fields;
use super::tokens::{ORDER, order, shown};
use super::wire;
use crate::control::{Link, MintShare, MintToken};

pub(super) fn mint(call: Call) -> Answer {
    Box::pin(async move {
        let mut fields = Fields::of_body(&call.body, false)?;
        let token = order(&call, &mut fields);
        let (uses, path, origin) = (fields.count("uses"), fields.text("path"), fields.text("origin"));
        let known = [&ORDER[..], &["uses", "path", "origin"]].concat();
        let token = MintToken { faults: fields.end(&known), ..token };
        let control = &call.state.control;
        let minted = control.mint_share(call.caller()?, MintShare { token, uses, path, origin }).await?;
        let body = wire::MintedShare {
            token: shown(&minted.token, control.now()),
            uses: minted.uses,
            url: minted.link.as_ref().map(Link::url),
            path: minted.link.as_ref().map(Link::path),
        };
        let status = if minted.link.is_some() { StatusCode::CREATED } else { StatusCode::OK };
        json(status, &body)
    })
}
