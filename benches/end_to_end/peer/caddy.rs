//! Caddy. The nearest that it has to a look-up is `map`, which goes through its values one by one.

use std::fmt::Write as _;
use std::process::Stdio;

use anyhow::Result;

use super::super::child::{Process, pinned};
use super::{Ground, Started, free_address};

pub(super) fn start(ground: &Ground<'_>) -> Result<Started> {
    let (plain, encrypted) = (free_address()?, free_address()?);
    let mut tokens = String::new();
    for (number, token) in ground.site.tokens.iter().enumerate() {
        let _ = writeln!(tokens, "    \"Bearer {}\" tok_{number}", token.reveal());
    }
    let text = format!(
        r#"{{
  admin off
  auto_https off
  persist_config off
}}
(all) {{
  bind 127.0.0.1
  log {{
    output file {home}/access.log {{
      roll_disabled
    }}
    format json
  }}
  map {{http.request.header.Authorization}} {{token_id}} {{
{tokens}    default ""
  }}
  @stranger vars {{token_id}} ""
  respond @stranger `{{"status":401,"code":"token_unknown"}}` 401
  header X-Request-Id {{http.request.uuid}}
  reverse_proxy {app} {{
    header_up -Authorization
    header_up X-Forwarded-Port {{http.request.local.port}}
    header_up X-Request-Id {{http.request.uuid}}
    header_up X-Token-Id {{token_id}}
    transport http {{
      keepalive_idle_conns_per_host 256
    }}
  }}
}}
http://:{plain} {{
  import all
}}
https://:{encrypted} {{
  tls {certificate} {key}
  import all
}}
"#,
        home = ground.home.display(),
        plain = plain.port(),
        encrypted = encrypted.port(),
        app = ground.site.app,
        certificate = ground.site.certificate().display(),
        key = ground.site.key().display(),
    );
    let path = ground.write("Caddyfile", &text)?;
    let mut command = pinned(ground.plan.core, &ground.program);
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(path);
    command.env("GOMAXPROCS", ground.plan.workers.to_string());
    let process = Process::start(command.env("XDG_DATA_HOME", ground.home).stderr(Stdio::null()))?;
    Ok(Started { process, plain, encrypted, log: ground.log("\"status\":") })
}
