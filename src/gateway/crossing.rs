//! A request on its way to the app: which of the client's fields go along, and what is set beside them.
//!
//! Order matters: first everything goes that may not cross, whoever named it; then our own fields are set. A client
//! can thus neither add to them nor have them removed. Nothing of the request is used up by being sent, so that it can
//! be sent again. References: RFC 9110, sections 7.6.1 and 7.6.2.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{self, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Uri};

use super::authorize::Permit;
use super::block::Block;
use super::client::{Client, FORWARDED_FOR};
use super::connection::Connection;
use super::credential::{Carrier, Ways};
use super::head::BodyLength;
use super::headers::{self, REQUEST_ID};
use super::inject::Injected;
use super::notable::Field;
use super::query;
use super::record::Record;
use super::reject::Reject;
use super::request::{Host, Request};
use super::session;
use super::spare;
use super::trace::{self, Hop};
use super::upgrade;
use super::upstream::Target;
use crate::config::HostHeader;

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const TOKEN_ID: HeaderName = HeaderName::from_static("x-portcullis-token-id");
const TOKEN_LABEL: HeaderName = HeaderName::from_static("x-portcullis-token-label");
pub(super) const APP: HeaderName = HeaderName::from_static("x-portcullis-app");
pub(super) const ENVIRONMENT: HeaderName = HeaderName::from_static("x-portcullis-environment");

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
    /// Of whom the request comes from, and how.
    told: Rc<Block>,
    /// Unless a trusted peer has named it.
    tells_host: bool,
    request_id: HeaderValue,
    hop: Hop,
    /// What the configuration sets.
    injected: Option<Arc<Injected>>,
}

/// Where fields go on their way to the app.
pub(crate) trait Fields {
    fn copy(&mut self, name: &HeaderName, value: &HeaderValue);
    fn set(&mut self, name: &HeaderName, value: &[u8]);
    fn block(&mut self, block: &Block);
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
        let notable = request.notable;
        let websocket = (request.tunnel || notable.has(Field::Upgrade)) && upgrade::is_websocket(&request);
        let Request { method, uri, headers: mut fields, body, tunnel, host, .. } = request;
        if notable.has(Field::Cookie) {
            session::strip(&mut fields);
        }
        let wants_trailers = notable.has(Field::Te)
            && fields.get_all(header::TE).iter().any(|te| headers::lists(te, "trailers"));
        let chain = client.trusted.then(|| chain(&fields, connection.client.ip().to_canonical())).flatten();
        let authority = || HeaderValue::from_str(uri.authority()?.as_str()).ok();
        let host = match host {
            Host::AsSent { field, .. } => Some(field),
            Host::Nowhere | Host::Folded(_) => fields.get(header::HOST).cloned().or_else(authority),
        };
        if notable.has(Field::Connection) {
            headers::strip_named(&mut fields);
        }
        if client.trusted || notable.has(Field::Referer) {
            headers::clean_urls(&mut fields, ways, client.trusted);
        }
        // What a trusted peer says stands.
        let stands = |name: &HeaderName| client.trusted && fields.contains_key(name);
        let told = match client.trusted {
            false => connection.told.clone(),
            true => {
                let ours = connection.told.fields.iter().filter(|(name, _)| *name != FORWARDED_FOR);
                let ours = ours.filter(|(name, _)| !stands(name)).cloned();
                Rc::new(Block::new(chain.map(|chain| (FORWARDED_FOR, chain)).into_iter().chain(ours)))
            }
        };
        Self {
            tells_host: !stands(&FORWARDED_HOST),
            target: forwarded_target(&uri, &permit, ways),
            permit,
            method,
            body,
            hop: trace::hop(notable.has(Field::Traceparent).then_some(&fields)),
            client_fields: fields,
            token_header: ways.header.clone(),
            client,
            host,
            wants_trailers,
            websocket,
            key: tunnel.then(upgrade::key),
            told,
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
            // The app may have those of an attempt before, and show them now.
            if let (Some(renewed), Some(earlier)) = (&self.injected, &record.injected) {
                record.injected = Some(Arc::new(renewed.sent_after(earlier)));
            }
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
        out.block(&self.told);
        if let Some(host) = self.host.as_ref().filter(|_| self.tells_host) {
            out.copy(&FORWARDED_HOST, host);
        }
        out.copy(&REQUEST_ID, &self.request_id);
        if !self.is_injected(&trace::PARENT) {
            out.set(&trace::PARENT, &self.hop.parent);
        }
        for (name, value) in self.injected.iter().flat_map(|injected| &injected.fields) {
            out.copy(name, value);
        }

        let Some(identity) = self.permit.holder() else { return };
        out.set(&TOKEN_ID, &identity.id.bytes());
        // It is encoded; were it not, no other field could come of it.
        let label = identity.label.as_bytes();
        if !label.is_empty() && label.iter().all(u8::is_ascii_graphic) {
            out.set(&TOKEN_LABEL, label);
        }
        out.block(&self.permit.route().names);
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
        let ends_here = match name.as_str() {
            // `Expect` is ours to meet.
            "host" | "content-length" | "x-forwarded-for" | "x-request-id" | "traceparent" | "expect" => true,
            "sec-websocket-key" => self.key.is_some(),
            "authorization" => self.permit.carrier() == Some(Carrier::Authorization),
            "tracestate" => !self.hop.goes_on,
            _ => false,
        };
        let may_cross = || headers::may_cross(name, &self.token_header, self.client.trusted);
        !ends_here && !self.is_injected(name) && may_cross()
    }

    /// Whether the configuration has the word under this name.
    fn is_injected(&self, name: &HeaderName) -> bool {
        self.injected.as_ref().is_some_and(|injected| injected.replaces(name))
    }
}

impl Drop for Crossing {
    fn drop(&mut self) {
        spare::give(std::mem::take(&mut self.client_fields));
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

    fn block(&mut self, block: &Block) {
        self.0 += block.text.len();
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

    fn block(&mut self, block: &Block) {
        self.extend_from_slice(&block.text);
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

    fn block(&mut self, block: &Block) {
        for (name, value) in &block.fields {
            self.copy(name, value);
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
