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
    /// And with them all that they had made.
    MemberRemoved,
}

impl Event {
    const ALL: [Self; 6] = [
        Self::TokenLeaked,
        Self::KeyLeaked,
        Self::TokenSuspected,
        Self::TokenRevoked,
        Self::TokenExpiring,
        Self::MemberRemoved,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokenLeaked => "token.leaked",
            Self::KeyLeaked => "key.leaked",
            Self::TokenSuspected => "token.suspected",
            Self::TokenRevoked => "token.revoked",
            Self::TokenExpiring => "token.expiring",
            Self::MemberRemoved => "member.removed",
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

/// How a notice that is not delivered stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeStatus {
    Waiting,
    /// It waits for its channel to be configured again.
    Held,
    /// It was given up.
    Dead,
}

impl NoticeStatus {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Held => "held",
            Self::Dead => "dead",
        }
    }
}

/// A notice that was not delivered yet.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The same however often it is sent, and by whichever way.
    pub id: NoticeId,
    pub channel: Channel,
    pub event: Event,
    /// The id of the credential that it is about, or the name of a member.
    pub subject: String,
    /// The address of a mail, as its owner has it now; empty where there is none, and for a webhook.
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
