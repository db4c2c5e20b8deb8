//! The hub that this process serves: none before the first peer, and from then on one, whose store begins and ends here.
//!
//! A peer whose settings do not fit a hub restarts it, as if the process had ended and begun again: the hub ends with its
//! streams and its store, and one with the wanted settings begins. Nothing moves from one to the other.

use crate::served_hub::{ServedHub, Source};
use crate::settings::{Precedence, Wanted};
use crate::stored_hub::{Effects, StoredHub};
use eventsource_xs::remote::Place;
use eventsource_xs::runtime::{HandoverFile, HubHandle, PresenceReport};
use eventsource_xs::wire::{Failure, Handover, HubSettings, NamedSettings, StoreStatus};
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

    /// Returns the hub, if it has no store.
    pub fn own(&self) -> Option<&HubHandle> {
        self.hub.as_ref().filter(|hub| !hub.has_store()).and_then(ServedHub::handle)
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

/// Handing over to another program.
impl CurrentHub {
    /// Appends the settings of the hub, and what is not in the reactor of one without a store.
    pub fn hand_over(&self, file: &mut HandoverFile, now: Instant) {
        let Some(hub) = &self.hub else { return };
        let all = NamedSettings::from(hub.settings.clone()).into();
        file.add(&Handover::Settings { all, claimed: hub.claimed.clone().into() });
        match &hub.source {
            Source::Own(handle) => handle.hand_over(file, now),
            Source::Stored(stored) => {
                stored.members().into_iter().for_each(|members| HubHandle::hand_presences_over(members, file));
            }
        }
    }

    /// Continues with the hub of another program, whose members linger for `wait` at least: their streams follow. One with a
    /// store begins with that.
    pub fn resume(&mut self, handed: &[Handover<'_>], wait: Duration) -> Result<(), Box<dyn Error>> {
        let both = handed.iter().find_map(|part| match part {
            Handover::Settings { all, claimed } => {
                Some((all.clone().over(HubSettings::default()), (**claimed).clone()))
            }
            _ => None,
        });
        let Some((settings, claimed)) = both else { return Ok(()) };
        let mut hub = match handed.iter().any(|part| matches!(part, Handover::History(_))) {
            true => {
                let handle = HubHandle::resumed(settings.hub.clone(), settings.max_topics, handed, wait)?;
                ServedHub::of(Source::Own(handle), &self.place, (settings, claimed))
            }
            false => ServedHub::new(&self.place, settings, claimed)?,
        };
        hub.stored_mut().into_iter().for_each(|stored| stored.await_streams(wait));
        self.hub = Some(hub);
        Ok(())
    }
}
