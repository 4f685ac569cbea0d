//! Dates in UTC, as log streams and log lines show them.

use std::fmt::Write as _;

/// A moment in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Civil {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    millisecond: i64,
}

/// Splits milliseconds since the epoch into the proleptic Gregorian calendar.
///
/// Counts days from 1 March of year 0, so that leap days end a year, in eras of 400 years (146,097 days).
fn civil(epoch_ms: i64) -> Civil {
    let day_number = epoch_ms.div_euclid(86_400_000);
    let of_day = epoch_ms.rem_euclid(86_400_000);
    let shifted = day_number + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    Civil {
        year: year_of_era + era * 400 + i64::from(month <= 2),
        month,
        day: day_of_year - (153 * march_month + 2) / 5 + 1,
        hour: of_day / 3_600_000,
        minute: of_day / 60_000 % 60,
        second: of_day / 1_000 % 60,
        millisecond: of_day % 1_000,
    }
}

/// `2026-11-23T13:05:07.042Z` for milliseconds since the epoch.
#[must_use]
pub fn rfc3339_millis(epoch_ms: i64) -> String {
    let at = civil(epoch_ms);
    let mut text = String::with_capacity(24);
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        at.year, at.month, at.day, at.hour, at.minute, at.second, at.millisecond
    );
    text
}

/// Name of an environment's log stream: `2026/11/23/[$LATEST]` and 32 hexadecimal digits.
///
/// `instance` is the environment's random identity, printed without dashes.
#[must_use]
pub fn log_stream_name(epoch_ms: i64, version: &str, instance: u128) -> String {
    let at = civil(epoch_ms);
    format!("{:04}/{:02}/{:02}/[{version}]{instance:032x}", at.year, at.month, at.day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_across_leap_days_and_centuries() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00.000Z"),
            (1_795_439_107_042, "2026-11-23T13:05:07.042Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339_millis(ms), text);
        }
    }

    #[test]
    fn stream_name_has_date_version_and_identity() {
        assert_eq!(
            log_stream_name(1_795_439_107_042, "$LATEST", 0xabc),
            "2026/11/23/[$LATEST]00000000000000000000000000000abc"
        );
        assert_eq!(log_stream_name(0, "7", u128::MAX), format!("1970/01/01/[7]{}", "f".repeat(32)));
    }
}
