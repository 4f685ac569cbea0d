//! Policies of resources, which are changed statement by statement and read back as they were written.

use super::document::{aws_principal, is_account, is_service};
use super::json::Json;

/// A policy as text with its members in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResourcePolicy {
    /// All but the statements, which have their place among them.
    members: Vec<(String, Json)>,
    statements: Vec<Json>,
}

/// Name of the member that holds the statements.
const STATEMENT: &str = "Statement";

impl ResourcePolicy {
    /// A policy without statements.
    pub(crate) fn new() -> Self {
        let members = [
            ("Version".to_owned(), Json::text("2012-10-17")),
            ("Id".to_owned(), Json::text("default")),
            (STATEMENT.to_owned(), Json::Null),
        ];
        Self { members: members.into(), statements: Vec::new() }
    }

    /// Reads a policy that keeps the grammar of [`super::Document`]; `None` where it does not.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let Ok(Json::Object(mut members)) = serde_json::from_str::<Json>(text) else { return None };
        let (_, place) = members.iter_mut().find(|(name, _)| name == STATEMENT)?;
        let statements = match std::mem::replace(place, Json::Null) {
            Json::List(list) => list,
            one => vec![one],
        };
        Some(Self { members, statements })
    }

    /// Whether it has a statement of that id.
    pub(crate) fn has(&self, sid: &str) -> bool {
        self.statements.iter().any(|statement| sid_of(statement) == Some(sid))
    }

    /// Adds a statement.
    pub(crate) fn push(&mut self, statement: Json) {
        self.statements.push(statement);
    }

    /// Removes a statement; `false` where there was none of that id.
    pub(crate) fn remove(&mut self, sid: &str) -> bool {
        let before = self.statements.len();
        self.statements.retain(|statement| sid_of(statement) != Some(sid));
        self.statements.len() < before
    }

    /// Whether it has no statement.
    pub(crate) fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }

    /// The policy as JSON without spaces; the statements are a list whatever they were read from.
    pub(crate) fn text(&self) -> serde_json::Result<String> {
        let members = self.members.iter().map(|(name, value)| {
            let value = if name == STATEMENT { Json::List(self.statements.clone()) } else { value.clone() };
            (name.clone(), value)
        });
        serde_json::to_string(&Json::Object(members.collect()))
    }
}

fn sid_of(statement: &Json) -> Option<&str> {
    let Json::Object(members) = statement else { return None };
    members.iter().find_map(|(name, value)| match value {
        Json::Text(sid) if name == "Sid" => Some(sid.as_str()),
        _ => None,
    })
}

/// The `Principal` of a statement for what a request names in one word: `*`, an account id, an ARN or a
/// service; `None` where it is none of them.
pub(crate) fn principal_of(text: &str, partition: &str) -> Option<Json> {
    if text == "*" {
        return Some(Json::text("*"));
    }
    if is_account(text) {
        return Some(Json::object([("AWS", Json::text(format!("arn:{partition}:iam::{text}:root")))]));
    }
    if text.starts_with("arn:") {
        return aws_principal(text).map(|_| Json::object([("AWS", Json::text(text))]));
    }
    is_service(text).then(|| Json::object([("Service", Json::text(text))]))
}

#[cfg(test)]
mod tests {
    use super::super::{Document, Kind};
    use super::*;

    fn statement(sid: &str) -> Json {
        Json::object([
            ("Sid", Json::text(sid)),
            ("Effect", Json::text("Allow")),
            ("Principal", principal_of("123456789012", "aws").unwrap()),
            ("Action", Json::text("lambda:InvokeFunction")),
            ("Resource", Json::text("arn:aws:lambda:us-east-1:000000000000:function:f")),
        ])
    }

    #[test]
    fn statements_come_and_go() {
        let mut policy = ResourcePolicy::new();
        assert!(policy.is_empty());
        policy.push(statement("one-1"));
        policy.push(statement("two_2"));
        assert!(policy.has("one-1") && !policy.has("one"));
        let text = policy.text().unwrap();
        assert!(
            text.starts_with(
                r#"{"Version":"2012-10-17","Id":"default","Statement":[{"Sid":"one-1","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"#
            ),
            "{text}"
        );
        assert!(Document::parse(&text, Kind::Resource).is_ok());
        assert_eq!(ResourcePolicy::parse(&text).unwrap(), policy);
        assert!(policy.remove("one-1") && !policy.remove("one-1"));
        assert!(!policy.is_empty());
        let single = r#"{"Statement":{"Sid":"a"},"Version":"2012-10-17"}"#;
        let text = ResourcePolicy::parse(single).unwrap().text().unwrap();
        assert_eq!(text, r#"{"Statement":[{"Sid":"a"}],"Version":"2012-10-17"}"#);
    }

    #[test]
    fn principals_in_one_word() {
        let json = |text: &str| principal_of(text, "aws").map(|json| serde_json::to_string(&json).unwrap());
        assert_eq!(json("*").as_deref(), Some(r#""*""#));
        assert_eq!(json("s3.amazonaws.com").as_deref(), Some(r#"{"Service":"s3.amazonaws.com"}"#));
        let role = "arn:aws:iam::123456789012:role/a/b";
        assert_eq!(json(role), Some(format!(r#"{{"AWS":"{role}"}}"#)));
        for text in
            ["amazonaws.com", "1234", "arn:aws:s3:::b", "arn:aws:iam::123456789012:role/*", "lambda", ""]
        {
            assert_eq!(json(text), None, "{text}");
        }
    }
}
