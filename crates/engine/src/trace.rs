//! X-Ray trace headers for invocations that come without one.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes trace headers: unique, unpredictable from outside, without a system call each.
#[derive(Debug, Default)]
pub(crate) struct TraceIds {
    keys: RandomState,
    count: AtomicU64,
}

impl TraceIds {
    /// `Root=1-SECONDS-96 BITS;Parent=64 BITS;Sampled=0` for a time in milliseconds since the epoch.
    pub(crate) fn header(&self, now_ms: i64) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let [high, low, parent] = [0_u8, 1, 2].map(|part| self.keys.hash_one((count, part)));
        let seconds = u32::try_from(now_ms / 1000).unwrap_or_default();
        format!(
            "Root=1-{seconds:08x}-{high:016x}{:08x};Parent={parent:016x};Sampled=0",
            low & u64::from(u32::MAX)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_xrays_form_and_differ() {
        let ids = TraceIds::default();
        let header = ids.header(1_795_439_107_042);
        let root = header.strip_prefix("Root=1-6b").unwrap();
        assert_eq!(root.len(), 6 + 1 + 24 + ";Parent=0123456789abcdef;Sampled=0".len());
        assert!(header.ends_with(";Sampled=0"));
        assert_ne!(header, ids.header(1_795_439_107_042));
    }
}
