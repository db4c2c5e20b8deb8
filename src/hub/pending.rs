//! What a stream is still to be sent, and what of that was evicted.

use super::cursor::{Excuse, Leaving, LeftPattern, Parts};
use super::merge::{Picked, Source};
use super::*;

/// What of one channel's log a stream is still to be sent: the entries after one sequence number, up to another.
pub(super) struct Interval {
    pub(super) channel: usize,
    pub(super) after: u64,
    pub(super) until: u64,
    /// Which part of the cursor it belongs to; none, if the stream has left the channel.
    pub(super) part: Option<usize>,
    pub(super) excuse: Excuse,
    pub(super) plain: u64,
    /// Whether only the newest entry of each key is sent if some were evicted.
    conflates: bool,
}

impl Hub {
    /// The channels that are subscribed to. One may be there twice.
    pub(super) fn channels_of<'a>(&'a self, topics: &'a [TopicId]) -> impl Iterator<Item = usize> + 'a {
        topics.iter().flat_map(move |topic| {
            let (one, several) = match topic {
                TopicId::Channel(at) => (Some(*at as usize), None),
                TopicId::Pattern(at) => (None, Some(&self.patterns[*at as usize].channels)),
            };
            one.into_iter().chain(several.into_iter().flatten().copied())
        })
    }

    /// Their logs.
    pub(super) fn logs<'a>(&'a self, topics: &'a [TopicId]) -> impl Iterator<Item = &'a Log> {
        self.channels_of(topics).map(move |at| &self.channels[at].log)
    }

    /// Whether a stream may still have something to be sent of what was published already.
    pub fn is_behind(&self, cursor: &Cursor) -> bool {
        cursor.seq < self.newest
    }

    /// How many logs have to be looked at to find what a stream is sent next.
    pub fn logs_to_merge(&self, cursor: &Cursor) -> usize {
        let channels = |topic: &TopicId| match topic {
            TopicId::Channel(_) => 1,
            TopicId::Pattern(at) => self.patterns[*at as usize].channels.len(),
        };
        cursor.topics.iter().map(channels).sum()
    }

    /// What a stream is still to be sent, a channel at a time, were its position `seq`. Slower than to look at its topics:
    /// only for cursors with parts.
    pub(super) fn intervals(&self, cursor: &Cursor, seq: u64) -> Vec<Interval> {
        let is_newest = self.settings.on_slow == OnSlow::Newest;
        let mut all: Vec<Interval> = Vec::new();
        // What was left of a channel, in order, and which channels the parts so far have.
        let mut left: HashMap<usize, Vec<&Leaving>> = HashMap::new();
        let mut taken: HashSet<usize> = HashSet::new();
        for leaving in cursor.parts.iter().flat_map(|parts| &parts.leaving) {
            let &Leaving { channel, after, until, excuse, plain, .. } = leaving;
            if self.left_channel(leaving).is_some() {
                left.entry(channel).or_default().push(leaving);
                let after = after.max(seq);
                let conflates = is_newest && plain <= after;
                all.push(Interval { channel, after, until, part: None, excuse, plain, conflates });
            }
        }
        let one = Some((&cursor.topics, 0, 0, Excuse::default(), 0)).filter(|_| cursor.parts.is_none());
        let parts = cursor.parts.iter().flat_map(|parts| &parts.list);
        let parts = parts.map(|part| (&part.topics, part.serial, part.after, part.excuse, part.plain));
        for (number, (topics, serial, after, excuse, plain)) in one.into_iter().chain(parts).enumerate() {
            for channel in self.channels_of(topics).filter(|channel| taken.insert(*channel)) {
                let mut add = |after: u64, until: u64| {
                    let conflates = is_newest && plain <= after;
                    all.push(Interval { channel, after, until, part: Some(number), excuse, plain, conflates });
                };
                // What it is still to be sent of a channel that it had left is not sent twice.
                let mut after = after.max(seq);
                for leaving in left.get(&channel).into_iter().flatten() {
                    if leaving.after > after && leaving.part < serial {
                        add(after, leaving.after);
                    }
                    after = after.max(leaving.until);
                }
                add(after, u64::MAX);
            }
        }
        all
    }

    /// The channel that a stream has left, if it is there.
    pub(super) fn left_channel(&self, leaving: &Leaving) -> Option<&Channel> {
        self.channels.get(leaving.channel).filter(|channel| channel.serial == leaving.serial)
    }

    /// The events after a sequence number. Of a channel that has evicted some of them, if that is wanted, only the newest
    /// of each key.
    fn pending<'a>(&'a self, topics: &'a [TopicId], after: u64, conflates: bool) -> Merge<'a> {
        let sources = self.logs(topics).filter_map(move |log| Source::of(log, after, u64::MAX, conflates));
        sources.collect()
    }

    /// What a stream is still to be sent.
    pub(super) fn pending_of<'a>(&'a self, cursor: &'a Cursor) -> Merge<'a> {
        /// From so many logs on it is quicker to look at what was published than at each of them.
        const MANY: usize = 8;
        let Cursor { seq, ref topics, ref parts, is_conflated } = *cursor;
        match parts {
            Some(parts) if parts.is_one() && parts.opening.is_empty() => {
                let part = &parts.list[0];
                let after = part.after.max(seq);
                let conflates = self.settings.on_slow == OnSlow::Newest && part.plain <= after;
                return self.pending(&part.topics, after, conflates);
            }
            Some(_) => return self.pending_at(cursor, seq, None),
            None => {}
        }
        if seq >= self.newest {
            return Merge::Nothing;
        }
        if !is_conflated && self.recent.covers(seq) && self.logs(topics).nth(MANY).is_some() {
            return Merge::Picked(Picked { hub: self, topics, seq: seq });
        }
        self.pending(topics, seq, is_conflated)
    }

    /// What a stream would still be to be sent at a position; of one part of its cursor, or of all.
    fn pending_at<'a>(&'a self, cursor: &Cursor, seq: u64, part: Option<usize>) -> Merge<'a> {
        if cursor.is_opening() {
            return Merge::Nothing;
        }
        let intervals = self.intervals(cursor, seq).into_iter();
        let wanted = intervals.filter(|interval| part.is_none() || interval.part == part);
        wanted.filter_map(|interval| self.entries_of(&interval)).collect()
    }

    /// The entries of an interval, if there are any.
    pub(super) fn entries_of(&self, interval: &Interval) -> Option<Source<'_>> {
        let Interval { channel, after, until, conflates, .. } = *interval;
        Source::of(&self.channels[channel].log, after, until, conflates)
    }

    /// Whether a part has an event after its beginning, up to a sequence number.
    pub(super) fn has_before(&self, cursor: &Cursor, part: usize, through: u64) -> bool {
        self.pending_at(cursor, 0, Some(part)).next().map_or(false, |first| first.seq <= through)
    }

    /// Through which sequence number anything was evicted of topics.
    pub(super) fn forgotten(&self, topics: &[TopicId]) -> u64 {
        let forgotten = topics.iter().map(|topic| match topic {
            TopicId::Channel(at) => self.channels[*at as usize].log.evicted_through(),
            TopicId::Pattern(at) => self.patterns[*at as usize].forgotten.newest(),
        });
        forgotten.max().unwrap_or(0)
    }

    /// The same, of what was evicted after a time.
    fn forgotten_since(&self, topics: &[TopicId], clock: u64) -> u64 {
        let forgotten = topics.iter().map(|topic| match topic {
            TopicId::Channel(at) => self.channels[*at as usize].forgotten_since(clock),
            TopicId::Pattern(at) => self.patterns[*at as usize].forgotten.since(clock),
        });
        forgotten.max().unwrap_or(0)
    }

    /// The same as [`forgotten`](Self::forgotten), of the newest events of all keys.
    fn lost(&self, topics: &[TopicId]) -> u64 {
        let lost = topics.iter().map(|topic| match topic {
            TopicId::Channel(at) => self.channels[*at as usize].log.discarded_through(),
            TopicId::Pattern(at) => self.patterns[*at as usize].lost,
        });
        lost.max().unwrap_or(0)
    }

    /// Through which sequence number a part, which begins at `after`, misses something.
    pub(super) fn missed(&self, cursor: &Cursor, number: usize, after: u64) -> u64 {
        let parts = match &cursor.parts {
            Some(parts) => parts,
            None => return 0,
        };
        let floor = self.forgotten(&parts.list[number].topics);
        if floor <= after || parts.is_one() {
            return floor;
        }
        self.missed_apart(cursor, parts, number, after, &|interval| {
            let forgotten = self.channels[interval.channel].log.evicted_through();
            Some(forgotten).filter(|forgotten| *forgotten > interval.after)
        })
    }

    /// The same of a part whose channels may be another part's too, or not, as `missed` says for each of them.
    fn missed_apart(
        &self,
        cursor: &Cursor,
        parts: &Parts,
        number: usize,
        after: u64,
        missed: &dyn Fn(&Interval) -> Option<u64>,
    ) -> u64 {
        let intervals = self.intervals(cursor, after);
        let of_part = intervals.iter().filter(|interval| interval.part == Some(number));
        let (before, part) = (&parts.list[..number], &parts.list[number]);
        let is_settled = |name: &[u8], through: u64| {
            let settles = |left: &LeftPattern| part.serial <= left.part && through <= left.through;
            parts.left_patterns.iter().any(|left| settles(left) && left.glob.matches(name))
        };
        let of_channel = |interval: &Interval| {
            let name = &self.channels[interval.channel].name;
            missed(interval).filter(|through| !is_settled(name, *through))
        };
        let of_channels = of_part.filter_map(of_channel).max().unwrap_or(0);
        let has = |topics: &[TopicId], name: &[u8]| {
            topics.iter().any(|topic| match topic {
                TopicId::Channel(_) => false,
                TopicId::Pattern(at) => self.patterns[*at as usize].glob.matches(name),
            })
        };
        if !part.topics.iter().any(|topic| matches!(topic, TopicId::Pattern(_))) {
            return of_channels; // a channel that is subscribed to by its name does not vanish
        }
        let of_gone = self.tombstones.forgotten(|name, evicted| {
            part.excuse.misses(after.max(part.after), evicted.through, evicted.clock)
                && !name.map_or(false, |name| is_settled(name, evicted.through))
                && name
                    .map_or(true, |name| has(&part.topics, name) && !before.iter().any(|part| has(&part.topics, name)))
        });
        of_channels.max(of_gone)
    }

    /// Through which sequence number a part misses what was evicted before it could be sent; 0 if it misses nothing.
    pub(super) fn overtaken_part(&self, cursor: &Cursor, parts: &Parts, number: usize) -> u64 {
        let part = &parts.list[number];
        let after = part.after.max(cursor.seq);
        let forgotten = self.forgotten(&part.topics);
        let lost = self.lost(&part.topics);
        if forgotten.max(lost) <= after {
            return 0;
        }
        let since = self.forgotten_since(&part.topics, part.excuse.before);
        let missed = self.missed_at(after, part.excuse, part.plain, forgotten, lost, since);
        if missed == 0 || parts.is_one() {
            return missed;
        }
        self.missed_apart(cursor, parts, number, cursor.seq, &|interval| {
            let channel = &self.channels[interval.channel];
            let (log, since) = (&channel.log, channel.forgotten_since(part.excuse.before));
            let missed = self.missed_at(
                interval.after,
                part.excuse,
                interval.plain,
                log.evicted_through(),
                log.discarded_through(),
                since,
            );
            Some(missed).filter(|missed| *missed > 0)
        })
    }

    /// Through which number something is missed after another, if evictions went through one, through another since what is
    /// excused, and the newest events of keys are lost through a third.
    fn missed_at(&self, after: u64, excuse: Excuse, plain: u64, forgotten: u64, lost: u64, since: u64) -> u64 {
        let seen = after.max(excuse.through);
        if self.settings.on_slow != OnSlow::Newest {
            let is_missed = forgotten > seen || (since > after && after < excuse.through);
            return if is_missed { forgotten } else { 0 };
        }
        if lost > seen {
            lost
        } else if since > after && after < plain {
            since.min(plain)
        } else {
            0
        }
    }

    /// The same, of a channel that the stream has left.
    pub(super) fn overtaken_leaving(&self, cursor: &Cursor, leaving: &Leaving) -> u64 {
        let &Leaving { after, until, excuse, plain, .. } = leaving;
        let channel = match self.left_channel(leaving) {
            Some(channel) => channel,
            // It has vanished with all its events.
            None if excuse.misses(after.max(cursor.seq), until, u64::MAX) => return until,
            None => return 0,
        };
        let (log, since) = (&channel.log, channel.forgotten_since(excuse.before));
        let [forgotten, lost, since] =
            [log.evicted_through(), log.discarded_through(), since].map(|through| through.min(until));
        self.missed_at(after.max(cursor.seq), excuse, plain, forgotten, lost, since)
    }

    /// Whether something was evicted that a stream has not been sent.
    pub fn is_overtaken(&self, cursor: &Cursor) -> bool {
        if self.forgotten <= cursor.seq || cursor.is_opening() {
            return false; // whatever its topics are
        }
        match &cursor.parts {
            None if self.settings.on_slow == OnSlow::Newest => self.lost(&cursor.topics) > cursor.seq,
            None => self.forgotten(&cursor.topics) > cursor.seq,
            Some(parts) => {
                (0..parts.list.len()).any(|number| self.overtaken_part(cursor, parts, number) > 0)
                    || parts.leaving.iter().any(|leaving| self.overtaken_leaving(cursor, leaving) > 0)
            }
        }
    }
}
