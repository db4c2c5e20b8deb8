//! A hub in a process of its own, as the application holds it, in any thread.
//!
//! Each process has a connection of its own, which its event loop serves. The first call that needs one connects, and starts
//! the hub's process if need be; so does the first call after the connection was lost.

use super::connection::{Connection, Outcome};
use super::error::Error;
use super::links::LinkCommand;
use super::process::lock_process;
use super::reactor_handle::{Attachment, ReactorHandle};
use super::registration::RemoteRegistration;
use super::stream_handle::StreamHandle;
use crate::hub::{Counts, SubscribeRequest};
use crate::reactor::Command;
use crate::remote::{Client, Error as RemoteError, Link, Place, Start};
use crate::wire::{FieldList, HubSettings, Publish, Request};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// Where a hub's process is, and how it is reached.
#[derive(Clone, Debug)]
pub struct RemoteHub {
    /// Where it is.
    pub place: Place,
    /// How it is started, and how long a call may take.
    pub start: Start,
    /// The settings of the hub.
    pub settings: HubSettings,
}

/// What a call works with.
type Connected = (Arc<ReactorHandle>, Arc<Connection>);

impl RemoteHub {
    /// Returns the connection of this process. Connects if there is none.
    pub(super) fn connected(&self, key: u64) -> Result<Connected, Error> {
        let found = |registration: &RemoteRegistration| {
            (Arc::clone(&registration.reactor), Arc::clone(&registration.connection))
        };
        {
            let process = lock_process();
            process.check_shutdown()?;
            if let Some(registration) = process.remotes.get(key) {
                return Ok(found(registration));
            }
        }
        // Without the lock, which a fork takes: connecting may start a process.
        let client = Client::connect(&self.start, &self.place, Some(self.settings.clone()));
        let client = client.map_err(|error| match error {
            // Nothing was asked for yet.
            RemoteError::Unknown | RemoteError::Timeout => self.absent(),
            error => error.into(),
        })?;
        let link = Link::new(client).map_err(|_| self.absent())?;
        let mut process = lock_process();
        let reactor = process.reactor_or_start()?;
        if let Some(registration) = process.remotes.get(key) {
            return Ok(found(registration)); // another thread was faster
        }
        static NUMBERS: AtomicU32 = AtomicU32::new(0);
        // Numbers begin with 1: 0 is the waker's.
        let number = NUMBERS.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1);
        let connection = Arc::new(Connection::new(number, &link));
        send(&reactor, LinkCommand::Connect(Box::new(link), Arc::clone(&connection)));
        let hub = reactor.new_hub();
        let registration = RemoteRegistration { reactor, hub, connection };
        let both = found(&registration);
        process.remotes.insert(key, registration);
        Ok(both)
    }

    /// Makes a request and waits for what becomes of it. Connects anew, once, if it could not be sent.
    fn ask(&self, key: u64, encode: impl Fn(u64, &mut Vec<u8>) -> Result<(), RemoteError>) -> Result<Outcome, Error> {
        for _ in 0..2 {
            let (reactor, connection) = self.connected(key)?;
            let mut frame = Vec::new();
            let request = connection.begin();
            if let Err(error) = encode(request, &mut frame) {
                connection.forget(request);
                return Err(error.into());
            }
            send(&reactor, LinkCommand::Send { connection: Arc::clone(&connection), request, frame });
            match connection.wait(&reactor, request, self.start.timeout)? {
                Outcome::Unsent => {}
                outcome => return Ok(outcome),
            }
        }
        Err(self.lost())
    }

    fn absent(&self) -> Error {
        RemoteError::Unavailable(format!("the process of the hub {} does not answer", self.place.name())).into()
    }

    pub(super) fn lost(&self) -> Error {
        RemoteError::Unavailable(format!("lost the process of the hub {}", self.place.name())).into()
    }

    /// Publishes an event. Returns its id in the hub's order.
    ///
    /// # Errors
    ///
    /// [`Error::Remote`] or [`Error::ShuttingDown`].
    pub(super) fn publish(
        &self,
        hub_key: u64,
        channel: &[u8],
        key: &[u8],
        fields: &FieldList,
    ) -> Result<Box<str>, Error> {
        let outcome = self.ask(hub_key, |request, frame| {
            let publish = Publish { request, channel, key, once: b"", fields: fields.fields() };
            Ok(Request::Publish(publish).encode(frame)?)
        })?;
        match outcome {
            Outcome::Published(id) => Ok(id),
            _ => Err(RemoteError::Unknown.into()),
        }
    }

    /// Returns the hub's counters and the number of a channel's subscribers.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub(super) fn counts_and_subscribers(&self, key: u64, channel: &[u8]) -> Result<(Counts, usize), Error> {
        let outcome = self.ask(key, |request, frame| Ok(Request::Count { request, channel }.encode(frame)?))?;
        match outcome {
            Outcome::Counted(counted) => Ok((counted.hub, usize::try_from(counted.subscribers).unwrap_or(usize::MAX))),
            _ => Err(RemoteError::Unknown.into()),
        }
    }

    /// Hands a stream over, unless that was done, and subscribes it. Returns false if it has ended.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish), and [`Error::OtherHub`].
    pub(super) fn subscribe(
        &self,
        key: u64,
        stream: &mut StreamHandle,
        subscription: SubscribeRequest,
    ) -> Result<bool, Error> {
        let (reactor, connection) = self.connected(key)?;
        let hub = match lock_process().remotes.get(key) {
            Some(registration) if Arc::ptr_eq(&registration.connection, &connection) => registration.hub,
            _ => return Err(self.lost()),
        };
        let (subscription, holds) = match stream.prepare_remote(&reactor, hub, subscription)? {
            Some(prepared) => prepared,
            None => return Ok(false),
        };
        let request = connection.begin();
        let (stream, shared) = (stream.reactor_id(), Arc::clone(&connection));
        let command = LinkCommand::Subscribe { connection: shared, request, stream, subscription, holds };
        send(&reactor, command);
        match connection.wait(&reactor, request, self.start.timeout)? {
            Outcome::Unsent => Err(self.lost()),
            _ => Ok(true),
        }
    }

    /// Returns the epoch, with which the hub's ids begin.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub(super) fn epoch(&self, key: u64) -> Result<Box<str>, Error> {
        Ok(self.connected(key)?.1.epoch.clone())
    }

    /// Drains the hub.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub(super) fn drain(&self, key: u64, within: Duration) -> Result<(), Error> {
        let (reactor, connection) = self.connected(key)?;
        let mut frame = Vec::new();
        Request::Drain { within }.encode(&mut frame).map_err(RemoteError::from)?;
        send(&reactor, LinkCommand::Send { connection, request: 0, frame });
        Ok(())
    }
}

/// Sends a command to the event loop.
pub(super) fn send(reactor: &ReactorHandle, command: LinkCommand) {
    reactor.send(Command::Linked, 0, Some(Box::new(Attachment::Link(Box::new(command)))));
}
