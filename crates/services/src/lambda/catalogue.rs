//! All functions in memory with what belongs to them, fed by the metadata store's watch.
//!
//! Invokes and reads use only this. Writers commit to the store and wait until the catalogue has applied
//! their changes ([`Catalogue::catch_up`]), so whoever was answered reads what was written.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use arc_swap::ArcSwap;
use lambkin_core::FunctionSpec;
use lambkin_core::concurrency::Concurrency;
use lambkin_core::ids::Scope;
use lambkin_core::invoke::Invoker;
use lambkin_core::metadata::{Change, Record, Revision, StoreError};
use tokio::sync::{mpsc, oneshot};

use super::code::CodeFolders;
use super::concurrency;
use super::dependents::{self, Dependent, Dependents};
use super::event_sources::Mapping;
use super::layers::catalogue::Layers;
use super::layers::record::VERSION_KIND as LAYER_VERSION_KIND;
use super::names::Version;
use super::record::{
    ALIAS_KIND, AliasRecord, Code, FunctionRecord, KIND, State, VERSION_KIND, VersionRecord, split_key,
};
use super::resources::{self, Resources};

/// A function and what belongs to it, as of one moment.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) scope: Scope,
    pub(crate) record: Arc<FunctionRecord>,
    /// Revision of the function's record in the store.
    pub(crate) revision: Revision,
    /// What to run as `$LATEST` now, if anything.
    pub(crate) spec: Option<Arc<FunctionSpec>>,
    /// Published versions.
    pub(crate) versions: Arc<BTreeMap<u64, Arc<VersionEntry>>>,
    pub(crate) aliases: Arc<BTreeMap<String, Arc<AliasRecord>>>,
    dependents: Arc<Dependents>,
}

/// A published version.
#[derive(Debug)]
pub(crate) struct VersionEntry {
    pub(crate) record: VersionRecord,
    /// Revision of the record in the store.
    pub(crate) revision: Revision,
    /// What to run, if it can be run.
    pub(crate) spec: Option<Arc<FunctionSpec>>,
}

/// Something that is to be prepared.
#[derive(Debug, Clone)]
pub(crate) enum Unsettled {
    Function(Arc<Entry>),
    Version(Arc<Entry>, Arc<VersionEntry>),
    /// An event source mapping, at a revision of its record.
    Mapping(Scope, Arc<Mapping>, Revision),
}

impl Entry {
    /// A function with versions and nothing else.
    #[cfg(test)]
    pub(crate) fn of(
        scope: Scope,
        record: FunctionRecord,
        spec: Option<Arc<FunctionSpec>>,
        versions: Arc<BTreeMap<u64, Arc<VersionEntry>>>,
    ) -> Self {
        let (record, revision) = (Arc::new(record), 1);
        Self { scope, record, revision, spec, versions, aliases: Arc::default(), dependents: Arc::default() }
    }

    /// The setting of that type of a qualifier: `$LATEST` for the function itself, a version number or an
    /// alias.
    pub(crate) fn dependent<T: Dependent>(&self, qualifier: &str) -> Option<Arc<T>> {
        let setting = self.dependents.get(&(T::KIND, qualifier.to_owned()))?;
        setting.clone().downcast().ok()
    }

    /// All settings of that type by qualifier.
    pub(crate) fn dependents<T: Dependent>(&self) -> impl Iterator<Item = (&str, Arc<T>)> {
        self.dependents
            .range((T::KIND, String::new())..)
            .take_while(|((kind, _), _)| *kind == T::KIND)
            .filter_map(|((_, qualifier), setting)| Some((&**qualifier, setting.clone().downcast().ok()?)))
    }

    /// Every package the function and its versions need; one that several of them use is named each time.
    pub(crate) fn packages(&self) -> impl Iterator<Item = &Code> {
        self.record
            .packages()
            .chain(self.versions.values().flat_map(|version| version.record.snapshot.packages()))
    }
}

/// The functions of one account and region, by name.
type Functions = RwLock<BTreeMap<String, Arc<Entry>>>;

/// All functions and layers of all scopes.
pub(crate) struct Catalogue {
    pub(crate) layers: Layers,
    scopes: ArcSwap<HashMap<Scope, Arc<Functions>>>,
    /// Who is told of functions' concurrency.
    invoker: OnceLock<Arc<dyn Invoker>>,
    /// What belongs to no function.
    pub(super) resources: RwLock<Resources>,
    waiting: mpsc::UnboundedSender<oneshot::Sender<()>>,
    has_unreadable: AtomicBool,
}

impl std::fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalogue").field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

/// Applies changes; the one writer of a [`Catalogue`].
#[derive(Debug)]
pub(crate) struct Feeder {
    catalogue: Arc<Catalogue>,
    code: Arc<CodeFolders>,
    changes: mpsc::UnboundedReceiver<Change>,
    waiting: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    unsettled: mpsc::UnboundedSender<Unsettled>,
    parts: HashMap<(Scope, String), Parts>,
    /// Functions whose parts have changed since they were shown last.
    changed: HashSet<(Scope, String)>,
}

/// What is known of one function. The store's watch may tell of a version ahead of its function.
#[derive(Debug, Default)]
struct Parts {
    function: Option<(Arc<FunctionRecord>, Revision, Option<Arc<FunctionSpec>>)>,
    versions: Arc<BTreeMap<u64, Arc<VersionEntry>>>,
    aliases: Arc<BTreeMap<String, Arc<AliasRecord>>>,
    dependents: Arc<Dependents>,
    /// Versions that wait to be prepared and have not been reported.
    pending: Vec<Arc<VersionEntry>>,
    /// Whether the function waits to be prepared and has not been reported.
    unreported: bool,
}

impl Parts {
    fn is_empty(&self) -> bool {
        self.function.is_none()
            && self.versions.is_empty()
            && self.aliases.is_empty()
            && self.dependents.is_empty()
    }
}

impl Catalogue {
    /// An empty catalogue and what fills it. What is in an unsettled state is reported to `unsettled`.
    pub(crate) fn new(
        changes: mpsc::UnboundedReceiver<Change>,
        code: Arc<CodeFolders>,
        unsettled: mpsc::UnboundedSender<Unsettled>,
    ) -> (Arc<Self>, Feeder) {
        let (sender, waiting) = mpsc::unbounded_channel();
        let catalogue = Arc::new(Self {
            layers: Layers::default(),
            scopes: ArcSwap::default(),
            invoker: OnceLock::new(),
            resources: RwLock::default(),
            waiting: sender,
            has_unreadable: AtomicBool::new(false),
        });
        let feeder = Feeder {
            catalogue: catalogue.clone(),
            code,
            changes,
            waiting,
            unsettled,
            parts: HashMap::new(),
            changed: HashSet::new(),
        };
        (catalogue, feeder)
    }

    /// Tells an invoker the concurrency of every function, now and at each change.
    pub(crate) fn tell(&self, invoker: Arc<dyn Invoker>) {
        if self.invoker.set(invoker).is_ok() {
            for entry in self.all() {
                self.tell_of(&entry.scope, &entry.record.name, concurrency::of(&entry));
            }
        }
    }

    fn tell_of(&self, scope: &Scope, name: &str, concurrency: Concurrency) {
        if let Some(invoker) = self.invoker.get() {
            invoker.set_concurrency(scope, name, concurrency);
        }
    }

    /// A function.
    pub(crate) fn get(&self, scope: &Scope, name: &str) -> Option<Arc<Entry>> {
        let scopes = self.scopes.load();
        let functions = scopes.get(scope)?.read().unwrap_or_else(PoisonError::into_inner);
        functions.get(name).cloned()
    }

    /// Functions of a scope by name, those from `start` on, at most `limit`.
    pub(crate) fn list(&self, scope: &Scope, start: Bound<&str>, limit: usize) -> Vec<Arc<Entry>> {
        let scopes = self.scopes.load();
        let Some(functions) = scopes.get(scope) else { return Vec::new() };
        let functions = functions.read().unwrap_or_else(PoisonError::into_inner);
        functions
            .range::<str, _>((start, Bound::Unbounded))
            .take(limit)
            .map(|(_, entry)| entry.clone())
            .collect()
    }

    /// Every function of every scope.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        let scopes = self.scopes.load();
        let mut all = Vec::new();
        for functions in scopes.values() {
            all.extend(functions.read().unwrap_or_else(PoisonError::into_inner).values().cloned());
        }
        all
    }

    /// Packages that some layer version or some version of some function needs, as far as the records can be
    /// read.
    pub(crate) fn packages(&self) -> HashSet<String> {
        let all = self.all();
        let of_functions = all.iter().flat_map(|entry| entry.packages()).map(|code| code.sha256.clone());
        of_functions.chain(self.layers.packages().into_iter().map(|code| code.sha256)).collect()
    }

    /// The same; `None` if that cannot be known, because a record is unreadable.
    pub(crate) fn used_packages(&self) -> Option<HashSet<String>> {
        (!self.has_unreadable.load(Ordering::Relaxed)).then(|| self.packages())
    }

    /// Waits until every commit that has been answered by now can be read here, and every change that was in
    /// the watch's channel from its start.
    ///
    /// # Errors
    /// [`StoreError::Failed`] once the store's watch has ended.
    pub(crate) async fn catch_up(&self) -> Result<(), StoreError> {
        let ended = || StoreError::Failed("the watch of the metadata store has ended".to_owned());
        let (done, caught_up) = oneshot::channel();
        self.waiting.send(done).map_err(|_| ended())?;
        caught_up.await.map_err(|_| ended())
    }

    fn functions(&self, scope: &Scope) -> Arc<Functions> {
        if let Some(functions) = self.scopes.load().get(scope) {
            return functions.clone();
        }
        let functions = Arc::new(Functions::default());
        self.scopes.rcu(|scopes| {
            let mut scopes = HashMap::clone(scopes);
            scopes.insert(scope.clone(), functions.clone());
            scopes
        });
        functions
    }
}

impl Feeder {
    /// Applies changes until the store ends.
    pub(crate) async fn run(mut self) {
        loop {
            let waiting = tokio::select! {
                biased;
                change = self.changes.recv() => match change {
                    Some(change) => {
                        self.apply(change);
                        None
                    }
                    None => return,
                },
                // The catalogue holds the sender, and this holds the catalogue.
                Some(waiting) = self.waiting.recv() => Some(waiting),
            };
            // A commit's changes are in the channel before it is answered: whoever waits for one has them here.
            while let Ok(change) = self.changes.try_recv() {
                self.apply(change);
            }
            self.show();
            if let Some(waiting) = waiting {
                // Whoever no longer waits does not need to know.
                let _ = waiting.send(());
            }
        }
    }

    fn apply(&mut self, change: Change) {
        let (kind, key, record) = match &change {
            Change::Put(record) => (&record.kind, &record.key, Some(record)),
            Change::Deleted { kind, key, .. } => (kind, key, None),
        };
        let Some((scope, name, part)) = split_key(key) else { return };
        if part.is_none() && resources::reader(kind).is_some() {
            return self.apply_resource(scope, kind, name, record);
        }
        let at = (scope, name.to_owned());
        let applied = match (kind.as_str(), part) {
            (KIND, None) => self.apply_function(&at, record),
            (VERSION_KIND, Some(part)) => self.apply_version(&at, part, record),
            (ALIAS_KIND, Some(part)) => self.apply_alias(&at, part, record),
            (LAYER_VERSION_KIND, Some(part)) => self.catalogue.layers.apply(&at, part, record),
            (kind, Some(part)) => match dependents::reader(kind) {
                Some((kind, read)) => record
                    .map(|record| read(&record.value))
                    .transpose()
                    .map(|setting| put(&mut self.parts(&at).dependents, (kind, part.to_owned()), setting)),
                None => return,
            },
            _ => return,
        };
        if let Err(error) = applied {
            tracing::error!(%kind, %key, %error, "cannot read a record; it is left alone");
            self.catalogue.has_unreadable.store(true, Ordering::Relaxed);
        }
        self.changed.insert(at);
    }

    /// Applies a change of what belongs to no function, and reports an event source mapping that is unsettled.
    fn apply_resource(&self, scope: Scope, kind: &str, id: &str, record: Option<&Record>) {
        let Some((kind, read)) = resources::reader(kind) else { return };
        let held = match record.map(|record| resources::held(read, record)).transpose() {
            Ok(held) => held,
            Err(error) => {
                tracing::error!(%kind, %id, %error, "cannot read a record; it is left alone");
                return;
            }
        };
        let mapping = held.as_ref().and_then(resources::Held::get::<Mapping>);
        {
            let mut resources = self.catalogue.resources.write().unwrap_or_else(PoisonError::into_inner);
            let at = (kind, scope.clone(), id.to_owned());
            match held {
                Some(held) => resources.insert(at, held),
                None => resources.remove(&at),
            };
        }
        if let Some((mapping, revision)) = mapping.filter(|(mapping, _)| mapping.is_unsettled()) {
            // Nobody listens while the server stops; the next start finds it as it is.
            let _ = self.unsettled.send(Unsettled::Mapping(scope, mapping, revision));
        }
    }

    fn parts(&mut self, at: &(Scope, String)) -> &mut Parts {
        self.parts.entry(at.clone()).or_default()
    }

    fn apply_function(&mut self, at: &(Scope, String), stored: Option<&Record>) -> Result<(), String> {
        let Some(stored) = stored else {
            self.parts(at).function = None;
            return Ok(());
        };
        let record = FunctionRecord::read(&stored.value)?;
        let spec = record.runnable().map(|snapshot| snapshot.spec(&at.0, &at.1, Version::Latest, &self.code));
        let parts = self.parts(at);
        parts.unreported = record.is_unsettled();
        parts.function = Some((Arc::new(record), stored.revision, spec.map(Arc::new)));
        Ok(())
    }

    fn apply_version(
        &mut self,
        at: &(Scope, String),
        part: &str,
        stored: Option<&Record>,
    ) -> Result<(), String> {
        let Some(Version::Number(number)) = Version::parse(part) else {
            return Err(format!("{part:?} is no version number"));
        };
        let Some(stored) = stored else {
            put(&mut self.parts(at).versions, number, None);
            return Ok(());
        };
        let record = VersionRecord::read(&stored.value)?;
        let version = Version::Number(number);
        let spec = record.runnable().map(|snapshot| snapshot.spec(&at.0, &at.1, version, &self.code));
        let entry = Arc::new(VersionEntry { record, revision: stored.revision, spec: spec.map(Arc::new) });
        let parts = self.parts(at);
        if entry.record.state.is == State::Pending {
            parts.pending.push(entry.clone());
        }
        put(&mut parts.versions, number, Some(entry));
        Ok(())
    }

    fn apply_alias(
        &mut self,
        at: &(Scope, String),
        part: &str,
        stored: Option<&Record>,
    ) -> Result<(), String> {
        let alias = stored.map(|stored| AliasRecord::read(&stored.value)).transpose()?;
        put(&mut self.parts(at).aliases, part.to_owned(), alias.map(Arc::new));
        Ok(())
    }

    /// Shows what has changed, each function with all its parts at once, and reports what is unsettled.
    fn show(&mut self) {
        for at in self.changed.drain() {
            let functions = self.catalogue.functions(&at.0);
            let Some(parts) = self.parts.get_mut(&at) else { continue };
            let Some((record, revision, spec)) = parts.function.clone() else {
                functions.write().unwrap_or_else(PoisonError::into_inner).remove(&at.1);
                self.catalogue.tell_of(&at.0, &at.1, Concurrency::default());
                if parts.is_empty() {
                    self.parts.remove(&at);
                }
                continue;
            };
            let entry = Arc::new(Entry {
                scope: at.0.clone(),
                record,
                revision,
                spec,
                versions: parts.versions.clone(),
                aliases: parts.aliases.clone(),
                dependents: parts.dependents.clone(),
            });
            {
                let mut functions = functions.write().unwrap_or_else(PoisonError::into_inner);
                functions.insert(at.1.clone(), entry.clone());
            }
            self.catalogue.tell_of(&at.0, &at.1, concurrency::of(&entry));
            let function = std::mem::take(&mut parts.unreported).then(|| Unsettled::Function(entry.clone()));
            let versions = parts.pending.drain(..).map(|version| Unsettled::Version(entry.clone(), version));
            for unsettled in function.into_iter().chain(versions) {
                // Nobody listens while the server stops; the next start finds it as it is.
                let _ = self.unsettled.send(unsettled);
            }
        }
    }
}

/// Puts into a map that readers may hold, or removes.
fn put<K: Ord + Clone, V: Clone>(map: &mut Arc<BTreeMap<K, V>>, key: K, value: Option<V>) {
    let map = Arc::make_mut(map);
    match value {
        Some(value) => map.insert(key, value),
        None => map.remove(&key),
    };
}
