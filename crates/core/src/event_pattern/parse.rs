//! Reading patterns.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::operators::{Bound, Network, Range, Test, Text, Wildcard};
use super::{Dialect, Fields, Leaf, Node, Pattern};

/// Numbers of `numeric` and `anything-but` lie between this and its negative.
const LARGEST: f64 = 5e9;

/// Most ways in which the choices of all `$or` can be combined.
const MAX_COMBINATIONS: usize = 1000;

/// Names that a field may not have inside `$or`: a pattern that has them there was meant as something else.
const RESERVED_IN_OR: &[&str] = &[
    "exactly",
    "equals-ignore-case",
    "prefix",
    "suffix",
    "anything-but",
    "exists",
    "wildcard",
    "numeric",
    "cidr",
    "=",
    "<",
    "<=",
    ">",
    ">=",
    "regex",
    "not-wildcard",
    "not-equals-ignore-case",
    "date-after",
    "date-on-or-after",
    "date-before",
    "date-on-or-before",
    "in-date-range",
    "ip-address-in-range",
    "ip-address-not-in-range",
];

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Not JSON.
    #[error("Filter is not valid JSON: {0}")]
    Json(String),
    /// Some other JSON value than an object.
    #[error("Filter is not an object")]
    NotAnObject,
    /// `{}` in the pattern.
    #[error("Empty objects are not allowed")]
    EmptyObject,
    /// `[]` in the pattern.
    #[error("Empty arrays are not allowed")]
    EmptyArray,
    /// The value of a field.
    #[error("\"{0}\" must be an object or an array")]
    NeitherObjectNorArray(String),
    /// An array in a field's array.
    #[error("Match value must be String, number, true, false, or null")]
    NestedArray,
    /// `{}` among the values.
    #[error("Match expression name not found")]
    NoOperator,
    /// An operator beside another.
    #[error("Only one key allowed in match expression")]
    SeveralOperators,
    /// No such operator, or not in this dialect.
    #[error("Unrecognized match type {0}")]
    UnknownOperator(String),
    /// The operand of a text operator.
    #[error("{0} match pattern must be a string")]
    NotText(&'static str),
    /// The operand of `exists`.
    #[error("exists match pattern must be either true or false.")]
    NotBoolean,
    /// The operand of `numeric`.
    #[error("{0}")]
    Numeric(String),
    /// The operand of `anything-but`.
    #[error("{0}")]
    AnythingBut(String),
    /// The operand of `cidr`.
    #[error("Malformed CIDR: {0}")]
    Cidr(String),
    /// The operand of `wildcard`.
    #[error("{0}")]
    Wildcard(String),
    /// `$or`.
    #[error("{0}")]
    Or(String),
}

pub(super) fn parse(text: &str, dialect: Dialect) -> Result<Pattern, PatternError> {
    let value = serde_json::from_str(text).map_err(|error| PatternError::Json(error.to_string()))?;
    let Value::Object(object) = value else { return Err(PatternError::NotAnObject) };
    let mut reader = Reader { dialect, path: Vec::new(), absences: Vec::new() };
    let root = reader.fields(&object, false)?;
    if combinations(&root) > MAX_COMBINATIONS {
        return Err(PatternError::Or(format!(
            "More than {MAX_COMBINATIONS} combinations by $or are not allowed"
        )));
    }
    Ok(Pattern { root, absences: reader.absences })
}

/// In how many ways the choices of `$or` can be combined.
fn combinations(fields: &Fields) -> usize {
    let nested = fields.all.iter().map(|(_, node)| match node {
        Node::Object(fields) => combinations(fields),
        Node::Leaf(_) => 1,
    });
    let choices = fields.one_of_each.iter().map(|choices| choices.iter().map(combinations).sum());
    nested.chain(choices).fold(1, usize::saturating_mul)
}

struct Reader {
    dialect: Dialect,
    path: Vec<String>,
    absences: Vec<Vec<String>>,
}

impl Reader {
    fn fields(&mut self, object: &Map<String, Value>, in_or: bool) -> Result<Fields, PatternError> {
        if object.is_empty() {
            return Err(PatternError::EmptyObject);
        }
        let mut fields = Fields::default();
        for (name, value) in object {
            if name == "$or" {
                fields.one_of_each.push(self.choices(value)?);
                continue;
            }
            if in_or && RESERVED_IN_OR.contains(&&**name) {
                let text = format!("{name} is Ruler reserved fieldName which cannot be used inside $or.");
                return Err(PatternError::Or(text));
            }
            self.path.push(name.clone());
            let node = match value {
                Value::Object(object) => Node::Object(self.fields(object, in_or)?),
                Value::Array(values) => Node::Leaf(self.leaf(values)?),
                _ => return Err(PatternError::NeitherObjectNorArray(name.clone())),
            };
            self.path.pop();
            fields.all.push((name.clone(), node));
        }
        Ok(fields)
    }

    fn choices(&mut self, value: &Value) -> Result<Vec<Fields>, PatternError> {
        let or = |text: &str| PatternError::Or(text.to_owned());
        let Value::Array(choices) = value else { return Err(or("It must be an Array followed with $or.")) };
        let read = choices.iter().map(|choice| match choice {
            Value::Object(object) => self.fields(object, true),
            _ => Err(or("Only JSON object is allowed in array of $or relationship.")),
        });
        let read: Vec<Fields> = read.collect::<Result<_, _>>()?;
        match read.len() {
            0 | 1 => Err(or("There must have at least 2 Objects in $or relationship.")),
            _ => Ok(read),
        }
    }

    fn leaf(&mut self, values: &[Value]) -> Result<Leaf, PatternError> {
        if values.is_empty() {
            return Err(PatternError::EmptyArray);
        }
        let mut leaf = Leaf::default();
        for value in values {
            match value {
                Value::Array(_) => return Err(PatternError::NestedArray),
                Value::Object(object) => match (self.operator(object)?, leaf.absent) {
                    (Some(test), _) => leaf.tests.push(test),
                    (None, None) => {
                        leaf.absent = Some(self.absences.len());
                        self.absences.push(self.path.clone());
                    }
                    (None, Some(_)) => {}
                },
                scalar => leaf.tests.push(Test::Equal(scalar.clone())),
            }
        }
        Ok(leaf)
    }

    /// Reads `{OPERATOR: OPERAND}`; none stands for absence.
    fn operator(&self, object: &Map<String, Value>) -> Result<Option<Test>, PatternError> {
        let (name, operand) = single(object)?;
        let everywhere = self.dialect == Dialect::EventBus;
        let test = match name {
            "exists" => match operand {
                Value::Bool(true) => Test::Exists,
                Value::Bool(false) => return Ok(None),
                _ => return Err(PatternError::NotBoolean),
            },
            "exactly" => Test::Equal(Value::String(text(operand, "exact")?.to_owned())),
            "prefix" => Test::Text(match ignoring_case(operand, "prefix")? {
                Some(start) => Text::PrefixIgnoringCase(start),
                None => Text::Prefix(text(operand, "prefix")?.to_owned()),
            }),
            "suffix" => Test::Text(match ignoring_case(operand, "suffix")? {
                Some(end) => Text::SuffixIgnoringCase(end),
                None => Text::Suffix(text(operand, "suffix")?.to_owned()),
            }),
            "equals-ignore-case" => {
                let wanted = text(operand, "equals-ignore-case")?.to_lowercase();
                Test::Text(Text::EqualIgnoringCase(wanted))
            }
            "numeric" => Test::Numeric(numeric(operand)?),
            "anything-but" => Test::AnythingBut(anything_but(operand, self.dialect)?),
            "wildcard" if everywhere => Test::Text(Text::Wildcard(wildcard(text(operand, "wildcard")?)?)),
            "cidr" if everywhere => Test::Cidr(cidr(text(operand, "cidr")?)?),
            other => return Err(PatternError::UnknownOperator(other.to_owned())),
        };
        Ok(Some(test))
    }
}

/// The one member of an object.
fn single(object: &Map<String, Value>) -> Result<(&str, &Value), PatternError> {
    let mut members = object.iter();
    let (name, value) = members.next().ok_or(PatternError::NoOperator)?;
    if members.next().is_some() { Err(PatternError::SeveralOperators) } else { Ok((name, value)) }
}

fn text<'a>(operand: &'a Value, operator: &'static str) -> Result<&'a str, PatternError> {
    operand.as_str().ok_or(PatternError::NotText(operator))
}

/// The text of `{"equals-ignore-case": TEXT}` in lower case, if the operand is such an object.
fn ignoring_case(operand: &Value, operator: &'static str) -> Result<Option<String>, PatternError> {
    let Value::Object(object) = operand else { return Ok(None) };
    match single(object)? {
        ("equals-ignore-case", operand) => Ok(Some(text(operand, "equals-ignore-case")?.to_lowercase())),
        _ => Err(PatternError::NotText(operator)),
    }
}

fn numeric(operand: &Value) -> Result<Range, PatternError> {
    let refused = |text: String| PatternError::Numeric(text);
    let Value::Array(terms) = operand else {
        return Err(refused("Value of numeric must be an array.".to_owned()));
    };
    let (operator, first, rest) = match terms.as_slice() {
        [Value::String(operator), first, rest @ ..] => (&**operator, first, rest),
        [Value::String(operator)] => return Err(refused(format!("Value of {operator} must be numeric"))),
        [other, ..] => return Err(refused(format!("Invalid member in numeric match: {other}"))),
        [] => return Err(refused("Invalid member in numeric match: ]".to_owned())),
    };
    let name = if operator == "=" { "equals" } else { operator };
    let number = |operator: &str, value: &Value| {
        let number = value.as_f64().ok_or_else(|| refused(format!("Value of {operator} must be numeric")))?;
        match number.abs() <= LARGEST {
            true => Ok(number),
            false => Err(refused("Value must be between -5.0E9 and 5.0E9, inclusive".to_owned())),
        }
    };
    let bound = |belongs| Ok(Some(Bound { value: number(name, first)?, belongs }));
    let low = match operator {
        "=" => return alone(Range { low: bound(true)?, high: bound(true)? }, rest),
        "<=" => return alone(Range { low: None, high: bound(true)? }, rest),
        "<" => return alone(Range { low: None, high: bound(false)? }, rest),
        ">=" => bound(true)?,
        ">" => bound(false)?,
        other => return Err(refused(format!("Unrecognized numeric range operator: {other}"))),
    };
    let (operator, second, rest) = match rest {
        [] => return Ok(Range { low, high: None }),
        [Value::String(operator), second, rest @ ..] => (&**operator, second, rest),
        [Value::String(operator)] => return Err(refused(format!("Value of {operator} must be numeric"))),
        [other, ..] => return Err(refused(format!("Bad value in numeric range: {other}"))),
    };
    let belongs = match operator {
        "<=" => true,
        "<" => false,
        other => return Err(refused(format!("Bad numeric range operator: {other}"))),
    };
    let high = number(operator, second)?;
    if !rest.is_empty() {
        return Err(refused("Too many terms in numeric range expression".to_owned()));
    }
    if low.is_some_and(|low| low.value >= high) {
        return Err(refused("Bottom must be less than top".to_owned()));
    }
    Ok(Range { low, high: Some(Bound { value: high, belongs }) })
}

fn alone(range: Range, rest: &[Value]) -> Result<Range, PatternError> {
    match rest {
        [] => Ok(range),
        _ => Err(PatternError::Numeric("Too many elements in numeric expression".to_owned())),
    }
}

/// What values may not be.
fn anything_but(operand: &Value, dialect: Dialect) -> Result<Vec<Test>, PatternError> {
    let refused = |text: &str| PatternError::AnythingBut(text.to_owned());
    let unsupported =
        |name: &str| PatternError::AnythingBut(format!("Unsupported anything-but pattern: {name}"));
    if let Value::Object(object) = operand {
        let (name, operand) = single(object)?;
        if dialect != Dialect::EventBus {
            return Err(unsupported(name));
        }
        let test: fn(&str) -> Result<Text, PatternError> = match name {
            "prefix" => |text| affix(text).map(Text::Prefix),
            "suffix" => |text| affix(text).map(Text::Suffix),
            "equals-ignore-case" => |text| Ok(Text::EqualIgnoringCase(text.to_lowercase())),
            "wildcard" => |text| wildcard(text).map(Text::Wildcard),
            other => return Err(unsupported(other)),
        };
        let texts = match operand {
            Value::Array(texts) if !texts.is_empty() => texts.as_slice(),
            single => std::slice::from_ref(single),
        };
        let not_text = || refused("Inside anything-but, the values of a match expression must be strings");
        return texts
            .iter()
            .map(|text| text.as_str().ok_or_else(not_text).and_then(test).map(Test::Text))
            .collect();
    }
    let values = match operand {
        Value::Array(values) => values.as_slice(),
        Value::String(_) | Value::Number(_) => std::slice::from_ref(operand),
        _ => return Err(refused("Value of anything-but must be an array or single string/number value.")),
    };
    if !values.iter().all(|value| value.is_string() || value.is_number()) {
        return Err(refused("Inside anything but list, start|null|boolean is not supported."));
    }
    let is_number = values.first().map(Value::is_number);
    if is_number.is_none() || values.iter().any(|value| Some(value.is_number()) != is_number) {
        let text =
            "Inside anything but list, either all values are number or string, mixed type is not supported";
        return Err(refused(text));
    }
    if values.iter().filter_map(Value::as_f64).any(|number| number.abs() > LARGEST) {
        return Err(refused("Value must be between -5.0E9 and 5.0E9, inclusive"));
    }
    Ok(values.iter().map(|value| Test::Equal(value.clone())).collect())
}

fn affix(text: &str) -> Result<String, PatternError> {
    match text {
        "" => Err(PatternError::AnythingBut("Null prefix/suffix not allowed".to_owned())),
        text => Ok(text.to_owned()),
    }
}

fn cidr(text: &str) -> Result<Network, PatternError> {
    let malformed = || PatternError::Cidr(text.to_owned());
    let (address, bits) = text.split_once('/').ok_or_else(malformed)?;
    let address: IpAddr = address.parse().map_err(|_| malformed())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.parse().ok().filter(|bits| *bits <= most).ok_or_else(malformed)?;
    Ok(Network { address, bits })
}

/// `*` stands for any text; `\*` and `\\` for the characters themselves.
fn wildcard(text: &str) -> Result<Wildcard, PatternError> {
    let mut parts = vec![String::new()];
    let mut characters = text.char_indices();
    let mut after_asterisk = false;
    while let Some((place, character)) = characters.next() {
        let literal = match character {
            '*' if after_asterisk => {
                return Err(PatternError::Wildcard(format!(
                    "Consecutive wildcard characters at pos {}",
                    place - 1
                )));
            }
            '*' => None,
            '\\' => match characters.next() {
                Some((_, escaped @ ('*' | '\\'))) => Some(escaped),
                _ => return Err(PatternError::Wildcard(format!("Invalid escape character at pos {place}"))),
            },
            other => Some(other),
        };
        after_asterisk = literal.is_none();
        match (literal, parts.last_mut()) {
            (Some(literal), Some(part)) => part.push(literal),
            _ => parts.push(String::new()),
        }
    }
    let mut parts = parts.into_iter();
    Ok(Wildcard { first: parts.next().unwrap_or_default(), rest: parts.collect() })
}
