//! The sequence numbers as of which streams are sent the state. Logs keep what such a stream still needs (`versions`).

/// Sequence numbers in ascending order, and how many streams hold each of them.
#[derive(Debug, Default)]
pub struct Snapshots(Vec<(u64, u32)>);

impl Snapshots {
    /// Holds a sequence number: one that is held already, or a later one than all others.
    pub fn hold(&mut self, seq: u64) {
        match self.0.binary_search_by_key(&seq, |held| held.0) {
            Ok(at) => self.0[at].1 += 1,
            Err(at) => self.0.insert(at, (seq, 1)),
        }
    }

    /// Releases a sequence number. Nothing happens if it was [dropped](Self::drop_oldest).
    pub fn release(&mut self, seq: u64) {
        if let Ok(at) = self.0.binary_search_by_key(&seq, |held| held.0) {
            self.0[at].1 -= 1;
            if self.0[at].1 == 0 {
                self.0.remove(at);
            }
        }
    }

    /// Drops the oldest one, whoever holds it.
    pub fn drop_oldest(&mut self) {
        if !self.0.is_empty() {
            self.0.remove(0);
        }
    }

    /// Returns true if a sequence number is held.
    pub fn contains(&self, seq: u64) -> bool {
        self.0.binary_search_by_key(&seq, |held| held.0).is_ok()
    }

    /// Returns the newest one.
    pub fn newest(&self) -> Option<u64> {
        self.0.last().map(|held| held.0)
    }

    /// Returns true if none is held.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns true if one is held from a sequence number on, before another.
    pub fn any_between(&self, from: u64, before: u64) -> bool {
        self.0.get(self.0.partition_point(|held| held.0 < from)).map_or(false, |held| held.0 < before)
    }
}
