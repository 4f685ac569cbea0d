//! Deployment packages. Input: a zip file.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use bytes::Bytes;
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

/// Unpacks; nothing lands outside, links stay inside, the sizes add up and everybody can read it.
pub fn run(data: &[u8]) {
    let outer = tempfile::tempdir_in(memory()).unwrap();
    let inner = outer.path().join("task");
    fs::create_dir(&inner).unwrap();
    let unpacked = lambkin_services::fuzzing::unpack(&Bytes::copy_from_slice(data), &inner);
    let names: Vec<_> = fs::read_dir(outer.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["task"], "something landed outside");
    if let Ok(total) = unpacked {
        assert_eq!(look(&inner, &inner), total);
    }
}

/// A folder in memory where there is one.
fn memory() -> &'static Path {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { shared } else { Path::new("/tmp") }
}

/// Checks a folder's content; the sum of its files' sizes.
fn look(root: &Path, folder: &Path) -> u64 {
    let mut sum = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        if metadata.is_dir() {
            sum += look(root, &path);
        } else if metadata.is_symlink() {
            let target = fs::read_link(&path).unwrap();
            if target.is_absolute() {
                assert!(target.starts_with("/var/task") || target.starts_with("/opt"), "{target:?}");
            } else if let Ok(real) = path.canonicalize() {
                assert!(real.starts_with(root), "{real:?}");
            }
        } else {
            assert!(metadata.is_file(), "{path:?} is special");
            let mode = metadata.permissions().mode() & 0o7777;
            assert!(mode == 0o644 || mode == 0o755, "{path:?} has mode {mode:o}");
            sum += metadata.len();
        }
    }
    sum
}

/// Archives with all that may be in one.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let archive = |method, names: &[(&str, u32, &str)]| {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, mode, content) in names {
            let options = SimpleFileOptions::default().compression_method(method);
            match mode {
                0o120_777 => writer.add_symlink(*name, *content, options).unwrap(),
                0o040_755 => writer.add_directory(*name, options).unwrap(),
                mode => {
                    writer.start_file(*name, options.unix_permissions(*mode)).unwrap();
                    writer.write_all(content.as_bytes()).unwrap();
                }
            }
        }
        writer.finish().unwrap().into_inner()
    };
    vec![
        archive(CompressionMethod::Stored, &[("app.py", 0o644, "def handler(event, context): return 1\n")]),
        archive(
            CompressionMethod::Stored,
            &[
                ("bin/", 0o040_755, ""),
                ("bin/run", 0o755, "#!/bin/sh\n"),
                ("bin/link", 0o120_777, "../app/x"),
                ("app/x", 0o644, "1"),
                ("absolute", 0o120_777, "/var/task/app/x"),
                ("é", 0o644, ""),
            ],
        ),
        archive(
            CompressionMethod::Deflated,
            &[("a/b/c.js", 0o600, &"exports.x = 1;\n".repeat(50)), ("d", 0o644, "2")],
        ),
    ]
}

/// Names and records that matter.
pub const WORDS: &[&str] = &[
    "../",
    "/",
    "..",
    "./",
    "a/",
    "\0",
    "\\",
    "PK\x01\x02",
    "PK\x03\x04",
    "PK\x05\x06",
    "PK\x06\x06",
    "/var/task/",
];
