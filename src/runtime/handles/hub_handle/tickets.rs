//! The tickets of a hub: sealed and opened in the thread that asks, admitted by the reactor.

use super::{HubHandle, ANSWER_TIMEOUT};
use crate::hub::{Ticket, TicketOutcome};
use crate::reactor::Command;
use crate::runtime::error::Error;
use crate::runtime::process::lock_process;
use crate::sys::{clock, random};
use crate::ticket::{self, TicketKeys};
use std::time::Duration;

impl HubHandle {
    /// Seals a ticket, unless it has more than `most` bytes then, also without its passport. It is valid [for the
    /// time](Ticket::set_end) that is given. Errors are those of [`append`](Self::append).
    pub fn seal_ticket(&self, mut ticket: Ticket, valid_for: Duration, most: usize) -> Result<Option<Vec<u8>>, Error> {
        ticket.set_end(valid_for);
        self.issue_ticket(ticket, most, |ticket| {
            let mut bytes = [0; ticket::RANDOM_BYTES];
            random::fill(&mut bytes).map_err(Error::System)?;
            let mut process = lock_process();
            let registration = self.registration_or_create(&mut process)?;
            Ok(Some(registration.tickets.seal(ticket, clock::monotonic(), bytes)))
        })
    }

    /// Seals a ticket with the keys of a store, if there are any, as [`seal_ticket`](Self::seal_ticket) does.
    pub fn seal_ticket_with(&self, keys: &TicketKeys, ticket: Ticket, most: usize) -> Result<Option<Vec<u8>>, Error> {
        self.issue_ticket(ticket, most, |ticket| {
            let mut nonce = [0; ticket::NONCE_BYTES];
            random::fill(&mut nonce).map_err(Error::System)?;
            Ok(keys.seal_with_current(ticket, nonce))
        })
    }

    /// Has a ticket sealed, each time under another nonce, and counts it.
    fn issue_ticket(
        &self,
        mut ticket: Ticket,
        most: usize,
        seal: impl Fn(&Ticket) -> Result<Option<Vec<u8>>, Error>,
    ) -> Result<Option<Vec<u8>>, Error> {
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

    /// Opens a ticket that is bound to this, and reserves the places of its stream. Returns nothing if no stream may begin with
    /// it. Errors are those of [`counts_and_subscribers`](Self::counts_and_subscribers).
    pub fn open_ticket(&self, sealed: &[u8], binding: &[u8]) -> Result<Option<Ticket>, Error> {
        self.admit_opened(self.unseal_ticket(sealed, |ticket| *ticket.binding == *binding)?)
    }

    /// Reserves the places of the stream of a ticket that was to be opened. If no stream may begin with it, the application is
    /// asked, and why is counted. Errors are those of [`counts_and_subscribers`](Self::counts_and_subscribers).
    pub fn admit_opened(&self, opened: Result<Ticket, TicketOutcome>) -> Result<Option<Ticket>, Error> {
        let admitted = match opened {
            Ok(ticket) => self.admit_tickets(vec![ticket])?.pop().unwrap_or(Err(TicketOutcome::Unknown)),
            refused => refused,
        };
        match admitted {
            Ok(ticket) => Ok(Some(ticket)),
            Err(refusal) => self.count_ticket(refusal).map(|()| None),
        }
    }

    /// Opens a ticket, if it is for the request of whoever asks. Errors are those of [`append`](Self::append).
    /// [`admit_tickets`](Self::admit_tickets) follows.
    pub fn unseal_ticket(
        &self,
        sealed: &[u8],
        is_for: impl FnOnce(&Ticket) -> bool,
    ) -> Result<Result<Ticket, TicketOutcome>, Error> {
        let now = clock::monotonic();
        let mut process = lock_process();
        let opened = self.registration_or_create(&mut process)?.tickets.open(sealed, is_for, now);
        Ok(opened.map_err(Into::into))
    }

    /// Reserves the places of a stream for each opened ticket. Returns them in their order, or why none may begin.
    /// Errors are those of [`counts_and_subscribers`](Self::counts_and_subscribers).
    pub fn admit_tickets(&self, tickets: Vec<Ticket>) -> Result<Vec<Result<Ticket, TicketOutcome>>, Error> {
        if tickets.is_empty() {
            return Ok(Vec::new());
        }
        let (reactor, hub) = self.reactor_and_hub()?;
        let command = |request_id| Command::Admit { hub, request_id, tickets };
        reactor.ask(&reactor.admissions, ANSWER_TIMEOUT, command).ok_or(Error::Timeout)
    }

    /// Counts what became of a ticket. Errors are those of [`append`](Self::append).
    pub fn count_ticket(&self, outcome: TicketOutcome) -> Result<(), Error> {
        let (reactor, hub) = self.reactor_and_hub()?;
        reactor.send(Command::CountTicket { hub, outcome });
        Ok(())
    }
}
