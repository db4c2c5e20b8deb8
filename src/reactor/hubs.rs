//! The hubs of a reactor: creating, publishing, evicting, counting, closing.

use super::{HubId, Io, Reactor};
use crate::hub::{Answer, Epoch, History, Hub, Question, Settings};
use crate::stream::{Reason, StreamId};
use std::collections::BTreeMap;
use std::time::Instant;

#[derive(Debug)]
struct HubState {
    hub: Hub,
    /// Whether new subscribers are refused.
    is_draining: bool,
    /// True if the hub is dropped with its last stream, because it has no publisher any more.
    is_closed: bool,
}

/// All hubs by their ids. An application may create and drop any number of them.
#[derive(Debug, Default)]
pub(super) struct Hubs(BTreeMap<HubId, HubState>);

impl Hubs {
    pub(super) fn create(&mut self, id: HubId, epoch: Epoch, settings: Settings, history: Option<&History>) {
        let hub = match history {
            None => Hub::new(epoch, settings),
            Some(history) => Hub::stored(epoch, settings, history),
        };
        self.0.insert(id, HubState { hub, is_draining: false, is_closed: false });
    }

    pub(super) fn get(&self, id: HubId) -> Option<&Hub> {
        self.0.get(&id).map(|state| &state.hub)
    }

    pub(super) fn get_mut(&mut self, id: HubId) -> Option<&mut Hub> {
        self.0.get_mut(&id).map(|state| &mut state.hub)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Hub> {
        self.0.values_mut().map(|state| &mut state.hub)
    }

    /// Returns true if streams may subscribe to the hub.
    pub(super) fn is_open(&self, id: HubId) -> bool {
        self.0.get(&id).map_or(false, |state| !state.is_draining && !state.is_closed)
    }

    /// Changes a hub, unless it was dropped. The next [`flush`](Reactor::flush) sends streams what was appended, and evicts
    /// what exceeds the bounds.
    pub(super) fn change(&mut self, id: HubId, change: impl FnOnce(&mut Hub)) {
        if let Some(hub) = self.get_mut(id) {
            change(hub);
        }
    }

    /// Returns true if something was published since the last eviction.
    pub(super) fn have_grown(&self) -> bool {
        self.0.values().any(|state| state.hub.has_grown())
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.values().flat_map(|state| [state.hub.next_due(), state.hub.readers.next_aged()]).flatten().min()
    }

    /// Takes streams that are old enough to end, at most so many.
    pub(super) fn take_aged(&mut self, now: Instant, most: usize) -> Vec<StreamId> {
        self.iter_mut().flat_map(|hub| std::iter::from_fn(move || hub.readers.pop_aged(now))).take(most).collect()
    }

    /// Takes polls that have waited for long enough, at most so many.
    pub(super) fn take_waited(&mut self, now: Instant, most: usize) -> Vec<StreamId> {
        self.iter_mut().flat_map(|hub| std::iter::from_fn(move || hub.readers.pop_waited(now))).take(most).collect()
    }

    /// Forgets the labels and the age of a stream that is no longer here.
    pub(super) fn unmark(&mut self, stream: StreamId) {
        self.iter_mut().for_each(|hub| hub.readers.remove_stream(stream));
    }

    /// Refuses new subscribers from here on. Returns false if the hub does not exist.
    pub(super) fn start_draining(&mut self, id: HubId) -> bool {
        let state = self.0.get_mut(&id);
        state.map(|state| state.is_draining = true).is_some()
    }

    /// Accepts new subscribers again.
    pub(super) fn end_draining(&mut self, id: HubId) {
        if let Some(state) = self.0.get_mut(&id) {
            state.is_draining = false;
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<I: Io> Reactor<I> {
    /// Evicts from the logs, and drops closed hubs without streams. Held streams begin before something is evicted that they
    /// are still to be sent, because they have not been slow.
    pub(super) fn evict(&mut self, now: Instant) {
        loop {
            let Self { hubs, records, held, .. } = self;
            let mut needing = Vec::new();
            for (hub_id, HubState { hub, .. }) in &mut hubs.0 {
                let of_hub = held.iter().filter_map(|(_, id)| {
                    let subscription = records.get(id.slot as usize)?.as_ref()?.subscription.as_deref()?;
                    subscription.is_of(*hub_id).then_some((id, &subscription.cursor))
                });
                needing.extend(hub.evict(now, &of_hub.collect::<Vec<_>>()).err().into_iter().flatten());
            }
            if needing.is_empty() {
                break;
            }
            needing.into_iter().for_each(|id| self.begin(id));
            self.flush_queued(now);
        }
        self.hubs.0.retain(|_, state| !state.is_closed || state.hub.counts().streams > 0);
    }

    /// Ends the hub's streams after everything that was published, then drops the hub.
    pub(super) fn close_hub(&mut self, id: HubId) {
        for stream in self.streams_of(id) {
            self.end_with_retry(stream, Reason::Application); // the client reconnects, perhaps to another hub
        }
        match self.hubs.0.get_mut(&id) {
            Some(state) if state.hub.counts().streams > 0 => state.is_closed = true,
            _ => drop(self.hubs.0.remove(&id)),
        }
    }

    /// Asks a hub, and ends the streams that a question means.
    pub(super) fn ask(&mut self, id: HubId, request_id: u64, question: Question, now: Instant) {
        if question.follows_eviction() {
            self.flush_hub(id, now);
        }
        let finishes = matches!(&question, Question::EndStreams { request, .. } if request.finishes);
        let Self { hubs, records, .. } = self;
        let is_subscribed = |stream: StreamId| match records.get(stream.slot as usize) {
            Some(Some(record)) => record.serial == stream.serial && record.subscription.is_some(),
            _ => false,
        };
        // Nobody asks a hub that was dropped.
        let answer = hubs.get_mut(id).map_or(Answer::Number(0), |hub| hub.ask(question, is_subscribed, now));
        let answer = match answer {
            Answer::Ending(streams) => {
                Answer::Number(streams.into_iter().filter(|id| self.withdraw(*id, finishes)).count())
            }
            answer => answer,
        };
        self.answers.push(super::Answer::Answered { request_id, answer });
    }

    /// Returns the streams that have a subscription to a hub.
    pub(super) fn streams_of(&self, id: HubId) -> Vec<StreamId> {
        let records = self.records.iter().enumerate();
        let streams = records.filter_map(|(slot, record)| {
            let record = record.as_ref()?;
            record.subscription.as_ref().filter(|subscription| subscription.is_of(id))?;
            Some(StreamId { slot: slot as u32, serial: record.serial })
        });
        streams.collect()
    }
}
