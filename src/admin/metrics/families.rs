//! Every family of metrics: its name, what it says, and where its samples come from. No label holds what a stranger
//! sent: apps, environments and upstreams are the configuration's, codes and classes are the contract's.

use std::collections::BTreeMap;
use std::fmt::Result;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::Sources;
use super::process::Process;
use crate::board::Totals;
use crate::board::client::{Clients, HangUp, Protocol};
use crate::board::upstream::Standing;
use crate::control::{Expiring, LeakCounts, Needs};
use crate::model::{LeakKind, Refusal};
use crate::telemetry::{BOUNDS, Spread};
use crate::tls::Certificate;

/// Reads the sources whenever somebody asks.
#[derive(Debug)]
pub(super) struct Families {
    sources: Sources,
    expiring: Expiring,
    needs: Needs,
    leaks: LeakCounts,
    process: Process,
}

impl Families {
    pub(super) fn new(sources: Sources, expiring: Expiring, needs: Needs, leaks: LeakCounts) -> Self {
        Self { sources, expiring, needs, leaks, process: Process::new() }
    }
}

impl Collector for Families {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result {
        let mut page = Page(encoder);
        self.requests(&mut page)?;
        self.upstreams(&mut page)?;
        self.secrets(&mut page)?;
        self.leaks(&mut page)?;
        self.connections(&mut page)?;
        self.tls(&mut page)?;
        self.index(&mut page)?;
        self.store(&mut page)?;
        self.log(&mut page)?;
        self.process(&mut page)
    }
}

impl Families {
    fn requests(&self, page: &mut Page<'_>) -> Result {
        let known = self.sources.board.totals();
        let strangers = self.sources.board.strangers().totals();
        let all: Vec<([Label<'_>; 2], &Totals)> = known
            .iter()
            .map(|((app, environment), totals)| ((app.as_str(), environment.as_str()), totals))
            // Requests for hosts that no environment claims.
            .chain([(("", ""), &strangers)])
            .map(|((app, environment), totals)| ([("app", app), ("environment", environment)], totals))
            .collect();
        let each = |value: fn(&Totals) -> u64| {
            all.iter().map(move |(labels, totals)| (labels.to_vec(), value(totals))).collect::<Vec<_>>()
        };
        let spreads = |spread: fn(&Totals) -> Spread| {
            all.iter().map(move |(labels, totals)| (labels.to_vec(), spread(totals))).collect::<Vec<_>>()
        };
        let outcomes = all.iter().flat_map(|(labels, totals)| {
            totals.outcomes().map(|(refusal, class, count)| {
                let code = ("code", refusal.map_or("ok", Refusal::as_str));
                ([&labels[..], &[code, ("status_class", class_name(class))]].concat(), count)
            })
        });

        let help =
            "Requests that have ended, by the code and the first digit of the status that the access log has";
        page.counters("requests", help, None, outcomes)?;
        let help = "From the first look at a request to the end of its answer; tunnels are left out";
        page.histograms("request_duration", help, spreads(|totals| totals.duration))?;
        let help = "From the choice of an upstream to the head of its answer";
        page.histograms("upstream_duration", help, spreads(|totals| totals.upstream))?;
        let help = "Requests and tunnels that have not ended";
        page.gauges("requests_in_flight", help, None, each(|totals| totals.in_flight))?;
        let help =
            "Body bytes of requests that have ended, as they arrived; of tunnels, bytes from the client";
        page.counters("request_body", help, Some(&Unit::Bytes), each(|totals| totals.received))?;
        let help = "Body bytes of answers to requests that have ended, as they were sent; of tunnels, bytes to the client";
        page.counters("response_body", help, Some(&Unit::Bytes), each(|totals| totals.sent))?;
        page.counters("tunnels", "Upgraded connections", None, each(|totals| totals.tunnels))?;
        let help = "Upgraded connections that have not ended";
        page.gauges("tunnels_open", help, None, each(|totals| totals.tunnels_open))?;
        let help = "Secrets that an app sent back and that were taken out of its answers";
        page.counters("echoes_redacted", help, None, each(|totals| totals.redacted))?;
        let help = "Answers that came compressed where bodies are searched for secrets: they were passed on unsearched";
        page.counters("echoes_unsearched", help, None, each(|totals| totals.unsearched))
    }

    fn secrets(&self, page: &mut Page<'_>) -> Result {
        let unmet = self.needs.unmet();
        let samples = unmet.iter().map(|needed| {
            let labels = vec![
                ("app", needed.app.as_str()),
                ("environment", needed.environment.as_str()),
                ("secret", needed.secret.as_str()),
                ("reason", needed.reason),
            ];
            (labels, 1_u64)
        });
        let help = "1 for each secret that requests to an environment need and cannot have: they are refused";
        page.gauges("secret_unavailable", help, None, samples)
    }

    fn leaks(&self, page: &mut Page<'_>) -> Result {
        if let Some(count) = self.leaks.last() {
            let of = |kind: LeakKind| count.leaks.iter().find(|(found, _)| *found == kind);
            let samples = LeakKind::ALL
                .map(|kind| (vec![("kind", kind.as_str())], of(kind).map_or(0, |(_, count)| *count)));
            let help = "Leaks and warnings that are remembered, each once for the place that it was found in";
            page.gauges("leaks", help, None, samples)?;
            let samples = [("waiting", count.waiting), ("held", count.held), ("dead", count.given_up)]
                .map(|(status, count)| (vec![("status", status)], count));
            let help = "Notices that are not delivered: those that wait, those held for a channel that is not configured, and those that were given up";
            page.gauges("notices_undelivered", help, None, samples)?;
            let help = "Notices that there was no room for";
            page.counter("notices_dropped", help, count.dropped)?;
        }
        let away = &self.sources.board.questions.turned_away;
        let samples = [("full", &away.full), ("pushed_out", &away.pushed_out), ("unjudged", &away.unjudged)]
            .map(|(reason, count)| (vec![("reason", reason)], count.get()));
        let help = "Reports of leaks sent to the gateway that were not taken: there was no room, another came in their place, or nobody could judge them";
        page.counters("leak_reports_refused", help, None, samples)?;
        let help = "Signs of leaks that there was no room for";
        page.counter("leak_signs_dropped", help, self.sources.board.suspicions.dropped.get())
    }

    fn upstreams(&self, page: &mut Page<'_>) -> Result {
        let known = self.sources.board.upstreams.all();
        let mut all: Vec<_> = known
            .into_iter()
            .map(|(whose, standing)| ((whose.app, whose.environment, whose.address.to_string()), standing))
            .collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        let each = |value: fn(&Standing) -> u64| {
            all.iter().map(move |((app, environment, upstream), standing)| {
                let whose = [("app", app.as_str()), ("environment", environment.as_str())];
                ([&whose[..], &[("upstream", upstream.as_str())]].concat(), value(standing))
            })
        };
        let help = "1 while requests go there as a matter of course, 0 while it is left out or found down";
        page.gauges("upstream_healthy", help, None, each(|standing| standing.is_healthy().into()))?;
        let help = "Requests and tunnels under way to it";
        let in_flight = each(|standing| standing.in_flight.load(Ordering::Relaxed) as u64);
        page.gauges("upstream_requests_in_flight", help, None, in_flight)?;
        let help = "Requests that had to be sent again, there or elsewhere, because it failed them";
        page.counters("upstream_retries", help, None, each(|standing| standing.retries.get()))?;
        let help = "How often it was left out for a while because it failed request after request";
        page.counters("upstream_ejections", help, None, each(|standing| standing.ejections.get()))
    }

    fn connections(&self, page: &mut Page<'_>) -> Result {
        let board = &self.sources.board;
        page.gauge("connections", "Client connections open now", None, board.connections() as u64)?;
        page.counter("connections_accepted", "Client connections accepted", board.accepted.get())?;
        let help = "Attempts to accept a connection that failed, most likely for want of descriptors";
        page.counter("accept_errors", help, board.accept_errors.get())?;
        let refused = board.posts().iter().map(|post| post.clients.refused_heads.get()).sum();
        let help = "HTTP/1 heads that never became requests: malformed, too large or too slow; also among the requests";
        page.counter("heads_refused", help, refused)?;
        let sum =
            |count: &dyn Fn(&Clients) -> u64| board.posts().iter().map(|post| count(&post.clients)).sum();
        let spoken = Protocol::ALL.into_iter().flat_map(|protocol| {
            [("http", false), ("https", true)].map(|(scheme, encrypted)| {
                let labels = vec![("protocol", protocol.as_str()), ("scheme", scheme)];
                (labels, sum(&|clients| clients.spoken(protocol, encrypted)))
            })
        });
        let help = "Client connections by what is spoken on them, once that is clear";
        page.counters("connections_by_protocol", help, None, spoken)?;
        let ended =
            HangUp::ALL.map(|why| (vec![("reason", why.as_str())], sum(&|clients| clients.hung_up(why))));
        let help = "Client connections that the gateway ended for what the client did or did not do; those that were \
                    merely idle are left out";
        page.counters("connections_ended", help, None, ended)?;
        let draining = u64::from(board.draining());
        page.gauge(
            "draining",
            "1 while the gateway finishes what it has and takes nothing new",
            None,
            draining,
        )
    }

    fn tls(&self, page: &mut Page<'_>) -> Result {
        let handshakes = &self.sources.board.handshakes;
        let outcomes = handshakes.outcomes().map(|(outcome, count)| (vec![("outcome", outcome)], count));
        let help = "Handshakes of encrypted client connections, by how they ended";
        page.counters("tls_handshakes", help, None, outcomes)?;
        // Two entries of one address may name the same file.
        let certificates: BTreeMap<_, _> = self
            .sources
            .terminators
            .load()
            .iter()
            .flat_map(|terminator| {
                let listener = terminator.address.to_string();
                let of_file = |certificate: &Arc<Certificate>| {
                    let file = certificate.pair.certificate.display().to_string();
                    ((listener.clone(), file), certificate.not_after.as_second())
                };
                terminator.certificates().iter().map(of_file).collect::<Vec<_>>()
            })
            .collect();
        let expiries = certificates
            .iter()
            .map(|((listener, file), end)| (vec![("listener", &**listener), ("file", &**file)], *end));
        let help = "When a certificate that clients are shown ceases to be good, in Unix time";
        page.gauges("tls_certificate_expiry_timestamp", help, Some(&Unit::Seconds), expiries)
    }

    fn index(&self, page: &mut Page<'_>) -> Result {
        let Sources { board, index, committed, .. } = &self.sources;
        let following = &board.following;
        page.gauge(
            "index_tokens",
            "Tokens that the gateway knows, ended ones among them",
            None,
            index.len() as u64,
        )?;
        page.gauge("index_revision", "The revision that is in force", None, index.revision())?;
        let committed = *committed.borrow();
        page.gauge("store_revision", "The revision that the store has committed", None, committed)?;
        let behind = following.failing() || index.revision() < committed;
        let age = if behind { following.age(Instant::now()).as_secs_f64() } else { 0.0 };
        let help = "For how long the index has been behind the store; 0 while it is not";
        page.gauge("index_staleness", help, Some(&Unit::Seconds), age)?;
        let flushed = following.flushed.load(Ordering::Relaxed);
        if flushed > 0 {
            let help = "When last uses of tokens were last written down, in Unix time";
            page.gauge("last_use_flush_timestamp", help, Some(&Unit::Seconds), flushed as f64 / 1000.0)?;
        }
        let help = "Attempts to write last uses of tokens down that failed; they are tried again";
        page.counter("last_use_flush_errors", help, following.failed_flushes.get())?;
        let unwritten = following.unwritten_uses.load(Ordering::Relaxed);
        page.gauge(
            "last_uses_unwritten",
            "Last uses that the last attempt did not write down",
            None,
            unwritten,
        )
    }

    fn store(&self, page: &mut Page<'_>) -> Result {
        if let Some(count) = self.expiring.count() {
            let help =
                "Tokens in use that end within 7 days, counted once a minute and whenever there are new ones";
            page.gauge("tokens_expiring", help, None, count)?;
        }
        let operations = &self.sources.store;
        let kinds = [("read", &operations.reads), ("write", &operations.writes)];
        let spreads = kinds.map(|(kind, operation)| {
            let mut spread = Spread::default();
            spread.take_in(&operation.duration);
            (vec![("operation", kind)], spread)
        });
        let help = "How long the store took: of a read, its own time; of a write, from the queue to the disk";
        page.histograms("store_operation_duration", help, spreads)?;
        let errors = kinds.map(|(kind, operation)| (vec![("operation", kind)], operation.errors.get()));
        page.counters("store_errors", "Reads and writes of the store that failed", None, errors)
    }

    fn log(&self, page: &mut Page<'_>) -> Result {
        let log = &self.sources.log;
        let help = "Access-log lines that are in no file: the disk was full or did not keep up";
        page.counter("access_log_dropped_lines", help, log.dropped.get())?;
        page.counter(
            "access_log_write_errors",
            "Attempts to write the access log that failed",
            log.write_errors.get(),
        )
    }

    fn process(&self, page: &mut Page<'_>) -> Result {
        let version = env!("CARGO_PKG_VERSION");
        page.0
            .encode_descriptor("build", "The running program", None, MetricType::Info)?
            .encode_info(&[("version", version)])?;
        let help = "When the process started, in Unix time";
        page.gauge("process_start_time", help, Some(&Unit::Seconds), self.process.started)?;
        if let Some(bytes) = Process::resident() {
            page.gauge(
                "process_resident_memory",
                "Memory that the process holds",
                Some(&Unit::Bytes),
                bytes,
            )?;
        }
        if let Some(open) = Process::descriptors() {
            page.gauge("process_open_fds", "Open descriptors", None, open)?;
        }
        Ok(())
    }
}

type Label<'a> = (&'a str, &'a str);

/// What is being written.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> Result {
        self.counters(name, help, None, [(Vec::new(), value)])
    }

    fn gauge(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: impl EncodeGaugeValue) -> Result {
        self.gauges(name, help, unit, [(Vec::new(), value)])
    }

    fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        samples: impl IntoIterator<Item = (Vec<Label<'l>>, u64)>,
    ) -> Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (labels, value) in samples {
            let labels = &labels[..];
            // Without labels the library would write empty braces.
            match labels {
                [] => family.encode_counter::<NoLabelSet, _, u64>(&value, None)?,
                _ => family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?,
            }
        }
        Ok(())
    }

    fn gauges<'l>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        samples: impl IntoIterator<Item = (Vec<Label<'l>>, impl EncodeGaugeValue)>,
    ) -> Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (labels, value) in samples {
            let labels = &labels[..];
            match labels {
                [] => family.encode_gauge(&value)?,
                _ => family.encode_family(&labels)?.encode_gauge(&value)?,
            }
        }
        Ok(())
    }

    fn histograms<'l>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Vec<Label<'l>>, Spread)>,
    ) -> Result {
        let mut family = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        let bounds = BOUNDS.iter().map(std::time::Duration::as_secs_f64).chain([f64::INFINITY]);
        for (labels, spread) in samples {
            let buckets: Vec<_> = bounds.clone().zip(spread.buckets).collect();
            let sum = spread.sum as f64 / 1e6;
            family.encode_family(&&labels[..])?.encode_histogram::<NoLabelSet>(
                sum,
                spread.count(),
                &buckets,
                None,
            )?;
        }
        Ok(())
    }
}

const fn class_name(class: u8) -> &'static str {
    match class {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}
