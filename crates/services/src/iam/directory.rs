//! All roles and managed policies in memory, fed by the metadata store's watch.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use lambkin_core::metadata::{Change, Record, Revision, StoreError};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};

use super::record::{self, Policy, Role, Stored};

/// What an account has, by name in lower case.
#[derive(Debug, Default)]
struct Account {
    roles: BTreeMap<String, Arc<Role>>,
    policies: BTreeMap<String, Arc<Policy>>,
}

/// The roles and managed policies of all accounts.
#[derive(Debug)]
pub(super) struct Directory {
    accounts: RwLock<HashMap<String, Account>>,
    applied: watch::Receiver<Revision>,
}

/// Applies changes; the one writer of a [`Directory`].
#[derive(Debug)]
pub(super) struct Feeder {
    directory: Arc<Directory>,
    applied: watch::Sender<Revision>,
    changes: mpsc::UnboundedReceiver<Change>,
}

impl Directory {
    /// An empty directory and what fills it.
    pub(super) fn new(changes: mpsc::UnboundedReceiver<Change>) -> (Arc<Self>, Feeder) {
        let (applied, receiver) = watch::channel(0);
        let directory = Arc::new(Self { accounts: RwLock::default(), applied: receiver });
        (Arc::clone(&directory), Feeder { directory, applied, changes })
    }

    /// A role by name.
    pub(super) fn role(&self, account: &str, name: &str) -> Option<Arc<Role>> {
        self.read(account, |found| found.roles.get(&record::fold(name)).cloned()).flatten()
    }

    /// A customer managed policy by name.
    pub(super) fn policy(&self, account: &str, name: &str) -> Option<Arc<Policy>> {
        self.read(account, |found| found.policies.get(&record::fold(name)).cloned()).flatten()
    }

    /// All roles of an account by name.
    pub(super) fn roles(&self, account: &str) -> Vec<Arc<Role>> {
        self.read(account, |found| found.roles.values().cloned().collect()).unwrap_or_default()
    }

    /// All customer managed policies of an account by name.
    pub(super) fn policies(&self, account: &str) -> Vec<Arc<Policy>> {
        self.read(account, |found| found.policies.values().cloned().collect()).unwrap_or_default()
    }

    /// Waits until the change of `revision` can be read here.
    ///
    /// # Errors
    /// [`StoreError::Failed`] once the store's watch has ended.
    pub(super) async fn wait(&self, revision: Revision) -> Result<(), StoreError> {
        let mut applied = self.applied.clone();
        match applied.wait_for(|applied| *applied >= revision).await {
            Ok(_) => Ok(()),
            Err(_) => Err(StoreError::Failed("the watch of the metadata store has ended".to_owned())),
        }
    }

    fn read<T>(&self, account: &str, read: impl FnOnce(&Account) -> T) -> Option<T> {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).get(account).map(read)
    }
}

impl Feeder {
    /// Applies changes until the store ends.
    pub(super) async fn run(mut self) {
        while let Some(change) = self.changes.recv().await {
            let mut revision = self.apply(change);
            // Everything of one commit is to be seen together.
            while let Ok(change) = self.changes.try_recv() {
                revision = revision.max(self.apply(change));
            }
            self.applied.send_replace(revision);
        }
    }

    fn apply(&self, change: Change) -> Revision {
        match change {
            Change::Put(record) => {
                match record.kind.as_str() {
                    Role::KIND => self.put(&record, |account| &mut account.roles),
                    Policy::KIND => self.put(&record, |account| &mut account.policies),
                    _ => {}
                }
                record.revision
            }
            Change::Deleted { kind, key, revision } => {
                if let Some((account, name)) = key.split_once('/') {
                    let mut accounts =
                        self.directory.accounts.write().unwrap_or_else(PoisonError::into_inner);
                    if let Some(account) = accounts.get_mut(account) {
                        match kind.as_str() {
                            Role::KIND => drop(account.roles.remove(name)),
                            Policy::KIND => drop(account.policies.remove(name)),
                            _ => {}
                        }
                    }
                }
                revision
            }
        }
    }

    fn put<T: Stored + DeserializeOwned>(
        &self,
        stored: &Record,
        table: impl FnOnce(&mut Account) -> &mut BTreeMap<String, Arc<T>>,
    ) {
        let Some((account, name)) = stored.key.split_once('/') else { return };
        let record = match record::read(&stored.value) {
            Ok(record) => record,
            Err(error) => {
                tracing::error!(kind = T::KIND, key = %stored.key, %error, "cannot read a record; it is left alone");
                return;
            }
        };
        let mut accounts = self.directory.accounts.write().unwrap_or_else(PoisonError::into_inner);
        table(accounts.entry(account.to_owned()).or_default()).insert(name.to_owned(), Arc::new(record));
    }
}
