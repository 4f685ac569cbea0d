//! Reads: functions, lists, account figures, and the settings that no function has yet, which are answered
//! as for a function without them.

use std::ops::Bound;
use std::sync::Arc;

use lambkin_core::ids::Scope;
use lambkin_model::lambda::{
    AccountLimit, AccountUsage, Concurrency, FunctionCodeLocation, FunctionConfiguration,
    GetAccountSettingsResponse, GetFunctionRequest, GetFunctionResponse, ListFunctionsRequest,
    ListFunctionsResponse,
};
use lambkin_model::{AwsError, RequestContext};

use super::archive::MAX_UNZIPPED;
use super::catalogue::Entry;
use super::concurrency;
use super::create::MAX_ZIP;
use super::faults::invalid;
use super::names::{self, Target, Version};
use super::versions::versions_after;
use super::view::Shown;
use super::{Inner, view};
use crate::paging;

/// Most functions in one answer, whatever MaxItems says.
const PAGE: usize = 50;

impl Inner {
    pub(crate) fn get_function(
        &self,
        context: &RequestContext,
        request: &GetFunctionRequest,
    ) -> Result<GetFunctionResponse, AwsError> {
        let (name, qualifier) = (request.function_name.as_deref(), request.qualifier.as_deref());
        let found = self.find(context, "GetFunction", name, qualifier)?;
        let record = &found.entry.record;
        let location = self.signer.link(
            &context.endpoint,
            &found.target.scope,
            &found.target.name,
            &found.snapshot().code.sha256,
            self.clock.now(),
        );
        Ok(GetFunctionResponse {
            configuration: Some(view::configuration(&Shown::found(&found))),
            code: Some(FunctionCodeLocation {
                repository_type: Some("S3".to_owned()),
                location: Some(location),
                ..Default::default()
            }),
            concurrency: concurrency::shown(&found.entry)
                .map(|reserved| Concurrency { reserved_concurrent_executions: Some(reserved) }),
            tags: (!record.tags.is_empty()).then(|| record.tags.clone()),
            ..Default::default()
        })
    }

    pub(crate) fn get_function_configuration(
        &self,
        context: &RequestContext,
        name: &Option<String>,
        qualifier: &Option<String>,
    ) -> Result<FunctionConfiguration, AwsError> {
        let found = self.find(context, "GetFunctionConfiguration", name.as_deref(), qualifier.as_deref())?;
        Ok(view::configuration(&Shown::found(&found)))
    }

    pub(crate) fn list_functions(
        &self,
        context: &RequestContext,
        request: &ListFunctionsRequest,
    ) -> Result<ListFunctionsResponse, AwsError> {
        let all_versions = request.function_version.is_some();
        if request.master_region.is_some() {
            if !all_versions {
                return Err(invalid("FunctionVersion must be set to ALL if MasterRegion is specified."));
            }
            // Only functions replicated to the edge have a master region.
            return Ok(ListFunctionsResponse { functions: Some(Vec::new()), next_marker: None });
        }
        let scope = names::scope_of(context);
        let after = place(request.marker.as_deref())?;
        let page = page(request.max_items);
        if all_versions {
            return self.list_all_versions(&scope, after.as_deref(), page);
        }
        let start = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut entries = self.catalogue.list(&scope, start, page + 1);
        let next_marker = paging::cut(&mut entries, page, |entry| &entry.record.name);
        let functions =
            entries.iter().map(|entry| view::listed(&Shown::latest(&scope, &entry.record))).collect();
        Ok(ListFunctionsResponse { functions: Some(functions), next_marker })
    }

    /// Every version of every function; a page ends with `NAME:VERSION`.
    fn list_all_versions(
        &self,
        scope: &Scope,
        after: Option<&str>,
        page: usize,
    ) -> Result<ListFunctionsResponse, AwsError> {
        let after = match after.map(|place| place.split_once(':')) {
            None => None,
            Some(place) => {
                let place = place.and_then(|(name, version)| Some((name, Version::parse(version)?)));
                Some(place.ok_or_else(|| invalid("Invalid Marker."))?)
            }
        };
        let start = after.map_or(Bound::Unbounded, |(name, _)| Bound::Included(name));
        // Each function has at least one version.
        let entries = self.catalogue.list(scope, start, page + 2);
        let mut versions = Vec::new();
        for entry in &entries {
            let name = &*entry.record.name;
            let after = after.filter(|(last, _)| *last == name).map(|(_, version)| version);
            let rest = (page + 1).saturating_sub(versions.len());
            versions.extend(versions_after(entry, after, rest).into_iter().map(|(version, shown)| {
                (format!("{name}:{version}"), view::listed(&shown.qualified(&version)))
            }));
        }
        let next_marker = paging::cut(&mut versions, page, |(place, _)| place);
        let functions = versions.into_iter().map(|(_, configuration)| configuration).collect();
        Ok(ListFunctionsResponse { functions: Some(functions), next_marker })
    }

    pub(crate) fn get_account_settings(&self, context: &RequestContext) -> GetAccountSettingsResponse {
        let scope = names::scope_of(context);
        let (code, functions) = self.code_usage(&scope);
        let executions = |count: u32| Some(i32::try_from(count).unwrap_or(i32::MAX));
        let signed = |value: u64| Some(i64::try_from(value).unwrap_or(i64::MAX));
        GetAccountSettingsResponse {
            account_limit: Some(AccountLimit {
                total_code_size: signed(self.config.code_storage),
                code_size_unzipped: signed(MAX_UNZIPPED),
                code_size_zipped: signed(MAX_ZIP as u64),
                concurrent_executions: executions(self.config.concurrent_executions),
                unreserved_concurrent_executions: executions(self.unreserved(&scope)),
            }),
            account_usage: Some(AccountUsage {
                total_code_size: signed(code),
                function_count: signed(functions as u64),
            }),
        }
    }

    /// Bytes of the packages of all versions of functions and layers, and number of functions.
    pub(crate) fn code_usage(&self, scope: &Scope) -> (u64, usize) {
        let entries = self.catalogue.list(scope, Bound::Unbounded, usize::MAX);
        let of_function = |entry: &Arc<Entry>| {
            let versions = entry.versions.values().map(|version| version.record.snapshot.code.size);
            entry.record.current.code.size + versions.sum::<u64>()
        };
        let layers = self.catalogue.layers.size(scope);
        (entries.iter().map(of_function).sum::<u64>() + layers, entries.len())
    }

    /// The target of a request, if that function exists.
    pub(crate) fn existing(
        &self,
        context: &RequestContext,
        operation: &str,
        name: &Option<String>,
        qualifier: &Option<String>,
    ) -> Result<Target, AwsError> {
        Ok(self.find(context, operation, name.as_deref(), qualifier.as_deref())?.target)
    }
}

/// Items per page for a MaxItems.
pub(crate) fn page(max_items: Option<i32>) -> usize {
    max_items.and_then(|items| usize::try_from(items).ok()).map_or(PAGE, |items| items.clamp(1, PAGE))
}

/// The place a Marker stands for.
pub(crate) fn place(marker: Option<&str>) -> Result<Option<String>, AwsError> {
    match marker {
        None | Some("") => Ok(None),
        Some(marker) => paging::from_token(marker).map(Some).ok_or_else(|| invalid("Invalid Marker.")),
    }
}
