//! The drafts that wait for the store, and who waits for each.

use super::state::StateChange;
use crate::store::Draft;
use eventsource_xs::hub::{Evictions, MemberKey};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Instant;

/// The publisher that waits for an event to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requester {
    /// The token of the connection.
    pub peer: u64,
    /// The number of the request; 0 if no response is wanted.
    pub request: u64,
    /// The worker's credits that the request has used; 0 if these are granted again.
    pub bytes: usize,
    /// When it has published.
    pub since: Option<Instant>,
}

/// The result of a publish, with or without a store.
pub enum Published {
    /// It has an id.
    Id(String),
    /// The store will say.
    Waits,
}

/// The number of streams that were ended on this machine, once the reactor has said so.
pub type EndedCount = Rc<Cell<Option<usize>>>;

/// The purpose of a draft.
#[derive(Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To publish an event.
    Event,
    /// To publish the number of a channel's members.
    Number,
    /// To announce what a member says.
    Member(MemberKey),
    /// To publish this will.
    Will(Box<Draft>),
    /// To end streams on all machines.
    End(EndedCount),
    /// To have a backup.
    BackUp,
    /// To see that the store answers.
    Ping,
    /// To have the store forget this.
    Forget(Evictions),
}

/// A draft that waits.
#[derive(Debug)]
pub struct WaitingDraft {
    pub purpose: Purpose,
    /// The requests that are answered with the draft.
    pub requesters: Vec<Requester>,
    /// The draft's effect on the state.
    pub state: Option<StateChange>,
    once: Box<[u8]>,
}

impl WaitingDraft {
    pub fn new(purpose: Purpose, requesters: impl IntoIterator<Item = Requester>) -> Self {
        let requesters = requesters.into_iter().collect();
        Self { purpose, requesters, state: None, once: Box::default() }
    }

    pub fn with_state(self, state: Option<StateChange>) -> Self {
        Self { state, ..self }
    }
}

/// All drafts that wait, by their tickets.
#[derive(Debug, Default)]
pub struct Drafts {
    waiting: BTreeMap<u64, WaitingDraft>,
    /// The tickets of those with a key `once`.
    once: HashMap<Box<[u8]>, u64>,
    last_ticket: u64,
}

impl Drafts {
    /// Adds a draft. Returns its ticket.
    pub fn add(&mut self, draft: &Draft, waiting: WaitingDraft) -> u64 {
        self.last_ticket += 1;
        if !draft.once.is_empty() {
            self.once.insert(draft.once.clone(), self.last_ticket);
        }
        self.waiting.insert(self.last_ticket, WaitingDraft { once: draft.once.clone(), ..waiting });
        self.last_ticket
    }

    /// Adds requesters to the draft with this key `once`. Returns false if none waits.
    pub fn join(&mut self, once: &[u8], requesters: &[Requester]) -> bool {
        let waiting = self.once.get(once).and_then(|ticket| self.waiting.get_mut(ticket));
        waiting.map(|waiting| waiting.requesters.extend(requesters)).is_some()
    }

    /// Removes a draft that the store has answered.
    pub fn remove(&mut self, ticket: u64) -> Option<WaitingDraft> {
        let waiting = self.waiting.remove(&ticket)?;
        self.once.remove(&waiting.once);
        Some(waiting)
    }

    /// Returns true if a draft with this key `once` waits.
    pub fn has_once(&self, once: &[u8]) -> bool {
        self.once.contains_key(once)
    }

    /// Returns true if the draft announces what a member of this machine says.
    pub fn is_of_member(&self, ticket: u64) -> bool {
        self.waiting.get(&ticket).is_some_and(|waiting| matches!(waiting.purpose, Purpose::Member(_)))
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Returns the tickets in their order.
    pub fn tickets(&self) -> impl Iterator<Item = u64> + '_ {
        self.waiting.keys().copied()
    }

    /// Returns what the drafts do to the state, in their order.
    pub fn state_changes(&self) -> impl Iterator<Item = (u64, &StateChange)> {
        self.waiting.iter().filter_map(|(ticket, waiting)| Some((*ticket, waiting.state.as_ref()?)))
    }
}
