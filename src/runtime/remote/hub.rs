//! A hub as the application holds it: in the reactor of this process, or in a hub process.

use super::lease_handle::LeaseHandle;
use super::links::connection::LinkCommand;
use super::registrations::{lock_remotes, RemoteHub};
use super::remote_hub::Subscribed;
use super::serving::{self, lock_serving};
use crate::event::Field;
use crate::hub::{Publication, Settings, SubscribeRequest};
use crate::runtime::process::{check_shutdown, count_refused_origin, forks, lock_process, Process};
use crate::runtime::reactor_hub::{Begun, OwnHub};
use crate::runtime::{spawned, StreamHandle};
use crate::wire::{Call, FieldList, HubSettings, Reply, Request, ShowChannel};
use crate::{ErrorCode, Failure};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Instant;

/// The reason for which a spawned process has no hub.
const SPAWNED: &str =
    "a spawned handler has no hub: its streams are those of the worker; send the worker a message instead";

/// The act of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Sends the event. Does not wait for a hub process.
    Send,
    /// Waits until the hub has published the event.
    Wait,
    /// Checks the event, and sends nothing.
    Check,
}

impl Act {
    /// All of them in the order of their discriminants.
    pub const ALL: [Self; 3] = [Self::Send, Self::Wait, Self::Check];
}

/// A hub as the application holds it, in one thread.
#[derive(Clone, Debug)]
pub enum Hub {
    /// In the reactor of this process.
    Local(Arc<LocalHub>),
    /// A named hub.
    Named(Arc<NamedHub>),
}

/// A hub in the reactor of a process. Its copies in all threads share it; with the last one it is closed. Each event gets its
/// sequence number, and so its id, from the hub's registration, under the lock of the process. Each process has a registration
/// of its own: in a forked child the hub begins anew, with another epoch.
#[derive(Debug)]
pub struct LocalHub {
    key: u64,
    settings: HubSettings,
}

/// A named hub. Its copies in all threads share it; the last one closes the connection.
#[derive(Debug)]
pub struct NamedHub(RemoteHub);

impl Hub {
    /// Creates a hub. The reactor gets it with the first call that needs it.
    pub fn local(settings: HubSettings) -> Self {
        per_process! { static KEYS: AtomicU64 = AtomicU64::new(0); }
        Self::Local(Arc::new(LocalHub { key: KEYS.fetch_add(1, Ordering::Relaxed), settings }))
    }

    /// Creates a named hub. The first call that needs it connects, and starts its process if need be. Fails if the system has
    /// no memory.
    pub fn named(hub: RemoteHub) -> Result<Self, Failure> {
        forks::register()?;
        lock_serving().add(hub.clone());
        Ok(Self::Named(Arc::new(NamedHub(hub))))
    }

    /// Returns the hub's settings. Those of a named hub are in its process: other objects may have named them.
    pub fn settings(&self) -> Option<&Settings> {
        match self {
            Self::Local(local) => Some(&local.settings.hub),
            Self::Named(_) => None,
        }
    }

    /// Returns how its events include the name of their channel. All publishers of a named hub have to name the same.
    pub fn show_channel(&self) -> Option<ShowChannel> {
        match self {
            Self::Local(local) => local.settings.show_channel,
            Self::Named(named) => named.0.settings.show_channel.flatten(),
        }
    }

    /// Publishes an event. If the call waits until a hub process has published the event, or there is none, calls a function
    /// with the event's id in the hub's order. A hub of this process waits while too many bytes are queued for its reactor,
    /// never for a client.
    pub fn publish<'a>(
        &self,
        publication: Publication<'_, impl Iterator<Item = Field<'a>> + Clone + 'a>,
        act: Act,
        published: impl FnOnce(&str),
    ) -> Result<(), Failure> {
        let id = publication.check(self.settings())?;
        match self {
            Self::Local(_) if act == Act::Check => Ok(()),
            Self::Local(local) => {
                let mut process = lock_process();
                check_shutdown()?;
                // This thread holds the lock of the process, so commands are queued in the order of their sequence numbers.
                local.own(&mut process)?.publish(publication, id.as_deref(), published)
            }
            Self::Named(named) => {
                let publication = publication.map(FieldList::of);
                let publication = publication.borrowed();
                let request = |request| Request::Publish { request, publication };
                match act {
                    Act::Send => named.0.queue_unawaited(request)?,
                    Act::Wait => published(&named.0.ask(false, |number, _| request(number))?.id()?),
                    Act::Check => request(0).encode(&mut Vec::new())?, // it is not too large
                }
                Ok(())
            }
        }
    }

    /// Subscribes a stream to topics. A named hub that has just admitted the stream need not be waited for.
    pub fn subscribe(
        &self,
        stream: &mut StreamHandle,
        mut request: SubscribeRequest,
        is_admitted: bool,
    ) -> Result<Subscribed, Failure> {
        match self {
            Self::Local(local) => {
                request.first_block.shows_channels = local.settings.shows_channels();
                let mut process = lock_process();
                let is_open = stream.subscribe(&local.own(&mut process)?.hub, request, local.settings.max_topics)?;
                Ok(if is_open { Subscribed::Now } else { Subscribed::Ended })
            }
            Self::Named(named) => named.0.subscribe(stream, request, is_admitted),
        }
    }

    /// Returns the epoch, with which the hub's ids begin. Each process has another one of a hub without a name. Unless the call
    /// waits, it returns nothing for a hub process that is away.
    pub fn epoch(&self, waits: bool) -> Result<Option<Box<str>>, Failure> {
        match self {
            Self::Local(local) => Ok(Some(local.own(&mut lock_process())?.sequence.epoch.as_str().into())),
            Self::Named(named) if waits => named.0.epoch().map(Some),
            Self::Named(named) => Ok(named.0.known_epoch()),
        }
    }

    /// Makes a call.
    pub fn call(&self, call: Call) -> Result<Reply, Failure> {
        match self {
            Self::Local(local) => local.call(call),
            Self::Named(named) => named.0.call(&call),
        }
    }

    /// Asks for a lease of a named hub. Fails, also if the hub has no name.
    pub fn elect(&self, name: &[u8], interpreter: u32) -> Result<LeaseHandle, Failure> {
        match self {
            Self::Local(_) => Err(Failure::unavailable("only a named hub has leases")),
            Self::Named(named) => named.0.elect(name, interpreter),
        }
    }
}

impl LocalHub {
    /// Returns true if a stream is known to have opened without the member that it was to have.
    pub fn has_refused_members(&self) -> bool {
        let mut process = lock_process();
        let index = process.registrations.index_of(self.key);
        index.map_or(false, |index| process.registrations.at(index).sequence.members.totals().1 > 0)
    }

    /// Returns the hub in this process. Registers it first if need be. Fails with `Unavailable` or `State`.
    fn own<'a>(&self, process: &'a mut Process) -> Result<&'a mut OwnHub, Failure> {
        let index = match process.registrations.index_of(self.key) {
            Some(index) => index,
            None if spawned::is_spawned() => return Err(Failure::new(ErrorCode::State, None, SPAWNED)),
            None => {
                let mut own = OwnHub::create(process.reactor_or_start()?, self.settings.hub.clone())?;
                own.sequence.members.shows_channels = self.settings.shows_channels();
                process.registrations.insert(self.key, own)
            }
        };
        Ok(process.registrations.at(index))
    }

    fn call(&self, call: Call) -> Result<Reply, Failure> {
        if let Call::CountRefusedOrigin = call {
            count_refused_origin();
            return Ok(Reply::Done);
        }
        let (hub, begun) = {
            let mut process = lock_process();
            let own = self.own(&mut process)?;
            (Arc::clone(&own.hub), own.begin(&call)?)
        };
        let answer = match begun {
            Begun::Replied(reply) => return Ok(reply),
            Begun::Asks(question) => hub.ask(question)?,
        };
        match call {
            // The reactor reports all that it knows of members before it answers.
            Call::Count { .. } | Call::CountMembers { .. } | Call::Members { .. } | Call::UpdateMember(_) => loop {
                let mut process = lock_process();
                if process.apply_presence(&hub.reactor, Instant::now()) {
                    return self.own(&mut process)?.complete(call, answer);
                }
                drop(process); // others may have the lock in between
                std::thread::yield_now();
            },
            _ => Ok(answer.reply()),
        }
    }
}

impl Drop for LocalHub {
    // A fork copies the number of copies, but not the registration: a child's hub is its own.
    fn drop(&mut self) {
        lock_process().registrations.remove(self.key);
    }
}

/// Connects this process to its hub processes, if they run: after a while, or now if it has a request to answer.
pub fn serve(has_request: bool) {
    if forks::register().is_ok() && lock_serving().serve(has_request) {
        serving::connect();
    }
}

impl Drop for NamedHub {
    // A fork copies the number of copies, but not the connection: a child's is its own.
    fn drop(&mut self) {
        lock_serving().remove(&self.0);
        if let Some(registration) = lock_remotes().remove(&self.0) {
            registration.reactor.send_link(LinkCommand::Close(registration.connection));
        }
    }
}
