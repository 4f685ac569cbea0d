//! What strangers' bytes reach first, each as a function of a byte string that must neither panic nor break
//! what it promises.
//!
//! `fuzz/run` drives all targets for a few seconds each with [`mutate`] on the stable toolchain, as CI does;
//! `fuzz/run TARGET SECONDS` drives one for longer. With a nightly toolchain and cargo-fuzz,
//! `cargo +nightly fuzz run --fuzz-dir fuzz/libfuzzer TARGET` lets coverage lead the way.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken promise is to panic"
)]

pub mod mutate;

#[path = "targets/channel.rs"]
pub mod channel;
#[path = "targets/event_pattern.rs"]
pub mod event_pattern;
#[path = "targets/filter_pattern.rs"]
pub mod filter_pattern;
#[path = "targets/http.rs"]
pub mod http;
#[path = "targets/log_output.rs"]
pub mod log_output;
#[path = "targets/runtime_api.rs"]
pub mod runtime_api;
#[path = "targets/zip.rs"]
pub mod zip;

/// A fuzz target.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Name, as on the command line.
    pub name: &'static str,
    /// Takes one input; panics where a promise is broken.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Pieces of text that mean something to the target.
    pub words: &'static [&'static str],
}

/// All targets.
pub const TARGETS: [Target; 7] = [
    Target { name: "http", run: http::run, seeds: http::seeds, words: http::WORDS },
    Target { name: "zip", run: zip::run, seeds: zip::seeds, words: zip::WORDS },
    Target { name: "channel", run: channel::run, seeds: channel::seeds, words: channel::WORDS },
    Target {
        name: "runtime_api",
        run: runtime_api::run,
        seeds: runtime_api::seeds,
        words: runtime_api::WORDS,
    },
    Target { name: "log_output", run: log_output::run, seeds: log_output::seeds, words: log_output::WORDS },
    Target {
        name: "filter_pattern",
        run: filter_pattern::run,
        seeds: filter_pattern::seeds,
        words: filter_pattern::WORDS,
    },
    Target {
        name: "event_pattern",
        run: event_pattern::run,
        seeds: event_pattern::seeds,
        words: event_pattern::WORDS,
    },
];

/// Runs a future to its end, at most for ten seconds: nothing here waits for anything but its input.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    }
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            tokio::time::timeout(std::time::Duration::from_secs(10), future).await.expect("the target hangs")
        })
    })
}
