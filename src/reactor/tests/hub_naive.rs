//! The hub's naive twin, written without regard to speed: a list of all events ever published, each with its state.

use super::hub_steps::CHANNELS;
use super::*;
use crate::event::Shared;
use crate::hub::{History, OnSlow, Retention, Settings as HubSettings, StartPoint, SubscribeRequest, Topic};
use crate::log::Bounds;
use std::collections::{BTreeMap, BTreeSet};

pub(super) const EPOCH: &str = "epoch";

/// The state of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The event is in its channel's log.
    InLog,
    /// The event was dropped from the log by size, but was the newest of its key then.
    Compacted,
    /// The event is dropped for good.
    Evicted,
}

#[derive(Debug)]
pub(super) struct Event {
    pub(super) channel: &'static str,
    pub(super) key: u8,
    pub(super) id: String,
    pub(super) has_custom_id: bool,
    /// True if the hub was never given the event: it continues without it.
    is_forgotten: bool,
    pub(super) at: Instant,
    pub(super) block: Shared,
    bytes: usize,
    pub(super) state: State,
}

pub(super) struct Naive {
    pub(super) settings: HubSettings,
    /// The events by their sequence numbers.
    events: BTreeMap<u64, Event>,
    /// The sequence numbers of events that are not evicted.
    present: Vec<u64>,
    /// Streams that keep up have been sent everything up to this sequence number.
    offered: u64,
    /// The greatest sequence number that was evicted.
    evicted_through: u64,
    /// Where the hub continues with stored events: after this number. None if it has no store.
    pub(super) history_through: Option<u64>,
    /// Channels that the history does not name may have evicted events through this number: then a gap may come
    /// although nothing was evicted.
    pub(super) merged_through: u64,
    /// The number of events that were published since the hub began.
    pub(super) published: u64,
    /// The policies that channels have had.
    policies: BTreeMap<&'static str, Vec<OnSlow>>,
}

/// The resume point that a client's last event id gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResumePoint {
    pub(super) seq: u64,
    /// The client knows of a gap through this sequence number. 0: a gap has to be reported in any case.
    pub(super) known_gap: Option<u64>,
}

pub(super) fn matches(topic: &Topic, channel: &str) -> bool {
    match topic {
        Topic::Channel(name) => **name == *channel.as_bytes(),
        Topic::Pattern(pattern) => glob_matches(pattern, channel.as_bytes()),
    }
}

fn glob_matches(pattern: &[u8], name: &[u8]) -> bool {
    let tail = |from: usize| &name[from..];
    if let Some(rest) = pattern.strip_prefix(b"**") {
        return (0..=name.len()).any(|from| glob_matches(rest, tail(from)));
    }
    if let Some(rest) = pattern.strip_prefix(b"*") {
        let segment = name.iter().position(|byte| *byte == b'/').unwrap_or(name.len());
        return (0..=segment).any(|from| glob_matches(rest, tail(from)));
    }
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((wanted, pattern)), Some((byte, name))) => wanted == byte && glob_matches(pattern, name),
        _ => false,
    }
}

impl Naive {
    pub(super) fn new(settings: HubSettings, is_stored: bool) -> Self {
        Self {
            settings,
            events: BTreeMap::new(),
            present: Vec::new(),
            offered: 0,
            evicted_through: 0,
            history_through: is_stored.then_some(0),
            merged_through: 0,
            published: 0,
            policies: BTreeMap::new(),
        }
    }

    /// Returns the settings of a channel: their number, the retention and the policy.
    fn settings_of(&self, channel: &str) -> (usize, Bounds, OnSlow) {
        let HubSettings { on_slow, ref retention, .. } = self.settings;
        let Retention { history, total_history, ref channels, .. } = *retention;
        let number = channels.iter().position(|of| glob_matches(of.pattern(), channel.as_bytes()));
        let other = number.map(|number| &channels[number]);
        let Bounds { events, bytes, age } = other.map_or(history, |other| other.history(history));
        let history = Bounds { events, bytes, age: age.min(total_history.age) };
        (number.map_or(0, |number| number + 1), history, other.and_then(|other| other.on_slow).unwrap_or(on_slow))
    }

    fn compacts(&self, channel: &str) -> bool {
        self.settings_of(channel).2 == OnSlow::Latest
    }

    /// Returns true if any of these channels has, or had, a policy.
    pub(super) fn has_had<'a>(&self, channels: impl IntoIterator<Item = &'a str>, policy: OnSlow) -> bool {
        channels.into_iter().any(|channel| self.policies.get(channel).map_or(false, |all| all.contains(&policy)))
    }

    /// Changes the settings. What logs have compacted is within their bounds at once.
    pub(super) fn change_settings(&mut self, retention: Retention) {
        self.settings.retention = retention;
        self.channels_in_log().into_iter().for_each(|channel| self.shrink_compacted(channel));
        self.note_policies();
    }

    /// Remembers the policies of channels.
    pub(super) fn note_policies(&mut self) {
        for channel in CHANNELS {
            let on_slow = self.settings_of(channel).2;
            self.policies.entry(channel).or_default().push(on_slow);
        }
    }

    pub(super) fn newest(&self) -> u64 {
        self.events.keys().next_back().copied().unwrap_or(0)
    }

    pub(super) fn event(&self, seq: u64) -> &Event {
        &self.events[&seq]
    }

    pub(super) fn is_in_log(&self, seq: u64) -> bool {
        self.event(seq).state == State::InLog
    }

    /// Returns true if slow clients are sent the event although it is no longer in the log.
    pub(super) fn is_compacted(&self, seq: u64) -> bool {
        self.event(seq).state == State::Compacted
    }

    /// Returns true if the channel of event `of` has dropped an event after `after`.
    pub(super) fn has_evicted(&self, of: u64, after: u64) -> bool {
        let channel = self.event(of).channel;
        let mut later = self.events.range(after.saturating_add(1)..).map(|(_, event)| event);
        later.any(|event| event.channel == channel && event.state != State::InLog)
    }

    pub(super) fn log_size(&self) -> (usize, usize) {
        let names: BTreeSet<_> = self.channels_in_log().into_iter().collect();
        let names: usize = names.iter().map(|name| name.len()).sum();
        (self.present.len(), self.bytes_of(&self.present) + names)
    }

    pub(super) fn channels_in_log(&self) -> Vec<&'static str> {
        self.present.iter().map(|seq| self.event(*seq).channel).collect()
    }

    /// Creates an event that was published at a time.
    pub(super) fn event_of(
        channel: &'static str,
        key: (u8, usize),
        id: (String, bool),
        block: &Shared,
        at: Instant,
    ) -> Event {
        let bytes = block.len() + key.1;
        let (block, (id, has_custom_id)) = (block.clone(), id);
        Event { channel, key: key.0, id, has_custom_id, is_forgotten: false, at, block, bytes, state: State::InLog }
    }

    pub(super) fn publish(&mut self, seq: u64, event: Event) {
        let (channel, key) = (event.channel, event.key);
        for kept in self.present_of(channel, State::Compacted) {
            if self.event(kept).key == key {
                self.change(kept, State::Evicted);
            }
        }
        self.events.insert(seq, event);
        self.present.push(seq);
        self.published += 1;
    }

    /// The store forgets an event, which the hub has dropped. Returns false if it has already.
    pub(super) fn forget(&mut self, seq: u64) -> bool {
        let event = self.events.get_mut(&seq).expect("an event");
        assert_eq!(event.state, State::Evicted, "{seq} is forgotten");
        !std::mem::replace(&mut event.is_forgotten, true)
    }

    /// Returns the events that are dropped and that the store has still.
    pub(super) fn unforgotten(&self) -> Vec<u64> {
        let is_left =
            |(seq, event): (&u64, &Event)| (event.state == State::Evicted && !event.is_forgotten).then_some(*seq);
        self.events.iter().filter_map(is_left).collect()
    }

    /// The hub ends. A store continues with what it has: all that it was not told to forget. Returns the history of the next
    /// hub.
    pub(super) fn restart(&mut self, known: &BTreeMap<&'static str, u64>, is_merged: bool) -> History {
        let newest = self.newest();
        for event in self.events.values_mut() {
            event.state = if event.is_forgotten { State::Evicted } else { State::InLog };
        }
        let is_in_log = |(seq, event): (&u64, &Event)| (event.state == State::InLog).then_some(*seq);
        self.present = self.events.iter().filter_map(is_in_log).collect();
        let named = |number: usize| !is_merged || number % 2 == 0;
        let all = || known.iter().enumerate().map(|(number, (name, through))| (named(number), *name, *through));
        let evicted: Vec<_> = all().filter(|of| of.0).map(|(_, name, at)| (name.as_bytes().into(), at)).collect();
        let merged = all().filter(|of| !of.0).map(|(.., at)| at).max().unwrap_or(0);
        self.merged_through = self.merged_through.max(merged);
        self.evicted_through = all().map(|(.., at)| at).max().unwrap_or(0);
        (self.history_through, self.offered, self.published) = (Some(newest), newest, 0);
        History { epoch: EPOCH.into(), last_seq: newest, evicted, evicted_through: merged, ..History::default() }
    }

    /// Returns true if a hub with a store knows a sequence number: if it is not between the numbers of events.
    pub(super) fn is_known(&self, seq: u64) -> bool {
        let is_event = self.events.get(&seq).map_or(false, |event| !event.is_forgotten);
        self.history_through.map_or(true, |through| seq <= self.evicted_through || seq == through || is_event)
    }

    /// Returns true if there is a newer event of the same channel and key.
    pub(super) fn is_superseded(&self, seq: u64) -> bool {
        let of = self.event(seq);
        let mut later = self.events.range(seq + 1..).map(|(_, event)| event);
        later.any(|event| (event.channel, event.key) == (of.channel, of.key))
    }

    /// Returns the sequence numbers after `seq` of events of these topics: those in the log, or all that were published.
    pub(super) fn after(&self, topics: &[Topic], seq: u64, only_in_log: bool) -> Vec<u64> {
        let wanted = |seq: &u64| {
            let event = self.event(*seq);
            (!only_in_log || event.state == State::InLog) && topics.iter().any(|topic| matches(topic, event.channel))
        };
        match only_in_log {
            true => self.present.iter().copied().filter(|at| *at > seq).filter(wanted).collect(),
            false => self.events.range(seq.saturating_add(1)..).map(|(at, _)| *at).filter(wanted).collect(),
        }
    }

    /// Returns where a request resumes. None if its id is unknown here, as ids of the application are.
    pub(super) fn resume_point(&self, request: &SubscribeRequest) -> Option<ResumePoint> {
        let id = std::str::from_utf8(request.after.as_deref()?).ok()?;
        let parts: Vec<&str> = id.split('-').collect();
        let number = |text: &str| text.parse::<u64>().ok().filter(|number| number.to_string() == text);
        let resume_point = match *parts {
            [EPOCH, seq] => ResumePoint { seq: number(seq)?, known_gap: None },
            [EPOCH, seq, told] => ResumePoint { seq: number(seq)?, known_gap: Some(number(told)?) },
            _ => return None,
        };
        Some(resume_point).filter(|point| point.seq <= self.newest() && self.is_known(point.seq))
    }

    /// Returns where a new client begins in these topics. What others have that came before them does not count.
    pub(super) fn start(&self, start: StartPoint, topics: &[Topic], before: &[Topic]) -> u64 {
        match start {
            StartPoint::Latest => self.newest(),
            StartPoint::Oldest | StartPoint::State => 0,
            StartPoint::Last(count) => {
                let mut held = self.after(topics, 0, true);
                held.retain(|seq| !before.iter().any(|topic| matches(topic, self.event(*seq).channel)));
                let first = held.len().checked_sub(count);
                first.map_or(0, |first| held.get(first).map_or(self.newest(), |seq| seq - 1))
            }
        }
    }

    fn present_of(&self, channel: &str, state: State) -> Vec<u64> {
        let event = |seq: &u64| self.event(*seq);
        let of_channel = |seq: &u64| event(seq).channel == channel && event(seq).state == state;
        self.present.iter().copied().filter(of_channel).collect()
    }

    fn bytes_of(&self, seqs: &[u64]) -> usize {
        seqs.iter().map(|seq| self.event(*seq).bytes).sum()
    }

    fn change(&mut self, seq: u64, state: State) {
        self.events.get_mut(&seq).expect("an event").state = state;
        self.evicted_through = self.evicted_through.max(seq);
        if state == State::Evicted {
            self.present.retain(|present| *present != seq);
        }
    }

    /// Returns the sequence numbers of the events that are not evicted.
    pub(super) fn present(&self) -> &[u64] {
        &self.present
    }

    /// Evicts at the end of a turn.
    pub(super) fn evict(&mut self, now: Instant) {
        self.offered = self.newest();
        for channel in self.channels_in_log() {
            let (_, history, _) = self.settings_of(channel);
            loop {
                let held = self.present_of(channel, State::InLog);
                let is_over = held.len() > history.events || (self.bytes_of(&held) > history.bytes && held.len() > 1);
                match held.first() {
                    Some(first) if is_over => self.drop_from_log(channel, *first),
                    _ => break,
                }
            }
        }
        let total_history = self.settings.retention.total_history;
        let is_over = |(events, bytes): (usize, usize)| {
            events > total_history.events || (bytes > total_history.bytes && events > 1)
        };
        while is_over(self.log_size()) {
            self.change(self.present[0], State::Evicted);
        }
        self.expire(now);
    }

    pub(super) fn expire(&mut self, now: Instant) {
        for settings in 0..=self.settings.retention.channels.len() {
            let of_settings = |seq: &u64| self.settings_of(self.event(*seq).channel).0 == settings;
            let all: Vec<u64> = self.present.iter().copied().filter(of_settings).collect();
            for first in all {
                let event = self.event(first);
                let age = self.settings_of(event.channel).1.age;
                if first > self.offered || now.saturating_duration_since(event.at) < age {
                    break;
                }
                self.change(first, State::Evicted);
            }
        }
    }

    fn drop_from_log(&mut self, channel: &str, seq: u64) {
        if !self.compacts(channel) || self.is_superseded(seq) {
            return self.change(seq, State::Evicted);
        }
        self.change(seq, State::Compacted);
        self.shrink_compacted(channel);
    }

    fn shrink_compacted(&mut self, channel: &str) {
        let (_, history, on_slow) = self.settings_of(channel);
        let is_over = |naive: &Self| {
            let kept = naive.present_of(channel, State::Compacted);
            let exceeds = kept.len() > history.events || naive.bytes_of(&kept) > history.bytes;
            !kept.is_empty() && (exceeds || on_slow != OnSlow::Latest)
        };
        while is_over(self) {
            let first = self.present_of(channel, State::Compacted)[0];
            self.change(first, State::Evicted);
        }
    }
}
