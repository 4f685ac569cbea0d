//! UpdateFunctionCode and UpdateFunctionConfiguration.

use lambkin_model::lambda::{
    FunctionConfiguration, UpdateFunctionCodeRequest, UpdateFunctionConfigurationRequest,
};
use lambkin_model::{AwsError, RequestContext};

use super::change::put_version;
use super::create::{
    CodeSource, check_zip_size, new_revision_id, package_error, package_of, refuse_publish_to, stored_times,
};
use super::faults::{conflict, precondition_failed};
use super::names::Target;
use super::record::{FunctionRecord, Snapshot};
use super::versions::{publish, published};
use super::view::Shown;
use super::{Inner, settings, view};

impl Inner {
    pub(crate) async fn update_function_code(
        &self,
        context: &RequestContext,
        request: UpdateFunctionCodeRequest,
    ) -> Result<FunctionConfiguration, AwsError> {
        let name = request.function_name.as_deref();
        let target = self.resolve(context, "UpdateFunctionCode", name, None)?.require_latest()?;
        let found = self.find_target(target.clone())?;
        refuse_publish_to(request.publish_to.as_deref())?;
        let architecture = match request.architectures.as_deref() {
            asked @ Some(_) => Some(settings::check_architecture(asked)?),
            None => None,
        };
        let source = CodeSource {
            zip_file: request.zip_file.map(|zip| zip.0),
            s3: request.s3_bucket.is_some()
                || request.s3_key.is_some()
                || request.s3_object_version.is_some()
                || request.s3_object_storage_mode.is_some(),
            image: request.image_uri.is_some(),
            key: request.source_kms_key_arn,
        };
        let package = package_of(&source)?;
        let revision_id = request.revision_id.as_deref();
        check_changeable(&target, &found.entry.record, revision_id)?;
        check_zip_size(package.len(), "UpdateFunctionCode")?;
        let times = stored_times(request.publish);
        let replaced = found.entry.record.current.code.size;
        self.check_code_storage(&target.scope, times * package.len() as u64, replaced)?;
        if request.dry_run == Some(true) {
            let mut preview = FunctionRecord::clone(&found.entry.record);
            let (code, bytes) = self.code.check(package).await.map_err(package_error)?;
            let pin = self.code.pin().await;
            self.check_layers(bytes, &preview.current.config.layers, &pin).await?;
            preview.current.code = code;
            return Ok(view::configuration(&Shown::latest(&target.scope, &preview)));
        }
        let pin = self.code.pin().await;
        let code = self.code.store(package, &pin).await.map_err(package_error)?;
        let (record, version) = loop {
            let owner = self.owner(&target).await?;
            check_changeable(&target, &owner.record, revision_id)?;
            let mut config = owner.record.current.config.clone();
            self.check_layers_with(&code, &config.layers, &pin).await?;
            if let Some(architecture) = &architecture {
                config.architecture.clone_from(architecture);
            }
            let revision_id = new_revision_id();
            let current = Snapshot { revision_id, code: code.clone(), config, runtime_version: None };
            let now_ms = self.clock.now_ms();
            let mut next = owner.record.updating(current, now_ms);
            let mut version = None;
            let mut writes = Vec::new();
            if request.publish == Some(true) {
                version = self.last_if_same(&target, &next).await?;
                if version.is_none() {
                    let published = publish(&mut next, None, now_ms);
                    writes.push(put_version(&target, &published)?);
                    version = Some(published);
                }
            }
            writes.push(owner.put(&next)?);
            if self.commit(writes).await? {
                break (next, version);
            }
        };
        drop(pin);
        Ok(match &version {
            Some(version) => published(&target, version),
            None => view::configuration(&Shown::latest(&target.scope, &record)),
        })
    }

    pub(crate) async fn update_function_configuration(
        &self,
        context: &RequestContext,
        request: UpdateFunctionConfigurationRequest,
    ) -> Result<FunctionConfiguration, AwsError> {
        let name = request.function_name.as_deref();
        let target = self.resolve(context, "UpdateFunctionConfiguration", name, None)?.require_latest()?;
        let pin = self.code.pin().await;
        let record = loop {
            let owner = self.owner(&target).await?;
            let mut config = settings::update(&request, &target.name, &owner.record.current.config)?;
            if request.role.is_some() {
                self.roles.check(&config.role, &target)?;
            }
            check_changeable(&target, &owner.record, request.revision_id.as_deref())?;
            let code = owner.record.current.code.clone();
            if let Some(layers) = &request.layers {
                config.layers = self.layers_of(context, layers)?;
                self.check_layers_with(&code, &config.layers, &pin).await?;
            }
            let current = Snapshot { revision_id: new_revision_id(), code, config, runtime_version: None };
            let next = owner.record.updating(current, self.clock.now_ms());
            if self.commit(vec![owner.put(&next)?]).await? {
                break next;
            }
        };
        drop(pin);
        Ok(view::configuration(&Shown::latest(&target.scope, &record)))
    }
}

/// One change at a time, and only to the state that the caller has seen.
pub(crate) fn check_changeable(
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
        return Err(precondition_failed());
    }
    Ok(())
}
