//! What a notice says: to programs as a JSON document, to people as a letter.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::config::Tokens;
use crate::model::{Event, Lifetime, Notice};

/// A subject and a text.
pub(super) struct Letter {
    pub(super) subject: String,
    pub(super) text: String,
}

/// The document that a webhook gets (Standard Webhooks, "Payload structure").
pub(super) fn document(notice: &Notice, rules: &Tokens) -> Value {
    let mut data = notice.data.clone();
    // Receivers such as chats make links of what a member or a stranger wrote.
    let mut leak = data.get_mut("leak").and_then(Value::as_object_mut);
    if let Some(agent) =
        leak.as_mut().and_then(|leak| leak.get_mut("agent")).filter(|agent| agent.is_string())
    {
        *agent = json!(without_links(text(agent)));
    }
    if let Some(leak) = leak.filter(|leak| leak.get("by").is_some_and(Value::is_string)) {
        for place in leak.get_mut("places").and_then(Value::as_array_mut).into_iter().flatten() {
            *place = json!(without_links(text(place)));
        }
        for words in ["source", "place"] {
            if let Some(words) = leak.get_mut(words) {
                *words = json!(without_links(text(words)));
            }
        }
    }
    if let (Some(data), Some(command)) = (data.as_object_mut(), replacement(notice, rules)) {
        data.insert("replacement".to_owned(), json!({ "command": command }));
    }
    json!({
        "id": notice.id.to_string(), "type": notice.event.as_str(), "timestamp": notice.created_at, "data": data,
    })
}

/// The letter that its owner gets, or whoever gets those of nobody.
pub(super) fn letter(notice: &Notice, rules: &Tokens) -> Letter {
    let data = &notice.data;
    let what = if notice.event == Event::KeyLeaked { "key" } else { "token" };
    let thing = &data[what];
    let name = match (text(&thing["label"]), text(&thing["hint"])) {
        ("", hint) => format!("…{hint}"),
        (label, hint) => format!("{label} (…{hint})"),
    };
    let subject = match notice.event {
        Event::TokenLeaked => format!("Token {name} was found where it does not belong"),
        Event::KeyLeaked => format!("Management key {name} was found where it does not belong"),
        Event::TokenSuspected => format!("Token {name} may have leaked"),
        Event::TokenRevoked => format!("Token {name} was revoked"),
        Event::TokenExpiring => format!("Token {name} ends soon"),
        Event::MemberRemoved => format!("Member {} was removed", text(&data["member"])),
    };
    let mut letter = Lines::default();
    letter.say(&happened(notice));
    letter.say("");
    if thing.is_object() {
        facts(&mut letter, data, thing);
    }
    others(&mut letter, data);
    if let Some(command) = replacement(notice, rules) {
        letter.say("");
        letter.say("To mint a replacement:");
        letter.say(&format!("  {command}"));
    }
    letter.say("");
    letter.say(&format!("Notice {}, {}.", notice.id, notice.created_at));
    Letter { subject, text: letter.0 }
}

/// What is known of a credential, and of how it leaked.
fn facts(letter: &mut Lines, data: &Value, thing: &Value) {
    letter.fact("Id", text(&thing["id"]));
    letter.fact("Label", text(&thing["label"]));
    letter.fact(
        "Owner",
        [&thing["created_by"], &thing["member"]].into_iter().find_map(Value::as_str).unwrap_or("operator"),
    );
    letter.fact("Ends in", text(&thing["hint"]));
    letter.fact("App", text(&thing["app"]));
    letter.fact("Environment", text(&thing["environment"]));
    let by = text(&data["leak"]["by"]);
    letter.fact("Reported by", by);
    let leak = &data["leak"];
    let places = items(&leak["places"]);
    let one = items(&leak["places"]).next().is_none().then_some(&leak["place"]);
    let found = places.chain(one).map(|place| ("Found in", place));
    for (name, words) in std::iter::once(("Found by", &leak["source"])).chain(found) {
        let words = text(words);
        // What a member wrote is no link that could be followed as if it were ours.
        letter.fact(name, &if by.is_empty() { words.to_owned() } else { without_links(words) });
    }
    if let Some(more) = leak["more_places"].as_u64().filter(|more| *more > 0) {
        letter.say(&format!("And in {more} more places: portcullis leak list"));
    }
    letter.fact("Came from", text(&data["leak"]["from"]));
    // Strangers call themselves what they like.
    letter.fact("Calls itself", &without_links(text(&data["leak"]["agent"])));
    letter.fact("Ends", text(&data["ends_at"]));
    let used = match (text(&thing["last_used_at"]), text(&thing["last_used_from"])) {
        ("", _) => "never".to_owned(),
        (at, "") => at.to_owned(),
        (at, from) => format!("{at}, from {from}"),
    };
    letter.fact("Last used", &used);
    let addresses: Vec<_> = items(&data["addresses"]).map(text).collect();
    letter.fact("Used from", &addresses.join(", "));
}

/// What happened, in a sentence or two.
fn happened(notice: &Notice) -> String {
    let data = &notice.data;
    match notice.event {
        Event::TokenLeaked | Event::KeyLeaked => {
            let done = match text(&data["done"]) {
                "revoked" => "It was revoked at once, and what it had under way was ended.",
                "grace" => "It lives on for a short while, and ends by itself then.",
                _ => "It had ended before.",
            };
            format!("This credential was reported as leaked. {done}")
        }
        Event::TokenSuspected => {
            let why = match text(&data["leak"]["kind"]) {
                "referer" => "A browser told where it came from with the token in the address.",
                "crawler" => "A program that looks at links for others came with the token in its link.",
                "revoked_in_use" => "The token was revoked, and requests with it keep coming.",
                _ => "The token was used from a network that it had not been used from before.",
            };
            format!("{why} Nothing was done about it: if that is not as it should be, revoke the token.")
        }
        Event::TokenRevoked => match (text(&data["by"]), text(&data["reason"])) {
            (by, "") => format!("This token was revoked by {by}."),
            (by, reason) => format!("This token was revoked by {by}: {reason}."),
        },
        Event::TokenExpiring => "This token is in use, and ends soon.".to_owned(),
        Event::MemberRemoved => format!(
            "{} was removed by {}, and with them ended what they had made: tokens: {}, management keys: {}.",
            text(&data["member"]),
            text(&data["by"]),
            data["tokens_ended"],
            data["keys_ended"]
        ),
    }
}

fn others(letter: &mut Lines, data: &Value) {
    let ended = items(&data["tokens"]).count() > 0;
    let (listed, more, words) = if ended {
        ("tokens", "more_tokens", "The tokens that ended:")
    } else {
        ("other_live_tokens", "more_live_tokens", "Other tokens of the same owner that live:")
    };
    let mut others = items(&data[listed]).peekable();
    if others.peek().is_none() {
        return;
    }
    letter.say("");
    letter.say(words);
    for other in others {
        let place = format!("{} in {}", text(&other["app"]), text(&other["environment"]));
        letter.say(&format!(
            "  {} {} (…{}), {place}",
            text(&other["id"]),
            text(&other["label"]),
            text(&other["hint"])
        ));
    }
    if data[more] == json!(true) {
        letter.say("  and more: portcullis token list");
    }
}

/// The command that mints another one like it; none where there is none that it would be like.
fn replacement(notice: &Notice, rules: &Tokens) -> Option<String> {
    // With `=`, no value is taken for a flag.
    fn add(command: &mut String, flag: &str, value: &Value) {
        if let Some(value) = value.as_str().filter(|value| !value.is_empty()) {
            // Writing to a string cannot fail.
            let _ = write!(command, " {flag}={}", quoted(value));
        }
    }
    let (token, key) = (&notice.data["token"], &notice.data["key"]);
    let command = match notice.event {
        Event::MemberRemoved => return None,
        Event::KeyLeaked => {
            let mut command = "portcullis key create".to_owned();
            for (flag, name) in [("--member", "member"), ("--app", "app"), ("--label", "label")] {
                add(&mut command, flag, &key[name]);
            }
            items(&key["scopes"]).for_each(|scope| add(&mut command, "--scope", scope));
            if let Some(lifetime) = key.get("lifetime") {
                add(&mut command, "--expires", &json!(lifetime.as_str().unwrap_or("never")));
            }
            command
        }
        // Both values work for an overlap.
        Event::TokenExpiring => format!("portcullis token rotate {}", text(&token["id"])),
        Event::TokenLeaked | Event::TokenSuspected | Event::TokenRevoked => {
            let mut command = "portcullis token create".to_owned();
            for (flag, name) in [("--app", "app"), ("--environment", "environment"), ("--label", "label")] {
                add(&mut command, flag, &token[name]);
            }
            items(&token["scopes"]).for_each(|scope| add(&mut command, "--scope", scope));
            items(&token["allowed_addresses"]).for_each(|network| add(&mut command, "--allow", network));
            add(&mut command, "--rate", &token["rate_limit"]);
            add(&mut command, "--on-publish", &token["on_publish"]);
            let lifetime = token["lifetime"].as_str().and_then(|text| Lifetime::parse(text).ok());
            add(&mut command, "--expires", &json!(offered(lifetime, rules, notice.created_at)));
            command
        }
    };
    Some(command)
}

/// What is offered of lifetimes and not longer than one, or a date where all are; `None`: for ever.
fn offered(lifetime: Option<Lifetime>, rules: &Tokens, now: Timestamp) -> String {
    let end = match lifetime {
        None if rules.allow_never => return "never".to_owned(),
        None => None,
        Some(lifetime) if rules.lifetimes.contains(&lifetime) => return lifetime.to_string(),
        Some(lifetime) => lifetime.after(now),
    };
    let end = end.unwrap_or(Timestamp::MAX);
    let fits = rules.lifetimes.iter().filter_map(|offer| Some((offer.after(now)?, offer)));
    match fits.filter(|(until, _)| *until <= end).max_by_key(|(until, _)| *until) {
        Some((_, offer)) => offer.to_string(),
        None => end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    }
}

/// A text in which mail programs find no address to make a link of.
fn without_links(text: &str) -> String {
    text.replace("://", "[:]//").replace('.', "[.]")
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A text in the making.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn say(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn fact(&mut self, name: &str, fact: &str) {
        if !fact.is_empty() {
            self.say(&format!("{name}: {fact}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Channel, NoticeId};

    fn rules() -> Tokens {
        let lifetime = |text| Lifetime::parse(text).unwrap();
        Tokens {
            query_parameter: None,
            header: http::HeaderName::from_static("x-token"),
            lifetimes: ["1h", "24h", "30d", "3mo"].map(lifetime).to_vec(),
            max_lifetime: lifetime("1y"),
            allow_never: false,
            keep_ended: lifetime("30d"),
            max_active: 0,
            max_active_per_member: 0,
        }
    }

    fn notice(event: Event) -> Notice {
        let now = Timestamp::UNIX_EPOCH;
        Notice {
            id: NoticeId::next(None, now),
            channel: Channel::Email,
            event,
            subject: "tok_1".to_owned(),
            recipient: "ann@example.com".to_owned(),
            data: json!({
                "token": {
                    "id": "tok_1", "label": "Ann's $(CI)", "hint": "abcd", "app": "shop", "environment": "production",
                    "scopes": ["GET /healthz"], "allowed_addresses": ["10.0.0.0/8"], "rate_limit": "100/1m",
                    "on_publish": "keep", "lifetime": "3mo",
                    "last_used_at": "2026-11-20T10:00:00Z", "last_used_from": "192.0.2.7",
                },
                "leak": { "kind": "report", "source": "github", "place": "https://github.com/a/b" },
                "done": "revoked",
                "other_live_tokens": [{ "id": "tok_2", "label": "x", "hint": "efgh", "app": "*", "environment": "e" }],
                "more_live_tokens": true,
            }),
            created_at: now,
            due_at: now,
            attempts: 0,
            last_error: None,
            dead_at: None,
        }
    }

    #[test]
    fn a_letter_says_what_was_found_where_and_what_to_do() {
        let letter = letter(&notice(Event::TokenLeaked), &rules());
        assert_eq!(letter.subject, "Token Ann's $(CI) (…abcd) was found where it does not belong");
        for line in [
            "It was revoked at once",
            "Found by: github\nFound in: https://github.com/a/b",
            "Last used: 2026-11-20T10:00:00Z, from 192.0.2.7",
            "  tok_2 x (…efgh), * in e\n  and more: portcullis token list",
            "portcullis token create --app=shop --environment=production --label='Ann'\\''s $(CI)' \
             --scope='GET /healthz' --allow=10.0.0.0/8 --rate=100/1m --on-publish=keep --expires=3mo",
        ] {
            assert!(letter.text.contains(line), "{line}\n{}", letter.text);
        }
    }

    #[test]
    fn the_words_of_a_member_are_named_as_such_and_hold_no_link() {
        let mut notice = notice(Event::TokenLeaked);
        notice.data["leak"]["by"] = json!("bob");
        notice.data["leak"]["source"] = json!("Security: confirm at https://evil.example/login");
        let letter = letter(&notice, &rules());
        assert!(letter.text.contains("Reported by: bob\n"), "{}", letter.text);
        assert!(letter.text.contains("https[:]//evil[.]example/login"), "{}", letter.text);
        assert!(!letter.text.contains("://"), "{}", letter.text);
    }

    #[test]
    fn a_warning_says_from_where() {
        let mut notice = notice(Event::TokenSuspected);
        notice.data["leak"]["from"] = json!("198.51.100.9");
        notice.data["leak"]["agent"] = json!("Bot/1.0 (+https://evil.example/)");
        let told = "Came from: 198.51.100.9\nCalls itself: Bot/1[.]0 (+https[:]//evil[.]example/)\n";
        assert!(letter(&notice, &rules()).text.contains(told));
        let agent = document(&notice, &rules())["data"]["leak"]["agent"].clone();
        assert_eq!(agent, "Bot/1[.]0 (+https[:]//evil[.]example/)");
    }

    #[test]
    fn a_key_is_replaced_by_a_key() {
        let mut notice = notice(Event::KeyLeaked);
        let key = json!({ "member": "ann", "app": null, "label": "--yes", "scopes": ["read", "mint"] });
        notice.data["key"] = key;
        let command = "portcullis key create --member=ann --label=--yes --scope=read --scope=mint";
        assert_eq!(replacement(&notice, &rules()).unwrap(), command);
        for (lifetime, expires) in [(json!("86400s"), "86400s"), (json!(null), "never")] {
            notice.data["key"]["lifetime"] = lifetime;
            assert_eq!(replacement(&notice, &rules()).unwrap(), format!("{command} --expires={expires}"));
        }
    }

    #[test]
    fn a_replacement_lives_as_long_as_is_offered() {
        for (lifetime, expires) in [
            (Some("3mo"), "3mo"),
            (Some("179999s"), "24h"),
            (Some("86400s"), "24h"),
            (Some("5y"), "3mo"),
            (Some("90s"), "1970-01-01T00:01:30Z"),
            (None, "3mo"),
        ] {
            let lifetime = lifetime.map(|text| Lifetime::parse(text).unwrap());
            assert_eq!(offered(lifetime, &rules(), Timestamp::UNIX_EPOCH), expires);
        }
        let rules = Tokens { allow_never: true, ..rules() };
        assert_eq!(offered(None, &rules, Timestamp::UNIX_EPOCH), "never");
    }

    #[test]
    fn places_are_named_up_to_a_number() {
        let mut notice = notice(Event::TokenLeaked);
        notice.data["leak"]["places"] = json!(["https://one.example", "https://two.example"]);
        notice.data["leak"]["more_places"] = json!(98);
        let letter = letter(&notice, &rules());
        let places = "Found in: https://one.example\nFound in: https://two.example\n\
                      And in 98 more places: portcullis leak list\n";
        assert!(letter.text.contains(places), "{}", letter.text);
    }

    #[test]
    fn what_ends_by_itself_is_rotated() {
        let document = document(&notice(Event::TokenExpiring), &rules());
        assert_eq!(document["type"], "token.expiring");
        assert_eq!(document["data"]["replacement"]["command"], "portcullis token rotate tok_1");
        assert_eq!(document["timestamp"], "1970-01-01T00:00:00Z");
    }
}
