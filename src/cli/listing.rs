//! Lists of the admin API, read page by page.

use std::fmt::Write as _;

use bytes::Bytes;
use comfy_table::Cell;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::client::{Client, ClientError};
use super::failure::Failure;
use super::screen::Screen;
use crate::admin::wire::Page;

/// Without `--limit`, a list stops here and says so.
pub(super) const MOST: usize = 10_000;
/// The most the admin API gives at once.
const PAGE: usize = 500;

/// What is written otherwise within a segment of a path: all but what the API's own paths hold.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// Which part of a list to show.
#[derive(clap::Args)]
pub(super) struct Pages {
    /// At most this many [default: all, up to 10000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: Option<u32>,
    /// Go on from where an earlier list ended (`next_cursor` in its JSON)
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

impl Pages {
    pub(super) const fn are_begun(&self) -> bool {
        self.cursor.is_some()
    }

    pub(super) const fn are_limited(&self) -> bool {
        self.limit.is_some()
    }
}

/// What is asked for.
pub(super) struct Query<'a> {
    path: String,
    filters: Vec<(&'static str, &'a str)>,
    most: usize,
    cursor: Option<String>,
}

/// A path of these segments, each of which may hold anything.
pub(super) fn path(segments: &[&str]) -> String {
    segments
        .iter()
        .fold(String::new(), |path, segment| format!("{path}/{}", utf8_percent_encode(segment, SEGMENT)))
}

impl<'a> Query<'a> {
    pub(super) fn new(path: impl Into<String>) -> Self {
        Self { path: path.into(), filters: Vec::new(), most: MOST, cursor: None }
    }

    /// Asks for `most` items and not more, in pages.
    pub(super) const fn at_most(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    /// Asks for this part of the list, or for as much as a person would look at.
    pub(super) fn pages(mut self, pages: &Pages) -> Self {
        self.cursor.clone_from(&pages.cursor);
        match pages.limit.and_then(|limit| usize::try_from(limit).ok()) {
            Some(most) => self.at_most(most),
            None => self,
        }
    }

    pub(super) fn filter(mut self, name: &'static str, value: Option<&'a str>) -> Self {
        self.filters.extend(value.map(|value| (name, value)));
        self
    }

    /// Follows the pages to their end, or to the most that was asked for.
    pub(super) fn fetch(&self, client: &Client) -> Result<Listing, ClientError> {
        let first = client.get(&self.page(self.cursor.as_deref(), 0))?;
        let page: Page<Box<RawValue>> = first.json()?;
        let mut listing =
            Listing { items: page.items, next_cursor: page.next_cursor, whole: Some(first.body) };
        while let Some(cursor) = listing.next_cursor.clone() {
            if listing.items.len() >= self.most {
                break;
            }
            let page: Page<Box<RawValue>> =
                client.get(&self.page(Some(&cursor), listing.items.len()))?.json()?;
            listing.whole = None;
            let stuck = page.items.is_empty() || page.next_cursor.as_ref() == Some(&cursor);
            listing.items.extend(page.items);
            listing.next_cursor = page.next_cursor;
            // A server that leads in a circle would keep us for ever.
            if stuck {
                break;
            }
        }
        Ok(listing)
    }

    fn page(&self, cursor: Option<&str>, seen: usize) -> String {
        let limit = self.most.saturating_sub(seen).clamp(1, PAGE).to_string();
        let parameters = self
            .filters
            .iter()
            .copied()
            .chain([("limit", &*limit)])
            .chain(cursor.map(|cursor| ("cursor", cursor)));
        let mut path = self.path.clone();
        for (place, (name, value)) in parameters.enumerate() {
            let separator = if place == 0 { '?' } else { '&' };
            let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
            // Writing to a string cannot fail.
            let _ = write!(path, "{separator}{name}={value}");
        }
        path
    }
}

/// The items of a list, as the API wrote them.
#[derive(Serialize)]
pub(super) struct Listing {
    items: Vec<Box<RawValue>>,
    next_cursor: Option<String>,
    /// The one page that the list came as.
    #[serde(skip)]
    whole: Option<Bytes>,
}

impl Listing {
    /// Whether there is more than was fetched.
    pub(super) const fn is_cut(&self) -> bool {
        self.next_cursor.is_some()
    }

    /// The API's own answer where one page held it, else its pages joined into one of the same shape.
    pub(super) fn json(&self, client: &Client) -> Result<Bytes, ClientError> {
        match &self.whole {
            Some(whole) => Ok(whole.clone()),
            None => serde_json::to_vec(self).map(Bytes::from).map_err(|cause| not_understood(client, cause)),
        }
    }

    /// Writes the API's own answer, or a row of each item; where there are none, says so in these words.
    pub(super) fn print<T: DeserializeOwned, const N: usize>(
        &self,
        client: &Client,
        screen: &Screen,
        json: bool,
        none: &str,
        header: [&str; N],
        row: impl Fn(&T, Timestamp) -> [Cell; N],
    ) -> Result<(), Failure> {
        if json {
            return Ok(screen.json(&self.json(client)?)?);
        }
        let items: Vec<T> = self.parse(client)?;
        if items.is_empty() {
            screen.note(none);
            return Ok(());
        }
        let now = Timestamp::now();
        Ok(screen.rows(&header, items.iter().map(|item| row(item, now).into()).collect())?)
    }

    pub(super) fn parse<T: DeserializeOwned>(&self, client: &Client) -> Result<Vec<T>, ClientError> {
        self.items
            .iter()
            .map(|item| serde_json::from_str(item.get()).map_err(|cause| not_understood(client, cause)))
            .collect()
    }
}

fn not_understood(client: &Client, cause: serde_json::Error) -> ClientError {
    ClientError::NotUnderstood { place: client.place(), cause }
}

#[cfg(test)]
mod tests {
    use super::super::stub::{KEY, Stub};
    use super::*;

    fn page(items: &str, next: &str) -> String {
        let body = format!("{{\"items\": [{items}], \"next_cursor\": {next}}}");
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    fn fetch(query: &Query<'_>, pages: &[String]) -> (Client, Listing, Vec<String>) {
        let stub = Stub::new(pages.to_vec());
        let client = Client::url(&stub.url, KEY, None).unwrap();
        let listing = query.fetch(&client).unwrap();
        let lines = stub.requests().iter().map(|head| head.lines().next().unwrap().to_owned()).collect();
        (client, listing, lines)
    }

    #[test]
    fn one_page_is_handed_on_verbatim() {
        let (client, listing, lines) = fetch(&Query::new("/v1/apps"), &[page("1,  2", "null")]);
        assert_eq!(listing.json(&client).unwrap(), "{\"items\": [1,  2], \"next_cursor\": null}");
        assert_eq!(listing.parse::<u8>(&client).unwrap(), [1, 2]);
        assert_eq!(lines, ["GET /v1/apps?limit=500 HTTP/1.1"]);
    }

    #[test]
    fn pages_are_joined_up_to_the_most_asked_for() {
        let query = Query::new("/v1/tokens").at_most(3).filter("q", Some("a&b c")).filter("app", None);
        let pages = [page("{\"b\":1, \"a\":2}, 2", "\"c=\""), page("3", "\"d\"")];
        let (client, listing, lines) = fetch(&query, &pages);
        assert_eq!(
            listing.json(&client).unwrap(),
            "{\"items\":[{\"b\":1, \"a\":2},2,3],\"next_cursor\":\"d\"}"
        );
        assert!(listing.is_cut());
        assert_eq!(
            lines,
            [
                "GET /v1/tokens?q=a%26b%20c&limit=3 HTTP/1.1",
                "GET /v1/tokens?q=a%26b%20c&limit=1&cursor=c%3D HTTP/1.1"
            ]
        );
    }

    #[test]
    fn a_list_that_leads_in_a_circle_ends() {
        let pages = [page("1", "\"c\""), page("2", "\"c\"")];
        let (_, listing, lines) = fetch(&Query::new("/v1/keys"), &pages);
        assert_eq!((listing.items.len(), lines.len()), (2, 2));
    }
}
