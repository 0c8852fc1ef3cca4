//! Sealing: XChaCha20-Poly1305 under a key derived from the key file's. What a value belongs to is sealed in with it, so
//! that it opens nowhere else: not under another name, for other places, or sent to another token endpoint.

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::key::{Key, KeyError, KeyId};
use super::value::Value;
use crate::model::{Grant, Sealed, Secret, SecretKind, SecretName, SecretScope};

/// What the sealing key is derived for.
const LABEL: &str = "portcullis upstream secrets";
/// How sealed values are laid out: this byte, the nonce, the ciphertext with its tag.
const LAYOUT: u8 = 1;
const NONCE: usize = 24;

/// What a value belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    pub name: &'a SecretName,
    pub kind: SecretKind,
    pub scope: &'a SecretScope,
    pub grant: Option<&'a Grant>,
}

/// A key that seals.
pub(super) struct Sealer {
    id: KeyId,
    cipher: XChaCha20Poly1305,
}

/// Why a value was not sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the operating system gives no randomness: {0}")]
    NoRandomness(#[from] getrandom::Error),
    #[error("the value is too long to be sealed")]
    TooLong,
}

/// Why a value was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("it is sealed with another key than the key file holds")]
    OtherKey,
    #[error("what is stored is not what was sealed for it")]
    Altered,
}

impl Sealer {
    pub(super) fn new(key: &Key) -> Self {
        Self { id: key.id(), cipher: XChaCha20Poly1305::new((&*key.derive(LABEL)).into()) }
    }

    pub(super) fn id(&self) -> &KeyId {
        &self.id
    }

    pub(super) fn seal(&self, owner: Owner<'_>, value: &Value) -> Result<Sealed, SealError> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce)?;
        let payload = Payload { msg: value.reveal(), aad: &owner.described() };
        let ciphertext =
            self.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::TooLong)?;
        let bytes = [&[LAYOUT][..], &nonce, &ciphertext].concat();
        Ok(Sealed { key: self.id.as_str().to_owned(), bytes })
    }

    pub(super) fn open(&self, owner: Owner<'_>, sealed: &Sealed) -> Result<Value, OpenError> {
        if sealed.key != self.id.as_str() {
            return Err(OpenError::OtherKey);
        }
        let laid_out = sealed.bytes.split_first().filter(|(layout, _)| **layout == LAYOUT);
        let (nonce, ciphertext) =
            laid_out.and_then(|(_, rest)| rest.split_first_chunk::<NONCE>()).ok_or(OpenError::Altered)?;
        let payload = Payload { msg: ciphertext, aad: &owner.described() };
        let opened = self.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| OpenError::Altered)?;
        Ok(Value::new(Zeroizing::new(opened)))
    }
}

impl<'a> Owner<'a> {
    #[must_use]
    pub fn of(secret: &'a Secret) -> Self {
        Self { name: &secret.name, kind: secret.kind, scope: &secret.scope, grant: secret.grant.as_ref() }
    }

    /// Every part with its length before it, so that no two owners read the same.
    fn described(&self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut list = |parts: &[&str]| {
            all.extend_from_slice(&(parts.len() as u64).to_le_bytes());
            for part in parts {
                all.extend_from_slice(&(part.len() as u64).to_le_bytes());
                all.extend_from_slice(part.as_bytes());
            }
        };
        let SecretScope { apps, products, environments } = self.scope;
        list(&[self.name.as_str(), self.kind.as_str()]);
        list(&apps.iter().map(|name| name.as_str()).collect::<Vec<_>>());
        list(&products.iter().map(|name| name.as_str()).collect::<Vec<_>>());
        list(&environments.iter().map(|name| name.as_str()).collect::<Vec<_>>());
        match self.grant {
            None => list(&[]),
            Some(grant) => {
                list(&[&grant.token_url.to_string(), &grant.client_id, grant.auth.as_str()]);
                list(&grant.scopes.iter().map(String::as_str).collect::<Vec<_>>());
            }
        }
        all
    }
}

/// Shows which key it is and nothing of it.
impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sealer").field(&self.id).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AppName, ClientAuth, TokenUrl};

    fn name(name: &str) -> SecretName {
        SecretName::parse(name).unwrap()
    }

    fn grant(url: &str) -> Grant {
        let token_url = TokenUrl::parse(url).unwrap();
        Grant { token_url, client_id: "a".to_owned(), scopes: Vec::new(), auth: ClientAuth::Basic }
    }

    #[test]
    fn a_value_opens_for_its_owner_alone() {
        let sealer = Sealer::new(&Key::generate().unwrap());
        let (shop, blog) = (AppName::parse("shop").unwrap(), AppName::parse("blog").unwrap());
        let (own, other) = (name("A"), name("B"));
        let scope = SecretScope { apps: vec![shop.clone()], ..SecretScope::default() };
        let (here, there) = (grant("https://a.example/"), grant("https://b.example/"));
        let owner = Owner { name: &own, kind: SecretKind::ApiKey, scope: &scope, grant: Some(&here) };
        let sealed = sealer.seal(owner, &Value::copied("hunter2")).unwrap();
        assert_eq!(sealer.open(owner, &sealed).unwrap().reveal(), b"hunter2");
        assert!(!sealed.bytes.windows(7).any(|part| part == b"hunter2"));
        let again = sealer.seal(owner, &Value::copied("hunter2")).unwrap();
        assert_ne!(sealed.bytes, again.bytes, "no two are sealed alike");

        let wider = SecretScope { apps: vec![shop.clone(), blog], ..SecretScope::default() };
        let moved = SecretScope { products: vec![shop], ..SecretScope::default() };
        for stranger in [
            Owner { name: &other, ..owner },
            Owner { kind: SecretKind::Credential, ..owner },
            Owner { scope: &wider, ..owner },
            Owner { scope: &moved, ..owner },
            Owner { grant: None, ..owner },
            Owner { grant: Some(&there), ..owner },
        ] {
            assert_eq!(sealer.open(stranger, &sealed).err(), Some(OpenError::Altered), "{stranger:?}");
        }
    }

    #[test]
    fn nothing_else_opens() {
        let sealer = Sealer::new(&Key::generate().unwrap());
        let (own, scope) = (name("A"), SecretScope::default());
        let owner = Owner { name: &own, kind: SecretKind::ApiKey, scope: &scope, grant: None };
        let sealed = sealer.seal(owner, &Value::copied("hunter2")).unwrap();
        let open = |bytes: Vec<u8>| sealer.open(owner, &Sealed { bytes, ..sealed.clone() });
        for length in 0..sealed.bytes.len() {
            assert!(open(sealed.bytes[..length].to_vec()).is_err(), "cut to {length}");
        }
        for place in 0..sealed.bytes.len() {
            let mut bytes = sealed.bytes.clone();
            bytes[place] ^= 1;
            assert!(open(bytes).is_err(), "changed at {place}");
        }
        assert!(open([&sealed.bytes[..], b"\0"].concat()).is_err());
        let another = Sealer::new(&Key::generate().unwrap());
        assert_eq!(another.open(owner, &sealed).err(), Some(OpenError::OtherKey));
        let claimed = Sealed { key: another.id().as_str().to_owned(), ..sealed };
        assert_eq!(another.open(owner, &claimed).err(), Some(OpenError::Altered));
    }
}
