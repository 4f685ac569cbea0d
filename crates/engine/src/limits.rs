//! How many invocations may run at once: the account's limit, what functions have reserved of it, and how fast
//! a function may grow. Counted across all versions of a function.
//!
//! Admission is a compare-and-swap or two on counters that a function's pools share; no lock is taken. An
//! invocation counts as *provisioned* if it begins in an environment that was initialised ahead, else as *on
//! demand*. A function claims its reservation of the account's limit, or, without one, its provisioned
//! environments; what nobody claims is the room that functions without a reservation share for their
//! invocations on demand.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lambkin_core::ids::Scope;

use crate::stats::{Counter, FunctionUsage};

/// `Reason` where what functions without a reservation share is used up.
pub(crate) const ACCOUNT: &str = "ConcurrentInvocationLimitExceeded";
/// `Reason` where a function's reservation is used up.
pub(crate) const RESERVED: &str = "ReservedFunctionConcurrentInvocationLimitExceeded";
/// `Reason` where a function grows too fast.
pub(crate) const RATE: &str = "FunctionInvocationRateLimitExceeded";

/// The time that the scaling rate counts in.
const WINDOW: Duration = Duration::from_secs(10);
/// In [`FunctionUse::reserved`]: nothing is reserved. The API's numbers are smaller.
const NONE: u32 = u32::MAX;
/// One invocation on demand and one provisioned invocation in [`FunctionUse::running`].
const ON_DEMAND: u64 = 1;
const PROVISIONED: u64 = 1 << 32;

/// All accounts and functions that have a limit or run.
#[derive(Debug)]
pub(crate) struct Limits {
    account_limit: u32,
    scaling_rate: u32,
    accounts: Mutex<HashMap<Scope, Account>>,
}

#[derive(Debug)]
struct Account {
    usage: Arc<AccountUse>,
    functions: HashMap<Arc<str>, Arc<FunctionUse>>,
}

/// What the functions of an account and region share.
#[derive(Debug)]
struct AccountUse {
    limit: u32,
    /// What functions claim. Locked while a claim changes.
    claimed: Mutex<u64>,
    /// What is left of the limit beyond the claims.
    room: AtomicU32,
    /// Invocations that were admitted to the room and are under way.
    running: AtomicU32,
}

/// What the versions of a function share.
#[derive(Debug)]
pub(crate) struct FunctionUse {
    account: Arc<AccountUse>,
    /// Invocations under way: on demand in the lower half, provisioned ones in the upper.
    running: AtomicU64,
    reserved: AtomicU32,
    /// Provisioned environments that are initialised.
    allocated: AtomicU32,
    starts: Mutex<Bucket>,
    /// Invocations refused.
    pub(crate) throttles: Counter,
    /// Invocations of versions with provisioned environments that ran on demand.
    pub(crate) spillovers: Counter,
    /// Invocations in provisioned environments.
    pub(crate) provisioned_invocations: Counter,
}

/// How an invocation is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In any environment, made for it if need be.
    OnDemand,
    /// In an environment that was initialised ahead.
    Provisioned,
}

/// An invocation that has been admitted; it counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    function: &'a FunctionUse,
    unit: u64,
    in_room: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self::new(1_000, 1_000)
    }
}

impl Limits {
    /// `account_limit` invocations at once in each account and region; `scaling_rate` environments within ten
    /// seconds for each function.
    pub(crate) fn new(account_limit: u32, scaling_rate: u32) -> Self {
        Self { account_limit, scaling_rate, accounts: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Scope, Account>> {
        // Nothing panics while the lock is held.
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the versions of a function share.
    pub(crate) fn function(&self, scope: &Scope, name: &str) -> Arc<FunctionUse> {
        let mut accounts = self.lock();
        let account = accounts.entry(scope.clone()).or_insert_with(|| Account {
            usage: Arc::new(AccountUse {
                limit: self.account_limit,
                claimed: Mutex::new(0),
                room: AtomicU32::new(self.account_limit),
                running: AtomicU32::new(0),
            }),
            functions: HashMap::new(),
        });
        if let Some(function) = account.functions.get(name) {
            return Arc::clone(function);
        }
        let function = Arc::new(FunctionUse {
            account: Arc::clone(&account.usage),
            running: AtomicU64::new(0),
            reserved: AtomicU32::new(NONE),
            allocated: AtomicU32::new(0),
            starts: Mutex::new(Bucket::new(self.scaling_rate)),
            throttles: Counter::default(),
            spillovers: Counter::default(),
            provisioned_invocations: Counter::default(),
        });
        account.functions.insert(name.into(), Arc::clone(&function));
        function
    }

    /// Reserves concurrency for a function, or shares what is not reserved with it.
    pub(crate) fn reserve(&self, scope: &Scope, name: &str, reserved: Option<u32>) {
        if reserved.is_none() && !self.is_known(scope, name) {
            return;
        }
        let function = self.function(scope, name);
        let reserved = reserved.map_or(NONE, |reserved| reserved.min(NONE - 1));
        function.change(|function| function.reserved.store(reserved, Ordering::SeqCst));
    }

    fn is_known(&self, scope: &Scope, name: &str) -> bool {
        self.lock().get(scope).is_some_and(|account| account.functions.contains_key(name))
    }

    /// Forgets functions that nothing is known of but counters, and that nobody uses.
    pub(crate) fn forget(&self) {
        let mut accounts = self.lock();
        accounts.retain(|_, account| {
            account.functions.retain(|_, function| Arc::strong_count(function) > 1 || function.is_limited());
            !account.functions.is_empty()
        });
    }

    /// The counters of every function.
    pub(crate) fn usage(&self) -> Vec<FunctionUsage> {
        let accounts = self.lock();
        let mut all = Vec::new();
        for (scope, account) in &*accounts {
            all.extend(account.functions.iter().map(|(name, function)| {
                let (on_demand, provisioned) = halves(function.running.load(Ordering::Relaxed));
                FunctionUsage {
                    scope: scope.clone(),
                    name: Arc::clone(name),
                    on_demand,
                    provisioned,
                    reserved: function.reservation(),
                    allocated: function.allocated.load(Ordering::Relaxed),
                    throttles: function.throttles.get(),
                    spillovers: function.spillovers.get(),
                    provisioned_invocations: function.provisioned_invocations.get(),
                }
            }));
        }
        all
    }
}

impl FunctionUse {
    /// Admits an invocation, or says which limit it would exceed: the value of `Reason`.
    pub(crate) fn admit(&self, kind: Kind) -> Result<Running<'_>, &'static str> {
        let unit = match kind {
            Kind::OnDemand => ON_DEMAND,
            Kind::Provisioned => PROVISIONED,
        };
        let in_room = match self.reservation() {
            Some(reserved) => {
                let on_demand_limit = reserved.saturating_sub(self.allocated.load(Ordering::Relaxed));
                let counted = self.running.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |running| {
                    let (on_demand, provisioned) = halves(running);
                    let fits = u64::from(on_demand) + u64::from(provisioned) < u64::from(reserved)
                        && (kind == Kind::Provisioned || on_demand < on_demand_limit);
                    fits.then_some(running + unit)
                });
                if counted.is_err() {
                    self.throttles.add();
                    return Err(RESERVED);
                }
                return Ok(Running { function: self, unit, in_room: false });
            }
            None => kind == Kind::OnDemand,
        };
        if in_room && !self.account.enter() {
            self.throttles.add();
            return Err(ACCOUNT);
        }
        self.running.fetch_add(unit, Ordering::AcqRel);
        Ok(Running { function: self, unit, in_room })
    }

    /// Counts a start of an environment for an invocation; `false`, and nothing is counted, if the function
    /// grows too fast.
    pub(crate) fn may_start(&self, now: Duration) -> bool {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner).take(now)
    }

    /// Takes back what [`FunctionUse::may_start`] has counted: nothing was started.
    pub(crate) fn not_started(&self) {
        self.starts.lock().unwrap_or_else(PoisonError::into_inner).give_back();
    }

    /// More provisioned environments are initialised.
    pub(crate) fn allocated(&self, more: u32) {
        self.change(|function| {
            function.allocated.fetch_add(more, Ordering::SeqCst);
        });
    }

    /// Provisioned environments have gone.
    pub(crate) fn released(&self, fewer: u32) {
        self.change(|function| {
            function.allocated.fetch_sub(fewer, Ordering::SeqCst);
        });
    }

    fn change(&self, change: impl FnOnce(&Self)) {
        let account = &self.account;
        let mut claimed = account.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.claim();
        change(self);
        *claimed = claimed.saturating_sub(before).saturating_add(self.claim());
        let left = u64::from(account.limit).saturating_sub(*claimed);
        account.room.store(u32::try_from(left).unwrap_or(u32::MAX), Ordering::SeqCst);
    }

    /// What it takes of the account's limit whether it runs or not.
    fn claim(&self) -> u64 {
        self.reservation().unwrap_or_else(|| self.allocated.load(Ordering::SeqCst)).into()
    }

    fn reservation(&self) -> Option<u32> {
        Some(self.reserved.load(Ordering::Relaxed)).filter(|reserved| *reserved != NONE)
    }

    fn is_limited(&self) -> bool {
        self.reservation().is_some() || self.allocated.load(Ordering::SeqCst) > 0
    }
}

impl AccountUse {
    fn enter(&self) -> bool {
        let counted = self.running.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |running| {
            (running < self.room.load(Ordering::Relaxed)).then_some(running + 1)
        });
        counted.is_ok()
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.function.running.fetch_sub(self.unit, Ordering::AcqRel);
        if self.in_room {
            self.function.account.running.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Invocations on demand and provisioned ones.
fn halves(running: u64) -> (u32, u32) {
    ((running & u64::from(u32::MAX)) as u32, (running >> 32) as u32)
}

/// A token bucket that refills evenly: it holds as many starts as the rate allows in [`WINDOW`].
#[derive(Debug)]
struct Bucket {
    /// What one start takes of the window.
    cost: Duration,
    /// When it will be full, by the engine's clock.
    full_at: Duration,
}

impl Bucket {
    fn new(rate: u32) -> Self {
        Self { cost: WINDOW / rate.max(1), full_at: Duration::ZERO }
    }

    fn take(&mut self, now: Duration) -> bool {
        let missing = self.full_at.saturating_sub(now);
        // More than the whole cannot be missing, unless the clock was put back.
        let missing = if missing > WINDOW { Duration::ZERO } else { missing };
        let after = missing + self.cost;
        if after > WINDOW {
            return false;
        }
        self.full_at = now + after;
        true
    }

    fn give_back(&mut self) {
        self.full_at = self.full_at.saturating_sub(self.cost);
    }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
