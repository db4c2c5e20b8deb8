//! The last delivered event of a hub, in a file beside its socket.
//!
//! A failover of Redis may lose entries that this machine has delivered. The hub process notices, unless it is killed at the
//! same time. A file may be written over with its backup, or its WAL be damaged, while no process uses it. The process that
//! follows reads here what must be in the history. What is here survives the process, not the machine.

use crate::store::Delivered;
use eventsource_xs::codec::{decode, encode};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// The most bytes of an epoch.
const EPOCH_BYTES: usize = 16;

/// The file; none where nothing is to be remembered.
#[derive(Debug, Default)]
pub struct LastDelivered {
    file: Option<File>,
    written: Option<(Box<str>, u64)>,
}

impl LastDelivered {
    /// Opens the file of a hub. A hub works without it.
    pub fn open(path: &Path) -> Self {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        Self { file: options.open(path).ok(), written: None }
    }

    /// Returns the sequence number that was delivered last in an epoch.
    pub fn read(&self, epoch: &str) -> Option<u64> {
        let (seq, known) = self.known()?;
        (known == padded(epoch)).then_some(seq)
    }

    /// Returns what was delivered last, in whichever epoch.
    pub fn last(&self) -> Option<Delivered> {
        let (seq, epoch) = self.known()?;
        let epoch = std::str::from_utf8(&epoch).ok()?.trim_end_matches('\0').into();
        Some(Delivered { epoch, seq })
    }

    fn known(&self) -> Option<(u64, [u8; EPOCH_BYTES])> {
        let mut bytes = [0; 8 + EPOCH_BYTES];
        self.file.as_ref()?.read_exact_at(&mut bytes, 0).ok()?;
        decode(&bytes).ok()
    }

    /// Returns true if something was delivered last in another epoch.
    pub fn has_other(&self, epoch: &str) -> bool {
        self.known().is_some_and(|(_, known)| known != padded(epoch))
    }

    /// Writes what was delivered last: 0 if that is nothing yet. One write, which a kill does not cut.
    pub fn write(&mut self, epoch: &str, seq: u64) {
        let is_written = self.written.as_ref().is_some_and(|(of, written)| (&**of, *written) == (epoch, seq));
        if let Some(file) = self.file.as_ref().filter(|_| !is_written) {
            if file.write_all_at(&encode(&(seq, padded(epoch))), 0).is_err() {
                let _ = file.set_len(0); // what is there would prove too little
            }
            self.written = Some((epoch.into(), seq));
        }
    }
}

fn padded(epoch: &str) -> [u8; EPOCH_BYTES] {
    let mut bytes = [0; EPOCH_BYTES];
    bytes.iter_mut().zip(epoch.bytes()).for_each(|(to, from)| *to = from);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_in_their_epoch_only() {
        let folder = std::env::temp_dir().join(format!("eventsource-seen-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("a new folder");
        let path = folder.join("shop.sock.seen");
        let mut seen = LastDelivered::open(&path);
        assert_eq!((seen.read("one"), seen.has_other("one")), (None, false));
        for (epoch, seq) in [("one", 7), ("one", 9), ("two", 9), ("one", 0), ("a much longer on", u64::MAX)] {
            seen.write(epoch, seq);
            assert_eq!((LastDelivered::open(&path).read(epoch), seen.read("other")), (Some(seq), None));
            assert_eq!((seen.has_other(epoch), seen.has_other("other")), (false, true));
        }
        std::fs::remove_dir_all(&folder).expect("its own folder");
        assert_eq!(LastDelivered::default().read("one"), None);
        LastDelivered::open(Path::new("/no such folder/s")).write("one", 1);
    }
}
