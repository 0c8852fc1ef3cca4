//! `portcullis share`.

use clap::Args;
use jiff::Timestamp;

use super::failure::Failure;
use super::reach::Reach;
use super::screen::Screen;
use super::token::{described, ends, required_expiry};
use super::{mint, text};
use crate::admin::wire::{MintShare, MintedShare};

#[derive(Args)]
pub(super) struct Share {
    /// The app to open
    #[arg(long, value_name = "APP")]
    app: String,
    /// The environment to open
    #[arg(long, value_name = "ENV")]
    environment: String,
    /// [required] When the link and what it opened end: 1h, 2026-12-31 (the end of that day, UTC), or an RFC 3339 time
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
    /// How many browsers it signs in [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    uses: Option<u64>,
    /// Where it leads, as in /start [default: /]
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// How browsers reach the app, as in https://shop.example.com [default: as the configuration lets guess]
    #[arg(long, value_name = "URL")]
    origin: Option<String>,
    /// A name to know it by in the list of tokens [default: share link]
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Only these methods on these paths, as in "GET,HEAD /docs/*"; may be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Only from this network or address, as in 10.0.0.0/8; may be repeated
    #[arg(long = "allow", value_name = "NETWORK")]
    networks: Vec<String>,
    /// Print the link and nothing else
    #[arg(long, conflicts_with = "json")]
    quiet: bool,
    /// Print the admin API's own answer
    #[arg(long)]
    json: bool,
}

impl Share {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let (expires_in, expires_at) = required_expiry(self.expires.as_deref(), reach)?;
        let listed = |items: &[String]| (!items.is_empty()).then(|| items.to_vec());
        let answer = reach.client(screen)?.post_once(
            "/v1/shares",
            &MintShare {
                label: self.label.clone(),
                app: self.app.clone(),
                environment: self.environment.clone(),
                expires_in,
                expires_at,
                scopes: listed(&self.scopes),
                allowed_addresses: listed(&self.networks),
                uses: self.uses,
                path: self.path.clone(),
                origin: self.origin.clone(),
                ..MintShare::default()
            },
        )?;
        let minted: MintedShare = answer.json()?;
        let id = &minted.token.id;
        let url = minted.url.as_deref().ok_or_else(|| mint::withheld("token", id))?;
        let written = if self.json {
            screen.json(&answer.body)
        } else if self.quiet {
            screen.say(url)
        } else {
            screen.say(&announcement(&minted, url, Timestamp::now()))
        };
        written.map_err(|error| mint::lost("token", id, &error))
    }
}

fn announcement(minted: &MintedShare, url: &str, now: Timestamp) -> String {
    let token = &minted.token;
    let browsers =
        if minted.uses == 1 { "one browser".to_owned() } else { format!("{} browsers", minted.uses) };
    format!(
        "Minted a link that signs in {browsers}, with {token}.\nIt ends, and what it opened: {end}\n\n    {url}\n\n\
         This is the only time the link is shown. To take it back: portcullis token revoke {id}",
        token = described(token),
        end = ends(token, now),
        url = text::plain(url),
        id = text::plain(&token.id),
    )
}
