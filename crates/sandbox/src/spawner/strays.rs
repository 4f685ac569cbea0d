//! Processes of plain sandboxes whose init was killed before it could end them. The spawner has adopted them.

use std::collections::HashSet;

use crate::members;
use crate::sys::process;

/// How often they are looked for: those that are killed leave their children.
const ROUNDS: usize = 2000;

/// Ends all children of this process but `inits`.
pub(super) fn end(inits: &HashSet<i32>) {
    for _ in 0..ROUNDS {
        let children = members::own_children().unwrap_or_default();
        let strays: Vec<i32> = children.into_iter().filter(|pid| !inits.contains(pid)).collect();
        if strays.is_empty() {
            return;
        }
        for signal in [libc::SIGSTOP, libc::SIGKILL] {
            for pid in &strays {
                // They are not collected before, so that the number is theirs.
                let _ = process::signal_pid(*pid, signal);
            }
        }
        for pid in strays {
            let _ = process::wait_for(Some(pid));
        }
    }
}
