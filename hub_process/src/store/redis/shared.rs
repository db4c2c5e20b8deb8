//! The state that the reader and the writer share: drafts on their way, the epoch, the health.

use super::super::{now_ms, Draft, Entry, MemberPart, Report, Reporter};
use super::call_error::CallError;
use super::entry::Id;
use super::epoch::StreamKeys;
use super::sizes::Sizes;
use super::STALE;
use eventsource_xs::wire::RedisSettings;
use eventsource_xs::ErrorCode;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often the health is computed while the reader waits for replicas.
const LOOK: Duration = Duration::from_millis(250);

/// A draft that has not been sent, or is certainly not in the stream.
#[derive(Debug)]
pub struct Waiting {
    pub ticket: u64,
    pub draft: Draft,
    /// When it fails. None while it waits for Redis to come back.
    pub deadline: Option<Instant>,
}

/// A draft that was sent.
#[derive(Debug)]
pub struct Sent {
    pub ticket: u64,
    pub draft: Draft,
    pub deadline: Instant,
    pub since: Instant,
    /// How many times it was sent without being refused: it is certainly not stored if 0.
    pub copies: u32,
    /// Whether its answer may come yet on the connection. It must be sent again if not.
    pub is_on_wire: bool,
    /// Redis' answer.
    pub id: Option<Id>,
    /// Whether it may be reported: replicas have it, or none need to.
    pub is_confirmed: bool,
}

/// Where the reader is connected, for the writer.
#[derive(Clone, Debug)]
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
    /// The last id that the reader has reported.
    pub read_through: Id,
    /// The greatest own count that the reader has read.
    pub own_count: u64,
    /// Drafts that were sent, by their counts.
    pub sent: BTreeMap<u64, Sent>,
    /// Own entries that Redis has acknowledged and the reader has not read. Other hubs may have read and delivered them.
    pub acknowledged: BTreeSet<Id>,
    /// Whether some of the drafts that were sent must be sent again.
    pub has_unsent: bool,
    /// Drafts that must be sent in the new epoch.
    pub returned: Vec<Sent>,
    /// Why the writer believes that the stream of this generation is lost.
    pub lost: Option<(u64, String)>,
    pub sizes: Sizes,
    pub last_round: Instant,
    pub is_writer_up: bool,
    /// Whether Redis has refused a draft, or replicas lacked one, and it is not known that they would take another.
    pub is_refusing: bool,
    /// The URL of another master, for which the reader should leave its own.
    pub master: Option<String>,
    pub waiting: usize,
    pub is_closing: bool,
    /// The last error of the connection, which failures quote.
    pub trouble: String,
}

pub struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    pub reporter: Reporter,
    timeout: Duration,
    /// Whether the hub, on any machine, has had members.
    has_members: AtomicBool,
    /// Whether a draft of a member has failed, so that Redis perhaps takes the member for here, or for gone, wrongly.
    has_failed_member: AtomicBool,
}

impl Shared {
    pub fn new(settings: &RedisSettings, reporter: Reporter) -> Self {
        reporter.update(|status| {
            status.kind = "redis".into();
            status.place = settings.shown_url().into();
            status.since = now_ms();
        });
        let state = State {
            target: None,
            generation: 0,
            read_through: Id::default(),
            own_count: 0,
            sent: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            has_unsent: false,
            returned: Vec::new(),
            lost: None,
            sizes: Sizes::default(),
            last_round: Instant::now(),
            is_writer_up: false,
            is_refusing: false,
            master: None,
            waiting: 0,
            is_closing: false,
            trouble: "no connection yet".into(),
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            reporter,
            timeout: settings.timeout,
            has_members: AtomicBool::new(false),
            has_failed_member: AtomicBool::new(false),
        }
    }

    /// Reports entries, and takes note of members.
    pub fn report_entries(&self, entries: Vec<Entry>) {
        entries.iter().for_each(|entry| self.note_member(&entry.draft));
        self.reporter.report(Report::Entries(entries));
    }

    /// Takes note that the hub has members, if this is of one.
    pub fn note_member(&self, draft: &Draft) {
        if draft.member != MemberPart::None {
            self.has_members.store(true, Ordering::Relaxed);
        }
    }

    pub fn has_members(&self) -> bool {
        self.has_members.load(Ordering::Relaxed)
    }

    /// Returns true if a draft of a member has failed since this was asked before.
    pub fn take_failed_member(&self) -> bool {
        self.has_failed_member.swap(false, Ordering::Relaxed)
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
        self.update(|state| state.lost = Some((generation, reason.into())));
    }

    /// Waits until the state changes, at most so long.
    pub fn wait<'a>(&self, state: MutexGuard<'a, State>, most: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, most).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Takes the ticket of an own entry that was read. Waits until replicas have it, if they must, and calls `before` if so:
    /// what clients have seen should survive a failover.
    pub fn claim(&self, count: u64, mut before: impl FnMut()) -> Option<u64> {
        let mut state = self.lock();
        state.own_count = state.own_count.max(count);
        if state.sent.get(&count).is_some_and(|sent| !sent.is_confirmed) {
            drop(state);
            before();
            state = self.lock();
        }
        loop {
            let sent = state.sent.get(&count)?;
            if sent.is_confirmed {
                return state.sent.remove(&count).map(|sent| sent.ticket);
            }
            if !sent.is_on_wire {
                // The connection broke, so nobody can tell which replicas have it.
                let sent = state.sent.remove(&count)?;
                drop(state);
                self.fail_sent(&sent, "the connection broke before the replicas had it");
                return None;
            }
            let sent = state.sent.get(&count)?;
            let rest = sent.deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return None; // the writer fails the draft
            }
            drop(self.wait(state, rest.min(LOOK)));
            self.refresh();
            state = self.lock();
        }
    }

    /// Reports that a draft was not stored, or perhaps was.
    pub fn fail(&self, (ticket, draft): (u64, &Draft), code: ErrorCode, why: &str) {
        if draft.member != MemberPart::None {
            self.has_failed_member.store(true, Ordering::Relaxed);
        }
        self.reporter.update(|status| status.failed += 1);
        self.reporter.report(Report::Failed { ticket, failure: draft.failure(code, why) });
    }

    /// Reports that a draft was perhaps stored, if it was sent.
    pub fn fail_sent(&self, sent: &Sent, why: &str) {
        let code = if sent.copies == 0 { ErrorCode::Unavailable } else { ErrorCode::Unknown };
        self.fail((sent.ticket, &sent.draft), code, why);
    }

    /// Takes note of a fault, for people and for the failures of drafts.
    pub fn record(&self, place: &str, fault: &CallError) -> String {
        let message = format!("Redis at {place} {fault}");
        self.lock().trouble.clone_from(&message);
        self.reporter.record_error(&message);
        message
    }

    /// Computes the health. It is good only while entries can pass: the reader's rounds succeed, the writer is connected, and
    /// no draft is on its way for long or was refused.
    pub fn refresh(&self) {
        let state = self.lock();
        let oldest = state.sent.values().next().map(|sent| sent.since.elapsed());
        let is_up = state.target.is_some()
            && state.is_writer_up
            && !state.is_refusing
            && state.last_round.elapsed() < STALE
            && oldest.is_none_or(|age| age < STALE.min(self.timeout));
        let pending = (state.waiting + state.sent.len() + state.returned.len()) as u64;
        drop(state);
        self.reporter.update(|status| {
            if status.is_up != is_up {
                status.since = now_ms();
            }
            status.is_up = is_up;
            status.pending = pending;
        });
    }
}
