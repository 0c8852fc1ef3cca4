//! Readiness: whether what the gateway goes by is what the store holds.

use rusqlite::Connection;

use crate::support::app::App;
use crate::support::exchange::with_token;
use crate::support::gateway::Gateway;
use crate::support::until;

#[test]
fn a_feed_that_cannot_be_read_is_said_and_traffic_goes_on() {
    let gateway = Gateway::before(&App::echo());
    let token = gateway.mint("production").secret;
    let foreign = Connection::open(gateway.path("portcullis.db")).unwrap();
    foreign.execute_batch("ALTER TABLE feed RENAME TO elsewhere").unwrap();
    // What writes to the store may stumble over it first.
    let told = until("readiness to say it", || {
        let answer = gateway.admin("GET /readyz", None);
        (answer.status == 503 && answer.code() == "index_stale").then_some(answer)
    });
    assert!(told.json()["detail"].as_str().unwrap().contains("change feed"), "{told:?}");
    assert_eq!(gateway.admin("GET /healthz", None).status, 200);
    assert_eq!(gateway.ask(with_token("GET /", "shop.localhost", &token)).status, 200);
    until("staleness that grows", || (gateway.metrics().of("index_staleness_seconds") > 0.0).then_some(()));

    foreign.execute_batch("ALTER TABLE elsewhere RENAME TO feed").unwrap();
    until("readiness to come back", || (gateway.admin("GET /readyz", None).status == 200).then_some(()));
    assert_eq!(gateway.metrics().of("index_staleness_seconds"), 0.0);
}
