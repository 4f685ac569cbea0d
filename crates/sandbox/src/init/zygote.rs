//! The process that becomes a zygote: it moves into a root like that of sandboxes, keeps what it needs of its
//! rights, and executes the zygote's command. See `docs/internals/zygote.md`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::{ExitOnUnwind, PARKED_FDS, Program, UMASK, root, set_limits};
use crate::error::{Context, SandboxError};
use crate::spec::SandboxSpec;
use crate::sys::{self, process};

/// Namespaces that a zygote is cloned into. It forks into the pid namespaces of sandboxes, and enters their
/// user namespaces, from where it is.
pub(crate) const CLONE_NAMESPACES: i32 =
    libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;

/// What entering a sandbox takes: groups, users, a root, limits, namespaces.
const CAPABILITIES: [u32; 5] = [6, 7, 18, 21, 24];

/// What such a process works with.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    /// What to execute, and in which root.
    pub(crate) spec: &'a SandboxSpec,
    /// Whether device nodes can be made; else those of the host are bound.
    pub(crate) makes_devices: bool,
    /// Requests come from here.
    pub(crate) control: BorrowedFd<'a>,
    /// Becomes stdout and stderr.
    pub(crate) output: BorrowedFd<'a>,
    /// Writing `0` into each puts the process into its cgroups.
    pub(crate) cgroup_entries: &'a [File],
}

/// Becomes a zygote. What goes wrong is written to the output.
pub(crate) fn run(input: &Input<'_>) -> ! {
    let _guard = ExitOnUnwind;
    let output = sys::duplicate_from(input.output, PARKED_FDS);
    let error = match prepare(input) {
        Ok(program) => {
            let error = process::execute(&program.path, &program.arguments, &program.environment);
            SandboxError::at("execute", &program.path.to_string_lossy(), &error)
        }
        Err(error) => error,
    };
    if let Ok(output) = output {
        use io::Write;
        let _ = File::from(output).write_all(error.to_string().as_bytes());
    }
    process::exit_now(1)
}

fn prepare(input: &Input<'_>) -> Result<Program, SandboxError> {
    process::set_name(c"lambkin-zygote");
    process::set_parent_death_signal(libc::SIGKILL).step("set parent death signal")?;
    process::new_session().step("start session")?;
    process::reset_signals().step("reset signals")?;
    process::set_dumpable(true).step("become dumpable")?;
    for entry in input.cgroup_entries {
        sys::write_at_start(entry, "0").step("enter cgroup")?;
    }
    let park = |fd: BorrowedFd<'_>| sys::duplicate_from(fd, PARKED_FDS).step("keep descriptor");
    let (control, output) = (park(input.control)?, park(input.output)?);
    let namespace = File::open("/proc/self/ns/pid").at("open", "/proc/self/ns/pid")?;
    let namespace = park(namespace.as_fd())?;
    process::set_host_name(super::HOST_NAME).step("set host name")?;
    let program = Program::new(input.spec)?;
    root::build_for_zygote(input.spec, input.makes_devices)?;
    set_limits(input.spec)?;
    std::env::set_current_dir(&input.spec.working_dir).at("change directory to", &input.spec.working_dir)?;
    process::set_umask(UMASK);
    process::limit_capabilities(&CAPABILITIES).step("limit capabilities")?;
    let null = File::options().read(true).write(true).open("/dev/null").at("open", "/dev/null")?;
    let null = park(null.as_fd())?;
    let place = |fd: BorrowedFd<'_>, number: i32| process::place(fd, number).step("place descriptor");
    place(null.as_fd(), 0)?;
    place(output.as_fd(), 1)?;
    place(output.as_fd(), 2)?;
    place(control.as_fd(), 3)?;
    place(namespace.as_fd(), 4)?;
    process::close_on_exec_from(5).step("close descriptors")?;
    Ok(program)
}
