//! AddLayerVersionPermission, RemoveLayerVersionPermission, GetLayerVersionPolicy: who but the own account may use
//! a layer version.

use lambkin_core::metadata::{Expect, Write};
use lambkin_model::lambda::{
    AddLayerVersionPermissionRequest, AddLayerVersionPermissionResponse, GetLayerVersionPolicyRequest,
    GetLayerVersionPolicyResponse, RemoveLayerVersionPermissionRequest, errors,
};
use lambkin_model::{AwsError, RequestContext};

use super::super::Inner;
use super::super::authorize::Guarded;
use super::super::change::encode;
use super::super::faults::{self, conflict, invalid, not_found, service};
use super::super::permissions::Policy;
use super::super::record::part_key;
use super::names::LayerName;
use super::record::{LayerVersionRecord, VERSION_KIND};
use crate::policy::{Json, ResourcePolicy, principal_of};

impl Inner {
    pub(crate) async fn add_layer_version_permission(
        &self,
        context: &RequestContext,
        request: AddLayerVersionPermissionRequest,
    ) -> Result<AddLayerVersionPermissionResponse, AwsError> {
        let name = request.layer_name.as_deref();
        let (layer, number) =
            self.policy_layer(context, "AddLayerVersionPermission", name, request.version_number)?;
        let statement = statement(&layer, number, &request)?;
        let sid = request.statement_id.as_deref().unwrap_or_default();
        let policy = self
            .change_layer_policy(&layer, number, |present| {
                check_revision(present, request.revision_id.as_deref())?;
                let mut policy = present.map_or_else(|| Ok(ResourcePolicy::new()), Policy::editable)?;
                if policy.has(sid) {
                    return Err(conflict(format!(
                        "The statement id ({sid}) provided already exists. Please provide a new statement id, or \
                         remove the existing statement."
                    )));
                }
                policy.push(statement.clone());
                Ok(Some(Policy::new(&policy)?))
            })
            .await?;
        tracing::info!(layer = %layer.version_arn(number), statement = sid, "layer permission added");
        Ok(AddLayerVersionPermissionResponse {
            statement: Some(serde_json::to_string(&statement).map_err(service)?),
            revision_id: policy.map(|policy| policy.revision_id),
        })
    }

    pub(crate) async fn remove_layer_version_permission(
        &self,
        context: &RequestContext,
        request: RemoveLayerVersionPermissionRequest,
    ) -> Result<(), AwsError> {
        let name = request.layer_name.as_deref();
        let (layer, number) =
            self.policy_layer(context, "RemoveLayerVersionPermission", name, request.version_number)?;
        let sid = request.statement_id.as_deref().unwrap_or_default();
        self.change_layer_policy(&layer, number, |present| {
            let mut policy = present.ok_or_else(no_policy)?.editable()?;
            if !policy.has(sid) {
                return Err(not_found(format!("Statement {sid} is not found in resource policy.")));
            }
            check_revision(present, request.revision_id.as_deref())?;
            policy.remove(sid);
            if policy.is_empty() { Ok(None) } else { Policy::new(&policy).map(Some) }
        })
        .await?;
        tracing::info!(layer = %layer.version_arn(number), statement = sid, "layer permission removed");
        Ok(())
    }

    pub(crate) fn get_layer_version_policy(
        &self,
        context: &RequestContext,
        request: &GetLayerVersionPolicyRequest,
    ) -> Result<GetLayerVersionPolicyResponse, AwsError> {
        let name = request.layer_name.as_deref();
        let (layer, number) =
            self.policy_layer(context, "GetLayerVersionPolicy", name, request.version_number)?;
        let record = u64::try_from(number).ok().and_then(|number| self.catalogue.layers.get(&layer, number));
        let record = record.ok_or_else(|| no_version(&layer, number))?;
        let policy = record.policy.as_ref().ok_or_else(no_policy)?;
        Ok(GetLayerVersionPolicyResponse {
            policy: Some(policy.text.clone()),
            revision_id: Some(policy.revision_id.clone()),
        })
    }

    /// The layer version that a request about its policy means: only the own account may ask.
    fn policy_layer(
        &self,
        context: &RequestContext,
        operation: &str,
        name: Option<&str>,
        number: Option<i64>,
    ) -> Result<(LayerName, i64), AwsError> {
        let layer = LayerName::read(context, name)?;
        let number = number.unwrap_or_default();
        let arn = layer.version_arn(number);
        let guarded = Guarded { account: &layer.scope.account, arn: &arn, policy: None };
        self.authorize_access(context, operation, &guarded)?;
        if *layer.scope.region != *context.region {
            return Err(no_version(&layer, number));
        }
        Ok((layer, number))
    }

    /// Changes a layer version's policy; `step` is called again if the version was changed meanwhile. Answers the
    /// new policy once the catalogue has it.
    async fn change_layer_policy(
        &self,
        layer: &LayerName,
        number: i64,
        step: impl Fn(Option<&Policy>) -> Result<Option<Policy>, AwsError> + Send,
    ) -> Result<Option<Policy>, AwsError> {
        let key = part_key(&layer.scope, &layer.name, &number.to_string());
        loop {
            let stored = self.metadata.get(VERSION_KIND, &key).await.map_err(faults::store)?;
            let stored = stored.ok_or_else(|| no_version(layer, number))?;
            let mut record = LayerVersionRecord::read(&stored.value).map_err(service)?;
            record.policy = step(record.policy.as_ref())?;
            let expect = Expect::At(stored.revision);
            let value = Some(encode(&record)?);
            let write = Write { kind: VERSION_KIND.to_owned(), key: key.clone(), expect, value };
            if self.commit(vec![write]).await? {
                return Ok(record.policy);
            }
        }
    }
}

/// The statement that a request describes.
fn statement(
    layer: &LayerName,
    number: i64,
    request: &AddLayerVersionPermissionRequest,
) -> Result<Json, AwsError> {
    let principal = request.principal.as_deref().unwrap_or_default();
    let organization = request.organization_id.as_deref().filter(|id| !id.is_empty());
    if organization.is_some() && principal != "*" {
        return Err(invalid("OrganizationId can be given only with the principal *."));
    }
    let principal = principal_of(principal, layer.scope.partition()).ok_or_else(|| {
        invalid("The provided principal was invalid. Please check the principal and try again.")
    })?;
    let mut members = vec![
        ("Sid".to_owned(), Json::text(request.statement_id.as_deref().unwrap_or_default())),
        ("Effect".to_owned(), Json::text("Allow")),
        ("Principal".to_owned(), principal),
        ("Action".to_owned(), Json::text(request.action.as_deref().unwrap_or_default())),
        ("Resource".to_owned(), Json::text(layer.version_arn(number))),
    ];
    if let Some(id) = organization {
        let condition =
            Json::object([("StringEquals", Json::object([("aws:PrincipalOrgID", Json::text(id))]))]);
        members.push(("Condition".to_owned(), condition));
    }
    Ok(Json::Object(members))
}

/// Refuses a change by somebody who has seen another policy than the present one.
fn check_revision(present: Option<&Policy>, asked: Option<&str>) -> Result<(), AwsError> {
    match asked {
        Some(asked) if present.is_none_or(|policy| policy.revision_id != asked) => {
            Err(errors::precondition_failed_exception(
                "The Revision Id provided does not match the latest Revision Id. Call the GetLayerVersionPolicy API \
                 to retrieve the latest Revision Id",
            )
            .with("Type", "User"))
        }
        _ => Ok(()),
    }
}

fn no_policy() -> AwsError {
    not_found("No policy is associated with the given resource.")
}

fn no_version(layer: &LayerName, number: i64) -> AwsError {
    not_found(format!("Layer version {} does not exist.", layer.version_arn(number)))
}
