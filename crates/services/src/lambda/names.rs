//! Function names as the API takes them: bare, as a partial or full ARN, with a qualifier in the name or
//! beside it.

use std::fmt;

use lambkin_core::ids::Scope;
use lambkin_model::lambda::errors;
use lambkin_model::{AwsError, RequestContext};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::faults::access_denied;

/// Longest bare function name in characters (the model's bound is that of an ARN).
pub(crate) const MAX_NAME: usize = 64;

/// The version that every function has.
pub(crate) const LATEST: &str = "$LATEST";

/// A version of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) enum Version {
    /// `$LATEST`, the one that changes.
    #[default]
    Latest,
    /// A published one.
    Number(u64),
}

impl Version {
    /// The version a text names; `None` where it can name none that exists.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == LATEST {
            return Some(Self::Latest);
        }
        let number = text.parse::<u64>().ok().filter(|number| *number > 0)?;
        // `+7` and `007` are numbers, but no names of versions.
        (text == number.to_string()).then_some(Self::Number(number))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str(LATEST),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is no version")))
    }
}

/// Whether a qualifier is in the form of a version number, and so never an alias.
pub(crate) fn is_number(qualifier: &str) -> bool {
    !qualifier.is_empty() && qualifier.bytes().all(|byte| byte.is_ascii_digit())
}

/// A function name taken apart. Absent parts were not given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParsedName<'a> {
    pub(crate) region: Option<&'a str>,
    pub(crate) account: Option<&'a str>,
    pub(crate) name: &'a str,
    pub(crate) qualifier: Option<&'a str>,
}

/// Which function, and which version or alias of it, a request means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) scope: Scope,
    pub(crate) name: String,
    pub(crate) qualifier: Option<String>,
}

impl Target {
    /// ARN with the qualifier as given.
    pub(crate) fn arn(&self) -> String {
        let arn = self.scope.function_arn(&self.name);
        match &self.qualifier {
            Some(qualifier) => format!("{arn}:{qualifier}"),
            None => arn,
        }
    }

    /// The same function with another qualifier.
    pub(crate) fn with(&self, qualifier: &str) -> Self {
        Self { qualifier: Some(qualifier.to_owned()), ..self.clone() }
    }

    /// The function itself.
    pub(crate) fn unqualified(self) -> Self {
        Self { qualifier: None, ..self }
    }

    /// "Function not found" for this target.
    pub(crate) fn not_found(&self) -> AwsError {
        errors::resource_not_found_exception(format!("Function not found: {}", self.arn()))
            .with("Type", "User")
    }

    /// Refuses qualifiers other than `$LATEST`, for operations that change the unpublished version.
    pub(crate) fn require_latest(self) -> Result<Self, AwsError> {
        match self.qualifier.as_deref() {
            None | Some(LATEST) => Ok(self.unqualified()),
            Some(_) => Err(errors::invalid_parameter_value_exception(
                "Current operation does not support versions other than $LATEST. Please set the version to \
                 $LATEST or do not set a version in your request.",
            )
            .with("Type", "User")),
        }
    }
}

/// Account and region of a request.
pub(crate) fn scope_of(context: &RequestContext) -> Scope {
    Scope::new(context.caller.account.clone(), context.region.clone())
}

/// Takes a name apart the way the model's pattern reads it: each leading part that fits counts as such as
/// long as a name is left. `None` where the text is none of the forms.
pub(crate) fn parse(text: &str) -> Option<ParsedName<'_>> {
    let mut parts: &[&str] = &text.split(':').collect::<Vec<_>>();
    if let [first, partition, service, rest @ ..] = parts
        && *first == "arn"
    {
        if !partition.starts_with("aws") || *service != "lambda" {
            return None;
        }
        parts = rest;
    }
    let (region, parts) = take(parts, is_region);
    let (account, parts) = take(parts, is_account);
    let (_, parts) = take(parts, |part| part == "function");
    match parts {
        [name] if is_name(name) => Some(ParsedName { region, account, name, qualifier: None }),
        [name, qualifier] if is_name(name) && is_qualifier(qualifier) => {
            Some(ParsedName { region, account, name, qualifier: Some(qualifier) })
        }
        _ => None,
    }
}

/// Takes the first part if it fits and something is left after it.
fn take<'a, 'p>(parts: &'p [&'a str], fits: impl Fn(&str) -> bool) -> (Option<&'a str>, &'p [&'a str]) {
    match parts {
        [first, rest @ ..] if !rest.is_empty() && fits(first) => (Some(first), rest),
        _ => (None, parts),
    }
}

fn is_region(part: &str) -> bool {
    let part = part.strip_prefix("eusc-").unwrap_or(part);
    let mut pieces = part.split('-');
    let letters = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase());
    let country = pieces.next().is_some_and(|text| text.len() == 2 && letters(text));
    let rest: Vec<&str> = pieces.collect();
    let number = |text: &str| text.len() == 1 && text.bytes().all(|byte| byte.is_ascii_digit());
    country
        && match rest.as_slice() {
            [place, digit] => letters(place) && number(digit),
            [kind, place, digit] => {
                (*kind == "gov" || kind.starts_with("iso") && kind.len() <= 4)
                    && letters(place)
                    && number(digit)
            }
            _ => false,
        }
}

fn is_account(part: &str) -> bool {
    part.len() == 12 && part.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_name(part: &str) -> bool {
    !part.is_empty()
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn is_qualifier(part: &str) -> bool {
    matches!(part, LATEST | "$LATEST.PUBLISHED")
        || (!part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')))
}

/// Reads FunctionName and Qualifier of a request about the caller's own functions.
///
/// # Errors
/// Those of [`read`], and AWS's refusal for a foreign account.
pub(crate) fn resolve(
    context: &RequestContext,
    operation: &str,
    function_name: Option<&str>,
    qualifier: Option<&str>,
) -> Result<Target, AwsError> {
    let target = read(context, function_name, qualifier)?;
    match *target.scope.account == *context.caller.account {
        true => Ok(target),
        false => Err(access_denied(&context.caller.arn, operation, &target.arn())),
    }
}

/// Reads FunctionName and Qualifier of a request, whichever account's function they name: whether the caller
/// may do anything with it is to be asked next.
///
/// # Errors
/// AWS's answers for a bad or too long name, a foreign region, and a qualifier that contradicts the one in the
/// name.
pub(crate) fn read(
    context: &RequestContext,
    function_name: Option<&str>,
    qualifier: Option<&str>,
) -> Result<Target, AwsError> {
    let text = function_name.unwrap_or_default();
    let own = scope_of(context);
    let Some(parsed) = parse(text) else {
        return Err(validation(format!(
            "1 validation error detected: Value '{text}' at 'functionName' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: \
             (arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{{2}}(-gov)?-[a-z]+-\\d{{1}}:)?(\\d{{12}}:)?(function:)?\
             ([a-zA-Z0-9-_]+)(:(\\$LATEST|[a-zA-Z0-9-_]+))?"
        )));
    };
    if parsed.name.len() > MAX_NAME {
        return Err(validation(format!(
            "1 validation error detected: Value '{}' at 'functionName' failed to satisfy constraint: Member \
             must have length less than or equal to 64",
            parsed.name
        )));
    }
    if let Some(region) = parsed.region
        && region != &*own.region
    {
        return Err(errors::resource_not_found_exception(format!(
            "Functions from '{region}' are not reachable in this region ('{}')",
            own.region
        ))
        .with("Type", "User"));
    }
    let scope = match parsed.account {
        Some(account) => Scope::new(account, own.region),
        None => own,
    };
    let qualifier = match (parsed.qualifier, qualifier) {
        (Some(named), Some(given)) if named != given => {
            return Err(errors::invalid_parameter_value_exception(
                "The derived qualifier from the function name does not match the specified qualifier.",
            )
            .with("Type", "User"));
        }
        (named, given) => given.or(named).map(ToOwned::to_owned),
    };
    Ok(Target { scope, name: parsed.name.to_owned(), qualifier })
}

fn validation(message: String) -> AwsError {
    AwsError::new("ValidationException", 400, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::context;

    type Parts<'a> = (Option<&'a str>, Option<&'a str>, &'a str, Option<&'a str>);

    fn parts(text: &str) -> Option<Parts<'_>> {
        parse(text).map(|p| (p.region, p.account, p.name, p.qualifier))
    }

    #[test]
    fn reads_all_forms() {
        let (region, account) = (Some("us-east-1"), Some("123456789012"));
        assert_eq!(parts("hello"), Some((None, None, "hello", None)));
        assert_eq!(parts("hello:prod"), Some((None, None, "hello", Some("prod"))));
        assert_eq!(parts("hello:$LATEST"), Some((None, None, "hello", Some("$LATEST"))));
        assert_eq!(parts("123456789012:function:hello"), Some((None, account, "hello", None)));
        assert_eq!(parts("123456789012:function:hello:7"), Some((None, account, "hello", Some("7"))));
        assert_eq!(
            parts("arn:aws:lambda:us-east-1:123456789012:function:hello"),
            Some((region, account, "hello", None))
        );
        assert_eq!(
            parts("arn:aws-us-gov:lambda:us-gov-west-1:123456789012:function:hello:live"),
            Some((Some("us-gov-west-1"), account, "hello", Some("live")))
        );
        assert_eq!(parts("function:hello"), Some((None, None, "hello", None)));
        assert_eq!(parts("function"), Some((None, None, "function", None)));
        assert_eq!(parts("123456789012"), Some((None, None, "123456789012", None)));
    }

    #[test]
    fn refuses_other_texts() {
        for text in ["", ":", "a:b:c:d", "arn:aws:s3:::bucket", "arn:aws:lambda:", "a b", "a:", "../x", "a/b"]
        {
            assert_eq!(parts(text), None, "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let context = context();
        let code = |name: &str, qualifier: Option<&str>| {
            resolve(&context, "GetFunction", Some(name), qualifier)
                .map_err(|e| (e.code.into_owned(), e.message))
        };
        assert_eq!(
            code("f:1", Some("1")).unwrap().arn(),
            "arn:aws:lambda:us-east-1:000000000000:function:f:1"
        );
        assert_eq!(code("f:1", Some("2")).unwrap_err().0, "InvalidParameterValueException");
        let (kind, message) = code("arn:aws:lambda:eu-west-1:000000000000:function:f", None).unwrap_err();
        assert_eq!(kind, "ResourceNotFoundException");
        assert_eq!(message, "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')");
        assert_eq!(code("123456789012:function:f", None).unwrap_err().0, "AccessDeniedException");
        assert_eq!(code(&"x".repeat(65), None).unwrap_err().0, "ValidationException");
        assert!(code(&"x".repeat(64), None).is_ok());
    }

    #[test]
    fn versions_have_one_name_each() {
        assert_eq!(Version::parse("$LATEST"), Some(Version::Latest));
        assert_eq!(Version::parse("12").map(|version| version.to_string()).as_deref(), Some("12"));
        for text in ["", "0", "007", "+7", "-1", "1.0", "live", "99999999999999999999"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
        assert!(Version::Latest < Version::Number(1) && Version::Number(9) < Version::Number(10));
        assert!(is_number("007") && !is_number("7a") && !is_number(""));
    }

    proptest! {
        #[test]
        fn arns_round_trip(name in "[a-zA-Z0-9_-]{1,64}", qualifier in proptest::option::of("[a-zA-Z0-9_-]{1,20}")) {
            let scope = Scope::new("123456789012", "eu-central-1");
            let target = Target { scope, name: name.clone(), qualifier: qualifier.clone() };
            let arn = target.arn();
            let parsed = parse(&arn).unwrap();
            prop_assert_eq!(parsed.name, name.as_str());
            prop_assert_eq!(parsed.qualifier, qualifier.as_deref());
            prop_assert_eq!(parsed.account, Some("123456789012"));
            prop_assert_eq!(parsed.region, Some("eu-central-1"));
        }

        #[test]
        fn never_yields_a_name_that_could_leave_its_place(text in ".{0,80}") {
            if let Some(parsed) = parse(&text) {
                prop_assert!(!parsed.name.contains(['/', '\\', ':', '\0']));
            }
        }
    }
}
