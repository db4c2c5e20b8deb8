//! The threads of the store: they run, are asked to end, have ended, and start again.

use crate::store::{self, Delivered, Store, StoreCommand, StoreReport};
use eventsource_xs::log::Bounds;
use eventsource_xs::wire::{HubSettings, Name};
use std::io;
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
    /// It does nothing when its threads have ended. All reports are taken [here](Self::take_reports), which sees that end.
    pub store: Store,
    life: Life,
}

impl StoreThreads {
    pub fn new(store: Store) -> Self {
        Self { store, life: Life::Running }
    }

    /// Starts the threads of these settings' store.
    pub fn start(settings: &HubSettings, name: &Name, delivered: Option<Delivered>) -> io::Result<Self> {
        let threads = Self::new(store::start(&settings.store, name, delivered)?);
        threads.retain(settings);
        Ok(threads)
    }

    /// Tells the store the retention of the history.
    pub fn retain(&self, settings: &HubSettings) {
        let retention = &settings.hub.retention;
        let age = retention.longest_age();
        self.store.send(StoreCommand::Retain(Bounds { age, ..retention.total_history }));
    }

    /// Asks the threads to end, after what they were asked before.
    pub fn close(&mut self) {
        self.life = Life::Closing;
        self.store.send(StoreCommand::Close);
    }

    /// Takes all reports that there are. The flag says that the threads have ended: it is set once.
    pub fn take_reports(&mut self, now: Instant) -> (Vec<StoreReport>, bool) {
        let (reports, has_ended) = self.store.take_reports();
        let is_first = has_ended && self.restart_at().is_none();
        if is_first {
            self.delay_restart(now);
        }
        (reports, is_first)
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_have_ended_start_again_once() {
        let (store, end) = Store::new().expect("a pipe");
        let (mut threads, now) = (StoreThreads::new(store), Instant::now());
        threads.close();
        assert!(!threads.are_running() && threads.restart_at().is_none());
        assert!(matches!(end.commands.try_recv(), Ok(StoreCommand::Close)));
        end.reporter.report(StoreReport::Ready);
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
