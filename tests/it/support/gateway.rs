//! `portcullis serve` as a process of its own, in a folder of its own.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::app::App;
use super::metrics::Metrics;
use super::wire::{self, Answer, Wire};
use super::{PATIENCE, until};

/// Where it is.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_portcullis");

/// A `proxy.toml` in the making: sections, keys, values as TOML.
pub(crate) struct Setup {
    sections: BTreeMap<String, BTreeMap<String, String>>,
    rest: String,
}

/// A running gateway. Killed when dropped.
pub(crate) struct Gateway {
    folder: TempDir,
    process: Process,
}

/// A minted token.
pub(crate) struct Minted {
    pub(crate) id: String,
    pub(crate) secret: String,
}

/// What a finished command left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

struct Process {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
    stderr: Arc<Mutex<String>>,
}

impl Setup {
    /// An app `shop` with its two environments, `shop.localhost` and `shop.dev.localhost`, both served by `app`.
    pub(crate) fn new(app: &App) -> Self {
        Self::with_upstreams(&[&app.url()])
    }

    /// The same, served by the apps at these URLs.
    pub(crate) fn with_upstreams(urls: &[&str]) -> Self {
        let upstreams = format!("{urls:?}");
        Self { sections: BTreeMap::new(), rest: String::new() }
            .set("gateway", "listen", "[\"127.0.0.1:0\"]")
            .set("gateway", "workers", "2")
            .set("gateway.access_log", "path", "\"access.log\"")
            .set("admin", "listen", "\"127.0.0.1:0\"")
            .set("apps.shop.environments.development", "hosts", "[\"shop.dev.localhost\"]")
            .set("apps.shop.environments.development", "upstreams", &upstreams)
            .set("apps.shop.environments.production", "hosts", "[\"shop.localhost\"]")
            .set("apps.shop.environments.production", "upstreams", &upstreams)
    }

    /// Sets a key, in place of what was there.
    pub(crate) fn set(mut self, section: &str, key: &str, value: &str) -> Self {
        self.sections.entry(section.to_owned()).or_default().insert(key.to_owned(), value.to_owned());
        self
    }

    /// Adds tables as they are written.
    pub(crate) fn and(mut self, text: &str) -> Self {
        self.rest.push_str(text);
        self
    }

    /// Sets a key of both environments, in place of what was there.
    pub(crate) fn both(self, key: &str, value: &str) -> Self {
        self.set("apps.shop.environments.development", key, value).set(
            "apps.shop.environments.production",
            key,
            value,
        )
    }

    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (section, keys) in &self.sections {
            text.push_str(&format!("[{section}]\n"));
            for (key, value) in keys {
                text.push_str(&format!("{key} = {value}\n"));
            }
        }
        text + &self.rest
    }

    /// Starts a gateway with this configuration and waits until it serves.
    pub(crate) fn start(&self) -> Gateway {
        self.start_among(&[])
    }

    /// The same with these variables in its environment.
    pub(crate) fn start_among(&self, variables: &[(&str, &str)]) -> Gateway {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("proxy.toml"), self.text()).unwrap();
        let process = Process::start(command(folder.path()).arg("serve").envs(variables.iter().copied()));
        Gateway { folder, process }
    }

    /// Starts a gateway that inherits sockets, one or two, which `listen` makes in its folder.
    pub(crate) fn start_with<const N: usize>(&self, listen: impl FnOnce(&Path) -> [OwnedFd; N]) -> Gateway {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("proxy.toml"), self.text()).unwrap();
        let sockets = listen(folder.path());
        let process = Process::inherit(folder.path(), sockets);
        Gateway { folder, process }
    }

    /// Starts a gateway in a folder where another file lies beside `proxy.toml`.
    pub(crate) fn start_beside(&self, name: &str, text: &str) -> Gateway {
        self.start_in(tempfile::tempdir().unwrap(), name, text, &[])
    }

    /// The same, with these variables in its environment.
    pub(crate) fn start_in(
        &self,
        folder: TempDir,
        name: &str,
        text: &str,
        variables: &[(&str, &Path)],
    ) -> Gateway {
        fs::write(folder.path().join(name), text).unwrap();
        fs::write(folder.path().join("proxy.toml"), self.text()).unwrap();
        let process = Process::start(command(folder.path()).arg("serve").envs(variables.iter().copied()));
        Gateway { folder, process }
    }

    /// Starts a gateway whose files cannot grow past 512 KiB, as if the disk were full then.
    pub(crate) fn start_on_small_disk(&self) -> Gateway {
        // Without the trap the first write past the limit would kill instead of fail. The limit is one that can be
        // lifted again.
        self.start_limited("trap '' XFSZ; ulimit -S -f 1024")
    }

    /// Starts a gateway that may have at most so many files and sockets open.
    pub(crate) fn start_with_descriptors(&self, most: usize) -> Gateway {
        self.start_limited(&format!("ulimit -n {most}"))
    }

    /// Starts a gateway under the limits that a shell sets.
    fn start_limited(&self, limits: &str) -> Gateway {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("proxy.toml"), self.text()).unwrap();
        let script = &format!("{limits}; exec \"$0\" serve");
        let mut shell = in_folder("sh", folder.path());
        let process = Process::start(shell.args(["-c", script, PROGRAM]));
        Gateway { folder, process }
    }
}

impl Gateway {
    /// A gateway with the usual configuration in front of `app`.
    pub(crate) fn before(app: &App) -> Self {
        Setup::new(app).start()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the gateway listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.process.address
    }

    /// Every address that the program ever said to listen on, after `what`: `gateway listens on https://`.
    pub(crate) fn addresses(&self, what: &str) -> Vec<SocketAddr> {
        let text = self.stderr();
        let lines = text.lines().filter_map(|line| line.strip_prefix("portcullis: ")?.strip_prefix(what));
        lines.map(|address| address.parse().unwrap()).collect()
    }

    /// Where the gateway speaks TLS.
    pub(crate) fn tls_address(&self) -> SocketAddr {
        self.addresses("gateway listens on https://")[0]
    }

    /// Writes the configuration anew.
    pub(crate) fn rewrite(&self, setup: &Setup) {
        fs::write(self.path("proxy.toml"), setup.text()).unwrap();
    }

    /// Waits until the program has said this in its log.
    #[track_caller]
    pub(crate) fn wait_for_words(&self, words: &str) {
        until(&format!("\"{words}\" in the log"), || self.stderr().contains(words).then_some(()));
    }

    /// Where the admin side listens.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.process.admin
    }

    pub(crate) fn connect(&self) -> Wire<TcpStream> {
        wire::connect(self.address())
    }

    /// Sends one request over a connection of its own and reads the answer.
    #[track_caller]
    pub(crate) fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut wire = self.connect();
        wire.send(request);
        wire.answer()
    }

    /// A request to the admin side over its socket, as the operator.
    #[track_caller]
    pub(crate) fn admin(&self, line: &str, body: Option<Value>) -> Answer {
        let stream = UnixStream::connect(self.path("portcullis.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let length = body.len().to_string();
        let mut fields = vec![("Host", "localhost"), ("Content-Length", &length)];
        if !body.is_empty() {
            fields.push(("Content-Type", "application/json"));
        }
        let mut wire = Wire::new(stream);
        wire.send([wire::request(line, &fields), body.into_bytes()].concat());
        wire.answer()
    }

    /// A token for an environment of `shop`, good for an hour.
    #[track_caller]
    pub(crate) fn mint(&self, environment: &str) -> Minted {
        self.mint_with(json!({ "app": "shop", "environment": environment, "expires_in": "1h" }))
    }

    #[track_caller]
    pub(crate) fn mint_with(&self, body: Value) -> Minted {
        let answer = self.admin("POST /v1/tokens", Some(body));
        assert_eq!(answer.status, 201, "{answer:?}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let json = answer.json();
        Minted { id: text(&json["token"]["id"]), secret: text(&json["secret"]) }
    }

    /// A token that ends this soon.
    #[track_caller]
    pub(crate) fn mint_for(&self, environment: &str, life: Duration) -> Minted {
        let end = jiff::Timestamp::now() + life;
        let end = end.to_string();
        self.mint_with(json!({ "app": "shop", "environment": environment, "expires_at": end }))
    }

    /// Revokes a token; the receipt.
    #[track_caller]
    pub(crate) fn revoke(&self, id: &str) -> Value {
        let answer = self.admin(&format!("POST /v1/tokens/{id}/revoke"), None);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// Runs the command line with this gateway's configuration.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Ran {
        let output = command(self.folder.path()).args(arguments).stdin(Stdio::null()).output().unwrap();
        Ran {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The same with something on standard input.
    pub(crate) fn cli_given(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = command(self.folder.path());
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // One that refuses its arguments does not read.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The access log as far as it was written.
    pub(crate) fn log(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("access.log")).unwrap_or_default();
        // The last piece is a line only if it ends in one.
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits for the access-log line of a request.
    #[track_caller]
    pub(crate) fn logged(&self, request_id: &str) -> Value {
        let find = || self.log().into_iter().find(|line| line["request_id"] == request_id);
        until(&format!("the line of request {request_id}"), find)
    }

    /// The metrics, as Prometheus reads them.
    #[track_caller]
    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::read(&self.admin("GET /metrics", None))
    }

    /// What the program has said so far.
    pub(crate) fn stderr(&self) -> String {
        self.process.stderr.lock().unwrap().clone()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process.child), signal).unwrap();
    }

    /// Waits for the process to end by itself.
    pub(crate) fn exit(&mut self) -> ExitStatus {
        let child = &mut self.process.child;
        until("the gateway's end", || child.try_wait().unwrap())
    }

    /// Ends the process as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.process.child.kill().unwrap();
        self.process.child.wait().unwrap();
    }

    /// Starts the program again on the same folder; the ports are others. What ran before has to have ended.
    pub(crate) fn restart(&mut self) {
        self.restart_among(&[]);
    }

    /// The same with these variables in its environment.
    pub(crate) fn restart_among(&mut self, variables: &[(&str, &Path)]) {
        let mut command = command(self.folder.path());
        self.process = Process::start(command.arg("serve").envs(variables.iter().copied()));
    }

    /// The same with inherited sockets.
    pub(crate) fn restart_with<const N: usize>(&mut self, sockets: [OwnedFd; N]) {
        self.process = Process::inherit(self.folder.path(), sockets);
    }
}

/// The program in a folder with a `proxy.toml`, deaf to the environment of whoever runs the tests.
pub(crate) fn command(folder: &Path) -> Command {
    in_folder(PROGRAM, folder)
}

fn in_folder(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PORTCULLIS_") {
            command.env_remove(name);
        }
    }
    command.current_dir(folder);
    command
}

impl Process {
    fn start(command: &mut Command) -> Self {
        Self::watch(command.stdin(Stdio::null()).stdout(Stdio::null()))
    }

    /// Starts with `sockets` from descriptor 3 on, as a service manager hands them over. Up to two fit through the
    /// standard streams, which no other child of this process gets to see.
    fn inherit<const N: usize>(folder: &Path, sockets: [OwnedFd; N]) -> Self {
        assert!(matches!(N, 1 | 2));
        let second = if N == 2 { "4<&1" } else { "" };
        let move_up = format!("exec 3<&0 {second} </dev/null >/dev/null");
        let script = format!("{move_up}; LISTEN_PID=$$ LISTEN_FDS={N} exec \"$0\" serve");
        let mut shell = in_folder("sh", folder);
        let mut sockets = sockets.into_iter().map(Stdio::from);
        shell.args(["-c", &script, PROGRAM]);
        shell.stdin(sockets.next().unwrap()).stdout(sockets.next().unwrap_or_else(Stdio::null));
        Self::watch(&mut shell)
    }

    fn watch(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = Arc::new(Mutex::new(String::new()));
        let (written, pipe) = (stderr.clone(), child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                written.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let address = |after: &str| {
            let text = stderr.lock().unwrap();
            let (_, rest) = text.split_once(after)?;
            rest.split_once('\n')?.0.split_once("://")?.1.parse().ok()
        };
        let (gateway, admin) = until("the lines that tell where it listens", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("{status}: {}", stderr.lock().unwrap());
            }
            let ready = stderr.lock().unwrap().contains("portcullis.sock\n");
            let addresses = (address("gateway listens on http")?, address("admin listens on http")?);
            ready.then_some(addresses)
        });
        Self { child, address: gateway, admin, stderr }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
