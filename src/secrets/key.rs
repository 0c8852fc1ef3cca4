//! The key file: 32 bytes that never enter the database, and the subkeys that are derived from them.
//!
//! While the key is being changed there are two files: the key that is in use, and beside it the next one (`.next`),
//! which takes its place once everything is sealed under it. At every moment the two open all there is.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Bytes of a key.
const LENGTH: usize = 32;
/// What the next key's file is called beside the key's own.
const NEXT: &str = ".next";
/// Where systemd puts what it was told to hand over, and what it is called there.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
const CREDENTIAL: &str = "portcullis.key";

/// A key as the file holds it. It seals nothing itself: what does is derived from it, for one purpose each.
pub struct Key(Zeroizing<[u8; LENGTH]>);

/// Tells one key from another and says nothing about either.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyId(String);

/// Where a key is kept.
#[derive(Clone, Debug)]
pub struct KeyFile {
    path: PathBuf,
    /// Somebody else put it there, for us to read.
    handed_over: bool,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the key file `{path}` cannot be read: {cause}")]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error("the key file `{path}` cannot be written: {cause}")]
    Unwritable { path: PathBuf, cause: io::Error },
    #[error(
        "the key file `{path}` does not hold {LENGTH} bytes, as a key does: put the right file there, or take it away \
         where nothing was sealed with it yet"
    )]
    Malformed { path: PathBuf },
    #[error("an earlier change of the key came to no clear end: restart the gateway, which brings it to one")]
    Unsettled,
    #[error("the operating system gives no randomness for a key: {0}")]
    NoRandomness(#[from] getrandom::Error),
}

impl Key {
    /// A new one from the operating system's generator.
    ///
    /// # Errors
    /// When that gives nothing.
    pub fn generate() -> Result<Self, KeyError> {
        let mut key = Zeroizing::new([0; LENGTH]);
        getrandom::fill(&mut *key)?;
        Ok(Self(key))
    }

    /// The key for one purpose, which `label` names. None of them tells anything about another.
    #[must_use]
    pub fn derive(&self, label: &str) -> Zeroizing<[u8; LENGTH]> {
        let mut subkey = Zeroizing::new([0; LENGTH]);
        // It fails for lengths only that no key has.
        let expanded = Hkdf::<Sha256>::new(None, &*self.0).expand(label.as_bytes(), &mut *subkey);
        debug_assert!(expanded.is_ok());
        subkey
    }

    #[must_use]
    pub fn id(&self) -> KeyId {
        let id = self.derive("portcullis key id");
        KeyId(id.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
    }

    fn read(path: &Path) -> Result<Option<Self>, KeyError> {
        let unreadable = |cause| KeyError::Unreadable { path: path.to_owned(), cause };
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(unreadable(e)),
        };
        // One more than there may be, so that a longer file is told from a key.
        let mut bytes = Zeroizing::new([0; LENGTH + 1]);
        let mut filled = 0;
        while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
            match file.read(room) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(unreadable(e)),
            }
        }
        let mut key = Zeroizing::new([0; LENGTH]);
        if filled != LENGTH {
            return Err(KeyError::Malformed { path: path.to_owned() });
        }
        key.copy_from_slice(&bytes[..LENGTH]);
        Ok(Some(Self(key)))
    }
}

impl KeyFile {
    /// The file at `path`.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), handed_over: false }
    }

    /// The file that the service manager handed over, where nobody named one and there is one; else the one at `path`.
    #[must_use]
    pub fn find(path: &Path, named: bool) -> Self {
        let credential = std::env::var_os(CREDENTIALS).map(|folder| Path::new(&folder).join(CREDENTIAL));
        match credential.filter(|credential| !named && credential.exists()) {
            Some(path) => Self { path, handed_over: true },
            None => Self::at(path),
        }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key; `None` where there is no file.
    ///
    /// # Errors
    /// When the file cannot be read or holds something else.
    pub fn read(&self) -> Result<Option<Key>, KeyError> {
        Key::read(&self.path)
    }

    /// Closes the file to others, where it is ours, or says that it is open to them.
    pub fn restrict(&self) {
        if !self.handed_over {
            restrict(&self.path);
        }
    }

    /// The key, made where there is no file. One that is there is never written over.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds something else.
    pub fn read_or_make(&self) -> Result<Key, KeyError> {
        if let Some(key) = self.read()? {
            return Ok(key);
        }
        let key = Key::generate()?;
        match write(&self.path, &key, false) {
            Ok(()) => {
                tracing::info!(path = %self.path.display(), "a key was made: keep a copy of it apart from the store's");
                Ok(key)
            }
            // Somebody was faster.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                self.read()?.ok_or_else(|| self.unwritable(e))
            }
            Err(e) => Err(self.unwritable(e)),
        }
    }

    /// The next key, where changing the key was broken off.
    ///
    /// # Errors
    /// When its file cannot be read or holds something else.
    pub fn read_next(&self) -> Result<Option<Key>, KeyError> {
        Key::read(&self.next())
    }

    /// Puts the next key beside the one in use.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_next(&self, key: &Key) -> Result<(), KeyError> {
        let next = self.next();
        write(&next, key, true).map_err(|cause| KeyError::Unwritable { path: next, cause })
    }

    /// Puts the next key in the place of the one in use.
    ///
    /// # Errors
    /// When the file cannot be replaced.
    pub fn take_next(&self) -> Result<(), KeyError> {
        let path = self.real();
        let taken = fs::rename(self.next(), &path).and_then(|()| settle(&path));
        taken.map_err(|cause| self.unwritable(cause))
    }

    /// Removes the next key, under which nothing is sealed.
    ///
    /// # Errors
    /// When its file cannot be removed.
    pub fn drop_next(&self) -> Result<(), KeyError> {
        match fs::remove_file(self.next()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(self.unwritable(e)),
            _ => Ok(()),
        }
    }

    /// Without symbolic links: what is replaced is the file, not the link to it.
    fn real(&self) -> PathBuf {
        self.path.canonicalize().unwrap_or_else(|_| self.path.clone())
    }

    fn next(&self) -> PathBuf {
        let mut name = OsString::from(self.real());
        name.push(NEXT);
        name.into()
    }

    fn unwritable(&self, cause: io::Error) -> KeyError {
        KeyError::Unwritable { path: self.path.clone(), cause }
    }
}

impl KeyId {
    /// As it was written down.
    #[must_use]
    pub fn stored(text: String) -> Self {
        Self(text)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Shows which key it is and nothing of it.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.id()).finish()
    }
}

/// Writes a key so that its file is there whole or not at all, readable by its owner alone from the first byte on.
fn write(path: &Path, key: &Key, replace: bool) -> io::Result<()> {
    let mut file = tempfile::Builder::new().prefix(".portcullis-key-").tempfile_in(folder(path))?;
    file.write_all(&*key.0)?;
    file.as_file().sync_all()?;
    let kept = if replace { file.persist(path) } else { file.persist_noclobber(path) };
    kept.map_err(|e| e.error)?;
    settle(path)
}

/// Sees to it that what was put at `path` is there after a crash as well.
fn settle(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn restrict(path: &Path) {
    let Ok(mode) = fs::metadata(path).map(|metadata| metadata.permissions().mode()) else { return };
    if mode & 0o077 == 0 {
        return;
    }
    match fs::set_permissions(path, Permissions::from_mode(0o600)) {
        Ok(()) => {
            tracing::warn!(path = %path.display(), "others could read or write the key file: set to mode 0600")
        }
        Err(e) => tracing::warn!(path = %path.display(), error = %e, "others can read or write the key file"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, KeyFile) {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::at(&folder.path().join("portcullis.key"));
        (folder, file)
    }

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let (folder, file) = place();
        assert!(file.read().unwrap().is_none());
        let made = file.read_or_make().unwrap().id();
        assert_eq!(file.read_or_make().unwrap().id(), made);
        let mode = fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::set_permissions(file.path(), Permissions::from_mode(0o644)).unwrap();
        file.restrict();
        assert_eq!(file.read().unwrap().unwrap().id(), made);
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_is_no_key_is_left_as_it_is() {
        let (_folder, file) = place();
        for wrong in [&b""[..], &[7; 31], &[7; 33]] {
            fs::write(file.path(), wrong).unwrap();
            assert!(matches!(file.read_or_make(), Err(KeyError::Malformed { .. })));
            assert_eq!(fs::read(file.path()).unwrap(), wrong);
        }
        let (_folder, file) = place();
        fs::create_dir(file.path()).unwrap();
        assert!(matches!(file.read_or_make(), Err(KeyError::Unreadable { .. })));
    }

    #[test]
    fn each_purpose_has_a_key_of_its_own() {
        let key = Key(Zeroizing::new([7; LENGTH]));
        assert_eq!(*key.derive("a"), *key.derive("a"));
        assert_ne!(*key.derive("a"), *key.derive("b"));
        assert_ne!(*key.derive("a"), *key.0);
        assert!(!format!("{key:?}").contains("7, 7"));
    }

    #[test]
    fn the_next_key_takes_the_place_of_the_first() {
        let (folder, file) = place();
        let link = folder.path().join("link.key");
        let first = file.read_or_make().unwrap().id();
        std::os::unix::fs::symlink(file.path(), &link).unwrap();
        let linked = KeyFile::at(&link);
        let next = Key::generate().unwrap();
        linked.write_next(&next).unwrap();
        assert_eq!(file.read_next().unwrap().unwrap().id(), next.id());
        assert_eq!(file.read().unwrap().unwrap().id(), first);
        linked.take_next().unwrap();
        assert_eq!(file.read().unwrap().unwrap().id(), next.id());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(file.read_next().unwrap().is_none());
        file.drop_next().unwrap();
    }
}
