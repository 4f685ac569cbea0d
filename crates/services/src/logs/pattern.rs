//! Filter patterns of FilterLogEvents: terms, and JSON conditions ([`super::json_pattern`]).
//!
//! Terms are matched as parts of the text, upper and lower case apart: `a "b c" -d` wants the first two and
//! not the third, `?a ?b` wants any of them; optional terms beside others are ignored, as AWS does.

use serde_json::Value;

use super::json_pattern::Condition;

/// A parsed pattern.
#[derive(Debug, PartialEq)]
pub(crate) enum Pattern {
    /// Matches by words.
    Terms {
        /// All must be there.
        required: Vec<String>,
        /// One must be there, if nothing else is said.
        optional: Vec<String>,
        /// None may be there.
        excluded: Vec<String>,
    },
    /// Matches JSON objects.
    Json(Condition),
}

impl Pattern {
    /// Parses a pattern; an empty one matches everything.
    ///
    /// # Errors
    /// The text for the caller where the syntax is wrong or not supported.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.starts_with('{') {
            return Condition::parse(text).map(Self::Json);
        }
        if text.starts_with('[') {
            return Err("Lambkin does not support space-delimited filter patterns ([...]) yet.".to_owned());
        }
        if text.starts_with('%') {
            return Err(super::json_pattern::NO_REGEX.to_owned());
        }
        let (mut required, mut optional, mut excluded) = (Vec::new(), Vec::new(), Vec::new());
        let mut rest = text;
        while !rest.is_empty() {
            let list = match rest.chars().next() {
                Some('?') => &mut optional,
                Some('-') => &mut excluded,
                _ => &mut required,
            };
            let after_sign = rest.strip_prefix(['?', '-']).unwrap_or(rest);
            let (term, after) = match after_sign.strip_prefix('"') {
                Some(quoted) => {
                    quoted_text(quoted).ok_or("Invalid filter pattern: a quotation mark is missing.")?
                }
                None => {
                    let end = after_sign.find(char::is_whitespace).unwrap_or(after_sign.len());
                    let (term, after) = after_sign.split_at(end);
                    if term.is_empty() || !term.chars().all(|char| char.is_alphanumeric() || char == '_') {
                        return Err(format!("Invalid character(s) in term '{term}'"));
                    }
                    (term.to_owned(), after)
                }
            };
            if !after.is_empty() && !after.starts_with(char::is_whitespace) {
                return Err("Invalid filter pattern: terms must be separated by spaces.".to_owned());
            }
            list.push(term);
            rest = after.trim_start();
        }
        Ok(Self::Terms { required, optional, excluded })
    }

    /// Whether a message matches.
    pub(crate) fn matches(&self, message: &str) -> bool {
        match self {
            Self::Terms { required, optional, excluded } => {
                let is_there = |term: &String| message.contains(term.as_str());
                required.iter().all(is_there)
                    && !excluded.iter().any(is_there)
                    && (optional.is_empty()
                        || !required.is_empty()
                        || !excluded.is_empty()
                        || optional.iter().any(is_there))
            }
            Self::Json(condition) => {
                message.trim_start().starts_with('{')
                    && serde_json::from_str::<Value>(message).is_ok_and(|value| condition.holds(&value))
            }
        }
    }
}

/// Text up to the closing quotation mark, with `\"` and `\\` resolved, and what follows.
pub(super) fn quoted_text(text: &str) -> Option<(String, &str)> {
    let mut found = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((found, text.get(at + 1..)?)),
            '\\' => match chars.next()? {
                (_, next @ ('"' | '\\')) => found.push(next),
                (_, next) => found.extend(['\\', next]),
            },
            other => found.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, message: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(message)
    }

    #[test]
    fn terms_match_parts_of_the_text() {
        assert!(matches("", "anything"));
        assert!(matches("ERROR", "[ERROR] A fatal exception has occurred"));
        assert!(matches("ERROR", "Exiting with ERRORCODE: -1"));
        assert!(!matches("error", "[ERROR]"));
        assert!(matches("ERROR Exception", "[ERROR] Caught IllegalArgumentException"));
        assert!(!matches("ERROR Exception", "[ERROR] only"));
        assert!(!matches("ERROR -Exiting", "Exiting with ERRORCODE: -1"));
        assert!(matches("?ERROR ?WARN", "[WARN] x"));
        assert!(!matches("?ERROR ?WARN", "[INFO] x"));
        assert!(matches("INFO ?ERROR", "[INFO] x"), "optional terms beside others are ignored");
        assert!(matches("\"INTERNAL SERVER ERROR\"", "500 INTERNAL SERVER ERROR"));
        assert!(matches(r#"-"a b" "say \"hi\"""#, r#"they say "hi""#));
        assert!(!matches(r#"-"a b""#, "a b"));
    }

    #[test]
    fn refuses_what_aws_refuses_or_lambkin_lacks() {
        let refused = |pattern: &str| Pattern::parse(pattern).unwrap_err();
        assert_eq!(refused("foo:bar"), "Invalid character(s) in term 'foo:bar'");
        assert_eq!(refused("-"), "Invalid character(s) in term ''");
        assert!(refused("\"open").contains("quotation mark"));
        assert!(refused("\"a\"b").contains("separated"));
        assert!(refused("[ip, user]").contains("space-delimited"));
        assert!(refused("%a.b%").contains("regular expressions"));
    }

    proptest! {
        #[test]
        fn never_panics(pattern in ".{0,60}", message in ".{0,60}") {
            if let Ok(pattern) = Pattern::parse(&pattern) {
                pattern.matches(&message);
            }
        }

        #[test]
        fn json_never_panics(pattern in r#"\{[ $.a\[\]0-9*='"<>!&|()A-Z%-]{0,40}\}"#) {
            if let Ok(pattern) = Pattern::parse(&pattern) {
                pattern.matches("{\"a\":[1,{\"a\":null}]}");
            }
        }
    }
}
