//! Both ends of a store: [`Store`] for the wire thread, [`StoreEnd`] for the threads of the store.
//!
//! The bytes of the entries that a store has reported and the wire thread has not taken are bounded ([`MOST_UNTAKEN`]).

use super::contract::{MachineState, StoreCommand, StoreEntry, StoreReport};
use eventsource_xs::log::Bounds;
use eventsource_xs::runtime::{self, Mail, Mailbox};
use eventsource_xs::wire::{HubSettings, StoreStatus};
use std::io;
use std::sync::mpsc::{channel, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The most bytes of entries that may wait for the wire thread. A store that has reported more waits: a hub of another machine
/// may publish more than this one delivers.
const MOST_UNTAKEN: usize = 64 << 20;
/// The time after which a store is started again whose threads have ended.
const RESTART: Duration = Duration::from_secs(1);

/// A store, as the wire thread has it. It does nothing when its threads have ended.
#[derive(Debug)]
pub struct Store {
    commands: Sender<StoreCommand>,
    reports: Receiver<StoreReport>,
    shared: Arc<Shared>,
    life: Life,
}

/// The life of a store's threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Running,
    /// They were asked to end, and still carry out what they were asked before.
    Closing,
    Ended {
        restart_at: Instant,
    },
}

/// The data that both ends of a store share.
#[derive(Debug, Default)]
struct Shared {
    known: Mutex<Known>,
    /// Notified when the wire thread has taken entries.
    taken: Condvar,
}

/// The status of a store, as it has reported it.
#[derive(Debug, Default)]
struct Known {
    status: StoreStatus,
    /// When all was reported that the store had.
    read_at: Option<Instant>,
    /// None before the store has begun.
    clock: Option<Reading>,
    /// This process as a machine of a shared store; none of another store.
    machine: Option<MachineState>,
    /// The bytes of the entries that were reported and not taken.
    untaken: usize,
    /// True if nobody will take them.
    is_closed: bool,
}

/// The other end of a [`Store`], for its threads.
#[derive(Debug)]
pub struct StoreEnd {
    pub commands: Receiver<StoreCommand>,
    pub reporter: Reporter,
}

/// Reports from any thread of a store.
#[derive(Clone, Debug)]
pub struct Reporter {
    reports: Sender<StoreReport>,
    /// Dropped after `reports`, so that the wire thread sees that nothing more will come.
    wire_thread: WireThread,
    shared: Arc<Shared>,
}

/// Notifies the wire thread, also when it is dropped.
#[derive(Clone, Debug)]
struct WireThread(Arc<Mailbox>);

impl WireThread {
    fn notify(&self) {
        self.0.push(Mail::Elsewhere);
    }
}

impl Drop for WireThread {
    fn drop(&mut self) {
        self.notify();
    }
}

impl Store {
    /// Creates a store, and the end for its threads.
    pub fn new() -> io::Result<(Self, StoreEnd)> {
        let wire_thread = WireThread(runtime::mailbox().map_err(io::Error::other)?);
        let (commands, asked) = channel();
        let (reported, reports) = channel();
        let shared = Arc::<Shared>::default();
        let reporter = Reporter { reports: reported, wire_thread, shared: Arc::clone(&shared) };
        Ok((Self { commands, reports, shared, life: Life::Running }, StoreEnd { commands: asked, reporter }))
    }

    /// Sends the store a command. Does nothing if its threads have ended.
    pub fn send(&self, command: StoreCommand) {
        let _ = self.commands.send(command);
    }

    /// Tells the store the retention of the history.
    pub fn retain(&self, settings: &HubSettings) {
        let retention = &settings.hub.retention;
        let age = retention.longest_age();
        self.send(StoreCommand::Retain(Bounds { age, ..retention.total_history }));
    }

    /// Asks the threads to end, after what they were asked before.
    pub fn close(&mut self) {
        self.life = Life::Closing;
        self.send(StoreCommand::Close);
    }

    /// Takes all reports that there are. The flag says that the threads have ended: it is set once.
    pub fn take_reports(&mut self, now: Instant) -> (Vec<StoreReport>, bool) {
        let mut reports = Vec::new();
        loop {
            match self.reports.try_recv() {
                Ok(report) => {
                    self.shared.take(&report);
                    reports.push(report);
                }
                Err(TryRecvError::Disconnected) if self.restart_at().is_none() => {
                    self.delay_restart(now);
                    return (reports, true);
                }
                Err(_) => return (reports, false),
            }
        }
    }

    /// Has the threads started again some time later.
    pub fn delay_restart(&mut self, now: Instant) {
        self.life = Life::Ended { restart_at: now + RESTART };
    }

    /// Returns when the threads start again, if they have ended.
    pub fn restart_at(&self) -> Option<Instant> {
        match self.life {
            Life::Ended { restart_at } => Some(restart_at),
            Life::Running | Life::Closing => None,
        }
    }

    /// Returns true if the threads run, and were not asked to end.
    pub fn is_running(&self) -> bool {
        self.life == Life::Running
    }

    /// Waits for the next report. Returns nothing if the time is over, or if the threads of the store have ended.
    pub fn wait_for_report(&self, until: Instant) -> Option<StoreReport> {
        let report = self.reports.recv_timeout(until.saturating_duration_since(Instant::now())).ok()?;
        self.shared.take(&report);
        Some(report)
    }

    /// Returns the time of this process that a time by the store's clock was; `now` if it is still to come.
    pub fn instant_of(&self, at: u64, now: Instant) -> Instant {
        now.checked_sub(Duration::from_millis(self.shared.age(at, now))).unwrap_or(now)
    }

    /// Returns true if all that the store had within this time was reported.
    pub fn has_read(&self, within: Duration, now: Instant) -> bool {
        self.shared.lock().read_at.is_some_and(|at| now.saturating_duration_since(at) < within)
    }

    /// Returns what the store's clock shows, in milliseconds since 1970; 0 if it was never read.
    pub fn clock(&self, now: Instant) -> u64 {
        self.shared.lock().clock.map_or(0, |clock| clock.shows(now))
    }

    /// Returns this process as a machine of a shared store; none of another store.
    pub fn machine(&self) -> Option<MachineState> {
        self.shared.lock().machine.clone()
    }

    /// Returns what is known of the store's health.
    pub fn status(&self) -> StoreStatus {
        self.shared.lock().status.clone()
    }

    /// Returns true if the store takes events, and reports them.
    pub fn is_up(&self) -> bool {
        self.shared.lock().status.is_up
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how old something is by the store's clock, in milliseconds; 0 if it is still to come.
    fn age(&self, at: u64, now: Instant) -> u64 {
        self.lock().clock.map_or(0, |clock| clock.shows(now).saturating_sub(at))
    }

    /// Waits until the wire thread has taken enough, then adds entries.
    fn add(&self, entries: &[StoreEntry]) {
        let is_full = |known: &mut Known| known.untaken >= MOST_UNTAKEN && !known.is_closed;
        let mut known = self.taken.wait_while(self.lock(), is_full).unwrap_or_else(PoisonError::into_inner);
        known.untaken += bytes_of(entries);
    }

    /// Takes note that the wire thread has taken a report.
    fn take(&self, report: &StoreReport) {
        if let StoreReport::Entries(entries) = report {
            self.lock().untaken -= bytes_of(entries);
            self.taken.notify_all();
        }
    }
}

impl Drop for Store {
    /// Lets its threads continue, so that they can end.
    fn drop(&mut self) {
        self.shared.lock().is_closed = true;
        self.shared.taken.notify_all();
    }
}

impl Reporter {
    /// Reports to the wire thread. Waits while this has many entries to take.
    pub fn report(&self, report: StoreReport) {
        if let StoreReport::Entries(entries) = &report {
            self.shared.add(entries);
        }
        let _ = self.reports.send(report); // fails only while the process ends
        self.wire_thread.notify();
    }

    /// Says what the store's clock shows now: milliseconds since 1970. Times of entries are of this clock.
    pub fn set_clock(&self, shown: u64) {
        self.shared.lock().clock = Some(Reading { shown, read_at: Instant::now() });
    }

    /// Says when all was reported that the store had; nothing if that is not known.
    pub fn set_read(&self, at: Option<Instant>) {
        self.shared.lock().read_at = at;
    }

    /// Says what the program after an upgrade continues with.
    pub fn set_machine(&self, machine: MachineState) {
        self.shared.lock().machine = Some(machine);
    }

    /// Returns how old something is by the store's clock, in milliseconds.
    pub fn age(&self, at: u64) -> u64 {
        self.shared.age(at, Instant::now())
    }

    /// Changes what is known of the store's health.
    pub fn update(&self, change: impl FnOnce(&mut StoreStatus)) {
        change(&mut self.shared.lock().status);
    }

    /// Takes note whether the store takes events, from this time on. The wire thread may wait for that.
    pub fn set_up(&self, is_up: bool, now: u64) {
        let mut has_changed = false;
        self.update(|status| {
            has_changed = status.is_up != is_up;
            if has_changed || status.since == 0 {
                (status.is_up, status.since) = (is_up, now);
            }
        });
        if has_changed {
            self.wire_thread.notify();
        }
    }

    /// Takes note of an error.
    pub fn record_error(&self, message: &str) {
        self.update(|status| {
            status.last_error = message.into();
            status.last_error_at = runtime::wall();
        });
    }
}

/// A reading of the store's clock, in milliseconds since 1970, and its time.
#[derive(Clone, Copy, Debug)]
struct Reading {
    shown: u64,
    read_at: Instant,
}

impl Reading {
    /// Returns what the clock shows.
    fn shows(&self, now: Instant) -> u64 {
        let since = u64::try_from(now.saturating_duration_since(self.read_at).as_millis()).unwrap_or(u64::MAX);
        self.shown.saturating_add(since)
    }
}

fn bytes_of(entries: &[StoreEntry]) -> usize {
    entries.iter().map(|entry| size_of::<StoreEntry>() + entry.draft.bytes()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Draft;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    #[test]
    fn a_store_waits_while_its_hub_has_many_entries_to_take_and_not_without_a_hub() {
        let (mut store, end) = Store::new().expect("descriptors");
        let reported = AtomicUsize::new(0);
        let wait_until_full = |taken: usize| {
            let most = taken + (MOST_UNTAKEN >> 20);
            while reported.load(Ordering::SeqCst) < most {
                thread::sleep(Duration::from_millis(1));
            }
            thread::sleep(Duration::from_millis(50)); // it could continue meanwhile
            assert!(reported.load(Ordering::SeqCst) <= most, "{reported:?}");
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                for seq in 1..=200 {
                    let draft = Draft { key: vec![b'k'; 1 << 20].into(), ..Draft::default() };
                    end.reporter.report(StoreReport::Entries(vec![StoreEntry { seq, at: 0, ticket: None, draft }]));
                    reported.fetch_add(1, Ordering::SeqCst);
                }
            });
            wait_until_full(0);
            let taken = store.take_reports(Instant::now()).0.len();
            wait_until_full(taken);
            drop(store);
        });
        assert_eq!(reported.into_inner(), 200);
    }

    #[test]
    fn the_age_of_a_time_grows_with_the_clock_of_this_process() {
        let (seconds, now) = (Duration::from_secs, Instant::now());
        let (store, _end) = Store::new().expect("descriptors");
        store.shared.lock().clock = Some(Reading { shown: 100_000, read_at: now });
        for (at, later, expected) in [(90_000, 0, 10), (90_000, 5, 15), (101_000, 0, 0), (101_000, 5, 4)] {
            let now = now + seconds(later);
            assert_eq!(now - store.instant_of(at, now), seconds(expected), "{at} after {later} seconds");
        }
    }

    #[test]
    fn threads_that_have_ended_start_again_once() {
        let ((mut store, end), now) = (Store::new().expect("descriptors"), Instant::now());
        store.close();
        assert!(!store.is_running() && store.restart_at().is_none());
        assert!(matches!(end.commands.try_recv(), Ok(StoreCommand::Close)));
        end.reporter.report(StoreReport::Ready);
        let taken = |store: &mut Store, now| {
            let (reports, has_ended) = store.take_reports(now);
            (reports.len(), has_ended)
        };
        assert_eq!(taken(&mut store, now), (1, false));
        drop(end);
        assert_eq!(taken(&mut store, now), (0, true));
        assert_eq!(taken(&mut store, now + RESTART), (0, false), "it is known");
        assert_eq!(store.restart_at(), Some(now + RESTART));
    }
}
