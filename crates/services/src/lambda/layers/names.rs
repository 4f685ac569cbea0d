//! Names of layers, bare or as an ARN, and ARNs of their versions.

use std::fmt::Display;

use lambkin_core::ids::Scope;
use lambkin_model::{AwsError, RequestContext};

use super::super::faults::not_found;
use super::super::names::scope_of;

/// A layer, which need not exist.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LayerName {
    pub(crate) scope: Scope,
    pub(crate) name: String,
}

impl LayerName {
    /// LayerArn.
    pub(crate) fn arn(&self) -> String {
        let scope = &self.scope;
        format!("arn:{}:lambda:{}:{}:layer:{}", scope.partition(), scope.region, scope.account, self.name)
    }

    /// LayerVersionArn.
    pub(crate) fn version_arn(&self, number: impl Display) -> String {
        format!("{}:{number}", self.arn())
    }

    /// Reads a LayerName, which is a bare name or an ARN.
    ///
    /// # Errors
    /// 404 for an ARN that no layer can have.
    pub(crate) fn read(context: &RequestContext, text: Option<&str>) -> Result<Self, AwsError> {
        let text = text.unwrap_or_default();
        if !text.contains(':') {
            return Ok(Self { scope: scope_of(context), name: text.to_owned() });
        }
        match parse(text) {
            Some((layer, None)) => Ok(layer),
            _ => Err(absent()),
        }
    }

    /// Reads a LayerVersionArn; `None` where no layer version can have it.
    pub(crate) fn of_version(arn: &str) -> Option<(Self, u64)> {
        let (layer, number) = parse(arn)?;
        Some((layer, number?))
    }
}

/// Takes an ARN of a layer or a layer version apart. Every name has one ARN: `None` for anything else.
fn parse(arn: &str) -> Option<(LayerName, Option<u64>)> {
    let mut parts = arn.splitn(8, ':');
    let mut next = || parts.next();
    let (Some("arn"), Some(_), Some("lambda")) = (next(), next(), next()) else { return None };
    let (region, account) = (next()?, next()?);
    let (Some("layer"), Some(name)) = (next(), next()) else { return None };
    let layer = LayerName { scope: Scope::new(account, region), name: name.to_owned() };
    let number = match next() {
        None => None,
        Some(number) => Some(number.parse::<u64>().ok().filter(|number| *number > 0)?),
    };
    let written = number.map_or_else(|| layer.arn(), |number| layer.version_arn(number));
    (written == arn).then_some((layer, number))
}

/// 404 for a layer or a version that is not there.
pub(crate) fn absent() -> AwsError {
    not_found("The resource you requested does not exist.")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::context;

    #[test]
    fn names_are_read() {
        let context = context();
        let bare = LayerName::read(&context, Some("l")).unwrap();
        assert_eq!(bare.arn(), "arn:aws:lambda:us-east-1:000000000000:layer:l");
        assert_eq!(LayerName::read(&context, Some(&bare.arn())).unwrap(), bare);
        let arn = "arn:aws-cn:lambda:cn-north-1:123456789012:layer:a_b-c";
        assert_eq!(LayerName::read(&context, Some(arn)).unwrap().arn(), arn);
        for text in [
            "arn:aws:lambda:cn-north-1:123456789012:layer:l",
            "arn:aws:lambda:us-east-1:000000000000:function:l",
            "arn:aws:s3:us-east-1:000000000000:layer:l",
            "arn:aws:lambda:us-east-1:000000000000:layer:l:1",
            "arn:aws:lambda:::awslayer:AmazonLinux1703",
            "arn:aws:lambda:us-east-1",
        ] {
            assert!(LayerName::read(&context, Some(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn versions_have_one_arn_each() {
        let arn = |number: &str| format!("arn:aws:lambda:us-east-1:000000000000:layer:l:{number}");
        let (layer, number) = LayerName::of_version(&arn("12")).unwrap();
        assert_eq!((layer.version_arn(number), number), (arn("12"), 12));
        for number in ["", "0", "007", "+1", "-1", "1:2", "x", "99999999999999999999"] {
            assert_eq!(LayerName::of_version(&arn(number)), None, "{number}");
        }
        assert_eq!(LayerName::of_version("arn:aws:lambda:us-east-1:000000000000:layer:l"), None);
    }

    proptest! {
        #[test]
        fn arns_round_trip(name in "[a-zA-Z0-9_-]{1,140}", number in 1..u64::MAX) {
            let layer = LayerName { scope: Scope::new("123456789012", "eu-central-1"), name };
            prop_assert_eq!(LayerName::of_version(&layer.version_arn(number)), Some((layer, number)));
        }
    }
}
