//! A hub that owns the order of its events: its sequence, and its hub in the reactor. Those of an application are behind the
//! lock of the process; that of a hub process belongs to its wire thread.

mod handing_over;

use super::reactor_handle::ReactorHandle;
use super::reactor_hub::{Begun, ReactorHub};
use crate::event::Field;
use crate::hub::{
    Announcement, Answer, EndRequests, Epoch, Members, PresenceChange, Publication, Question, Retention, Sequence,
    Settings, Ticket, TicketOutcome,
};
use crate::stream::StreamId;
use crate::sys::{clock, random};
use crate::ticket::TicketKeys;
use crate::wire::{Call, Reply};
use crate::Failure;
use std::sync::Arc;
use std::time::Instant;

/// A hub that owns the order of its events.
#[derive(Debug)]
pub struct OwnHub {
    /// The hub in the reactor.
    pub hub: Arc<ReactorHub>,
    /// The order.
    pub sequence: Sequence,
    /// The keys of tickets.
    tickets: TicketKeys,
    /// The requests to end streams, which withdraw tickets.
    pub ends: EndRequests,
}

/// Returns eight random characters, with which no other hub's ids begin.
fn new_epoch() -> Box<str> {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let number = random::number();
    (0..8).map(|at| char::from(DIGITS[(number >> (5 * at)) as usize % 32])).collect::<String>().into()
}

impl OwnHub {
    /// Creates a hub in a reactor, with another epoch. Fails with `Unavailable`.
    pub(super) fn create(reactor: Arc<ReactorHandle>, settings: Settings) -> Result<Self, Failure> {
        let cipher_key = if settings.opaque_ids { Some(random::bytes()?) } else { None };
        let (epoch, retention) = (Epoch::new(&new_epoch(), cipher_key), settings.retention.clone());
        let hub = ReactorHub::create(reactor, settings, epoch.clone(), None);
        let sequence = Sequence::new(epoch, 0, retention, Members::default());
        Ok(Self { hub, sequence, tickets: TicketKeys::default(), ends: EndRequests::default() })
    }

    /// Publishes an event, unless one with the same key `once` was published within the bounds of the history; an event
    /// without a key is published. `id` is the one among its fields, if they have one. `published` is called with the id that
    /// the hub gives the event, or with that of the earlier event. Fails with `Invalid`, or `Full` if the event is to be
    /// retained and does not fit; then nothing is published.
    pub fn publish<'a>(
        &mut self,
        publication: Publication<'_, impl Iterator<Item = Field<'a>> + Clone>,
        id: Option<&[u8]>,
        published: impl FnOnce(&str),
    ) -> Result<(), Failure> {
        let event = self.sequence.number(publication, id, Instant::now, published)?;
        event.into_iter().for_each(|event| self.hub.send_event(event, true));
        Ok(())
    }

    /// Changes the settings that may change while the hub has streams.
    pub fn set_retention(&mut self, retention: Retention) {
        self.hub.set_retention(retention.clone());
        self.sequence.set_retention(retention);
    }

    /// Applies a change of a stream to the members.
    pub fn apply(&mut self, stream: StreamId, change: PresenceChange, at: Instant) {
        let announced = self.sequence.apply(stream, change, (at, clock::wall()));
        self.announce(announced);
    }

    /// Does what is due for the members, in at most `left` steps, which it counts down.
    pub fn run_due(&mut self, now: Instant, left: &mut usize) {
        let announced = self.sequence.run_due(now, left);
        self.announce(announced);
    }

    /// Does what a call does at once. Fails with `Unavailable`.
    pub fn begin(&mut self, call: &Call) -> Result<Begun, Failure> {
        Ok(match call {
            Call::OpenTicket { sealed, binding } => {
                self.hub.admit(self.unseal_ticket(sealed, |ticket| ticket.binding == *binding), true)
            }
            Call::SealTicket { ticket, valid_for, most } => {
                let Self { hub, tickets, .. } = self;
                let seal = |ticket: &Ticket, random| tickets.seal(ticket, clock::monotonic(), random);
                let sealed = hub.issue_ticket((**ticket).clone(), *valid_for, *most, seal)?;
                Begun::Replied(Reply::Sealed(sealed.map(Into::into)))
            }
            call => {
                let begun = self.hub.begin(call);
                if let Begun::Asks(Question::EndStreams { request, at }) = &begun {
                    self.ends.add(request, *at);
                }
                begun
            }
        })
    }

    /// Completes a call when the hub in the reactor has answered, and its reports are applied. Fails with `Full` if the
    /// event of a member does not fit.
    pub fn complete(&mut self, call: Call, answer: Answer) -> Result<Reply, Failure> {
        if let Call::UpdateMember(update) = call {
            let (is_here, announced) = self.sequence.update_member(update)?;
            self.announce(announced);
            return Ok(Reply::Number(is_here.into()));
        }
        Ok(call.reply(answer, &self.sequence.members))
    }

    fn announce(&mut self, announced: Vec<Announcement>) {
        for announced in announced {
            let event = self.sequence.number_announcement(announced);
            self.hub.send_event(event, false); // the thread may be the reactor's
        }
    }

    /// Opens a ticket, if it is for the request of whoever asks and nothing that it allows was withdrawn.
    pub fn unseal_ticket(&self, sealed: &[u8], is_for: impl FnOnce(&Ticket) -> bool) -> Result<Ticket, TicketOutcome> {
        let ticket = self.tickets.open(sealed, is_for, clock::monotonic())?;
        match self.ends.withdraw(&ticket.request) {
            true => Err(TicketOutcome::Withdrawn),
            false => Ok(ticket),
        }
    }
}
