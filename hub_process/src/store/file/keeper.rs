//! The thread of a store in a file: it opens the file, carries out what is asked, and reports.

use super::database::Database;
use super::fault::{Fault, Kind};
use super::place::{lock, real, set_aside, wal_of};
use super::ticket_keys::KeptKeys;
use super::Surroundings;
use crate::process_log::log_message;
use crate::store::{Draft, Reporter, StoreCommand, StoreEnd, StoreEntry, StoreReport};
use eventsource_xs::hub::Evictions;
use eventsource_xs::wire::FileSettings;
use std::collections::VecDeque;
use std::fs::File;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time after a write at which the store syncs and tidies up, and the interval of attempts to open a file.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// The most drafts of a commit.
const MOST_DRAFTS: usize = 4096;

/// The bytes of drafts from which on a commit takes no more.
const MOST_DRAFT_BYTES: usize = 2 << 20;

/// The store's thread.
pub(super) struct Keeper {
    /// The path that was set. A symbolic link there is followed at each beginning.
    pub(super) path: PathBuf,
    /// The path of the file that was opened last.
    real: PathBuf,
    pub(super) settings: FileSettings,
    pub(super) surroundings: Surroundings,
    commands: Receiver<StoreCommand>,
    pub(super) reporter: Reporter,
    /// The reason for which the next beginning has a new epoch.
    lost: Option<Box<str>>,
    /// The backups that are to be made, one after the other: their tickets and paths.
    backups: VecDeque<(u64, PathBuf)>,
    has_begun: bool,
    /// True if the hub has asked for the end.
    pub(super) is_closing: bool,
}

/// The state of the thread while the file is open.
pub(super) struct Open {
    /// Shared with a backup that is being made.
    pub(super) database: Rc<Database>,
    epoch: Box<str>,
    keys: KeptKeys,
    /// The number of entries.
    events: usize,
    last_seq: u64,
    last_at: u64,
    /// When to sync and to tidy up; none if nothing was written.
    pub(super) tick_at: Option<Instant>,
}

/// The reason for which the thread no longer uses a file.
pub(super) enum Stop {
    /// It was asked to end.
    End,
    /// The path leads to another file, or to none: why.
    Lost(String),
    /// The file is damaged.
    Damaged(Fault),
}

/// The commands that are carried out together.
#[derive(Default)]
struct Batch {
    drafts: Vec<(u64, Draft)>,
    bytes: usize,
    /// The numbers that the hub has evicted, and their tickets.
    evicted: Evictions,
    forgets: Vec<u64>,
    /// The members that linger, as the hub says.
    lingering: Option<Box<[u8]>>,
    /// The loss that the hub has found.
    lost: Option<Box<str>>,
    wants_ticket_keys: bool,
    pings: Vec<u64>,
}

impl Keeper {
    pub(super) fn new(surroundings: Surroundings, settings: FileSettings, end: StoreEnd) -> Self {
        Self {
            path: PathBuf::from(&*settings.path),
            real: PathBuf::from(&*settings.path),
            settings,
            surroundings,
            commands: end.commands,
            reporter: end.reporter,
            lost: None,
            backups: VecDeque::new(),
            has_begun: false,
            is_closing: false,
        }
    }

    /// Runs until the store is asked to end.
    pub(super) fn run(mut self) {
        loop {
            match self.begin() {
                Ok(mut open) => match self.serve(&mut open) {
                    Stop::End => return self.close(open),
                    Stop::Lost(reason) => {
                        // The WAL must not be taken for that of the file that is there now.
                        let _ = open.database.checkpoint();
                        self.lose(reason);
                    }
                    Stop::Damaged(fault) => {
                        let file = open.database.file();
                        drop(open);
                        if let Err(fault) = self.set_aside(file, &fault) {
                            self.lose(fault.message.into());
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

    /// Opens the file and reports its history. A damaged file is set aside, unless it has no WAL: then it is another program's,
    /// which a wrong path names.
    fn begin(&mut self) -> Result<Open, Fault> {
        let file = self.lock()?;
        match self.begin_with(Arc::clone(&file)) {
            Err(fault) if fault.kind == Kind::Damaged && !wal_of(&self.real).exists() => {
                Err(Fault { kind: Kind::Lasting, ..fault })
            }
            Err(fault) if fault.kind == Kind::Damaged => {
                self.set_aside(file, &fault)?;
                let file = self.lock()?;
                self.begin_with(file)
            }
            result => result,
        }
    }

    fn lock(&mut self) -> Result<Arc<File>, Fault> {
        let file = lock(&self.path)?;
        self.real = real(&self.path)?;
        Ok(file)
    }

    fn begin_with(&mut self, file: Arc<File>) -> Result<Open, Fault> {
        let (database, began, last_at) =
            Database::open(file, &self.real, self.settings.sync, &self.surroundings, self.lost.as_deref())?;
        let (last_seq, epoch) = (began.history.last_seq, began.history.epoch.clone());
        if !began.reason.is_empty() && self.lost.is_none() {
            self.lose(began.reason.to_string());
        }
        let mut keys = KeptKeys::begin(&database, &began, &self.surroundings)?;
        let of_tickets = keys.renew(&database, &self.surroundings)?;
        self.reporter.set_clock((self.surroundings.now)());
        self.reporter.report(StoreReport::Began(began));
        self.reporter.report(StoreReport::TicketKeys(of_tickets));
        let mut events = 0;
        database.read(|entries| {
            events += entries.len();
            self.reporter.report(StoreReport::Entries(entries));
        })?;
        (self.lost, self.has_begun) = (None, true);
        let database = Rc::new(database);
        let mut open = Open { database, epoch, keys, events, last_seq, last_at, tick_at: None };
        self.show(&open);
        self.set_up(true);
        open.will_tick();
        self.reporter.report(StoreReport::Ready);
        Ok(open)
    }

    /// Takes note that history was lost: the next beginning has a new epoch.
    fn lose(&mut self, reason: String) {
        self.reporter.record_error(&reason);
        self.reporter.update(|status| status.epoch_changes += 1);
        self.lost = Some(reason.into());
    }

    /// Renames a damaged file, which is still locked.
    fn set_aside(&mut self, _locked: Arc<File>, fault: &Fault) -> Result<(), Fault> {
        let shown = self.real.display();
        let name = set_aside(&self.real, (self.surroundings.now)()).map_err(|error| {
            Fault::new(Kind::Lasting, format!("{shown} is damaged, and cannot be renamed: {error}"))
        })?;
        self.lose(format!("{shown} was damaged and is now {} ({})", name.display(), fault.message));
        Ok(())
    }

    /// Carries out what is asked until the file cannot be used any more.
    fn serve(&mut self, open: &mut Open) -> Stop {
        while !self.is_closing {
            let left = left_until(open.tick_at);
            let served = match self.backups.pop_front() {
                Some((ticket, path)) => self.back_up(open, ticket, &path),
                None if left.is_zero() => self.tick(open),
                None => match self.commands.recv_timeout(left) {
                    Ok(command) => self.carry_out(open, command),
                    Err(RecvTimeoutError::Timeout) => Ok(()),
                    Err(RecvTimeoutError::Disconnected) => Err(Stop::End),
                },
            };
            if let Err(stop) = served {
                return stop;
            }
        }
        Stop::End
    }

    /// Does what is due, and what is asked, without waiting.
    pub(super) fn do_due(&mut self, open: &mut Open) -> Result<(), Stop> {
        if open.tick_at.is_some_and(|at| at <= Instant::now()) {
            self.tick(open)?;
        }
        self.commands.try_recv().map_or(Ok(()), |command| self.carry_out(open, command))
    }

    /// Carries out a command and those that wait behind it.
    fn carry_out(&mut self, open: &mut Open, first: StoreCommand) -> Result<(), Stop> {
        let mut batch = Batch::default();
        let mut next = Some(first);
        while let Some(command) = next {
            self.gather(open, command, &mut batch);
            let is_full = self.is_closing || batch.drafts.len() >= MOST_DRAFTS || batch.bytes >= MOST_DRAFT_BYTES;
            next = if is_full { None } else { self.commands.try_recv().ok() };
        }
        let (lingering, lost, wants_ticket_keys) = (batch.lingering.take(), batch.lost.take(), batch.wants_ticket_keys);
        let pings = std::mem::take(&mut batch.pings);
        self.store(open, batch)?;
        pings.into_iter().for_each(|ticket| self.reporter.report(StoreReport::Done(ticket)));
        if let Some(lingering) = lingering {
            let kept = open.database.write_meta(&[("lingering", &lingering)]);
            self.tolerate(open, kept)?;
        }
        if wants_ticket_keys {
            let keys = open.keys.renew(&open.database, &self.surroundings);
            let keys = self.tolerate(open, keys)?;
            if let Some(keys) = keys {
                self.reporter.report(StoreReport::TicketKeys(keys));
            }
        }
        match lost {
            Some(reason) => Err(Stop::Lost(format!("{}: {reason}", self.path.display()))),
            None => Ok(()),
        }
    }

    fn gather(&mut self, open: &mut Open, command: StoreCommand, batch: &mut Batch) {
        match command {
            StoreCommand::Append { ticket, draft } => {
                batch.bytes += draft.bytes();
                batch.drafts.push((ticket, draft));
            }
            StoreCommand::Forget { ticket, epoch, evictions } => {
                batch.forgets.push(ticket);
                if epoch == open.epoch {
                    batch.evicted.extend(evictions);
                }
            }
            // The hub says what it evicts, and all members are of this machine.
            StoreCommand::Retain(_) | StoreCommand::Replace(_) => {}
            StoreCommand::Linger(lingering) => batch.lingering = Some(lingering),
            StoreCommand::Lost(reason) => batch.lost = Some(reason),
            StoreCommand::ReadTicketKeys => batch.wants_ticket_keys = true,
            StoreCommand::Ping { ticket } => batch.pings.push(ticket),
            StoreCommand::BackUp { ticket, path } => self.backups.push_back((ticket, path)),
            StoreCommand::Close => self.is_closing = true,
        }
    }

    /// Commits drafts and what the hub has evicted, and reports them.
    fn store(&mut self, open: &mut Open, Batch { drafts, evicted, forgets, .. }: Batch) -> Result<(), Stop> {
        if drafts.is_empty() && forgets.is_empty() {
            return Ok(());
        }
        let now = (self.surroundings.now)();
        self.reporter.set_clock(now);
        let entries = open.entries(now, drafts);
        let result = open.commit(&entries, &evicted);
        let forgotten = match &result {
            Err(fault) if fault.kind != Kind::Damaged => {
                let _ = open.database.checkpoint(); // the next commit then needs no room beyond the WAL's
                open.commit(&[], &evicted) // which makes room for the next drafts
            }
            result => result.clone(),
        };
        forgets.into_iter().for_each(|ticket| self.report_done(ticket, &forgotten));
        match result {
            Ok(()) => {
                self.set_up(true);
                self.reporter.update(|status| status.events = open.events as u64);
                if !entries.is_empty() {
                    self.reporter.report(StoreReport::Entries(entries));
                }
                Ok(())
            }
            Err(fault) => {
                let tolerated = self.tolerate(open, Err(fault.clone())).map(|_: Option<()>| ());
                entries.iter().filter_map(|entry| entry.ticket).for_each(|ticket| self.fail(ticket, &fault));
                tolerated
            }
        }
    }

    /// Fails what is asked until it is time to open the file again. Returns true if the thread is to end.
    fn wait(&mut self, fault: &Fault) -> bool {
        let retries = self.has_begun || fault.kind != Kind::Lasting;
        self.note(fault);
        self.reporter.report(StoreReport::CannotBegin { failure: fault.failure(), retries });
        if self.is_closing {
            return true;
        }
        let until = retries.then(|| Instant::now() + TICK);
        loop {
            match self.commands.recv_timeout(left_until(until)) {
                Ok(
                    StoreCommand::Append { ticket, .. }
                    | StoreCommand::BackUp { ticket, .. }
                    | StoreCommand::Forget { ticket, .. },
                ) => self.fail(ticket, fault),
                Ok(StoreCommand::Close) | Err(RecvTimeoutError::Disconnected) => return true,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
    }

    fn close(self, open: Open) {
        self.set_up(false);
        if let Err(fault) = open.database.close() {
            self.note(&fault);
            log_message(&fault.message);
        }
    }

    fn fail(&self, ticket: u64, fault: &Fault) {
        self.reporter.update(|status| status.failed += 1);
        self.reporter.report(StoreReport::Failed { ticket, failure: fault.failure() });
    }

    /// Reports that something was done which has no entry, or why not.
    pub(super) fn report_done(&self, ticket: u64, result: &Result<(), Fault>) {
        self.reporter.report(match result {
            Ok(()) => StoreReport::Done(ticket),
            Err(fault) => StoreReport::Failed { ticket, failure: fault.failure() },
        });
    }

    pub(super) fn note(&self, fault: &Fault) {
        self.reporter.record_error(&fault.message);
        self.set_up(false);
    }

    fn set_up(&self, is_up: bool) {
        self.reporter.set_up(is_up, (self.surroundings.now)());
    }

    pub(super) fn show(&self, open: &Open) {
        let (events, bytes) = (open.events, open.database.size());
        self.reporter.update(|status| (status.events, status.bytes) = (events as u64, bytes));
    }
}

/// Returns how long a thread may wait: for ever without a time.
fn left_until(at: Option<Instant>) -> Duration {
    at.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()))
}

impl Open {
    pub(super) fn will_tick(&mut self) {
        let soon = Instant::now() + TICK;
        self.tick_at = Some(self.tick_at.map_or(soon, |at| at.min(soon)));
    }

    /// Makes entries of drafts. The times of entries never go back, whatever the clock does.
    fn entries(&self, now: u64, drafts: Vec<(u64, Draft)>) -> Vec<StoreEntry> {
        let at = now.max(self.last_at);
        let numbered = (self.last_seq + 1..).zip(drafts);
        numbered.map(|(seq, (ticket, draft))| StoreEntry { seq, at, ticket: Some(ticket), draft }).collect()
    }

    fn commit(&mut self, entries: &[StoreEntry], evicted: &Evictions) -> Result<(), Fault> {
        let (seq, at) = entries.last().map_or((self.last_seq, self.last_at), |entry| (entry.seq, entry.at));
        let deleted = self.database.commit(entries, evicted, seq, at)?;
        (self.last_seq, self.last_at) = (seq, at);
        self.events = (self.events + entries.len()).saturating_sub(deleted);
        self.will_tick();
        Ok(())
    }
}
