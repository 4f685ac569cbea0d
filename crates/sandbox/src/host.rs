//! What this host can do for sandboxes, for `lambkin doctor`.

use std::io;
use std::os::fd::AsFd;

use crate::cgroup::mountinfo::{self, Mount};
use crate::cgroup::{self, Version};
use crate::error::SandboxError;
use crate::identity;
use crate::isolation::Isolation;
use crate::members::children_are_listed;
use crate::net::probe;
use crate::sys::mount::{self, FileSystem};
use crate::sys::process;

/// One property of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at, e.g. `network namespace`.
    pub name: String,
    /// Whether it is as sandboxes like it.
    pub ok: bool,
    /// Whether sandboxes cannot be made without it.
    pub required: bool,
    /// What was found.
    pub detail: String,
    /// What to do about it; empty if `ok`.
    pub advice: String,
}

const ROOT_ADVICE: &str = "run the server as root (in a container: with --privileged)";
const KERNEL_ADVICE: &str = "use Linux 5.14 or later with this feature compiled in";

/// The strongest isolation that works here; else, a sentence about each and why it does not, and what to
/// do. Only for a process that has no threads yet: it forks. Makes no lasting change.
///
/// # Errors
/// No isolation works; [`Isolation::Process`], which is none, is never chosen.
pub fn strongest() -> Result<Isolation, SandboxError> {
    let missing = |checks: Vec<Check>| checks.into_iter().find(|check| check.required && !check.ok);
    let Some(root) = missing(for_root(&mountinfo::read().unwrap_or_default())) else {
        return Ok(Isolation::Root);
    };
    let Some(user) = missing(for_users()) else { return Ok(Isolation::UserNamespaces) };
    Err(SandboxError::Host(format!(
        "neither as root ({}: {}) nor in user namespaces ({}: {}); {}",
        root.name, root.detail, user.name, user.detail, user.advice
    )))
}

/// Looks at everything that sandboxes need or profit from. As [`strongest`], only for a process without
/// threads.
#[must_use]
pub fn probe() -> Vec<Check> {
    let mounts = mountinfo::read().unwrap_or_default();
    let strongest = strongest();
    let found = match &strongest {
        Ok(isolation) => Ok(match isolation {
            Isolation::Root => "root: the strongest there is",
            _ => "user-namespaces: real sandboxes, made by an ordinary user",
        }),
        Err(_) => Err("none works: only --isolation process, which is none, is left"),
    };
    let mut checks = vec![check("isolation", true, found, "see the rows that are missing below")];
    let by_root = matches!(strongest, Ok(Isolation::Root));
    let by_user = !by_root && strongest.is_ok();
    // What the other way would need is no obstacle.
    let optional = |mut check: Check, keep: bool| {
        check.required &= keep;
        check
    };
    let root = for_root(&mounts);
    if by_root {
        checks.extend(root);
        checks.extend([freezing(&mounts), fast_changes(&mounts)]);
    } else {
        let says_something = |check: &Check| !check.ok || check.name == "kernel";
        checks.extend(root.into_iter().filter(says_something).map(|check| optional(check, !by_user)));
        for check in for_users() {
            if !checks.iter().any(|other| other.name == check.name) {
                checks.push(check);
            }
        }
        checks.extend([delegation(), subordinate_ids()]);
    }
    let found = if children_are_listed() {
        Ok("possible with --isolation process: no isolation at all")
    } else {
        Err("the kernel does not list children (CONFIG_PROC_CHILDREN)")
    };
    checks.push(check("plain processes", false, found, "use a kernel that lists children"));
    checks.extend([overlay(), open_files()]);
    let network = probe::look().into_iter();
    checks.extend(network.map(|finding| check(finding.name, false, finding.found, &finding.advice)));
    checks
}

/// What root needs.
fn for_root(mounts: &[Mount]) -> Vec<Check> {
    let mut checks = vec![kernel(), root()];
    if process::effective_uid() == 0 {
        checks.extend(namespaces());
        checks.push(mounting());
    }
    checks.extend([cgroups(mounts), seccomp()]);
    checks
}

/// What other users need.
fn for_users() -> Vec<Check> {
    let found = try_in_child(identity::try_entering);
    let found = found.map(|()| "can be made, with mounts in them").map_err(|error| error.to_string());
    vec![
        kernel(),
        user_namespaces(),
        check("unprivileged namespaces", true, found, identity::USER_NAMESPACE_ADVICE),
        seccomp(),
    ]
}

fn delegation() -> Check {
    let advice = "let systemd delegate a cgroup: Delegate=yes in the service, or start with \
                  `systemd-run --user --scope -p Delegate=yes lambkin serve`; until then memory is limited by \
                  watching and CPU time not at all";
    check("delegated cgroup", false, cgroup::delegated(), advice)
}

fn subordinate_ids() -> Check {
    check("subordinate ids", false, identity::subordinate_ids(), identity::SUBORDINATE_ADVICE)
}

fn check(
    name: &str,
    required: bool,
    found: Result<impl Into<String>, impl Into<String>>,
    advice: &str,
) -> Check {
    let (ok, detail) = match found {
        Ok(detail) => (true, detail.into()),
        Err(detail) => (false, detail.into()),
    };
    let advice = if ok { String::new() } else { advice.to_owned() };
    Check { name: name.to_owned(), ok, required, detail, advice }
}

fn read(path: &str) -> Result<String, String> {
    std::fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .map_err(|error| format!("{path}: {error}"))
}

fn kernel() -> Check {
    // The latest needed are close_range with CLOEXEC (5.11) and mount_setattr (5.12). Without root, limits of
    // processes count for each user namespace since 5.14.
    let found = read("/proc/sys/kernel/osrelease").and_then(|release| {
        let mut numbers = release.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if version >= (5, 14) { Ok(release) } else { Err(release) }
    });
    check("kernel", true, found, "use Linux 5.14 or later")
}

fn root() -> Check {
    let uid = process::effective_uid();
    let found = if uid == 0 { Ok("uid 0".to_owned()) } else { Err(format!("uid {uid}")) };
    check("root", true, found, ROOT_ADVICE)
}

/// Makes each kind of namespace in a process of its own.
fn namespaces() -> impl Iterator<Item = Check> {
    [
        ("mount namespace", libc::CLONE_NEWNS),
        ("pid namespace", libc::CLONE_NEWPID),
        ("network namespace", libc::CLONE_NEWNET),
        ("ipc namespace", libc::CLONE_NEWIPC),
        ("uts namespace", libc::CLONE_NEWUTS),
        ("cgroup namespace", libc::CLONE_NEWCGROUP),
        ("user namespace", libc::CLONE_NEWUSER),
    ]
    .into_iter()
    .map(|(name, flag)| {
        let found = try_in_child(|| process::unshare(flag));
        check(name, true, found.map(|()| "can be made").map_err(|error| error.to_string()), ROOT_ADVICE)
    })
}

/// Runs one system call in a forked process, which must not do anything else.
fn try_in_child(call: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let Some(pid) = process::fork()? else {
        process::exit_now(match call() {
            Ok(()) => 0,
            Err(error) => error.raw_os_error().unwrap_or(255),
        })
    };
    let (_, status) = process::wait_for(Some(pid))?;
    match (libc::WIFEXITED(status), libc::WEXITSTATUS(status)) {
        (true, 0) => Ok(()),
        (true, errno) => Err(io::Error::from_raw_os_error(errno)),
        (false, _) => Err(io::Error::from_raw_os_error(libc::ECHILD)),
    }
}

fn user_namespaces() -> Check {
    let found = read("/proc/sys/user/max_user_namespaces")
        .and_then(|text| if text == "0" { Err("0".to_owned()) } else { Ok(text) });
    check("user namespaces allowed", true, found, "raise user.max_user_namespaces with sysctl")
}

fn cgroups(mounts: &[Mount]) -> Check {
    let version = cgroup::choose(mounts);
    let found = match version {
        Some(Version::V1) => Ok("v1 with memory, cpu and pids"),
        Some(Version::V2) => Ok("v2 with memory, cpu and pids"),
        None => Err("no hierarchy with the controllers memory, cpu and pids is mounted"),
    };
    check("cgroups", true, found, "mount cgroup v2 on /sys/fs/cgroup")
}

fn freezing(mounts: &[Mount]) -> Check {
    let unified = mountinfo::find_v2(mounts);
    let found = match (unified, mountinfo::find_v1(mounts, "freezer")) {
        (Some(_), _) => Ok("cgroup.freeze of v2"),
        (None, Some(_)) => Ok("freezer of v1 (slower)"),
        (None, None) => Err("neither cgroup v2 nor the v1 freezer is mounted"),
    };
    check("freezing", false, found, "mount cgroup v2 on /sys/fs/cgroup/unified")
}

fn fast_changes(mounts: &[Mount]) -> Check {
    let unified = mountinfo::find_v2(mounts);
    let favored = unified.is_some_and(|mount| mount.options.iter().any(|option| option == "favordynmods"));
    let found = if favored {
        Ok("favordynmods is set")
    } else {
        Err("favordynmods is not set: entering a cgroup may take 10 ms (the server sets it when it starts)")
    };
    check("fast cgroup changes", false, found, "use Linux 6.0 or later with cgroup v2 mounted")
}

fn mounting() -> Check {
    let found = FileSystem::open(c"tmpfs")
        .and_then(|tmpfs| tmpfs.mount(mount::NOSUID))
        .and_then(|tmpfs| mount::set_attributes(tmpfs.as_fd(), mount::RDONLY, true));
    let found = found.map(|()| "detached mounts can be made").map_err(|error| error.to_string());
    check("mounting", true, found, ROOT_ADVICE)
}

fn overlay() -> Check {
    let found = read("/proc/filesystems").and_then(|text| {
        if text.lines().any(|line| line.ends_with("\toverlay")) {
            Ok("known to the kernel")
        } else {
            Err("not known to the kernel (layers are merged by links instead)".to_owned())
        }
    });
    check("overlay file system", false, found, "load the kernel module overlay")
}

fn seccomp() -> Check {
    let found = if process::filter_action_known(libc::SECCOMP_RET_KILL_PROCESS) {
        Ok("filters can be installed")
    } else {
        Err("the kernel has no seccomp filters")
    };
    check("seccomp", true, found, KERNEL_ADVICE)
}

fn open_files() -> Check {
    /// About 14 descriptors for each sandbox.
    const ENOUGH: u64 = 16 * 1024;
    let found = read("/proc/self/limits").and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
        let hard = line.split_whitespace().nth(4).unwrap_or_default();
        let enough = hard == "unlimited" || hard.parse::<u64>().is_ok_and(|hard| hard >= ENOUGH);
        if enough { Ok(format!("at most {hard}")) } else { Err(format!("at most {hard}")) }
    });
    check("open files", false, found, "raise the limit of open files, e.g. LimitNOFILE=65536")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_is_complete() {
        let checks = probe();
        assert!(checks.len() >= 9);
        for check in &checks {
            assert!(!check.name.is_empty() && !check.detail.is_empty(), "{check:?}");
            assert_eq!(check.ok, check.advice.is_empty(), "{check:?}");
        }
        if process::effective_uid() == 0 {
            let failed: Vec<_> = checks.iter().filter(|check| check.required && !check.ok).collect();
            assert!(failed.is_empty(), "{failed:?}");
            assert_eq!(strongest(), Ok(Isolation::Root));
        }
        assert!(for_users().len() == 4 && !delegation().detail.is_empty());
    }
}
