//! Provisioned concurrency: how many environments of a version, or of the version or versions that an alias leads
//! to, are to be initialised ahead of invocations. The invoker keeps them; this decides how many, and tells what has
//! become of them.

use std::collections::BTreeMap;

use lambkin_core::concurrency::Provisioned;
use lambkin_model::lambda::{
    DeleteProvisionedConcurrencyConfigRequest, GetProvisionedConcurrencyConfigRequest,
    GetProvisionedConcurrencyConfigResponse, ListProvisionedConcurrencyConfigsRequest,
    ListProvisionedConcurrencyConfigsResponse, ProvisionedConcurrencyConfigListItem,
    PutProvisionedConcurrencyConfigRequest, PutProvisionedConcurrencyConfigResponse, errors,
};
use lambkin_model::{AwsError, RequestContext};
use serde::{Deserialize, Serialize};

use super::Inner;
use super::catalogue::Entry;
use super::concurrency::reserved;
use super::dependents::Dependent;
use super::faults::{conflict, invalid};
use super::names::{LATEST, Target, Version};
use super::read::{page, place};
use super::record::{AliasRecord, FORMAT, State};
use super::resolve::Found;
use super::view::whole_seconds;
use crate::paging;

/// ProvisionedConcurrentExecutions of a version or an alias.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProvisionedConfig {
    v: u32,
    modified_ms: i64,
    executions: u32,
}

impl Dependent for ProvisionedConfig {
    const KIND: &'static str = "lambda.provisioned-concurrency";

    fn format(&self) -> u32 {
        self.v
    }
}

/// How many environments each version is to have for one configuration.
type Shares = Vec<(u64, u32)>;

/// What has become of one configuration.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    requested: u32,
    allocated: u32,
    status: &'static str,
    reason: Option<String>,
    modified: String,
}

/// How the environments of a configuration spread over versions: those of an alias with weights by its weights.
fn shares(entry: &Entry, qualifier: &str, executions: u32) -> Shares {
    if let Some(Version::Number(number)) = Version::parse(qualifier) {
        return vec![(number, executions)];
    }
    let Some(alias) = entry.aliases.get(qualifier) else { return Vec::new() };
    let Version::Number(main) = alias.version else { return Vec::new() };
    let Some((other, weight)) = alias.additional else { return vec![(main, executions)] };
    let of_other = part(executions, weight);
    vec![(main, executions - of_other), (other, of_other)]
}

/// The part of a number that a weight stands for, rounded to whole ones.
fn part(number: u32, weight: f64) -> u32 {
    // Of a weight between 0 and 1 it is no more than the number.
    ((f64::from(number) * weight).round() as u32).min(number)
}

/// How many environments each version is to have in all.
pub(crate) fn per_version(entry: &Entry) -> BTreeMap<u64, u32> {
    let mut all = BTreeMap::new();
    for (qualifier, config) in entry.dependents::<ProvisionedConfig>() {
        for (number, count) in shares(entry, qualifier, config.executions) {
            let sum = all.entry(number).or_insert(0_u32);
            *sum = sum.saturating_add(count);
        }
    }
    all.retain(|_, count| *count > 0);
    all
}

/// How many environments a function is to have initialised, without those for `except`.
pub(crate) fn total(entry: &Entry, except: Option<&str>) -> u64 {
    let configs = entry.dependents::<ProvisionedConfig>();
    let counted = configs.filter(|(qualifier, _)| Some(*qualifier) != except);
    counted.map(|(_, config)| u64::from(config.executions)).sum()
}

impl Inner {
    pub(crate) async fn put_provisioned(
        &self,
        context: &RequestContext,
        request: PutProvisionedConcurrencyConfigRequest,
    ) -> Result<PutProvisionedConcurrencyConfigResponse, AwsError> {
        let (name, qualifier) = (request.function_name.as_deref(), request.qualifier.as_deref());
        let target = self.resolve(context, "PutProvisionedConcurrencyConfig", name, qualifier)?;
        let executions = request.provisioned_concurrent_executions.unwrap_or_default();
        let executions = u32::try_from(executions).unwrap_or_default();
        let _alone = self.concurrency_changes.lock().await;
        if is_latest(&target) {
            return Err(unpublished());
        }
        let found = self.find_target(target.clone())?;
        check_owner(&found)?;
        let entry = &found.entry;
        let next = total(entry, Some(found.qualifier())) + u64::from(executions);
        match reserved(entry) {
            Some(reserved) if next > u64::from(reserved) => {
                return Err(invalid(
                    "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution \
                     for function",
                ));
            }
            Some(_) => {}
            None => self.check_unreserved(entry, next, "ConcurrentExecutions")?,
        }
        let modified_ms = self.clock.now_ms();
        let config = ProvisionedConfig { v: FORMAT, modified_ms, executions };
        self.set_dependent(&target, |_| Ok((Some(config.clone()), ()))).await?;
        let found = self.find_target(target)?;
        let shown = self.shown(&found.entry, found.qualifier(), &config);
        tracing::info!(function = %found.target.arn(), executions, "provisioned concurrency set");
        Ok(PutProvisionedConcurrencyConfigResponse {
            requested_provisioned_concurrent_executions: signed(shown.requested),
            available_provisioned_concurrent_executions: signed(shown.allocated),
            allocated_provisioned_concurrent_executions: signed(shown.allocated),
            status: Some(shown.status.to_owned()),
            status_reason: shown.reason,
            last_modified: Some(shown.modified),
        })
    }

    pub(crate) fn get_provisioned(
        &self,
        context: &RequestContext,
        request: &GetProvisionedConcurrencyConfigRequest,
    ) -> Result<GetProvisionedConcurrencyConfigResponse, AwsError> {
        let (name, qualifier) = (request.function_name.as_deref(), request.qualifier.as_deref());
        let found = self.find(context, "GetProvisionedConcurrencyConfig", name, qualifier)?;
        refuse_latest(&found.target)?;
        let Some(config) = found.entry.dependent::<ProvisionedConfig>(found.qualifier()) else {
            return Err(errors::provisioned_concurrency_config_not_found_exception(
                "No Provisioned Concurrency Config found for this function",
            )
            .with("Type", "User"));
        };
        let shown = self.shown(&found.entry, found.qualifier(), &config);
        Ok(GetProvisionedConcurrencyConfigResponse {
            requested_provisioned_concurrent_executions: signed(shown.requested),
            available_provisioned_concurrent_executions: signed(shown.allocated),
            allocated_provisioned_concurrent_executions: signed(shown.allocated),
            status: Some(shown.status.to_owned()),
            status_reason: shown.reason,
            last_modified: Some(shown.modified),
        })
    }

    pub(crate) fn list_provisioned(
        &self,
        context: &RequestContext,
        request: &ListProvisionedConcurrencyConfigsRequest,
    ) -> Result<ListProvisionedConcurrencyConfigsResponse, AwsError> {
        let name = request.function_name.as_deref();
        let found = self.find(context, "ListProvisionedConcurrencyConfigs", name, None)?;
        let after = place(request.marker.as_deref())?;
        let page = page(request.max_items);
        let configs = found.entry.dependents::<ProvisionedConfig>();
        let rest = configs.filter(|(qualifier, _)| after.as_deref().is_none_or(|after| *qualifier > after));
        let mut configs: Vec<_> = rest.take(page + 1).collect();
        let next_marker = paging::cut(&mut configs, page, |(qualifier, _)| qualifier);
        let function_arn = found.target.scope.function_arn(&found.target.name);
        let items = configs.iter().map(|(qualifier, config)| {
            let shown = self.shown(&found.entry, qualifier, config);
            ProvisionedConcurrencyConfigListItem {
                function_arn: Some(format!("{function_arn}:{qualifier}")),
                requested_provisioned_concurrent_executions: signed(shown.requested),
                available_provisioned_concurrent_executions: signed(shown.allocated),
                allocated_provisioned_concurrent_executions: signed(shown.allocated),
                status: Some(shown.status.to_owned()),
                status_reason: shown.reason,
                last_modified: Some(shown.modified),
            }
        });
        Ok(ListProvisionedConcurrencyConfigsResponse {
            provisioned_concurrency_configs: Some(items.collect()),
            next_marker,
        })
    }

    /// Deletes a configuration; one that is not there is as good as deleted.
    pub(crate) async fn delete_provisioned(
        &self,
        context: &RequestContext,
        request: DeleteProvisionedConcurrencyConfigRequest,
    ) -> Result<(), AwsError> {
        let (name, qualifier) = (request.function_name.as_deref(), request.qualifier.as_deref());
        let target = self.resolve(context, "DeleteProvisionedConcurrencyConfig", name, qualifier)?;
        let _alone = self.concurrency_changes.lock().await;
        let found = self.find_target(target)?;
        refuse_latest(&found.target)?;
        self.set_dependent::<ProvisionedConfig, _>(&found.target, |_| Ok((None, ()))).await
    }

    /// Refuses to lead an alias with provisioned concurrency where there can be none. The caller holds
    /// `concurrency_changes`.
    pub(crate) fn check_provisioned_alias(
        &self,
        target: &Target,
        next: &AliasRecord,
    ) -> Result<(), AwsError> {
        let Some(entry) = self.catalogue.get(&target.scope, &target.name) else { return Ok(()) };
        if entry.dependent::<ProvisionedConfig>(&next.name).is_none() {
            return Ok(());
        }
        if next.version == Version::Latest {
            return Err(unpublished());
        }
        check_alias(&entry, next)
    }

    /// What has become of a configuration. Several that lead to one version share what it has, in the order of
    /// their names.
    fn shown(&self, entry: &Entry, qualifier: &str, config: &ProvisionedConfig) -> Shown {
        let mut allocated = 0;
        let mut failure = None;
        let mut pending = false;
        for (number, count) in shares(entry, qualifier, config.executions) {
            if count == 0 {
                continue;
            }
            let version = entry.versions.get(&number);
            let there = match version.and_then(|version| version.spec.as_ref()) {
                Some(spec) => self.invoker.provisioned(spec),
                None => Provisioned::default(),
            };
            if let Some(version) = version
                && version.record.state.is == State::Failed
            {
                failure.clone_from(&version.record.state.reason);
            }
            let before: u32 = entry
                .dependents::<ProvisionedConfig>()
                .take_while(|(other, _)| *other < qualifier)
                .flat_map(|(other, config)| shares(entry, other, config.executions))
                .filter(|(other, _)| *other == number)
                .map(|(_, count)| count)
                .sum();
            let own = there.allocated.saturating_sub(before).min(count);
            allocated += own;
            pending |= own < count;
            if own < count {
                failure = failure.or(there.failure.map(ToOwned::to_owned));
            }
        }
        let status = match (&failure, pending) {
            (_, false) => "READY",
            (Some(_), true) => "FAILED",
            (None, true) => "IN_PROGRESS",
        };
        Shown {
            requested: config.executions,
            allocated,
            status,
            reason: failure.filter(|_| pending),
            modified: whole_seconds(config.modified_ms),
        }
    }
}

fn signed(count: u32) -> Option<i32> {
    Some(i32::try_from(count).unwrap_or(i32::MAX))
}

fn is_latest(target: &Target) -> bool {
    matches!(target.qualifier.as_deref(), None | Some(LATEST))
}

fn unpublished() -> AwsError {
    invalid("Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
}

fn refuse_latest(target: &Target) -> Result<(), AwsError> {
    if is_latest(target) {
        return Err(invalid("The function resource provided must be an alias or a published version."));
    }
    Ok(())
}

/// Refuses what provisioned concurrency cannot be set for.
fn check_owner(found: &Found) -> Result<(), AwsError> {
    let Some(alias) = &found.alias else {
        let Some(version) = &found.published else { return Err(unpublished()) };
        let leads_there = |alias: &str| {
            found.entry.aliases.get(alias).is_some_and(|alias| alias.leads_to(version.record.number))
        };
        return match found.entry.dependents::<ProvisionedConfig>().find(|(other, _)| leads_there(other)) {
            None => Ok(()),
            Some((alias, _)) => Err(conflict(format!(
                "Version can't be used for Provisioned Concurrency configuration: the alias {alias}, which points \
                 to it, is already provisioned"
            ))),
        };
    };
    if found.published.is_none() {
        return Err(unpublished());
    }
    if alias.additional.is_some() {
        return Err(invalid("Alias with weights can not be used with Provisioned Concurrency"));
    }
    check_alias(&found.entry, alias)
}

/// Refuses an alias whose version has a configuration of its own.
fn check_alias(entry: &Entry, alias: &AliasRecord) -> Result<(), AwsError> {
    let is_own = |qualifier: &str| matches!(Version::parse(qualifier), Some(Version::Number(number)) if alias.leads_to(number));
    if entry.dependents::<ProvisionedConfig>().any(|(qualifier, _)| is_own(qualifier)) {
        return Err(conflict(
            "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn weights_spread_all_and_no_more(number in 1..10_000u32, weight in 0.0..=1.0f64) {
            let other = part(number, weight);
            prop_assert!(other <= number);
            prop_assert!((f64::from(other) - f64::from(number) * weight).abs() <= 0.5);
        }
    }
}
