//! Streams that follow the channels of a hub: the hub's log is what they are sent after what waits for them alone.

use super::finishing::Spread;
use super::{Answer, Entry, HubId, Io, Reactor, StreamId};
use crate::hub::{Cursor, Gathered, Hub, Notice, Request, Settings, Topic};
use crate::stream::{Reason, Stream};
use std::collections::BTreeMap;
use std::io::IoSlice;
use std::time::{Duration, Instant};

/// What a stream follows.
pub(super) struct Following {
    hub: HubId,
    cursor: Cursor,
}

impl Following {
    pub(super) fn is_of(&self, hub: HubId) -> bool {
        self.hub == hub
    }
}

struct Place {
    hub: Hub,
    /// Whether streams that come are sent away.
    is_drained: bool,
}

/// All hubs that are there, by their names. An application may make and drop any number of them.
#[derive(Default)]
pub(super) struct Hubs(BTreeMap<HubId, Place>);

impl Hubs {
    pub(super) fn insert(&mut self, hub: HubId, epoch: &str, settings: Settings) {
        self.0.insert(hub, Place { hub: Hub::new(epoch, settings), is_drained: false });
    }

    fn place(&mut self, hub: HubId) -> Option<&mut Place> {
        self.0.get_mut(&hub)
    }

    pub(super) fn get_mut(&mut self, hub: HubId) -> Option<&mut Hub> {
        self.place(hub).map(|place| &mut place.hub)
    }

    fn get(&self, hub: HubId) -> Option<&Hub> {
        self.0.get(&hub).map(|place| &place.hub)
    }

    pub(super) fn forget(&mut self, now: Instant) {
        for place in self.0.values_mut() {
            place.hub.forget(now);
        }
    }

    pub(super) fn expire(&mut self, now: Instant) {
        for place in self.0.values_mut() {
            place.hub.expire(now);
        }
    }

    /// Whether any of them may have something to forget that was published of late.
    pub(super) fn have_grown(&self) -> bool {
        self.0.values().any(|place| place.hub.has_grown())
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.0.values().filter_map(|place| place.hub.next_due()).min()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn leave(&mut self, following: Following) {
        if let Some(hub) = self.get_mut(following.hub) {
            hub.leave(following.cursor);
        }
    }
}

/// Puts what a stream is told into its own queue, and says so.
fn tell(stream: &mut Stream, told: Vec<Notice>, id: StreamId, answers: &mut Vec<Answer>) {
    let before = stream.waiting_bytes();
    let framing = stream.settings().framing;
    for told in told {
        match told {
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

/// Whether no more can be put into a stream's own queue: its client takes nothing, and as much waits as may. What it was not
/// sent yet goes there when it follows something else, out of the history, which would bound it.
fn is_full(stream: &Stream, takes_nothing: bool) -> bool {
    takes_nothing && stream.waiting_bytes() > stream.settings().max_buffered
}

/// Whether a stream can be sent what is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It can.
    Open,
    /// Something is forgotten that it has not been sent, or there are events to be told of before that, and it is told when all
    /// is sent that waits for it alone: told each time that its socket takes a little, it would have more and more waiting.
    Later,
    /// It is to end for that.
    Overtaken,
}

/// Sees to a stream that history may have overtaken. While its socket takes nothing it is told nothing.
pub(super) fn catch_up(
    hubs: &mut Hubs,
    following: &mut Option<Box<Following>>,
    stream: &mut Stream,
    is_blocked: bool,
    id: StreamId,
    answers: &mut Vec<Answer>,
) -> Way {
    let Following { hub, cursor } = match following {
        Some(following) => &mut **following,
        None => return Way::Open,
    };
    let hub = match hubs.get_mut(*hub) {
        Some(hub) => hub,
        None => return Way::Open,
    };
    if !hub.disconnects() && (is_blocked || (stream.waiting_bytes() > 0 && hub.is_overtaken(cursor))) {
        return Way::Later;
    }
    if cursor.is_replaying() && !(hub.disconnects() && hub.is_overtaken(cursor)) {
        if !is_blocked && stream.waiting_bytes() == 0 {
            let mut told = Vec::new();
            hub.replay(cursor, &mut told);
            tell(stream, told, id, answers);
        }
        return Way::Later;
    }
    match hub.catch_up(cursor) {
        Ok(told) => {
            tell(stream, told, id, answers);
            if cursor.is_replaying() {
                Way::Later
            } else {
                Way::Open
            }
        }
        Err(_) => Way::Overtaken,
    }
}

/// Puts what a stream is to be sent from the log into `blocks`, if all that waits for it alone is before them.
pub(super) fn gather<'a>(
    hubs: &'a Hubs,
    following: &'a Option<Box<Following>>,
    stream: &Stream,
    blocks: &mut [IoSlice<'a>],
) -> Option<Gathered> {
    let following = following.as_ref().filter(|_| !blocks.is_empty())?;
    Some(hubs.get(following.hub)?.gather(&following.cursor, stream.settings().framing, blocks))
}

/// Moves a stream on by what was sent of the log: so many bytes, or all that was gathered. Answers how many bytes became
/// the stream's, and how many events were sent to their end.
pub(super) fn sent(
    hubs: &mut Hubs,
    following: &mut Option<Box<Following>>,
    stream: &mut Stream,
    gathered: Option<Gathered>,
    bytes: usize,
    is_all: bool,
) -> (usize, usize) {
    let (gathered, following) = match (gathered, following) {
        (Some(gathered), Some(following)) => (gathered, following),
        _ => return (0, 0),
    };
    let hub = match hubs.get_mut(following.hub) {
        Some(hub) => hub,
        None => return (0, 0),
    };
    if is_all {
        hub.all_sent(&mut following.cursor, &gathered);
        return (bytes, gathered.blocks);
    }
    let sent = hub.sent(&mut following.cursor, stream.settings().framing, bytes);
    if let Some(rest) = sent.rest {
        stream.go_on_with(rest);
    }
    (sent.bytes, sent.events)
}

/// A stream, the hubs, and the place for answers.
type Found<'a, S> = (&'a mut Entry<S>, &'a mut Hubs, &'a mut Vec<Answer>);

impl<I: Io> Reactor<I> {
    /// Has all streams looked at that follow a channel to which something was published.
    pub(super) fn mark_followers(&mut self) {
        let Self { hubs, entries, dirty, .. } = self;
        for place in hubs.0.values_mut() {
            place.hub.walk_marked(|id| match entries.get_mut(id.slot as usize) {
                Some(Some(entry)) if entry.serial == id.serial && entry.following.is_some() => {
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

    pub(super) fn follow(&mut self, hub: HubId, id: StreamId, request: &Request, now: Instant) {
        self.flush_hub(hub, now); // it is to find the history that is remembered
        if self.hubs.place(hub).map_or(true, |place| place.is_drained) {
            return self.refuse(id, Reason::Server);
        }
        let (entry, hubs, answers) = match self.entry_and_hubs(id) {
            Some(found) if found.0.stream.ending().is_none() => found,
            _ => return,
        };
        let following = entry.following.get_or_insert_with(|| Box::new(Following { hub, cursor: Cursor::default() }));
        if following.hub == hub {
            if let Some(hub) = hubs.get_mut(hub) {
                let is_full = is_full(&entry.stream, entry.is_blocked || entry.socket.is_none());
                let told = hub.follow(id, &mut following.cursor, request, now);
                let is_too_much = is_full && !told.is_empty();
                tell(&mut entry.stream, told, id, answers);
                if is_too_much {
                    hub.count_disconnected();
                    return self.fail(id, Reason::Slow);
                }
            }
        }
        self.mark(id.slot);
    }

    pub(super) fn unfollow(&mut self, id: StreamId, topics: Option<&[Topic]>) {
        let (entry, hubs, answers) = match self.entry_and_hubs(id) {
            Some(found) => found,
            None => return,
        };
        if let Some(following) = &mut entry.following {
            let mut told = Vec::new();
            if let Some(hub) = hubs.get_mut(following.hub) {
                hub.unfollow(id, &mut following.cursor, topics, &mut told);
            }
            let is_full = is_full(&entry.stream, entry.is_blocked || entry.socket.is_none());
            let is_too_much = is_full && !told.is_empty();
            if let Some(hub) = hubs.get_mut(following.hub).filter(|_| is_too_much) {
                hub.count_disconnected();
            }
            if !following.cursor.is_following() {
                entry.following = None;
            }
            tell(&mut entry.stream, told, id, answers);
            if is_too_much {
                return self.fail(id, Reason::Slow);
            }
            self.mark(id.slot);
        }
    }

    /// A stream that ends is sent what was published before.
    pub(super) fn stop_following(&mut self, id: StreamId) {
        let (entry, hubs, answers) = match self.entry_and_hubs(id) {
            Some(found) => found,
            None => return,
        };
        if let Some(mut following) = entry.following.take() {
            let mut told = Vec::new();
            if let Some(hub) = hubs.get_mut(following.hub) {
                hub.take_pending(&mut following.cursor, &mut told);
            }
            hubs.leave(*following);
            tell(&mut entry.stream, told, id, answers);
        }
    }

    /// The position of a stream that has been sent all that was published, as a block.
    pub(super) fn position(&mut self, id: StreamId) -> Option<Vec<u8>> {
        let (entry, hubs, _) = self.entry_and_hubs(id)?;
        let following = entry.following.as_mut()?;
        let hub = hubs.get(following.hub)?;
        hub.is_up_to_date(&following.cursor).then(|| hub.position(&mut following.cursor))
    }

    /// The streams that follow a hub.
    fn followers(&self, hub: HubId) -> Vec<StreamId> {
        let entries = self.entries.iter().enumerate();
        let following = entries.filter_map(|(slot, entry)| {
            let entry = entry.as_ref()?;
            entry.following.as_ref().filter(|following| following.is_of(hub))?;
            Some(StreamId { slot: slot as u32, serial: entry.serial })
        });
        following.collect()
    }

    pub(super) fn drain_hub(&mut self, hub: HubId, within: Duration, now: Instant) {
        if let Some(place) = self.hubs.place(hub) {
            place.is_drained = true;
            let streams = self.followers(hub);
            self.drains.push((hub, Spread::new(streams, within, now)));
        }
    }

    pub(super) fn leave_hub(&mut self, hub: HubId) {
        for id in self.followers(hub) {
            self.refuse(id, Reason::Application); // its client will come back, perhaps to the next hub of that kind
        }
        self.hubs.0.remove(&hub);
    }

    /// Offers what was published to all that follow, and forgets what is too much, if that has not been done.
    fn flush_hub(&mut self, hub: HubId, now: Instant) {
        if self.hubs.get(hub).map_or(false, Hub::has_grown) {
            self.flush(now);
        }
    }

    pub(super) fn ask(&mut self, hub: HubId, ticket: u64, channel: &[u8], now: Instant) {
        self.flush_hub(hub, now);
        let Self { hubs, entries, .. } = self;
        let hub = hubs.get(hub);
        let is_there = |id: StreamId| match entries.get(id.slot as usize) {
            Some(Some(entry)) => entry.serial == id.serial && entry.following.is_some(),
            _ => false,
        };
        let counts = Box::new(hub.map_or_else(Default::default, Hub::counts));
        let followers = hub.map_or(0, |hub| hub.followers_of(channel, is_there));
        self.answers.push(Answer::Counted { ticket, counts, followers });
    }
}
