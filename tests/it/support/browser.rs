//! A real browser: headless Chromium, told what to do over WebDriver (<https://www.w3.org/TR/webdriver2/>).

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::until;
use super::wire::{connect, request};

/// The name under which WebDriver refers to elements.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub(crate) const TAB: &str = "\u{e004}";
pub(crate) const ENTER: &str = "\u{e007}";
pub(crate) const SPACE: &str = " ";

pub(crate) struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    /// Its profile, gone with it.
    _home: TempDir,
}

impl Browser {
    /// A browser of its own, with nothing in it.
    pub(crate) fn open() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .env("HOME", home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver, which scripts/setup installs");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let port = lines.find_map(|line| {
            let (_, rest) = line.split_once("started successfully on port ")?;
            rest.trim_end_matches('.').parse::<u16>().ok()
        });
        // What else it says has to go somewhere.
        thread::spawn(move || lines.for_each(drop));
        let address = ([127, 0, 0, 1], port.unwrap()).into();
        let mut browser = Self { driver, address, session: String::new(), _home: home };
        let profile = format!("--user-data-dir={}", browser._home.path().join("profile").display());
        let arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--hide-scrollbars",
            &profile,
        ];
        let wanted = json!({ "browserName": "chrome", "goog:chromeOptions": { "args": arguments } });
        let begun = browser.command("POST", "session", &json!({ "capabilities": { "alwaysMatch": wanted } }));
        browser.session = format!("session/{}", begun["sessionId"].as_str().unwrap());
        browser.resize(1280, 900);
        browser
    }

    pub(crate) fn go(&self, url: &str) {
        self.post("url", &json!({ "url": url }));
    }

    pub(crate) fn reload(&self) {
        self.post("refresh", &json!({}));
    }

    pub(crate) fn url(&self) -> String {
        self.command("GET", &format!("{}/url", self.session), &Value::Null).as_str().unwrap().to_owned()
    }

    pub(crate) fn resize(&self, width: u32, height: u32) {
        // The window's edges are not the page's.
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.tell("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// Has pages shown as to people who like it dark, or light.
    pub(crate) fn prefer(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.tell("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    pub(crate) fn grant(&self, permission: &str) {
        self.post("permissions", &json!({ "descriptor": { "name": permission }, "state": "granted" }));
    }

    /// Waits until the page has such an element; panics if it never does.
    #[track_caller]
    pub(crate) fn find(&self, selector: &str) -> String {
        until(&format!("{selector} on the page"), || {
            let found = self.post("elements", &json!({ "using": "css selector", "value": selector }));
            Some(found[0][ELEMENT].as_str()?.to_owned())
        })
    }

    pub(crate) fn has(&self, selector: &str) -> bool {
        let found = self.post("elements", &json!({ "using": "css selector", "value": selector }));
        found[0].is_object()
    }

    #[track_caller]
    pub(crate) fn click(&self, selector: &str) {
        let element = self.find(selector);
        self.post(&format!("element/{element}/click"), &json!({}));
    }

    /// Writes where something else may have been written.
    #[track_caller]
    pub(crate) fn fill(&self, selector: &str, text: &str) {
        let element = self.find(selector);
        self.post(&format!("element/{element}/clear"), &json!({}));
        self.post(&format!("element/{element}/value"), &json!({ "text": text }));
    }

    /// Presses keys, wherever the focus is.
    pub(crate) fn press(&self, keys: &str) {
        let strokes = keys.chars().flat_map(|key| {
            [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })]
        });
        let source = json!({ "type": "key", "id": "keyboard", "actions": strokes.collect::<Vec<_>>() });
        self.post("actions", &json!({ "actions": [source] }));
    }

    /// What a person sees there.
    #[track_caller]
    pub(crate) fn text(&self, selector: &str) -> String {
        let element = self.find(selector);
        let path = format!("{}/element/{element}/text", self.session);
        self.command("GET", &path, &Value::Null).as_str().unwrap().to_owned()
    }

    /// Waits until a person sees this there.
    #[track_caller]
    pub(crate) fn wait_for(&self, selector: &str, words: &str) {
        until(&format!("{words:?} in {selector}"), || {
            let script =
                "const found = document.querySelector(arguments[0]); return found && found.innerText";
            let text = self.run(script, &json!([selector]));
            text.as_str().is_some_and(|text| text.contains(words)).then_some(())
        });
    }

    /// What a script returns.
    pub(crate) fn run(&self, script: &str, arguments: &Value) -> Value {
        self.post("execute/sync", &json!({ "script": script, "args": arguments }))
    }

    /// The same of one that promises.
    pub(crate) fn run_to_end(&self, script: &str) -> Value {
        let script = format!(
            "const done = arguments[0]; (async () => {{ {script} }})().then(done, (e) => done(String(e)))"
        );
        self.post("execute/async", &json!({ "script": script, "args": [] }))
    }

    /// Writes what the whole page looks like to `target/screenshots`.
    pub(crate) fn shoot(&self, name: &str) {
        let shot = self.tell("Page.captureScreenshot", &json!({ "captureBeyondViewport": true }));
        let bytes = BASE64_STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        fs::create_dir_all(screenshots()).unwrap();
        fs::write(screenshots().join(name).with_extension("png"), bytes).unwrap();
    }

    /// A command of Chromium's own.
    fn tell(&self, command: &str, parameters: &Value) -> Value {
        self.post("goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        self.command("POST", &format!("{}/{path}", self.session), body)
    }

    #[track_caller]
    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let length = body.len().to_string();
        let line = format!("{method} /{path}");
        let fields =
            [("Host", "localhost"), ("Content-Type", "application/json"), ("Content-Length", &*length)];
        let mut wire = connect(self.address);
        wire.send([request(&line, &fields), body.into_bytes()].concat());
        let mut answer = wire.answer().json()["value"].take();
        assert!(answer["error"].is_null(), "{line}: {}: {}", answer["error"], answer["message"]);
        answer.take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A panic within a panic would hide the first.
        if !self.session.is_empty() && !thread::panicking() {
            self.command("DELETE", &self.session, &Value::Null);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// Where the run leaves pictures for people to look at.
fn screenshots() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target")).join("screenshots")
}
