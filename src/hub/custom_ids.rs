//! The event ids that the application chose, and their sequence numbers.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// A name or an id, shared by several tables.
type SharedBytes = Arc<[u8]>;

/// A bounded index of the application's ids.
///
/// It outlives the entries: a client that is up to date receives no `gap` event when its last event expires. Ids are
/// known by channel, so that they reveal nothing to clients of other channels.
#[derive(Debug, Default)]
pub(super) struct CustomIds {
    /// The channels that each id was published to, with the sequence number of the first such event.
    known: HashMap<SharedBytes, Vec<(SharedBytes, u64)>>,
    /// Pairs of an id and a channel, in the order of publication.
    order: VecDeque<(SharedBytes, SharedBytes)>,
    /// The bytes of the ids and names in `order`.
    bytes: usize,
}

impl CustomIds {
    const MOST: usize = 65_536;
    const MOST_BYTES: usize = 4 << 20;

    /// Adds an id. If a channel has an id twice, the first event counts: a client gets events twice rather than never.
    pub(super) fn insert(&mut self, channel: &SharedBytes, id: &[u8], seq: u64) {
        let id = match self.known.get_key_value(id) {
            Some((_, channels)) if channels.iter().any(|(known, _)| known == channel) => return,
            Some((id, _)) => Arc::clone(id),
            None => id.into(),
        };
        self.bytes += id.len() + channel.len();
        self.known.entry(Arc::clone(&id)).or_default().push((Arc::clone(channel), seq));
        self.order.push_back((id, Arc::clone(channel)));
        while self.order.len() > Self::MOST || self.bytes > Self::MOST_BYTES {
            match self.order.pop_front() {
                Some((id, channel)) => self.remove(&id, &channel),
                None => break,
            }
        }
    }

    fn remove(&mut self, id: &[u8], channel: &[u8]) {
        self.bytes -= id.len() + channel.len();
        if let Some(channels) = self.known.get_mut(id) {
            channels.retain(|(known, _)| **known != *channel);
            if channels.is_empty() {
                self.known.remove(id);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Returns the sequence number of the first event with an id in any channel for which `is_wanted` returns true.
    pub(super) fn seq(&self, id: &[u8], is_wanted: impl Fn(&[u8]) -> bool) -> Option<u64> {
        let channels = self.known.get(id)?.iter();
        channels.filter(|(channel, _)| is_wanted(channel)).map(|(_, seq)| *seq).min()
    }
}

saved!(CustomIds { known, order, bytes });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_beyond_a_bound_evict_the_oldest_ids() {
        let mut ids = CustomIds::default();
        let channel: SharedBytes = b"c"[..].into();
        let seq = |ids: &CustomIds, id: &str| ids.seq(id.as_bytes(), |_| true);
        for number in 1..=CustomIds::MOST as u64 + 1 {
            ids.insert(&channel, number.to_string().as_bytes(), number);
        }
        ids.insert(&channel, b"2", 1_000_000);
        assert_eq!((seq(&ids, "1"), seq(&ids, "2"), seq(&ids, "65537")), (None, Some(2), Some(65_537)));
        ids.insert(&channel, &vec![b'x'; CustomIds::MOST_BYTES - 1], 7);
        assert_eq!((seq(&ids, "65537"), ids.len(), ids.known.len()), (None, 1, 1));
    }

    #[test]
    fn an_id_is_found_only_in_the_channels_that_it_was_published_to() {
        let mut ids = CustomIds::default();
        let [public, private, other] = [&b"public"[..], b"private", b"other"].map(SharedBytes::from);
        ids.insert(&private, b"order", 1);
        ids.insert(&public, b"order", 2);
        ids.insert(&public, b"order", 3);
        for (channel, seq) in [(&private, Some(1)), (&public, Some(2)), (&other, None)] {
            assert_eq!(ids.seq(b"order", |name| *name == **channel), seq);
        }
        assert_eq!(ids.seq(b"order", |_| true), Some(1));
    }
}
