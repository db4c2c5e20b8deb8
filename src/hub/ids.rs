//! The ids that the application gave its events, and their places.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// A bounded index, which outlives the history: who is up to date is not told of a gap because its last event has expired.
#[derive(Debug, Default)]
pub(super) struct Ids {
    places: HashMap<Arc<[u8]>, u64>,
    order: VecDeque<Arc<[u8]>>,
    bytes: usize,
}

impl Ids {
    const MOST: usize = 65_536;
    const MOST_BYTES: usize = 4 << 20;

    /// Of an id that was given twice the first place counts: to be sent something again is better than to miss it.
    pub(super) fn insert(&mut self, id: &[u8], place: u64) {
        if self.places.contains_key(id) {
            return;
        }
        let id: Arc<[u8]> = id.into();
        self.bytes += id.len();
        self.places.insert(Arc::clone(&id), place);
        self.order.push_back(id);
        while self.order.len() > Self::MOST || self.bytes > Self::MOST_BYTES {
            if let Some(oldest) = self.order.pop_front() {
                self.bytes -= oldest.len();
                self.places.remove(&oldest);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn place(&self, id: &[u8]) -> Option<u64> {
        self.places.get(id).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_ids_make_room() {
        let mut ids = Ids::default();
        for place in 1..=Ids::MOST as u64 + 1 {
            ids.insert(place.to_string().as_bytes(), place);
        }
        ids.insert(b"2", 1_000_000);
        assert_eq!((ids.place(b"1"), ids.place(b"2"), ids.place(b"65537")), (None, Some(2), Some(65_537)));
        ids.insert(&vec![b'x'; Ids::MOST_BYTES], 7);
        assert_eq!((ids.place(b"65537"), ids.order.len()), (None, 1));
    }
}
