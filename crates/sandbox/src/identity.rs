//! Which users sandboxes run as, and how a spawner without root gets the right to make them.
//!
//! Such a spawner enters a user namespace of its own, in which it is root, before it does anything else. So
//! it can make sandboxes exactly as a real root does: with mounts and networks that belong to its own
//! namespace, and each sandbox in another user namespace below, entered last.
//!
//! A user may map only itself. Where `/etc/subuid` and `/etc/subgid` grant it more ids, and the programs
//! `newuidmap` and `newgidmap` are there to map them, each sandbox gets an id of its own.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Context, SandboxError};
use crate::isolation::Isolation;
use crate::members::children_are_listed;
use crate::spawner::SpawnerConfig;
use crate::sys::mount::{FileSystem, NOSUID};
use crate::sys::{self, process};

/// First id of a range as it is seen in the spawner's namespace; 0 is the spawner itself.
const FIRST_INNER: u32 = 1;

/// Where the programs for mapping are looked for.
const PROGRAM_FOLDERS: [&str; 4] = ["/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin"];

/// What to do where user namespaces are refused.
pub(crate) const USER_NAMESPACE_ADVICE: &str = "allow unprivileged user namespaces: sysctl user.max_user_namespaces > 0, kernel.unprivileged_userns_clone=1 \
     (Debian), kernel.apparmor_restrict_unprivileged_userns=0 or an AppArmor profile with `userns` for lambkin \
     (Ubuntu 24.04); in a container, a seccomp profile that allows it";

/// What to do for users of their own.
pub(crate) const SUBORDINATE_ADVICE: &str = "give the server's user ranges in /etc/subuid and /etc/subgid (usermod --add-subuids, --add-subgids) and \
     install newuidmap and newgidmap (package uidmap or shadow-utils)";

/// Users and groups for sandboxes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// First id for sandboxes.
    pub(crate) first: u32,
    /// How many sandboxes there may be.
    pub(crate) count: u32,
    /// Whether each has a user id of its own, or all have id 0 of the spawner's namespace.
    own_uids: bool,
    /// The same for groups.
    own_gids: bool,
    /// Whether supplementary groups can be taken away.
    pub(crate) clears_groups: bool,
    /// For the log.
    pub(crate) notes: Vec<String>,
    /// What is weaker than it could be.
    pub(crate) weaknesses: Vec<String>,
}

impl Identity {
    /// Prepares this process, the spawner, for making sandboxes. Only before it has any.
    pub(crate) fn assume(config: &SpawnerConfig) -> Result<Identity, SandboxError> {
        match config.isolation {
            Isolation::Root if process::effective_uid() != 0 => {
                Err(SandboxError::Host("the server does not run as root".to_owned()))
            }
            Isolation::Root => Ok(Identity::simple(config, true)),
            Isolation::UserNamespaces => enter(config),
            Isolation::Process if !children_are_listed() => {
                Err(SandboxError::Host("the kernel does not list children (CONFIG_PROC_CHILDREN)".to_owned()))
            }
            // Those of an init that was killed come to the spawner, which ends them.
            Isolation::Process => Ok(Identity::simple(config, false)),
        }
    }

    fn simple(config: &SpawnerConfig, own: bool) -> Identity {
        Identity {
            first: config.uid_base,
            count: config.uid_count,
            own_uids: own,
            own_gids: own,
            clears_groups: own,
            notes: Vec::new(),
            weaknesses: Vec::new(),
        }
    }

    /// User and group of the sandbox with a slot, as the spawner's namespace numbers them.
    pub(crate) fn of_slot(&self, slot: u32) -> (u32, u32) {
        (if self.own_uids { slot } else { 0 }, if self.own_gids { slot } else { 0 })
    }
}

/// A range of ids of the namespace outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    first: u32,
    count: u32,
}

/// How ids other than the own one can be mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Mapping {
    /// By root itself.
    Direct(Range),
    /// By `newuidmap` or `newgidmap`.
    Program(PathBuf, Range),
}

impl Mapping {
    fn range(&self) -> Range {
        match self {
            Mapping::Direct(range) | Mapping::Program(_, range) => *range,
        }
    }

    /// Maps the ids of a process in a new user namespace. To be called outside of it.
    fn apply(&self, pid: u32, own: u32, file: &str) -> Result<(), String> {
        let Range { first, count } = self.range();
        match self {
            Mapping::Direct(_) => {
                let text = format!("0 {own} 1\n{FIRST_INNER} {first} {count}\n");
                fs::write(format!("/proc/{pid}/{file}"), text).map_err(|error| error.to_string())
            }
            Mapping::Program(program, _) => {
                let numbers = [pid, 0, own, 1, FIRST_INNER, first, count];
                let output = Command::new(program)
                    .args(numbers.map(|number| number.to_string()))
                    .env_clear()
                    .stdin(Stdio::null())
                    .output()
                    .map_err(|error| error.to_string())?;
                if output.status.success() {
                    return Ok(());
                }
                Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
            }
        }
    }
}

/// Enters a user namespace in which this process is root.
fn enter(config: &SpawnerConfig) -> Result<Identity, SandboxError> {
    let (uid, gid) = (process::effective_uid(), process::effective_gid());
    let uids = mapping(uid, uid, config, "/etc/subuid", "newuidmap");
    let gids = mapping(uid, gid, config, "/etc/subgid", "newgidmap");
    let groups = process::group_count();
    // The files of an undumpable process belong to root.
    process::set_dumpable(true).step("become dumpable")?;
    let helper = match (&uids, &gids) {
        (Err(_), Err(_)) => None,
        (uids, gids) => Some(Helper::fork(uids.as_ref().ok(), gids.as_ref().ok(), uid, gid)?),
    };
    process::unshare(libc::CLONE_NEWUSER).map_err(|error| {
        SandboxError::Host(format!("no user namespace can be made ({error}): {USER_NAMESPACE_ADVICE}"))
    })?;
    let done = helper.map_or(Ok(Done::default()), Helper::map)?;
    let write = |file: &str, text: &str| {
        let path = format!("/proc/self/{file}");
        fs::write(&path, text).at("write", &path)
    };
    if !done.gids {
        write("setgroups", "deny")?;
        write("gid_map", &format!("0 {gid} 1"))?;
    }
    if !done.uids {
        write("uid_map", &format!("0 {uid} 1"))?;
    }
    process::become_user(0, 0).step("become root of the user namespace")?;
    process::set_dumpable(false).step("become undumpable")?;
    may_mount()?;
    let count = [(done.uids, &uids), (done.gids, &gids)]
        .into_iter()
        .filter_map(|(mapped, mapping)| mapping.as_ref().ok().filter(|_| mapped))
        .fold(config.uid_count, |count, mapping| count.min(mapping.range().count));
    let reason = |mapping: Result<Mapping, String>, said: &Option<String>| match (mapping, said) {
        (Err(reason), _) => reason,
        (Ok(_), said) => said.clone().unwrap_or_default(),
    };
    let mut weaknesses = Vec::new();
    if !done.uids {
        weaknesses.push(format!(
            "all sandboxes run as the server's user outside ({}): {SUBORDINATE_ADVICE}",
            reason(uids, &done.uid_problem)
        ));
    } else if !done.gids {
        weaknesses.push(format!(
            "all sandboxes run as the server's group outside ({}): {SUBORDINATE_ADVICE}",
            reason(gids, &done.gid_problem)
        ));
    }
    if !done.gids && groups > 0 {
        weaknesses.push(format!("functions keep the server's {groups} supplementary groups"));
    }
    let ids = if done.uids { format!("{count} user ids") } else { format!("user id {uid} alone") };
    Ok(Identity {
        first: FIRST_INNER,
        count,
        own_uids: done.uids,
        own_gids: done.gids,
        clears_groups: done.gids,
        notes: vec![format!("user namespace with {ids}")],
        weaknesses,
    })
}

/// AppArmor may let user namespaces be made and then take all rights in them away.
fn may_mount() -> Result<(), SandboxError> {
    process::unshare(libc::CLONE_NEWNS)
        .and_then(|()| FileSystem::open(c"tmpfs")?.mount(NOSUID))
        .map(drop)
        .map_err(|error| {
            SandboxError::Host(format!(
                "nothing can be mounted in a user namespace ({error}): {USER_NAMESPACE_ADVICE}"
            ))
        })
}

/// Whether this process may enter a user namespace and mount there: tried, hence to be called in a process
/// made for it.
pub(crate) fn try_entering() -> std::io::Result<()> {
    let (uid, gid) = (process::effective_uid(), process::effective_gid());
    process::unshare(libc::CLONE_NEWUSER)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    process::unshare(
        libc::CLONE_NEWNS
            | libc::CLONE_NEWNET
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWCGROUP,
    )?;
    FileSystem::open(c"tmpfs")?.mount(NOSUID).map(drop)
}

/// Maps the ids of its parent, from outside the namespace that this enters meanwhile.
struct Helper {
    pid: i32,
    go: OwnedFd,
    answer: OwnedFd,
}

/// What a [`Helper`] achieved.
#[derive(Debug, Default, PartialEq, Eq)]
struct Done {
    uids: bool,
    gids: bool,
    uid_problem: Option<String>,
    gid_problem: Option<String>,
}

impl Helper {
    fn fork(
        uids: Option<&Mapping>,
        gids: Option<&Mapping>,
        uid: u32,
        gid: u32,
    ) -> Result<Helper, SandboxError> {
        let (wait, go) = sys::pipe().step("make pipe")?;
        let (answer, result) = sys::pipe().step("make pipe")?;
        let parent = std::process::id();
        let Some(pid) = process::fork().step("fork")? else {
            drop((go, answer));
            let mut byte = [0];
            // Without the byte the parent has given up.
            if fs::File::from(wait).read_exact(&mut byte).is_ok() {
                let told = |mapping: Option<&Mapping>, own: u32, file: &str| match mapping {
                    None => "-".to_owned(),
                    Some(mapping) => match mapping.apply(parent, own, file) {
                        Ok(()) => "+".to_owned(),
                        Err(problem) => format!("-{}", problem.replace('\n', " ")),
                    },
                };
                let text = format!("{}\n{}\n", told(gids, gid, "gid_map"), told(uids, uid, "uid_map"));
                let _ = fs::File::from(result).write_all(text.as_bytes());
            }
            process::exit_now(0)
        };
        Ok(Helper { pid, go, answer })
    }

    fn map(self) -> Result<Done, SandboxError> {
        fs::File::from(self.go).write_all(b"g").step("ask for id maps")?;
        let mut text = String::new();
        fs::File::from(self.answer).read_to_string(&mut text).step("wait for id maps")?;
        process::wait_for(Some(self.pid)).step("wait for id maps")?;
        Ok(Done::parse(&text))
    }
}

impl Done {
    fn parse(text: &str) -> Done {
        let mut lines = text.lines();
        let mut next = || {
            let line = lines.next().unwrap_or_default();
            let problem = line.strip_prefix('-').filter(|problem| !problem.is_empty()).map(str::to_owned);
            (line == "+", problem)
        };
        let (gids, gid_problem) = next();
        let (uids, uid_problem) = next();
        Done { uids, gids, uid_problem, gid_problem }
    }
}

/// Whether sandboxes would get users of their own: how many, or why not.
pub(crate) fn subordinate_ids() -> Result<String, String> {
    let (uid, gid) = (process::effective_uid(), process::effective_gid());
    let config = SpawnerConfig::new("probe", Path::new("/"), Isolation::UserNamespaces);
    let uids = mapping(uid, uid, &config, "/etc/subuid", "newuidmap")?;
    let gids = mapping(uid, gid, &config, "/etc/subgid", "newgidmap")?;
    Ok(format!("{} user and {} group ids", uids.range().count, gids.range().count))
}

/// How ids besides `own` can be mapped, or why they cannot.
fn mapping(uid: u32, own: u32, config: &SpawnerConfig, file: &str, program: &str) -> Result<Mapping, String> {
    if uid == 0 {
        return Ok(Mapping::Direct(Range { first: config.uid_base, count: config.uid_count }));
    }
    let text = fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    let range = granted(&text, uid, &user_name(uid).unwrap_or_default())
        .filter(|range| !(range.first..=range.first.saturating_add(range.count)).contains(&own))
        .ok_or_else(|| format!("{file} grants nothing"))?;
    let program = PROGRAM_FOLDERS
        .iter()
        .map(|folder| Path::new(folder).join(program))
        .find(|path| path.exists())
        .ok_or_else(|| format!("there is no {program}"))?;
    Ok(Mapping::Program(program, range))
}

/// The largest range that a file such as `/etc/subuid` grants to a user, named by number or name.
fn granted(text: &str, uid: u32, name: &str) -> Option<Range> {
    let number = uid.to_string();
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let user = fields.next().filter(|user| *user == number || (!name.is_empty() && *user == name))?;
            let range = Range { first: fields.next()?.parse().ok()?, count: fields.next()?.parse().ok()? };
            (!user.is_empty() && range.count > 0).then_some(range)
        })
        .max_by_key(|range| range.count)
}

fn user_name(uid: u32) -> Option<String> {
    let text = fs::read_to_string("/etc/passwd").ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants() {
        let text = "alice:100000:65536\n1001:300000:10\nbob:400000:20\nbob:500000:30\n\nalice:x:y\n:1:1\n";
        let of = |uid, name| granted(text, uid, name).map(|range| (range.first, range.count));
        assert_eq!(of(1000, "alice"), Some((100_000, 65_536)));
        assert_eq!(of(1001, ""), Some((300_000, 10)));
        assert_eq!(of(1002, "bob"), Some((500_000, 30)));
        assert_eq!(of(1003, "carol"), None);
        assert_eq!(of(1004, ""), None);
    }

    #[test]
    fn what_the_helper_says() {
        assert_eq!(Done::parse("+\n+\n"), Done { uids: true, gids: true, ..Done::default() });
        let done = Done::parse("-\n-no right\n");
        assert_eq!((done.uids, done.gids, done.gid_problem), (false, false, None));
        assert_eq!(done.uid_problem.as_deref(), Some("no right"));
        assert_eq!(Done::parse(""), Done::default());
    }

    #[test]
    fn slots() {
        let config = SpawnerConfig::new("x", Path::new("/x"), Isolation::Root);
        let identity = Identity::simple(&config, true);
        assert_eq!(identity.of_slot(7), (7, 7));
        assert_eq!(Identity::simple(&config, false).of_slot(7), (0, 0));
    }
}
