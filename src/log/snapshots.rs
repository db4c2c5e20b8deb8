//! The sequence numbers as of which streams are sent the state. Logs keep what such a stream still needs (`versions`).

/// Sequence numbers in ascending order, and how many streams hold each of them.
#[derive(Debug, Default)]
pub struct Snapshots {
    held: Vec<(u64, u32)>,
}

impl Snapshots {
    /// Holds a sequence number: one that is held already, or a later one than all others.
    pub fn hold(&mut self, seq: u64) {
        match self.held.binary_search_by_key(&seq, |held| held.0) {
            Ok(at) => self.held[at].1 += 1,
            Err(at) => self.held.insert(at, (seq, 1)),
        }
    }

    /// Releases a sequence number. Nothing happens if it was [dropped](Self::drop_oldest).
    pub fn release(&mut self, seq: u64) {
        if let Ok(at) = self.held.binary_search_by_key(&seq, |held| held.0) {
            self.held[at].1 -= 1;
            if self.held[at].1 == 0 {
                self.held.remove(at);
            }
        }
    }

    /// Drops the oldest one, whoever holds it.
    pub fn drop_oldest(&mut self) {
        if !self.held.is_empty() {
            self.held.remove(0);
        }
    }

    /// Returns true if a sequence number is held.
    pub fn contains(&self, seq: u64) -> bool {
        self.held.binary_search_by_key(&seq, |held| held.0).is_ok()
    }

    /// Returns the newest one.
    pub fn newest(&self) -> Option<u64> {
        self.held.last().map(|held| held.0)
    }

    /// Returns true if none is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Returns true if one is held from a sequence number on, before another.
    pub fn any_between(&self, from: u64, before: u64) -> bool {
        self.held.get(self.held.partition_point(|held| held.0 < from)).map_or(false, |held| held.0 < before)
    }
}
