//! The admin API under Schemathesis, which makes up calls from `/v1/openapi.json`, right ones and wrong ones, and judges by
//! it whatever is answered: no 500, and nothing that is not described.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::app::App;
use crate::support::caller::Caller;
use crate::support::exchange::with_token;
use crate::support::gateway::{Gateway, Setup};
use crate::support::hook::{self, Hook};
use crate::support::leak::digest;
use crate::support::program::finish;

const HINTS: &str = include_str!("peers/schemathesis.toml");
/// What has no meaning here: nothing that is in the schema is right in itself, as a name may be of nothing.
const UNFIT: &str = "positive_data_acceptance";

/// Makes up calls to every operation, as whoever has this key; the statuses of each operation's answers.
fn judge(gateway: &Gateway, key: &str, examples: u32, seed: u32) -> BTreeMap<String, BTreeSet<u64>> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("schemathesis");
    let program = folder.join("bin/schemathesis");
    assert!(program.exists(), "`scripts/setup schemathesis` installs what this test needs");
    let site = format!("http://{}", gateway.admin_address());
    let events = gateway.path("events.ndjson");
    let mut command = Command::new(program);
    command.current_dir(gateway.path("")).env("PYTHONPATH", folder).env("NO_PROXY", "*");
    // Read from where it is served, the document would not be asked for again.
    command.args(["--config-file", "schemathesis.toml", "run", "openapi.json", "--url", &site]);
    command.args(["--checks", "all", "--exclude-checks", UNFIT, "--continue-on-failure", "--no-color"]);
    command.args(["--header", &format!("Authorization: Bearer {key}"), "--generation-database", "none"]);
    command.args(["--max-examples", &examples.to_string(), "--report", "ndjson", "--report-ndjson-path"]);
    let ran = finish(command.arg(&events).args(["--seed", &seed.to_string()]));
    assert_eq!(ran.code, 0, "{}\n{}", ran.stdout, ran.stderr);
    let mut answers: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for line in fs::read_to_string(events).unwrap().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let recorder = &event["ScenarioFinished"]["recorder"];
        for (case, interaction) in recorder["interactions"].as_object().into_iter().flatten() {
            let case = &recorder["cases"][case]["value"];
            let operation =
                format!("{} {}", case["method"].as_str().unwrap(), case["path"].as_str().unwrap());
            let status = interaction["response"]["status_code"].as_u64().unwrap();
            answers.entry(operation).or_default().insert(status);
        }
    }
    answers
}

/// What cannot be made up, from what is there.
fn hint(gateway: &Gateway, operator: &Caller<'_>) {
    let list = |values: &[String]| format!("{values:?}").trim_matches(['[', ']']).to_owned();
    let keys = ["ann", "bob"].map(|member| {
        let made = operator.get(201, "POST /v1/keys", Some(json!({ "member": member, "scopes": ["read"] })));
        made["key"]["id"].as_str().unwrap().to_owned()
    });
    for name in ["SHOP_KEY", "SPARE_KEY"] {
        operator.get(201, &format!("PUT /v1/secrets/{name}"), Some(json!({ "value": "x" })));
    }
    for environment in ["production", "development"] {
        for id in ["red", "grey", "initial"] {
            let path = format!("/v1/apps/shop/environments/{environment}/deployments");
            operator.get(201, &format!("POST {path}"), Some(json!({ "id": id })));
        }
    }
    let tokens: Vec<_> = (0..12).map(|_| gateway.mint("development")).collect();
    let refused = gateway.ask(with_token("GET /", "shop.localhost", &tokens[0].secret));
    let leaked = ["development"; 4].map(|environment| gateway.mint(environment).secret);
    let notices = ["development"; 2].map(|environment| {
        gateway.revoke(&gateway.mint(environment).id);
        let listed = operator.get(200, "GET /v1/notices?limit=1", None);
        listed["items"][0]["id"].as_str().unwrap().to_owned()
    });
    let ids: Vec<_> = tokens.iter().map(|token| token.id.clone()).collect();
    let hints = HINTS
        .replace("$digest", &digest(&tokens[0].secret))
        .replace("$request", refused.get("x-request-id").unwrap())
        .replace("$leaked", &list(&leaked))
        .replace("$keys", &list(&keys))
        .replace("$notices", &list(&notices))
        .replace("$tokens", &list(&ids));
    fs::write(gateway.path("schemathesis.toml"), hints).unwrap();
}

fn key(operator: &Caller<'_>, body: Value) -> String {
    operator.get(201, "POST /v1/keys", Some(body))["secret"].as_str().unwrap().to_owned()
}

#[test]
fn every_call_made_up_is_answered_as_it_is_described() {
    // `make soak` makes up many more, and others each time.
    let examples = std::env::var("EXAMPLES").ok().map(|examples| examples.parse().unwrap());
    let (examples, seed) = examples.map_or((8, 1), |examples| (examples, fastrand::u32(..)));
    let app = App::echo();
    let gateway = Hook::lost(Setup::new(&app)).start_beside("hook-secret", hook::SECRET);
    let operator = Caller::operator(&gateway);
    hint(&gateway, &operator);
    let admin = key(&operator, json!({ "member": "tester", "scopes": ["admin"] }));
    let document = operator.get(200, "GET /v1/openapi.json", None);
    fs::write(gateway.path("openapi.json"), document.to_string()).unwrap();
    let answers = judge(&gateway, &admin, examples, seed);
    // All this says nothing where no call gets past its first check.
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let operation = format!("{} {path}", method.to_ascii_uppercase());
            let done =
                answers.get(&operation).is_some_and(|statuses| statuses.iter().any(|status| *status < 300));
            assert!(done, "{operation}: {:?}", answers.get(&operation));
        }
    }
    // Refused in other ways.
    let member = json!({ "member": "tester", "scopes": ["read", "mint"], "app": "shop" });
    let answers = judge(&gateway, &key(&operator, member), examples / 4, seed);
    assert!(answers["POST /v1/members"].contains(&403), "{answers:?}");
}
