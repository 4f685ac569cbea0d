//! `lambkin backup` and `lambkin restore`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Args;
use jiff::Timestamp;
use lambkin_core::{Clock as _, SystemClock};

use super::restore::restore;
use crate::admin;
use crate::config::default_data_dir;

/// Arguments of `lambkin backup`.
#[derive(Debug, Args)]
pub(crate) struct BackupArguments {
    /// Folder that holds all state [default: ./lambkin-data]
    #[arg(long, env = "LAMBKIN_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Leave the logs out
    #[arg(long)]
    without_logs: bool,
    /// Compress by zstd, as names that end in .zst do without being told
    #[arg(long)]
    zstd: bool,
    /// File to write, which must not be there yet, or a folder to make one in
    #[arg(value_name = "FILE|DIR")]
    target: PathBuf,
}

/// Arguments of `lambkin restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArguments {
    /// Folder to make, or an empty one
    #[arg(long, env = "LAMBKIN_DATA_DIR", value_name = "DIR")]
    data_dir: PathBuf,
    /// Backup to read
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Makes a backup of a running server, or of the data folder if there is none.
pub(crate) fn backup(arguments: BackupArguments) -> anyhow::Result<ExitCode> {
    let data_dir = arguments.data_dir.unwrap_or_else(default_data_dir);
    let target = file_name(&arguments.target, arguments.zstd)?;
    ensure!(!target.exists(), "{} exists already", target.display());
    let zstd = arguments.zstd || target.extension().is_some_and(|end| end == "zst");
    let unfinished = Unfinished::create(&target)?;
    let file = BufWriter::with_capacity(1 << 20, unfinished.file.try_clone()?);
    let written =
        |error: io::Error| anyhow::Error::from(error).context(format!("write {}", target.display()));
    if zstd {
        let mut out = zstd::stream::write::Encoder::new(file, 0)?;
        out.include_checksum(true)?;
        admin::backup(&data_dir, !arguments.without_logs, &mut out)?;
        out.finish().and_then(|mut file| file.flush()).map_err(written)?;
    } else {
        let mut out = file;
        admin::backup(&data_dir, !arguments.without_logs, &mut out)?;
        out.flush().map_err(written)?;
    }
    let bytes = unfinished.finish(&target).map_err(written)?;
    writeln!(io::stdout(), "{} ({bytes} bytes)", target.display())?;
    Ok(ExitCode::SUCCESS)
}

fn file_name(target: &Path, zstd: bool) -> anyhow::Result<PathBuf> {
    if !target.is_dir() {
        return Ok(target.to_owned());
    }
    let seconds = i64::try_from(SystemClock::default().now().as_secs()).unwrap_or(i64::MAX);
    let time = Timestamp::from_second(seconds)?.strftime("%Y%m%dT%H%M%SZ");
    Ok(target.join(format!("lambkin-{time}.tar{}", if zstd { ".zst" } else { "" })))
}

/// A file that has its name only when it is whole; else it is removed.
struct Unfinished {
    file: File,
    path: PathBuf,
}

impl Unfinished {
    fn create(target: &Path) -> anyhow::Result<Self> {
        let mut name = target.as_os_str().to_owned();
        name.push(format!(".part-{}", std::process::id()));
        let path = PathBuf::from(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = file.with_context(|| format!("create {}", path.display()))?;
        Ok(Self { file, path })
    }

    fn finish(&self, target: &Path) -> io::Result<u64> {
        self.file.sync_all()?;
        fs::rename(&self.path, target)?;
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok(self.file.metadata()?.len())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Gone already if it was finished.
        let _ = fs::remove_file(&self.path);
    }
}

/// Restores a backup.
pub(crate) fn run_restore(arguments: RestoreArguments) -> anyhow::Result<ExitCode> {
    let RestoreArguments { data_dir, file } = arguments;
    let done = restore(&file, &data_dir).with_context(|| format!("restore {}", file.display()))?;
    writeln!(
        io::stdout(),
        "{}: {} files ({} bytes) of the backup of {}, account {}{}",
        data_dir.display(),
        done.files,
        done.bytes,
        done.header.created,
        done.header.account,
        if done.header.logs { "" } else { ", without logs" },
    )?;
    Ok(ExitCode::SUCCESS)
}
