//! The responses of a hub process: the one place that turns the bytes of a connection into them, and matches them to requests.

use super::unanswered::Unanswered;
use crate::sys::socket;
use crate::wire::{Credits, Failure, FrameBuffer, Malformed, Name, Reply, Response};
use rustix::fd::AsFd;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// The number of all requests whose outcome nobody waits for, and that are counted until the hub process answers them.
pub(crate) const UNAWAITED: u64 = u64::MAX;

/// The number of bytes that are read at once by a thread that waits.
const READ_BYTES: usize = 16 << 10;
/// The shortest timeout of a socket: none at all would wait forever.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(1);
/// The time that a read may take beyond its own.
const SLACK: Duration = Duration::from_millis(10);

/// The number of a request, and the reply or why there is none.
pub(crate) type Replied = (u64, Result<Reply, Failure>);

/// Returns what a response is about, if it is about a request; other responses as they are.
pub(crate) fn reply_of(response: Response<'_>) -> Result<Replied, Response<'_>> {
    match response {
        Response::Published { request: UNAWAITED, .. } => Ok((UNAWAITED, Ok(Reply::Done))), // its id is not copied
        Response::Published { request, id } => Ok((request, Ok(Reply::Id(id.into())))),
        Response::Reply { request, result } => Ok((request, result.map_err(Failure::with_version))),
        other => Err(other),
    }
}

/// The socket of a connection, and what has arrived there.
#[derive(Debug)]
pub(crate) struct ResponseReader {
    pub(super) socket: UnixStream,
    /// The cookie of the socket, 0 if the kernel has none.
    cookie: u64,
    pub(super) credits: Credits,
    arrived: FrameBuffer,
    /// The time for which a read of the socket waits.
    read_timeout: Duration,
    /// The hub, once it is known.
    hub: Option<Name>,
}

impl ResponseReader {
    /// Begins with a socket, the time that its reads wait, and the hub.
    pub(super) fn new(socket: UnixStream, read_timeout: Duration, hub: Option<Name>) -> Self {
        let cookie = socket::cookie(socket.as_fd());
        Self { socket, cookie, credits: Credits::new(0), arrived: FrameBuffer::default(), read_timeout, hub }
    }

    /// As after the greeting of the other side.
    #[cfg(test)]
    pub(crate) fn greeted(socket: UnixStream, credits: u64) -> Self {
        socket.set_read_timeout(Some(SHORTEST_TIMEOUT)).expect("a socket");
        Self { credits: Credits::new(credits), ..Self::new(socket, SHORTEST_TIMEOUT, None) }
    }

    /// Closes the connection, unless somebody else has closed its descriptor, whose number may be that of another file. Takes
    /// no lock: it is called in a turn.
    pub(super) fn leave(self) {
        if socket::cookie(self.socket.as_fd()) != self.cookie {
            std::mem::forget(self.socket);
        }
    }

    /// Takes the next response that has arrived completely. Credits are taken note of.
    pub(super) fn next(&mut self) -> Result<Option<Response<'_>>, Malformed> {
        let response = Response::decode(some_or!(self.arrived.next_frame()?, return Ok(None)))?;
        match &response {
            Response::Welcome(welcome) => self.credits = Credits::new(welcome.credits),
            Response::Credits { bytes } => self.credits.add(*bytes),
            _ => {}
        }
        Ok(Some(response))
    }

    /// Waits for the next response. Fails with `Unknown`, or `Unknown` if the connection has ended.
    pub(super) fn wait(&mut self, deadline: Instant) -> Result<Response<'_>, Unanswered> {
        self.wait_for_bytes(deadline)?;
        self.next()?.ok_or(Unanswered::Lost)
    }

    /// Waits until the next response has arrived completely. Errors are those of [`wait`](Self::wait).
    pub(super) fn wait_for_bytes(&mut self, deadline: Instant) -> Result<(), Unanswered> {
        while !self.arrived.has_frame()? {
            let left = left_until(deadline).ok_or_else(|| Unanswered::Late(self.hub.clone()))?;
            // Most reads may take the same time, so that this is not a system call for each.
            if self.read_timeout > left + SLACK || self.read_timeout < left / 2 {
                self.read_timeout = left.max(SHORTEST_TIMEOUT);
                self.socket.set_read_timeout(Some(self.read_timeout)).map_err(|_| Unanswered::Lost)?;
            }
            match socket::read(&self.socket, self.arrived.room(READ_BYTES), deadline) {
                Ok(0) => return Err(Unanswered::Lost),
                Ok(count) => self.arrived.filled(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(_) => return Err(Unanswered::Lost),
            }
        }
        Ok(())
    }

    /// Reads once what is there. The hub process sends no descriptors; the kernel would close one that it sent.
    pub(super) fn read_at_once(&mut self, room: usize) -> io::Result<usize> {
        let count = socket::read_at_once(self.socket.as_fd(), self.arrived.room(room))?;
        self.arrived.filled(count);
        Ok(count)
    }
}

/// Returns how long it is until a deadline; nothing if it is over.
pub(crate) fn left_until(deadline: Instant) -> Option<Duration> {
    deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_of_a_call_that_the_process_does_not_know_learns_both_versions() {
        let reply = |failure| reply_of(Response::Reply { request: 1, result: Err(failure) }).expect("a reply").1;
        let refused = reply(Failure::unknown_call(200, "0.99")).expect_err("a refusal");
        let own = env!("CARGO_PKG_VERSION");
        let said = format!("eventsource-hub 0.99, does not know the call 200 of EventSource::XS {own}: ");
        assert!(refused.field.is_none() && refused.message.contains(&said), "{refused}");
        let other = Failure::invalid("call", "wrong");
        assert_eq!(reply(other.clone()), Err(other));
    }
}
