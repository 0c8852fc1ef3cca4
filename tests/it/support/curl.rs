//! curl, in every way in which it reaches a gateway.

use std::process::{Command, Stdio};

use super::authority::Authority;
use super::gateway::{Gateway, Minted, Ran, Setup};
use super::program::finish;

pub(crate) const HOST: &str = "shop.localhost";

/// What curl speaks, and whether in TLS.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) scheme: &'static str,
    pub(crate) version: &'static str,
    arguments: &'static [&'static str],
}

/// Every protocol that it agrees on with the gateway, in plain text and in either version of TLS.
pub(crate) const WAYS: [Way; 5] = [
    Way { scheme: "http", version: "1.1", arguments: &["--http1.1"] },
    Way { scheme: "http", version: "2", arguments: &["--http2-prior-knowledge"] },
    Way { scheme: "https", version: "1.1", arguments: &["--http1.1", "--tls-max", "1.2"] },
    Way { scheme: "https", version: "2", arguments: &["--http2", "--tls-max", "1.2"] },
    Way { scheme: "https", version: "2", arguments: &["--tlsv1.3"] },
];

/// A gateway with both its doors open, and a token for it.
pub(crate) struct Site {
    pub(crate) gateway: Gateway,
    pub(crate) token: Minted,
    pub(crate) authority: Authority,
}

impl Site {
    /// Before an app; `authority` issues the gateway's certificate, and is believed if the app is https.
    pub(crate) fn before(url: &str, authority: Authority) -> Self {
        authority.write("shop", &[HOST]);
        let mut setup = Setup::with_upstreams(&[url]).and(&authority.entry("127.0.0.1:0", "shop"));
        if url.starts_with("https") {
            setup = setup.both("upstream_ca", &format!("\"{}\"", authority.path("ca.pem").display()));
        }
        let gateway = setup.start();
        let token = gateway.mint("production");
        Self { gateway, token, authority }
    }

    /// curl with a token, about to ask for `path`.
    pub(crate) fn curl(&self, way: Way, arguments: &[&str], path: &str) -> Command {
        let field = format!("X-Portcullis-Token: {}", self.token.secret);
        let mut command = self.curl_without_token(way, arguments, path);
        command.args(["--header", &field]);
        command
    }

    pub(crate) fn curl_without_token(&self, way: Way, arguments: &[&str], path: &str) -> Command {
        let address = match way.scheme {
            "https" => self.gateway.tls_address(),
            _ => self.gateway.address(),
        };
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "20", "--cacert"]);
        command.arg(self.authority.path("ca.pem")).args(way.arguments).args(arguments);
        command.args(["--connect-to", &format!("::{address}"), &format!("{}://{HOST}{path}", way.scheme)]);
        command.stdin(Stdio::null());
        command
    }

    /// Runs curl to its end, which has to be a good one.
    #[track_caller]
    pub(crate) fn run(&self, way: Way, arguments: &[&str], path: &str) -> Ran {
        let ran = finish(&mut self.curl(way, arguments, path));
        assert_eq!(ran.code, 0, "{way:?} {path}: {ran:?}");
        ran
    }
}
