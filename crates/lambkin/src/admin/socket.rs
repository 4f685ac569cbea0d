//! The socket `admin.sock` of a data folder.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use rustix::fs::OFlags;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::{UnixListener, UnixStream};

const NAME: &str = "admin.sock";
/// Longest path that fits into a socket's address, with its end.
const MAX_PATH: usize = 107;

/// The listening socket; removed on drop.
#[derive(Debug)]
pub(crate) struct AdminSocket {
    pub(super) listener: UnixListener,
    path: PathBuf,
}

impl AdminSocket {
    /// Makes the socket, mode 0600, in place of one that a killed server left. The caller has the folder's lock.
    pub(crate) fn bind(data_dir: &Path) -> anyhow::Result<Self> {
        let path = data_dir.join(NAME);
        let listener = bind(data_dir, &path).with_context(|| format!("listen on {}", path.display()))?;
        Ok(Self { listener, path })
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // If it stays, the next start replaces it.
        let _ = fs::remove_file(&self.path);
    }
}

fn bind(data_dir: &Path, path: &Path) -> anyhow::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(found) => {
            ensure!(found.file_type().is_socket(), "something else has this name: remove it");
            fs::remove_file(path)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    with_address(data_dir, |address| Ok(rustix::net::bind(&socket, &SocketAddrUnix::new(address)?)?))?;
    // Nobody can connect before it listens, hence not with the mode that the umask gave it.
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    rustix::net::listen(&socket, 16)?;
    Ok(UnixListener::from_std(socket.into())?)
}

/// Connects to the server of a data folder; `None` if there is none.
pub(super) async fn connect(data_dir: &Path) -> io::Result<Option<UnixStream>> {
    let stream = with_address(data_dir, |address| {
        let stream = std::os::unix::net::UnixStream::connect(address)?;
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    });
    match stream {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Names the socket by a path that fits into its address, however long the folder's own is.
fn with_address<T>(data_dir: &Path, work: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let path = data_dir.join(NAME);
    if path.as_os_str().as_bytes().len() <= MAX_PATH {
        return work(&path);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let folder = OpenOptions::new().read(true).custom_flags(flags).open(data_dir)?;
    work(Path::new(&format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn is_replaced_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("x".repeat(150));
        fs::create_dir(&deep).unwrap();
        for folder in [dir.path(), &deep] {
            let path = folder.join(NAME);
            assert!(connect(folder).await.unwrap().is_none());
            let socket = AdminSocket::bind(folder).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            connect(folder).await.unwrap().unwrap();
            drop(socket);
            assert!(!path.exists());
            // What a killed server leaves.
            drop(with_address(folder, |path| std::os::unix::net::UnixListener::bind(path)).unwrap());
            assert!(connect(folder).await.unwrap().is_none());
            let socket = AdminSocket::bind(folder).unwrap();
            connect(folder).await.unwrap().unwrap();
            drop(socket);
            fs::write(&path, "a file").unwrap();
            let error = format!("{:#}", AdminSocket::bind(folder).unwrap_err());
            assert!(error.contains("something else"), "{error}");
        }
    }
}
