use super::super::document::Kind;
use super::*;

const LAMBDA: Who<'_> = Who::Service("lambda.amazonaws.com");
const ROOT: Who<'_> =
    Who::Principal { account: "111111111111", arn: "arn:aws:iam::111111111111:root", role: None };
const SESSION: Who<'_> = Who::Principal {
    account: "111111111111",
    arn: "arn:aws:sts::111111111111:assumed-role/r/s",
    role: Some("arn:aws:iam::111111111111:role/p/r"),
};

fn statement(effect: &str, principal: &str, more: &str) -> String {
    format!(r#"{{"Effect":"{effect}","Principal":{principal},"Action":"sts:AssumeRole"{more}}}"#)
}

fn decide(statements: &[String], who: &Who<'_>, keys: &[(&str, &str)]) -> Decision {
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, statements.join(","));
    let document = Document::parse(&text, Kind::Trust).unwrap();
    let mut set = Keys::of_request();
    keys.iter().for_each(|(key, value)| set.set(key, *value));
    document.decide(&Request { who: who.clone(), action: "sts:AssumeRole", resource: None, keys: set })
}

#[test]
fn principals_fit_or_do_not() {
    use Decision::{Allow, AllowAccount, Silent};
    for (principal, lambda, root, session) in [
        (r#"{"Service":"lambda.amazonaws.com"}"#, Allow, Silent, Silent),
        (r#"{"Service":["ec2.amazonaws.com","lambda.amazonaws.com"]}"#, Allow, Silent, Silent),
        (r#"{"Service":"ec2.amazonaws.com"}"#, Silent, Silent, Silent),
        (r#""*""#, Allow, Allow, Allow),
        (r#"{"AWS":"*"}"#, Allow, Allow, Allow),
        (r#"{"AWS":"111111111111"}"#, Silent, Allow, AllowAccount),
        (r#"{"AWS":"arn:aws:iam::111111111111:root"}"#, Silent, Allow, AllowAccount),
        (r#"{"AWS":"222222222222"}"#, Silent, Silent, Silent),
        (r#"{"AWS":"arn:aws:iam::111111111111:role/p/r"}"#, Silent, Silent, Allow),
        (r#"{"AWS":"arn:aws:iam::111111111111:role/r"}"#, Silent, Silent, Silent),
        (r#"{"AWS":"arn:aws:sts::111111111111:assumed-role/r/s"}"#, Silent, Silent, Allow),
        (r#"{"AWS":"arn:aws:sts::111111111111:assumed-role/r/t"}"#, Silent, Silent, Silent),
        (r#"{"Federated":"accounts.google.com"}"#, Silent, Silent, Silent),
    ] {
        let statements = [statement("Allow", principal, "")];
        let got = [LAMBDA, ROOT, SESSION].map(|who| decide(&statements, &who, &[]));
        assert_eq!(got, [lambda, root, session], "{principal}");
    }
}

#[test]
fn a_denial_wins() {
    let everyone = statement("Allow", r#""*""#, "");
    let not_lambda = statement("Deny", r#"{"Service":"lambda.amazonaws.com"}"#, "");
    assert_eq!(decide(&[everyone.clone(), not_lambda.clone()], &LAMBDA, &[]), Decision::Deny);
    assert_eq!(decide(&[not_lambda, everyone], &ROOT, &[]), Decision::Allow);
}

#[test]
fn not_principal_means_everyone_else() {
    let text = r#"{"Effect":"Deny","NotPrincipal":{"AWS":"111111111111"},"Action":"sts:*"}"#;
    let statements = [statement("Allow", r#""*""#, ""), text.to_owned()];
    assert_eq!(decide(&statements, &LAMBDA, &[]), Decision::Deny);
    assert_eq!(decide(&statements, &SESSION, &[]), Decision::Allow);
}

#[test]
fn conditions_must_all_hold() {
    let condition = r#","Condition":{"StringEquals":{"sts:ExternalId":["a","b"]},"StringLike":{"aws:SourceAccount":"1*"}}"#;
    let statements = [statement("Allow", r#""*""#, condition)];
    let both = [("sts:ExternalId", "b"), ("aws:SourceAccount", "111111111111")];
    assert_eq!(decide(&statements, &LAMBDA, &both), Decision::Allow);
    assert_eq!(decide(&statements, &LAMBDA, &both[..1]), Decision::Silent);
    assert_eq!(decide(&statements, &LAMBDA, &[]), Decision::Silent);
}

#[test]
fn what_cannot_be_evaluated_does_not_open_anything() {
    let unknown = r#","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}"#;
    let allow = statement("Allow", r#""*""#, unknown);
    assert_eq!(decide(&[allow], &ROOT, &[]), Decision::Silent);
    let statements = [statement("Allow", r#""*""#, ""), statement("Deny", r#""*""#, unknown)];
    assert_eq!(decide(&statements, &ROOT, &[]), Decision::Deny);
}

#[test]
fn only_the_actions_named() {
    let tag = r#"{"Effect":"Allow","Principal":"*","Action":"sts:TagSession"}"#.to_owned();
    assert_eq!(decide(&[tag], &ROOT, &[]), Decision::Silent);
    let any = r#"{"Effect":"Allow","Principal":"*","Action":"STS:assume*"}"#.to_owned();
    assert_eq!(decide(&[any], &ROOT, &[]), Decision::Allow);
}
