//! Missed events: evicted entries that a stream was not sent, which a `gap` event has to report.
//!
//! Methods return the sequence number through which events are missed; 0 if none are.

use super::backlog::LogRange;
use super::cursor_parts::{Extent, Part, Parts, UnsubscribedChannel};
use super::tombstones::Evicted;
use super::topics::TopicId;
use super::{Channel, Cursor, Hub};

/// The sequence numbers through which logs have evicted their entries; 0 if they have not.
#[derive(Clone, Copy)]
struct EvictedThrough {
    /// Entries evicted from the history.
    history: u64,
    /// Entries discarded even as the latest of their key.
    discarded: u64,
    /// Entries evicted from the history after the time of a baseline.
    since_baseline: u64,
}

impl EvictedThrough {
    fn of_channel(channel: &Channel, clock: u64) -> Self {
        let (history, discarded) = (channel.log.evicted_through(), channel.log.discarded_through());
        Self { history, discarded, since_baseline: channel.evicted_since(clock) }
    }

    /// Returns the same for the entries through a sequence number.
    fn up_to(self, until: u64) -> Self {
        let Self { history, discarded, since_baseline } = self;
        Self { history: history.min(until), discarded: discarded.min(until), since_baseline: since_baseline.min(until) }
    }
}

impl Hub {
    /// Returns true if a stream is lagging: a log has evicted entries that the stream was not sent, and was not sent
    /// a `gap` event for.
    pub fn is_lagging(&self, cursor: &Cursor) -> bool {
        if self.evicted_through <= cursor.seq || cursor.is_held() {
            return false; // no log has evicted anything after the cursor
        }
        match &cursor.parts {
            None if self.compacts() => self.discarded_through(&cursor.topics) > cursor.seq,
            None => self.evicted_through(&cursor.topics) > cursor.seq,
            Some(parts) => self.missed_by_parts(cursor, parts).any(|missed| missed > 0),
        }
    }

    /// Returns for each part, and for each unsubscribed channel, the sequence number through which events are missed.
    pub(super) fn missed_by_parts<'a>(
        &'a self,
        cursor: &'a Cursor,
        parts: &'a Parts,
    ) -> impl Iterator<Item = u64> + 'a {
        let of_list = (0..parts.list.len()).map(move |number| self.missed_by_part(cursor, parts, number));
        of_list.chain(parts.unsubscribed.iter().map(move |left| self.missed_by_unsubscribed(cursor, left)))
    }

    /// Returns the sequence number through which a part misses events if it begins after `after`.
    pub(super) fn missed_on_resume(&self, cursor: &Cursor, number: usize, after: u64) -> u64 {
        let parts = match &cursor.parts {
            Some(parts) => parts,
            None => return 0,
        };
        let evicted = self.evicted_through(&parts.list[number].topics);
        if evicted <= after || parts.is_one() {
            return evicted;
        }
        let serial = parts.list[number].serial;
        self.missed_by_channels(cursor, parts, number, after, &|range| {
            let evicted = self.channels[range.channel].log.evicted_through();
            // What was settled before the stream unsubscribed, the part asks for again. The range begins only after that.
            let asks_again = |left: &UnsubscribedChannel| {
                left.channel == range.channel && left.last_part < serial && evicted <= left.extent.settled_through()
            };
            let is_missed =
                evicted > range.extent.after || (evicted > after && parts.unsubscribed.iter().any(asks_again));
            Some(evicted).filter(|_| is_missed)
        })
    }

    /// Returns the sequence number through which a part misses events that were evicted before they were sent.
    fn missed_by_part(&self, cursor: &Cursor, parts: &Parts, number: usize) -> u64 {
        let Part { ref topics, extent, .. } = parts.list[number];
        let after = extent.after.max(cursor.seq);
        let (history, discarded) = (self.evicted_through(topics), self.discarded_through(topics));
        if history.max(discarded) <= after {
            return 0;
        }
        let clock = extent.baseline.clock;
        let evicted = EvictedThrough { history, discarded, since_baseline: self.evicted_since(topics, clock) };
        let missed = self.missed_of(Extent { after, ..extent }, evicted);
        if missed == 0 || parts.is_one() {
            return missed;
        }
        self.missed_by_channels(cursor, parts, number, cursor.seq, &|range| {
            let evicted = EvictedThrough::of_channel(&self.channels[range.channel], clock);
            Some(self.missed_of(range.extent, evicted)).filter(|missed| *missed > 0)
        })
    }

    /// Returns the sequence number through which events of an unsubscribed channel are missed.
    fn missed_by_unsubscribed(&self, cursor: &Cursor, left: &UnsubscribedChannel) -> u64 {
        let UnsubscribedChannel { extent, until, .. } = *left;
        let after = extent.after.max(cursor.seq);
        match self.unsubscribed_channel(left) {
            Some(channel) => {
                let evicted = EvictedThrough::of_channel(channel, extent.baseline.clock).up_to(until);
                self.missed_of(Extent { after, ..extent }, evicted)
            }
            // The channel was removed, after the last of its entries was evicted.
            None if extent.baseline.misses(after, Evicted { through: until, clock: u64::MAX }) => until,
            None => 0,
        }
    }

    /// Returns what a part misses, a channel at a time: an earlier part, or an unsubscribed pattern, may have settled
    /// the events of a channel. `missed` decides for the range of one channel.
    fn missed_by_channels(
        &self,
        cursor: &Cursor,
        parts: &Parts,
        number: usize,
        after: u64,
        missed: &dyn Fn(&LogRange) -> Option<u64>,
    ) -> u64 {
        let part = &parts.list[number];
        let ranges = self.ranges(cursor, after);
        let of_range = |range: &LogRange| {
            let name = &self.channels[range.channel].name;
            missed(range).filter(|through| !parts.has_settled(part, name, *through))
        };
        let of_part = ranges.iter().filter(|range| range.part == Some(number));
        let of_channels = of_part.filter_map(of_range).max().unwrap_or(0);
        if !part.topics.iter().any(|topic| matches!(topic, TopicId::Pattern(_))) {
            return of_channels; // a channel with a subscriber by name is not removed
        }
        of_channels.max(self.missed_of_removed(parts, number, after))
    }

    /// Returns what a part misses of channels that were removed after all their entries were evicted.
    fn missed_of_removed(&self, parts: &Parts, number: usize, after: u64) -> u64 {
        let (before, part) = (&parts.list[..number], &parts.list[number]);
        let matches = |part: &Part, name: &[u8]| {
            part.topics.iter().any(|topic| match topic {
                TopicId::Channel(_) => false,
                TopicId::Pattern(at) => self.patterns[*at as usize].glob.matches(name),
            })
        };
        let is_of_part = |name: &[u8], through: u64| {
            let is_of_earlier = || before.iter().any(|part| matches(part, name));
            matches(part, name) && !is_of_earlier() && !parts.has_settled(part, name, through)
        };
        self.tombstones.evicted_through(|name, evicted| {
            part.extent.baseline.misses(after.max(part.extent.after), evicted)
                && name.map_or(true, |name| is_of_part(name, evicted.through))
        })
    }

    /// Returns what an extent misses of logs that have evicted that far.
    fn missed_of(&self, extent: Extent, evicted: EvictedThrough) -> u64 {
        let Extent { after, baseline, uncompacted_through } = extent;
        let EvictedThrough { history, discarded, since_baseline } = evicted;
        let seen = after.max(baseline.through);
        if !self.compacts() {
            let is_missed = history > seen || (since_baseline > after && after < baseline.through);
            return if is_missed { history } else { 0 };
        }
        if discarded > seen {
            discarded
        } else if since_baseline > after && after < uncompacted_through {
            since_baseline.min(uncompacted_through)
        } else {
            0
        }
    }

    /// Returns the sequence number through which the history of any topic was evicted.
    pub(super) fn evicted_through(&self, topics: &[TopicId]) -> u64 {
        let evicted = topics.iter().map(|topic| match topic {
            TopicId::Channel(at) => self.channels[*at as usize].log.evicted_through(),
            TopicId::Pattern(at) => self.patterns[*at as usize].evictions.through(),
        });
        evicted.max().unwrap_or(0)
    }

    /// Returns the same, of what was evicted after a time on the eviction clock.
    fn evicted_since(&self, topics: &[TopicId], clock: u64) -> u64 {
        let evicted = topics.iter().map(|topic| match topic {
            TopicId::Channel(at) => self.channels[*at as usize].evicted_since(clock),
            TopicId::Pattern(at) => self.patterns[*at as usize].evictions.through_since(clock),
        });
        evicted.max().unwrap_or(0)
    }

    /// Returns the sequence number through which any topic has discarded even the latest entry of a key.
    fn discarded_through(&self, topics: &[TopicId]) -> u64 {
        let discarded = topics.iter().map(|topic| match topic {
            TopicId::Channel(at) => self.channels[*at as usize].log.discarded_through(),
            TopicId::Pattern(at) => self.patterns[*at as usize].discarded_through,
        });
        discarded.max().unwrap_or(0)
    }
}
