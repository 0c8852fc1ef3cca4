//! Envoy, with its filter for API keys.

use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::Result;
use serde_json::{Value, json};

use super::super::child::{Process, pinned};
use super::super::site::PARAMETER;
use super::{Ground, Started, free_address};

const TYPES: &str = "type.googleapis.com/envoy.extensions";

pub(super) fn start(ground: &Ground<'_>) -> Result<Started> {
    let (plain, encrypted) = (free_address()?, free_address()?);
    let secure = json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": format!("{TYPES}.transport_sockets.tls.v3.DownstreamTlsContext"),
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_certificates": [{
                    "certificate_chain": { "filename": ground.site.certificate() },
                    "private_key": { "filename": ground.site.key() },
                }],
            },
        },
    });
    // It is told nothing that it does by itself: it reuses connections, and tells the app who the client is.
    let text = json!({
        "static_resources": {
            "listeners": [
                listener(ground, "plain", plain, None),
                listener(ground, "encrypted", encrypted, Some(secure)),
            ],
            "clusters": [{
                "name": "app",
                "type": "STATIC",
                "connect_timeout": "5s",
                "circuit_breakers": { "thresholds": [{
                    "max_connections": 16000, "max_pending_requests": 16000, "max_requests": 16000,
                }] },
                "load_assignment": { "cluster_name": "app", "endpoints": [{ "lb_endpoints": [
                    { "endpoint": { "address": address(ground.site.app) } },
                ] }] },
            }],
        },
    });
    let path = ground.write("envoy.json", &text.to_string())?;
    let mut command = pinned(ground.plan.core, &ground.program);
    command
        .args(["--concurrency", &ground.plan.workers.to_string()])
        .args(["--disable-hot-restart", "--log-level", "error", "--file-flush-interval-msec", "1000"])
        .arg("-c")
        .arg(path)
        .stderr(Stdio::null());
    let process = Process::start(&mut command)?;
    Ok(Started { process, plain, encrypted, log: ground.log("\"status\":") })
}

fn address(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip(), "port_value": address.port() } })
}

fn listener(ground: &Ground<'_>, name: &str, at: SocketAddr, secure: Option<Value>) -> Value {
    let scheme = if secure.is_some() { "https" } else { "http" };
    let tokens = ground.site.tokens.iter().enumerate();
    let credentials: Vec<_> = tokens
        .map(|(number, token)| json!({ "key": token.reveal(), "client": format!("tok_{number}") }))
        .collect();
    let set = |name: &str, value: &str| {
        json!({
            "header": { "key": name, "value": value },
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        })
    };
    let manager = json!({
        "@type": format!("{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": name,
        "use_remote_address": true,
        "always_set_request_id_in_response": true,
        "access_log": [{
            "name": "envoy.access_loggers.file",
            "typed_config": {
                "@type": format!("{TYPES}.access_loggers.file.v3.FileAccessLog"),
                "path": ground.home.join("access.log"),
                // An object of its own kind would be written with its keys in an order of its own.
                "log_format": { "text_format_source": { "inline_string": concat!(
                    r#"{"ts":"%START_TIME%","request_id":"%REQ(X-REQUEST-ID)%","#,
                    r#""token_id":"%REQ(X-TOKEN-ID)%","status":%RESPONSE_CODE%,"#,
                    r#""method":"%REQ(:METHOD)%","path":"%PATH(NQ)%","#,
                    r#""protocol":"%PROTOCOL%","client":"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%","#,
                    r#""upstream":"%UPSTREAM_HOST%","bytes_in":%BYTES_RECEIVED%,"#,
                    r#""bytes_out":%BYTES_SENT%,"duration_ms":%DURATION%,"#,
                    r#""upstream_ms":"%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"}"#,
                    "\n",
                ) } },
            },
        }],
        "http_filters": [
            {
                "name": "envoy.filters.http.api_key_auth",
                "typed_config": {
                    "@type": format!("{TYPES}.filters.http.api_key_auth.v3.ApiKeyAuth"),
                    "credentials": credentials,
                    "key_sources": [{ "header": "Authorization" }, { "query": PARAMETER }],
                    "forwarding": { "header": "x-token-id", "hide_credentials": true },
                },
            },
            {
                "name": "envoy.filters.http.router",
                "typed_config": { "@type": format!("{TYPES}.filters.http.router.v3.Router") },
            },
        ],
        "route_config": { "virtual_hosts": [{
            "name": "app",
            "domains": ["*"],
            "request_headers_to_add": [
                set("X-Forwarded-Proto", scheme),
                set("X-Forwarded-Host", "%REQ(:AUTHORITY)%"),
                set("X-Forwarded-Port", "%DOWNSTREAM_LOCAL_PORT%"),
            ],
            "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "app", "timeout": "60s" } }],
        }] },
    });
    let mut chain = json!({ "filters": [
        { "name": "envoy.filters.network.http_connection_manager", "typed_config": manager },
    ] });
    if let Some(secure) = secure {
        chain["transport_socket"] = secure;
    }
    json!({ "name": name, "address": address(at), "tcp_backlog_size": 4096, "filter_chains": [chain] })
}
