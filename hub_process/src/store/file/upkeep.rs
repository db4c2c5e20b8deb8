//! What a store in a file does a second after something was written: it syncs, deletes, and gives pages back.

use super::fault::{Fault, Kind};
use super::index::Index;
use super::keeper::{Keeper, Open, Stop, TICK};
use super::place::is_same;
use super::Bounds;
use eventsource_xs::wire::FileSync;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// After this time it is looked again whether entries are too old, whatever the clock said.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// How many of the first entries are deleted together when there are too many.
const TRIM_PART: usize = 4096;

impl Keeper {
    /// Does what is due a second after something was written.
    pub(super) fn tick(&mut self, open: &mut Open) -> Result<(), Stop> {
        open.tick_at = None;
        if !is_same(&open.database.file(), &self.path) {
            return Err(Stop::Lost(format!("{} was removed or replaced", self.path.display())));
        }
        if !open.database.has_wal() {
            match Rc::get_mut(&mut open.database).map(|database| database.restore_wal(&self.surroundings.boot)) {
                None => open.will_tick(), // when the backup has been given up
                Some(restored) => restored.map_err(|fault| Stop::Lost(fault.message.into()))?,
            }
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
        // The first entry is deleted when it is too old, also if nothing is written until then.
        if let (Some((_, _, at)), None) = (open.index.first(), open.tick_at) {
            let until = at.saturating_add(self.bounds.age).saturating_sub((self.surroundings.now)());
            let pause = Duration::from_millis(until).clamp(TICK, LONGEST_PAUSE);
            open.tick_at = Some(Instant::now() + pause);
        }
        Ok(())
    }

    /// Takes note of a fault that may pass. The next tick tries again.
    pub(super) fn tolerate<T>(&self, open: &mut Open, result: Result<T, Fault>) -> Result<Option<T>, Stop> {
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

    /// Deletes the first entries as long as there are too many, or they are too old. The hub asks to forget them before, as a
    /// rule.
    pub(super) fn trim(&mut self, open: &mut Open) -> Result<(), Stop> {
        let oldest = (self.surroundings.now)().saturating_sub(self.bounds.age);
        loop {
            let mut count = 0;
            while let Some((channel, seq, at)) = open.index.first().filter(|_| count < TRIM_PART) {
                if at >= oldest && !self.exceeds(&open.index, 1, 1) {
                    break;
                }
                open.index.forget(&channel, seq, seq);
                count += 1;
            }
            self.store(open, Vec::new())?;
            if count < TRIM_PART || open.index.is_changed() {
                return Ok(());
            }
        }
    }

    /// Returns true if the entries exceed the bounds by a factor.
    pub(super) fn exceeds(&self, index: &Index, factor: u64, divisor: u64) -> bool {
        let most = |bound: u64| bound.saturating_mul(factor) / divisor;
        let (Bounds { events, bytes, .. }, held) = (self.bounds, index.held());
        held.events > most(events) || (held.bytes > most(bytes) && held.events > 1)
    }
}
