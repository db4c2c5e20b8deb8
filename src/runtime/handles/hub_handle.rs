//! A hub in the reactor of this process, as the application holds it, in any thread.
//!
//! The hub itself is in the reactor. Here each event gets its sequence number, and so its id, from the hub's registration,
//! under the lock of the process. Each process has a registration of its own: in a forked child the hub begins anew, with
//! another epoch.

use super::stream_handle::StreamHandle;
use crate::event::Field;
use crate::hub::{Publication, Settings, SubscribeRequest};
use crate::runtime::own_hub::OwnHub;
use crate::runtime::process::{check_shutdown, count_refused_origin, lock_process, Process};
use crate::runtime::reactor_hub::{Begun, ReactorHub};
use crate::runtime::spawned;
use crate::wire::{Call, Reply};
use crate::{ErrorCode, Failure};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Instant;

/// Why a spawned process has no hub.
const SPAWNED: &str =
    "a spawned handler has no hub: its streams are those of the worker; send the worker a message instead";

/// A hub as the application holds it, in one thread.
#[derive(Clone, Debug)]
pub struct HubHandle(Arc<Inner>);

/// The state that the copies of a hub share in all threads. The hub is closed when the last copy is dropped.
#[derive(Debug)]
struct Inner {
    key: u64,
    settings: Settings,
    /// How many channels and patterns a stream may be subscribed to.
    max_topics: usize,
}

impl HubHandle {
    /// Creates a hub. The reactor gets it with the first call that needs it.
    pub fn new(settings: Settings, max_topics: usize) -> Self {
        static KEYS: AtomicU64 = AtomicU64::new(0);
        Self(Arc::new(Inner { key: KEYS.fetch_add(1, Ordering::Relaxed), settings, max_topics }))
    }

    /// Returns the hub's settings.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Returns the hub's registration in this process. Registers the hub first if need be.
    fn registration_or_create<'a>(&self, process: &'a mut Process) -> Result<&'a mut OwnHub, Failure> {
        let index = match process.registrations.index_of(self.0.key) {
            Some(index) => index,
            None if spawned::is_spawned() => return Err(Failure::new(ErrorCode::State, None, SPAWNED)),
            None => {
                let own = OwnHub::create(process.reactor_or_start()?, self.0.settings.clone())?;
                process.registrations.insert(self.0.key, own)
            }
        };
        Ok(process.registrations.at(index))
    }

    /// Publishes an event as [`OwnHub::publish`] does. Waits while too many bytes are queued for the reactor, never for a
    /// client. Fails with `Unavailable`, too.
    pub fn publish<'a>(
        &self,
        publication: Publication<'_, impl Iterator<Item = Field<'a>> + Clone>,
        id: Option<&[u8]>,
        published: impl FnOnce(&str),
    ) -> Result<(), Failure> {
        let mut process = lock_process();
        check_shutdown()?;
        // This thread holds the lock of the process, so commands are queued in the order of their sequence numbers.
        self.registration_or_create(&mut process)?.publish(publication, id, published)
    }

    /// Returns the hub in the reactor of this process. Fails with `Unavailable`.
    pub fn in_reactor(&self) -> Result<Arc<ReactorHub>, Failure> {
        Ok(Arc::clone(&self.registration_or_create(&mut lock_process())?.hub))
    }

    /// Subscribes a stream to topics. Returns false if it has ended. Fails with `Unavailable`,
    /// `State` or `Invalid`.
    pub fn subscribe(&self, stream: &mut StreamHandle, request: SubscribeRequest) -> Result<bool, Failure> {
        let mut process = lock_process();
        stream.subscribe(&self.registration_or_create(&mut process)?.hub, request, self.0.max_topics)
    }

    /// Returns the epoch, with which the hub's ids begin. Each process has another one. Errors are those of
    /// [`in_reactor`](Self::in_reactor).
    pub fn epoch(&self) -> Result<Box<str>, Failure> {
        Ok(self.registration_or_create(&mut lock_process())?.sequence.epoch.as_str().into())
    }

    /// Makes a call, and waits for the reply. Errors are those of [`in_reactor`](Self::in_reactor), [`ReactorHub::ask`] and
    /// [`OwnHub::complete`].
    pub fn call(&self, call: &Call) -> Result<Reply, Failure> {
        if let Call::CountRefusedOrigin = call {
            count_refused_origin();
            return Ok(Reply::Done);
        }
        let begun = self.registration_or_create(&mut lock_process())?.begin(call)?;
        let answer = match begun {
            Begun::Replied(reply) => return Ok(reply),
            Begun::Asks(question) => self.in_reactor()?.ask(question)?,
        };
        match call {
            // The reactor reports all that it knows of members before it answers.
            Call::Count { .. } | Call::CountMembers { .. } | Call::Members { .. } | Call::UpdateMember { .. } => {
                self.with_presence(|own| own.complete(call, answer))?
            }
            _ => Ok(answer.into()),
        }
    }

    /// Returns true if a stream is known to have opened without the member that it was to have.
    pub fn has_refused_members(&self) -> bool {
        let mut process = lock_process();
        let index = process.registrations.index_of(self.0.key);
        index.map_or(false, |index| process.registrations.at(index).sequence.members.totals().1 > 0)
    }

    /// Calls a function when what the reactor has reported of members is applied.
    fn with_presence<T>(&self, function: impl FnOnce(&mut OwnHub) -> T) -> Result<T, Failure> {
        let hub = self.in_reactor()?;
        loop {
            let mut process = lock_process();
            if process.apply_presence(&hub.reactor, Instant::now()) {
                return Ok(function(self.registration_or_create(&mut process)?));
            }
            drop(process); // others may have the lock in between
            std::thread::yield_now();
        }
    }
}

impl Drop for Inner {
    // A fork copies the number of copies, but not the registration: a child's hub is its own.
    fn drop(&mut self) {
        lock_process().registrations.remove(self.key);
    }
}
