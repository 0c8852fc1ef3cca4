//! Who calls, and what of others' they may see.

use jiff::Timestamp;

use super::{Control, Fault, now};
use crate::credential::Plaintext;
use crate::model::{AppName, Key, KeyId, MemberName, Scope, Scopes, Token, TokenApp};
use crate::store::{Act, TokenFilter};

/// The caller of a command.
#[derive(Clone, Debug)]
pub enum Caller {
    /// Whoever may open the admin socket: everything is theirs to do.
    Operator,
    /// A member, by a management key.
    Member { key: KeyId, name: MemberName, scopes: Scopes, app: Option<AppName> },
}

/// Names that would be taken for someone else in the audit log and in lists.
pub(super) const RESERVED: [&str; 2] = [TokenFilter::OPERATOR, "portcullis"];

impl Caller {
    #[must_use]
    pub fn scopes(&self) -> Scopes {
        match self {
            Self::Operator => Scopes::every(),
            Self::Member { scopes, .. } => *scopes,
        }
    }

    #[must_use]
    pub fn member(&self) -> Option<&MemberName> {
        match self {
            Self::Operator => None,
            Self::Member { name, .. } => Some(name),
        }
    }

    /// The app that the caller's key is bound to.
    #[must_use]
    pub fn app(&self) -> Option<&AppName> {
        match self {
            Self::Operator => None,
            Self::Member { app, .. } => app.as_ref(),
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
        in_reach && self.only_own().is_none_or(|own| token.created_by.as_ref() == Some(own))
    }

    pub(super) fn may_see_key(&self, key: &Key) -> bool {
        let in_reach = self.app().is_none_or(|bound| key.app.as_ref() == Some(bound));
        in_reach && self.only_own().is_none_or(|own| key.member == *own)
    }

    /// The head of the audit entry of what the caller does now.
    pub(super) fn act(&self, at: Timestamp) -> Act {
        match self {
            Self::Operator => Act { at, actor: TokenFilter::OPERATOR.to_owned(), key: None },
            Self::Member { key, name, .. } => Act { at, actor: name.to_string(), key: Some(*key) },
        }
    }
}

impl Control {
    /// Who calls with this management key; `None` for a key that is not, or no longer, in force.
    ///
    /// # Errors
    /// When the store cannot be read: it is asked each time, so that a revoked key ends at once.
    pub async fn caller(&self, key: &Plaintext) -> Result<Option<Caller>, Fault> {
        let digest = key.digest();
        let found = self.store.key_by_digest(digest).await?;
        let in_force =
            found.filter(|key| key.revoked_at.is_none() && key.expires_at.is_none_or(|end| end > now()));
        Ok(in_force.map(|key| Caller::Member {
            key: key.id,
            name: key.member,
            scopes: key.scopes,
            app: key.app,
        }))
    }
}
