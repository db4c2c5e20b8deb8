//! Tickets of a hub with a store.
//!
//! A hub process accepts the tickets of those before it, also of killed ones, and machines that share a store accept each
//! other's:
//!
//! - The store makes the keys, for each epoch others. They are read when it begins, and again, once a second at most, when a
//!   ticket does not open or another key is due. Those of a file count in one boot.
//! - What withdraws a ticket is decided by the order of the store's entries ([`KnownEnds`]), not by a clock.
//! - When a ticket expires is decided by the clock that its readers share. With a file this is the system's monotonic one.
//!   Several machines have the store's, of which each knows what it has shown a moment ago. So a ticket lives longer than its
//!   seconds by the time that the store needs for an answer, and if that clock is set back, by as much. A ticket of the future
//!   is refused.
//!
//! While the store is away, or its history is not complete, no ticket opens.

use super::{beginning::not_begun, known_ends::KnownEnds, StoredHub};
use crate::store::{Began, StoreCommand};
use eventsource_xs::hub::{Evictions, Ticket, TicketOutcome};
use eventsource_xs::runtime::monotonic;
use eventsource_xs::ticket::TicketKeys;
use eventsource_xs::wire::Failure;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The interval at which the store is asked for keys.
const ASK: Duration = Duration::from_secs(1);
/// For how long it counts that all of the store was read.
const STALE: Duration = Duration::from_secs(2);
/// The most by which the readings of the store's clock on two machines differ: the time that Redis may take for an answer.
const TOLERANCE: u64 = 2_000_000_000;

/// The tickets of a store, as far as a hub knows them.
#[derive(Debug, Default)]
pub struct StoredTickets {
    /// The keys. Their times, and those of sealed tickets, are nanoseconds of the clock of tickets.
    pub keys: TicketKeys,
    pub ends: KnownEnds,
    asked_for_keys: Option<Instant>,
    /// The numbers of the entries with requests to end streams, unless the store was told to forget them.
    pub entries: VecDeque<u64>,
    /// Through which number it was told so.
    forgotten_through: u64,
}

impl StoredTickets {
    /// Begins with a history.
    pub fn begin(&mut self, began: &Began, is_other_epoch: bool) {
        self.ends.begin(began.ends_evicted_through(), is_other_epoch);
        (self.entries, self.forgotten_through) = (VecDeque::new(), 0);
    }

    /// Adds what the store may forget: requests to end streams that the hub has forgotten. `last_seq` is the store's. Their
    /// number stays apart from that of other channels.
    pub fn take_evictions(&mut self, last_seq: u64, evictions: &mut Evictions) {
        let through = self.ends.known_after.min(last_seq);
        let forgotten = self.entries.partition_point(|seq| *seq <= through);
        evictions.numbers.extend(self.entries.drain(..forgotten));
        if through > self.forgotten_through || !evictions.is_empty() {
            self.forgotten_through = through;
            evictions.channels.insert([].into(), through);
        }
    }
}

impl StoredHub {
    /// Seals a ticket, unless it has more than `most` bytes then. Fails if there are no keys.
    pub fn seal_ticket(
        &mut self,
        mut ticket: Ticket,
        valid_for: Duration,
        most: usize,
    ) -> Result<Option<Vec<u8>>, Failure> {
        self.handle().ok_or_else(not_begun)?;
        let now = monotonic();
        let shown = self.ticket_clock(now);
        self.sequencer.mark_position();
        if !self.sequencer.tickets.keys.is_fresh(shown) {
            self.ask_for_keys();
        }
        let asked_at = ticket.asked_at();
        let StoredTickets { keys, ends, .. } = &self.sequencer.tickets;
        if keys.is_empty() {
            return Err(Failure::unavailable("the hub has no keys of tickets"));
        }
        ticket.known_through = ends.known_before(asked_at);
        ticket.set_asked_at(shown.saturating_sub(now.saturating_sub(asked_at)));
        let seal = |ticket: &Ticket, random| keys.seal_with_current(ticket, random).unwrap_or_default();
        self.handle().ok_or_else(not_begun)?.issue_ticket(ticket, valid_for, most, seal)
    }

    /// Opens a ticket, if it is for the request of whoever asks and nothing that it allows was withdrawn. Its times are of the
    /// system's monotonic clock then: it counts as asked for when it was compared with all that was read, and what is read
    /// later ends its stream.
    pub fn unseal_ticket(
        &mut self,
        sealed: &[u8],
        is_for: impl FnOnce(&Ticket) -> bool,
    ) -> Result<Ticket, TicketOutcome> {
        if !(self.sequencer.is_open() && self.has_read_ends()) {
            return Err(TicketOutcome::Unknown);
        }
        let now = monotonic();
        let shown = self.ticket_clock(now);
        let StoredTickets { keys, ends, .. } = &self.sequencer.tickets;
        let mut ticket = match keys.open(sealed, is_for, shown) {
            Ok(ticket) => ticket,
            Err(outcome) => {
                if outcome == TicketOutcome::Unknown {
                    self.ask_for_keys();
                }
                return Err(outcome);
            }
        };
        if ticket.asked_at() > shown.saturating_add(TOLERANCE) {
            return Err(TicketOutcome::Unknown);
        }
        if let Some(outcome) = ends.refusal_of(&ticket, self.last_seq()) {
            return Err(outcome);
        }
        ticket.expires_at = now.saturating_add(ticket.expires_at.saturating_sub(shown));
        ticket.set_asked_at(now);
        Ok(ticket)
    }

    /// Asks the store for its keys, unless it was asked a moment ago.
    fn ask_for_keys(&mut self) {
        let now = Instant::now();
        let tickets = &mut self.sequencer.tickets;
        if tickets.asked_for_keys.is_none_or(|asked| now >= asked + ASK) {
            tickets.asked_for_keys = Some(now);
            self.sequencer.store.send(StoreCommand::ReadTicketKeys);
        }
    }

    /// Returns true if no other machine can have ended streams without this one knowing.
    fn has_read_ends(&self) -> bool {
        !self.sequencer.is_shared() || self.sequencer.store.has_read(STALE, Instant::now())
    }

    /// Returns what the clock of tickets shows in nanoseconds: the system's monotonic one, or since 1970 by that of a shared
    /// store.
    fn ticket_clock(&self, now: u64) -> u64 {
        match self.sequencer.is_shared() {
            true => self.sequencer.store.clock(Instant::now()).saturating_mul(1_000_000),
            false => now,
        }
    }
}
