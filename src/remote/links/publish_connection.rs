//! The publish connection of this process to a hub process, as its threads share it.
//!
//! It belongs to a connection that the event loop has, the first one, and is used only while the hub process has carried out
//! all that was asked of it there. A call that cannot use it publishes through the first one: no call waits for
//! another one's, or for long until it is made.

use crate::hub::Publication;
use crate::remote::error::Error;
use crate::remote::place::Address;
use crate::remote::publisher::{NewPublisher, Publisher, Unpublished};
use crate::runtime::descriptor_reserve;
use crate::runtime::generation::lock_turn;
use crate::sys::{descriptor, socket};
use crate::wire::{Fields, WorkerId};
use rustix::fd::AsRawFd;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

/// How long the hub process may take to greet. A process that has more to do is asked on the first connection.
const GREETING: Duration = Duration::from_millis(100);
/// How long no other connection is made after one has failed or was refused.
const PAUSE: Duration = Duration::from_secs(5);
/// Stands for no descriptor.
const NONE: i32 = -1;

/// The publish connection of this process to a hub process.
#[derive(Debug)]
pub(crate) struct PublishConnection {
    state: Mutex<PublisherSlot>,
    /// The number of the socket's descriptor, and the socket's cookie: a forked child cannot take the lock.
    number: AtomicI32,
    cookie: AtomicU64,
}

/// The outcome of a publish.
#[derive(Debug)]
pub(crate) enum PublishOutcome {
    /// It has an id, or it is to fail.
    Published(Result<Box<str>, Error>),
    /// There is no connection, or another thread uses it.
    NotTried,
    /// The connection has ended before the event was sent, or could not be made.
    Unsent,
}

#[derive(Debug, Default)]
struct PublisherSlot {
    connection: Option<Publisher>,
    /// Until when none is made.
    paused_until: Option<Instant>,
}

impl Default for PublishConnection {
    fn default() -> Self {
        Self { state: Mutex::default(), number: AtomicI32::new(NONE), cookie: AtomicU64::new(0) }
    }
}

impl PublishConnection {
    /// Publishes an event. If it was not published here, it can be on the first connection.
    pub(crate) fn publish(
        &self,
        address: &Address,
        worker: WorkerId,
        publication: Publication<'_, Fields<'_>>,
        deadline: Instant,
    ) -> PublishOutcome {
        let mut state = match self.lock_if_free() {
            Some(state) => state,
            None => return PublishOutcome::NotTried,
        };
        if state.connection.is_none() {
            match self.connect(&mut state, address, worker, deadline) {
                Ok(()) | Err(Error::Refused(_) | Error::Timeout(_)) => {}
                Err(_) => return PublishOutcome::Unsent, // the process ends
            }
        }
        let published = match &mut state.connection {
            Some(connection) => connection.publish(publication, deadline),
            None => return PublishOutcome::NotTried,
        };
        if matches!(published, Err(Unpublished::Unsent | Unpublished::Unanswered(_))) {
            self.drop_connection(&mut state);
        }
        match published {
            Ok(id) => PublishOutcome::Published(Ok(id)),
            Err(Unpublished::Refused(error) | Unpublished::Unanswered(error)) => PublishOutcome::Published(Err(error)),
            Err(Unpublished::Unsent) if Instant::now() < deadline => PublishOutcome::Unsent,
            Err(Unpublished::Unsent) => {
                let message = format!("the hub process {} takes no events", address.name());
                PublishOutcome::Published(Err(Error::Unavailable(message)))
            }
        }
    }

    /// Closes the connection, unless a thread uses it: that one closes it when it finds that it has ended.
    pub(crate) fn close(&self) {
        if let Some(mut state) = self.lock_if_free() {
            self.drop_connection(&mut state);
        }
    }

    /// In a forked child, closes its copy of the socket.
    pub(crate) fn close_copy(&self) {
        let (number, cookie) = (self.number.load(Ordering::Acquire), self.cookie.load(Ordering::Acquire));
        // Without a cookie it could be another socket: the number of one that was closed meanwhile is used again.
        if number != NONE && cookie != 0 {
            drop(descriptor::inherit(number, cookie));
        }
    }

    /// Returns nothing if another thread uses the connection.
    fn lock_if_free(&self) -> Option<MutexGuard<'_, PublisherSlot>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Poisoned(poisoned)) => {
                // A response may be due to the thread that has panicked.
                let mut state = poisoned.into_inner();
                self.drop_connection(&mut state);
                Some(state)
            }
        }
    }

    /// Makes the connection, unless that is not due.
    fn connect(
        &self,
        state: &mut PublisherSlot,
        address: &Address,
        worker: WorkerId,
        deadline: Instant,
    ) -> Result<(), Error> {
        let now = Instant::now();
        if state.paused_until.map_or(false, |until| now < until) {
            return Ok(());
        }
        // Until it is welcomed.
        state.paused_until = Some(now + PAUSE);
        if !descriptor_reserve::has_spare() {
            return Ok(());
        }
        let place = address.place()?;
        let made = {
            // A child knows of each socket that it inherits.
            let _no_fork = lock_turn();
            let made = NewPublisher::connect(&place);
            if let Ok(made) = &made {
                self.cookie.store(socket::cookie(made.socket()), Ordering::Release);
                self.number.store(made.socket().as_raw_fd(), Ordering::Release);
            }
            made
        };
        let most = GREETING.min(deadline.saturating_duration_since(now) / 2);
        let greeted = made.and_then(|made| made.greet(&place, worker, most));
        match greeted {
            Ok(connection) => *state = PublisherSlot { connection: Some(connection), paused_until: None },
            Err(error) => {
                self.number.store(NONE, Ordering::Release);
                return Err(error);
            }
        }
        Ok(())
    }

    fn drop_connection(&self, state: &mut PublisherSlot) {
        if state.connection.is_some() {
            self.number.store(NONE, Ordering::Release);
            state.connection = None;
            state.paused_until = Some(Instant::now() + PAUSE);
        }
    }
}
