//! Aliases: names that lead to one version of a function, or to two by weight.

use std::collections::BTreeMap;
use std::ops::Bound;

use lambkin_core::ids::Scope;
use lambkin_model::lambda::{
    AliasConfiguration, AliasRoutingConfiguration, CreateAliasRequest, DeleteAliasRequest, GetAliasRequest,
    ListAliasesRequest, ListAliasesResponse, UpdateAliasRequest,
};
use lambkin_model::{AwsError, RequestContext};

use super::Inner;
use super::change::{delete, put_alias};
use super::create::new_revision_id;
use super::faults::{conflict, invalid, not_found, precondition_failed};
use super::names::{Target, Version};
use super::read::{page, place};
use super::record::{ALIAS_KIND, AliasRecord, FORMAT, part_key};
use crate::paging;

impl Inner {
    pub(crate) async fn create_alias(
        &self,
        context: &RequestContext,
        request: CreateAliasRequest,
    ) -> Result<AliasConfiguration, AwsError> {
        let name = request.function_name.as_deref();
        let target = self.resolve(context, "CreateAlias", name, None)?.require_latest()?;
        let name = request.name.unwrap_or_default();
        let asked = request.function_version.unwrap_or_default();
        let alias = loop {
            let owner = self.owner(&target).await?;
            let version = self.alias_version(&target, &asked).await?;
            let additional = self.additional(&target, version, request.routing_config.as_ref()).await?;
            if self.stored_alias(&target, &name).await?.is_some() {
                return Err(conflict(format!("Alias already exists: {}", target.with(&name).arn())));
            }
            let alias = AliasRecord {
                v: FORMAT,
                name: name.clone(),
                revision_id: new_revision_id(),
                description: request.description.clone().unwrap_or_default(),
                version,
                additional,
            };
            if self.commit(vec![owner.touch()?, put_alias(&target, &alias)?]).await? {
                break alias;
            }
        };
        tracing::info!(alias = %target.with(&name).arn(), version = %alias.version, "alias created");
        Ok(view(&target.scope, &target.name, &alias))
    }

    pub(crate) async fn update_alias(
        &self,
        context: &RequestContext,
        request: UpdateAliasRequest,
    ) -> Result<AliasConfiguration, AwsError> {
        let name = request.function_name.as_deref();
        let target = self.resolve(context, "UpdateAlias", name, None)?.require_latest()?;
        let name = request.name.unwrap_or_default();
        let _alone = self.concurrency_changes.lock().await;
        let alias = loop {
            let owner = self.owner(&target).await?;
            let Some(mut alias) = self.stored_alias(&target, &name).await? else {
                return Err(not_found(format!("Alias not found: {}", target.with(&name).arn())));
            };
            if request.revision_id.as_ref().is_some_and(|id| *id != alias.revision_id) {
                return Err(precondition_failed());
            }
            if let Some(asked) = &request.function_version {
                alias.version = self.alias_version(&target, asked).await?;
            }
            match &request.routing_config {
                Some(_) => {
                    let routing = request.routing_config.as_ref();
                    alias.additional = self.additional(&target, alias.version, routing).await?;
                }
                None => check_pair(alias.version, alias.additional)?,
            }
            self.check_provisioned_alias(&target, &alias)?;
            if let Some(description) = &request.description {
                alias.description.clone_from(description);
            }
            alias.revision_id = new_revision_id();
            if self.commit(vec![owner.touch()?, put_alias(&target, &alias)?]).await? {
                break alias;
            }
        };
        tracing::info!(alias = %target.with(&name).arn(), version = %alias.version, "alias updated");
        Ok(view(&target.scope, &target.name, &alias))
    }

    /// Deletes an alias with its settings; one that is not there is as good as deleted.
    pub(crate) async fn delete_alias(
        &self,
        context: &RequestContext,
        request: DeleteAliasRequest,
    ) -> Result<(), AwsError> {
        let name = request.function_name.as_deref();
        let target = self.resolve(context, "DeleteAlias", name, None)?.require_latest()?;
        let name = request.name.unwrap_or_default();
        loop {
            let owner = self.owner(&target).await?;
            if self.stored_alias(&target, &name).await?.is_none() {
                return Ok(());
            }
            let key = part_key(&target.scope, &target.name, &name);
            let mut writes = vec![owner.touch()?, delete(ALIAS_KIND, key)];
            writes.extend(self.delete_dependents_of(&target, &name));
            if self.commit(writes).await? {
                tracing::info!(alias = %target.with(&name).arn(), "alias deleted");
                return Ok(());
            }
        }
    }

    pub(crate) fn get_alias(
        &self,
        context: &RequestContext,
        request: &GetAliasRequest,
    ) -> Result<AliasConfiguration, AwsError> {
        let name = request.function_name.as_deref();
        let target = self.resolve(context, "GetAlias", name, None)?.require_latest()?;
        let found = self.find_target(target)?;
        let name = request.name.as_deref().unwrap_or_default();
        match found.entry.aliases.get(name) {
            Some(alias) => Ok(view(&found.target.scope, &found.target.name, alias)),
            None => Err(not_found(format!("Cannot find alias arn: {}", found.target.with(name).arn()))),
        }
    }

    pub(crate) fn list_aliases(
        &self,
        context: &RequestContext,
        request: &ListAliasesRequest,
    ) -> Result<ListAliasesResponse, AwsError> {
        let name = request.function_name.as_deref();
        let target = self.resolve(context, "ListAliases", name, None)?;
        let found = self.find_target(target.unqualified())?;
        let after = place(request.marker.as_deref())?;
        let start = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let page = page(request.max_items);
        let leads_there = |alias: &AliasRecord| match request.function_version.as_deref().map(Version::parse)
        {
            None => true,
            Some(Some(Version::Latest)) => alias.version == Version::Latest,
            Some(Some(Version::Number(number))) => alias.leads_to(number),
            Some(None) => false,
        };
        let mut aliases: Vec<_> = found
            .entry
            .aliases
            .range::<str, _>((start, Bound::Unbounded))
            .map(|(_, alias)| alias)
            .filter(|alias| leads_there(alias))
            .take(page + 1)
            .collect();
        let next_marker = paging::cut(&mut aliases, page, |alias| &alias.name);
        let aliases =
            aliases.into_iter().map(|alias| view(&found.target.scope, &found.target.name, alias)).collect();
        Ok(ListAliasesResponse { aliases: Some(aliases), next_marker })
    }

    /// The version an alias is to lead to, which must exist.
    async fn alias_version(&self, target: &Target, asked: &str) -> Result<Version, AwsError> {
        let version = Version::parse(asked).ok_or_else(|| target.with(asked).not_found())?;
        if let Version::Number(number) = version
            && self.stored_version(target, number).await?.is_none()
        {
            return Err(target.with(asked).not_found());
        }
        Ok(version)
    }

    /// The second version of an alias and its weight.
    async fn additional(
        &self,
        target: &Target,
        version: Version,
        routing: Option<&AliasRoutingConfiguration>,
    ) -> Result<Option<(u64, f64)>, AwsError> {
        let weights = routing.and_then(|routing| routing.additional_version_weights.as_ref());
        let Some((asked, weight)) = weights.and_then(BTreeMap::first_key_value) else { return Ok(None) };
        if weights.is_some_and(|weights| weights.len() > 1) {
            return Err(invalid("An alias can point to a maximum of two function versions."));
        }
        if !(0.0..=1.0).contains(weight) {
            return Err(invalid("The weight of an additional version must be a number from 0.0 to 1.0."));
        }
        let additional = match Version::parse(asked) {
            Some(Version::Number(number)) => (number, *weight),
            Some(Version::Latest) => return Err(latest_is_alone()),
            None => return Err(target.with(asked).not_found()),
        };
        check_pair(version, Some(additional))?;
        self.alias_version(target, asked).await?;
        Ok(Some(additional))
    }
}

/// Refuses two versions that an alias cannot lead to at once.
fn check_pair(version: Version, additional: Option<(u64, f64)>) -> Result<(), AwsError> {
    match (version, additional) {
        (_, None) => Ok(()),
        (Version::Latest, Some(_)) => Err(latest_is_alone()),
        (Version::Number(number), Some((other, _))) if number == other => Err(invalid(format!(
            "Invalid function version {number}. Function version {number} is already included in routing \
             configuration."
        ))),
        (Version::Number(_), Some(_)) => Ok(()),
    }
}

fn latest_is_alone() -> AwsError {
    invalid("$LATEST is not supported for an alias pointing to more than 1 version")
}

/// An alias as the API shows it.
fn view(scope: &Scope, function: &str, alias: &AliasRecord) -> AliasConfiguration {
    let weights = alias.additional.map(|(version, weight)| BTreeMap::from([(version.to_string(), weight)]));
    AliasConfiguration {
        alias_arn: Some(format!("{}:{}", scope.function_arn(function), alias.name)),
        name: Some(alias.name.clone()),
        function_version: Some(alias.version.to_string()),
        description: Some(alias.description.clone()),
        routing_config: weights
            .map(|weights| AliasRoutingConfiguration { additional_version_weights: Some(weights) }),
        revision_id: Some(alias.revision_id.clone()),
    }
}
