//! Reads: functions, lists, account figures, and the settings that no function has yet, which are answered
//! as for a function without them.

use lambkin_core::ids::Scope;
use lambkin_model::lambda::{
    AccountLimit, AccountUsage, FunctionCodeLocation, FunctionConfiguration, GetAccountSettingsResponse,
    GetFunctionCodeSigningConfigResponse, GetFunctionConcurrencyResponse, GetFunctionRecursionConfigResponse,
    GetFunctionRequest, GetFunctionResponse, GetRuntimeManagementConfigResponse, ListFunctionsRequest,
    ListFunctionsResponse, ListVersionsByFunctionRequest, ListVersionsByFunctionResponse,
};
use lambkin_model::{AwsError, RequestContext};

use super::archive::MAX_UNZIPPED;
use super::create::{MAX_TOTAL_CODE, MAX_ZIP};
use super::faults::{invalid, not_found};
use super::names::{self, LATEST, Target};
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
        let target = self.target(context, "GetFunction", &request.function_name, &request.qualifier)?;
        let entry = self.entry(&target)?;
        let record = &entry.record;
        let location = self.signer.link(
            &context.endpoint,
            &target.scope,
            &target.name,
            &record.current.code.sha256,
            self.clock.now(),
        );
        Ok(GetFunctionResponse {
            configuration: Some(view::configuration(&target.scope, record, target.qualifier.as_deref())),
            code: Some(FunctionCodeLocation {
                repository_type: Some("S3".to_owned()),
                location: Some(location),
                ..Default::default()
            }),
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
        let target = self.target(context, "GetFunctionConfiguration", name, qualifier)?;
        let entry = self.entry(&target)?;
        Ok(view::configuration(&target.scope, &entry.record, target.qualifier.as_deref()))
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
        let mut entries = self.catalogue.list(&scope, after.as_deref(), page + 1);
        let next_marker = paging::cut(&mut entries, page, |entry| &entry.record.name);
        let qualifier = all_versions.then_some(LATEST);
        let functions = entries.iter().map(|entry| view::listed(&scope, &entry.record, qualifier)).collect();
        Ok(ListFunctionsResponse { functions: Some(functions), next_marker })
    }

    pub(crate) fn list_versions(
        &self,
        context: &RequestContext,
        request: &ListVersionsByFunctionRequest,
    ) -> Result<ListVersionsByFunctionResponse, AwsError> {
        let target = self.target(context, "ListVersionsByFunction", &request.function_name, &None)?;
        let entry = self.entry(&Target { qualifier: None, ..target.clone() })?;
        let after = place(request.marker.as_deref())?;
        // The one version is on the first page.
        let versions = match after {
            None => vec![view::listed(&target.scope, &entry.record, Some(LATEST))],
            Some(_) => Vec::new(),
        };
        Ok(ListVersionsByFunctionResponse { versions: Some(versions), next_marker: None })
    }

    pub(crate) fn get_account_settings(&self, context: &RequestContext) -> GetAccountSettingsResponse {
        let (code, functions) = self.code_usage(&names::scope_of(context));
        let concurrency = i32::try_from(self.config.concurrent_executions).unwrap_or(i32::MAX);
        let signed = |value: u64| Some(i64::try_from(value).unwrap_or(i64::MAX));
        GetAccountSettingsResponse {
            account_limit: Some(AccountLimit {
                total_code_size: signed(MAX_TOTAL_CODE),
                code_size_unzipped: signed(MAX_UNZIPPED),
                code_size_zipped: signed(MAX_ZIP as u64),
                concurrent_executions: Some(concurrency),
                unreserved_concurrent_executions: Some(concurrency),
            }),
            account_usage: Some(AccountUsage {
                total_code_size: signed(code),
                function_count: signed(functions as u64),
            }),
        }
    }

    /// Bytes of all packages and number of functions.
    pub(crate) fn code_usage(&self, scope: &Scope) -> (u64, usize) {
        let entries = self.catalogue.list(scope, None, usize::MAX);
        (entries.iter().map(|entry| entry.record.current.code.size).sum(), entries.len())
    }

    pub(crate) fn get_runtime_management(
        &self,
        context: &RequestContext,
        name: &Option<String>,
        qualifier: &Option<String>,
    ) -> Result<GetRuntimeManagementConfigResponse, AwsError> {
        let target = self.target(context, "GetRuntimeManagementConfig", name, qualifier)?;
        self.entry(&target)?;
        Ok(GetRuntimeManagementConfigResponse {
            update_runtime_on: Some("Auto".to_owned()),
            function_arn: Some(target.arn()),
            runtime_version_arn: None,
        })
    }

    pub(crate) fn get_recursion(
        &self,
        context: &RequestContext,
        name: &Option<String>,
    ) -> Result<GetFunctionRecursionConfigResponse, AwsError> {
        self.existing(context, "GetFunctionRecursionConfig", name, &None)?;
        Ok(GetFunctionRecursionConfigResponse { recursive_loop: Some("Terminate".to_owned()) })
    }

    pub(crate) fn get_code_signing(
        &self,
        context: &RequestContext,
        name: &Option<String>,
    ) -> Result<GetFunctionCodeSigningConfigResponse, AwsError> {
        let target = self.existing(context, "GetFunctionCodeSigningConfig", name, &None)?;
        Ok(GetFunctionCodeSigningConfigResponse {
            code_signing_config_arn: None,
            function_name: Some(target.name),
        })
    }

    pub(crate) fn get_concurrency(
        &self,
        context: &RequestContext,
        name: &Option<String>,
    ) -> Result<GetFunctionConcurrencyResponse, AwsError> {
        self.existing(context, "GetFunctionConcurrency", name, &None)?;
        Ok(GetFunctionConcurrencyResponse::default())
    }

    /// What reads of a part answer that the function does not have.
    pub(crate) fn absent(
        &self,
        context: &RequestContext,
        operation: &str,
        name: &Option<String>,
        qualifier: &Option<String>,
        message: impl FnOnce(&Target) -> String,
    ) -> AwsError {
        match self.existing(context, operation, name, qualifier) {
            Ok(target) => not_found(message(&target)),
            Err(error) => error,
        }
    }

    /// The target of a request, if that function exists.
    pub(crate) fn existing(
        &self,
        context: &RequestContext,
        operation: &str,
        name: &Option<String>,
        qualifier: &Option<String>,
    ) -> Result<Target, AwsError> {
        let target = self.target(context, operation, name, qualifier)?;
        self.entry(&target)?;
        Ok(target)
    }

    fn target(
        &self,
        context: &RequestContext,
        operation: &str,
        name: &Option<String>,
        qualifier: &Option<String>,
    ) -> Result<Target, AwsError> {
        names::resolve(context, operation, name.as_deref(), qualifier.as_deref())
    }
}

/// Items per page for a MaxItems.
fn page(max_items: Option<i32>) -> usize {
    max_items.and_then(|items| usize::try_from(items).ok()).map_or(PAGE, |items| items.clamp(1, PAGE))
}

/// The place a Marker stands for.
fn place(marker: Option<&str>) -> Result<Option<String>, AwsError> {
    match marker {
        None | Some("") => Ok(None),
        Some(marker) => paging::from_token(marker).map(Some).ok_or_else(|| invalid("Invalid Marker.")),
    }
}
