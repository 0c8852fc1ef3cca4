//! What a request costs from end to end: CPU time of the gateway for each request, beside a forwarder that looks at
//! nothing and beside other proxies that do the same job, all in the same run.
//!
//! The proxy under load has core 0 to itself, load generator and app share core 1. The proxies take turns, so that
//! whatever else the machine does meets all of them; the ratios are what to quote.
//!
//! Apart from that: `stalled`, what clients that stall do to others; `flat`, memory over time; `tokens`, what many of
//! them cost.

#![allow(clippy::print_stdout, reason = "the figures are what this program is for")]

mod app;
mod chart;
mod child;
mod client;
mod contest;
mod crowd;
mod flat;
mod forwarder;
mod h2load;
mod handshake;
mod idle;
mod load;
mod machine;
mod peer;
mod probe;
mod record;
mod report;
mod sample;
mod site;
mod stalled;
mod steady;
mod tail;
mod tokens;
mod two;
mod witness;
mod workload;
mod wrk;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::child::Core;
use self::contest::{Contest, Effort};
use self::crowd::Crowd;
use self::peer::Kind;
use self::record::Record;
use self::report::Table;
use self::site::Site;
use self::workload::Workload;

#[derive(Parser)]
struct Arguments {
    /// Workloads to run; all of them by default.
    #[arg(value_enum)]
    workloads: Vec<Workload>,
    /// Proxies to run besides portcullis; all that are there by default.
    #[arg(long, value_enum, value_delimiter = ',')]
    peers: Option<Vec<Kind>>,
    /// Turns that each proxy gets in each workload.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of a turn.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// A folder for the figures, as JSON and as a chart.
    #[arg(long, value_name = "FOLDER")]
    record: Option<PathBuf>,
    /// Cargo adds this.
    #[arg(long, hide = true, global = true)]
    bench: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What else this program does, or is when it starts itself.
#[derive(Subcommand)]
#[command(disable_help_subcommand = true)]
enum Role {
    /// Clients that stall, while honest ones go on.
    Stalled {
        /// All kinds by default.
        #[arg(value_enum)]
        kinds: Vec<crowd::Kind>,
        /// Of each kind.
        #[arg(long, default_value_t = 1000)]
        clients: usize,
        /// How often each kind stalls.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// Memory of the gateway over time, under all kinds of work.
    Flat {
        #[arg(long, default_value_t = 20)]
        minutes: u64,
    },
    /// What many tokens cost.
    Tokens {
        /// Tokens in stores that are loaded.
        #[arg(long, value_delimiter = ',', default_values_t = [1_000_000, 10_000_000])]
        counts: Vec<usize>,
        /// For which tokens are minted.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// A folder for the figures as JSON.
        #[arg(long, value_name = "FOLDER")]
        record: Option<PathBuf>,
    },
    #[command(hide = true)]
    Crowd(Crowd),
    #[command(hide = true)]
    App {
        /// What the kernel keeps of an answer that is not taken, in bytes; what it finds best by default.
        #[arg(long)]
        send_buffer: Option<usize>,
    },
    #[command(hide = true)]
    Forwarder { upstream: SocketAddr },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.role {
        Some(Role::Crowd(ref crowd)) => return crowd.run(),
        Some(Role::App { send_buffer }) => return app::run(send_buffer),
        Some(Role::Forwarder { upstream }) => return forwarder::run(upstream),
        Some(Role::Stalled { .. } | Role::Flat { .. } | Role::Tokens { .. }) | None => {}
    }
    // Ten thousand connections are more than the usual number of open files, and the proxies inherit it.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    child::pin_myself(Core::Others)?;
    match arguments.role {
        Some(Role::Stalled { clients, rounds, ref kinds }) => stalled::run(clients, kinds, rounds),
        Some(Role::Flat { minutes }) => flat::run(minutes),
        Some(Role::Tokens { ref counts, seconds, ref record }) => {
            tokens::run(counts, seconds, record.as_deref())
        }
        _ => compare(&arguments),
    }
}

fn compare(arguments: &Arguments) -> Result<()> {
    let Arguments { rounds, seconds, connections, .. } = *arguments;
    ensure!(rounds > 0 && seconds > 0, "at least one round of one second");
    let wanted = |kind: &Kind| {
        *kind == Kind::Portcullis || arguments.peers.as_ref().is_none_or(|peers| peers.contains(kind))
    };
    let kinds: Vec<_> = Kind::ALL.into_iter().filter(wanted).collect();
    let workloads = match &arguments.workloads[..] {
        [] => &Workload::ALL[..],
        chosen => chosen,
    };
    let site = Site::prepare()?;
    let peers = contest::start(&site, &kinds)?;
    let mut record = Record::new(&peers, arguments.record.as_deref())?;
    println!("{record}");
    for workload in workloads {
        let seconds = seconds * workload.lengthening();
        let contest = Contest::hold(&site, &peers, *workload, Effort { rounds, seconds, connections })?;
        println!("{}", Table(&contest));
        record.add(&contest);
        // After each, so that a run that is broken off leaves what it had.
        if let Some(folder) = &arguments.record {
            record.write(folder)?;
        }
    }
    Ok(())
}
