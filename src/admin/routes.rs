//! Every call of the admin API and every page of the dashboard, with what it needs. A path or method that is not in the
//! table has no handler.

use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use http::request::Parts;
use http::{Method, StatusCode, header};

use super::call::{Call, Handler, State};
use super::problem::{Problem, RequestId};
use super::{
    apps, audit, auth, backup, condition, dashboard, denials, deployments, health, keys, leaks, lookup,
    members, metrics, openapi, reload, seats, secrets, serve, shares, tokens,
};
use crate::control::{Caller, Fault};
use crate::model::Scope;

/// What a caller must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing, wherever from.
    Open,
    /// Nothing, on loopback and on the socket.
    Nothing,
    /// Any management key in force.
    Key,
    Scope(Scope),
    /// Everything, and in every app.
    Workspace,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) method: &'static Method,
    pub(super) path: &'static str,
    pub(super) need: Need,
    pub(super) serves: Serves,
}

/// For whom a route is: they come with different credentials, and are refused in different words.
#[derive(Clone, Copy, Debug)]
pub(super) enum Serves {
    /// Programs, with a management key in each call, and the operator on the socket.
    Calls(Handler),
    /// People, with a session's cookie.
    Pages(dashboard::Handler),
}

impl Need {
    /// Whether this caller has it.
    pub(super) fn is_met_by(self, caller: &Caller) -> Result<(), Fault> {
        match self {
            Self::Scope(scope) => caller.require(scope),
            Self::Workspace => caller.require_workspace(),
            Self::Open | Self::Nothing | Self::Key => Ok(()),
        }
    }
}

const fn route(method: &'static Method, path: &'static str, need: Need, handler: Handler) -> Route {
    Route { method, path, need, serves: Serves::Calls(handler) }
}

const fn page(method: &'static Method, path: &'static str, need: Need, handler: dashboard::Handler) -> Route {
    Route { method, path, need, serves: Serves::Pages(handler) }
}

const READ: Need = Need::Scope(Scope::Read);
const MINT: Need = Need::Scope(Scope::Mint);
const DEPLOY: Need = Need::Scope(Scope::Deploy);
const DELETE: Need = Need::Scope(Scope::Delete);
const SECRETS: Need = Need::Scope(Scope::Secrets);
const ADMIN: Need = Need::Scope(Scope::Admin);

const DEPLOYMENTS: &str = "/v1/apps/{app}/environments/{environment}/deployments";
const DEPLOYMENT: &str = "/v1/apps/{app}/environments/{environment}/deployments/{id}";
const EXTERNAL_ACCESS: &str = "/v1/apps/{app}/environments/{environment}/external-access";
const SWITCH_PAGE: &str = "/apps/{app}/environments/{environment}/external-access";
const DEPLOYMENTS_PAGE: &str = "/apps/{app}/environments/{environment}/deployments";
const ARCHIVE_PAGE: &str = "/apps/{app}/environments/{environment}/deployments/{id}/archive";

pub(super) const ROUTES: &[Route] = &[
    route(&Method::GET, "/v1/tokens", READ, tokens::list),
    route(&Method::POST, "/v1/tokens", MINT, tokens::mint),
    route(&Method::GET, "/v1/tokens/{id}", READ, tokens::show),
    route(&Method::PATCH, "/v1/tokens/{id}", MINT, tokens::edit),
    route(&Method::DELETE, "/v1/tokens/{id}", DELETE, tokens::delete),
    route(&Method::POST, "/v1/tokens/{id}/revoke", MINT, tokens::revoke),
    route(&Method::POST, "/v1/tokens/{id}/rotate", MINT, tokens::rotate),
    route(&Method::POST, "/v1/shares", MINT, shares::mint),
    route(&Method::GET, "/v1/members", Need::Workspace, members::list),
    route(&Method::POST, "/v1/members", Need::Workspace, members::add),
    route(&Method::GET, "/v1/members/{name}", Need::Workspace, members::show),
    route(&Method::PATCH, "/v1/members/{name}", Need::Workspace, members::edit),
    route(&Method::DELETE, "/v1/members/{name}", Need::Workspace, members::remove),
    route(&Method::GET, "/v1/keys", READ, keys::list),
    route(&Method::POST, "/v1/keys", ADMIN, keys::mint),
    route(&Method::DELETE, "/v1/keys/{id}", ADMIN, keys::revoke),
    route(&Method::GET, "/v1/apps", READ, apps::list),
    route(&Method::GET, "/v1/apps/{app}", READ, apps::show),
    route(&Method::GET, DEPLOYMENTS, READ, deployments::list),
    route(&Method::POST, DEPLOYMENTS, DEPLOY, deployments::publish),
    route(&Method::DELETE, DEPLOYMENT, DELETE, deployments::archive),
    route(&Method::PUT, EXTERNAL_ACCESS, DEPLOY, apps::switch),
    route(&Method::GET, "/v1/secrets", READ, secrets::list),
    route(&Method::POST, "/v1/secrets/rekey", Need::Workspace, secrets::rekey),
    route(&Method::PUT, "/v1/secrets/{key}", SECRETS, secrets::put),
    route(&Method::GET, "/v1/secrets/{key}", READ, secrets::show),
    route(&Method::PATCH, "/v1/secrets/{key}", SECRETS, secrets::edit),
    route(&Method::DELETE, "/v1/secrets/{key}", SECRETS, secrets::delete),
    route(&Method::POST, "/v1/secrets/{key}/revoke", SECRETS, secrets::revoke),
    route(&Method::GET, "/v1/denials", READ, denials::list),
    route(&Method::GET, "/v1/denials/{request_id}", READ, denials::show),
    route(&Method::POST, "/v1/lookup", READ, lookup::look_up),
    route(&Method::GET, "/v1/leaks", READ, leaks::list),
    route(&Method::POST, "/v1/leaks", MINT, leaks::report),
    route(&Method::GET, "/v1/notices", Need::Workspace, leaks::notices),
    route(&Method::POST, "/v1/notices/{id}/retry", Need::Workspace, leaks::retry),
    route(&Method::GET, "/v1/audit", READ, audit::list),
    route(&Method::GET, "/v1/backup", Need::Workspace, backup::download),
    route(&Method::POST, "/v1/reload", Need::Workspace, reload::reload),
    route(&Method::GET, "/v1/whoami", Need::Key, auth::whoami),
    route(&Method::POST, "/v1/dashboard-links", Need::Key, dashboard::link::mint),
    route(&Method::DELETE, "/v1/dashboard-sessions", Need::Workspace, dashboard::session::end_all),
    route(&Method::GET, "/v1/openapi.json", Need::Nothing, openapi::show),
    route(&Method::GET, "/healthz", Need::Nothing, health::live),
    route(&Method::GET, "/readyz", Need::Nothing, health::ready),
    route(&Method::GET, "/metrics", Need::Nothing, metrics::show),
    page(&Method::GET, "/", Need::Key, dashboard::home),
    page(&Method::GET, "/assets/{name}", Need::Open, dashboard::assets::show),
    page(&Method::GET, "/sign-in", Need::Open, dashboard::sign_in::ask),
    page(&Method::POST, "/sign-in", Need::Open, dashboard::sign_in::by_key),
    page(&Method::GET, "/sign-in/{code}", Need::Open, dashboard::sign_in::offer),
    page(&Method::POST, "/sign-in/{code}", Need::Open, dashboard::sign_in::by_link),
    page(&Method::POST, "/sign-out", Need::Key, dashboard::sign_in::out),
    page(&Method::GET, "/tokens", READ, dashboard::tokens::list),
    page(&Method::POST, "/tokens", MINT, dashboard::creation::mint),
    page(&Method::GET, "/tokens/new", MINT, dashboard::creation::ask),
    page(&Method::GET, "/tokens/{id}", READ, dashboard::token::show),
    page(&Method::GET, "/tokens/{id}/edit", MINT, dashboard::token::ask),
    page(&Method::POST, "/tokens/{id}/edit", MINT, dashboard::token::edit),
    page(&Method::POST, "/tokens/{id}/rotate", MINT, dashboard::token::rotate),
    page(&Method::POST, "/tokens/{id}/revoke", MINT, dashboard::token::revoke),
    page(&Method::POST, "/tokens/{id}/delete", DELETE, dashboard::token::delete),
    page(&Method::GET, "/apps", READ, dashboard::apps::list),
    page(&Method::GET, "/apps/{app}", READ, dashboard::apps::show),
    page(&Method::POST, SWITCH_PAGE, DEPLOY, dashboard::apps::switch),
    page(&Method::GET, DEPLOYMENTS_PAGE, READ, dashboard::deployments::list),
    page(&Method::POST, DEPLOYMENTS_PAGE, DEPLOY, dashboard::deployments::publish),
    page(&Method::POST, ARCHIVE_PAGE, DELETE, dashboard::deployments::archive),
    page(&Method::GET, "/members", Need::Workspace, dashboard::members::list),
    page(&Method::POST, "/members", Need::Workspace, dashboard::members::add),
    page(&Method::GET, "/members/{name}/edit", Need::Workspace, dashboard::members::ask),
    page(&Method::POST, "/members/{name}/edit", Need::Workspace, dashboard::members::edit),
    page(&Method::POST, "/members/{name}/remove", Need::Workspace, dashboard::members::remove),
    page(&Method::GET, "/keys", READ, dashboard::keys::list),
    page(&Method::POST, "/keys", ADMIN, dashboard::keys::mint),
    page(&Method::POST, "/keys/{id}/revoke", ADMIN, dashboard::keys::revoke),
    page(&Method::GET, "/secrets", READ, dashboard::secrets::list),
    page(&Method::POST, "/secrets", SECRETS, dashboard::secret_form::set),
    page(&Method::GET, "/secrets/new", SECRETS, dashboard::secret_form::ask),
    page(&Method::GET, "/secrets/{name}", READ, dashboard::secrets::show),
    page(&Method::GET, "/secrets/{name}/edit", SECRETS, dashboard::secret_form::ask_again),
    page(&Method::POST, "/secrets/{name}/edit", SECRETS, dashboard::secret_form::edit),
    page(&Method::POST, "/secrets/{name}/revoke", SECRETS, dashboard::secrets::revoke),
    page(&Method::POST, "/secrets/{name}/delete", SECRETS, dashboard::secrets::delete),
    page(&Method::GET, "/leaks", READ, dashboard::leaks::list),
    page(&Method::GET, "/leaks/report", MINT, dashboard::leak_report::ask),
    page(&Method::POST, "/leaks/report", MINT, dashboard::leak_report::report),
    page(&Method::GET, "/leaks/notices", Need::Workspace, dashboard::notices::list),
    page(&Method::POST, "/leaks/notices/{id}/retry", Need::Workspace, dashboard::notices::retry),
    page(&Method::GET, "/audit", READ, dashboard::audit::list),
];

/// The table, as the HTTP library routes by it.
pub(super) fn router(state: &State) -> Router {
    let router = ROUTES.iter().fold(Router::new(), |router, route| {
        let state = state.clone();
        let answer = move |names: Result<Path<Vec<String>>, PathRejection>, request: Request| {
            // None, or one that is not UTF-8.
            let names = names.map(|Path(names)| names).unwrap_or_default();
            answer(state.clone(), route, names, request)
        };
        router.route(route.path, on(filter(route.method), answer))
    });
    router
        .method_not_allowed_fallback(|request: Request| async move {
            let detail = "this path has no such method: the Allow header lists those it has";
            refuse(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail), &request)
        })
        .fallback(|request: Request| async move {
            refuse(
                Problem::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path"),
                &request,
            )
        })
}

/// To a browser with a page, to programs as all problems are told.
fn refuse(problem: Problem, request: &Request) -> Response {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("text/html")) {
        return dashboard::nothing(&problem, &request_id(request));
    }
    problem.render(&request_id(request))
}

fn filter(method: &Method) -> MethodFilter {
    // The table is fixed and a test walks it; what could not be served would be served to nobody.
    MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::TRACE)
}

fn request_id(request: &Request) -> RequestId {
    request.extensions().get().cloned().unwrap_or(RequestId(String::new()))
}

/// Who calls, whether they may, what they sent; then the handler.
async fn answer(state: State, route: &'static Route, names: Vec<String>, request: Request) -> Response {
    let id = request_id(&request);
    let handler = match route.serves {
        Serves::Calls(handler) => handler,
        Serves::Pages(handler) => {
            return dashboard::answer(state, route, handler, names, request, &id).await;
        }
    };
    let attempt = async {
        let (head, body) = request.into_parts();
        let caller = admit(&state, route.need, &head).await?;
        let expected = condition::expected(&head.headers);
        let name = match head.method {
            Method::POST => condition::idempotency_key(&head.headers)?,
            _ => None,
        };
        let body = serve::body(body).await?;
        let accept = head.headers.get(header::ACCEPT).cloned();
        let once = name.map(|key| condition::once(&key, &head.method, &head.uri, &body));
        let pulse = head.extensions.get().cloned();
        handler(Call { state, caller, uri: head.uri, accept, names, expected, once, body, pulse }).await
    };
    attempt.await.unwrap_or_else(|problem| problem.render(&id))
}

async fn admit(state: &State, need: Need, head: &Parts) -> Result<Option<Caller>, Problem> {
    let origin = head.extensions.get().copied();
    let near = origin.is_some_and(serve::Origin::is_near);
    if need == Need::Open || need == Need::Nothing && near {
        return Ok(None);
    }
    let caller = auth::caller(&state.control, origin, &head.headers).await?;
    seats::know(&head.extensions);
    need.is_met_by(&caller)?;
    Ok(Some(caller))
}
