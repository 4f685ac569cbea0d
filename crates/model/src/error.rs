//! The one error type that service code answers with; codecs write it in the protocol's shape.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// An AWS error: code, HTTP status, message and further modelled members.
///
/// Generated modules have a constructor per modelled error (`lambda::errors::resource_not_found_exception`).
#[derive(Debug, Clone, PartialEq)]
pub struct AwsError {
    /// Error code, e.g. `ResourceNotFoundException`.
    pub code: Cow<'static, str>,
    /// HTTP status.
    pub status: u16,
    /// Message for the caller.
    pub message: String,
    /// Whether the caller is to blame (`Sender`) rather than the service (`Receiver`).
    pub sender_fault: bool,
    /// Further members by member name, e.g. `Type`, `Reason`, `retryAfterSeconds`.
    pub members: Map<String, Value>,
}

impl AwsError {
    /// An error of the given code and status; 4xx is the sender's fault.
    pub fn new(code: impl Into<Cow<'static, str>>, status: u16, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            status,
            message: message.into(),
            sender_fault: (400..500).contains(&status),
            members: Map::new(),
        }
    }

    /// Adds a modelled member.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.members.insert(member.to_owned(), value.into());
        self
    }

    /// What an operation answers that the model knows and Lambkin does not have yet: 501, so that no SDK
    /// retries it.
    #[must_use]
    pub fn not_implemented(service: &str, operation: &str) -> Self {
        Self::new(
            "NotImplementedException",
            501,
            format!("Lambkin does not implement {service}:{operation} yet."),
        )
    }
}

impl std::fmt::Display for AwsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}): {}", self.code, self.status, self.message)
    }
}

impl std::error::Error for AwsError {}
