//! Finds the pool of a function version, and tells old revisions from new ones.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use lambkin_core::function::FunctionSpec;
use lambkin_core::ids::Scope;

use crate::environment::Environment;
use crate::limits::Limits;
use crate::pool::Pool;

/// How many revisions of a version are remembered as out of date: those that requests resolved just before
/// a change may still name.
const REMEMBERED: usize = 32;

/// All pools.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// What functions may use, for their pools.
    pub(crate) limits: Limits,
    hasher: RandomState,
    /// Current pools by the hash of their identity: the way of warm invocations.
    current: RwLock<HashMap<u64, Arc<Pool>>>,
    /// The same by function and version, with what is out of date. Locked before `current`.
    functions: Mutex<HashMap<FunctionKey, Function>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct FunctionKey {
    scope: Scope,
    name: Arc<str>,
}

#[derive(Debug, Default)]
struct Function {
    versions: BTreeMap<Arc<str>, Version>,
    /// When something was last out of date, by the engine's clock.
    changed: Duration,
}

#[derive(Debug, Default)]
struct Version {
    current: Option<Arc<Pool>>,
    out_of_date: VecDeque<Arc<str>>,
}

/// Idle environments that are to be closed.
pub(crate) type Closing = Vec<Box<Environment>>;

impl Registry {
    /// No pools yet, under these limits.
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    fn hash(&self, spec: &FunctionSpec) -> u64 {
        self.hasher.hash_one((
            &*spec.revision,
            &*spec.version,
            &*spec.name,
            &*spec.scope.account,
            &*spec.scope.region,
        ))
    }

    /// The pool of a function version's revision, made if need be. Another revision of the same version
    /// is out of date from then on; its idle environments are answered, to be closed. A revision that is
    /// out of date itself gets a pool of its own that keeps nothing.
    pub(crate) fn pool(&self, spec: &Arc<FunctionSpec>, now: Duration) -> (Arc<Pool>, Closing) {
        let hash = self.hash(spec);
        {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(pool) = current.get(&hash)
                && same(&pool.spec, spec)
            {
                return (Arc::clone(pool), Vec::new());
            }
        }
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        let key = FunctionKey { scope: spec.scope.clone(), name: Arc::clone(&spec.name) };
        let function = functions.entry(key).or_default();
        let version = function.versions.entry(Arc::clone(&spec.version)).or_default();
        if let Some(pool) = &version.current
            && same(&pool.spec, spec)
        {
            return (Arc::clone(pool), Vec::new());
        }
        if version.out_of_date.contains(&spec.revision) {
            return (self.make(spec, true), Vec::new());
        }
        let closing = self.put_out_of_date(version);
        function.changed = now;
        let pool = self.make(spec, false);
        version.current = Some(Arc::clone(&pool));
        self.current.write().unwrap_or_else(PoisonError::into_inner).insert(hash, Arc::clone(&pool));
        (pool, closing)
    }

    fn make(&self, spec: &Arc<FunctionSpec>, retired: bool) -> Arc<Pool> {
        let function = self.limits.function(&spec.scope, &spec.name);
        Arc::new(Pool::new(Arc::clone(spec), function, retired))
    }

    fn put_out_of_date(&self, version: &mut Version) -> Closing {
        let Some(pool) = version.current.take() else { return Vec::new() };
        let hash = self.hash(&pool.spec);
        self.current.write().unwrap_or_else(PoisonError::into_inner).remove(&hash);
        version.out_of_date.push_back(Arc::clone(&pool.spec.revision));
        if version.out_of_date.len() > REMEMBERED {
            version.out_of_date.pop_front();
        }
        pool.retire()
    }

    /// Puts a function's environments out of date and answers the idle ones, to be closed. Of an ARN
    /// without a version: with `keep`, `$LATEST` unless it has that revision, for published versions never
    /// change; without `keep`, all versions. Of an ARN with a version: that version.
    pub(crate) fn retire(&self, arn: &str, keep: Option<&str>, now: Duration) -> Closing {
        let Some((key, version)) = parse(arn) else { return Vec::new() };
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(function) = functions.get_mut(&key) else { return Vec::new() };
        function.changed = now;
        let only = version.or(keep.map(|_| "$LATEST"));
        let mut closing = Vec::new();
        for (name, version) in &mut function.versions {
            let meant = only.is_none_or(|only| only == &**name);
            let kept = version.current.as_ref().is_some_and(|pool| Some(&*pool.spec.revision) == keep);
            if meant && !kept {
                closing.extend(self.put_out_of_date(version));
            }
        }
        closing
    }

    /// All current pools.
    pub(crate) fn pools(&self) -> Vec<Arc<Pool>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Forgets pools without environments of functions that have not changed since `limit`.
    pub(crate) fn forget(&self, limit: Duration) {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        functions.retain(|_, function| {
            if function.changed > limit {
                return true;
            }
            for version in function.versions.values_mut() {
                // An invocation that has just found the pool holds a reference to it.
                if let Some(pool) =
                    version.current.take_if(|pool| Arc::strong_count(pool) == 2 && pool.is_empty())
                {
                    current.remove(&self.hash(&pool.spec));
                }
                version.out_of_date.clear();
            }
            function.versions.retain(|_, version| version.current.is_some());
            !function.versions.is_empty()
        });
    }
}

/// Whether two specs are of the same revision of the same function version.
fn same(one: &Arc<FunctionSpec>, other: &Arc<FunctionSpec>) -> bool {
    Arc::ptr_eq(one, other)
        || one.revision == other.revision
            && one.version == other.version
            && one.name == other.name
            && one.scope == other.scope
}

/// Function and version of `arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME[:VERSION]`.
fn parse(arn: &str) -> Option<(FunctionKey, Option<&str>)> {
    let mut parts = arn.split(':');
    let (Some("arn"), Some(_), Some("lambda"), Some(region), Some(account), Some("function"), Some(name)) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return None;
    };
    Some((FunctionKey { scope: Scope::new(account, region), name: name.into() }, parts.next()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn spec(version: &str, revision: &str) -> Arc<FunctionSpec> {
        let spec = crate::testing::spec("provided.al2023", Path::new("/code"));
        Arc::new(FunctionSpec { version: version.into(), revision: revision.into(), ..spec })
    }

    const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:hello";
    const NOW: Duration = Duration::from_secs(1_000);

    struct Pools(Registry);

    impl Pools {
        fn get(&self, version: &str, revision: &str) -> Arc<Pool> {
            self.0.pool(&spec(version, revision), NOW).0
        }

        /// Whether a revision's pool is the current one, which is found again.
        fn is_current(&self, version: &str, revision: &str) -> bool {
            Arc::ptr_eq(&self.get(version, revision), &self.get(version, revision))
        }
    }

    #[test]
    fn a_newer_revision_puts_the_older_out_of_date_for_good() {
        let pools = Pools(Registry::default());
        assert!(pools.is_current("$LATEST", "a") && pools.is_current("1", "x"));
        assert!(pools.is_current("$LATEST", "b"));
        assert!(!pools.is_current("$LATEST", "a"));
        assert!(pools.is_current("$LATEST", "b") && pools.is_current("1", "x"));
    }

    #[test]
    fn the_same_revision_id_of_two_versions_is_not_mixed_up() {
        let pools = Pools(Registry::default());
        let latest = pools.get("$LATEST", "a");
        assert!(!Arc::ptr_eq(&latest, &pools.get("1", "a")));
        assert!(Arc::ptr_eq(&latest, &pools.get("$LATEST", "a")));
    }

    #[test]
    fn retiring_spares_what_is_to_be_kept_and_published_versions() {
        let pools = Pools(Registry::default());
        pools.get("$LATEST", "a");
        pools.get("1", "x");
        pools.0.retire(ARN, Some("a"), NOW);
        assert!(pools.is_current("$LATEST", "a"));
        pools.0.retire(ARN, Some("b"), NOW);
        assert!(!pools.is_current("$LATEST", "a") && pools.is_current("1", "x"));
        pools.0.retire(&format!("{ARN}:1"), None, NOW);
        assert!(!pools.is_current("1", "x"));
        pools.get("$LATEST", "b");
        pools.get("2", "y");
        pools.0.retire(ARN, None, NOW);
        assert!(!pools.is_current("$LATEST", "b") && !pools.is_current("2", "y"));
        pools.0.retire("arn:aws:lambda:us-east-1:000000000000:function:other", None, NOW);
        pools.0.retire("nonsense", None, NOW);
    }

    #[test]
    fn what_is_long_out_of_use_is_forgotten() {
        let pools = Pools(Registry::default());
        let held = pools.get("$LATEST", "a");
        pools.0.forget(NOW);
        assert!(Arc::ptr_eq(&held, &pools.get("$LATEST", "a")), "forgotten while in use");
        drop(held);
        pools.0.forget(NOW - Duration::from_secs(1));
        assert_eq!(pools.0.pools().len(), 1);
        pools.0.forget(NOW);
        assert!(pools.0.pools().is_empty() && pools.0.functions.lock().unwrap().is_empty());
    }
}
