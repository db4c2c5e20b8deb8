//! The I/O engine: sends what is buffered and published to many clients, and sees which of them leave.
//!
//! A [`Reactor`] makes no system call and reads no clock: an [`Io`] makes the calls, and each method is given the time.
//! It holds no lock and starts no thread. It takes [`Command`]s and gives [`Answer`]s, both plain data. The
//! `runtime` module runs it in a thread beside the interpreter.
//!
//! The files, in the order in which an event travels:
//!
//! - `command`: what the reactor is asked, and what it reports
//! - `opening`: opening a stream, attaching its socket
//! - `subscriptions`: subscribing a stream to topics
//! - `hubs`: the hubs and their logs; here a published event enters its log
//! - `buffering`: a stream's own buffer; here a pushed event enters it
//! - `flushing`: a turn of sending: which streams are sent something, in which order
//! - `sending`: one gathered write to one stream
//! - `log_source`: the part of that write that comes from the log
//! - `reading`: what clients send, and that they leave
//! - `handing_over`: giving a stream to another process, or all streams to another program
//! - `ending`: the end of one stream
//! - `stream_members`: which streams with members have entered and left
//! - `withdrawing`: the end of streams by their labels, topics and ages, and of those that end once they are answered
//! - `shutdown`: the end of many: draining a hub, shutting down
//! - `run_due`: what is due; `timers`: when; `stall_watchdog`: when a client is dead that takes nothing
//! - `waiting`: streams that wait, for a time or for their hub
//! - `stream_record`: the record of one stream; `io`: the system calls; `socket_errors`: what their errors mean
//!
//! A published event takes this way:
//!
//! ```text
//! apply(Publish) ─> Hub::append                      the event enters its channel's log
//! flush ─> flush_queued ─> queue_subscribers         subscribers are queued, once each
//!                       ─> flush_stream ─> send      one stream, at most four writes in a row
//!                                           ├─> LogSource::catch_up   gap if its entries were evicted
//!                                           ├─> LogSource::gather     its next entries
//!                                           ├─> Io::send              one write: own buffer, then entries
//!                                           └─> LogSource::advance    its cursor moves on
//!       ─> Hubs::evict                               logs are cut to their bounds
//! ```

#![forbid(unsafe_code)]

mod buffering;
mod command;
mod ending;
mod flushing;
mod handing_over;
mod hubs;
mod io;
mod log_source;
mod opening;
mod reading;
mod run_due;
mod sending;
mod shutdown;
mod socket_errors;
pub(crate) mod stall_watchdog;
mod stream_members;
mod stream_record;
mod subscriptions;
mod timers;
mod waiting;
mod withdrawing;

#[cfg(test)]
mod tests;

pub use command::{Answer, Command, Ending, HubId, StreamId, StreamInit};
pub use handing_over::{Detached, Handed};
pub use io::{Io, Ready};

use crate::compression::Alone;
use crate::stream::{Reason, Settings};
use hubs::Hubs;
use shutdown::Spread;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use stream_members::Presences;
use stream_record::StreamRecord;
use subscriptions::Subscribing;
use timers::Timers;
use waiting::Waiting;

/// Sends to many clients.
#[derive(Debug)]
pub struct Reactor<I: Io> {
    io: I,
    /// The streams by their slots.
    records: Vec<Option<StreamRecord<I::Socket>>>,
    open_streams: usize,
    /// The settings of the stream that was opened last. Mostly all streams have equal settings, and share them.
    last_settings: Option<Arc<Settings>>,
    hubs: Hubs,
    presences: Presences,
    /// Streams whose subscriptions are held, each with the time at which they take effect at the latest.
    held: Waiting<Instant>,
    /// Streams whose clients are ahead of their hub, each with the hub and the sequence number up to which its client has read.
    ahead: Waiting<(HubId, u64)>,
    /// The slots of the streams that the next flush sends to.
    send_queue: Vec<u32>,
    /// The slots of lagging streams, which take turns.
    behind_queue: VecDeque<u32>,
    /// How many calls this turn has made for streams that keep up.
    prompt_calls: usize,
    /// How many of this turn's calls for lagging streams are used up.
    behind_calls: usize,
    /// A subscription whose patterns do not all exist yet. No command is executed before it takes effect.
    subscribing: Option<Subscribing>,
    /// How many names the new patterns of this turn were compared with.
    compared: usize,
    timers: Timers,
    /// The first looks at clients that were sent something.
    first_looks: Timers,
    /// Encodes what is sent to one stream alone.
    alone: Alone,
    /// The hubs that are being drained.
    drains: Vec<Spread>,
    /// The shutdown, until all streams have ended.
    shutdown: Option<Spread>,
    /// Whether a shutdown has begun. New streams are refused from then on.
    is_shutting_down: bool,
    answers: Vec<Answer>,
}

impl<I: Io> Reactor<I> {
    /// How many names new patterns are compared with before the turn ends.
    const MOST_COMPARED: usize = if cfg!(test) { 100 } else { 65_536 };
    /// How many answers and queued streams an idle reactor keeps room for.
    const IDLE_CAPACITY: usize = 1024;

    /// Creates a reactor without streams.
    pub fn new(io: I, now: Instant) -> Self {
        Self {
            io,
            records: Vec::new(),
            open_streams: 0,
            last_settings: None,
            hubs: Hubs::default(),
            presences: Presences::default(),
            held: Waiting::default(),
            ahead: Waiting::default(),
            send_queue: Vec::new(),
            behind_queue: VecDeque::new(),
            prompt_calls: 0,
            behind_calls: 0,
            subscribing: None,
            compared: 0,
            timers: Timers::new(now),
            first_looks: Timers::new(now),
            alone: Alone::default(),
            drains: Vec::new(),
            shutdown: None,
            is_shutting_down: false,
            answers: Vec::new(),
        }
    }

    /// Returns what makes the system calls.
    pub fn io(&mut self) -> &mut I {
        &mut self.io
    }

    /// Takes the answers since the last call.
    pub fn take_answers(&mut self) -> std::vec::Drain<'_, Answer> {
        self.answers.drain(..)
    }

    /// Returns true if the commands since the last flush have taken so long that other streams are to be sent something before
    /// the next one.
    pub fn is_turn_over(&self) -> bool {
        self.compared >= Self::MOST_COMPARED
    }

    /// Frees memory that only a busy moment needed.
    pub fn shrink(&mut self) {
        self.answers.shrink_to(Self::IDLE_CAPACITY);
        self.send_queue.shrink_to(Self::IDLE_CAPACITY);
    }

    /// Executes a command. Commands for streams that have ended have no effect; an event that they carry is lost.
    ///
    /// Most commands send nothing by themselves: [`flush`](Self::flush) does. Commands that depend on the state of a log
    /// flush first, and a slow client's stream is flushed before it ends.
    pub fn apply(&mut self, command: Command, socket: Option<I::Socket>, now: Instant) {
        while self.subscribing.is_some() {
            self.continue_subscribing(now); // for a caller that does not ask whether the turn is over
        }
        match command {
            Command::Open { stream, init } => self.open(stream, *init, socket, now),
            Command::Refuse { stream } => self.end_with_retry(stream, Reason::Server),
            Command::Attach { stream } => {
                if let Some(socket) = socket {
                    self.attach_late(stream, socket, now);
                }
            }
            Command::Push { stream, event, has_id } => self.push(stream, event, has_id, now),
            Command::End { stream, reason: Reason::Slow, ending: Ending::Discard } => self.give_up(stream, now),
            Command::End { stream, reason, ending } => self.end(stream, reason, ending),
            Command::ReleaseState { .. } => {} // for the event loop
            Command::CreateHub { hub, epoch, settings, history } => {
                self.hubs.create(hub, epoch, *settings, history.as_deref());
            }
            Command::SetRetention { hub, retention } => self.hubs.change(hub, |hub| hub.set_retention(*retention)),
            Command::Publish { hub, event } => self.hubs.change(hub, |hub| hub.append(*event, now)),
            Command::PublishStored { hub, event, at } => self.hubs.change(hub, |hub| hub.append(*event, at)),
            Command::PassStored { hub, seq } => self.hubs.change(hub, |hub| hub.pass(seq)),
            Command::Subscribe { hub, stream, request, holds } => {
                self.subscribe(Subscribing { hub, stream, request, holds }, now);
            }
            Command::BeginSubscription { stream } => self.begin(stream),
            Command::StopWaiting { stream } => self.begin_now(stream),
            Command::Ask { hub, request_id, question } => self.ask(hub, request_id, *question, now),
            Command::Drain { hub, within } => self.drain(hub, within, now),
            Command::EndDrain { hub } => self.hubs.end_draining(hub),
            Command::CloseHub { hub } => self.close_hub(hub),
            Command::ShutDown { within } => self.shut_down(within, now),
        }
    }
}
