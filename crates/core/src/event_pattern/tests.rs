use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Dialect, Pattern};

fn matches(pattern: &Value, event: &Value) -> bool {
    Pattern::parse(&pattern.to_string(), Dialect::EventBus).unwrap().matches(event)
}

/// Whether a value passes a rule, which stands in the array of a field.
fn passes(rule: Value, value: Value) -> bool {
    matches(&json!({"a": [rule]}), &json!({"a": value}))
}

fn refusal(dialect: Dialect, pattern: &str) -> String {
    Pattern::parse(pattern, dialect).unwrap_err().to_string()
}

#[test]
fn values_are_compared_by_kind_and_value() {
    for (rule, value) in [
        (json!("x"), json!("x")),
        (json!(""), json!("")),
        (json!(null), json!(null)),
        (json!(true), json!(true)),
        (json!(300), json!(3.0e2)),
        (json!(123_456_789_012_345_678_u64), json!(123_456_789_012_345_678_u64)),
        (json!({"exactly": "x"}), json!("x")),
    ] {
        assert!(passes(rule.clone(), value.clone()), "{rule} {value}");
    }
    for (rule, value) in [
        (json!("x"), json!("X")),
        (json!("1"), json!(1)),
        (json!(1), json!("1")),
        (json!(null), json!("")),
        (json!("null"), json!(null)),
        (json!(false), json!(true)),
        (json!(123_456_789_012_345_678_u64), json!(123_456_789_012_345_679_u64)),
    ] {
        assert!(!passes(rule.clone(), value.clone()), "{rule} {value}");
    }
}

#[test]
fn operators_do_what_their_names_say() {
    for (rule, yes, no) in [
        (
            json!({"prefix": "us-"}),
            vec![json!("us-east-1"), json!("us-")],
            vec![json!("eu-us-"), json!(1), json!(null)],
        ),
        (json!({"suffix": ".png"}), vec![json!("a.png")], vec![json!("a.PNG"), json!("png")]),
        (json!({"prefix": {"equals-ignore-case": "Ab"}}), vec![json!("aBc")], vec![json!("ba")]),
        (json!({"suffix": {"equals-ignore-case": "Ab"}}), vec![json!("caB")], vec![json!("ba")]),
        (json!({"equals-ignore-case": "ALICE"}), vec![json!("alice"), json!("Alice")], vec![json!("alic")]),
        (json!({"numeric": ["=", 3.018e2]}), vec![json!(301.8)], vec![json!("301.8"), json!(301)]),
        (json!({"numeric": [">", 0, "<=", 5]}), vec![json!(5), json!(0.1)], vec![json!(0), json!(5.1)]),
        (json!({"numeric": [">=", -1]}), vec![json!(-1), json!(1e12)], vec![json!(-1.5)]),
        (json!({"numeric": ["<", 10]}), vec![json!(9.9)], vec![json!(10), json!(null)]),
        (json!({"anything-but": "a"}), vec![json!("b"), json!(1), json!(null)], vec![json!("a")]),
        (json!({"anything-but": ["a", "b"]}), vec![json!("c")], vec![json!("a"), json!("b")]),
        (json!({"anything-but": [1, 2]}), vec![json!(3), json!("1")], vec![json!(1), json!(2.0)]),
        (json!({"anything-but": {"prefix": "in"}}), vec![json!("out"), json!(1)], vec![json!("init")]),
        (json!({"anything-but": {"suffix": ["a", "b"]}}), vec![json!("c")], vec![json!("xa"), json!("xb")]),
        (json!({"anything-but": {"equals-ignore-case": ["A"]}}), vec![json!("b")], vec![json!("a")]),
        (json!({"anything-but": {"wildcard": "*/lib/*"}}), vec![json!("/bin/x")], vec![json!("/lib/x")]),
        (
            json!({"wildcard": "a*c"}),
            vec![json!("ac"), json!("abbc")],
            vec![json!("a"), json!("abcd"), json!("c")],
        ),
        (json!({"wildcard": "a*a"}), vec![json!("aa")], vec![json!("a")]),
        (json!({"wildcard": "*.png"}), vec![json!(".png"), json!("x.png")], vec![json!("x.jpg")]),
        (json!({"wildcard": r"\*x\\"}), vec![json!(r"*x\")], vec![json!("ax\\")]),
        (
            json!({"cidr": "10.0.0.0/24"}),
            vec![json!("10.0.0.255")],
            vec![json!("10.0.1.0"), json!("x"), json!("::1")],
        ),
        (json!({"cidr": "0.0.0.0/0"}), vec![json!("1.2.3.4")], vec![json!("::1")]),
        (json!({"cidr": "2001:db8::/32"}), vec![json!("2001:DB8::1")], vec![json!("2001:db9::1")]),
        (
            json!({"exists": true}),
            vec![json!(null), json!(""), json!([1])],
            vec![json!({}), json!([]), json!({"b": 1})],
        ),
        (json!({"exists": false}), vec![json!({"b": 1}), json!([])], vec![json!(null), json!(0)]),
    ] {
        for value in yes {
            assert!(passes(rule.clone(), value.clone()), "{rule} {value}");
        }
        for value in no {
            assert!(!passes(rule.clone(), value.clone()), "{rule} {value}");
        }
    }
    assert!(matches(&json!({"a": {"b": [{"exists": false}]}}), &json!({})));
    assert!(!matches(&json!({"a": [{"exists": true}]}), &json!({})));
    assert!(!matches(&json!({"a": [{"anything-but": "x"}]}), &json!({})));
}

#[test]
fn all_fields_must_match_and_any_value_does() {
    let pattern =
        json!({"source": ["aws.ec2", "aws.s3"], "detail": {"state": ["running", {"exists": false}]}});
    for (event, wanted) in [
        (json!({"source": "aws.ec2", "detail": {"state": "running", "more": 1}}), true),
        (json!({"source": ["x", "aws.s3"], "detail": {}}), true),
        (json!({"source": "aws.s3"}), true),
        (json!({"source": "aws.s3", "detail": {"state": "stopped"}}), false),
        (json!({"source": "other", "detail": {"state": "running"}}), false),
        (json!({"detail": {"state": "running"}}), false),
        (json!("aws.s3"), false),
    ] {
        assert_eq!(matches(&pattern, &event), wanted, "{event}");
    }
}

#[test]
fn fields_of_objects_in_an_array_are_of_one_element() {
    let pattern = json!({"a": {"b": [1], "c": [2]}});
    assert!(matches(&pattern, &json!({"a": [{"b": 1, "c": 3}, {"b": 1, "c": [9, 2]}]})));
    assert!(!matches(&pattern, &json!({"a": [{"b": 1, "c": 3}, {"b": 5, "c": 2}]})));
    let absent = json!({"a": {"b": [1], "c": [{"exists": false}]}});
    assert!(matches(&absent, &json!({"a": [{"b": 1}, 7]})));
    assert!(!matches(&absent, &json!({"a": [{"b": 1}, {"c": 2}]})), "absence is of the whole event");
}

#[test]
fn or_asks_for_one_of_several_objects() {
    let pattern = json!({
        "source": ["s"],
        "$or": [
            {"name": ["cpu"]},
            {"kind": ["k"], "$or": [{"id": [1]}, {"space": [2]}]},
        ],
        "detail": {"$or": [{"x": [{"numeric": [">", 0]}]}, {"y": [{"exists": false}]}]},
    });
    for (event, wanted) in [
        (json!({"source": "s", "name": "cpu"}), true),
        (json!({"source": "s", "kind": "k", "space": 2, "detail": {"x": 1, "y": 1}}), true),
        (json!({"source": "s", "kind": "k"}), false),
        (json!({"source": "s", "name": "cpu", "detail": {"x": 0, "y": 1}}), false),
        (json!({"source": "t", "name": "cpu"}), false),
    ] {
        assert_eq!(matches(&pattern, &event), wanted, "{event}");
    }
}

#[test]
fn what_is_no_pattern_is_refused_with_the_reason() {
    for (pattern, reason) in [
        ("[]", "Filter is not an object"),
        ("null", "Filter is not an object"),
        ("{}", "Empty objects are not allowed"),
        (r#"{"a": {}}"#, "Empty objects are not allowed"),
        (r#"{"a": []}"#, "Empty arrays are not allowed"),
        (r#"{"a": "x"}"#, "\"a\" must be an object or an array"),
        (r#"{"a": [["x"]]}"#, "Match value must be String, number, true, false, or null"),
        (r#"{"a": [{}]}"#, "Match expression name not found"),
        (r#"{"a": [{"like": "x"}]}"#, "Unrecognized match type like"),
        (r#"{"a": [{"prefix": "x", "suffix": "y"}]}"#, "Only one key allowed in match expression"),
        (r#"{"a": [{"prefix": 1}]}"#, "prefix match pattern must be a string"),
        (r#"{"a": [{"suffix": {"prefix": "x"}}]}"#, "suffix match pattern must be a string"),
        (r#"{"a": [{"exists": "true"}]}"#, "exists match pattern must be either true or false."),
        (r#"{"a": [{"numeric": 5}]}"#, "Value of numeric must be an array."),
        (r#"{"a": [{"numeric": []}]}"#, "Invalid member in numeric match: ]"),
        (r#"{"a": [{"numeric": ["=", "5"]}]}"#, "Value of equals must be numeric"),
        (r#"{"a": [{"numeric": ["<"]}]}"#, "Value of < must be numeric"),
        (r#"{"a": [{"numeric": ["!", 5]}]}"#, "Unrecognized numeric range operator: !"),
        (r#"{"a": [{"numeric": ["<", 5, ">", 1]}]}"#, "Too many elements in numeric expression"),
        (r#"{"a": [{"numeric": [">", 5, "=", 6]}]}"#, "Bad numeric range operator: ="),
        (r#"{"a": [{"numeric": [">", 5, "<", 6, 7]}]}"#, "Too many terms in numeric range expression"),
        (r#"{"a": [{"numeric": [">", 5, "<", 5]}]}"#, "Bottom must be less than top"),
        (r#"{"a": [{"numeric": [">", 5000000001]}]}"#, "Value must be between -5.0E9 and 5.0E9, inclusive"),
        (
            r#"{"a": [{"anything-but": []}]}"#,
            "Inside anything but list, either all values are number or string, mixed type is not supported",
        ),
        (
            r#"{"a": [{"anything-but": ["x", 1]}]}"#,
            "Inside anything but list, either all values are number or string, mixed type is not supported",
        ),
        (
            r#"{"a": [{"anything-but": [null]}]}"#,
            "Inside anything but list, start|null|boolean is not supported.",
        ),
        (
            r#"{"a": [{"anything-but": true}]}"#,
            "Value of anything-but must be an array or single string/number value.",
        ),
        (r#"{"a": [{"anything-but": {"numeric": ["<", 1]}}]}"#, "Unsupported anything-but pattern: numeric"),
        (r#"{"a": [{"anything-but": {"prefix": ""}}]}"#, "Null prefix/suffix not allowed"),
        (r#"{"a": [{"cidr": "10.0.0.0/33"}]}"#, "Malformed CIDR: 10.0.0.0/33"),
        (r#"{"a": [{"wildcard": "a**"}]}"#, "Consecutive wildcard characters at pos 1"),
        (r#"{"a": [{"wildcard": "a\\b"}]}"#, "Invalid escape character at pos 1"),
        (r#"{"$or": {"a": [1]}}"#, "It must be an Array followed with $or."),
        (r#"{"$or": [{"a": [1]}]}"#, "There must have at least 2 Objects in $or relationship."),
        (r#"{"$or": [{"a": [1]}, 2]}"#, "Only JSON object is allowed in array of $or relationship."),
        (
            r#"{"$or": [{"prefix": [1]}, {"a": [1]}]}"#,
            "prefix is Ruler reserved fieldName which cannot be used inside $or.",
        ),
    ] {
        assert_eq!(refusal(Dialect::EventBus, pattern), reason, "{pattern}");
    }
    assert!(refusal(Dialect::EventBus, "{").starts_with("Filter is not valid JSON: "));
    let choices = r#"{"a": [1]}, {"b": [1]}"#;
    let nested = (0..10).fold(format!("{{\"$or\": [{choices}]}}"), |inner, n| {
        format!("{{\"$or\": [{choices}], \"n{n}\": {inner}}}")
    });
    assert_eq!(refusal(Dialect::EventBus, &nested), "More than 1000 combinations by $or are not allowed");
}

#[test]
fn filters_of_event_sources_have_fewer_operators() {
    for (rule, reason) in [
        (r#"{"wildcard": "a*"}"#, "Unrecognized match type wildcard"),
        (r#"{"cidr": "10.0.0.0/8"}"#, "Unrecognized match type cidr"),
        (r#"{"anything-but": {"prefix": "a"}}"#, "Unsupported anything-but pattern: prefix"),
    ] {
        assert_eq!(refusal(Dialect::EventSource, &format!("{{\"a\": [{rule}]}}")), reason);
    }
    for rule in [
        r#""x""#,
        "null",
        r#"{"exists": false}"#,
        r#"{"anything-but": ["a"]}"#,
        r#"{"suffix": "a"}"#,
        r#"{"numeric": ["=", 1]}"#,
    ] {
        assert!(Pattern::parse(&format!("{{\"a\": [{rule}]}}"), Dialect::EventSource).is_ok(), "{rule}");
    }
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-1_000_000_i64..1_000_000).prop_map(Value::from),
        "[a-c*\\\\]{0,6}".prop_map(Value::from),
    ]
}

fn event() -> impl Strategy<Value = Value> {
    let field = scalar().prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-c]", inner, 0..4).prop_map(|fields| json!(fields)),
        ]
    });
    proptest::collection::btree_map("[a-c]", field, 1..4).prop_map(|fields| json!(fields))
}

/// The pattern that asks for an event as it is, following the first object of each array.
fn asks_for(value: &Value) -> Option<Value> {
    match value {
        Value::Object(object) => {
            let fields: serde_json::Map<_, _> =
                object.iter().filter_map(|(name, value)| Some((name.clone(), asks_for(value)?))).collect();
            (!fields.is_empty()).then_some(Value::Object(fields))
        }
        Value::Array(elements) => elements.iter().find_map(asks_for),
        scalar => Some(json!([scalar])),
    }
}

/// Whether a text is of the form of a wildcard pattern, by trying all ways.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', rest @ ..] => (0..=text.len()).any(|skipped| fits(rest, &text[skipped..])),
        [b'\\', escaped, rest @ ..] => text.first() == Some(escaped) && fits(rest, &text[1..]),
        [other, rest @ ..] => text.first() == Some(other) && fits(rest, &text[1..]),
    }
}

proptest! {
    #[test]
    fn no_text_upsets_the_parser(text in "[\\[\\]{}\":,$a-z0-9 -]{0,60}", event in event()) {
        if let Ok(pattern) = Pattern::parse(&text, Dialect::EventBus) {
            let _ = pattern.matches(&event);
        }
    }

    #[test]
    fn every_event_matches_what_asks_for_it(event in event()) {
        if let Some(pattern) = asks_for(&event) {
            prop_assert!(matches(&pattern, &event), "{} {}", pattern, event);
        }
    }

    #[test]
    fn anything_but_is_the_opposite(value in scalar(), other in "[a-c]{0,3}") {
        let (is, is_not) = (json!(other), json!({"anything-but": other}));
        prop_assert_ne!(passes(is, value.clone()), passes(is_not, value));
    }

    #[test]
    fn presence_and_absence_are_opposites(event in event()) {
        let path = |exists: bool| json!({"a": {"b": [{"exists": exists}]}});
        prop_assert_ne!(matches(&path(true), &event), matches(&path(false), &event));
    }

    #[test]
    fn wildcards_find_what_trying_all_ways_finds(
        parts in proptest::collection::vec(r"[ab]|\\\*|\\\\", 0..4), text in r"[ab*\\]{0,7}", first in any::<bool>(),
    ) {
        let pattern = parts.join("*");
        let pattern = if first && !pattern.is_empty() { format!("*{pattern}") } else { pattern };
        let found = passes(json!({"wildcard": pattern}), json!(text));
        prop_assert_eq!(found, fits(pattern.as_bytes(), text.as_bytes()), "{} {}", pattern, text);
    }

    #[test]
    fn numbers_are_in_a_range_or_not(low in -100_i32..100, width in 1..50, value in -200_i32..200) {
        let rule = json!({"numeric": [">", low, "<=", low + width]});
        prop_assert_eq!(passes(rule, json!(value)), low < value && value <= low + width);
    }

    #[test]
    fn networks_have_the_addresses_that_begin_alike(network in any::<u32>(), bits in 0..=32_u32, flipped in 0..32_u32) {
        let text = |address: u32| std::net::Ipv4Addr::from(address).to_string();
        let rule = json!({"cidr": format!("{}/{bits}", text(network))});
        prop_assert!(passes(rule.clone(), json!(text(network))));
        let other = network ^ (1 << (31 - flipped));
        prop_assert_eq!(passes(rule, json!(text(other))), flipped >= bits);
    }
}
