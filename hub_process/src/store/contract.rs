//! The contract of each store: what the wire thread asks it, and what it reports.
//!
//! # Reports
//!
//! A store begins with [`StoreReport::Began`], then reports its history as [`StoreReport::Entries`], then
//! [`StoreReport::Ready`]. From there on it reports every entry once, in the order of sequence numbers, with the tickets of
//! those that this process has asked for. A draft ends in exactly one way: its entry is reported, or [`StoreReport::Failed`]
//! is, or [`StoreReport::Done`]. A draft that failed as `Unknown` may be reported as an entry later, without its ticket.
//!
//! Another `Began` means that history was lost: an entry was delivered, or acknowledged, that the store has no longer. What was
//! reported before is void, and its epoch never comes back. Drafts without report are reported after it, or fail.
//!
//! A `Began` with the same epoch and a reason means that this process alone has missed entries, which were evicted while it
//! was away. Its memory is void and its clients need a gap, but ids of the epoch stay valid for the history that follows.
//!
//! # Members
//!
//! A draft may say that a member is here, or is gone ([`MemberPart`]). A file has one machine, so each of these is an entry.
//! Several machines share a Redis, and a member is here while it is on any of them. So a shared store keeps a set of machines
//! with each member, and changes it with the entry, as one:
//!
//! - [`Here`](super::MemberPart::Here) adds this machine. It appends the entry if the set was empty.
//! - [`Changed`](super::MemberPart::Changed) appends the entry if the set is not empty. It adds no machine.
//! - [`Gone`](super::MemberPart::Gone) removes this machine. It appends the entry if the set is empty then, and was not before.
//!
//! A draft without entry ends with [`StoreReport::Done`]. A draft that repeats what is true already does nothing, so a hub may
//! send each of them again.
//!
//! A machine that dies, or cannot reach the store for some seconds, is removed from the sets; a member who is on no other one
//! then leaves with its event `leave`, when it has lingered. The entry has no ticket on any
//! machine.
//!
//! [`StoreReport::Announce`] tells the hub that the store may have lost sets, or has removed this machine from them. The hub
//! then sends `Here` for each member that has streams on this machine or lingers, and `Changed` where the retained entry shows
//! other data than the hub has. It may forget the drafts `Gone` that have failed: who is not announced is gone.
//!
//! # Tickets
//!
//! A store keeps the keys of tickets of its epoch, and reports them after each `Began`, and again when it is
//! [asked](StoreCommand::ReadTicketKeys). Without them the hubs issue no tickets. A file has other keys as soon as an entry may
//! be missing that was reported: what withdraws a ticket is such an entry.
//!
//! # What a store keeps
//!
//! A store of one machine keeps what its hub has: that names each entry which it has no longer, neither in its history nor
//! retained ([`StoreCommand::Forget`]). A shared store has bounds of its own ([`StoreCommand::Retain`]), and keeps what is
//! retained beyond them. The hub refuses a draft that does not fit before it asks the store, and counts the drafts that wait.
//!
//! A hub asks a store to forget in the order in which it has evicted, and again what has failed before it asks for more:
//! without the entry that has forgotten a key, or has replaced its value, an earlier value would come back.
//!
//! Entries that the history has evicted and that are still retained are reported as the rest of the history is, in the order of
//! sequence numbers. The hub has these entries in its state only, because their channels have evicted as much
//! ([`History::evicted`]).
//!
//! # Clocks
//!
//! The clock of the store decides how old an entry is: that of Redis, which also assigns the ids, or that of the machine with
//! the file. The clock of the hub's machine cannot: what is too old on one machine must be so on all. A store says what its
//! clock shows ([`set_clock`]) before it reports entries, and now and then. [`instant_of`] turns the time of an entry into one
//! of this process's monotonic clock. From there on only that one counts, so no jump of any clock changes the age of what the
//! hub has in memory. If the store's clock jumps forward, what is stored is older from then on, and clients that come to a hub
//! that begins are told of that as of any eviction. If it jumps back, the times of entries stand still until it has caught up,
//! and what is stored is kept for longer.
//!
//! [`MemberPart`]: super::MemberPart
//! [`set_clock`]: super::Reporter::set_clock
//! [`instant_of`]: super::Store::instant_of

use super::draft::Draft;
use eventsource_xs::coded;
use eventsource_xs::hub::{Evictions, History};
use eventsource_xs::log::Bounds;
use eventsource_xs::ticket::TicketKeys;
use eventsource_xs::wire::Failure;
use std::path::PathBuf;
use std::time::Instant;

/// An event that is stored, or a [request](Draft::of_end) to end streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreEntry {
    /// The sequence number: greater than that of every entry before, not always by one.
    pub seq: u64,
    /// When it was stored: milliseconds since 1970 by the store's clock. It does not go back.
    pub at: u64,
    /// The ticket, if this process has asked for it since it began and it has not failed.
    pub ticket: Option<u64>,
    /// The event.
    pub draft: Draft,
}

coded!(checked StoreEntry { seq, at, draft; ticket: None });

/// The last entry that a hub has delivered, as it was written down before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    pub epoch: Box<str>,
    pub seq: u64,
}

impl Delivered {
    /// Returns true if the history has it, or has evicted it.
    pub fn is_in(&self, began: &Began) -> bool {
        self.epoch == began.history.epoch && self.seq <= began.history.last_seq
    }
}

/// This process and others as machines of a shared store. The program after an upgrade continues with it.
#[derive(Clone, Debug)]
pub struct MachineState {
    /// The names under which the store may have members of this machine, separated by blanks.
    pub names: String,
    /// The time before which no member of another machine leaves.
    pub calm_until: Instant,
    /// The machines whose lifetime has ended.
    pub dead: Vec<DeadMachine>,
}

/// A machine whose lifetime has ended.
#[derive(Clone, Debug)]
pub struct DeadMachine {
    pub name: String,
    /// The time at which the end was seen.
    pub seen: Instant,
    pub has_ended_in_order: bool,
}

/// A request to a store.
#[derive(Debug)]
pub enum StoreCommand {
    /// Append an event. Tickets are numbers that the hub uses once.
    Append { ticket: u64, draft: Draft },
    /// Delete what the hub of this epoch has evicted. It ends as a draft does that has no entry. A shared store is not asked.
    Forget { ticket: u64, epoch: Box<str>, evictions: Evictions },
    /// The retention of the history of all channels together, for a shared store.
    Retain(Bounds),
    /// Keep what the hub says of the members that linger, in the place of what it has said before. A shared store, which knows
    /// when a machine was removed, is not asked.
    Linger(Box<[u8]>),
    /// Continue as the machine that the program before an upgrade was, for a shared store: its members are here.
    Replace(MachineState),
    /// Report the keys of tickets.
    ReadTicketKeys,
    /// Copy everything into a new file. It ends as a draft does that has no entry. Only a store in a file is asked.
    BackUp { ticket: u64, path: PathBuf },
    /// Show that the store answers. It is [`Done`](StoreReport::Done) then, and never fails.
    Ping { ticket: u64 },
    /// Begin another epoch: entries are missing that this process has delivered before it began the store anew.
    Lost(Box<str>),
    /// End, after what was asked before. A store ends without it, too, when it has done what it was asked and the process
    /// continues as another program: then the members stay on this machine.
    Close,
}

/// A report of a store.
#[derive(Debug)]
pub enum StoreReport {
    /// The store begins with an epoch: its history follows.
    Began(Began),
    /// Entries, in their order.
    Entries(Vec<StoreEntry>),
    /// The history is complete.
    Ready,
    /// The store did what a draft says of a member. It appended no entry, or one that it reports without ticket.
    Done(u64),
    /// The keys of tickets of this epoch, which all machines of a shared store have. Their times are of its clock; those of a
    /// store of one machine are of the system's monotonic clock.
    TicketKeys(TicketKeys),
    /// The hub should say again which members it has: the store is new, or was away.
    Announce,
    /// A draft was not stored, or perhaps was (`Unknown`).
    Failed { ticket: u64, failure: Failure },
    /// The store cannot begin, as each attempt says. It tries again if it `retries`.
    CannotBegin { failure: Failure, retries: bool },
}

/// Returns true if a text has the form of an epoch.
pub fn is_epoch(text: &str) -> bool {
    (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The beginning of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Began {
    /// Where the history begins. The epoch has 1 to 16 letters and digits; all hubs of the store share the key of opaque ids.
    /// Requests to end streams have evicted entries of a channel without a name.
    pub history: History,
    /// Why another epoch has begun, for people; empty at the first beginning and if nothing was lost.
    pub reason: Box<str>,
    /// The members that linger, as the hub has said last.
    pub lingering: Box<[u8]>,
}

impl Began {
    /// Returns how far requests to end streams were evicted, which have no channel.
    pub fn ends_evicted_through(&self) -> u64 {
        let History { evicted, evicted_through, .. } = &self.history;
        let of_ends = evicted.iter().find(|(channel, _)| channel.is_empty());
        of_ends.map_or(*evicted_through, |(_, through)| *through)
    }
}
