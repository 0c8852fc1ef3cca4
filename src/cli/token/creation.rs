//! `portcullis token create`.

use clap::Args;
use jiff::Timestamp;

use super::{Form, described, ends, required_expiry};
use crate::admin::wire::{MintToken, Token};
use crate::cli::failure::Failure;
use crate::cli::reach::Reach;
use crate::cli::screen::Screen;
use crate::cli::text;

#[derive(Args)]
pub(in crate::cli) struct Create {
    /// The app to open, or "*" for every app
    #[arg(long, value_name = "APP")]
    app: String,
    /// The environment to open
    #[arg(long, value_name = "ENV")]
    environment: String,
    /// A name to know the token by
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// What the token is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// [required] When it ends: 7d, never, 2026-12-31 (the end of that day, UTC), or an RFC 3339 time
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
    /// Only these methods on these paths, as in "GET,HEAD /healthz" or "POST /webhooks/*"; may be repeated
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Only from this network or address, as in 10.0.0.0/8; may be repeated
    #[arg(long = "allow", value_name = "NETWORK")]
    networks: Vec<String>,
    /// At most so many requests in so long, as in 100/1m
    #[arg(long, value_name = "RATE")]
    rate: Option<String>,
    /// What another deployment does to it: stop, keep or grace:24h [default: as the environment says]
    #[arg(long, value_name = "RULE")]
    on_publish: Option<String>,
    #[command(flatten)]
    form: Form,
}

impl Create {
    pub(super) fn run(&self, reach: &Reach, screen: &Screen) -> Result<(), Failure> {
        let (expires_in, expires_at) = required_expiry(self.expires.as_deref(), reach)?;
        let listed = |items: &[String]| (!items.is_empty()).then(|| items.to_vec());
        let answer = reach.client(screen)?.post_once(
            "/v1/tokens",
            &MintToken {
                label: self.label.clone(),
                description: self.description.clone(),
                app: self.app.clone(),
                environment: self.environment.clone(),
                expires_in,
                expires_at,
                scopes: listed(&self.scopes),
                allowed_addresses: listed(&self.networks),
                rate_limit: self.rate.clone(),
                on_publish: self.on_publish.clone(),
            },
        )?;
        self.form.print(&answer, screen, |token| announced(token, Timestamp::now()))
    }
}

/// The heading, and what nobody who hands a token to a webhook may overlook.
pub(super) fn announced(token: &Token, now: Timestamp) -> String {
    let heading = heading(token, now);
    let Some(deployment) = token.deployment.as_ref().filter(|_| token.on_publish != "keep") else {
        return heading;
    };
    let when = token.on_publish.strip_prefix("grace:");
    let when = when.map_or_else(|| "when".to_owned(), |grace| format!("{} after", text::plain(grace)));
    format!(
        "{heading}\nIt ends sooner, {when} another deployment than {} is published, unless it is minted with \
         --on-publish keep.",
        text::plain(deployment)
    )
}

pub(super) fn heading(token: &Token, now: Timestamp) -> String {
    format!("Minted {}.\nIt expires: {}", described(token), ends(token, now))
}
