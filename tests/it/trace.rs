//! Distributed tracing as the app sees it.

use crate::support::app::App;
use crate::support::gateway::Gateway;
use crate::support::wire::{Head, request};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// What reaches the app of a request with these fields.
fn seen(fields: &[(&str, &str)]) -> Head {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let fields = [&[("X-Portcullis-Token", token.as_str())], fields].concat();
    assert_eq!(gateway.ask(request("GET /", &fields)).status, 200);
    app.only().head
}

fn parts(head: &Head) -> Vec<String> {
    head.get("traceparent").unwrap().split('-').map(str::to_owned).collect()
}

#[test]
fn a_trace_goes_on_with_its_state() {
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let head = seen(&[("TraceParent", &parent), ("tracestate", "a=1,b=2"), ("Tracestate", "c=3")]);
    let parts = parts(&head);
    assert_eq!((parts[0].as_str(), parts[1].as_str(), parts[3].as_str()), ("00", TRACE, "01"));
    assert!(parts[2].len() == 16 && parts[2] != PARENT, "{parts:?}");
    assert_eq!(head.all("tracestate"), ["a=1,b=2", "c=3"]);
}

#[test]
fn a_trace_in_doubt_is_replaced_and_its_state_dropped() {
    let good = format!("00-{TRACE}-{PARENT}-01");
    let upper = good.to_uppercase();
    for fields in [
        &[][..],
        &[("traceparent", &*upper)],
        &[("traceparent", &good), ("traceparent", &good)],
        &[("traceparent", &good), ("Connection", "traceparent")],
    ] {
        let head = seen(&[fields, &[("tracestate", "a=1")]].concat());
        let parts = parts(&head);
        assert_eq!((parts[0].as_str(), parts[1].len(), parts[3].as_str()), ("00", 32, "00"), "{fields:?}");
        assert!(!parts[1].eq_ignore_ascii_case(TRACE), "{fields:?}");
        assert!(head.all("tracestate").is_empty(), "{fields:?}");
    }
}
