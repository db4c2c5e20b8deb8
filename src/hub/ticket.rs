//! All that a client that comes back with a ticket may have without the application being asked.
//!
//! `ticket` seals this, and opens it. Whether it may still be had is decided by the requests to end streams (`readers`),
//! or with a store by its entries, and by the limits of streams.

use super::Hub;
use crate::event::Unsequenced;
use crate::hub::{Poll, SubscribeRequest};
use crate::stream::Settings;
use std::time::Duration;

/// The time for which a ticket is valid at most.
pub const LONGEST_TICKET: Duration = Duration::from_secs(3600);

/// All that the application has allowed for a stream, as the worker asks for it of the hub.
///
/// Its times are nanoseconds of the system's monotonic clock. While it is sealed for all machines of a store, they are those of
/// the store's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ticket {
    /// Until when it is valid. A stream that begins with the ticket ends then.
    pub expires_at: u64,
    /// With a store that machines share: the sequence number of an entry that was there before the application was asked. No
    /// request up to that one withdraws the ticket, and each later one that means it does, whatever clocks show.
    pub known_through: u64,
    /// Whose stream it is, for the page.
    pub owner: Box<str>,
    /// The subscription. It says when the application was asked, and has the limits of the stream's keys.
    pub request: SubscribeRequest,
    /// All that the ticket is bound to: a digest of its request, and what only the application can say of that.
    pub binding: Box<[u8]>,
    /// With it the hub process begins a stream itself. Without it a worker is needed.
    pub passport: Option<Box<Passport>>,
}

/// All that a stream is sent beside the events of its subscription, and which fields of a request count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passport {
    /// The settings. How the content is framed and coded depends on the request.
    pub settings: Settings,
    /// True if the content may be coded.
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
    /// Returns when the application was asked; 0 if that is not known.
    pub fn asked_at(&self) -> u64 {
        self.request.access.asked_at
    }

    /// Sets when the application was asked.
    pub fn set_asked_at(&mut self, asked_at: u64) {
        self.request.access.asked_at = asked_at;
    }

    /// Sets for how long it is valid: less, so that those of one moment do not expire together. That time begins when the
    /// application was asked.
    pub fn set_end(&mut self, valid_for: Duration) {
        let max_age = self.request.access.max_age.unwrap_or(LONGEST_TICKET);
        let valid_for = valid_for.min(max_age).min(LONGEST_TICKET).mul_f64(1.0 - fastrand::f64() / 5.0);
        self.expires_at = self.asked_at().saturating_add(valid_for.as_nanos() as u64);
    }

    /// Leaves out the event for other data of a member: what the application has said when it was asked changes nothing of a
    /// member of which it has said more since.
    pub fn repeat_member(&mut self) {
        if let Some(member) = &mut self.request.presence.member {
            member.update = Unsequenced::default();
        }
    }

    /// Returns the subscription of a stream that begins with the ticket now, by the system's monotonic clock, and ends with
    /// it: after an id, with a reconnection time in milliseconds, and as a poll.
    pub fn into_request(
        self,
        now: u64,
        after: Option<Box<[u8]>>,
        retry: Option<u64>,
        poll: Option<Poll>,
    ) -> SubscribeRequest {
        let mut request = self.request;
        request.after = after;
        request.first_block.retry = retry;
        request.access.max_age = Some(Duration::from_nanos(self.expires_at.saturating_sub(now)));
        request.access.poll = poll;
        request
    }
}

impl Passport {
    /// Returns a reconnection time in milliseconds, so that clients whose streams end together do not reconnect together.
    pub fn random_retry(&self) -> Option<u64> {
        self.retry.map(|[least, most]| fastrand::u64(least..=most.max(least)))
    }
}

/// The outcome of a ticket.
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

impl Hub {
    /// Counts what has become of a ticket.
    pub fn count_ticket(&mut self, outcome: TicketOutcome) {
        let count = match outcome {
            TicketOutcome::Issued => &mut self.counts.tickets_issued,
            TicketOutcome::TooLarge => &mut self.counts.tickets_too_large,
            TicketOutcome::Accepted => &mut self.counts.tickets_accepted,
            TicketOutcome::Expired => &mut self.counts.tickets_expired,
            TicketOutcome::Withdrawn => &mut self.counts.tickets_withdrawn,
            TicketOutcome::Limited => &mut self.counts.tickets_limited,
            TicketOutcome::Unknown => &mut self.counts.tickets_unknown,
        };
        *count += 1;
    }
}
