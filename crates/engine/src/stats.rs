//! Counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lambkin_core::ids::Scope;

/// A snapshot of an engine's counters. Totals count from the engine's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Invocations that were answered, function errors included.
    pub invocations: u64,
    /// Of these, function errors.
    pub function_errors: u64,
    /// Of these, timeouts.
    pub timeouts: u64,
    /// Invocations refused by a limit of their function or account.
    pub throttles: u64,
    /// Invocations refused because the host had no room for an environment.
    pub no_room: u64,
    /// Environments started for invocations.
    pub cold_starts: u64,
    /// Environments started to be ready ahead of invocations.
    pub provisioned_starts: u64,
    /// Invocations in environments that were initialised ahead.
    pub provisioned_invocations: u64,
    /// Invocations on demand of versions that have such environments.
    pub spillovers: u64,
    /// Environments forked from a zygote.
    pub forks: u64,
    /// Environments that were to be, and could not.
    pub fork_fallbacks: u64,
    /// Zygotes that ended and were not meant to.
    pub zygote_losses: u64,
    /// INIT phases that failed.
    pub init_failures: u64,
    /// Sandboxes that could not be made, or were lost with their spawner.
    pub sandbox_failures: u64,
    /// Idle environments ended because of their age.
    pub reaped: u64,
    /// Idle environments ended to make room for others.
    pub evicted: u64,
    /// Environments frozen.
    pub freezes: u64,
    /// Environments now, in any state.
    pub environments: u64,
    /// Of these, idle ones.
    pub idle_environments: u64,
    /// Environments now that were initialised ahead, idle or in use.
    pub provisioned_environments: u64,
    /// Invocations now, waiting or running.
    pub in_flight: u64,
    /// Memory that environments count with now, in bytes.
    pub memory_bytes: u64,
}

/// One function's concurrency, all its versions together. Totals count from the function's first use; they begin
/// anew once it has long been out of use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionUsage {
    /// Account and region.
    pub scope: Scope,
    /// Function name.
    pub name: Arc<str>,
    /// Invocations now that were admitted on demand.
    pub on_demand: u32,
    /// Invocations now in environments that were initialised ahead.
    pub provisioned: u32,
    /// What is reserved for it.
    pub reserved: Option<u32>,
    /// Environments that are initialised ahead, now.
    pub allocated: u32,
    /// Invocations refused by a limit.
    pub throttles: u64,
    /// Invocations on demand of versions that have provisioned environments.
    pub spillovers: u64,
    /// Invocations in environments that were initialised ahead.
    pub provisioned_invocations: u64,
}

/// The counters themselves.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) invocations: Counter,
    pub(crate) function_errors: Counter,
    pub(crate) timeouts: Counter,
    pub(crate) throttles: Counter,
    pub(crate) no_room: Counter,
    pub(crate) cold_starts: Counter,
    pub(crate) provisioned_starts: Counter,
    pub(crate) provisioned_invocations: Counter,
    pub(crate) spillovers: Counter,
    pub(crate) forks: Counter,
    pub(crate) fork_fallbacks: Counter,
    pub(crate) init_failures: Counter,
    pub(crate) sandbox_failures: Counter,
    pub(crate) reaped: Counter,
    pub(crate) evicted: Counter,
    pub(crate) freezes: Counter,
}

/// A counter that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
