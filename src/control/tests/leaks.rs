//! What reports of leaks do, by a clock that the test sets.

use super::*;
use crate::control::leaks::Reacted;
use crate::model::LeakDone;

impl Site {
    /// Reports a credential; what was done with it, and how it stands then.
    async fn report(&self, value: &str, place: &str) -> (LeakDone, Status) {
        let asked = ReportLeaks {
            tokens: Some(vec![value.to_owned()]),
            source: Some("a scan".to_owned()),
            url: Some(place.to_owned()),
            ..ReportLeaks::default()
        };
        let mut reacted = self.control.report_leaks(&Caller::Operator, asked).await.unwrap();
        match reacted.remove(0) {
            Reacted::Known { done, status, .. } => (done, status),
            Reacted::Unknown => panic!("it is known"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaked_after_its_end_does_not_live_again_with_an_earlier_clock() {
    let site = Site::start("2027-03-01T12:00:00Z", |_| {});
    let (_, token) = site.mint(|_| {}).await;
    let minted = site.now();
    site.set(minted + 3.hours());
    assert_eq!(site.report(&token, "").await, (LeakDone::AlreadyEnded, Status::Revoked));
    site.set(minted);
    assert_eq!(site.code_at(SHOP, &token, minted), "token_revoked");
}
