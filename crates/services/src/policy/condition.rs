//! Conditions of a statement.

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
    /// Whether it holds for a request with these keys; `None` where the operator is not evaluated.
    pub(super) fn holds(&self, keys: &Keys) -> Option<bool> {
        let found = keys.get(&self.key);
        if self.operator == "Null" {
            return Some(self.values.iter().any(|value| (value == "true") == found.is_none()));
        }
        let (operator, if_exists) = match self.operator.strip_suffix("IfExists") {
            Some(operator) => (operator, true),
            None => (self.operator.as_str(), false),
        };
        let (compare, negated): (fn(&str, &str) -> bool, bool) = match operator {
            "StringEquals" => (|value, found| value == found, false),
            "StringNotEquals" => (|value, found| value == found, true),
            "StringEqualsIgnoreCase" | "Bool" => (|value, found| value.eq_ignore_ascii_case(found), false),
            "StringNotEqualsIgnoreCase" => (|value, found| value.eq_ignore_ascii_case(found), true),
            "StringLike" => (like, false),
            "StringNotLike" => (like, true),
            "ArnEquals" | "ArnLike" => (arn_like, false),
            "ArnNotEquals" | "ArnNotLike" => (arn_like, true),
            _ => return None,
        };
        let Some(found) = found else { return Some(if_exists || negated) };
        Some(self.values.iter().any(|value| compare(value, found)) != negated)
    }
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
fn arn_like(pattern: &str, arn: &str) -> bool {
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
        assert_eq!(holds("IpAddress", &["10.0.0.0/8"], Some("10.0.0.1")), None);
        assert_eq!(holds("ForAnyValue:StringEquals", &["a"], Some("a")), None);
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
