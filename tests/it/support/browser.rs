//! Chromium without a window, driven as the WebDriver standard has it (<https://www.w3.org/TR/webdriver2/>).

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::until;
use super::wire::{Wire, request};

/// How long the driver may take for one command: a busy machine starts a browser slowly.
const PATIENCE: Duration = Duration::from_secs(60);
/// What an element is called on the wire.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub(crate) const TAB: &str = "\u{e004}";
pub(crate) const ENTER: &str = "\u{e007}";
pub(crate) const SPACE: &str = " ";

/// Starts a driver; its port, where it got one.
fn drive(folder: &Path) -> Option<(Child, u16)> {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .env("TMPDIR", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("chromedriver: scripts/setup names its package");
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let port = lines.find_map(|line| {
        line.ok()?.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok()
    });
    let Some(port) = port else {
        let _ = driver.wait();
        return None;
    };
    // It must not come to a stop because nobody listens.
    thread::spawn(move || lines.for_each(drop));
    Some((driver, port))
}

/// A browser with a profile of its own. Ended when dropped.
pub(crate) struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser that believes any certificate.
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more arguments.
    #[track_caller]
    pub(crate) fn start_with(more: &[&str]) -> Self {
        let profile = tempfile::tempdir().unwrap();
        // Several at once can be after the same port: it listens on both kinds of loopback, and tries no second one.
        let (driver, port) =
            (0..5).find_map(|_| drive(profile.path())).expect("chromedriver should tell its port");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut browser = Self { driver, address, session: String::new(), _profile: profile };
        let usual = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
        ];
        let options = json!({ "args": usual.iter().chain(more).collect::<Vec<_>>() });
        let wanted = json!({ "alwaysMatch": { "acceptInsecureCerts": true, "goog:chromeOptions": options } });
        let begun = browser.ask("POST /session", Some(json!({ "capabilities": wanted })));
        browser.session = format!("/session/{}", begun["sessionId"].as_str().unwrap());
        browser.resize(1280, 900, false);
        browser
    }

    #[track_caller]
    pub(crate) fn visit(&self, url: &str) {
        self.post("/url", json!({ "url": url }));
    }

    #[track_caller]
    pub(crate) fn reload(&self) {
        self.post("/refresh", json!({}));
    }

    #[track_caller]
    pub(crate) fn grant(&self, permission: &str) {
        self.post("/permissions", json!({ "descriptor": { "name": permission }, "state": "granted" }));
    }

    /// Where it is.
    #[track_caller]
    pub(crate) fn url(&self) -> String {
        self.get("/url").as_str().unwrap().to_owned()
    }

    /// The first element that a CSS selector finds; waits for it.
    #[track_caller]
    pub(crate) fn find(&self, selector: &str) -> String {
        let found = || {
            let all = self.post("/elements", json!({ "using": "css selector", "value": selector }));
            all[0][ELEMENT].as_str().map(str::to_owned)
        };
        until(selector, found)
    }

    #[track_caller]
    pub(crate) fn has(&self, selector: &str) -> bool {
        self.post("/elements", json!({ "using": "css selector", "value": selector }))[0].is_object()
    }

    #[track_caller]
    pub(crate) fn text(&self, selector: &str) -> String {
        let element = self.find(selector);
        self.get(&format!("/element/{element}/text")).as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub(crate) fn click(&self, selector: &str) {
        let element = self.find(selector);
        self.post(&format!("/element/{element}/click"), json!({}));
    }

    /// Types into a field, as a keyboard does.
    #[track_caller]
    pub(crate) fn type_into(&self, selector: &str, text: &str) {
        let element = self.find(selector);
        self.post(&format!("/element/{element}/value"), json!({ "text": text }));
    }

    /// Writes where something else may have been written.
    #[track_caller]
    pub(crate) fn fill(&self, selector: &str, text: &str) {
        let element = self.find(selector);
        self.post(&format!("/element/{element}/clear"), json!({}));
        self.post(&format!("/element/{element}/value"), json!({ "text": text }));
    }

    /// Presses keys, wherever the focus is.
    #[track_caller]
    pub(crate) fn press(&self, keys: &str) {
        let strokes = keys.chars().flat_map(|key| {
            [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })]
        });
        let source = json!({ "type": "key", "id": "keyboard", "actions": strokes.collect::<Vec<_>>() });
        self.post("/actions", json!({ "actions": [source] }));
    }

    /// What a JavaScript function body returns; what it awaits is awaited.
    #[track_caller]
    pub(crate) fn eval(&self, body: &str) -> Value {
        self.run(&format!("return (async () => {{ {body} }})()"), &json!([]))
    }

    /// What a script makes of arguments.
    #[track_caller]
    pub(crate) fn run(&self, script: &str, arguments: &Value) -> Value {
        self.post("/execute/sync", json!({ "script": script, "args": arguments }))
    }

    /// Waits until that is something.
    #[track_caller]
    pub(crate) fn wait_until(&self, body: &str) -> Value {
        until(body, || Some(self.eval(body)).filter(|value| !value.is_null() && *value != false))
    }

    /// Waits until a person sees these words there.
    #[track_caller]
    pub(crate) fn wait_for(&self, selector: &str, words: &str) {
        until(&format!("{words:?} in {selector}"), || {
            let script =
                "const found = document.querySelector(arguments[0]); return found && found.innerText";
            let text = self.run(script, &json!([selector]));
            text.as_str().is_some_and(|text| text.contains(words)).then_some(())
        });
    }

    /// From here on within a frame of the page.
    #[track_caller]
    pub(crate) fn enter_frame(&self, selector: &str) {
        let element = self.find(selector);
        self.post("/frame", json!({ "id": { ELEMENT: element } }));
    }

    /// Light or dark, as the user prefers it.
    #[track_caller]
    pub(crate) fn prefer(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// The size of the page's window; `phone` as phones have it.
    #[track_caller]
    pub(crate) fn resize(&self, width: u32, height: u32, phone: bool) {
        let size = &json!({ "width": width, "height": height, "deviceScaleFactor": if phone { 2 } else { 1 }, "mobile": phone });
        self.devtools("Emulation.setDeviceMetricsOverride", size);
    }

    /// Writes what the whole page looks like to `target/screenshots`, for people to look at.
    #[track_caller]
    pub(crate) fn shoot(&self, name: &str) {
        let shot = self.devtools("Page.captureScreenshot", &json!({ "captureBeyondViewport": true }));
        let image = BASE64_STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("screenshots");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name).with_extension("png"), image).unwrap();
    }

    #[track_caller]
    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post("/goog/cdp/execute", json!({ "cmd": command, "params": parameters }))
    }

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        self.ask(&format!("GET {}{path}", self.session), None)
    }

    #[track_caller]
    fn post(&self, path: &str, body: Value) -> Value {
        self.ask(&format!("POST {}{path}", self.session), Some(body))
    }

    #[track_caller]
    fn ask(&self, line: &str, body: Option<Value>) -> Value {
        let answer = self.try_to_ask(line, body).unwrap_or_else(|| panic!("{line}: chromedriver has gone"));
        let mut answer: Value = serde_json::from_slice(&answer).unwrap();
        assert!(answer["value"]["error"].is_null(), "{line}: {answer}");
        answer["value"].take()
    }

    fn try_to_ask(&self, line: &str, body: Option<Value>) -> Option<Vec<u8>> {
        let stream = TcpStream::connect(self.address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let (host, length) = (self.address.to_string(), body.len().to_string());
        let fields =
            [("Host", host.as_str()), ("Content-Length", &length), ("Content-Type", "application/json")];
        let mut wire = Wire::new(stream);
        wire.send([request(line, &fields), body.into_bytes()].concat());
        let head = wire.head().ok()??;
        wire.body(&head).ok()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            // The driver ends the browser with that; killed first, it would leave it behind.
            let _ = self.try_to_ask(&format!("DELETE {}", self.session), None);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
