//! Sandboxes: Linux processes shut off from the host by namespaces, cgroups and seccomp.
//!
//! The only crate with `unsafe`. It knows nothing of AWS; crate `engine` says what to run.

pub mod spec;

pub use spec::{BindMount, ExitStatus, SandboxSpec, Usage};
