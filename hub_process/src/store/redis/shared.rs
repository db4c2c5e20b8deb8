//! The state that the reader and the writer share: drafts in flight, the epoch, how many bytes the stream has, the health.

use super::super::{Draft, MemberPart, Reporter, StoreReport};
use super::connection::CallError;
use super::entry::Id;
use super::epoch::StreamKeys;
use super::in_flight::{Claim, InFlight, Sending};
use super::{CHUNK_BYTES, STALE};
use eventsource_xs::runtime::wall;
use eventsource_xs::wire::RedisSettings;
use eventsource_xs::ErrorCode;
use std::collections::VecDeque;
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The interval at which the health is computed while the reader waits for replicas.
const LOOK: Duration = Duration::from_millis(250);

/// Where the reader is connected, for the writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub url: String,
    pub keys: StreamKeys,
    /// Counts beginnings.
    pub generation: u64,
}

#[derive(Debug)]
pub struct State {
    /// None while the reader is not connected, or reads the history.
    pub target: Option<Target>,
    pub generation: u64,
    pub in_flight: InFlight,
    /// The reason for which the stream of this generation is probably lost. Nothing is sent to it then.
    pub lost: Option<String>,
    pub sizes: Sizes,
    pub last_round: Instant,
    pub is_writer_up: bool,
    /// True if Redis has refused a draft, or replicas lacked one, and it is not known that they would take another.
    pub is_refusing: bool,
    /// True if the hub asks for the keys of tickets.
    pub wants_ticket_keys: bool,
    /// The URL of another master, for which the reader should leave its own.
    pub master: Option<String>,
    pub is_closing: bool,
    /// The last error of the connection, which failures quote.
    pub trouble: String,
    /// True if the hub, on any machine, has had members.
    pub has_members: bool,
    /// True if a draft of a member has failed, so that Redis perhaps takes the member for here, or for gone, wrongly.
    pub has_failed_member: bool,
}

pub struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    pub reporter: Reporter,
    /// The address for people: neither user nor password.
    pub place: String,
    timeout: Duration,
}

impl Shared {
    pub fn new(settings: &RedisSettings, reporter: Reporter) -> Self {
        let url = settings.shown_url();
        let place = url.split_once("://").map_or(&*url, |(_, place)| place);
        let state = State {
            target: None,
            generation: 0,
            in_flight: InFlight::new(settings),
            lost: None,
            sizes: Sizes::default(),
            last_round: Instant::now(),
            is_writer_up: false,
            is_refusing: false,
            wants_ticket_keys: false,
            master: None,
            is_closing: false,
            trouble: "no connection yet".into(),
            has_members: false,
            has_failed_member: false,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            reporter,
            place: place.trim_end_matches("/0").trim_end_matches('/').into(),
            timeout: settings.timeout,
        }
    }

    /// Returns true if a draft of a member has failed since this was asked before.
    pub fn take_failed_member(&self) -> bool {
        mem::take(&mut self.lock().has_failed_member)
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, and wakes the other thread if it waits.
    pub fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Takes note of why the stream of a generation is probably lost, for the reader.
    pub fn hint_loss(&self, generation: u64, reason: &str) {
        self.update(|state| {
            if state.generation == generation {
                state.lost = Some(reason.into());
            }
        });
    }

    /// Waits until the state changes, at most so long.
    pub fn wait<'a>(&self, state: MutexGuard<'a, State>, most: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, most).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Takes the ticket of an own entry that was read. Waits until replicas have it, if they must, and calls `before` if so:
    /// what clients have seen should survive a failover.
    pub fn claim(&self, count: u64, before: impl FnOnce()) -> Option<u64> {
        let mut before = Some(before);
        loop {
            let mut state = self.lock();
            match state.in_flight.claim(count) {
                Claim::Ended(ticket) => return ticket,
                Claim::Unconfirmed(sent) => {
                    drop(state);
                    self.fail_sent(&sent, "the connection broke before the replicas had it");
                    return None;
                }
                Claim::Waits if state.is_closing => return None,
                Claim::Waits => match before.take() {
                    Some(before) => {
                        drop(state);
                        before();
                    }
                    None => drop(self.wait(state, LOOK)), // the writer is about to take the answer
                },
            }
            self.refresh();
        }
    }

    /// Reports that a draft was not stored, or perhaps was.
    pub fn fail(&self, ticket: u64, draft: &Draft, code: ErrorCode, why: &str) {
        self.lock().has_failed_member |= draft.member != MemberPart::None;
        self.reporter.update(|status| status.failed += 1);
        self.reporter.report(StoreReport::Failed { ticket, failure: draft.failure(code, why) });
    }

    /// Reports that a draft was perhaps stored, if it was sent.
    pub fn fail_sent(&self, sent: &Sending, why: &str) {
        let code = if sent.is_perhaps_stored() { ErrorCode::Unknown } else { ErrorCode::Unavailable };
        self.fail(sent.ticket, &sent.draft, code, why);
    }

    /// Takes note of a fault, for people and for the failures of drafts.
    pub fn record(&self, fault: &CallError) -> String {
        let message = format!("Redis at {} {fault}", self.place);
        self.lock().trouble.clone_from(&message);
        self.reporter.record_error(&message);
        message
    }

    /// Computes the health. It is good only while entries can pass: the reader's rounds succeed, the writer is connected, and
    /// no draft is in flight for long or was refused.
    pub fn refresh(&self) {
        let state = self.lock();
        let is_up = state.target.is_some()
            && state.is_writer_up
            && !state.is_refusing
            && state.last_round.elapsed() < STALE
            && state.in_flight.age().is_none_or(|age| age < STALE.min(self.timeout));
        let pending = state.in_flight.len() as u64;
        drop(state);
        self.reporter.set_up(is_up, wall());
        self.reporter.update(|status| status.pending = pending);
    }
}

/// The number of entries that are counted together, at most.
const BLOCK: usize = 64;
/// A block with so many bytes is full.
const BLOCK_BYTES: usize = 1 << 18;

/// Entries that follow one another.
#[derive(Debug)]
struct Block {
    first: Id,
    entries: usize,
    bytes: usize,
}

/// The sizes of the entries that the reader has read, as far as the stream has them.
#[derive(Debug, Default)]
pub struct Sizes {
    blocks: VecDeque<Block>,
    bytes: usize,
}

impl Sizes {
    /// Counts an entry.
    pub fn add(&mut self, id: Id, bytes: usize) {
        match self.blocks.back_mut() {
            Some(block) if block.entries < BLOCK && block.bytes < BLOCK_BYTES => {
                block.entries += 1;
                block.bytes += bytes;
            }
            _ => self.blocks.push_back(Block { first: id, entries: 1, bytes }),
        }
        self.bytes += bytes;
    }

    /// Forgets the entries before that one.
    pub fn forget_before(&mut self, first: Id) {
        while self.blocks.get(1).is_some_and(|second| second.first <= first) {
            self.drop_first();
        }
    }

    /// Returns the id of the first entry of those that fit in so many bytes, if not all of them do. A reader that is behind
    /// notices an eviction only if it reads a chunk at once, so a chunk always stays.
    pub fn cut(&mut self, bytes: usize) -> Option<Id> {
        let before = self.blocks.front()?.first;
        while self.bytes > bytes && self.blocks.len() > 1 && self.bytes - self.blocks[0].bytes >= CHUNK_BYTES {
            self.drop_first();
        }
        let first = self.blocks.front()?.first;
        (first != before).then_some(first)
    }

    /// Returns true if the first entry is before that id.
    pub fn begins_before(&self, id: Id) -> bool {
        self.blocks.front().is_some_and(|block| block.first < id)
    }

    fn drop_first(&mut self) {
        if let Some(block) = self.blocks.pop_front() {
            self.bytes -= block.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64) -> Id {
        Id { ms, part: 0 }
    }

    #[test]
    fn a_cut_keeps_at_least_one_chunk() {
        let mut sizes = Sizes::default();
        for ms in 0..10_000 {
            sizes.add(id(ms), 1 << 10);
        }
        assert_eq!(sizes.cut(usize::MAX), None);
        let first = sizes.cut(5 << 20).expect("a cut");
        assert!((4800..5000).contains(&first.ms), "{first}");
        assert_eq!(sizes.cut(5 << 20), None);
        let first = sizes.cut(0).expect("a cut");
        assert!((8900..=8976).contains(&first.ms), "{first}");
        sizes.forget_before(id(9_990));
        assert!(sizes.bytes < 80 << 10);
    }
}
