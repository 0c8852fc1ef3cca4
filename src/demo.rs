//! `portcullis demo`: the whole program on free ports, in front of an echo app, in a folder that goes when it ends.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use axum::Router;
use axum::body::Body;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::client::Client;
use crate::config;
use crate::serve::Server;

/// The name of a Unix socket has this much room on Linux.
const SOCKET_PATH: usize = 107;
const ENVIRONMENTS: [Environment; 2] = [
    Environment { name: "development", host: "shop.dev.localhost" },
    Environment { name: "production", host: "shop.localhost" },
];

/// Runs the demo until a signal ends it.
///
/// # Errors
/// When a part of it cannot be started, or its folder not be removed.
pub fn run() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("the system gives the echo app no event loop")?;
    // From here on a signal does not kill: the folder below must not be left behind.
    let asked_to_end = watch_signals(&runtime)?;
    let folder = make_folder()?;
    let done = show(&runtime, folder.path(), &asked_to_end);
    let path = folder.path().to_owned();
    let removed = folder.close().with_context(|| format!("cannot remove {}", path.display()));
    runtime.shutdown_background();
    done.and(removed)
}

struct Environment {
    name: &'static str,
    host: &'static str,
}

struct Minted {
    id: String,
    value: String,
}

fn show(runtime: &Runtime, folder: &Path, asked_to_end: &AtomicBool) -> anyhow::Result<()> {
    let mut file = configuration();
    for environment in &ENVIRONMENTS {
        let app = start_echo(runtime, environment.name).context("cannot start the echo app")?;
        // Writing to a string cannot fail.
        let _ = write!(
            file,
            "\n[apps.shop.environments.{}]\nhosts = [\"{}\"]\nupstreams = [\"http://{app}\"]\n",
            environment.name, environment.host
        );
    }
    let path = folder.join("proxy.toml");
    std::fs::write(&path, file).with_context(|| format!("cannot write {}", path.display()))?;
    // Overrides from the environment are for a gateway of one's own.
    let loaded = config::load(&path, [])?;
    let parameter = loaded.config.tokens.query_parameter.clone().unwrap_or_default();
    let header = loaded.config.tokens.header.clone();
    let server = Server::start(loaded)?;
    let Some(gateway) = server.gateway_addresses().first().copied() else {
        bail!("the gateway listens nowhere");
    };

    let operator = Client::socket(server.admin_socket())?;
    let mut text = format!(
        "\nPortcullis stands before an echo app, with its store in {}.\nCtrl-C ends it and removes the folder.\n",
        folder.display()
    );
    let curl = curl();
    let mut last = None;
    for Environment { name, host } in &ENVIRONMENTS {
        let token = mint(&operator, name).with_context(|| format!("cannot mint a token for {name}"))?;
        let value = &token.value;
        let _ = write!(
            text,
            "\nTo {name}, with its token in a header, or in the URL:\n\n  \
             {curl} -H 'Host: {host}' -H '{header}: {value}' http://{gateway}/hello\n  \
             {curl} -H 'Host: {host}' 'http://{gateway}/hello?{parameter}={value}'\n"
        );
        last = Some((host, token));
    }
    if let Some((host, token)) = last {
        let program =
            std::env::current_exe().map_or_else(|_| "portcullis".to_owned(), |program| quoted(&program));
        let path = quoted(&path);
        let _ = write!(
            text,
            "\nWithout a token (401):\n\n  {curl} -i -H 'Host: {host}' http://{gateway}/hello\n\n\
             To see the tokens, and to take the last one back:\n\n  \
             {program} --config {path} token list\n  {program} --config {path} token revoke {id}\n\n",
            id = token.id
        );
    }
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush())?;
    drop(out);
    // A signal that came before the server looks out for signals itself.
    if asked_to_end.load(Ordering::Acquire) {
        return Ok(());
    }
    server.run_until_signal()
}

fn configuration() -> String {
    "[gateway]\n\
     listen = [\"127.0.0.1:0\"]\n\
     \n\
     [gateway.access_log]\n\
     path = \"access.log\"\n\
     \n\
     [admin]\n\
     listen = \"127.0.0.1:0\"\n\
     \n\
     [apps.shop]\n\
     description = \"An echo app\"\n"
        .to_owned()
}

fn watch_signals(runtime: &Runtime) -> anyhow::Result<Arc<AtomicBool>> {
    let seen = Arc::new(AtomicBool::new(false));
    let _guard = runtime.enter();
    for kind in [SignalKind::interrupt(), SignalKind::terminate()] {
        let mut signals = signal(kind).context("cannot watch for signals")?;
        let seen = seen.clone();
        runtime.spawn(async move {
            signals.recv().await;
            seen.store(true, Ordering::Release);
        });
    }
    Ok(seen)
}

/// A folder that only this user can enter, at a path short enough for a socket in it.
fn make_folder() -> anyhow::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("portcullis-demo-").permissions(std::fs::Permissions::from_mode(0o700));
    let folder = builder.tempdir().context("cannot make a temporary folder")?;
    if fits(folder.path()) {
        return Ok(folder);
    }
    let long = folder.path().display().to_string();
    let folder = builder.tempdir_in("/tmp").with_context(|| {
        format!(
            "{long} is too long a path for a socket, and /tmp cannot be used: set TMPDIR to a shorter one"
        )
    })?;
    Ok(folder)
}

fn fits(folder: &Path) -> bool {
    folder.join("portcullis.sock").as_os_str().len() <= SOCKET_PATH
}

fn mint(operator: &Client, environment: &str) -> anyhow::Result<Minted> {
    let wish = json!({"label": "demo", "app": "shop", "environment": environment, "expires_in": "24h"});
    let answer: Value = operator.post("/v1/tokens", &wish)?.json()?;
    let text = |value: &Value| value.as_str().map(str::to_owned).context("the answer holds no token");
    Ok(Minted { id: text(&answer["token"]["id"])?, value: text(&answer["secret"])? })
}

/// `curl`, told to leave out the proxy where this environment names one: it would not find our loopback address.
fn curl() -> &'static str {
    let proxied =
        ["http_proxy", "all_proxy", "ALL_PROXY"].iter().any(|name| std::env::var_os(name).is_some());
    if proxied { "curl --noproxy '*'" } else { "curl" }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let path = path.display().to_string();
    if path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte)) {
        path
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

/// Starts an app that answers with what it was sent.
fn start_echo(runtime: &Runtime, environment: &'static str) -> std::io::Result<SocketAddr> {
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let address = listener.local_addr()?;
    let app = Router::new().fallback(move |request| echo(environment, request));
    // Where serving ends, so does the demo, and nobody is left to tell.
    runtime.spawn(async move { drop(axum::serve(listener, app).await) });
    Ok(address)
}

async fn echo(environment: &'static str, request: Request<Body>) -> Response<Body> {
    let (head, mut body) = request.into_parts();
    let mut headers = Map::new();
    for name in head.headers.keys() {
        let values: Vec<_> = head
            .headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        headers.insert(name.to_string(), values.join(", ").into());
    }
    let (mut bytes, mut begins) = (0, Vec::new());
    // Counted as it comes: an upload of any size must not pile up here.
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            bytes += data.len();
            begins.extend_from_slice(&data[..data.len().min(SHOWN.saturating_sub(begins.len()))]);
        }
    }
    let answer = json!({
        "answered_by": format!("the echo app, {environment}"),
        "method": head.method.as_str(),
        "path": head.uri.path(),
        "query": head.uri.query(),
        "headers": headers,
        "body": {"bytes": bytes, "begins": String::from_utf8_lossy(&begins)},
    });
    let mut response = Response::new(Body::from(format!("{answer:#}\n")));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// How much of a body the echo app shows.
const SHOWN: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_echo_shows_what_arrived_and_only_the_beginning_of_a_body() {
        let request = Request::post("/a?b=c")
            .header("x-a", "1")
            .header("x-a", "2")
            .body(Body::from("é".repeat(10_000)))
            .unwrap();
        let response = echo("development", request).await;
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["path"], "/a");
        assert_eq!(body["query"], "b=c");
        assert_eq!(body["headers"]["x-a"], "1, 2");
        assert_eq!(body["body"]["bytes"], 20_000);
        assert_eq!(body["body"]["begins"].as_str().unwrap().len(), SHOWN);
    }

    #[test]
    fn a_socket_fits_into_the_folder() {
        let folder = make_folder().unwrap();
        assert!(fits(folder.path()));
        assert_eq!(folder.path().metadata().unwrap().permissions().mode() & 0o777, 0o700);
        assert!(!fits(Path::new(&format!("/{}", "a".repeat(100)))));
    }

    #[test]
    fn the_configuration_is_valid() {
        let text = configuration()
            + "[apps.shop.environments.production]\nhosts = [\"a.localhost\"]\nupstreams = [\"http://127.0.0.1:1\"]\n";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("proxy.toml");
        std::fs::write(&path, text).unwrap();
        let loaded = config::load(&path, []).unwrap();
        assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    }

    #[test]
    fn paths_are_quoted_for_the_shell() {
        assert_eq!(quoted(Path::new("/tmp/a-b.c/proxy.toml")), "/tmp/a-b.c/proxy.toml");
        assert_eq!(quoted(Path::new("/tmp/it's a")), r"'/tmp/it'\''s a'");
    }
}
