//! The threads of the store: they run, are asked to end, have ended, and start again.

use crate::store::{self, Ask, Report, Store};
use eventsource_xs::wire::{HubSettings, Name, StoreStatus};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// How long a store whose threads have ended stays so.
pub const RESTART: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Running,
    /// They were asked to end, and still carry out what they were asked before.
    Closing,
    Ended {
        restart_at: Instant,
    },
}

/// A store, and whether its threads run.
pub struct StoreThreads {
    store: Store,
    life: Life,
}

impl StoreThreads {
    pub fn new(store: Store) -> Self {
        Self { store, life: Life::Running }
    }

    /// Starts the threads of these settings' store.
    pub fn start(settings: &HubSettings, name: &Name) -> io::Result<Self> {
        let threads = Self::new(store::start(&settings.store, name)?);
        threads.retain(settings);
        Ok(threads)
    }

    /// Asks the store. A store whose threads have ended does nothing.
    pub fn ask(&self, ask: Ask) {
        self.store.ask(ask);
    }

    /// Tells the store the retention of the history.
    pub fn retain(&self, settings: &HubSettings) {
        let total = settings.hub.total_history;
        let age = settings.hub.retention().longest_age();
        self.ask(Ask::Retain { events: total.events, bytes: total.bytes, age });
    }

    /// Asks the threads to end, after what they were asked before.
    pub fn close(&mut self, hub_continues: bool) {
        self.life = Life::Closing;
        self.ask(Ask::Close { hub_continues });
    }

    /// Takes all reports that there are. The flag says that the threads have ended: it is set once.
    pub fn take_reports(&mut self, now: Instant) -> (Vec<Report>, bool) {
        let (reports, has_ended) = self.store.take_reports();
        let is_first = has_ended && self.restart_at().is_none();
        if is_first {
            self.delay_restart(now);
        }
        (reports, is_first)
    }

    /// Waits for the next report. Returns nothing if the time is over, or if the threads have ended.
    pub fn wait_for_report(&self, until: Instant) -> Option<Report> {
        self.store.wait_for_report(until)
    }

    /// Starts the threads again some time later.
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
    pub fn are_running(&self) -> bool {
        self.life == Life::Running
    }

    /// Returns the descriptor that is readable while the store has reports.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.store.descriptor()
    }

    pub fn status(&self) -> StoreStatus {
        self.store.status()
    }

    /// Returns the time of this process that a time by the store's clock was; `now` if it is still to come.
    pub fn instant_of(&self, at: u64, now: Instant) -> Instant {
        self.store.instant_of(at, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_have_ended_start_again_once() {
        let (store, end) = Store::new().expect("a pipe");
        let (mut threads, now) = (StoreThreads::new(store), Instant::now());
        threads.close(true);
        assert!(!threads.are_running() && threads.restart_at().is_none());
        assert!(matches!(end.asks.try_recv(), Ok(Ask::Close { hub_continues: true })));
        end.reporter.report(Report::Ready);
        let taken = |threads: &mut StoreThreads, now| {
            let (reports, has_ended) = threads.take_reports(now);
            (reports.len(), has_ended)
        };
        assert_eq!(taken(&mut threads, now), (1, false));
        drop(end);
        assert_eq!(taken(&mut threads, now), (0, true));
        assert_eq!(taken(&mut threads, now + RESTART), (0, false), "it is known");
        assert_eq!(threads.restart_at(), Some(now + RESTART));
    }
}
