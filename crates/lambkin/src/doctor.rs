//! `lambkin doctor`: what this host can do, and what to do about what it cannot.

use std::io::Write as _;
use std::process::ExitCode;

use lambkin_sandbox::host;
use lambkin_services::authorization::SESSION_ACTIONS;

/// Prints the report; fails if functions cannot run in a sandbox here.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    let checks = host::probe();
    writeln!(out, "Sandbox")?;
    for check in &checks {
        let mark = match (check.ok, check.required) {
            (true, _) => "ok     ",
            (false, true) => "MISSING",
            (false, false) => "absent ",
        };
        writeln!(out, "  {mark}  {:<22} {}", check.name, check.detail)?;
        if !check.ok && !check.advice.is_empty() {
            writeln!(out, "           -> {}", check.advice)?;
        }
    }
    writeln!(out, "\nRuntimes")?;
    for (identifier, found) in lambkin_engine::survey() {
        match found {
            Ok(description) => writeln!(out, "  ok       {identifier:<22} {description}")?,
            Err(advice) => writeln!(out, "  absent   {identifier:<22} {advice}")?,
        }
    }
    writeln!(out, "\nNot enforced yet")?;
    writeln!(
        out,
        "  identity policies: every lasting key may do everything in its account, and functions this:"
    )?;
    for actions in SESSION_ACTIONS.chunks(6) {
        writeln!(out, "           {}", actions.join(" "))?;
    }
    writeln!(out, "\nNot served yet")?;
    writeln!(
        out,
        "  function URLs, event source mappings and settings of asynchronous invocation are kept, and nothing follows \
         them"
    )?;
    let ready = checks.iter().all(|check| check.ok || !check.required);
    writeln!(out, "\n{}", if ready { "Functions can run here." } else { "Functions cannot run here yet." })?;
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
