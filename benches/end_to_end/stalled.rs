//! A thousand clients that stall, of each kind, while honest ones go on: the first are to be hung up on within their
//! limit and a second, the others are to notice little.

use std::net::SocketAddr;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use portcullis::credential::{Kind as Credential, Plaintext};

use super::child::{Core, Process};
use super::crowd::{Crowd, HEADER_TIMEOUT, IDLE_TIMEOUT, Kind, OTHER_HOST, stayed};
use super::peer::{free_address, start_gateway};
use super::sample::Spread;
use super::site::{HOST, STORE, Site, mint, own};
use super::steady::{Pace, Steady, percentile};

/// How much later than its limit a client may be hung up on.
const GRACE: Duration = Duration::from_secs(1);
const CALM: Duration = Duration::from_secs(4);
/// Of the honest ones.
const PACE: Pace = Pace { connections: 32, requests_per_second: 500, warm_up: Duration::ZERO };
/// The app of those that stall is another one: a thousand large answers keep it busy, and honest clients are not to wait
/// for that.
const OTHER_APP: &str = "bulk";
/// A thousand answers of 1 MiB that wait in the kernel would be a gigabyte to copy there, on the core of the honest ones.
const SEND_BUFFER: &str = "65536";

/// Runs all kinds one after the other, again and again. Fails if a client was hung up on too late.
pub(super) fn run(clients: usize, kinds: &[Kind], rounds: usize) -> Result<()> {
    let kinds = if kinds.is_empty() { Kind::value_variants() } else { kinds };
    let site = Site::prepare()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let encrypted = free_address()?;
    let (_other, other) = own(Core::Yielding, &["app", "--send-buffer", SEND_BUFFER])?;
    let stalling = Plaintext::generate(Credential::Token)?;
    let (gateway, address) = gateway(&site, encrypted, other, &stalling)?;
    runtime.block_on(async {
        let bearer = site.token().reveal();
        let request: Arc<[u8]> =
            format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {bearer}\r\n\r\n")
                .into_bytes()
                .into();
        let paths = [address, site.app];
        // Before anything counts: connections to the app come into being.
        Honest::start(&gateway, paths, &request)?.after(CALM).await?;

        let mut outcomes: Vec<(Kind, Vec<Turn>)> = kinds.iter().map(|kind| (*kind, Vec::new())).collect();
        for _ in 0..rounds {
            for (kind, turns) in &mut outcomes {
                let calm = Honest::start(&gateway, paths, &request)?.after(CALM).await?;
                let honest = Honest::start(&gateway, paths, &request)?;
                let crowd = Crowd {
                    kind: *kind,
                    gateway: if *kind == Kind::HalfHandshake { encrypted } else { address },
                    clients,
                    bearer: stalling.reveal().to_owned(),
                };
                let last = stayed(crowd.start()?).await.with_context(|| format!("{kind}"))?;
                turns.push(Turn { calm, stalled: honest.after(Duration::ZERO).await?, last });
            }
        }
        println!("{clients} stalled clients of each kind, {rounds} times, 500 honest requests a second\n");
        println!(
            "{:<18}{:>8}{:>13}{:>8}{:>8}{:>13}{:>20}{:>20}{:>8}",
            "", "limit", "last closed", "p50 ms", "p99 ms", "calm p99 ms", "to calm", "unproxied", "CPU ms"
        );
        let mut late = Vec::new();
        for (kind, turns) in &outcomes {
            late.extend((!print(*kind, turns)).then_some(*kind));
        }
        ensure!(late.is_empty(), "hung up on too late: {late:?}");
        Ok(())
    })
}

/// One time that clients of a kind stalled, and the calm right before, for the machine changes its pace by the minute.
struct Turn {
    calm: Times,
    stalled: Times,
    /// When the last of them was hung up on.
    last: Duration,
}

/// Prints a kind's turns; returns whether all clients were hung up on in time.
fn print(kind: Kind, turns: &[Turn]) -> bool {
    let limit = kind.limit();
    let last = turns.iter().map(|turn| turn.last).max().unwrap_or_default();
    let of = |figure: fn(&Turn) -> f64| Spread::of(turns.iter().map(figure));
    println!(
        "{:<18}{:>6.1} s{:>11.2} s{:>8.2}{:>8.2}{:>13.2}{:>20}{:>20}{:>8.0}",
        kind.to_string(),
        limit.as_secs_f64(),
        last.as_secs_f64(),
        of(|turn| ms(percentile(&turn.stalled.proxied, 50.0))).median,
        of(|turn| ms(percentile(&turn.stalled.proxied, 99.0))).median,
        of(|turn| ms(percentile(&turn.calm.proxied, 99.0))).median,
        of(|turn| ratio(&turn.stalled.proxied, &turn.calm.proxied)).show(2),
        of(|turn| ratio(&turn.stalled.unproxied, &turn.calm.unproxied)).show(2),
        of(|turn| turn.stalled.cpu / 1e3).median,
    );
    last <= limit + GRACE
}

/// Honest clients, and as many past the gateway: what these wait for, nobody waits for because of the gateway.
struct Honest<'a> {
    gateway: &'a Process,
    proxied: Steady,
    unproxied: Steady,
    /// What the gateway had used.
    cpu: f64,
}

impl<'a> Honest<'a> {
    fn start(
        gateway: &'a Process,
        [proxied, unproxied]: [SocketAddr; 2],
        request: &Arc<[u8]>,
    ) -> Result<Self> {
        let [proxied, unproxied] = [proxied, unproxied].map(|to| Steady::start(to, request, PACE));
        Ok(Self { gateway, proxied, unproxied, cpu: gateway.cpu()? })
    }

    /// Ends them after a while.
    async fn after(self, while_: Duration) -> Result<Times> {
        tokio::time::sleep(while_).await;
        let cpu = self.gateway.cpu()? - self.cpu;
        Ok(Times { proxied: self.proxied.stop().await?, unproxied: self.unproxied.stop().await?, cpu })
    }
}

/// How it went for them.
struct Times {
    proxied: Vec<Duration>,
    unproxied: Vec<Duration>,
    /// What the gateway used, in microseconds.
    cpu: f64,
}

/// How many times as long 99 of 100 waited.
fn ratio(stalled: &[Duration], calm: &[Duration]) -> f64 {
    ms(percentile(stalled, 99.0)) / ms(percentile(calm, 99.0))
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn gateway(
    site: &Site,
    encrypted: SocketAddr,
    other: SocketAddr,
    stalling: &Plaintext,
) -> Result<(Process, SocketAddr)> {
    let text = format!(
        "[gateway]\nlisten = [\"127.0.0.1:0\"]\nworkers = 1\n\n\
         [[gateway.tls]]\nlisten = \"{encrypted}\"\ncertificate = \"{}\"\nprivate_key = \"{}\"\n\n\
         [gateway.limits]\nheader_timeout = \"{}s\"\nidle_timeout = \"{}s\"\n\n\
         [gateway.access_log]\npath = \"stalled.log\"\n\n\
         [admin]\nlisten = \"127.0.0.1:0\"\n\n\
         [apps.shop.environments.production]\nhosts = [\"{HOST}\"]\nupstreams = [\"http://{}\"]\n\n\
         [apps.{OTHER_APP}.environments.production]\nhosts = [\"{OTHER_HOST}\"]\nupstreams = [\"http://{other}\"]\n",
        site.certificate().display(),
        site.key().display(),
        HEADER_TIMEOUT.as_secs(),
        IDLE_TIMEOUT.as_secs(),
        site.app,
    );
    let home = site.home("stalled")?;
    site.copy_store(&home)?;
    mint(&home.join(STORE), slice::from_ref(stalling), OTHER_APP)?;
    start_gateway(&home, Core::Proxy, &text)
}
