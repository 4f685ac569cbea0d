//! `/proc/self/mountinfo`: where the cgroup hierarchies are mounted.

use std::io;
use std::path::PathBuf;

/// One line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Where it is mounted.
    pub(crate) mount_point: PathBuf,
    /// Kind of file system.
    pub(crate) kind: String,
    /// Options of the file system; for cgroup v1 its controllers are among them.
    pub(crate) options: Vec<String>,
}

/// Reads the mounts of this process.
pub(crate) fn read() -> io::Result<Vec<Mount>> {
    Ok(parse(&std::fs::read_to_string("/proc/self/mountinfo")?))
}

/// Parses mountinfo; lines that do not look like it are left out.
pub(crate) fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mount_point = unescape(before.split(' ').nth(4)?);
    let mut fields = after.split(' ');
    let kind = fields.next()?.to_owned();
    let options = fields.nth(1)?.split(',').map(str::to_owned).collect();
    Some(Mount { mount_point: PathBuf::from(mount_point), kind, options })
}

/// Decodes the octal escapes of blanks and backslashes.
fn unescape(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escaped)) = rest.split_once('\\') {
        result.push_str(plain);
        match escaped.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                result.push(char::from(byte));
                rest = escaped.get(3..).unwrap_or_default();
            }
            None => {
                result.push('\\');
                rest = escaped;
            }
        }
    }
    result.push_str(rest);
    result
}

/// The hierarchy of a v1 controller.
pub(crate) fn find_v1<'a>(mounts: &'a [Mount], controller: &str) -> Option<&'a Mount> {
    mounts
        .iter()
        .find(|mount| mount.kind == "cgroup" && mount.options.iter().any(|option| option == controller))
}

/// The v2 hierarchy.
pub(crate) fn find_v2(mounts: &[Mount]) -> Option<&Mount> {
    mounts.iter().find(|mount| mount.kind == "cgroup2")
}

/// The path of this process within a hierarchy (`None` for v2), from `/proc/self/cgroup`.
pub(crate) fn own_path<'a>(own: &'a str, controller: Option<&str>) -> Option<&'a str> {
    own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let matches = match controller {
            None => controllers.is_empty(),
            Some(name) => controllers.split(',').any(|entry| entry == name),
        };
        matches.then_some(path)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const HYBRID: &str = "\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:7 master:3 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
50 27 0:40 / /mnt/a\\040b rw - tmpfs tmpfs rw
nonsense
";

    #[test]
    fn finds_hierarchies() {
        let mounts = parse(HYBRID);
        assert_eq!(mounts.len(), 5);
        let cpu = find_v1(&mounts, "cpu").unwrap();
        assert_eq!(cpu.mount_point, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(find_v1(&mounts, "cpuacct"), Some(cpu));
        assert_eq!(find_v1(&mounts, "pids"), None);
        assert_eq!(find_v2(&mounts).unwrap().options, ["rw", "nsdelegate"]);
        assert_eq!(mounts[4].mount_point, Path::new("/mnt/a b"));
    }

    #[test]
    fn escapes() {
        assert_eq!(unescape("a\\134b\\011c"), "a\\b\tc");
        assert_eq!(unescape("a\\9"), "a\\9");
    }

    #[test]
    fn own_groups() {
        let own = "9:name=systemd:/x\n4:memory:/api/1\n2:cpu,cpuacct:/\n0::/user.slice\n";
        assert_eq!(own_path(own, Some("memory")), Some("/api/1"));
        assert_eq!(own_path(own, Some("cpuacct")), Some("/"));
        assert_eq!(own_path(own, None), Some("/user.slice"));
        assert_eq!(own_path(own, Some("pids")), None);
    }
}
