//! Layers of functions: what a request may ask for, and the limits of what is unpacked.

use lambkin_model::{AwsError, RequestContext};

use super::super::Inner;
use super::super::archive::MAX_UNZIPPED;
use super::super::code::Pin;
use super::super::create::package_error;
use super::super::faults::invalid;
use super::super::record::Code;
use super::names::LayerName;
use super::record::LayerUse;

/// Most layers of a function (AWS quota).
const MAX_LAYERS: usize = 5;

impl Inner {
    /// The layer versions that a request wants for a function of the caller's region, in order.
    ///
    /// # Errors
    /// AWS's refusals of too many, of a foreign region, of two versions of one layer, of one that does not exist,
    /// and of another account's that the caller may not use.
    pub(crate) fn layers_of(
        &self,
        context: &RequestContext,
        arns: &[String],
    ) -> Result<Vec<LayerUse>, AwsError> {
        if arns.len() > MAX_LAYERS {
            return Err(invalid(format!("Cannot reference more than {MAX_LAYERS} layers.")));
        }
        let mut seen: Vec<(LayerName, &str)> = Vec::new();
        let mut layers = Vec::new();
        for arn in arns {
            let absent = || invalid(format!("Layer version {arn} does not exist."));
            let (layer, number) = LayerName::of_version(arn).ok_or_else(absent)?;
            if layer.scope.region != context.region {
                return Err(invalid(format!(
                    "Layers are not in the same region as the function. Layers are expected to be in region {}.",
                    context.region
                )));
            }
            if let Some((_, other)) = seen.iter().find(|(other, _)| *other == layer) {
                return Err(invalid(format!(
                    "Two different versions of the same layer are not allowed to be referenced in the same \
                     function. {other} and {arn} are versions of the same layer."
                )));
            }
            let number = i64::try_from(number).map_err(|_| absent())?;
            let found = self.find_layer_version(context, "GetLayerVersion", &layer, number);
            let record = found.map_err(|error| match error.status {
                404 => absent(),
                _ => error,
            })?;
            layers.push(LayerUse { arn: arn.clone(), code: record.code.clone() });
            seen.push((layer, arn));
        }
        Ok(layers)
    }

    /// Checks a function's layers as [`Inner::check_layers`] does, beside a stored package.
    pub(crate) async fn check_layers_with(
        &self,
        code: &Code,
        layers: &[LayerUse],
        pin: &Pin,
    ) -> Result<(), AwsError> {
        if layers.is_empty() {
            return Ok(());
        }
        let code = self.code.unpacked_bytes(&code.sha256, pin).await.map_err(package_error)?;
        self.check_layers(code, layers, pin).await
    }

    /// Checks what is unpacked of a function's layers beside `code` bytes of its own. All packages are unpacked
    /// afterwards.
    ///
    /// # Errors
    /// AWS's refusals of more than [`MAX_UNZIPPED`] bytes; a failed store.
    pub(crate) async fn check_layers(
        &self,
        code: u64,
        layers: &[LayerUse],
        pin: &Pin,
    ) -> Result<(), AwsError> {
        let mut bytes = 0_u64;
        for layer in layers {
            let unpacked = self.code.unpacked_bytes(&layer.code.sha256, pin).await.map_err(package_error)?;
            bytes = bytes.saturating_add(unpacked);
        }
        if bytes > MAX_UNZIPPED {
            return Err(invalid(format!(
                "Layers consume more than the available size of {MAX_UNZIPPED} bytes"
            )));
        }
        let total = bytes.saturating_add(code);
        if !layers.is_empty() && total > MAX_UNZIPPED {
            return Err(invalid(format!(
                "Function code combined with layers exceeds the maximum allowed size of {MAX_UNZIPPED} bytes. The \
                 actual size is {total} bytes."
            )));
        }
        Ok(())
    }
}
