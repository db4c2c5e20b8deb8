//! A hub whose events a store keeps: what waits for the store, and what becomes of the store's reports.
//!
//! An event is published in two steps. Its draft goes to the store, and the asker waits. When the store reports the
//! entry, the event is published to the hub in memory, and the asker gets its id. Entries that other machines have appended
//! come the same way, so all hubs of a store have one order.
//!
//! A key `once` counts from the moment at which its entry is reported: of two entries with the same key, the first in the
//! store's order is published, on every machine, and both askers get its id.
//!
//! With replicas, an entry of another machine is reported before they have it, and a failover may lose it. Whoever repeats it
//! here gets its id only when they do: its draft is appended once more, unless an own entry after it was reported, which the
//! replicas have with all entries before.
//!
//! The hub in memory is the history. It is filled once, before the first worker is welcomed, so clients that come back all at
//! once never touch the store.
//!
//! A store that has lost history begins another epoch, and the hub in memory is replaced: its streams end, and their clients
//! come back with ids of an unknown epoch. Replacing the history under open streams would need a case in every policy for slow
//! clients.

mod counted;
mod last_delivered;
mod lingering;
mod losses;
mod members;
#[cfg(test)]
mod members_model;
mod memory;
mod state;
#[cfg(test)]
mod tests;

pub use last_delivered::LastDelivered;

use crate::messages::say;
use crate::publishing::{failure_of, Asker, Published};
use crate::store::{self, Ask, Began, Draft, Entry, MemberPart, Report, Store};
use counted::Counted;
use eventsource_xs::event::Unnumbered;
use eventsource_xs::event::{EventName, Field, Text};
use eventsource_xs::hub::{
    room_of, Announcement, EndRequest, Gap, History, KeptMember, Members, Retain, Says, StateSizes, REMEMBERED,
};
use eventsource_xs::runtime::{Error, HubHandle};
use eventsource_xs::saved;
use eventsource_xs::wire::{Failure, FieldList, HubSettings, Name, StoreStatus};
use eventsource_xs::ErrorCode;
use lingering::Lingering;
use losses::Losses;
use members::{draft_of, kept_of, MemberKey, Next, OwnMembers};
use memory::{Ids, MemoryHub};
use state::{State, StateChange};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How often the store is told what the hub has evicted.
const FORGET: Duration = Duration::from_secs(1);
/// How often it is looked whether the store is up that has failed what a member says.
const RETRY: Duration = Duration::from_secs(1);
/// How often it is looked whether other members linger.
const LINGER: Duration = Duration::from_millis(500);
/// How many wills may wait for a store that is away.
const MOST_WILLS: usize = 10_000;
/// How long a store whose threads have ended stays so.
const RESTART: Duration = Duration::from_secs(1);

/// The answer to a request.
#[derive(Debug)]
pub struct Told {
    pub asker: Asker,
    pub result: Result<Rc<str>, Failure>,
    /// How many streams of this machine were ended, if that was asked for.
    pub ended: Option<usize>,
}

/// What reports have changed for those who wait for the hub itself.
#[derive(Debug, Default)]
pub struct Progress {
    pub told: Vec<Told>,
    /// The workers whose events the store has taken into its own queue, and what these have cost of their credits.
    pub queued: Vec<(u64, usize)>,
    /// The hub can be used now.
    pub is_ready: bool,
    /// The epoch that has begun in the place of another one.
    pub epoch: Option<Box<str>>,
    /// The store cannot begin; another attempt follows if the flag is set.
    pub cannot_begin: Option<(Failure, bool)>,
}

/// An event that waits to be stored.
#[derive(Debug)]
struct Waiting {
    once: Box<[u8]>,
    state: Option<StateChange>,
    askers: Vec<Asker>,
    /// Whether the store keeps it until it is up again.
    is_queued: bool,
    /// How many streams of this machine were ended, if this is a request to end streams.
    ended: Option<usize>,
    /// The member that says this.
    member: Option<MemberKey>,
    /// The draft, if it is a will.
    will: Option<Box<Draft>>,
}

impl Waiting {
    fn of(asker: Asker) -> Self {
        Self {
            once: Box::default(),
            state: None,
            askers: vec![asker],
            is_queued: false,
            ended: None,
            member: None,
            will: None,
        }
    }
}

/// The hub, its store, and what waits for it.
pub struct StoredHub {
    settings: HubSettings,
    name: Name,
    store: Store,
    /// The hub in memory, from the store's beginning on.
    memory: Option<MemoryHub>,
    epoch: Box<str>,
    /// The sequence number of the last entry that was published to the hub in memory.
    last_seq: u64,
    /// The sequence number of the last own entry: the store's replicas, if it has any, have everything up to it.
    confirmed: u64,
    /// Whether the history was complete once.
    is_ready: bool,
    /// The last ticket of the events of the hub before, while the store takes these. Nobody reads this hub until it has: they
    /// are history, and new to no client.
    moving: Option<u64>,
    /// The last delivered event, for a process that begins after this one was killed.
    seen: LastDelivered,
    /// The sequence number of an entry that the history of a store that has begun anew must have: the last that was delivered.
    proof: Option<u64>,
    /// Whether the store was told that its history lacks that. What it reports is void until another epoch begins.
    is_void: bool,
    /// A beginning whose history is not complete. Streams that subscribed before that would miss the rest.
    beginning: Option<(Began, Vec<Entry>)>,
    waiting: BTreeMap<u64, Waiting>,
    /// The tickets of waiting events with a key `once`.
    once: HashMap<Box<[u8]>, u64>,
    next_ticket: u64,
    /// When the store is told next what the hub has evicted; none if nothing was published since.
    forget_at: Option<Instant>,
    /// When the store begins anew after its threads have ended.
    restart_at: Option<Instant>,
    epoch_changes: u64,
    /// How many streams were sent a `gap` event in place of an event that this version cannot read.
    gaps: u64,
    /// The members of this machine.
    members: OwnMembers,
    counted: Counted,
    /// The members that the store has been told to linger, and when it is told next.
    lingering: Lingering,
    linger_at: Option<Instant>,
    /// The wills of streams that have ended since the store was ready.
    wills: Vec<Draft>,
    losses: Losses,
    /// When it is looked whether the store is up that has failed what a member says.
    retry_at: Option<Instant>,
    /// Whether the store has reported its history, and is not asked to end. Members and wills wait until then.
    is_open: bool,
    /// Whether the store was asked to end.
    is_closing: bool,
}

/// The state that another program needs to continue, beside the hub in memory.
#[derive(Debug)]
pub struct SavedStored {
    ids: Ids,
    state: StateSizes,
    last_seq: u64,
    epoch_changes: u64,
    gaps: u64,
    members: OwnMembers,
    counted: Counted,
    wills: Vec<Draft>,
}

saved!(SavedStored { ids, state, last_seq, epoch_changes, gaps, members, counted, wills });

impl StoredHub {
    /// Starts the store of these settings.
    pub fn begin(settings: &HubSettings, name: &Name, seen: LastDelivered) -> io::Result<Self> {
        Ok(Self { seen, ..Self::of(start(settings, name)?, settings, name) })
    }

    fn of(store: Store, settings: &HubSettings, name: &Name) -> Self {
        Self {
            store,
            settings: settings.clone(),
            name: name.clone(),
            memory: None,
            epoch: "".into(),
            last_seq: 0,
            confirmed: 0,
            is_ready: false,
            moving: None,
            seen: LastDelivered::default(),
            proof: None,
            is_void: false,
            beginning: None,
            waiting: BTreeMap::new(),
            once: HashMap::new(),
            next_ticket: 1,
            forget_at: None,
            restart_at: None,
            epoch_changes: 0,
            gaps: 0,
            members: OwnMembers::default(),
            counted: Counted::default(),
            lingering: Lingering::default(),
            linger_at: None,
            wills: Vec::new(),
            losses: Losses::default(),
            retry_at: None,
            is_open: false,
            is_closing: false,
        }
    }

    /// Continues with the hub of another program. The store begins anew.
    pub fn restore(
        saved: SavedStored,
        settings: &HubSettings,
        name: &Name,
        seen: LastDelivered,
        handle: HubHandle,
    ) -> io::Result<Self> {
        Ok(Self::begin(settings, name, seen)?.continuing(saved, handle))
    }

    fn continuing(self, saved: SavedStored, handle: HubHandle) -> Self {
        let SavedStored { ids, state, last_seq, epoch_changes, gaps, members, counted, wills } = saved;
        let state = State::of(state);
        Self {
            epoch: ids.epoch.as_str().into(),
            memory: Some(MemoryHub { handle, ids, state }),
            last_seq,
            is_ready: true,
            epoch_changes,
            gaps,
            members,
            counted,
            wills,
            ..self
        }
    }

    /// Returns what another program needs to continue, beside the hub in the reactor; nothing if the store has not begun.
    pub fn saved(&self) -> Option<SavedStored> {
        let Self { last_seq, epoch_changes, gaps, .. } = *self;
        let MemoryHub { ids, state, .. } = self.memory.as_ref()?;
        let (ids, state) = (ids.clone(), state.sizes.clone());
        let (members, counted, wills) = (self.members.clone(), self.counted.clone(), self.wills.clone());
        Some(SavedStored { ids, state, last_seq, epoch_changes, gaps, members, counted, wills })
    }

    pub fn handle(&self) -> Option<&HubHandle> {
        self.memory.as_ref().map(|memory| &memory.handle)
    }

    /// Returns true if the history is complete, and has the events of the hub before.
    pub fn is_ready(&self) -> bool {
        self.is_ready && self.moving.is_none()
    }

    /// Returns true if events that are appended are new to the clients of other machines, which this store has: it is not its
    /// first hub.
    pub fn has_other_readers(&self) -> bool {
        self.settings.store.is_shared() && self.last_seq > 0
    }

    /// Appends the events of the hub before, in their order. The hub is [ready](Self::is_ready) when the store has answered for
    /// all of them.
    pub fn move_here(&mut self, drafts: impl Iterator<Item = (Draft, Option<Vec<u8>>)>, now: Instant) {
        for (draft, given_id) in drafts {
            if let Err(failure) = self.publish(draft, given_id.as_deref(), Asker::NOBODY, now) {
                say(&format!("an event of before is lost: {failure}"));
            }
        }
        self.moving = self.waiting.keys().next_back().copied();
    }

    /// Returns how many streams were sent a `gap` event in place of an event that this version cannot read.
    pub fn gaps(&self) -> u64 {
        self.gaps
    }

    /// Returns true if an event waits to be stored.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns the descriptor that is readable while the store has reports.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.store.descriptor()
    }

    pub fn status(&self) -> StoreStatus {
        let (kind, place) = (self.settings.store.kind().into(), self.settings.store.place().into());
        let status = self.store.status();
        StoreStatus { kind, place, epoch_changes: self.epoch_changes.max(status.epoch_changes), ..status }
    }

    /// Takes over the settings that may change.
    pub fn adopt(&mut self, settings: &HubSettings) {
        self.settings = settings.clone();
        if let Some(memory) = &mut self.memory {
            memory.adopt(settings);
        }
        self.store.ask(retain(settings));
    }

    /// Asks the store to append an event. An event with a key `once` that waits already is not appended again.
    pub fn publish(
        &mut self,
        draft: Draft,
        given_id: Option<&[u8]>,
        asker: Asker,
        now: Instant,
    ) -> Result<Published, Failure> {
        let Some(memory) = &mut self.memory else {
            return Err(Failure::new(ErrorCode::Unavailable, None, "the hub's store has not begun"));
        };
        if self.restart_at.is_some() {
            return Err(Failure::new(
                ErrorCode::Unavailable,
                None,
                "the hub's store has ended, and begins anew in a moment",
            ));
        }
        if let Some(id) = given_id {
            memory.check_own_id(id).map_err(|error| failure_of(&error))?;
        }
        let known = memory.once_id(&draft);
        if let Some(id) = &known {
            let must_wait = self.settings.store.has_replicas() && !Counted::is_number(&draft.once);
            if !must_wait || memory.ids.epoch.seq(id.as_bytes()).is_some_and(|seq| seq <= self.confirmed) {
                return Ok(Published::Id(id.clone()));
            }
        }
        if !draft.once.is_empty() {
            if let Some(waiting) = self.once.get(&draft.once).and_then(|ticket| self.waiting.get_mut(ticket)) {
                if waiting.is_queued {
                    waiting.askers.push(Asker { bytes: 0, ..asker });
                    return Ok(Published::Queued);
                }
                waiting.askers.push(asker);
                return Ok(Published::Waits);
            }
        }
        // A repetition changes no state.
        let state = if known.is_some() { Ok(None) } else { memory.state_change(&draft) };
        let state = state.map_err(|error| failure_of(&error))?;
        if state.is_some() && !Counted::is_number(&draft.once) && memory.has_member(&draft) {
            return Err(failure_of(&Error::of_kept_key(&draft.key)));
        }
        self.append(draft, Waiting { state, ..Waiting::of(asker) });
        self.forget_at.get_or_insert(now + FORGET);
        Ok(Published::Waits)
    }

    /// Asks the store to append a draft, for which somebody waits.
    fn append(&mut self, draft: Draft, waiting: Waiting) {
        let (ticket, once) = (self.next_ticket, draft.once.clone());
        self.next_ticket += 1;
        if let (Some(change), Some(memory)) = (&waiting.state, &mut self.memory) {
            memory.state.wait(ticket, change);
        }
        if !once.is_empty() {
            self.once.insert(once.clone(), ticket);
        }
        self.waiting.insert(ticket, Waiting { once, ..waiting });
        self.store.ask(Ask::Append { ticket, draft });
    }

    /// Ends streams of this machine at once, and those of others when their hubs read that from the store. Returns the number
    /// here; nothing if the asker waits until the store has the request.
    pub fn end_streams(&mut self, end: EndRequest, asker: Asker) -> Result<Option<usize>, Failure> {
        let Some(handle) = self.handle() else {
            return Err(Failure::new(ErrorCode::Unavailable, None, "the hub's store has not begun"));
        };
        let draft = Draft::of_end(&end);
        let count = handle.end_streams(end).map_err(|error| failure_of(&error))?;
        if !self.settings.store.is_shared() {
            return Ok(Some(count));
        }
        self.append(draft, Waiting { ended: Some(count), ..Waiting::of(asker) });
        Ok(None)
    }

    /// Returns the sequence number that a client's last event id names, if this process has not read so far: the client comes
    /// from another machine.
    pub fn seq_ahead(&self, id: Option<&[u8]>) -> Option<u64> {
        if !self.settings.store.is_shared() {
            return None; // no other machine has it
        }
        let seq = self.memory.as_ref()?.ids.epoch.seq(id?)?;
        Some(seq).filter(|seq| *seq > self.last_seq)
    }

    /// Returns true if only a hub of this epoch can have made that id.
    pub fn is_proven(&self, id: Option<&[u8]>) -> bool {
        let proven = |memory: &MemoryHub| memory.ids.epoch.proven_seq(id?);
        self.memory.as_ref().and_then(proven).is_some()
    }

    /// Called when a client has proven that an event was delivered which the store does not have.
    pub fn lacks(&mut self, seq: u64) {
        if !self.is_void && seq > self.last_seq {
            self.proof = Some(seq);
            self.check_proof();
        }
    }

    /// Returns true if the store takes entries and reports them.
    pub fn is_up(&self) -> bool {
        self.store.status().is_up
    }

    /// Returns the sequence number of the last entry that this process has read.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Carries out what the store has reported.
    pub fn take_reports(&mut self, now: Instant) -> Progress {
        let mut progress = Progress::default();
        let (reports, has_ended) = self.store.take_reports();
        for report in reports {
            self.carry_out(report, now, &mut progress);
        }
        self.seen.write(&self.epoch, self.last_seq);
        if has_ended && self.restart_at.is_none() {
            (self.restart_at, self.is_open) = (Some(now + RESTART), false);
            self.fail_waiting("the store has ended", &mut progress);
        }
        progress
    }

    fn carry_out(&mut self, report: Report, now: Instant, progress: &mut Progress) {
        match report {
            Report::Began(began) => {
                self.abandon_beginning(progress);
                (self.is_void, self.is_open) = (false, false);
                let last = match self.memory {
                    Some(_) => Some(self.last_seq).filter(|_| began.epoch == self.epoch),
                    None => self.seen.read(&began.epoch),
                };
                // Where nobody else writes, entries are evicted by other rules than their order.
                let evicted_through =
                    if self.settings.store.is_shared() { began.evicted_through } else { began.last_seq };
                self.proof = last.filter(|last| *last > evicted_through);
                if self.memory.is_none() && !self.settings.store.is_shared() && self.comes_back(&began) {
                    self.proof = Some(u64::MAX); // no history has it
                }
                if !self.goes_on_from(&began) {
                    self.beginning = Some((began, Vec::new()));
                }
            }
            Report::Entries(entries) => match &mut self.beginning {
                Some((_, history)) => history.extend(entries),
                None => entries.into_iter().for_each(|entry| self.publish_entry(entry, true, now, progress)),
            },
            Report::Ready => {
                let begins_anew = self.beginning.is_some();
                if let Some((began, history)) = self.beginning.take() {
                    let evicted_through = began.evicted_through;
                    if let Err(failure) = self.begin_anew(began, progress) {
                        progress.cannot_begin = Some((failure, false));
                        return;
                    }
                    history.into_iter().for_each(|entry| self.publish_entry(entry, false, now, progress));
                    // A client that has read events which a store without history has evicted is not ahead of it.
                    self.last_seq = self.last_seq.max(evicted_through);
                }
                self.check_proof();
                if self.is_void {
                    return; // another beginning follows
                }
                self.is_ready = true;
                progress.is_ready = true;
                self.open(begins_anew, now);
            }
            Report::Queued(tickets) => tickets.into_iter().for_each(|ticket| self.note_queued(ticket, progress)),
            Report::Done(ticket) => self.tell(ticket, &Ok("".into()), progress),
            Report::Announce => {
                let keys = self.members.say_again(true);
                self.say_all(keys);
            }
            Report::Failed { ticket, failure } => self.tell(ticket, &Err(failure), progress),
            Report::CannotBegin { failure, retries } => progress.cannot_begin = Some((failure, retries)),
        }
    }

    /// Takes note that the store has an event in its own queue: it is not a request of its worker any more.
    fn note_queued(&mut self, ticket: u64, progress: &mut Progress) {
        let Some(waiting) = self.waiting.get_mut(&ticket) else { return };
        waiting.is_queued = true;
        let granted = |asker: &mut Asker| (asker.peer, std::mem::take(&mut asker.bytes));
        progress.queued.extend(waiting.askers.iter_mut().map(granted).filter(|(_, bytes)| *bytes > 0));
    }

    /// Returns true if an earlier history has come back: another one was delivered before.
    fn comes_back(&self, began: &Began) -> bool {
        began.reason.is_empty() && began.last_seq > 0 && self.seen.has_other(&began.epoch)
    }

    /// Called when the history has passed the entry that it must have. Without it, history was lost while this process did not
    /// look: all hubs must begin another epoch.
    fn check_proof(&mut self) {
        if let Some(seq) = self.proof.take() {
            self.is_void = true;
            let reason = match seq {
                u64::MAX => "the store has an earlier history than the one that was delivered before".into(),
                _ => format!("the store lacks the event {seq}, which was delivered before").into(),
            };
            self.store.ask(Ask::Lost(reason));
        }
    }

    /// Gives up a beginning that another one follows. Its entries may be gone.
    fn abandon_beginning(&mut self, progress: &mut Progress) {
        let (_, history) = self.beginning.take().unwrap_or_default();
        for ticket in history.into_iter().filter_map(|entry| entry.ticket) {
            let failure =
                Failure::new(ErrorCode::Unknown, None, "the event was perhaps published: its history was lost");
            self.tell(ticket, &Err(failure), progress);
        }
    }

    /// Returns true if the hub in memory continues: the same epoch, and nothing is missing.
    fn goes_on_from(&self, began: &Began) -> bool {
        // What was evicted before this process has read it is missing in the hub, though the store has lost nothing.
        let is_complete = began.last_seq >= self.last_seq && began.evicted_through <= self.last_seq;
        self.memory.is_some() && began.epoch == self.epoch && is_complete
    }

    /// Begins the hub in memory where the store does.
    fn begin_anew(&mut self, began: Began, progress: &mut Progress) -> Result<(), Failure> {
        let Began { epoch, cipher_key, last_seq, evicted, evicted_through, reason, lingering } = began;
        self.lingering = Lingering::of_store(&lingering, Instant::now());
        if !self.epoch.is_empty() && epoch != self.epoch {
            self.epoch_changes += 1;
            progress.epoch = Some(epoch.clone());
        }
        if !reason.is_empty() {
            say(&format!("clients receive a gap: {reason}"));
        }
        let is_shared = self.settings.store.is_shared();
        let evicted = evicted.into_iter().filter(|(channel, _)| !room_of(channel).1).collect();
        let history = History { epoch: epoch.clone(), cipher_key, last_seq, evicted, evicted_through, is_shared };
        // The hub before, if there was one, ends its streams. Their clients come back with an id that is unknown now, or
        // evicted.
        let memory = MemoryHub::begin(&self.settings, &history).map_err(|error| failure_of(&error))?;
        self.keep_wills();
        let memory = self.memory.insert(memory);
        for (ticket, waiting) in &self.waiting {
            waiting.state.iter().for_each(|change| memory.state.wait(*ticket, change));
        }
        (self.epoch, self.last_seq, self.confirmed) = (epoch, 0, 0);
        self.members.begin();
        self.counted = Counted::default();
        Ok(())
    }

    /// Publishes an entry to the hub in memory, and tells those who have waited for it.
    fn publish_entry(&mut self, entry: Entry, is_new: bool, now: Instant, progress: &mut Progress) {
        let Entry { seq, at, ticket, draft } = entry;
        match self.proof {
            Some(proof) if proof == seq => self.proof = None,
            Some(proof) if proof < seq => self.check_proof(),
            _ => {}
        }
        if seq <= self.last_seq {
            return; // it is in the hub already, which continues
        }
        if self.is_void {
            let failure = Failure::new(ErrorCode::Unknown, None, "the event was perhaps published: history was lost");
            ticket.into_iter().for_each(|ticket| self.tell(ticket, &Err(failure.clone()), progress));
            return;
        }
        let gap = draft.is_unread().then(|| self.gap());
        let Some(memory) = &mut self.memory else { return };
        self.last_seq = seq;
        if ticket.is_some() {
            self.confirmed = seq;
        }
        if draft.channel.is_empty() {
            // Where it was asked for it is carried out. One of a history ends subscriptions that were asked for before it.
            let age = if is_new { Duration::ZERO } else { now - self.store.instant_of(at, now) };
            let is_known = if is_new { ticket.is_some() } else { age > REMEMBERED };
            if let Some(end) = draft.end().filter(|_| !is_known) {
                let _ = memory.handle.end_streams_of(end, age); // fails only while the process ends
            }
            ticket.into_iter().for_each(|ticket| self.tell(ticket, &Ok("".into()), progress));
            return;
        }
        self.forget_at.get_or_insert(now + FORGET);
        let (room, is_counted) = room_of(&draft.channel);
        if is_counted {
            self.counted.note_member(room, &draft, seq);
            self.note_member(&draft, ticket, is_new);
            ticket.into_iter().for_each(|ticket| self.tell(ticket, &Ok("".into()), progress));
            return;
        }
        let at = self.store.instant_of(at, now);
        let mut number = None;
        let published = match memory.once_id(&draft) {
            Some(id) => Ok(id),
            None => {
                number = self.counted.note_number(&draft, seq);
                let published = memory.publish(seq, at, &draft, gap.as_ref().unwrap_or(&draft.fields).fields());
                if published.is_ok() && gap.is_some() {
                    let counted = memory.handle.counts_and_subscribers(&draft.channel);
                    self.gaps += counted.map_or(0, |(_, subscribers)| subscribers as u64);
                }
                published
            }
        };
        if let Some(number) = number {
            self.tell_members(|members| members.tell_number(&draft.channel, number, now));
        }
        self.note_member(&draft, ticket, is_new);
        if let Some(ticket) = ticket {
            let result = published.map(Into::into).map_err(|error| failure_of(&error));
            self.tell(ticket, &result, progress);
        }
    }

    /// Takes what a member or a will announces.
    pub fn announce(&mut self, announcement: Announcement, kept: Option<KeptMember>) {
        let is_number = announcement.says == Says::Number;
        let draft = draft_of(announcement, kept);
        if is_number {
            self.publish_number(draft);
        } else if draft.member == MemberPart::None {
            self.keep_will(draft, "too many wait already");
            self.publish_wills();
        } else {
            let key = (draft.channel.clone(), draft.key.clone());
            self.members.announce(draft);
            self.say(&key);
            self.linger_at.get_or_insert_with(|| Instant::now() + LINGER);
        }
    }

    /// Publishes the number of a channel's members. It is announced again until the store has told it.
    fn publish_number(&mut self, draft: Draft) {
        let draft = Draft { once: self.counted.once(&draft.channel, self.last_seq), ..draft };
        if !self.is_open || self.once.contains_key(&draft.once) {
            return;
        }
        let published = self.publish(draft.clone(), None, Asker::NOBODY, Instant::now());
        if published.is_err_and(|failure| failure.code == ErrorCode::Full) {
            // It is sent, and what is retained of the key is older.
            let draft = Draft { retain: Retain::Forget, ..draft };
            let _ = self.publish(draft, None, Asker::NOBODY, Instant::now());
        }
    }

    fn publish_wills(&mut self) {
        if !self.is_open {
            return;
        }
        for mut draft in std::mem::take(&mut self.wills) {
            if self.memory.as_ref().is_some_and(|memory| memory.has_member(&draft)) {
                draft.retain = Retain::No; // the member has come meanwhile
            }
            match self.publish(draft.clone(), None, Asker::NOBODY, Instant::now()) {
                Ok(_) => {
                    let last = self.waiting.last_entry();
                    last.into_iter().for_each(|mut last| last.get_mut().will = Some(draft.clone().into()));
                }
                Err(failure) if failure.code == ErrorCode::Unavailable => self.keep_will(draft, &failure.to_string()),
                Err(failure) => self.losses.add_wills(1, &failure.to_string()),
            }
        }
    }

    /// Keeps the wills of all streams, which end with the hub in memory.
    fn keep_wills(&mut self) {
        let mut wills = Vec::new();
        self.tell_members(|members| wills = members.take_wills());
        wills.into_iter().for_each(|will| self.keep_will(draft_of(will, None), "too many wait already"));
    }

    /// Keeps a will until the store is up, unless too many wait already.
    fn keep_will(&mut self, draft: Draft, otherwise: &str) {
        if self.wills.len() >= MOST_WILLS {
            return self.losses.add_wills(1, otherwise);
        }
        self.wills.push(draft);
        self.retry_at.get_or_insert_with(|| Instant::now() + RETRY);
    }

    /// Says to the store what a member has still to say.
    fn say(&mut self, key: &MemberKey) {
        if !self.is_open {
            return;
        }
        let is_shared = self.settings.store.is_shared();
        loop {
            let draft = match self.members.next(key, is_shared) {
                Next::Ask(draft) => draft,
                Next::Wait => return,
                Next::Rest(announced) => {
                    return self.tell_members(|members| members.settle(&key.0, &key.1, announced));
                }
            };
            let Some(memory) = &mut self.memory else { return };
            let change = match room_of(&draft.channel) {
                // The number of members would replace what the application retains without a key.
                (room, true)
                    if matches!(draft.member, MemberPart::Here(_))
                        && memory.state.sizes.size(room, b"").is_some()
                        && !self.counted.has_number(room) =>
                {
                    Err(Error::CountKey)
                }
                (_, true) => Ok(None),
                (_, false) => memory.state_change(&draft),
            };
            match change {
                Ok(state) => {
                    let waiting = Waiting { state, member: Some(key.clone()), ..Waiting::of(Asker::NOBODY) };
                    self.append(draft, waiting);
                    self.forget_at.get_or_insert_with(|| Instant::now() + FORGET);
                    return;
                }
                Err(_) => self.refuse_member(key),
            }
        }
    }

    fn say_all(&mut self, keys: Vec<MemberKey>) {
        keys.iter().for_each(|key| self.say(key));
    }

    /// Called when the store has answered what a member has said.
    fn answer_member(&mut self, key: &MemberKey, failure: Option<&Failure>) {
        match failure.map(|failure| failure.code) {
            None => self.members.done(key),
            Some(ErrorCode::Invalid | ErrorCode::Unsupported) => self.refuse_member(key),
            // Full is the store's queue. That of the state was found before the store was asked.
            Some(code) => {
                if self.members.failed(key, matches!(code, ErrorCode::Full | ErrorCode::Unavailable)) {
                    self.retry_at.get_or_insert_with(|| Instant::now() + RETRY);
                    return;
                }
            }
        }
        self.say(key);
    }

    /// Drops what a member has said. One that cannot come is not here.
    fn refuse_member(&mut self, key: &MemberKey) {
        if self.members.refused(key) {
            self.tell_members(|members| members.refuse(&key.0, &key.1));
        }
    }

    fn tell_members(&self, change: impl FnOnce(&mut Members)) {
        if let Some(handle) = self.handle() {
            let _ = handle.tell_members(change); // fails only while the hub or the process ends
        }
    }

    /// Takes note of what an entry says of a member.
    fn note_member(&mut self, draft: &Draft, ticket: Option<u64>, is_new: bool) {
        let is_own =
            ticket.and_then(|ticket| self.waiting.get(&ticket)).is_some_and(|waiting| waiting.member.is_some());
        self.members.note(draft, is_own, self.settings.store.is_shared(), is_new);
        let (channel, key) = (&draft.channel, &draft.key);
        match &draft.member {
            MemberPart::None => return,
            MemberPart::Gone => self.tell_members(|members| members.tell_gone(channel, key)),
            MemberPart::Here(here) | MemberPart::Changed(here) => {
                self.tell_members(|members| members.tell_here(channel, key, kept_of(here)));
            }
        }
        let (room, is_counted) = room_of(channel);
        if is_counted {
            let (published, now) = (self.counted.number(room), Instant::now());
            self.tell_members(|members| members.tell_counted(channel, published, is_own, now));
        }
        if is_new && !is_own {
            self.say(&(channel.clone(), key.clone()));
        }
    }

    /// Called when the store has reported its history: members whose streams were those of a process, or of a hub in memory,
    /// before this one linger from now on, and what has waited is said.
    fn open(&mut self, begins_anew: bool, now: Instant) {
        self.is_open = !self.is_closing;
        if begins_anew {
            for (key, kept) in self.members.here() {
                let rest = self.lingering.rest(key, now);
                self.tell_members(|members| members.adopt(&key.0, &key.1, kept, (now, rest)));
            }
        }
        self.lingering = Lingering::default();
        self.keep_lingering(now);
        let keys = self.members.say_again(self.settings.store.is_shared());
        self.say_all(keys);
        self.publish_wills();
    }

    /// Checks that an event of a member can be retained.
    pub fn check_update(&self, channel: &[u8], id: &[u8], event: &Unnumbered) -> Result<(), Failure> {
        let fields = FieldList::of_block(event.bytes(), false);
        let draft =
            Draft { channel: channel.into(), key: id.into(), retain: Retain::Newest, fields, ..Draft::default() };
        let checked = self.memory.as_ref().map_or(Ok(None), |memory| memory.state_change(&draft));
        checked.map(drop).map_err(|error| failure_of(&error))
    }

    /// Returns what clients are sent in place of an event that this version cannot read. It is an entry of its channel, so
    /// that it comes in order and once, also to those who resume, and ends no stream.
    fn gap(&self) -> FieldList {
        let settings = &self.settings.hub;
        let data = Gap::Evicted.data(settings.gap_data.as_deref());
        let name = EventName::new(Text::from(&*settings.gap_event)).map(Field::Event);
        FieldList::of(name.into_iter().chain([Field::Data(Text::from(&*data))]))
    }

    fn tell(&mut self, ticket: u64, result: &Result<Rc<str>, Failure>, progress: &mut Progress) {
        let Some(waiting) = self.waiting.remove(&ticket) else { return };
        self.note_moved(progress);
        if let (Some(change), Some(memory)) = (&waiting.state, &mut self.memory) {
            memory.state.release(ticket, change);
        }
        if self.once.get(&waiting.once) == Some(&ticket) {
            self.once.remove(&waiting.once);
        }
        if let Some(member) = waiting.member {
            self.answer_member(&member, result.as_ref().err());
            return;
        }
        let is_of_nobody = !Counted::is_number(&waiting.once) && waiting.askers.first() == Some(&Asker::NOBODY);
        match (result, waiting.will) {
            (Ok(_), _) => {}
            (Err(failure), Some(will)) if matches!(failure.code, ErrorCode::Full | ErrorCode::Unavailable) => {
                return self.keep_will(*will, &failure.to_string()); // it is certainly not stored
            }
            (Err(failure), Some(_)) => self.losses.add_wills(1, &failure.to_string()),
            (Err(failure), None) if is_of_nobody => self.losses.add_event(&failure.to_string()),
            (Err(_), None) => {}
        }
        let ended = waiting.ended;
        progress.told.extend(waiting.askers.into_iter().map(|asker| Told { asker, result: result.clone(), ended }));
    }

    /// Takes note of it when the store has answered for all events of the hub before.
    fn note_moved(&mut self, progress: &mut Progress) {
        let waits = |last: u64| self.waiting.range(..=last).next().is_some();
        if self.moving.is_some_and(|last| !waits(last)) {
            (self.moving, progress.is_ready) = (None, true);
        }
    }

    /// Tells all who wait that their events were perhaps not stored.
    fn fail_waiting(&mut self, message: &str, progress: &mut Progress) {
        let tickets: Vec<u64> = self.waiting.keys().copied().collect();
        for ticket in tickets {
            self.tell(ticket, &Err(Failure::new(ErrorCode::Unknown, None, message)), progress);
        }
    }

    /// Has the store keep which members linger, if that has changed and the store is of this machine alone. Looks again later
    /// while there are members.
    fn keep_lingering(&mut self, now: Instant) {
        self.linger_at = None;
        if !self.is_open || self.settings.store.is_shared() || self.members.are_none() && self.lingering.is_empty() {
            return;
        }
        let mut lingering = Vec::new();
        self.tell_members(|members| lingering = members.lingering());
        if let Some(bytes) = self.lingering.change(lingering, now) {
            self.store.ask(Ask::Linger(bytes));
        }
        self.linger_at = Some(now + LINGER);
    }

    /// Returns when [`run_timers`](Self::run_timers) has something to do.
    pub fn next_due(&self) -> Option<Instant> {
        self.forget_at.into_iter().chain(self.restart_at).chain(self.retry_at).chain(self.linger_at).min()
    }

    /// Tells the store what the hub has evicted. Returns true if the store has begun anew, with another descriptor.
    pub fn run_timers(&mut self, now: Instant) -> bool {
        self.losses.log();
        if self.handle().is_some_and(HubHandle::has_ended) {
            self.begin_after_a_defect();
        }
        if self.forget_at.is_some_and(|at| now >= at) {
            self.forget_at = None;
            self.forget_evicted();
        }
        if self.linger_at.is_some_and(|at| now >= at) {
            self.keep_lingering(now);
        }
        if self.retry_at.is_some_and(|at| now >= at) {
            self.retry_at = (!self.is_up() || !self.is_open).then(|| now + RETRY);
            if self.retry_at.is_none() {
                self.say_all(self.members.waiting());
                self.publish_wills();
            }
        }
        if self.restart_at.is_some_and(|at| now >= at) {
            self.restart_at = None;
            let has_begun = self.restart().is_ok();
            if !has_begun {
                self.restart_at = Some(now + RESTART);
            }
            return has_begun;
        }
        false
    }

    /// Called when the reactor has died, with its streams. Their clients come back with ids that the hub knows again when its
    /// store has begun anew.
    fn begin_after_a_defect(&mut self) {
        say("the hub begins anew with its store: the thread of its streams has ended, which is a defect of eventsource-hub");
        (self.memory, self.is_ready) = (None, false);
        self.store.ask(Ask::Close { hub_continues: true });
    }

    fn forget_evicted(&mut self) {
        let mut evicted = self.handle().and_then(|handle| handle.take_evictions().ok()).unwrap_or_default();
        evicted.extend(self.counted.take_evictions());
        if !evicted.is_empty() {
            self.store.ask(Ask::Forget(evicted));
        }
    }

    /// Starts the store anew. The hub in memory continues where the store does.
    pub fn restart(&mut self) -> io::Result<()> {
        self.store = start(&self.settings, &self.name)?;
        self.is_closing = false;
        Ok(())
    }

    /// Checks that the store could begin anew. Fails with the reason.
    pub fn check_place(&self) -> Result<(), String> {
        store::check_place(&self.settings.store)
    }

    /// Waits until the hub can be used, at most until a time.
    pub fn wait_until_ready(&mut self, until: Instant) -> Progress {
        let mut progress = Progress::default();
        while !self.is_ready {
            match self.store.wait_for_report(until) {
                Some(report) => self.carry_out(report, Instant::now(), &mut progress),
                None => break,
            }
        }
        progress
    }

    /// Ends the store after what it was asked before, or gives up after a time: its threads may hang. The askers are told
    /// that the event was perhaps stored. The hub is never ready afterwards: nothing can be appended.
    pub fn finish(&mut self, within: Duration) -> Progress {
        self.keep_wills();
        self.publish_wills();
        let (mut progress, _) = self.end(within, false);
        progress.is_ready = false;
        self.fail_waiting("the store did not answer before it ended", &mut progress);
        self.losses.add_wills(self.wills.len(), "the hub has ended while its store was away");
        self.losses.log();
        progress
    }

    /// Ends the store after what it was asked before, so that another program continues. Returns true if that was within
    /// the time; then [`restart`](Self::restart) continues here. Otherwise the store ends and begins anew when it answers
    /// again, and those who wait are told then.
    pub fn pause(&mut self, within: Duration) -> (Progress, bool) {
        self.end(within, true)
    }

    fn end(&mut self, within: Duration, hub_continues: bool) -> (Progress, bool) {
        let mut progress = Progress::default();
        self.forget_evicted();
        self.keep_lingering(Instant::now());
        (self.is_open, self.is_closing) = (false, true);
        self.store.ask(Ask::Close { hub_continues });
        let until = Instant::now() + within;
        while let Some(report) = self.store.wait_for_report(until) {
            self.carry_out(report, Instant::now(), &mut progress);
        }
        let has_ended = Instant::now() < until;
        if has_ended {
            self.fail_waiting("the store has ended", &mut progress);
        }
        self.losses.log();
        (progress, has_ended)
    }
}

fn start(settings: &HubSettings, name: &Name) -> io::Result<Store> {
    let store = store::start(&settings.store, name)?;
    store.ask(retain(settings));
    Ok(store)
}

fn retain(settings: &HubSettings) -> Ask {
    let total = settings.hub.total_history;
    Ask::Retain { events: total.events, bytes: total.bytes, age: settings.hub.retention().longest_age() }
}
