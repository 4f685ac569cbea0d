//! AWS services: implementations of the traits that crate `lambkin-model` generates.
//!
//! - [`iam::IamService`]: roles and managed policies;
//! - [`lambda::LambdaService`]: functions and their invocation;
//! - [`logs::LogsService`]: CloudWatch Logs over a [`lambkin_core::logs::LogStore`];
//! - [`sts::StsService`]: who am I;
//! - [`sessions::Sessions`]: temporary credentials, made and verified;
//! - [`authorization::Authorized`]: what a caller may do.
//!
//! Input has been decoded and validated against the model before it gets here; services check what the
//! model cannot say. Each service keeps accounts and regions apart.

pub mod authorization;
#[doc(hidden)]
pub mod fuzzing;
pub mod iam;
mod keyfile;
pub mod lambda;
pub mod logs;
mod paging;
mod policy;
pub mod sessions;
pub mod sts;
#[cfg(test)]
mod testing;
