//! `[[gateway.tls]]` and `[admin.tls]`: what is said there, and what the files hold.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::super::load_to_serve;
use super::{APP, LoadError, Mistake, accept, mistakes, read, refuse};

#[test]
fn entries_keep_their_order_and_may_share_an_address() {
    let entry = |listen: &str, name: &str| {
        format!(
            "[[gateway.tls]]\nlisten = '{listen}'\ncertificate = '{name}.pem'\nprivate_key = '/k/{name}.pem'\n"
        )
    };
    let text = entry("0.0.0.0:8443", "a") + &entry("127.0.0.1:9443", "b") + &entry("0.0.0.0:8443", "c");
    let tls = accept(&text).config.gateway.tls;
    let listens: Vec<_> = tls.iter().map(|entry| entry.listen.port()).collect();
    assert_eq!(listens, [8443, 9443, 8443]);
    assert_eq!(tls[2].pair.certificate, Path::new("/etc/portcullis/c.pem"));
    assert_eq!(tls[2].pair.private_key, Path::new("/k/c.pem"));
    // Whoever serves TLS need not serve anything else.
    assert!(
        accept(&format!("{}[gateway]\nlisten = []\n", entry("[::]:1", "a"))).config.gateway.listen.is_empty()
    );
}

#[test]
fn what_is_missing_or_in_the_way_is_told() {
    let tls = "certificate = 'c'\nprivate_key = 'k'\n";
    for (text, expected) in [
        (
            "[gateway.tls]\n".to_owned(),
            "1:1: `gateway.tls` wants a list of tables, as in `[[gateway.tls]]`, not a table",
        ),
        ("[gateway]\ntls = [1]\n".to_owned(), "2:8: `gateway.tls` wants a list of tables"),
        (format!("[[gateway.tls]]\n{tls}"), "1:1: `gateway.tls` lacks `listen`"),
        (
            "[[gateway.tls]]\nlisten = '127.0.0.1:1'\ncertificate = 'c'\n".to_owned(),
            "1:1: `gateway.tls` lacks `private_key`",
        ),
        (
            format!("[[gateway.tls]]\nlisten = 'x'\n{tls}"),
            "2:10: `gateway.tls.listen` wants an IP address and port",
        ),
        (
            format!("[[gateway.tls]]\nlisten = '127.0.0.1:8080'\n{tls}"),
            "2:10: `gateway.tls.listen` is 127.0.0.1:8080, which 127.0.0.1:8080 of `gateway.listen` occupies",
        ),
        (
            format!(
                "[[gateway.tls]]\nlisten = '0.0.0.0:1'\n{tls}[[gateway.tls]]\nlisten = '127.0.0.1:1'\n{tls}"
            ),
            "6:10: `gateway.tls.listen` is 127.0.0.1:1, which 0.0.0.0:1 of `gateway.tls` occupies",
        ),
        (
            format!("[[gateway.tls]]\nlisten = '127.0.0.1:1'\n{tls}[admin]\nlisten = '127.0.0.1:1'\n"),
            "6:10: `admin.listen` is 127.0.0.1:1, which 127.0.0.1:1 of `gateway.tls` occupies",
        ),
        (
            format!("[[gateway.tls]]\nlisten = '127.0.0.1:1'\n{tls}certficate = 'x'\n"),
            "5:1: `gateway.tls.certficate` is not a key: did you mean `certificate`?",
        ),
        ("[admin.tls]\n".to_owned() + "certificate = 'c'\n", "1:8: `admin.tls` lacks `private_key`"),
        (
            "[admin]\nlisten = '0.0.0.0:1'\n[admin.tls]\ncertificate = 1\nprivate_key = 'k'\n".to_owned(),
            "4:15: `admin.tls.certificate` wants the path of a file",
        ),
    ] {
        refuse(&text, expected);
    }
    assert_eq!(mistakes("[admin.tls]\n").len(), 2);
    let config = accept(&format!("[admin]\nlisten = '0.0.0.0:1'\n[admin.tls]\n{tls}")).config;
    assert_eq!(config.admin.tls.unwrap().private_key, Path::new("/etc/portcullis/k"));
    let variables =
        [("PORTCULLIS_ADMIN__TLS__CERTIFICATE", "c"), ("PORTCULLIS_ADMIN__TLS__PRIVATE_KEY", "k")];
    assert!(read(APP, &variables).unwrap().config.admin.tls.is_some());
    assert_eq!(read(APP, &variables[..1]).unwrap_err().len(), 1);
}

/// A folder with a pair for `a.test`, and one that has expired.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, year) in [("good", 4000), ("old", 2001)] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["a.test".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.path().join(format!("{name}.pem")), certificate.pem()).unwrap();
        let file = folder.path().join(format!("{name}-key.pem"));
        fs::write(&file, key.serialize_pem()).unwrap();
        fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
    }
    fs::write(folder.path().join("empty"), "").unwrap();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    fs::write(folder.path().join("broken.pem"), broken).unwrap();
    folder
}

#[test]
fn the_files_themselves_are_judged_by_whoever_serves() {
    let folder = folder();
    let path = folder.path().join("proxy.toml");
    let write = |certificate: &str, private_key: &str| {
        let text =
            format!("[admin.tls]\ncertificate = '{certificate}'\nprivate_key = '{private_key}'\n{APP}");
        fs::write(&path, text).unwrap();
    };
    let judge = || {
        load_to_serve(&path, []).map(|loaded| loaded.warnings).map_err(|error| match error {
            LoadError::Invalid(mistakes) => mistakes,
            LoadError::Unreadable { source, .. } => panic!("{source}"),
        })
    };
    let only = |findings: &[Mistake], place: &str, words: &str| {
        let text: Vec<_> = findings.iter().map(Mistake::to_string).collect();
        let start = format!("{}:{place}: `admin.tls.", path.display());
        assert!(text.len() == 1 && text[0].starts_with(&start) && text[0].contains(words), "{text:#?}");
    };
    write("good.pem", "good-key.pem");
    assert_eq!(judge().unwrap(), []);
    for (certificate, private_key, place, words) in [
        ("none.pem", "good-key.pem", "2:15", "none.pem cannot be read: No such file"),
        ("good.pem", "none.pem", "3:15", "none.pem cannot be read: No such file"),
        ("good.pem", "old-key.pem", "3:15", "does not belong to the certificate in "),
        ("empty", "good-key.pem", "2:15", "holds no certificate in PEM form"),
        ("good.pem", "empty", "3:15", "holds no private key in PEM form"),
        ("good.pem", "good.pem", "3:15", "holds no private key in PEM form"),
        ("broken.pem", "good-key.pem", "2:15", "holds a certificate that cannot be used"),
    ] {
        write(certificate, private_key);
        only(&judge().unwrap_err(), place, words);
        // Who only looks for the socket need not be able to read any of it.
        super::super::load(&path, []).unwrap();
    }
    write("old.pem", "old-key.pem");
    only(&judge().unwrap(), "2:15", "has expired: it was good until 2001-01-01");
    write("good.pem", "good-key.pem");
    fs::set_permissions(folder.path().join("good-key.pem"), Permissions::from_mode(0o644)).unwrap();
    only(&judge().unwrap(), "3:15", "can be read by every user");
    // One file for both is common practice.
    let both = ["good.pem", "good-key.pem"].map(|name| fs::read_to_string(folder.path().join(name)).unwrap());
    fs::write(folder.path().join("both.pem"), both.concat()).unwrap();
    fs::set_permissions(folder.path().join("both.pem"), Permissions::from_mode(0o600)).unwrap();
    write("both.pem", "both.pem");
    assert_eq!(judge().unwrap(), []);
}

#[test]
fn a_file_that_is_read_again_is_judged_in_full_with_the_same_variables() {
    let folder = folder();
    let path = folder.path().join("proxy.toml");
    fs::write(&path, APP).unwrap();
    let variables = [("PORTCULLIS_GATEWAY__WORKERS".to_owned(), "7".to_owned())];
    let before = super::super::load(&path, variables).unwrap();
    fs::write(&path, format!("{APP}[gateway]\nworkers = 3\n")).unwrap();
    let after = before.again().unwrap();
    assert_eq!(after.config.gateway.workers, 7);
    assert_eq!(after.changes(&before), ["gateway.workers"]);
    fs::write(&path, format!("{APP}[admin.tls]\ncertificate = 'none'\nprivate_key = 'none'\n")).unwrap();
    assert!(matches!(after.again(), Err(LoadError::Invalid(mistakes)) if mistakes.len() == 1));
}
