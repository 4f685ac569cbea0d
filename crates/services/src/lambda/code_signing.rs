//! Code signing configurations: who may sign code, and what becomes of code that none of them has signed. They are
//! kept and shown; no function can have one, because Lambkin knows no signing profile by which it could verify code.

use std::collections::BTreeMap;

use lambkin_core::ids::Scope;
use lambkin_model::lambda::{
    AllowedPublishers, CodeSigningConfig, CodeSigningPolicies, CreateCodeSigningConfigRequest,
    CreateCodeSigningConfigResponse, DeleteCodeSigningConfigRequest, DeleteCodeSigningConfigResponse,
    DeleteFunctionCodeSigningConfigRequest, GetCodeSigningConfigRequest, GetCodeSigningConfigResponse,
    GetFunctionCodeSigningConfigRequest, GetFunctionCodeSigningConfigResponse, ListCodeSigningConfigsRequest,
    ListCodeSigningConfigsResponse, ListFunctionsByCodeSigningConfigRequest,
    ListFunctionsByCodeSigningConfigResponse, PutFunctionCodeSigningConfigRequest,
    PutFunctionCodeSigningConfigResponse, UpdateCodeSigningConfigRequest, UpdateCodeSigningConfigResponse,
    errors,
};
use lambkin_model::{AwsError, RequestContext};
use serde::{Deserialize, Serialize};

use super::Inner;
use super::faults::{self, invalid, not_found};
use super::read::{page, place};
use super::record::FORMAT;
use super::resources::{self, Resource};
use super::{names, tags, view};
use crate::paging;

/// A code signing configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Signing {
    v: u32,
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// ARNs of versions of signing profiles.
    publishers: Vec<String>,
    /// Whether untrusted code is kept out, instead of being mentioned.
    enforce: bool,
    modified_ms: i64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
}

impl Resource for Signing {
    const KIND: &'static str = "lambda.code-signing-config";

    fn format(&self) -> u32 {
        self.v
    }
}

impl tags::Tagged for Signing {
    fn tags(&mut self) -> &mut BTreeMap<String, String> {
        &mut self.tags
    }
}

impl Signing {
    fn view(&self, scope: &Scope) -> CodeSigningConfig {
        let policy = if self.enforce { "Enforce" } else { "Warn" };
        CodeSigningConfig {
            code_signing_config_id: Some(self.id.clone()),
            code_signing_config_arn: Some(arn(scope, &self.id)),
            description: self.description.clone(),
            allowed_publishers: Some(AllowedPublishers {
                signing_profile_version_arns: Some(self.publishers.clone()),
            }),
            code_signing_policies: Some(CodeSigningPolicies {
                untrusted_artifact_on_deployment: Some(policy.to_owned()),
            }),
            last_modified: Some(view::last_modified(self.modified_ms)),
        }
    }
}

/// ARN of a configuration.
fn arn(scope: &Scope, id: &str) -> String {
    format!("arn:{}:lambda:{}:{}:code-signing-config:{id}", scope.partition(), scope.region, scope.account)
}

/// The id in an ARN of the caller's account and region.
fn id_of<'a>(scope: &Scope, arn: &'a str) -> Option<&'a str> {
    match arn.splitn(7, ':').collect::<Vec<_>>().as_slice() {
        [_, _, "lambda", region, account, "code-signing-config", id]
            if *region == &*scope.region && *account == &*scope.account =>
        {
            Some(id)
        }
        _ => None,
    }
}

/// A fresh id: `csc-` and 17 digits of base 16.
fn new_id() -> String {
    let digits = uuid::Uuid::new_v4().simple().to_string();
    format!("csc-{}", digits.get(..17).unwrap_or_default())
}

fn absent(arn: &str) -> AwsError {
    not_found(format!("The code signing configuration {arn} does not exist."))
}

/// What a function is to have and is not there.
fn not_to_be_found(arn: &str) -> AwsError {
    errors::code_signing_config_not_found_exception(format!(
        "The code signing configuration {arn} does not exist."
    ))
    .with("Type", "User")
}

/// ARNs of versions of signing profiles, checked.
fn publishers(asked: AllowedPublishers) -> Result<Vec<String>, AwsError> {
    let arns = asked.signing_profile_version_arns.unwrap_or_default();
    if arns.is_empty() {
        return Err(invalid("AllowedPublishers must name a signing profile version."));
    }
    for arn in &arns {
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let profile = match parts.as_slice() {
            ["arn", _, "signer", region, account, profile] if !region.is_empty() && !account.is_empty() => {
                profile.strip_prefix("/signing-profiles/")
            }
            _ => None,
        };
        let fits = profile
            .and_then(|profile| profile.split_once('/'))
            .is_some_and(|(name, version)| !name.is_empty() && !version.is_empty() && !version.contains('/'));
        if !fits {
            return Err(invalid(format!("{arn} is not the ARN of a signing profile version.")));
        }
    }
    Ok(arns)
}

/// Whether a policy keeps untrusted code out; none where it is not given.
fn enforces(asked: Option<CodeSigningPolicies>) -> Option<bool> {
    let policy = asked?.untrusted_artifact_on_deployment?;
    Some(policy == "Enforce")
}

impl Inner {
    pub(crate) async fn create_signing(
        &self,
        context: &RequestContext,
        request: CreateCodeSigningConfigRequest,
    ) -> Result<CreateCodeSigningConfigResponse, AwsError> {
        let scope = names::scope_of(context);
        let signing = Signing {
            v: FORMAT,
            id: new_id(),
            description: request.description,
            publishers: publishers(request.allowed_publishers.unwrap_or_default())?,
            enforce: enforces(request.code_signing_policies).unwrap_or(false),
            modified_ms: self.clock.now_ms(),
            tags: tags::check(BTreeMap::new(), request.tags.unwrap_or_default())?,
        };
        if !self.commit(vec![resources::create(&scope, &signing.id, &signing)?]).await? {
            return Err(faults::service("a new code signing configuration has the id of another"));
        }
        tracing::warn!(
            config = %signing.id,
            "no signing profiles are known: the code signing configuration is kept, and no function can have it"
        );
        Ok(CreateCodeSigningConfigResponse { code_signing_config: Some(signing.view(&scope)) })
    }

    pub(crate) fn get_signing(
        &self,
        context: &RequestContext,
        request: &GetCodeSigningConfigRequest,
    ) -> Result<GetCodeSigningConfigResponse, AwsError> {
        let (scope, signing) = self.signing(context, request.code_signing_config_arn.as_deref(), absent)?;
        Ok(GetCodeSigningConfigResponse { code_signing_config: Some(signing.view(&scope)) })
    }

    pub(crate) fn list_signings(
        &self,
        context: &RequestContext,
        request: &ListCodeSigningConfigsRequest,
    ) -> Result<ListCodeSigningConfigsResponse, AwsError> {
        let scope = names::scope_of(context);
        let after = place(request.marker.as_deref())?;
        let page = page(request.max_items);
        let mut signings = self.catalogue.resources::<Signing>(&scope, after.as_deref(), page + 1, |_| true);
        let next_marker = paging::cut(&mut signings, page, |signing| &signing.id);
        let configs = signings.iter().map(|signing| signing.view(&scope)).collect();
        Ok(ListCodeSigningConfigsResponse { next_marker, code_signing_configs: Some(configs) })
    }

    pub(crate) async fn update_signing(
        &self,
        context: &RequestContext,
        request: UpdateCodeSigningConfigRequest,
    ) -> Result<UpdateCodeSigningConfigResponse, AwsError> {
        let scope = names::scope_of(context);
        let arn = request.code_signing_config_arn.unwrap_or_default();
        let id = id_of(&scope, &arn).ok_or_else(|| absent(&arn))?;
        let publishers = request.allowed_publishers.map(publishers).transpose()?;
        let enforce = enforces(request.code_signing_policies);
        let now_ms = self.clock.now_ms();
        let signing = self
            .change_resource::<Signing>(
                &scope,
                id,
                || absent(&arn),
                |present| {
                    Ok(Some(Signing {
                        v: FORMAT,
                        description: request.description.clone().or(present.description),
                        publishers: publishers.clone().unwrap_or(present.publishers),
                        enforce: enforce.unwrap_or(present.enforce),
                        modified_ms: now_ms,
                        ..present
                    }))
                },
            )
            .await?;
        Ok(UpdateCodeSigningConfigResponse {
            code_signing_config: signing.map(|signing| signing.view(&scope)),
        })
    }

    pub(crate) async fn delete_signing(
        &self,
        context: &RequestContext,
        request: DeleteCodeSigningConfigRequest,
    ) -> Result<DeleteCodeSigningConfigResponse, AwsError> {
        let scope = names::scope_of(context);
        let arn = request.code_signing_config_arn.unwrap_or_default();
        let id = id_of(&scope, &arn).ok_or_else(|| absent(&arn))?;
        self.change_resource::<Signing>(&scope, id, || absent(&arn), |_| Ok(None)).await?;
        Ok(DeleteCodeSigningConfigResponse {})
    }

    /// The functions with a configuration: none can have one.
    pub(crate) fn list_signed_functions(
        &self,
        context: &RequestContext,
        request: &ListFunctionsByCodeSigningConfigRequest,
    ) -> Result<ListFunctionsByCodeSigningConfigResponse, AwsError> {
        self.signing(context, request.code_signing_config_arn.as_deref(), absent)?;
        place(request.marker.as_deref())?;
        Ok(ListFunctionsByCodeSigningConfigResponse { next_marker: None, function_arns: Some(Vec::new()) })
    }

    pub(crate) fn put_function_signing(
        &self,
        context: &RequestContext,
        request: &PutFunctionCodeSigningConfigRequest,
    ) -> Result<PutFunctionCodeSigningConfigResponse, AwsError> {
        let name = request.function_name.as_deref();
        let target = self.resolve(context, "PutFunctionCodeSigningConfig", name, None)?.require_latest()?;
        self.find_target(target)?;
        self.refuse_signing(context, request.code_signing_config_arn.as_deref())?;
        Err(invalid("CodeSigningConfigArn must not be empty."))
    }

    pub(crate) fn get_function_signing(
        &self,
        context: &RequestContext,
        request: &GetFunctionCodeSigningConfigRequest,
    ) -> Result<GetFunctionCodeSigningConfigResponse, AwsError> {
        let target = self.existing(context, "GetFunctionCodeSigningConfig", &request.function_name, &None)?;
        Ok(GetFunctionCodeSigningConfigResponse {
            code_signing_config_arn: None,
            function_name: Some(target.name),
        })
    }

    /// Leaves a function without a configuration, as every function is.
    pub(crate) fn delete_function_signing(
        &self,
        context: &RequestContext,
        request: &DeleteFunctionCodeSigningConfigRequest,
    ) -> Result<(), AwsError> {
        let name = request.function_name.as_deref();
        let target =
            self.resolve(context, "DeleteFunctionCodeSigningConfig", name, None)?.require_latest()?;
        self.find_target(target)?;
        Ok(())
    }

    /// Refuses a configuration for a function: an empty ARN means none and passes.
    ///
    /// # Errors
    /// `CodeSigningConfigNotFoundException`, and for one that is there the signing profiles that are not known.
    pub(crate) fn refuse_signing(&self, context: &RequestContext, arn: Option<&str>) -> Result<(), AwsError> {
        let Some(arn) = arn.filter(|arn| !arn.is_empty()) else { return Ok(()) };
        let (_, signing) = self.signing(context, Some(arn), not_to_be_found)?;
        Err(invalid(format!(
            "Lambkin cannot verify signed code yet: it does not know the signing profiles of the code signing \
             configuration {arn}: {}.",
            signing.publishers.join(", ")
        )))
    }

    /// Finds a configuration of the caller's.
    fn signing(
        &self,
        context: &RequestContext,
        arn: Option<&str>,
        absent: fn(&str) -> AwsError,
    ) -> Result<(Scope, std::sync::Arc<Signing>), AwsError> {
        let scope = names::scope_of(context);
        let arn = arn.unwrap_or_default();
        let signing = id_of(&scope, arn).and_then(|id| self.catalogue.resource::<Signing>(&scope, id));
        Ok((scope, signing.ok_or_else(|| absent(arn))?))
    }
}
