//! All functions in memory, fed by the metadata store's watch.
//!
//! Invokes and reads use only this. Writers commit to the store and wait until the catalogue has applied
//! their revision ([`Catalogue::wait`]), so whoever was answered reads what was written.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use arc_swap::ArcSwap;
use lambkin_core::FunctionSpec;
use lambkin_core::ids::Scope;
use lambkin_core::metadata::{Change, Record, Revision, StoreError};
use tokio::sync::{mpsc, watch};

use super::code::CodeFolders;
use super::record::{FunctionRecord, KIND};

/// A function as of one metadata revision.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) scope: Scope,
    pub(crate) record: FunctionRecord,
    /// Revision of the record in the store.
    pub(crate) revision: Revision,
    /// What to run now, if anything.
    pub(crate) spec: Option<Arc<FunctionSpec>>,
}

/// The functions of one account and region, by name.
type Functions = RwLock<BTreeMap<String, Arc<Entry>>>;

/// All functions of all scopes.
#[derive(Debug)]
pub(crate) struct Catalogue {
    scopes: ArcSwap<HashMap<Scope, Arc<Functions>>>,
    applied: watch::Receiver<Revision>,
    has_unreadable: AtomicBool,
}

/// Applies changes; the one writer of a [`Catalogue`].
#[derive(Debug)]
pub(crate) struct Feeder {
    catalogue: Arc<Catalogue>,
    code: Arc<CodeFolders>,
    applied: watch::Sender<Revision>,
    changes: mpsc::UnboundedReceiver<Change>,
    unsettled: mpsc::UnboundedSender<Arc<Entry>>,
}

impl Catalogue {
    /// An empty catalogue and what fills it. Functions in an unsettled state are reported to `unsettled`.
    pub(crate) fn new(
        changes: mpsc::UnboundedReceiver<Change>,
        code: Arc<CodeFolders>,
        unsettled: mpsc::UnboundedSender<Arc<Entry>>,
    ) -> (Arc<Self>, Feeder) {
        let (applied, receiver) = watch::channel(0);
        let catalogue = Arc::new(Self {
            scopes: ArcSwap::default(),
            applied: receiver,
            has_unreadable: AtomicBool::new(false),
        });
        (catalogue.clone(), Feeder { catalogue, code, applied, changes, unsettled })
    }

    /// A function.
    pub(crate) fn get(&self, scope: &Scope, name: &str) -> Option<Arc<Entry>> {
        let scopes = self.scopes.load();
        let functions = scopes.get(scope)?.read().unwrap_or_else(PoisonError::into_inner);
        functions.get(name).cloned()
    }

    /// Functions of a scope by name, those after `after`, at most `limit`.
    pub(crate) fn list(&self, scope: &Scope, after: Option<&str>, limit: usize) -> Vec<Arc<Entry>> {
        let scopes = self.scopes.load();
        let Some(functions) = scopes.get(scope) else { return Vec::new() };
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
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

    /// Packages that some function needs; `None` if that cannot be known, because a record is unreadable.
    pub(crate) fn used_packages(&self) -> Option<HashSet<String>> {
        if self.has_unreadable.load(Ordering::Relaxed) {
            return None;
        }
        let all = self.all();
        Some(all.iter().flat_map(|entry| entry.record.packages()).map(|code| code.sha256.clone()).collect())
    }

    /// Waits until the change of `revision` can be read here.
    ///
    /// # Errors
    /// [`StoreError::Failed`] once the store's watch has ended.
    pub(crate) async fn wait(&self, revision: Revision) -> Result<(), StoreError> {
        let mut applied = self.applied.clone();
        match applied.wait_for(|applied| *applied >= revision).await {
            Ok(_) => Ok(()),
            Err(_) => Err(StoreError::Failed("the watch of the metadata store has ended".to_owned())),
        }
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
        while let Some(change) = self.changes.recv().await {
            let mut revision = self.apply(change);
            // Everything of one commit is to be seen together.
            while let Ok(change) = self.changes.try_recv() {
                revision = revision.max(self.apply(change));
            }
            self.applied.send_replace(revision);
        }
    }

    fn apply(&self, change: Change) -> Revision {
        match change {
            Change::Put(record) => {
                let revision = record.revision;
                if record.kind == KIND {
                    self.put(&record);
                }
                revision
            }
            Change::Deleted { kind, key, revision } => {
                if kind == KIND
                    && let Some((scope, name)) = FunctionRecord::split_key(&key)
                {
                    let functions = self.catalogue.functions(&scope);
                    functions.write().unwrap_or_else(PoisonError::into_inner).remove(name);
                }
                revision
            }
        }
    }

    fn put(&self, stored: &Record) {
        let Some((scope, name)) = FunctionRecord::split_key(&stored.key) else { return };
        let record = match FunctionRecord::read(&stored.value) {
            Ok(record) => record,
            Err(error) => {
                tracing::error!(key = %stored.key, %error, "cannot read a function; it is left alone");
                self.catalogue.has_unreadable.store(true, Ordering::Relaxed);
                return;
            }
        };
        let spec = record.runnable().map(|snapshot| Arc::new(snapshot.spec(&scope, name, &self.code)));
        let functions = self.catalogue.functions(&scope);
        let entry = Arc::new(Entry { scope, record, revision: stored.revision, spec });
        {
            let mut functions = functions.write().unwrap_or_else(PoisonError::into_inner);
            functions.insert(name.to_owned(), entry.clone());
        }
        if entry.record.is_unsettled() {
            // Nobody listens while the server stops; the next start finds the function as it is.
            let _ = self.unsettled.send(entry);
        }
    }
}
