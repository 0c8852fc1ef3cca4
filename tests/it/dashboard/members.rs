//! Members on pages: renamed, given another address, and what they hold stays theirs.

use serde_json::json;

use crate::support::app::App;
use crate::support::gateway::Gateway;
use crate::support::visitor::{Visitor, between};

#[test]
fn a_member_is_edited_and_an_edit_meets_what_was_seen() {
    let gateway = Gateway::before(&App::echo());
    let visitor = Visitor::operator(&gateway);
    let (ann, _) = Visitor::member(&gateway, "ann@example.com", &["read"], None);
    assert!(visitor.page("/members").contains("/members/ann%40example.com/edit"));
    let path = "/members/ann%40example.com/edit";
    let form = visitor.page(path);
    let revision = between(&form, "name=\"revision\" value=\"", "\"").to_owned();
    let fields = [("revision", &*revision), ("name", "anna"), ("email", "anna@example.com")];
    let wrong = visitor.submit(path, &[("revision", &revision), ("name", "operator"), ("email", "x")]);
    assert!(
        wrong.status == 422 && wrong.text().contains("name-fault") && wrong.text().contains("email-fault")
    );
    assert_eq!(ann.submit(path, &fields).status, 403);
    assert_eq!(visitor.submit(path, &fields).status, 303);
    assert_eq!(visitor.submit("/members/anna/edit", &fields).status, 412, "it was changed since");
    assert!(visitor.page("/members").contains("anna@example.com"));
    assert!(ann.page("/keys").contains("<bdi>anna</bdi>"), "the key stays hers");
    let form = visitor.page("/members/anna/edit");
    let revision = between(&form, "name=\"revision\" value=\"", "\"").to_owned();
    assert_eq!(
        visitor.submit("/members/anna/edit", &[("revision", &revision), ("name", "anna")]).status,
        303
    );
    assert_eq!(gateway.admin("GET /v1/members/anna", None).json()["email"], json!(null));
    assert_eq!(visitor.get("/members/nobody/edit").status, 404);
}
