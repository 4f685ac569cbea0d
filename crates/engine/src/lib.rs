//! Runs functions: execution environments, who gets which, and the life of an invocation.
//!
//! [`Engine`] implements [`lambkin_core::invoke::Invoker`]. An invocation takes an idle environment of its
//! function version's revision, or waits for one that is let go or started meanwhile; it runs in its
//! caller's task, and goes on in one of its own if the caller hangs up. Environments that are out of
//! date, broken or idle for long are ended.
//!
//! | module | owns |
//! |---|---|
//! | `runtimes`, `layout`, `variables`, `plan` | what a sandbox for a function looks like |
//! | `environment`, `output`, `invoke`, `failure` | one environment: INIT, events, logs, how it fails |
//! | `endpoint` | the server's own APIs inside sandboxes |
//! | `ahead` | environments that are initialised ahead of invocations |
//! | `limits` | how many invocations may run at once, and how fast functions grow |
//! | `registry`, `pool`, `schedule`, `host` | which environment an invocation gets, and room on the host |
//! | `egress` | what functions may reach, their resolver, pipes to the host's loopback |
//! | `cell`, `freezer` | freezing of idle environments |

mod ahead;
mod cell;
mod config;
mod detached;
mod egress;
mod endpoint;
mod engine;
mod environment;
mod extensions;
mod failure;
mod farewell;
mod freezer;
mod host;
mod invoke;
mod layout;
mod limits;
mod output;
mod plan;
mod pool;
mod registry;
mod runtimes;
mod schedule;
mod stats;
#[cfg(test)]
mod testing;
mod trace;
mod variables;
mod zygotes;

pub use config::EngineConfig;
pub use egress::policy::{Egress, EgressError, EgressRule, EgressRules};
pub use endpoint::{EndpointAcceptor, Origin};
pub use engine::{Engine, EngineError};
pub use runtimes::survey;
pub use stats::{EngineStats, FunctionUsage};
