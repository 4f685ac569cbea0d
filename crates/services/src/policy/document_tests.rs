use super::*;

fn wrong(text: &str, kind: Kind) -> String {
    Document::parse(text, kind).unwrap_err()
}

/// A document of one statement with these members.
fn one(members: &str) -> String {
    format!(r#"{{"Version":"2012-10-17","Statement":[{{{members}}}]}}"#)
}

#[test]
fn identity_policies_keep_the_grammar() {
    let good = one(r#""Sid":"a","Effect":"Allow","Action":["s3:Get*","*"],"Resource":"arn:aws:s3:::b/*""#);
    assert_eq!(Document::parse(&good, Kind::Inline).unwrap().statements.len(), 1);
    let single = r#"{"Statement":{"Effect":"Deny","NotAction":"iam:*","NotResource":["*"]}}"#;
    assert!(!Document::parse(single, Kind::Inline).unwrap().statements[0].allow);
    for (members, text) in [
        (
            r#""Effect":"Allow","Action":"s3:*","Resource":"*","Principal":"*""#,
            "Policy document should not specify a principal.",
        ),
        (r#""Effect":"Allow","Action":"s3:*""#, "Policy statement must contain resources."),
        (r#""Effect":"Allow","Action":"s3:*","Resource":[]"#, "Policy statement must contain resources."),
        (r#""Effect":"Allow","Resource":"*""#, "Policy statement must contain actions."),
        (r#""Effect":"Allow","Action":[],"Resource":"*""#, "Policy statement must contain actions."),
        (r#""Effect":"allow","Action":"s3:*","Resource":"*""#, SYNTAX),
        (r#""Action":"s3:*","Resource":"*""#, SYNTAX),
        (r#""Effect":"Allow","Action":"s3:*","Resource":"*","Resources":"*""#, SYNTAX),
        (r#""Effect":"Allow","Action":"s3:*","NotAction":"s3:*","Resource":"*""#, SYNTAX),
        (r#""Effect":"Allow","Effect":"Deny","Action":"s3:*","Resource":"*""#, SYNTAX),
        (
            r#""Effect":"Allow","Action":"s3","Resource":"*""#,
            "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
        ),
        (
            r#""Effect":"Allow","Action":"a:b:c","Resource":"*""#,
            "Actions/Condition can contain only one colon.",
        ),
        (r#""Effect":"Allow","Action":"s 3:x","Resource":"*""#, "Vendor s 3 is not valid"),
        (
            r#""Effect":"Allow","Action":"s3:*","Resource":"bucket""#,
            "Resource bucket must be in ARN format or \"*\".",
        ),
        (r#""Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3""#, "The policy failed legacy parsing"),
        (
            r#""Effect":"Allow","Action":"s3:*","Resource":"arn:x:s3:::b""#,
            "Partition \"x\" is not valid for resource \"arn:x:s3:::b\".",
        ),
        (
            r#""Sid":"a b","Effect":"Allow","Action":"s3:*","Resource":"*""#,
            "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*",
        ),
        (
            r#""Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringIs":{"a:b":"c"}}"#,
            "Invalid Condition type : StringIs.",
        ),
    ] {
        assert_eq!(wrong(&one(members), Kind::Inline), text, "{members}");
    }
}

#[test]
fn documents_as_a_whole() {
    let statement = r#"{"Effect":"Allow","Action":"s3:*","Resource":"*"}"#;
    let with = |head: &str| format!(r#"{{{head}"Statement":[{statement}]}}"#);
    assert!(Document::parse(&with(r#""Version":"2008-10-17","Id":"x","#), Kind::Inline).is_ok());
    assert_eq!(
        wrong(&with(r#""Version":"2025-01-01","#), Kind::Inline),
        "The policy must contain a valid version string"
    );
    for head in ["", r#""Version":"2008-10-17","#] {
        assert_eq!(
            wrong(&with(head), Kind::Managed),
            "Policy document must be version 2012-10-17 or greater."
        );
    }
    for text in ["", "[]", "{}", r#"{"Statement":[]}"#, r#"{"Statement":"x"}"#, &with(r#""Name":1,"#)] {
        assert_eq!(wrong(text, Kind::Inline), SYNTAX, "{text}");
    }
    let twice = r#"{"Sid":"a","Effect":"Allow","Action":"s3:*","Resource":"*"}"#;
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{twice},{twice}]}}"#);
    assert_eq!(wrong(&text, Kind::Managed), "Statement IDs (SID) in a single policy must be unique.");
}

#[test]
fn trust_policies_keep_theirs() {
    let good =
        one(r#""Effect":"Allow","Principal":{"Service":["lambda.amazonaws.com"],"AWS":["123456789012","*"],
           "Federated":"arn:aws:iam::123456789012:saml-provider/x"},"Action":["sts:AssumeRole","sts:Tag*"],
           "Condition":{"StringLike":{"sts:ExternalId":["a*"]},"Bool":{"aws:SecureTransport":true}}"#);
    let document = Document::parse(&good, Kind::Trust).unwrap();
    let principals = document.statements[0].principals.as_ref().unwrap();
    assert_eq!(
        principals.list,
        [
            Principal::Service("lambda.amazonaws.com".to_owned()),
            Principal::Account("123456789012".to_owned()),
            Principal::Everyone,
            Principal::Federated
        ]
    );
    assert_eq!(document.statements[0].conditions[1].values, ["true"]);
    assert_eq!(wrong("lambda", Kind::Trust), "This policy contains invalid Json");
    assert_eq!(wrong("{}", Kind::Trust), "Missing required field Statement");
    let invalid = |group: &str, text: &str| format!("Invalid principal in policy: \"{group}\":\"{text}\"");
    let service = r#""Principal":{"Service":"lambda.amazonaws.com"}"#;
    for (members, text) in [
        (r#""Effect":"Allow","Action":"sts:AssumeRole""#.to_owned(), "Missing required field Principal".to_owned()),
        (format!(r#""Effect":"Allow",{service}"#), "Missing required field Action".to_owned()),
        (format!(r#""Action":"sts:AssumeRole",{service}"#), "Missing required field Effect".to_owned()),
        (
            format!(r#""Effect":"allow","Action":"sts:AssumeRole",{service}"#),
            "Invalid effect: allow".to_owned(),
        ),
        (
            format!(r#""Effect":"Allow","Action":"sts:AssumeRole",{service},"Resource":"*""#),
            "Has prohibited field Resource".to_owned(),
        ),
        (
            format!(r#""Effect":"Allow","Action":"sts:AssumeRole",{service},"Actor":"*""#),
            "Unknown field Actor".to_owned(),
        ),
        (
            format!(r#""Effect":"Allow","Action":"lambda:*",{service}"#),
            "AssumeRole policy may only specify STS AssumeRole actions.".to_owned(),
        ),
        (
            r#""Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"lambda"}"#.to_owned(),
            invalid("SERVICE", "lambda"),
        ),
        (
            r#""Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":"1234"}"#.to_owned(),
            invalid("AWS", "1234"),
        ),
        (
            r#""Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":"arn:aws:iam::123456789012:role/*"}"#.to_owned(),
            invalid("AWS", "arn:aws:iam::123456789012:role/*"),
        ),
        (
            r#""Effect":"Allow","Action":"sts:AssumeRole","Principal":{}"#.to_owned(),
            "Invalid principal in policy: com.amazon.balsa.error.InvalidPolicyException: The passed in policy has \
             a statement with no principals!"
                .to_owned(),
        ),
    ] {
        assert_eq!(wrong(&one(&members), Kind::Trust), text, "{members}");
    }
}
