//! Bytes of strangers, by the thousand: what decides about them never panics, and what it takes means one thing only.
//!
//! A short run is part of every test run. With `FUZZ_SECONDS` set, each target goes on for that long.

mod mutate;
mod requests;
mod rules;

use std::env;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Cases between two looks at the clock.
const ROUND: u32 = 2000;

/// Tries `judge` with what `strategy` makes.
#[track_caller]
fn fuzz<S: Strategy>(strategy: S, judge: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let seconds = env::var("FUZZ_SECONDS").ok().map(|seconds| seconds.parse().expect("a number of seconds"));
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    loop {
        let config = Config { cases: ROUND, failure_persistence: None, ..Config::default() };
        if let Err(error) = TestRunner::new(config).run(&strategy, &judge) {
            panic!("{error}");
        }
        if until.is_none_or(|until| Instant::now() >= until) {
            return;
        }
    }
}
