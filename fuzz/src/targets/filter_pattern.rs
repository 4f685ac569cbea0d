//! Filter patterns of CloudWatch Logs. Input: pattern, line feed, message.

/// Parses and matches.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (pattern, message) = text.split_once('\n').unwrap_or((text, "{\"a\":{\"b\":[1,null,\"x\"]}}"));
    let once = lambkin_services::fuzzing::filter(pattern, message);
    if let Err(refusal) = &once {
        assert!(!refusal.is_empty());
    }
    assert_eq!(once, lambkin_services::fuzzing::filter(&format!("  {pattern} "), message), "space matters");
}

/// Patterns of AWS's documentation, roughly.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    [
        "ERROR ?WARN -\"a \\\"b\"\n[ERROR] a",
        "{ ($.level = \"ERROR\" || $.took > 100) && $.user NOT EXISTS }\n{\"level\":\"ERROR\",\"took\":1e3}",
        "{ $.items[*].n[0].* != 10.1.* }\n{\"items\":[{\"n\":[{\"x\":\"10.1.2\"}]}]}",
        "{ $.['a.b'] IS TRUE }\n{\"a.b\":true}",
        "[ip, user, ...]\n1.2.3.4 me",
        "%a.b%\nab",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// Words of the language.
pub const WORDS: &[&str] = &[
    "{",
    "}",
    "$.",
    "$",
    "[*]",
    "[0]",
    "['a']",
    "(",
    ")",
    "&&",
    "||",
    "!=",
    "<=",
    ">=",
    "=",
    "IS NULL",
    "IS TRUE",
    "NOT EXISTS",
    "\"",
    "\\",
    "*",
    "?",
    "-",
    "%",
    "\n",
    "é",
    "\u{2028}",
    "((((((((",
];
