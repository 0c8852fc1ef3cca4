//! A configuration for tests: the apps `shop` (development, production) and `blog` (production).

use std::time::Duration;

use http::HeaderName;

use crate::config::{
    AccessLog, Admin, App, Config, EchoGuard, Environment, ExternalAccess, Gateway, GithubKeys, HostHeader,
    LeakAction, Leaks, Limits, Notify, Secrets, Store, Timeouts, Tokens,
};
use crate::model::{AppName, EnvironmentName, HostPattern, Lifetime, OnPublish, Upstream};

pub(crate) fn config() -> Config {
    let lifetime = |text| Lifetime::parse(text).unwrap();
    let second = Duration::from_secs(1);
    Config {
        gateway: Gateway {
            listen: Vec::new(),
            tls: Vec::new(),
            workers: 1,
            trusted_proxies: Vec::new(),
            drain_delay: Duration::ZERO,
            drain_timeout: second,
            limits: Limits {
                connections: 10,
                header_timeout: second,
                idle_timeout: second,
                header_bytes: 65_536,
                headers: 100,
                body_bytes: 0,
                auth_failures_per_minute: 0,
            },
            access_log: AccessLog::Off,
        },
        admin: Admin {
            listen: ([127, 0, 0, 1], 0).into(),
            socket: "portcullis.sock".into(),
            hosts: vec!["admin.example".to_owned()],
            tls: None,
        },
        store: Store { path: "portcullis.db".into() },
        leaks: Leaks {
            github_keys: GithubKeys::Off,
            action: LeakAction::Revoke,
            grace: Vec::new(),
            new_networks: false,
        },
        notify: Notify { smtp: None, webhook: None },
        tokens: Tokens {
            query_parameter: Some("project-protection-bypass".to_owned()),
            header: HeaderName::from_static("x-portcullis-token"),
            lifetimes: vec![lifetime("1h"), lifetime("7d")],
            max_lifetime: lifetime("5y"),
            allow_never: false,
            keep_ended: lifetime("90d"),
            max_active: 0,
            max_active_per_member: 0,
        },
        secrets: Secrets { key_file: "portcullis.key".into(), named: false },
        apps: vec![
            App {
                name: AppName::parse("shop").unwrap(),
                description: "Storefront".to_owned(),
                product: None,
                environments: vec![
                    environment("development", OnPublish::Keep),
                    environment("production", OnPublish::Stop),
                ],
            },
            App {
                name: AppName::parse("blog").unwrap(),
                description: String::new(),
                product: None,
                environments: vec![environment("production", OnPublish::Stop)],
            },
        ],
    }
}

fn environment(name: &str, on_publish: OnPublish) -> Environment {
    let second = Duration::from_secs(1);
    Environment {
        name: EnvironmentName::parse(name).unwrap(),
        hosts: vec![HostPattern::parse("shop.localhost").unwrap()],
        upstreams: vec![Upstream::parse("http://127.0.0.1:3000").unwrap()],
        on_publish,
        external_access: ExternalAccess::OnFirstToken,
        host_header: HostHeader::Preserve,
        timeouts: Timeouts { connect: second, response_header: second, idle: second },
        public_paths: Vec::new(),
        preflight: false,
        connections: 0,
        health_check: None,
        upstream_ca: None,
        request_headers: Vec::new(),
        echo_guard: EchoGuard::Headers,
        browser_sessions: true,
    }
}
