//! The counters of streams at one moment.

/// The counters at one moment, of all reactors of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Streams that are open.
    pub open: u64,
    /// Streams that were opened.
    pub opened: u64,
    /// Opened streams that were refused, because the process had too many streams or too few descriptors.
    pub refused: u64,
    /// Streams that have ended, by reason, in the order of [`Reason::ALL`](super::Reason::ALL).
    pub ended: [u64; 6],
    /// Events that were handed to the kernel to their end.
    pub events: u64,
    /// Bytes that were handed to the kernel.
    pub bytes: u64,
    /// Events that were accepted and not handed to the kernel to their end: by the reason of the end of their streams, as
    /// [`ended`](Self::ended); the last ones were dropped for newer ones.
    pub lost: [u64; 7],
    /// Bytes that are buffered.
    pub buffered: u64,
    /// Streams whose sockets take nothing more for now: their clients read more slowly than they are sent.
    pub stalled: u64,
    /// The number of times that the reactor has woken, because of a producer, a client or a timer.
    pub wakeups: u64,
    /// The longest time between the reactor having bytes to send and the kernel taking some, in nanoseconds.
    pub longest_delay_ns: u64,
    /// Requests of pages of other origins that were refused.
    pub refused_origins: u64,
}
