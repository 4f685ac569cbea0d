use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::*;

/// One entry: name, unix mode with the type bits, content.
type Entry<'a> = (&'a str, u32, &'a [u8]);

/// Writes an archive by hand (stored, no compression), so that it can be as wrong as wanted.
fn raw_zip(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut central = Vec::new();
    for (name, mode, data) in entries {
        let offset = u32::try_from(out.len()).unwrap();
        let size = u32::try_from(data.len()).unwrap();
        let mut common = Vec::new();
        for field in [20_u16, 0x0800, 0, 0, 0x21] {
            common.extend(field.to_le_bytes());
        }
        common.extend(crc(data).to_le_bytes());
        common.extend(size.to_le_bytes());
        common.extend(size.to_le_bytes());
        common.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        common.extend(0_u16.to_le_bytes());
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(name.as_bytes());
        out.extend(*data);
        central.extend(b"PK\x01\x02");
        central.extend([20, 3]);
        central.extend(&common);
        central.extend([0; 6]);
        central.extend((mode << 16).to_le_bytes());
        central.extend(offset.to_le_bytes());
        central.extend(name.as_bytes());
    }
    let start = u32::try_from(out.len()).unwrap();
    let count = u16::try_from(entries.len()).unwrap();
    out.extend(&central);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(u32::try_from(central.len()).unwrap().to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0, 0]);
    out
}

fn crc(data: &[u8]) -> u32 {
    !data.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
    })
}

fn extract(zip: Vec<u8>) -> (tempfile::TempDir, Result<u64, ArchiveError>) {
    let dir = tempfile::tempdir().unwrap();
    let result = unpack(&Bytes::from(zip), dir.path());
    (dir, result)
}

fn refusal(entries: &[Entry<'_>]) -> String {
    match extract(raw_zip(entries)).1 {
        Err(ArchiveError::Invalid(reason)) => reason,
        other => panic!("{entries:?} gave {other:?}"),
    }
}

#[test]
fn unpacks_files_folders_and_links() {
    let (dir, result) = extract(raw_zip(&[
        ("lib/", 0o040_700, b""),
        ("lib/a.py", 0o100_600, b"aa"),
        ("run", 0o104_711, b"#!"),
        ("plain", 0, b"x"),
        ("deep/er/b", 0o100_444, b"b"),
        ("deep/up", 0o120_777, b"../lib/a.py"),
        ("abs", 0o120_777, b"/var/task/run"),
        ("opt", 0o120_777, b"/opt/run"),
        ("./", 0o040_755, b""),
        ("./dot/./file", 0o100_644, b""),
    ]));
    assert_eq!(result.unwrap(), 6);
    let mode =
        |path: &str| fs::symlink_metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("lib"), 0o755);
    assert_eq!(mode("lib/a.py"), 0o644);
    assert_eq!(mode("run"), 0o755, "setuid is gone");
    assert_eq!(mode("plain"), 0o644);
    assert_eq!(fs::read(dir.path().join("deep/up")).unwrap(), b"aa");
    assert_eq!(fs::read_link(dir.path().join("abs")).unwrap(), Path::new("/var/task/run"));
    assert_eq!(fs::read_link(dir.path().join("opt")).unwrap(), Path::new("/opt/run"));
}

#[test]
fn unpacks_what_the_zip_crate_writes() {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    writer.start_file("big", options.large_file(true).unix_permissions(0o600)).unwrap();
    writer.write_all(&vec![7; 300_000]).unwrap();
    let zip = writer.finish().unwrap().into_inner();
    let (dir, result) = extract(zip);
    assert_eq!(result.unwrap(), 300_000);
    assert_eq!(fs::read(dir.path().join("big")).unwrap(), vec![7; 300_000]);
}

#[test]
fn refuses_names_that_leave_the_folder() {
    for name in
        ["/etc/passwd", "../x", "a/../../x", "a/..", "..", ".", "a//b", "a\\..\\x", "x\0y", "./../a", ""]
    {
        assert!(!refusal(&[(name, 0o100_644, b"x")]).is_empty());
    }
    assert!(refusal(&[("../", 0o040_755, b"")]).contains("plain relative path"));
    assert!(refusal(&[(&"d/".repeat(600), 0o040_755, b"")]).contains("too long"));
    assert!(refusal(&[(&"n".repeat(256), 0o100_644, b"x")]).contains("plain relative path"));
}

#[test]
fn refuses_links_that_lead_outside() {
    for target in [
        "/etc/passwd",
        "..",
        "a/../../x",
        "../x",
        "/var/task/../x",
        "/opt/../x",
        "/opt",
        "l/..",
        "/var/taskx",
        "",
    ] {
        assert!(refusal(&[("link", 0o120_777, target.as_bytes())]).contains("leads outside"), "{target}");
    }
    assert!(refusal(&[("d/link", 0o120_777, b"../../x")]).contains("leads outside"));
    assert!(refusal(&[("./././link", 0o120_777, b"../x")]).contains("leads outside"));
}

#[test]
fn refuses_writing_through_links_and_files() {
    let through = [("l", 0o120_777, &b"."[..]), ("l/x", 0o100_644, b"x")];
    assert!(refusal(&through).contains("both a folder and something else"));
    assert!(refusal(&[("l/x", 0o100_644, b"x"), ("l", 0o120_777, b".")]).contains("twice"));
    assert!(refusal(&[("f", 0o100_644, b"x"), ("f/x", 0o100_644, b"x")]).contains("both a folder"));
}

#[test]
fn refuses_devices_sockets_and_pipes() {
    for kind in [0o020_000, 0o060_000, 0o010_000, 0o140_000] {
        assert!(refusal(&[("dev", kind | 0o666, b"")]).contains("neither a file"));
    }
    assert!(refusal(&[("file/", 0o100_644, b"")]).contains("neither a file"));
}

#[test]
fn refuses_duplicates() {
    assert!(refusal(&[("a", 0o100_644, b"1"), ("a", 0o100_644, b"2")]).contains("twice"));
    assert!(refusal(&[("a", 0o100_644, b"1"), ("./a", 0o100_644, b"2")]).contains("twice"));
    assert!(refusal(&[("a", 0o100_644, b"1"), ("a/", 0o040_755, b"")]).contains("both a folder"));
    let (_dir, twice) = extract(raw_zip(&[("d/", 0o040_755, b""), ("d/x", 0, b"x")]));
    assert!(twice.is_ok(), "a folder may be named and implied");
}

#[test]
fn refuses_damage() {
    let good = raw_zip(&[("a", 0o100_644, b"content")]);
    let mut flipped = good.clone();
    let at = good.windows(7).position(|window| window == b"content").unwrap();
    flipped[at] ^= 1;
    assert!(matches!(extract(flipped).1, Err(ArchiveError::Invalid(_))), "wrong checksum");
    let mut encrypted = good.clone();
    encrypted[6] |= 1;
    let central = good.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    encrypted[central + 8] |= 1;
    assert!(matches!(extract(encrypted).1, Err(ArchiveError::Invalid(_))), "encrypted");
    for cut in 0..good.len() {
        assert!(extract(good[..cut].to_vec()).1.is_err(), "cut at {cut}");
    }
    assert!(matches!(extract(b"not a zip".to_vec()).1, Err(ArchiveError::Invalid(_))));
}

#[test]
fn refuses_overlapping_entries() {
    let mut zip = raw_zip(&[("a", 0o100_644, b"same"), ("b", 0o100_644, b"same")]);
    // The second central header now points at the first entry's data.
    let second = zip.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    zip[second + 42..second + 46].copy_from_slice(&[0; 4]);
    assert!(matches!(extract(zip).1, Err(ArchiveError::Invalid(_))));
}

#[test]
fn counts_what_is_written() {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for name in ["a", "b"] {
        writer.start_file(name, SimpleFileOptions::default()).unwrap();
        writer.write_all(&[0; 60_000]).unwrap();
    }
    let mut zip = writer.finish().unwrap().into_inner();
    let dir = tempfile::tempdir().unwrap();
    let result = unpack_limited(&Bytes::from(zip.clone()), dir.path(), 100_000);
    assert!(matches!(result, Err(ArchiveError::TooLarge)));
    // A header that claims to be small does not help.
    let central = zip.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    zip[central + 24..central + 28].copy_from_slice(&1_u32.to_le_bytes());
    let dir = tempfile::tempdir().unwrap();
    assert!(unpack_limited(&Bytes::from(zip), dir.path(), 50_000).is_err());
}

#[test]
fn refuses_nothing_at_all() {
    assert!(matches!(extract(raw_zip(&[])).1, Err(ArchiveError::Empty)));
    assert!(matches!(extract(raw_zip(&[("d/", 0o040_755, b"")])).1, Err(ArchiveError::Empty)));
}

proptest! {
    #[test]
    fn nothing_is_written_or_linked_outside(
        entries in proptest::collection::vec(
            (
                "[ab./\\\\]{1,6}",
                prop_oneof![Just(0o100_644_u32), Just(0o120_777), Just(0o040_755), Just(0)],
                "[ab./]{0,6}",
            ),
            1..6,
        )
    ) {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let entries: Vec<Entry<'_>> =
            entries.iter().map(|(name, mode, data)| (name.as_str(), *mode, data.as_bytes())).collect();
        let accepted = unpack(&Bytes::from(raw_zip(&entries)), &inner).is_ok();
        prop_assert_eq!(fs::read_dir(outer.path()).unwrap().count(), 1);
        if accepted {
            let root = inner.canonicalize().unwrap();
            let mut folders = vec![root.clone()];
            while let Some(folder) = folders.pop() {
                for entry in fs::read_dir(folder).unwrap() {
                    let entry = entry.unwrap();
                    if entry.file_type().unwrap().is_dir() {
                        folders.push(entry.path());
                    } else if let Ok(real) = entry.path().canonicalize() {
                        prop_assert!(real.starts_with(&root), "{:?} leads to {real:?}", entry.path());
                    }
                }
            }
        }
    }

    #[test]
    fn garbage_never_panics(data in proptest::collection::vec(any::<u8>(), 0..400), at in 0_usize..120) {
        let mut zip = raw_zip(&[("a/b", 0o100_644, b"content"), ("l", 0o120_777, b"a")]);
        let dir = tempfile::tempdir().unwrap();
        for (offset, byte) in data.iter().take(4).enumerate() {
            if let Some(slot) = zip.get_mut(at + offset) {
                *slot = *byte;
            }
        }
        let _ = unpack(&Bytes::from(zip), dir.path());
        let dir = tempfile::tempdir().unwrap();
        let _ = unpack(&Bytes::from(data), dir.path());
    }
}
