//! The proxies: the gateway itself, the floor, and others that let in the same tokens, say the same about the client
//! to the app, and keep an access log.

use std::fmt::Write as _;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};

use super::child::{Core, Process, pinned};
use super::load::Workload;
use super::site::{HOST, Site, own};

/// A proxy that is ready to be measured.
pub(super) struct Peer {
    pub name: &'static str,
    pub address: SocketAddr,
    pub process: Process,
    /// Where it logs each request; the floor knows nothing of requests.
    pub log: Option<PathBuf>,
    /// Whether it tells tokens apart.
    judges: bool,
}

impl Peer {
    pub(super) fn can(&self, workload: Workload) -> bool {
        self.judges || workload != Workload::Deny
    }
}

/// Starts them all, the gateway first. Those that are not installed are left out, and said to be.
pub(super) fn start_all(site: &Site) -> Result<Vec<Peer>> {
    let mut peers = vec![portcullis(site)?, floor(site)?];
    for (name, version, start) in [
        ("nginx", "-v", nginx as fn(&Site) -> Result<Peer>),
        ("haproxy", "-v", haproxy as fn(&Site) -> Result<Peer>),
    ] {
        match Command::new(name).arg(version).output() {
            Ok(output) => {
                let said = [output.stdout, output.stderr].concat();
                println!("{}", String::from_utf8_lossy(&said).lines().next().unwrap_or(name));
                peers.push(start(site).with_context(|| format!("cannot start {name}"))?);
            }
            Err(error) => println!("{name} is left out: {error}"),
        }
    }
    println!();
    Ok(peers)
}

/// The gateway itself, with a configuration of one's own; its store holds the site's tokens.
pub(super) fn gateway(site: &Site, configuration: &str) -> Result<(Process, SocketAddr)> {
    site.fill_store("portcullis.db")?;
    site.write("proxy.toml", configuration)?;
    let mut command = pinned(Core::Proxy, env!("CARGO_BIN_EXE_portcullis"));
    command.args(["serve", "--config"]).arg(site.folder().join("proxy.toml")).stderr(Stdio::piped());
    let mut process = Process::start(&mut command)?;
    let stderr = process.child().stderr.take().context("no standard error")?;
    let address = Process::announced(stderr, |line| {
        line.strip_prefix("portcullis: gateway listens on http://")?.parse().ok()
    })?;
    Ok((process, address))
}

fn portcullis(site: &Site) -> Result<Peer> {
    // Refusing strangers after so many tries would leave nothing of the workload that is refused.
    let text = format!(
        "[gateway]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n\n\
         [gateway.limits]\nauth_failures_per_minute = 0\n\n\
         [gateway.access_log]\npath = \"portcullis.log\"\n\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n\n\
         [apps.shop.environments.production]\nhosts = [\"{HOST}\"]\nupstreams = [\"http://{}\"]\n",
        site.app
    );
    let (process, address) = gateway(site, &text)?;
    let log = Some(site.folder().join("portcullis.log"));
    Ok(Peer { name: "portcullis", address, process, log, judges: true })
}

fn floor(site: &Site) -> Result<Peer> {
    let (process, address) = own(Core::Proxy, &["forwarder", &site.app.to_string()])?;
    Ok(Peer { name: "floor", address, process, log: None, judges: false })
}

/// nginx with one worker. Its map holds the tokens in the clear, for it has no hash to look them up by.
fn nginx(site: &Site) -> Result<Peer> {
    let (folder, address) = (site.folder().display(), free_address()?);
    let mut tokens = String::new();
    for (number, token) in site.tokens.iter().enumerate() {
        let _ = writeln!(tokens, "\"Bearer {}\" tok_{number};", token.reveal());
    }
    site.write("nginx.map", &tokens)?;
    let text = format!(
        r#"daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.error;
events {{ worker_connections 4096; }}
http {{
  log_format json escape=json '{{"ts":"$time_iso8601","request_id":"$request_id","token_id":"$token_id","status":$status,"method":"$request_method","path":"$uri","protocol":"$server_protocol","client":"$remote_addr","upstream":"$upstream_addr","bytes_in":$request_length,"bytes_out":$body_bytes_sent,"duration_s":$request_time,"upstream_s":"$upstream_response_time"}}';
  access_log {folder}/nginx.log json buffer=32k flush=1s;
  map_hash_max_size 65536;
  map_hash_bucket_size 128;
  map $http_authorization $token_id {{ default ""; include {folder}/nginx.map; }}
  keepalive_requests 1000000000;
  upstream app {{ server {app}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen {address};
    server_name {HOST};
    location / {{
      default_type application/problem+json;
      if ($token_id = "") {{ return 401 '{{"status":401,"code":"token_unknown","request_id":"$request_id"}}'; }}
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header Authorization "";
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $host;
      proxy_set_header X-Forwarded-Port $server_port;
      proxy_set_header X-Request-Id $request_id;
      proxy_set_header X-Token-Id $token_id;
      add_header X-Request-Id $request_id always;
    }}
  }}
}}
"#,
        app = site.app
    );
    site.write("nginx.conf", &text)?;
    let mut command = pinned(Core::Proxy, "nginx");
    command
        .arg("-p")
        .arg(site.folder())
        .arg("-c")
        .arg(site.folder().join("nginx.conf"))
        .stderr(Stdio::null());
    let process = Process::start(&mut command)?;
    let log = Some(site.folder().join("nginx.log"));
    Ok(Peer { name: "nginx", address, process, log, judges: true })
}

/// HAProxy with one thread, looking tokens up by their SHA-256. Its log goes to standard output, a line at a time: it
/// writes no files of its own.
fn haproxy(site: &Site) -> Result<Peer> {
    let (folder, address) = (site.folder().display(), free_address()?);
    let mut tokens = String::new();
    for (number, token) in site.tokens.iter().enumerate() {
        for byte in Sha256::digest(token.reveal()) {
            let _ = write!(tokens, "{byte:02X}");
        }
        let _ = writeln!(tokens, " tok_{number}");
    }
    site.write("haproxy.map", &tokens)?;
    let text = format!(
        r#"global
  nbthread 1
  maxconn 4096
  log stdout format raw local0
defaults
  mode http
  log global
  timeout connect 5s
  timeout client 75s
  timeout server 60s
  option http-keep-alive
frontend front
  bind {address}
  unique-id-format %[uuid]
  unique-id-header X-Request-Id
  log-format '{{"ts":"%tr","request_id":"%ID","token_id":"%[var(txn.token_id)]","status":%ST,"method":"%HM","path":"%HPO","protocol":"%HV","client":"%ci","upstream":"%si:%sp","bytes_in":%U,"bytes_out":%B,"duration_ms":%Ta,"upstream_ms":%Tr}}'
  http-request set-var(txn.token_id) req.hdr(authorization),word(2,' '),sha2(256),hex,map_str({folder}/haproxy.map)
  http-request return status 401 content-type application/problem+json lf-string '{{"status":401,"code":"token_unknown","request_id":"%ID"}}' unless {{ var(txn.token_id) -m found }}
  http-request del-header authorization
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto http
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Forwarded-Port %[dst_port]
  http-request set-header X-Token-Id %[var(txn.token_id)]
  http-response set-header X-Request-Id %[unique-id]
  default_backend app
backend app
  http-reuse always
  server app {app} pool-max-conn -1
"#,
        app = site.app
    );
    site.write("haproxy.cfg", &text)?;
    let log = site.folder().join("haproxy.log");
    let mut command = pinned(Core::Proxy, "haproxy");
    command.args(["-db", "-f"]).arg(site.folder().join("haproxy.cfg"));
    let out = File::options().create(true).append(true).open(&log)?;
    let process = Process::start(command.stdout(out).stderr(Stdio::null()))?;
    Ok(Peer { name: "haproxy", address, process, log: Some(log), judges: true })
}

/// An address that is free now, for programs that cannot say which one they were given.
pub(super) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
