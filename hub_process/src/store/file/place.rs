//! Where the file of a store is: its path, its lock, and the name that a damaged one gets.

use super::fault::{Fault, Kind};
use eventsource_xs::remote::calls::{can_write, is_at, try_lock};
use rusqlite::Connection;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time that another process may take to end and unlock the file.
pub const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// Opens the file, or creates it, and locks it for this process.
///
/// The lock is on the file that the path leads to once it is locked: another process may have renamed the first one.
pub fn lock(path: &Path) -> Result<Arc<File>, Fault> {
    let shown = path.display();
    let lasting = |message: String| Err(Fault::new(Kind::Lasting, message));
    folder_of(path)?;
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = match file {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                return Err(Fault::new(Kind::Passing, format!("{shown}: {error}")));
            }
            Err(error) => return Err(not_writable(path, &error)),
        };
        if !file.metadata().is_ok_and(|file| file.is_file()) {
            return lasting(format!("{shown} is not a file"));
        }
        match try_lock(&file) {
            Ok(true) if is_at(&file, path) => return Ok(Arc::new(file)),
            Ok(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            Ok(_) => return lasting(format!("another hub uses {shown}")),
            Err(error) => return lasting(format!("{shown}: its file system has no locks: {error}")),
        }
    }
}

/// Returns the path of the file itself, if a symbolic link leads to it: SQLite has the WAL beside the file.
pub fn real(path: &Path) -> Result<PathBuf, Fault> {
    std::fs::canonicalize(path).map_err(|error| not_writable(path, &error))
}

/// Checks that the file could be opened, or made. Does not open it: SQLite's locks end when the process closes any descriptor
/// of the file.
pub fn check(path: &Path) -> Result<(), Fault> {
    let folder = folder_of(path)?;
    let mut there = [folder, path].into_iter().filter(|path| path.exists());
    there.try_for_each(can_write).map_err(|error| not_writable(path, &error))
}

/// Returns the folder of the file.
fn folder_of(path: &Path) -> Result<&Path, Fault> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.is_dir() {
        return Ok(folder);
    }
    let (shown, folder) = (path.display(), folder.display());
    let message = format!("{shown}: there is no folder {folder}. Create it, and let the hub's user write to it");
    Err(Fault::new(Kind::Lasting, message))
}

fn not_writable(path: &Path, error: &io::Error) -> Fault {
    let message = format!("{}: {error}. Let the hub's user write to the file and its folder", path.display());
    Fault::new(Kind::Lasting, message)
}

/// Returns the path of the WAL of a file.
pub fn wal_of(path: &Path) -> PathBuf {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    wal.into()
}

/// Renames a damaged file and its WAL, so that people can look at them. Returns the new path.
pub fn set_aside(path: &Path, now: u64) -> io::Result<PathBuf> {
    let time = "SELECT strftime('%Y%m%dT%H%M%S', ?1, 'unixepoch')";
    let time: rusqlite::Result<String> =
        Connection::open_in_memory().and_then(|memory| memory.query_row(time, [(now / 1000) as i64], |row| row.get(0)));
    let time = time.map_err(io::Error::other)?;
    let names = (1..).map(|count: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".corrupt-{time}{}", if count == 1 { String::new() } else { format!("-{count}") }));
        PathBuf::from(name)
    });
    let name = names.into_iter().find(|name| !name.exists()).ok_or(io::ErrorKind::AlreadyExists)?;
    // The WAL first: a new file with the old WAL would be damaged, too.
    if wal_of(path).exists() {
        std::fs::rename(wal_of(path), wal_of(&name))?;
    }
    std::fs::rename(path, &name)?;
    Ok(name)
}
