//! Programs in Python on libraries that others wrote, as processes of their own that speak a line of JSON at a time.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde_json::Value;

use super::PATIENCE;
use super::authority::Authority;
use super::gateway::{Gateway, Setup};

/// The host that scripts ask for.
pub(crate) const HOST: &str = "shop.localhost";

/// A running program. Killed when dropped.
pub(crate) struct Peer {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Peer {
    /// Starts a script from the folder `peers`, which needs `module`.
    #[track_caller]
    pub(crate) fn start(script: &str, module: &str, arguments: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/peers").join(script);
        let mut command = Command::new(python(module));
        command.arg("-u").arg(script).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (tell, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        Self { child, input, lines }
    }

    /// Where a server says on its first line that it listens.
    #[track_caller]
    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.line().parse().unwrap()).into()
    }

    /// What it says next.
    #[track_caller]
    pub(crate) fn told(&self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    /// Tells it to do something; what came of it.
    #[track_caller]
    pub(crate) fn ask(&mut self, what: &Value) -> Value {
        writeln!(self.input, "{what}").unwrap();
        self.told()
    }

    #[track_caller]
    fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("the script should have said something")
    }
}

/// A gateway between two scripts, `NAME_app.py` and `NAME_client.py`.
pub(crate) struct Ends {
    pub(crate) app: Peer,
    pub(crate) gateway: Gateway,
    pub(crate) client: Peer,
    /// Its folder has the certificates, which scripts may be slow to read.
    _authority: Option<Authority>,
}

impl Ends {
    /// TLS on neither side of the gateway.
    pub(crate) fn plain(name: &str, module: &str, scheme: &str) -> Self {
        let app = Peer::start(&format!("{name}_app.py"), module, &[]);
        let gateway = Setup::with_upstreams(&[&format!("{scheme}://{}", app.address())]).start();
        let address = gateway.address().to_string();
        let client = Peer::start(&format!("{name}_client.py"), module, &[&address, HOST]);
        Self { app, gateway, client, _authority: None }
    }

    /// TLS on both sides of the gateway.
    pub(crate) fn secure(name: &str, module: &str) -> Self {
        let authority = Authority::new();
        let believed = authority.path("ca.pem").display().to_string();
        authority.write("shop", &[HOST]);
        authority.write("app", &["localhost"]);
        let pair = ["app.pem", "app-key.pem"].map(|name| authority.path(name).display().to_string());
        let app = Peer::start(&format!("{name}_app.py"), module, &[&pair[0], &pair[1]]);
        let gateway = Setup::with_upstreams(&[&format!("https://localhost:{}", app.address().port())])
            .both("upstream_ca", &format!("\"{believed}\""))
            .and(&authority.entry("127.0.0.1:0", "shop"))
            .start();
        let address = gateway.tls_address().to_string();
        let client = Peer::start(&format!("{name}_client.py"), module, &[&address, HOST, &believed]);
        Self { app, gateway, client, _authority: Some(authority) }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Python that has this module. The distribution's own may not be the first that is found.
fn python(module: &str) -> &'static str {
    let look = format!("import importlib.util, sys; sys.exit(importlib.util.find_spec('{module}') is None)");
    let has = |python: &&str| {
        let tried = Command::new(python).args(["-c", &look]).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    let found = ["/usr/bin/python3", "python3"].into_iter().find(has);
    found.unwrap_or_else(|| panic!("no Python has the module {module}: scripts/setup names its package"))
}
