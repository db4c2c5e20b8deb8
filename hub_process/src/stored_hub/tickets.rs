//! Tickets of a hub with a store.
//!
//! A store in a file has one machine: its tickets are those of the hub in memory. Machines that share a store accept each
//! other's tickets, and those of hub processes that have ended:
//!
//! - The store makes the keys, for each epoch others. They are read when it begins, and again, once a second at most, when a
//!   ticket does not open or another key is due.
//! - What withdraws a ticket is decided by the order of the store's entries ([`KnownEnds`]), not by a clock.
//! - When a ticket expires is decided by the store's clock, of which each machine knows what it has shown a moment ago. So a
//!   ticket lives longer than its seconds by the time that the store needs for an answer, and if that clock is set back, by as
//!   much. A ticket of the future is refused.
//!
//! While the store is away, or its history is not complete, no ticket opens.

use super::{known_ends::KnownEnds, StoredHub};
use crate::publishing::failure_of;
use crate::store::StoreCommand;
use eventsource_xs::hub::{Ticket, TicketOutcome};
use eventsource_xs::runtime::{monotonic, HubHandle};
use eventsource_xs::ticket::{Refusal, TicketKeys};
use eventsource_xs::wire::Failure;
use eventsource_xs::ErrorCode;
use std::time::{Duration, Instant};

/// How often the store is asked for keys.
const ASK: Duration = Duration::from_secs(1);
/// For how long it counts that all of the store was read.
const STALE: Duration = Duration::from_secs(2);
/// How far the readings of the store's clock on two machines may be apart: as long as Redis may take for an answer.
const TOLERANCE: u64 = 2_000_000_000;

/// What a hub knows of the tickets of a shared store.
#[derive(Debug, Default)]
pub struct SharedTickets {
    /// The keys. Their times, and those of sealed tickets, are nanoseconds since 1970 by the store's clock.
    pub keys: TicketKeys,
    pub ends: KnownEnds,
    asked_for_keys: Option<Instant>,
}

impl StoredHub {
    /// Seals a ticket, unless it has more than `most` bytes then. Returns nothing also if there are no keys, or this machine
    /// cannot say which requests to end streams the application knew of.
    pub fn seal_ticket(
        &mut self,
        mut ticket: Ticket,
        valid_for: Duration,
        most: usize,
    ) -> Result<Option<Vec<u8>>, Failure> {
        if !self.sequencer.is_shared() {
            return self.ready_handle()?.seal_ticket(ticket, valid_for, most).map_err(|error| failure_of(&error));
        }
        self.ready_handle()?;
        let (now, shown) = (monotonic(), self.store_clock());
        self.sequencer.mark_position();
        if !self.sequencer.tickets.keys.is_fresh(shown) {
            self.ask_for_keys();
        }
        let asked_at = ticket.asked_at();
        let SharedTickets { keys, ends, .. } = &self.sequencer.tickets;
        let Some(known_through) = ends.known_before(asked_at) else { return Ok(None) };
        ticket.known_through = known_through;
        ticket.set_asked_at(shown.saturating_sub(now.saturating_sub(asked_at)));
        ticket.set_end(valid_for);
        self.ready_handle()?.seal_ticket_with(keys, ticket, most).map_err(|error| failure_of(&error))
    }

    /// Opens a ticket, if it is for the request of whoever asks. `admit_tickets` of the hub follows.
    pub fn unseal_ticket(
        &mut self,
        sealed: &[u8],
        is_for: impl FnOnce(&Ticket) -> bool,
    ) -> Result<Option<Ticket>, Failure> {
        if !self.sequencer.is_shared() {
            return self.ready_handle()?.unseal_ticket(sealed, is_for).map_err(|error| failure_of(&error));
        }
        match self.open_shared(sealed, is_for) {
            Ok(ticket) => Ok(Some(ticket)),
            Err(outcome) => {
                let counted = self.ready_handle()?.count_ticket(outcome);
                counted.map(|()| None).map_err(|error| failure_of(&error))
            }
        }
    }

    /// Opens a ticket of a shared store. Its times are of the system's monotonic clock then: it counts as asked for when it was
    /// compared with all that was read, and what is read later ends its stream.
    fn open_shared(&mut self, sealed: &[u8], is_for: impl FnOnce(&Ticket) -> bool) -> Result<Ticket, TicketOutcome> {
        if !(self.sequencer.is_open() && self.sequencer.threads.store.has_read(STALE, Instant::now())) {
            return Err(TicketOutcome::Unknown); // others may have ended streams
        }
        let (now, shown) = (monotonic(), self.store_clock());
        let SharedTickets { keys, ends, .. } = &self.sequencer.tickets;
        let mut ticket = match keys.open(sealed, is_for, shown) {
            Ok(ticket) => ticket,
            Err(refusal) => {
                if refusal == Refusal::Unknown {
                    self.ask_for_keys();
                }
                return Err(refusal.into());
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
        ticket.limit_age(now);
        Ok(ticket)
    }

    /// Asks the store for its keys, unless it was asked a moment ago.
    fn ask_for_keys(&mut self) {
        let now = Instant::now();
        let tickets = &mut self.sequencer.tickets;
        if tickets.asked_for_keys.is_none_or(|asked| now >= asked + ASK) {
            tickets.asked_for_keys = Some(now);
            self.sequencer.threads.store.send(StoreCommand::ReadTicketKeys);
        }
    }

    /// Returns what the store's clock shows, in nanoseconds since 1970.
    fn store_clock(&self) -> u64 {
        self.sequencer.threads.store.clock(Instant::now()).saturating_mul(1_000_000)
    }

    fn ready_handle(&self) -> Result<&HubHandle, Failure> {
        let not_begun = || Failure::new(ErrorCode::Unavailable, None, "the hub's store has not begun");
        self.handle().filter(|_| self.is_ready()).ok_or_else(not_begun)
    }
}
