//! How soon a revocation is in force while the gateway has all it can do.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::child::{Core, Process};
use super::super::peer::start_gateway;
use super::super::site::{HOST, Site};
use super::super::workload::Workload;
use super::super::wrk;
use super::Times;
use super::admin::Admin;
use super::stored::configuration;

const TOKENS: usize = 300;
/// From one revocation to the next.
const PACE: Duration = Duration::from_millis(20);
const CONNECTIONS: usize = 64;

/// From a revocation's request to its answer, which says that it is in force; each is then seen to be.
pub(super) fn run(site: &Site) -> Result<Times> {
    let home = site.home("revoked")?;
    site.copy_store(&home)?;
    let (_gateway, address) = start_gateway(&home, Core::Proxy, &configuration(site))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut admin = Admin::connect(&home).await?;
        let mut minted = Vec::with_capacity(TOKENS);
        for _ in 0..TOKENS {
            minted.push(admin.mint().await?);
        }
        let request = Workload::Get.request(site);
        let long = Duration::from_secs(60);
        let mut load =
            wrk::command(site, &format!("http://{address}"), &request, CONNECTIONS, long, Core::Others)?;
        let _load = Process::start(load.stdout(std::process::Stdio::null()))?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut holder = TcpStream::connect(address).await?;
        let mut times = Vec::with_capacity(TOKENS);
        for (id, token) in &minted {
            let before = status(&mut holder, token).await?;
            ensure!(before == 200, "a minted token is answered {before}");
            let began = Instant::now();
            admin.revoke(id).await?;
            times.push(began.elapsed());
            let after = status(&mut holder, token).await?;
            ensure!(after == 401, "a revoked token is answered {after}");
            tokio::time::sleep(PACE).await;
        }
        Ok(Times::of(times))
    })
}

/// How a request with a token is answered, over a connection that is kept.
async fn status(stream: &mut TcpStream, token: &str) -> Result<u16> {
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::with_capacity(4096);
    loop {
        ensure!(stream.read_buf(&mut answer).await? > 0, "the gateway hung up");
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(end) = head.parse(&answer)? else { continue };
        let length = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
        let length = length.map_or(Ok("0"), |field| std::str::from_utf8(field.value))?;
        if answer.len() >= end + length.trim().parse::<usize>()? {
            return Ok(head.code.unwrap_or_default());
        }
    }
}
