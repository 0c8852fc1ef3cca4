//! nginx. Its map holds the tokens in the clear, for it has no hash to look them up by.

use std::fmt::Write as _;
use std::process::Stdio;

use anyhow::Result;

use super::super::child::{Process, pinned};
use super::super::site::{HOST, PARAMETER};
use super::{Ground, Started, free_address};

pub(super) fn start(ground: &Ground<'_>) -> Result<Started> {
    let (plain, encrypted) = (free_address()?, free_address()?);
    let (mut by_header, mut by_query) = (String::new(), String::new());
    for (number, token) in ground.site.tokens.iter().enumerate() {
        let _ = writeln!(by_header, "\"Bearer {}\" tok_{number};", token.reveal());
        let _ = writeln!(by_query, "\"{}\" tok_{number};", token.reveal());
    }
    ground.write("header.map", &by_header)?;
    ground.write("query.map", &by_query)?;
    let text = format!(
        r#"daemon off;
user root;
worker_processes {workers};
worker_rlimit_nofile 20000;
pid {home}/nginx.pid;
error_log {home}/nginx.error;
events {{ worker_connections 16000; }}
http {{
  log_format json escape=json '{{"ts":"$time_iso8601","request_id":"$request_id","token_id":"$token_id","status":$status,"method":"$request_method","path":"$uri","protocol":"$server_protocol","client":"$remote_addr","upstream":"$upstream_addr","bytes_in":$request_length,"bytes_out":$body_bytes_sent,"duration_s":$request_time,"upstream_s":"$upstream_response_time"}}';
  access_log {home}/access.log json buffer=32k flush=1s;
  map_hash_max_size 65536;
  map_hash_bucket_size 128;
  map $http_authorization $by_header {{ default ""; include {home}/header.map; }}
  map $arg_{PARAMETER} $by_query {{ default ""; include {home}/query.map; }}
  map $by_header $token_id {{ "" $by_query; default $by_header; }}
  map $args $other_args {{ default $args; "~^(?<before>.*?)&?{PARAMETER}=[^&]*(?<after>.*)$" $before$after; }}
  keepalive_requests 1000000000;
  upstream app {{ server {app}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen {plain} backlog=4096;
    listen {encrypted} ssl http2 backlog=4096;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    server_name {HOST};
    location / {{
      default_type application/problem+json;
      if ($token_id = "") {{ return 401 '{{"status":401,"code":"token_unknown","request_id":"$request_id"}}'; }}
      if ($arg_{PARAMETER}) {{ set $args $other_args; }}
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
        home = ground.home.display(),
        workers = ground.plan.workers,
        app = ground.site.app,
        certificate = ground.site.certificate().display(),
        key = ground.site.key().display(),
    );
    let path = ground.write("nginx.conf", &text)?;
    let mut command = pinned(ground.plan.core, &ground.program);
    command.arg("-p").arg(ground.home).arg("-c").arg(path).stderr(Stdio::null());
    let process = Process::start(&mut command)?;
    Ok(Started { process, plain, encrypted, log: ground.log("\"status\":") })
}
