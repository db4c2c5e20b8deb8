//! Hubs of other users, for the messages to a user who looks for a hub, or publishes to it, as the wrong user.
//!
//! A process may look into the folders of others only as root. It never connects to their hubs, except to see that somebody
//! listens: `check_peer` refuses them.

use super::place::{check_folder, others_folders};
use crate::sys::socket::{connect_at_once, own_user};
use crate::wire::Name;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

/// Returns the users that have a hub process of that name, each as `sudo -u` takes it.
pub fn users_with(name: &Name) -> Vec<String> {
    let mut users: Vec<u32> = others_folders()
        .into_iter()
        .filter_map(|folder| {
            let user = fs::symlink_metadata(&folder).ok()?.uid();
            let is_private = user != own_user() && check_folder(&folder, user).is_ok();
            let socket = folder.join(format!("{name}.sock"));
            let is_socket = |found: fs::Metadata| found.file_type().is_socket() && found.uid() == user;
            let serves = || fs::symlink_metadata(&socket).map_or(false, is_socket) && connect_at_once(&socket).is_ok();
            (is_private && serves()).then_some(user)
        })
        .collect();
    users.sort_unstable();
    users.dedup();
    users.into_iter().map(name_of).collect()
}

/// Returns the name of a user, or its number in the form that `sudo` takes.
fn name_of(user: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let names = users.lines().filter_map(|line| {
        let mut columns = line.split(':');
        let name = columns.next().filter(|name| !name.is_empty())?;
        (columns.nth(1)?.parse() == Ok(user)).then(|| name.to_owned())
    });
    names.take(1).next().unwrap_or_else(|| format!("'#{user}'"))
}
