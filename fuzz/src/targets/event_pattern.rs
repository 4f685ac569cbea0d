//! Event patterns. Input: pattern, line feed, event.

use lambkin_core::event_pattern::{Dialect, Pattern};
use serde_json::Value;

/// Parses in both dialects and matches.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (pattern, event) =
        text.split_once('\n').unwrap_or((text, "{\"a\":[{\"b\":1,\"c\":null},{\"b\":\"x\"}]}"));
    let event = serde_json::from_str(event).unwrap_or(Value::Null);
    let (all, fewer) =
        (Pattern::parse(pattern, Dialect::EventBus), Pattern::parse(pattern, Dialect::EventSource));
    match (&all, &fewer) {
        (Ok(all), Ok(fewer)) => assert_eq!(all, fewer, "the dialects differ in what they take only"),
        (Err(refusal), Ok(_)) => panic!("only a filter of an event source: {refusal}"),
        _ => {}
    }
    match all {
        Ok(pattern) => {
            let several = Value::Array(vec![event.clone()]);
            assert_eq!(pattern.matches(&event), pattern.matches(&several), "an array of one is that one");
        }
        Err(refusal) => assert!(!refusal.to_string().is_empty()),
    }
}

/// Each operator once.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    [
        "{\"a\":{\"b\":[1,null,{\"exists\":false}]},\"c\":[\"x\",true,{\"prefix\":\"y\"}]}\n{\"a\":[{\"b\":1}],\"c\":[\"yes\"]}",
        "{\"n\":[{\"numeric\":[\">\",0,\"<=\",5e2]},{\"anything-but\":[1,2]}]}\n{\"n\":[3,[4]]}",
        "{\"ip\":[{\"cidr\":\"10.0.0.0/8\"},{\"cidr\":\"2001:db8::/32\"}]}\n{\"ip\":\"10.1.2.3\"}",
        "{\"p\":[{\"wildcard\":\"*/a\\\\*/*.png\"},{\"anything-but\":{\"suffix\":[\"x\",\"y\"]}}]}\n{\"p\":\"/a*/b.png\"}",
        "{\"$or\":[{\"a\":[1]},{\"b\":{\"$or\":[{\"c\":[2]},{\"d\":[{\"equals-ignore-case\":\"E\"}]}]}}]}\n{\"b\":{\"d\":\"e\"}}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// Words of the language.
pub const WORDS: &[&str] = &[
    "{\"a\":[",
    "{\"$or\":[",
    "]}",
    "\"exists\":",
    "\"prefix\":",
    "\"suffix\":",
    "\"numeric\":[",
    "\"anything-but\":",
    "\"equals-ignore-case\":",
    "\"wildcard\":",
    "\"cidr\":",
    "\">=\"",
    "\"<\"",
    "/32",
    "::",
    "*",
    "\\\\*",
    "5e9",
    "null",
    "true",
    "\n",
    "[[[[[[[[",
    "é",
];
