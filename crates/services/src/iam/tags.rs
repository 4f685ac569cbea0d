//! Tags of roles and managed policies.

use lambkin_model::AwsError;
use lambkin_model::RequestContext;
use lambkin_model::iam::{
    ListPolicyTagsRequest, ListPolicyTagsResponse, ListRoleTagsRequest, ListRoleTagsResponse, Tag,
    TagPolicyRequest, TagRoleRequest, UntagPolicyRequest, UntagRoleRequest, errors,
};

use super::policies::PolicyRef;
use super::{IamService, faults, page};

/// Most tags of a resource (AWS quota).
const MAX_TAGS: usize = 50;

/// Tags as stored.
pub(super) type Tags = Vec<(String, String)>;

impl IamService {
    pub(super) async fn tag_role(
        &self,
        context: &RequestContext,
        request: TagRoleRequest,
    ) -> Result<(), AwsError> {
        let tags = request.tags.unwrap_or_default();
        self.change_role(context, request.role_name.as_deref(), |mut role| {
            role.tags = merge(role.tags, &tags)?;
            Ok((role, Vec::new()))
        })
        .await
        .map(|_| ())
    }

    pub(super) async fn untag_role(
        &self,
        context: &RequestContext,
        request: UntagRoleRequest,
    ) -> Result<(), AwsError> {
        let keys = request.tag_keys.unwrap_or_default();
        self.change_role(context, request.role_name.as_deref(), |mut role| {
            remove(&mut role.tags, &keys);
            Ok((role, Vec::new()))
        })
        .await
        .map(|_| ())
    }

    pub(super) fn list_role_tags(
        &self,
        context: &RequestContext,
        request: ListRoleTagsRequest,
    ) -> Result<ListRoleTagsResponse, AwsError> {
        let entry = self.role(context, request.role_name.as_deref())?;
        let page = list(&entry.tags, request.marker.as_deref(), request.max_items)?;
        Ok(ListRoleTagsResponse {
            is_truncated: page.is_truncated(),
            tags: view(&page.items).or(Some(Vec::new())),
            marker: page.marker,
        })
    }

    pub(super) async fn tag_policy(
        &self,
        context: &RequestContext,
        request: TagPolicyRequest,
    ) -> Result<(), AwsError> {
        let tags = request.tags.unwrap_or_default();
        self.change_policy(context, request.policy_arn.as_deref(), |mut policy| {
            policy.tags = merge(policy.tags, &tags)?;
            Ok(policy)
        })
        .await
        .map(|_| ())
    }

    pub(super) async fn untag_policy(
        &self,
        context: &RequestContext,
        request: UntagPolicyRequest,
    ) -> Result<(), AwsError> {
        let keys = request.tag_keys.unwrap_or_default();
        self.change_policy(context, request.policy_arn.as_deref(), |mut policy| {
            remove(&mut policy.tags, &keys);
            Ok(policy)
        })
        .await
        .map(|_| ())
    }

    pub(super) fn list_policy_tags(
        &self,
        context: &RequestContext,
        request: ListPolicyTagsRequest,
    ) -> Result<ListPolicyTagsResponse, AwsError> {
        let tags = match self.policy(context, request.policy_arn.as_deref())? {
            PolicyRef::Aws(_) => Vec::new(),
            PolicyRef::Customer(entry) => entry.tags.clone(),
        };
        let page = list(&tags, request.marker.as_deref(), request.max_items)?;
        Ok(ListPolicyTagsResponse {
            is_truncated: page.is_truncated(),
            tags: view(&page.items).or(Some(Vec::new())),
            marker: page.marker,
        })
    }
}

fn list(
    tags: &[(String, String)],
    marker: Option<&str>,
    max_items: Option<i32>,
) -> Result<page::Page<(String, String)>, AwsError> {
    let mut tags = tags.to_vec();
    tags.sort();
    page::cut(tags, marker, max_items, |(key, _)| key)
}

/// Tags as answered; `None` where there are none.
pub(super) fn view(tags: &[(String, String)]) -> Option<Vec<Tag>> {
    let tag = |(key, value): &(String, String)| Tag { key: Some(key.clone()), value: Some(value.clone()) };
    (!tags.is_empty()).then(|| tags.iter().map(tag).collect())
}

/// `old` with `new` laid over it. Keys are not distinguished by case.
pub(super) fn merge(old: Tags, new: &[Tag]) -> Result<Tags, AwsError> {
    let mut tags = old;
    let mut seen: Vec<String> = Vec::new();
    for tag in new {
        let (key, value) = (tag.key.clone().unwrap_or_default(), tag.value.clone().unwrap_or_default());
        let folded = key.to_lowercase();
        if folded.starts_with("aws:") {
            return Err(faults::invalid("System tags cannot be added/updated/deleted from a resource."));
        }
        if seen.contains(&folded) {
            return Err(faults::invalid(
                "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
            ));
        }
        match tags.iter_mut().find(|(known, _)| known.to_lowercase() == folded) {
            Some(known) => *known = (key, value),
            None => tags.push((key, value)),
        }
        seen.push(folded);
    }
    if tags.len() > MAX_TAGS {
        return Err(errors::limit_exceeded_exception("The number of tags has reached the maximum limit."));
    }
    Ok(tags)
}

fn remove(tags: &mut Tags, keys: &[String]) {
    tags.retain(|(known, _)| !keys.iter().any(|key| key.to_lowercase() == known.to_lowercase()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(key: &str, value: &str) -> Tag {
        Tag { key: Some(key.to_owned()), value: Some(value.to_owned()) }
    }

    #[test]
    fn keys_are_not_distinguished_by_case() {
        let tags = merge(Vec::new(), &[tag("Team", "a")]).unwrap();
        let tags = merge(tags, &[tag("team", "b"), tag("x", "")]).unwrap();
        assert_eq!(tags, [("team".to_owned(), "b".to_owned()), ("x".to_owned(), String::new())]);
        assert_eq!(merge(Vec::new(), &[tag("a", "1"), tag("A", "2")]).unwrap_err().code, "InvalidInput");
        assert!(merge(Vec::new(), &[tag("aws:x", "1")]).is_err());
        let many: Vec<Tag> = (0..51).map(|n| tag(&format!("k{n}"), "")).collect();
        assert_eq!(merge(Vec::new(), &many).unwrap_err().code, "LimitExceeded");
    }
}
