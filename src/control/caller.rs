//! Who calls, and what of others' they may see.

use std::net::IpAddr;

use jiff::Timestamp;

use super::repeat::Once;
use super::{Control, Fault};
use crate::credential::Plaintext;
use crate::model::{AppName, Key, KeyId, MemberName, Mortal, Scope, Scopes, Token, TokenApp};
use crate::store::{self, Act, TokenFilter, Use};

/// The caller of a command.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Whoever may open the admin socket: everything is theirs to do. From there, or from this address, in a browser that
    /// a link from there has signed in.
    Operator { from: Option<IpAddr> },
    /// A member, by a management key.
    Member { key: KeyId, name: MemberName, scopes: Scopes, app: Option<AppName>, from: IpAddr },
}

/// Where the operator calls from without a browser.
const SOCKET: &str = "socket";

/// Names that would be taken for someone else in the audit log and in lists.
pub(super) const RESERVED: [&str; 2] = [TokenFilter::OPERATOR, "portcullis"];

impl Caller {
    #[must_use]
    pub fn scopes(&self) -> Scopes {
        match self {
            Self::Operator { .. } => Scopes::every(),
            Self::Member { scopes, .. } => *scopes,
        }
    }

    #[must_use]
    pub fn member(&self) -> Option<&MemberName> {
        match self {
            Self::Operator { .. } => None,
            Self::Member { name, .. } => Some(name),
        }
    }

    /// The app that the caller's key is bound to.
    #[must_use]
    pub fn app(&self) -> Option<&AppName> {
        match self {
            Self::Operator { .. } => None,
            Self::Member { app, .. } => app.as_ref(),
        }
    }

    /// The key that the caller calls with.
    #[must_use]
    pub fn key(&self) -> Option<KeyId> {
        match self {
            Self::Operator { .. } => None,
            Self::Member { key, .. } => Some(*key),
        }
    }

    /// For what concerns every app and every member.
    ///
    /// # Errors
    /// When the caller's key may not do everything, or is bound to one app.
    pub fn require_workspace(&self) -> Result<(), Fault> {
        self.require(Scope::Admin)?;
        match self.app() {
            None => Ok(()),
            Some(app) => Err(Fault::Forbidden(format!(
                "this needs a management key that is bound to no app; this one is bound to `{app}`"
            ))),
        }
    }

    /// # Errors
    /// When the caller's key does not have `scope`.
    pub fn require(&self, scope: Scope) -> Result<(), Fault> {
        if self.scopes().allow(scope) {
            return Ok(());
        }
        Err(Fault::Forbidden(format!("this needs a management key with the scope `{}`", scope.as_str())))
    }

    /// The member whose things alone the caller may see; `None`: everyone's.
    pub(super) fn only_own(&self) -> Option<&MemberName> {
        self.member().filter(|_| !self.scopes().allow(Scope::Admin))
    }

    pub(super) fn may_see_app(&self, app: &AppName) -> bool {
        self.app().is_none_or(|bound| bound == app)
    }

    pub(super) fn may_see_token(&self, token: &Token) -> bool {
        let in_reach = match &token.app {
            TokenApp::Every => self.app().is_none(),
            TokenApp::One(app) => self.may_see_app(app),
        };
        let own = |own| !token.orphaned && token.created_by.as_ref() == Some(own);
        in_reach && self.only_own().is_none_or(own)
    }

    pub(super) fn may_see_key(&self, key: &Key) -> bool {
        let in_reach = self.app().is_none_or(|bound| key.app.as_ref() == Some(bound));
        in_reach && self.only_own().is_none_or(|own| !key.orphaned && key.member == *own)
    }

    /// The head of the audit entry of what the caller does now.
    pub(super) fn act(&self, at: Timestamp) -> Act {
        self.act_once(at, None)
    }

    /// The same of a call that may come again.
    pub(super) fn act_once(&self, at: Timestamp, once: Option<Once>) -> Act {
        let once = once.map(|Once { key, request }| store::Once { key, request, lasts: false });
        match self {
            Self::Operator { from } => {
                let from = from.map_or_else(|| SOCKET.to_owned(), |from| from.to_string());
                Act { at, actor: TokenFilter::OPERATOR.to_owned(), key: None, from, once }
            }
            Self::Member { key, name, from, .. } => {
                Act { at, actor: name.to_string(), key: Some(*key), from: from.to_string(), once }
            }
        }
    }
}

impl Control {
    /// Who calls with this management key; `None` for a key that is not, or no longer, in force.
    ///
    /// # Errors
    /// When the store cannot be read: it is asked each time, so that a revoked key ends at once.
    pub async fn caller(&self, key: &Plaintext, from: IpAddr) -> Result<Option<Caller>, Fault> {
        Ok(self.in_force(self.store.key_by_digest(key.digest()).await?, from))
    }

    /// The same of a key that was presented before.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn caller_again(&self, key: KeyId, from: IpAddr) -> Result<Option<Caller>, Fault> {
        Ok(self.in_force(self.store.key(key).await?, from))
    }

    fn in_force(&self, found: Option<Key>, from: IpAddr) -> Option<Caller> {
        let now = self.now();
        let key = found.filter(|key| key.revoked_at.is_none())?;
        if let Some(end) = key.expires_at.filter(|_| key.has_expired(now)) {
            let hindsight = self.store.hindsight();
            hindsight.saw(Mortal::Key(key.id), end.as_millisecond(), now.as_millisecond());
            return None;
        }
        self.key_uses.note(Use { of: key.id, at: now.as_millisecond(), from });
        Some(Caller::Member { key: key.id, name: key.member, scopes: key.scopes, app: key.app, from })
    }
}
