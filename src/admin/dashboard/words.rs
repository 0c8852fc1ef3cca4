//! Things as pages say them.

use askama::Template;
use jiff::{SignedDuration, Timestamp};

use crate::model::{OnPublish, Status, Token, distance};

/// A time: how far away in plain words, and exactly for whoever looks closer.
#[derive(Clone, Debug, Template)]
#[template(
    ext = "html",
    source = r#"<time datetime="{{ iso }}" title="{{ exact }}"{% if !tone.is_empty() %} class="{{ tone }}"{% endif %}>{{ words }}</time>"#
)]
pub(super) struct Moment {
    iso: String,
    exact: String,
    words: String,
    /// How near an end is: `soon`, `close`, or nothing.
    tone: &'static str,
}

impl Moment {
    pub(super) fn new(at: Timestamp, now: Timestamp) -> Self {
        let iso = at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let exact = at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
        Self { iso, exact, words: distance(at, now), tone: "" }
    }

    /// An end that is to come: the nearer, the louder.
    pub(super) fn ahead(at: Timestamp, now: Timestamp) -> Self {
        let left = at.duration_since(now);
        let tone = if left <= SignedDuration::from_hours(24) {
            "close"
        } else if left <= SignedDuration::from_hours(7 * 24) {
            "soon"
        } else {
            ""
        };
        Self { tone, ..Self::new(at, now) }
    }
}

/// A token's end: what it was, or when it will be.
pub(super) fn end(token: &Token, now: Timestamp) -> Option<Moment> {
    let past = match token.status(now) {
        Status::Revoked => token.revoked.as_ref().map(|ended| ended.at),
        Status::Replaced => token.replaced_at(now),
        Status::Expired => token.expires_at,
        Status::Active => return token.ends_at().map(|end| Moment::ahead(end, now)),
    };
    past.map(|past| Moment::new(past, now))
}

/// Who made a token.
pub(super) fn maker(token: &Token) -> String {
    token.created_by.as_ref().map_or_else(|| "operator".to_owned(), ToString::to_string)
}

/// Several things in short; `none` where there are none.
pub(super) fn in_short(things: &[impl ToString], none: &str) -> String {
    match things {
        [] => none.to_owned(),
        [one] => one.to_string(),
        [one, rest @ ..] => format!("{} and {} more", one.to_string(), rest.len()),
    }
}

/// A text that lists have room for; how it goes on is told where there is more room.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What becomes of tokens when another deployment is published.
pub(super) fn on_publish(rule: OnPublish) -> String {
    match rule {
        OnPublish::Stop => "tokens end".to_owned(),
        OnPublish::Keep => "tokens live on".to_owned(),
        OnPublish::Grace(after) => format!("tokens end {after} later"),
    }
}

/// A count with its noun.
pub(super) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// What an entry of the audit log tells, in plain words; `None` for one that is not known here.
pub(super) const ACTIONS: [(&str, &str); 30] = [
    ("token.mint", "made a token"),
    ("token.edit", "edited a token"),
    ("token.rotate", "rotated a token"),
    ("token.revoke", "revoked a token"),
    ("token.delete", "deleted a token"),
    ("token.forget", "forgot an ended token"),
    ("token.expiring", "noted a token about to end"),
    ("session.begin", "signed in to the dashboard"),
    ("session.end_all", "signed everybody out"),
    ("share.use", "signed in by a link"),
    ("secret.set", "set a secret"),
    ("secret.edit", "edited a secret"),
    ("secret.revoke", "revoked a secret"),
    ("secret.delete", "deleted a secret"),
    ("secret.rekey", "sealed secrets with another key"),
    ("leak.report", "reported a leak"),
    ("leak.warn", "warned of a leak"),
    ("member.add", "added a member"),
    ("member.edit", "edited a member"),
    ("member.remove", "removed a member"),
    ("key.mint", "made a key"),
    ("key.revoke", "revoked a key"),
    ("deployment.publish", "published a deployment"),
    ("deployment.release", "published a release"),
    ("deployment.archive", "archived a deployment"),
    ("environment.open", "opened external access"),
    ("environment.switch", "switched external access"),
    ("config.reload", "reloaded the configuration"),
    ("store.backup", "made a backup"),
    ("notice.retry", "had a notice sent again"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearer_an_end_the_louder() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let tone = |hours| Moment::ahead(now + SignedDuration::from_hours(hours), now).tone;
        assert_eq!(
            [tone(1), tone(24), tone(25), tone(168), tone(169)],
            ["close", "close", "soon", "soon", ""]
        );
        let shown = Moment::ahead(now + SignedDuration::from_hours(2), now).render().unwrap();
        assert_eq!(
            shown,
            r#"<time datetime="2026-11-21T14:00:00Z" title="2026-11-21 14:00:00 UTC" class="close">in 2 hours</time>"#
        );
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(
            (cut("\u{e9}\u{e9}", 2), cut("\u{e9}\u{e9}", 1)),
            ("\u{e9}\u{e9}".into(), "\u{e9}…".into())
        );
    }

    #[test]
    fn scopes_in_short() {
        assert_eq!(in_short(&[] as &[&str], "any path"), "any path");
        assert_eq!(in_short(&["GET /a"], "any path"), "GET /a");
        assert_eq!(in_short(&["GET /a", "GET /b", "GET /c"], "any path"), "GET /a and 2 more");
    }
}
