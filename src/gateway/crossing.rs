//! A request on its way to the app: which of the client's fields go along, and what is set beside them.
//!
//! Order matters: first everything goes that may not cross, whoever named it; then our own fields are set. A client
//! can thus neither add to them nor have them removed. Nothing of the request is used up by being sent, so that it can
//! be sent again. References: RFC 9110, sections 7.6.1 and 7.6.2.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use http::header::{self, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Uri};

use super::authorize::Permit;
use super::client::{Client, FORWARDED_FOR, FORWARDED_PROTO};
use super::connection::Connection;
use super::credential::{Carrier, Ways};
use super::head::BodyLength;
use super::headers::{self, REQUEST_ID};
use super::inject::Injected;
use super::query;
use super::record::Record;
use super::reject::Reject;
use super::request::Request;
use super::session;
use super::trace::{self, Hop};
use super::upgrade;
use super::upstream::Target;
use crate::config::HostHeader;
use crate::model::ID_LENGTH;

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const TOKEN_ID: HeaderName = HeaderName::from_static("x-portcullis-token-id");
const TOKEN_LABEL: HeaderName = HeaderName::from_static("x-portcullis-token-label");
const APP: HeaderName = HeaderName::from_static("x-portcullis-app");
const ENVIRONMENT: HeaderName = HeaderName::from_static("x-portcullis-environment");

/// A permitted request as the app is to receive it. Only a permit makes one.
pub(crate) struct Crossing {
    permit: Permit,
    pub method: Method,
    /// Without what carried the token.
    pub target: PathAndQuery,
    pub body: BodyLength,
    /// The client's own, but for those that cannot be told by their names alone.
    client_fields: HeaderMap,
    token_header: HeaderName,
    client: Client,
    host: Option<HeaderValue>,
    wants_trailers: bool,
    websocket: bool,
    /// What the app is to prove with that it has read the request, in place of the client's own.
    key: Option<HeaderValue>,
    forwarded_for: Option<HeaderValue>,
    forwarded: [(HeaderName, Option<HeaderValue>); 3],
    request_id: HeaderValue,
    hop: Hop,
    /// What the configuration sets.
    injected: Option<Arc<Injected>>,
}

/// Where fields go on their way to the app.
pub(crate) trait Fields {
    fn copy(&mut self, name: &HeaderName, value: &HeaderValue);
    fn set(&mut self, name: &HeaderName, value: &[u8]);
}

impl Crossing {
    pub(super) fn new(
        request: Request,
        permit: Permit,
        ways: &Ways,
        client: Client,
        connection: &Connection,
        record: &Record,
    ) -> Self {
        let websocket = upgrade::is_websocket(&request);
        let Request { method, uri, headers: mut fields, body, tunnel, .. } = request;
        session::strip(&mut fields);
        let wants_trailers = fields.get_all(header::TE).iter().any(|te| headers::lists(te, "trailers"));
        let forwarded_for = match client.trusted {
            false => connection.client_value.clone(),
            true => chain(&fields, connection.client.ip().to_canonical()),
        };
        let authority = || HeaderValue::from_str(uri.authority()?.as_str()).ok();
        let host = fields.get(header::HOST).cloned().or_else(authority);
        headers::strip_named(&mut fields);
        headers::clean_urls(&mut fields, ways, client.trusted);
        let forwarded = [
            (FORWARDED_PROTO, Some(connection.scheme_value.clone())),
            (FORWARDED_PORT, Some(connection.port_value.clone())),
            (FORWARDED_HOST, host.clone()),
        ]
        // What a trusted peer says stands.
        .map(|(name, ours)| {
            let stands = client.trusted && fields.contains_key(&name);
            (name, ours.filter(|_| !stands))
        });
        Self {
            target: forwarded_target(&uri, &permit, ways),
            permit,
            method,
            body,
            hop: trace::hop(&fields),
            client_fields: fields,
            token_header: ways.header.clone(),
            client,
            host,
            wants_trailers,
            websocket,
            key: tunnel.then(upgrade::key),
            forwarded_for,
            forwarded,
            request_id: record.request_id.clone(),
            injected: record.injected.clone(),
        }
    }

    pub(super) fn permit(&self) -> &Permit {
        &self.permit
    }

    /// Whether it asks for a WebSocket, which is the one upgrade that passes.
    pub(super) fn is_websocket(&self) -> bool {
        self.websocket
    }

    /// What the app is to prove with that it has read a WebSocket's request.
    pub(super) fn websocket_key(&self) -> Option<&HeaderValue> {
        self.key.as_ref().or_else(|| self.client_fields.get(header::SEC_WEBSOCKET_KEY))
    }

    /// The host that the app at `target` is asked for.
    pub(crate) fn host<'a>(&'a self, target: &'a Target) -> Option<&'a HeaderValue> {
        match self.permit.route().host_header {
            HostHeader::Upstream => target.host_value.as_ref().or(self.host.as_ref()),
            HostHeader::Preserve => self.host.as_ref(),
        }
    }

    /// Whether it holds what the configuration keeps secret.
    pub(crate) fn is_secret(&self) -> bool {
        self.injected.is_some()
    }

    /// Has it go with the secrets of now, where those that it was to go with are no longer: it may have waited long.
    ///
    /// # Errors
    /// When a secret that it needs cannot be used any more.
    pub(super) fn renew(&mut self, record: &mut Record) -> Result<(), Reject> {
        let Some(injected) = &self.injected else { return Ok(()) };
        let worker = record.worker();
        let (vault, now) = (&worker.gateway.vault, worker.now().wall);
        if !injected.holds(vault, now) {
            self.injected = self.permit.injected(vault, now)?;
            record.injected.clone_from(&self.injected);
        }
        Ok(())
    }

    /// The trailers that it announces.
    pub(crate) fn announced(&self) -> Vec<HeaderName> {
        let values = self.client_fields.get_all(header::TRAILER).iter();
        let names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect()
    }

    /// All fields but those that belong to one connection or protocol, and `Host`.
    pub(crate) fn fields(&self, out: &mut impl Fields) {
        for (name, value) in self.client_fields.iter().filter(|(name, _)| self.goes_along(name)) {
            out.copy(name, value);
        }
        if let BodyLength::Known(length) = self.body {
            out.set(&header::CONTENT_LENGTH, itoa::Buffer::new().format(length).as_bytes());
        }
        if self.wants_trailers {
            out.set(&header::TE, b"trailers");
        }
        if let Some(chain) = &self.forwarded_for {
            out.copy(&FORWARDED_FOR, chain);
        }
        for (name, value) in &self.forwarded {
            if let Some(value) = value {
                out.copy(name, value);
            }
        }
        out.copy(&REQUEST_ID, &self.request_id);
        if !self.is_injected(&trace::PARENT) {
            out.set(&trace::PARENT, &self.hop.parent);
        }
        for (name, value) in self.injected.iter().flat_map(|injected| &injected.fields) {
            out.copy(name, value);
        }

        let Some(identity) = self.permit.holder() else { return };
        out.set(&TOKEN_ID, identity.id.text(&mut [0; ID_LENGTH]).as_bytes());
        // It is encoded; were it not, no other field could come of it.
        let label = identity.label.as_bytes();
        if !label.is_empty() && label.iter().all(u8::is_ascii_graphic) {
            out.set(&TOKEN_LABEL, label);
        }
        out.copy(&APP, &self.permit.route().app_value);
        out.copy(&ENVIRONMENT, &self.permit.route().environment_value);
    }

    /// The fields of an HTTP/1 connection; `chunked`: the body is sent so.
    pub(crate) fn connection_fields(&self, chunked: bool, out: &mut impl Fields) {
        if chunked {
            out.set(&header::TRANSFER_ENCODING, b"chunked");
        }
        if self.websocket {
            out.set(&header::CONNECTION, b"upgrade");
            out.set(&header::UPGRADE, b"websocket");
        } else if self.wants_trailers {
            out.set(&header::CONNECTION, b"te");
        }
        if let Some(key) = &self.key {
            out.copy(&header::SEC_WEBSOCKET_KEY, key);
            if !self.client_fields.contains_key(header::SEC_WEBSOCKET_VERSION) {
                out.set(&header::SEC_WEBSOCKET_VERSION, b"13");
            }
        }
    }

    /// Whether a field of the client's may cross and is not one of ours.
    fn goes_along(&self, name: &HeaderName) -> bool {
        let is_ours = *name == header::HOST
            || *name == header::CONTENT_LENGTH
            || *name == FORWARDED_FOR
            || *name == REQUEST_ID
            || *name == trace::PARENT
            || (*name == header::SEC_WEBSOCKET_KEY && self.key.is_some());
        // `Expect` is ours to meet.
        let ends_here = *name == header::EXPECT
            || (*name == header::AUTHORIZATION && self.permit.carrier() == Some(Carrier::Authorization))
            || (*name == trace::STATE && !self.hop.goes_on);
        let may_cross = || headers::may_cross(name.as_str(), &self.token_header, self.client.trusted);
        !is_ours && !ends_here && !self.is_injected(name) && may_cross()
    }

    /// Whether the configuration has the word under this name.
    fn is_injected(&self, name: &HeaderName) -> bool {
        self.injected.as_ref().is_some_and(|injected| injected.replaces(name))
    }
}

/// The length of fields as HTTP/1 writes them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size(pub usize);

impl Fields for Size {
    fn copy(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.set(name, value.as_bytes());
    }

    fn set(&mut self, name: &HeaderName, value: &[u8]) {
        self.0 += name.as_str().len() + value.len() + 4;
    }
}

impl Fields for Vec<u8> {
    fn copy(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.set(name, value.as_bytes());
    }

    fn set(&mut self, name: &HeaderName, value: &[u8]) {
        for part in [name.as_str().as_bytes(), b": ", value, b"\r\n"] {
            self.extend_from_slice(part);
        }
    }
}

impl Fields for HeaderMap {
    fn copy(&mut self, name: &HeaderName, value: &HeaderValue) {
        self.append(name.clone(), value.clone());
    }

    fn set(&mut self, name: &HeaderName, value: &[u8]) {
        // What we set is valid.
        if let Ok(value) = HeaderValue::from_bytes(value) {
            self.append(name.clone(), value);
        }
    }
}

/// Path and query without the pair that carried the token.
fn forwarded_target(uri: &Uri, permit: &Permit, ways: &Ways) -> PathAndQuery {
    let target = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    match (permit.carrier(), &ways.query_parameter) {
        (Some(Carrier::Query), Some(name)) => query::remove_from_url(target.as_str(), name)
            .and_then(|rest| PathAndQuery::try_from(rest).ok())
            // What is left of a valid target is valid; were it not, the token would still not go through.
            .unwrap_or_else(|| PathAndQuery::from_static("/")),
        _ => target,
    }
}

/// `X-Forwarded-For` of a trusted peer, with the peer at its end.
fn chain(fields: &HeaderMap, peer: IpAddr) -> Option<HeaderValue> {
    let mut chain = String::new();
    for value in fields.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()) {
        let _ = write!(chain, "{value}, ");
    }
    let _ = write!(chain, "{peer}");
    HeaderValue::try_from(chain).ok()
}
