//! All layer versions in memory, fed by the metadata store's watch as part of [`super::super::catalogue`].

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use lambkin_core::ids::Scope;
use lambkin_core::metadata::Record;

use super::super::record::Code;
use super::names::LayerName;
use super::record::LayerVersionRecord;

/// Versions of a layer by number.
type Versions = BTreeMap<u64, Arc<LayerVersionRecord>>;

/// Layers with at least one version, by scope and name.
type All = HashMap<Scope, BTreeMap<String, Versions>>;

/// All layer versions of all scopes.
#[derive(Debug, Default)]
pub(crate) struct Layers(RwLock<All>);

impl Layers {
    /// Applies a change of a layer version's record; `part` is its number.
    ///
    /// # Errors
    /// Why the record cannot be read.
    pub(crate) fn apply(
        &self,
        at: &(Scope, String),
        part: &str,
        stored: Option<&Record>,
    ) -> Result<(), String> {
        let number = part.parse::<u64>().map_err(|_| format!("{part:?} is no version number"))?;
        let record = stored.map(|stored| LayerVersionRecord::read(&stored.value)).transpose()?;
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let layers = all.entry(at.0.clone()).or_default();
        match record {
            Some(record) => {
                layers.entry(at.1.clone()).or_default().insert(number, Arc::new(record));
            }
            None => {
                if let Some(versions) = layers.get_mut(&at.1) {
                    versions.remove(&number);
                    if versions.is_empty() {
                        layers.remove(&at.1);
                    }
                }
            }
        }
        Ok(())
    }

    /// A layer version.
    pub(crate) fn get(&self, layer: &LayerName, number: u64) -> Option<Arc<LayerVersionRecord>> {
        self.read().get(&layer.scope)?.get(&layer.name)?.get(&number).cloned()
    }

    /// Versions of a layer that `fit`, the newest first, those below `before`, at most `limit`.
    pub(crate) fn versions(
        &self,
        layer: &LayerName,
        before: Option<u64>,
        limit: usize,
        fit: impl Fn(&LayerVersionRecord) -> bool,
    ) -> Vec<Arc<LayerVersionRecord>> {
        let all = self.read();
        let Some(versions) = all.get(&layer.scope).and_then(|layers| layers.get(&layer.name)) else {
            return Vec::new();
        };
        let end = before.map_or(Bound::Unbounded, Bound::Excluded);
        let versions = versions.range((Bound::Unbounded, end)).rev().map(|(_, record)| record);
        versions.filter(|record| fit(record)).take(limit).cloned().collect()
    }

    /// Layers of a scope by name, those behind `after`, at most `limit`, each with its newest version that `fits`;
    /// layers without one are left out.
    pub(crate) fn list(
        &self,
        scope: &Scope,
        after: Option<&str>,
        limit: usize,
        fits: impl Fn(&LayerVersionRecord) -> bool,
    ) -> Vec<(String, Arc<LayerVersionRecord>)> {
        let all = self.read();
        let Some(layers) = all.get(scope) else { return Vec::new() };
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let newest = |versions: &Versions| versions.values().rev().find(|record| fits(record)).cloned();
        layers
            .range::<str, _>((start, Bound::Unbounded))
            .filter_map(|(name, versions)| Some((name.clone(), newest(versions)?)))
            .take(limit)
            .collect()
    }

    /// Packages of all layer versions; one that several of them have is named each time.
    pub(crate) fn packages(&self) -> Vec<Code> {
        let all = self.read();
        let layers = all.values().flat_map(BTreeMap::values);
        layers.flat_map(BTreeMap::values).map(|record| record.code.clone()).collect()
    }

    /// Bytes of the packages of a scope's layer versions.
    pub(crate) fn size(&self, scope: &Scope) -> u64 {
        let all = self.read();
        let versions = all.get(scope).into_iter().flat_map(BTreeMap::values).flat_map(BTreeMap::values);
        versions.map(|record| record.code.size).sum()
    }

    fn read(&self) -> RwLockReadGuard<'_, All> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}
