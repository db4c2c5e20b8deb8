//! The settings of a hub that somebody has named, in a file beside its socket.
//!
//! A hub process ends when nobody needs it, and the next process that needs it may have no settings: a command, or a job. So
//! the process keeps what workers and command lines have named, and the next one begins with that. That the file exists says
//! that this user has such a hub: a command starts no other one.
//!
//! The file holds the settings by their names, so a program of any version reads those that it knows. It may hold the password
//! of a store: only the user may read it, as the folder. Only the process with the lock of the hub writes it. Another file
//! takes its place at once, so a reader finds one of the two.

use super::place::Place;
use crate::codec::{decode, encode};
use crate::sys::daemon::replace_file;
use crate::sys::socket::own_user;
use crate::wire::{Name, NamedSettings, StoreSettings, MAX_GREETING_BYTES};
use crate::Failure;
use rustix::fs::OFlags;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Returns the settings that are kept beside the socket of a place; nothing if there are none.
/// Fails with a sentence, if there is a file that is not used.
pub fn read(place: &Place) -> Result<Option<NamedSettings>, String> {
    read_file(place, &place.settings())
}

/// Keeps settings in the place of others. Call this with the lock of the hub. Fails with [`io::Error`]: the next hub process
/// then begins with other settings.
pub fn write(place: &Place, settings: &NamedSettings) -> io::Result<()> {
    replace_file(&place.settings(), &encode(&(place.name().clone(), settings.clone())))
}

/// Keeps where a process that was run serves streams for a proxy, if it does: one that is started in its place does not.
/// Call this with the lock of the hub.
pub fn note_proxy(place: &Place, endpoint: Option<&str>) {
    // It is only for people.
    let keep = |endpoint: &str| replace_file(&place.proxy(), endpoint.as_bytes());
    let _ = endpoint.map_or_else(|| fs::remove_file(place.proxy()), keep);
}

/// Forgets the settings of a hub. Call this with the lock of the hub.
pub fn forget(place: &Place) {
    note_proxy(place, None);
    let own = std::iter::once(place.settings());
    own.chain(place.other_settings()).for_each(|path| drop(fs::remove_file(path)));
}

/// Returns true if settings of a hub are kept, in any folder of this user.
pub fn exist(place: &Place) -> bool {
    newest(place).is_some()
}

/// Returns the settings with which a process would begin that is started now.
pub fn to_begin_with(place: &Place) -> NamedSettings {
    newest(place).map(|(_, settings)| settings).unwrap_or_default()
}

/// Says that a hub process does not answer. If its store may be the reason, and the caller does not name one, says where that
/// comes from.
pub(in crate::runtime::remote) fn no_answer(place: &Place, named: Option<&NamedSettings>) -> Failure {
    let name = place.name();
    let message = format!("the hub process {name} does not answer; eventsource hub log {name} may say why");
    let names_store = named.map_or(false, |settings| settings.store.is_some());
    let store = to_begin_with(place).store.filter(|store| !names_store && *store != StoreSettings::Memory);
    Failure::unavailable(store.map_or(message.clone(), |store| {
        format!(
            "{message}. Its store, {}, was named before, by a program or when the process was started: \
             `eventsource hub stop {name}` forgets what programs have named",
            store.place()
        )
    }))
}

/// Copies the settings that were kept last, if that was in another folder. Call this with the lock of the hub.
pub(super) fn take_over(place: &Place) {
    if let Some((path, settings)) = newest(place).filter(|(path, _)| *path != place.settings()) {
        if write(place, &settings).is_ok() {
            let _ = fs::remove_file(path);
        }
    }
}

fn newest(place: &Place) -> Option<(PathBuf, NamedSettings)> {
    let changed = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let paths = std::iter::once(place.settings()).chain(place.other_settings());
    let kept = paths.filter_map(|path| read_file(place, &path).ok().flatten().map(|settings| (path, settings)));
    kept.max_by_key(|(path, _)| changed(path))
}

fn read_file(place: &Place, path: &Path) -> Result<Option<NamedSettings>, String> {
    let failed = |why: &str| Err(format!("the settings in {} are not used: {why}", path.display()));
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return failed(&error.to_string()),
    };
    let is_private = file
        .metadata()
        .map_or(false, |found| found.is_file() && found.uid() == own_user() && found.mode() & 0o077 == 0);
    if !is_private {
        return failed("only this user may own the file, read it and write it");
    }
    let mut bytes = Vec::new();
    if let Err(error) = file.take(2 * MAX_GREETING_BYTES as u64).read_to_end(&mut bytes) {
        return failed(&error.to_string());
    }
    match decode::<(Name, NamedSettings)>(&bytes) {
        Ok((name, settings)) if name == *place.name() => Ok(Some(settings)),
        Ok(_) => failed("they are of another hub"),
        Err(_) => failed("the file is damaged"),
    }
}

#[cfg(all(test, not(miri)))] // system calls
mod tests {
    use super::*;
    use std::os::unix::fs::{symlink, PermissionsExt};
    use std::time::Duration;

    fn place(folder: &Path, name: &str) -> Place {
        Place::new(Name::new(name).expect("a name"), Some(&folder.join("shop.sock"))).expect("a place")
    }

    #[test]
    fn settings_are_kept_and_a_file_that_is_not_this_users_own_is_as_if_absent() {
        let folder = std::env::temp_dir().join(format!("eventsource-kept-{}", std::process::id()));
        fs::create_dir(&folder).expect("a new folder");
        let shop = place(&folder, "shop");
        assert_eq!(read(&shop), Ok(None));
        let settings = NamedSettings { grace: Some(Duration::from_secs(7)), ..NamedSettings::default() };
        write(&shop, &NamedSettings::default()).expect("its owner may");
        write(&shop, &settings).expect("its owner may");
        assert_eq!(read(&shop), Ok(Some(settings.clone())));
        assert!(read(&place(&folder, "other")).is_err(), "another hub");

        let file = shop.settings();
        let bytes = fs::read(&file).expect("a file");
        let refused = |what: &str| assert!(read(&shop).is_err() && !exist(&shop), "{what}");
        fs::write(&file, &bytes[..bytes.len() - 1]).expect("its owner may");
        refused("a part of a file");
        fs::write(&file, &bytes).expect("its owner may");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("its owner may");
        refused("others may read it");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("its owner may");
        assert_eq!(read(&shop), Ok(Some(settings)));
        fs::rename(&file, folder.join("kept")).expect("its owner may");
        symlink(folder.join("kept"), &file).expect("a link");
        refused("a link");
        note_proxy(&shop, Some("127.0.0.1:8080"));
        assert_eq!(fs::metadata(shop.proxy()).expect("a file").mode() & 0o777, 0o600, "whatever the umask is");
        forget(&shop);
        assert!(!shop.proxy().exists());
        assert_eq!(read(&shop), Ok(None));
        fs::create_dir(&file).expect("its owner may");
        write(&shop, &NamedSettings::default()).expect_err("a folder is in the place of the file");
        let names = fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("a file").file_name());
        let left: Vec<_> = names.filter(|name| name.to_string_lossy().ends_with(".new")).collect();
        assert!(left.is_empty(), "{left:?}");
        fs::remove_dir_all(&folder).expect("its owner may");
    }

    #[test]
    fn settings_of_another_folder_are_found_and_taken_over() {
        let folders = ["one", "two"]
            .map(|name| std::env::temp_dir().join(format!("eventsource-kept-{name}-{}", std::process::id())));
        for folder in &folders {
            fs::create_dir(folder).expect("a new folder");
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).expect("its owner may");
        }
        let [one, two] = [[0, 1], [1, 0]].map(|[own, other]| {
            let sockets: [PathBuf; 2] = [own, other].map(|at: usize| folders[at].join("shop.sock"));
            let [socket, other] = sockets;
            Place::at(Name::new("shop").expect("a name"), socket, vec![other]).expect("a place")
        });
        let settings = NamedSettings { grace: Some(Duration::from_secs(7)), ..NamedSettings::default() };
        write(&one, &settings).expect("its owner may");
        assert!(exist(&two) && read(&two) == Ok(None));
        take_over(&two);
        assert_eq!((read(&two), read(&one)), (Ok(Some(settings)), Ok(None)));
        folders.iter().for_each(|folder| fs::remove_dir_all(folder).expect("its owner may"));
    }
}
