//! UpdateFunctionCode and UpdateFunctionConfiguration.

use lambkin_model::lambda::{
    FunctionConfiguration, UpdateFunctionCodeRequest, UpdateFunctionConfigurationRequest, errors,
};
use lambkin_model::{AwsError, RequestContext};

use super::create::{CodeSource, new_revision_id, package_error, package_of, refuse_publishing};
use super::faults::conflict;
use super::names::{self, Target};
use super::record::{FunctionRecord, Snapshot};
use super::{Inner, settings, view};

impl Inner {
    pub(crate) async fn update_function_code(
        &self,
        context: &RequestContext,
        request: UpdateFunctionCodeRequest,
    ) -> Result<FunctionConfiguration, AwsError> {
        let name = request.function_name.as_deref();
        let target = names::resolve(context, "UpdateFunctionCode", name, None)?.require_latest()?;
        let entry = self.entry(&target)?;
        refuse_publishing(request.publish, request.publish_to.as_deref())?;
        let architecture = match request.architectures.as_deref() {
            asked @ Some(_) => Some(settings::check_architecture(asked)?),
            None => None,
        };
        let source = CodeSource {
            zip_file: request.zip_file.map(|zip| zip.0),
            s3: request.s3_bucket.is_some()
                || request.s3_key.is_some()
                || request.s3_object_version.is_some(),
            image: request.image_uri.is_some(),
            key: request.source_kms_key_arn,
        };
        let package = package_of(&source)?;
        let revision_id = request.revision_id.as_deref();
        check_changeable(&target, &entry.record, revision_id)?;
        self.check_code_storage(&target.scope, package.len(), "UpdateFunctionCode")?;
        let next = |record: &FunctionRecord, code| {
            let mut config = record.current.config.clone();
            if let Some(architecture) = &architecture {
                config.architecture.clone_from(architecture);
            }
            let current = Snapshot { revision_id: new_revision_id(), code, config, runtime_version: None };
            record.updating(current, self.clock.now_ms())
        };
        if request.dry_run == Some(true) {
            let mut preview = entry.record.clone();
            preview.current.code = self.code.check(package).await.map_err(package_error)?;
            return Ok(view::configuration(&target.scope, &preview, None));
        }
        let pin = self.code.pin().await;
        let code = self.code.store(package, &pin).await.map_err(package_error)?;
        let record = self
            .change(&target, |record| {
                check_changeable(&target, record, revision_id)?;
                Ok(next(record, code.clone()))
            })
            .await?;
        drop(pin);
        Ok(view::configuration(&target.scope, &record, None))
    }

    pub(crate) async fn update_function_configuration(
        &self,
        context: &RequestContext,
        request: UpdateFunctionConfigurationRequest,
    ) -> Result<FunctionConfiguration, AwsError> {
        let name = request.function_name.as_deref();
        let target = names::resolve(context, "UpdateFunctionConfiguration", name, None)?.require_latest()?;
        let record = self
            .change(&target, |record| {
                let config = settings::update(&request, &target.name, &record.current.config)?;
                check_changeable(&target, record, request.revision_id.as_deref())?;
                let code = record.current.code.clone();
                let current =
                    Snapshot { revision_id: new_revision_id(), code, config, runtime_version: None };
                Ok(record.updating(current, self.clock.now_ms()))
            })
            .await?;
        Ok(view::configuration(&target.scope, &record, None))
    }
}

/// One change at a time, and only to the state that the caller has seen.
fn check_changeable(
    target: &Target,
    record: &FunctionRecord,
    revision_id: Option<&str>,
) -> Result<(), AwsError> {
    let arn = target.scope.function_arn(&target.name);
    if record.state.is == super::record::State::Pending {
        return Err(conflict(
            "The operation cannot be performed at this time. The function is currently in the following state: \
             Pending",
        ));
    }
    if record.is_unsettled() {
        return Err(conflict(format!(
            "The operation cannot be performed at this time. An update is in progress for resource: {arn}"
        )));
    }
    if revision_id.is_some_and(|id| id != record.current.revision_id) {
        return Err(errors::precondition_failed_exception(
            "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to \
             retrieve the latest Revision Id",
        )
        .with("Type", "User"));
    }
    Ok(())
}
