//! A hub as one would write it without a thought of speed: a list of everything that was ever published, and what became
//! of each.

use super::*;
use crate::hub::{OnSlow, Request, Settings as HubSettings, Start, Topic};
use std::collections::BTreeSet;

pub(super) const EPOCH: &str = "epoch";

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is in its channel's history.
    Held,
    /// It is there no longer, but the newest of its key, or was when it was dropped.
    Kept,
    Tombstones,
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
    /// The event of place 1, of place 2, ...
    events: Vec<Event>,
    /// The places of those that are not gone.
    present: Vec<u64>,
    /// Through which place everything was offered to those who keep up.
    offered: u64,
}

/// What a client's word for its place means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resumed {
    pub(super) seq: u64,
    /// Through which place it knows that something is forgotten. 0: it is to be told of a gap in any case.
    pub(super) told: Option<u64>,
}

pub(super) fn matches(topic: &Topic, channel: &str) -> bool {
    match topic {
        Topic::Channel(name) => **name == *channel.as_bytes(),
        Topic::Pattern(pattern) => stands_for(pattern, channel.as_bytes()),
    }
}

fn stands_for(pattern: &[u8], name: &[u8]) -> bool {
    let tail = |from: usize| &name[from..];
    if let Some(rest) = pattern.strip_prefix(b"**") {
        return (0..=name.len()).any(|from| stands_for(rest, tail(from)));
    }
    if let Some(rest) = pattern.strip_prefix(b"*") {
        let segment = name.iter().position(|byte| *byte == b'/').unwrap_or(name.len());
        return (0..=segment).any(|from| stands_for(rest, tail(from)));
    }
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((wanted, pattern)), Some((byte, name))) => wanted == byte && stands_for(pattern, name),
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

    pub(super) fn is_held(&self, seq: u64) -> bool {
        self.event(seq).state == State::Held
    }

    /// Whether it is sent to slow ones though it is no longer in the history.
    pub(super) fn is_kept(&self, seq: u64) -> bool {
        self.event(seq).state == State::Kept && !self.is_superseded(seq)
    }

    /// Whether the channel of an event has forgotten anything that is after a place.
    pub(super) fn has_forgotten(&self, of: u64, after: u64) -> bool {
        let channel = self.event(of).channel;
        self.events[after as usize..].iter().any(|event| event.channel == channel && event.state != State::Held)
    }

    pub(super) fn held(&self) -> (usize, usize) {
        let names: BTreeSet<_> = self.channels_held().into_iter().collect();
        let names: usize = names.iter().map(|name| name.len()).sum();
        (self.present.len(), self.bytes_of(&self.present) + names)
    }

    pub(super) fn channels_held(&self) -> Vec<&'static str> {
        self.present.iter().map(|seq| self.event(*seq).channel).collect()
    }

    pub(super) fn publish(&mut self, channel: &'static str, key: u8, id: String, bytes: usize, at: Instant) {
        self.events.push(Event { channel, key, id, at, bytes, state: State::Held });
        self.present.push(self.newest());
    }

    /// Whether there is a newer one of the same channel and key.
    pub(super) fn is_superseded(&self, seq: u64) -> bool {
        let of = self.event(seq);
        self.events[seq as usize..].iter().any(|event| (event.channel, event.key) == (of.channel, of.key))
    }

    /// The places of what is in the history of these topics, or was published to them at all, after a place.
    pub(super) fn after(&self, topics: &[Topic], seq: u64, only_held: bool) -> Vec<u64> {
        let wanted = |seq: &u64| {
            let event = self.event(*seq);
            (!only_held || event.state == State::Held) && topics.iter().any(|topic| matches(topic, event.channel))
        };
        match only_held {
            true => self.present.iter().copied().filter(|at| *at > seq).filter(wanted).collect(),
            false => (seq + 1..=self.newest()).filter(wanted).collect(),
        }
    }

    /// Where one begins who asks for this; none, if its id says nothing here.
    pub(super) fn resumed(&self, request: &Request, topics: &[Topic]) -> Option<Resumed> {
        let id = std::str::from_utf8(request.after.as_deref()?).ok()?;
        let is_given = |event: &Event| event.id == id && topics.iter().any(|topic| matches(topic, event.channel));
        if let Some(at) = self.events.iter().position(is_given) {
            return Some(Resumed { seq: at as u64 + 1, told: None });
        }
        let parts: Vec<&str> = id.split('-').collect();
        let number = |text: &str| text.parse::<u64>().ok().filter(|number| number.to_string() == text);
        let resumed = match *parts {
            [EPOCH, seq] => Resumed { seq: number(seq)?, told: None },
            [EPOCH, seq, told] => Resumed { seq: number(seq)?, told: Some(number(told)?) },
            _ => return None,
        };
        Some(resumed).filter(|resumed| resumed.seq <= self.newest())
    }

    pub(super) fn start(&self, request: &Request) -> u64 {
        match request.start {
            Start::Newest => self.newest(),
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
        if state == State::Tombstones {
            self.present.retain(|present| *present != seq);
        }
    }

    /// At the end of a turn: what is too much is forgotten.
    pub(super) fn forget(&mut self, now: Instant) {
        self.offered = self.newest();
        let history = self.settings.history;
        for channel in self.channels_held() {
            loop {
                let held = self.present_of(channel, State::Held);
                let is_over = held.len() > history.events || (self.bytes_of(&held) > history.bytes && held.len() > 1);
                match held.first() {
                    Some(first) if is_over => self.drop(channel, *first),
                    _ => break,
                }
            }
        }
        let in_all = self.settings.total_history;
        let is_over = |(events, bytes): (usize, usize)| events > in_all.events || (bytes > in_all.bytes && events > 1);
        while is_over(self.held()) {
            self.change(self.present[0], State::Tombstones);
        }
        self.expire(now);
    }

    pub(super) fn expire(&mut self, now: Instant) {
        let age = self.settings.history.age.min(self.settings.total_history.age);
        while let Some(first) = self.present.first().copied().filter(|first| *first <= self.offered) {
            if now - self.event(first).at < age {
                break;
            }
            self.change(first, State::Tombstones);
        }
    }

    fn drop(&mut self, channel: &str, seq: u64) {
        if self.settings.on_slow != OnSlow::Newest || self.is_superseded(seq) {
            return self.change(seq, State::Tombstones);
        }
        self.change(seq, State::Kept);
        let history = self.settings.history;
        let is_over = |naive: &Self| {
            let kept = naive.present_of(channel, State::Kept);
            kept.len() > history.events || naive.bytes_of(&kept) > history.bytes
        };
        if is_over(self) {
            for kept in self.present_of(channel, State::Kept) {
                if self.is_superseded(kept) {
                    self.change(kept, State::Tombstones);
                }
            }
        }
        while is_over(self) {
            let first = self.present_of(channel, State::Kept)[0];
            self.change(first, State::Tombstones);
        }
    }
}
