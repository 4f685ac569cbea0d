//! The model's patterns are Java regular expressions. They are translated once and kept.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use fancy_regex::Regex;

/// Whether the whole of `text` matches a pattern of the model.
///
/// A pattern that cannot be compiled constrains nothing (a test proves that all generated ones can), and
/// a match that would take too long counts as none.
pub(super) fn matches(pattern: &'static str, text: &str) -> bool {
    match compiled(pattern) {
        Some(regex) => regex.is_match(text).unwrap_or(false),
        None => true,
    }
}

type Cache = RwLock<HashMap<&'static str, Option<Arc<Regex>>>>;

fn compiled(pattern: &'static str) -> Option<Arc<Regex>> {
    static CACHE: OnceLock<Cache> = OnceLock::new();
    let cache = CACHE.get_or_init(Cache::default);
    if let Some(known) = cache.read().unwrap_or_else(PoisonError::into_inner).get(pattern) {
        return known.clone();
    }
    let regex = compile(pattern).map(Arc::new);
    cache.write().unwrap_or_else(PoisonError::into_inner).insert(pattern, regex.clone());
    regex
}

pub(super) fn compile(pattern: &str) -> Option<Regex> {
    Regex::new(&format!(r"\A(?:{})\z", translate(pattern))).ok()
}

/// Rewrites what Java and Rust read differently: Java's `\d`, `\w` and `\s` are ASCII, `\uXXXX` has exactly
/// four digits, `.` stops at every line terminator, and `--`, `~~` in a class are plain characters.
pub(super) fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut depth = 0_usize;
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => escape(&mut chars, &mut out, depth > 0),
            '[' => {
                depth += 1;
                out.push('[');
                // A leading `^` negates, and what follows it may be a `]` of its own in Rust only.
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
            }
            ']' if depth > 0 => {
                depth -= 1;
                out.push(']');
            }
            '-' | '~' if depth > 0 && chars.peek() == Some(&c) => {
                let _ = write!(out, "\\{c}");
            }
            '.' if depth == 0 => out.push_str(r"[^\n\r\x{85}\x{2028}\x{2029}]"),
            c => out.push(c),
        }
    }
    out
}

fn escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String, in_class: bool) {
    let Some(c) = chars.next() else {
        out.push_str(r"\\");
        return;
    };
    let positive = |set: &str| if in_class { set.to_owned() } else { format!("[{set}]") };
    match c {
        'd' => out.push_str(&positive("0-9")),
        'w' => out.push_str(&positive("A-Za-z0-9_")),
        's' => out.push_str(&positive(r" \t\n\x0B\f\r")),
        'D' => out.push_str("[^0-9]"),
        'W' => out.push_str("[^A-Za-z0-9_]"),
        'S' => out.push_str(r"[^ \t\n\x0B\f\r]"),
        'u' => {
            let _ = write!(out, r"\x{{{:X}}}", code_point(chars));
        }
        'Z' => out.push_str(r"\z"),
        // Letters and digits after a backslash mean the same in both; anything else is itself.
        c if c.is_ascii_alphanumeric() => {
            let _ = write!(out, "\\{c}");
        }
        c if c.is_ascii_punctuation() && !matches!(c, '<' | '>' | '_') => {
            let _ = write!(out, "\\{c}");
        }
        c => out.push(c),
    }
}

/// The code point of `\uXXXX`, or of a surrogate pair written as two of them, behind the first `\u`.
fn code_point(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> u32 {
    let four = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
        let digits = std::iter::from_fn(|| chars.next_if(char::is_ascii_hexdigit)).take(4);
        digits.fold(0, |code, digit| code * 16 + digit.to_digit(16).unwrap_or(0))
    };
    let first = four(chars);
    let mut ahead = chars.clone();
    if (0xD800..0xDC00).contains(&first) && ahead.next() == Some('\\') && ahead.next() == Some('u') {
        let second = four(&mut ahead);
        if (0xDC00..0xE000).contains(&second) {
            *chars = ahead;
            return 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Kind, Service};

    #[test]
    fn java_is_read_as_java() {
        for (pattern, text, expected) in [
            (r"\d{3}", "123", true),
            (r"\d{3}", "١٢٣", false),
            (r"[\w+=,.@-]*", "a-b@c", true),
            (r"[\w+=,.@-]*", "a b", false),
            ("abc", "xabcx", false),
            ("a|b", "b", true),
            ("a|b", "ab", false),
            ("[a-zA-Z0-9-_]+", "a-_9", true),
            ("[!--]", "-", true),
            (".*", "a\nb", false),
            (r"[\s\S]*", "a\nb", true),
            (r"(?!^[0-9]+$)([a-zA-Z0-9-_]+)", "123", false),
            (r"(?!^[0-9]+$)([a-zA-Z0-9-_]+)", "v123", true),
            (r"[0-9A-Za-z\.\-_]*(?<!\.)", "bucket.", false),
            (r"[\u0009\u000A\u0020-\u007E]+", "plain\ttext", true),
            (r"[\u0020-\u007E]+", "é", false),
            (r"[\uD800\uDC00-\uDBFF\uDFFF]", "🦀", true),
            (r"[\uD800\uDC00-\uDBFF\uDFFF]", "é", false),
            (r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*", "Grün 1", true),
            (r"^([\p{L}\p{Z}\p{N}_.:/=+\-@]+)$", "", false),
        ] {
            assert_eq!(compile(pattern).unwrap().is_match(text).unwrap(), expected, "{pattern} on {text:?}");
        }
    }

    #[test]
    fn every_generated_pattern_compiles() {
        let services: [&Service; 3] = [&crate::lambda::SERVICE, &crate::logs::SERVICE, &crate::sts::SERVICE];
        for shape in services.iter().flat_map(|service| service.shapes) {
            if let Kind::String { pattern: Some(pattern), .. } = &shape.kind {
                assert!(compile(pattern).is_some(), "{}: {}", shape.name, translate(pattern));
            }
        }
    }
}
