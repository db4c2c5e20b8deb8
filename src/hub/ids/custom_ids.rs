//! The event ids that the application chose, and their sequence numbers.

use crate::hub::glob::Glob;
use crate::hub::steps;
use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A name or an id, shared by several tables.
type SharedBytes = Arc<[u8]>;

/// A bounded index of the application's ids.
///
/// It outlives the entries: a client that is up to date receives no `gap` event when its last event expires. Ids are
/// known by channel, so that they reveal nothing to clients of other channels. One id may be in all channels.
#[derive(Debug, Default)]
pub(in crate::hub) struct CustomIds {
    /// The sequence number of the first event with an id in a channel.
    by_channel: BTreeMap<(CustomId, SharedBytes), u64>,
    /// The channel of each of these events.
    by_seq: BTreeMap<(CustomId, u64), SharedBytes>,
    /// The same events in the order of publication.
    order: VecDeque<(CustomId, u64)>,
    /// The bytes of the ids and names in `order`.
    bytes: usize,
}

/// An id of the application. Comparisons are counted in tests.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CustomId {
    text: SharedBytes,
}

impl Ord for CustomId {
    fn cmp(&self, other: &Self) -> Ordering {
        steps::count(1);
        self.text.cmp(&other.text)
    }
}

impl PartialOrd for CustomId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl CustomIds {
    const MOST: usize = 65_536;
    const MOST_BYTES: usize = 4 << 20;
    /// The most channels of an id that are compared with patterns in one order.
    const MOST_MATCHES: usize = 4096;

    /// Adds an id. If a channel has an id twice, the first event counts: a client gets events twice rather than never.
    pub(in crate::hub) fn insert(&mut self, channel: &SharedBytes, id: &[u8], seq: u64) {
        let id = CustomId { text: id.into() };
        let key = (self.with_id(&id).next().map_or(id, |((known, _), _)| known.clone()), Arc::clone(channel));
        if self.by_channel.contains_key(&key) {
            return;
        }
        let (id, _) = key.clone();
        self.bytes += id.text.len() + channel.len();
        self.by_channel.insert(key, seq);
        self.by_seq.insert((id.clone(), seq), Arc::clone(channel));
        self.order.push_back((id, seq));
        while self.order.len() > Self::MOST || self.bytes > Self::MOST_BYTES {
            match self.order.pop_front() {
                Some(oldest) => self.remove(oldest),
                None => break,
            }
        }
    }

    fn remove(&mut self, event: (CustomId, u64)) {
        if let Some(channel) = self.by_seq.remove(&event) {
            let (id, _) = event;
            self.bytes -= id.text.len() + channel.len();
            self.by_channel.remove(&(id, channel));
        }
    }

    #[cfg(test)]
    pub(in crate::hub) fn len(&self) -> usize {
        self.order.len()
    }

    /// Returns the events with an id, first to last.
    fn with_id<'a>(&'a self, id: &CustomId) -> impl Iterator<Item = (&'a (CustomId, u64), &'a SharedBytes)> {
        self.by_seq.range((id.clone(), 0)..=(id.clone(), u64::MAX))
    }

    /// Returns the sequence number of the first event with an id in any of these channels, or in one that matches any of
    /// these patterns. If that takes too long, because many channels have the id, it returns none: the client is sent a
    /// `gap` event, and misses nothing without one.
    pub(in crate::hub) fn seq<'a>(
        &self,
        id: &[u8],
        channels: impl Iterator<Item = &'a SharedBytes>,
        patterns: &[&Glob],
    ) -> Option<u64> {
        let id = CustomId { text: id.into() };
        let first = self.with_id(&id).next()?.0 .1;
        let by_name = channels.filter_map(|name| self.by_channel.get(&(id.clone(), Arc::clone(name)))).copied();
        let mut found: Option<u64> = None;
        for seq in by_name {
            found = Some(found.map_or(seq, |found| found.min(seq)));
            if seq == first {
                return found;
            }
        }
        let mut matches = 0..Self::MOST_MATCHES;
        for ((_, seq), channel) in
            self.with_id(&id).take_while(|((_, seq), _)| found.map_or(true, |found| *seq < found))
        {
            for pattern in patterns {
                if matches.next().is_none() {
                    return self.seq_by_prefix(&id, patterns, found);
                }
                if pattern.is_match(channel) {
                    return Some(*seq);
                }
            }
        }
        found
    }

    /// Does the same by looking only at channels whose names begin as the patterns do.
    fn seq_by_prefix(&self, id: &CustomId, patterns: &[&Glob], mut found: Option<u64>) -> Option<u64> {
        let mut matches = 0..Self::MOST_MATCHES;
        for pattern in patterns {
            let from = (id.clone(), pattern.prefix().into());
            let channels = self.by_channel.range(from..).map(|((of, channel), seq)| (of, channel, *seq));
            for (_, channel, seq) in
                channels.take_while(|(of, name, _)| *of == id && name.starts_with(pattern.prefix()))
            {
                matches.next()?;
                if pattern.is_match(channel) {
                    found = Some(found.map_or(seq, |found| found.min(seq)));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seq(ids: &CustomIds, id: &str, channels: &[&SharedBytes], patterns: &[&str]) -> Option<u64> {
        let patterns: Vec<Glob> = patterns.iter().map(|text| Glob::new(text.as_bytes())).collect();
        ids.seq(id.as_bytes(), channels.iter().copied(), &patterns.iter().collect::<Vec<_>>())
    }

    #[test]
    fn ids_beyond_a_bound_evict_the_oldest_ids() {
        let mut ids = CustomIds::default();
        let channel: SharedBytes = b"c"[..].into();
        let seq = |ids: &CustomIds, id: &str| seq(ids, id, &[&channel], &[]);
        for number in 1..=CustomIds::MOST as u64 + 1 {
            ids.insert(&channel, number.to_string().as_bytes(), number);
        }
        ids.insert(&channel, b"2", 1_000_000);
        assert_eq!((seq(&ids, "1"), seq(&ids, "2"), seq(&ids, "65537")), (None, Some(2), Some(65_537)));
        ids.insert(&channel, &vec![b'x'; CustomIds::MOST_BYTES - 1], 7);
        assert_eq!((seq(&ids, "65537"), ids.len(), ids.by_seq.len(), ids.by_channel.len()), (None, 1, 1, 1));
    }

    #[test]
    fn an_id_is_found_only_in_the_channels_that_it_was_published_to() {
        let mut ids = CustomIds::default();
        let [public, private, other] = [&b"public"[..], b"private", b"other"].map(SharedBytes::from);
        ids.insert(&private, b"order", 1);
        ids.insert(&public, b"order", 2);
        ids.insert(&public, b"order", 3);
        ids.insert(&other, b"order 2", 4);
        for (channels, patterns, expected) in [
            (&[&private][..], &[][..], Some(1)),
            (&[&public], &[], Some(2)),
            (&[&other], &[], None),
            (&[&public, &private], &[], Some(1)),
            (&[], &["**"], Some(1)),
            (&[], &["o*", "pu*"], Some(2)),
            (&[&public], &["pr*"], Some(1)),
            (&[&private], &["pu*"], Some(1)),
            (&[], &["o*"], None),
        ] {
            assert_eq!(seq(&ids, "order", channels, patterns), expected, "{channels:?} {patterns:?}");
        }
    }

    #[test]
    fn an_id_of_60_000_channels_is_added_and_found_in_few_steps() {
        let mut ids = CustomIds::default();
        let channels: Vec<SharedBytes> =
            (0..60_000).map(|number| format!("user/{number:05}").into_bytes().into()).collect();
        let most_of_an_insert = |ids: &mut CustomIds| {
            let add = |(number, channel)| steps::of(|| ids.insert(channel, b"1", number as u64 + 1));
            channels.iter().enumerate().map(add).max()
        };
        let steps = most_of_an_insert(&mut ids);
        assert!(steps < Some(500), "{steps:?} comparisons to add an id");
        for (patterns, expected) in [
            (&["user/5999*"][..], Some(59_991)),
            (&["user/*"], Some(1)),
            (&["user/*9"], Some(10)),
            (&["user/7*", "user/60*"], None), // too many to look at
            (&["user/60*"], None),
            (&["**x"], None),
        ] {
            let steps = steps::of(|| assert_eq!(seq(&ids, "1", &[], patterns), expected, "{patterns:?}"));
            assert!(steps < 50 * CustomIds::MOST_MATCHES, "{steps} steps for {patterns:?}");
        }
        let last = &channels[channels.len() - 1];
        let steps = steps::of(|| assert_eq!(seq(&ids, "1", &[last], &[]), Some(60_000)));
        assert!(steps < 500, "{steps} steps for a channel");
    }
}
