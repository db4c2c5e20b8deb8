//! Limits of the streams that have a key in common, such as an address or a user.
//!
//! A stream of a limited key has a label of its own, which applications cannot use. So the hub knows the streams of each key as
//! long as they are open, whatever becomes of the worker that has accepted them.
//!
//! A worker asks before the response begins, and subscribes the stream later. In between the stream has a reservation, so that
//! several requests at once do not take the same place. The subscription takes the reservation. If the client has left before
//! that, or another limit refuses the stream, the reservation is given back: a client that reloads its page quickly needs its
//! place at once. The worker does that (`XS/Hub/Places.pm`) unless it has sent the subscription; then whoever finds that the
//! stream has ended does, the hub or the wire thread of its process. The reservation of a worker that was killed expires after
//! [`RESERVED`].
//!
//! A reservation is known by the time at which its stream was asked for, which the subscription says, too. So a stream that has
//! no reservation neither takes nor gives back that of another one: its hub did not answer in time, and does nothing when it
//! reads the call later (`src/wire/request.rs`). The subscription also says the limits. If such a stream finds no free place
//! when it subscribes, it ends, and its client comes back later ([`LIMITED_RETRY`]).
//!
//! A client may close a stream and open another one at once. So the reactor looks at its sockets before it answers
//! (`runtime/event_loop.rs`).

use super::{is_counted, Readers, MAX_LABEL_BYTES};
use crate::hub::{Access, Hub, SubscribeRequest, Ticket};
use crate::stream::{after, StreamId};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The time for which a reservation is kept for the subscription of its stream.
pub const RESERVED: Duration = Duration::from_secs(10);

/// The reconnection time of a client whose stream began without a place, in milliseconds: the least one and the longest one. A
/// worker refuses with the same times (`XS/Hub/Limit.pm`).
pub const LIMITED_RETRY: [u64; 2] = [10_000, 30_000];

/// The streams that may begin, and have not subscribed yet.
#[derive(Debug, Default)]
pub(super) struct Reservations {
    /// Those of each label: when it expires, and when its stream was asked for.
    by_label: HashMap<Box<[u8]>, Vec<(Instant, u64)>>,
    /// When all labels are looked at next.
    sweep_at: Option<Instant>,
}

impl Reservations {
    fn add(&mut self, label: &[u8], asked_at: u64, now: Instant) {
        let expires_at = after(now, RESERVED);
        self.by_label.entry(label.into()).or_default().push((expires_at, asked_at));
        self.sweep_at.get_or_insert(expires_at);
    }

    fn count(&self, label: &[u8], now: Instant) -> usize {
        self.by_label
            .get(label)
            .map_or(0, |reserved| reserved.iter().filter(|(expires_at, _)| *expires_at > now).count())
    }

    /// Forgets the reservations that have expired. Each is looked at a few times at most, however often this is called.
    fn expire(&mut self, now: Instant) {
        if self.sweep_at.map_or(false, |at| at <= now) {
            self.by_label.retain(|_, reserved| {
                reserved.retain(|(expires_at, _)| *expires_at > now);
                !reserved.is_empty()
            });
            self.sweep_at = Some(after(now, RESERVED)).filter(|_| !self.by_label.is_empty());
        }
    }

    /// Takes the reservation of a stream. Returns false if there is none.
    fn take(&mut self, label: &[u8], asked_at: u64) -> bool {
        let reserved = some_or!(self.by_label.get_mut(label), return false);
        let at = reserved.iter().position(|(_, of)| *of == asked_at);
        if let Some(at) = at {
            reserved.remove(at);
        }
        if reserved.is_empty() {
            self.by_label.remove(label);
        }
        at.is_some()
    }

    /// Returns true if nothing is reserved.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_label.is_empty()
    }
}

impl Access {
    /// Returns the labels by which a stream is counted.
    pub fn counted_labels(&self) -> Vec<Box<[u8]>> {
        self.labels.iter().filter(|label| is_counted(label)).cloned().collect()
    }
}

impl Hub {
    /// Reserves a place for a stream with a label, unless so many streams have it or a place. Returns false, and counts that,
    /// if there is no place left. If no stream may have the label, the place of this one is given back.
    pub fn reserve(&mut self, label: &[u8], most: usize, asked_at: u64, now: Instant) -> bool {
        if most == 0 {
            self.readers.reservations.take(label, asked_at);
            return false;
        }
        let is_granted = self.readers.reserve(label, most, asked_at, now);
        self.counts.limited += u64::from(!is_granted);
        is_granted
    }

    /// Counts a stream that ends because it has subscribed without a place.
    pub fn count_limited(&mut self) {
        self.counts.limited += 1;
    }
}

impl Readers {
    fn reserve(&mut self, label: &[u8], most: usize, asked_at: u64, now: Instant) -> bool {
        self.reservations.expire(now);
        let is_granted = self.has_place(label, most, now) && is_counted(label) && label.len() <= MAX_LABEL_BYTES;
        if is_granted {
            self.reservations.add(label, asked_at, now);
        }
        is_granted
    }

    /// Reserves a place of each limit of a ticket; none if one of them has no place left.
    pub(in crate::hub) fn reserve_all(&mut self, ticket: &Ticket, now: Instant) -> bool {
        let (limits, asked_at) = (&ticket.request.access.limits, ticket.asked_at());
        let granted = limits.iter().take_while(|limit| self.reserve(&limit.label, limit.most(), asked_at, now)).count();
        if granted < limits.len() {
            for limit in &limits[..granted] {
                self.reservations.take(&limit.label, asked_at);
            }
        }
        granted == limits.len()
    }

    /// Returns the label of each reservation, and when its stream was asked for.
    pub fn reservations(&self, now: Instant) -> impl Iterator<Item = (&[u8], u64)> + '_ {
        self.reservations.by_label.iter().flat_map(move |(label, reserved)| {
            reserved.iter().filter(move |(expires_at, _)| *expires_at > now).map(move |(_, of)| (&**label, *of))
        })
    }

    /// Returns the labels by which a stream is counted.
    pub fn counted_labels_of(&self, stream: StreamId) -> Vec<Box<[u8]>> {
        let (mut labels, _) = self.labels_of(stream);
        labels.retain(|label| is_counted(label));
        labels
    }

    /// Counts a stream without a subscription.
    pub fn count_stream(&mut self, stream: StreamId, labels: &[Box<[u8]>]) {
        self.labels.add(stream, labels, None);
    }

    /// Takes the reservations of a stream that subscribes, or that has ended before. Returns true if the stream may begin: it
    /// had a reservation, or there is a free place, of each limit.
    pub fn take_reservations(&mut self, request: &SubscribeRequest, now: Instant) -> bool {
        let Access { labels, limits, asked_at, .. } = &request.access;
        let mut may_begin = true;
        for label in labels.iter().filter(|label| is_counted(label)) {
            let limit = limits.iter().find(|limit| limit.label == *label);
            let had_reservation = self.reservations.take(label, *asked_at);
            may_begin &= had_reservation || limit.map_or(true, |limit| self.has_place(label, limit.most(), now));
        }
        may_begin
    }

    /// Returns true if fewer streams have a label, or a place of it.
    fn has_place(&self, label: &[u8], most: usize, now: Instant) -> bool {
        self.labels.count(label).saturating_add(self.reservations.count(label, now)) < most
    }
}
