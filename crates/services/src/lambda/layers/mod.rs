//! Layers: packages that functions share, in versions that never change.
//!
//! A layer is a counter under `ACCOUNT/REGION/NAME` and one record for each version that has not been deleted
//! (`record`); its package lies with those of functions (`super::code`). A function's configuration holds the
//! packages of its layers, not only their ARNs, so that it goes on working when a layer version is deleted.

pub(crate) mod catalogue;
mod names;
mod permissions;
mod publish;
mod read;
pub(crate) mod record;
mod usage;
