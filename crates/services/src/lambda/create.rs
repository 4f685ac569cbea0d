//! CreateFunction and DeleteFunction.

use std::collections::BTreeMap;

use bytes::Bytes;
use lambkin_core::metadata::{Expect, StoreError, Write};
use lambkin_model::lambda::{
    CreateFunctionRequest, DeleteFunctionRequest, DeleteFunctionResponse, FunctionCode,
    FunctionConfiguration, errors,
};
use lambkin_model::{AwsError, RequestContext};

use super::archive::ArchiveError;
use super::code::PackageError;
use super::faults::{self, conflict, invalid, unsupported};
use super::names::{self, LATEST};
use super::record::{FORMAT, FunctionRecord, KIND, Snapshot, State, Status};
use super::{Inner, settings, tags, view};

/// Largest zip that may be sent in a request, in bytes (AWS quota).
pub(crate) const MAX_ZIP: usize = 52_428_800;

/// Largest sum of all packages of an account in a region, in bytes (AWS quota).
pub(crate) const MAX_TOTAL_CODE: u64 = 80_530_636_800;

impl Inner {
    pub(crate) async fn create_function(
        &self,
        context: &RequestContext,
        request: CreateFunctionRequest,
    ) -> Result<FunctionConfiguration, AwsError> {
        let target = names::resolve(context, "CreateFunction", request.function_name.as_deref(), None)?;
        let target = target.require_latest()?;
        refuse_publishing(request.publish, request.publish_to.as_deref())?;
        let config = settings::create(&request, &target.name)?;
        let tags = tags::check(BTreeMap::new(), request.tags.clone().unwrap_or_default())?;
        let package = package_of(&CodeSource::from(request.code.unwrap_or_default()))?;
        let exists = || conflict(format!("Function already exist: {}", target.name));
        if self.catalogue.get(&target.scope, &target.name).is_some() {
            return Err(exists());
        }
        self.check_code_storage(&target.scope, package.len(), "CreateFunction")?;

        let pin = self.code.pin().await;
        let code = self.code.store(package, &pin).await.map_err(package_error)?;
        let now_ms = self.clock.now_ms();
        let record = FunctionRecord {
            v: FORMAT,
            name: target.name.clone(),
            created_ms: now_ms,
            modified_ms: now_ms,
            current: Snapshot { revision_id: new_revision_id(), code, config, runtime_version: None },
            serving: None,
            state: Status::being_created(State::Pending),
            last_update: None,
            tags,
        };
        match self.write(&target.scope, &record, Expect::Absent).await {
            Ok(revision) => self.catalogue.wait(revision).await.map_err(faults::store)?,
            Err(StoreError::Conflict { .. }) => return Err(exists()),
            Err(error) => return Err(faults::store(error)),
        }
        drop(pin);
        tracing::info!(function = %target.arn(), runtime = %record.current.config.runtime, "function created");
        Ok(view::configuration(&target.scope, &record, None))
    }

    pub(crate) async fn delete_function(
        &self,
        context: &RequestContext,
        request: DeleteFunctionRequest,
    ) -> Result<DeleteFunctionResponse, AwsError> {
        let name = request.function_name.as_deref();
        let target = names::resolve(context, "DeleteFunction", name, request.qualifier.as_deref())?;
        let entry = self.catalogue.get(&target.scope, &target.name).ok_or_else(|| target.not_found())?;
        match target.qualifier.as_deref() {
            None => {}
            Some(LATEST) => {
                return Err(invalid("$LATEST version cannot be deleted without deleting the function."));
            }
            Some(_) => return Err(target.not_found()),
        }
        let key = FunctionRecord::key(&target.scope, &target.name);
        let mut expect = Expect::At(entry.revision);
        let revision = loop {
            let write = Write { kind: KIND.to_owned(), key: key.clone(), expect, value: None };
            match self.metadata.commit(vec![write]).await {
                Ok(revision) => break revision,
                // Whatever it has changed to, it is to go; unless it has gone.
                Err(StoreError::Conflict { .. }) => {
                    let stored = self.metadata.get(KIND, &key).await.map_err(faults::store)?;
                    expect = Expect::At(stored.ok_or_else(|| target.not_found())?.revision);
                }
                Err(error) => return Err(faults::store(error)),
            }
        };
        self.catalogue.wait(revision).await.map_err(faults::store)?;
        self.invoker.retire(&target.scope.function_arn(&target.name), None);
        tracing::info!(function = %target.arn(), "function deleted");
        Ok(DeleteFunctionResponse { status_code: Some(204) })
    }

    /// Refuses more code than an account may have.
    pub(crate) fn check_code_storage(
        &self,
        scope: &lambkin_core::ids::Scope,
        more: usize,
        operation: &str,
    ) -> Result<(), AwsError> {
        if more > MAX_ZIP {
            return Err(AwsError::new(
                "RequestEntityTooLargeException",
                413,
                format!("Request must be smaller than 69905067 bytes for the {operation} operation"),
            ));
        }
        let total = self.code_usage(scope).0.saturating_add(more as u64);
        if total > MAX_TOTAL_CODE {
            return Err(
                errors::code_storage_exceeded_exception("Code storage limit exceeded.").with("Type", "User")
            );
        }
        Ok(())
    }
}

/// Where a request says the code is.
#[derive(Debug, Default)]
pub(crate) struct CodeSource {
    pub(crate) zip_file: Option<Bytes>,
    pub(crate) s3: bool,
    pub(crate) image: bool,
    pub(crate) key: Option<String>,
}

impl From<FunctionCode> for CodeSource {
    fn from(code: FunctionCode) -> Self {
        Self {
            zip_file: code.zip_file.map(|zip| zip.0),
            s3: code.s3_bucket.is_some() || code.s3_key.is_some() || code.s3_object_version.is_some(),
            image: code.image_uri.is_some(),
            key: code.source_kms_key_arn,
        }
    }
}

/// The package, which must be in the request itself.
pub(crate) fn package_of(source: &CodeSource) -> Result<Bytes, AwsError> {
    if source.key.as_ref().is_some_and(|key| !key.is_empty()) {
        return Err(unsupported("SourceKMSKeyArn"));
    }
    match &source.zip_file {
        Some(_) if source.s3 || source.image => {
            Err(invalid("Please do not provide other FunctionCode parameters when providing a ZipFile."))
        }
        Some(zip) if zip.is_empty() => Err(invalid("Uploaded file must be a non-empty zip")),
        Some(zip) => Ok(zip.clone()),
        None if source.s3 => Err(unsupported("code from S3 (S3Bucket, S3Key, S3ObjectVersion)")),
        None if source.image => Err(unsupported("container images (ImageUri)")),
        None => Err(invalid("Please provide a source for function code.")),
    }
}

/// Versions do not exist yet.
pub(crate) fn refuse_publishing(publish: Option<bool>, publish_to: Option<&str>) -> Result<(), AwsError> {
    if publish_to.is_some() {
        return Err(unsupported("PublishTo"));
    }
    if publish == Some(true) {
        return Err(unsupported("Publish (function versions)"));
    }
    Ok(())
}

/// AWS's texts for packages it does not take; what exactly is wrong goes to the log.
pub(crate) fn package_error(error: PackageError) -> AwsError {
    match error {
        PackageError::Archive(ArchiveError::Empty) => invalid("Uploaded file must be a non-empty zip"),
        PackageError::Archive(ArchiveError::Invalid(reason)) => {
            tracing::info!(%reason, "refused a deployment package");
            invalid("Could not unzip uploaded file. Please check your file, then try to upload again.")
        }
        PackageError::Archive(ArchiveError::TooLarge) => {
            invalid(format!("Unzipped size must be smaller than {} bytes", super::archive::MAX_UNZIPPED))
        }
        PackageError::Archive(ArchiveError::Io(error)) => faults::service(error),
        PackageError::Store(error) => faults::store(error),
        PackageError::Interrupted => faults::service("unpacking was interrupted"),
    }
}

/// A fresh RevisionId.
pub(crate) fn new_revision_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
