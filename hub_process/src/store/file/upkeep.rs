//! A second after something was written, a store in a file syncs, and gives pages back.

use super::fault::{Fault, Kind};
use super::keeper::{Keeper, Open, Stop};
use eventsource_xs::remote::calls::is_at;
use eventsource_xs::wire::FileSync;
use std::rc::Rc;

impl Keeper {
    /// Does what is due a second after something was written.
    pub(super) fn tick(&mut self, open: &mut Open) -> Result<(), Stop> {
        open.tick_at = None;
        if !is_at(&open.database.file(), &self.path) {
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
        if self.tolerate(open, open.database.shrink())? == Some(true) {
            open.will_tick();
        }
        self.show(open);
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
}
