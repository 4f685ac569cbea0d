//! AWS IAM as far as Lambda needs it: roles with trust policies, inline and managed policies, AWS's own
//! managed policies.
//!
//! IAM is global: state is kept per account, whatever the region. A role and a managed policy are one record
//! each in the metadata store (`record`); the `directory` holds all of them in memory. Writers commit
//! with a condition on the records' revisions and answer once the directory shows the commit.
//!
//! Trust policies are evaluated ([`Roles`]). Identity policies (inline, managed, boundaries) are checked,
//! stored and returned; nothing evaluates them yet.

mod api;
mod attach;
mod aws_policies;
mod directory;
mod document;
mod faults;
mod inline;
mod names;
mod page;
mod policies;
mod record;
mod roles;
mod tags;
mod trust;
mod versions;

use std::sync::Arc;

use lambkin_core::Clock;
use lambkin_core::metadata::{Expect, MetadataStore, StoreError, Write};
use lambkin_model::{AwsError, RequestContext};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

pub use trust::{RoleInfo, Roles};

use directory::Directory;
use record::{Policy, Role, Stored};

/// The IAM service. Give it to `lambkin_model::iam::Handler`.
pub struct IamService {
    metadata: Arc<dyn MetadataStore>,
    clock: Arc<dyn Clock>,
    directory: Arc<Directory>,
    feeder: JoinHandle<()>,
}

impl std::fmt::Debug for IamService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IamService").finish_non_exhaustive()
    }
}

impl IamService {
    /// Reads all roles and policies and follows their changes until the service is dropped. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub async fn new(metadata: Arc<dyn MetadataStore>, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let changes = metadata.watch(0).await?;
        let (directory, feeder) = Directory::new(changes);
        let feeder = tokio::spawn(feeder.run());
        for kind in [Role::KIND, Policy::KIND] {
            let stored = metadata.scan(kind, "").await?;
            if let Some(newest) = stored.iter().map(|record| record.revision).max() {
                directory.wait(newest).await?;
            }
        }
        Ok(Self { metadata, clock, directory, feeder })
    }

    /// The roles, for services that check or assume them.
    #[must_use]
    pub fn roles(&self) -> Roles {
        Roles::new(Arc::clone(&self.directory))
    }

    fn role(&self, context: &RequestContext, name: Option<&str>) -> Result<Arc<Role>, AwsError> {
        let name = name.unwrap_or_default();
        self.directory.role(&context.caller.account, name).ok_or_else(|| faults::no_role(name))
    }

    /// IAM keeps whole seconds.
    fn now_ms(&self) -> i64 {
        self.clock.now_ms() / 1000 * 1000
    }

    /// Commits and waits until the directory shows it; `None` where a condition did not hold.
    async fn commit(&self, writes: Vec<Write>) -> Result<Option<()>, AwsError> {
        match self.metadata.commit(writes).await {
            Ok(revision) => {
                self.directory.wait(revision).await.map_err(faults::store)?;
                Ok(Some(()))
            }
            Err(StoreError::Conflict { .. }) => Ok(None),
            Err(error) => Err(faults::store(error)),
        }
    }

    /// What is stored now: fresher than the directory if another node has written.
    async fn stored<T: Stored + DeserializeOwned>(
        &self,
        account: &str,
        name: &str,
    ) -> Result<Option<(T, u64)>, AwsError> {
        let key = record::key(account, name);
        let Some(stored) = self.metadata.get(T::KIND, &key).await.map_err(faults::store)? else {
            return Ok(None);
        };
        let read = record::read(&stored.value).map_err(faults::service)?;
        Ok(Some((read, stored.revision)))
    }

    /// Reads a role, changes it, and commits it together with `more` writes, again if it has been changed
    /// meanwhile. `change` answers the new role and further writes.
    async fn change_role(
        &self,
        context: &RequestContext,
        name: Option<&str>,
        mut change: impl FnMut(Role) -> Result<(Role, Vec<Write>), AwsError> + Send,
    ) -> Result<Role, AwsError> {
        let account = &context.caller.account;
        let name = name.unwrap_or_default();
        loop {
            let stored = self.stored::<Role>(account, name).await?;
            let (role, revision) = stored.ok_or_else(|| faults::no_role(name))?;
            let (next, mut writes) = change(role)?;
            writes.push(put(account, &next, Expect::At(revision))?);
            if self.commit(writes).await?.is_some() {
                return Ok(next);
            }
        }
    }
}

impl Drop for IamService {
    fn drop(&mut self) {
        self.feeder.abort();
    }
}

/// The write that stores a record.
fn put<T: Stored + Serialize>(account: &str, item: &T, expect: Expect) -> Result<Write, AwsError> {
    let value = serde_json::to_vec(item).map_err(faults::service)?;
    let key = record::key(account, item.name());
    Ok(Write { kind: T::KIND.to_owned(), key, expect, value: Some(value.into()) })
}

/// The write that deletes a record.
fn delete<T: Stored>(account: &str, name: &str, revision: u64) -> Write {
    let key = record::key(account, name);
    Write { kind: T::KIND.to_owned(), key, expect: Expect::At(revision), value: None }
}

#[cfg(test)]
mod tests;
