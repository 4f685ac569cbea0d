//! The memory limit: what counts against it, and when a sandbox is over it.

use std::io;
use std::os::fd::BorrowedFd;

use crate::cgroup::MemoryReading;
use crate::cgroup::control::RawUsage;
use crate::spec::Usage;
use crate::sys::file_system_used;

/// How a sandbox stands to its memory limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// All that is charged is below the limit.
    Below,
    /// More is charged, but of it `/tmp` and file cache do not count. Look again soon.
    Watch {
        /// Bytes in `/tmp`.
        tmp_used: u64,
    },
    /// Over the limit.
    Over,
}

/// What the kernel may charge ahead of real use: 64 pages for each CPU, and pages of `/tmp` that are
/// charged before the file system counts them.
pub(crate) fn tolerance() -> u64 {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (cpus as u64) * 64 * 4096 + 1024 * 1024
}

/// Measures a sandbox against its limit.
pub(crate) fn standing(
    read: impl Fn() -> io::Result<MemoryReading>,
    tmp: Option<BorrowedFd<'_>>,
    limit_bytes: u64,
    tolerance: u64,
) -> io::Result<Standing> {
    let tmp_used = || tmp.map_or(Ok(0), file_system_used);
    // `/tmp` may grow or shrink between the readings: the larger of two around the other counts.
    let before = tmp_used()?;
    let reading = read()?;
    let tmp_used = before.max(tmp_used()?);
    Ok(judge(reading, tmp_used, limit_bytes, tolerance))
}

fn judge(reading: MemoryReading, tmp_used: u64, limit_bytes: u64, tolerance: u64) -> Standing {
    let counted = reading.usage_bytes.saturating_sub(tmp_used).saturating_sub(reading.file_cache_bytes);
    if counted > limit_bytes.saturating_add(tolerance) {
        Standing::Over
    } else if reading.usage_bytes > limit_bytes {
        Standing::Watch { tmp_used }
    } else {
        Standing::Below
    }
}

/// What is reported of the counters of a sandbox whose `/tmp` holds `tmp_used` bytes.
///
/// The kernel's peak includes `/tmp` and file cache. As long as it minus `/tmp` stays within the limit, it
/// is reported so; else the counted use of this moment is, which `counted` measures.
pub(crate) fn report(
    raw: RawUsage,
    tmp_used: u64,
    limit_bytes: u64,
    previous_peak: u64,
    counted: impl FnOnce() -> Option<MemoryReading>,
) -> Usage {
    let now = raw.memory_bytes.saturating_sub(tmp_used);
    let peak = raw.peak_bytes.saturating_sub(tmp_used);
    let (now, peak) = if peak <= limit_bytes {
        (now, peak)
    } else {
        let now = counted().map_or(now, |reading| {
            reading.usage_bytes.saturating_sub(tmp_used).saturating_sub(reading.file_cache_bytes)
        });
        (now, now)
    };
    Usage {
        max_memory_bytes: peak.max(previous_peak).min(limit_bytes),
        memory_bytes: now.min(limit_bytes),
        cpu_us: raw.cpu_us,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(usage_bytes: u64, file_cache_bytes: u64) -> MemoryReading {
        MemoryReading { usage_bytes, file_cache_bytes }
    }

    #[test]
    fn tmp_and_file_cache_do_not_count() {
        assert_eq!(judge(reading(100, 0), 0, 100, 5), Standing::Below);
        assert_eq!(judge(reading(105, 0), 0, 100, 5), Standing::Watch { tmp_used: 0 });
        assert_eq!(judge(reading(106, 0), 0, 100, 5), Standing::Over);
        assert_eq!(judge(reading(400, 100), 200, 100, 5), Standing::Watch { tmp_used: 200 });
        assert_eq!(judge(reading(406, 100), 200, 100, 5), Standing::Over);
    }

    #[test]
    fn reported_peak() {
        let raw = RawUsage { memory_bytes: 70, peak_bytes: 90, cpu_us: 3 };
        let plain = report(raw, 20, 100, 0, || None);
        assert_eq!(plain, Usage { max_memory_bytes: 70, memory_bytes: 50, cpu_us: 3 });
        assert_eq!(report(raw, 20, 100, 80, || None).max_memory_bytes, 80);
        // A peak that held since deleted files: only what is counted now is known.
        let raw = RawUsage { memory_bytes: 150, peak_bytes: 900, cpu_us: 0 };
        let usage = report(raw, 0, 100, 30, || Some(reading(150, 90)));
        assert_eq!((usage.max_memory_bytes, usage.memory_bytes), (60, 60));
    }
}
