//! A hub as the application holds it, in any thread.
//!
//! The hub itself is in the reactor. What gives each event its place in the order, and so its id, is here: a *seat*, one for
//! each hub of a process. A forked child takes a new one: there the hub begins anew, with another epoch.

use super::process::{link_of, process, Process};
use super::reactor_handle::ReactorHandle;
use super::registration::HubRegistration;
use super::stream_handle::StreamHandle;
use crate::event::Shared;
use crate::hub::{Counts, Epoch, Publication, Request, Settings, Topic};
use crate::reactor::Command;
use crate::sys::random;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// A hub as the application holds it, in one thread.
#[derive(Clone)]
pub struct Publisher(Arc<Hold>);

/// What all threads' copies of a hub have together: who lets go of it last leaves the hub.
struct Hold {
    key: u64,
    settings: Settings,
    /// How many channels and patterns a stream may be subscribed to.
    max_topics: usize,
}

/// What is published, but for its bytes.
pub struct PublishMeta<'a> {
    /// The channel's name.
    pub channel: &'a [u8],
    /// What the event is the newest of; empty is the channel itself.
    pub key: &'a [u8],
    /// Its id, if the application gives it one.
    pub id: Option<&'a [u8]>,
}

/// Eight characters that no other hub begins its ids with.
fn new_epoch() -> Box<str> {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    let number = random::number();
    (0..8).map(|at| char::from(DIGITS[(number >> (5 * at)) as usize % 32])).collect::<String>().into()
}

/// A key for opaque ids.
fn new_key() -> [u8; 16] {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&random::number().to_ne_bytes());
    key[8..].copy_from_slice(&random::number().to_ne_bytes());
    key
}

impl Publisher {
    /// A hub, which is made when it is used first.
    pub fn new(settings: Settings, max_topics: usize) -> Self {
        static KEYS: AtomicU64 = AtomicU64::new(0);
        Self(Arc::new(Hold { key: KEYS.fetch_add(1, Ordering::Relaxed), settings, max_topics }))
    }

    /// The name of the event that reports a gap.
    pub fn gap_event(&self) -> &str {
        &self.0.settings.gap_event
    }

    /// Its seat in this process, taken if need be.
    fn registration<'a>(&self, process: &'a mut Process) -> io::Result<&'a mut HubRegistration> {
        let index = match process.registrations.position(self.0.key) {
            Some(index) => index,
            None => {
                let registration = self.register(link_of(process)?);
                process.registrations.insert(self.0.key, registration)
            }
        };
        Ok(process.registrations.at(index))
    }

    /// Makes the hub in a reactor, with a new epoch.
    fn register(&self, link: Arc<ReactorHandle>) -> HubRegistration {
        let key = self.0.settings.opaque_ids.then(new_key);
        let epoch = Epoch::new(&new_epoch(), key);
        let hub = link.new_hub();
        let settings = Box::new(self.0.settings.clone());
        link.send(Command::Hub { hub, epoch: epoch.clone(), settings }, 0, None);
        HubRegistration { link, hub, epoch, last_seq: 0 }
    }

    /// Publishes an event, which `write` makes of its id, and calls `tell` with that id. Waits while too much is on its way
    /// to the reactor, never for a client.
    ///
    /// # Errors
    ///
    /// If the system has no descriptor, no memory or no thread for a reactor, if this process is ending, or if the
    /// application gives an id that could be the hub's.
    pub fn publish(
        &self,
        meta: PublishMeta<'_>,
        write: impl FnOnce(&str) -> Shared,
        tell: impl FnOnce(&str),
    ) -> io::Result<()> {
        let mut process = process();
        process.check_end()?;
        let registration = self.registration(&mut process)?;
        if meta.id.map_or(false, |id| registration.epoch.is_like(id)) {
            return Err(io::Error::new(ErrorKind::InvalidInput, "id must not begin as the hub's own ids do"));
        }
        let seq = registration.last_seq + 1;
        let id = registration.epoch.event_id(seq);
        let event = write(&id);
        registration.last_seq = seq;
        let publication = Box::new(Publication {
            seq,
            channel: meta.channel.into(),
            event,
            key: meta.key.into(),
            id: meta.id.map(Into::into),
        });
        // Places go on their way in their order, for no one else has the process.
        registration.link.publish(Command::Publish { hub: registration.hub, publication });
        tell(&id);
        Ok(())
    }

    /// Has a stream follow channels. False if it has ended.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish), and if the stream follows another hub, or would have too many topics.
    pub fn subscribe(&self, stream: &mut StreamHandle, request: Request) -> io::Result<bool> {
        let mut process = process();
        let registration = self.registration(&mut process)?;
        stream.subscribe(&registration.link, registration.hub, request, self.0.max_topics)
    }

    /// Has a stream follow something no longer; without topics, anything.
    pub fn unsubscribe(&self, stream: &mut StreamHandle, topics: Option<Box<[Topic]>>) {
        let mut process = process();
        if let Some(index) = process.registrations.position(self.0.key) {
            stream.unsubscribe(process.registrations.at(index).hub, topics);
        }
    }

    /// The first part of its ids. A process has it for itself.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub fn epoch(&self) -> io::Result<Box<str>> {
        Ok(self.registration(&mut process())?.epoch.as_str().into())
    }

    /// What was counted, and how many streams follow a channel.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish), and if the reactor does not answer.
    pub fn ask(&self, channel: &[u8]) -> io::Result<(Counts, usize)> {
        const PATIENCE: Duration = Duration::from_secs(10);
        let (link, hub) = {
            let mut process = process();
            let registration = self.registration(&mut process)?;
            (Arc::clone(&registration.link), registration.hub)
        };
        link.ask(hub, channel, PATIENCE)
            .ok_or_else(|| io::Error::new(ErrorKind::TimedOut, "the reactor does not answer"))
    }

    /// Has its streams end one by one within a time, and those that come later at once; their clients are told to come back.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub fn drain(&self, within: Duration) -> io::Result<()> {
        let mut process = process();
        let registration = self.registration(&mut process)?;
        registration.link.send(Command::Drain { hub: registration.hub, within }, 0, None);
        Ok(())
    }
}

impl Drop for Hold {
    // A fork has copied the count, but a child's hub is its own.
    fn drop(&mut self) {
        if let Some(registration) = process().registrations.remove(self.key) {
            registration.link.send(Command::Leave { hub: registration.hub }, 0, None);
        }
    }
}
