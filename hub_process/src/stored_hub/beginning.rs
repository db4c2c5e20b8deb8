//! The beginning of the store. It decides whether the hub in memory continues, and whether the history has what was delivered
//! before.
//!
//! ```text
//! Awaited ── Began ──┬─ CatchingUp ────────────────── Ready ── Complete      the hub in memory continues
//!                    └─ Collecting ── Ready ── CatchingUp ──── Complete      another one takes its place
//! any ── the history lacks what was delivered ── Void ── Began ── ...        the store begins another epoch
//! ```

use crate::store::{Began, Delivered, StoreCommand, StoreEntry};
use eventsource_xs::codec::{decode, encode};
use eventsource_xs::hub::History;
use eventsource_xs::wire::Failure;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

pub fn not_begun() -> Failure {
    Failure::unavailable("the hub's store has not begun")
}

/// The phase of the store's beginning.
#[derive(Debug, Default)]
enum Phase {
    /// The store has not said how it begins.
    #[default]
    Awaited,
    /// The history is not complete. Streams that subscribed to its hub before that would miss the rest.
    Collecting { began: Box<Began>, history: Vec<StoreEntry> },
    /// Entries are published as they come, and the history is not complete.
    CatchingUp,
    /// The history is complete.
    Complete,
    /// The store was told that its history lacks what was delivered. What it reports is void until another epoch begins.
    Void { history: Vec<StoreEntry> },
}

/// The events that the history must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// The last entry that was delivered.
    Entry(u64),
    /// Another history than this one, which has come back.
    OtherHistory,
}

/// The beginning of a store.
#[derive(Debug, Default)]
pub struct Beginning {
    phase: Phase,
    proof: Option<Proof>,
    /// True if the history was complete once, so that the hub in memory can be used.
    pub was_complete: bool,
    /// The last delivered event, for a process that begins after this one was killed.
    pub delivered: LastDelivered,
}

impl Beginning {
    pub fn new(delivered: LastDelivered) -> Self {
        Self { delivered, ..Self::default() }
    }

    /// Gives up a beginning. Returns the entries that it has collected, which may be gone.
    pub fn abandon(&mut self) -> Vec<StoreEntry> {
        match std::mem::take(&mut self.phase) {
            Phase::Collecting { history, .. } | Phase::Void { history } => history,
            Phase::Awaited | Phase::CatchingUp | Phase::Complete => Vec::new(),
        }
    }

    /// Begins as the store says. `memory` is what the hub in memory has delivered last; none if there is no hub.
    pub fn begin(&mut self, memory: Option<Delivered>, began: Began, is_shared: bool) {
        // The hub in memory continues in its epoch if nothing is missing. What was evicted before this process has read it is
        // missing in the hub, though the store has lost nothing.
        let continues = |last: &Delivered| last.is_in(&began) && began.history.evicted_through <= last.seq;
        self.phase = match memory.as_ref().is_some_and(continues) {
            true => Phase::CatchingUp,
            false => Phase::Collecting { began: began.clone().into(), history: Vec::new() },
        };
        self.proof = self.proof_of(memory, &began, is_shared);
    }

    /// Returns what the history must have.
    fn proof_of(&self, memory: Option<Delivered>, began: &Began, is_shared: bool) -> Option<Proof> {
        let History { epoch, last_seq, evicted_through, .. } = &began.history;
        let may_be_other = memory.is_none() && !is_shared && began.reason.is_empty() && *last_seq > 0;
        let last = memory.or_else(|| self.delivered.last())?;
        if last.epoch != *epoch {
            return may_be_other.then_some(Proof::OtherHistory);
        }
        // Where nobody else writes, entries are evicted by other rules than their order.
        let evicted_through = if is_shared { evicted_through } else { last_seq };
        (last.seq > *evicted_through).then_some(Proof::Entry(last.seq))
    }

    /// Keeps entries back while the history is collected. Returns those that are to be published now.
    pub fn collect(&mut self, entries: Vec<StoreEntry>) -> Vec<StoreEntry> {
        match &mut self.phase {
            Phase::Collecting { history, .. } => {
                history.extend(entries);
                Vec::new()
            }
            Phase::Awaited | Phase::CatchingUp | Phase::Complete | Phase::Void { .. } => entries,
        }
    }

    /// Takes the history that was collected, if another hub takes the place of the one in memory.
    pub fn take_collected(&mut self) -> Option<(Began, Vec<StoreEntry>)> {
        let Phase::Collecting { began, history } = &mut self.phase else { return None };
        let collected = (std::mem::take(&mut **began), std::mem::take(history));
        self.phase = Phase::CatchingUp;
        Some(collected)
    }

    /// Called for each entry. Returns what the store is told if the history has passed the entry that it must have: history was
    /// lost while this process did not look, and all hubs must begin another epoch.
    pub fn check_entry(&mut self, seq: u64) -> Option<StoreCommand> {
        match self.proof {
            Some(Proof::Entry(proof)) if proof == seq => {
                self.proof = None;
                None
            }
            Some(Proof::Entry(proof)) if proof < seq => self.check_proof(),
            _ => None,
        }
    }

    /// Called when a client has proven that an event was delivered which the store does not have. Returns what the store is
    /// told.
    pub fn refute(&mut self, seq: u64) -> Option<StoreCommand> {
        if self.is_void() {
            return None;
        }
        self.proof = Some(Proof::Entry(seq));
        self.check_proof()
    }

    fn check_proof(&mut self) -> Option<StoreCommand> {
        let reason = match self.proof.take()? {
            Proof::OtherHistory => "the store has an earlier history than the one that was delivered before".into(),
            Proof::Entry(seq) => format!("the store lacks the event {seq}, which was delivered before").into(),
        };
        self.phase = Phase::Void { history: self.abandon() };
        Some(StoreCommand::Lost(reason))
    }

    /// Called when the store has reported its history. Returns what the store is told if that lacks something.
    pub fn complete(&mut self) -> Option<StoreCommand> {
        let lost = self.check_proof();
        if !self.is_void() {
            (self.phase, self.was_complete) = (Phase::Complete, true);
        }
        lost
    }

    /// Called when the threads of the store have ended: it will begin again.
    pub fn await_again(&mut self) {
        if !self.is_void() {
            self.phase = Phase::Awaited;
        }
    }

    /// Writes down what is about to be delivered, unless the history is still to prove that it has what was delivered before.
    pub fn will_deliver(&mut self, epoch: &str, last_seq: u64) {
        if self.proof.is_none() && !self.is_void() {
            self.delivered.write(epoch, last_seq);
        }
    }

    pub fn is_void(&self) -> bool {
        matches!(self.phase, Phase::Void { .. })
    }

    /// Returns true if the history is complete now.
    pub fn is_complete(&self) -> bool {
        matches!(self.phase, Phase::Complete)
    }
}

/// The most bytes of an epoch.
const EPOCH_BYTES: usize = 16;

/// The last delivered event of a hub, in a file beside its socket; without file where nothing is to be remembered.
///
/// A failover of Redis may lose entries that this machine has delivered. The hub process notices, unless it is killed at the
/// same time. A file may be written over with its backup, or its WAL be damaged, while no process uses it. The process that
/// follows reads here what must be in the history. What is here survives the process, not the machine.
#[derive(Debug, Default)]
pub struct LastDelivered {
    file: Option<File>,
    written: Option<Delivered>,
}

impl LastDelivered {
    /// Opens the file of a hub. A hub works without it.
    pub fn open(path: &Path) -> Self {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        Self { file: options.open(path).ok(), written: None }
    }

    /// Returns what was delivered last.
    pub fn last(&self) -> Option<Delivered> {
        let mut bytes = [0; 8 + EPOCH_BYTES];
        self.file.as_ref()?.read_exact_at(&mut bytes, 0).ok()?;
        let (seq, epoch) = decode::<(u64, [u8; EPOCH_BYTES])>(&bytes).ok()?;
        let epoch = std::str::from_utf8(&epoch).ok()?.trim_end_matches('\0').into();
        Some(Delivered { epoch, seq })
    }

    /// Writes what was delivered last: 0 if that is nothing yet. One write, which a kill does not cut.
    pub fn write(&mut self, epoch: &str, seq: u64) {
        let is_written = self.written.as_ref().is_some_and(|last| (&*last.epoch, last.seq) == (epoch, seq));
        if let Some(file) = self.file.as_ref().filter(|_| !is_written) {
            let mut padded = [0; EPOCH_BYTES];
            padded.iter_mut().zip(epoch.bytes()).for_each(|(to, from)| *to = from);
            if file.write_all_at(&encode(&(seq, padded)), 0).is_err() {
                let _ = file.set_len(0); // what is there would prove too little
            }
            self.written = Some(Delivered { epoch: epoch.into(), seq });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_delivered_last_is_read_by_the_next_process() {
        let folder = std::env::temp_dir().join(format!("eventsource-seen-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("a new folder");
        let path = folder.join("shop.sock.seen");
        let mut seen = LastDelivered::open(&path);
        assert_eq!(seen.last(), None);
        for (epoch, seq) in [("one", 7), ("one", 9), ("two", 9), ("one", 0), ("a much longer on", u64::MAX)] {
            seen.write(epoch, seq);
            assert_eq!(LastDelivered::open(&path).last(), Some(Delivered { epoch: epoch.into(), seq }));
        }
        std::fs::remove_dir_all(&folder).expect("its own folder");
        LastDelivered::open(Path::new("/no such folder/s")).write("one", 1);
    }
}
