//! What tests of several modules share.

use std::path::Path;
use std::time::Duration;

use lambkin_core::function::{FunctionSpec, LogFormat};
use lambkin_core::ids::Scope;

/// A function with AWS's default limits.
pub(crate) fn spec(runtime: &str, code: &Path) -> FunctionSpec {
    FunctionSpec {
        scope: Scope::new("000000000000", "us-east-1"),
        name: "hello".into(),
        version: "$LATEST".into(),
        revision: "revision-1".into(),
        runtime: runtime.into(),
        handler: "app.handler".into(),
        code: code.into(),
        layers: Vec::new(),
        environment: [].into(),
        memory_mb: 128,
        ephemeral_storage_mb: 512,
        timeout: Duration::from_secs(3),
        log_group: "/aws/lambda/hello".into(),
        log_format: LogFormat::Text,
        application_log_level: String::new(),
        role: "arn:aws:iam::000000000000:role/r".into(),
    }
}
