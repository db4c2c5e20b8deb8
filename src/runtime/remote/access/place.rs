//! Where the sockets of a user's hubs are.
//!
//! All processes of a user have to find the same hub, whatever their environment: a job of cron and a shell must meet. So
//! `XDG_RUNTIME_DIR` is not asked: where it is another folder than `/run/user/UID`, only some processes have it. The folder is
//! `$EVENTSOURCE_RUNTIME_DIR`, if that is set, and nothing else: so tests have hubs of their own. Otherwise a hub is started in
//! the first of these that can be had:
//!
//! 1. `/run/user/UID/eventsource`, if there is a session
//! 2. `/run/eventsource/UID`
//! 3. `/tmp/eventsource-UID`
//!
//! Folders come and go: a login makes `/run/user/UID`, while a hub that a service has started before is in `/tmp`. So a hub is
//! looked for in all of these folders (`Place::sockets`), and started only if no process has its lock in any of them.
//!
//! A folder belongs to the user and no one else may enter it, so no other user can offer a socket in it. `/tmp` is everyone's:
//! a folder or a link that someone else has made there is refused, never used.

use crate::sys::socket::own_user;
use crate::wire::Name;
use crate::Failure;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The variable of the environment that gives the folder.
const VARIABLE: &str = "EVENTSOURCE_RUNTIME_DIR";

/// The beginning of a folder's name in `/tmp`, before the user.
const IN_TMP: &str = "eventsource-";

/// The user that may do everything.
const ROOT: u32 = 0;

/// The most bytes of a socket's path.
const MAX_PATH_BYTES: usize = 107;

/// The name of a hub. Its place is found when a process connects, for a process may change its user or its
/// environment after the application was loaded, and its folder must be of the user that it has then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    name: Name,
    socket: Option<PathBuf>,
}

impl Address {
    /// Returns the address of a hub by its name, or also by the path of its socket. Fails with `Invalid` if the path
    /// is too long.
    pub fn new(name: Name, socket: Option<PathBuf>) -> Result<Self, Failure> {
        socket.iter().try_for_each(|socket| check_length(socket))?;
        Ok(Self { name, socket })
    }

    /// Returns the hub's name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Finds the place. Errors are those of [`Place::new`].
    pub fn place(&self) -> Result<Place, Failure> {
        Place::new(self.name.clone(), self.socket.as_deref())
    }
}

/// Where a hub process is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    name: Name,
    socket: PathBuf,
    lock: PathBuf,
    /// The sockets in the other folders of this user, whether or not these exist.
    others: Vec<PathBuf>,
}

impl Place {
    /// Returns the place of a hub: in the folders of this user, or at a path. Fails with `Unavailable` if there is no
    /// folder for this user alone, `Invalid` if the path is too long.
    pub fn new(name: Name, socket: Option<&Path>) -> Result<Self, Failure> {
        match socket {
            Some(path) => Self::at(name, path.to_owned(), Vec::new()),
            None => {
                let (preferred, others) = choose()?;
                let file = format!("{name}.sock");
                Self::at(name, preferred.join(&file), others.iter().map(|folder| folder.join(&file)).collect())
            }
        }
    }

    /// Returns a place that is looked for at other paths, too.
    pub(super) fn at(name: Name, socket: PathBuf, others: Vec<PathBuf>) -> Result<Self, Failure> {
        check_length(&socket)?;
        let lock = beside(&socket, "lock");
        Ok(Self { name, socket, lock, others })
    }

    /// Returns the hub's name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Returns the path of the socket on which a new hub process listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns true if the place is in a folder of this user, rather than at a path that was given.
    pub(super) fn is_of_user(&self) -> bool {
        !self.others.is_empty()
    }

    /// Returns the path of the file that the hub process keeps locked.
    pub fn lock(&self) -> &Path {
        &self.lock
    }

    /// Returns the path of the file in which the hub process keeps what it has delivered last.
    pub fn seen(&self) -> PathBuf {
        beside(&self.socket, "seen")
    }

    /// Returns the path of the file in which the hub process keeps the last lines of its log.
    pub fn log(&self) -> PathBuf {
        beside(&self.socket, "log")
    }

    /// Returns the path of the file in which the hub process keeps the settings that somebody has named.
    pub fn settings(&self) -> PathBuf {
        beside(&self.socket, "settings")
    }

    /// Returns the path of the file that says where the last process that was run serves a proxy.
    pub fn proxy(&self) -> PathBuf {
        beside(&self.socket, "proxy")
    }

    /// Returns the same as [`settings`](Self::settings) in the other folders of this user.
    pub(super) fn other_settings(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.private_others().map(|socket| beside(socket, "settings"))
    }

    /// Returns the paths at which a hub process may listen.
    pub(super) fn sockets(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(self.socket()).chain(self.private_others())
    }

    /// Checks that no other user can make files beside the socket: the lock and the others are opened where they are. Fails
    /// with `Invalid` if the folder is another user's, or others may write to it, or if it is a link.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let folder = self.socket.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let rule = "socket must be in a folder of this user alone:";
        let found =
            fs::symlink_metadata(folder).map_err(|error| failed_at(folder, &format!("{rule} cannot use"), &error))?;
        let why = if !found.is_dir() {
            "is not a folder"
        } else if ![own_user(), ROOT].contains(&found.uid()) {
            "belongs to another user"
        } else if found.mode() & 0o022 != 0 {
            "can be written by other users (chmod go-w)"
        } else {
            return Ok(());
        };
        Err(Failure::invalid("socket", format!("{rule} {} {why}", folder.display())))
    }

    /// Returns the files of the hub that may be there, beside the socket.
    pub fn files(&self) -> [PathBuf; 5] {
        [self.lock.clone(), self.log(), self.seen(), self.settings(), self.proxy()]
    }

    /// Returns the files that a hub process keeps locked if it listens at another path than [`socket`](Self::socket).
    pub(super) fn other_locks(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.private_others().map(|socket| beside(socket, "lock"))
    }

    fn private_others(&self) -> impl Iterator<Item = &Path> {
        let is_private = |path: &&Path| path.parent().map_or(false, |folder| check_folder(folder, own_user()).is_ok());
        self.others.iter().map(PathBuf::as_path).filter(is_private)
    }
}

/// Says what could not be done with a path.
pub(super) fn failed_at(path: &Path, what: &str, error: &io::Error) -> Failure {
    Failure::unavailable(format!("{what} {}: {error}", path.display()))
}

fn check_length(socket: &Path) -> Result<(), Failure> {
    if socket.as_os_str().len() > MAX_PATH_BYTES {
        let message = format!("socket has at most {MAX_PATH_BYTES} bytes: {}", socket.display());
        return Err(Failure::invalid("socket", message));
    }
    Ok(())
}

/// Returns the path of a file beside a socket. It begins with the whole name of the socket, whatever dots that has.
fn beside(socket: &Path, what: &str) -> PathBuf {
    let mut path = socket.to_owned().into_os_string();
    path.push(".");
    path.push(what);
    path.into()
}

/// Returns the folders in which hubs of this user may be. Creates the preferred one, which is the first, if need be. Fails with
/// `Unavailable` if no folder is this user's alone.
pub fn folders() -> Result<Vec<PathBuf>, Failure> {
    let (preferred, mut others) = choose()?;
    others.retain(|folder| check_folder(folder, own_user()).is_ok());
    others.insert(0, preferred);
    Ok(others)
}

/// Returns the folders in which hubs of other users may be, as far as this user may look for them; none if the environment
/// gives a folder.
pub(super) fn others_folders() -> Vec<PathBuf> {
    if std::env::var_os(VARIABLE).map_or(false, |given| !given.is_empty()) {
        return Vec::new();
    }
    let entries = |folder: &str| {
        let entries = fs::read_dir(folder).into_iter().flatten();
        entries.filter_map(|entry| Some(entry.ok()?.path())).collect::<Vec<_>>()
    };
    let is_of_tmp = |path: &PathBuf| path.file_name().map_or(false, |name| name.to_string_lossy().starts_with(IN_TMP));
    let mut folders: Vec<PathBuf> = entries("/run/user").iter().map(|session| session.join("eventsource")).collect();
    folders.extend(entries("/run/eventsource"));
    folders.extend(entries("/tmp").into_iter().filter(is_of_tmp));
    folders
}

/// Returns the folder in which hubs are started, and the others in which they are looked for.
fn choose() -> Result<(PathBuf, Vec<PathBuf>), Failure> {
    let user = own_user();
    if let Some(given) = std::env::var_os(VARIABLE).filter(|given| !given.is_empty()) {
        return Ok((given_folder(PathBuf::from(given), user)?, Vec::new()));
    }
    let session = Path::new("/run/user").join(user.to_string());
    let last = Path::new("/tmp").join(format!("{IN_TMP}{user}"));
    let mut folders = vec![session.join("eventsource"), format!("/run/eventsource/{user}").into(), last];
    let has_session = check_folder(&session, user).is_ok();
    let mut failure = None;
    let can_be_had = |(at, folder): (usize, &PathBuf)| {
        (at > 0 || has_session) && make_folder(folder, user).map_err(|error| failure = Some(error)).is_ok()
    };
    match folders.iter().enumerate().position(can_be_had) {
        Some(at) => Ok((folders.remove(at), folders)),
        None => {
            let error = failure.unwrap_or_else(|| io::ErrorKind::NotFound.into());
            Err(failed_at(&folders[2], "no folder for sockets", &error))
        }
    }
}

/// Returns the folder that the environment gives. It is never made: a test that has removed it has ended.
fn given_folder(path: PathBuf, user: u32) -> Result<PathBuf, Failure> {
    let refused = |why: &str| Err(Failure::unavailable(format!("{VARIABLE}, {}: {why}", path.display())));
    if !path.is_absolute() {
        return refused("it is not an absolute path");
    }
    match check_folder(&path, user) {
        Ok(()) => Ok(path),
        Err(error) => refused(&error.to_string()),
    }
}

/// Makes a folder, unless it exists, and checks it.
fn make_folder(path: &Path, user: u32) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => give_owner(path, 0o700)?,
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Err(_) => {}
    }
    check_folder(path, user)
}

/// Gives the owner of a new file the rights that the umask of the process has taken away.
pub(super) fn give_owner(path: &Path, rights: u32) -> io::Result<()> {
    let mode = fs::symlink_metadata(path)?.mode() & 0o7777;
    if mode & rights == rights {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode | rights))
}

/// Checks that a folder is not a link, and that only a user may enter it.
pub(super) fn check_folder(path: &Path, user: u32) -> io::Result<()> {
    let refuse = |why: &str| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() {
        return refuse("it is not a folder");
    }
    if found.uid() != user {
        return refuse("it belongs to another user");
    }
    if found.mode() & 0o077 != 0 {
        return refuse("other users may enter it; chmod 700");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    #[cfg_attr(miri, ignore)] // system calls
    fn a_folder_that_others_may_enter_or_that_is_a_link_is_refused() {
        let user = own_user();
        let folder = std::env::temp_dir().join(format!("eventsource-place-{}", std::process::id()));
        make_folder(&folder, user).expect("a new folder");
        make_folder(&folder, user).expect("the same folder");
        assert!(make_folder(&folder, user + 1).is_err());
        let link = folder.join("link");
        symlink(&folder, &link).expect("a link");
        assert!(make_folder(&link, user).is_err());
        let file = folder.join("file");
        fs::write(&file, "").expect("a file");
        assert!(make_folder(&file, user).is_err());
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o000)).expect("its owner may"); // as a umask leaves it
        give_owner(&folder, 0o700).expect("its owner may");
        assert_eq!(fs::metadata(&folder).expect("a folder").mode() & 0o777, 0o700);
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o750)).expect("its owner may");
        assert!(make_folder(&folder, user).is_err());
        fs::remove_dir_all(&folder).expect("its owner may");
    }

    #[test]
    #[cfg_attr(miri, ignore)] // system calls
    fn a_folder_that_is_given_is_used_or_refused_but_never_made() {
        let user = own_user();
        let folder = std::env::temp_dir().join(format!("eventsource-given-{}", std::process::id()));
        let given = |path: &Path| given_folder(path.to_owned(), user);
        assert!(given(&folder).is_err());
        make_folder(&folder, user).expect("a new folder");
        assert_eq!(given(&folder).expect("a folder"), folder);
        fs::remove_dir(&folder).expect("its owner may");
        let error = given(Path::new("relative")).expect_err("no absolute path").to_string();
        assert!(error.contains("EVENTSOURCE_RUNTIME_DIR, relative: it is not an absolute path"), "{error}");
    }

    #[test]
    fn the_files_of_a_hub_are_beside_its_socket_and_have_its_whole_name() {
        let name = || Name::new("shop").expect("a name");
        let place = Place::new(name(), Some(Path::new("/run/shop"))).expect("a place");
        assert_eq!((place.socket(), place.lock()), (Path::new("/run/shop"), Path::new("/run/shop.lock")));
        let place = Place::new(name(), Some(Path::new("/run/hub.blue"))).expect("a place");
        assert_eq!(place.seen(), Path::new("/run/hub.blue.seen"));
        let long = "/x".repeat(60);
        let refused = Place::new(name(), Some(Path::new(&long))).expect_err("it is too long");
        assert_eq!(refused.field.as_deref(), Some("socket"));
    }
}
