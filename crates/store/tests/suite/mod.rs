//! Tests that every backend of the store traits must pass.

pub(crate) mod logs;
pub(crate) mod metadata;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use lambkin_core::clock::ManualClock;
use lambkin_core::logs::LogStore;
use lambkin_core::metadata::{MetadataStore, StoreError};

/// Where the fixture's clock starts: 2026-01-15T00:00:00Z.
pub(crate) const NOW: u64 = 1_768_435_200_000;
/// Deletions that the fixture's metadata store remembers.
pub(crate) const DELETIONS_KEPT: usize = 3;

/// Removes expired log events.
pub(crate) type Expire = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<(), StoreError>>>>>;

/// An empty store of the backend under test.
pub(crate) struct Fixture {
    pub(crate) metadata: Arc<dyn MetadataStore>,
    pub(crate) logs: Arc<dyn LogStore>,
    pub(crate) expire: Expire,
    pub(crate) clock: Arc<ManualClock>,
    // Dropped after the stores.
    #[expect(dead_code, reason = "keeps the folder")]
    pub(crate) guard: Option<tempfile::TempDir>,
}

/// Stamps the suite on a backend: a module `$name` with a test per function of the suite, each with a fixture
/// of its own from `$constructor`.
#[macro_export]
macro_rules! store_test_suite {
    ($name:ident, $constructor:ident) => {
        $crate::store_test_suite!(@ $name, $constructor, metadata: [
            reads_what_was_committed,
            scans_by_prefix_in_key_order,
            holds_any_text_and_bytes,
            checks_conditions,
            commits_all_or_nothing,
            refuses_a_record_written_twice,
            counts_revisions_without_gaps,
            an_empty_commit_changes_nothing,
            deleting_nothing_is_no_change,
            watch_replays_the_present,
            watch_continues_from_a_revision,
            watchers_hold_a_commit_when_it_answers,
            watch_reports_compaction,
            watchers_see_commit_order,
        ], logs: [
            append_creates_group_and_stream,
            orders_by_timestamp_then_sequence,
            append_soon_is_read_at_once,
            pages_forward_and_backward,
            bounds_by_time,
            selects_streams,
            selects_among_many_streams,
            reads_across_days,
            describes_groups,
            describes_streams,
            creates_and_refuses_duplicates,
            reports_what_is_missing,
            forgets_deleted_groups,
            forgets_deleted_streams,
            hides_and_removes_expired_events,
            keeps_scopes_apart,
            many_writers_create_one_stream,
            holds_large_and_strange_events,
        ]);
    };
    (@ $name:ident, $constructor:ident, $($area:ident: [$($test:ident,)*]),*) => {
        mod $name {
            $(mod $area {
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $test() {
                        let constructor: fn() -> $crate::suite::Fixture = super::super::$constructor;
                        $crate::suite::$area::$test(constructor()).await;
                    }
                )*
            })*
        }
    };
}
