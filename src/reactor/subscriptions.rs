//! Streams that follow the channels of a hub: the hub's log is what they are sent after what waits for them alone.

use super::shutdown::Spread;
use super::{Answer, Entry, HubId, Io, Reactor, StreamId};
use crate::hub::{Cursor, Epoch, Gathered, Hub, Notice, Request, Settings, Topic};
use crate::stream::{Reason, Stream};
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::time::{Duration, Instant};

/// The subscriptions of a stream.
#[derive(Debug)]
pub(super) struct Subscription {
    hub: HubId,
    cursor: Cursor,
}

impl Subscription {
    pub(super) fn is_of(&self, hub: HubId) -> bool {
        self.hub == hub
    }

    /// Whether it is held: nothing of what it has subscribed to is sent yet.
    #[cfg(test)]
    pub(super) fn is_opening(&self) -> bool {
        self.cursor.is_opening()
    }

    /// Whether nothing is left of them, nor to be sent.
    pub(super) fn is_over(&self) -> bool {
        self.cursor.is_idle()
    }
}

struct HubState {
    hub: Hub,
    /// Whether streams that come are sent away.
    is_drained: bool,
    /// Whether nobody publishes any more, so that the hub goes with its last stream.
    is_left: bool,
}

/// All hubs that are there, by their names. An application may make and drop any number of them.
#[derive(Default)]
pub(super) struct Hubs(BTreeMap<HubId, HubState>);

impl Hubs {
    pub(super) fn insert(&mut self, hub: HubId, epoch: Epoch, settings: Settings) {
        self.0.insert(hub, HubState { hub: Hub::new(epoch, settings), is_drained: false, is_left: false });
    }

    fn state(&mut self, hub: HubId) -> Option<&mut HubState> {
        self.0.get_mut(&hub)
    }

    pub(super) fn get_mut(&mut self, hub: HubId) -> Option<&mut Hub> {
        self.state(hub).map(|state| &mut state.hub)
    }

    fn get(&self, hub: HubId) -> Option<&Hub> {
        self.0.get(&hub).map(|state| &state.hub)
    }

    /// Evicts what is too much or too old, and lets go of hubs that nobody needs any more.
    pub(super) fn forget(&mut self, now: Instant) {
        for state in self.0.values_mut() {
            state.hub.evict(now);
        }
        self.0.retain(|_, state| !state.is_left || state.hub.counts().streams > 0);
    }

    pub(super) fn expire(&mut self, now: Instant) {
        for state in self.0.values_mut() {
            state.hub.expire(now);
        }
    }

    /// Whether any of them may have something to forget that was published of late.
    pub(super) fn have_grown(&self) -> bool {
        self.0.values().any(|state| state.hub.has_grown())
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.values().filter_map(|state| state.hub.next_due()).min()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn leave(&mut self, subscription: Subscription) {
        if let Some(hub) = self.get_mut(subscription.hub) {
            hub.leave(subscription.cursor);
        }
    }
}

/// Puts notices into a stream's own buffer, and says so.
fn notify(stream: &mut Stream, notices: Vec<Notice>, id: StreamId, answers: &mut Vec<Answer>) {
    let before = stream.waiting_bytes();
    let framing = stream.settings().framing;
    for notice in notices {
        match notice {
            Notice::Position(block) => stream.push_around(framing.frame(&block)),
            Notice::Gap(block) => stream.push_kept(framing.frame(&block)),
            Notice::Event(event) => stream.push_kept(event.from(framing, 0)),
        }
    }
    let bytes = stream.waiting_bytes() - before;
    if bytes > 0 {
        answers.push(Answer::Added { stream: id, bytes });
    }
}

/// Whether no more notices can be buffered for a stream: its client does not read, and as much is buffered as may be.
fn is_full(stream: &Stream, takes_nothing: bool) -> bool {
    takes_nothing && stream.waiting_bytes() > stream.settings().max_buffered
}

/// Whether a stream can be sent what is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendDecision {
    /// It can.
    Open,
    /// Its handler may subscribe it to more: nothing from the log is sent yet.
    Held,
    /// What is buffered for it alone has to be sent first: notices, and events with them. More of those come only then, so
    /// that a client that does not read costs no more for them.
    Later,
    /// It is to end because the log has overtaken it.
    Overtaken,
}

/// Sees to a stream that the log may have overtaken. While its socket takes nothing it is told nothing.
pub(super) fn catch_up(
    hubs: &mut Hubs,
    subscription: &mut Option<Box<Subscription>>,
    stream: &mut Stream,
    is_blocked: bool,
    id: StreamId,
    answers: &mut Vec<Answer>,
) -> SendDecision {
    let Subscription { hub, cursor } = match subscription {
        Some(subscription) => &mut **subscription,
        None => return SendDecision::Open,
    };
    let hub = match hubs.get_mut(*hub) {
        Some(hub) => hub,
        None => return SendDecision::Open,
    };
    if cursor.is_opening() {
        return SendDecision::Held;
    }
    let is_full = is_blocked || stream.waiting_bytes() > 0;
    if is_full && !hub.disconnects() && (is_blocked || hub.is_lagging(cursor)) {
        return SendDecision::Later;
    }
    let mut notices = match hub.catch_up(cursor) {
        Ok(notices) => notices,
        Err(_) => return SendDecision::Overtaken,
    };
    if cursor.is_replaying() && !is_full {
        notices.extend(hub.replay(cursor));
    }
    notify(stream, notices, id, answers);
    if cursor.is_replaying() {
        return SendDecision::Later;
    }
    if cursor.is_idle() {
        *subscription = None; // it has unsubscribed, and that was the last of it
    }
    SendDecision::Open
}

/// About how many logs have to be looked at to send something to a stream.
pub(super) fn logs_to_merge(hubs: &Hubs, subscription: &Option<Box<Subscription>>) -> usize {
    let logs = subscription
        .as_ref()
        .and_then(|subscription| Some(hubs.get(subscription.hub)?.logs_to_merge(&subscription.cursor)));
    logs.unwrap_or(0)
}

/// Puts what a stream is to be sent from the log into `blocks`, if all that is buffered for it alone is before them.
pub(super) fn gather<'a>(
    hubs: &'a Hubs,
    subscription: &'a Option<Box<Subscription>>,
    stream: &Stream,
    most_bytes: usize,
    blocks: &mut [IoSlice<'a>],
) -> Option<Gathered> {
    let subscription = subscription.as_ref().filter(|_| !blocks.is_empty())?;
    let hub = hubs.get(subscription.hub)?;
    Some(hub.gather(&subscription.cursor, stream.settings().framing, most_bytes, blocks))
}

/// Moves a stream on by what was sent of the log: so many bytes, or all that was gathered. Answers how many bytes became
/// the stream's, and how many events were sent to their end.
pub(super) fn sent(
    hubs: &mut Hubs,
    subscription: &mut Option<Box<Subscription>>,
    stream: &mut Stream,
    gathered: Option<Gathered>,
    bytes: usize,
    is_all: bool,
) -> (usize, usize) {
    let (gathered, subscription) = match (gathered, subscription) {
        (Some(gathered), Some(subscription)) => (gathered, subscription),
        _ => return (0, 0),
    };
    let hub = match hubs.get_mut(subscription.hub) {
        Some(hub) => hub,
        None => return (0, 0),
    };
    if is_all {
        hub.all_sent(&mut subscription.cursor, &gathered);
        return (bytes, gathered.blocks);
    }
    let sent = hub.sent(&mut subscription.cursor, stream.settings().framing, bytes);
    if let Some(rest) = sent.rest {
        stream.go_on_with(rest);
    }
    (sent.bytes, sent.events)
}

/// A stream, the hubs, and the place for answers.
type Found<'a, S> = (&'a mut Entry<S>, &'a mut Hubs, &'a mut Vec<Answer>);

impl<I: Io> Reactor<I> {
    /// Has all streams looked at that follow a channel to which something was published.
    pub(super) fn mark_subscribers(&mut self) {
        let Self { hubs, entries, dirty, .. } = self;
        for state in hubs.0.values_mut() {
            state.hub.notify_subscribers(|id| match entries.get_mut(id.slot as usize) {
                Some(Some(entry)) if entry.serial == id.serial && entry.subscription.is_some() => {
                    if !entry.is_dirty {
                        entry.is_dirty = true;
                        dirty.push(id.slot);
                    }
                    true
                }
                _ => false,
            });
        }
    }

    /// The stream, if it is there, with what is changed along with it.
    fn entry_and_hubs(&mut self, id: StreamId) -> Option<Found<'_, I::Socket>> {
        let entry = self.entries.get_mut(id.slot as usize)?.as_mut().filter(|entry| entry.serial == id.serial)?;
        Some((entry, &mut self.hubs, &mut self.answers))
    }

    /// Subscribes a stream. If it holds, nothing of that is sent before it is told to [`begin`](Self::begin).
    pub(super) fn subscribe(&mut self, hub: HubId, id: StreamId, request: &Request, holds: bool, now: Instant) {
        self.flush_hub(hub, now); // it is to find the log as it is after eviction
        if self.hubs.state(hub).map_or(true, |state| state.is_drained || state.is_left) {
            return self.refuse(id, Reason::Server);
        }
        if self.entry(id).map_or(true, |entry| entry.stream.ending().is_some()) {
            return;
        }
        self.leave_former_hub(hub, id);
        let (entry, hubs, answers) = match self.entry_and_hubs(id) {
            Some(found) => found,
            None => return,
        };
        let subscription =
            entry.subscription.get_or_insert_with(|| Box::new(Subscription { hub, cursor: Cursor::default() }));
        let hub = match hubs.get_mut(hub).filter(|_| subscription.hub == hub) {
            Some(hub) => hub,
            None => return, // it is another hub's
        };
        let is_full = is_full(&entry.stream, entry.is_blocked);
        let before = subscription.cursor.topics();
        let mut notices = hub.subscribe(id, &mut subscription.cursor, request, now);
        let added = subscription.cursor.topics() - before;
        if added < request.topics.len() {
            answers.push(Answer::Topics { stream: id, fewer: request.topics.len() - added });
        }
        let is_opening = subscription.cursor.is_opening();
        if is_opening && !holds {
            notices.extend(hub.begin(&mut subscription.cursor));
        }
        if subscription.is_over() {
            entry.subscription = None;
        } else if subscription.cursor.has_too_many_parts() || (is_full && !notices.is_empty()) {
            hub.count_disconnected();
            return self.fail(id, Reason::Slow);
        }
        notify(&mut entry.stream, notices, id, answers);
        if is_opening && holds {
            self.hold(id, now);
        } else {
            self.mark_by_position(id);
        }
    }

    /// Has a stream that resumes take its turn with others that lag, and any other sent its position at once.
    fn mark_by_position(&mut self, id: StreamId) {
        let is_behind =
            |hubs: &Hubs, of: &Subscription| hubs.get(of.hub).map_or(false, |hub| hub.is_behind(&of.cursor));
        let subscription = match self.entries.get(id.slot as usize) {
            Some(Some(entry)) => entry.subscription.as_deref(),
            _ => None,
        };
        if subscription.map_or(false, |subscription| is_behind(&self.hubs, subscription)) {
            self.mark_lagging(id.slot);
        } else {
            self.mark(id.slot);
        }
    }

    /// A stream whose handler subscribes is held until the handler says that it may begin, but not for ever: the handler
    /// may go on for long without a push.
    fn hold(&mut self, id: StreamId, now: Instant) {
        if !self.held.iter().any(|(_, held)| *held == id) {
            self.held.push_back((now + Self::HOLD, id));
        }
    }

    /// Makes what a stream has subscribed to effective.
    pub(super) fn begin(&mut self, id: StreamId) {
        self.held.retain(|(_, held)| *held != id);
        if let Some((entry, hubs, answers)) = self.entry_and_hubs(id) {
            if let Some(Subscription { hub, cursor }) = entry.subscription.as_deref_mut() {
                let notices = hubs.get_mut(*hub).map_or_else(Vec::new, |hub| hub.begin(cursor));
                notify(&mut entry.stream, notices, id, answers);
                self.mark_by_position(id);
            }
        }
    }

    /// Has streams begin that were held for too long.
    pub(super) fn begin_held(&mut self, now: Instant) {
        while let Some((_, id)) = self.held.front().copied().filter(|(until, _)| *until <= now) {
            self.begin(id);
        }
    }

    /// Has all held streams begin if a hub is about to evict something: they have not been slow.
    pub(super) fn begin_before_eviction(&mut self, now: Instant) {
        if self.is_eviction_held(now) {
            while let Some((_, id)) = self.held.front().copied() {
                self.begin(id);
            }
        }
    }

    /// Whether a hub would evict something while streams are held.
    fn is_eviction_held(&self, now: Instant) -> bool {
        !self.held.is_empty() && self.hubs.0.values().any(|state| state.hub.is_over(now))
    }

    /// A stream that goes from one hub to another takes along what it was still to be sent, if that may be buffered for it.
    fn leave_former_hub(&mut self, hub: HubId, id: StreamId) {
        let has_left = self
            .entry(id)
            .and_then(|entry| entry.subscription.as_ref())
            .map_or(false, |subscription| subscription.hub != hub && !subscription.cursor.is_subscribed());
        if has_left && !self.take_along(id) {
            let hub = self.entry(id).and_then(|entry| entry.subscription.as_ref()).map(|subscription| subscription.hub);
            if let Some(hub) = hub.and_then(|hub| self.hubs.get_mut(hub)) {
                hub.count_disconnected();
            }
            self.fail(id, Reason::Slow);
        }
    }

    /// Before something is pushed to a stream that has unsubscribed from everything: what was published before comes first,
    /// if that may be buffered.
    pub(super) fn push_behind(&mut self, id: StreamId, now: Instant) {
        let has_left = |subscription: &Subscription| !subscription.cursor.is_subscribed() && !subscription.is_over();
        let is_leaving = |entry: &Entry<I::Socket>| entry.subscription.as_deref().map_or(false, has_left);
        if self.entry(id).map_or(false, |entry| is_leaving(entry)) {
            self.flush_one(id.slot, now);
            if self.entry(id).map_or(false, |entry| is_leaving(entry)) {
                self.take_along(id);
            }
        }
    }

    /// Buffers what a stream is still to be sent that has unsubscribed from everything. False if that is too much.
    fn take_along(&mut self, id: StreamId) -> bool {
        let (entry, hubs, answers) = match self.entry_and_hubs(id) {
            Some(found) => found,
            None => return true,
        };
        let Subscription { hub, cursor } = match entry.subscription.as_deref_mut() {
            Some(subscription) => subscription,
            None => return true,
        };
        let room = entry.stream.settings().max_buffered.saturating_sub(entry.stream.waiting_bytes());
        let notices = match hubs.get_mut(*hub) {
            Some(hub) => hub.take_backlog(cursor, room),
            None => Ok(Vec::new()),
        };
        let is_all = notices.is_ok();
        if is_all {
            entry.subscription = None;
        }
        notify(&mut entry.stream, notices.unwrap_or_else(|exceeded| exceeded.notices), id, answers);
        is_all
    }

    /// Unsubscribes a stream, which is still sent what was published before.
    pub(super) fn unsubscribe(&mut self, id: StreamId, topics: Option<&[Topic]>, now: Instant) {
        let hub = self.entry(id).and_then(|entry| entry.subscription.as_ref()).map(|subscription| subscription.hub);
        if let Some(hub) = hub {
            self.flush_hub(hub, now);
            self.flush_one(id.slot, now); // what it can be sent at once is not left to be sent later
            self.remove_topics(id, topics);
        }
    }

    fn remove_topics(&mut self, id: StreamId, topics: Option<&[Topic]>) {
        let (entry, hubs, answers) = match self.entry_and_hubs(id) {
            Some(found) => found,
            None => return,
        };
        let subscription = match &mut entry.subscription {
            Some(subscription) => subscription,
            None => return,
        };
        let is_full = is_full(&entry.stream, entry.is_blocked);
        let mut is_slow = false;
        if let Some(hub) = hubs.get_mut(subscription.hub) {
            // What it has missed of what it leaves is reported while that is known.
            let notices = hub.catch_up(&mut subscription.cursor);
            is_slow = notices.is_err();
            let notices = notices.unwrap_or_default();
            let before = subscription.cursor.topics();
            hub.unsubscribe(id, &mut subscription.cursor, topics);
            let left = before - subscription.cursor.topics();
            if left > 0 {
                answers.push(Answer::Topics { stream: id, fewer: left });
            }
            let is_ending = entry.stream.ending().is_some();
            if subscription.cursor.has_too_many_parts() || (is_full && !is_ending && !notices.is_empty()) {
                hub.count_disconnected();
                is_slow = true;
            }
            notify(&mut entry.stream, notices, id, answers);
        }
        if is_slow {
            return self.fail(id, Reason::Slow);
        }
        if subscription.is_over() {
            entry.subscription = None;
        }
        self.mark(id.slot);
    }

    /// A stream that ends is sent what was published before.
    pub(super) fn end_subscription(&mut self, id: StreamId) {
        self.begin(id);
        self.remove_topics(id, None);
    }

    /// The position of a stream that has been sent all that was published, as a block.
    pub(super) fn position(&mut self, id: StreamId) -> Option<Vec<u8>> {
        let (entry, hubs, _) = self.entry_and_hubs(id)?;
        let subscription = entry.subscription.as_mut()?;
        let hub = hubs.get_mut(subscription.hub)?;
        hub.is_up_to_date(&subscription.cursor).then(|| hub.position(&mut subscription.cursor))
    }

    /// The streams that follow a hub.
    fn subscribers(&self, hub: HubId) -> Vec<StreamId> {
        let entries = self.entries.iter().enumerate();
        let subscription = entries.filter_map(|(slot, entry)| {
            let entry = entry.as_ref()?;
            entry.subscription.as_ref().filter(|subscription| subscription.is_of(hub))?;
            Some(StreamId { slot: slot as u32, serial: entry.serial })
        });
        subscription.collect()
    }

    pub(super) fn drain_hub(&mut self, hub: HubId, within: Duration, now: Instant) {
        if let Some(state) = self.hubs.state(hub) {
            state.is_drained = true;
            let streams = self.subscribers(hub);
            self.drains.push((hub, Spread::new(streams, within, now)));
        }
    }

    pub(super) fn leave_hub(&mut self, hub: HubId) {
        for id in self.subscribers(hub) {
            self.refuse(id, Reason::Application); // its client will come back, perhaps to the next hub of that kind
        }
        let streams = self.hubs.get(hub).map_or(0, |hub| hub.counts().streams);
        match self.hubs.state(hub) {
            Some(state) if streams > 0 => state.is_left = true, // until they are sent what was published
            _ => drop(self.hubs.0.remove(&hub)),
        }
    }

    /// Offers what was published to all that follow, and forgets what is too much, if that has not been done.
    fn flush_hub(&mut self, hub: HubId, now: Instant) {
        if self.hubs.get(hub).map_or(false, Hub::has_grown) || self.is_eviction_held(now) {
            self.offer(now);
            self.hubs.forget(now);
        }
    }

    pub(super) fn ask(&mut self, hub: HubId, ticket: u64, channel: &[u8], now: Instant) {
        self.flush_hub(hub, now);
        let Self { hubs, entries, .. } = self;
        let hub = hubs.get(hub);
        let is_there = |id: StreamId| match entries.get(id.slot as usize) {
            Some(Some(entry)) => entry.serial == id.serial && entry.subscription.is_some(),
            _ => false,
        };
        let counts = Box::new(hub.map_or_else(Default::default, Hub::counts));
        let subscribers = hub.map_or(0, |hub| hub.subscribers_of(channel, is_there));
        self.answers.push(Answer::Counted { ticket, counts, subscribers });
    }
}
