//! The connection to a hub process, as threads see it that wait for responses, and what they ask of the event loop, which has
//! it.

use super::worker_leases::WorkerLeases;
use crate::hub::SubscribeRequest;
use crate::reactor::StreamId;
use crate::runtime::remote::call_connection::Calls;
use crate::runtime::remote::link::{Link, MAX_QUEUED_BYTES};
use crate::runtime::remote::response_reader::UNAWAITED;
use crate::runtime::remote::unanswered::Unanswered;
use crate::runtime::remote::LOSSES;
use crate::runtime::wake::sync::lock;
use crate::wire::{Name, Reply, Welcome, WorkerId};
use crate::Failure;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The time for which a stream's request waits for a hub process that is not known to be away, so that errors are the caller's.
/// A process that runs answers in less than a millisecond.
const OPTIONAL_WAIT: Duration = Duration::from_millis(50);

/// The outcome of a request.
type Outcome = Result<Reply, Unanswered>;

/// The welcome of the hub process.
#[derive(Clone, Debug)]
pub(crate) struct HubIdentity {
    /// The epoch, with which the hub's ids begin.
    pub(crate) epoch: Box<str>,
    /// The number of the connection there, and the process.
    pub(crate) worker: WorkerId,
    pub(crate) name: Name,
}

/// A connection, as threads and the event loop share it. It begins before it is made: what is asked of it until then waits in
/// the event loop.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The number that the event loop knows the connection by.
    pub(crate) number: u32,
    pub(crate) began: Instant,
    /// The number of hub objects that use it; nothing when none can any more.
    users: Mutex<Option<usize>>,
    /// Nothing until the connection is made.
    hub_identity: Mutex<Option<HubIdentity>>,
    /// The reason for which the connection was not made, and since when that is known.
    failure: Mutex<Option<(Failure, Instant)>>,
    /// True until the event loop has it, unless it is lost.
    is_coming: AtomicBool,
    /// True if the hub process does not answer, as far as is known: nobody waits for it to take a stream.
    is_away: AtomicBool,
    is_lost: AtomicBool,
    /// The bytes of requests that the event loop has not taken yet.
    coming_bytes: AtomicUsize,
    /// The bytes of requests that the event loop has and the kernel has not.
    queued_bytes: AtomicUsize,
    /// The publishes among them that wait for credits, and that other requests overtake.
    waiting_bytes: AtomicUsize,
    /// The requests with the number [`UNAWAITED`] that were not answered. The event loop writes it, and at the end of the
    /// process the thread that ends.
    unanswered: AtomicU64,
    last_request: AtomicU64,
    /// The requests that are waited for.
    outcomes: Mutex<HashMap<u64, Option<Outcome>>>,
    /// The number of the last mark that was sent.
    pub(crate) last_mark: AtomicU64,
    pub(crate) leases: WorkerLeases,
    pub(crate) calls: Calls,
}

impl Connection {
    /// Begins a connection that is still to be made, with one user.
    pub(crate) fn new(number: u32, is_away: bool) -> Self {
        Self {
            number,
            began: Instant::now(),
            users: Mutex::new(Some(1)),
            hub_identity: Mutex::default(),
            failure: Mutex::default(),
            is_coming: AtomicBool::new(true),
            is_away: AtomicBool::new(is_away),
            is_lost: AtomicBool::new(false),
            coming_bytes: AtomicUsize::new(0),
            queued_bytes: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
            unanswered: AtomicU64::new(0),
            last_request: AtomicU64::new(0),
            outcomes: Mutex::default(),
            last_mark: AtomicU64::new(0),
            leases: WorkerLeases::default(),
            calls: Calls::default(),
        }
    }

    /// Counts one more user. Returns false if the connection is being closed.
    pub(crate) fn add_user(&self) -> bool {
        lock(&self.users).as_mut().map(|users| *users += 1).is_some()
    }

    /// Counts one user less. Returns true if none is left.
    pub(crate) fn remove_user(&self) -> bool {
        lock(&self.users).as_mut().map_or(false, |users| {
            *users -= 1;
            *users == 0
        })
    }

    pub(crate) fn is_used(&self) -> bool {
        *lock(&self.users) != Some(0)
    }

    /// Refuses users from now on, if it has none and has done what they have asked for. Returns true if it does.
    pub(crate) fn close(&self) -> bool {
        let mut users = lock(&self.users);
        let is_closed = *users == Some(0) && self.is_idle();
        if is_closed {
            *users = None;
        }
        is_closed
    }

    /// Takes note of what the hub process has said about itself.
    pub(crate) fn note_welcome(&self, welcome: &Welcome) {
        let Welcome { epoch, name, .. } = welcome.clone();
        let hub_identity = HubIdentity { epoch, name, worker: welcome.worker() };
        *lock(&self.hub_identity) = Some(hub_identity);
    }

    /// Says that the event loop has the connection now.
    pub(crate) fn set_connected(&self) {
        self.is_away.store(false, Ordering::Release);
        self.is_coming.store(false, Ordering::Release);
    }

    /// Returns true if the connection is still to be made.
    pub(crate) fn is_coming(&self) -> bool {
        self.is_coming.load(Ordering::Acquire)
    }

    /// Returns what the hub process has said about itself; nothing if the connection was never made.
    pub(crate) fn hub_identity(&self) -> Option<HubIdentity> {
        lock(&self.hub_identity).clone()
    }

    /// Returns the number of the connection in the hub process, and that process.
    pub(crate) fn worker(&self) -> Option<WorkerId> {
        lock(&self.hub_identity).as_ref().map(|hub_identity| hub_identity.worker)
    }

    /// Says that the connection could not be made.
    pub(crate) fn fail(&self, error: Failure) {
        *lock(&self.failure) = Some((error, Instant::now()));
    }

    /// Returns why the connection could not be made, and since when that is known.
    pub(crate) fn failure(&self) -> Option<(Failure, Instant)> {
        lock(&self.failure).clone()
    }

    /// Says whether the hub process answers.
    pub(crate) fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Release);
    }

    /// Returns true if the hub process did not answer lately.
    pub(crate) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Acquire)
    }

    /// Returns how long a call waits for the hub process that need not.
    pub(crate) fn optional_wait(&self) -> Duration {
        if self.is_away() {
            Duration::ZERO
        } else {
            OPTIONAL_WAIT
        }
    }

    /// Takes note that the hub has begun another epoch.
    pub(crate) fn set_epoch(&self, epoch: &str) {
        if let Some(hub_identity) = &mut *lock(&self.hub_identity) {
            hub_identity.epoch = epoch.into();
        }
    }

    /// Returns the number of a new request, whose outcome is kept until it is waited for.
    pub(crate) fn begin(&self) -> u64 {
        let request = self.next_request();
        lock(&self.outcomes).insert(request, None);
        request
    }

    /// Returns the number of a new request whose outcome no thread waits for.
    pub(crate) fn next_request(&self) -> u64 {
        self.last_request.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns true if the queue of requests has room for one more, or for one more publish.
    pub(crate) fn has_room(&self, is_publish: bool) -> bool {
        let waiting = if is_publish { 0 } else { self.waiting_bytes.load(Ordering::Acquire) };
        let queued = self.queued_bytes.load(Ordering::Acquire).saturating_sub(waiting);
        queued.saturating_add(self.coming_bytes.load(Ordering::Acquire)) < MAX_QUEUED_BYTES
    }

    /// Says that a request is on its way to the event loop.
    pub(crate) fn add_coming(&self, bytes: usize) {
        self.coming_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Called by the event loop when it has queued a request.
    pub(crate) fn subtract_coming(&self, bytes: usize) {
        self.coming_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Sets how many bytes the event loop has queued, and how many of them wait for credits. Returns true if the queue has room
    /// again.
    pub(crate) fn set_queued(&self, bytes: usize, waiting_bytes: usize) -> bool {
        self.waiting_bytes.store(waiting_bytes, Ordering::Release);
        let before = self.queued_bytes.swap(bytes, Ordering::AcqRel);
        before >= MAX_QUEUED_BYTES && bytes < MAX_QUEUED_BYTES
    }

    pub(crate) fn count_unanswered(&self) {
        self.unanswered.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts a response to one of the `UNAWAITED` requests. One too much is ignored.
    pub(crate) fn count_answered(&self) {
        let one_less = |count: u64| count.checked_sub(1);
        let _ = self.unanswered.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less);
    }

    /// Takes the number of unawaited requests without a response.
    pub(crate) fn take_unanswered(&self) -> u64 {
        self.unanswered.swap(0, Ordering::AcqRel)
    }

    /// Returns true if all requests were sent and the unawaited ones answered, or if they never will be.
    pub(crate) fn is_idle(&self) -> bool {
        let is_empty = |bytes: &AtomicUsize| bytes.load(Ordering::Acquire) == 0;
        let has_none = || is_empty(&self.coming_bytes) && is_empty(&self.queued_bytes);
        self.is_lost() || has_none() && self.unanswered.load(Ordering::Acquire) == 0
    }

    /// Takes back a request that was not made.
    pub(crate) fn forget(&self, request: u64) {
        lock(&self.outcomes).remove(&request);
    }

    /// Stores what became of a request, unless nobody waits for it any more. Returns true if it is awaited.
    pub(crate) fn complete(&self, request: u64, outcome: Outcome) -> bool {
        lock(&self.outcomes).get_mut(&request).map(|slot| slot.get_or_insert(outcome)).is_some()
    }

    /// Says that a request was not sent, because the connection had ended. Returns true if it is awaited.
    pub(crate) fn return_unsent(&self, request: u64) -> bool {
        self.complete(request, Err(Unanswered::Unsent("the connection to the hub process has ended".into())))
    }

    /// Returns true if it is known what became of a request.
    pub(crate) fn is_completed(&self, request: u64) -> bool {
        matches!(lock(&self.outcomes).get(&request), Some(Some(_)))
    }

    /// Takes what became of a request.
    pub(crate) fn take_outcome(&self, request: u64) -> Option<Outcome> {
        lock(&self.outcomes).remove(&request).flatten()
    }

    /// Has later calls connect anew.
    pub(crate) fn lose(&self) {
        self.is_lost.store(true, Ordering::Release);
        self.is_coming.store(false, Ordering::Release);
        self.leases.lose();
        self.calls.close();
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }
}

/// A request to a connection.
#[derive(Debug)]
pub(crate) enum LinkCommand {
    /// Begins a connection that is still to be made: its requests wait.
    Begin(Arc<Connection>),
    /// Continues with a connection that was just made.
    Connect(Box<Link>, Arc<Connection>),
    /// Gives up a connection that could not be made.
    Fail(Arc<Connection>),
    /// Holds requests back until the hub process answers, unless it has answered this one.
    Await { connection: Arc<Connection>, request: u64 },
    /// Sends a request.
    Send {
        connection: Arc<Connection>,
        /// The request's number; 0 if it is not answered, [`UNAWAITED`] if no thread waits for its outcome.
        request: u64,
        frame: Vec<u8>,
    },
    /// Numbers what was sent so far, for calls of threads.
    Mark { connection: Arc<Connection>, number: u64 },
    /// Hands a stream over, unless that was done, and subscribes it.
    Subscribe {
        connection: Arc<Connection>,
        request: u64,
        stream: StreamId,
        subscription: Box<SubscribeRequest>,
        holds: bool,
        /// The time until which the stream may wait for the hub process.
        until: Instant,
    },
    /// Makes the subscriptions of a stream effective: its handler has returned.
    BeginSubscription(StreamId),
    /// Ends a stream that a lost connection has given back, and that is not handed over anew.
    Abandon(StreamId),
    /// Closes the connection as soon as it has no streams, unless a hub object uses it again.
    Close(Arc<Connection>),
}

impl LinkCommand {
    /// Called instead of carrying the command out: the event loop has ended. Returns how many events are lost with it.
    pub(crate) fn fail(&self) -> usize {
        match self {
            Self::Begin(connection)
            | Self::Connect(_, connection)
            | Self::Fail(connection)
            | Self::Close(connection) => connection.lose(),
            Self::Send { request: UNAWAITED, .. } => {
                LOSSES.record(1, "the native thread has ended");
                return 1;
            }
            Self::Send { connection, request, .. } | Self::Subscribe { connection, request, .. } => {
                connection.return_unsent(*request);
            }
            Self::BeginSubscription(_) | Self::Abandon(_) | Self::Await { .. } | Self::Mark { .. } => {}
        }
        0
    }
}
