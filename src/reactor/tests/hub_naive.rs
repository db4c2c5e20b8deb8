//! The hub's naive twin, written without regard to speed: a list of all events ever published, each with its state.

use super::*;
use crate::hub::{OnSlow, Settings as HubSettings, Start, SubscribeRequest, Topic};
use std::collections::BTreeSet;

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
    at: Instant,
    bytes: usize,
    pub(super) state: State,
}

pub(super) struct Naive {
    pub(super) settings: HubSettings,
    /// The events with the sequence numbers 1, 2, ...
    events: Vec<Event>,
    /// The sequence numbers of events that are not evicted.
    present: Vec<u64>,
    /// Streams that keep up have been sent everything up to this sequence number.
    offered: u64,
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
    pub(super) fn new(settings: HubSettings) -> Self {
        Self { settings, events: Vec::new(), present: Vec::new(), offered: 0 }
    }

    pub(super) fn newest(&self) -> u64 {
        self.events.len() as u64
    }

    pub(super) fn event(&self, seq: u64) -> &Event {
        &self.events[seq as usize - 1]
    }

    pub(super) fn is_in_log(&self, seq: u64) -> bool {
        self.event(seq).state == State::InLog
    }

    /// Returns true if slow clients are sent the event although it is no longer in the log.
    pub(super) fn is_compacted(&self, seq: u64) -> bool {
        self.event(seq).state == State::Compacted && !self.is_superseded(seq)
    }

    /// Returns true if the channel of event `of` has dropped an event after `after`.
    pub(super) fn has_evicted(&self, of: u64, after: u64) -> bool {
        let channel = self.event(of).channel;
        self.events[after as usize..].iter().any(|event| event.channel == channel && event.state != State::InLog)
    }

    pub(super) fn log_size(&self) -> (usize, usize) {
        let names: BTreeSet<_> = self.channels_in_log().into_iter().collect();
        let names: usize = names.iter().map(|name| name.len()).sum();
        (self.present.len(), self.bytes_of(&self.present) + names)
    }

    pub(super) fn channels_in_log(&self) -> Vec<&'static str> {
        self.present.iter().map(|seq| self.event(*seq).channel).collect()
    }

    pub(super) fn publish(&mut self, channel: &'static str, key: u8, id: String, bytes: usize, at: Instant) {
        self.events.push(Event { channel, key, id, at, bytes, state: State::InLog });
        self.present.push(self.newest());
    }

    /// Returns true if there is a newer event of the same channel and key.
    pub(super) fn is_superseded(&self, seq: u64) -> bool {
        let of = self.event(seq);
        self.events[seq as usize..].iter().any(|event| (event.channel, event.key) == (of.channel, of.key))
    }

    /// Returns the sequence numbers after `seq` of events of these topics: those in the log, or all that were published.
    pub(super) fn after(&self, topics: &[Topic], seq: u64, only_in_log: bool) -> Vec<u64> {
        let wanted = |seq: &u64| {
            let event = self.event(*seq);
            (!only_in_log || event.state == State::InLog) && topics.iter().any(|topic| matches(topic, event.channel))
        };
        match only_in_log {
            true => self.present.iter().copied().filter(|at| *at > seq).filter(wanted).collect(),
            false => (seq + 1..=self.newest()).filter(wanted).collect(),
        }
    }

    /// Returns where a request resumes. None if its id is unknown here.
    pub(super) fn resume_point(&self, request: &SubscribeRequest, topics: &[Topic]) -> Option<ResumePoint> {
        let id = std::str::from_utf8(request.after.as_deref()?).ok()?;
        let is_given = |event: &Event| event.id == id && topics.iter().any(|topic| matches(topic, event.channel));
        if let Some(at) = self.events.iter().position(is_given) {
            return Some(ResumePoint { seq: at as u64 + 1, known_gap: None });
        }
        let parts: Vec<&str> = id.split('-').collect();
        let number = |text: &str| text.parse::<u64>().ok().filter(|number| number.to_string() == text);
        let resume_point = match *parts {
            [EPOCH, seq] => ResumePoint { seq: number(seq)?, known_gap: None },
            [EPOCH, seq, told] => ResumePoint { seq: number(seq)?, known_gap: Some(number(told)?) },
            _ => return None,
        };
        Some(resume_point).filter(|resume_point| resume_point.seq <= self.newest())
    }

    pub(super) fn start(&self, request: &SubscribeRequest) -> u64 {
        match request.start {
            Start::Latest => self.newest(),
            Start::Oldest => 0,
            Start::Last(count) => {
                let held = self.after(&request.topics, 0, true);
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
        self.events[seq as usize - 1].state = state;
        if state == State::Evicted {
            self.present.retain(|present| *present != seq);
        }
    }

    /// Evicts at the end of a turn.
    pub(super) fn evict(&mut self, now: Instant) {
        self.offered = self.newest();
        let history = self.settings.history;
        for channel in self.channels_in_log() {
            loop {
                let held = self.present_of(channel, State::InLog);
                let is_over = held.len() > history.events || (self.bytes_of(&held) > history.bytes && held.len() > 1);
                match held.first() {
                    Some(first) if is_over => self.drop_from_log(channel, *first),
                    _ => break,
                }
            }
        }
        let total_history = self.settings.total_history;
        let is_over = |(events, bytes): (usize, usize)| {
            events > total_history.events || (bytes > total_history.bytes && events > 1)
        };
        while is_over(self.log_size()) {
            self.change(self.present[0], State::Evicted);
        }
        self.expire(now);
    }

    pub(super) fn expire(&mut self, now: Instant) {
        let age = self.settings.history.age.min(self.settings.total_history.age);
        while let Some(first) = self.present.first().copied().filter(|first| *first <= self.offered) {
            if now - self.event(first).at < age {
                break;
            }
            self.change(first, State::Evicted);
        }
    }

    fn drop_from_log(&mut self, channel: &str, seq: u64) {
        if self.settings.on_slow != OnSlow::Latest || self.is_superseded(seq) {
            return self.change(seq, State::Evicted);
        }
        self.change(seq, State::Compacted);
        let history = self.settings.history;
        let is_over = |naive: &Self| {
            let kept = naive.present_of(channel, State::Compacted);
            kept.len() > history.events || naive.bytes_of(&kept) > history.bytes
        };
        if is_over(self) {
            for kept in self.present_of(channel, State::Compacted) {
                if self.is_superseded(kept) {
                    self.change(kept, State::Evicted);
                }
            }
        }
        while is_over(self) {
            let first = self.present_of(channel, State::Compacted)[0];
            self.change(first, State::Evicted);
        }
    }
}
