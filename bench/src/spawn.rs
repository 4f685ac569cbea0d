//! How long a process takes from spawn to exit.

use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::json;

use crate::Fault;

pub fn run(count: usize, program: &str, arguments: &[&str]) -> Result<(), Fault> {
    let mut times = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        let status = Command::new(program).args(arguments).env_clear().stdin(Stdio::null()).status()?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        if !status.success() {
            return Err(format!("{program} ended with {status}").into());
        }
    }
    times.sort_by(f64::total_cmp);
    println!("{}", json!({ "p50_ms": times[count / 2], "min_ms": times[0], "max_ms": times[count - 1] }));
    Ok(())
}
