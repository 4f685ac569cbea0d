//! Rust names for the model's names.

/// `GetFunctionUrlConfig` -> `get_function_url_config`, `KMSKeyArn` -> `kms_key_arn`, `layerARNs` ->
/// `layer_arns`, `MD5OfBody` -> `md5_of_body`.
pub(crate) fn snake(name: &str) -> String {
    let chars: Vec<char> = name.replace("IPv", "Ipv").replace("OAuth", "Oauth").chars().collect();
    let at = |index: usize| chars.get(index).copied();
    let mut out = String::new();
    for (index, &c) in chars.iter().enumerate() {
        if !c.is_ascii_alphanumeric() {
            if !out.is_empty() && !out.ends_with('_') {
                out.push('_');
            }
            continue;
        }
        let previous = index.checked_sub(1).and_then(at);
        let next_is_lower = at(index + 1).is_some_and(|next| next.is_ascii_lowercase());
        // The `s` of a plural acronym (`ARNs`, `IDsToKeep`) does not start a word with its last capital.
        let plural =
            at(index + 1) == Some('s') && at(index + 2).is_none_or(|after| !after.is_ascii_lowercase());
        let starts_word = c.is_ascii_uppercase()
            && match previous {
                Some(p) if p.is_ascii_lowercase() || p.is_ascii_digit() => true,
                Some(p) if p.is_ascii_uppercase() => next_is_lower && !plural,
                _ => false,
            };
        if starts_word && !out.is_empty() && !out.ends_with('_') {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out.trim_end_matches('_').to_owned()
}

/// A field, method, function or module name: [`snake`], made an identifier.
pub(crate) fn identifier(name: &str) -> String {
    const KEYWORDS: &[&str] = &[
        "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn",
        "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop",
        "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "static",
        "struct", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where",
        "while", "yield",
    ];
    let name = snake(name);
    match name.as_str() {
        "self" | "super" | "crate" => format!("{name}_"),
        keyword if KEYWORDS.contains(&keyword) => format!("r#{keyword}"),
        _ if name.starts_with(|c: char| c.is_ascii_digit()) => format!("_{name}"),
        _ => name,
    }
}

/// A constant's name for an enum value: `python3.12` -> `PYTHON3_12`. `None` where nothing is left of it.
pub(crate) fn constant(value: &str) -> Option<String> {
    let mut out = String::new();
    for c in value.chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_uppercase());
        } else if c == '*' {
            out.push_str("ALL");
        } else if !out.is_empty() && !out.ends_with('_') {
            out.push('_');
        }
    }
    // Values in camel case keep their word boundaries.
    if value.chars().all(|c| c.is_ascii_alphanumeric()) && value.chars().any(|c| c.is_ascii_lowercase()) {
        out = snake(value).to_ascii_uppercase();
    }
    let out = out.trim_end_matches('_');
    match out.chars().next() {
        None => None,
        Some(first) if first.is_ascii_digit() => Some(format!("_{out}")),
        Some(_) => Some(out.to_owned()),
    }
}

/// A type's name: the shape's, with a capital first letter and `Shape` appended where it would hide a
/// name that generated code uses.
pub(crate) fn type_name(shape: &str, taken: &[&str]) -> String {
    const USED: &[&str] = &[
        "Arc",
        "AwsError",
        "BTreeMap",
        "Box",
        "BoxFuture",
        "Bytes",
        "Clone",
        "Debug",
        "Default",
        "Deserialize",
        "Err",
        "Handler",
        "None",
        "Ok",
        "Option",
        "PartialEq",
        "Result",
        "Self",
        "Send",
        "Serialize",
        "Some",
        "String",
        "Sync",
        "Vec",
    ];
    let mut chars = shape.chars().filter(|c| c.is_ascii_alphanumeric());
    let name: String = chars.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(chars).collect();
    if USED.contains(&name.as_str()) || taken.contains(&name.as_str()) {
        format!("{name}Shape")
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_at_capitals() {
        for (name, expected) in [
            ("GetFunctionUrlConfig", "get_function_url_config"),
            ("KMSKeyArn", "kms_key_arn"),
            ("layerARNs", "layer_arns"),
            ("ARNsToKeep", "arns_to_keep"),
            ("MD5OfBody", "md5_of_body"),
            ("S3Bucket", "s3_bucket"),
            ("CodeSha256", "code_sha256"),
            ("Ipv6AllowedForDualStack", "ipv6_allowed_for_dual_stack"),
            ("IPv6Address", "ipv6_address"),
            ("AssumeRoleWithSAML", "assume_role_with_saml"),
            ("ENILimitReachedException", "eni_limit_reached_exception"),
            ("SAMLAssertion", "saml_assertion"),
            ("x-amz-meta", "x_amz_meta"),
        ] {
            assert_eq!(snake(name), expected);
        }
    }

    #[test]
    fn identifiers_and_constants_are_legal() {
        assert_eq!(identifier("Type"), "r#type");
        assert_eq!(identifier("Self"), "self_");
        assert_eq!(constant("python3.12").as_deref(), Some("PYTHON3_12"));
        assert_eq!(constant("arn:aws"), Some("ARN_AWS".to_owned()));
        assert_eq!(constant("ReadOnly").as_deref(), Some("READ_ONLY"));
        assert_eq!(constant("SourceAccessType").as_deref(), Some("SOURCE_ACCESS_TYPE"));
        assert_eq!(constant("ON_DEMAND").as_deref(), Some("ON_DEMAND"));
        assert_eq!(constant("$").as_deref(), None);
        assert_eq!(constant("256").as_deref(), Some("_256"));
        assert_eq!(type_name("policyDescriptorType", &[]), "PolicyDescriptorType");
        assert_eq!(type_name("Option", &[]), "OptionShape");
        assert_eq!(type_name("Events", &["Events"]), "EventsShape");
    }
}
