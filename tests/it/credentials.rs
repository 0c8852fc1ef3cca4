//! How a token is presented, and how every trace of it is gone from what the app receives.

use crate::support::app::App;
use crate::support::gateway::Gateway;
use crate::support::wire::request;

#[test]
fn each_way_opens_the_app_and_is_taken_out() {
    let app = App::echo();
    let gateway = Gateway::before(&app);
    let token = gateway.mint("production").secret;
    let answer = gateway.ask(request("GET /", &[("X-Portcullis-Token", &token)]));
    assert_eq!((answer.status, answer.text()), (200, "hello"));
    assert_eq!(app.only().head.get("x-portcullis-token"), None);
}
