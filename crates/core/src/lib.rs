//! Lambkin's domain words and the traits between its parts.
//!
//! Nothing here does I/O. The store traits are implemented by crate `store`, [`invoke::Invoker`] by crate
//! `engine`; services are written against them.

pub mod blobs;
pub mod clock;
pub mod concurrency;
pub mod credentials;
pub mod event_pattern;
pub mod function;
pub mod ids;
pub mod invoke;
pub mod logs;
pub mod metadata;

pub use clock::{Clock, SystemClock};
pub use function::FunctionSpec;
