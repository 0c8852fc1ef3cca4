//! Which commands have whoever serves requests give way.

use std::future::poll_fn;
use std::pin::pin;

use super::*;
use crate::config::ExternalAccess;

const OPERATOR: &Caller = &Caller::Operator { from: None };

impl Site {
    /// Whether it was so while a command ran. Every command waits for the disk.
    async fn hurries<T: std::fmt::Debug>(&self, command: impl Future<Output = Result<T, Fault>>) -> bool {
        let (mut command, mut hurried) = (pin!(command), false);
        let done = poll_fn(|cx| {
            let polled = command.as_mut().poll(cx);
            hurried |= polled.is_pending() && self.index.is_hurried();
            polled
        });
        done.await.unwrap();
        assert!(!self.index.is_hurried());
        hurried
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_ends_tokens_at_once_hurries_and_nothing_else_does() {
    let site = Site::start("2027-03-01T12:00:00Z", |config| {
        for environment in config.apps.iter_mut().flat_map(|app| &mut app.environments) {
            environment.external_access = ExternalAccess::OnFirstToken;
        }
    });
    let (control, [one, two]) = (&site.control, [site.mint(|_| {}).await.0, site.mint(|_| {}).await.0]);
    let (_, leaked) = site.mint(|_| {}).await;
    let over = |overlap: &str| Rotate { overlap: Some(overlap.to_owned()), ..Rotate::default() };
    let switch =
        |on| control.switch_external_access(OPERATOR, "shop", "production", Some(on), Faults::default());
    let ann = AddMember { name: Some("ann".to_owned()), ..AddMember::default() };
    let report = ReportLeaks {
        tokens: Some(vec![leaked]),
        source: Some("a scan".to_owned()),
        ..ReportLeaks::default()
    };

    assert!(!site.hurries(control.rotate_token(OPERATOR, &one, over("1h"))).await);
    assert!(!site.hurries(control.add_member(OPERATOR, ann)).await);
    assert!(!site.hurries(switch(true)).await);

    assert!(site.hurries(control.rotate_token(OPERATOR, &two, over("0s"))).await);
    assert!(site.hurries(control.remove_member(OPERATOR, "ann")).await);
    assert!(site.hurries(control.report_leaks(OPERATOR, report)).await);
    assert!(site.hurries(control.publish(OPERATOR, publish("blue"))).await);
    assert!(site.hurries(switch(false)).await);
}
