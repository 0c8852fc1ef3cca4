//! What an environment says about its upstreams.

use std::path::Path;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use super::super::{HealthCheck, Loaded, load_to_serve};
use super::{APP, accept, refuse, warnings};

fn environment(lines: &str) -> crate::config::Environment {
    accept(&format!("{APP}{lines}\n")).config.apps[0].environments[0].clone()
}

#[test]
fn health_checks_have_defaults_but_for_the_path() {
    assert_eq!(environment("").health_check, None);
    let usual = HealthCheck {
        path: "/up?deep".parse().unwrap(),
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        unhealthy_after: 3,
        healthy_after: 2,
    };
    assert_eq!(environment("health_check.path = '/up?deep'").health_check, Some(usual.clone()));
    let own = HealthCheck { interval: Duration::from_secs(9), unhealthy_after: 1, ..usual };
    let given = environment("health_check = { path = '/up?deep', interval = '9s', unhealthy_after = 1 }");
    assert_eq!(given.health_check, Some(own));
    for (line, expected) in [
        (
            "health_check = {}",
            "4:1: `apps.a.environments.production.health_check` lacks `path`: it wants a path",
        ),
        ("health_check.path = 'up'", "4:21: `apps.a.environments.production.health_check.path` wants a path"),
        (
            "health_check.path = '/a b'",
            "4:21: `apps.a.environments.production.health_check.path` wants a path",
        ),
        (
            "health_check = { path = '/', every = '1s' }",
            "4:30: `apps.a.environments.production.health_check.every`",
        ),
        (
            "health_check = { path = '/', healthy_after = 0 }",
            "4:46: `apps.a.environments.production.health_check.",
        ),
        ("health_check = '/up'", "4:16: `apps.a.environments.production.health_check` wants a table"),
    ] {
        refuse(&format!("{APP}{line}\n"), expected);
    }
}

#[test]
fn what_is_doubtful_is_said() {
    let warned = |text: &str| {
        let found = warnings(text);
        assert_eq!(found.len(), 1, "{found:#?}");
        found.concat()
    };
    let slow = warned(&format!("{APP}health_check = {{ path = '/', timeout = '5s' }}\n"));
    assert!(
        slow.starts_with(
            "proxy.toml:4:40: `apps.a.environments.production.health_check.timeout` is no shorter"
        )
    );
    let quick = warned(&format!("{APP}health_check = {{ path = '/', interval = '1s' }}\n"));
    assert!(quick.contains(".timeout` is no shorter"), "{quick}");
    let few = warned(&format!("[gateway]\nworkers = 4\n{APP}connections = 3\n"));
    assert!(few.contains("connections` lets fewer connections be open than there are workers (4)"), "{few}");
    assert!(warnings(&format!("[gateway]\nworkers = 4\n{APP}connections = 4\n")).is_empty());
}

#[test]
fn certificates_are_read_with_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
    write("ca.pem", format!("some words\n{ca}{ca}").as_bytes());
    write("words.pem", b"nothing but words");
    write("broken.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    write("cut.pem", &ca.as_bytes()[..100]);
    let read = |name: &str, scheme: &str| {
        let path = folder.path().join("proxy.toml");
        let app = APP.replace("http:", scheme);
        std::fs::write(&path, format!("{app}upstream_ca = '{name}'\n")).unwrap();
        load_to_serve(&path, [])
    };
    let Loaded { config, warnings, .. } = read("ca.pem", "https:").unwrap();
    assert_eq!(config.apps[0].environments[0].upstream_ca.as_ref().unwrap().len(), 2);
    assert!(warnings.is_empty(), "{warnings:?}");
    let warnings = read("ca.pem", "h2c:").unwrap().warnings;
    assert!(warnings[0].to_string().ends_with("no upstream here is https"), "{warnings:?}");
    for (name, wrong) in [
        ("absent.pem", "names a file that cannot be read: "),
        (".", "names something that is not a file"),
        ("words.pem", "names a file without a certificate"),
        ("broken.pem", "names a file whose certificate number 1 cannot be used"),
        ("cut.pem", "names a file that is not PEM"),
    ] {
        let error = read(name, "https:").unwrap_err().to_string();
        let expected = format!(":4:15: `apps.a.environments.production.upstream_ca` {wrong}");
        assert!(error.contains(&expected), "{name}: {error}");
    }
    assert!(Path::new("/dev/zero").exists());
    assert!(read("/dev/zero", "https:").unwrap_err().to_string().contains("is not a file"));
}
