//! What is remembered of one request: it is counted and has its access-log line written, exactly once, when the last
//! holder lets go.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Version};
use tokio::time::Instant;

use super::clock;
use super::echo;
use super::inject::Injected;
use super::line::{Line, key};
use super::page::Audience;
use super::route::Route;
use super::slots::Slot;
use super::upstream::Target;
use super::worker::Worker;
use crate::board::{Cells, Count, Denial, Outcome};
use crate::credential::Kind;
use crate::model::{Refusal, TokenId};

/// Logged where no answer was begun, as log analysers know it from nginx.
const CLIENT_GONE: u16 = 499;

/// Logged where no answer was begun because we went first.
const SHUT_DOWN: u16 = 503;

/// Characters of a path or method that a remembered refusal keeps.
const SHOWN: usize = 512;

/// Stands where something was left out.
const MARK: &str = "[redacted]";

/// What is kept of a path for the log: a client may hold many requests open, each with as long a one as may be.
const KEPT: usize = 2048;

/// Ends a path that was longer.
const SHORTENED: &str = "[shortened]";

/// How a request came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Complete,
    ClientGone,
    Revoked,
    UpstreamGone,
    Upgraded,
    ShutDown,
}

impl Ended {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientGone => "client_gone",
            Self::Revoked => "revoked",
            Self::UpstreamGone => "upstream_gone",
            Self::Upgraded => "upgraded",
            Self::ShutDown => "shut_down",
        }
    }
}

/// One request as the access log will tell it.
pub(super) struct Record {
    worker: Rc<Worker>,
    pub started: Instant,
    pub request_id: HeaderValue,
    pub client: IpAddr,
    pub method: Method,
    /// The head could not be read: it has no method.
    pub is_unread: bool,
    pub target: Option<PathAndQuery>,
    pub protocol: Version,
    pub audience: Audience,
    route: Option<Arc<Route>>,
    pub token: Option<TokenId>,
    /// Whether the token was let in, and noted as used.
    pub let_in: bool,
    pub refusal: Option<Refusal>,
    pub status: u16,
    pub upstream: Option<Arc<Target>>,
    pub upstream_began: Option<Instant>,
    pub upstream_us: Option<u64>,
    pub slot: Option<Rc<Slot>>,
    /// What the app was given, which must not come back from it.
    pub injected: Option<Arc<Injected>>,
    /// Of an answer of our own.
    pub document_bytes: u64,
    pub ended: Ended,
    tunnel: bool,
}

/// Shows nothing of the target, which may hold a token.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("request_id", &self.request_id).finish_non_exhaustive()
    }
}

impl Record {
    pub(super) fn new(worker: &Rc<Worker>, request_id: HeaderValue, client: IpAddr) -> Self {
        Self {
            worker: worker.clone(),
            started: clock::now(),
            request_id,
            client,
            method: Method::default(),
            is_unread: false,
            target: None,
            protocol: Version::HTTP_11,
            audience: Audience::Program,
            route: None,
            token: None,
            let_in: false,
            refusal: None,
            status: 0,
            upstream: None,
            upstream_began: None,
            upstream_us: None,
            slot: None,
            injected: None,
            document_bytes: 0,
            ended: Ended::ClientGone,
            tunnel: false,
        }
    }

    pub(super) fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    /// Which environment the request is for, if any.
    pub(super) fn routed(&mut self, route: Option<&Arc<Route>>) {
        self.route = route.cloned();
        if let (Some(_), Some(cells)) = (route, self.cells()) {
            cells.begin();
        }
    }

    pub(super) fn route(&self) -> Option<&Arc<Route>> {
        self.route.as_ref()
    }

    /// The connection is a tunnel from here on.
    pub(super) fn upgraded(&mut self) {
        self.ended = Ended::Upgraded;
        self.tunnel = true;
        if let Some(cells) = self.cells() {
            cells.begin_tunnel();
        }
    }

    /// Takes out of the app's fields what must not come back.
    pub(super) fn guard(&self, fields: &mut HeaderMap) {
        if let Some(injected) = &self.injected {
            self.redacted(echo::clean(fields, injected));
        }
    }

    /// So many secrets were replaced in the answer.
    pub(super) fn redacted(&self, count: u64) {
        if let Some(cells) = self.cells().filter(|_| count > 0) {
            cells.redacted(count);
        }
    }

    /// The app compressed an answer that was to be searched, though it was asked not to.
    pub(super) fn unsearched(&self) {
        let (Some(cells), Some(route)) = (self.cells(), self.route()) else { return };
        let count = cells.unsearched();
        // Seldom, however many there are.
        if count.is_power_of_two() {
            let Route { app, environment, .. } = &**route;
            tracing::warn!(
                "{app} in {environment} compresses answers though asked not to: the echo guard cannot search them \
                 ({count} so far on this worker)"
            );
        }
    }

    /// The upstream's head has come, or failed to.
    pub(super) fn upstream_answered(&mut self) {
        self.upstream_us = self.upstream_began.map(|began| micros(clock::look() - began));
    }

    /// Where the request is counted.
    fn cells(&self) -> Option<&Cells> {
        let route = self.route.as_deref();
        let traffic = route.map_or_else(|| self.worker.gateway.board.strangers(), |route| &route.traffic);
        self.worker.cells(traffic)
    }

    fn count(&self, duration: Duration) {
        let Some(cells) = self.cells() else { return };
        let failed = self.logged_status() >= 500;
        if let Some(token) = self.token.filter(|_| failed || self.refusal.is_some()) {
            let (failed, refused) = (u32::from(failed), u32::from(!failed));
            self.worker.fell_short(token, Count { requests: u32::from(!self.let_in), refused, failed });
        }
        if self.route.is_none() {
            // Known to be a stranger's only now.
            cells.begin();
        }
        cells.end(&Outcome {
            refusal: self.refusal,
            status: self.logged_status(),
            duration: micros(duration),
            upstream: self.upstream_us,
            received: self.received(),
            sent: self.sent(),
            tunnel: self.tunnel,
        });
    }

    fn received(&self) -> u64 {
        self.slot.as_deref().map_or(0, |slot| slot.received.get())
    }

    fn sent(&self) -> u64 {
        self.slot.as_deref().map_or(0, |slot| slot.sent.get()) + self.document_bytes
    }

    fn logged_status(&self) -> u16 {
        match (self.status, self.worker.is_over()) {
            (0, true) => SHUT_DOWN,
            (0, false) => CLIENT_GONE,
            (status, _) => status,
        }
    }

    /// At `now`, in microseconds since 1970.
    fn write(&self, out: &mut Vec<u8>, duration: Duration, now: i64) {
        let slot = self.slot.as_deref();
        let ended = match slot.and_then(Slot::ending) {
            // An ending that came before the answer was told in one: that one was given, or was not.
            Some(_) if self.ended == Ended::Complete && !slot.is_some_and(Slot::has_begun) => self.ended,
            Some(Refusal::RequestTimeout) => Ended::ClientGone,
            Some(Refusal::UpstreamTimeout) => Ended::UpstreamGone,
            Some(_) => Ended::Revoked,
            None if self.ended == Ended::ClientGone && self.worker.is_over() => Ended::ShutDown,
            None => self.ended,
        };
        let mut line = Line::begin(out);
        line.word(key!("ts"), self.worker.stamp.borrow_mut().text(now));
        // Ours, or fit for a log as it is.
        line.word(key!("request_id"), &self.request_id);
        match self.route.as_deref() {
            Some(route) => {
                line.word(key!("app"), route.app.as_str());
                line.word(key!("environment"), route.environment.as_str());
            }
            None => {
                line.null(key!("app"));
                line.null(key!("environment"));
            }
        }
        match self.token {
            Some(token) => line.word(key!("token_id"), token.bytes()),
            None => line.null(key!("token_id")),
        }
        line.word(key!("code"), self.refusal.map_or("ok", Refusal::as_str));
        line.number(key!("status"), u64::from(self.logged_status()));
        line.text(key!("method"), &self.shown_method());
        let (path, query) = self.target.as_ref().map(redacted).unwrap_or_default();
        line.text_and(key!("path"), &path, query);
        line.word(
            key!("protocol"),
            match self.protocol {
                Version::HTTP_10 => "HTTP/1.0",
                Version::HTTP_2 => "HTTP/2",
                _ => "HTTP/1.1",
            },
        );
        line.address(key!("client"), self.client);
        line.written(key!("upstream"), self.upstream.as_deref().map_or("null", |target| &target.logged));
        line.number(key!("bytes_in"), self.received());
        line.number(key!("bytes_out"), self.sent());
        line.number(key!("duration_us"), micros(duration));
        match self.upstream_us {
            Some(micros) => line.number(key!("upstream_us"), micros),
            None => line.null(key!("upstream_us")),
        }
        line.word(key!("ended"), ended.as_str());
        line.end();
        out.push(b'\n');
    }
}

impl Record {
    fn shown_method(&self) -> Cow<'_, str> {
        match self.method {
            _ if self.is_unread => "".into(),
            Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH | Method::DELETE => {
                self.method.as_str().into()
            }
            _ => without_credentials(self.method.as_str()),
        }
    }

    /// Remembers the refusal that this request ends with, for whoever asks why: before its client knows of it.
    pub(super) fn deny(&self) {
        if let Some(refusal) = self.refusal {
            self.worker.denied(self.denial(refusal, clock::wall()));
        }
    }

    fn denial(&self, code: Refusal, now: i64) -> Denial {
        let path = self.target.as_ref().map(|target| without_credentials(target.path())).unwrap_or_default();
        Denial {
            at: now.div_euclid(1000),
            request_id: self.request_id.to_str().unwrap_or_default().into(),
            code,
            app: self.route.as_deref().map(|route| route.app.clone()),
            environment: self.route.as_deref().map(|route| route.environment.clone()),
            token: self.token,
            method: shown(&self.shown_method()).into(),
            path: shown(&path).into(),
            client: self.client,
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let (duration, now) = (clock::look() - self.started, clock::wall());
        self.count(duration);
        self.worker.log(|lines| self.write(lines, duration, now));
    }
}

/// What is shown of a text of the client's.
fn shown(text: &str) -> &str {
    &text[..text.floor_char_boundary(SHOWN)]
}

fn micros(duration: Duration) -> u64 {
    duration.as_micros().try_into().unwrap_or(u64::MAX)
}

/// The part of a target that the log needs.
pub(super) fn kept(target: &PathAndQuery) -> Option<PathAndQuery> {
    if target.as_str().len() <= KEPT {
        return Some(target.clone());
    }
    let path = target.path();
    let mut kept = path[..path.floor_char_boundary(KEPT)].to_owned();
    if kept.len() < path.len() {
        kept += SHORTENED;
    }
    if target.query().is_some() {
        kept.push('?');
    }
    kept.try_into().ok()
}

/// The path with nothing in it that has the beginning of a credential, and what stands for the query.
fn redacted(target: &PathAndQuery) -> (Cow<'_, str>, &'static str) {
    let query = if target.query().is_some() { "?[redacted]" } else { "" };
    (without_credentials(target.path()), query)
}

/// What a client wrote, a method or a path, with nothing in it that has the beginning of a credential.
fn without_credentials(text: &str) -> Cow<'_, str> {
    let mut clean = Cow::Borrowed(text);
    if memchr::memchr2(b'_', b'%', text.as_bytes()).is_none() {
        return clean;
    }
    let decoded: Cow<'_, [u8]> = percent_encoding::percent_decode_str(text).into();
    for prefix in Kind::ALL.map(Kind::prefix) {
        // One that was encoded is not worth finding the bounds of.
        if memchr::memmem::find_iter(&decoded, prefix).count() > clean.matches(prefix).count() {
            clean = Cow::Owned(format!("/{MARK}"));
        }
        let mut from = 0;
        while let Some(at) = clean[from..].find(prefix).map(|at| from + at) {
            let start = at + prefix.len();
            let of_value = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'%' | b'_');
            let end = start + clean[start..].bytes().take_while(of_value).count();
            clean.to_mut().replace_range(start..end, MARK);
            from = start + MARK.len();
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_whole(target: &PathAndQuery) -> String {
        let (path, query) = redacted(target);
        path.into_owned() + query
    }

    #[test]
    fn long_targets_are_kept_in_part() {
        let log = |target: String| shown_whole(&kept(&target.parse().unwrap()).unwrap());
        let long = format!("/{}", "a".repeat(60_000));
        assert_eq!(log(long.clone()), format!("{}[shortened]", &long[..KEPT]));
        assert_eq!(log(format!("{long}?b")), format!("{}[shortened]?[redacted]", &long[..KEPT]));
        assert_eq!(log(format!("/a?{long}")), "/a?[redacted]");
        assert_eq!(log(long[..KEPT].to_owned()), long[..KEPT]);
        let cut = format!("{}/pct_{}", &long[..KEPT - 10], &long[1..]);
        assert_eq!(log(cut), format!("{}/pct_[redacted][shortened]", &long[..KEPT - 10]));
    }

    #[test]
    fn paths_lose_queries_and_credentials() {
        let log = |target: &str| shown_whole(&target.parse().unwrap());
        assert_eq!(log("/a/b"), "/a/b");
        assert_eq!(log("/a?b=c"), "/a?[redacted]");
        assert_eq!(log("/x/pct_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17/y"), "/x/pct_[redacted]/y");
        assert_eq!(log("/pct_pct_zQWB/pcm_%61b"), "/pct_[redacted]/pcm_[redacted]");
        assert_eq!(log("/a%20b/%70ct_zQWB"), "/[redacted]");
        assert_eq!(log("/a%20b"), "/a%20b");
        assert_eq!(without_credentials("pct_zQWB"), "pct_[redacted]");
        assert!(matches!(without_credentials("GET"), Cow::Borrowed("GET")));
    }
}
