//! Names and ARNs of log groups.

use lambkin_core::ids::Scope;
use lambkin_model::{AwsError, RequestContext};

use super::{invalid, no_group};

/// Account and region of a request.
pub(super) fn scope_of(context: &RequestContext) -> Scope {
    Scope::new(context.caller.account.clone(), context.region.clone())
}

/// ARN of a group, without the `:*` that stands for its streams.
pub(super) fn group_arn(scope: &Scope, group: &str) -> String {
    format!("arn:{}:logs:{}:{}:log-group:{group}", scope.partition(), scope.region, scope.account)
}

/// ARN of a stream.
pub(super) fn stream_arn(scope: &Scope, group: &str, stream: &str) -> String {
    format!("{}:log-stream:{stream}", group_arn(scope, group))
}

/// The group that a request names, by name or by identifier (name or ARN).
pub(super) fn group(
    context: &RequestContext,
    name: Option<String>,
    identifier: Option<String>,
) -> Result<String, AwsError> {
    match (name, identifier) {
        (Some(name), None) => Ok(name),
        (None, Some(identifier)) => from_identifier(context, &identifier),
        (Some(_), Some(_)) => {
            Err(invalid("LogGroup name and LogGroup identifier are mutually exclusive parameters."))
        }
        (None, None) => Err(invalid("Either logGroupName or logGroupIdentifier must be specified.")),
    }
}

/// The group in a name or ARN. A group of another account or region is one that does not exist here.
pub(super) fn from_identifier(context: &RequestContext, identifier: &str) -> Result<String, AwsError> {
    let name = match identifier.strip_prefix("arn:") {
        None => identifier,
        Some(rest) => {
            let scope = scope_of(context);
            let mut parts = rest.splitn(6, ':');
            let mut next = || parts.next().unwrap_or_default();
            let (_partition, service, region, account, kind) = (next(), next(), next(), next(), next());
            let name = next();
            if service != "logs" || kind != "log-group" {
                return Err(invalid(format!("Invalid log group identifier: {identifier}")));
            }
            if region != &*scope.region || account != &*scope.account {
                return Err(no_group());
            }
            name.strip_suffix(":*").unwrap_or(name)
        }
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'/' | b'#');
    if name.is_empty() || name.len() > 512 || !name.bytes().all(plain) {
        return Err(invalid(format!("Invalid log group identifier: {identifier}")));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::context;

    #[test]
    fn reads_names_and_arns() {
        let context = context();
        let arn = group_arn(&scope_of(&context), "/aws/lambda/f");
        assert_eq!(arn, "arn:aws:logs:us-east-1:000000000000:log-group:/aws/lambda/f");
        for identifier in ["/aws/lambda/f", &arn, &format!("{arn}:*")] {
            assert_eq!(from_identifier(&context, identifier).unwrap(), "/aws/lambda/f");
        }
        let other = arn.replace("us-east-1", "eu-west-1");
        assert_eq!(from_identifier(&context, &other).unwrap_err().code, "ResourceNotFoundException");
        for bad in ["arn:aws:s3:::b", "a:b", "", "arn:aws:logs:us-east-1:000000000000:log-group:"] {
            assert_eq!(
                from_identifier(&context, bad).unwrap_err().code,
                "InvalidParameterException",
                "{bad}"
            );
        }
        assert!(group(&context, Some("a".to_owned()), Some("a".to_owned())).is_err());
        assert!(group(&context, None, None).is_err());
    }
}
