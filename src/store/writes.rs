//! What can be changed in a store. Each command checks, in the transaction that carries it out, that whoever acts still
//! may.

use std::path::Path;

use jiff::Timestamp;
use tempfile::NamedTempFile;
use tokio::sync::OwnedSemaphorePermit;

use super::sqlite::{
    audit, backup, deployments, environments, keys, members, repeats, secrets, shares, sightings, tokens,
};
use super::{
    Act, Ahead, Limits, MemberEdit, NewDeployment, NewKey, NewSecret, NewToken, NotDone, Outlets, Published,
    Removal, Reseal, Revocation, Rotation, SealedSecret, SecretEdit, Share, Store, StoreError, TokenEdit,
    Use,
};
use crate::credential::Digest;
use crate::model::{
    AppName, Deployment, DeploymentId, Email, EnvironmentName, Key, KeyId, Member, MemberName, SecretName,
    Token, TokenId,
};

/// A copy of the store in a file that is gone once this is.
#[derive(Debug)]
pub struct Backup {
    file: NamedTempFile,
    _turn: OwnedSemaphorePermit,
}

impl Backup {
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }
}

impl Store {
    /// Stores a token, where the limits allow one more.
    ///
    /// # Errors
    /// When it was refused or could not be written.
    pub async fn mint_token(&self, act: Act, new: NewToken, limits: Limits) -> Result<(Token, u64), NotDone> {
        self.0.writer.command(move |work| tokens::mint::mint(work, &act, &new, limits)).await
    }

    /// Uses a link that signs in, where it may be; what it was like before, `None` where there is none.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn spend_share(&self, act: Act, digest: Digest) -> Result<Option<Share>, NotDone> {
        self.0.writer.command(move |work| shares::spend(work, &act, &digest)).await
    }

    /// Stores a successor of a token, and brings the end of that one forward.
    ///
    /// # Errors
    /// When it was refused or could not be written.
    pub async fn rotate_token(
        &self,
        act: Act,
        new: Rotation,
        limits: Limits,
    ) -> Result<(Token, u64), NotDone> {
        self.0.writer.command(move |work| tokens::mint::rotate(work, &act, &new, limits)).await
    }

    /// # Errors
    /// When it was refused or could not be written.
    pub async fn edit_token(&self, act: Act, id: TokenId, edit: TokenEdit) -> Result<(Token, u64), NotDone> {
        self.0.writer.command(move |work| tokens::change::edit(work, &act, id, edit)).await
    }

    /// Revokes a token, once.
    ///
    /// # Errors
    /// When it was refused or could not be written.
    pub async fn revoke_token(
        &self,
        act: Act,
        id: TokenId,
        reason: Option<String>,
        outlets: Outlets,
    ) -> Result<Revocation<Token>, NotDone> {
        self.0
            .writer
            .command(move |work| tokens::change::revoke(work, &act, id, reason.as_deref(), outlets))
            .await
    }

    /// Revokes a token and deletes its row.
    ///
    /// # Errors
    /// When it was refused or could not be written.
    pub async fn delete_token(
        &self,
        act: Act,
        id: TokenId,
        outlets: Outlets,
    ) -> Result<Revocation<Token>, NotDone> {
        self.0.writer.command(move |work| tokens::change::delete(work, &act, id, outlets)).await
    }

    /// Stores a management key, and its member if that is new.
    ///
    /// # Errors
    /// When it was refused or could not be written.
    pub async fn mint_key(&self, act: Act, new: NewKey) -> Result<(Key, u64), NotDone> {
        self.0.writer.command(move |work| keys::mint(work, &act, &new)).await
    }

    /// Revokes a management key, once; `keep_an_admin`: unless no key were left that may do everything.
    ///
    /// # Errors
    /// When it was refused or could not be written.
    pub async fn revoke_key(
        &self,
        act: Act,
        id: KeyId,
        keep_an_admin: bool,
    ) -> Result<Revocation<Key>, NotDone> {
        self.0.writer.command(move |work| keys::revoke(work, &act, id, keep_an_admin)).await
    }

    /// # Errors
    /// When it was refused or could not be written.
    pub async fn add_member(
        &self,
        act: Act,
        name: MemberName,
        email: Option<Email>,
    ) -> Result<(Member, u64), NotDone> {
        self.0.writer.command(move |work| members::add(work, &act, &name, email.as_ref())).await
    }

    /// # Errors
    /// When it was refused or could not be written.
    pub async fn edit_member(
        &self,
        act: Act,
        name: MemberName,
        edit: MemberEdit,
    ) -> Result<(Member, u64), NotDone> {
        self.0.writer.command(move |work| members::edit(work, &act, &name, edit)).await
    }

    /// Removes a member with all that they made; `keep_an_admin`: unless nobody else could do everything.
    ///
    /// # Errors
    /// When it was refused or could not be written.
    pub async fn remove_member(
        &self,
        act: Act,
        name: MemberName,
        keep_an_admin: bool,
        outlets: Outlets,
    ) -> Result<Removal, NotDone> {
        self.0.writer.command(move |work| members::remove(work, &act, &name, keep_an_admin, outlets)).await
    }

    /// # Errors
    /// When it was refused or could not be written.
    pub async fn publish(&self, act: Act, new: NewDeployment) -> Result<Published, NotDone> {
        self.0.writer.command(move |work| deployments::publish(work, &act, &new)).await
    }

    /// Puts a deployment away.
    ///
    /// # Errors
    /// When it was refused or could not be written.
    pub async fn archive_deployment(
        &self,
        act: Act,
        app: AppName,
        environment: EnvironmentName,
        id: DeploymentId,
    ) -> Result<Deployment, NotDone> {
        self.0.writer.command(move |work| deployments::archive(work, &act, &app, &environment, &id)).await
    }

    /// Uses the switch of an environment; returns the revision at which that holds.
    ///
    /// # Errors
    /// When it was refused or could not be written.
    pub async fn switch_environment(
        &self,
        act: Act,
        app: AppName,
        environment: EnvironmentName,
        on: bool,
    ) -> Result<u64, NotDone> {
        self.0.writer.command(move |work| environments::switch(work, &act, &app, &environment, on)).await
    }

    /// Gives a name a value.
    ///
    /// # Errors
    /// When it was refused or could not be written.
    pub async fn put_secret(&self, act: Act, new: NewSecret) -> Result<(SealedSecret, u64), NotDone> {
        self.0.writer.command(move |work| secrets::put(work, &act, &new)).await
    }

    /// # Errors
    /// When it was refused or could not be written.
    pub async fn edit_secret(
        &self,
        act: Act,
        name: SecretName,
        edit: SecretEdit,
    ) -> Result<(SealedSecret, u64), NotDone> {
        self.0.writer.command(move |work| secrets::edit(work, &act, &name, &edit)).await
    }

    /// Revokes a secret's value, once.
    ///
    /// # Errors
    /// When it was refused or could not be written.
    pub async fn revoke_secret(
        &self,
        act: Act,
        name: SecretName,
    ) -> Result<Revocation<SealedSecret>, NotDone> {
        self.0.writer.command(move |work| secrets::revoke(work, &act, &name)).await
    }

    /// # Errors
    /// When it was refused or could not be written.
    pub async fn delete_secret(&self, act: Act, name: SecretName) -> Result<(SealedSecret, u64), NotDone> {
        self.0.writer.command(move |work| secrets::delete(work, &act, &name)).await
    }

    /// Seals every secret under another key, all of them or none; returns how many.
    ///
    /// # Errors
    /// When it was refused, one of them does not open, or it could not be written.
    pub async fn rekey_secrets(&self, act: Act, key: String, mut reseal: Reseal) -> Result<u64, NotDone> {
        self.0.writer.command(move |work| secrets::rekey(work, &act, &key, &mut reseal)).await
    }

    /// Notes in the audit log that the configuration was read again, and which keys that changed.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn note_reload(&self, act: Act, changed: Vec<String>) -> Result<(), NotDone> {
        self.0.writer.command(move |work| audit::reload(work, &act, &changed)).await
    }

    /// Notes in the audit log that somebody signed in to the dashboard.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn note_sign_in(&self, act: Act) -> Result<(), NotDone> {
        self.0.writer.command(move |work| audit::sign_in(work, &act)).await
    }

    /// Notes in the audit log that somebody ended all sessions of the dashboard, and how many those were.
    ///
    /// # Errors
    /// When it could not be written.
    pub async fn note_signed_out(&self, act: Act, sessions: u64) -> Result<(), NotDone> {
        self.0.writer.command(move |work| audit::signed_out(work, &act, sessions)).await
    }

    /// Deletes, in small pieces, the tokens that ended at or before `cutoff`; returns how many.
    ///
    /// # Errors
    /// When a piece could not be written; earlier pieces stay done.
    pub async fn forget_ended(&self, cutoff: Timestamp) -> Result<u64, StoreError> {
        const LOOK: usize = 1024;
        let mut done = 0;
        loop {
            let ended = self.0.upkeep.read(move |conn| tokens::list::ended(conn, cutoff, LOOK)).await?;
            if ended.is_empty() {
                return Ok(done);
            }
            done += self.0.writer.bulk(tokens::upkeep::Forget::new(ended)).await?;
        }
    }

    /// Notes, once each, which tokens in use end by `end`, and has their owners told; returns how many.
    ///
    /// # Errors
    /// When not all could be written; what was noted is.
    pub async fn note_ending(
        &self,
        now: Timestamp,
        end: Timestamp,
        ahead: Ahead,
        outlets: Outlets,
    ) -> Result<u64, StoreError> {
        const LOOK: usize = 1024;
        let mut done = 0;
        loop {
            let ending =
                self.0.upkeep.read(move |conn| tokens::list::ending(conn, now, end, ahead, LOOK)).await?;
            if ending.is_empty() {
                return Ok(done);
            }
            done += self.0.writer.bulk(tokens::upkeep::NoteEnding::new(ending, now, ahead, outlets)).await?;
        }
    }

    /// Forgets which calls were made, once a repeat is none any more.
    ///
    /// # Errors
    /// When a piece could not be written; earlier pieces stay done.
    pub async fn trim_repeats(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.0.writer.bulk(repeats::Trim::new(now)).await
    }

    /// Notes when tokens were last used, behind every other write and without a revision.
    ///
    /// # Errors
    /// When not all could be written; noting them again is harmless.
    pub async fn note_last_uses(&self, uses: Vec<Use<TokenId>>) -> Result<(), StoreError> {
        self.0.writer.bulk(tokens::upkeep::LastUses::new(uses)).await.map(drop)
    }

    /// Notes what was seen to have ended since the last call, if anything was.
    ///
    /// # Errors
    /// When not all could be written; the next call tries again.
    pub async fn note_sightings(&self) -> Result<(), StoreError> {
        let Some(changes) = self.0.hindsight.changes() else { return Ok(()) };
        let written = self.0.writer.bulk(sightings::Keep::new(changes.clone())).await;
        if written.is_err() {
            self.0.hindsight.unsaved(changes);
        }
        written.map(drop)
    }

    /// The same of management keys.
    ///
    /// # Errors
    /// When not all could be written; noting them again is harmless.
    pub async fn note_key_uses(&self, uses: Vec<Use<KeyId>>) -> Result<(), StoreError> {
        self.0.writer.bulk(keys::LastUses::new(uses)).await.map(drop)
    }

    /// Copies the whole store as it is now; `None` while as many copies are made or handed over as may be.
    ///
    /// # Errors
    /// When it could not be read, or the copy not be written.
    pub async fn backup(&self, act: Act) -> Result<Option<Backup>, NotDone> {
        let Ok(turn) = self.0.backups.clone().try_acquire_owned() else { return Ok(None) };
        self.0.writer.command(move |work| backup::note(work, &act)).await?;
        let path = self.0.path.clone();
        let copying = tokio::task::spawn_blocking(move || backup::copy(&path));
        let file = copying.await.unwrap_or_else(|e| Err(StoreError::gave_up(&e)))?;
        Ok(Some(Backup { file, _turn: turn }))
    }
}
