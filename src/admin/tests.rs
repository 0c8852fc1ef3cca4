//! The admin API over its real sockets.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::routes::{Need, ROUTES, Serves};
use super::*;
use crate::board::Board;
use crate::control::{Control, sample};
use crate::index::Index;
use crate::model::Scope;
use crate::secrets::{KeyFile, Safe};
use crate::store::Store;
use crate::sync::Follower;

/// Everything from the file to the sockets.
struct Place {
    folder: TempDir,
    address: std::net::SocketAddr,
    socket: PathBuf,
    board: Arc<Board>,
    index: Arc<Index>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Place {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = sample::config();
        config.admin.socket = folder.path().join("p.sock");
        let store = Store::open(&folder.path().join("p.db")).unwrap();
        let (index, writer) = Index::new();
        let (board, _) = Board::new(0);
        let safe = Safe::open(KeyFile::at(&folder.path().join("p.key"))).unwrap();
        let follower = Follower::load(&store, writer, board.clone(), safe.clone()).unwrap();
        let (stop, stopping) = watch::channel(false);
        tokio::spawn(follower.run(stopping.clone()));
        let listener = bind(config.admin.listen).unwrap();
        let operator = OperatorSocket::bind(&config.admin.socket).unwrap();
        let (address, socket) = (listener.local_addr().unwrap(), operator.path().to_owned());
        let front = Arc::new(ArcSwap::from_pointee(Front::new(address, &config.admin.hosts, None)));
        let sources = Sources {
            board: board.clone(),
            index: index.clone(),
            log: Arc::default(),
            store: store.operations(),
            committed: store.revisions(),
            terminators: Arc::default(),
        };
        let control = Control::new(store, index.reached(), Arc::new(ArcSwap::from_pointee(config)), safe);
        let (reloads, mut wishes) = mpsc::channel::<ReloadRequest>(1);
        tokio::spawn(async move {
            while let Some(wish) = wishes.recv().await {
                let reloaded = Reloaded { changed: vec!["tokens.header".to_owned()], ..Reloaded::default() };
                wish.answer.unwrap().send(Ok(reloaded)).unwrap();
            }
        });
        let site = Site::new(control, sources, reloads);
        tokio::spawn(site.clone().serve_tcp(listener, front, stopping.clone()));
        let serving = tokio::spawn(site.serve_operator(operator, stopping));
        Self { folder, address, socket, board, index, stop, serving }
    }

    /// As the operator.
    async fn socket(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        let request = Request::builder().method(method).uri(path).header("host", "anything");
        exchange(stream, request.body(Full::new(body.into())).unwrap()).await
    }

    /// Over TCP, with a management key or without.
    async fn tcp(&self, key: &str, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost:1");
        if !key.is_empty() {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        self.raw(request.body(Full::new(body.into())).unwrap()).await
    }

    async fn raw(&self, request: Request<Full<Bytes>>) -> Answer {
        exchange(TcpStream::connect(self.address).await.unwrap(), request).await
    }

    /// Mints a management key; its id and value.
    async fn key(&self, member: &str, scopes: &[&str], app: Option<&str>) -> (String, String) {
        let body = json!({ "member": member, "scopes": scopes, "app": app }).to_string();
        let answer = self.socket(Method::POST, "/v1/keys", body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        (text(&answer.body["key"]["id"]), text(&answer.body["secret"]))
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Answer
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let is_json = head.headers.get("content-type").is_some_and(|kind| kind.as_bytes().ends_with(b"json"));
    let body = if is_json { serde_json::from_slice(&body).unwrap() } else { Value::Null };
    Answer { status: head.status, headers: head.headers, body }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn order(app: &str) -> String {
    json!({ "label": "CI", "app": app, "environment": "production", "expires_in": "7d" }).to_string()
}

fn problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status.as_u16(), &answer.body["code"]), (status, &json!(code)), "{}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.headers["x-request-id"].to_str().unwrap(), answer.body["request_id"]);
    assert_eq!(answer.body["status"], status);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_asks_for_what_the_table_says() {
    let site = Place::start().await;
    for route in ROUTES {
        let path = ["{id}", "{app}", "{environment}", "{name}", "{key}", "{request_id}"]
            .iter()
            .fold(route.path.to_owned(), |path, name| path.replace(name, "nothing"));
        if let Serves::Pages(_) = route.serves {
            continue;
        }
        let call = async |key: &str| site.tcp(key, route.method.clone(), &path, "").await;
        if route.need == Need::Nothing {
            assert_eq!(call("").await.status, StatusCode::OK, "{path}");
            continue;
        }
        let answer = call("").await;
        problem(&answer, 401, "unauthorized");
        assert_eq!(answer.headers["www-authenticate"], r#"Bearer realm="portcullis-admin""#);
        for scope in Scope::ALL {
            let (_, key) = site.key("ann", &[scope.as_str()], None).await;
            let enough = match route.need {
                Need::Scope(needed) => scope == needed || scope == Scope::Admin,
                Need::Workspace => scope == Scope::Admin,
                Need::Key | Need::Nothing | Need::Open => true,
            };
            let status = call(&key).await.status;
            assert_eq!(status != StatusCode::FORBIDDEN, enough, "{} {path} with {scope:?}", route.method);
            assert_ne!(status, StatusCode::UNAUTHORIZED, "{path}");
        }
    }
}

/// Signs in with a key; the session's cookie.
async fn session(site: &Place, key: &str) -> String {
    let request = Request::builder().method(Method::POST).uri("/sign-in").header("host", "localhost:1");
    let request = request
        .header("origin", "http://localhost:1")
        .header("content-type", "application/x-www-form-urlencoded");
    let answer = site.raw(request.body(Full::new(format!("key={key}").into())).unwrap()).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    answer.headers["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_asks_for_what_the_table_says() {
    let site = Place::start().await;
    let pages = ROUTES.iter().filter(|route| matches!(route.serves, Serves::Pages(_))).collect::<Vec<_>>();
    assert!(pages.len() > 20, "where are the pages?");
    let ask = async |route: &routes::Route, cookie: &str| {
        let path = ["{id}", "{app}", "{environment}", "{name}", "{code}"]
            .iter()
            .fold(route.path.to_owned(), |path, name| path.replace(name, "nothing"));
        let request = Request::builder().method(route.method.clone()).uri(path).header("host", "localhost:1");
        let request = request.header("origin", "http://localhost:1").header("cookie", cookie);
        site.raw(request.body(Full::default()).unwrap()).await
    };
    for route in &pages {
        let answer = ask(route, "").await;
        let path = route.path;
        if route.need == Need::Open {
            assert!(!answer.headers.contains_key("location"), "{path}");
            continue;
        }
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path} without a session");
        assert!(answer.headers["location"].to_str().unwrap().starts_with("/sign-in"), "{path}");
        let socket = site.socket(route.method.clone(), path, "").await;
        problem(&socket, 404, "not_found");
    }
    for scope in Scope::ALL {
        let (_, key) = site.key("ann", &[scope.as_str()], None).await;
        let cookie = session(&site, &key).await;
        for route in pages.iter().filter(|route| route.need != Need::Open) {
            let enough = match route.need {
                Need::Scope(needed) => scope == needed || scope == Scope::Admin,
                Need::Workspace => scope == Scope::Admin,
                Need::Key | Need::Nothing | Need::Open => true,
            };
            // What changes something and may be done is refused all the same: the form has no proof. So is a form that
            // shows what it edits to who may only write.
            let shows = route.path.ends_with("/edit") && scope != Scope::Admin;
            let refused = !enough || shows || *route.method == Method::POST;
            let status = ask(route, &cookie).await.status;
            assert_eq!(status == StatusCode::FORBIDDEN, refused, "{} with {scope:?}: {status}", route.path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_minted_shown_listed_and_revoked() {
    let site = Place::start().await;
    let minted = site.socket(Method::POST, "/v1/tokens", order("shop")).await;
    assert_eq!(minted.status, StatusCode::CREATED);
    let (token, secret) = (&minted.body["token"], text(&minted.body["secret"]));
    assert_eq!(minted.body["authorization"], format!("Bearer {secret}"));
    assert_eq!(minted.body["query_parameter"], format!("?project-protection-bypass={secret}"));
    assert_eq!(token["hint"], secret[36..]);
    assert_eq!((&token["deployment"], &token["on_publish"]), (&json!("initial"), &json!("stop")));
    assert_eq!((&token["status"], &token["created_by"]), (&json!("active"), &json!("operator")));
    let value = crate::credential::Plaintext::parse(crate::credential::Kind::Token, secret.as_bytes());
    let digest = value.unwrap().digest();
    assert!(!site.index.get(&digest).unwrap().revoked);

    let path = format!("/v1/tokens/{}", text(&token["id"]));
    let shown = site.socket(Method::GET, &path, "").await;
    assert_eq!(&shown.body, token);
    assert!(!shown.body.to_string().contains(&secret));
    let revoke = format!("{path}/revoke");
    let first = site.socket(Method::POST, &revoke, r#"{"reason":"lost"}"#).await;
    assert!(site.index.get(&digest).unwrap().revoked);
    assert_eq!(first.body["token"]["status"], "revoked");
    let again = site.socket(Method::POST, &revoke, "").await;
    assert_eq!(again.status, StatusCode::OK);
    assert_eq!(again.body, first.body);
    assert_eq!(again.body["ended"], json!({ "requests": 0, "streams": 0 }));
    assert_eq!(again.body["token"]["revoke_reason"], "lost");

    let every = site.socket(Method::POST, "/v1/tokens", order("*")).await;
    assert_eq!(every.body["token"]["deployment"], Value::Null);
    assert_eq!(every.body["token"]["on_publish"], "keep");
    let blog = site.socket(Method::GET, "/v1/apps/blog", "").await;
    assert_eq!(
        blog.body["environments"][0]["external_access"],
        json!({ "mode": "on-first-token", "open": true })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn members_see_and_revoke_their_own_and_keys_stay_in_their_app() {
    let site = Place::start().await;
    let (_, ann) = site.key("ann", &["read", "mint"], None).await;
    let (_, bob) = site.key("bob", &["read", "mint"], None).await;
    let (_, boss) = site.key("boss", &["admin"], None).await;
    let (_, shop) = site.key("boss", &["admin"], Some("shop")).await;
    let mint = async |key: &str, app: &str| site.tcp(key, Method::POST, "/v1/tokens", order(app)).await;
    let id = async |key: &str, app: &str| text(&mint(key, app).await.body["token"]["id"]);
    let (hers, his) = (id(&ann, "shop").await, id(&bob, "blog").await);
    let list = async |key: &str| {
        let page = site.tcp(key, Method::GET, "/v1/tokens", "").await.body;
        page["items"].as_array().unwrap().iter().map(|token| text(&token["id"])).collect::<Vec<_>>()
    };
    assert_eq!(list(&ann).await, [hers.as_str()]);
    assert_eq!(list(&boss).await, [his.clone(), hers.clone()]);
    assert_eq!(list(&shop).await, [hers.as_str()]);
    let revoke =
        async |key: &str, id: &str| site.tcp(key, Method::POST, &format!("/v1/tokens/{id}/revoke"), "").await;
    for (key, id) in [(&ann, &his), (&bob, &hers), (&shop, &his)] {
        problem(&revoke(key, id).await, 404, "not_found");
        problem(&site.tcp(key, Method::GET, &format!("/v1/tokens/{id}"), "").await, 404, "not_found");
    }
    assert_eq!(revoke(&shop, &hers).await.body["token"]["revoked_by"], "boss");
    assert_eq!(revoke(&boss, &his).await.status, StatusCode::OK);

    problem(&mint(&shop, "blog").await, 403, "forbidden");
    problem(&mint(&shop, "*").await, 403, "forbidden");
    problem(&mint(&shop, "nowhere").await, 403, "forbidden");
    problem(&site.tcp(&shop, Method::GET, "/v1/apps/blog", "").await, 404, "not_found");
    let wide = json!({ "member": "eve", "scopes": ["admin"] }).to_string();
    problem(&site.tcp(&shop, Method::POST, "/v1/keys", wide.clone()).await, 403, "forbidden");
    assert_eq!(site.tcp(&boss, Method::POST, "/v1/keys", wide).await.status, StatusCode::CREATED);
    let keys = async |key: &str| site.tcp(key, Method::GET, "/v1/keys", "").await.body["items"].clone();
    assert_eq!(keys(&ann).await.as_array().unwrap().len(), 1);
    assert_eq!(keys(&shop).await.as_array().unwrap().len(), 1);
    assert_eq!(keys(&boss).await.as_array().unwrap().len(), 5);
    let whoami = site.tcp(&shop, Method::GET, "/v1/whoami", "").await.body;
    assert_eq!(whoami, json!({ "member": "boss", "scopes": ["admin"], "app": "shop" }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_ends_at_once() {
    let site = Place::start().await;
    let (id, key) = site.key("ann", &["read"], None).await;
    assert_eq!(site.tcp(&key, Method::GET, "/v1/whoami", "").await.status, StatusCode::OK);
    let revoked = site.socket(Method::DELETE, &format!("/v1/keys/{id}"), "").await;
    assert_eq!(revoked.body["key"]["status"], "revoked");
    problem(&site.tcp(&key, Method::GET, "/v1/whoami", "").await, 401, "unauthorized");
    assert_eq!(site.socket(Method::DELETE, &format!("/v1/keys/{id}"), "").await.body, revoked.body);
    problem(&site.socket(Method::DELETE, "/v1/keys/key_x", "").await, 404, "not_found");
    problem(&site.tcp("pct_x", Method::GET, "/v1/whoami", "").await, 401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_wrong_with_a_request_is_told_at_once() {
    let site = Place::start().await;
    let fields = async |path: &str, body: Value| {
        let answer = site.socket(Method::POST, path, body.to_string()).await;
        problem(&answer, 422, "validation_failed");
        let errors = answer.body["errors"].as_array().unwrap().clone();
        errors.iter().map(|error| text(&error["field"])).collect::<Vec<_>>()
    };
    assert_eq!(fields("/v1/tokens", json!({})).await, ["app", "environment", "expires_in"]);
    let wrong =
        json!({ "label": 5, "surprise": 1, "app": "shop", "environment": "nowhere", "expires_at": "soon" });
    assert_eq!(fields("/v1/tokens", wrong).await, ["label", "surprise", "environment", "expires_at"]);
    assert_eq!(fields("/v1/tokens", json!([])).await[0], "");
    let wrong = json!({ "member": "operator", "scopes": ["root"], "app": "nowhere", "expires_in": "0s" });
    assert_eq!(fields("/v1/keys", wrong).await, ["member", "scopes", "app", "expires_in"]);
    for query in ["limit=0", "limit=501", "limit=x", "status=dead", "cursor=x", "nonsense=1", "app=a&app=b"] {
        let answer = site.socket(Method::GET, &format!("/v1/tokens?{query}"), "").await;
        problem(&answer, 422, "validation_failed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_call_gets_a_problem_too() {
    let site = Place::start().await;
    problem(&site.socket(Method::POST, "/v1/tokens", "{").await, 400, "invalid_request");
    problem(&site.socket(Method::POST, "/v1/tokens", "").await, 400, "invalid_request");
    problem(&site.socket(Method::POST, "/v1/tokens", vec![b' '; 65 << 10]).await, 413, "body_too_large");
    problem(&site.socket(Method::GET, "/v2", "").await, 404, "not_found");
    problem(&site.socket(Method::GET, "/v1/tokens/%ff", "").await, 404, "not_found");
    let wrong = site.socket(Method::PUT, "/v1/tokens", "").await;
    problem(&wrong, 405, "method_not_allowed");
    let allowed = wrong.headers["allow"].to_str().unwrap();
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_each_other_newest_first() {
    let site = Place::start().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.insert(
            0,
            text(&site.socket(Method::POST, "/v1/tokens", order("shop")).await.body["token"]["id"]),
        );
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = site.socket(Method::GET, &format!("/v1/tokens?limit=2{cursor}"), "").await.body;
        seen.extend(page["items"].as_array().unwrap().iter().map(|token| text(&token["id"])));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ids);
    let page = site.socket(Method::GET, "/v1/tokens?limit=5", "").await.body;
    assert_eq!(page["next_cursor"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_is_asked_for_and_leaves_its_entry() {
    let site = Place::start().await;
    let answer = site.socket(Method::POST, "/v1/reload", "").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body, json!({ "changed": ["tokens.header"], "restart_needed": [], "warnings": [] }));
    let direct = rusqlite::Connection::open(site.folder.path().join("p.db")).unwrap();
    let entry = direct
        .query_row("SELECT actor, detail FROM audit WHERE action = 'config.reload'", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })
        .unwrap();
    assert_eq!(entry, ("operator".to_owned(), r#"{"changed":["tokens.header"],"from":"socket"}"#.to_owned()));
    problem(&site.socket(Method::POST, "/v1/reload", r#"{"a":1}"#).await, 422, "validation_failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn strange_hosts_are_refused_on_tcp() {
    let site = Place::start().await;
    let (_, key) = site.key("ann", &["admin"], None).await;
    let ask = async |host: &str| {
        let request = Request::builder().uri("/v1/whoami").header("host", host);
        let request = request.header("authorization", format!("Bearer {key}"));
        site.raw(request.body(Full::default()).unwrap()).await
    };
    assert_eq!(ask("admin.example:9180").await.status, StatusCode::OK);
    problem(&ask("evil.example").await, 403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_ends_with_the_drain() {
    let site = Place::start().await;
    assert_eq!(site.tcp("", Method::GET, "/readyz", "").await.status, StatusCode::OK);
    site.board.draining.store(true, Ordering::Release);
    problem(&site.tcp("", Method::GET, "/readyz", "").await, 503, "draining");
    assert_eq!(site.tcp("", Method::GET, "/healthz", "").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_its_owners_alone_and_leaves_with_the_server() {
    let site = Place::start().await;
    assert_eq!(fs::metadata(&site.socket).unwrap().permissions().mode() & 0o777, 0o600);
    let error = OperatorSocket::bind(&site.socket).unwrap_err();
    assert!(matches!(error, BindError::Live(_)), "{error}");
    site.stop.send_replace(true);
    site.serving.await.unwrap();
    assert!(!site.socket.exists());

    drop(std::os::unix::net::UnixListener::bind(&site.socket).unwrap());
    assert!(site.socket.exists());
    OperatorSocket::bind(&site.socket).unwrap();
    let file = site.folder.path().join("file");
    fs::write(&file, "mine").unwrap();
    let error = OperatorSocket::bind(&file).unwrap_err();
    assert!(matches!(error, BindError::NotASocket(_)), "{error}");
    assert_eq!(fs::read(file).unwrap(), b"mine");
}
