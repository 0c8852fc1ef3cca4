//! What people outside are told of what happened to credentials.

use jiff::Timestamp;

use super::NoticeId;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    TokenLeaked,
    KeyLeaked,
    TokenSuspected,
    TokenRevoked,
    TokenExpiring,
}

impl Event {
    const ALL: [Self; 5] =
        [Self::TokenLeaked, Self::KeyLeaked, Self::TokenSuspected, Self::TokenRevoked, Self::TokenExpiring];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokenLeaked => "token.leaked",
            Self::KeyLeaked => "key.leaked",
            Self::TokenSuspected => "token.suspected",
            Self::TokenRevoked => "token.revoked",
            Self::TokenExpiring => "token.expiring",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == name)
    }
}

/// The way by which somebody is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    Email,
    Webhook,
}

impl Channel {
    pub const ALL: [Self; 2] = [Self::Email, Self::Webhook];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Webhook => "webhook",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.as_str() == name)
    }
}

/// A notice that was not delivered yet.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The same however often it is sent, and by whichever way.
    pub id: NoticeId,
    pub channel: Channel,
    pub event: Event,
    /// The id of the credential that it is about.
    pub subject: String,
    /// The address of a mail; empty for a webhook.
    pub recipient: String,
    /// An object. It holds no credential.
    pub data: serde_json::Value,
    pub created_at: Timestamp,
    pub due_at: Timestamp,
    /// How often it was sent in vain.
    pub attempts: u32,
    pub last_error: Option<String>,
    /// When it was given up.
    pub dead_at: Option<Timestamp>,
}
