//! Health checks: an app is asked now and then whether it is well, over the way that requests take.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::{sleep, timeout};

use super::Target;
use super::dial::{self, Protocol};
use crate::config::{Environment, HealthCheck, HostHeader};
use crate::model::{HostPattern, Upstream};

const USER_AGENT: HeaderValue = HeaderValue::from_static("portcullis-health-check");
/// What hyper may buffer of an answer.
const BUFFER: usize = 64 * 1024;
/// Checks are moved by up to this part of their interval, so that not all come at once.
const JITTER: f64 = 0.1;

/// How one upstream is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Check {
    rules: HealthCheck,
    authority: Authority,
}

/// Why an app does not count as well.
#[derive(Debug, thiserror::Error)]
enum Unwell {
    #[error(transparent)]
    Unconnected(#[from] dial::Unconnected),
    #[error("no valid answer: {0}")]
    Unanswered(#[from] hyper::Error),
    #[error("the answer was {0}")]
    Status(http::StatusCode),
    #[error("no answer in time")]
    TimedOut,
    #[error("the question cannot be put: {0}")]
    Unasked(#[from] http::Error),
}

/// How often in a row the last outcome was the same.
#[derive(Debug, Default)]
struct Streak {
    well: u32,
    unwell: u32,
}

impl Check {
    /// With the environment's first host, as far as it is one, for the app may know only these.
    pub(super) fn new(rules: &HealthCheck, environment: &Environment, address: &Upstream) -> Self {
        let own = || address.authority().parse().unwrap_or_else(|_| Authority::from_static("localhost"));
        let first = environment.hosts.iter().find_map(|host| match host {
            HostPattern::Exact(host) => host.parse().ok(),
            HostPattern::Wildcard(_) => None,
        });
        let authority = match environment.host_header {
            HostHeader::Preserve => first.unwrap_or_else(own),
            HostHeader::Upstream => own(),
        };
        Self { rules: rules.clone(), authority }
    }

    /// Asks again and again, and keeps the target's standing, for as long as this is polled.
    pub(super) async fn run(&self, target: &Target) {
        let mut streak = Streak::default();
        loop {
            let outcome = match timeout(self.rules.timeout, self.ask(target)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Unwell::TimedOut),
            };
            self.judge(target, &mut streak, outcome);
            sleep(jittered(self.rules.interval)).await;
        }
    }

    fn judge(&self, target: &Target, streak: &mut Streak, outcome: Result<(), Unwell>) {
        let is_down = target.standing.is_down();
        match outcome {
            Ok(()) => {
                *streak = Streak { well: streak.well.saturating_add(1), unwell: 0 };
                if is_down && streak.well >= self.rules.healthy_after {
                    target.standing.down.store(false, Ordering::Relaxed);
                    tracing::info!("{target} is up: its health check succeeds");
                }
            }
            Err(unwell) => {
                *streak = Streak { well: 0, unwell: streak.unwell.saturating_add(1) };
                if !is_down && streak.unwell >= self.rules.unhealthy_after {
                    target.standing.down.store(true, Ordering::Relaxed);
                    tracing::warn!("{target} is down: its health check fails: {unwell}");
                }
            }
        }
    }

    async fn ask(&self, target: &Target) -> Result<(), Unwell> {
        // Not counted among the connections that may be open: an app that is busy is not for that reason unwell.
        let (stream, protocol) = dial::dial(target, self.rules.timeout, None).await?;
        let io = TokioIo::new(stream);
        let response = match protocol {
            Protocol::Http1 => {
                let (mut sender, connection) =
                    http1::Builder::new().max_buf_size(BUFFER).handshake(io).await?;
                let mut request = Request::get(Uri::from(self.rules.path.clone()));
                if let Some(headers) = request.headers_mut() {
                    headers.insert(
                        header::HOST,
                        HeaderValue::from_str(self.authority.as_str()).map_err(http::Error::from)?,
                    );
                    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                answer(sender.send_request(question(request)?), connection).await?
            }
            Protocol::Http2 => {
                let (mut sender, connection) =
                    http2::Builder::new(TokioExecutor::new()).handshake(io).await?;
                let scheme = if target.address.is_https() { Scheme::HTTPS } else { Scheme::HTTP };
                let path: PathAndQuery = self.rules.path.clone();
                let uri =
                    Uri::builder().scheme(scheme).authority(self.authority.clone()).path_and_query(path);
                answer(sender.send_request(question(Request::get(uri.build()?))?), connection).await?
            }
        };
        let status = response.status();
        if status.is_success() || status.is_redirection() { Ok(()) } else { Err(Unwell::Status(status)) }
    }
}

fn question(request: http::request::Builder) -> Result<Request<Empty<Bytes>>, http::Error> {
    request.header(header::USER_AGENT, USER_AGENT).body(Empty::new())
}

/// The answer's head; the connection is driven only as long as that takes.
async fn answer(
    answer: impl Future<Output = hyper::Result<Response<Incoming>>>,
    connection: impl Future<Output = hyper::Result<()>>,
) -> hyper::Result<Response<Incoming>> {
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = connection => {
            ended?;
            answer.await
        }
    }
}

fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(1.0 + JITTER * (fastrand::f64() * 2.0 - 1.0))
}
