//! JSON conditions of filter patterns: `{ ($.level = "ERROR" || $.took > 100) && $.user NOT EXISTS }`.

use serde_json::Value;

use super::pattern::quoted_text;

/// Most parentheses within each other.
const MAX_DEPTH: usize = 32;

/// Answer to regular expressions, in JSON conditions and alone.
pub(super) const NO_REGEX: &str = "Lambkin does not support regular expressions in filter patterns yet.";

/// A condition on a JSON value.
#[derive(Debug, PartialEq)]
pub(crate) enum Condition {
    All(Vec<Self>),
    Any(Vec<Self>),
    Compare(Vec<Step>, Operator, Operand),
    Is(Vec<Step>, Value),
    NotExists(Vec<Step>),
}

/// One step of a selector.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    Member(String),
    Index(usize),
    Each,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Operand {
    Number(f64),
    /// Text in which `*` stands for any text.
    Text(String),
}

impl Condition {
    /// Parses a whole pattern, braces included.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let inner = text.strip_prefix('{').and_then(|text| text.trim_end().strip_suffix('}'));
        let mut parser =
            Parser { rest: inner.ok_or_else(|| wrong("the closing brace is missing"))?, depth: 0 };
        let condition = parser.any()?;
        parser.space();
        if parser.rest.is_empty() {
            Ok(condition)
        } else {
            Err(wrong(&format!("unexpected '{}'", parser.rest)))
        }
    }

    /// Whether the condition holds for a JSON value.
    pub(super) fn holds(&self, root: &Value) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(root)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(root)),
            Self::Compare(steps, operator, operand) => {
                select(root, steps).into_iter().any(|value| compare(value, *operator, operand))
            }
            Self::Is(steps, wanted) => select(root, steps).contains(&wanted),
            Self::NotExists(steps) => select(root, steps).is_empty(),
        }
    }
}

/// All values that a selector leads to.
fn select<'a>(root: &'a Value, steps: &[Step]) -> Vec<&'a Value> {
    let mut found = vec![root];
    for step in steps {
        found = found
            .into_iter()
            .flat_map(|value| -> Vec<&Value> {
                match (step, value) {
                    (Step::Member(name), Value::Object(members)) => members.get(name).into_iter().collect(),
                    (Step::Index(index), Value::Array(items)) => items.get(*index).into_iter().collect(),
                    (Step::Each, Value::Array(items)) => items.iter().collect(),
                    (Step::Each, Value::Object(members)) => members.values().collect(),
                    _ => Vec::new(),
                }
            })
            .collect();
    }
    found
}

fn compare(value: &Value, operator: Operator, operand: &Operand) -> bool {
    match operand {
        Operand::Number(wanted) => {
            let Some(number) = value.as_f64() else { return false };
            match operator {
                Operator::Equal => number == *wanted,
                Operator::NotEqual => number != *wanted,
                Operator::Less => number < *wanted,
                Operator::LessEqual => number <= *wanted,
                Operator::Greater => number > *wanted,
                Operator::GreaterEqual => number >= *wanted,
            }
        }
        Operand::Text(wanted) => {
            let equal = match value {
                Value::String(text) => wildcard(wanted, text),
                Value::Number(number) => wildcard(wanted, &number.to_string()),
                Value::Bool(flag) => wildcard(wanted, if *flag { "true" } else { "false" }),
                Value::Null | Value::Array(_) | Value::Object(_) => return false,
            };
            match operator {
                Operator::Equal => equal,
                Operator::NotEqual => !equal,
                _ => false,
            }
        }
    }
}

/// Whether `text` is `pattern`, in which each `*` stands for any text.
fn wildcard(pattern: &str, text: &str) -> bool {
    let Some((start, middle)) = pattern.split_once('*') else { return pattern == text };
    let (middle, end) = middle.rsplit_once('*').unwrap_or(("", middle));
    let Some(mut rest) = text.strip_prefix(start).and_then(|rest| rest.strip_suffix(end)) else {
        return false;
    };
    for piece in middle.split('*') {
        match rest.find(piece) {
            Some(at) => rest = rest.get(at + piece.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl Parser<'_> {
    fn any(&mut self) -> Result<Condition, String> {
        let mut parts = vec![self.all()?];
        while self.take("||") {
            parts.push(self.all()?);
        }
        Ok(single_or(parts, Condition::Any))
    }

    fn all(&mut self) -> Result<Condition, String> {
        let mut parts = vec![self.one()?];
        while self.take("&&") {
            parts.push(self.one()?);
        }
        Ok(single_or(parts, Condition::All))
    }

    fn one(&mut self) -> Result<Condition, String> {
        if !self.take("(") {
            return self.comparison();
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(wrong("too many parentheses"));
        }
        let condition = self.any()?;
        self.depth -= 1;
        if self.take(")") { Ok(condition) } else { Err(wrong("a closing parenthesis is missing")) }
    }

    fn comparison(&mut self) -> Result<Condition, String> {
        let steps = self.selector()?;
        if self.take("NOT EXISTS") {
            return Ok(Condition::NotExists(steps));
        }
        for (word, value) in
            [("IS NULL", Value::Null), ("IS TRUE", Value::Bool(true)), ("IS FALSE", Value::Bool(false))]
        {
            if self.take(word) {
                return Ok(Condition::Is(steps, value));
            }
        }
        let operators = [
            ("!=", Operator::NotEqual),
            ("<=", Operator::LessEqual),
            (">=", Operator::GreaterEqual),
            ("=", Operator::Equal),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ];
        let operator = operators.into_iter().find(|(sign, _)| self.take(sign));
        let (_, operator) = operator.ok_or_else(|| wrong("an operator is missing"))?;
        let operand = self.operand()?;
        let is_order = !matches!(operator, Operator::Equal | Operator::NotEqual);
        if is_order && matches!(operand, Operand::Text(_)) {
            return Err(wrong("only numbers can be compared by size"));
        }
        Ok(Condition::Compare(steps, operator, operand))
    }

    fn selector(&mut self) -> Result<Vec<Step>, String> {
        if !self.take("$") {
            return Err(wrong("a selector must start with '$'"));
        }
        let mut steps = Vec::new();
        loop {
            if let Some(rest) = self.rest.strip_prefix(".[").or_else(|| self.rest.strip_prefix('[')) {
                let (inside, after) =
                    rest.split_once(']').ok_or_else(|| wrong("a closing bracket is missing"))?;
                self.rest = after;
                steps.push(bracket(inside.trim())?);
            } else if let Some(rest) = self.rest.strip_prefix('.') {
                let is_name = |char: char| char.is_alphanumeric() || matches!(char, '_' | '-' | '@' | '*');
                let end = rest.find(|char| !is_name(char)).unwrap_or(rest.len());
                let (name, after) = rest.split_at(end);
                steps.push(match name {
                    "" => return Err(wrong("a name is missing after '.'")),
                    "*" => Step::Each,
                    name => Step::Member(name.to_owned()),
                });
                self.rest = after;
            } else {
                return Ok(steps);
            }
        }
    }

    fn operand(&mut self) -> Result<Operand, String> {
        self.space();
        if let Some(quoted) = self.rest.strip_prefix('"') {
            let (text, after) = quoted_text(quoted).ok_or_else(|| wrong("a quotation mark is missing"))?;
            self.rest = after;
            return Ok(Operand::Text(text));
        }
        if self.rest.starts_with('%') {
            return Err(NO_REGEX.to_owned());
        }
        let is_word =
            |char: char| char.is_alphanumeric() || matches!(char, '_' | '-' | '+' | '.' | '*' | ':' | '/');
        let end = self.rest.find(|char| !is_word(char)).unwrap_or(self.rest.len());
        let (word, after) = self.rest.split_at(end);
        self.rest = after;
        if word.is_empty() {
            return Err(wrong("a value is missing"));
        }
        let looks_like_number =
            word.starts_with(|char: char| char.is_ascii_digit() || matches!(char, '-' | '+' | '.'));
        match word.parse::<f64>() {
            Ok(number) if looks_like_number => Ok(Operand::Number(number)),
            _ => Ok(Operand::Text(word.to_owned())),
        }
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes a word or sign if it comes next.
    fn take(&mut self, what: &str) -> bool {
        let mut rest = self.rest.trim_start();
        for (at, word) in what.split(' ').enumerate() {
            let text = if at == 0 { rest } else { rest.trim_start() };
            match text.strip_prefix(word) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        self.rest = rest;
        true
    }
}

fn bracket(inside: &str) -> Result<Step, String> {
    let unquoted = |quote: char| inside.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    if let Some(name) = unquoted('\'').or_else(|| unquoted('"')) {
        return Ok(Step::Member(name.to_owned()));
    }
    if inside == "*" {
        return Ok(Step::Each);
    }
    inside.parse().map(Step::Index).map_err(|_| wrong(&format!("'[{inside}]' is no index")))
}

fn single_or(mut parts: Vec<Condition>, many: impl FnOnce(Vec<Condition>) -> Condition) -> Condition {
    match (parts.len(), parts.pop()) {
        (1, Some(part)) => part,
        (_, last) => {
            parts.extend(last);
            many(parts)
        }
    }
}

fn wrong(what: &str) -> String {
    format!("Invalid filter pattern: {what}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"level":"ERROR","took":120.5,"ok":true,"none":null,"user":{"id":"u-1","na.me":"x"},
        "tags":["a","b"],"items":[{"n":1},{"n":2}],"ip":"10.1.2.3"}"#;

    fn holds(pattern: &str) -> bool {
        Condition::parse(pattern).unwrap().holds(&serde_json::from_str(EVENT).unwrap())
    }

    #[test]
    fn compares_selected_values() {
        for pattern in [
            "{ $.level = \"ERROR\" }",
            "{$.level=ERROR}",
            "{ $.level != INFO }",
            "{ $.took > 100 }",
            "{ $.took >= 1.205e2 && $.took <= 120.5 }",
            "{ $.user.id = u-1 }",
            "{ $.user['na.me'] = x }",
            "{ $.['level'] = ERROR }",
            "{ $.tags[1] = b }",
            "{ $.items[*].n = 2 }",
            "{ $.ip = 10.1.* }",
            "{ $.ip = \"10.*.3\" }",
            "{ $.ip = \"*\" }",
            "{ $.ok IS TRUE }",
            "{ $.none IS  NULL }",
            "{ $.missing NOT EXISTS }",
            "{ ($.level = INFO || $.took > 1) && $.ok IS TRUE }",
            "{ $.level = INFO && $.took > 1 || $.ok IS TRUE }",
        ] {
            assert!(holds(pattern), "{pattern}");
        }
        for pattern in [
            "{ $.level = error }",
            "{ $.level > 1 }",
            "{ $.missing = x }",
            "{ $.missing != x }",
            "{ $.took < 120.5 }",
            "{ $.ok IS FALSE }",
            "{ $.missing IS NULL }",
            "{ $.none NOT EXISTS }",
            "{ $.tags[2] = b }",
            "{ $.ip = \"10.*.30\" }",
            "{ $.ip = \"10.1.2.3*3\" }",
        ] {
            assert!(!holds(pattern), "{pattern}");
        }
    }

    #[test]
    fn refuses_bad_syntax() {
        for pattern in [
            "{",
            "{}",
            "{ level = x }",
            "{ $.a }",
            "{ $.a = }",
            "{ $.a > x }",
            "{ ($.a = 1 }",
            "{ $.a = 1 } x",
        ] {
            assert!(
                Condition::parse(pattern).unwrap_err().starts_with("Invalid filter pattern"),
                "{pattern}"
            );
        }
        assert_eq!(Condition::parse("{ $.a = %x% }").unwrap_err(), NO_REGEX);
        let deep = format!("{{{}$.a = 1{}}}", "(".repeat(40), ")".repeat(40));
        assert!(Condition::parse(&deep).is_err());
    }
}
