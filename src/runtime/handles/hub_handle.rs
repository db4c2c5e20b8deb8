//! A hub in the reactor of this process, as the application holds it, in any thread.
//!
//! The hub itself is in the reactor. Here each event gets its sequence number, and so its id, from the hub's
//! registration. Each process has a registration of its own: in a forked child the hub begins anew, with another epoch.
//!
//! A hub that continues with [stored events](HubHandle::stored) gets the sequence numbers from its store. It exists only in the
//! reactor in which it began.

mod handing_over;
mod tickets;

use super::stream_handle::StreamHandle;
use crate::event::{EventId, Field, Shared, Text};
use crate::hub::{
    Announcement, Answer, EndRequest, Epoch, Full, History, Members, OnceKeys, Publication, Question, Refusal,
    Retention, SequencedEvent, Settings, StateSizes, SubscribeRequest,
};
use crate::reactor::{Command, HubId};
use crate::runtime::presence::PresenceReport;
use crate::runtime::process::{check_shutdown, count_refused_origin, lock_process, no_answer, Process};
use crate::runtime::reactor_handle::{ReactorHandle, UNAWAITED};
use crate::runtime::registration::{check_room, HubRegistration};
use crate::runtime::spawned;
use crate::runtime::wake::sync::lock;
use crate::sys::{clock, random};
use crate::ticket::TicketKeys;
use crate::wire::{Call, Reply};
use crate::{ErrorCode, Failure};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long [`HubHandle::ask`] waits for the reactor.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a spawned process has no hub.
const SPAWNED: &str =
    "a spawned handler has no hub: its streams are those of the worker; send the worker a message instead";

/// Why a hub with stored events does not begin anew: its store would have to be read again.
const HUB_ENDED: &str = "the hub has ended with its reactor";

/// A hub as the application holds it, in one thread.
#[derive(Clone, Debug)]
pub struct HubHandle(Arc<Inner>);

/// What a call has come to before the hub in the reactor is asked.
#[derive(Debug)]
pub enum Begun {
    /// It has its reply.
    Replied(Reply),
    /// The hub is asked, and completes the call.
    Asks(Question),
}

/// The state that the copies of a hub share in all threads. The hub is closed when the last copy is dropped.
#[derive(Debug)]
struct Inner {
    key: u64,
    settings: Settings,
    /// How much is retained: that of the settings, or what it was changed to.
    retention: Mutex<Retention>,
    /// How many channels and patterns a stream may be subscribed to.
    max_topics: AtomicUsize,
    /// Whether the hub continues with stored events.
    is_stored: bool,
}

/// Returns eight random characters, with which no other hub's ids begin.
fn new_epoch() -> Box<str> {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let number = random::number();
    (0..8).map(|at| char::from(DIGITS[(number >> (5 * at)) as usize % 32])).collect::<String>().into()
}

/// Returns a random key for opaque ids. There is no substitute for the kernel's random bytes: a client that could guess the
/// key could invent ids.
fn new_cipher_key() -> Result<[u8; 16], Failure> {
    let mut key = [0; 16];
    random::fill(&mut key)?;
    Ok(key)
}

impl HubHandle {
    /// Creates a hub. The reactor gets it with the first call that needs it.
    pub fn new(settings: Settings, max_topics: usize) -> Self {
        Self::make(settings, max_topics, false)
    }

    /// Creates a hub that continues with stored events. It is registered in the reactor at once. Publish the entries of its
    /// history with [`append`](Self::append) before any stream subscribes: a stream that has begun is not
    /// sent older events. Fails with `Unavailable` or `State`.
    pub fn stored(settings: Settings, max_topics: usize, history: &History) -> Result<Self, Failure> {
        let handle = Self::make(settings, max_topics, true);
        {
            let mut process = lock_process();
            check_shutdown()?;
            let cipher_key = Some(history.cipher_key).filter(|_| handle.0.settings.opaque_ids);
            let epoch = Epoch::new(&history.epoch, cipher_key);
            let registration = handle.register(process.reactor_or_start()?, epoch, Some(history))?;
            process.registrations.insert(handle.0.key, registration);
        }
        Ok(handle)
    }

    fn make(settings: Settings, max_topics: usize, is_stored: bool) -> Self {
        static KEYS: AtomicU64 = AtomicU64::new(0);
        let key = KEYS.fetch_add(1, Ordering::Relaxed);
        let (retention, max_topics) = (Mutex::new(settings.retention()), AtomicUsize::new(max_topics));
        Self(Arc::new(Inner { key, settings, retention, max_topics, is_stored }))
    }

    /// Returns true if the hub continues with stored events and has ended with its reactor, which has died. It does not come
    /// back.
    pub fn has_ended(&self) -> bool {
        self.0.is_stored && lock_process().registrations.index_of(self.0.key).is_none()
    }

    /// Returns true if both are copies of one hub.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Returns the hub's settings.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Changes the settings that a hub may change while it has streams, and how many topics a stream may be subscribed to from
    /// here on.
    pub fn set_bounds(&self, retention: Retention, max_topics: usize) {
        self.0.max_topics.store(max_topics, Ordering::Relaxed);
        let mut process = lock_process();
        *lock(&self.0.retention) = retention.clone();
        if let Some(index) = process.registrations.index_of(self.0.key) {
            let HubRegistration { reactor, hub, once, retention: known, .. } = process.registrations.at(index);
            once.set_bounds(retention.total_history.events, retention.longest_age());
            *known = retention.clone();
            reactor.send(Command::SetRetention { hub: *hub, retention: Box::new(retention) });
        }
    }

    /// Returns the hub's registration in this process. Registers the hub first if need be.
    fn registration_or_create<'a>(&self, process: &'a mut Process) -> Result<&'a mut HubRegistration, Failure> {
        let index = match process.registrations.index_of(self.0.key) {
            Some(index) => index,
            None if self.0.is_stored => return Err(Failure::unavailable(HUB_ENDED)),
            None => {
                let cipher_key = if self.0.settings.opaque_ids { Some(new_cipher_key()?) } else { None };
                let epoch = Epoch::new(&new_epoch(), cipher_key);
                let registration = self.register(process.reactor_or_start()?, epoch, None)?;
                process.registrations.insert(self.0.key, registration)
            }
        };
        Ok(process.registrations.at(index))
    }

    /// Creates the hub in a reactor.
    fn register(
        &self,
        reactor: Arc<ReactorHandle>,
        epoch: Epoch,
        history: Option<&History>,
    ) -> Result<HubRegistration, Failure> {
        if spawned::is_spawned() {
            return Err(Failure::new(ErrorCode::State, None, SPAWNED));
        }
        let hub = reactor.new_hub();
        let retention = lock(&self.0.retention).clone();
        let once = OnceKeys::new(retention.total_history.events, retention.longest_age());
        let settings = Box::new(self.0.settings.clone().with_retention(retention.clone()));
        let last_seq = history.map_or(0, History::through);
        let history = history.cloned().map(Box::new);
        reactor.send(Command::CreateHub { hub, epoch: epoch.clone(), settings, history });
        let (state, members) = (StateSizes::default(), (!self.0.is_stored).then(Members::default));
        Ok(HubRegistration {
            reactor,
            hub,
            epoch,
            last_seq,
            once,
            state,
            retention,
            members,
            tickets: TicketKeys::default(),
        })
    }

    /// Publishes an event, unless one with the same key `once` was published within the bounds of the history; an event
    /// without a key is published. `id` is the one among its fields, if they have one. `published` is called afterwards with
    /// the id that the hub gives the event, or with that of the earlier event. Waits while too many bytes are queued for the
    /// reactor, never for a client. Fails with `Unavailable`, [`Refusal::ReservedId`],
    /// [`Refusal::MemberKey`], or `Full` if the event is to be retained and does not fit; then nothing is published.
    pub fn publish<'a>(
        &self,
        publication: Publication<'_, impl Iterator<Item = Field<'a>> + Clone>,
        id: Option<&[u8]>,
        published: impl FnOnce(&str),
    ) -> Result<(), Failure> {
        let Publication { channel, key, retain, once, fields } = publication;
        let mut process = lock_process();
        check_shutdown()?;
        let registration = self.registration_or_create(&mut process)?;
        if !once.is_empty() {
            if let Some(id) = registration.once.id_of(once, Instant::now()) {
                published(id);
                return Ok(());
            }
        }
        if id.map_or(false, |id| registration.epoch.is_like(id)) {
            return Err(Refusal::ReservedId.into());
        }
        if retain.changes_state() && registration.has_member_event(channel, key) {
            return Err(Refusal::MemberKey.into());
        }
        let seq = registration.last_seq + 1;
        let made = registration.epoch.event_id(seq);
        let event = Shared::with_id_last(fields, EventId::new(Text::from(&*made)).ok());
        let HubRegistration { state, retention, .. } = registration;
        state.change(channel, key, (retain, event.len()), retention)?;
        let command = registration.publish_command((channel.into(), key.into(), retain), event, id.map(Into::into));
        // This thread holds the lock of the process, so commands are queued in the order of their sequence numbers.
        registration.reactor.publish(command);
        if !once.is_empty() {
            registration.once.insert(once, &made, Instant::now());
        }
        published(&made);
        Ok(())
    }

    /// Checks whether an event can be retained beside others of these sizes. Fails with [`Full`] if it does not fit.
    pub fn check_state(&self, sizes: &StateSizes, channel: &[u8], key: &[u8], size: usize) -> Result<(), Full> {
        sizes.check(channel, key, size, &lock(&self.0.retention))
    }

    /// Publishes an event that a store has given its sequence number. `at` is when it was stored, perhaps long ago. Sequence
    /// numbers increase, not always by one. Fails with `Unavailable`, also if the hub has ended with its reactor.
    pub fn append(&self, event: SequencedEvent, at: Instant) -> Result<(), Failure> {
        let mut process = lock_process();
        check_shutdown()?;
        let HubRegistration { reactor, hub, last_seq, .. } = self.registration_or_create(&mut process)?;
        *last_seq = event.seq.max(*last_seq);
        reactor.publish(Command::PublishStored { hub: *hub, event: Box::new(event), at });
        Ok(())
    }

    /// Passes over a sequence number of a store whose entry is not an event of a channel. Clients of other hubs may have it as
    /// their position. Errors are those of [`append`](Self::append).
    pub fn pass(&self, seq: u64) -> Result<(), Failure> {
        let mut process = lock_process();
        check_shutdown()?;
        let HubRegistration { reactor, hub, last_seq, .. } = self.registration_or_create(&mut process)?;
        *last_seq = seq.max(*last_seq);
        reactor.send(Command::PassStored { hub: *hub, seq });
        Ok(())
    }

    /// Returns the last sequence number that clients may have been given: that of the last event, or of the last entry of the
    /// history, which need not be an event. Fails with `Unavailable`.
    pub fn last_seq(&self) -> Result<u64, Failure> {
        Ok(self.registration_or_create(&mut lock_process())?.last_seq)
    }

    /// Asks the hub in the reactor, and waits for the answer. Fails with `Unavailable` or
    /// `Timeout`.
    pub fn ask(&self, question: Question) -> Result<Answer, Failure> {
        let (reactor, hub) = self.reactor_and_hub()?;
        reactor.ask(hub, question, ANSWER_TIMEOUT).ok_or_else(no_answer)
    }

    /// Asks the hub in the reactor. Returns the number with which the answer comes in the [`Mailbox`](crate::runtime::Mailbox).
    /// Errors are those of [`append`](Self::append).
    pub fn ask_later(&self, question: Question) -> Result<u64, Failure> {
        let (reactor, hub) = self.reactor_and_hub()?;
        Ok(reactor.ask_later(hub, question))
    }

    /// Returns the reactor of a hub in this process, and the hub's number there.
    fn reactor_and_hub(&self) -> Result<(Arc<ReactorHandle>, HubId), Failure> {
        let mut process = lock_process();
        let registration = self.registration_or_create(&mut process)?;
        Ok((Arc::clone(&registration.reactor), registration.hub))
    }

    /// Subscribes a stream to topics. Returns false if it has ended. Fails with `Unavailable`,
    /// `State` or `Invalid`.
    pub fn subscribe(&self, stream: &mut StreamHandle, request: SubscribeRequest) -> Result<bool, Failure> {
        let mut process = lock_process();
        let registration = self.registration_or_create(&mut process)?;
        let max_topics = self.0.max_topics.load(Ordering::Relaxed);
        stream.subscribe(&registration.reactor, registration.hub, request, max_topics)
    }

    /// Returns the epoch, with which the hub's ids begin. Each process has another one. Fails with `Unavailable`.
    pub fn epoch(&self) -> Result<Box<str>, Failure> {
        Ok(self.registration_or_create(&mut lock_process())?.epoch.as_str().into())
    }

    /// Makes a call, and waits for the reply. Errors are those of [`ask`](Self::ask), or `Full` if an event does not
    /// fit.
    pub fn call(&self, call: &Call) -> Result<Reply, Failure> {
        match self.begin(call)? {
            Begun::Replied(reply) => Ok(reply),
            Begun::Asks(question) => self.complete(call, self.ask(question)?),
        }
    }

    /// Does what a call does at once. Errors are those of [`append`](Self::append).
    pub fn begin(&self, call: &Call) -> Result<Begun, Failure> {
        Ok(Begun::Replied(match call {
            Call::Drain { within } => {
                let (reactor, hub) = self.reactor_and_hub()?;
                reactor.send(Command::Drain { hub, within: *within });
                Reply::Done
            }
            Call::OpenTicket { sealed, binding } => {
                let opened = self.unseal_ticket(sealed, |ticket| ticket.binding == *binding)?.map(Box::new);
                return Ok(Begun::Asks(Question::Admit { opened, counts_refusal: true }));
            }
            Call::SealTicket { ticket, valid_for, most } => {
                Reply::Sealed(self.seal_ticket((**ticket).clone(), *valid_for, *most)?.map(Into::into))
            }
            call => match call.question(clock::monotonic()) {
                Some(question) => return Ok(Begun::Asks(question)),
                None => {
                    count_refused_origin(); // what else is not asked is for a hub process
                    Reply::Done
                }
            },
        }))
    }

    /// Completes a call when the hub in the reactor has answered, which reports all that it knows of members before. A hub with
    /// stored events leaves these to its owner. Errors are those of [`call`](Self::call).
    pub fn complete(&self, call: &Call, answer: Answer) -> Result<Reply, Failure> {
        match call {
            Call::UpdateMember { channel, id, data, event } => {
                let (data, event) = (data.clone(), event.clone());
                let is_here =
                    self.with_presence(|registration| registration.update_member(channel, id, data, event))?;
                Ok(Reply::Number(is_here?.into()))
            }
            Call::Count { .. } | Call::CountMembers { .. } | Call::Members { .. } => {
                self.with_presence(|registration| call.reply(answer, registration.members.as_ref()))
            }
            _ => Ok(answer.into()),
        }
    }

    /// Waits until the reactor has reported all that it knows of streams. Errors are those of [`ask`](Self::ask).
    pub fn wait_for_reports(&self) -> Result<(), Failure> {
        self.ask(Question::reports()).map(drop)
    }

    /// Returns true if a report is of a stream of this hub.
    pub fn has_reported(&self, report: &PresenceReport) -> bool {
        self.reactor_and_hub().map_or(false, |(_, hub)| hub == report.hub)
    }

    /// Checks that the announced event of a member would fit if nothing else were retained. Fails with [`Full`] if it does not.
    pub fn check_announcement(&self, announced: &Announcement) -> Result<(), Full> {
        check_room(&StateSizes::default(), &lock(&self.0.retention), announced)
    }

    /// Returns true if a stream is known to have opened without the member that it was to have.
    pub fn has_refused_members(&self) -> bool {
        let mut process = lock_process();
        let index = process.registrations.index_of(self.0.key);
        let members = index.and_then(|index| process.registrations.at(index).members.as_ref());
        members.map_or(false, |members| members.totals().1 > 0)
    }

    /// Calls a function when what the reactor has reported of members is applied.
    fn with_presence<T>(&self, function: impl FnOnce(&mut HubRegistration) -> T) -> Result<T, Failure> {
        let (reactor, _) = self.reactor_and_hub()?;
        loop {
            let mut process = lock_process();
            if process.apply_presence(&reactor, Instant::now()) {
                return Ok(function(self.registration_or_create(&mut process)?));
            }
            drop(process); // others may have the lock in between
            std::thread::yield_now();
        }
    }

    /// Ends streams for a request that was carried out elsewhere so long ago: a subscription that was
    /// asked for after that continues, if it is still to come. Nobody asks for the number, so the call does not wait: the
    /// queue of commands keeps the order. Errors are those of [`append`](Self::append).
    pub fn end_streams_of(&self, request: EndRequest, age: Duration) -> Result<(), Failure> {
        let age = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
        let (request, at) = (Box::new(request), clock::monotonic().saturating_sub(age));
        self.tell(Question::EndStreams { request, at })
    }

    /// Asks the hub in the reactor what nobody wants to know.
    fn tell(&self, question: Question) -> Result<(), Failure> {
        let (reactor, hub) = self.reactor_and_hub()?;
        reactor.send(Command::Ask { hub, request_id: UNAWAITED, question: Box::new(question) });
        Ok(())
    }

    /// Ends the drain of a hub of this process: it accepts streams again. Fails with `Unavailable`.
    pub fn end_drain(&self) -> Result<(), Failure> {
        let mut process = lock_process();
        let registration = self.registration_or_create(&mut process)?;
        registration.reactor.send(Command::EndDrain { hub: registration.hub });
        Ok(())
    }
}

impl Drop for Inner {
    // A fork copies the number of copies, but not the registration: a child's hub is its own.
    fn drop(&mut self) {
        let mut process = lock_process();
        if let Some(registration) = process.registrations.remove(self.key) {
            registration.reactor.send(Command::CloseHub { hub: registration.hub });
        }
    }
}
