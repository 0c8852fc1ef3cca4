//! Traefik. The nearest that it has is a route for one value of a header: it gets a single token.

use std::process::Stdio;

use anyhow::Result;
use serde_json::json;

use super::super::child::{Process, pinned};
use super::{Ground, Started, free_address};

pub(super) fn start(ground: &Ground<'_>) -> Result<Started> {
    let (plain, encrypted) = (free_address()?, free_address()?);
    let rule = format!("Header(`Authorization`, `Bearer {}`)", ground.site.token().reveal());
    let route = |secure: bool| {
        let mut route = json!({
            "rule": rule,
            "service": "app",
            "middlewares": ["identity"],
            "entryPoints": [if secure { "encrypted" } else { "plain" }],
        });
        if secure {
            route["tls"] = json!({});
        }
        route
    };
    let routes = json!({
        "http": {
            "routers": { "plain": route(false), "encrypted": route(true) },
            "middlewares": { "identity": { "headers": {
                "customRequestHeaders": { "Authorization": "", "X-Token-Id": "tok_0" },
            } } },
            "services": { "app": { "loadBalancer": {
                "servers": [{ "url": format!("http://{}", ground.site.app) }],
                "serversTransport": "kept",
            } } },
            "serversTransports": { "kept": { "maxIdleConnsPerHost": 256 } },
        },
        "tls": { "certificates": [
            { "certFile": ground.site.certificate(), "keyFile": ground.site.key() },
        ] },
    });
    let routes = ground.write("routes.yml", &routes.to_string())?;
    let text = json!({
        "global": { "checkNewVersion": false, "sendAnonymousUsage": false },
        "log": { "level": "ERROR" },
        "entryPoints": {
            "plain": { "address": plain.to_string() },
            "encrypted": { "address": encrypted.to_string() },
        },
        "providers": { "file": { "filename": routes, "watch": false } },
        "accessLog": { "filePath": ground.home.join("access.log"), "format": "json", "bufferingSize": 100 },
    });
    let path = ground.write("traefik.yml", &text.to_string())?;
    let mut command = pinned(ground.plan.core, &ground.program);
    command.arg("--configFile").arg(path).env("GOMAXPROCS", ground.plan.workers.to_string());
    let process = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
    Ok(Started { process, plain, encrypted, log: ground.log("\"DownstreamStatus\":") })
}
