//! Tags of functions, event source mappings and code signing configurations.

use std::collections::BTreeMap;

use lambkin_core::ids::Scope;
use lambkin_model::{AwsError, RequestContext};

use super::Inner;
use super::code_signing::Signing;
use super::event_sources::{Mapping, absent};
use super::faults::{access_denied, invalid, not_found};
use super::names::{self, Target};
use super::resources::Resource;

/// Most tags of a resource (AWS quota).
const MAX_TAGS: usize = 50;

/// Longest key and value in characters (AWS quota).
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 256;

/// A resource that has tags in its record.
pub(crate) trait Tagged {
    /// Its tags.
    fn tags(&mut self) -> &mut BTreeMap<String, String>;
}

/// What an ARN to be tagged names.
enum Place {
    Function(Target),
    /// An event source mapping by its id.
    Mapping(Scope, String),
    /// A code signing configuration by its id.
    Signing(Scope, String),
}

/// A change of tags.
enum Change<'a> {
    Add(BTreeMap<String, String>),
    Remove(&'a [String]),
}

impl Change<'_> {
    fn apply(&self, tags: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, AwsError> {
        match self {
            Self::Add(new) => check(tags, new.clone()),
            Self::Remove(keys) => Ok(tags.into_iter().filter(|(key, _)| !keys.contains(key)).collect()),
        }
    }
}

impl Inner {
    pub(crate) fn list_tags(
        &self,
        context: &RequestContext,
        resource: Option<&str>,
    ) -> Result<BTreeMap<String, String>, AwsError> {
        match self.tag_place(context, "ListTags", resource)? {
            Place::Function(target) => Ok(self.find_target(target)?.entry.record.tags.clone()),
            Place::Mapping(scope, id) => self.tags_of::<Mapping>(&scope, &id),
            Place::Signing(scope, id) => self.tags_of::<Signing>(&scope, &id),
        }
    }

    pub(crate) async fn tag(
        &self,
        context: &RequestContext,
        resource: Option<&str>,
        tags: BTreeMap<String, String>,
    ) -> Result<(), AwsError> {
        let place = self.tag_place(context, "TagResource", resource)?;
        self.change_tags(place, Change::Add(tags)).await
    }

    pub(crate) async fn untag(
        &self,
        context: &RequestContext,
        resource: Option<&str>,
        keys: &[String],
    ) -> Result<(), AwsError> {
        let place = self.tag_place(context, "UntagResource", resource)?;
        self.change_tags(place, Change::Remove(keys)).await
    }

    async fn change_tags(&self, place: Place, change: Change<'_>) -> Result<(), AwsError> {
        match place {
            Place::Function(target) => {
                self.change(&target, |record| {
                    let mut next = record.clone();
                    next.tags = change.apply(next.tags)?;
                    Ok(next)
                })
                .await?;
            }
            Place::Mapping(scope, id) => self.change_tags_of::<Mapping>(&scope, &id, &change).await?,
            Place::Signing(scope, id) => self.change_tags_of::<Signing>(&scope, &id, &change).await?,
        }
        Ok(())
    }

    fn tags_of<T: Resource + Tagged + Clone>(
        &self,
        scope: &Scope,
        id: &str,
    ) -> Result<BTreeMap<String, String>, AwsError> {
        let resource = self.catalogue.resource::<T>(scope, id).ok_or_else(absent)?;
        Ok(std::mem::take(T::clone(&resource).tags()))
    }

    async fn change_tags_of<T: Resource + Tagged>(
        &self,
        scope: &Scope,
        id: &str,
        change: &Change<'_>,
    ) -> Result<(), AwsError> {
        self.change_resource::<T>(scope, id, absent, |mut resource| {
            let tags = resource.tags();
            *tags = change.apply(std::mem::take(tags))?;
            Ok(Some(resource))
        })
        .await?;
        Ok(())
    }

    /// What the ARN names, if it can be tagged and the caller may.
    fn tag_place(
        &self,
        context: &RequestContext,
        operation: &str,
        resource: Option<&str>,
    ) -> Result<Place, AwsError> {
        let arn = resource.unwrap_or_default();
        match arn.splitn(7, ':').collect::<Vec<_>>().as_slice() {
            [.., "function", _] => {
                let target = self.resolve(context, operation, Some(arn), None)?;
                if target.qualifier.is_some() {
                    return Err(invalid(
                        "Tags on function aliases and versions are not supported. Please specify either a function \
                         ARN.",
                    ));
                }
                Ok(Place::Function(target))
            }
            [_, _, _, region, account, kind @ ("event-source-mapping" | "code-signing-config"), id] => {
                let scope = names::scope_of(context);
                if *account != &*scope.account {
                    return Err(access_denied(&context.caller.arn, operation, arn));
                }
                if *region != &*scope.region {
                    return Err(absent());
                }
                Ok(match *kind {
                    "event-source-mapping" => Place::Mapping(scope, id.to_ascii_lowercase()),
                    _ => Place::Signing(scope, (*id).to_owned()),
                })
            }
            _ => Err(not_found(format!("The resource {arn} does not exist."))),
        }
    }
}

/// `old` with `new` laid over it.
pub(crate) fn check(
    old: BTreeMap<String, String>,
    new: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, AwsError> {
    for (key, value) in &new {
        if key.is_empty() || key.chars().count() > MAX_KEY {
            return Err(invalid(format!("Tag keys must have 1 to {MAX_KEY} characters.")));
        }
        if value.chars().count() > MAX_VALUE {
            return Err(invalid(format!("Tag values must have at most {MAX_VALUE} characters.")));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(invalid("Tag keys that start with aws: are reserved."));
        }
    }
    let mut tags = old;
    tags.extend(new);
    if tags.len() > MAX_TAGS {
        return Err(invalid("Number of tags exceeds resource tag limit."));
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_limits() {
        let tags =
            |count: usize| (0..count).map(|n| (format!("k{n}"), String::new())).collect::<BTreeMap<_, _>>();
        assert_eq!(check(tags(50), tags(50)).unwrap().len(), 50);
        assert!(check(tags(50), BTreeMap::from([("one".to_owned(), String::new())])).is_err());
        for key in ["", "aws:x", "AWS:x", &"k".repeat(129)] {
            assert!(check(BTreeMap::new(), BTreeMap::from([(key.to_owned(), String::new())])).is_err());
        }
    }
}
