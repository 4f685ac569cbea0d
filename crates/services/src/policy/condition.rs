//! Conditions of a statement.

use std::cmp::Ordering;
use std::net::IpAddr;

use super::decide::Keys;

/// A condition: operator, key and the values of which one must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) operator: String,
    pub(crate) key: String,
    pub(crate) values: Vec<String>,
}

/// Operators of the policy language, without prefix and `IfExists`.
const OPERATORS: &[&str] = &[
    "ArnEquals",
    "ArnLike",
    "ArnNotEquals",
    "ArnNotLike",
    "BinaryEquals",
    "Bool",
    "DateEquals",
    "DateGreaterThan",
    "DateGreaterThanEquals",
    "DateLessThan",
    "DateLessThanEquals",
    "DateNotEquals",
    "IpAddress",
    "NotIpAddress",
    "Null",
    "NumericEquals",
    "NumericGreaterThan",
    "NumericGreaterThanEquals",
    "NumericLessThan",
    "NumericLessThanEquals",
    "NumericNotEquals",
    "StringEquals",
    "StringEqualsIgnoreCase",
    "StringLike",
    "StringNotEquals",
    "StringNotEqualsIgnoreCase",
    "StringNotLike",
];

/// Whether the policy language has such an operator.
pub(super) fn is_operator(operator: &str) -> bool {
    let name = operator
        .strip_prefix("ForAllValues:")
        .or_else(|| operator.strip_prefix("ForAnyValue:"))
        .unwrap_or(operator);
    let name = name.strip_suffix("IfExists").unwrap_or(name);
    OPERATORS.contains(&name)
}

impl Condition {
    /// Whether it holds for a request with these keys; `None` where that cannot be told: the key's value is not
    /// known, or a value is not of the operator's kind.
    pub(super) fn holds(&self, keys: &Keys) -> Option<bool> {
        let (set, operator) = match self.operator.split_once(':') {
            Some((set, operator)) => (Some(set), operator),
            None => (None, self.operator.as_str()),
        };
        let (operator, if_exists) = match operator.strip_suffix("IfExists") {
            Some(operator) => (operator, true),
            None => (operator, false),
        };
        let found = keys.get(&self.key);
        if operator == "Null" {
            return Some(
                self.values.iter().any(|value| value.eq_ignore_ascii_case("true") == found.is_none()),
            );
        }
        let (compare, negated) = comparison(operator)?;
        let Some(found) = found else {
            return Some(match set {
                Some("ForAllValues") => true,
                Some(_) => false,
                None => if_exists || negated,
            });
        };
        let found = found?;
        let mut told = true;
        for value in &self.values {
            match compare(value, found) {
                Some(true) => return Some(!negated),
                Some(false) => {}
                None => told = false,
            }
        }
        told.then_some(negated)
    }
}

/// Compares a value of a policy with one of a request; `None` where either is not of the kind that is compared.
type Compare = fn(&str, &str) -> Option<bool>;

/// How an operator compares, and whether it holds where no value fits.
fn comparison(operator: &str) -> Option<(Compare, bool)> {
    let compare: (Compare, bool) = match operator {
        "StringEquals" | "BinaryEquals" => (|value, found| Some(value == found), false),
        "StringNotEquals" => (|value, found| Some(value == found), true),
        "StringEqualsIgnoreCase" | "Bool" => (|value, found| Some(value.eq_ignore_ascii_case(found)), false),
        "StringNotEqualsIgnoreCase" => (|value, found| Some(value.eq_ignore_ascii_case(found)), true),
        "StringLike" => (|value, found| Some(like(value, found)), false),
        "StringNotLike" => (|value, found| Some(like(value, found)), true),
        "ArnEquals" | "ArnLike" => (|value, found| Some(arn_like(value, found)), false),
        "ArnNotEquals" | "ArnNotLike" => (|value, found| Some(arn_like(value, found)), true),
        "IpAddress" => (in_network, false),
        "NotIpAddress" => (in_network, true),
        "NumericEquals" => (|value, found| Some(numbers(value, found)?.is_eq()), false),
        "NumericNotEquals" => (|value, found| Some(numbers(value, found)?.is_eq()), true),
        "NumericLessThan" => (|value, found| Some(numbers(value, found)?.is_lt()), false),
        "NumericLessThanEquals" => (|value, found| Some(numbers(value, found)?.is_le()), false),
        "NumericGreaterThan" => (|value, found| Some(numbers(value, found)?.is_gt()), false),
        "NumericGreaterThanEquals" => (|value, found| Some(numbers(value, found)?.is_ge()), false),
        "DateEquals" => (|value, found| Some(dates(value, found)?.is_eq()), false),
        "DateNotEquals" => (|value, found| Some(dates(value, found)?.is_eq()), true),
        "DateLessThan" => (|value, found| Some(dates(value, found)?.is_lt()), false),
        "DateLessThanEquals" => (|value, found| Some(dates(value, found)?.is_le()), false),
        "DateGreaterThan" => (|value, found| Some(dates(value, found)?.is_gt()), false),
        "DateGreaterThanEquals" => (|value, found| Some(dates(value, found)?.is_ge()), false),
        _ => return None,
    };
    Some(compare)
}

/// How the found number is to the policy's.
fn numbers(value: &str, found: &str) -> Option<Ordering> {
    found.trim().parse::<f64>().ok()?.partial_cmp(&value.trim().parse().ok()?)
}

/// How the found time is to the policy's.
fn dates(value: &str, found: &str) -> Option<Ordering> {
    Some(milliseconds(found)?.cmp(&milliseconds(value)?))
}

/// A time as policies write it: ISO 8601, a date alone, or seconds since the epoch.
fn milliseconds(text: &str) -> Option<i64> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(time.as_millisecond());
    }
    if let Ok(seconds) = text.parse::<i64>() {
        return seconds.checked_mul(1000);
    }
    let midnight = text.parse::<jiff::civil::Date>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(midnight.timestamp().as_millisecond())
}

/// Whether an address is in a network, `ADDRESS` or `ADDRESS/BITS`.
fn in_network(network: &str, address: &str) -> Option<bool> {
    let (base, bits) = match network.split_once('/') {
        Some((base, bits)) => (base, Some(bits.parse::<u32>().ok()?)),
        None => (network, None),
    };
    let (base, address): (IpAddr, IpAddr) = (base.parse().ok()?, address.parse().ok()?);
    let (base, address, width) = match (base, address) {
        (IpAddr::V4(base), IpAddr::V4(address)) => (u32::from(base).into(), u32::from(address).into(), 32),
        (IpAddr::V6(base), IpAddr::V6(address)) => (u128::from(base), u128::from(address), 128),
        _ => return Some(false),
    };
    let rest = u32::checked_sub(width, bits.unwrap_or(width))?;
    // A network of no bits has every address, and a number cannot be shifted by all its bits.
    Some(rest == 128 || base >> rest == address >> rest)
}

/// Whether a text matches a pattern of `*` (any characters) and `?` (one character).
pub(crate) fn like(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut seen) = (0, 0);
    // Where to go on if what follows the last `*` does not fit: one character more goes to that `*`.
    let mut retry: Option<(usize, usize)> = None;
    while let Some(c) = text.get(seen) {
        match pattern.get(at) {
            Some('*') => {
                retry = Some((at, seen));
                at += 1;
            }
            Some(p) if *p == '?' || p == c => {
                at += 1;
                seen += 1;
            }
            _ => match retry {
                Some((star, taken)) => {
                    retry = Some((star, taken + 1));
                    at = star + 1;
                    seen = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(|p| *p == '*')
}

/// ARNs are compared part by part: a `*` does not reach over a colon, but for the last part.
pub(crate) fn arn_like(pattern: &str, arn: &str) -> bool {
    let pattern: Vec<&str> = pattern.splitn(6, ':').collect();
    let arn: Vec<&str> = arn.splitn(6, ':').collect();
    pattern.len() == arn.len() && pattern.iter().zip(&arn).all(|(pattern, part)| like(pattern, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_policies() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "abc", true),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "abcd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xxaxxbxxb", true),
            ("*a*b", "xxbxxa", false),
            ("", "", true),
            ("", "a", false),
            ("ä?", "äö", true),
        ] {
            assert_eq!(like(pattern, text), expected, "{pattern} {text}");
        }
    }

    fn holds(operator: &str, values: &[&str], found: Option<&str>) -> Option<bool> {
        let mut keys = Keys::default();
        if let Some(found) = found {
            keys.set("sts:ExternalId", found);
        }
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        // Keys are not distinguished by case.
        Condition { operator: operator.to_owned(), key: "STS:externalid".to_owned(), values }.holds(&keys)
    }

    #[test]
    fn operators_hold_or_do_not() {
        assert_eq!(holds("StringEquals", &["a", "b"], Some("b")), Some(true));
        assert_eq!(holds("StringEquals", &["a", "b"], Some("c")), Some(false));
        assert_eq!(holds("StringEquals", &["a"], None), Some(false));
        assert_eq!(holds("StringEqualsIfExists", &["a"], None), Some(true));
        assert_eq!(holds("StringNotEquals", &["a", "b"], Some("b")), Some(false));
        assert_eq!(holds("StringNotEquals", &["a"], None), Some(true));
        assert_eq!(holds("StringLike", &["a*"], Some("abc")), Some(true));
        assert_eq!(holds("StringEquals", &["a*"], Some("abc")), Some(false));
        assert_eq!(holds("StringEqualsIgnoreCase", &["ABC"], Some("abc")), Some(true));
        assert_eq!(holds("Bool", &["true"], Some("true")), Some(true));
        assert_eq!(holds("Null", &["true"], None), Some(true));
        assert_eq!(holds("Null", &["false"], None), Some(false));
        assert_eq!(holds("ArnLike", &["arn:aws:s3:::b*"], Some("arn:aws:s3:::bucket")), Some(true));
        assert_eq!(holds("ArnLike", &["arn:*:b"], Some("arn:aws:s3:::b")), Some(false));
    }

    #[test]
    fn operators_of_numbers_times_and_addresses() {
        for (operator, value, found, expected) in [
            ("IpAddress", "10.0.0.0/8", "10.0.0.1", Some(true)),
            ("IpAddress", "10.0.0.0/8", "11.0.0.1", Some(false)),
            ("NotIpAddress", "10.0.0.0/8", "11.0.0.1", Some(true)),
            ("IpAddress", "0.0.0.0/0", "11.0.0.1", Some(true)),
            ("IpAddress", "::/0", "2001:db8::1", Some(true)),
            ("IpAddress", "2001:db8::/32", "2001:db9::1", Some(false)),
            ("IpAddress", "10.0.0.1", "10.0.0.1", Some(true)),
            ("IpAddress", "10.0.0.0/8", "::1", Some(false)),
            ("IpAddress", "10.0.0.0/33", "10.0.0.1", None),
            ("NotIpAddress", "here", "10.0.0.1", None),
            ("NumericLessThan", "10", "9.5", Some(true)),
            ("NumericLessThan", "10", "10", Some(false)),
            ("NumericGreaterThanEquals", "10", "10", Some(true)),
            ("NumericEquals", "10", "10.0", Some(true)),
            ("NumericNotEquals", "10", "11", Some(true)),
            ("NumericEquals", "ten", "10", None),
            ("DateGreaterThan", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z", Some(true)),
            ("DateLessThan", "2026-01-02", "2026-01-01T23:59:59Z", Some(true)),
            ("DateEquals", "1767225600", "2026-01-01T00:00:00Z", Some(true)),
            ("DateEquals", "soon", "2026-01-01T00:00:00Z", None),
        ] {
            assert_eq!(holds(operator, &[value], Some(found)), expected, "{operator} {value} {found}");
        }
    }

    #[test]
    fn operators_of_sets_and_unknown_values() {
        assert_eq!(holds("ForAnyValue:StringEquals", &["a"], Some("a")), Some(true));
        assert_eq!(holds("ForAnyValue:StringEquals", &["a"], None), Some(false));
        assert_eq!(holds("ForAllValues:StringEquals", &["a"], None), Some(true));
        assert_eq!(holds("ForAllValues:StringEquals", &["a"], Some("b")), Some(false));
        let mut keys = Keys::default();
        keys.set_unknown("aws:SourceIp");
        let values = vec!["10.0.0.0/8".to_owned()];
        let condition =
            Condition { operator: "IpAddress".to_owned(), key: "aws:SourceIp".to_owned(), values };
        assert_eq!(condition.holds(&keys), None);
    }

    #[test]
    fn knows_the_operators() {
        for operator in ["StringLike", "StringLikeIfExists", "ForAllValues:StringEquals", "Null", "IpAddress"]
        {
            assert!(is_operator(operator), "{operator}");
        }
        assert!(!is_operator("StringsEqual"));
    }
}
