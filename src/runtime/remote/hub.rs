//! A hub as the application holds it: in the reactor of this process, or in a hub process.

use super::lease_handle::LeaseHandle;
use super::links::command::LinkCommand;
use super::registrations::{lock_remotes, RemoteHub};
use super::remote_hub::Subscribed;
use super::serving::{self, lock_serving};
use crate::event::Field;
use crate::hub::{Publication, Settings, SubscribeRequest};
use crate::runtime::process::forks;
use crate::runtime::{HubHandle, StreamHandle};
use crate::wire::{Call, FieldList, Reply, Request};
use crate::Failure;
use std::sync::Arc;

/// A hub as the application holds it, in one thread.
#[derive(Clone, Debug)]
pub enum Hub {
    /// In the reactor of this process.
    Local(HubHandle),
    /// A named hub.
    Named(NamedHub),
}

/// A named hub. Its copies in all threads share it; the last one closes the connection.
#[derive(Clone, Debug)]
pub struct NamedHub(Arc<Inner>);

#[derive(Debug)]
struct Inner(RemoteHub);

impl Hub {
    /// Creates a hub. The reactor gets it with the first call that needs it.
    pub fn local(settings: Settings, max_topics: usize) -> Self {
        Self::Local(HubHandle::new(settings, max_topics))
    }

    /// Creates a named hub. The first call that needs it connects, and starts its process if need be. Fails if the system has
    /// no memory.
    pub fn named(hub: RemoteHub) -> Result<Self, Failure> {
        forks::register()?;
        lock_serving().add(hub.clone());
        Ok(Self::Named(NamedHub(Arc::new(Inner(hub)))))
    }

    /// Returns the hub's settings. Those of a named hub are in its process: other objects may have named them.
    pub fn settings(&self) -> Option<&Settings> {
        match self {
            Self::Local(hub) => Some(hub.settings()),
            Self::Named(_) => None,
        }
    }

    /// Publishes an event. `id` is the one among its fields, if they have one. If the call waits until a hub process has
    /// published the event, or there is none, calls a function with the event's id in the hub's order.
    pub fn publish<'a>(
        &self,
        publication: Publication<'_, impl Iterator<Item = Field<'a>> + Clone>,
        id: Option<&[u8]>,
        waits: bool,
        published: impl FnOnce(&str),
    ) -> Result<(), Failure> {
        match self {
            Self::Local(hub) => Ok(hub.publish(publication, id, published)?),
            Self::Named(NamedHub(named)) => {
                let made = named.0.publish(&publication.map(FieldList::of), waits)?;
                if let Some(made) = made {
                    published(&made);
                }
                Ok(())
            }
        }
    }

    /// Checks that an event is not too large for a hub process. A hub of this process takes events of any size. Fails with
    /// `Invalid`.
    pub fn check_size<'a>(&self, publication: Publication<'_, impl Iterator<Item = Field<'a>>>) -> Result<(), Failure> {
        if let Self::Named(_) = self {
            let publication = publication.map(FieldList::of);
            let publication = publication.borrowed();
            Request::Publish { request: 0, publication }.encode(&mut Vec::new())?;
        }
        Ok(())
    }

    /// Subscribes a stream to topics.
    pub fn subscribe(&self, stream: &mut StreamHandle, request: SubscribeRequest) -> Result<Subscribed, Failure> {
        match self {
            Self::Local(hub) => Ok(match hub.subscribe(stream, request)? {
                true => Subscribed::Now,
                false => Subscribed::Ended,
            }),
            Self::Named(NamedHub(named)) => named.0.subscribe(stream, request),
        }
    }

    /// Returns the epoch, with which the hub's ids begin. Each process has another one of a hub without a name. Unless the call
    /// waits, it returns nothing for a hub process that is away.
    pub fn epoch(&self, waits: bool) -> Result<Option<Box<str>>, Failure> {
        match self {
            Self::Local(hub) => Ok(Some(hub.epoch()?)),
            Self::Named(NamedHub(named)) if waits => named.0.epoch().map(Some),
            Self::Named(NamedHub(named)) => Ok(named.0.known_epoch()),
        }
    }

    /// Makes a call.
    pub fn call(&self, call: &Call) -> Result<Reply, Failure> {
        match self {
            Self::Local(hub) => Ok(hub.call(call)?),
            Self::Named(NamedHub(named)) => named.0.call(call),
        }
    }

    /// Asks for a lease of a named hub. Fails, also if the hub has no name.
    pub fn elect(&self, name: &[u8], interpreter: u32) -> Result<LeaseHandle, Failure> {
        match self {
            Self::Local(_) => Err(Failure::unavailable("only a named hub has leases")),
            Self::Named(NamedHub(named)) => named.0.elect(name, interpreter),
        }
    }
}

/// Connects this process to its hub processes, if they run: after a while, or now if it has a request to answer.
pub fn serve(has_request: bool) {
    if forks::register().is_ok() && lock_serving().serve(has_request) {
        serving::connect();
    }
}

impl Drop for Inner {
    // A fork copies the number of copies, but not the connection: a child's is its own.
    fn drop(&mut self) {
        lock_serving().remove(&self.0);
        if let Some(registration) = lock_remotes().remove(&self.0) {
            registration.reactor.send_link(LinkCommand::Close(registration.connection));
        }
    }
}
