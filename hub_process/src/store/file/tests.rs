//! Tests of the store in a file, with real files.

mod backup;
mod faults;
mod index;
mod killed;
mod ticket_keys;

use super::{start_in, Surroundings};
use crate::store::{Began, Delivered, Draft, Store, StoreCommand, StoreEntry, StoreReport};
use eventsource_xs::event::{Field, Text};
use eventsource_xs::hub::{ChannelEvictions, Retain};
use eventsource_xs::ticket::TicketKeys;
use eventsource_xs::wire::{Failure, FieldList, FileSettings, FileSync, StoreStatus};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a test waits for a report. No test fails by being slow before.
const DEADLINE: Duration = Duration::from_secs(60);

/// The hub's bounds while a test has no others.
const UNBOUNDED: Duration = Duration::from_secs(1 << 40);

/// A folder of a test, which is removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("eventsource-store-{}-{count}", std::process::id()));
        std::fs::create_dir(&path).expect("a new folder");
        Self(path)
    }

    /// Returns a folder with a store, which has begun.
    fn begun(sync: FileSync) -> (Self, Running, Beginning) {
        let folder = Self::new();
        let (store, beginning) = Running::begin(&folder.file(), sync);
        (folder, store, beginning)
    }

    /// Returns one whose store is on a machine with a clock that can be set.
    fn begun_with_clock() -> (Self, Machine, Running) {
        let (folder, machine) = (Self::new(), Machine::default());
        let (store, _) = Running::begin_on(&folder.file(), FileSync::Second, &machine);
        (folder, machine, store)
    }

    fn file(&self) -> PathBuf {
        self.0.join("events")
    }

    /// Returns the names of the files in the folder, without those of the store itself.
    fn others(&self) -> Vec<String> {
        let files = std::fs::read_dir(&self.0).expect("a folder");
        let mut names: Vec<String> =
            files.map(|file| file.expect("a file").file_name().into_string().expect("a name")).collect();
        names.retain(|name| name != "events" && name != "events-wal");
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A machine: its clock, its boot, and what was delivered last in it.
#[derive(Clone)]
struct Machine {
    clock: Arc<AtomicU64>,
    boot: &'static str,
    delivered: Option<Delivered>,
}

impl Default for Machine {
    fn default() -> Self {
        Self { clock: Arc::new(AtomicU64::new(1_700_000_000_000)), boot: "boot 1", delivered: None }
    }
}

/// A store that a test uses as the wire thread does.
struct Running {
    store: Store,
    reports: VecDeque<StoreReport>,
    tickets: u64,
}

/// A store's first report.
struct Beginning {
    began: Began,
    keys: TicketKeys,
    entries: Vec<StoreEntry>,
}

impl Running {
    fn start(path: &Path, sync: FileSync, machine: &Machine) -> Self {
        let (store, end) = Store::new().expect("a pipe");
        let clock = Arc::clone(&machine.clock);
        let now = Arc::new(move || clock.load(Ordering::SeqCst));
        let settings = FileSettings { path: path.to_str().expect("a path").into(), sync };
        let clock = Arc::clone(&machine.clock);
        let monotonic = Arc::new(move || clock.load(Ordering::SeqCst) * 1_000_000);
        let (boot, delivered) = (machine.boot.into(), machine.delivered.clone());
        let surroundings = Surroundings { now, monotonic, boot, delivered };
        start_in(surroundings, settings, end).expect("a thread");
        Self { store, reports: VecDeque::new(), tickets: 0 }
    }

    /// Starts a store that begins.
    fn begin(path: &Path, sync: FileSync) -> (Self, Beginning) {
        Self::begin_on(path, sync, &Machine::default())
    }

    fn begin_on(path: &Path, sync: FileSync, machine: &Machine) -> (Self, Beginning) {
        let mut store = Self::start(path, sync, machine);
        let beginning = store.beginning();
        (store, beginning)
    }

    fn next(&mut self) -> StoreReport {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(report) = self.reports.pop_front() {
                return report;
            }
            assert!(Instant::now() < deadline, "no report; the store says: {:?}", self.status());
            self.reports.extend(self.store.take_reports().0);
            if self.reports.is_empty() {
                let second = Timespec { tv_sec: 1, tv_nsec: 0 };
                poll(&mut [PollFd::new(&self.store.descriptor(), PollFlags::IN)], Some(&second)).expect("a pipe");
            }
        }
    }

    /// Reads the reports of a beginning. Entries that came before it are void.
    fn beginning(&mut self) -> Beginning {
        let mut found: Option<Beginning> = None;
        loop {
            match (self.next(), &mut found) {
                (StoreReport::Began(began), _) => {
                    found = Some(Beginning { began, keys: TicketKeys::default(), entries: Vec::new() });
                }
                (StoreReport::TicketKeys(keys), Some(beginning)) => beginning.keys = keys,
                (StoreReport::Entries(more), Some(beginning)) => beginning.entries.extend(more),
                (StoreReport::Ready, Some(_)) => return found.expect("a beginning"),
                (StoreReport::Entries(_), None) => {}
                (other, _) => panic!("no beginning: {other:?}"),
            }
        }
    }

    fn cannot_begin(&mut self) -> (String, bool) {
        match self.next() {
            StoreReport::CannotBegin { failure, retries } => (failure.message.into(), retries),
            other => panic!("it can begin: {other:?}"),
        }
    }

    /// Asks for an entry without waiting.
    fn ask(&mut self, draft: Draft) -> u64 {
        self.tickets += 1;
        self.store.send(StoreCommand::Append { ticket: self.tickets, draft });
        self.tickets
    }

    /// Appends a draft, and waits until it is reported.
    fn try_append(&mut self, draft: Draft) -> Result<StoreEntry, Failure> {
        let asked = self.ask(draft);
        match self.next() {
            StoreReport::Entries(mut entries) if entries.len() == 1 && entries[0].ticket == Some(asked) => {
                Ok(entries.remove(0))
            }
            StoreReport::Failed { ticket, failure } if ticket == asked => Err(failure),
            other => panic!("not the report of {asked}: {other:?}"),
        }
    }

    fn append(&mut self, draft: Draft) -> StoreEntry {
        self.try_append(draft).expect("a store that is up")
    }

    fn forget(&mut self, channel: &str, evicted_through: u64, discarded_through: u64) {
        self.store.send(StoreCommand::Forget(vec![ChannelEvictions {
            channel: channel.as_bytes().into(),
            evicted_through,
            discarded_through,
        }]));
    }

    fn retain(&mut self, events: usize, bytes: usize, age: Duration) {
        self.store.send(StoreCommand::Retain { events, bytes, age });
    }

    fn status(&self) -> StoreStatus {
        self.store.status()
    }

    fn wait_until(&self, what: &str, is_so: impl Fn(&StoreStatus) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !is_so(&self.status()) {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.status());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends the store, and waits for it.
    fn close(mut self) {
        self.store.send(StoreCommand::Close { hub_continues: false });
        self.wait_for_end();
    }

    fn wait_for_end(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        while !self.store.take_reports().1 {
            assert!(Instant::now() < deadline, "the store does not end");
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

fn draft(channel: &str, data: &str) -> Draft {
    keyed(channel, "", data)
}

fn keyed(channel: &str, key: &str, data: &str) -> Draft {
    let fields = FieldList::of([Field::Data(Text::from(data))]);
    Draft { channel: channel.as_bytes().into(), key: key.as_bytes().into(), fields, ..Draft::default() }
}

fn retained(key: &str, data: &str) -> Draft {
    Draft { retain: Retain::Newest, ..keyed("a", key, data) }
}

fn forgotten(key: &str) -> Draft {
    Draft { retain: Retain::Forget, ..keyed("a", key, key) }
}

fn seqs(entries: &[StoreEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.seq).collect()
}

fn without_tickets(mut entries: Vec<StoreEntry>) -> Vec<StoreEntry> {
    entries.iter_mut().for_each(|entry| entry.ticket = None);
    entries
}

const ALL: [FileSync; 3] = [FileSync::Never, FileSync::Second, FileSync::Event];

#[test]
fn entries_are_there_after_a_clean_end_with_the_same_epoch() {
    for sync in ALL {
        let (folder, mut store, first) = Folder::begun(sync);
        assert_eq!((first.began.last_seq, &*first.began.reason, first.entries.len()), (0, "", 0));
        let mut drafts = vec![draft("a", "1"), keyed("b", "k", "2")];
        drafts[1].once = b"once".as_slice().into();
        let appended: Vec<StoreEntry> = drafts.into_iter().map(|draft| store.append(draft)).collect();
        assert_eq!(seqs(&appended), [1, 2]);
        store.close();

        let other_boot = Machine { boot: "boot 2", ..Machine::default() };
        let (store, again) = Running::begin_on(&folder.file(), sync, &other_boot);
        assert_eq!(again.began, Began { last_seq: 2, ..first.began });
        assert_eq!(again.entries, without_tickets(appended));
        assert_eq!(store.status().events, 2);
        store.close();
        assert_eq!(folder.others(), [""; 0], "{sync:?}");
    }
}

#[test]
fn an_epoch_is_eight_digits_and_the_file_is_private() {
    use std::os::unix::fs::MetadataExt;
    let (folder, mut store, Beginning { began, .. }) = Folder::begun(FileSync::Second);
    store.append(draft("a", "1"));
    assert!(
        began.epoch.len() == 8 && began.epoch.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'v')),
        "{began:?}"
    );
    assert_ne!(began.cipher_key, [0; 16]);
    for name in ["events", "events-wal"] {
        let file = std::fs::metadata(folder.0.join(name)).expect("a file");
        assert_eq!(file.mode() & 0o777, 0o600, "{name}");
    }
    let (_other, other) = Running::begin(&folder.0.join("other"), FileSync::Second);
    assert!(other.began.epoch != began.epoch && other.began.cipher_key != began.cipher_key);
}

#[test]
fn a_burst_is_reported_in_order_and_once() {
    let (folder, mut store, _) = Folder::begun(FileSync::Second);
    let count = 20_000;
    for number in 0..count {
        store.ask(draft("a", &number.to_string()));
    }
    let mut entries = Vec::new();
    while entries.len() < count {
        match store.next() {
            StoreReport::Entries(more) => entries.extend(more),
            other => panic!("{other:?}"),
        }
    }
    assert!((1..).zip(&entries).all(|(number, entry)| (entry.seq, entry.ticket) == (number, Some(number))));
    store.close();
    let (_store, again) = Running::begin(&folder.file(), FileSync::Second);
    assert_eq!(again.entries, without_tickets(entries));
}

#[test]
fn dropping_the_store_ends_it_cleanly() {
    let (folder, mut store, first) = Folder::begun(FileSync::Never);
    store.append(draft("a", "1"));
    drop(store);
    let other_boot = Machine { boot: "boot 2", ..Machine::default() };
    let (_store, again) = Running::begin_on(&folder.file(), FileSync::Never, &other_boot);
    assert_eq!((again.began.epoch, again.began.last_seq), (first.began.epoch, 1));
}

#[test]
fn sequence_numbers_continue_when_all_entries_are_forgotten() {
    let (folder, machine, mut store) = Folder::begun_with_clock();
    for _ in 0..3 {
        store.append(draft("a", "x"));
    }
    store.forget("a", 3, 3);
    store.wait_until("forgotten", |status| status.events == 0);
    store.close();
    machine.clock.fetch_sub(60_000, Ordering::SeqCst);
    let (mut store, again) = Running::begin_on(&folder.file(), FileSync::Second, &machine);
    assert_eq!((again.began.last_seq, again.entries.len()), (3, 0));
    assert_eq!(again.began.evicted, [(b"a".as_slice().into(), 3)]);
    let entry = store.append(draft("a", "x"));
    assert_eq!((entry.seq, entry.at), (4, 1_700_000_000_000), "the time does not go back, either");
}

#[test]
fn times_never_go_back() {
    let (folder, machine, mut store) = Folder::begun_with_clock();
    let mut at = Vec::new();
    for time in [5_000, 9_000, 1_000, 0, 10_000] {
        machine.clock.store(time, Ordering::SeqCst);
        at.push(store.append(draft("a", "x")).at);
    }
    assert_eq!(at, [5_000, 9_000, 9_000, 9_000, 10_000]);
    store.close();
    machine.clock.store(7, Ordering::SeqCst);
    let (mut store, _) = Running::begin_on(&folder.file(), FileSync::Second, &machine);
    assert_eq!(store.append(draft("a", "x")).at, 10_000);
}

#[test]
fn the_age_of_an_entry_is_by_the_clock_of_the_machine_when_it_is_read() {
    let (folder, machine, mut store) = Folder::begun_with_clock();
    machine.clock.store(100_000, Ordering::SeqCst);
    let at = store.append(draft("a", "x")).at;
    store.close();
    for (time, age) in [(100_000, 0), (130_000, 30), (7, 0), (4_000_000, 3900)] {
        machine.clock.store(time, Ordering::SeqCst);
        let (store, _) = Running::begin_on(&folder.file(), FileSync::Second, &machine);
        let now = Instant::now();
        assert_eq!((now - store.store.instant_of(at, now)).as_secs(), age, "at {time}");
        store.close();
    }
}

#[test]
fn forgetting_keeps_the_latest_entry_of_each_key() {
    let (folder, mut store, _) = Folder::begun(FileSync::Second);
    for (key, channel) in [("k", "a"), ("l", "a"), ("", "a"), ("k", "b"), ("k", "a"), ("", "a")] {
        store.append(keyed(channel, key, "x"));
    }
    store.forget("a", 6, 0);
    store.wait_until("2 and 5 of a, 4 of b", |status| status.events == 3);
    store.append(keyed("a", "l", "x"));
    store.forget("a", 6, 0);
    store.wait_until("2 is not the latest any more", |status| status.events == 3);
    store.close();
    let (mut store, again) = Running::begin(&folder.file(), FileSync::Second);
    assert_eq!(seqs(&again.entries), [4, 5, 7]);
    assert_eq!(again.began.evicted, [(b"a".as_slice().into(), 6)]);
    store.forget("a", 6, 5);
    store.wait_until("5 is discarded", |status| status.events == 2);
}

#[test]
fn what_is_retained_stays_whatever_is_forgotten_or_old_and_counts_for_no_bound() {
    let (folder, machine, mut store) = Folder::begun_with_clock();
    for draft in [retained("k", "1"), retained("", "2"), retained("l", "3"), retained("k", "4"), keyed("a", "k", "5")] {
        store.append(draft);
    }
    store.append(forgotten("l"));
    store.forget("a", 6, 6);
    store.wait_until("2 and 4 are retained", |status| status.events == 2);
    machine.clock.fetch_add(10_000, Ordering::SeqCst);
    store.append(draft("a", "7"));
    store.append(draft("b", "8"));
    store.retain(1, 1, Duration::from_secs(5));
    store.wait_until("8 is left of the history", |status| status.events == 3);
    store.close();
    let (mut store, again) = Running::begin_on(&folder.file(), FileSync::Second, &machine);
    let retains = |entry: &StoreEntry| (entry.seq, entry.draft.retain);
    let expected = [(2, Retain::Newest), (4, Retain::Newest), (8, Retain::No)];
    assert_eq!(again.entries.iter().map(retains).collect::<Vec<_>>(), expected);
    assert_eq!(again.began.evicted, [(b"a".as_slice().into(), 7)]);
    store.append(forgotten("k"));
    store.append(retained("", "10"));
    store.forget("a", 10, 10);
    store.wait_until("8 and 10 are left", |status| status.events == 2);
    store.close();
    assert_eq!(seqs(&Running::begin_on(&folder.file(), FileSync::Second, &machine).1.entries), [8, 10]);
}

#[test]
fn too_many_and_too_old_entries_are_deleted() {
    let (folder, machine, mut store) = Folder::begun_with_clock();
    for number in 0..10 {
        machine.clock.store(1_000 * number, Ordering::SeqCst);
        store.append(draft(if number % 2 == 0 { "even" } else { "odd" }, "x"));
    }
    let size = super::size_of(&draft("even", "x"));
    for (events, bytes, age, left) in [
        (8, usize::MAX, UNBOUNDED, 8),
        (usize::MAX, 6 * size, UNBOUNDED, 6),
        (usize::MAX, usize::MAX, Duration::from_millis(3_500), 4),
    ] {
        store.retain(events, bytes, age);
        store.wait_until("retained", |status| status.events == left);
    }
    store.close();
    let (_store, mut again) = Running::begin_on(&folder.file(), FileSync::Second, &machine);
    assert_eq!(seqs(&again.entries), [7, 8, 9, 10]);
    again.began.evicted.sort();
    assert_eq!(again.began.evicted, [(b"even".as_slice().into(), 5), (b"odd".as_slice().into(), 6)]);
}

#[test]
fn too_old_entries_are_deleted_though_nothing_is_written() {
    let (_folder, machine, mut store) = Folder::begun_with_clock();
    store.retain(usize::MAX, usize::MAX, Duration::from_secs(3));
    for _ in 0..3 {
        store.append(draft("a", "x"));
    }
    // The store's work after a write is over.
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(store.status().events, 3);
    machine.clock.fetch_add(10_000, Ordering::SeqCst);
    store.wait_until("expired", |status| status.events == 0);
}

#[test]
fn the_file_stays_within_twice_the_bounds() {
    let (folder, mut store, _) = Folder::begun(FileSync::Never);
    let bytes = 16 << 20;
    store.retain(usize::MAX, bytes, UNBOUNDED);
    let data = "x".repeat(1_000);
    let mut most = [0, 0];
    for _ in 0..80 {
        let asked: Vec<u64> = (0..1_000).map(|_| store.ask(draft("a", &data))).collect();
        let mut reported = 0;
        while reported < asked.len() {
            if let StoreReport::Entries(entries) = store.next() {
                reported += entries.len();
            }
        }
        let sizes =
            ["events", "events-wal"].map(|name| std::fs::metadata(folder.0.join(name)).map_or(0, |file| file.len()));
        most = [most[0].max(sizes[0]), most[1].max(sizes[1])];
    }
    println!("80 MB appended, bound {bytes}: file and WAL had at most {most:?} bytes");
    assert!(most[0] <= 2 * bytes as u64 && most[1] <= 8 << 20, "{most:?}");
    store.retain(usize::MAX, bytes / 16, UNBOUNDED);
    store.wait_until("free pages are given back", |status| status.bytes < bytes as u64);
}

#[test]
fn two_stores_cannot_have_one_file() {
    let (folder, first, _) = Folder::begun(FileSync::Second);
    let mut second = Running::start(&folder.file(), FileSync::Second, &Machine::default());
    let (message, retries) = second.cannot_begin();
    assert_eq!((message, retries), (format!("another hub uses {}", folder.file().display()), false));
    assert!(second.try_append(draft("a", "x")).is_err());
    assert!(!second.status().is_up);
    second.close();
    first.close();
    let (_third, _) = Running::begin(&folder.file(), FileSync::Second);
}

#[test]
fn the_status_describes_the_store() {
    let (folder, mut store, _) = Folder::begun(FileSync::Second);
    store.append(draft("a", "x"));
    let status = store.status();
    assert_eq!((&*status.kind, &*status.place), ("file", folder.file().to_str().expect("a path")));
    assert!(status.is_up && status.since == 1_700_000_000_000 && status.bytes > 0, "{status:?}");
    assert_eq!((status.pending, status.failed, status.epoch_changes, &*status.last_error), (0, 0, 0, ""));
}
