//! Events in the store's order: drafts go to the store, and the entries that it reports are published to the hub in memory.
//!
//! This is what all parts of the hub share that publish. It knows for which [`Purpose`] a draft waits, but not what becomes of
//! that: its callers take the answers.

use super::beginning::{not_begun, Beginning};
use super::counted::Counted;
use super::drafts::{Drafts, Published, Purpose, WaitingDraft};
use super::state::{size_of, StateChange, WaitingState};
use super::tickets::StoredTickets;
use crate::process_log::log_message;
use crate::store::{Began, Delivered, Draft, DraftKind, Store, StoreCommand, StoreEntry};
use eventsource_xs::event::{EventId, EventName, Field, Shared, Text};
use eventsource_xs::hub::{
    channel_of_kept, given_ids, Answer, EntryOrigin, Epoch, Evictions, Gap, History, Members, Question, Retain,
    Sequence, SequencedEvent, LONGEST_ANSWER,
};
use eventsource_xs::runtime::{create_hub, monotonic, ReactorHub};
use eventsource_xs::ticket::TicketKeys;
use eventsource_xs::wire::{Failure, FieldList, HubSettings};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time after an event at which the store is told what the hub has evicted, unless this is much sooner (`will_forget`).
const FORGET: Duration = Duration::from_secs(1);
/// The interval at which it is told what has expired while nothing was published.
const EXPIRE: Duration = Duration::from_secs(60);
/// The events and bytes after which the store is told at once, if an eighth of the history is not more.
const MUCH: (usize, usize) = (1000, 1 << 20);
/// The interval of checks whether a store is up again that has failed what a member or a will says.
const RETRY: Duration = Duration::from_secs(1);

/// The place up to which the hub has read.
#[derive(Clone, Debug, Default)]
pub struct Position {
    /// The sequence number of the last entry that was published to the hub in memory.
    pub last_seq: u64,
    pub epoch_changes: u64,
    /// The sequence number of the last own entry: the store's replicas, if it has any, have everything up to it.
    pub confirmed: u64,
}

/// The outcome of an entry.
pub enum EntryOutcome {
    /// Nothing: the hub has it already, or none is there.
    Skipped,
    /// Its history was lost.
    Void,
    /// It is published: who has asked for it, and the id that those who wait for it are answered.
    Published(EntryOrigin, Rc<str>),
}

/// The store, the hub in memory, and the drafts between them.
pub struct Sequencer {
    pub settings: HubSettings,
    pub store: Store,
    pub beginning: Beginning,
    /// The hub in memory, from the store's beginning on.
    pub hub: Option<Arc<ReactorHub>>,
    /// Its order, as the store gives it. The members are those of its streams, and of those of other machines. Those of this
    /// machine outlive it.
    pub sequence: Sequence,
    waiting_state: WaitingState,
    pub position: Position,
    pub drafts: Drafts,
    pub counted: Counted,
    /// The number of streams that were sent a gap in place of an entry that this version cannot read.
    pub gaps: u64,
    pub tickets: StoredTickets,
    /// The questions for the hub in memory.
    pub questions: Vec<Question>,
    /// The time of the call in which the hub is: all that follows from it has one time.
    pub now: Instant,
    /// The entries that the store is to forget, and does not know of yet.
    pub evicted: Evictions,
    /// The ticket of what it was asked to forget, until it has.
    forgetting: Option<u64>,
    /// When the store is told next what the hub has evicted.
    forget_at: Option<Instant>,
    /// The events that were published since it was told, and their bytes.
    grown: (usize, usize),
    /// When it is looked whether the store is up that has failed something.
    pub retry_at: Option<Instant>,
}

impl Sequencer {
    pub fn new(store: Store, settings: &HubSettings, beginning: Beginning) -> Self {
        Self {
            settings: settings.clone(),
            store,
            beginning,
            hub: None,
            sequence: Sequence::new(
                Epoch::new("", None),
                0,
                settings.hub.retention.clone(),
                Members::stored(settings.store.is_shared()),
            ),
            waiting_state: WaitingState::default(),
            position: Position::default(),
            drafts: Drafts::default(),
            counted: Counted::default(),
            gaps: 0,
            tickets: StoredTickets::default(),
            questions: Vec::new(),
            now: Instant::now(),
            evicted: Evictions::default(),
            forgetting: None,
            forget_at: None,
            grown: (0, 0),
            retry_at: None,
        }
    }

    /// Returns the epoch of the hub in memory, if there is one.
    pub fn epoch(&self) -> Option<&Epoch> {
        self.hub.as_ref().map(|_| &self.sequence.epoch)
    }

    /// Returns true if other machines append to the store.
    pub fn is_shared(&self) -> bool {
        self.settings.store.is_shared()
    }

    /// Returns true if the store has reported its history, and is not to end. Members and wills wait until then.
    pub fn is_open(&self) -> bool {
        self.store.is_running() && self.beginning.is_complete()
    }

    /// Fails if the store's threads have ended, and are to begin anew: what they are asked meanwhile is dropped.
    pub fn check_threads(&self) -> Result<(), Failure> {
        match self.store.restart_at().is_some() && self.hub.is_some() {
            true => Err(Failure::unavailable("the hub's store has ended, and begins anew in a moment")),
            false => Ok(()),
        }
    }

    /// Asks the store to append an event. An event with a key `once` that waits already is not appended again.
    pub fn append_event(
        &mut self,
        draft: Draft,
        given_id: Option<&[u8]>,
        waiting: WaitingDraft,
    ) -> Result<Published, Failure> {
        self.check_threads()?;
        self.hub.as_ref().ok_or_else(not_begun)?;
        let is_number = waiting.purpose == Purpose::Number;
        let known = self.sequence.once_id(&draft.once, Instant::now).map(str::to_owned);
        if let Some(id) = &known {
            let must_wait = self.settings.store.has_replicas() && !is_number;
            let is_confirmed = |seq| seq <= self.position.confirmed;
            if !must_wait || self.sequence.epoch.seq(id.as_bytes()).is_some_and(is_confirmed) {
                return Ok(Published::Id(id.clone()));
            }
        }
        if self.drafts.join(&draft.once, &waiting.requesters) {
            return Ok(Published::Waits);
        }
        let mut state = None; // a repetition changes none
        if known.is_none() {
            self.sequence.check(&draft.channel, &draft.key, draft.retain, given_id)?;
            state = self.state_change(&draft)?;
        }
        self.append(draft, waiting.with_state(state));
        Ok(Published::Waits)
    }

    /// Asks the store to append a draft. What it changes of the state counts until it is [removed](Self::remove_draft).
    pub fn append(&mut self, draft: Draft, waiting: WaitingDraft) {
        let change = waiting.state.clone();
        let ticket = self.drafts.add(&draft, waiting);
        if let Some(end) = draft.end() {
            self.tickets.ends.wait(ticket, end);
        }
        if let Some(change) = change {
            self.waiting_state.wait(&mut self.sequence.state, ticket, &change);
        }
        self.store.send(StoreCommand::Append { ticket, draft });
    }

    /// Removes a draft that the store has answered. What it would have changed of the state counts no more, whatever its
    /// purpose.
    pub fn remove_draft(&mut self, ticket: u64) -> Option<WaitingDraft> {
        let waiting = self.drafts.remove(ticket)?;
        self.tickets.ends.end_draft(ticket, self.position.last_seq);
        if let Some(change) = &waiting.state {
            self.waiting_state.release(&mut self.sequence.state, ticket, change);
        }
        Some(waiting)
    }

    /// Returns what a draft would do to the state, if it does anything. Fails if it does not fit.
    pub fn state_change(&self, draft: &Draft) -> Result<Option<StateChange>, Failure> {
        if let DraftKind::CountedMember(_) = draft.kind() {
            return Ok(None); // their number is retained
        }
        let Sequence { state, retention, .. } = &self.sequence;
        size_of(draft).map_or(Ok(()), |size| state.check(&draft.channel, &draft.key, size, retention))?;
        Ok(StateChange::of(draft))
    }

    /// Returns true if the hub itself retains an event with the key of a draft: that of a member who is here.
    pub fn has_member(&self, draft: &Draft) -> bool {
        self.sequence.members.has_event(&draft.channel, &draft.key)
    }

    /// Called when the store begins. Returns the entries that it has reported before, and that may be gone.
    pub fn begin(&mut self, began: Began) -> Vec<StoreEntry> {
        let abandoned = self.beginning.abandon();
        self.tickets.keys = TicketKeys::default(); // those of this epoch follow
        let (epoch, seq) = (self.sequence.epoch.as_str().into(), self.position.last_seq);
        let memory = self.hub.as_ref().map(|_| Delivered { epoch, seq });
        self.beginning.begin(memory, began, self.settings.store.is_shared());
        abandoned
    }

    /// Begins the hub in memory where the store does. The hub before, if there was one, ends its streams. Their clients come
    /// back with an id that is unknown now, or evicted. Returns the epoch, if it is another one.
    pub fn restart_memory(&mut self, began: &Began) -> Result<Option<Box<str>>, Failure> {
        let Began { history, reason, lingering: _ } = began;
        if !reason.is_empty() {
            log_message(&format!("clients receive a gap: {reason}"));
        }
        let mut history = History { is_shared: self.is_shared(), ..history.clone() };
        history.evicted.retain(|(channel, _)| is_of_events(channel));
        let epoch = &history.epoch;
        let settings = &self.settings.hub;
        let next = Epoch::new(epoch, settings.opaque_ids.then_some(history.cipher_key));
        let hub = create_hub(settings.clone(), next.clone(), &history)?;
        let mut members = std::mem::take(&mut self.sequence.members);
        members.restart();
        let sequence = Sequence::new(next, history.through(), settings.retention.clone(), members);
        let before = std::mem::replace(&mut self.sequence, sequence).epoch;
        (self.hub, self.waiting_state, self.counted) = (Some(hub), WaitingState::default(), Counted::default());
        for (ticket, change) in self.drafts.state_changes() {
            self.waiting_state.wait(&mut self.sequence.state, ticket, change);
        }
        let is_other = !before.as_str().is_empty() && **epoch != *before.as_str();
        let epoch_changes = self.position.epoch_changes + u64::from(is_other);
        self.tickets.begin(began, **epoch != *before.as_str());
        self.position = Position { last_seq: 0, epoch_changes, confirmed: 0 };
        (self.evicted, self.forgetting) = (Evictions::default(), None);
        Ok(is_other.then(|| epoch.clone()))
    }

    /// Takes note that the history is read up to this number, though not all entries are there: a client that has read events
    /// which a store without history has evicted is not ahead of it.
    pub fn pass(&mut self, evicted_through: u64) {
        self.position.last_seq = self.position.last_seq.max(evicted_through);
    }

    /// Publishes an entry to the hub in memory.
    pub fn publish_entry(&mut self, entry: &StoreEntry, is_new: bool) -> EntryOutcome {
        let StoreEntry { seq, ticket, ref draft, .. } = *entry;
        if let Some(lost) = self.beginning.check_entry(seq) {
            self.store.send(lost);
        }
        if seq <= self.position.last_seq {
            return EntryOutcome::Skipped; // it is in the hub already, which continues
        }
        if self.beginning.is_void() {
            return EntryOutcome::Void;
        }
        self.position.last_seq = seq;
        if !self.is_shared() {
            self.will_forget(entry);
        }
        if ticket.is_some() {
            self.position.confirmed = seq;
        }
        let origin = match ticket.is_some_and(|ticket| self.drafts.is_of_member(ticket)) {
            true => EntryOrigin::OwnMember,
            false if is_new => EntryOrigin::Other,
            false => EntryOrigin::History,
        };
        let id = match draft.kind() {
            DraftKind::End => {
                self.tickets.ends.add(seq, ticket, draft.end());
                self.end_streams_of(entry, is_new);
                self.pass_in_memory(seq)
            }
            DraftKind::CountedMember(channel) => {
                self.counted.count_member(channel, draft, seq);
                self.pass_in_memory(seq)
            }
            DraftKind::Event => self.publish_event(entry),
        };
        EntryOutcome::Published(origin, id)
    }

    /// Passes over an entry in the hub in memory, which has no event for it.
    fn pass_in_memory(&mut self, seq: u64) -> Rc<str> {
        if let Some(hub) = &self.hub {
            hub.pass(seq);
        }
        self.sequence.last_seq = self.sequence.last_seq.max(seq);
        "".into()
    }

    /// Ends streams of this machine as another one has done. Where it was asked for it is carried out. One of a history ends
    /// subscriptions that were asked for before it.
    fn end_streams_of(&self, entry: &StoreEntry, is_new: bool) {
        let age = if is_new { Duration::ZERO } else { self.now - self.store.instant_of(entry.at, self.now) };
        let is_known = if is_new { entry.ticket.is_some() } else { age > LONGEST_ANSWER };
        if let Some((end, handle)) = entry.draft.end().filter(|_| !is_known).zip(self.hub.as_ref()) {
            handle.end_streams_of(end, age, entry.seq);
        }
    }

    /// Publishes an event to the hub in memory, unless another one with its key `once` was published. Returns its id.
    fn publish_event(&mut self, entry: &StoreEntry) -> Rc<str> {
        let StoreEntry { seq, at, ref draft, .. } = *entry;
        let (at, is_shared) = (self.store.instant_of(at, self.now), self.is_shared());
        if let Some(id) = self.sequence.once_id(&draft.once, Instant::now).map(Into::into) {
            self.evicted.numbers.extend((!is_shared).then_some(seq));
            self.pass_in_memory(seq);
            return id;
        }
        if let Some(number) = self.counted.take_number(draft, seq) {
            self.sequence.members.note_stored_number(&draft.channel, number, self.now);
        }
        let made = self.sequence.epoch.event_id(seq);
        let gap = draft.is_unread().then(|| gap_event(&self.settings));
        let fields = gap.as_ref().unwrap_or(&draft.fields).fields();
        let (channel, key) = (draft.channel.clone(), draft.key.clone());
        let has_custom_id = given_ids(fields.iter()).next().is_some();
        // An event in place of one that cannot be read is not a state: the key is no longer retained.
        let retain = if gap.is_some() && draft.retain == Retain::Newest { Retain::Forget } else { draft.retain };
        let event = Shared::with_id_last(fields.iter(), EventId::new(Text::from(&*made)).ok());
        let event = SequencedEvent { seq, channel, event, key, retain, has_custom_id };
        self.waiting_state.store(&mut self.sequence.state, draft);
        if let Some(hub) = &self.hub {
            hub.append(event, at);
        }
        self.sequence.last_seq = self.sequence.last_seq.max(seq);
        if !draft.once.is_empty() {
            self.sequence.once.insert(&draft.once, &made, at);
        }
        if gap.is_some() && self.beginning.was_complete {
            self.questions.push(Question::count(draft.channel.clone()));
        }
        made.into()
    }

    /// Looks again later whether the store is up.
    pub fn retry_later(&mut self) {
        self.retry_at.get_or_insert(self.now + RETRY);
    }

    /// Returns true if what the store has failed can be tried again. Looks again later if not.
    pub fn is_time_to_retry(&mut self) -> bool {
        if self.retry_at.is_none_or(|at| self.now < at) {
            return false;
        }
        let can_retry = self.store.is_up() && self.is_open();
        self.retry_at = (!can_retry).then(|| self.now + RETRY);
        can_retry
    }

    pub fn next_due(&self) -> Option<Instant> {
        self.forget_at.into_iter().chain(self.retry_at).chain(self.store.restart_at()).min()
    }

    /// Takes note of an entry of a store that is told what to forget: soon, or at once if it would have much more than the hub.
    fn will_forget(&mut self, StoreEntry { seq, draft, .. }: &StoreEntry) {
        match draft.kind() {
            DraftKind::End => self.tickets.entries.push_back(*seq),
            DraftKind::CountedMember(_) => self.evicted.numbers.extend(self.counted.retain_member(draft, *seq)),
            DraftKind::Event => {}
        }
        let (grown, total) = (&mut self.grown, self.settings.hub.retention.total_history);
        *grown = (grown.0 + 1, grown.1 + draft.bytes());
        let is_much = grown.0 > MUCH.0.max(total.events / 8) || grown.1 > MUCH.1.max(total.bytes / 8);
        let at = if is_much { self.now } else { self.now + FORGET };
        self.forget_at = Some(self.forget_at.map_or(at, |before| before.min(at)));
    }

    /// Asks the hub what it has evicted, if it is time.
    pub fn forget_evicted_in_time(&mut self) {
        if self.forget_at.is_some_and(|at| self.now >= at) {
            self.forget_at = None;
            self.questions.push(Question::TakeEvictions);
        }
    }

    /// Tells the store what the hub has evicted, and waits for the reactor.
    pub fn forget_all_evicted(&mut self) {
        let evicted = self.hub.as_ref().and_then(|hub| hub.ask(Question::TakeEvictions).ok());
        self.forget(evicted.map(Answer::evictions).unwrap_or_default());
    }

    /// Returns true if somebody waits for the store, beside the hub for what it is to forget.
    pub fn has_waiting(&self) -> bool {
        self.drafts.len() > usize::from(self.forgetting.is_some())
    }

    /// Tells the store what the hub has evicted, unless it is a shared one, or has still to forget what it was told before.
    pub fn forget(&mut self, evicted: Evictions) {
        if self.is_shared() {
            return;
        }
        self.evicted.extend(evicted);
        self.tickets.take_evictions(self.position.last_seq, &mut self.evicted);
        (self.forget_at, self.grown) = (Some(self.now + EXPIRE), (0, 0));
        if self.forgetting.is_none() && !self.evicted.is_empty() {
            let (evictions, epoch) = (std::mem::take(&mut self.evicted), self.sequence.epoch.as_str().into());
            let waiting = WaitingDraft::new(Purpose::Forget(evictions.clone()), []);
            let ticket = self.drafts.add(&Draft::default(), waiting);
            self.forgetting = Some(ticket);
            self.store.send(StoreCommand::Forget { ticket, epoch, evictions });
        }
    }

    /// Takes note that the store has forgotten what it was told, or has `failed` to.
    pub fn end_forgetting(&mut self, ticket: u64, failed: Option<Evictions>) {
        if self.forgetting != Some(ticket) {
            return; // another hub in memory has begun, with all that the store has
        }
        self.forgetting = None;
        if let Some(mut evictions) = failed {
            evictions.extend(std::mem::take(&mut self.evicted));
            self.evicted = evictions;
            self.forget_at = Some(self.now + FORGET);
        }
    }

    /// Takes note of how far the history was read by now.
    pub fn mark_position(&mut self) {
        if self.beginning.is_complete() {
            self.tickets.ends.mark(self.position.last_seq, monotonic());
        }
    }

    /// Writes down what is delivered next: the process may be killed when a client has it. While the history is collected
    /// nothing is, and there is no epoch.
    pub fn will_deliver(&mut self, entries: &[StoreEntry]) {
        if let Some(last) = entries.last() {
            self.beginning.will_deliver(self.sequence.epoch.as_str(), last.seq.max(self.position.last_seq));
        }
    }

    /// Writes down what was delivered last, for a process that begins after this one was killed.
    pub fn write_delivered(&mut self) {
        if self.beginning.is_complete() {
            self.beginning.delivered.write(self.sequence.epoch.as_str(), self.position.last_seq);
        }
    }
}

/// Returns the event that clients are sent in place of an entry of a later version, which this one cannot read. It is an entry
/// of its channel, so that it comes in order and once, also to those who resume, and ends no stream.
fn gap_event(settings: &HubSettings) -> FieldList {
    let settings = &settings.hub;
    let data = Gap::Evicted.data(settings.gap_data.as_deref());
    let name = EventName::new(Text::from(&*settings.gap_event)).map(Field::Event);
    FieldList::of(name.into_iter().chain([Field::Data(Text::from(&*data))]))
}

/// Returns true if streams can be sent entries of a channel.
fn is_of_events(channel: &[u8]) -> bool {
    !(channel.is_empty() || channel_of_kept(channel).1)
}
