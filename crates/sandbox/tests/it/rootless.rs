//! All tests of this program again, as an ordinary user.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use lambkin_sandbox::Isolation;

use crate::support::*;

/// A user that owns nothing.
const USER: u32 = 12_345;

/// Runs this program's tests as [`USER`], one after the other.
fn run_tests(isolation: Isolation, arguments: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let copy = |source: &std::path::Path, name: &str| {
        let path = folder.path().join(name);
        std::fs::copy(source, &path).unwrap();
        path
    };
    // Theirs may be in a folder that the user cannot reach.
    let tests = copy(&std::env::current_exe().unwrap(), "tests");
    let spawner = copy(EXECUTABLE.as_ref(), "spawner");
    let temporary = folder.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    std::os::unix::fs::chown(&temporary, Some(USER), Some(USER)).unwrap();
    let output = Command::new(tests)
        .args(["--test-threads=1", "--skip", "rootless"])
        .args(arguments)
        .env(ISOLATION, isolation.name())
        .env(SPAWNER, spawner)
        .env("TMPDIR", &temporary)
        .current_dir("/")
        .uid(USER)
        .gid(USER)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    assert!(text.contains("test result: ok.") && !text.contains(" 0 passed"), "{text}");
    let left: Vec<_> = std::fs::read_dir(&temporary).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn in_user_namespaces() {
    if !is_able() {
        return;
    }
    run_tests(Isolation::UserNamespaces, &[]);
}
