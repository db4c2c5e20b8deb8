//! A connection to a hub that never waits, for an event loop: what a worker's reactor needs.
//!
//! Requests are queued, and sent in their order when the kernel and the [credits](crate::wire::Credits) of publishes allow it.
//! The queue is bounded, so that a caller knows when to slow its producers down. The event loop watches the
//! [socket](Link::socket): it calls [`Link::read`] when the socket is readable, and [`Link::flush`] when it takes bytes again,
//! for as long as [`Link::wants_to_write`].

use super::greeting::{connect, Greeted};
use super::place::Place;
use super::response_reader::ResponseReader;
use super::sockets::NoFork;
use super::start::Start;
use super::unanswered::Unanswered;
use crate::sys::socket::{send, Wait};
use crate::wire::{FrameBuffer, NamedSettings, Request, Response, StoreSettings, Welcome};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::collections::VecDeque;
use std::io;

/// The most bytes of requests that may be queued.
pub const MAX_QUEUED_BYTES: usize = 8 << 20;

/// The number of bytes that are sent or read at once.
const PIECE_BYTES: usize = 64 << 10;

/// The connection has ended, or the hub process has sent something that is not a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLost;

/// Requests in a row, and the socket that is sent beside their first byte.
#[derive(Debug, Default)]
struct Piece {
    bytes: Vec<u8>,
    socket: Option<OwnedFd>,
}

/// Returns how many bytes the complete requests have that these bytes begin with.
fn whole_requests(bytes: &[u8]) -> usize {
    let mut requests = FrameBuffer::default();
    requests.feed(bytes);
    while let Ok(Some(_)) = requests.next_frame() {}
    bytes.len() - requests.len()
}

/// A connection that never waits.
#[derive(Debug)]
pub struct Link {
    responses: ResponseReader,
    welcome: Welcome,
    /// The pieces that may be sent.
    pieces: VecDeque<Piece>,
    /// The number of bytes of the first piece that were sent.
    sent: usize,
    /// The number of bytes of the pieces that were not sent.
    unsent_bytes: usize,
    /// The number of bytes that all pieces so far had.
    released_bytes: u64,
    /// A publish without credits and what was queued after it, each request by itself.
    waiting: VecDeque<Piece>,
    waiting_bytes: usize,
    /// True if other requests overtake publishes that wait: a store decides when an event is published, so nothing is promised
    /// about their order.
    has_store: bool,
}

impl Link {
    /// Connects as [`CallConnection::connect`](super::call_connection::CallConnection::connect) does, with its errors. A forked
    /// child closes its copy.
    pub fn connect(start: &Start, place: &Place, settings: NamedSettings) -> Result<Self, Unanswered> {
        connect(start, place, Some(settings), NoFork::note).map(Self::new)
    }

    pub(crate) fn new((welcome, responses): Greeted) -> Self {
        let (pieces, sent, unsent_bytes, released_bytes, waiting, waiting_bytes) = Default::default();
        let has_store = welcome.settings.store != StoreSettings::Memory;
        Self { responses, welcome, pieces, sent, unsent_bytes, released_bytes, waiting, waiting_bytes, has_store }
    }

    /// Returns what the hub process has said about itself.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Returns the socket, to be watched.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.responses.socket.as_fd()
    }

    /// Returns true if a flush would send something as soon as the socket takes it.
    pub fn wants_to_write(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// Returns how many bytes are queued.
    pub fn queued_bytes(&self) -> usize {
        self.unsent_bytes + self.waiting_bytes
    }

    /// Queues a request that is encoded already, with the socket of an [`Open`](Request::Open). [`flush`](Self::flush) sends
    /// it. The queue may exceed its bound, [`MAX_QUEUED_BYTES`]: the caller looks at [`queued_bytes`](Self::queued_bytes) if
    /// the request may be refused.
    pub fn queue_frame(&mut self, bytes: Vec<u8>, socket: Option<OwnedFd>) {
        if self.has_store && !Request::is_publish(&bytes) {
            return self.release(Piece { bytes, socket });
        }
        self.queue_in_order(bytes, socket);
    }

    /// Queues a request after the publishes that wait.
    pub(crate) fn queue_in_order(&mut self, bytes: Vec<u8>, socket: Option<OwnedFd>) {
        self.waiting_bytes += bytes.len();
        self.waiting.push_back(Piece { bytes, socket });
        self.spend_credits();
    }

    /// Returns how many of the queued bytes are of publishes that other requests overtake.
    pub(crate) fn overtaken_bytes(&self) -> usize {
        if self.has_store {
            self.waiting_bytes
        } else {
            0
        }
    }

    /// Releases requests for sending, up to the first publish without credits.
    fn spend_credits(&mut self) {
        while let Some(Piece { bytes, socket }) = self.waiting.pop_front() {
            if Request::is_publish(&bytes) {
                if !self.responses.credits.may_send() {
                    return self.waiting.push_front(Piece { bytes, socket });
                }
                let _ = self.responses.credits.spend(bytes.len());
            }
            self.waiting_bytes -= bytes.len();
            self.release(Piece { bytes, socket });
        }
    }

    fn release(&mut self, Piece { bytes, socket }: Piece) {
        self.unsent_bytes += bytes.len();
        self.released_bytes += bytes.len() as u64;
        match self.pieces.back_mut() {
            // The bytes of a piece before its socket would be sent beside it, so only the first request has one.
            Some(last) if socket.is_none() && last.bytes.len() < PIECE_BYTES => last.bytes.extend_from_slice(&bytes),
            _ => self.pieces.push_back(Piece { bytes, socket }),
        }
    }

    /// Sends what the kernel takes. Fails with [`ConnectionLost`] if the connection has ended. [`unsent`](Self::unsent) returns
    /// what it has not taken.
    pub fn flush(&mut self) -> Result<(), ConnectionLost> {
        while let Some(piece) = self.pieces.front_mut() {
            let socket = piece.socket.as_ref().map(OwnedFd::as_fd);
            match send(self.responses.socket.as_fd(), &piece.bytes[self.sent..], socket, Wait::Never) {
                Ok(count) => {
                    piece.socket = None;
                    self.sent += count;
                    self.unsent_bytes -= count;
                    if self.sent == piece.bytes.len() {
                        self.pieces.pop_front();
                        self.sent = 0;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return Err(ConnectionLost),
            }
        }
        Ok(())
    }

    /// Reads once, and calls a function with each response that has arrived completely. Credits are taken note of here. Fails
    /// with [`ConnectionLost`] if the connection has ended.
    pub fn read(&mut self, mut with_response: impl FnMut(Response<'_>)) -> Result<(), ConnectionLost> {
        match self.responses.read_at_once(PIECE_BYTES) {
            Ok(0) => return Err(ConnectionLost),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => return Err(ConnectionLost),
        }
        while let Some(response) = self.responses.next().map_err(|_| ConnectionLost)? {
            if !matches!(response, Response::Credits { .. }) {
                with_response(response);
            }
        }
        self.spend_credits();
        Ok(())
    }

    /// Returns how many bytes were queued so far that nothing overtakes. A request that was queued last, and is not a publish,
    /// ends there.
    pub fn accepted_bytes(&self) -> u64 {
        self.released_bytes + (self.waiting_bytes - self.overtaken_bytes()) as u64
    }

    /// Returns how many of these bytes the kernel has taken, in their order.
    pub fn sent_bytes(&self) -> u64 {
        self.released_bytes - self.unsent_bytes as u64
    }

    /// Closes the connection, unless somebody else has closed its descriptor. Returns the requests that were not sent
    /// completely, in their order: each element is one or more requests, and the socket of the first, unless that was sent.
    pub fn unsent(self) -> Vec<(Vec<u8>, Option<OwnedFd>)> {
        self.responses.leave();
        let mut pieces = self.pieces;
        if let Some(first) = pieces.front_mut() {
            first.bytes.drain(..whole_requests(&first.bytes[..self.sent]));
        }
        let pieces = pieces.into_iter().chain(self.waiting);
        pieces.map(|Piece { bytes, socket }| (bytes, socket)).collect()
    }
}
