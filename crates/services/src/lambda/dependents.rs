//! Settings that belong to a function, a version or an alias, each in a record of its own: policies,
//! concurrency, URLs and the like.
//!
//! A kind of setting is a type that implements [`Dependent`] and a line in [`KINDS`]. Its record has the key
//! `ACCOUNT/REGION/NAME/QUALIFIER`, where the qualifier is `$LATEST` for the function itself, a version number
//! or an alias. The catalogue holds it ([`super::catalogue::Entry::dependent`]), and it is deleted in the same
//! commit as its owner.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use lambkin_core::metadata::{Expect, Write};
use lambkin_model::AwsError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::faults;
use super::names::{LATEST, Target};
use super::record::{self, part_key};
use super::{Inner, concurrency, event_invoke, function_settings, permissions, provisioned, url_config};

/// A setting of a function, a version or an alias.
pub(crate) trait Dependent: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Metadata kind, e.g. `lambda.policy`.
    const KIND: &'static str;

    /// Format of the record, at most [`record::FORMAT`]: a record of a higher one is left alone.
    fn format(&self) -> u32;
}

/// A setting in the catalogue, of the type that its kind says.
pub(crate) type AnyDependent = Arc<dyn Any + Send + Sync>;

/// Settings of one function by kind and qualifier.
pub(crate) type Dependents = BTreeMap<(&'static str, String), AnyDependent>;

/// How a kind of setting is read.
type Reader = fn(&[u8]) -> Result<AnyDependent, String>;

/// All kinds of settings.
const KINDS: &[(&str, Reader)] = &[
    kind::<concurrency::Reserved>(),
    kind::<event_invoke::EventInvoke>(),
    kind::<function_settings::Recursion>(),
    kind::<function_settings::RuntimeManagement>(),
    kind::<permissions::Policy>(),
    kind::<provisioned::ProvisionedConfig>(),
    kind::<url_config::Url>(),
];

const fn kind<T: Dependent>() -> (&'static str, Reader) {
    (T::KIND, read_any::<T>)
}

fn read_any<T: Dependent>(stored: &[u8]) -> Result<AnyDependent, String> {
    Ok(Arc::new(read::<T>(stored)?))
}

fn read<T: Dependent>(stored: &[u8]) -> Result<T, String> {
    record::read(stored, T::format)
}

/// The kind of that name and how it is read; `None` where it is no kind of setting.
pub(crate) fn reader(kind: &str) -> Option<(&'static str, Reader)> {
    KINDS.iter().find(|(known, _)| *known == kind).copied()
}

impl Inner {
    /// Makes, changes or removes the setting of the function, version or alias that `target` means.
    /// `step` gets what is there and answers what is to be there, and anything for the caller; it is called
    /// again if something else of the function was changed meanwhile. Answers once the catalogue has it.
    ///
    /// # Errors
    /// "Function not found" for a target that does not exist, what `step` refuses, and a failed store.
    pub(crate) async fn set_dependent<T: Dependent, R>(
        &self,
        target: &Target,
        mut step: impl FnMut(Option<T>) -> Result<(Option<T>, R), AwsError> + Send,
    ) -> Result<R, AwsError> {
        let qualifier = target.qualifier.as_deref().unwrap_or(LATEST);
        let key = part_key(&target.scope, &target.name, qualifier);
        loop {
            let owner = self.owner(target).await?;
            self.check_qualifier(target).await?;
            let stored = self.metadata.get(T::KIND, &key).await.map_err(faults::store)?;
            let present = stored.as_ref().map(|stored| read::<T>(&stored.value));
            let (next, answer) = step(present.transpose().map_err(faults::service)?)?;
            if next.is_none() && stored.is_none() {
                return Ok(answer);
            }
            let value = next.as_ref().map(super::change::encode).transpose()?;
            let write = Write { kind: T::KIND.to_owned(), key: key.clone(), expect: Expect::Any, value };
            if self.commit(vec![owner.touch()?, write]).await? {
                return Ok(answer);
            }
        }
    }

    /// Writes that delete the settings of one qualifier.
    pub(crate) fn delete_dependents_of(&self, target: &Target, qualifier: &str) -> Vec<Write> {
        let key = part_key(&target.scope, &target.name, qualifier);
        KINDS.iter().map(|(kind, _)| super::change::delete(kind, key.clone())).collect()
    }

    /// Writes that delete all settings of a function.
    pub(crate) async fn delete_all_dependents(&self, target: &Target) -> Result<Vec<Write>, AwsError> {
        let mut writes = Vec::new();
        for (kind, _) in KINDS {
            writes.extend(self.delete_parts(kind, target).await?);
        }
        Ok(writes)
    }
}
