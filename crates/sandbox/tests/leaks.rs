//! Descriptors do not leak, neither in the server nor in the spawner. Alone in its process, for it counts
//! all descriptors of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    dead_code,
    reason = "tests"
)]

#[path = "it/support.rs"]
mod support;

use support::*;

fn open_files(pid: &str) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            format!("{} {}", entry.file_name().to_string_lossy(), target.display())
        })
        // The one that lists.
        .filter(|name| !name.ends_with(&format!("/proc/{pid}/fd")))
        .collect();
    names.sort();
    names
}

fn child_named(name: &str) -> String {
    let own = std::process::id().to_string();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(status) = std::fs::read_to_string(entry.path().join("status")) else { continue };
        if status.contains(&format!("PPid:\t{own}\n")) && status.contains(&format!("Name:\t{name}\n")) {
            return entry.file_name().to_string_lossy().into_owned();
        }
    }
    panic!("no child {name}");
}

async fn round(host: &Host) {
    let mut running = Vec::new();
    for number in 0..10 {
        let mut spec = shell(&format!("s{number}"), "sleep 1000");
        spec.channel = true;
        spec.listen_ports = vec![9001, 9002];
        let mut sandbox = host.create(spec).await;
        if number % 2 == 0 {
            drop(sandbox.take_output());
            drop(sandbox.take_listener(9001));
        }
        running.push(sandbox);
    }
    running[0].kill();
    drop(running);
    host.run(spec("none", &["/no/such"])).await;
    let mut wrong = shell("wrong", "true");
    wrong.working_dir = "/nowhere".to_owned();
    host.spawner.create(wrong).await.unwrap_err();
    until("all have ended", || host.spawner.stats().live == 0).await;
    host.settled().await;
}

#[tokio::test]
async fn no_descriptor_leaks() {
    let before_all = open_files("self").len();
    let Some(host) = Host::new() else { return };
    round(&host).await;
    let spawner = child_named("lambkin-spawner");
    let (ours, theirs) = (open_files("self"), open_files(&spawner));
    for _ in 0..3 {
        round(&host).await;
    }
    assert_eq!(open_files("self"), ours);
    assert_eq!(open_files(&spawner), theirs);
    host.finish().await;
    until("threads have closed theirs", || open_files("self").len() <= before_all).await;
}
