//! What is stored of a layer, as JSON: a counter under `ACCOUNT/REGION/NAME`, which outlives the versions, and a
//! record for each version under `ACCOUNT/REGION/NAME/NUMBER`.

use serde::{Deserialize, Serialize};

use super::super::permissions::Policy;
use super::super::record::{Code, read};

/// Metadata kind of layers.
pub(crate) const KIND: &str = "lambda.layer";

/// Metadata kind of layer versions.
pub(crate) const VERSION_KIND: &str = "lambda.layer-version";

/// A layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    /// [`super::super::record::FORMAT`].
    pub(crate) v: u32,
    /// The highest version number given so far; none is given twice.
    pub(crate) last_version: u64,
}

/// A layer version: only its policy changes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LayerVersionRecord {
    /// [`super::super::record::FORMAT`].
    pub(crate) v: u32,
    pub(crate) number: u64,
    pub(crate) created_ms: i64,
    pub(crate) code: Code,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) license: Option<String>,
    /// CompatibleRuntimes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) runtimes: Vec<String>,
    /// CompatibleArchitectures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) architectures: Vec<String>,
    /// Who but the own account may use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<Policy>,
}

/// A layer version as a function's configuration holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerUse {
    /// LayerVersionArn.
    pub(crate) arn: String,
    pub(crate) code: Code,
}

impl LayerRecord {
    /// Reads a stored record; says why not.
    pub(crate) fn read(stored: &[u8]) -> Result<Self, String> {
        read(stored, |record: &Self| record.v)
    }
}

impl LayerVersionRecord {
    /// Reads a stored record; says why not.
    pub(crate) fn read(stored: &[u8]) -> Result<Self, String> {
        read(stored, |record: &Self| record.v)
    }

    /// Whether it is said to go with a runtime and an architecture, as far as these are given.
    pub(crate) fn goes_with(&self, runtime: Option<&str>, architecture: Option<&str>) -> bool {
        let has = |list: &[String], wanted: Option<&str>| {
            wanted.is_none_or(|wanted| list.iter().any(|listed| listed == wanted))
        };
        has(&self.runtimes, runtime) && has(&self.architectures, architecture)
    }
}
