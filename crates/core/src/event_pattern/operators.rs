//! What a value in an event is compared with.

use std::net::IpAddr;

use serde_json::{Number, Value};

/// A test that a value passes or not. What is made for text is never passed by anything else.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    /// The value is there.
    Exists,
    /// The same null, boolean, number or text.
    Equal(Value),
    Text(Text),
    /// A number in a range.
    Numeric(Range),
    /// An IP address in a network.
    Cidr(Network),
    /// Passes none of these.
    AnythingBut(Vec<Test>),
}

/// A test of a text. Those that ignore case hold their text in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Text {
    EqualIgnoringCase(String),
    Prefix(String),
    PrefixIgnoringCase(String),
    Suffix(String),
    SuffixIgnoringCase(String),
    Wildcard(Wildcard),
}

/// Numbers between two bounds, each of which may belong to the range or not.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Range {
    pub(super) low: Option<Bound>,
    pub(super) high: Option<Bound>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bound {
    pub(super) value: f64,
    pub(super) belongs: bool,
}

/// The addresses that share the first bits with one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    pub(super) address: IpAddr,
    pub(super) bits: u32,
}

/// The texts around the asterisks, of which there is one less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wildcard {
    pub(super) first: String,
    /// Those after an asterisk; the last one ends the text.
    pub(super) rest: Vec<String>,
}

impl Test {
    pub(super) fn passes(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Exists, _) => true,
            (Self::Equal(Value::Number(wanted)), Value::Number(number)) => same_number(wanted, number),
            (Self::Equal(wanted), value) => wanted == value,
            (Self::Text(test), Value::String(text)) => test.passes(text),
            (Self::Numeric(range), Value::Number(number)) => {
                number.as_f64().is_some_and(|number| range.contains(number))
            }
            (Self::Cidr(network), Value::String(text)) => {
                text.parse().is_ok_and(|address| network.contains(address))
            }
            (Self::AnythingBut(tests), value) => !tests.iter().any(|test| test.passes(value)),
            _ => false,
        }
    }
}

impl Text {
    fn passes(&self, text: &str) -> bool {
        match self {
            Self::EqualIgnoringCase(wanted) => text.to_lowercase() == *wanted,
            Self::Prefix(start) => text.starts_with(start),
            Self::PrefixIgnoringCase(start) => text.to_lowercase().starts_with(start),
            Self::Suffix(end) => text.ends_with(end),
            Self::SuffixIgnoringCase(end) => text.to_lowercase().ends_with(end),
            Self::Wildcard(wildcard) => wildcard.passes(text),
        }
    }
}

impl Range {
    fn contains(&self, number: f64) -> bool {
        let above = |low: Bound| number > low.value || low.belongs && number == low.value;
        let below = |high: Bound| number < high.value || high.belongs && number == high.value;
        self.low.is_none_or(above) && self.high.is_none_or(below)
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = u32::from(network) ^ u32::from(address);
                differing.leading_zeros() >= self.bits
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = u128::from(network) ^ u128::from(address);
                differing.leading_zeros() >= self.bits
            }
            _ => false,
        }
    }
}

impl Wildcard {
    fn passes(&self, text: &str) -> bool {
        let Some((last, middle)) = self.rest.split_last() else { return *text == self.first };
        let Some(mut text) = text.strip_prefix(&*self.first).and_then(|text| text.strip_suffix(&**last))
        else {
            return false;
        };
        // The earliest place for each text leaves most room for the others.
        for wanted in middle {
            match text.split_once(&**wanted) {
                Some((_, after)) => text = after,
                None => return false,
            }
        }
        true
    }
}

/// Numbers are the same by value, however written; whole ones beyond what an `f64` holds are compared digit by digit.
fn same_number(one: &Number, other: &Number) -> bool {
    if one.is_f64() || other.is_f64() { one.as_f64() == other.as_f64() } else { one == other }
}
