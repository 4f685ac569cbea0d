//! Timestamps: the formats of the wire and the number of epoch seconds of Value form.

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use lambkin_model::schema::TimestampFormat;
use serde_json::{Number, Value};

/// Milliseconds of a timestamp in Value form.
pub(crate) fn millis(value: &Value) -> Option<i64> {
    let Value::Number(number) = value else { return None };
    match number.as_i64() {
        Some(seconds) => seconds.checked_mul(1000),
        None => number.as_f64().map(|seconds| (seconds * 1000.0).round() as i64),
    }
}

/// Value form of milliseconds.
pub(crate) fn value(millis: i64) -> Option<Value> {
    if millis % 1000 == 0 {
        return Some((millis / 1000).into());
    }
    Number::from_f64(millis as f64 / 1000.0).map(Value::Number)
}

/// Writes a timestamp as text; `Default` means epoch seconds.
pub(crate) fn write(millis: i64, format: TimestampFormat) -> String {
    let at = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH);
    match format {
        TimestampFormat::Iso8601 if millis % 1000 == 0 => at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        TimestampFormat::Iso8601 => at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        TimestampFormat::Rfc822 => at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(),
        TimestampFormat::UnixTimestamp | TimestampFormat::Default if millis % 1000 == 0 => {
            (millis / 1000).to_string()
        }
        TimestampFormat::UnixTimestamp | TimestampFormat::Default => (millis as f64 / 1000.0).to_string(),
    }
}

/// Reads any of the three formats to Value form.
pub(crate) fn parse(text: &str) -> Option<Value> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(seconds.into());
    }
    let at = text.parse::<Timestamp>().ok().or_else(|| Some(rfc2822::parse(text).ok()?.timestamp()));
    match at {
        Some(at) => value(at.as_millisecond()),
        None => Number::from_f64(text.parse().ok()?).map(Value::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_round_trip() {
        for (format, text) in [
            (TimestampFormat::Iso8601, "2026-11-23T12:00:00Z"),
            (TimestampFormat::Rfc822, "Mon, 23 Nov 2026 12:00:00 GMT"),
            (TimestampFormat::UnixTimestamp, "1795435200"),
        ] {
            assert_eq!(write(1_795_435_200_000, format), text);
            assert_eq!(parse(text), Some(1_795_435_200.into()), "{text}");
        }
        assert_eq!(write(1_795_435_200_250, TimestampFormat::Iso8601), "2026-11-23T12:00:00.250Z");
        assert_eq!(write(1_795_435_200_250, TimestampFormat::Default), "1795435200.25");
        assert_eq!(parse("2026-11-23T13:00:00.250+01:00"), parse("1795435200.25"));
        assert_eq!(millis(&parse("1795435200.25").unwrap()), Some(1_795_435_200_250));
        assert_eq!(parse("soon"), None);
        assert_eq!(parse("NaN"), None);
    }
}
