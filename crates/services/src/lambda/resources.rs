//! Records of their own that belong to no function: event source mappings, code signing configurations.
//!
//! A kind of resource is a type that implements [`Resource`] and a line in [`KINDS`]. Its record has the key
//! `ACCOUNT/REGION/ID`. The catalogue holds it and reports what is unsettled to the reconciler.

use std::any::Any;
use std::ops::Bound;
use std::sync::{Arc, PoisonError};

use lambkin_core::ids::Scope;
use lambkin_core::metadata::{Expect, Record, Revision, Write};
use lambkin_model::AwsError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::catalogue::Catalogue;
use super::change::encode;
use super::code_signing::Signing;
use super::event_sources::Mapping;
use super::{Inner, faults, record};

/// A resource that belongs to no function.
pub(crate) trait Resource: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Metadata kind, e.g. `lambda.event-source-mapping`.
    const KIND: &'static str;

    /// Format of the record, at most [`record::FORMAT`]: a record of a higher one is left alone.
    fn format(&self) -> u32;
}

/// A resource in the catalogue, of the type that its kind says.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    value: Arc<dyn Any + Send + Sync>,
    revision: Revision,
}

/// By kind, scope and id.
pub(crate) type Resources = std::collections::BTreeMap<(&'static str, Scope, String), Held>;

/// How a kind of resource is read.
type Reader = fn(&[u8]) -> Result<Arc<dyn Any + Send + Sync>, String>;

/// All kinds of resources.
const KINDS: &[(&str, Reader)] = &[kind::<Mapping>(), kind::<Signing>()];

const fn kind<T: Resource>() -> (&'static str, Reader) {
    (T::KIND, |stored| Ok(Arc::new(read::<T>(stored)?)))
}

fn read<T: Resource>(stored: &[u8]) -> Result<T, String> {
    record::read(stored, T::format)
}

fn key(scope: &Scope, id: &str) -> String {
    format!("{}{id}", scope.key_prefix())
}

/// The kind of that name and how it is read; `None` where it is no kind of resource.
pub(crate) fn reader(kind: &str) -> Option<(&'static str, Reader)> {
    KINDS.iter().find(|(known, _)| *known == kind).copied()
}

/// A resource as stored, for the catalogue.
pub(crate) fn held(read: Reader, record: &Record) -> Result<Held, String> {
    Ok(Held { value: read(&record.value)?, revision: record.revision })
}

impl Held {
    /// The resource and the revision of its record, if it is of that type.
    pub(crate) fn get<T: Resource>(&self) -> Option<(Arc<T>, Revision)> {
        Some((self.value.clone().downcast().ok()?, self.revision))
    }
}

impl Catalogue {
    /// A resource of an account in a region.
    pub(crate) fn resource<T: Resource>(&self, scope: &Scope, id: &str) -> Option<Arc<T>> {
        let resources = self.resources.read().unwrap_or_else(PoisonError::into_inner);
        Some(resources.get(&(T::KIND, scope.clone(), id.to_owned()))?.get()?.0)
    }

    /// The resources of an account in a region after an id, by id, as far as they are wanted and at most `limit`.
    pub(crate) fn resources<T: Resource>(
        &self,
        scope: &Scope,
        after: Option<&str>,
        limit: usize,
        wanted: impl Fn(&T) -> bool,
    ) -> Vec<Arc<T>> {
        let resources = self.resources.read().unwrap_or_else(PoisonError::into_inner);
        let start = (T::KIND, scope.clone(), after.unwrap_or_default().to_owned());
        resources
            .range((Bound::Excluded(start), Bound::Unbounded))
            .take_while(|((kind, of, _), _)| *kind == T::KIND && of == scope)
            .filter_map(|(_, held)| Some(held.get::<T>()?.0))
            .filter(|resource| wanted(resource))
            .take(limit)
            .collect()
    }
}

/// Writes a resource that is new.
pub(crate) fn create<T: Resource>(scope: &Scope, id: &str, resource: &T) -> Result<Write, AwsError> {
    let value = Some(encode(resource)?);
    Ok(Write { kind: T::KIND.to_owned(), key: key(scope, id), expect: Expect::Absent, value })
}

/// Writes a resource that is at a revision; `None` deletes it.
pub(crate) fn replace<T: Resource>(
    scope: &Scope,
    id: &str,
    revision: Revision,
    next: Option<&T>,
) -> Result<Write, AwsError> {
    let value = next.map(encode).transpose()?;
    Ok(Write { kind: T::KIND.to_owned(), key: key(scope, id), expect: Expect::At(revision), value })
}

impl Inner {
    /// Reads a resource as stored, with its revision; `None` where there is none.
    pub(crate) async fn stored_resource<T: Resource>(
        &self,
        scope: &Scope,
        id: &str,
    ) -> Result<Option<(T, Revision)>, AwsError> {
        let stored = self.metadata.get(T::KIND, &key(scope, id)).await.map_err(faults::store)?;
        let Some(stored) = stored else { return Ok(None) };
        let resource = read(&stored.value).map_err(faults::service)?;
        Ok(Some((resource, stored.revision)))
    }

    /// Changes or deletes a resource. `step` gets what is there and answers what is to be there; it is called
    /// again if the resource was changed meanwhile. Answers the new state once the catalogue has it.
    ///
    /// # Errors
    /// `absent` where there is none, what `step` refuses, and a failed store.
    pub(crate) async fn change_resource<T: Resource>(
        &self,
        scope: &Scope,
        id: &str,
        absent: impl Fn() -> AwsError + Send + Sync,
        mut step: impl FnMut(T) -> Result<Option<T>, AwsError> + Send,
    ) -> Result<Option<T>, AwsError> {
        loop {
            let (present, revision) = self.stored_resource::<T>(scope, id).await?.ok_or_else(&absent)?;
            let next = step(present)?;
            if self.commit(vec![replace(scope, id, revision, next.as_ref())?]).await? {
                return Ok(next);
            }
        }
    }
}
