//! What a function may use at once, and what it is to have ready.

use std::sync::Arc;

use crate::function::FunctionSpec;

/// The concurrency of one function, all its versions together.
#[derive(Debug, Clone, Default)]
pub struct Concurrency {
    /// ReservedConcurrentExecutions: how many of its invocations may run at once. It is set aside from what the
    /// account's other functions share. `None` shares with them.
    pub reserved: Option<u32>,
    /// Published versions, and how many environments of each are to be initialised ahead of invocations. What is
    /// not named is to have none.
    pub provisioned: Vec<(Arc<FunctionSpec>, u32)>,
}

/// What has become of the environments that a version is to have initialised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Provisioned {
    /// Those that are initialised, idle or in use.
    pub allocated: u32,
    /// Why there are no more of them, if that is not for want of time: the value of `StatusReason`.
    pub failure: Option<&'static str>,
}
