//! Pages of other sites: they send no form in somebody's name, frame nothing and slip nothing in.

use crate::support::app::App;
use crate::support::gateway::Gateway;
use crate::support::visitor::Visitor;

#[test]
fn only_a_form_of_this_session_from_this_site_counts() {
    let gateway = Gateway::before(&App::echo());
    let (ann, bob) = (Visitor::operator(&gateway), Visitor::operator(&gateway));
    let id = gateway.mint("production").id;
    let revoke = format!("/tokens/{id}/revoke");
    let (own, foreign, proof) = (ann.origin(), bob.proof(), ann.proof());
    assert_ne!(proof, foreign);
    let forged: &[(&[(&str, &str)], &str)] = &[
        (&[("Origin", "http://evil.example")], &proof),
        (&[("Origin", "http://evil.example"), ("Sec-Fetch-Site", "cross-site")], &proof),
        (&[("Origin", "null")], &proof),
        (&[("Origin", &own), ("Sec-Fetch-Site", "same-site")], &proof),
        (&[], &proof),
        (&[("Origin", &own)], ""),
        (&[("Origin", &own)], "0"),
        (&[("Origin", &own)], &foreign),
    ];
    for (headers, proof) in forged {
        let answer = ann.post_with(&revoke, headers, &[("proof", proof)]);
        assert_eq!(answer.status, 403, "{headers:?} {proof}");
    }
    let missing = ann.post_with(&revoke, &[("Origin", &own)], &[]);
    assert_eq!(missing.status, 403);
    let text =
        ann.post_with(&revoke, &[("Origin", &own), ("Content-Type", "text/plain")], &[("proof", &proof)]);
    assert!(matches!(text.status, 400 | 403), "{text:?}");
    assert_eq!(gateway.admin(&format!("GET /v1/tokens/{id}"), None).json()["status"], "active");
    assert_eq!(ann.post_with(&revoke, &[("Origin", &own)], &[("proof", &proof)]).status, 303);
    assert_eq!(gateway.admin(&format!("GET /v1/tokens/{id}"), None).json()["status"], "revoked");
    // Behind a proxy that changes the host it is for the browser to say.
    let moved = [("Origin", "https://dashboard.example"), ("Sec-Fetch-Site", "same-origin")];
    assert_eq!(ann.post_with(&revoke, &moved, &[("proof", &proof)]).status, 303);
    assert_eq!(ann.post_with(&revoke, &moved[..1], &[("proof", &proof)]).status, 403);

    let signed_in =
        Visitor::stranger(&gateway).post_with("/sign-in", &[("Origin", "http://evil.example")], &[]);
    assert_eq!(signed_in.status, 403, "nor is anybody signed in as somebody else");
}

#[test]
fn the_api_takes_no_cookie_and_pages_take_no_key() {
    let gateway = Gateway::before(&App::echo());
    let visitor = Visitor::operator(&gateway);
    assert_eq!(visitor.get("/v1/tokens").status, 401);
    assert_eq!(visitor.get("/v1/whoami").status, 401);
}

#[test]
fn every_page_keeps_to_itself() {
    let gateway = Gateway::before(&App::echo());
    let visitor = Visitor::operator(&gateway);
    let id = gateway.mint("production").id;
    let (show, edit) = (format!("/tokens/{id}"), format!("/tokens/{id}/edit"));
    for path in [
        "/sign-in",
        "/sign-in/x",
        "/",
        "/tokens",
        "/tokens/new",
        &show,
        &edit,
        "/apps",
        "/apps/shop",
        "/apps/shop/environments/production/deployments",
        "/secrets",
        "/secrets/new",
        "/leaks",
        "/leaks/report",
        "/leaks/notices",
        "/members",
        "/keys",
        "/audit",
        "/nowhere",
        "/tokens/tok_x",
        "/apps/nowhere",
    ] {
        let answer = visitor.get(path);
        let policy = answer.get("content-security-policy").unwrap_or_else(|| panic!("{path}: {answer:?}"));
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.get("x-frame-options"), Some("DENY"), "{path}");
        assert_eq!(answer.get("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.get("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.get("access-control-allow-origin"), None, "{path}");
        let page = answer.text();
        for inline in [" style=", " onclick=", "<style", "javascript:", "<script>"] {
            assert!(!page.contains(inline), "{path} has {inline}");
        }
        assert!(
            page.matches("http").count()
                == page.matches("http://shop").count() + page.matches("http://127").count(),
            "{path} leads elsewhere"
        );
    }
}

#[test]
fn what_pages_load_is_kept_for_good() {
    let gateway = Gateway::before(&App::echo());
    let visitor = Visitor::stranger(&gateway);
    let page = visitor.page("/sign-in");
    let assets: Vec<_> = page.split('"').filter(|part| part.starts_with("/assets/")).collect();
    assert_eq!(assets.len(), 3);
    for asset in assets {
        let answer = visitor.get(asset);
        assert_eq!(answer.status, 200, "{asset}");
        assert!(answer.get("cache-control").unwrap().contains("immutable"));
        assert!(answer.body.len() < 30_000, "{asset}: {}", answer.body.len());
    }
    assert_eq!(visitor.get("/assets/nothing.css").status, 404);
    assert_eq!(visitor.get("/assets/..%2fproxy.toml").status, 404);
}
