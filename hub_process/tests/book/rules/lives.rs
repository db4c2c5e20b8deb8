//! The lives of streams as their clients saw them.

use super::SLACK;
use crate::trace::{Change, Item, Stream, Trace};
use std::time::Instant;

/// The life of a stream as its client saw it.
pub(super) struct Life<'a> {
    pub stream: &'a Stream,
    /// True if its client sees late what happens.
    pub is_slow: bool,
    pub number: u64,
    /// The channels that its client reads.
    channels: &'a [&'static str],
    /// True if its client came without an id.
    pub is_first: bool,
    /// Everything that its client saw.
    pub items: &'a [(Instant, Item)],
    pub opened: Instant,
    /// When its client first saw that it had begun.
    pub begun: Option<Instant>,
    pub ended: Option<(Instant, &'a Item)>,
    /// When the next stream of its client that has begun did so.
    pub back: Option<Instant>,
    pub was_told_to_come_back: bool,
    pub was_told_to_finish: bool,
}

pub(super) fn lives(trace: &Trace) -> Vec<Life<'_>> {
    let mut lives: Vec<Life<'_>> = Vec::new();
    for client in &trace.clients {
        let first = lives.len();
        for (index, (at, item)) in client.items.iter().enumerate() {
            match item {
                Item::Opened { stream: number, after } => lives.push(Life {
                    stream: &trace.streams[number],
                    is_slow: client.is_slow,
                    number: *number,
                    channels: &client.channels,
                    is_first: after.is_empty(),
                    items: {
                        let later = &client.items[index + 1..];
                        let end = later.iter().position(|(_, item)| matches!(item, Item::Opened { .. }));
                        &later[..end.unwrap_or(later.len())]
                    },
                    opened: *at,
                    begun: None,
                    ended: None,
                    back: None,
                    was_told_to_come_back: false,
                    was_told_to_finish: false,
                }),
                Item::Left | Item::Ended => lives.last_mut().expect("a stream").ended = Some((*at, item)),
                Item::Retry => lives.last_mut().expect("a stream").was_told_to_come_back = true,
                Item::Finish => lives.last_mut().expect("a stream").was_told_to_finish = true,
                Item::Push { .. } => {}
                _ => drop(lives.last_mut().expect("a stream").begun.get_or_insert(*at)),
            }
        }
        for at in first + 1..lives.len() {
            lives[at - 1].back = lives[at..].iter().find_map(|life| life.begun);
        }
    }
    lives
}

impl Life<'_> {
    /// Returns true if the application may have ended the stream.
    pub fn may_be_ended_by_application(&self, trace: &Trace) -> bool {
        if self.may_have_aged(trace) {
            return true;
        }
        let until = self.ended.map_or(self.opened, |(at, _)| at) + SLACK;
        trace.has_change(self.opened, until, |change| self.is_meant(change))
    }

    /// Returns true if the stream may have ended because it was old, or its ticket was: at random a part earlier.
    pub fn may_have_aged(&self, trace: &Trace) -> bool {
        let Some((at, Item::Ended)) = self.ended else { return false };
        let by_age = self.stream.max_age.map(|age| self.opened + age.mul_f64(0.74));
        let offer = self.stream.offer.as_ref().filter(|_| self.stream.is_by_ticket());
        let by_ticket = offer.map(|offer| &trace.tickets[offer.ticket]).map(|of| of.asked + of.valid_for.mul_f64(0.59));
        by_age.into_iter().chain(by_ticket).any(|end| at >= end)
    }

    /// Returns true if the application ends this stream by a change.
    pub fn is_meant(&self, change: &Change) -> bool {
        match change {
            Change::Ended(meant, _) => meant.is(self.stream, self.channels),
            Change::Closed(number) => *number == self.number,
            _ => false,
        }
    }

    /// Returns true if the application has certainly ended the stream: that began after the subscription, and before anything
    /// else could end it.
    pub fn is_ended_by_application(&self, trace: &Trace, is: impl Fn(&Change) -> bool) -> bool {
        let Some((at, Item::Ended)) = self.ended else { return false };
        let Some(subscribed) = self.stream.began.filter(|_| self.begun.is_some()) else { return false };
        let others = |change: &Change| {
            !matches!(change, Change::Ended(..) | Change::Closed(_) | Change::Drained(_) | Change::Updated(..))
        };
        trace.changes.iter().any(|(from, to, change)| {
            let is_first = subscribed < *from && !trace.has_change(self.opened, *to, others);
            is(change) && self.is_meant(change) && is_first && *to < at
        })
    }

    pub fn member(&self) -> Option<(&'static str, bool)> {
        Some((self.stream.member?, self.stream.is_counted))
    }

    /// Returns true if another stream of its member was opened when it ended, or later. Its client has perhaps left before it
    /// saw anything.
    pub fn is_replaced(&self, lives: &[Life<'_>]) -> bool {
        let Some((at, _)) = self.ended.filter(|_| self.member().is_some()) else { return false };
        lives.iter().any(|other| other.member() == self.member() && other.opened >= at && other.stream.asked.is_some())
    }

    /// Returns true if its member has no other stream that has ended: a client that comes back takes the place of one of them.
    pub fn is_alone(&self, lives: &[Life<'_>]) -> bool {
        let is_other = |other: &&Life<'_>| other.number != self.number && other.member() == self.member();
        self.member().is_some() && !lives.iter().filter(is_other).any(|other| other.ended.is_some())
    }

    /// Returns true if an upgrade has ended the stream, as far as its client can know.
    pub fn is_ended_by_upgrade(&self, trace: &Trace) -> bool {
        let Some((at, Item::Ended)) = self.ended else { return false };
        let is_upgrade = |change: &Change| matches!(change, Change::Upgraded);
        let was_told = self.was_told_to_come_back && trace.has_change(at - SLACK, at, is_upgrade);
        was_told && !self.may_be_ended_by_application(trace)
    }

    /// Returns the span in which the stream was certainly there. It includes the time for which its member waits for its
    /// client. The client may see an end by the server long afterwards, so nothing is certain of such a stream.
    pub fn certain(&self, trace: &Trace) -> Option<(Instant, Option<Instant>)> {
        let begun = self.begun?;
        let ended = match (self.ended, self.back) {
            (None, _) => None,
            (Some((at, Item::Left)), _) => Some(at),
            (Some((at, _)), Some(back))
                if !self.is_slow && self.is_ended_by_upgrade(trace) && back < at + trace.retry =>
            {
                Some(back)
            }
            _ => return None,
        };
        Some((begun, ended))
    }
}
