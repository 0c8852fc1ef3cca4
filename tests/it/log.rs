//! The access log on a disk that fails it, and what the program says of itself.

use std::fs;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::app::App;
use crate::support::gateway::Setup;
use crate::support::http2;
use crate::support::until;
use crate::support::wire::request;

#[test]
fn a_full_disk_costs_whole_lines_and_they_are_counted() {
    let gateway = Setup::new(&App::echo()).start_on_small_disk();
    let mut wire = gateway.connect();
    let mut asked = 0;
    let mut ask = |times| {
        let one = request(&format!("GET /{}", "a".repeat(1000)), &[("Host", "nowhere")]);
        wire.send(one.repeat(times));
        (0..times).for_each(|_| assert_eq!(wire.answer().status, 404));
        asked += times;
        asked
    };
    let dropped = || gateway.metrics().of("access_log_dropped_lines_total");
    until("the disk to be full", || {
        ask(20);
        let failed = gateway.metrics().of("access_log_write_errors_total");
        (dropped() > 0.0 && failed > 0.0).then_some(())
    });
    let told = || gateway.stderr().matches("lines are dropped until").count();
    until("the program's own word of it", || (told() > 0).then_some(()));
    assert_eq!(told(), 1, "{}", gateway.stderr());

    let pid = Pid::from_raw(gateway.pid().try_into().unwrap());
    prlimit(pid, Resource::Fsize, Rlimit { current: None, maximum: None }).unwrap();
    until("the log to go on", || {
        ask(1);
        gateway.stderr().contains("log can be written again").then_some(())
    });
    let all = ask(1) as f64;
    until("all lines in the log or counted", || {
        (gateway.log().len() as f64 + dropped() == all).then_some(())
    });
    assert!(fs::read_to_string(gateway.path("access.log")).unwrap().ends_with("}\n"));
    assert_eq!(gateway.stderr().matches("log can be written again").count(), 1);
}

#[test]
fn a_line_cut_short_by_a_kill_does_not_swallow_the_next() {
    let mut gateway = Setup::new(&App::echo()).start();
    gateway.kill();
    fs::write(gateway.path("access.log"), "{\"half\":").unwrap();
    gateway.restart();
    let answer = gateway.ask(request("GET /", &[]));
    let id = answer.get("x-request-id").unwrap();
    let line = until("the line", || {
        let text = fs::read_to_string(gateway.path("access.log")).unwrap();
        text.lines().find(|line| line.contains(id)).map(str::to_owned)
    });
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["status"], 401);
}

#[test]
fn a_filter_that_is_none_is_told_and_the_library_stays_silent() {
    let setup = Setup::new(&App::echo());
    let gateway = setup.start_among(&[("PORTCULLIS_LOG", "portcullis=loud")]);
    gateway.wait_for_words("PORTCULLIS_LOG is not used");

    let gateway = setup.start_among(&[("PORTCULLIS_LOG", "info,h2=trace,h2::codec=trace,h2::server=trace")]);
    let mut client = http2::connect(gateway.address());
    let stream = client.ask("GET", "/a-path-to-look-for", &[]);
    assert_eq!(client.answer(stream).status, 401);
    assert!(!gateway.stderr().contains("a-path-to-look-for"), "{}", gateway.stderr());
}
