//! A hub as the application holds it, in any thread.
//!
//! The hub itself is in the reactor. Here each event gets its sequence number, and so its id, from the hub's
//! registration. Each process has a registration of its own: in a forked child the hub begins anew, with another epoch.

use super::error::Error;
use super::process::{lock_process, Process};
use super::reactor_handle::ReactorHandle;
use super::registration::HubRegistration;
use super::spawned;
use super::stream_handle::StreamHandle;
use crate::event::Shared;
use crate::hub::{Counts, Epoch, Publication, Settings, SubscribeRequest, Topic};
use crate::reactor::Command;
use crate::sys::random;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// How long [`HubHandle::counts_and_subscribers`] waits for the reactor.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

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

/// The fields of a publication other than the event's bytes.
#[derive(Debug)]
pub struct PublishMeta<'a> {
    /// The channel's name.
    pub channel: &'a [u8],
    /// The key for compaction: a later event with the same key replaces this one. If it is empty, the channel is the
    /// key.
    pub key: &'a [u8],
    /// The event's id, if the application gives it one.
    pub id: Option<&'a [u8]>,
}

/// Returns eight random characters, with which no other hub's ids begin.
fn new_epoch() -> Box<str> {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let number = random::number();
    (0..8).map(|at| char::from(DIGITS[(number >> (5 * at)) as usize % 32])).collect::<String>().into()
}

/// Returns a random key for opaque ids. There is no substitute for the kernel's random bytes: a client that could guess the
/// key could invent ids.
fn new_cipher_key() -> Result<[u8; 16], Error> {
    let mut key = [0; 16];
    random::fill(&mut key).map_err(Error::System)?;
    Ok(key)
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
    fn registration_or_create<'a>(&self, process: &'a mut Process) -> Result<&'a mut HubRegistration, Error> {
        let index = match process.registrations.index_of(self.0.key) {
            Some(index) => index,
            None => {
                let registration = self.register(process.reactor_or_start()?)?;
                process.registrations.insert(self.0.key, registration)
            }
        };
        Ok(process.registrations.at(index))
    }

    /// Creates the hub in a reactor, with a new epoch.
    fn register(&self, reactor: Arc<ReactorHandle>) -> Result<HubRegistration, Error> {
        if spawned::is_spawned() {
            return Err(Error::SpawnedChild);
        }
        let cipher_key = if self.0.settings.opaque_ids { Some(new_cipher_key()?) } else { None };
        let epoch = Epoch::new(&new_epoch(), cipher_key);
        let hub = reactor.new_hub();
        let settings = Box::new(self.0.settings.clone());
        reactor.send(Command::CreateHub { hub, epoch: epoch.clone(), settings }, 0, None);
        Ok(HubRegistration { reactor, hub, epoch, last_seq: 0 })
    }

    /// Publishes an event. `encode` makes the event from its id, and `published` is called with that id afterwards.
    /// Waits while too many bytes are queued for the reactor, never for a client.
    ///
    /// # Errors
    ///
    /// [`Error::System`], [`Error::ShuttingDown`] or [`Error::ReservedId`].
    pub fn publish(
        &self,
        meta: PublishMeta<'_>,
        encode: impl FnOnce(&str) -> Shared,
        published: impl FnOnce(&str),
    ) -> Result<(), Error> {
        let mut process = lock_process();
        process.check_shutdown()?;
        let registration = self.registration_or_create(&mut process)?;
        if meta.id.map_or(false, |id| registration.epoch.is_like(id)) {
            return Err(Error::ReservedId);
        }
        let seq = registration.last_seq + 1;
        let id = registration.epoch.event_id(seq);
        let event = encode(&id);
        registration.last_seq = seq;
        let publication = Box::new(Publication {
            seq,
            channel: meta.channel.into(),
            event,
            key: meta.key.into(),
            id: meta.id.map(Into::into),
        });
        // This thread holds the lock of the process, so commands are queued in the order of their sequence numbers.
        registration.reactor.publish(Command::Publish { hub: registration.hub, publication });
        published(&id);
        Ok(())
    }

    /// Subscribes a stream to topics. Returns false if the stream has ended.
    ///
    /// # Errors
    ///
    /// [`Error::System`], [`Error::ShuttingDown`], [`Error::OtherHub`] or [`Error::TooManyTopics`].
    pub fn subscribe(&self, stream: &mut StreamHandle, request: SubscribeRequest) -> Result<bool, Error> {
        let mut process = lock_process();
        let registration = self.registration_or_create(&mut process)?;
        stream.subscribe(&registration.reactor, registration.hub, request, self.0.max_topics)
    }

    /// Unsubscribes a stream from topics; without topics, from all.
    pub fn unsubscribe(&self, stream: &mut StreamHandle, topics: Option<Box<[Topic]>>) {
        let mut process = lock_process();
        if let Some(index) = process.registrations.index_of(self.0.key) {
            stream.unsubscribe(process.registrations.at(index).hub, topics);
        }
    }

    /// Returns the epoch, with which the hub's ids begin. Each process has another one.
    ///
    /// # Errors
    ///
    /// [`Error::System`] or [`Error::ShuttingDown`].
    pub fn epoch(&self) -> Result<Box<str>, Error> {
        Ok(self.registration_or_create(&mut lock_process())?.epoch.as_str().into())
    }

    /// Returns the hub's counters and the number of a channel's subscribers.
    ///
    /// # Errors
    ///
    /// [`Error::System`], [`Error::ShuttingDown`] or [`Error::Timeout`].
    pub fn counts_and_subscribers(&self, channel: &[u8]) -> Result<(Counts, usize), Error> {
        let (reactor, hub) = {
            let mut process = lock_process();
            let registration = self.registration_or_create(&mut process)?;
            (Arc::clone(&registration.reactor), registration.hub)
        };
        reactor.counts_and_subscribers(hub, channel, ANSWER_TIMEOUT).ok_or(Error::Timeout)
    }

    /// Drains the hub: ends its streams one after the other within a time, and streams that subscribe later at once.
    /// Each client is sent a reconnection time.
    ///
    /// # Errors
    ///
    /// [`Error::System`] or [`Error::ShuttingDown`].
    pub fn drain(&self, within: Duration) -> Result<(), Error> {
        let mut process = lock_process();
        let registration = self.registration_or_create(&mut process)?;
        registration.reactor.send(Command::Drain { hub: registration.hub, within }, 0, None);
        Ok(())
    }
}

impl Drop for Inner {
    // A fork copies the number of copies, but not the registration: a child's hub is its own.
    fn drop(&mut self) {
        let mut process = lock_process();
        if let Some(registration) = process.registrations.remove(self.key) {
            registration.reactor.send(Command::CloseHub { hub: registration.hub }, 0, None);
        }
    }
}
