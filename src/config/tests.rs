//! What a reader of `proxy.toml` is told, mistake by mistake.

use std::path::{Path, PathBuf};

use super::*;

mod certificates;
mod example;
mod nonsense;
mod notices;
mod upstreams;

/// One app that is in order, to stand beside what a test is about.
const APP: &str =
    "[apps.a.environments.production]\nhosts = ['a.localhost']\nupstreams = ['http://127.0.0.1:3000']\n";

fn read(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Vec<String>> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    match parse(text, Path::new("proxy.toml"), Path::new("/etc/portcullis"), variables) {
        Ok(loaded) => Ok(loaded),
        Err(LoadError::Invalid(mistakes)) => Err(mistakes.iter().map(Mistake::to_string).collect()),
        Err(LoadError::Unreadable { source, .. }) => panic!("{source}"),
    }
}

fn accept(text: &str) -> Loaded {
    read(text, &[]).unwrap_or_else(|mistakes| panic!("{mistakes:#?}\nin\n{text}"))
}

/// The mistakes in `text`, which must have some.
fn mistakes(text: &str) -> Vec<String> {
    read(text, &[]).map(|_| ()).expect_err(text)
}

fn warnings(text: &str) -> Vec<String> {
    accept(text).warnings.iter().map(Mistake::to_string).collect()
}

/// Asserts that `text` has this one mistake, `expected` being `LINE:COLUMN: ` and how the message begins.
#[track_caller]
fn refuse(text: &str, expected: &str) {
    let mistakes = mistakes(text);
    let expected = format!("proxy.toml:{expected}");
    assert!(mistakes.len() == 1 && mistakes[0].starts_with(&expected), "{mistakes:#?} for\n{text}");
}

#[test]
fn nothing_at_all_means_the_defaults() {
    let Loaded { config, warnings, .. } = accept("");
    assert_eq!(warnings.len(), 1);
    assert_eq!(
        warnings[0].to_string(),
        "proxy.toml:1:1: there is no app: every request gets unknown_host; add [apps.NAME] and its environments"
    );
    assert_eq!(config.gateway.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert!(config.gateway.workers > 0);
    assert_eq!(config.gateway.drain_timeout, Duration::from_secs(30));
    assert_eq!(config.gateway.limits.connections, 10_000);
    assert_eq!(config.gateway.limits.idle_timeout, Duration::from_secs(75));
    assert_eq!(config.gateway.access_log, AccessLog::Stdout);
    assert_eq!(config.admin.listen, "127.0.0.1:9180".parse().unwrap());
    assert_eq!(config.admin.socket, Path::new("/etc/portcullis/portcullis.sock"));
    assert_eq!(config.store.path, Path::new("/etc/portcullis/portcullis.db"));
    assert_eq!(config.tokens.query_parameter.as_deref(), Some("project-protection-bypass"));
    assert_eq!(config.tokens.header, "x-portcullis-token");
    let lifetimes: Vec<_> = config.tokens.lifetimes.iter().map(Lifetime::to_string).collect();
    assert_eq!(lifetimes, ["1h", "24h", "7d", "30d", "3mo", "1y", "5y"]);
    assert_eq!(config.tokens.keep_ended.to_string(), "90d");
}

#[test]
fn apps_keep_their_order_and_environments_their_own_defaults() {
    let config = accept(
        "[apps.z.environments.production]\nhosts = ['Z.localhost']\nupstreams = ['http://127.0.0.1:1']\n\
         [apps.b]\ndescription = 'B'\nproduct = 'p'\n\
         [apps.b.environments.staging]\nhosts = ['*.b.localhost']\nupstreams = ['http://127.0.0.1:2']\n\
         timeouts.connect = '1s'\nexternal_access = 'off'\nhost_header = 'upstream'\n\
         [apps.b.environments.development]\nhosts = ['b.localhost']\nupstreams = ['http://127.0.0.1:3']\n\
         on_publish = 'grace:24h'\n",
    )
    .config;
    let [z, b] = config.apps.as_slice() else { panic!("{:?}", config.apps) };
    assert_eq!((z.name.as_str(), b.name.as_str()), ("z", "b"));
    assert_eq!(b.product.as_deref(), Some("p"));
    let [staging, development] = b.environments.as_slice() else { panic!("{b:?}") };
    assert_eq!((staging.name.as_str(), development.name.as_str()), ("staging", "development"));
    assert_eq!(z.environments[0].hosts, [HostPattern::parse("z.localhost").unwrap()]);
    assert_eq!(z.environments[0].on_publish, OnPublish::Stop);
    assert_eq!(staging.on_publish, OnPublish::Keep);
    assert_eq!(development.on_publish.to_string(), "grace:24h");
    assert_eq!(staging.external_access, ExternalAccess::Off);
    assert_eq!(staging.host_header, HostHeader::Upstream);
    assert_eq!(staging.timeouts.connect, Duration::from_secs(1));
    assert_eq!(staging.timeouts.response_header, Duration::from_secs(60));
}

#[test]
fn every_mistake_is_told_in_the_order_of_the_file() {
    let found = mistakes(
        "[gateway]\n\
         listn = ['127.0.0.1:1']\n\
         workers = 'four'\n\
         drain_delay = '10 seconds'\n\
         [apps.shop.environments.production]\n\
         hosts = ['a b', 'ok.localhost', 7]\n\
         [tokens]\n\
         keep_ended = '0s'\n",
    );
    let places: Vec<_> = found.iter().map(|line| line.split(": ").next().unwrap()).collect();
    let expected = ["2:1", "3:11", "4:15", "5:25", "6:10", "6:33", "8:14"];
    assert_eq!(places, expected.map(|place| format!("proxy.toml:{place}")), "{found:#?}");
    assert!(found[0].ends_with("`gateway.listn` is not a key: did you mean `listen`?"));
    assert!(found[1].ends_with("`gateway.workers` wants a whole number from 0 to 1024, not a string"));
    assert!(found[2].contains("a whole number and a unit (ms, s, m for minutes, h or d)"));
    assert!(found[4].contains("an entry of `apps.shop.environments.production.hosts` wants a host name"));
    assert!(found[3].contains("`apps.shop.environments.production` lacks `upstreams`"));
}

#[test]
fn each_kind_of_mistake_has_its_place() {
    for (text, expected) in [
        ("color = 1\n", "1:1: `color` is not a key: known here are `gateway`, `admin`, "),
        ("gateway = 1\n", "1:11: `gateway` wants a table, as in `[gateway]`, not a number"),
        ("[[gateway]]\n", "1:1: `gateway` wants a table, as in `[gateway]`, not a list"),
        ("[gateway]\nlisten = 'x'\n", "2:10: `gateway.listen` wants a list of addresses"),
        ("[gateway]\nlisten = []\n", "2:10: `gateway.listen` is empty"),
        ("[gateway]\nlisten = ['[::1]:80', '[::1]:80']\n", "2:23: `gateway.listen` names [::1]:80 twice"),
        ("[gateway]\nworkers = -1\n", "2:11: `gateway.workers` wants a whole number from 0 to 1024"),
        ("[gateway]\nworkers = 1.5\n", "2:11: `gateway.workers` wants a whole number"),
        (
            "[gateway]\ntrusted_proxies = ['10.0.0.0/33']\n",
            "2:20: an entry of `gateway.trusted_proxies` wants a network",
        ),
        ("[gateway]\ndrain_delay = '1mo'\n", "2:15: `gateway.drain_delay` cannot count in months or years"),
        ("[gateway]\ndrain_delay = '367d'\n", "2:15: `gateway.drain_delay` wants a duration of at most 366d"),
        (
            "[gateway.limits]\nheaders = 1001\n",
            "2:11: `gateway.limits.headers` wants a whole number from 1 to 1000",
        ),
        (
            "[gateway.limits]\nheader_timeout = '0s'\n",
            "2:18: `gateway.limits.header_timeout` wants more than no time",
        ),
        ("[gateway.access_log]\npath = ''\n", "2:8: `gateway.access_log.path` wants the path of a file"),
        ("[admin]\nlisten = '0.0.0.0:1'\n", "2:10: `admin.listen` is not loopback: it needs [admin.tls]"),
        (
            "[admin]\nlisten = '127.0.0.1:8080'\n",
            "2:10: `admin.listen` is 127.0.0.1:8080, which 127.0.0.1:8080 of",
        ),
        ("[admin]\nhosts = ['*.a']\n", "2:10: an entry of `admin.hosts` wants a host name"),
        ("[leaks]\ngrace = '1h'\n", "2:9: `leaks.grace` wants a table of tokens"),
        ("[leaks]\ngrace = { a = '0s' }\n", "2:11: `leaks.grace` wants more than no time"),
        (
            "[leaks]\ngrace = { tok_x = '1h' }\n",
            "2:11: `leaks.grace` names a token by what is neither its id",
        ),
        ("[store]\npath = ':memory:'\n", "2:8: `store.path` wants the path of a file"),
        ("[store]\npath = 'portcullis.sock'\n", "2:8: `store.path` and `admin.socket` are the same file"),
        (
            "[gateway.access_log]\npath = 'portcullis.db'\n",
            "2:8: `store.path` and `gateway.access_log.path` are the same",
        ),
        (
            "[gateway]\nlisten = ['127.0.0.1:9180']\n",
            "1:1: `admin.listen` is 127.0.0.1:9180, which 127.0.0.1:9180 of",
        ),
        (
            "[gateway]\nlisten = ['[::]:80', '[::1]:80']\n",
            "2:22: `gateway.listen` names [::1]:80, which [::]:80 occupies",
        ),
        ("[tokens]\nheader = 'X Y'\n", "2:10: `tokens.header` wants the name of a header field"),
        ("[tokens]\nheader = 'X_Forwarded_For'\n", "2:10: `tokens.header` cannot be x_forwarded_for"),
        ("[tokens]\nquery_parameter = 'a&b'\n", "2:19: `tokens.query_parameter` wants 1 to 64 letters"),
        ("[tokens]\nlifetimes = []\n", "2:13: `tokens.lifetimes` is empty"),
        ("[tokens]\nlifetimes = ['1h', '1h']\n", "2:20: `tokens.lifetimes` names 1h twice"),
        (
            "[tokens]\nlifetimes = ['6y']\n",
            "2:14: `tokens.lifetimes` offers 6y, which goes beyond `max_lifetime`, 5y",
        ),
        ("[tokens]\nmax_lifetime = '9000y'\n", "2:16: `tokens.max_lifetime` reaches past the year 9999"),
        (
            "[tokens]\nallow_never = 'no'\n",
            "2:15: `tokens.allow_never` wants `true` or `false`, not a string",
        ),
        ("[apps]\nshop = 1\n", "2:8: `apps.shop` wants a table, as in `[apps.shop]`, not a number"),
        ("[apps.shop]\n", "1:7: `apps.shop` lacks `environments`"),
        ("[apps.shop.environments]\n", "1:7: `apps.shop` lacks `environments`"),
        ("[apps.shop]\nenvironments = 1\n", "2:16: `apps.shop.environments` wants a table"),
    ] {
        refuse(text, expected);
    }
}

#[test]
fn environments_are_judged_too() {
    for (line, expected) in [
        ("hosts = []", "2:9: `apps.a.environments.b.hosts` is empty"),
        (
            "hosts = ['a', 'A']",
            "2:15: `apps.a.environments.b.hosts` names a twice, first on line 2, column 10",
        ),
        ("hosts = 'a'", "2:9: `apps.a.environments.b.hosts` wants a list of host names"),
        ("upstreams = []", "3:13: `apps.a.environments.b.upstreams` is empty"),
        (
            "upstreams = ['127.0.0.1']",
            "3:14: an entry of `apps.a.environments.b.upstreams` cannot be used: an upstream is http://, https://",
        ),
        (
            "upstreams = ['https://a..b']",
            "3:14: an entry of `apps.a.environments.b.upstreams` cannot be used: no certificate can be for that name",
        ),
        ("on_publish = 'go'", "4:14: `apps.a.environments.b.on_publish` wants \"stop\", \"keep\""),
        (
            "external_access = true",
            "4:19: `apps.a.environments.b.external_access` wants \"on-first-token\" or \"on\" or \"off\"",
        ),
        (
            "timeouts = { conect = '1s' }",
            "4:14: `apps.a.environments.b.timeouts.conect` is not a key: did you mean `connect`?",
        ),
        ("timeouts.idle = '0s'", "4:17: `apps.a.environments.b.timeouts.idle` wants more than no time"),
    ] {
        let mut lines =
            vec!["[apps.a.environments.b]", "hosts = ['h']", "upstreams = ['http://127.0.0.1:3000']"];
        match line.split_once(' ') {
            Some(("hosts", _)) => lines[1] = line,
            Some(("upstreams", _)) => lines[2] = line,
            _ => lines.push(line),
        }
        refuse(&lines.join("\n"), expected);
    }
    refuse(&APP.replace(".a.", ".'a b'."), "1:7: `apps.\"a b\"` cannot be used: a name is 1 to 64 letters");
    refuse(
        &format!("{APP}{}", APP.replace(".a.", ".b.")),
        "5:10: `apps.b.environments.production.hosts` claims a.localhost, which `apps.a.environments.production` \
         claims on line 2, column 10",
    );
}

#[test]
fn syntax_errors_do_not_hide_other_mistakes_nor_invent_any() {
    for (text, expected) in [
        ("[gateway]\nworkers = \n[store]\nptah = 'x'\n", &["2:", "4:1: `store.ptah` is not a key"][..]),
        ("[gateway]\nworkers = 1\nworkers = 2\n", &["3:1: `workers` is given twice: keep one"]),
        (
            "[gateway]\n[store]\n[gateway]\nx = 1\n",
            &["3:2: `gateway` is given twice: keep one", "4:1: `gateway.x`"],
        ),
        (
            "[gateway]\nlimits = { headers = 1, headers = 2, x = 1 }\n",
            &["2:25: `headers` is given twice", "2:38: `gateway.limits.x`"],
        ),
        ("[store]\n[gateway]\nworkers = 0x\nlisten = 'x'\n", &["3:", "4:10: `gateway.listen` wants a list"]),
        ("[apps.a.environments.b]\nhosts = ['a', ]]\nupstreams = ['http://a']\n", &["2:"]),
        ("[apps.a.environments.b\nhosts = ['a']\nupstreams = ['http://a']\n", &["1:"]),
        ("[gateway]\nworkers 4\nlisten = ['127.0.0.1:1']\n", &["2:"]),
        ("[apps.a.environments.b]\nhosts = ['a'\nupstreams = ['http://a']\n", &["3:1: missing comma"]),
        ("[gateway]\nlisten = ['127.0.0.1:1'\n\n[apps.a]\nx = 1\n[store]\ny = 1\n", &["4:1: missing comma"]),
        ("[gateway]\nlisten = ['127.0.0.1:1]\n[apps.a]\nx = 1\n", &["2:"]),
        ("[store]\npath = 'x\n[gateway]\nworkers = 'y'\n", &["2:", "4:11: `gateway.workers` wants"]),
    ] {
        let found = mistakes(text);
        assert!(
            found.len() == expected.len()
                && found
                    .iter()
                    .zip(expected)
                    .all(|(found, expected)| { found.starts_with(&format!("proxy.toml:{expected}")) }),
            "{found:#?} for\n{text}"
        );
    }
}

#[test]
fn the_environment_wins_over_the_file() {
    let loaded = read(
        &format!("{APP}[gateway]\nworkers = 3\nlisten = ['127.0.0.1:1']\n[admin]\nhosts = ['x']\n"),
        &[
            ("PORTCULLIS_GATEWAY__WORKERS", "2"),
            ("PORTCULLIS_GATEWAY__LISTEN", "127.0.0.1:0, [::1]:0"),
            ("PORTCULLIS_GATEWAY__LIMITS__CONNECTIONS", "500"),
            ("PORTCULLIS_GATEWAY__ACCESS_LOG__PATH", "log/access"),
            ("PORTCULLIS_ADMIN__HOSTS", ""),
            ("PORTCULLIS_TOKENS__ALLOW_NEVER", "true"),
            ("PORTCULLIS_TOKENS__QUERY_PARAMETER", ""),
            ("PORTCULLIS_CONFIG", "elsewhere"),
            ("PATH", "a__b"),
        ],
    );
    let config = loaded.unwrap().config;
    assert_eq!(config.gateway.workers, 2);
    assert_eq!(config.gateway.listen.len(), 2);
    assert_eq!(config.gateway.limits.connections, 500);
    assert_eq!(config.gateway.access_log, AccessLog::File(PathBuf::from("/etc/portcullis/log/access")));
    assert!(config.admin.hosts.is_empty());
    assert!(config.tokens.allow_never);
    assert_eq!(config.tokens.query_parameter, None);
}

#[test]
fn mistakes_of_the_environment_name_the_variable_and_come_last() {
    let found = read(
        "[store]\nx = 1\n",
        &[
            ("PORTCULLIS_ADMIN__LISTN", "127.0.0.1:1"),
            ("PORTCULLIS_ADMIN__LISTEN", "nowhere"),
            ("PORTCULLIS_NOTIFY__SMTP__FROM", "x"),
            ("PORTCULLIS_APPS__SHOP__DESCRIPTION", "x"),
            ("PORTCULLIS_GATEWAY__LISTEN", "127.0.0.1:1,,"),
            ("PORTCULLIS_GATEWAY__WORKERS", "many"),
        ],
    )
    .map(|_| ())
    .unwrap_err();
    let expected = [
        "proxy.toml:2:1: `store.x` is not a key: known here are `path`",
        "PORTCULLIS_ADMIN__LISTEN: `admin.listen` wants an IP address and port",
        "PORTCULLIS_ADMIN__LISTN: overrides no key: did you mean `PORTCULLIS_ADMIN__LISTEN`?",
        "PORTCULLIS_APPS__SHOP__DESCRIPTION: apps are set in the file only",
        "PORTCULLIS_GATEWAY__LISTEN: an entry of `gateway.listen` wants an IP address and port",
        "PORTCULLIS_GATEWAY__WORKERS: `gateway.workers` wants a whole number from 0 to 1024",
        "PORTCULLIS_NOTIFY__SMTP__FROM: `notify.smtp.from` wants an e-mail address",
    ];
    assert!(
        found.len() == expected.len()
            && found.iter().zip(expected).all(|(found, want)| found.starts_with(want)),
        "{found:#?}"
    );
}

#[test]
fn what_is_legal_but_doubtful_warns() {
    for (text, expected) in [
        (
            "[gateway]\nlisten = ['0.0.0.0:80', '127.0.0.1:81', '[::1]:80']\n",
            "5:11: `gateway.listen` serves plain HTTP beyond",
        ),
        (
            "[gateway]\ntrusted_proxies = ['::/0']\n",
            "5:20: `gateway.trusted_proxies` believes the X-Forwarded-*",
        ),
        (
            "[gateway]\ntrusted_proxies = ['10.0.0.1/8']\n",
            "5:20: `gateway.trusted_proxies` names an address within",
        ),
        (
            "[gateway]\nlisten = ['127.0.0.1:3000']\n",
            "3:14: `apps.a.environments.production.upstreams` leads back",
        ),
        (
            "[admin]\nlisten = '127.0.0.1:3000'\n",
            "3:14: `apps.a.environments.production.upstreams` leads to the admin side",
        ),
        (
            "[tokens]\nlifetimes = ['366d']\nmax_lifetime = '1y'\n",
            "5:14: `tokens.lifetimes` offers 366d, which in some",
        ),
        ("[tokens]\nmax_lifetime = '10m'\n", "5:16: `tokens.max_lifetime` is below every lifetime"),
    ] {
        let found = warnings(&format!("{APP}{text}"));
        let expected = format!("proxy.toml:{expected}");
        assert!(found.len() == 1 && found[0].starts_with(&expected), "{found:#?} for\n{text}");
    }
    assert_eq!(warnings(APP), [""; 0]);
}

#[test]
fn a_lower_maximum_takes_longer_lifetimes_off_the_default_choices() {
    let tokens = accept("[tokens]\nmax_lifetime = '30d'\n").config.tokens;
    let lifetimes: Vec<_> = tokens.lifetimes.iter().map(Lifetime::to_string).collect();
    assert_eq!(lifetimes, ["1h", "24h", "7d", "30d"]);
}

#[test]
fn networks_and_addresses_fold_to_ipv4() {
    let config =
        accept("[gateway]\ntrusted_proxies = ['::ffff:10.0.0.0/104', '192.0.2.7', '2001:db8::/32']\n").config;
    let networks: Vec<_> = config.gateway.trusted_proxies.iter().map(IpNet::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]);
}

#[test]
fn values_that_could_be_secrets_are_not_repeated() {
    const SECRET: &str = "hunter2hunter2";
    let text = format!(
        "[gateway]\nlisten = ['{SECRET}']\n[admin]\nhosts = ['http://{SECRET}/']\n[tokens]\nheader = '{SECRET} x'\n\
         [notify.smtp]\nurl = 'smtps://u:{SECRET}@x'\n[apps.a.environments.b]\nhosts = ['{SECRET}/']\n\
         upstreams = ['http://u:{SECRET}@x', 'https://u:{SECRET}@x']\nupstream_auth = 'digest {SECRET}'\n\
         request_headers = {{ A = '$Secret{{{SECRET}' }}\n"
    );
    let found = mistakes(&text);
    assert_eq!(found.len(), 10, "{found:#?}");
    assert!(!found.concat().contains(SECRET), "{found:#?}");
}

#[test]
fn fields_for_upstreams_are_read_with_the_secrets_in_them() {
    let text = format!(
        "{APP}request_headers = {{ X-A = 'a $Secret{{ONE}}', x-b = 'b' }}\nupstream_auth = 'Basic u:$Secret{{TWO}}'\n\
         echo_guard = 'body'\n"
    );
    let loaded = accept(&text);
    let environment = &loaded.config.apps[0].environments[0];
    let names: Vec<_> = environment.request_headers.iter().map(|header| header.name.as_str()).collect();
    assert_eq!(names, ["x-a", "x-b", "authorization"]);
    assert_eq!(environment.request_headers[2].form, FieldForm::Basic);
    assert_eq!(environment.echo_guard, EchoGuard::Body);
    let lacking = loaded.lacking(|name, needed| {
        let (app, environment) = needed?;
        assert_eq!((app.name.as_str(), environment.name.as_str()), ("a", "production"));
        (name.as_str() == "TWO").then_some("is not there")
    });
    let lacking: Vec<_> = lacking.iter().map(Mistake::to_string).collect();
    let expected = "proxy.toml:5:17: `apps.a.environments.production.upstream_auth` needs $Secret{TWO}, which is not there";
    assert_eq!(lacking, [expected]);
    assert!(loaded.warnings.is_empty());
    let doubtful = warnings(&format!("{APP}public_paths = ['/a']\nupstream_auth = 'bearer $Secret{{A}}'\n"));
    assert!(doubtful.len() == 1 && doubtful[0].contains("need no token"), "{doubtful:?}");
    let doubtful = warnings(&format!("{APP}upstream_auth = 'bearer abc'\n"));
    assert!(doubtful.len() == 1 && doubtful[0].contains("holds a credential itself"), "{doubtful:?}");
    for (line, expected) in [
        (
            "request_headers = { Host = 'a' }",
            "4:21: `apps.a.environments.production.request_headers` sets `host`",
        ),
        ("request_headers.a = 1", "4:21: `apps.a.environments.production.request_headers` wants a string"),
        ("upstream_auth = 'bearer'", "4:17: `apps.a.environments.production.upstream_auth` wants \"bearer"),
        ("echo_guard = true", "4:14: `apps.a.environments.production.echo_guard` wants \"headers\" or"),
    ] {
        refuse(&format!("{APP}{line}\n"), expected);
    }
}

#[test]
fn files_that_cannot_be_read_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.toml");
    let error = load(&path, []).unwrap_err();
    assert!(matches!(error, LoadError::Unreadable { .. }), "{error}");
    assert!(error.to_string().starts_with(&format!("cannot read {}: ", path.display())));

    std::fs::write(&path, b"[gateway]\n# \xff\n").unwrap();
    let error = load(&path, []).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{}:2:3: is not UTF-8: save the file in that encoding", path.display())
    );

    std::fs::write(&path, format!("\u{feff}{APP}")).unwrap();
    let config = load(&path, []).unwrap().config;
    assert_eq!(config.store.path, folder.path().join("portcullis.db"));
}
