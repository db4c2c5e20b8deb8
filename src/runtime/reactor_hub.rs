//! A hub in the reactor of this process: what it is told, and asked; and its owner, which has the order of its events.

mod handing_over;

use super::mailbox::PresenceReport;
use super::reactor_handle::{Queued, ReactorHandle, UNAWAITED};
use crate::event::Field;
use crate::hub::{
    Announcement, Answer, EndRequest, EndRequests, Epoch, History, Members, PresenceChange, Publication, Question,
    Retention, Sequence, SequencedEvent, Settings, Ticket, TicketOutcome,
};
use crate::reactor::{Command, HubId};
use crate::stream::StreamId;
use crate::sys::{clock, random};
use crate::ticket::{TicketKeys, RANDOM_BYTES};
use crate::wire::{Call, Reply};
use crate::{ErrorCode, Failure};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time for which [`ReactorHub::ask`] waits for the reactor.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The reactor did not answer in time.
pub fn no_answer() -> Failure {
    Failure::new(ErrorCode::Timeout, None, "the reactor does not answer")
}

/// The state of a call before the hub in the reactor is asked.
#[derive(Debug)]
pub enum Begun {
    /// It has its reply.
    Replied(Reply),
    /// The hub is asked, and its owner completes the call.
    Asks(Question),
}

/// A hub in the reactor. It is closed when the last one who has it drops it.
#[derive(Debug)]
pub struct ReactorHub {
    pub(super) reactor: Arc<ReactorHandle>,
    /// The hub's number in the reactor.
    pub(super) number: HubId,
}

impl ReactorHub {
    /// Creates the hub, which perhaps continues with stored events. Append the entries of its history before any stream
    /// subscribes: a stream that has begun is not sent older events.
    pub(super) fn create(
        reactor: Arc<ReactorHandle>,
        settings: Settings,
        epoch: Epoch,
        history: Option<&History>,
    ) -> Arc<Self> {
        let number = reactor.new_hub();
        let (settings, history) = (Box::new(settings), history.cloned().map(Box::new));
        reactor.send(Command::CreateHub { hub: number, epoch, settings, history });
        Arc::new(Self { reactor, number })
    }

    /// Sends an event to publish. If it may wait, it does while too many bytes are queued for the reactor, never for a client.
    pub(super) fn send_event(&self, event: SequencedEvent, may_wait: bool) {
        self.reactor.send_event(Command::Publish { hub: self.number, event: Box::new(event) }, may_wait);
    }

    /// Publishes an event that has its sequence number from a store, or from the program before. `at` is when that was, perhaps
    /// long ago. Sequence numbers increase, not always by one.
    pub fn append(&self, event: SequencedEvent, at: Instant) {
        self.reactor.send_event(Command::PublishStored { hub: self.number, event: Box::new(event), at }, true);
    }

    /// Passes over a sequence number of a store whose entry is not an event of a channel. Clients of other hubs may have it as
    /// their position.
    pub fn pass(&self, seq: u64) {
        self.reactor.send(Command::PassStored { hub: self.number, seq });
    }

    /// Changes the settings that may change while the hub has streams.
    pub fn set_retention(&self, retention: Retention) {
        self.reactor.send(Command::SetRetention { hub: self.number, retention: Box::new(retention) });
    }

    /// Asks the hub, and waits for the answer. Fails with `Timeout`.
    pub fn ask(&self, question: Question) -> Result<Answer, Failure> {
        self.reactor.ask(self.number, question, ANSWER_TIMEOUT).ok_or_else(no_answer)
    }

    /// Asks the hub. Returns the number with which the answer comes in the [`Mailbox`](crate::runtime::Mailbox).
    pub fn ask_later(&self, question: Question) -> u64 {
        self.reactor.ask_later(self.number, question)
    }

    /// Asks the hub what nobody wants to know.
    pub fn tell(&self, question: Question) {
        self.reactor.send(Command::Ask { hub: self.number, request_id: UNAWAITED, question: Box::new(question) });
    }

    /// Does what a call does at once.
    pub fn begin(&self, call: &Call) -> Begun {
        if let Call::Drain { within } = call {
            self.reactor.send(Command::Drain { hub: self.number, within: *within });
        }
        call.question(clock::monotonic()).map_or(Begun::Replied(Reply::Done), Begun::Asks)
    }

    /// Returns true if a report is of a stream of this hub.
    pub fn has_reported(&self, report: &PresenceReport) -> bool {
        self.number == report.hub
    }

    /// Returns true if the reactor has died, and with it the hub.
    pub fn is_dead(&self) -> bool {
        self.reactor.is_dead()
    }

    /// Ends the streams that a request means, which has a sequence number, and was carried out elsewhere so long ago. A
    /// subscription that was asked for after that continues, if it is still to come.
    pub fn end_streams_of(&self, request: EndRequest, age: Duration, seq: u64) {
        let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        let at = clock::monotonic().saturating_sub(age);
        self.tell(Question::End { request, at, seq });
    }

    /// Gives the places back that were reserved for a stream which has ended before it was subscribed.
    pub fn free_places(&self, labels: Vec<Box<[u8]>>, asked_at: u64) {
        for label in labels {
            self.tell(Question::Call { call: Call::Reserve { label, most: 0, asked_at }, at: 0 });
        }
    }

    /// Lets the hub accept no streams, or accept them again. Those that it has stay as they are.
    pub fn set_draining(&self, is_draining: bool) {
        self.reactor.send(Command::SetDraining { hub: self.number, is_draining });
    }

    /// Has a ticket sealed with random bytes, unless it has more than `most` bytes then, and counts it. It is valid [for the
    /// time](Ticket::set_end) that is given. Without its passport it is sealed again: a worker can still begin the stream.
    /// Fails with `Unavailable`.
    pub fn issue_ticket(
        &self,
        mut ticket: Ticket,
        valid_for: Duration,
        most: usize,
        mut seal: impl FnMut(&Ticket, [u8; RANDOM_BYTES]) -> Vec<u8>,
    ) -> Result<Option<Vec<u8>>, Failure> {
        ticket.set_end(valid_for);
        let mut sealed = seal(&ticket, random::bytes()?);
        if sealed.len() > most && ticket.passport.take().is_some() {
            sealed = seal(&ticket, random::bytes()?);
        }
        let sealed = Some(sealed).filter(|sealed| (1..=most).contains(&sealed.len()));
        let outcome = if sealed.is_some() { TicketOutcome::Issued } else { TicketOutcome::TooLarge };
        self.count_ticket(outcome);
        Ok(sealed)
    }

    /// Decides whether a stream may begin with what has become of a ticket, and counts that. Only limits ask the hub, whose
    /// refusal is not counted if the application is asked next, which opens the ticket again.
    pub fn admit(&self, opened: Result<Ticket, TicketOutcome>, counts_refusal: bool) -> Begun {
        let opened = opened.map(Box::new);
        match opened {
            Ok(ticket) if !ticket.request.access.limits.is_empty() => {
                Begun::Asks(Question::Admit { ticket, counts_refusal })
            }
            opened => {
                self.count_ticket(*opened.as_ref().err().unwrap_or(&TicketOutcome::Accepted));
                Begun::Replied(Reply::Admitted(opened.ok()))
            }
        }
    }

    /// Counts what has become of a ticket.
    fn count_ticket(&self, outcome: TicketOutcome) {
        self.reactor.send_soon(Queued::Command(Command::CountTicket { hub: self.number, outcome }));
    }
}

impl Drop for ReactorHub {
    fn drop(&mut self) {
        self.reactor.send(Command::CloseHub { hub: self.number });
    }
}

/// A hub that owns the order of its events: its sequence, and its hub in the reactor. Those of an application are behind the
/// lock of the process; that of a hub process belongs to its wire thread.
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

impl OwnHub {
    /// Creates a hub in a reactor, with another epoch. Fails with `Unavailable`.
    pub(super) fn create(reactor: Arc<ReactorHandle>, settings: Settings) -> Result<Self, Failure> {
        let cipher_key = if settings.opaque_ids { Some(random::bytes()?) } else { None };
        let (epoch, retention) = (Epoch::new(&random::text::<8>()?, cipher_key), settings.retention.clone());
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
        if let Some(event) = event {
            self.hub.send_event(event, true);
        }
        Ok(())
    }

    /// Changes the settings that may change while the hub has streams.
    pub fn set_retention(&mut self, retention: Retention) {
        self.hub.set_retention(retention.clone());
        self.sequence.set_retention(retention);
    }

    /// Applies a change of a stream to the members.
    pub fn apply(&mut self, stream: StreamId, change: PresenceChange, at: Instant) {
        let announced = self.sequence.apply(stream, change, at, clock::wall());
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
                if let Begun::Asks(Question::Call { call: Call::EndStreams(request), at }) = &begun {
                    self.ends.add(request, *at, 0);
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
