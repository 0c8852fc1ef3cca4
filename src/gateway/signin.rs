//! Signing a browser in: a token that it brings, in a link or pasted into a page of ours, is exchanged for a session.

use std::rc::Rc;

use http::{HeaderValue, Response};

use super::authenticate;
use super::authorize::{self, Permit};
use super::client::Client;
use super::credential::{Carrier, Presented};
use super::form::Form;
use super::head::BodyLength;
use super::landing::{Wish, landing};
use super::lane::Lane;
use super::navigation::{self, Sender, sender};
use super::own::Visit;
use super::page::Audience;
use super::record::Record;
use super::reject::Reject;
use super::request::Request;
use super::response::{self, Body};
use super::route::Route;
use super::session::{self, Reach, Seal, Session};
use super::settings::Settings;
use super::worker::Worker;
use super::{refuse, throttled};
use crate::board::LastUse;
use crate::credential::{Digest, Kind};
use crate::model::{Landing, Refusal, TokenId};

/// Where the page for pasting a token sends it.
pub(super) const PATH: &str = "/.portcullis/session";

/// Where a browser goes on, and the cookie that it takes along.
#[derive(Debug)]
pub(super) struct Redirect {
    pub landing: Landing,
    pub cookie: HeaderValue,
}

/// An environment that browsers can sign in to, and who wants to.
#[derive(Clone, Copy)]
pub(super) struct Entrance<'a> {
    pub worker: &'a Rc<Worker>,
    pub lane: &'a Lane,
    settings: &'a Settings,
    seal: &'a Seal,
    route: &'a Route,
    client: Client,
    secure: bool,
}

/// The redirect of a navigation that brought its token in the query; `None` for everything else.
pub(super) fn exchange(
    settings: &Settings,
    request: &Request,
    permit: &Permit,
    now: i64,
) -> Option<Redirect> {
    if permit.carrier() != Some(Carrier::Query) || !permit.route().browser_sessions {
        return None;
    }
    let (seal, token) = (settings.seal.as_deref()?, permit.digest()?);
    let wish = Wish::of(&request.uri);
    if wish == Wish::NoSession || request.body != BodyLength::None || !navigation::is_navigation(request) {
        return None;
    }
    let reach = if wish == Wish::Frames { Reach::Frames } else { Reach::Site };
    let parameter = settings.ways.query_parameter.as_deref()?;
    // What browsers would take for another host is left as it is.
    let landing = landing(request.uri.path_and_query()?, Some(parameter))?;
    let session = Session { token, since: now };
    let value = seal.seal(&session, request.host())?;
    Some(Redirect { landing, cookie: session::set_cookie(&value, request.secure, reach)? })
}

/// Takes a pasted token.
pub(super) async fn paste(entrance: Entrance<'_>, visit: Visit, mut record: Box<Record>) -> Response<Body> {
    let Visit { request, body, client: _ } = visit;
    let within = entrance.settings.limits.header_timeout;
    let form = match Form::read(body, &request.headers, entrance.lane, within).await {
        Ok(form) => form,
        Err(reject) => return refuse(entrance.lane, reject, record),
    };
    let landing = form.field("landing").and_then(|text| entrance.landing(&text));
    let landing = landing.unwrap_or_else(Landing::front);
    if let Audience::Person(found) = &mut record.audience {
        *found = Some(landing.clone());
    }
    if let Err(reject) = ours(&request) {
        return refuse(entrance.lane, reject, record);
    }
    let text = form.field("token").unwrap_or_default();
    let text = text.trim();
    if text.is_empty() {
        let reject = Reject::new(Refusal::TokenMissing, "no token was pasted");
        return refuse(entrance.lane, reject, record);
    }
    // As it stands where tokens are shown.
    let text = text.strip_prefix("Bearer ").unwrap_or(text).trim_start();
    let digest = Digest::of(Kind::Token, text.as_bytes());
    entrance.sign_in(&request, Presented::Token { digest, carrier: Carrier::Cookie }, landing, record)
}

/// Whether a form was sent from a page of this very origin: nobody is to be signed in by the page of another.
///
/// # Errors
/// When it was not.
pub(super) fn ours(request: &Request) -> Result<(), Reject> {
    match sender(&request.headers, &request.uri, request.secure) {
        Sender::Ours | Sender::Unsaid => Ok(()),
        Sender::Another | Sender::Hidden => Err(Reject::new(
            Refusal::InvalidRequest,
            "this form was sent from a page of another origin: open the app and sign in there",
        )),
    }
}

impl<'a> Entrance<'a> {
    /// The entrance that a request came to; `None` where browsers get no session.
    pub(super) fn find(
        worker: &'a Rc<Worker>,
        lane: &'a Lane,
        settings: &'a Settings,
        visit: &Visit,
    ) -> Option<Self> {
        let route =
            settings.routes.route(visit.request.host_bytes()).ok().filter(|route| route.browser_sessions)?;
        let seal = settings.seal.as_deref()?;
        let secure = visit.request.secure;
        Some(Self { worker, lane, settings, seal, route, client: visit.client, secure })
    }

    pub(super) fn route(&self) -> &Route {
        self.route
    }

    pub(super) fn client(&self) -> Client {
        self.client
    }

    fn landing(&self, text: &str) -> Option<Landing> {
        let target = Landing::parse(text)?.as_str().parse().ok()?;
        landing(&target, self.settings.ways.query_parameter.as_deref())
    }

    /// Whose token was brought, if it opens this environment.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn judge(&self, presented: Presented, now: i64) -> Result<(Digest, TokenId), Reject> {
        let index = &self.worker.gateway.index;
        let authenticated = authenticate::authenticate(index, &presented, &self.route.state, now)?;
        authorize::admit(&authenticated.identity, self.client.address, self.route)?;
        Ok((authenticated.digest, authenticated.identity.id))
    }

    /// Refuses, and counts what is no token.
    pub(super) fn refuse(&self, reject: Reject, record: Box<Record>) -> Response<Body> {
        let now = self.worker.now();
        refuse(self.lane, throttled(self.worker, self.settings, self.client, reject, now.steady), record)
    }

    /// Begins a session with what was brought, if it opens this environment.
    pub(super) fn sign_in(
        &self,
        request: &Request,
        presented: Presented,
        landing: Landing,
        mut record: Box<Record>,
    ) -> Response<Body> {
        let now = self.worker.now().wall;
        let (digest, id) = match self.judge(presented, now) {
            Ok(found) => found,
            Err(reject) => return self.refuse(reject, record),
        };
        record.token = Some(id);
        self.worker.used(id, LastUse { at: now, client: self.client.address });
        let session = Session { token: digest, since: now };
        let sealed = self.seal.seal(&session, request.host());
        let cookie = sealed.and_then(|value| session::set_cookie(&value, self.secure, Reach::Site));
        let Some(cookie) = cookie else {
            let detail = "the operating system gives no randomness to seal a session with";
            return self.refuse(Reject::new(Refusal::UpstreamUnavailable, detail), record);
        };
        response::redirect(self.lane, Redirect { landing, cookie }, record)
    }
}
