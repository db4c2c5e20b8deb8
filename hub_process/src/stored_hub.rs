//! A hub whose events a store keeps: what waits for the store, and what becomes of the store's reports.
//!
//! An event is published in two steps. Its draft goes to the store, and the requester waits. When the store reports the
//! entry, the event is published to the hub in memory, and the requester gets its id. Entries that other machines have appended
//! come the same way, so all hubs of a store have one order.
//!
//! A key `once` counts from the moment at which its entry is reported: of two entries with the same key, the first in the
//! store's order is published, on every machine, and both requesters get its id.
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

mod beginning;
mod counted;
mod drafts;
mod known_ends;
mod members;
mod sequencer;
mod state;
#[cfg(test)]
mod tests;
mod tickets;
mod wills;

pub use beginning::{not_begun, LastDelivered};
pub use drafts::{EndedCount, Published, Requester};
pub use members::HandedMembers;
pub use wills::log_lost_wills;

use crate::store::{self, Draft, MachineState, Store, StoreCommand, StoreEntry, StoreReport};
use beginning::Beginning;
use drafts::{Purpose, WaitingDraft};
use eventsource_xs::hub::{Answer, EndRequest, Question, Sequence};
use eventsource_xs::runtime::ReactorHub;
use eventsource_xs::wire::{Failure, HubSettings, Name, Reply, StoreStatus};
use eventsource_xs::ErrorCode;
use members::StoredMembers;
use sequencer::{EntryOutcome, Sequencer};
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wills::Wills;

/// The reason for which a will is lost that cannot be kept.
const TOO_MANY: &str = "too many wait already";

/// The answer to a request.
#[derive(Debug)]
pub struct Completion {
    pub requester: Requester,
    pub result: Result<Rc<str>, Failure>,
    /// The number of streams of this machine that were ended, if that was asked for.
    pub ended: Option<EndedCount>,
}

/// The effects of reports on those who wait for the hub itself.
#[derive(Debug, Default)]
pub struct Effects {
    pub completions: Vec<Completion>,
    /// The hub can be used now.
    pub is_ready: bool,
    /// The epoch that has begun in the place of another one.
    pub epoch: Option<Box<str>>,
    /// The store cannot begin; another attempt follows if the flag is set.
    pub cannot_begin: Option<(Failure, bool)>,
}

/// The hub, its store, and what waits for it.
pub struct StoredHub {
    name: Name,
    sequencer: Sequencer,
    members: StoredMembers,
    wills: Wills,
}

impl StoredHub {
    /// Starts the store of these settings.
    pub fn begin(settings: &HubSettings, name: &Name, delivered: LastDelivered) -> io::Result<Self> {
        Ok(Self::of(store::start(settings, name, delivered.last())?, settings, name, delivered))
    }

    fn of(store: Store, settings: &HubSettings, name: &Name, delivered: LastDelivered) -> Self {
        Self {
            name: name.clone(),
            sequencer: Sequencer::new(store, settings, Beginning::new(delivered)),
            members: StoredMembers::default(),
            wills: Wills::default(),
        }
    }

    /// Returns the order of the hub in memory. Its members are those of this machine and of others.
    pub fn sequence(&self) -> &Sequence {
        &self.sequencer.sequence
    }

    /// Continues with the members of the program before, when the store has begun.
    pub fn await_streams(&mut self, handed: HandedMembers) {
        self.members.handed = Some(handed);
    }

    /// Returns this process as a machine of a shared store; none of another store.
    pub fn machine(&self) -> Option<MachineState> {
        self.sequencer.store.machine()
    }

    /// Continues as the machine that the program before was.
    pub fn replace_machine(&self, machine: MachineState) {
        self.sequencer.store.send(StoreCommand::Replace(machine));
    }

    /// Returns the hub in memory, once its history was complete.
    pub fn handle(&self) -> Option<&Arc<ReactorHub>> {
        self.sequencer.hub.as_ref().filter(|_| self.sequencer.beginning.was_complete)
    }

    /// Returns true if the store has reported its history, and runs.
    pub fn has_begun(&self) -> bool {
        self.sequencer.is_open()
    }

    /// Returns how many streams were sent a `gap` event in place of an event that this version cannot read.
    pub fn gaps(&self) -> u64 {
        self.sequencer.gaps
    }

    /// Returns true if an event waits to be stored.
    pub fn has_waiting(&self) -> bool {
        self.sequencer.has_waiting()
    }

    /// Returns true if the store takes events, and reports them.
    pub fn is_up(&self) -> bool {
        self.sequencer.store.is_up()
    }

    pub fn status(&self) -> StoreStatus {
        let store = &self.sequencer.settings.store;
        let (kind, place) = (store.kind().into(), store.place().into());
        let status = self.sequencer.store.status();
        let epoch_changes = self.sequencer.position.epoch_changes.max(status.epoch_changes);
        StoreStatus { kind, place, epoch_changes, ..status }
    }

    /// Says whether the data of events names their channel.
    pub fn show_channels(&mut self, shows: bool) {
        self.sequencer.sequence.members.shows_channels = shows;
    }

    /// Takes over the settings that may change.
    pub fn adopt(&mut self, settings: &HubSettings) {
        let Sequencer { settings: before, sequence, hub, store, .. } = &mut self.sequencer;
        before.clone_from(settings);
        sequence.set_retention(settings.hub.retention.clone());
        if let Some(hub) = &hub {
            hub.set_retention(settings.hub.retention.clone());
        }
        store.retain(settings);
    }

    /// Asks the store to append an event. An event with a key `once` that waits already is not appended again.
    pub fn append_event(
        &mut self,
        draft: Draft,
        given_id: Option<&[u8]>,
        requester: Requester,
        now: Instant,
    ) -> Result<Published, Failure> {
        self.sequencer.now = now;
        self.sequencer.append_event(draft, given_id, WaitingDraft::new(Purpose::Event, [requester]))
    }

    /// Ends streams of other machines when their hubs read that from the store, which withdraws tickets, too: here they are
    /// withdrawn at once. The reactor is asked to end those of this machine. The requester waits until the store has the
    /// request, so that neither another machine nor a process that follows this one accepts them.
    pub fn end_streams(&mut self, end: EndRequest, requester: Requester, ended: EndedCount) -> Result<(), Failure> {
        self.sequencer.hub.as_ref().ok_or_else(not_begun)?;
        if let Err(failure) = self.sequencer.check_threads() {
            let Sequencer { tickets, position, .. } = &mut self.sequencer;
            // The store will not have it.
            tickets.ends.add_own(end, position.last_seq);
            return Err(failure);
        }
        self.sequencer.now = Instant::now();
        self.sequencer.append(Draft::of_end(&end), WaitingDraft::new(Purpose::End(ended), [requester]));
        Ok(())
    }

    /// Takes what the hub in memory is to be asked.
    pub fn take_questions(&mut self) -> Vec<Question> {
        std::mem::take(&mut self.sequencer.questions)
    }

    /// Takes an answer of the hub in memory: what it has evicted, or how many streams were sent a gap.
    pub fn take_answer(&mut self, answer: Answer) {
        match answer {
            Answer::Evictions(evicted) => self.sequencer.forget(evicted),
            Answer::Reply(Reply::Counted(counted)) => self.sequencer.gaps += counted.subscribers,
            _ => {}
        }
    }

    /// Asks the store for a copy in a new file. The requester waits until it is complete.
    pub fn back_up(&mut self, path: &Path, requester: Requester) -> Result<(), Failure> {
        self.sequencer.check_threads()?;
        let ticket = self.sequencer.drafts.add(&Draft::default(), WaitingDraft::new(Purpose::BackUp, [requester]));
        self.sequencer.store.send(StoreCommand::BackUp { ticket, path: path.into() });
        Ok(())
    }

    /// Returns the sequence number that a client's last event id names, if this process has not read so far: the client comes
    /// from another machine. The flag says that only a hub of this epoch can have made the id.
    pub fn seq_ahead(&self, id: Option<&[u8]>) -> Option<(u64, bool)> {
        if !self.sequencer.is_shared() {
            return None; // no other machine has it
        }
        let (epoch, id) = (self.sequencer.epoch()?, id?);
        let seq = epoch.seq(id).filter(|seq| *seq > self.given_through())?;
        Some((seq, epoch.proven_seq(id).is_some()))
    }

    /// Called when a client has proven that an event was delivered which the store does not have.
    pub fn report_missing(&mut self, seq: u64) {
        if seq > self.given_through() {
            let Sequencer { beginning, store, .. } = &mut self.sequencer;
            if let Some(lost) = beginning.refute(seq) {
                store.send(lost);
            }
        }
    }

    /// Returns the last sequence number that the hub in memory may have given to a client: the store has it. It is greater than
    /// that of the last event if the history ends with an entry that is no event, as one that has just begun: with the marker
    /// of Redis.
    pub fn given_through(&self) -> u64 {
        self.sequence().last_seq.max(self.last_seq())
    }

    /// Returns the sequence number of the last entry that this process has read.
    pub fn last_seq(&self) -> u64 {
        self.sequencer.position.last_seq
    }

    /// Asks the store to append the wills that wait. Those that the store does not take are tried again later.
    fn store_wills(&mut self) {
        self.wills.store(&mut self.sequencer);
        if !self.wills.is_empty() {
            self.sequencer.retry_later();
        }
    }

    /// Keeps the wills of the streams, which end with the hub in memory.
    fn keep_wills(&mut self) {
        let wills = self.sequencer.sequence.members.take_wills();
        wills.into_iter().for_each(|will| self.wills.keep(Draft::of_announcement(will, None), TOO_MANY));
    }

    /// Takes what the store has reported.
    pub fn take_reports(&mut self, now: Instant) -> Effects {
        self.sequencer.now = now;
        let mut effects = Effects::default();
        let (reports, has_ended) = self.sequencer.store.take_reports(now);
        for report in reports {
            self.take_report(report, &mut effects);
        }
        self.sequencer.write_delivered();
        self.sequencer.mark_position();
        if has_ended {
            self.sequencer.beginning.await_again();
            self.fail_waiting("the store has ended", &mut effects);
        }
        effects
    }

    fn take_report(&mut self, report: StoreReport, effects: &mut Effects) {
        match report {
            StoreReport::Began(began) => {
                for StoreEntry { ticket, draft, .. } in self.sequencer.begin(began) {
                    let lost = Err(draft.failure(ErrorCode::Unknown, "history was lost"));
                    if let Some(ticket) = ticket {
                        self.answer(ticket, &lost, effects);
                    }
                }
            }
            StoreReport::Entries(entries) => {
                let entries = self.sequencer.beginning.collect(entries);
                self.sequencer.will_deliver(&entries);
                entries.into_iter().for_each(|entry| self.publish_entry(&entry, true, effects));
            }
            StoreReport::Ready => {
                if let Err(failure) = self.complete_history(effects) {
                    effects.cannot_begin = Some((failure, false));
                }
            }
            StoreReport::Done(ticket) => self.answer(ticket, &Ok("".into()), effects),
            StoreReport::TicketKeys(keys) => self.sequencer.tickets.keys = keys,
            StoreReport::Announce => members::reannounce(&mut self.sequencer),
            StoreReport::Failed { ticket, failure } => self.answer(ticket, &Err(failure), effects),
            StoreReport::CannotBegin { failure, retries } => effects.cannot_begin = Some((failure, retries)),
        }
    }

    /// Called when the store has reported its history.
    fn complete_history(&mut self, effects: &mut Effects) -> Result<(), Failure> {
        let collected = self.sequencer.beginning.take_collected();
        let is_other_history = collected.is_some();
        if let Some((began, history)) = collected {
            self.keep_wills();
            effects.epoch = self.sequencer.restart_memory(&began)?.or(effects.epoch.take());
            self.members.begin_history(&began.lingering, self.sequencer.now);
            history.into_iter().for_each(|entry| self.publish_entry(&entry, false, effects));
            self.sequencer.pass(began.history.evicted_through);
        }
        let Sequencer { beginning, store, .. } = &mut self.sequencer;
        if let Some(lost) = beginning.complete() {
            store.send(lost);
        }
        if beginning.is_void() {
            return Ok(()); // another beginning follows
        }
        effects.is_ready = true;
        self.sequencer.mark_position();
        self.members.resume_members(is_other_history, &mut self.sequencer);
        self.store_wills();
        Ok(())
    }

    /// Publishes an entry to the hub in memory, and answers those who have waited for it.
    fn publish_entry(&mut self, entry: &StoreEntry, is_new: bool, effects: &mut Effects) {
        let result = match self.sequencer.publish_entry(entry, is_new) {
            EntryOutcome::Skipped => return,
            EntryOutcome::Void => Err(entry.draft.failure(ErrorCode::Unknown, "history was lost")),
            EntryOutcome::Published(origin, id) => {
                members::apply_entry(&entry.draft, origin, &mut self.sequencer);
                Ok(id)
            }
        };
        if let Some(ticket) = entry.ticket {
            self.answer(ticket, &result, effects);
        }
    }

    /// Answers those who wait for a draft.
    fn answer(&mut self, ticket: u64, result: &Result<Rc<str>, Failure>, effects: &mut Effects) {
        let Some(WaitingDraft { purpose, requesters, .. }) = self.sequencer.remove_draft(ticket) else { return };
        let ended = match &purpose {
            Purpose::End(ended) => Some(Rc::clone(ended)),
            _ => None,
        };
        match (purpose, result) {
            (Purpose::Member(key), _) => {
                members::take_answer(&key, result.as_ref().err(), &mut self.sequencer);
            }
            (Purpose::Forget(evictions), _) => {
                self.sequencer.end_forgetting(ticket, result.as_ref().err().map(|_| evictions));
            }
            (Purpose::Will(will), Err(failure)) => {
                self.wills.take_back(*will, failure);
                self.sequencer.retry_later();
            }
            _ => {}
        }
        effects.completions.extend(requesters.into_iter().map(|requester| Completion {
            requester,
            result: result.clone(),
            ended: ended.clone(),
        }));
    }

    /// Tells all who wait that their events were perhaps not stored.
    fn fail_waiting(&mut self, message: &str, effects: &mut Effects) {
        let unknown = Err(Failure::new(ErrorCode::Unknown, None, message));
        let tickets: Vec<u64> = self.sequencer.drafts.tickets().collect();
        tickets.into_iter().for_each(|ticket| self.answer(ticket, &unknown, effects));
    }

    /// Returns when [`run_timers`](Self::run_timers) has something to do.
    pub fn next_due(&self) -> Option<Instant> {
        let members = self.sequence().members.next_due();
        self.sequencer.next_due().into_iter().chain(self.members.linger_at).chain(members).min()
    }

    /// Does what is due.
    pub fn run_timers(&mut self, now: Instant) {
        self.sequencer.now = now;
        self.wills.log_losses();
        self.sequencer.forget_evicted_in_time();
        self.run_members();
        self.members.keep_lingering_in_time(&self.sequencer);
        if self.sequencer.is_time_to_retry() {
            let failed = self.sequencer.sequence.members.waiting();
            members::ask_for(&failed, &mut self.sequencer);
            self.store_wills();
        }
        if self.sequencer.store.restart_at().is_some_and(|at| now >= at) && self.restart().is_err() {
            self.sequencer.store.delay_restart(now);
        }
    }

    /// Starts the store again. The hub in memory continues where the store does.
    fn restart(&mut self) -> io::Result<()> {
        let Sequencer { settings, beginning, store, .. } = &mut self.sequencer;
        *store = store::start(settings, &self.name, beginning.delivered.last())?;
        beginning.await_again();
        Ok(())
    }

    /// Checks that the store could start again. Fails with the reason.
    pub fn check_place(&self) -> Result<(), String> {
        store::check_place(&self.sequencer.settings.store)
    }

    /// Takes reports until something is so, the time is over, or none can come.
    fn wait_until(&mut self, until: Instant, is_so: impl Fn(&Self, &Effects) -> bool) -> Effects {
        let mut effects = Effects::default();
        while !is_so(self, &effects) {
            let Some(report) = self.sequencer.store.wait_for_report(until) else { break };
            self.sequencer.now = Instant::now();
            self.take_report(report, &mut effects);
        }
        effects
    }

    /// Ends the store after what it was asked before, or gives up after a time: its threads may hang. The requesters are told
    /// that the event was perhaps stored. A store that is still to begin is waited for if there are wills for it. The hub is
    /// never ready afterwards: nothing can be appended.
    pub fn finish(&mut self, within: Duration) -> Effects {
        self.sequencer.now = Instant::now();
        let until = self.sequencer.now + within;
        self.keep_wills();
        self.store_wills();
        let begun = self.wait_until(until, |hub, _| hub.wills.is_empty() || hub.sequencer.is_open());
        self.sequencer.forget_all_evicted();
        self.members.keep_lingering(&self.sequencer);
        self.sequencer.store.close();
        let mut effects = self.wait_until(until, |_, _| false);
        effects.is_ready = false;
        effects.completions.extend(begun.completions);
        effects.cannot_begin = effects.cannot_begin.or(begun.cannot_begin);
        self.fail_waiting("the store did not answer before it ended", &mut effects);
        self.wills.lose("the hub has ended while its store was away");
        self.wills.log_losses();
        effects
    }

    /// Waits until the store has everything that it was asked, and that follows from that, at most for a time. Returns whether
    /// it has. A store of which nothing waits must answer, too.
    pub fn wait_until_stored(&mut self, within: Duration) -> (bool, Effects) {
        let ticket = self.sequencer.drafts.add(&Draft::default(), WaitingDraft::new(Purpose::Ping, []));
        self.sequencer.store.send(StoreCommand::Ping { ticket });
        let has_all =
            |hub: &Self| !hub.has_waiting() && hub.wills.is_empty() && hub.sequence().members.waiting().is_empty();
        let effects = self.wait_until(Instant::now() + within, |hub, _| has_all(hub));
        let is_answered = self.sequencer.remove_draft(ticket).is_none();
        (is_answered && has_all(self), effects)
    }
}
