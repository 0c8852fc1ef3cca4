//! Connections that are kept and not used: what they hold meanwhile, and that they go on being served.

use std::fs;

use crate::support::app::App;
use crate::support::exchange::with_token;
use crate::support::gateway::Gateway;
use crate::support::until;

const HOST: &str = "shop.localhost";
/// Connections at a time.
const BATCH: usize = 30;
/// What one more may take where those before it have put away their buffers, which are 16 KiB.
const KIB_EACH: usize = 7;

/// KiB of the program's that are in memory.
fn resident(gateway: &Gateway) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_connection_that_is_not_used_leaves_its_buffers_to_others_and_is_served_again() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let ask = with_token("GET /", HOST, &token);
    let mut idle = Vec::new();
    until("connections take the buffers of those that rest", || {
        assert!(idle.len() < 25 * BATCH, "none are put away");
        let before = resident(&gateway);
        for _ in 0..BATCH {
            let mut wire = gateway.connect();
            wire.send(&ask);
            assert_eq!(wire.answer().status, 200);
            idle.push(wire);
        }
        (resident(&gateway) < before + BATCH * KIB_EACH).then_some(())
    });
    let (begin, end) = ask.split_at(20);
    for wire in &mut idle {
        wire.send(begin);
        wire.send([end, &ask[..]].concat());
        assert_eq!(wire.answer().status, 200);
        assert_eq!(wire.answer().status, 200, "the one behind it");
    }
    let all = app.requests().len();
    assert_eq!(all, 3 * idle.len());
}
