//! The hub that this process serves: none before the first peer, and from then on one, whose store begins and ends here.
//!
//! A peer whose settings do not fit a hub restarts it, as if the process had ended and begun again: the hub ends with its
//! streams and its store, and one with the wanted settings begins. Nothing moves from one to the other.

use crate::served_hub::{ServedHub, Source};
use crate::settings::{Precedence, Wanted};
use crate::store::check_built;
use crate::stored_hub::{Effects, LastDelivered, SavedStored, StoredHub};
use eventsource_xs::remote::Place;
use eventsource_xs::runtime::saved_reactor::{Restored, SavedHub};
use eventsource_xs::runtime::{HubHandle, PresenceReport};
use eventsource_xs::saved;
use eventsource_xs::wire::{Failure, HubSettings, NamedSettings, StoreStatus};
use std::error::Error;
use std::io;
use std::time::{Duration, Instant};

/// The hub that is served, and whose settings it has.
pub struct CurrentHub {
    place: Place,
    precedence: Precedence,
    hub: Option<ServedHub>,
    /// Why the store has not begun.
    cannot_begin: Option<Failure>,
}

impl CurrentHub {
    /// Begins without a hub: the first peer decides its settings.
    pub fn new(place: Place, precedence: Precedence) -> Self {
        Self { place, precedence, hub: None, cannot_begin: None }
    }

    pub fn hub(&self) -> Option<&ServedHub> {
        self.hub.as_ref()
    }

    pub fn hub_mut(&mut self) -> Option<&mut ServedHub> {
        self.hub.as_mut()
    }

    pub fn stored(&mut self) -> Option<&mut StoredHub> {
        self.hub.as_mut().and_then(ServedHub::stored_mut)
    }

    /// Returns the hub in memory; nothing while the hub does not exist, or its store has not begun.
    pub fn handle(&self) -> Option<&HubHandle> {
        self.hub.as_ref().and_then(ServedHub::handle)
    }

    /// Returns true while the hub's store has not begun.
    pub fn is_beginning(&self) -> bool {
        self.hub.is_some() && self.handle().is_none()
    }

    /// Returns the health of the store. One that nobody has needed so far is not down.
    pub fn store_status(&self) -> StoreStatus {
        let of_next = || self.precedence.wanted(NamedSettings::default(), None).all.store.kind().into();
        let unused = || StoreStatus { kind: of_next(), is_up: self.cannot_begin.is_none(), ..StoreStatus::default() };
        self.hub.as_ref().map_or_else(unused, ServedHub::store_status)
    }

    pub fn precedence(&self) -> &Precedence {
        &self.precedence
    }
}

/// A peer has come.
impl CurrentHub {
    /// Returns the settings that the hub is to have, if it can have them. A command names none.
    pub fn wanted(&self, given: NamedSettings) -> Result<Wanted, Failure> {
        let wanted = self.precedence.wanted(given, self.hub.as_ref().map(|hub| &hub.settings));
        wanted.check(self.place.name(), self.hub.as_ref().map(|hub| &hub.claimed))?;
        Ok(wanted)
    }

    /// Returns true if workers have claimed another store than these settings name.
    pub fn has_other_store_claimed(&self, given: &NamedSettings) -> bool {
        let decided = self.precedence.decided().store.as_ref();
        let claimed = self.hub.as_ref().and_then(|hub| hub.claimed.store.as_ref());
        let both = decided.or(given.store.as_ref()).zip(claimed);
        both.is_some_and(|(given, claimed)| !claimed.is_same(given))
    }

    /// Gives the hub settings that it can have as it is. Returns false if it must restart, or has not begun.
    pub fn adopt(&mut self, wanted: &Wanted) -> bool {
        self.hub.as_mut().is_some_and(|hub| hub.adopt(wanted))
    }

    /// Begins the hub. One that was there ends with its streams; its store has [finished](Self::finish_store).
    pub fn begin(&mut self, wanted: &Wanted) -> io::Result<()> {
        let claimed = self.hub.take().map(|before| before.claimed).unwrap_or_default();
        self.cannot_begin = None;
        let hub = ServedHub::new(&self.place, wanted.all.clone(), wanted.named.clone().or(claimed))?;
        self.hub = Some(hub);
        Ok(())
    }

    /// Takes note of settings that a peer has named for the hub, as it is now.
    pub fn remember(&mut self, named: &NamedSettings) {
        self.precedence.remember(named);
    }

    /// Called when the last worker has left: others may name other values than those that have.
    pub fn release_claims(&mut self) {
        self.hub.iter_mut().for_each(|hub| hub.claimed = self.precedence.decided().clone());
    }
}

/// The hub's store has begun, or has not.
impl CurrentHub {
    /// Takes note that the store has begun.
    pub fn note_begun(&mut self) {
        self.cannot_begin = None;
    }

    /// Takes note of why the store has not begun. It tries again.
    pub fn note_cannot_begin(&mut self, failure: Failure) {
        self.cannot_begin = Some(failure);
    }

    /// Returns why the store has not begun.
    pub fn cannot_begin(&self) -> Option<&Failure> {
        self.cannot_begin.as_ref()
    }

    /// Ends the hub, whose store cannot begin, for a reason that stays known. The next peer begins one.
    pub fn give_up(&mut self, failure: Failure) {
        (self.hub, self.cannot_begin) = (None, Some(failure));
    }

    /// Applies what the reactor has reported of a stream with a member or a will, if a store has the order of events.
    pub fn apply_presence(&mut self, report: PresenceReport, now: Instant) {
        if let Some(stored) = self.stored() {
            stored.apply_presence(report, now);
        }
    }

    /// Ends the store, if there is one. The hub has the wills of the streams: these have ended, or do so with the hub. Returns
    /// what has become of those who wait for it; the hub is not ready afterwards.
    pub fn finish_store(&mut self, within: Duration) -> Effects {
        self.stored().map(|stored| stored.finish(within)).unwrap_or_default()
    }
}

/// The state that another program needs to continue with the hub.
#[derive(Debug)]
pub struct SavedServed {
    handle: SavedHub,
    settings: HubSettings,
    claimed: NamedSettings,
    stored: Option<SavedStored>,
}

saved!(SavedServed { handle, settings, claimed, stored });

impl SavedServed {
    /// Checks that this program was built with the store of the hub. Fails with the reason.
    pub fn check_store(&self) -> Result<(), String> {
        check_built(&self.settings.store)
    }
}

impl CurrentHub {
    /// Returns what another program needs to continue with the hub, if that has begun.
    pub fn saved(&self) -> Option<SavedServed> {
        let hub = self.hub.as_ref()?;
        let (stored, members) = match &hub.source {
            Source::Own(_) => (None, None),
            Source::Stored(stored) => (Some(stored.saved()?), stored.members()),
        };
        let handle = hub.handle()?.saved(members)?;
        Some(SavedServed { handle, settings: hub.settings.clone(), claimed: hub.claimed.clone(), stored })
    }

    /// Continues with the hub of another program.
    pub fn restore(&mut self, saved: SavedServed, restored: &Restored) -> Result<(), Box<dyn Error>> {
        let SavedServed { mut handle, settings, claimed, stored } = saved;
        let source = match stored {
            None => Source::Own(restored.hub(handle)),
            Some(stored) => {
                let (members, seen) = (handle.take_members(), LastDelivered::open(&self.place.seen()));
                let hub = (restored.hub(handle), members);
                Source::Stored(Box::new(StoredHub::restore(stored, &settings, self.place.name(), seen, hub)?))
            }
        };
        self.hub = Some(ServedHub::of(source, &self.place, (settings, claimed)));
        Ok(())
    }
}
