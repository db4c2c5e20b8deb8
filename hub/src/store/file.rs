//! A store in a file of this machine: a database of SQLite.
//!
//! - `database`: the file, what it promises for each `sync`, and when its epoch is new
//! - `index`: which entries each channel has, and which of them are to be deleted
//! - `fault`: what goes wrong, and what follows from it
//!
//! One thread, "store", does everything. It takes all asks that wait, commits them together, then reports the entries; so the more is
//! published, the fewer commits there are. What has to be done now and then is done a second after something was written; an idle
//! store sleeps.
//!
//! # Faults
//!
//! A full disk fails the drafts of the commit, and the next ones are tried again. A damaged file is renamed, so that people can look
//! at it, and an empty one begins a new epoch. If the file is removed or replaced while the hub runs, the store
//! notices within a second after the next write, and begins with what is there, in a new epoch: what it has
//! appended since is gone. If only the WAL was removed, nothing is lost: the process still has it open and moves it into the file.

mod database;
mod fault;
mod index;
#[cfg(test)]
mod tests;

use super::{now_ms, Ask, Began, Draft, Entry, Report, Reporter, StoreEnd};
use database::{lock, set_aside, Database, History, Opening};
use eventsource_xs::wire::{FileSettings, FileSync};
use fault::{Fault, Kind};
use index::Index;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long after a write the store syncs and tidies up, and how often it tries to open a file that it cannot open.
const TICK: Duration = Duration::from_secs(1);

/// The most drafts of a commit.
const MOST_DRAFTS: usize = 4096;

/// The bytes of drafts from which on a commit takes no more.
const MOST_DRAFT_BYTES: usize = 2 << 20;

/// How many of the first entries are looked at together when there are too many.
const TRIM_PART: usize = 4096;

/// Starts the thread of the store.
pub fn start(settings: FileSettings, end: StoreEnd) -> io::Result<()> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    start_in(Surroundings { now: Arc::new(now_ms), boot: boot.trim().into() }, settings, end)
}

fn start_in(surroundings: Surroundings, settings: FileSettings, end: StoreEnd) -> io::Result<()> {
    let keeper = Keeper {
        path: PathBuf::from(&*settings.path),
        settings,
        surroundings,
        asks: end.asks,
        reporter: end.reporter,
        bounds: Bounds { events: u64::MAX, bytes: u64::MAX, age: u64::MAX },
        lost: None,
        carried: Vec::new(),
        has_begun: false,
        reported: None,
    };
    std::thread::Builder::new().name("store".into()).spawn(move || keeper.run())?;
    Ok(())
}

/// What a store knows of the machine.
struct Surroundings {
    /// The milliseconds since 1970.
    now: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// The identifier of the boot; empty if it is unknown.
    boot: Box<str>,
}

/// The retention of all channels together.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    events: u64,
    bytes: u64,
    /// In milliseconds.
    age: u64,
}

/// The store's thread.
struct Keeper {
    path: PathBuf,
    settings: FileSettings,
    surroundings: Surroundings,
    asks: Receiver<Ask>,
    reporter: Reporter,
    bounds: Bounds,
    /// Why the next beginning has a new epoch.
    lost: Option<Box<str>>,
    /// Drafts whose commit has found the file damaged. The next file gets them.
    carried: Vec<(u64, Draft)>,
    has_begun: bool,
    /// Why the store cannot begin, as it was reported.
    reported: Option<Fault>,
}

/// What the thread has while the file is open.
struct Open {
    database: Database,
    index: Index,
    last_seq: u64,
    last_at: u64,
    /// When to sync and to tidy up; none if nothing was written.
    tick_at: Option<Instant>,
}

/// Why the thread no longer uses a file.
enum Stop {
    /// It was asked to end.
    End,
    /// The path leads to another file, or to none: why.
    Lost(String),
    /// The file is damaged.
    Damaged(Fault),
}

/// The asks that are carried out together.
#[derive(Default)]
struct Batch {
    drafts: Vec<(u64, Draft)>,
    bytes: usize,
    is_last: bool,
}

impl Keeper {
    fn run(mut self) {
        let place = self.settings.path.clone();
        self.reporter.update(|status| (status.kind, status.place) = ("file".into(), place));
        loop {
            match self.begin() {
                Ok(mut open) => match self.serve(&mut open) {
                    Stop::End => return self.close(open),
                    Stop::Lost(reason) => self.lose(reason),
                    Stop::Damaged(fault) => {
                        let file = open.database.file();
                        drop(open);
                        if let Err(fault) = self.set_aside(file, &fault) {
                            self.note(&fault);
                        }
                    }
                },
                Err(fault) => {
                    if self.wait(&fault) {
                        return;
                    }
                }
            }
        }
    }

    /// Opens the file and reports its history. A damaged file is set aside.
    fn begin(&mut self) -> Result<Open, Fault> {
        let file = lock(&self.path)?;
        match self.begin_with(Arc::clone(&file)) {
            Err(fault) if fault.kind == Kind::Damaged => {
                self.set_aside(file, &fault)?;
                self.begin_with(lock(&self.path)?)
            }
            result => result,
        }
    }

    fn begin_with(&mut self, file: Arc<File>) -> Result<Open, Fault> {
        let (database, history) = Database::open(file, &self.opening())?;
        let History { epoch, cipher_key, last_seq, last_at, evicted, evicted_through, lost } = history;
        let mut index = Index::new(evicted_through);
        for (channel, through) in &evicted {
            index.add_row(channel, *through);
        }
        if let (Some(reason), None) = (&lost, &self.lost) {
            self.lose(reason.to_string());
        }
        let reason = lost.unwrap_or_default();
        let began = Began { epoch, cipher_key, last_seq, evicted, evicted_through, reason };
        self.reporter.report(Report::Began(began));
        database.read(|entries| {
            for entry in &entries {
                index.append(&entry.draft.channel, &entry.draft.key, entry.seq, size_of(&entry.draft));
            }
            self.reporter.report(Report::Entries(entries));
        })?;
        index.settle();
        self.reporter.report(Report::Ready);
        (self.lost, self.reported, self.has_begun) = (None, None, true);
        let mut open = Open { database, index, last_seq, last_at, tick_at: None };
        self.show(&open);
        self.set_up(true);
        open.will_tick();
        Ok(open)
    }

    fn opening(&self) -> Opening<'_> {
        let Self { path, settings, surroundings, lost, .. } = self;
        Opening { path, sync: settings.sync, boot: &surroundings.boot, lost: lost.as_deref() }
    }

    /// Takes note that history was lost: the next beginning has a new epoch.
    fn lose(&mut self, reason: String) {
        eprintln!("eventsource-hub: {reason}; clients are told of a gap");
        self.reporter.record_error(&reason);
        self.reporter.update(|status| status.epoch_changes += 1);
        self.lost = Some(reason.into());
    }

    /// Renames a damaged file, which is still locked.
    fn set_aside(&mut self, _locked: Arc<File>, fault: &Fault) -> Result<(), Fault> {
        let shown = self.path.display();
        let name = set_aside(&self.path, (self.surroundings.now)()).map_err(|error| {
            Fault::new(Kind::Lasting, format!("{shown} is damaged, and cannot be renamed: {error}"))
        })?;
        self.lose(format!("{shown} was damaged and is now {} ({})", name.display(), fault.message));
        Ok(())
    }

    /// Carries out what is asked until the file cannot be used any more.
    fn serve(&mut self, open: &mut Open) -> Stop {
        let carried = std::mem::take(&mut self.carried);
        let mut result = self.store(open, carried);
        loop {
            match result {
                Ok(false) => {}
                Ok(true) => return Stop::End,
                Err(stop) => return stop,
            }
            let now = Instant::now();
            result = match open.tick_at {
                Some(at) if at <= now => self.tick(open).map(|()| false),
                Some(at) => match self.asks.recv_timeout(at - now) {
                    Ok(ask) => self.carry_out(open, ask),
                    Err(RecvTimeoutError::Timeout) => Ok(false),
                    Err(RecvTimeoutError::Disconnected) => Ok(true),
                },
                None => self.asks.recv().map_or(Ok(true), |ask| self.carry_out(open, ask)),
            }
        }
    }

    /// Carries out an ask and those that wait behind it. Returns true if it was the last one.
    fn carry_out(&mut self, open: &mut Open, first: Ask) -> Result<bool, Stop> {
        let mut batch = Batch::default();
        let mut next = Some(first);
        while let Some(ask) = next {
            self.gather(open, ask, &mut batch);
            let is_full = batch.is_last || batch.drafts.len() >= MOST_DRAFTS || batch.bytes >= MOST_DRAFT_BYTES;
            next = if is_full { None } else { self.asks.try_recv().ok() };
        }
        self.store(open, batch.drafts)?;
        if self.exceeds(&open.index, 9, 8) {
            self.trim(open)?;
        }
        Ok(batch.is_last)
    }

    fn gather(&mut self, open: &mut Open, ask: Ask, batch: &mut Batch) {
        match ask {
            Ask::Append { ticket, draft } => {
                batch.bytes += size_of(&draft);
                batch.drafts.push((ticket, draft));
            }
            Ask::Forget(list) => {
                for of in list {
                    open.index.forget(&of.channel, of.evicted_through, of.discarded_through);
                }
            }
            Ask::Retain { events, bytes, age } => {
                self.bounds = Bounds::new(events, bytes, age);
                open.tick_at = Some(Instant::now());
            }
            Ask::Close => batch.is_last = true,
        }
    }

    /// Commits drafts and what the index has to write, and reports them. Returns false: nothing has ended.
    fn store(&mut self, open: &mut Open, drafts: Vec<(u64, Draft)>) -> Result<bool, Stop> {
        if drafts.is_empty() && !open.index.is_changed() {
            return Ok(false);
        }
        self.reporter.update(|status| status.pending = drafts.len() as u64);
        let entries = open.entries((self.surroundings.now)(), drafts);
        let result = open.commit(&entries);
        self.reporter.update(|status| status.pending = 0);
        match result {
            Ok(()) => {
                self.set_up(true);
                if !entries.is_empty() {
                    self.reporter.report(Report::Entries(entries));
                }
                self.reporter.update(|status| status.events = open.index.events());
                Ok(false)
            }
            Err(fault) if fault.kind == Kind::Damaged => {
                self.carried = entries.into_iter().filter_map(|entry| Some((entry.ticket?, entry.draft))).collect();
                Err(Stop::Damaged(fault))
            }
            Err(fault) => {
                self.note(&fault);
                self.fail(entries.iter().filter_map(|entry| entry.ticket), &fault);
                open.will_tick(); // deletions are tried again
                Ok(false)
            }
        }
    }

    /// Does what is due a second after something was written.
    fn tick(&mut self, open: &mut Open) -> Result<(), Stop> {
        open.tick_at = None;
        if !open.database.is_in_place() {
            return Err(Stop::Lost(format!("{} was removed or replaced", self.path.display())));
        }
        if !open.database.has_wal() {
            open.database.restore_wal(&self.surroundings.boot).map_err(|fault| Stop::Lost(fault.message.into()))?;
        }
        if self.settings.sync == FileSync::Second {
            self.tolerate(open, open.database.sync())?;
        }
        self.store(open, Vec::new())?;
        self.trim(open)?;
        if self.tolerate(open, open.database.shrink())? == Some(true) {
            open.will_tick();
        }
        self.show(open);
        Ok(())
    }

    /// Takes note of a fault that may pass. The next tick tries again.
    fn tolerate<T>(&self, open: &mut Open, result: Result<T, Fault>) -> Result<Option<T>, Stop> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(fault) if fault.kind == Kind::Damaged => Err(Stop::Damaged(fault)),
            Err(fault) => {
                self.note(&fault);
                open.will_tick();
                Ok(None)
            }
        }
    }

    /// Deletes the first entries as long as there are too many, or they are too old. The hub asks to forget them before, as a rule.
    fn trim(&mut self, open: &mut Open) -> Result<(), Stop> {
        let oldest = (self.surroundings.now)().saturating_sub(self.bounds.age);
        loop {
            let first = self.tolerate(open, open.database.first(TRIM_PART))?.unwrap_or_default();
            let mut count = 0;
            for (seq, at, channel) in &first {
                if *at >= oldest && !self.exceeds(&open.index, 1, 1) {
                    break;
                }
                open.index.forget(channel, *seq, *seq);
                count += 1;
            }
            self.store(open, Vec::new())?;
            if count < TRIM_PART || open.index.is_changed() {
                return Ok(());
            }
        }
    }

    /// Returns true if the entries exceed the bounds by a factor.
    fn exceeds(&self, index: &Index, factor: u64, divisor: u64) -> bool {
        let most = |bound: u64| bound.saturating_mul(factor) / divisor;
        let Bounds { events, bytes, .. } = self.bounds;
        index.events() > most(events) || (index.bytes() > most(bytes) && index.events() > 1)
    }

    /// Fails what is asked until it is time to open the file again. Returns true if the thread is to end.
    fn wait(&mut self, fault: &Fault) -> bool {
        let retries = self.has_begun || fault.kind != Kind::Lasting;
        self.note(fault);
        if self.reported.replace(fault.clone()).as_ref() != Some(fault) {
            self.reporter.report(Report::CannotBegin { failure: fault.failure(), retries });
        }
        let carried = std::mem::take(&mut self.carried);
        self.fail(carried.iter().map(|(ticket, _)| *ticket), fault);
        let until = Instant::now() + TICK;
        loop {
            let ask = match retries {
                true => self.asks.recv_timeout(until.saturating_duration_since(Instant::now())),
                false => self.asks.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match ask {
                Ok(Ask::Append { ticket, .. }) => self.fail([ticket].into_iter(), fault),
                Ok(Ask::Retain { events, bytes, age }) => self.bounds = Bounds::new(events, bytes, age),
                Ok(Ask::Forget(_)) => {}
                Ok(Ask::Close) | Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
    }

    fn close(self, open: Open) {
        self.set_up(false);
        if let Err(fault) = open.database.close() {
            self.note(&fault);
            eprintln!("eventsource-hub: {}", fault.message);
        }
    }

    fn fail(&self, tickets: impl Iterator<Item = u64>, fault: &Fault) {
        for ticket in tickets {
            self.reporter.report(Report::Failed { ticket, failure: fault.failure() });
            self.reporter.update(|status| status.failed += 1);
        }
    }

    fn note(&self, fault: &Fault) {
        self.reporter.record_error(&fault.message);
        self.set_up(false);
    }

    fn set_up(&self, is_up: bool) {
        let now = (self.surroundings.now)();
        self.reporter.update(|status| {
            if status.is_up != is_up || status.since == 0 {
                (status.is_up, status.since) = (is_up, now);
            }
        });
    }

    fn show(&self, open: &Open) {
        let (events, bytes) = (open.index.events(), open.database.size());
        self.reporter.update(|status| (status.events, status.bytes) = (events, bytes));
    }
}

impl Open {
    fn will_tick(&mut self) {
        self.tick_at.get_or_insert_with(|| Instant::now() + TICK);
    }

    /// Makes entries of drafts. The times of entries never go back, whatever the clock does.
    fn entries(&self, now: u64, drafts: Vec<(u64, Draft)>) -> Vec<Entry> {
        let at = now.max(self.last_at);
        let numbered = (self.last_seq + 1..).zip(drafts);
        numbered.map(|(seq, (ticket, draft))| Entry { seq, at, ticket: Some(ticket), draft }).collect()
    }

    fn commit(&mut self, entries: &[Entry]) -> Result<(), Fault> {
        let last = entries.last().map_or((self.last_seq, self.last_at), |entry| (entry.seq, entry.at));
        self.database.commit(entries, &self.index, last)?;
        (self.last_seq, self.last_at) = last;
        self.index.is_written();
        for Entry { seq, draft, .. } in entries {
            self.index.append(&draft.channel, &draft.key, *seq, size_of(draft));
        }
        self.will_tick();
        Ok(())
    }
}

impl Bounds {
    fn new(events: usize, bytes: usize, age: Duration) -> Self {
        Self { events: events as u64, bytes: bytes as u64, age: u64::try_from(age.as_millis()).unwrap_or(u64::MAX) }
    }
}

/// Returns the bytes of a draft that count for the retention, which are about those that the hub counts.
fn size_of(draft: &Draft) -> usize {
    draft.key.len() + draft.fields.as_bytes().len()
}
