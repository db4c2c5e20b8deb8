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
//! [`RESERVED`], and so does one that was made after its stream had subscribed, because the hub had not answered in time.
//!
//! A client may close a stream and open another one at once. So the reactor looks at its sockets before it answers
//! (`runtime/event_loop.rs`).

use super::{is_counted, Readers, MAX_LABEL_BYTES};
use crate::hub::{Access, Hub, StreamLimit, SubscribeRequest};
use crate::stream::after;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The time for which a reservation is kept for the subscription of its stream.
pub const RESERVED: Duration = Duration::from_secs(10);

/// The streams that may begin, and have not subscribed yet.
#[derive(Debug, Default)]
pub(super) struct Reservations {
    /// When the reservations of each label expire, the oldest first.
    by_label: HashMap<Box<[u8]>, Vec<Instant>>,
    /// When all labels are looked at next.
    sweep_at: Option<Instant>,
}

impl Reservations {
    fn add(&mut self, label: &[u8], now: Instant) {
        let expires_at = after(now, RESERVED);
        self.by_label.entry(label.into()).or_default().push(expires_at);
        self.sweep_at.get_or_insert(expires_at);
    }

    fn count(&self, label: &[u8], now: Instant) -> usize {
        self.by_label.get(label).map_or(0, |expiries| expiries.iter().filter(|at| **at > now).count())
    }

    /// Forgets the reservations that have expired. Each is looked at a few times at most, however often this is called.
    fn expire(&mut self, now: Instant) {
        if self.sweep_at.map_or(false, |at| at <= now) {
            self.by_label.retain(|_, expiries| {
                expiries.retain(|at| *at > now);
                !expiries.is_empty()
            });
            self.sweep_at = Some(after(now, RESERVED)).filter(|_| !self.by_label.is_empty());
        }
    }

    fn take(&mut self, label: &[u8]) {
        if let Some(expiries) = self.by_label.get_mut(label) {
            expiries.remove(0);
            if expiries.is_empty() {
                self.by_label.remove(label);
            }
        }
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
    /// if there is no place left. If no stream may have the label, the last place is given back: another limit refuses its
    /// stream.
    pub fn reserve(&mut self, label: &[u8], most: usize, now: Instant) -> bool {
        if most == 0 {
            self.readers.free_place(label);
            return false;
        }
        let is_granted = self.readers.reserve(label, most, now);
        self.counts.limited += u64::from(!is_granted);
        is_granted
    }
}

impl Readers {
    fn reserve(&mut self, label: &[u8], most: usize, now: Instant) -> bool {
        self.reservations.expire(now);
        let taken = self.labels.count(label).saturating_add(self.reservations.count(label, now));
        let is_granted = taken < most && is_counted(label) && label.len() <= MAX_LABEL_BYTES;
        if is_granted {
            self.reservations.add(label, now);
        }
        is_granted
    }

    /// Reserves a place of each limit; none if one of them has no place left.
    pub(in crate::hub) fn reserve_all(&mut self, limits: &[StreamLimit], now: Instant) -> bool {
        let granted = limits.iter().take_while(|limit| self.reserve(&limit.label, limit.most(), now)).count();
        if granted < limits.len() {
            limits[..granted].iter().for_each(|limit| self.free_place(&limit.label));
        }
        granted == limits.len()
    }

    fn free_place(&mut self, label: &[u8]) {
        self.reservations.take(label);
    }

    /// Takes the reservations of a stream that subscribes, or that has ended before.
    pub fn take_reservations(&mut self, request: &SubscribeRequest) {
        request.access.labels.iter().filter(|label| is_counted(label)).for_each(|label| self.reservations.take(label));
    }
}
