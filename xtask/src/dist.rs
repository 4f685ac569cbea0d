//! `cargo xtask dist`: what users download: a tar file, a Debian package, and their checksums.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

/// The only platform that packages are made for.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The data folder of the packaged service.
const DATA_DIR: &str = "/var/lib/lambkin";

/// One file of a package.
struct Entry {
    /// Path without a leading slash; with one at the end it is a folder.
    path: String,
    mode: u32,
    content: Vec<u8>,
}

impl Entry {
    fn new(path: impl Into<String>, mode: u32, content: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), mode, content: content.into() }
    }
}

/// Builds everything into `target/dist`; with `binary` around that program instead of one built for it.
pub(crate) fn run(root: &Path, binary: Option<&Path>) -> Result<()> {
    let binary = match binary {
        Some(binary) => binary.to_owned(),
        None => build(root)?,
    };
    let program = fs::read(&binary).with_context(|| format!("reading {}", binary.display()))?;
    let version = env!("CARGO_PKG_VERSION");
    let time = build_time(root)?;
    let read = |path: &str| fs::read(root.join(path)).with_context(|| format!("reading {path}"));
    let config = packaged_config(&String::from_utf8(read("config/lambkin.toml")?)?)?;
    let (license, notice, readme) = (read("LICENSE")?, read("NOTICE")?, read("README.md")?);
    let unit = read("packaging/lambkin.service")?;

    let folder = format!("lambkin-{version}-linux-x86_64");
    let archive = [
        Entry::new(format!("{folder}/"), 0o755, []),
        Entry::new(format!("{folder}/lambkin"), 0o755, program.clone()),
        Entry::new(format!("{folder}/lambkin.toml"), 0o644, config.clone()),
        Entry::new(format!("{folder}/lambkin.service"), 0o644, unit.clone()),
        Entry::new(format!("{folder}/LICENSE"), 0o644, license.clone()),
        Entry::new(format!("{folder}/NOTICE"), 0o644, notice.clone()),
        Entry::new(format!("{folder}/README.md"), 0o644, readme.clone()),
    ];

    let copyright = [notice, b"\n".to_vec(), license].concat();
    let data = [
        Entry::new("etc/lambkin/lambkin.toml", 0o644, config),
        Entry::new("usr/bin/lambkin", 0o755, program.clone()),
        Entry::new("usr/lib/systemd/system/lambkin.service", 0o644, unit),
        Entry::new("usr/share/doc/lambkin/README.md", 0o644, readme),
        Entry::new("usr/share/doc/lambkin/copyright", 0o644, copyright),
    ];
    let mut control = vec![
        Entry::new("control", 0o644, control_file(version, &data, is_dynamic(&program))),
        Entry::new("conffiles", 0o644, "/etc/lambkin/lambkin.toml\n"),
    ];
    for script in ["postinst", "prerm", "postrm"] {
        control.push(Entry::new(script, 0o755, read(&format!("packaging/deb/{script}"))?));
    }

    let out = root.join("target/dist");
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("clearing {}", out.display()))?;
    }
    fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;
    let names = [format!("{folder}.tar.gz"), format!("lambkin_{version}_amd64.deb")];
    let [tar_name, deb_name] = &names;
    fs::write(out.join(tar_name), tar_gz(&archive, time)?)?;
    let members = [
        ("debian-binary", b"2.0\n".to_vec()),
        ("control.tar.gz", tar_gz(&below_root(control), time)?),
        ("data.tar.gz", tar_gz(&below_root(with_folders(data)), time)?),
    ];
    fs::write(out.join(deb_name), ar(&members, time)?)?;
    let sums = Command::new("sha256sum").args(&names).current_dir(&out).stderr(Stdio::inherit()).output();
    let sums = sums.context("starting sha256sum")?;
    ensure!(sums.status.success(), "sha256sum failed with {}", sums.status);
    fs::write(out.join("SHA256SUMS"), &sums.stdout)?;
    for name in names.iter().map(String::as_str).chain(["SHA256SUMS"]) {
        let path = out.join(name);
        println!("{:>12} {}", path.metadata()?.len(), path.display());
    }
    Ok(())
}

/// Builds the program without any need for libraries of the host. glibc is linked in: its target is there
/// wherever Rust is, unlike musl's, and its allocator is the faster one. Names of hosts are looked up by its own
/// reader of `/etc/hosts` and DNS; other sources of `/etc/nsswitch.conf` may not be available.
fn build(root: &Path) -> Result<PathBuf> {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--package", "lambkin", "--target", TARGET])
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .env("CARGO_PROFILE_RELEASE_INCREMENTAL", "false")
        .current_dir(root)
        .status()
        .context("starting cargo build")?;
    ensure!(status.success(), "cargo build failed with {status}");
    Ok(root.join("target").join(TARGET).join("release/lambkin"))
}

/// Time of all files, so that the same source makes the same packages: `SOURCE_DATE_EPOCH`, or that of the commit.
fn build_time(root: &Path) -> Result<u64> {
    if let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") {
        return text.parse().context("SOURCE_DATE_EPOCH is not a number of seconds");
    }
    let asked = Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(root).output();
    let asked = asked.context("starting git")?;
    String::from_utf8_lossy(&asked.stdout).trim().parse().context("no commit to take the time from")
}

/// The example settings with the data folder of the service.
fn packaged_config(example: &str) -> Result<String> {
    const DEFAULT: &str = "#=data-dir = \"lambkin-data\"\n";
    if !example.contains(DEFAULT) {
        bail!("config/lambkin.toml has no line {DEFAULT:?}");
    }
    Ok(example.replace(DEFAULT, &format!("data-dir = \"{DATA_DIR}\"\n")))
}

fn control_file(version: &str, data: &[Entry], dynamic: bool) -> String {
    let kibibytes: usize = data.iter().map(|entry| entry.content.len().div_ceil(1024)).sum();
    let depends = if dynamic { "Depends: libc6, libgcc-s1\n" } else { "" };
    format!(
        "Package: lambkin\n\
         Version: {version}\n\
         Architecture: amd64\n\
         Maintainer: Lambkin contributors <lambkin@localhost>\n\
         Section: net\n\
         Priority: optional\n\
         Installed-Size: {kibibytes}\n\
         {depends}\
         Suggests: nftables, python3, nodejs, awscli\n\
         Description: AWS Lambda on your own machines\n \
         One program that speaks the API of AWS Lambda and runs functions in Linux\n \
         sandboxes, without containers' daemons. Interpreters of functions are those of\n \
         the host; `lambkin doctor` lists them.\n"
    )
}

/// Whether an ELF program asks for a dynamic loader (a program header of type `PT_INTERP`).
fn is_dynamic(program: &[u8]) -> bool {
    let number = |at: usize, size: usize| {
        let bytes = program.get(at..at + size).unwrap_or_default();
        bytes.iter().rev().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte))
    };
    let (table, size, count) = (number(0x20, 8), number(0x36, 2), number(0x38, 2));
    (0..count).any(|index| number(table + index * size, 4) == 3)
}

/// Adds the folders above files, each once.
fn with_folders(entries: impl IntoIterator<Item = Entry>) -> Vec<Entry> {
    let mut all: Vec<Entry> = Vec::new();
    for entry in entries {
        for (at, _) in entry.path.match_indices('/') {
            let folder = entry.path.get(..=at).unwrap_or_default();
            if !all.iter().any(|known| known.path == folder) {
                all.push(Entry::new(folder, 0o755, []));
            }
        }
        all.push(entry);
    }
    all
}

/// Names as dpkg writes them: `./path`.
fn below_root(entries: Vec<Entry>) -> Vec<Entry> {
    let own = Entry::new("./", 0o755, []);
    let rest = entries.into_iter().map(|entry| Entry { path: format!("./{}", entry.path), ..entry });
    std::iter::once(own).chain(rest).collect()
}

fn tar_gz(entries: &[Entry], time: u64) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        let kind =
            if entry.path.ends_with('/') { tar::EntryType::Directory } else { tar::EntryType::Regular };
        header.set_entry_type(kind);
        header.set_mode(entry.mode);
        header.set_mtime(time);
        header.set_size(entry.content.len() as u64);
        header.set_username("root")?;
        header.set_groupname("root")?;
        // Not `append_data`, which takes `./` away.
        let name = header.as_old_mut();
        let bytes = entry.path.as_bytes();
        let place = name.name.get_mut(..bytes.len()).context("a path is too long for tar")?;
        place.copy_from_slice(bytes);
        header.set_cksum();
        archive.append(&header, entry.content.as_slice())?;
    }
    gzip(&archive.into_inner()?)
}

/// By the host's `gzip`, which is optimised; this program is mostly not.
fn gzip(content: &[u8]) -> Result<Vec<u8>> {
    let mut child = Command::new("gzip")
        .args(["--no-name", "--stdout"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting gzip")?;
    let mut input = child.stdin.take().context("gzip has no input")?;
    let output = std::thread::scope(|scope| {
        let writer = scope.spawn(move || input.write_all(content));
        let output = child.wait_with_output();
        writer.join().map_err(|_| anyhow::anyhow!("writing to gzip failed"))??;
        anyhow::Ok(output?)
    })?;
    ensure!(output.status.success(), "gzip failed with {}", output.status);
    Ok(output.stdout)
}

/// An `ar` archive: a magic line, then members, each with a header of 60 bytes and padded to an even length.
fn ar(members: &[(&str, Vec<u8>)], time: u64) -> Result<Vec<u8>> {
    let mut out = b"!<arch>\n".to_vec();
    for (name, content) in members {
        writeln!(out, "{name:<16}{time:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, 100_644, content.len())?;
        out.extend_from_slice(content);
        if content.len() % 2 == 1 {
            out.push(b'\n');
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ar_members_begin_at_even_places() {
        let made = ar(&[("a", b"x".to_vec()), ("b", b"yz".to_vec())], 7).unwrap();
        assert_eq!(made.len(), 8 + 60 + 2 + 60 + 2);
        assert!(
            made.starts_with(b"!<arch>\na               7           0     0     100644  1         `\nx\n")
        );
    }

    #[test]
    fn settings_of_the_package_name_its_data_folder() {
        let example = include_str!("../../config/lambkin.toml");
        let made = packaged_config(example).unwrap();
        assert!(made.contains("\ndata-dir = \"/var/lib/lambkin\"\n"));
        assert!(packaged_config("").is_err());
    }

    #[test]
    fn folders_come_before_what_is_in_them() {
        let made = below_root(with_folders([Entry::new("a/b/c", 0o644, []), Entry::new("a/d", 0o644, [])]));
        let paths: Vec<_> = made.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(paths, ["./", "./a/", "./a/b/", "./a/b/c", "./a/d"]);
    }
}
