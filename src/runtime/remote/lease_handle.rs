//! A lease of a named hub, as the application holds it.

use super::links::connection::{Connection, LinkCommand};
use super::links::worker_leases::{Lease, LeaseState};
use super::registrations::{RemoteHub, RemoteRegistration};
use super::remote_hub::{queue, wait};
use super::unanswered::Unanswered;
use crate::runtime::generation::generation;
use crate::runtime::reactor_handle::ReactorHandle;
use crate::stream::after;
use crate::wire::Request;
use crate::Failure;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time for which a call waits for a hub process that is not known to be away. It may have to be started.
const LONGEST: Duration = Duration::from_millis(250);

/// A lease as the application holds it. Dropping it gives the lease back.
#[derive(Debug)]
pub struct LeaseHandle {
    lease: Arc<Lease>,
    generation: u32,
    /// The owner, which gives it back when it is dropped.
    owner: Option<Owner>,
}

#[derive(Debug)]
struct Owner {
    reactor: Arc<ReactorHandle>,
    connection: Arc<Connection>,
    number: u64,
}

impl LeaseHandle {
    /// Returns what is known of the lease.
    pub fn state(&self) -> LeaseState {
        if self.generation != generation() {
            return LeaseState::Lost;
        }
        self.lease.state()
    }
}

impl Drop for LeaseHandle {
    fn drop(&mut self) {
        let owner = self.owner.take();
        if self.generation != generation() {
            // A thread that does not exist in this child may have held the locks.
            return std::mem::forget(owner);
        }
        if let Some(Owner { reactor, connection, number }) = owner {
            connection.leases.remove(number);
            if !connection.is_lost() {
                let _ = queue(&reactor, &connection, 0, &Request::Resign { lease: number });
                // it is short
            }
        }
    }
}

impl RemoteHub {
    /// Asks for a lease, and waits for the first response. An interpreter receives each change. A hub process that is
    /// away is not waited for: who fails asks again later, and meanwhile the connection is perhaps made.
    pub(super) fn elect(&self, name: &[u8], interpreter: u32) -> Result<LeaseHandle, Failure> {
        let deadline = after(Instant::now(), self.start.timeout.min(LONGEST));
        loop {
            let left = || deadline.saturating_duration_since(Instant::now());
            let RemoteRegistration { reactor, connection, .. } = self.connected_soon(deadline)?;
            let number = connection.begin();
            let lease = Arc::new(Lease::new(interpreter, Arc::clone(&reactor.ends)));
            connection.leases.insert(number, Arc::clone(&lease));
            let owner = Owner { reactor: Arc::clone(&reactor), connection: Arc::clone(&connection), number };
            // From here on an error gives the lease back.
            let handle = LeaseHandle { lease, generation: generation(), owner: Some(owner) };
            if let Err(error) = queue(&reactor, &connection, number, &Request::Elect { lease: number, name }) {
                connection.forget(number);
                return Err(error);
            }
            match wait(&reactor, &connection, number, left()) {
                Err(Unanswered::Unsent(_)) if left() > Duration::ZERO => {}
                Err(Unanswered::Unsent(_)) => return Err(self.lost()),
                Ok(_) => return Ok(handle),
                Err(error) => {
                    if matches!(error, Unanswered::Late(_)) {
                        reactor.send_link(LinkCommand::Await { connection, request: number });
                    }
                    return Err(error.into());
                }
            }
        }
    }
}
