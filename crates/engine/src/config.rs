//! Settings of an engine.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lambkin_core::credentials::RoleCredentials;

use crate::egress::policy::Egress;
use crate::endpoint::EndpointAcceptor;

/// Settings of an [`crate::Engine`].
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Lambkin's data folder; the engine keeps the runtimes' files in `runtimes` under it.
    pub data_dir: PathBuf,
    /// Memory for environments in bytes: running ones count with their function's MemorySize, frozen ones
    /// with what they hold. `None` takes 80 % of the memory that is available when the engine starts.
    pub memory_budget: Option<u64>,
    /// Most environments at once.
    pub max_environments: usize,
    /// Most invocations under way at once in an account and region (AWS quota: 1,000).
    pub concurrency_limit: u32,
    /// Most environments that a function may start for its invocations within ten seconds, by the engine's clock
    /// (AWS: 1,000).
    pub scaling_rate: u32,
    /// How long an idle environment is kept, by the engine's clock.
    pub idle_timeout: Duration,
    /// Limit of the INIT phase.
    pub init_timeout: Duration,
    /// Limit of the INIT phase of environments that are initialised ahead of invocations; the function's timeout,
    /// if that is longer.
    pub provisioned_init_timeout: Duration,
    /// How long an invocation waits for room on the host before it is throttled.
    pub queue_wait: Duration,
    /// How long an environment stays unfrozen after an invocation.
    pub freeze_after: Duration,
    /// Age from which an environment takes no further invocation, by the engine's clock. Less than the
    /// credentials of its role are valid for, by the longest invocation at least.
    pub environment_lifetime: Duration,
    /// Whether Python environments are forked from a zygote of their runtime where that makes no difference
    /// to the function; otherwise each executes an interpreter of its own.
    pub zygotes: bool,
    /// Serves the server's own APIs to functions; without it they find none.
    pub endpoint: Option<Arc<dyn EndpointAcceptor>>,
    /// Gives environments the credentials of their function's role; without it they get none.
    pub credentials: Option<Arc<dyn RoleCredentials>>,
    /// What functions may reach. The spawner must be made with its [`Egress::network`].
    pub egress: Egress,
    /// Names the host's resolvers, in the form of `resolv.conf`.
    pub resolv_conf: PathBuf,
}

impl EngineConfig {
    /// The default settings for a data folder.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            memory_budget: None,
            max_environments: 4_000,
            concurrency_limit: 1_000,
            scaling_rate: 1_000,
            idle_timeout: Duration::from_secs(600),
            init_timeout: Duration::from_secs(10),
            provisioned_init_timeout: Duration::from_secs(130),
            queue_wait: Duration::from_secs(10),
            freeze_after: Duration::from_millis(5),
            environment_lifetime: Duration::from_secs(8 * 60 * 60),
            zygotes: true,
            endpoint: None,
            credentials: None,
            egress: Egress::default(),
            resolv_conf: crate::egress::host_resolvers().to_owned(),
        }
    }

    /// The memory budget in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_budget.unwrap_or_else(|| {
            // Without /proc there is no sandbox either; the fallback only has to be harmless.
            let available = fs::read_to_string("/proc/meminfo")
                .ok()
                .and_then(|text| mem_available(&text))
                .unwrap_or(1024 * 1024 * 1024);
            available / 5 * 4
        })
    }
}

/// `MemAvailable` of `/proc/meminfo` in bytes.
fn mem_available(meminfo: &str) -> Option<u64> {
    let value = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read_in_kib() {
        let text = "MemTotal:       24 kB\nMemAvailable:   20480 kB\nBuffers: 1 kB\n";
        assert_eq!(mem_available(text), Some(20_971_520));
        assert_eq!(mem_available("MemFree: 1 kB"), None);
    }

    #[test]
    fn the_default_budget_is_most_of_the_free_memory() {
        let config = EngineConfig::new("/tmp");
        assert!(config.memory_bytes() > 64 * 1024 * 1024);
        assert_eq!(EngineConfig { memory_budget: Some(7), ..config }.memory_bytes(), 7);
    }
}
