//! PublishLayerVersion and DeleteLayerVersion.

use lambkin_core::metadata::{Expect, Write};
use lambkin_model::lambda::{
    DeleteLayerVersionRequest, LayerVersionContentInput, PublishLayerVersionRequest,
    PublishLayerVersionResponse,
};
use lambkin_model::{AwsError, RequestContext};

use super::super::Inner;
use super::super::change::encode;
use super::super::create::{check_zip_size, package_error};
use super::super::faults::{self, invalid, service, unsupported};
use super::super::record::{FORMAT, part_key};
use super::names::LayerName;
use super::record::{KIND, LayerRecord, LayerVersionRecord, VERSION_KIND};

impl Inner {
    pub(crate) async fn publish_layer_version(
        &self,
        context: &RequestContext,
        request: PublishLayerVersionRequest,
    ) -> Result<PublishLayerVersionResponse, AwsError> {
        let layer = LayerName::read(context, request.layer_name.as_deref())?;
        self.authorize_layer(context, "PublishLayerVersion", &layer)?;
        let package = package_of(request.content.unwrap_or_default())?;
        check_zip_size(package.len(), "PublishLayerVersion")?;
        self.check_code_storage(&layer.scope, package.len() as u64, 0)?;

        let pin = self.code.pin().await;
        let code = self.code.store(package, &pin).await.map_err(package_error)?;
        let mut record = LayerVersionRecord {
            v: FORMAT,
            number: 0,
            created_ms: self.clock.now_ms(),
            code,
            description: request.description,
            license: request.license_info,
            runtimes: request.compatible_runtimes.unwrap_or_default(),
            architectures: request.compatible_architectures.unwrap_or_default(),
            policy: None,
        };
        let key = format!("{}{}", layer.scope.key_prefix(), layer.name);
        loop {
            let stored = self.metadata.get(KIND, &key).await.map_err(faults::store)?;
            let expect = stored.as_ref().map_or(Expect::Absent, |stored| Expect::At(stored.revision));
            let last = match &stored {
                Some(stored) => LayerRecord::read(&stored.value).map_err(service)?.last_version,
                None => 0,
            };
            record.number = last + 1;
            let counter = LayerRecord { v: FORMAT, last_version: record.number };
            let writes = vec![
                Write { kind: KIND.to_owned(), key: key.clone(), expect, value: Some(encode(&counter)?) },
                Write {
                    kind: VERSION_KIND.to_owned(),
                    key: part_key(&layer.scope, &layer.name, &record.number.to_string()),
                    expect: Expect::Absent,
                    value: Some(encode(&record)?),
                },
            ];
            if self.commit(writes).await? {
                break;
            }
        }
        drop(pin);
        tracing::info!(layer = %layer.version_arn(record.number), "layer version published");
        let shown = self.show_layer_version(context, &layer, &record);
        Ok(PublishLayerVersionResponse {
            content: shown.content,
            layer_arn: shown.layer_arn,
            layer_version_arn: shown.layer_version_arn,
            description: shown.description,
            created_date: shown.created_date,
            version: shown.version,
            compatible_architectures: shown.compatible_architectures,
            compatible_runtimes: shown.compatible_runtimes,
            license_info: shown.license_info,
        })
    }

    /// Deletes a layer version; one that is not there is as good as deleted. Functions keep what they use.
    pub(crate) async fn delete_layer_version(
        &self,
        context: &RequestContext,
        request: DeleteLayerVersionRequest,
    ) -> Result<(), AwsError> {
        let layer = LayerName::read(context, request.layer_name.as_deref())?;
        self.authorize_layer(context, "DeleteLayerVersion", &layer)?;
        let key =
            part_key(&layer.scope, &layer.name, &request.version_number.unwrap_or_default().to_string());
        let stored = self.metadata.get(VERSION_KIND, &key).await.map_err(faults::store)?;
        if stored.is_none() {
            return Ok(());
        }
        self.commit(vec![super::super::change::delete(VERSION_KIND, key)]).await?;
        let arn = layer.version_arn(request.version_number.unwrap_or_default());
        tracing::info!(layer = %arn, "layer version deleted");
        Ok(())
    }
}

/// The package, which must be in the request itself.
fn package_of(content: LayerVersionContentInput) -> Result<bytes::Bytes, AwsError> {
    if content.s3_object_storage_mode.as_deref().is_some_and(|mode| mode != "COPY") {
        return Err(unsupported("S3ObjectStorageMode"));
    }
    let s3 = content.s3_bucket.is_some() || content.s3_key.is_some() || content.s3_object_version.is_some();
    match content.zip_file {
        Some(_) if s3 => Err(invalid("Please do not provide other parameters when providing a ZipFile.")),
        Some(zip) if zip.0.is_empty() => Err(invalid("Uploaded file must be a non-empty zip")),
        Some(zip) => Ok(zip.0),
        None if s3 => Err(unsupported("layers from S3 (S3Bucket, S3Key, S3ObjectVersion)")),
        None => Err(invalid("Please provide a source for the content of the layer.")),
    }
}
