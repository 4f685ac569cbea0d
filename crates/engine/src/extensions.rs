//! Extensions of an environment: their processes, and what their ends mean.

use std::future::Future;
use std::sync::Arc;

use lambkin_core::function::FunctionSpec;
use lambkin_runtime::{ExtensionError, ExtensionHost};
use lambkin_sandbox::{ExitStatus, Sandbox};

use crate::failure::Failure;
use crate::plan::Plan;

/// The external extensions of a sandbox, as processes.
pub(crate) struct Helpers {
    /// `None` where there are none.
    sandbox: Option<Arc<Sandbox>>,
    /// Ends that have been seen.
    seen: usize,
}

impl Helpers {
    /// Those of a sandbox that has `count`.
    pub(crate) fn new(sandbox: &Arc<Sandbox>, count: usize) -> Self {
        Self { sandbox: (count > 0).then(|| Arc::clone(sandbox)), seen: 0 }
    }

    /// Waits for something, or for the end of an extension.
    ///
    /// # Errors
    /// How the extension ended.
    pub(crate) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> Result<T, ExitStatus> {
        let Some(sandbox) = &self.sandbox else { return Ok(work.await) };
        tokio::select! {
            biased;
            done = work => Ok(done),
            (_, status) = sandbox.helper_end(self.seen) => {
                self.seen += 1;
                Err(status)
            }
        }
    }

    /// Waits until all of these (numbers of the plan's extensions) have ended.
    pub(crate) async fn all_ended(&mut self, mut numbers: Vec<usize>) {
        let Some(sandbox) = &self.sandbox else { return };
        let mut seen = 0;
        while !numbers.is_empty() {
            let (number, _) = sandbox.helper_end(seen).await;
            numbers.retain(|one| *one != number);
            seen += 1;
        }
    }
}

/// What extensions are told of their function.
pub(crate) fn extension_host(spec: &FunctionSpec, plan: &Plan) -> ExtensionHost {
    ExtensionHost {
        function_name: spec.name.as_ref().to_owned(),
        function_version: spec.version.as_ref().to_owned(),
        handler: spec.handler.clone(),
        account_id: spec.scope.account.as_ref().to_owned(),
        external: plan.extensions.clone(),
    }
}

/// Why an extension's report ends what goes on.
pub(crate) fn extension_failure(error: ExtensionError) -> Failure {
    if !error.reason.is_empty() {
        tracing::warn!(reason = error.reason, "extensions cannot be served");
    }
    Failure::extension_reported(error.error_type)
}
