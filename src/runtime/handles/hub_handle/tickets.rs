//! The tickets of a hub: sealed and opened in the thread that asks, admitted by the reactor.

use super::{HubHandle, ANSWER_TIMEOUT};
use crate::hub::{Ticket, TicketOutcome, LONGEST_TICKET};
use crate::reactor::Command;
use crate::runtime::error::Error;
use crate::runtime::process::lock_process;
use crate::sys::{clock, random};
use crate::ticket::{self, Refusal, TicketKeys};
use std::time::Duration;

impl HubHandle {
    /// Seals a ticket, unless it has more than `most` bytes then. It is valid for the time that is given, or
    /// less: those of one moment do not expire together. That time begins when the application was asked. Errors are those of
    /// [`append`](Self::append).
    pub fn seal_ticket(&self, mut ticket: Ticket, valid_for: Duration, most: usize) -> Result<Option<Vec<u8>>, Error> {
        let mut bytes = [0; ticket::RANDOM_BYTES];
        random::fill(&mut bytes).map_err(Error::System)?;
        let max_age = ticket.requests.first().and_then(|request| request.access.max_age).unwrap_or(LONGEST_TICKET);
        let valid_for = valid_for.min(max_age).min(LONGEST_TICKET).mul_f64(1.0 - fastrand::f64() / 5.0);
        let asked_at = ticket.requests.first().map_or(0, |request| request.access.asked_at);
        ticket.expires_at = asked_at.saturating_add(valid_for.as_nanos() as u64);
        let mut process = lock_process();
        let registration = self.registration_or_create(&mut process)?;
        let sealed = Some(registration.tickets.seal(&ticket, clock::monotonic(), bytes));
        let sealed = sealed.filter(|sealed| (1..=most).contains(&sealed.len()));
        let outcome = if sealed.is_some() { TicketOutcome::Issued } else { TicketOutcome::TooLarge };
        registration.reactor.send(Command::CountTicket { hub: registration.hub, outcome });
        Ok(sealed)
    }

    /// Opens a ticket that is bound to this, and reserves the places of its stream. Returns nothing if no stream may begin with
    /// it. Errors are those of [`counts_and_subscribers`](Self::counts_and_subscribers).
    pub fn open_ticket(&self, sealed: &[u8], binding: &[u8]) -> Result<Option<Ticket>, Error> {
        let opened = self.unseal_ticket(sealed, |ticket| *ticket.binding == *binding)?;
        let mut admitted = self.admit_tickets(opened.into_iter().collect())?;
        Ok(admitted.pop().flatten().map(|ticket| *ticket))
    }

    /// Opens a ticket, if it is for the request of whoever asks. Its first subscription ends the stream when the ticket ends.
    /// Errors are those of [`append`](Self::append). [`admit_tickets`](Self::admit_tickets) follows.
    pub fn unseal_ticket(
        &self,
        sealed: &[u8],
        is_for: impl FnOnce(&Ticket) -> bool,
    ) -> Result<Option<Box<Ticket>>, Error> {
        let now = clock::monotonic();
        let mut process = lock_process();
        let registration = self.registration_or_create(&mut process)?;
        let outcome = match registration.tickets.open(sealed, is_for, now) {
            Ok(mut ticket) => {
                if let Some(first) = ticket.requests.first_mut() {
                    first.access.max_age = Some(Duration::from_nanos(ticket.expires_at.saturating_sub(now)));
                }
                return Ok(Some(Box::new(ticket)));
            }
            Err(Refusal::Expired) => TicketOutcome::Expired,
            Err(Refusal::Unknown) => TicketOutcome::Unknown,
        };
        registration.reactor.send(Command::CountTicket { hub: registration.hub, outcome });
        Ok(None)
    }

    /// Reserves the places of a stream for each opened ticket. Returns them in their order, without those with which no stream
    /// may begin. Errors are those of [`counts_and_subscribers`](Self::counts_and_subscribers).
    pub fn admit_tickets(&self, tickets: Vec<Box<Ticket>>) -> Result<Vec<Option<Box<Ticket>>>, Error> {
        if tickets.is_empty() {
            return Ok(Vec::new());
        }
        let (reactor, hub) = {
            let mut process = lock_process();
            let registration = self.registration_or_create(&mut process)?;
            (registration.reactor.clone(), registration.hub)
        };
        let command = |request_id| Command::Admit { hub, request_id, tickets };
        reactor.ask(&reactor.admissions, ANSWER_TIMEOUT, command).ok_or(Error::Timeout)
    }

    /// Makes all tickets that were sealed before worthless: who has withdrawn rights since is not known.
    pub fn forget_tickets(&self) {
        let mut process = lock_process();
        if let Some(index) = process.registrations.index_of(self.0.key) {
            process.registrations.at(index).tickets = TicketKeys::default();
        }
    }
}
