//! What is said of leaks, and of whom to tell.

use super::{APP, accept, mistakes, refuse};

#[test]
fn what_is_said_of_leaks_and_notices_is_judged() {
    for (text, expected) in [
        ("[leaks]\naction = 'grace:0s'\n", "2:10: `leaks.action` wants \"revoke\", or as in \"grace:1h\""),
        (
            "[leaks]\ngithub_keys = 'http://example.com/'\n",
            "2:15: `leaks.github_keys` wants an `https://` URL, the path of a file, or \"off\"; `http://` leads to",
        ),
        ("[leaks]\naction = 'burn'\n", "2:10: `leaks.action` wants \"revoke\", or as in \"grace:1h\""),
        (
            "[notify.smtp]\nfrom = 'a@b'\n",
            "1:9: `notify.smtp` lacks `url`: it wants `smtps://USER@HOST:PORT`",
        ),
        (
            "[notify.smtp]\nurl = 'smtp://h'\nfrom = 'a b@c'\n",
            "3:8: `notify.smtp.from` wants an e-mail address",
        ),
        (
            "[notify.smtp]\nurl = 'smtp+plain://example.com'\nfrom = 'a@b'\n",
            "2:7: `notify.smtp.url` wants `smtps://",
        ),
        ("[notify.smtp]\nurl = 'smtps://u:p@h'\nfrom = 'a@b'\n", "2:7: `notify.smtp.url` wants `smtps://"),
        ("[notify.smtp]\nurl = 'smtps://u@h'\nfrom = 'a@b'\n", "1:9: `notify.smtp` lacks `password_file`"),
        (
            "[notify.smtp]\nurl = 'smtps://h'\nfrom = 'a@b'\npassword_file = 'x'\n",
            "2:7: `notify.smtp.url` names no user that the password would be of",
        ),
        (
            "[notify.smtp]\nurl = 'smtps://u@h'\nfrom = 'a@b'\npassword = 'hunter2'\n",
            "4:12: `notify.smtp.password` wants a reference to a secret",
        ),
        ("[notify.webhook]\nurl = 'https://h'\n", "1:9: `notify.webhook` lacks `secret_file`"),
        (
            "[notify.webhook]\nurl = 'ftp://h'\nsecret_file = 'x'\n",
            "2:7: `notify.webhook.url` wants an `https://`",
        ),
    ] {
        refuse(text, expected);
    }
    accept(&format!("{APP}[leaks]\naction = 'grace:1h'\ngithub_keys = 'keys.json'\nnew_networks = true\n"));
    accept(&format!(
        "{APP}[notify.smtp]\nurl = 'smtp://a%40b@h:25'\nfrom = 'a@b'\npassword = '$Secret{{A}}'\n"
    ));
    let plain = accept(&format!("{APP}[notify.webhook]\nurl = 'http://h/'\nsecret_file = 'x'\n"));
    assert!(
        plain.warnings[0].to_string().contains("leads over the network in the clear"),
        "{:?}",
        plain.warnings
    );
    accept(&format!(
        "{APP}connections = 0\nrequest_headers = {{}}\necho_guard = 'off'\n\
         browser_sessions = false\n[leaks]\ngithub_keys = 'off'\n[secrets]\nkey_file = 'x'\n[gateway]\ntls = []\n"
    ));
    // What else is wrong inside is told as well.
    let found = mistakes("[notify.smtp]\nurl = 1\nform = 'x'\n");
    assert_eq!(found.len(), 3, "{found:#?}");
}
