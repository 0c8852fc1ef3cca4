//! The keys and the values together, and how what is stored comes to be in force.

use std::collections::HashSet;
use std::sync::Arc;

use super::key::{KeyError, KeyFile};
use super::keyring::Keyring;
use super::seal::{OpenError, Owner};
use super::vault::{Client, Content, Granted, Held, Vault};
use crate::model::{Sealed, Secret, SecretName};

/// Keys and values. Clones share both.
#[derive(Clone, Debug)]
pub struct Safe {
    pub keyring: Keyring,
    pub vault: Vault,
}

/// Why a gateway with these secrets does not start.
#[derive(Debug, thiserror::Error)]
pub enum Locked {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(
        "{count} secrets are stored, and the key file `{path}` that opens them is not there: put it back, or name it in \
         `secrets.key_file`"
    )]
    NoKey { count: usize, path: String },
    #[error(
        "the key file `{path}` holds another key than the one ({key}) that the stored secrets are sealed with: put that \
         one back, or name it in `secrets.key_file`"
    )]
    OtherKey { path: String, key: String },
    #[error("the stored secret {name} does not open: {why}")]
    Altered { name: SecretName, why: OpenError },
}

impl Safe {
    /// With the keys in `file`, if there are any yet, and no values.
    ///
    /// # Errors
    /// When the file cannot be read or holds something else.
    pub fn open(file: KeyFile) -> Result<Self, KeyError> {
        Ok(Self { keyring: Keyring::open(file)?, vault: Vault::default() })
    }

    /// Brings a change of the key to its end that was broken off, and makes sure that everything stored can be opened.
    ///
    /// # Errors
    /// When something cannot: starting would leave apps without what they need, and a new key would lose it for good.
    pub fn unlock<'a>(
        &self,
        sealed_under: Option<&str>,
        stored: impl ExactSizeIterator<Item = (&'a Secret, &'a Sealed)>,
    ) -> Result<(), Locked> {
        self.keyring.file().restrict();
        self.keyring.settle(sealed_under.filter(|_| stored.len() > 0))?;
        self.judge(stored)
    }

    /// Whether everything stored can be opened. Changes nothing.
    ///
    /// # Errors
    /// As [`Self::unlock`].
    pub fn judge<'a>(
        &self,
        stored: impl ExactSizeIterator<Item = (&'a Secret, &'a Sealed)>,
    ) -> Result<(), Locked> {
        let path = self.keyring.file().path().display().to_string();
        let count = stored.len();
        if count > 0 && self.keyring.holds_none() {
            return Err(Locked::NoKey { count, path });
        }
        for (secret, sealed) in stored {
            match self.keyring.unseal(Owner::of(secret), sealed) {
                Ok(_) => {}
                Err(OpenError::OtherKey) => {
                    return Err(Locked::OtherKey { path, key: sealed.key.clone() });
                }
                Err(why) => return Err(Locked::Altered { name: secret.name.clone(), why }),
            }
        }
        Ok(())
    }

    /// Puts what is stored in force.
    pub fn put(&self, secret: Secret, sealed: &Sealed) {
        let content = match self.keyring.unseal(Owner::of(&secret), sealed) {
            Ok(value) => match secret.grant {
                None => Content::Value(value),
                Some(grant) => {
                    let client = Arc::new(Client { grant, secret: value });
                    Content::Grant(Box::new(Granted { client, token: None, trouble: None }))
                }
            },
            Err(why) => {
                tracing::error!(secret = %secret.name, "a stored secret does not open: {why}");
                Content::Unreadable
            }
        };
        let (expires, revoked) = (Held::end(secret.expires_at), secret.revoked.is_some());
        self.vault.put(secret.name, Held { scope: secret.scope, expires, revoked, content });
    }

    /// Forgets the values of all but these.
    pub fn retain(&self, present: &HashSet<SecretName>) {
        self.vault.retain(|name| present.contains(name));
    }
}
