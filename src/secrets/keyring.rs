//! The keys that this process holds: the one that seals, and those that still open while it is being changed.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use super::key::{Key, KeyError, KeyFile};
use super::seal::{OpenError, Owner, SealError, Sealer};
use super::value::Value;
use crate::model::Sealed;

/// The keys. Clones share them.
#[derive(Clone, Debug)]
pub struct Keyring(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: KeyFile,
    held: ArcSwap<Held>,
    making: Mutex<()>,
    changing: Arc<Turn<()>>,
}

#[derive(Clone, Debug, Default)]
struct Held {
    /// `None`: none was made yet.
    current: Option<Arc<Sealer>>,
    /// What was in use, or is to be next.
    others: Vec<Arc<Sealer>>,
}

/// A change of the key under way. There is one at a time; what was prepared and not finished is put away at the next
/// start.
#[derive(Debug)]
pub struct Change {
    keyring: Keyring,
    next: Arc<Sealer>,
    _turn: OwnedMutexGuard<()>,
}

impl Keyring {
    /// The keys in `file`, if there are any yet.
    ///
    /// # Errors
    /// When the file cannot be read or holds something else.
    pub fn open(file: KeyFile) -> Result<Self, KeyError> {
        let current = file.read()?.map(|key| Arc::new(Sealer::new(&key)));
        let others = file.read_next()?.map(|key| Arc::new(Sealer::new(&key))).into_iter().collect();
        let held = ArcSwap::from_pointee(Held { current, others });
        Ok(Self(Arc::new(Inner { file, held, making: Mutex::default(), changing: Arc::default() })))
    }

    #[must_use]
    pub fn file(&self) -> &KeyFile {
        &self.0.file
    }

    /// Brings a change to its end that was broken off. `sealed_under`: the key that everything stored is sealed with.
    ///
    /// # Errors
    /// When the files cannot be put right.
    pub fn settle(&self, sealed_under: Option<&str>) -> Result<(), KeyError> {
        let held = self.0.held.load_full();
        let Some(next) = held.others.first() else { return Ok(()) };
        if sealed_under == Some(next.id().as_str()) {
            self.0.file.take_next()?;
            tracing::info!(key = %next.id(), "a change of the key had been broken off: the new key is in place now");
            self.0.held.store(Arc::new(Held { current: Some(next.clone()), others: Vec::new() }));
        } else {
            self.0.file.drop_next()?;
            tracing::info!(
                "a change of the key had been broken off before anything was sealed with the new one"
            );
            self.0.held.store(Arc::new(Held { others: Vec::new(), ..(*held).clone() }));
        }
        Ok(())
    }

    /// Whether there is no key yet, not even a next one.
    #[must_use]
    pub fn holds_none(&self) -> bool {
        let held = self.0.held.load();
        held.current.is_none() && held.others.is_empty()
    }

    /// Seals a value; makes the key where there is none yet.
    ///
    /// # Errors
    /// When there is no key and none can be made, or no randomness.
    pub fn seal(&self, owner: Owner<'_>, value: &Value) -> Result<Sealed, SealError> {
        self.current()?.seal(owner, value)
    }

    /// Opens what was sealed for `owner`.
    ///
    /// # Errors
    /// When it was sealed with an unknown key, or for another.
    pub fn unseal(&self, owner: Owner<'_>, sealed: &Sealed) -> Result<Value, OpenError> {
        let held = self.0.held.load();
        let all = held.current.iter().chain(&held.others);
        let sealer = all.into_iter().find(|sealer| sealer.id().as_str() == sealed.key);
        sealer.ok_or(OpenError::OtherKey)?.open(owner, sealed)
    }

    /// Makes another key, puts it beside the one in use, and waits for whoever does the same.
    ///
    /// # Errors
    /// When the key cannot be made or written down.
    pub async fn change(&self) -> Result<Change, KeyError> {
        let turn = self.0.changing.clone().lock_owned().await;
        // Without one in use there would be nothing for the next to take the place of.
        let current = self.current()?;
        // What waits there may be the only copy of a key that something is sealed with.
        match self.0.file.read_next()? {
            Some(next) if next.id() == *current.id() => self.0.file.take_next()?,
            Some(_) => return Err(KeyError::Unsettled),
            None => {}
        }
        let key = Key::generate()?;
        self.0.file.write_next(&key)?;
        let next = Arc::new(Sealer::new(&key));
        let held = self.0.held.load_full();
        let others = held.others.iter().cloned().chain([next.clone()]).collect();
        self.0.held.store(Arc::new(Held { others, ..(*held).clone() }));
        Ok(Change { keyring: self.clone(), next, _turn: turn })
    }

    fn current(&self) -> Result<Arc<Sealer>, KeyError> {
        if let Some(current) = &self.0.held.load().current {
            return Ok(current.clone());
        }
        let _making = self.0.making.lock().unwrap_or_else(PoisonError::into_inner);
        let held = self.0.held.load_full();
        if let Some(current) = &held.current {
            return Ok(current.clone());
        }
        let made = Arc::new(Sealer::new(&self.0.file.read_or_make()?));
        self.0.held.store(Arc::new(Held { current: Some(made.clone()), ..(*held).clone() }));
        Ok(made)
    }
}

impl Change {
    /// Which key the next one is.
    #[must_use]
    pub fn next(&self) -> &str {
        self.next.id().as_str()
    }

    /// Opens what is sealed and seals it under the next key.
    ///
    /// # Errors
    /// With the error in words: it does not open, or there is no randomness.
    pub fn reseal(&self, owner: Owner<'_>, sealed: &Sealed) -> Result<Sealed, String> {
        let value = self.keyring.unseal(owner, sealed).map_err(|e| e.to_string())?;
        self.next.seal(owner, &value).map_err(|e| e.to_string())
    }

    /// Everything is sealed under the next key: puts it in the place of the one in use.
    ///
    /// # Errors
    /// When the file cannot be replaced. The next key stays beside it, and the next start tries again.
    pub fn finish(&self) -> Result<(), KeyError> {
        let held = self.keyring.0.held.load_full();
        // What was read before the change is opened by what was in use then.
        let others = held.current.iter().cloned().collect();
        self.keyring.0.held.store(Arc::new(Held { current: Some(self.next.clone()), others }));
        self.keyring.0.file.take_next()
    }

    /// Nothing was sealed under the next key: puts it away.
    pub fn abandon(&self) {
        let held = self.keyring.0.held.load_full();
        let others = held.others.iter().filter(|other| !Arc::ptr_eq(other, &self.next)).cloned().collect();
        self.keyring.0.held.store(Arc::new(Held { others, ..(*held).clone() }));
        if let Err(e) = self.keyring.0.file.drop_next() {
            tracing::warn!("a key that was not taken into use stays beside the key file: {e}");
        }
    }
}
