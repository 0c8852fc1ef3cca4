//! What can be asked of a store.

use jiff::Timestamp;

use super::sqlite::{
    audit, deployments, environments, keys, leaks, members, readable, repeats, secrets, shares, tokens,
};
use super::{
    Act, EntryFilter, EnvironmentRow, Held, KeyFilter, Prospect, ProspectFilter, Repeat, SealedSecret, Share,
    Store, StoreError, TokenFilter,
};
use crate::credential::Digest;
use crate::model::{
    AppName, Deployment, Entry, EnvironmentName, Key, KeyId, Member, MemberName, Secret, SecretName, Token,
    TokenId,
};

impl Store {
    /// # Errors
    /// When the store cannot be read.
    pub async fn token(&self, id: TokenId) -> Result<Option<Token>, StoreError> {
        self.0.lookups.read(move |conn| tokens::get(conn, id)).await
    }

    /// The same of one that is to be ended, whatever of its row does not read.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn token_to_end(&self, id: TokenId) -> Result<Option<Token>, StoreError> {
        self.0.lookups.read(move |conn| tokens::by_id(conn, id)).await
    }

    /// The link that signs in whose code has this digest.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn share(&self, digest: Digest) -> Result<Option<Share>, StoreError> {
        self.0.lookups.read(move |conn| shares::find(conn, &digest)).await
    }

    /// The tokens that `filter` lets through, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn tokens(&self, filter: TokenFilter) -> Result<Vec<Token>, StoreError> {
        self.0.lists.read(move |conn| tokens::list::list(conn, &filter)).await
    }

    /// Which of these tokens are of this present member, and of this app.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn owned_tokens(
        &self,
        ids: Vec<TokenId>,
        owner: Option<MemberName>,
        within: Option<AppName>,
    ) -> Result<Vec<TokenId>, StoreError> {
        self.0.lists.read(move |conn| tokens::list::owned(conn, &ids, owner.as_ref(), within.as_ref())).await
    }

    /// How many tokens in use end by `end`.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn count_ending(&self, now: Timestamp, end: Timestamp) -> Result<u64, StoreError> {
        self.0.upkeep.read(move |conn| tokens::list::count_ending(conn, now, end)).await
    }

    /// What publishing would do.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn prospect(&self, filter: ProspectFilter) -> Result<Prospect, StoreError> {
        self.0.lists.read(move |conn| tokens::list::prospect(conn, &filter)).await
    }

    /// # Errors
    /// When the store cannot be read.
    pub async fn key(&self, id: KeyId) -> Result<Option<Key>, StoreError> {
        self.0.lookups.read(move |conn| keys::get(conn, id)).await
    }

    /// The key with this digest, whatever its state.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn key_by_digest(&self, digest: Digest) -> Result<Option<Key>, StoreError> {
        self.0.lookups.read(move |conn| keys::by_digest(conn, &digest)).await
    }

    /// What these digests are of, each that is of anything.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn held(&self, digests: Vec<Digest>) -> Result<Vec<(Digest, Held)>, StoreError> {
        self.0
            .lists
            .read(move |conn| {
                let mut found = Vec::new();
                for digest in digests {
                    found.extend(readable(leaks::held(conn, &digest))?.map(|held| (digest, held)));
                }
                Ok(found)
            })
            .await
    }

    /// The keys that `filter` lets through, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn keys(&self, filter: KeyFilter) -> Result<Vec<Key>, StoreError> {
        self.0.lists.read(move |conn| keys::list(conn, &filter)).await
    }

    /// # Errors
    /// When the store cannot be read.
    pub async fn member(&self, name: MemberName) -> Result<Option<Member>, StoreError> {
        self.0.lookups.read(move |conn| members::get(conn, &name)).await
    }

    /// The members whose number is below `before`, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn members(&self, before: Option<i64>, limit: usize) -> Result<Vec<Member>, StoreError> {
        self.0.lists.read(move |conn| members::list(conn, before, limit)).await
    }

    /// Every environment that the store knows something of.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn environments(&self) -> Result<Vec<EnvironmentRow>, StoreError> {
        self.0.lists.read(environments::list).await
    }

    /// What was published to an environment, newest first, from below a number.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn deployments(
        &self,
        app: AppName,
        environment: EnvironmentName,
        before: Option<u32>,
        limit: usize,
    ) -> Result<Vec<Deployment>, StoreError> {
        self.0.lists.read(move |conn| deployments::list(conn, &app, &environment, before, limit)).await
    }

    /// # Errors
    /// When the store cannot be read.
    pub async fn deployment(
        &self,
        app: AppName,
        environment: EnvironmentName,
        number: u32,
    ) -> Result<Option<Deployment>, StoreError> {
        self.0.lookups.read(move |conn| deployments::by_number(conn, &app, &environment, number)).await
    }

    /// # Errors
    /// When the store cannot be read.
    pub async fn secret(&self, name: SecretName) -> Result<Option<SealedSecret>, StoreError> {
        self.0.lookups.read(move |conn| secrets::get(conn, &name)).await
    }

    /// The secrets whose number is below `before`, newest first, each with its number; `within`: only those for an app.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn secrets(
        &self,
        within: Option<AppName>,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<(i64, Secret)>, StoreError> {
        self.0.lists.read(move |conn| secrets::list(conn, within.as_ref(), before, limit)).await
    }

    /// The key that every secret is sealed with, once one was.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn sealing_key(&self) -> Result<Option<String>, StoreError> {
        self.0.lookups.read(secrets::sealing_key).await
    }

    /// # Errors
    /// When the store cannot be read.
    pub async fn audit(&self, filter: EntryFilter) -> Result<Vec<Entry>, StoreError> {
        self.0.lists.read(move |conn| audit::list(conn, &filter)).await
    }

    /// What the same call made before; `Err` inside where it was another call of the same name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn repeat(&self, act: Act) -> Result<Option<Result<Repeat, ()>>, StoreError> {
        self.0.lookups.read(move |conn| repeats::find(conn, &act)).await
    }
}
