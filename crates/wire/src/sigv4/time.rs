//! The time stamps of SigV4.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Parses `20261123T120000Z` to epoch seconds.
pub(crate) fn parse_basic(text: &str) -> Option<i64> {
    let digits = text.strip_suffix('Z')?;
    let (date, time) = digits.split_once('T')?;
    if date.len() != 8 || time.len() != 6 || !date.bytes().chain(time.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number = |text: &str, from: usize, to: usize| text.get(from..to).and_then(|part| part.parse().ok());
    let time = DateTime::new(
        date.get(0..4)?.parse().ok()?,
        number(date, 4, 6)?,
        number(date, 6, 8)?,
        number(time, 0, 2)?,
        number(time, 2, 4)?,
        number(time, 4, 6)?,
        0,
    )
    .ok()?;
    TimeZone::UTC.to_timestamp(time).ok().map(|at| at.as_second())
}

/// Writes epoch seconds as `20261123T120000Z`.
pub(crate) fn format_basic(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map(|at| at.strftime("%Y%m%dT%H%M%SZ").to_string())
        .unwrap_or_default()
}

/// Parses the `Date` header (RFC 1123, or the basic format) to epoch seconds.
pub(crate) fn parse_date_header(text: &str) -> Option<i64> {
    parse_basic(text)
        .or_else(|| jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp().as_second()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_basic_format() {
        assert_eq!(parse_basic("20261123T120000Z"), Some(1_795_435_200));
        assert_eq!(format_basic(1_795_435_200), "20261123T120000Z");
        assert_eq!(parse_date_header("Mon, 23 Nov 2026 12:00:00 GMT"), Some(1_795_435_200));
        for bad in ["", "20261123T120000", "20261323T120000Z", "20261123T+20000Z", "2026-11-23T12:00:00Z"] {
            assert_eq!(parse_basic(bad), None, "{bad}");
        }
    }
}
