//! Small settings of functions and versions: recursive loop detection and runtime management.

use lambkin_model::lambda::{
    GetFunctionRecursionConfigRequest, GetFunctionRecursionConfigResponse, GetRuntimeManagementConfigRequest,
    GetRuntimeManagementConfigResponse, PutFunctionRecursionConfigRequest,
    PutFunctionRecursionConfigResponse, PutRuntimeManagementConfigRequest,
    PutRuntimeManagementConfigResponse,
};
use lambkin_model::{AwsError, RequestContext};
use serde::{Deserialize, Serialize};

use super::Inner;
use super::dependents::Dependent;
use super::faults::invalid;
use super::names::LATEST;
use super::record::FORMAT;
use super::resolve::Found;
use super::view::runtime_version_arn;

/// What happens when a function turns out to invoke itself; without a record, `Terminate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Recursion {
    v: u32,
    allow: bool,
}

impl Dependent for Recursion {
    const KIND: &'static str = "lambda.recursion";

    fn format(&self) -> u32 {
        self.v
    }
}

/// When a version may get another runtime than it has; without a record, `Auto`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RuntimeManagement {
    v: u32,
    update_on: String,
    /// The one runtime to run with, for `Manual`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pinned: Option<String>,
}

impl Dependent for RuntimeManagement {
    const KIND: &'static str = "lambda.runtime-management";

    fn format(&self) -> u32 {
        self.v
    }
}

impl RuntimeManagement {
    /// The runtime version's ARN that this version is bound to, if it is.
    pub(crate) fn pinned(&self) -> Option<&str> {
        self.pinned.as_deref()
    }
}

impl Inner {
    pub(crate) fn get_recursion(
        &self,
        context: &RequestContext,
        request: &GetFunctionRecursionConfigRequest,
    ) -> Result<GetFunctionRecursionConfigResponse, AwsError> {
        let name = request.function_name.as_deref();
        let found = self.find(context, "GetFunctionRecursionConfig", name, None)?;
        let allow = found.entry.dependent::<Recursion>(LATEST).is_some_and(|setting| setting.allow);
        let recursive_loop = if allow { "Allow" } else { "Terminate" };
        Ok(GetFunctionRecursionConfigResponse { recursive_loop: Some(recursive_loop.to_owned()) })
    }

    pub(crate) async fn put_recursion(
        &self,
        context: &RequestContext,
        request: PutFunctionRecursionConfigRequest,
    ) -> Result<PutFunctionRecursionConfigResponse, AwsError> {
        let name = request.function_name.as_deref();
        let target = self.resolve(context, "PutFunctionRecursionConfig", name, None)?.require_latest()?;
        let asked = request.recursive_loop.unwrap_or_default();
        let allow = asked == "Allow";
        self.set_dependent(&target, |_| Ok((Some(Recursion { v: FORMAT, allow }), ()))).await?;
        Ok(PutFunctionRecursionConfigResponse { recursive_loop: Some(asked) })
    }

    pub(crate) fn get_runtime_management(
        &self,
        context: &RequestContext,
        request: &GetRuntimeManagementConfigRequest,
    ) -> Result<GetRuntimeManagementConfigResponse, AwsError> {
        let (name, qualifier) = (request.function_name.as_deref(), request.qualifier.as_deref());
        let found = self.find(context, "GetRuntimeManagementConfig", name, qualifier)?;
        refuse_alias(&found)?;
        let setting = found.entry.dependent::<RuntimeManagement>(found.qualifier());
        let update_on = setting.as_ref().map_or("Auto", |setting| &setting.update_on);
        Ok(GetRuntimeManagementConfigResponse {
            update_runtime_on: Some(update_on.to_owned()),
            function_arn: Some(found.target.arn()),
            runtime_version_arn: setting.and_then(|setting| setting.pinned.clone()),
        })
    }

    pub(crate) async fn put_runtime_management(
        &self,
        context: &RequestContext,
        request: PutRuntimeManagementConfigRequest,
    ) -> Result<PutRuntimeManagementConfigResponse, AwsError> {
        let (name, qualifier) = (request.function_name.as_deref(), request.qualifier.as_deref());
        let found = self.find(context, "PutRuntimeManagementConfig", name, qualifier)?;
        refuse_alias(&found)?;
        let update_on = request.update_runtime_on.unwrap_or_default();
        let pinned = request.runtime_version_arn.filter(|arn| !arn.is_empty());
        match (&*update_on, &pinned) {
            ("Manual", Some(arn)) => check_pin(&found, arn)?,
            ("Manual", None) => {
                return Err(invalid("RuntimeVersionArn is required when UpdateRuntimeOn is Manual."));
            }
            (_, Some(_)) => {
                return Err(invalid("RuntimeVersionArn can be set only when UpdateRuntimeOn is Manual."));
            }
            (_, None) => {}
        }
        let setting = RuntimeManagement { v: FORMAT, update_on: update_on.clone(), pinned: pinned.clone() };
        self.set_dependent(&found.target, |_| Ok((Some(setting.clone()), ()))).await?;
        Ok(PutRuntimeManagementConfigResponse {
            update_runtime_on: Some(update_on),
            function_arn: Some(found.target.arn()),
            runtime_version_arn: pinned,
        })
    }
}

/// Runtimes belong to versions.
fn refuse_alias(found: &Found) -> Result<(), AwsError> {
    match &found.alias {
        None => Ok(()),
        Some(alias) => Err(invalid(format!(
            "Runtime management is set for versions, and {} is an alias. Name a version or $LATEST.",
            alias.name
        ))),
    }
}

/// A version can be bound to the runtime that this host runs it with, and to no other.
fn check_pin(found: &Found, arn: &str) -> Result<(), AwsError> {
    let present = found.snapshot().runtime_version.as_deref();
    let present = present.map(|version| runtime_version_arn(&found.target.scope, version));
    match present {
        Some(present) if present == arn => Ok(()),
        Some(present) => Err(invalid(format!(
            "Lambkin runs functions with the runtimes of its host and cannot provide the runtime version {arn}. \
             This version of the function runs with {present}."
        ))),
        None => Err(invalid(format!(
            "Lambkin runs functions with the runtimes of its host, and this version of the function has none yet. \
             It cannot provide the runtime version {arn}."
        ))),
    }
}
