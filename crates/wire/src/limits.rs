//! Size limits of requests.

/// Limits of what the front accepts. Sizes are bytes.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Body of a Lambda `Invoke`: AWS's 6 MiB.
    pub invoke_body: usize,
    /// Body of a request that carries a deployment package: 50 MB of zip as base64, with the rest of the
    /// request.
    pub upload_body: usize,
    /// Body of every other request.
    pub body: usize,
    /// Body of a form without a signature: few operations take one, and theirs are small.
    pub unsigned_form: usize,
    /// How much of a refused body is still read, and thrown away, so that a client that writes before it
    /// reads sees the refusal instead of a reset connection.
    pub drain: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            invoke_body: 6_291_456,
            upload_body: 70_167_211,
            body: 8 << 20,
            unsigned_form: 256 << 10,
            drain: 128 << 20,
        }
    }
}

impl Limits {
    /// Limit of an operation's body and the operation's name in AWS's refusal.
    pub(crate) fn of<'a>(&self, service: &str, operation: &'a str) -> (usize, &'a str) {
        match (service, operation) {
            // AWS names the IAM action here, not the operation.
            ("lambda", "Invoke" | "InvokeAsync" | "InvokeWithResponseStream") => {
                (self.invoke_body, "InvokeFunction")
            }
            ("lambda", "CreateFunction" | "UpdateFunctionCode" | "PublishLayerVersion") => {
                (self.upload_body, operation)
            }
            _ => (self.body, operation),
        }
    }
}
