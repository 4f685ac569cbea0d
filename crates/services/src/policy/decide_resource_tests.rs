//! Policies of resources, compared with a second evaluator that is written down as AWS's rules say it.

use proptest::prelude::*;

use super::super::document::Kind;
use super::*;

const F: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";
const LIVE: &str = "arn:aws:lambda:us-east-1:000000000000:function:f:live";

/// A statement in few words, from which both a document and the second evaluator's answer are made.
#[derive(Debug, Clone)]
struct Plain {
    allow: bool,
    /// `*` or an account id.
    principal: &'static str,
    action: &'static str,
    resource: &'static str,
    /// A source account that must be the request's.
    source: Option<&'static str>,
}

fn plain() -> impl Strategy<Value = Plain> {
    (
        any::<bool>(),
        prop::sample::select(vec!["*", "111111111111", "222222222222"]),
        prop::sample::select(vec!["lambda:InvokeFunction", "lambda:Invoke*", "lambda:Get*", "lambda:*", "*"]),
        prop::sample::select(vec!["*", "f", "f:live", "f:*", "g"]),
        prop::sample::select(vec![None, Some("1"), Some("2")]),
    )
        .prop_map(|(allow, principal, action, resource, source)| Plain {
            allow,
            principal,
            action,
            resource,
            source,
        })
}

fn document(statements: &[Plain]) -> Document {
    let texts: Vec<String> = statements
        .iter()
        .map(|one| {
            let effect = if one.allow { "Allow" } else { "Deny" };
            let resource = match one.resource {
                "*" => "*".to_owned(),
                name => format!("arn:aws:lambda:us-east-1:000000000000:function:{name}"),
            };
            let condition = one.source.map_or_else(String::new, |source| {
                format!(r#","Condition":{{"StringEquals":{{"AWS:SourceAccount":"{source}"}}}}"#)
            });
            format!(
                r#"{{"Effect":"{effect}","Principal":{{"AWS":"{}"}},"Action":"{}","Resource":"{resource}"{condition}}}"#,
                one.principal, one.action
            )
        })
        .collect();
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, texts.join(","));
    Document::parse(&text, Kind::Resource).unwrap()
}

/// What the rules say: any denial that applies, else any permission that applies, else nothing.
fn second(
    statements: &[Plain],
    account: &str,
    action: &str,
    qualified: bool,
    source: Option<&str>,
) -> Decision {
    let applies = |one: &Plain| {
        let action = match one.action {
            "*" | "lambda:*" => true,
            "lambda:Invoke*" | "lambda:InvokeFunction" => action == "lambda:InvokeFunction",
            _ => action == "lambda:GetFunction",
        };
        let resource = match one.resource {
            "*" => true,
            "f" => !qualified,
            "f:live" | "f:*" => qualified,
            _ => false,
        };
        (one.principal == "*" || one.principal == account)
            && action
            && resource
            && (one.source.is_none() || one.source == source)
    };
    if statements.iter().any(|one| !one.allow && applies(one)) {
        Decision::Deny
    } else if statements.iter().any(|one| one.allow && applies(one)) {
        Decision::Allow
    } else {
        Decision::Silent
    }
}

proptest! {
    #[test]
    fn two_evaluators_agree(
        statements in prop::collection::vec(plain(), 1..6),
        account in prop::sample::select(vec!["111111111111", "222222222222", "333333333333"]),
        action in prop::sample::select(vec!["lambda:InvokeFunction", "lambda:GetFunction"]),
        qualified in any::<bool>(),
        source in prop::sample::select(vec![None, Some("1"), Some("2")]),
    ) {
        let mut keys = Keys::default();
        if let Some(source) = source {
            keys.set("aws:sourceaccount", source);
        }
        let arn = format!("arn:aws:iam::{account}:root");
        let who = Who::Principal { account, arn: &arn, role: None };
        let resource = Some(if qualified { LIVE } else { F });
        let got = document(&statements).decide(&Request { who, action, resource, keys });
        prop_assert_eq!(got, second(&statements, account, action, qualified, source));
    }
}

#[test]
fn resources_match_part_by_part() {
    let about = |members: &str, resource: &str| {
        let text =
            format!(r#"{{"Statement":{{"Effect":"Allow","Principal":"*","Action":"lambda:*",{members}}}}}"#);
        let document = Document::parse(&text, Kind::Resource).unwrap();
        let who = Who::Service("s3.amazonaws.com");
        let request =
            Request { who, action: "lambda:invokefunction", resource: Some(resource), keys: Keys::default() };
        document.decide(&request) == Decision::Allow
    };
    assert!(about(r#""Resource":"arn:aws:lambda:*:*:function:f""#, F));
    assert!(!about(r#""Resource":"arn:aws:lambda:*:function:f""#, F));
    assert!(about(r#""Resource":["arn:aws:s3:::b","arn:aws:lambda:us-east-1:000000000000:*"]"#, LIVE));
    assert!(about(&format!(r#""NotResource":"{F}""#), LIVE));
    assert!(!about(&format!(r#""NotResource":"{F}*""#), LIVE));
}

#[test]
fn a_condition_that_cannot_be_told_denies_and_does_not_allow() {
    let decide = |effect: &str| {
        let text = format!(
            r#"{{"Statement":{{"Effect":"{effect}","Principal":"*","Action":"*","Resource":"*",
               "Condition":{{"IpAddress":{{"aws:SourceIp":"10.0.0.0/8"}}}}}}}}"#
        );
        let mut keys = Keys::default();
        keys.set_unknown("aws:SourceIp");
        let who = Who::Service("s3.amazonaws.com");
        let document = Document::parse(&text, Kind::Resource).unwrap();
        document.decide(&Request { who, action: "lambda:InvokeFunction", resource: Some(F), keys })
    };
    assert_eq!((decide("Allow"), decide("Deny")), (Decision::Silent, Decision::Deny));
}
