//! CreateFunction and DeleteFunction.

use std::collections::BTreeMap;

use bytes::Bytes;
use lambkin_core::ids::Scope;
use lambkin_core::metadata::{Expect, Write};
use lambkin_model::lambda::{
    CreateFunctionRequest, DeleteFunctionRequest, DeleteFunctionResponse, FunctionCode,
    FunctionConfiguration, errors,
};
use lambkin_model::{AwsError, RequestContext};

use super::archive::ArchiveError;
use super::change::{encode, put_version};
use super::code::PackageError;
use super::faults::{self, conflict, invalid, unsupported};
use super::names::{self, LATEST, Target, Version, is_number};
use super::record::{ALIAS_KIND, FORMAT, FunctionRecord, KIND, Snapshot, State, Status, VERSION_KIND};
use super::versions::publish;
use super::view::Shown;
use super::{Inner, settings, tags, view};

/// Largest zip that may be sent in a request, in bytes (AWS quota).
pub(crate) const MAX_ZIP: usize = 52_428_800;

impl Inner {
    pub(crate) async fn create_function(
        &self,
        context: &RequestContext,
        request: CreateFunctionRequest,
    ) -> Result<FunctionConfiguration, AwsError> {
        let target = names::resolve(context, "CreateFunction", request.function_name.as_deref(), None)?;
        let target = target.require_latest()?;
        refuse_publish_to(request.publish_to.as_deref())?;
        let mut config = settings::create(&request, &target.name)?;
        self.refuse_signing(context, request.code_signing_config_arn.as_deref())?;
        let tags = tags::check(BTreeMap::new(), request.tags.clone().unwrap_or_default())?;
        self.roles.check(&config.role, &target)?;
        let layers = request.layers.as_deref().unwrap_or_default();
        self.layers_of(context, layers)?;
        let package = package_of(&CodeSource::from(request.code.unwrap_or_default()))?;
        let exists = || conflict(format!("Function already exist: {}", target.name));
        if self.catalogue.get(&target.scope, &target.name).is_some() {
            return Err(exists());
        }
        check_zip_size(package.len(), "CreateFunction")?;
        let times = stored_times(request.publish);
        self.check_code_storage(&target.scope, times * package.len() as u64, 0)?;

        let pin = self.code.pin().await;
        // What is looked up while packages are pinned stays, even if the layer version goes.
        config.layers = self.layers_of(context, layers)?;
        let code = self.code.store(package, &pin).await.map_err(package_error)?;
        self.check_layers_with(&code, &config.layers, &pin).await?;
        let now_ms = self.clock.now_ms();
        let mut record = FunctionRecord {
            v: FORMAT,
            name: target.name.clone(),
            created_ms: now_ms,
            modified_ms: now_ms,
            current: Snapshot { revision_id: new_revision_id(), code, config, runtime_version: None },
            serving: None,
            state: Status::being_created(State::Pending),
            last_update: None,
            tags,
            last_version: 0,
        };
        let version = (request.publish == Some(true)).then(|| publish(&mut record, None, now_ms));
        let mut writes = vec![Write {
            kind: KIND.to_owned(),
            key: FunctionRecord::key(&target.scope, &target.name),
            expect: Expect::Absent,
            value: Some(encode(&record)?),
        }];
        if let Some(version) = &version {
            writes.push(put_version(&target, version)?);
        }
        if !self.commit(writes).await? {
            return Err(exists());
        }
        drop(pin);
        tracing::info!(function = %target.arn(), runtime = %record.current.config.runtime, "function created");
        Ok(match &version {
            // AWS gives the version's configuration with the function's own ARN.
            Some(version) => view::configuration(&Shown::version(&target.scope, &target.name, version)),
            None => view::configuration(&Shown::latest(&target.scope, &record)),
        })
    }

    pub(crate) async fn delete_function(
        &self,
        context: &RequestContext,
        request: DeleteFunctionRequest,
    ) -> Result<DeleteFunctionResponse, AwsError> {
        let name = request.function_name.as_deref();
        let target = self.resolve(context, "DeleteFunction", name, request.qualifier.as_deref())?;
        match target.qualifier.as_deref() {
            None => self.delete_whole(&target).await?,
            Some(LATEST) => {
                self.find_target(target)?;
                return Err(invalid("$LATEST version cannot be deleted without deleting the function."));
            }
            Some(number) if is_number(number) => match Version::parse(number) {
                Some(Version::Number(number)) => {
                    self.delete_version(&target.unqualified(), number).await?;
                }
                _ => {
                    self.find_target(target.unqualified())?;
                }
            },
            Some(alias) => {
                self.find_target(target.clone())?;
                return Err(invalid(format!(
                    "DeleteFunction deletes a function or one of its versions. To delete the alias {alias}, use \
                     DeleteAlias."
                )));
            }
        }
        Ok(DeleteFunctionResponse { status_code: Some(204) })
    }

    /// Deletes a function with all that belongs to it.
    async fn delete_whole(&self, target: &Target) -> Result<(), AwsError> {
        loop {
            let owner = self.owner(target).await?;
            let mut writes = vec![owner.delete()];
            for kind in [VERSION_KIND, ALIAS_KIND] {
                writes.extend(self.delete_parts(kind, target).await?);
            }
            writes.extend(self.delete_all_dependents(target).await?);
            if self.commit(writes).await? {
                break;
            }
        }
        self.invoker.retire(&target.scope.function_arn(&target.name), None);
        tracing::info!(function = %target.arn(), "function deleted");
        Ok(())
    }

    /// Refuses more code than an account may have; `more` bytes come, `less` go.
    pub(crate) fn check_code_storage(&self, scope: &Scope, more: u64, less: u64) -> Result<(), AwsError> {
        if self.code_usage(scope).0.saturating_add(more).saturating_sub(less) > self.config.code_storage {
            return Err(
                errors::code_storage_exceeded_exception("Code storage limit exceeded.").with("Type", "User")
            );
        }
        Ok(())
    }
}

/// How often a package counts: a version that is published with it is stored beside `$LATEST`.
pub(crate) fn stored_times(publish: Option<bool>) -> u64 {
    if publish == Some(true) { 2 } else { 1 }
}

/// Refuses a zip that is too large for a request.
pub(crate) fn check_zip_size(size: usize, operation: &str) -> Result<(), AwsError> {
    if size <= MAX_ZIP {
        return Ok(());
    }
    Err(AwsError::new(
        "RequestEntityTooLargeException",
        413,
        format!("Request must be smaller than 69905067 bytes for the {operation} operation"),
    ))
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
            s3: code.s3_bucket.is_some()
                || code.s3_key.is_some()
                || code.s3_object_version.is_some()
                || code.s3_object_storage_mode.is_some(),
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
        None if source.s3 => {
            Err(unsupported("code from S3 (S3Bucket, S3Key, S3ObjectVersion, S3ObjectStorageMode)"))
        }
        None if source.image => Err(unsupported("container images (ImageUri)")),
        None => Err(invalid("Please provide a source for function code.")),
    }
}

/// Publishing for managed instances is not there yet.
pub(crate) fn refuse_publish_to(publish_to: Option<&str>) -> Result<(), AwsError> {
    match publish_to {
        Some(_) => Err(unsupported("PublishTo")),
        None => Ok(()),
    }
}

/// What the disk refused while a package was unpacked.
pub(crate) fn io_error(error: &std::io::Error) -> lambkin_core::metadata::StoreError {
    use lambkin_core::metadata::StoreError;
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    match error.kind() {
        StorageFull | QuotaExceeded => StoreError::Full,
        _ => StoreError::Failed(format!("unpacking: {error}")),
    }
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
        PackageError::Archive(ArchiveError::Io(error)) => faults::store(io_error(&error)),
        PackageError::Store(error) => faults::store(error),
        PackageError::Interrupted => faults::service("unpacking was interrupted"),
    }
}

/// A fresh RevisionId.
pub(crate) fn new_revision_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
