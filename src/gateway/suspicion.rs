//! Signs that a token may have leaked. They are noted for its owner and decide nothing: whoever has leaked it could leave
//! them out.

use http::{HeaderMap, Method, header};

use super::authorize::Permit;
use super::client::Client;
use super::credential::{Carrier, Ways};
use super::notable::Field;
use super::query;
use super::reject::Reject;
use super::request::Request;
use super::worker::Worker;
use crate::credential::{Digest, Kind, LENGTH};
use crate::model::{Agent, LeakKind, Refusal};

/// Programs that fetch links which they were shown, by what they write in `User-Agent`. Not what monitors and senders
/// of webhooks write: those were given their token.
const CRAWLERS: [&[u8]; 22] = [
    b"slackbot-linkexpanding",
    b"slack-imgproxy",
    b"facebookexternalhit",
    b"facebookcatalog",
    b"meta-externalagent",
    b"twitterbot",
    b"discordbot",
    b"whatsapp/",
    b"telegrambot",
    b"linkedinbot",
    b"skypeuripreview",
    b"pinterestbot",
    b"redditbot",
    b"embedly",
    b"iframely",
    b"googlebot",
    b"bingbot",
    b"duckduckbot",
    b"yandexbot",
    b"applebot",
    b"bytespider",
    b"ia_archiver",
];
/// More of a name is not looked at.
const LONGEST_AGENT: usize = 512;

/// Looks at a request of which was just decided whether it is let in.
pub(super) fn look(
    worker: &Worker,
    ways: &Ways,
    request: &Request,
    decided: &Result<Permit, Reject>,
    client: Client,
) {
    let note = |token, kind| {
        worker.suspected(token, kind, client.address, Agent::of(agent(&request.headers)));
    };
    match decided {
        Ok(permit)
            if permit.carrier() == Some(Carrier::Query)
                && matches!(request.method, Method::GET | Method::HEAD)
                && is_crawler(&request.headers) =>
        {
            if let Some(holder) = permit.holder() {
                note(holder.id, LeakKind::Crawler);
            }
        }
        Err(Reject { refusal: Refusal::TokenRevoked, token: Some(token), .. }) => {
            note(*token, LeakKind::RevokedInUse);
        }
        Ok(_) | Err(_) => {}
    }
    if request.notable.has(Field::Referer)
        && let Some(digest) = in_referer(ways, &request.headers)
        && let Some(identity) = worker.gateway.index.get(&digest)
    {
        note(identity.id, LeakKind::Referer);
    }
}

/// The token in the address of the page that a browser says it comes from.
fn in_referer(ways: &Ways, headers: &HeaderMap) -> Option<Digest> {
    let page = headers.get(header::REFERER)?.to_str().ok()?;
    let (_, query) = page.split('#').next()?.split_once('?')?;
    let pair = query::pairs(query, ways.query_parameter.as_deref()?).next()?;
    let value = query::decode::<LENGTH>(&query[pair.value])?;
    Digest::of(Kind::Token, &value)
}

fn agent(headers: &HeaderMap) -> &[u8] {
    headers.get(header::USER_AGENT).map(|agent| agent.as_bytes()).unwrap_or_default()
}

fn is_crawler(headers: &HeaderMap) -> bool {
    let agent = agent(headers);
    let agent = agent[..agent.len().min(LONGEST_AGENT)].to_ascii_lowercase();
    CRAWLERS.iter().any(|name| memchr::memmem::find(&agent, name).is_some())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const TOKEN: &str = "pct_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq17";

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        [(name, HeaderValue::from_str(value).unwrap())].into_iter().collect()
    }

    #[test]
    fn crawlers_are_known_by_what_they_call_themselves() {
        for (agent, is) in [
            ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", true),
            ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", true),
            ("facebookexternalhit/1.1", true),
            ("curl/8.0", false),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", false),
            ("", false),
        ] {
            assert_eq!(is_crawler(&headers(header::USER_AGENT, agent)), is, "{agent}");
        }
    }

    #[test]
    fn whoever_was_given_a_token_as_the_recipes_say_is_no_crawler() {
        let recipes = include_str!("../../docs/recipes.md");
        let agents: Vec<_> = recipes.lines().filter_map(|line| line.strip_prefix("User-Agent: ")).collect();
        assert!(agents.len() >= 5, "{agents:?}");
        for agent in agents {
            assert!(!is_crawler(&headers(header::USER_AGENT, agent)), "{agent}");
        }
    }

    #[test]
    fn only_a_whole_token_in_its_place_is_one() {
        let ways = Ways {
            header: header::HeaderName::from_static("x-portcullis-token"),
            query_parameter: Some("bypass".into()),
        };
        for (page, is) in [
            (format!("https://a/b?x=1&bypass={TOKEN}#c"), true),
            (format!("https://a/b?by%70ass={TOKEN}"), true),
            (format!("https://a/b#?bypass={TOKEN}"), false),
            (format!("https://a/b?other={TOKEN}"), false),
            (format!("https://a/b?bypass={TOKEN}x"), false),
            ("https://a/b".to_owned(), false),
        ] {
            assert_eq!(in_referer(&ways, &headers(header::REFERER, &page)).is_some(), is, "{page}");
        }
    }
}
