//! HAProxy, looking tokens up by their SHA-256. Its log goes to standard output, a line at a time: it writes no files of
//! its own.

use std::fmt::Write as _;
use std::fs::File;
use std::process::Stdio;

use anyhow::Result;
use sha2::{Digest as _, Sha256};

use super::super::child::{Process, pinned};
use super::super::site::PARAMETER;
use super::{Ground, Kind, Started, free_address, with_libraries};

pub(super) fn start(ground: &Ground<'_>, kind: Kind) -> Result<Started> {
    let (plain, encrypted) = (free_address()?, free_address()?);
    let mut tokens = String::new();
    for (number, token) in ground.site.tokens.iter().enumerate() {
        for byte in Sha256::digest(token.reveal()) {
            let _ = write!(tokens, "{byte:02X}");
        }
        let _ = writeln!(tokens, " tok_{number}");
    }
    ground.write("haproxy.map", &tokens)?;
    let text = format!(
        r#"global
  nbthread {threads}
  maxconn 10200
  no strict-limits
  log stdout format raw local0
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode http
  log global
  timeout connect 5s
  timeout client 75s
  timeout server 60s
  option http-keep-alive
frontend front
  bind {plain} backlog 4096
  bind {encrypted} backlog 4096 ssl crt {pair} alpn h2,http/1.1
  unique-id-format %[uuid]
  unique-id-header X-Request-Id
  log-format '{{"ts":"%tr","request_id":"%ID","token_id":"%[var(txn.token_id)]","status":%ST,"method":"%HM","path":"%HPO","protocol":"%HV","client":"%ci","upstream":"%si:%sp","bytes_in":%U,"bytes_out":%B,"duration_ms":%Ta,"upstream_ms":%Tr}}'
  http-request set-var(txn.token_id) req.hdr(authorization),word(2,' '),sha2(256),hex,map_str({home}/haproxy.map)
  acl in_query url_param({PARAMETER}) -m found
  http-request set-var(txn.token_id) url_param({PARAMETER}),sha2(256),hex,map_str({home}/haproxy.map) if in_query
  http-request return status 401 content-type application/problem+json lf-string '{{"status":401,"code":"token_unknown","request_id":"%ID"}}' unless {{ var(txn.token_id) -m found }}
  http-request set-query %[query,regsub(\"&?{PARAMETER}=[^&]*\",,)] if in_query
  http-request del-header authorization
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto http unless {{ ssl_fc }}
  http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Forwarded-Port %[dst_port]
  http-request set-header X-Token-Id %[var(txn.token_id)]
  http-response set-header X-Request-Id %[unique-id]
  default_backend app
backend app
  http-reuse always
  server app {app} pool-max-conn -1
"#,
        threads = ground.plan.workers,
        home = ground.home.display(),
        pair = ground.site.pair().display(),
        app = ground.site.app,
    );
    let path = ground.write("haproxy.cfg", &text)?;
    let mut log = ground.log("\"status\":");
    if let Some(log) = &mut log {
        // A thread that finds another one writing throws its line away.
        log.whole = ground.plan.workers == 1;
    }
    let out = File::options().create(true).append(true).open(ground.home.join("access.log"))?;
    let mut command = pinned(ground.plan.core, &ground.program);
    with_libraries(&mut command, kind).args(["-db", "-f"]).arg(path).stdout(out);
    let process = Process::start(command.stderr(Stdio::null()))?;
    Ok(Started { process, plain, encrypted, log })
}
