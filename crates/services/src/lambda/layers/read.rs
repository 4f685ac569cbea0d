//! GetLayerVersion, GetLayerVersionByArn, ListLayers, ListLayerVersions, and who may do what with a layer.

use std::sync::Arc;

use lambkin_model::lambda::{
    GetLayerVersionByArnRequest, GetLayerVersionRequest, GetLayerVersionResponse, LayerVersionContentOutput,
    LayerVersionsListItem, LayersListItem, ListLayerVersionsRequest, ListLayerVersionsResponse,
    ListLayersRequest, ListLayersResponse,
};
use lambkin_model::{AwsError, RequestContext};

use super::super::authorize::Guarded;
use super::super::faults::invalid;
use super::super::names::scope_of;
use super::super::read::{page, place};
use super::super::view::{base64_sha256, last_modified};
use super::super::{Inner, view};
use super::names::{LayerName, absent};
use super::record::LayerVersionRecord;
use crate::paging;

impl Inner {
    pub(crate) fn get_layer_version(
        &self,
        context: &RequestContext,
        request: &GetLayerVersionRequest,
    ) -> Result<GetLayerVersionResponse, AwsError> {
        let layer = LayerName::read(context, request.layer_name.as_deref())?;
        let number = request.version_number.unwrap_or_default();
        let record = self.find_layer_version(context, "GetLayerVersion", &layer, number)?;
        Ok(self.show_layer_version(context, &layer, &record))
    }

    pub(crate) fn get_layer_version_by_arn(
        &self,
        context: &RequestContext,
        request: &GetLayerVersionByArnRequest,
    ) -> Result<GetLayerVersionResponse, AwsError> {
        let arn = request.arn.as_deref().unwrap_or_default();
        let (layer, number) = LayerName::of_version(arn).ok_or_else(absent)?;
        let number = i64::try_from(number).map_err(|_| absent())?;
        let record = self.find_layer_version(context, "GetLayerVersion", &layer, number)?;
        Ok(self.show_layer_version(context, &layer, &record))
    }

    pub(crate) fn list_layers(
        &self,
        context: &RequestContext,
        request: &ListLayersRequest,
    ) -> Result<ListLayersResponse, AwsError> {
        let scope = scope_of(context);
        let after = place(request.marker.as_deref())?;
        let page = page(request.max_items);
        let (runtime, architecture) =
            (request.compatible_runtime.as_deref(), request.compatible_architecture.as_deref());
        let mut found = self
            .catalogue
            .layers
            .list(&scope, after.as_deref(), page + 1, |record| record.goes_with(runtime, architecture));
        let next_marker = paging::cut(&mut found, page, |(name, _)| name);
        let layers = found.into_iter().map(|(name, newest)| {
            let layer = LayerName { scope: scope.clone(), name };
            LayersListItem {
                layer_arn: Some(layer.arn()),
                latest_matching_version: Some(listed(&layer, &newest)),
                layer_name: Some(layer.name),
            }
        });
        Ok(ListLayersResponse { next_marker, layers: Some(layers.collect()) })
    }

    pub(crate) fn list_layer_versions(
        &self,
        context: &RequestContext,
        request: &ListLayerVersionsRequest,
    ) -> Result<ListLayerVersionsResponse, AwsError> {
        let layer = LayerName::read(context, request.layer_name.as_deref())?;
        self.authorize_layer(context, "ListLayerVersions", &layer)?;
        let before = place(request.marker.as_deref())?
            .map(|place| place.parse::<u64>().map_err(|_| invalid("Invalid Marker.")))
            .transpose()?;
        let page = page(request.max_items);
        let (runtime, architecture) =
            (request.compatible_runtime.as_deref(), request.compatible_architecture.as_deref());
        let found = self
            .catalogue
            .layers
            .versions(&layer, before, page + 1, |record| record.goes_with(runtime, architecture));
        let mut found: Vec<_> = found.into_iter().map(|record| (record.number.to_string(), record)).collect();
        let next_marker = paging::cut(&mut found, page, |(number, _)| number);
        let versions = found.iter().map(|(_, record)| listed(&layer, record)).collect();
        Ok(ListLayerVersionsResponse { next_marker, layer_versions: Some(versions) })
    }

    /// Finds a layer version, once its policy has been asked whether the caller may run the operation.
    ///
    /// # Errors
    /// 404, and `AccessDeniedException`: of another account's layer also where it does not exist.
    pub(crate) fn find_layer_version(
        &self,
        context: &RequestContext,
        operation: &str,
        layer: &LayerName,
        number: i64,
    ) -> Result<Arc<LayerVersionRecord>, AwsError> {
        let is_here = *layer.scope.region == *context.region;
        let found = u64::try_from(number).ok().filter(|_| is_here);
        let record = found.and_then(|number| self.catalogue.layers.get(layer, number));
        let arn = layer.version_arn(number);
        let policy = record.as_ref().and_then(|record| record.policy.as_ref());
        self.authorize_access(
            context,
            operation,
            &Guarded { account: &layer.scope.account, arn: &arn, policy },
        )?;
        record.ok_or_else(absent)
    }

    /// Asks whether the caller may run an operation on a layer as a whole: its account may, nobody else.
    ///
    /// # Errors
    /// `AccessDeniedException`, and 404 for a layer of another region.
    pub(crate) fn authorize_layer(
        &self,
        context: &RequestContext,
        operation: &str,
        layer: &LayerName,
    ) -> Result<(), AwsError> {
        let guarded = Guarded { account: &layer.scope.account, arn: &layer.arn(), policy: None };
        self.authorize_access(context, operation, &guarded)?;
        if *layer.scope.region != *context.region {
            return Err(absent());
        }
        Ok(())
    }

    /// A layer version as the operations on one give it.
    pub(crate) fn show_layer_version(
        &self,
        context: &RequestContext,
        layer: &LayerName,
        record: &LayerVersionRecord,
    ) -> GetLayerVersionResponse {
        let location = self.signer.link(
            &context.endpoint,
            &layer.scope,
            &format!("layer/{}", layer.name),
            &record.code.sha256,
            self.clock.now(),
        );
        let item = listed(layer, record);
        GetLayerVersionResponse {
            content: Some(LayerVersionContentOutput {
                location: Some(location),
                code_sha256: Some(base64_sha256(&record.code.sha256)),
                code_size: Some(view::size(record.code.size)),
                ..Default::default()
            }),
            layer_arn: Some(layer.arn()),
            layer_version_arn: item.layer_version_arn,
            // An empty one where none was given, unlike in lists.
            description: Some(item.description.unwrap_or_default()),
            created_date: item.created_date,
            version: item.version,
            compatible_architectures: item.compatible_architectures,
            compatible_runtimes: item.compatible_runtimes,
            license_info: item.license_info,
        }
    }
}

/// A layer version as lists give it.
fn listed(layer: &LayerName, record: &LayerVersionRecord) -> LayerVersionsListItem {
    let filled = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
    LayerVersionsListItem {
        layer_version_arn: Some(layer.version_arn(record.number)),
        version: i64::try_from(record.number).ok(),
        description: record.description.clone(),
        created_date: Some(last_modified(record.created_ms)),
        compatible_architectures: filled(&record.architectures),
        compatible_runtimes: filled(&record.runtimes),
        license_info: record.license.clone(),
    }
}
