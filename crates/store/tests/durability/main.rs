//! What was acknowledged stays: after `kill -9`, after a power cut at any moment, on a full disk.
//!
//! A child process (this program again) writes and reports each acknowledgement on its standard output.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

mod child;
mod disk;
mod trace;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use disk::{Chance, Disk};

/// A folder in memory if the machine has one.
fn fast_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Makes a command that runs this program as a child.
fn as_child(mut command: Command, mode: &str, folder: &Path) -> Command {
    command.args(["--exact", "child_process", "--nocapture", "--test-threads=1"]);
    command.env(child::MODE, mode).env(child::FOLDER, folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// The child's side; nothing when it runs as one of the tests.
#[test]
fn child_process() {
    if let Ok(mode) = std::env::var(child::MODE) {
        child::run(&mode, Path::new(&std::env::var_os(child::FOLDER).unwrap()));
    }
}

#[test]
fn survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut acknowledged = BTreeSet::new();
    let mut chance = Chance::new(9);
    for round in 0..8 {
        let program = Command::new(std::env::current_exe().unwrap());
        let mut child = as_child(program, &format!("endless {round}"), &data).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, acks) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some(ack) = line.strip_prefix(child::ACK) {
                    sender.send(ack.to_owned()).unwrap();
                }
            }
        });
        // It is killed in the middle of its work, at some number of answers.
        for _ in 0..=chance.below(80) {
            acknowledged.insert(acks.recv_timeout(Duration::from_secs(60)).unwrap());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        reader.join().unwrap();
        acknowledged.extend(acks.try_iter());
        child::check(&data, &acknowledged).unwrap();
    }
    println!("{} acknowledgements outlived 8 kills", acknowledged.len());
}

#[test]
fn survives_a_power_cut_at_any_moment() {
    let folder = fast_folder();
    let data = folder.path().join("data");
    let log = folder.path().join("trace");
    let mut strace = Command::new("strace");
    strace.args(trace::OPTIONS).arg("-o").arg(&log).arg(std::env::current_exe().unwrap());
    let run = match as_child(strace, "once", &data).output() {
        Ok(run) => run,
        Err(error) => {
            eprintln!("SKIPPED survives_a_power_cut_at_any_moment: strace can't be run: {error}");
            return;
        }
    };
    if !run.status.success() {
        let reason = String::from_utf8_lossy(&run.stderr);
        assert!(reason.contains("ptrace"), "child failed: {reason}");
        eprintln!("SKIPPED survives_a_power_cut_at_any_moment: strace may not trace: {reason}");
        return;
    }
    let steps = trace::read(&log, &data);
    let acks = steps.iter().filter(|step| matches!(step, trace::Step::Ack(_))).count();
    assert!(acks > 100, "{acks} acknowledgements in the trace");

    let mut chance = Chance::new(5);
    let mut disk = Disk::new(&data);
    let mut acknowledged = BTreeSet::new();
    let (mut cuts, mut syncs) = (0, 0);
    for (n, step) in steps.iter().enumerate() {
        // Two are reported for a commit; the power goes after the second.
        let ack = match step {
            trace::Step::Ack(ack) => acknowledged.insert(ack.clone()) && !ack.starts_with("record"),
            _ => false,
        };
        syncs += usize::from(disk.apply(step));
        // The power goes just after an answer, or somewhere else.
        if ack || chance.below(40) == 0 {
            let only_synced = ack || chance.below(2) == 0;
            let after = folder.path().join("after");
            disk.write_out(&after, if only_synced { None } else { Some(&mut chance) });
            if let Err(reason) = child::check(&after, &acknowledged) {
                panic!("power cut after step {n} (only what was synced: {only_synced}): {reason}");
            }
            std::fs::remove_dir_all(&after).unwrap();
            cuts += 1;
        }
    }
    println!("{acks} acknowledgements, {syncs} syncs, {} steps, {cuts} power cuts", steps.len());

    // The same trace without its syncs must fail, or the test shows nothing.
    let mut disk = Disk::new(&data);
    for step in steps.iter().filter(|step| !matches!(step, trace::Step::Synced { .. })) {
        disk.apply(step);
    }
    let after = folder.path().join("after");
    disk.write_out(&after, None);
    child::check(&after, &acknowledged).unwrap_err();
}

#[test]
fn goes_on_after_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    // A small file system in a mount namespace of its own; it ends with the child.
    let script = r#"mount -t tmpfs -o size=3m lambkin-test "$0" && exec "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(folder.path()).arg(std::env::current_exe().unwrap());
    let run = match as_child(command, "full", folder.path()).output() {
        Ok(run) => run,
        Err(error) => {
            eprintln!("SKIPPED goes_on_after_a_full_disk: unshare can't be run: {error}");
            return;
        }
    };
    let reason = String::from_utf8_lossy(&run.stderr);
    if !run.status.success() && (reason.contains("unshare:") || reason.contains("mount:")) {
        eprintln!("SKIPPED goes_on_after_a_full_disk: needs root: {reason}");
        return;
    }
    assert!(run.status.success(), "{}{reason}", String::from_utf8_lossy(&run.stdout));
}
