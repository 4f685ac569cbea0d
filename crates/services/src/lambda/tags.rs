//! Tags of functions.

use std::collections::BTreeMap;

use lambkin_model::{AwsError, RequestContext};

use super::Inner;
use super::faults::{invalid, not_found};
use super::names::Target;

/// Most tags of a resource (AWS quota).
const MAX_TAGS: usize = 50;

/// Longest key and value in characters (AWS quota).
const MAX_KEY: usize = 128;
const MAX_VALUE: usize = 256;

impl Inner {
    pub(crate) fn list_tags(
        &self,
        context: &RequestContext,
        resource: Option<&str>,
    ) -> Result<BTreeMap<String, String>, AwsError> {
        let target = self.tag_target(context, "ListTags", resource)?;
        Ok(self.find_target(target)?.entry.record.tags.clone())
    }

    pub(crate) async fn tag(
        &self,
        context: &RequestContext,
        resource: Option<&str>,
        tags: BTreeMap<String, String>,
    ) -> Result<(), AwsError> {
        let target = self.tag_target(context, "TagResource", resource)?;
        self.change(&target, |record| {
            let mut next = record.clone();
            next.tags = check(next.tags, tags.clone())?;
            Ok(next)
        })
        .await?;
        Ok(())
    }

    pub(crate) async fn untag(
        &self,
        context: &RequestContext,
        resource: Option<&str>,
        keys: &[String],
    ) -> Result<(), AwsError> {
        let target = self.tag_target(context, "UntagResource", resource)?;
        self.change(&target, |record| {
            let mut next = record.clone();
            next.tags.retain(|key, _| !keys.contains(key));
            Ok(next)
        })
        .await?;
        Ok(())
    }

    /// The function whose ARN is given; of the taggable resources only functions exist.
    fn tag_target(
        &self,
        context: &RequestContext,
        operation: &str,
        resource: Option<&str>,
    ) -> Result<Target, AwsError> {
        let arn = resource.unwrap_or_default();
        if !arn.contains(":function:") {
            return Err(not_found(format!("The resource {arn} does not exist.")));
        }
        let target = self.resolve(context, operation, Some(arn), None)?;
        if target.qualifier.is_some() {
            return Err(invalid(
                "Tags on function aliases and versions are not supported. Please specify either a function ARN.",
            ));
        }
        Ok(target)
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
