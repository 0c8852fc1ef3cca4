//! What each call is for, takes and gives. A test asks every one of them, and compares.

use serde_json::{Value, json};

use super::{Shape, one, page};
use crate::admin::{metrics, wire};

/// A call's description.
pub(super) struct Doc {
    pub(super) summary: &'static str,
    pub(super) query: &'static [Parameter],
    /// Header fields that mean something to this call.
    pub(super) fields: &'static [Parameter],
    /// With whether it must be there.
    pub(super) body: Option<(Shape, bool)>,
    pub(super) answers: Vec<(u16, &'static str, Content)>,
    /// Whether its answer carries an `ETag`.
    pub(super) tagged: bool,
    pub(super) may_conflict: bool,
}

pub(super) enum Content {
    Json(Shape),
    /// Bytes of this type.
    File(&'static str),
    /// Text of one of these types, by what the caller accepts.
    Text(&'static [&'static str]),
}

/// An optional parameter of the query string, or a header field.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    means: &'static str,
    kind: Kind,
}

enum Kind {
    Text,
    /// Not empty.
    Word,
    Number,
    Truth,
    /// From the one to the other.
    Count(u32, u32),
    OneOf(&'static [&'static str]),
}

const LIMIT: Parameter = Parameter::new("limit", "At most this many; 50 by default.", Kind::Count(1, 500));
const CURSOR: Parameter = Parameter::new("cursor", "`next_cursor` of the page before.", Kind::Word);
const PAGES: &[Parameter] = &[LIMIT, CURSOR];
const ONCE: &[Parameter] = &[Parameter::new(
    "Idempotency-Key",
    "A name for this call, 1 to 255 printable ASCII characters: with the same body it happens once in 24 hours, and a \
     repeat answers 200 with what is there now, without a value.",
    Kind::Word,
)];
const IF_MATCH: &[Parameter] = &[Parameter::new(
    "If-Match",
    "The `ETag` that was seen: where another is there now, the edit is refused with 412.",
    Kind::Text,
)];
const OK: &str = "As it is now.";
const MADE: &str = "Made, and in force. The one answer that holds the value.";
const BEFORE: &str = "Made before, by the same call: `secret` is null.";

impl Parameter {
    const fn new(name: &'static str, means: &'static str, kind: Kind) -> Self {
        Self { name, means, kind }
    }

    pub(super) fn described(&self, place: &str) -> Value {
        let schema = match self.kind {
            Kind::Text => json!({ "type": "string" }),
            Kind::Word => json!({ "type": "string", "minLength": 1 }),
            Kind::Number => json!({ "type": "integer", "minimum": 0 }),
            Kind::Truth => json!({ "type": "boolean" }),
            Kind::Count(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
            Kind::OneOf(words) => json!({ "type": "string", "enum": words }),
        };
        json!({ "name": self.name, "in": place, "description": self.means, "schema": schema })
    }
}

/// A name in a path.
pub(super) fn path_parameter(name: &str) -> Value {
    let means = match name {
        "id" => "Its id.",
        "name" => "A member's name.",
        "app" => "An app's name.",
        "environment" => "The name of one of its environments.",
        "key" => "A secret's name.",
        "request_id" => "The `X-Request-Id` of the refusal.",
        _ => "",
    };
    json!({ "name": name, "in": "path", "required": true, "description": means, "schema": { "type": "string" } })
}

impl Doc {
    fn new(summary: &'static str) -> Self {
        Self {
            summary,
            query: &[],
            fields: &[],
            body: None,
            answers: Vec::new(),
            tagged: false,
            may_conflict: false,
        }
    }

    fn gives(mut self, status: u16, means: &'static str, shape: Shape) -> Self {
        self.answers.push((status, means, Content::Json(shape)));
        self
    }

    fn takes(mut self, shape: Shape) -> Self {
        self.body = Some((shape, true));
        self
    }

    fn may_take(mut self, shape: Shape) -> Self {
        self.body = Some((shape, false));
        self
    }

    const fn asks(mut self, query: &'static [Parameter]) -> Self {
        self.query = query;
        self
    }

    const fn happens_once(mut self) -> Self {
        self.fields = ONCE;
        self.may_conflict = true;
        self
    }

    const fn meets(mut self) -> Self {
        self.fields = IF_MATCH;
        self
    }

    const fn tagged(mut self) -> Self {
        self.tagged = true;
        self
    }

    const fn may_conflict(mut self) -> Self {
        self.may_conflict = true;
        self
    }

    /// The description of a call; an empty one where there is none, which a test finds.
    pub(super) fn of(method: &str, path: &str) -> Self {
        let (noun, rest) =
            path.strip_prefix("/v1/").and_then(|path| path.split_once('/')).unwrap_or((path, ""));
        match (noun, rest) {
            (_, "") => Self::of_collection(method, path),
            ("tokens", rest) => Self::of_token(method, rest),
            ("members" | "keys", _) => Self::of_member_or_key(method, noun),
            ("apps", rest) => Self::of_app(method, rest),
            ("secrets", rest) => Self::of_secret(method, rest),
            ("notices", _) => Self::new("Have a notice sent again at once, also where it was given up")
                .happens_once()
                .gives(200, "The notice as it is now, by each of its channels.", page::<wire::Notice>),
            ("denials", _) => Self::new("Tell why a request was refused").gives(200, OK, one::<wire::Denial>),
            _ => Self::new(""),
        }
    }

    fn of_collection(method: &str, path: &str) -> Self {
        match (method, path) {
            ("GET", "/v1/tokens") => {
                Self::new("List tokens, newest first").asks(TOKENS).gives(200, OK, page::<wire::Token>)
            }
            ("POST", "/v1/tokens") => Self::new("Mint a token")
                .takes(one::<wire::MintToken>)
                .happens_once()
                .gives(201, MADE, one::<wire::MintedToken>)
                .gives(200, BEFORE, one::<wire::MintedToken>)
                .tagged(),
            ("POST", "/v1/shares") => {
                Self::new("Mint a link that signs a browser in, with a token of its own that nobody is shown")
                    .takes(one::<wire::MintShare>)
                    .happens_once()
                    .gives(
                        201,
                        "Made, and in force. The one answer that holds the link.",
                        one::<wire::MintedShare>,
                    )
                    .gives(
                        200,
                        "Made before, by the same call: `url` and `path` are null.",
                        one::<wire::MintedShare>,
                    )
            }
            ("GET", "/v1/members") => {
                Self::new("List members, newest first").asks(PAGES).gives(200, OK, page::<wire::Member>)
            }
            ("POST", "/v1/members") => Self::new("Add a member")
                .takes(one::<wire::AddMember>)
                .happens_once()
                .gives(201, "Added.", one::<wire::Member>)
                .gives(200, "Added before, by the same call.", one::<wire::Member>)
                .tagged(),
            ("GET", "/v1/keys") => {
                Self::new("List management keys, newest first").asks(PAGES).gives(200, OK, page::<wire::Key>)
            }
            ("POST", "/v1/keys") => Self::new("Mint a management key, for a member who is made where new")
                .takes(one::<wire::MintKey>)
                .happens_once()
                .gives(201, MADE, one::<wire::MintedKey>)
                .gives(200, BEFORE, one::<wire::MintedKey>),
            ("GET", "/v1/apps") => {
                Self::new("List the apps and their environments, in the order of the configuration")
                    .asks(PAGES)
                    .gives(200, OK, page::<wire::App>)
            }
            ("GET", "/v1/secrets") => Self::new("List upstream secrets, newest first, without their values")
                .asks(PAGES)
                .gives(200, OK, page::<wire::Secret>),
            ("GET", "/v1/denials") => Self::new("List recent refusals, newest first").asks(DENIALS).gives(
                200,
                OK,
                page::<wire::Denial>,
            ),
            ("POST", "/v1/lookup") => Self::new("Tell what credentials are, by their digests")
                .takes(one::<wire::LookUp>)
                .gives(200, "Those that are known here, as they are now.", page::<wire::Holding>),
            ("GET", "/v1/leaks") => Self::new("List leaks and warnings, newest first").asks(LEAKS).gives(
                200,
                OK,
                page::<wire::Leak>,
            ),
            ("POST", "/v1/leaks") => Self::new("Have leaked credentials ended, as `leaks.action` has it")
                .takes(one::<wire::ReportLeaks>)
                .happens_once()
                .gives(200, "What that did, in the order of the report.", page::<wire::Reaction>),
            ("GET", "/v1/notices") => Self::new("List notices that are not delivered, newest first")
                .asks(PAGES)
                .gives(200, OK, page::<wire::Notice>),
            ("GET", "/v1/audit") => Self::new("List what was changed, oldest first").asks(AUDIT).gives(
                200,
                OK,
                page::<wire::Entry>,
            ),
            ("GET", "/v1/backup") => {
                let mut doc = Self::new("Copy the whole store, as it is now").may_conflict();
                doc.answers = vec![(200, "An SQLite database.", Content::File("application/vnd.sqlite3"))];
                doc
            }
            ("POST", "/v1/reload") => Self::new(
                "Read the configuration again: all of it, or nothing changes",
            )
            .may_conflict()
            .gives(200, "What that changed.", one::<wire::Reloaded>),
            ("POST", "/v1/dashboard-links") => Self::new(
                "Make a link that signs a browser in to the dashboard, once, as the caller",
            )
            .gives(201, "Made. The one answer that holds it.", one::<wire::DashboardLink>),
            ("DELETE", "/v1/dashboard-sessions") => Self::new(
                "Sign everybody out of the dashboard, and let nobody in by a link that was made before",
            )
            .gives(200, "How many sessions ended.", one::<wire::DashboardSessionsEnded>),
            ("GET", "/v1/whoami") => Self::new("Tell who calls").gives(200, OK, one::<wire::Whoami>),
            ("GET", "/v1/openapi.json") => {
                Self::new("This document").gives(200, OK, |_| json!({ "type": "object" }))
            }
            ("GET", "/healthz") => {
                Self::new("Tell that the process lives").gives(200, OK, one::<wire::Health>)
            }
            ("GET", "/readyz") => {
                Self::new("Tell whether it can do its work").gives(200, OK, one::<wire::Readiness>)
            }
            ("GET", "/metrics") => {
                let mut doc = Self::new("Tell what is counted anywhere in the program");
                doc.answers = vec![(200, OK, Content::Text(&metrics::KINDS))];
                doc
            }
            _ => Self::new(""),
        }
    }

    fn of_token(method: &str, rest: &str) -> Self {
        match (method, rest) {
            ("GET", "{id}") => Self::new("Show a token").gives(200, OK, one::<wire::Token>).tagged(),
            ("PATCH", "{id}") => Self::new("Edit a token; what is absent stays")
                .may_take(one::<wire::EditToken>)
                .meets()
                .gives(200, OK, one::<wire::Token>)
                .tagged(),
            ("DELETE", "{id}") => Self::new("Revoke a token, and forget it").gives(
                200,
                "As it was, and what that ended.",
                one::<wire::RevokedToken>,
            ),
            ("POST", "{id}/revoke") => {
                Self::new("Revoke a token, with what it has in flight; again is harmless")
                    .may_take(one::<wire::Revoke>)
                    .happens_once()
                    .gives(200, "The token, and what that ended.", one::<wire::RevokedToken>)
            }
            ("POST", "{id}/rotate") => Self::new("Mint a successor with the same bindings")
                .may_take(one::<wire::Rotate>)
                .happens_once()
                .gives(201, MADE, one::<wire::MintedToken>)
                .gives(200, BEFORE, one::<wire::MintedToken>)
                .tagged(),
            _ => Self::new(""),
        }
    }

    fn of_member_or_key(method: &str, noun: &str) -> Self {
        match (method, noun) {
            ("GET", "members") => Self::new("Show a member").gives(200, OK, one::<wire::Member>).tagged(),
            ("PATCH", "members") => Self::new("Edit a member; what is absent stays")
                .may_take(one::<wire::EditMember>)
                .meets()
                .may_conflict()
                .gives(200, OK, one::<wire::Member>)
                .tagged(),
            ("DELETE", "members") => Self::new("Remove a member, and end all that they made")
                .may_conflict()
                .gives(200, "What that ended.", one::<wire::RemovedMember>),
            ("DELETE", "keys") => Self::new("Revoke a management key; again is harmless")
                .may_conflict()
                .gives(200, OK, one::<wire::RevokedKey>),
            _ => Self::new(""),
        }
    }

    fn of_secret(method: &str, rest: &str) -> Self {
        match (method, rest) {
            ("PUT", "{key}") => Self::new("Give a name a value; what is absent stays, but for the expiry")
                .takes(one::<wire::PutSecret>)
                .meets()
                .gives(201, "Set, and in force.", one::<wire::Secret>)
                .gives(200, "Set in the place of the value before, and in force.", one::<wire::Secret>)
                .tagged(),
            ("GET", "{key}") => {
                Self::new("Show a secret, without its value").gives(200, OK, one::<wire::Secret>).tagged()
            }
            ("PATCH", "{key}") => Self::new("Edit a secret; what is absent stays, the value in any case")
                .may_take(one::<wire::EditSecret>)
                .meets()
                .may_conflict()
                .gives(200, OK, one::<wire::Secret>)
                .tagged(),
            ("DELETE", "{key}") => {
                Self::new("Delete a secret, with its value").gives(200, "As it was.", one::<wire::Secret>)
            }
            ("POST", "{key}/revoke") => Self::new("End a secret's value for good; again is harmless")
                .gives(200, OK, one::<wire::Secret>)
                .tagged(),
            ("POST", "rekey") => Self::new("Seal every secret under a new key, all of them or none")
                .happens_once()
                .gives(200, "What was sealed anew.", one::<wire::Rekeyed>),
            _ => Self::new(""),
        }
    }

    fn of_app(method: &str, rest: &str) -> Self {
        match (method, rest.strip_prefix("{app}/environments/{environment}/").unwrap_or(rest)) {
            ("GET", "{app}") => Self::new("Show an app").gives(200, OK, one::<wire::App>),
            ("GET", "deployments") => {
                Self::new("List deployments, newest first").asks(PAGES).gives(200, OK, page::<wire::Deployment>)
            }
            ("POST", "deployments") => Self::new("Publish a deployment, or look what that would end")
                .asks(DRY_RUN)
                .takes(one::<wire::Publish>)
                .happens_once()
                .gives(201, "Published in the place of the one before.", one::<wire::Published>)
                .gives(200, "Another release of the current one; or what publishing would do.", |schemas| {
                    json!({ "oneOf": [schemas.add::<wire::Published>(), schemas.add::<wire::Prospect>()] })
                }),
            ("DELETE", "deployments/{id}") => Self::new("Archive a deployment that is not the current one")
                .may_conflict()
                .gives(200, OK, one::<wire::Deployment>),
            ("PUT", "external-access") => Self::new("Let the tokens of an environment in, or none of them")
                .takes(one::<wire::Switch>)
                .may_conflict()
                .gives(200, "How it stands, and what that ended.", one::<wire::Switched>),
            _ => Self::new(""),
        }
    }
}

const STATUSES: &[&str] = &["active", "expired", "revoked", "replaced"];
const TOKENS: &[Parameter] = &[
    Parameter::new("app", "Only tokens for this app.", Kind::Text),
    Parameter::new("environment", "Only tokens for this environment.", Kind::Text),
    Parameter::new("status", "Only tokens that stand like this.", Kind::OneOf(STATUSES)),
    Parameter::new("member", "Only tokens of this member.", Kind::Text),
    Parameter::new("q", "Only tokens with this text in their label or description.", Kind::Text),
    Parameter::new(
        "expiring",
        "Only tokens that were used and end within this time, as in `7d`.",
        Kind::Word,
    ),
    LIMIT,
    CURSOR,
];
const DENIALS: &[Parameter] = &[
    Parameter::new("token", "Only refusals of this token.", Kind::Text),
    Parameter::new("app", "Only refusals at this app.", Kind::Text),
    LIMIT,
    CURSOR,
];
const LEAKS: &[Parameter] =
    &[Parameter::new("subject", "Only those of the token or key with this id.", Kind::Text), LIMIT, CURSOR];
const AUDIT: &[Parameter] = &[
    Parameter::new("after", "The `seq` of the last entry that the caller has.", Kind::Number),
    LIMIT,
    CURSOR,
];
const DRY_RUN: &[Parameter] = &[Parameter::new(
    "dry_run",
    "Change nothing, and answer which tokens would end and which would live on.",
    Kind::Truth,
)];
