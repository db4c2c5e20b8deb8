//! The hub that this process serves: none before the first peer, and from then on one, whose store begins and ends here. For a
//! worker whose settings do not fit it the process continues as the same program, with another hub (`server/upgrade.rs`).

use crate::served_hub::{ServedHub, Source};
use crate::settings::{Precedence, Wanted};
use crate::stored_hub::StoredHub;
use eventsource_xs::runtime::{resume_hub, HandoverFile, PresenceReport, ReactorHub};
use eventsource_xs::wire::{Failure, Handover, HubSettings, NamedSettings, StoreStatus};
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The hub that is served, and whose settings it has.
pub struct CurrentHub {
    pub precedence: Precedence,
    pub hub: Option<ServedHub>,
    /// Why the store has not begun. While there is a hub it tries again; otherwise the next peer begins one.
    pub cannot_begin: Option<Failure>,
}

impl CurrentHub {
    /// Begins without a hub: the first peer decides its settings.
    pub fn new(precedence: Precedence) -> Self {
        Self { precedence, hub: None, cannot_begin: None }
    }

    pub fn stored(&mut self) -> Option<&mut StoredHub> {
        self.hub.as_mut().and_then(ServedHub::stored_mut)
    }

    /// Returns the hub in memory; nothing while the hub does not exist, or its store has not begun.
    pub fn handle(&self) -> Option<&Arc<ReactorHub>> {
        self.hub.as_ref().and_then(ServedHub::handle)
    }

    /// Returns the epoch of the hub, once it has begun.
    pub fn epoch(&self) -> Option<&str> {
        self.hub.as_ref().filter(|hub| hub.handle().is_some()).map(ServedHub::epoch)
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
}

/// A peer has come.
impl CurrentHub {
    /// Returns the settings that the hub is to have, if it can have them. A command names none.
    pub fn wanted(&self, given: NamedSettings) -> Result<Wanted, Failure> {
        let wanted = self.precedence.wanted(given, self.hub.as_ref().map(|hub| &hub.settings));
        wanted.check(self.precedence.place.name(), self.hub.as_ref().map(|hub| &hub.claimed))?;
        Ok(wanted)
    }

    /// Returns true if workers have claimed another store than these settings name.
    pub fn has_other_store_claimed(&self, given: &NamedSettings) -> bool {
        let decided = self.precedence.decided().store.as_ref();
        let claimed = self.hub.as_ref().and_then(|hub| hub.claimed.store.as_ref());
        let both = decided.or(given.store.as_ref()).zip(claimed);
        both.is_some_and(|(given, claimed)| !claimed.is_same(given))
    }

    /// Begins the hub.
    pub fn begin(&mut self, wanted: &Wanted) -> Result<(), Failure> {
        self.cannot_begin = None;
        self.hub = Some(ServedHub::new(&self.precedence.place, wanted.all.clone(), wanted.named.clone())?);
        Ok(())
    }

    /// Called when the last worker has left: others may name other values than those that have.
    pub fn release_claims(&mut self) {
        self.hub.iter_mut().for_each(|hub| hub.claimed = self.precedence.decided().clone());
    }
}

/// The hub's store has begun, or has not.
impl CurrentHub {
    /// Returns the hub, if it has no store.
    pub fn own(&self) -> Option<&Arc<ReactorHub>> {
        self.hub.as_ref().filter(|hub| !hub.has_store()).and_then(ServedHub::handle)
    }

    /// Applies what the reactor has reported of a stream with a member or a will, if it is one of this hub: a hub before has
    /// ended its streams, and its members linger in this one.
    pub fn apply_presence(&mut self, report: PresenceReport, now: Instant) {
        let is_reported = |hub: &&mut ServedHub| hub.in_reactor().is_some_and(|hub| hub.has_reported(&report));
        if let Some(hub) = self.hub.as_mut().filter(is_reported) {
            hub.apply(report.stream, report.change, report.at, now);
        }
    }
}

/// Handing over to another program.
impl CurrentHub {
    /// Appends the settings of the hub, and what is beside the history of one that is kept.
    pub fn hand_over(&self, file: &mut HandoverFile, keeps_history: bool, now: Instant) {
        let Some(hub) = &self.hub else { return };
        let all = NamedSettings::from(hub.settings.clone()).into();
        file.add(&Handover::Settings { all, claimed: hub.claimed.clone().into() });
        if !keeps_history {
            return;
        }
        if let Source::Own(own) = &hub.source {
            own.hand_over(file, now);
        }
        for (stream, presence) in hub.sequence().members.presences() {
            file.add(&Handover::Presence { stream: stream.into(), presence });
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
                let own = resume_hub(settings.hub.clone(), handed, wait)?;
                ServedHub::of(Source::Own(own.into()), &self.precedence.place, (settings, claimed))
            }
            false => ServedHub::new(&self.precedence.place, settings, claimed)?,
        };
        hub.stored_mut().into_iter().for_each(|stored| stored.await_streams(wait));
        self.hub = Some(hub);
        Ok(())
    }
}
