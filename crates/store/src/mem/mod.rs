//! Backends in memory: simple, nothing survives the process. They are the model of the trait contracts.

mod logs;
pub(crate) mod metadata;

pub use logs::MemLogs;
pub use metadata::MemMetadata;
