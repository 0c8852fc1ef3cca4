//! `proxy.toml`, read, judged and resolved. `load` is the way in; each section of the file has a file here that says
//! what its keys mean, and `section` is what they all read with.

mod admin;
mod apps;
mod certificate;
mod environment;
mod gateway;
mod leaks;
mod load;
mod notify;
mod report;
mod request_headers;
mod secrets;
mod section;
mod store;
#[cfg(test)]
mod tests;
mod tokens;
mod value;
mod written;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderName, Uri};
use ipnet::IpNet;
use rustls_pki_types::CertificateDer;

use crate::model::{
    AppName, Email, EnvironmentName, HostPattern, Lifetime, OnPublish, PathPattern, SecretName, Template,
    Upstream,
};
use crate::tls::Pair;

pub use load::{LoadError, Loaded, load, load_to_serve, parse};
pub use notify::{password, signing_secret};
pub use report::{Mistake, NamedTokens};

/// Everything `serve` needs to know, valid as a whole. Paths are resolved against the file's folder.
#[derive(Clone, Debug)]
pub struct Config {
    pub gateway: Gateway,
    pub admin: Admin,
    pub store: Store,
    pub tokens: Tokens,
    pub secrets: Secrets,
    pub leaks: Leaks,
    pub notify: Notify,
    /// In the order of the file.
    pub apps: Vec<App>,
}

#[derive(Clone, Debug)]
pub struct Gateway {
    pub listen: Vec<SocketAddr>,
    /// In the order of the file; those with one address share it.
    pub tls: Vec<Tls>,
    /// Never 0: "one per core" is resolved.
    pub workers: usize,
    pub trusted_proxies: Vec<IpNet>,
    pub drain_delay: Duration,
    pub drain_timeout: Duration,
    pub limits: Limits,
    pub access_log: AccessLog,
}

/// A certificate shown on an address.
#[derive(Clone, Debug)]
pub struct Tls {
    pub listen: SocketAddr,
    pub pair: Pair,
}

#[derive(Clone, Debug)]
pub struct Limits {
    pub connections: usize,
    pub header_timeout: Duration,
    pub idle_timeout: Duration,
    pub header_bytes: usize,
    pub headers: usize,
    /// 0: no limit.
    pub body_bytes: u64,
    /// 0: no limit.
    pub auth_failures_per_minute: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    Stdout,
    Off,
    File(PathBuf),
}

#[derive(Clone, Debug)]
pub struct Admin {
    pub listen: SocketAddr,
    pub socket: PathBuf,
    pub hosts: Vec<String>,
    /// `None`: plain HTTP.
    pub tls: Option<Pair>,
}

#[derive(Clone, Debug)]
pub struct Store {
    pub path: PathBuf,
}

#[derive(Clone, Debug)]
pub struct Tokens {
    /// `None`: the query form is off.
    pub query_parameter: Option<String>,
    pub header: HeaderName,
    /// Never empty.
    pub lifetimes: Vec<Lifetime>,
    pub max_lifetime: Lifetime,
    pub allow_never: bool,
    pub keep_ended: Lifetime,
    /// Live tokens in the workspace; 0: no limit.
    pub max_active: u32,
    /// Live tokens of one member; 0: no limit.
    pub max_active_per_member: u32,
}

#[derive(Clone, Debug)]
pub struct Secrets {
    pub key_file: PathBuf,
    /// Whether somebody chose that file: where nobody did, the service manager may hand another over.
    pub named: bool,
}

/// What happens to leaked tokens.
#[derive(Clone, Debug)]
pub struct Leaks {
    pub github_keys: GithubKeys,
    pub action: LeakAction,
    /// How long these live on whatever the action is, by their id or label.
    pub grace: Vec<(String, Lifetime)>,
    /// Whether owners are warned of a token that is used from a network for the first time.
    pub new_networks: bool,
}

/// Where the keys are that reports from GitHub are signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GithubKeys {
    Off,
    Url(Uri),
    File(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeakAction {
    Revoke,
    Grace(Lifetime),
}

/// Who is told of what happens to credentials.
#[derive(Clone, Debug)]
pub struct Notify {
    pub smtp: Option<Smtp>,
    pub webhook: Option<Webhook>,
}

#[derive(Clone, Debug)]
pub struct Smtp {
    pub server: SmtpServer,
    pub password: Option<Password>,
    pub from: Email,
    /// Who gets letters about what has no owner with an address.
    pub to: Option<Email>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpServer {
    pub security: SmtpSecurity,
    pub host: String,
    pub port: u16,
    pub user: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpSecurity {
    Tls,
    StartTls,
    /// To this machine alone.
    None,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Password {
    File(PathBuf),
    /// One secret, and nothing else.
    Reference(Template),
}

#[derive(Clone, Debug)]
pub struct Webhook {
    pub url: Uri,
    pub secret_file: PathBuf,
}

#[derive(Clone, Debug)]
pub struct App {
    pub name: AppName,
    pub description: String,
    pub product: Option<String>,
    /// Never empty; in the order of the file.
    pub environments: Vec<Environment>,
}

#[derive(Clone, Debug)]
pub struct Environment {
    pub name: EnvironmentName,
    /// Never empty.
    pub hosts: Vec<HostPattern>,
    /// Never empty.
    pub upstreams: Vec<Upstream>,
    pub on_publish: OnPublish,
    pub external_access: ExternalAccess,
    pub host_header: HostHeader,
    pub timeouts: Timeouts,
    /// Served without a token.
    pub public_paths: Vec<PathPattern>,
    /// Lets CORS preflights through.
    pub preflight: bool,
    /// Connections to each upstream, of all workers together. 0: no limit.
    pub connections: u32,
    pub health_check: Option<HealthCheck>,
    /// What https upstreams are judged by instead of the system's certificates; never empty.
    pub upstream_ca: Option<Vec<CertificateDer<'static>>>,
    /// Set on every request, each name once.
    pub request_headers: Vec<RequestHeader>,
    pub echo_guard: EchoGuard,
    /// Whether browsers get a session for a token that they bring in a link or paste.
    pub browser_sessions: bool,
}

impl Environment {
    /// The secrets that its requests need, some more than once.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        self.request_headers.iter().flat_map(|header| header.value.secrets())
    }
}

/// A field that requests get on their way to the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    pub name: HeaderName,
    pub value: Template,
    pub form: FieldForm,
}

/// How a field's value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldForm {
    Plain,
    /// As user and password (RFC 7617).
    Basic,
}

/// Where an app's answers are searched for the secrets that its requests were given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EchoGuard {
    Headers,
    /// In bodies too, as far as they are text.
    Body,
    Off,
}

/// How an app is asked whether it is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    pub path: PathAndQuery,
    pub interval: Duration,
    pub timeout: Duration,
    /// Failures in a row.
    pub unhealthy_after: u32,
    /// Successes in a row.
    pub healthy_after: u32,
}

/// Whether an environment lets tokens in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExternalAccess {
    OnFirstToken,
    On,
    Off,
}

impl ExternalAccess {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnFirstToken => "on-first-token",
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

/// Which `Host` the app sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostHeader {
    Preserve,
    Upstream,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    pub connect: Duration,
    /// From the last byte of the request to the head of the response.
    pub response_header: Duration,
    /// Without a byte either way on a begun response or an upgraded connection.
    pub idle: Duration,
}
