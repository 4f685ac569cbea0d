//! Real sandboxes on this host. Needs root; prints why and passes if it is not. `rootless` runs the same tests
//! again as an ordinary user.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests"
)]

mod isolation;
mod lifecycle;
mod limits;
mod loss;
mod network;
mod plain;
mod rootless;
mod support;
mod zygote;
