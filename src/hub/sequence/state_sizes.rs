//! The sizes of what is retained. A publisher is told at once that a key does not fit, so its thread counts.

use crate::hub::{Retain, Retention, StateBounds};
use crate::log::KeyTable;
use crate::{ErrorCode, Failure};
use std::collections::HashMap;

/// The keys and the bytes that are retained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    keys: usize,
    bytes: usize,
}

impl Sum {
    /// Returns the sum after a key of so many bytes is put in the place of one of another number of bytes.
    fn with(self, before: Option<u32>, after: Option<u32>) -> Self {
        let of = |size: Option<u32>| (usize::from(size.is_some()), size.map_or(0, |size| size as usize));
        let ((keys, bytes), (new_keys, new_bytes)) = (of(before), of(after));
        Self { keys: self.keys + new_keys - keys, bytes: self.bytes + new_bytes - bytes }
    }

    fn exceeds(self, bounds: StateBounds) -> bool {
        self.keys > bounds.keys || self.bytes > bounds.bytes
    }
}

/// The retained events of one channel.
#[derive(Clone, Debug, Default)]
struct OfChannel {
    /// The bytes of each key: two keys with one hash count as one, which does no harm.
    sizes: KeyTable<u32>,
    sum: Sum,
}

/// The sizes of everything that a hub retains.
#[derive(Clone, Debug, Default)]
pub struct StateSizes {
    channels: HashMap<Box<[u8]>, OfChannel>,
    sum: Sum,
}

/// Returns a number of bytes as it is counted.
fn counted(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

impl StateSizes {
    /// Checks whether an event can be retained in the place of the one before with its key. Fails with `Full` if the channel
    /// or the hub would exceed its bounds.
    pub fn check(&self, channel: &[u8], key: &[u8], size: usize, retention: &Retention) -> Result<(), Failure> {
        let of_channel = self.channels.get(channel);
        let before = of_channel.and_then(|channel| channel.sizes.get(key).copied());
        let after = Some(counted(size));
        let sum = of_channel.map(|channel| channel.sum).unwrap_or_default();
        if after > before {
            retention.check_state(channel, sum.with(before, after), self.sum.with(before, after))
        } else {
            Ok(())
        }
    }

    /// Counts what an event does to the state of its channel. Fails with `Full` if the event is to be retained, and the
    /// channel or the hub would exceed its bounds. Then nothing has changed.
    pub fn change(
        &mut self,
        channel: &[u8],
        key: &[u8],
        retain: Retain,
        event_len: usize,
        retention: &Retention,
    ) -> Result<(), Failure> {
        if !retain.changes_state() {
            return Ok(());
        }
        let size = retain.size(key, event_len).map(counted);
        let (before, of_channel) = self.replace(channel, key, size);
        // What is replaced by something smaller is not refused, whatever the bounds are now.
        let checked = if size > before { retention.check_state(channel, of_channel, self.sum) } else { Ok(()) };
        if checked.is_err() {
            self.replace(channel, key, before);
        }
        checked
    }

    /// Returns how many bytes a key counts for; none if it is not retained.
    pub fn size(&self, channel: &[u8], key: &[u8]) -> Option<usize> {
        self.channels.get(channel)?.sizes.get(key).map(|size| *size as usize)
    }

    /// Counts a key as retained with so many bytes, in the place of the event before; without a number, as forgotten.
    pub fn set(&mut self, channel: &[u8], key: &[u8], size: Option<usize>) {
        self.replace(channel, key, size.map(counted));
    }

    /// Does the same. Returns the key's bytes before, and the sum of the channel after it.
    fn replace(&mut self, channel: &[u8], key: &[u8], size: Option<u32>) -> (Option<u32>, Sum) {
        let OfChannel { sizes, sum } = match self.channels.get_mut(channel) {
            None if size.is_some() => self.channels.entry(channel.into()).or_default(),
            None => return Default::default(),
            Some(of_channel) => of_channel,
        };
        let before = match size {
            Some(size) => sizes.insert(key, size),
            None => sizes.remove(key),
        };
        *sum = sum.with(before, size);
        self.sum = self.sum.with(before, size);
        let sum = *sum;
        if sizes.is_empty() {
            self.channels.remove(channel);
        }
        (before, sum)
    }
}

impl Retention {
    /// Checks the sums of a channel and of the hub.
    fn check_state(&self, channel: &[u8], of_channel: Sum, all: Sum) -> Result<(), Failure> {
        let full = |setting: &str, StateBounds { keys, bytes }| {
            let why = format!("the hub retains at most {keys} keys and {bytes} bytes ({setting})");
            Err(Failure::new(ErrorCode::Full, Some("retain"), &format!("{why}: forget some, or raise {setting}")))
        };
        let (state, other) = self.state_of(channel);
        if of_channel.exceeds(state) {
            return match other.map(|other| String::from_utf8_lossy(other.pattern())) {
                Some(pattern) => full(&format!("keep_state of per_channel '{pattern}'"), state),
                None => full("keep_state", state),
            };
        }
        if all.exceeds(self.total_state) {
            return full("keep_total_state", self.total_state);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{ChannelSettings, Settings};
    use crate::log::Bounds;
    use std::time::Duration;

    #[test]
    fn what_does_not_fit_is_refused_and_what_replaces_or_shrinks_is_not() {
        let bounds = |keys, bytes| StateBounds { keys, bytes };
        let history = Bounds { events: 0, bytes: 0, age: Duration::ZERO };
        let mut other = ChannelSettings::new(b"b*");
        other.state_bytes = Some(61);
        let (state, total_state) = (bounds(2, 100), bounds(3, 150));
        let retention =
            Retention { state, total_state, channels: vec![other], ..Settings::new(history, history).retention };
        let mut sizes = StateSizes::default();
        let retain = |sizes: &mut StateSizes, channel: &str, key: &str, size| {
            let (channel, key) = (channel.as_bytes(), key.as_bytes());
            let checked = sizes.check(channel, key, size, &retention);
            assert_eq!(sizes.change(channel, key, Retain::Newest, size - key.len(), &retention), checked);
            checked.map_err(|full| full.to_string())
        };
        for (channel, key, size, outcome) in [
            ("a", "1", 50, Ok(())),
            ("a", "2", 51, Err("keep_state")),
            ("a", "2", 50, Ok(())),
            ("a", "3", 1, Err("keep_state")),
            ("a", "1", 51, Err("keep_state")),
            ("a", "1", 40, Ok(())),
            ("b", "1", 62, Err("keep_state of per_channel 'b*'")),
            ("c", "1", 61, Err("keep_total_state")),
            ("b", "1", 60, Ok(())),
            ("b", "2", 1, Err("keep_total_state")),
        ] {
            let retained = retain(&mut sizes, channel, key, size);
            assert_eq!(retained.is_ok(), outcome.is_ok(), "{channel} {key} {size}");
            if let (Err(full), Err(setting)) = (retained, outcome) {
                assert!(full.ends_with(&format!(" bytes ({setting}): forget some, or raise {setting}")), "{full}");
            }
        }
        assert_eq!(sizes.sum, Sum { keys: 3, bytes: 150 });
        for (channel, key) in [(b"a", b"1"), (b"a", b"1"), (b"b", b"1")] {
            sizes.set(channel, key, None);
        }
        assert_eq!((sizes.sum, sizes.channels.len()), (Sum { keys: 1, bytes: 50 }, 1));
        assert_eq!((sizes.size(b"a", b"2"), sizes.size(b"a", b"1")), (Some(50), None));
    }
}
