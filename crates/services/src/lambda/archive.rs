//! Deployment packages: zip files from strangers, unpacked without trusting anything in them.
//!
//! An archive is refused as a whole if any entry is not a plain file, a folder or a symbolic link that
//! stays inside; if names repeat, leave the folder, or run through a file or a link; if data overlaps, is
//! encrypted, or does not match its checksum. Sizes are counted while writing, never believed. Links are
//! made last, so no write ever goes through one.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Cursor, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::Path;

use bytes::Bytes;
use zip::ZipArchive;

/// Largest sum of unpacked sizes in bytes (AWS quota).
pub(crate) const MAX_UNZIPPED: u64 = 262_144_000;

/// Most files, links and folders of one package; AWS has no such quota, a file system does.
const MAX_NODES: usize = 200_000;

/// Longest path inside the package in bytes.
const MAX_PATH: usize = 1024;

/// Longest symbolic link target in bytes.
const MAX_LINK: u64 = 1024;

/// Where packages are mounted in a sandbox, as code and as layers; absolute link targets below them stay inside.
const MOUNT_POINTS: [&[u8]; 2] = [b"/var/task/", b"/opt/"];

const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;
const S_IFDIR: u32 = 0o040_000;
const S_IFLNK: u32 = 0o120_000;

/// Why a package cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// It has no file in it.
    #[error("the archive is empty")]
    Empty,
    /// It is damaged or hostile.
    #[error("{0}")]
    Invalid(String),
    /// Unpacked it is larger than [`MAX_UNZIPPED`].
    #[error("the archive is too large when unpacked")]
    TooLarge,
    /// The server could not write it.
    #[error("unpacking failed: {0}")]
    Io(#[from] io::Error),
}

/// What an entry becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Folder,
    File,
    Link,
}

/// Unpacks `package` into `folder`, which exists and is empty; answers the sum of the files' sizes.
/// Owner's read and execute bits are given to everybody, since each sandbox has a uid of its own.
///
/// # Errors
/// See [`ArchiveError`]; `folder` then holds a part of the content and is to be removed.
pub(crate) fn unpack(package: &Bytes, folder: &Path) -> Result<u64, ArchiveError> {
    unpack_limited(package, folder, MAX_UNZIPPED)
}

fn unpack_limited(package: &Bytes, folder: &Path, limit: u64) -> Result<u64, ArchiveError> {
    let mut archive = ZipArchive::new(Cursor::new(package.clone())).map_err(invalid)?;
    if archive.has_duplicate_names() {
        return Err(ArchiveError::Invalid("an entry occurs twice".to_owned()));
    }
    if archive.len() > MAX_NODES {
        return Err(ArchiveError::Invalid("too many entries".to_owned()));
    }
    if archive.has_overlapping_files().map_err(invalid)? {
        return Err(ArchiveError::Invalid("entries overlap".to_owned()));
    }
    // What it says of itself is enough to refuse it.
    if archive.decompressed_size().is_some_and(|size| size > u128::from(limit)) {
        return Err(ArchiveError::TooLarge);
    }
    let mut tree = Tree { folder, nodes: HashMap::new() };
    let mut links = Vec::new();
    let mut total = 0_u64;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(invalid)?;
        if entry.encrypted() {
            return Err(ArchiveError::Invalid("an entry is encrypted".to_owned()));
        }
        let mode = entry.unix_mode().unwrap_or(0);
        let (name, slash) = match entry.name_raw().strip_suffix(b"/") {
            Some(name) => (name, true),
            None => (entry.name_raw(), false),
        };
        let path = clean_path(name)?;
        let path = path.as_slice();
        let node = match (mode & S_IFMT, slash) {
            (S_IFDIR, _) | (0, true) => Node::Folder,
            (S_IFREG | 0, false) => Node::File,
            (S_IFLNK, false) => Node::Link,
            _ => return Err(refused(path, "is neither a file nor a folder nor a link")),
        };
        if path.is_empty() {
            // The folder itself, as some tools put it in.
            if node == Node::Folder {
                continue;
            }
            return Err(refused(name, "has no name"));
        }
        tree.add(path, node)?;
        match node {
            Node::Folder => {}
            Node::File => {
                let file = tree.create(path, mode)?;
                total = total.saturating_add(copy(&mut entry, file, limit - total)?);
            }
            Node::Link => {
                let mut target = Vec::new();
                (&mut entry).take(MAX_LINK + 1).read_to_end(&mut target).map_err(read_error)?;
                check_link(path, &target)?;
                links.push((path.to_vec(), target));
            }
        }
    }
    if !tree.nodes.values().any(|node| *node != Node::Folder) {
        return Err(ArchiveError::Empty);
    }
    for (path, target) in links {
        symlink(OsStr::from_bytes(&target), folder.join(OsStr::from_bytes(&path)))?;
    }
    Ok(total)
}

/// The part of the folder that has been written.
struct Tree<'a> {
    folder: &'a Path,
    nodes: HashMap<Vec<u8>, Node>,
}

impl Tree<'_> {
    /// Enters a node and makes the folders above it (and itself, if it is one).
    fn add(&mut self, path: &[u8], node: Node) -> Result<(), ArchiveError> {
        for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            self.folder(path.get(..at).unwrap_or_default())?;
        }
        if node == Node::Folder {
            return self.folder(path);
        }
        if self.nodes.insert(path.to_vec(), node).is_some() {
            return Err(refused(path, "occurs twice"));
        }
        self.check_count()
    }

    fn folder(&mut self, path: &[u8]) -> Result<(), ArchiveError> {
        match self.nodes.get(path) {
            Some(Node::Folder) => Ok(()),
            Some(_) => Err(refused(path, "is both a folder and something else")),
            None => {
                self.nodes.insert(path.to_vec(), Node::Folder);
                self.check_count()?;
                DirBuilder::new()
                    .mode(0o755)
                    .create(self.folder.join(OsStr::from_bytes(path)))
                    .map_err(name_error)
            }
        }
    }

    fn check_count(&self) -> Result<(), ArchiveError> {
        if self.nodes.len() > MAX_NODES {
            return Err(ArchiveError::Invalid("too many files and folders".to_owned()));
        }
        Ok(())
    }

    fn create(&self, path: &[u8], mode: u32) -> Result<File, ArchiveError> {
        let executable = mode & 0o100 != 0;
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(self.folder.join(OsStr::from_bytes(path)))
            .map_err(name_error)?;
        // Set apart from the creation, where the process's umask would take bits away.
        let mode = if executable { 0o755 } else { 0o644 };
        rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(mode)).map_err(io::Error::from)?;
        Ok(file)
    }
}

/// Copies an entry, at most `limit` bytes; the reader fails at the end if the checksum is wrong.
fn copy(entry: &mut impl Read, mut file: File, limit: u64) -> Result<u64, ArchiveError> {
    let mut buffer = vec![0_u8; 64 * 1024];
    let mut written = 0_u64;
    loop {
        let read = match entry.read(&mut buffer) {
            Ok(0) => return Ok(written),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(read_error(error)),
        };
        written = written.saturating_add(read as u64);
        if written > limit {
            return Err(ArchiveError::TooLarge);
        }
        file.write_all(buffer.get(..read).unwrap_or_default())?;
    }
}

/// Takes relative paths of ordinary components only; leaves `.` out.
fn clean_path(name: &[u8]) -> Result<Vec<u8>, ArchiveError> {
    if name.len() > MAX_PATH {
        return Err(refused(name, "is too long"));
    }
    if name.contains(&0) || name.contains(&b'\\') {
        return Err(refused(name, "holds a NUL byte or a backslash"));
    }
    let mut parts = Vec::new();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"." => {}
            b"" | b".." => return Err(refused(name, "is not a plain relative path")),
            part if part.len() > 255 => return Err(refused(name, "is not a plain relative path")),
            part => parts.push(part),
        }
    }
    Ok(parts.join(&b'/'))
}

/// Takes link targets that stay inside wherever the other links of the archive lead: `..` only in front,
/// not more of them than the link is deep (the folders above a link are real ones).
fn check_link(path: &[u8], target: &[u8]) -> Result<(), ArchiveError> {
    let refuse = || Err(refused(path, "is a link that leads outside"));
    if target.is_empty() || target.len() as u64 > MAX_LINK || target.contains(&0) {
        return refuse();
    }
    let in_mount = MOUNT_POINTS.iter().find_map(|mount| target.strip_prefix(*mount));
    let (rest, mut depth) = match in_mount {
        Some(rest) => (rest, 0),
        None if target.starts_with(b"/") => return refuse(),
        None => (target, path.iter().filter(|byte| **byte == b'/').count()),
    };
    let mut below = false;
    for part in rest.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if below || depth == 0 => return refuse(),
            b".." => depth -= 1,
            _ => below = true,
        }
    }
    Ok(())
}

fn refused(path: &[u8], what: &str) -> ArchiveError {
    let shown = path.get(..200).unwrap_or(path);
    ArchiveError::Invalid(format!("entry {:?} {what}", String::from_utf8_lossy(shown)))
}

fn invalid(error: zip::result::ZipError) -> ArchiveError {
    ArchiveError::Invalid(error.to_string())
}

/// The package is in memory, so a failed read is a fault of the package.
fn read_error(error: io::Error) -> ArchiveError {
    ArchiveError::Invalid(error.to_string())
}

/// Names that the file system does not take are the package's fault, all else is the server's.
fn name_error(error: io::Error) -> ArchiveError {
    use rustix::io::Errno;
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(
            Errno::NAMETOOLONG | Errno::INVAL | Errno::ILSEQ | Errno::EXIST | Errno::NOTDIR | Errno::ISDIR,
        ) => ArchiveError::Invalid(error.to_string()),
        _ => ArchiveError::Io(error),
    }
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
