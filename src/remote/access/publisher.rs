//! The socket of a publish connection, on which the thread that publishes waits for the response itself.
//!
//! On the first connection, a [`Link`](super::link::Link), the worker's event loop sends and reads, so that each publish
//! changes threads four times: it takes the worker 1.2 to 1.9 times the CPU time, and 1.2 to 1.7 times as long
//! (`bench/hub_process publish`). Here the hub process is the only other one that runs. The caller decides when the connection
//! may be used: nothing orders what is sent on two connections.

use super::error::Error;
use super::greeting::greet;
use super::place::Place;
use super::response_reader::{left_until, Outcome, ResponseReader};
use super::start::{check_peer, connect_once};
use crate::hub::Publication;
use crate::sys::local::{send, Wait};
use crate::sys::socket::wait_for_room;
use crate::wire::{Fields, Hello, Request, Role, WorkerId};
use rustix::fd::{AsFd, BorrowedFd};
use std::io;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// The room that the buffer of a request keeps.
const KEPT_BYTES: usize = 64 << 10;
/// A publish connection that the hub process has not welcomed yet.
#[derive(Debug)]
pub struct NewPublisher(UnixStream);

/// A publish connection.
#[derive(Debug)]
pub struct Publisher {
    responses: ResponseReader,
    unsent: Vec<u8>,
    last_request: u64,
}

/// Why a publish has no id.
#[derive(Debug)]
pub enum Unpublished {
    /// The hub process has refused the event, or it is too long. The connection is as before.
    Refused(Error),
    /// The kernel has not taken the whole request, so the hub process cannot have read it. The connection is of no use.
    Unsent,
    /// The response has not come: the event was perhaps published. The connection is of no use, because the response may still
    /// come.
    Unanswered(Error),
}

impl NewPublisher {
    /// Connects without waiting. Fails with [`Error::Unavailable`] if nobody listens, or if too many connections wait to be
    /// accepted.
    pub fn connect(place: &Place) -> Result<Self, Error> {
        let socket = connect_once(place).map_err(|error| Error::at(place.socket(), "cannot connect to", &error))?;
        check_peer(socket, place).map(Self)
    }

    /// Returns the socket.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Greets the process as the second connection of a worker. Waits for its response. Fails with [`Error::Timeout`],
    /// [`Error::Unknown`] if the process ends, or [`Error::Refused`].
    pub fn greet(self, place: &Place, worker: WorkerId, timeout: Duration) -> Result<Publisher, Error> {
        let hello = Hello { name: place.name().clone(), role: Role::Publisher(worker) };
        match greet(self.0, &hello, timeout)? {
            Some((welcome, responses)) if welcome.pid == worker.process => Ok(Publisher::new(responses)),
            _ => Err(Error::Unknown),
        }
    }
}

impl Publisher {
    fn new(responses: ResponseReader) -> Self {
        Self { responses, unsent: Vec::new(), last_request: 0 }
    }

    /// Publishes an event, and waits for its id.
    pub fn publish(
        &mut self,
        publication: Publication<'_, Fields<'_>>,
        deadline: Instant,
    ) -> Result<Box<str>, Unpublished> {
        self.last_request += 1;
        let request = self.last_request;
        self.unsent.clear();
        self.unsent.shrink_to(KEPT_BYTES);
        let encoded = Request::Publish { request, publication }.encode(&mut self.unsent);
        encoded.map_err(|error| Unpublished::Refused(error.into()))?;
        while !self.responses.credits.may_send() {
            self.read_response(request, deadline).map_err(|_| Unpublished::Unsent)?;
        }
        let _ = self.responses.credits.spend(self.unsent.len());
        self.write_out(deadline).map_err(|_| Unpublished::Unsent)?;
        loop {
            match self.read_response(request, deadline) {
                Ok(None) => {}
                Ok(Some(response)) => return response.map_err(Unpublished::Refused),
                Err(error) => return Err(Unpublished::Unanswered(error)),
            }
        }
    }

    fn write_out(&mut self, deadline: Instant) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.unsent.len() {
            match send(self.responses.socket.as_fd(), &self.unsent[sent..], None, Wait::Never) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match left_until(deadline) {
                    Some(left) => drop(wait_for_room(self.responses.socket.as_fd(), left)),
                    None => return Err(error),
                },
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads a response. Returns it if it is the one to a request.
    fn read_response(&mut self, request: u64, deadline: Instant) -> Result<Option<Result<Box<str>, Error>>, Error> {
        Ok(match Outcome::of(self.responses.wait(deadline)?) {
            Ok((answered, Outcome::Published(id))) if answered == request => Some(Ok(id)),
            Ok((answered, Outcome::Refused(failure))) if answered == request => Some(Err(Error::Refused(failure))),
            _ => None, // credits, or a response to a request that was given up
        })
    }
}

#[cfg(all(test, not(miri)))] // system calls
mod tests {
    use super::*;
    use crate::event::{Field, Text};
    use crate::remote::tests::HubSide;
    use crate::wire::{Failure, FieldList, Response, WINDOW_BYTES};
    use crate::ErrorCode;
    use std::thread;

    /// Longer than any step takes.
    const LONG: Duration = Duration::from_secs(30);

    /// Returns the number of the next request.
    fn next(hub: &mut HubSide) -> u64 {
        hub.next(|request| match request {
            Request::Publish { request, .. } => request,
            other => panic!("{other:?}"),
        })
    }

    fn connection(credits: u64) -> (Publisher, HubSide) {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        (Publisher::new(ResponseReader::greeted(ours, credits)), HubSide::new(theirs))
    }

    fn publish(publisher: &mut Publisher, bytes: usize, within: Duration) -> Result<Box<str>, Unpublished> {
        let text = "x".repeat(bytes);
        let fields = FieldList::of([Field::Data(Text::from(&*text))]);
        let publication = Publication { channel: b"news", fields: fields.fields(), ..Publication::default() };
        publisher.publish(publication, Instant::now() + within)
    }

    #[test]
    fn each_request_gets_its_own_answer() {
        let (mut publisher, mut hub) = connection(WINDOW_BYTES);
        let responses = thread::spawn(move || {
            let request = next(&mut hub);
            hub.answer(&Response::Published { request, id: "epoch-1" });
            let request = next(&mut hub);
            let failure = Failure::new(ErrorCode::Invalid, Some("id"), "no");
            hub.answer(&Response::Published { request: request - 1, id: "of another" });
            hub.answer(&Response::Refused { request, failure });
            let request = next(&mut hub);
            hub.answer(&Response::Published { request, id: "epoch-2" });
        });
        assert_eq!(&*publish(&mut publisher, 10, LONG).expect("an id"), "epoch-1");
        let refused = publish(&mut publisher, 10, LONG);
        assert!(matches!(refused, Err(Unpublished::Refused(Error::Refused(_)))), "{refused:?}");
        assert_eq!(&*publish(&mut publisher, 10, LONG).expect("an id"), "epoch-2");
        responses.join().expect("no panic");
    }

    #[test]
    fn an_answer_may_take_as_long_as_the_publish_and_no_longer() {
        let (mut publisher, mut hub) = connection(WINDOW_BYTES);
        let responses = thread::spawn(move || {
            let request = next(&mut hub);
            thread::sleep(Duration::from_millis(50));
            hub.answer(&Response::Published { request, id: "epoch-1" });
            hub
        });
        assert_eq!(&*publish(&mut publisher, 10, LONG).expect("an id"), "epoch-1");
        let _hub = responses.join().expect("no panic");
        let late = publish(&mut publisher, 10, Duration::from_millis(20));
        assert!(matches!(late, Err(Unpublished::Unanswered(Error::Timeout(_)))), "{late:?}");
    }

    #[test]
    fn only_requests_that_the_kernel_has_taken_may_be_published() {
        let (mut publisher, hub) = connection(WINDOW_BYTES);
        let unread = publish(&mut publisher, 8 << 20, Duration::from_millis(20));
        assert!(matches!(unread, Err(Unpublished::Unsent)), "{unread:?}");
        drop(hub);
        let (mut publisher, hub) = connection(WINDOW_BYTES);
        drop(hub);
        let closed = publish(&mut publisher, 10, LONG);
        assert!(matches!(closed, Err(Unpublished::Unsent)), "{closed:?}");
        let (mut publisher, mut hub) = connection(WINDOW_BYTES);
        let ends = thread::spawn(move || assert_eq!(next(&mut hub), 1));
        let unanswered = publish(&mut publisher, 10, LONG);
        assert!(matches!(unanswered, Err(Unpublished::Unanswered(Error::Unknown))), "{unanswered:?}");
        ends.join().expect("no panic");
    }

    #[test]
    fn without_credits_nothing_is_sent() {
        let (mut publisher, mut hub) = connection(1);
        let responses = thread::spawn(move || {
            let request = next(&mut hub);
            hub.answer(&Response::Published { request, id: "epoch-1" });
            hub
        });
        assert!(publish(&mut publisher, 10, LONG).is_ok());
        let mut hub = responses.join().expect("no panic");
        let unsent = publish(&mut publisher, 10, Duration::from_millis(20));
        assert!(matches!(unsent, Err(Unpublished::Unsent)), "{unsent:?}");
        hub.answer(&Response::Credits { bytes: 1000 });
        let responses = thread::spawn(move || {
            let request = next(&mut hub);
            hub.answer(&Response::Published { request, id: "epoch-2" });
        });
        assert_eq!(&*publish(&mut publisher, 10, LONG).expect("an id"), "epoch-2");
        responses.join().expect("no panic");
    }
}
