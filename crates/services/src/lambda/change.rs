//! Changes of functions and of what belongs to them: read, decide, commit all or nothing, start again if
//! somebody else was quicker.

use bytes::Bytes;
use lambkin_core::metadata::{Expect, Revision, StoreError, Write};
use lambkin_model::AwsError;
use serde::Serialize;

use super::Inner;
use super::faults;
use super::names::{LATEST, Target, Version, is_number};
use super::record::{ALIAS_KIND, AliasRecord, FunctionRecord, KIND, VERSION_KIND, VersionRecord, part_key};

/// A function's record as stored. Read it ahead of everything else that a change depends on: what is read
/// after it is as it was if the commit of [`Owner::put`] or [`Owner::touch`] succeeds.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) record: FunctionRecord,
    revision: Revision,
    key: String,
}

impl Owner {
    /// Writes the function's record.
    pub(crate) fn put(&self, next: &FunctionRecord) -> Result<Write, AwsError> {
        let expect = Expect::At(self.revision);
        Ok(Write { kind: KIND.to_owned(), key: self.key.clone(), expect, value: Some(encode(next)?) })
    }

    /// Writes the function's record as it is, so that no other change of the function goes unnoticed.
    pub(crate) fn touch(&self) -> Result<Write, AwsError> {
        self.put(&self.record)
    }

    /// Deletes the function's record.
    pub(crate) fn delete(&self) -> Write {
        let expect = Expect::At(self.revision);
        Write { kind: KIND.to_owned(), key: self.key.clone(), expect, value: None }
    }
}

/// A record as it is stored.
pub(crate) fn encode(record: &impl Serialize) -> Result<Bytes, AwsError> {
    Ok(serde_json::to_vec(record).map_err(faults::service)?.into())
}

/// Deletes a record, if it is there.
pub(crate) fn delete(kind: &str, key: String) -> Write {
    Write { kind: kind.to_owned(), key, expect: Expect::Any, value: None }
}

/// Writes a version that is new.
pub(crate) fn put_version(target: &Target, version: &VersionRecord) -> Result<Write, AwsError> {
    let key = part_key(&target.scope, &target.name, &version.number.to_string());
    let value = Some(encode(version)?);
    Ok(Write { kind: VERSION_KIND.to_owned(), key, expect: Expect::Absent, value })
}

/// Writes an alias.
pub(crate) fn put_alias(target: &Target, alias: &AliasRecord) -> Result<Write, AwsError> {
    let key = part_key(&target.scope, &target.name, &alias.name);
    Ok(Write { kind: ALIAS_KIND.to_owned(), key, expect: Expect::Any, value: Some(encode(alias)?) })
}

impl Inner {
    /// Commits, and waits until the catalogue shows it. `false` where a condition did not hold, so that
    /// nothing was written: read again and decide anew.
    pub(crate) async fn commit(&self, writes: Vec<Write>) -> Result<bool, AwsError> {
        match self.metadata.commit(writes).await {
            Ok(_) => {
                self.catalogue.catch_up().await.map_err(faults::store)?;
                Ok(true)
            }
            Err(StoreError::Conflict { .. }) => Ok(false),
            Err(error) => Err(faults::store(error)),
        }
    }

    /// Reads a function's record.
    ///
    /// # Errors
    /// "Function not found", and a failed store.
    pub(crate) async fn owner(&self, target: &Target) -> Result<Owner, AwsError> {
        let key = FunctionRecord::key(&target.scope, &target.name);
        let stored = self.metadata.get(KIND, &key).await.map_err(faults::store)?;
        let stored = stored.ok_or_else(|| target.not_found())?;
        let record = FunctionRecord::read(&stored.value).map_err(faults::service)?;
        Ok(Owner { record, revision: stored.revision, key })
    }

    /// Reads a version's record, if there is one.
    pub(crate) async fn stored_version(
        &self,
        target: &Target,
        number: u64,
    ) -> Result<Option<VersionRecord>, AwsError> {
        let key = part_key(&target.scope, &target.name, &number.to_string());
        let stored = self.metadata.get(VERSION_KIND, &key).await.map_err(faults::store)?;
        stored.map(|stored| VersionRecord::read(&stored.value).map_err(faults::service)).transpose()
    }

    /// Reads an alias's record, if there is one.
    pub(crate) async fn stored_alias(
        &self,
        target: &Target,
        name: &str,
    ) -> Result<Option<AliasRecord>, AwsError> {
        let key = part_key(&target.scope, &target.name, name);
        let stored = self.metadata.get(ALIAS_KIND, &key).await.map_err(faults::store)?;
        stored.map(|stored| AliasRecord::read(&stored.value).map_err(faults::service)).transpose()
    }

    /// Reads all aliases of a function, by name.
    pub(crate) async fn stored_aliases(&self, target: &Target) -> Result<Vec<AliasRecord>, AwsError> {
        let prefix = part_key(&target.scope, &target.name, "");
        let stored = self.metadata.scan(ALIAS_KIND, &prefix).await.map_err(faults::store)?;
        stored.iter().map(|stored| AliasRecord::read(&stored.value).map_err(faults::service)).collect()
    }

    /// Refuses a target whose version or alias does not exist, by what is stored.
    pub(crate) async fn check_qualifier(&self, target: &Target) -> Result<(), AwsError> {
        let exists = match target.qualifier.as_deref() {
            None | Some(LATEST) => true,
            Some(qualifier) => match Version::parse(qualifier) {
                Some(Version::Number(number)) => self.stored_version(target, number).await?.is_some(),
                _ if is_number(qualifier) => false,
                _ => self.stored_alias(target, qualifier).await?.is_some(),
            },
        };
        if exists { Ok(()) } else { Err(target.not_found()) }
    }

    /// Writes that delete all of a function's records of one kind.
    pub(crate) async fn delete_parts(&self, kind: &str, target: &Target) -> Result<Vec<Write>, AwsError> {
        let prefix = part_key(&target.scope, &target.name, "");
        let stored = self.metadata.scan(kind, &prefix).await.map_err(faults::store)?;
        Ok(stored.into_iter().map(|stored| delete(kind, stored.key)).collect())
    }

    /// Changes a function's record; `change` is called again if something of the function was changed
    /// meanwhile. Answers the new record once the catalogue has it.
    pub(crate) async fn change(
        &self,
        target: &Target,
        mut change: impl FnMut(&FunctionRecord) -> Result<FunctionRecord, AwsError> + Send,
    ) -> Result<FunctionRecord, AwsError> {
        loop {
            let owner = self.owner(target).await?;
            let next = change(&owner.record)?;
            if self.commit(vec![owner.put(&next)?]).await? {
                return Ok(next);
            }
        }
    }
}
