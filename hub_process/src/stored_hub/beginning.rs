//! How the store begins: whether the hub in memory continues, and whether the history has what was delivered before.
//!
//! ```text
//! Awaited ── Began ──┬─ CatchingUp ────────────────── Ready ── Complete      the hub in memory continues
//!                    └─ Collecting ── Ready ── CatchingUp ──── Complete      another one takes its place
//! any ── the history lacks what was delivered ── Void ── Began ── ...        the store begins another epoch
//! ```

use crate::store::{Began, Delivered, StoreCommand, StoreEntry};
use eventsource_xs::codec::{decode, encode};
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

/// The epoch of the hub in memory, and its last sequence number; none if there is no hub.
pub type Memory<'a> = Option<(&'a str, u64)>;

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

/// Returns true if the hub in memory continues: the same epoch, and nothing is missing.
pub fn continues(memory: Memory<'_>, began: &Began) -> bool {
    // What was evicted before this process has read it is missing in the hub, though the store has lost nothing.
    memory.is_some_and(|(epoch, last_seq)| {
        *began.epoch == *epoch && began.last_seq >= last_seq && began.evicted_through <= last_seq
    })
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

    /// Begins as the store says.
    pub fn begin(&mut self, memory: Memory<'_>, began: Began, is_shared: bool) {
        self.proof = self.proof_of(memory, &began, is_shared);
        self.phase = match continues(memory, &began) {
            true => Phase::CatchingUp,
            false => Phase::Collecting { began: began.into(), history: Vec::new() },
        };
    }

    /// Returns what the history must have.
    fn proof_of(&self, memory: Memory<'_>, began: &Began, is_shared: bool) -> Option<Proof> {
        let has_history = began.reason.is_empty() && began.last_seq > 0;
        if memory.is_none() && !is_shared && has_history && self.delivered.has_other(&began.epoch) {
            return Some(Proof::OtherHistory);
        }
        let last = match memory {
            Some((epoch, last_seq)) => Some(last_seq).filter(|_| *began.epoch == *epoch),
            None => self.delivered.read(&began.epoch),
        };
        // Where nobody else writes, entries are evicted by other rules than their order.
        let evicted_through = if is_shared { began.evicted_through } else { began.last_seq };
        last.filter(|last| *last > evicted_through).map(Proof::Entry)
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
        match std::mem::take(&mut self.phase) {
            Phase::Collecting { began, history } => {
                self.phase = Phase::CatchingUp;
                Some((*began, history))
            }
            other => {
                self.phase = other;
                None
            }
        }
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
        let history = self.take_collected().map(|(_, history)| history).unwrap_or_default();
        self.phase = Phase::Void { history };
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
    written: Option<(Box<str>, u64)>,
}

impl LastDelivered {
    /// Opens the file of a hub. A hub works without it.
    pub fn open(path: &Path) -> Self {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        Self { file: options.open(path).ok(), written: None }
    }

    /// Returns the sequence number that was delivered last in an epoch.
    pub fn read(&self, epoch: &str) -> Option<u64> {
        let (seq, known) = self.known()?;
        (known == padded(epoch)).then_some(seq)
    }

    /// Returns what was delivered last, in whichever epoch.
    pub fn last(&self) -> Option<Delivered> {
        let (seq, epoch) = self.known()?;
        let epoch = std::str::from_utf8(&epoch).ok()?.trim_end_matches('\0').into();
        Some(Delivered { epoch, seq })
    }

    fn known(&self) -> Option<(u64, [u8; EPOCH_BYTES])> {
        let mut bytes = [0; 8 + EPOCH_BYTES];
        self.file.as_ref()?.read_exact_at(&mut bytes, 0).ok()?;
        decode(&bytes).ok()
    }

    /// Returns true if something was delivered last in another epoch.
    pub fn has_other(&self, epoch: &str) -> bool {
        self.known().is_some_and(|(_, known)| known != padded(epoch))
    }

    /// Writes what was delivered last: 0 if that is nothing yet. One write, which a kill does not cut.
    pub fn write(&mut self, epoch: &str, seq: u64) {
        let is_written = self.written.as_ref().is_some_and(|(of, written)| (&**of, *written) == (epoch, seq));
        if let Some(file) = self.file.as_ref().filter(|_| !is_written) {
            if file.write_all_at(&encode(&(seq, padded(epoch))), 0).is_err() {
                let _ = file.set_len(0); // what is there would prove too little
            }
            self.written = Some((epoch.into(), seq));
        }
    }
}

fn padded(epoch: &str) -> [u8; EPOCH_BYTES] {
    let mut bytes = [0; EPOCH_BYTES];
    bytes.iter_mut().zip(epoch.bytes()).for_each(|(to, from)| *to = from);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Draft;

    fn began(epoch: &str, last_seq: u64, evicted_through: u64) -> Began {
        Began { epoch: epoch.into(), last_seq, evicted_through, ..Began::default() }
    }

    fn entry(seq: u64) -> StoreEntry {
        StoreEntry { seq, at: 0, ticket: Some(seq), draft: Draft::default() }
    }

    #[test]
    fn the_hub_in_memory_continues_in_its_epoch_if_it_has_missed_nothing() {
        for (memory, epoch, last_seq, evicted_through, expected) in [
            (None, "a", 7, 0, false),
            (Some(("a", 7)), "a", 7, 0, true),
            (Some(("a", 7)), "a", 9, 7, true),
            (Some(("a", 7)), "b", 9, 0, false),
            (Some(("a", 7)), "a", 6, 0, false),
            (Some(("a", 7)), "a", 9, 8, false),
        ] {
            let began = began(epoch, last_seq, evicted_through);
            assert_eq!(continues(memory, &began), expected, "{memory:?}, {began:?}");
        }
    }

    #[test]
    fn a_history_without_the_last_delivered_entry_is_void_until_another_begins() {
        for (seqs, is_void) in [(&[1, 5, 6][..], false), (&[1, 4, 6], true), (&[1, 4], true), (&[], true)] {
            let mut beginning = Beginning::default();
            beginning.begin(Some(("a", 5)), began("a", 6, 0), true);
            let lost = seqs.iter().filter_map(|seq| beginning.check_entry(*seq)).count();
            let lost = lost + beginning.complete().into_iter().count();
            assert_eq!((lost > 0, lost < 2), (is_void, true), "{seqs:?}: the store is told once");
            assert_eq!((beginning.is_void(), beginning.is_complete()), (is_void, !is_void), "{seqs:?}");
            assert!(beginning.refute(9).is_some() != is_void, "{seqs:?}: it is told of no loss twice");
            beginning.begin(Some(("a", 5)), began("b", 0, 0), true);
            assert!(beginning.complete().is_none() && beginning.is_complete());
        }
    }

    #[test]
    fn what_is_delivered_next_is_written_down_when_the_history_has_what_was_delivered_before() {
        let folder = std::env::temp_dir().join(format!("eventsource-beginning-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("a new folder");
        let open = || LastDelivered::open(&folder.join("shop.sock.seen"));
        open().write("a", 5);
        let mut beginning = Beginning::new(open());
        beginning.begin(None, began("a", 9, 0), true);
        beginning.will_deliver("a", 6);
        assert_eq!(open().read("a"), Some(5), "it would hide that 5 is missing");
        beginning.check_entry(5);
        beginning.will_deliver("a", 6);
        assert_eq!(open().last(), Some(Delivered { epoch: "a".into(), seq: 6 }));
        std::fs::remove_dir_all(&folder).expect("its own folder");
    }

    #[test]
    fn the_entries_of_a_beginning_that_is_given_up_are_told_to_have_failed() {
        let mut beginning = Beginning::default();
        assert_eq!(beginning.abandon(), []);
        for is_refuted in [false, true] {
            beginning.begin(None, began("a", 2, 0), true);
            assert!(beginning.collect(vec![entry(1), entry(2)]).is_empty());
            assert!(!is_refuted || beginning.refute(9).is_some());
            assert_eq!(beginning.abandon(), [entry(1), entry(2)], "refuted: {is_refuted}");
        }
        beginning.begin(None, began("a", 2, 0), true);
        beginning.collect(vec![entry(1)]);
        assert_eq!(beginning.take_collected(), Some((began("a", 2, 0), vec![entry(1)])));
        assert_eq!(beginning.collect(vec![entry(2)]), [entry(2)], "what follows is published at once");
    }

    #[test]
    fn entries_are_read_in_their_epoch_only() {
        let folder = std::env::temp_dir().join(format!("eventsource-seen-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("a new folder");
        let path = folder.join("shop.sock.seen");
        let mut seen = LastDelivered::open(&path);
        assert_eq!((seen.read("one"), seen.has_other("one")), (None, false));
        for (epoch, seq) in [("one", 7), ("one", 9), ("two", 9), ("one", 0), ("a much longer on", u64::MAX)] {
            seen.write(epoch, seq);
            assert_eq!((LastDelivered::open(&path).read(epoch), seen.read("other")), (Some(seq), None));
            assert_eq!((seen.has_other(epoch), seen.has_other("other")), (false, true));
        }
        std::fs::remove_dir_all(&folder).expect("its own folder");
        assert_eq!(LastDelivered::default().read("one"), None);
        LastDelivered::open(Path::new("/no such folder/s")).write("one", 1);
    }
}
