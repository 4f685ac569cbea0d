//! Finds botocore and reads its `service-2.json`.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Read as _;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

/// The one version that generated code comes from.
pub(crate) const BOTOCORE_VERSION: &str = "1.44.5";

/// A service's model, as far as the generator uses it.
#[derive(Debug, Deserialize)]
pub(crate) struct Model {
    pub(crate) metadata: Metadata,
    pub(crate) operations: BTreeMap<String, Operation>,
    pub(crate) shapes: BTreeMap<String, Shape>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    pub(crate) api_version: String,
    pub(crate) endpoint_prefix: String,
    pub(crate) signing_name: Option<String>,
    pub(crate) protocol: String,
    #[serde(default)]
    pub(crate) protocols: Vec<String>,
    pub(crate) json_version: Option<String>,
    #[serde(default)]
    pub(crate) target_prefix: String,
    pub(crate) xml_namespace: Option<XmlNamespace>,
    pub(crate) aws_query_compatible: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum XmlNamespace {
    Plain(String),
    Uri { uri: String },
}

#[derive(Debug, Deserialize)]
pub(crate) struct Operation {
    pub(crate) http: Http,
    pub(crate) input: Option<ShapeRef>,
    pub(crate) output: Option<ShapeRef>,
    #[serde(default)]
    pub(crate) errors: Vec<ShapeRef>,
    pub(crate) authtype: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Http {
    pub(crate) method: String,
    pub(crate) request_uri: String,
    pub(crate) response_code: Option<u16>,
}

/// A use of a shape, with the traits given where it is used.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShapeRef {
    pub(crate) shape: String,
    pub(crate) location: Option<String>,
    pub(crate) location_name: Option<String>,
    pub(crate) query_name: Option<String>,
    pub(crate) result_wrapper: Option<String>,
    pub(crate) timestamp_format: Option<String>,
    #[serde(default)]
    pub(crate) flattened: bool,
    #[serde(default)]
    pub(crate) streaming: bool,
    #[serde(default)]
    pub(crate) sensitive: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shape {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default, deserialize_with = "ordered")]
    pub(crate) members: Vec<(String, ShapeRef)>,
    #[serde(default)]
    pub(crate) required: Vec<String>,
    pub(crate) payload: Option<String>,
    #[serde(default)]
    pub(crate) exception: bool,
    #[serde(default)]
    pub(crate) fault: bool,
    pub(crate) error: Option<ErrorTrait>,
    #[serde(default)]
    pub(crate) eventstream: bool,
    #[serde(default)]
    pub(crate) union: bool,
    #[serde(default)]
    pub(crate) document: bool,
    pub(crate) member: Option<ShapeRef>,
    pub(crate) key: Option<ShapeRef>,
    pub(crate) value: Option<ShapeRef>,
    #[serde(default)]
    pub(crate) flattened: bool,
    pub(crate) min: Option<f64>,
    pub(crate) max: Option<f64>,
    pub(crate) pattern: Option<String>,
    #[serde(default, rename = "enum")]
    pub(crate) values: Vec<String>,
    #[serde(default)]
    pub(crate) streaming: bool,
    #[serde(default)]
    pub(crate) sensitive: bool,
    pub(crate) timestamp_format: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErrorTrait {
    pub(crate) code: Option<String>,
    pub(crate) http_status_code: Option<u16>,
    pub(crate) sender_fault: Option<bool>,
}

impl Model {
    /// A shape that the model itself refers to.
    pub(crate) fn shape(&self, name: &str) -> Result<&Shape> {
        self.shapes.get(name).with_context(|| format!("the model has no shape {name}"))
    }
}

/// A JSON object in its written order, which is the order of the model's members.
fn ordered<'de, D, V>(deserializer: D) -> Result<Vec<(String, V)>, D::Error>
where
    D: Deserializer<'de>,
    V: Deserialize<'de>,
{
    struct Ordered<V>(PhantomData<V>);

    impl<'de, V: Deserialize<'de>> Visitor<'de> for Ordered<V> {
        type Value = Vec<(String, V)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = map.next_entry()? {
                entries.push(entry);
            }
            Ok(entries)
        }
    }

    deserializer.deserialize_map(Ordered(PhantomData))
}

/// The package folder of botocore: the given one, or that of the end-to-end tests' virtual environment.
pub(crate) fn find_botocore(root: &Path, given: Option<&Path>) -> Result<PathBuf> {
    let folder = match given {
        Some(folder) => folder.to_owned(),
        None => in_virtual_environment(&root.join("tests/e2e/.venv/lib"))?,
    };
    let init = folder.join("__init__.py");
    let text = fs::read_to_string(&init).with_context(|| format!("reading {}", init.display()))?;
    let version = text
        .lines()
        .find_map(|line| line.strip_prefix("__version__ = "))
        .map(|version| version.trim().trim_matches(['\'', '"']))
        .with_context(|| format!("{} names no version", init.display()))?;
    if version != BOTOCORE_VERSION {
        bail!("{} is botocore {version}; codegen needs exactly {BOTOCORE_VERSION}", folder.display());
    }
    Ok(folder)
}

fn in_virtual_environment(lib: &Path) -> Result<PathBuf> {
    let advice = format!("run `pip install botocore=={BOTOCORE_VERSION}` there or pass --botocore");
    let entries = fs::read_dir(lib).with_context(|| format!("reading {}; {advice}", lib.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let folder = entry?.path().join("site-packages/botocore");
        if folder.is_dir() {
            found.push(folder);
        }
    }
    found.sort();
    found.pop().with_context(|| format!("no botocore under {}; {advice}", lib.display()))
}

/// Reads `data/<service>/<version>/service-2.json`, plain or gzipped.
pub(crate) fn read_model(botocore: &Path, service: &str, version: &str) -> Result<Model> {
    let plain = botocore.join("data").join(service).join(version).join("service-2.json");
    let mut text = Vec::new();
    let path = if plain.exists() {
        text = fs::read(&plain).with_context(|| format!("reading {}", plain.display()))?;
        plain
    } else {
        let zipped = plain.with_extension("json.gz");
        let file = fs::File::open(&zipped).with_context(|| format!("opening {}", zipped.display()))?;
        flate2::read::GzDecoder::new(file)
            .read_to_end(&mut text)
            .with_context(|| format!("unpacking {}", zipped.display()))?;
        zipped
    };
    serde_json::from_slice(&text).with_context(|| format!("parsing {}", path.display()))
}
