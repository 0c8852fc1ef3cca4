//! `docs/recipes.md`, tried from its own text: its commands in a shell, its requests over a socket, its files with the
//! programs that read them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::app::App;
use crate::support::gateway::{Gateway, PROGRAM, Ran, Setup};
use crate::support::program::finish;
use crate::support::wire::{Answer, connect, request};

const PAGE: &str = include_str!("../../docs/recipes.md");
const SITE: &str = "https://shop.example.com";

/// A recipe of the page.
struct Recipe {
    blocks: Vec<(&'static str, String)>,
    tried: &'static str,
}

impl Recipe {
    #[track_caller]
    fn named(name: &str) -> Self {
        let mut sections = PAGE.split("\n## ").filter_map(|section| section.split_once('\n'));
        let text = sections.find(|(title, _)| *title == name).expect(name).1;
        let mut blocks = Vec::new();
        for part in text.split("\n```").skip(1).step_by(2) {
            let (language, block) = part.split_once('\n').unwrap();
            blocks.push((language, block.to_owned()));
        }
        let tried = text.split("Tried with: ").nth(1).expect("each recipe says how it was tried");
        Self { blocks, tried }
    }

    /// The blocks in a language, in their order.
    fn all(&self, language: &str) -> Vec<&str> {
        self.blocks.iter().filter(|(of, _)| *of == language).map(|(_, block)| block.as_str()).collect()
    }

    #[track_caller]
    fn one(&self, language: &str) -> &str {
        let all = self.all(language);
        assert_eq!(all.len(), 1, "blocks of {language}");
        all[0]
    }
}

/// A gateway before `shop.example.com`, under the address that it has here.
struct Site {
    gateway: Gateway,
    address: String,
}

impl Site {
    fn before(app: &App) -> Self {
        let gateway =
            Setup::new(app).set("apps.shop.environments.production", "hosts", "[\"127.0.0.1\"]").start();
        let address = format!("http://{}", gateway.address());
        Self { gateway, address }
    }

    /// Runs a block of the page in a shell, in the gateway's folder.
    fn shell(&self, block: &str, token: &str) -> Ran {
        let programs = Path::new(PROGRAM).parent().unwrap().display().to_string();
        let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
        let mut shell = Command::new("sh");
        let script = block.replace(SITE, &self.address).replace("curl ", "curl --no-progress-meter ");
        finish(
            shell
                .args(["-ec", &script])
                .env("PATH", path)
                .env("TOKEN", token)
                .current_dir(self.gateway.path("")),
        )
    }

    /// Mints the token that a recipe asks for.
    #[track_caller]
    fn mint(&self, recipe: &Recipe) -> String {
        let ran = self.shell(recipe.all("sh")[0], "");
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
        let value = match ran.stdout.trim_end() {
            "" => fs::read_to_string(self.gateway.path("portcullis-token")).unwrap().trim_end().to_owned(),
            value => value.to_owned(),
        };
        assert!(value.starts_with("pct_") && value.len() == 40, "{value}");
        value
    }

    /// Sends a request as the page has it.
    fn send(&self, text: &str, token: &str) -> Answer {
        let (head, body) = text.split_once("\n\n").unwrap_or((text.trim_end(), ""));
        let body = body.trim_end_matches('\n');
        let head =
            head.replace("$TOKEN", token).replace("shop.example.com", &self.gateway.address().to_string());
        let mut lines = head.lines();
        let line = lines.next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
        let length = body.len().to_string();
        let mut fields: Vec<_> = lines.map(|line| line.split_once(": ").unwrap()).collect();
        if !body.is_empty() {
            fields.push(("Content-Length", &length));
        }
        let mut wire = connect(self.gateway.address());
        wire.send([request(&line, &fields), body.as_bytes().to_vec()].concat());
        if line.starts_with("HEAD ") {
            let head = wire.head().unwrap().unwrap();
            return Answer { status: head.status(), head, body: Vec::new() };
        }
        wire.answer()
    }
}

/// Mints a hosted caller's token, sends a request equal to theirs, and looks at what reaches the app; returns the body that
/// did.
#[track_caller]
fn hosted(name: &str, passes: &[&str]) -> Vec<u8> {
    let app = App::echo();
    let site = Site::before(&app);
    let recipe = Recipe::named(name);
    assert!(recipe.tried.starts_with("a request equal to theirs"), "{name}");
    let token = site.mint(&recipe);
    let text = recipe.one("http");
    let answer = site.send(text, &token);
    assert_eq!(answer.status, 200, "{name}: {answer:?}");
    let seen = app.only();
    let path = text.split_whitespace().nth(1).unwrap().split('?').next().unwrap();
    assert_eq!(seen.head.target(), path, "{name}: the app sees no token");
    for field in passes {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}: "))).unwrap();
        assert_eq!(seen.head.get(field), Some(line), "{name}");
    }
    // The token opens what the recipe needs, and nothing else.
    let elsewhere = text.replacen(path, "/admin", 1);
    assert_eq!(site.send(&elsewhere, &token).status, 403, "{name}");
    assert_eq!(site.send(text, "misspelt").status, 401, "{name}");
    assert!(!String::from_utf8_lossy(&app.bytes()).contains(&token), "{name}");
    seen.body
}

#[test]
fn monitors_watch_a_health_endpoint() {
    for name in ["Better Stack", "Pingdom", "UptimeRobot"] {
        hosted(name, &["User-Agent"]);
    }
}

#[test]
fn webhooks_arrive_byte_for_byte_with_their_signatures() {
    for (name, signature) in [
        ("Stripe webhooks", &["Stripe-Signature", "Content-Type"][..]),
        ("Slack events", &["X-Slack-Signature", "X-Slack-Request-Timestamp"]),
        ("GitHub webhooks", &["X-Hub-Signature-256", "X-GitHub-Event", "X-GitHub-Delivery"]),
    ] {
        let body = hosted(name, signature);
        let recipe = Recipe::named(name);
        let sent = recipe.one("http").split_once("\n\n").unwrap().1.trim_end_matches('\n');
        assert_eq!(body, sent.as_bytes(), "{name}");
    }
}

#[test]
fn the_step_of_a_workflow_passes_and_fails_as_it_should() {
    let app = App::echo();
    let site = Site::before(&app);
    let recipe = Recipe::named("GitHub Actions");
    let token = site.mint(&recipe);
    let workflow = recipe.one("yaml");
    let run = workflow.split_once("run: |\n").unwrap().1;
    let script: String =
        run.lines().map(|line| line.strip_prefix("          ").unwrap().to_owned() + "\n").collect();
    let passed = site.shell(&script, &token);
    assert_eq!((passed.code, passed.stdout.as_str()), (0, "hello"), "{passed:?}");
    let failed = site.shell(&script, "");
    assert!(failed.code != 0 && failed.stderr.contains("401"), "{failed:?}");
}

#[test]
fn curl_has_four_ways() {
    let app = App::echo();
    let site = Site::before(&app);
    let token = site.gateway.mint("production").secret;
    let recipe = Recipe::named("curl");
    let ways = recipe.all("sh");
    assert_eq!(ways.len(), 4);
    for way in ways {
        let ran = site.shell(way, &token);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "hello"), "{way}: {ran:?}");
    }
    assert_eq!(app.requests().len(), 4);
}

#[test]
fn an_api_gets_its_key_and_callers_do_not() {
    let recipe = Recipe::named("An API that wants a key of its own");
    let app = App::echo();
    let api = recipe.one("toml").replace("https://api.example.net", &app.url());
    let gateway = Setup::new(&app).and(&api).start();
    let address = format!("http://{}", gateway.address());
    let site = Site { gateway, address };
    let set = recipe.one("sh").replace("$PAYMENT_API_KEY", "key-of-the-api");
    let ran = site.shell(&set, "");
    assert!(ran.code == 0 && ran.stdout.starts_with("Set PAYMENT_API_KEY (api-key, for payments"), "{ran:?}");
    let body = serde_json::json!({ "app": "payments", "environment": "production", "expires_in": "1h" });
    let token = site.gateway.mint_with(body).secret;
    let fields = [("Host", "payments.example.com"), ("Authorization", &*format!("Bearer {token}"))];
    assert_eq!(site.gateway.ask(request("GET /", &fields)).status, 200);
    assert_eq!(app.only().head.get("authorization"), Some("Bearer key-of-the-api"));
}

#[test]
fn a_redirect_loses_a_query_token_and_keeps_a_header() {
    let app = App::start(|exchange| match exchange.head.target() {
        "/old" => {
            exchange.send("HTTP/1.1 302 Found\r\nLocation: /new\r\nContent-Length: 0\r\n\r\n");
        }
        _ => exchange.answer(b"arrived"),
    });
    let site = Site::before(&app);
    let token = site.gateway.mint("production").secret;
    let recipe = Recipe::named("A redirecting app behind a query token");
    let [lost, header, end] = recipe.all("sh")[..] else { panic!("three blocks") };
    assert!(site.shell(lost, &token).stdout.contains("token_missing"));
    assert_eq!(site.shell(header, &token).stdout, "arrived");
    assert_eq!(site.shell(end, &token).stdout, "arrived");
    let open = Setup::new(&app)
        .set("apps.shop.environments.production", "hosts", "[\"127.0.0.1\"]")
        .set("apps.shop.environments.production", "public_paths", "[\"/new\"]")
        .start();
    let token = open.mint("production").secret;
    let site = Site { address: format!("http://{}", open.address()), gateway: open };
    assert_eq!(site.shell(lost, &token).stdout, "arrived");
}

#[test]
fn fetch_sends_a_header_and_tells_a_refusal() {
    let app = App::echo();
    let site = Site::before(&app);
    let token = site.gateway.mint("production").secret;
    let recipe = Recipe::named("fetch");
    let script = recipe.one("js").replace(SITE, &site.address);
    let run = |token: &str| {
        let mut node = Command::new("node");
        finish(node.args(["--input-type=module", "--eval", &script]).env("TOKEN", token))
    };
    let passed = run(&token);
    assert_eq!((passed.code, passed.stdout.as_str()), (0, "hello\n"), "{passed:?}");
    let failed = run("pct_misspelt");
    assert!(
        failed.code != 0 && failed.stderr.contains("401 token_unknown: portcullis token explain "),
        "{failed:?}"
    );
}

/// A program that is ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn blackbox_exporter_probes_with_a_token_from_a_file() {
    let app = App::echo();
    let site = Site::before(&app);
    let recipe = Recipe::named("blackbox-exporter");
    let token = site.mint(&recipe);
    fs::write(site.gateway.path("blackbox.yml"), recipe.one("yaml")).unwrap();
    let mut exporter = Running(
        Command::new("prometheus-blackbox-exporter")
            .args(["--config.file=blackbox.yml", "--web.listen-address=127.0.0.1:0"])
            .current_dir(site.gateway.path(""))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("prometheus-blackbox-exporter, which scripts/setup installs"),
    );
    // Kept open: a program whose log has no reader ends.
    let mut said = BufReader::new(exporter.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let listens = |line: String| Some(line.split_once("\"Listening on\" address=")?.1.to_owned());
    let address = said.by_ref().find_map(listens).expect("the line that tells where it listens");
    let probe = |path: &str| {
        let mut wire = connect(address.parse().unwrap());
        let line = format!("GET /probe?module=shop&target={}{path}", site.address);
        wire.send(request(&line, &[("Host", "localhost")]));
        wire.answer().text().to_owned()
    };
    let up = probe("/healthz");
    assert!(up.contains("\nprobe_success 1\n") && up.contains("\nprobe_http_status_code 200\n"), "{up}");
    assert!(probe("/else").contains("\nprobe_http_status_code 403\n"));
    assert!(!String::from_utf8_lossy(&app.bytes()).contains(&token));

    // As the recipe rotates: the file is read at each probe.
    let listed: serde_json::Value =
        serde_json::from_str(&site.gateway.cli(&["token", "list", "--json"]).stdout).unwrap();
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recipes.md")).unwrap();
    let (_, rotate) = page.split_once("`portcullis token rotate ID").unwrap();
    let rotate =
        format!("portcullis token rotate {}{}", listed["items"][0]["id"], rotate.split_once('`').unwrap().0);
    assert_eq!(site.shell(&rotate, "").code, 0);
    assert_ne!(fs::read_to_string(site.gateway.path("portcullis-token")).unwrap().trim_end(), token);
    assert!(probe("/healthz").contains("\nprobe_success 1\n"));
}
