//! Channels, the order of their events, and where each stream is in it.
//!
//! A [`Hub`] has one sequence: every event gets the next place in it, and stands in its channel's history
//! ([`log`](crate::log)). A stream that follows channels is a [`Cursor`], one number: all of their events up to that
//! place it has been sent, those after it are still to come, whatever the channels. To follow live is to begin at the
//! newest place, to resume is to begin further back; there is no queue to copy into. Like a [`Stream`](crate::stream) a hub
//! does no I/O and reads no clock.
//!
//! What a cursor is told around the events ([`Notice`]) is for its own stream's queue: its position first, a gap if it
//! has missed something, and events out of the ordinary order.

#![forbid(unsafe_code)]

mod channel;
mod cursor;
mod custom_ids;
mod epoch;
mod event_id;
mod eviction;
mod glob;
mod merge;
#[cfg(test)]
mod model;
mod pending;
mod sending;
mod subscription;
#[cfg(test)]
mod tests;
mod tombstones;

pub use cursor::Cursor;
pub use epoch::Epoch;
pub use event_id::Gap;

use crate::event::{Framing, Shared};
use crate::log::{Bounds, Log, LogEntry};
use crate::stream::{after, StreamId};
use bytes::Bytes;
use channel::{Channel, Pattern, SubscriberList};
use custom_ids::CustomIds;
use event_id::Position;
use eviction::Evictions;
use glob::Glob;
use merge::{Merge, Recent};
use slab::Slab;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::IoSlice;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tombstones::{Evicted, Tombstones};

/// What an application decides about a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What each channel remembers.
    pub history: Bounds,
    /// What all of them remember together.
    pub total_history: Bounds,
    /// What becomes of a stream that history overtakes.
    pub on_slow: OnSlow,
    /// The name of the event that tells of a gap.
    pub gap_event: Box<str>,
    /// Whether ids reveal no sequence numbers.
    pub opaque_ids: bool,
}

/// What becomes of a stream that history overtakes: some of what it has not been sent yet is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnSlow {
    /// It ends. Its client comes back, and is told of the gap.
    Disconnect,
    /// It is told of the gap, and goes on with what is left.
    Gap,
    /// It is sent the newest event of each channel, or of each key, and goes on from there.
    Newest,
}

/// Where a stream begins whose client does not say what it has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what is published from now on.
    Newest,
    /// With all that is in the history.
    Oldest,
    /// With that many events from the history.
    Last(usize),
}

/// What can be followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topic {
    /// The channel of that name.
    Channel(Box<[u8]>),
    /// All channels whose names match: `*` stands for anything but `/`, `**` for anything.
    Pattern(Box<[u8]>),
}

/// What a stream asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it wants to follow.
    pub topics: Vec<Topic>,
    /// The id of the event after which it wants to go on. Anybody's word.
    pub after: Option<Box<[u8]>>,
    /// Where it begins without.
    pub start: Start,
}

/// One event, as it is published.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Its place: the next one.
    pub seq: u64,
    /// Its channel.
    pub channel: Box<[u8]>,
    /// Its bytes, the id included.
    pub event: Shared,
    /// What it is the newest of, for [`OnSlow::Newest`]; empty is the channel itself.
    pub key: Box<[u8]>,
    /// Its id, if the application gave it one.
    pub id: Option<Box<[u8]>>,
}

impl Publication {
    /// How many bytes it is: what carries a small event is larger than that.
    pub fn size(&self) -> usize {
        let id = self.id.as_ref().map_or(0, |id| id.len());
        std::mem::size_of::<Self>() + self.event.len() + self.channel.len() + self.key.len() + id
    }
}

/// What one stream alone is told.
#[derive(Clone, Debug)]
pub enum Notice {
    /// Its position: a block with nothing but an id.
    Position(Vec<u8>),
    /// The event that tells of a gap.
    Gap(Vec<u8>),
    /// An event.
    Event(Shared),
}

impl Notice {
    /// About how many bytes it is.
    fn len(&self) -> usize {
        match self {
            Self::Position(block) | Self::Gap(block) => block.len(),
            Self::Event(event) => event.len(),
        }
    }
}

/// What a stream follows: a name's place among the channels, or a pattern's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum TopicId {
    Channel(u32),
    Pattern(u32),
}

/// What a stream follows, in order. Mostly one thing, which needs no allocation.
#[derive(Debug)]
enum Topics {
    One(TopicId),
    Many(Box<[TopicId]>),
}

impl Default for Topics {
    fn default() -> Self {
        Self::Many(Box::default())
    }
}

impl From<Vec<TopicId>> for Topics {
    fn from(topics: Vec<TopicId>) -> Self {
        match topics[..] {
            [one] => Self::One(one),
            _ => Self::Many(topics.into()),
        }
    }
}

impl Deref for Topics {
    type Target = [TopicId];

    fn deref(&self) -> &[TopicId] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// What has been counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counts {
    /// Streams that follow something.
    pub streams: u64,
    /// Channels that have followers or history.
    pub channels: u64,
    /// Patterns that are followed.
    pub patterns: u64,
    /// Events that were published.
    pub published: u64,
    /// Events that were handed to the kernel, or put into a stream's own queue, each for each stream.
    pub delivered: u64,
    /// Events in all histories.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Streams that began with a client's last event id.
    pub resumed: u64,
    /// Gaps that were told.
    pub gaps: u64,
    /// Streams that history has overtaken, and that were ended,
    pub disconnected: u64,
    /// were told of a gap,
    pub skipped: u64,
    /// or went on with the newest.
    pub conflated: u64,
}

/// Channels and their events.
#[derive(Debug)]
pub struct Hub {
    epoch: Epoch,
    settings: Settings,
    newest: u64,
    /// The place of the newest event that has been offered to those who keep up.
    offered: u64,
    by_name: HashMap<Arc<[u8]>, usize>,
    channels: Slab<Channel>,
    patterns: Slab<Pattern>,
    pattern_by_text: HashMap<Box<[u8]>, usize>,
    /// The oldest event of each channel that has one: its place, and the channel's.
    oldest: BTreeSet<(u64, usize)>,
    tombstones: Tombstones,
    custom_ids: CustomIds,
    /// The channels of the last places.
    recent: Recent,
    /// Through which place anything at all is forgotten.
    forgotten: u64,
    /// The clock of evictions: how many there were.
    evictions: u64,
    /// How many channels there were.
    serials: u64,
    /// Whose followers are to be walked.
    marked: Vec<TopicId>,
    /// Which channels may hold more than they may.
    grown: Vec<usize>,
    counts: Counts,
}

/// What a stream is to be sent next.
#[derive(Debug)]
pub struct Gathered {
    /// How many blocks.
    pub blocks: usize,
    /// Whether some of them were offered before to streams that keep up.
    pub is_lagging: bool,
    /// Whether there is nothing more.
    pub is_end: bool,
    /// The place that it has when all of it is sent.
    seq: u64,
}

/// What of it was sent.
#[derive(Debug)]
pub struct Sent {
    /// How many events, to their end.
    pub events: usize,
    /// How many bytes left the log: all of an event, even if only part of it was sent.
    pub bytes: usize,
    /// What is left of an event that was not sent to its end.
    pub rest: Option<Bytes>,
}

impl Hub {
    /// A hub without channels. Ids begin with the epoch, which no other hub of the same clients has.
    pub fn new(epoch: Epoch, settings: Settings) -> Self {
        Self {
            epoch,
            settings,
            newest: 0,
            offered: 0,
            by_name: HashMap::new(),
            channels: Slab::new(),
            patterns: Slab::new(),
            pattern_by_text: HashMap::new(),
            oldest: BTreeSet::new(),
            tombstones: Tombstones::default(),
            custom_ids: CustomIds::default(),
            recent: Recent::default(),
            forgotten: 0,
            evictions: 0,
            serials: 0,
            marked: Vec::new(),
            grown: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Adds an event to its channel's history. What is too much for that is forgotten only by [`forget`](Self::forget), so
    /// that those who keep up have been offered it before.
    pub fn publish(&mut self, publication: Publication, now: Instant) {
        let Publication { seq, channel, event, key, id } = publication;
        self.newest = seq;
        self.counts.published += 1;
        let at = self.channel(&channel);
        if let Some(id) = id {
            self.custom_ids.insert(&self.channels[at].name, &id, seq);
        }
        self.recent.push(seq, at);
        self.mark(TopicId::Channel(at as u32));
        for number in 0..self.channels[at].patterns.len() {
            self.mark(TopicId::Pattern(self.channels[at].patterns[number] as u32));
        }
        let channel = &mut self.channels[at];
        if channel.log.is_empty() {
            self.oldest.insert((seq, at));
            self.counts.bytes += channel.name.len() as u64;
        }
        let entry = LogEntry { seq, at: now, event, key };
        self.counts.events += 1;
        self.counts.bytes += entry.size() as u64;
        channel.log.append(entry);
        if !std::mem::replace(&mut channel.has_grown, true) {
            self.grown.push(at);
        }
    }

    /// The followers of a topic, if it is there.
    fn subscribers(&mut self, topic: TopicId) -> Option<&mut SubscriberList> {
        match topic {
            TopicId::Channel(at) => self.channels.get_mut(at as usize).map(|channel| &mut channel.subscribers),
            TopicId::Pattern(at) => self.patterns.get_mut(at as usize).map(|pattern| &mut pattern.subscribers),
        }
    }

    /// Has the followers walked.
    fn mark(&mut self, topic: TopicId) {
        if let Some(subscribers) = self.subscribers(topic).filter(|subscribers| !subscribers.is_marked) {
            if subscribers.len() > 0 {
                subscribers.is_marked = true;
                self.marked.push(topic);
            }
        }
    }

    /// Calls a function with each stream for which something may have been published. Where it says that the stream is not
    /// there any more, that is forgotten.
    pub fn walk_marked(&mut self, mut is_there: impl FnMut(StreamId) -> bool) {
        while let Some(topic) = self.marked.pop() {
            // Marked no longer, it is another of the same place.
            if let Some(subscribers) = self.subscribers(topic).filter(|subscribers| subscribers.is_marked) {
                subscribers.walk(|stream| is_there(*stream));
            }
        }
    }

    /// The channel of that name, made if need be.
    fn channel(&mut self, name: &[u8]) -> usize {
        if let Some(at) = self.by_name.get(name) {
            return *at;
        }
        let name: Arc<[u8]> = name.into();
        let matching = self.patterns.iter().filter(|(_, pattern)| pattern.glob.matches(&name));
        let patterns: Vec<usize> = matching.map(|(at, _)| at).collect();
        let Evicted { through, clock } = self.tombstones.take(&name);
        let log = Log::new(through, self.settings.on_slow == OnSlow::Newest);
        self.serials += 1;
        let at = self.channels.insert(Channel {
            name: Arc::clone(&name),
            serial: self.serials,
            evicted_at: clock,
            log,
            subscribers: SubscriberList::default(),
            patterns: patterns.clone(),
            has_grown: false,
        });
        for pattern in patterns {
            self.patterns[pattern].channels.insert(at);
        }
        self.by_name.insert(name, at);
        at
    }

    /// The pattern of that text, made if need be.
    fn pattern(&mut self, text: &[u8]) -> usize {
        if let Some(at) = self.pattern_by_text.get(text) {
            return *at;
        }
        let glob = Glob::new(text);
        let matching = self.channels.iter().filter(|(_, channel)| glob.matches(&channel.name));
        let channels: BTreeSet<usize> = matching.map(|(at, _)| at).collect();
        let gone = self.tombstones.forgotten(|name, _| name.map_or(true, |name| glob.matches(name)));
        let logs = || channels.iter().map(|at| &self.channels[*at].log);
        let forgotten = Evictions::new(self.evictions, logs().map(Log::forgotten).fold(gone, u64::max));
        let lost = logs().map(Log::lost).fold(gone, u64::max);
        let at =
            self.patterns.insert(Pattern { glob, channels, subscribers: SubscriberList::default(), forgotten, lost });
        for channel in &self.patterns[at].channels {
            self.channels[*channel].patterns.push(at);
        }
        self.pattern_by_text.insert(text.into(), at);
        at
    }

    /// What a topic is, if it is there.
    fn known(&self, topic: &Topic) -> Option<TopicId> {
        match topic {
            Topic::Channel(name) => self.by_name.get(&**name).map(|at| TopicId::Channel(*at as u32)),
            Topic::Pattern(text) => self.pattern_by_text.get(&**text).map(|at| TopicId::Pattern(*at as u32)),
        }
    }

    /// Lets go of a channel that has neither followers nor history, and of a pattern without followers.
    fn vanish(&mut self, topic: TopicId) {
        match topic {
            TopicId::Channel(at) => {
                let at = at as usize;
                if self.channels[at].subscribers.len() == 0 && self.channels[at].log.is_empty() {
                    let channel = self.channels.remove(at);
                    self.by_name.remove(&channel.name);
                    for pattern in channel.patterns {
                        self.patterns[pattern].channels.remove(&at);
                    }
                    let evicted = Evicted { through: channel.log.forgotten(), clock: channel.evicted_at };
                    self.tombstones.insert(channel.name, evicted);
                }
            }
            TopicId::Pattern(at) => {
                let at = at as usize;
                if self.patterns[at].subscribers.len() == 0 {
                    let pattern = self.patterns.remove(at);
                    self.pattern_by_text.remove(pattern.glob.text());
                    for channel in pattern.channels {
                        self.channels[channel].patterns.retain(|other| *other != at);
                    }
                }
            }
        }
    }

    /// Whether something was published since it was last told to [`forget`](Self::forget).
    pub fn has_grown(&self) -> bool {
        !self.grown.is_empty()
    }

    /// Forgets what is too much, or too old. Everything that was published has been offered to those who keep up.
    pub fn forget(&mut self, now: Instant) {
        let Settings { history, total_history, .. } = self.settings;
        self.offered = self.newest;
        while let Some(at) = self.grown.pop() {
            if let Some(channel) = self.channels.get_mut(at) {
                channel.has_grown = false;
                // With the last of its events it may vanish.
                while self.channels.get(at).map_or(false, |channel| channel.log.is_over(&history)) {
                    self.change_log(at, |log| log.drop_oldest(&history));
                }
            }
        }
        while self.is_too_much(&total_history) {
            match self.oldest.iter().next() {
                Some(&(_, at)) => self.change_log(at, Log::lose_first),
                None => break,
            }
        }
        self.expire(now);
    }

    /// Whether all logs together hold more than they may.
    fn is_too_much(&self, bounds: &Bounds) -> bool {
        let (events, bytes) = (self.counts.events as usize, self.counts.bytes as usize);
        events > bounds.events || (bytes > bounds.bytes && events > 1)
    }

    /// Whether [`forget`](Self::forget) has anything to do.
    pub fn is_over(&self, now: Instant) -> bool {
        let Settings { history, total_history, .. } = self.settings;
        let mut grown = self.grown.iter().filter_map(|at| self.channels.get(*at));
        grown.any(|channel| channel.log.is_over(&history))
            || self.is_too_much(&total_history)
            || self.oldest.iter().next().map_or(false, |(_, at)| self.is_old(*at, now))
    }

    /// Whether the oldest event of a channel is too old.
    fn is_old(&self, at: usize, now: Instant) -> bool {
        let first = self.channels[at].log.first();
        first.map_or(true, |(_, first)| now.saturating_duration_since(first) >= self.age())
    }

    /// Forgets what is too old, though nothing that was not offered yet.
    pub fn expire(&mut self, now: Instant) {
        while let Some(&(seq, at)) = self.oldest.iter().next() {
            if seq > self.offered || !self.is_old(at, now) {
                break;
            }
            self.change_log(at, Log::lose_first);
        }
    }

    fn age(&self) -> Duration {
        self.settings.history.age.min(self.settings.total_history.age)
    }

    /// When [`expire`](Self::expire) has something to do, if nothing is published before. Not for each event by itself.
    pub fn next_due(&self) -> Option<Instant> {
        let (_, at) = self.oldest.iter().next()?;
        let (_, first) = self.channels[*at].log.first()?;
        Some(after(first, self.age().saturating_add(self.age() / 16)))
    }

    /// Changes a channel's history, and what is counted and remembered of it.
    fn change_log(&mut self, at: usize, change: impl FnOnce(&mut Log)) {
        let channel = &mut self.channels[at];
        let log = &mut channel.log;
        let (first, held, forgotten_before) = (log.first(), log.held(), log.forgotten());
        change(log);
        let (now_first, now_held) = (log.first(), log.held());
        let (forgotten, lost) = (log.forgotten(), log.lost());
        let has_evicted = forgotten > forgotten_before;
        if has_evicted {
            self.evictions += 1;
            channel.evicted_at = self.evictions;
        }
        self.forgotten = self.forgotten.max(forgotten).max(lost);
        self.counts.events -= (held.0 - now_held.0) as u64;
        self.counts.bytes -= (held.1 - now_held.1) as u64;
        for pattern in &self.channels[at].patterns {
            let pattern = &mut self.patterns[*pattern];
            if has_evicted {
                pattern.forgotten.record(self.evictions, forgotten);
            }
            pattern.lost = pattern.lost.max(lost);
        }
        if first != now_first {
            first.map(|(seq, _)| self.oldest.remove(&(seq, at)));
            match now_first {
                Some((seq, _)) => drop(self.oldest.insert((seq, at))),
                None => {
                    self.counts.bytes -= self.channels[at].name.len() as u64;
                    self.vanish(TopicId::Channel(at as u32));
                }
            }
        }
    }

    /// Whether streams end that history overtakes.
    pub fn disconnects(&self) -> bool {
        self.settings.on_slow == OnSlow::Disconnect
    }

    /// What has been counted.
    pub fn counts(&self) -> Counts {
        Counts { channels: self.channels.len() as u64, patterns: self.patterns.len() as u64, ..self.counts }
    }

    /// How many streams follow the channel of that name, by its name or by a pattern. One that does so in several ways counts
    /// once; then it is asked which are still there.
    pub fn subscribers_of(&self, name: &[u8], is_there: impl Fn(StreamId) -> bool) -> usize {
        let mut all: Vec<&SubscriberList> = match self.by_name.get(name) {
            Some(at) => {
                let Channel { subscribers, patterns, .. } = &self.channels[*at];
                let by_pattern = patterns.iter().map(|pattern| &self.patterns[*pattern].subscribers);
                std::iter::once(subscribers).chain(by_pattern).collect()
            }
            None => {
                let matching = self.patterns.iter().filter(|(_, pattern)| pattern.glob.matches(name));
                matching.map(|(_, pattern)| &pattern.subscribers).collect()
            }
        };
        all.retain(|subscribers| subscribers.len() > 0);
        if let [one] = all[..] {
            return one.len();
        }
        let streams = all.iter().flat_map(|subscribers| subscribers.streams()).filter(|stream| is_there(**stream));
        streams.map(|stream| u64::from(*stream)).collect::<HashSet<_>>().len()
    }
}
