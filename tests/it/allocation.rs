//! The decision about a request asks for no memory, however it comes out.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use portcullis::board::{Board, LastUse};
use portcullis::config;
use portcullis::credential::{Digest, Kind, Plaintext};
use portcullis::gateway::head::{BodyLength, Head};
use portcullis::gateway::request::Request;
use portcullis::gateway::session::{Seal, Session};
use portcullis::gateway::{Moment, Settings, decide};
use portcullis::index::{Identity, Index, NEVER, Standing, Writer};
use portcullis::model::{
    AppName, EnvironmentName, Network, OnPublish, Rate, Rules, TokenApp, TokenId, TokenScope,
};
use portcullis::secrets::Key;

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

const CONFIG: &str = r#"
[apps.shop.environments.production]
hosts = ["shop.localhost", "*.shop.localhost"]
upstreams = ["http://127.0.0.1:3000"]
[apps.shop.environments.development]
hosts = ["shop.dev.localhost"]
upstreams = ["http://127.0.0.1:3000"]
[apps.blog.environments.production]
hosts = ["blog.localhost"]
upstreams = ["http://127.0.0.1:3000"]
[apps.blog.environments.development]
hosts = ["blog.dev.localhost"]
upstreams = ["http://127.0.0.1:3000"]
external_access = "off"
"#;

/// Mints a token into the index, as the follower would; returns its value.
fn put(writer: &Writer, environment: &str, change: impl FnOnce(&mut Identity)) -> String {
    let value = Plaintext::generate(Kind::Token).unwrap();
    let mut identity = Identity {
        id: TokenId::next(None, jiff::Timestamp::UNIX_EPOCH),
        app: None,
        environment: writer.name(environment),
        expires: NEVER,
        minted_under: 0,
        on_publish: OnPublish::Stop,
        revoked: false,
        label: "CI".into(),
        restrictions: None,
    };
    change(&mut identity);
    writer.put(value.digest(), identity);
    value.reveal().to_owned()
}

fn accepted(target: &str, fields: &[(&str, &str)]) -> Request {
    let mut request = http::Request::builder().uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let raw = Head { offence: None, body: BodyLength::None, fields: fields.len() };
    Request::accept(parts, raw).unwrap()
}

#[test]
fn a_decision_allocates_nothing() {
    let loaded = config::parse(CONFIG, Path::new("proxy.toml"), Path::new(""), []).unwrap();
    let (index, writer) = Index::new();
    let mut settings = Settings::new(&loaded.config, &index, &Board::new(0).0, None).unwrap();
    let seal = settings.seal.insert(Arc::new(Seal::new(&Key::generate().unwrap()))).clone();
    let app = AppName::parse("shop").unwrap();
    let standing = Standing { opened: true, published: vec![1_500], ..Standing::default() };
    writer.set(&TokenApp::One(app), &EnvironmentName::parse("production").unwrap(), standing);
    let shop = Some(writer.name("shop"));
    let pinned = |under: u32| {
        move |identity: &mut Identity| {
            identity.app = shop;
            identity.minted_under = under;
        }
    };
    let good = put(&writer, "production", pinned(1));
    let replaced = put(&writer, "production", pinned(0));
    let graced = put(&writer, "production", |identity| {
        pinned(0)(identity);
        identity.on_publish = OnPublish::parse("grace:1h").unwrap();
    });
    let rules = |scope: &str, network: &str, rate: &str| Rules {
        scopes: vec![TokenScope::parse(scope).unwrap()],
        networks: vec![Network::parse(network).unwrap()],
        rate: Rate::parse(rate).ok(),
    };
    let restricted = |rules: Rules| {
        let restrictions = writer.restrictions(&Digest::from_bytes([0; 32]), rules);
        put(&writer, "production", |identity| {
            pinned(1)(identity);
            identity.restrictions = restrictions;
        })
    };
    let narrow = restricted(rules("GET,POST /a", "127.0.0.0/8", "1/1h"));
    let elsewhere = restricted(rules("GET /b", "127.0.0.1", "1/1h"));
    let far = restricted(rules("GET /a", "10.0.0.0/8", "1/1h"));
    let everywhere = put(&writer, "production", |identity| identity.on_publish = OnPublish::Keep);
    let development = put(&writer, "development", |_| {});
    let revoked = put(&writer, "production", |identity| identity.revoked = true);
    let expired = put(&writer, "production", |identity| identity.expires = 1_000);
    let unknown = Plaintext::generate(Kind::Token).unwrap().reveal().to_owned();

    let header = |host, token| accepted("/a?b=c", &[("Host", host), ("X-Portcullis-Token", token)]);
    let bearer = format!("Bearer {good}");
    let query = format!("/a?b=c&project%2Dprotection-bypass={good}");
    let shop = ("Host", "shop.localhost");
    let session = |token: &str, since| {
        let token = Plaintext::parse(Kind::Token, token.as_bytes()).unwrap().digest();
        let sealed = seal.seal(&Session { token, since }, "shop.localhost").unwrap();
        format!("a=b; portcullis=c; portcullis={sealed}; d=e")
    };
    let sessions = [session(&good, 0), session(&revoked, 0), session(&good, -24 * 60 * 60 * 1000)];
    for (request, outcome) in [
        (header("shop.localhost", &good), "ok"),
        (header("A.Shop.Localhost:8080", &good), "ok"),
        (header("shop.localhost", &everywhere), "ok"),
        (accepted("/a", &[shop, ("Authorization", &bearer)]), "ok"),
        (accepted("/a", &[("Authorization", "Basic dTpw"), ("X-Portcullis-Token", &good), shop]), "ok"),
        (accepted(&query, &[shop]), "ok"),
        (accepted("/a", &[shop, ("Cookie", &sessions[0])]), "ok"),
        (accepted("/a", &[shop, ("Cookie", &sessions[1])]), "token_revoked"),
        (accepted("/a", &[shop, ("Cookie", &sessions[2])]), "token_missing"),
        (
            accepted("/a", &[shop, ("Cookie", &sessions[0]), ("X-Portcullis-Token", &unknown)]),
            "token_unknown",
        ),
        (accepted("/a", &[shop]), "token_missing"),
        (accepted("/a", &[shop, ("Authorization", "Basic dTpw")]), "token_missing"),
        (header("shop.localhost", &unknown), "token_unknown"),
        (header("shop.localhost", "nonsense"), "token_unknown"),
        (header("shop.localhost", &revoked), "token_revoked"),
        (header("shop.localhost", &expired), "token_expired"),
        (header("shop.localhost", &replaced), "deployment_replaced"),
        (header("blog.localhost", &replaced), "deployment_replaced"),
        (header("shop.localhost", &graced), "ok"),
        (header("shop.localhost", &narrow), "ok"),
        (header("shop.localhost", &narrow), "rate_limited"),
        (header("shop.localhost", &elsewhere), "insufficient_scope"),
        (header("shop.localhost", &far), "address_not_allowed"),
        (header("blog.localhost", &good), "wrong_app"),
        (header("shop.dev.localhost", &good), "wrong_environment"),
        (header("blog.dev.localhost", &development), "external_access_off"),
        (header("elsewhere.localhost", &good), "unknown_host"),
        (accepted(&query, &[shop, ("Authorization", &bearer)]), "invalid_request"),
    ] {
        let mut decision = None;
        let used = allocation_counter::measure(|| {
            decision = Some(decide(&settings, &index, &request, CLIENT, Moment { wall: 2_000, steady: 0 }))
        });
        let code = match decision.unwrap() {
            Ok(_) => "ok",
            Err(reject) => reject.refusal.as_str(),
        };
        assert_eq!((code, used.count_total), (outcome, 0));
    }
}

#[test]
fn a_use_is_noted_without_an_allocation() {
    let (board, _mailboxes) = Board::new(1);
    let token = TokenId::next(None, jiff::Timestamp::UNIX_EPOCH);
    let used = |at: i64, last: u8| {
        board.posts()[0].used(token, LastUse { at, client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)) });
    };
    let far = |at: i64| board.posts()[0].used(token, LastUse { at, client: CLIENT });
    // The first of a token, and the first from another network, since the last time that uses were written down.
    used(0, 1);
    far(1);
    used(2, 1);
    let noted = allocation_counter::measure(|| {
        for at in 3..100 {
            used(at, 1);
            used(at, 2);
            far(at);
        }
    });
    assert_eq!(noted.count_total, 0);
}
