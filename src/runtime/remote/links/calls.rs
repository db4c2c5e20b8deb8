//! The connections to a hub process on which threads of this process wait for responses.
//!
//! They belong to a connection of the event loop, and end with it. A thread takes one that is free, makes one, or waits: a few
//! serve many threads, and each is a descriptor of both processes.

use crate::runtime::descriptor_reserve;
use crate::runtime::remote::call_connection::CallConnection;
use crate::runtime::remote::place::Address;
use crate::runtime::remote::response_reader::left_until;
use crate::runtime::remote::unanswered::{too_many, Unanswered};
use crate::runtime::wake::notifier::Notifier;
use crate::runtime::wake::sync::lock;
use crate::wire::{Reply, Request, WorkerId};
use std::sync::Mutex;
use std::time::Instant;

/// The most connections.
const MOST: usize = 4;

/// The connections of this process to a hub process for calls.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    state: Mutex<State>,
    changed: Notifier,
}

#[derive(Debug, Default)]
struct State {
    free: Vec<CallConnection>,
    /// How many there are, with those that are taken.
    count: usize,
    /// Whether the hub process has refused another one.
    is_refused: bool,
    is_closed: bool,
}

/// A connection that a thread has taken, or makes. It is given back if it still is one.
struct Taken<'a>(&'a Calls, Option<CallConnection>);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        match self.1.take().filter(|_| !state.is_closed && !std::thread::panicking()) {
            Some(connection) => state.free.push(connection),
            None => state.count -= 1,
        }
        drop(state);
        self.0.changed.notify_all();
    }
}

impl Calls {
    /// Makes a request after what the link has sent before a mark, and waits for its reply. Fails with
    /// `Unavailable` if it was not carried out, `Unknown` if that is not known, `Full` if other threads use all connections.
    pub(crate) fn call<'a>(
        &self,
        (address, worker): (&Address, WorkerId),
        mark: u64,
        deadline: Instant,
        request: impl FnOnce(u64) -> Request<'a>,
    ) -> Result<Reply, Unanswered> {
        let mut taken = self.take(address, worker, deadline)?;
        let reply = match &mut taken.1 {
            Some(connection) => connection.follow(mark).and_then(|()| connection.ask_until(deadline, request)),
            None => Err(Unanswered::Lost), // `take` has one
        };
        if matches!(reply, Err(Unanswered::Unsent(_) | Unanswered::Lost)) {
            taken.1.take().into_iter().for_each(CallConnection::leave);
        }
        reply
    }

    fn take(&self, address: &Address, worker: WorkerId, deadline: Instant) -> Result<Taken<'_>, Unanswered> {
        loop {
            let mut state = lock(&self.state);
            if state.is_closed {
                return Err(Unanswered::Unsent(format!("lost the hub process {}", address.name())));
            }
            if let Some(connection) = state.free.pop() {
                return Ok(Taken(self, Some(connection)));
            }
            let may_have_more = || state.count < MOST && !state.is_refused && descriptor_reserve::has_spare();
            if state.count == 0 || may_have_more() {
                state.count += 1;
                drop(state);
                let mut taken = Taken(self, None);
                let connect = |left| CallConnection::for_worker(&address.place()?, worker, left);
                match left_until(deadline).map_or_else(|| Err(Unanswered::Late(None).into()), connect) {
                    Ok(connection) => {
                        taken.1 = Some(connection);
                        return Ok(taken);
                    }
                    Err(error) => {
                        drop(taken);
                        state = lock(&self.state);
                        if state.count == 0 {
                            return Err(Unanswered::Unsent(error.to_string()));
                        }
                        state.is_refused = true;
                    }
                }
            }
            drop(state);
            let is_changed = || {
                let state = lock(&self.state);
                !state.free.is_empty() || state.count == 0 || state.is_closed
            };
            if !self.changed.wait(deadline, is_changed) {
                return Err(too_many().into());
            }
        }
    }

    /// Closes the connections. A thread that has taken one closes it when it gives it back.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.is_closed = true;
        state.count -= state.free.len();
        state.free.clear();
        drop(state);
        self.changed.notify_all();
    }
}
