//! The settings of a store in a file of this machine.

use super::given::Given;
use super::{StoreKind, StoreSettings};
use std::path::Path;

pub(super) const KIND: StoreKind = StoreKind {
    names: "file sync",
    words: "a file",
    place_in: |text| text.strip_prefix("file:"),
    read: |given| read(given).map(StoreSettings::File),
};

/// The settings of a store in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    /// The absolute path of the file.
    pub path: Box<str>,
    /// The durability at a loss of power.
    pub sync: FileSync,
}

/// When a store in a file has the disk write its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSync {
    /// When the system does.
    Never,
    /// Every second.
    Second,
    /// Before an event counts as published.
    Event,
}

const SYNC: [FileSync; 3] = [FileSync::Never, FileSync::Second, FileSync::Event];

fn read(given: &Given<'_>) -> Result<FileSettings, String> {
    let sync = match given.text("sync") {
        Some("never") => FileSync::Never,
        Some("second") | None => FileSync::Second,
        Some("event") => FileSync::Event,
        Some(_) => return Err("sync of store must be 'never', 'second' or 'event'".into()),
    };
    let path = given.text("file").unwrap_or_default();
    if path == ":memory:" {
        return Err("file ':memory:' is not a file; the store in memory is 'memory'".into());
    }
    let absolute = given.path("file")?.unwrap_or_default();
    if path.ends_with('/') || Path::new(path).is_dir() {
        return Err(format!("file must be the path of a file; {path} is a folder"));
    }
    Ok(FileSettings { path: absolute, sync })
}

coded!(FileSettings { path, sync });
coded!(FileSync in SYNC);
