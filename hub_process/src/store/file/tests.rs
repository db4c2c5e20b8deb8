//! Tests of the store in a file, with real files.

mod backup;
mod faults;
mod killed;
mod ticket_keys;

use super::{start_in, Surroundings};
use crate::store::{Began, Delivered, Draft, Store, StoreCommand, StoreEntry, StoreReport};
use eventsource_xs::event::{Field, Text};
use eventsource_xs::hub::{Evictions, History, Retain};
use eventsource_xs::ticket::TicketKeys;
use eventsource_xs::wire::{Failure, FieldList, FileSettings, FileSync, StoreStatus};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time for which a test waits for a report. No test fails by being slow before.
const DEADLINE: Duration = Duration::from_secs(60);

/// The ticket of what is to be forgotten.
const FORGOTTEN: u64 = u64::MAX;

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
    epoch: Box<str>,
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
        Self { store, reports: VecDeque::new(), tickets: 0, epoch: Box::default() }
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
            match self.reports.pop_front() {
                Some(StoreReport::Done(FORGOTTEN) | StoreReport::Failed { ticket: FORGOTTEN, .. }) => {}
                Some(report) => return report,
                None => self.take_reports(),
            }
            assert!(Instant::now() < deadline, "no report; the store says: {:?}", self.status());
        }
    }

    fn take_reports(&mut self) {
        self.reports.extend(self.store.take_reports(Instant::now()).0);
        if self.reports.is_empty() {
            self.reports.extend(self.store.wait_for_report(Instant::now() + Duration::from_secs(1)));
        }
    }

    /// Reads the reports of a beginning. Entries that came before it are void.
    fn beginning(&mut self) -> Beginning {
        let mut found: Option<Beginning> = None;
        loop {
            match (self.next(), &mut found) {
                (StoreReport::Began(began), _) => {
                    self.epoch = began.history.epoch.clone();
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

    /// Has these entries of a channel forgotten, of which it has evicted all through a number.
    fn forget(&mut self, channel: &str, through: u64, numbers: impl IntoIterator<Item = u64>) {
        let channels = [(channel.as_bytes().into(), through)].into();
        self.forget_all(Evictions { numbers: numbers.into_iter().collect(), channels, others: 0 });
    }

    fn forget_all(&mut self, evictions: Evictions) {
        self.store.send(StoreCommand::Forget { ticket: FORGOTTEN, epoch: self.epoch.clone(), evictions });
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
        self.store.send(StoreCommand::Close);
        self.wait_for_end();
    }

    fn wait_for_end(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        while self.store.restart_at().is_none() {
            self.store.take_reports(Instant::now());
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
        assert_eq!((first.began.history.last_seq, &*first.began.reason, first.entries.len()), (0, "", 0));
        let mut drafts = vec![draft("a", "1"), keyed("b", "k", "2")];
        drafts[1].once = b"once".as_slice().into();
        let appended: Vec<StoreEntry> = drafts.into_iter().map(|draft| store.append(draft)).collect();
        assert_eq!(seqs(&appended), [1, 2]);
        store.close();

        let other_boot = Machine { boot: "boot 2", ..Machine::default() };
        let (store, again) = Running::begin_on(&folder.file(), sync, &other_boot);
        let history = History { last_seq: 2, ..first.began.history };
        assert_eq!(again.began, Began { history, ..first.began });
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
        began.history.epoch.len() == 8
            && began.history.epoch.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'v')),
        "{began:?}"
    );
    assert_ne!(began.history.cipher_key, [0; 16]);
    for name in ["events", "events-wal"] {
        let file = std::fs::metadata(folder.0.join(name)).expect("a file");
        assert_eq!(file.mode() & 0o777, 0o600, "{name}");
    }
    let (_other, other) = Running::begin(&folder.0.join("other"), FileSync::Second);
    assert!(
        other.began.history.epoch != began.history.epoch && other.began.history.cipher_key != began.history.cipher_key
    );
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
    assert_eq!((again.began.history.epoch, again.began.history.last_seq), (first.began.history.epoch, 1));
}

#[test]
fn sequence_numbers_continue_when_all_entries_are_forgotten() {
    let (folder, machine, mut store) = Folder::begun_with_clock();
    for _ in 0..3 {
        store.append(draft("a", "x"));
    }
    store.forget("a", 3, 1..=3);
    store.wait_until("forgotten", |status| status.events == 0);
    store.close();
    machine.clock.fetch_sub(60_000, Ordering::SeqCst);
    let (mut store, again) = Running::begin_on(&folder.file(), FileSync::Second, &machine);
    assert_eq!((again.began.history.last_seq, again.entries.len()), (3, 0));
    assert_eq!(again.began.history.evicted, [(b"a".as_slice().into(), 3)]);
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
fn what_the_hub_of_this_epoch_has_evicted_is_deleted_and_remembered() {
    let (folder, mut store, first) = Folder::begun(FileSync::Second);
    for channel in ["a", "b", "c", "a", ""] {
        store.append(draft(channel, "x"));
    }
    store.forget("a", 4, [1]);
    store.forget("b", 2, [2]);
    store.forget("", 1, []);
    store.wait_until("1 and 2 are gone", |status| status.events == 3);
    store.forget("b", 2, [2]); // again
    store.epoch = "another".into();
    store.forget("c", 5, [3]);
    store.close();
    let (mut store, mut again) = Running::begin(&folder.file(), FileSync::Second);
    let rows = |began: &mut Began| {
        began.history.evicted.sort();
        let names =
            began.history.evicted.iter().map(|(name, through)| (String::from_utf8_lossy(name).into_owned(), *through));
        names.collect::<Vec<_>>()
    };
    let row = |name: &str, through| (name.to_owned(), through);
    assert_eq!((seqs(&again.entries), again.began.history.evicted_through), (vec![3, 4, 5], 0));
    assert_eq!(rows(&mut again.began), [row("", 1), row("a", 4), row("b", 2)]);
    // Channels whose numbers are not remembered one by one any more
    store.forget_all(Evictions { numbers: vec![3], channels: [(b"c"[..].into(), 3)].into(), others: 3 });
    store.close();
    let (_store, mut last) = Running::begin(&folder.file(), FileSync::Second);
    assert_eq!(
        (seqs(&last.entries), last.began.history.evicted_through, last.began.history.last_seq),
        (vec![4, 5], 3, 5)
    );
    assert_eq!(
        (rows(&mut last.began), last.began.history.epoch),
        (vec![row("", 1), row("a", 4)], first.began.history.epoch)
    );
}

#[test]
fn the_file_gives_back_what_the_hub_has_evicted() {
    let (folder, mut store, _) = Folder::begun(FileSync::Never);
    let data = "x".repeat(1_000);
    let mut most = [0, 0];
    for round in 0..80 {
        let asked: Vec<u64> = (0..1_000).map(|_| store.ask(draft("a", &data))).collect();
        let mut reported = 0;
        while reported < asked.len() {
            if let StoreReport::Entries(entries) = store.next() {
                reported += entries.len();
            }
        }
        if round >= 16 {
            let through = 1_000 * (round - 15);
            store.forget("a", through, through - 999..=through);
        }
        let sizes =
            ["events", "events-wal"].map(|name| std::fs::metadata(folder.0.join(name)).map_or(0, |file| file.len()));
        most = [most[0].max(sizes[0]), most[1].max(sizes[1])];
    }
    println!("80 MB appended, 16 MB kept: file and WAL had at most {most:?} bytes");
    assert!(most[0] <= 32 << 20 && most[1] <= 8 << 20, "{most:?}");
    store.forget("a", 79_000, 65_000..=79_000);
    store.wait_until("free pages are given back", |status| status.bytes < 16 << 20);
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
    let (_folder, mut store, _) = Folder::begun(FileSync::Second);
    store.append(draft("a", "x"));
    let status = store.status();
    assert!(status.is_up && status.since == 1_700_000_000_000 && status.bytes > 0, "{status:?}");
    assert_eq!((status.pending, status.failed, status.epoch_changes, &*status.last_error), (0, 0, 0, ""));
}
