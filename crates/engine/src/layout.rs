//! The root file system that functions see: the host's programs and libraries, and little else.

use std::fs;
use std::path::{Path, PathBuf};

use lambkin_sandbox::BindMount;

/// Folders of the root that hold programs and libraries, besides `/usr`.
const SYSTEM_FOLDERS: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Parts of `/etc` that programs of the host need and that tell nothing about it.
const ETC: [&str; 8] = [
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/mime.types",
    "/etc/pki",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
];

/// User name of Lambda's functions.
pub(crate) const PASSWD: &str = "root:x:0:0:root:/root:/sbin/nologin\n\
                      sbx_user1051:x:993:990::/home/sbx_user1051:/sbin/nologin\n\
                      nobody:x:65534:65534:nobody:/:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nsbx_user1051:x:990:\nnogroup:x:65534:\n";
const HOSTS: &str = "127.0.0.1 localhost sandbox.localdomain sandbox\n::1 localhost\n";
const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files dns\n";

/// What every sandbox's root has.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) binds: Vec<BindMount>,
    pub(crate) symlinks: Vec<(String, String)>,
    pub(crate) files: Vec<(String, String)>,
    /// An empty folder on the host, to cover others with.
    pub(crate) empty: PathBuf,
}

impl Layout {
    /// Looks at the host's root. `empty` is an empty folder.
    pub(crate) fn of_host(empty: PathBuf) -> Self {
        Self::of(Path::new("/"), empty)
    }

    fn of(root: &Path, empty: PathBuf) -> Self {
        let mut binds = vec![bind("/usr", "/usr")];
        let mut symlinks = Vec::new();
        for name in SYSTEM_FOLDERS {
            let path = root.join(name);
            // On merged hosts these are links into /usr.
            if let Ok(target) = fs::read_link(&path) {
                symlinks.push((format!("/{name}"), target.to_string_lossy().into_owned()));
            } else if path.is_dir() {
                binds.push(bind(&path, &format!("/{name}")));
            }
        }
        binds.extend(ETC.map(|path| BindMount { optional: true, ..bind(path, path) }));
        let files = [
            ("/etc/passwd", PASSWD),
            ("/etc/group", GROUP),
            ("/etc/hosts", HOSTS),
            ("/etc/nsswitch.conf", NSSWITCH),
            ("/etc/resolv.conf", ""),
        ];
        let files = files.map(|(path, content)| (path.to_owned(), content.to_owned())).to_vec();
        Self { binds, symlinks, files, empty }
    }
}

/// A bind mount whose source must be there.
pub(crate) fn bind(source: impl Into<PathBuf>, target: &str) -> BindMount {
    BindMount { source: source.into(), target: target.to_owned(), optional: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_a_merged_host_are_kept_and_folders_are_bound() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("usr/bin", root.path().join("bin")).unwrap();
        fs::create_dir(root.path().join("lib")).unwrap();
        let layout = Layout::of(root.path(), "/empty".into());
        assert_eq!(layout.symlinks, [("/bin".to_owned(), "usr/bin".to_owned())]);
        let targets: Vec<_> = layout.binds.iter().filter(|bind| !bind.optional).collect();
        assert_eq!(targets.len(), 2);
        assert_eq!(targets[1].target, "/lib");
        assert!(!layout.binds.iter().any(|bind| bind.target == "/etc"));
    }
}
