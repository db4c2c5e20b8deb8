//! Stores: what keeps a hub's events beyond the life of its process.
//!
//! - `contract`: what a store is asked and what it reports, `draft` what is stored
//! - `seam`: the ends of a store, for the wire thread and for the store's threads
//! - `file`: a store in a file of this machine
//! - `redis`: a store in a Redis stream, which the hubs of several machines share
//!
//! A hub without a store assigns ids itself, and its events end with its process. A store assigns the sequence numbers, and
//! decides the order. It has threads of its own, so that the wire thread never waits for a disk or a network. The wire thread
//! commands ([`StoreCommand`]) and takes reports ([`StoreReport`]); [`Store`] joins both.
//!
//! ```text
//! worker -> wire thread -- StoreCommand::Append(draft) --> store's thread -> disk, network
//!                       <- StoreReport::Entries ----------                   (what other machines have appended, too)
//! worker <- id <- wire thread -> reactor -> clients
//! ```

// A program without stores has nobody who reports.
#![cfg_attr(not(all(feature = "file", feature = "redis")), allow(dead_code, unused_imports, unused_variables))]

mod contract;
mod draft;
#[cfg(feature = "file")]
mod file;
#[cfg(feature = "redis")]
mod redis;
mod seam;

pub use contract::{is_epoch, Began, DeadMachine, Delivered, MachineState, StoreCommand, StoreEntry, StoreReport};
pub use draft::{Draft, DraftKind, MemberPart};
pub use seam::{Reporter, Store, StoreEnd};

use eventsource_xs::wire::{HubSettings, Name, StoreSettings};
use std::io;

/// The interface of a kind of store for the rest of the program: its settings.
trait Engine {
    /// Checks that the store could start again. Fails with the reason.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// Starts the threads of the store, which take what is asked and report.
    fn start(&self, hub: &str, delivered: Option<Delivered>, end: StoreEnd) -> io::Result<()>;
}

/// Returns the store of these settings, none for memory: the list of the stores that this program was built with. Fails with
/// the reason and the remedy.
fn engine(settings: &StoreSettings) -> Result<Option<&dyn Engine>, String> {
    match settings {
        StoreSettings::Memory => Ok(None),
        #[cfg(feature = "file")]
        StoreSettings::File(settings) => Ok(Some(settings)),
        #[cfg(feature = "redis")]
        StoreSettings::Redis(settings) => Ok(Some(&**settings)),
        #[cfg(not(all(feature = "file", feature = "redis")))]
        other => Err(format!(
            "this eventsource-hub was built without the store {}; `perl Makefile.PL && make install` builds all stores",
            other.kind()
        )),
    }
}

/// Checks that this program was built with the store. Fails with the reason and the remedy.
pub fn check_built(settings: &StoreSettings) -> Result<(), String> {
    engine(settings).map(drop)
}

/// Starts the store of these settings, which are not those of memory.
pub fn start(settings: &HubSettings, hub: &Name, delivered: Option<Delivered>) -> io::Result<Store> {
    let engine = engine(&settings.store).map_err(|message| io::Error::new(io::ErrorKind::Unsupported, message))?;
    let (store, end) = Store::new()?;
    engine.ok_or(io::ErrorKind::Unsupported)?.start(hub.as_str(), delivered, end)?;
    store.retain(settings);
    Ok(store)
}

/// Checks that the store could start with its settings, as far as that is known without a start. Fails with the reason.
pub fn check_place(settings: &StoreSettings) -> Result<(), String> {
    engine(settings)?.map_or(Ok(()), Engine::check)
}
