//! What a client that comes back with a ticket may have without the application being asked.
//!
//! `ticket` seals this, and opens it. Here a hub decides whether it may still be had.

use super::counts::Counts;
use super::Hub;
use crate::hub::{Poll, SubscribeRequest};
use crate::stream::Settings;
use std::time::{Duration, Instant};

/// How long a ticket is valid at most.
pub const LONGEST_TICKET: Duration = Duration::from_secs(3600);

/// What the application has allowed for a stream, as the worker asks for it of the hub.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ticket {
    /// Until when: nanoseconds of the system's monotonic clock. A stream that begins with the ticket ends then.
    pub expires_at: u64,
    /// Whose stream it is, for the page.
    pub owner: Box<str>,
    /// The limits of the stream's keys.
    pub limits: Vec<StreamLimit>,
    /// The subscriptions. Each says when the application was asked.
    pub requests: Vec<SubscribeRequest>,
    /// What the ticket is bound to: a digest of its request, and what only the application can say of that.
    pub binding: Box<[u8]>,
    /// With it the hub process begins a stream itself. Without it a worker is needed.
    pub passport: Option<Box<Passport>>,
}

/// What a stream is sent beside the events of its subscriptions, and which fields of a request count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passport {
    /// The settings. How the content is framed and coded depends on the request.
    pub settings: Settings,
    /// Whether the content may be coded.
    pub may_be_coded: bool,
    /// The fields of the head that are the same for each request, as lines.
    pub head: Box<[u8]>,
    /// The first bytes of the content.
    pub opening: Box<[u8]>,
    /// The least and the longest reconnection time of the first block, in milliseconds.
    pub retry: Option<[u64; 2]>,
    /// The names of the cookies that count. `None`: all.
    pub cookies: Option<Vec<Box<[u8]>>>,
    /// The names of the other fields that count, in lower case.
    pub fields: Vec<Box<[u8]>>,
}

impl Ticket {
    /// Returns the subscriptions of a stream that begins with the ticket: after an id, with a reconnection time in
    /// milliseconds, and as a poll.
    pub fn into_requests(
        mut self,
        after: Option<&[u8]>,
        retry: Option<u64>,
        poll: Option<Poll>,
    ) -> Vec<SubscribeRequest> {
        for request in &mut self.requests {
            request.after = after.map(Into::into);
            request.first_block.retry = retry;
        }
        if poll.is_some() {
            // It may end as soon as the last subscription takes effect.
            let member = self.requests.first_mut().and_then(|first| first.presence.member.take());
            if let Some(last) = self.requests.last_mut() {
                (last.access.poll, last.presence.member) = (poll, member);
            }
        }
        self.requests
    }
}

impl Passport {
    /// Returns a reconnection time in milliseconds, so that clients whose streams end together do not reconnect together.
    pub fn random_retry(&self) -> Option<u64> {
        self.retry.map(|[least, most]| fastrand::u64(least..=most.max(least)))
    }
}

/// How many streams may have a label.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamLimit {
    /// The label.
    pub label: Box<[u8]>,
    /// The most streams.
    pub most: u64,
}

/// What became of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketOutcome {
    /// A client was given it.
    Issued,
    /// It has more bytes than a cookie may have, so no client was given it.
    TooLarge,
    /// A stream begins with it.
    Accepted,
    /// It is too old.
    Expired,
    /// A stream that it allows was to end.
    Withdrawn,
    /// There are as many streams as there may be.
    Limited,
    /// It does not open: it is of another hub, another life of this hub or another request, or forged.
    Unknown,
}

impl Counts {
    fn count_ticket(&mut self, outcome: TicketOutcome) {
        let count = match outcome {
            TicketOutcome::Issued => &mut self.tickets_issued,
            TicketOutcome::TooLarge => &mut self.tickets_too_large,
            TicketOutcome::Accepted => &mut self.tickets_accepted,
            TicketOutcome::Expired => &mut self.tickets_expired,
            TicketOutcome::Withdrawn => &mut self.tickets_withdrawn,
            TicketOutcome::Limited => &mut self.tickets_limited,
            TicketOutcome::Unknown => &mut self.tickets_unknown,
        };
        *count += 1;
    }
}

impl Hub {
    /// Decides whether a stream may begin with an opened ticket, and reserves its places. The subscriptions follow later: one
    /// that is withdrawn in between ends then, because it says when the application was asked.
    pub fn admit(&mut self, ticket: &Ticket, now: Instant) -> TicketOutcome {
        let outcome = if self.readers.is_withdrawn(&ticket.requests) {
            TicketOutcome::Withdrawn
        } else if ticket.limits.iter().all(|limit| self.readers.reserve(&limit.label, limit.most(), now)) {
            TicketOutcome::Accepted
        } else {
            TicketOutcome::Limited
        };
        self.counts.count_ticket(outcome);
        outcome
    }

    /// Counts what became of a ticket elsewhere.
    pub fn count_ticket(&mut self, outcome: TicketOutcome) {
        self.counts.count_ticket(outcome);
    }
}

impl StreamLimit {
    fn most(&self) -> usize {
        usize::try_from(self.most).unwrap_or(usize::MAX)
    }
}
