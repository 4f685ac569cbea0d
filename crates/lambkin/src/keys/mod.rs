//! The lasting access keys: the root key, and those that `lambkin keys` adds.
//!
//! Added keys are metadata records with a sealed secret. A change is on disk before it takes effect, and
//! in effect before it is acknowledged.

pub(crate) mod command;
mod seal;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use lambkin_core::Clock;
use lambkin_core::metadata::{Expect, MetadataStore, Record, Revision, StoreError, Write};
use lambkin_model::Caller;
use lambkin_wire::{Authenticator, Lookup, Secret};
use serde::{Deserialize, Serialize};

use self::seal::{Seal, SealError};
use crate::credentials::{RootKey, new_access_key_id, new_secret};

/// Kind of the metadata records.
const KIND: &str = "access-key";
/// Longest description, characters.
const MAX_DESCRIPTION: usize = 256;

/// Why a change of keys is refused or failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// Not an account id.
    #[error("an account id has 12 digits, {0:?} does not")]
    Account(String),
    /// Too long, or not one line.
    #[error("a description is one line of at most {MAX_DESCRIPTION} characters")]
    Description,
    /// No such key.
    #[error("there is no access key {0}")]
    Unknown(String),
    /// What is not done to the root key.
    #[error("{0} is the root key: it can't be removed or disabled; `lambkin keys rotate-root` replaces it")]
    Root(String),
    /// The secrets can't be sealed or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The root key can't be made or written.
    #[error("{0:#}")]
    RootFile(anyhow::Error),
}

/// A key as it is stored.
#[derive(Clone, Serialize, Deserialize)]
struct StoredKey {
    account: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// Milliseconds since the epoch.
    created: i64,
    enabled: bool,
    /// The secret, sealed for the access key id.
    sealed: String,
}

/// A key with its secret, as it is shown once.
#[derive(Serialize, Deserialize)]
pub(crate) struct NewKey {
    pub(crate) account: String,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
}

impl From<RootKey> for NewKey {
    fn from(key: RootKey) -> Self {
        Self {
            account: key.account_id,
            access_key_id: key.access_key_id,
            secret_access_key: key.secret_access_key,
        }
    }
}

/// A key as it is listed.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyView {
    pub(crate) access_key_id: String,
    pub(crate) account: String,
    pub(crate) status: Status,
    /// In UTC, as RFC 3339 has it; not known of the root key.
    pub(crate) created: Option<String>,
    pub(crate) description: Option<String>,
}

/// What a key is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// The key that can't be removed.
    Root,
    /// Signs requests.
    Enabled,
    /// Known, but refused.
    Disabled,
    /// Its secret can't be read.
    Unreadable,
}

struct Held {
    stored: StoredKey,
    revision: Revision,
    /// `None` if it can't be read.
    secret: Option<Secret>,
    caller: Arc<Caller>,
}

struct Root {
    key: RootKey,
    secret: Secret,
    caller: Arc<Caller>,
}

impl Root {
    fn new(key: RootKey) -> Self {
        let secret = Secret::from(key.secret_access_key.as_str());
        let caller = caller(&key.account_id, &key.access_key_id);
        Self { key, secret, caller }
    }
}

struct State {
    root: Root,
    keys: BTreeMap<String, Held>,
}

/// All lasting keys. Looks up from memory.
pub(crate) struct KeyRing {
    store: Arc<dyn MetadataStore>,
    clock: Arc<dyn Clock>,
    seal: Seal,
    data_dir: PathBuf,
    state: RwLock<State>,
    // One change at a time.
    changing: tokio::sync::Mutex<()>,
}

fn caller(account: &str, access_key_id: &str) -> Arc<Caller> {
    Arc::new(Caller::root(account, access_key_id))
}

impl KeyRing {
    /// Reads the keys of a data folder that this process has locked.
    pub(crate) async fn open(
        data_dir: &Path,
        root: RootKey,
        store: Arc<dyn MetadataStore>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, KeyError> {
        let records = store.scan(KIND, "").await?;
        let seal = Seal::open(data_dir, records.is_empty())?;
        let mut keys = BTreeMap::new();
        for record in records {
            let Record { key: id, revision, value, .. } = record;
            let stored: StoredKey = serde_json::from_slice(&value)
                .map_err(|error| StoreError::Failed(format!("access key {id}: {error}")))?;
            let secret = match seal.open_text(&id, &stored.sealed) {
                Ok(secret) => Some(Secret::from(secret.as_str())),
                Err(error) => {
                    tracing::error!(access_key_id = id, %error, "an access key can't be used; remove it");
                    None
                }
            };
            let caller = caller(&stored.account, &id);
            keys.insert(id, Held { stored, revision, secret, caller });
        }
        let state = RwLock::new(State { root: Root::new(root), keys });
        let changing = tokio::sync::Mutex::new(());
        Ok(Self { store, clock, seal, data_dir: data_dir.to_owned(), state, changing })
    }

    /// Adds a key, of the root key's account unless another one is given.
    pub(crate) async fn add(
        &self,
        account: Option<String>,
        description: Option<String>,
    ) -> Result<NewKey, KeyError> {
        let _changing = self.changing.lock().await;
        let account = account.unwrap_or_else(|| self.read(|state| state.root.key.account_id.clone()));
        if !is_account_id(&account) {
            return Err(KeyError::Account(account));
        }
        let description = description.filter(|text| !text.is_empty());
        if description
            .as_ref()
            .is_some_and(|text| text.chars().count() > MAX_DESCRIPTION || text.chars().any(char::is_control))
        {
            return Err(KeyError::Description);
        }
        let access_key_id = new_access_key_id().map_err(KeyError::RootFile)?;
        let secret_access_key = new_secret().map_err(KeyError::RootFile)?;
        let stored = StoredKey {
            account: account.clone(),
            description,
            created: self.clock.now_ms(),
            enabled: true,
            sealed: self.seal.seal(&access_key_id, &secret_access_key)?,
        };
        let revision = self.write(&access_key_id, Expect::Absent, Some(&stored)).await?;
        let held = Held {
            stored,
            revision,
            secret: Some(Secret::from(secret_access_key.as_str())),
            caller: caller(&account, &access_key_id),
        };
        self.change(|state| state.keys.insert(access_key_id.clone(), held));
        tracing::info!(access_key_id, account, "access key added");
        Ok(NewKey { account, access_key_id, secret_access_key })
    }

    /// All keys: the root key, then the others by id.
    pub(crate) fn list(&self) -> Vec<KeyView> {
        self.read(|state| {
            let root = KeyView {
                access_key_id: state.root.key.access_key_id.clone(),
                account: state.root.key.account_id.clone(),
                status: Status::Root,
                created: None,
                description: None,
            };
            let others = state.keys.iter().map(|(id, held)| KeyView {
                access_key_id: id.clone(),
                account: held.stored.account.clone(),
                status: match held {
                    Held { secret: None, .. } => Status::Unreadable,
                    held if held.stored.enabled => Status::Enabled,
                    _ => Status::Disabled,
                },
                created: Timestamp::from_second(held.stored.created.div_euclid(1000))
                    .ok()
                    .map(|time| time.to_string()),
                description: held.stored.description.clone(),
            });
            std::iter::once(root).chain(others).collect()
        })
    }

    /// Removes a key for good.
    pub(crate) async fn remove(&self, access_key_id: &str) -> Result<(), KeyError> {
        let _changing = self.changing.lock().await;
        let (_, revision) = self.find(access_key_id)?;
        self.write(access_key_id, Expect::At(revision), None).await?;
        self.change(|state| state.keys.remove(access_key_id));
        tracing::info!(access_key_id, "access key removed");
        Ok(())
    }

    /// Lets a key sign requests, or no longer.
    pub(crate) async fn set_enabled(&self, access_key_id: &str, enabled: bool) -> Result<(), KeyError> {
        let _changing = self.changing.lock().await;
        let (mut stored, revision) = self.find(access_key_id)?;
        if stored.enabled == enabled {
            return Ok(());
        }
        stored.enabled = enabled;
        let revision = self.write(access_key_id, Expect::At(revision), Some(&stored)).await?;
        self.change(|state| {
            if let Some(held) = state.keys.get_mut(access_key_id) {
                (held.stored, held.revision) = (stored, revision);
            }
        });
        tracing::info!(access_key_id, enabled, "access key changed");
        Ok(())
    }

    /// Replaces the root key; the old one is refused from then on.
    pub(crate) async fn rotate_root(&self) -> Result<NewKey, KeyError> {
        let _changing = self.changing.lock().await;
        let account = self.read(|state| state.root.key.account_id.clone());
        let data_dir = self.data_dir.clone();
        let replaced = tokio::task::spawn_blocking(move || RootKey::replace(&data_dir, &account)).await;
        let key = replaced.map_err(anyhow::Error::from).flatten().map_err(KeyError::RootFile)?;
        self.change(|state| state.root = Root::new(key.clone()));
        tracing::info!(access_key_id = key.access_key_id, "root key replaced");
        Ok(key.into())
    }

    fn find(&self, access_key_id: &str) -> Result<(StoredKey, Revision), KeyError> {
        self.read(|state| {
            if access_key_id == state.root.key.access_key_id {
                return Err(KeyError::Root(access_key_id.to_owned()));
            }
            let held = state.keys.get(access_key_id);
            let held = held.ok_or_else(|| KeyError::Unknown(access_key_id.to_owned()))?;
            Ok((held.stored.clone(), held.revision))
        })
    }

    async fn write(
        &self,
        access_key_id: &str,
        expect: Expect,
        stored: Option<&StoredKey>,
    ) -> Result<Revision, KeyError> {
        let value = stored.map(serde_json::to_vec).transpose();
        let value = value.map_err(|error| StoreError::Failed(error.to_string()))?.map(Into::into);
        let write = Write { kind: KIND.to_owned(), key: access_key_id.to_owned(), expect, value };
        Ok(self.store.commit(vec![write]).await?)
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Authenticator for KeyRing {
    fn lookup(&self, access_key_id: &str, session_token: Option<&str>) -> Lookup {
        let found = self.read(|state| {
            if access_key_id == state.root.key.access_key_id {
                return Some((state.root.secret.clone(), Arc::clone(&state.root.caller)));
            }
            let held = state.keys.get(access_key_id).filter(|held| held.stored.enabled)?;
            Some((held.secret.clone()?, Arc::clone(&held.caller)))
        });
        match found {
            None => Lookup::UnknownKey,
            // Lasting keys have no session: a token with one was not issued here.
            Some(_) if session_token.is_some() => Lookup::InvalidToken,
            Some((secret, caller)) => Lookup::Found { secret, caller },
        }
    }
}

/// Whether a text is an account id: 12 digits.
pub(crate) fn is_account_id(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
