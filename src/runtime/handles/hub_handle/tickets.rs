//! The tickets of a hub: sealed and opened in the thread that asks, admitted by the reactor.

use super::HubHandle;
use crate::hub::{Question, Ticket, TicketOutcome};
use crate::runtime::process::lock_process;
use crate::sys::{clock, random};
use crate::ticket::{self, TicketKeys};
use crate::Failure;
use std::time::Duration;

impl HubHandle {
    /// Seals a ticket, unless it has more than `most` bytes then, also without its passport. It is valid [for the
    /// time](Ticket::set_end) that is given. Errors are those of [`append`](Self::append).
    pub fn seal_ticket(
        &self,
        mut ticket: Ticket,
        valid_for: Duration,
        most: usize,
    ) -> Result<Option<Vec<u8>>, Failure> {
        ticket.set_end(valid_for);
        self.issue_ticket(ticket, most, |ticket| {
            let mut bytes = [0; ticket::RANDOM_BYTES];
            random::fill(&mut bytes)?;
            let mut process = lock_process();
            let registration = self.registration_or_create(&mut process)?;
            Ok(Some(registration.tickets.seal(ticket, clock::monotonic(), bytes)))
        })
    }

    /// Seals a ticket with the keys of a store, if there are any, as [`seal_ticket`](Self::seal_ticket) does.
    pub fn seal_ticket_with(&self, keys: &TicketKeys, ticket: Ticket, most: usize) -> Result<Option<Vec<u8>>, Failure> {
        self.issue_ticket(ticket, most, |ticket| {
            let mut nonce = [0; ticket::NONCE_BYTES];
            random::fill(&mut nonce)?;
            Ok(keys.seal_with_current(ticket, nonce))
        })
    }

    /// Has a ticket sealed, each time under another nonce, and counts it.
    fn issue_ticket(
        &self,
        mut ticket: Ticket,
        most: usize,
        seal: impl Fn(&Ticket) -> Result<Option<Vec<u8>>, Failure>,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let mut sealed = match seal(&ticket)? {
            Some(sealed) => sealed,
            None => return Ok(None),
        };
        if sealed.len() > most && ticket.passport.take().is_some() {
            sealed = seal(&ticket)?.unwrap_or_default(); // a worker can still begin the stream
        }
        let sealed = Some(sealed).filter(|sealed| (1..=most).contains(&sealed.len()));
        self.count_ticket(if sealed.is_some() { TicketOutcome::Issued } else { TicketOutcome::TooLarge })?;
        Ok(sealed)
    }

    /// Opens a ticket, if it is for the request of whoever asks. Errors are those of [`append`](Self::append).
    /// [`Question::Admit`] follows.
    pub fn unseal_ticket(
        &self,
        sealed: &[u8],
        is_for: impl FnOnce(&Ticket) -> bool,
    ) -> Result<Result<Ticket, TicketOutcome>, Failure> {
        let now = clock::monotonic();
        let mut process = lock_process();
        let opened = self.registration_or_create(&mut process)?.tickets.open(sealed, is_for, now);
        Ok(opened.map_err(Into::into))
    }

    /// Counts what became of a ticket. Errors are those of [`append`](Self::append).
    fn count_ticket(&self, outcome: TicketOutcome) -> Result<(), Failure> {
        self.tell(Question::Admit { opened: Err(outcome), counts_refusal: true })
    }
}
