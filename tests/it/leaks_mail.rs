//! Owners are told by mail.

use serde_json::json;

use crate::support::app::App;
use crate::support::authority::Authority;
use crate::support::caller::Caller;
use crate::support::gateway::{Gateway, Setup};
use crate::support::mailbox::Mailbox;
use crate::support::terminator::Terminator;
use crate::support::until;

/// Mail goes to `mailbox`, in the clear.
fn mailed(setup: Setup, mailbox: &Mailbox) -> Setup {
    let url = format!("\"smtp+plain://gate%40example.com@{}\"", mailbox.address);
    setup.set("notify.smtp", "url", &url).set("notify.smtp", "from", "\"gate@example.com\"")
}

/// Ann, who has an address.
fn ann(gateway: &Gateway) -> Caller<'_> {
    let body = json!({ "name": "ann", "email": "ann@example.com" });
    assert_eq!(gateway.admin("POST /v1/members", Some(body)).status, 201);
    Caller::member(gateway, "ann", &["read", "mint"], None)
}

/// What kept the newest notice from being sent.
fn last_error(gateway: &Gateway) -> Option<String> {
    let notice = gateway.admin("GET /v1/notices", None).json()["items"][0].clone();
    notice["last_error"].as_str().filter(|error| error.contains("mail server")).map(str::to_owned)
}

#[test]
fn the_owner_reads_what_happened_and_what_to_do() {
    let (app, mailbox) = (App::echo(), Mailbox::saying(&[554, 0, 250]));
    let setup = mailed(Setup::new(&app), &mailbox).set("notify.smtp", "password_file", "\"smtp-password\"");
    let gateway = setup.start_beside("smtp-password", "hunter2\n");
    let ann = ann(&gateway);
    let (leaked, other) = (ann.mint("production"), ann.mint("development"));
    let body = json!({ "tokens": [leaked.secret], "source": "a scan", "url": "https://paste.example/1" });
    assert_eq!(gateway.admin("POST /v1/leaks", Some(body)).status, 200);
    // Refused for now, then hung up on, then taken: the same letter each time.
    let letters = mailbox.wait_for(3);
    let ids: Vec<_> = letters.iter().map(|letter| letter.field("Message-ID")).collect();
    assert!(ids[0].starts_with("<evt_") && ids[0].ends_with("@example.com>"), "{ids:?}");
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    let letter = &letters[2];
    assert_eq!(letter.field("Auto-Submitted"), "auto-generated");
    assert_eq!((letter.from.as_str(), letter.to.as_str()), ("gate@example.com", "ann@example.com"));
    for line in [
        "It was revoked at once",
        "Found by: a scan\nFound in: https://paste.example/1",
        &format!("Id: {}", leaked.id),
        "Last used: never",
        &format!("  {} ", other.id),
        "portcullis token create --app=shop --environment=production --on-publish=",
    ] {
        assert!(letter.text.contains(line), "{line}\n{}", letter.text);
    }
    assert_eq!(mailbox.logins()[0], ("gate@example.com".to_owned(), "hunter2".to_owned()));
    until("an empty outbox", || {
        let notices = gateway.admin("GET /v1/notices", None).json();
        (notices["items"] == json!([])).then_some(())
    });
    assert!(letters.iter().all(|letter| !letter.text.contains(&leaked.secret[4..20])));
    assert!(!gateway.stderr().contains("hunter2"));

    // Who revokes their own token knows of it; what somebody else revokes is told.
    let mine = ann.get(200, &format!("POST /v1/tokens/{}/revoke", other.id), None);
    assert_eq!(mine["token"]["status"], "revoked");
    let last = ann.mint("development");
    gateway.revoke(&last.id);
    let letters = mailbox.wait_for(4);
    assert!(letters[3].text.contains("was revoked by operator"), "{}", letters[3].text);
    assert!(letters[3].text.contains(&last.id));
}

#[test]
fn a_letter_that_is_refused_for_good_is_given_up() {
    let (app, mailbox) = (App::echo(), Mailbox::saying(&[550]));
    let setup =
        mailed(Setup::new(&app), &mailbox).set("notify.smtp", "password", "\"$Secret{SMTP_PASSWORD}\"");
    let gateway = setup.start();
    let ann = ann(&gateway);
    gateway.revoke(&ann.mint("production").id);
    let notice = || gateway.admin("GET /v1/notices", None).json()["items"][0].clone();
    // Without the secret nothing is sent; once it is there, the next attempt has it.
    until("the want of a secret", || {
        notice()["last_error"].as_str().filter(|error| error.contains("SMTP_PASSWORD")).map(|_| ())
    });
    assert!(mailbox.letters().is_empty());
    let put = gateway.admin("PUT /v1/secrets/SMTP_PASSWORD", Some(json!({ "value": "swordfish" })));
    assert_eq!(put.status, 201, "{put:?}");
    until("a letter that was given up", || (notice()["status"] == "dead").then_some(()));
    assert_eq!(mailbox.letters().len(), 1);
    assert_eq!(mailbox.logins(), [("gate@example.com".to_owned(), "swordfish".to_owned())]);
    assert_eq!((&notice()["recipient"], &notice()["channel"]), (&json!("ann@example.com"), &json!("email")));
}

#[test]
fn mail_goes_over_tls_to_a_server_that_can_prove_who_it_is() {
    for (scheme, encrypt) in
        [("smtps", Terminator::before as fn(_, _) -> Terminator), ("smtp", Terminator::asked_before)]
    {
        let (app, mailbox) = (App::echo(), Mailbox::taking());
        let authority = Authority::new();
        let tls = encrypt(mailbox.address, authority.issue(&["127.0.0.1"]).server(&[]));
        let setup = Setup::new(&app)
            .set("notify.smtp", "url", &format!("\"{scheme}://gate@{}\"", tls.address))
            .set("notify.smtp", "from", "\"gate@example.com\"")
            .set("notify.smtp", "password_file", "\"smtp-password\"");
        let trusting = [("SSL_CERT_FILE", &*authority.path("ca.pem"))];
        let gateway = setup.start_in(tempfile::tempdir().unwrap(), "smtp-password", "hunter2", &trusting);
        gateway.revoke(&ann(&gateway).mint("production").id);
        assert_eq!(mailbox.wait_for(1)[0].to, "ann@example.com");

        let wary = setup.start_beside("smtp-password", "hunter2");
        wary.revoke(&ann(&wary).mint("production").id);
        until("a server that is not believed", || last_error(&wary));
        assert_eq!((mailbox.letters().len(), mailbox.logins().len()), (1, 1));
    }
}

#[test]
fn no_mail_goes_in_the_clear_where_a_server_offers_no_tls() {
    let (app, mailbox) = (App::echo(), Mailbox::taking());
    let setup = Setup::new(&app)
        .set("notify.smtp", "url", &format!("\"smtp://gate@{}\"", mailbox.address))
        .set("notify.smtp", "from", "\"gate@example.com\"")
        .set("notify.smtp", "password_file", "\"smtp-password\"");
    let gateway = setup.start_beside("smtp-password", "hunter2");
    gateway.revoke(&ann(&gateway).mint("production").id);
    let said = until("a server without TLS", || last_error(&gateway));
    assert!(said.contains("STARTTLS"), "{said}");
    assert_eq!((mailbox.letters().len(), mailbox.logins().len()), (0, 0));
}

#[test]
fn what_has_no_owner_with_an_address_is_told_to_somebody_else() {
    let (app, mailbox) = (App::echo(), Mailbox::saying(&[250, 250, 550, 250]));
    let url = format!("\"smtp+plain://{}\"", mailbox.address);
    let setup =
        Setup::new(&app).set("notify.smtp", "url", &url).set("notify.smtp", "from", "\"gate@example.com\"");
    let gateway = setup.start();
    let doubted = gateway.cli(&["check"]);
    assert!(doubted.code == 0 && doubted.stderr.contains("`notify.smtp.to` is not given"), "{doubted:?}");
    gateway.rewrite(&setup.set("notify.smtp", "to", "\"ops@example.com\""));
    assert_eq!(gateway.admin("POST /v1/reload", None).status, 200);
    assert_eq!(gateway.cli(&["check"]).stderr, "");

    let ours = gateway.mint("production");
    let body = json!({ "tokens": [ours.secret], "source": "a scan" });
    assert_eq!(gateway.admin("POST /v1/leaks", Some(body)).status, 200);
    let letter = mailbox.wait_for(1).remove(0);
    assert_eq!(letter.to, "ops@example.com");
    assert!(letter.text.contains(&ours.id) && letter.text.contains("Owner: operator\n"), "{}", letter.text);
    // Who revokes their own knows of it.
    gateway.revoke(&gateway.mint("production").id);

    let bob = Caller::member(&gateway, "bob", &["read", "mint"], None);
    let theirs = bob.mint("production");
    assert_eq!(gateway.admin("DELETE /v1/members/bob", None).status, 200);
    let letter = mailbox.wait_for(2).remove(1);
    assert_eq!(
        (letter.to.as_str(), letter.field("Subject").as_str()),
        ("ops@example.com", "Member bob was removed")
    );
    assert!(letter.text.contains(&theirs.id), "{}", letter.text);

    // A letter goes to the address that its owner has when it is sent.
    gateway.revoke(&ann(&gateway).mint("production").id);
    let dead = until("a letter that was given up", || {
        let notices = gateway.admin("GET /v1/notices", None).json()["items"].clone();
        notices.as_array().unwrap().iter().find(|notice| notice["status"] == "dead").cloned()
    });
    assert_eq!(dead["recipient"], "ann@example.com");
    let edit = json!({ "email": "ann@example.org" });
    assert_eq!(gateway.admin("PATCH /v1/members/ann", Some(edit)).status, 200);
    let retry = format!("POST /v1/notices/{}/retry", dead["id"].as_str().unwrap());
    assert_eq!(gateway.admin(&retry, None).status, 200);
    let letters = mailbox.wait_for(4);
    assert_eq!(
        letters.iter().map(|letter| letter.to.as_str()).collect::<Vec<_>>()[2..],
        ["ann@example.com", "ann@example.org"]
    );
}
