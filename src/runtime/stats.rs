//! The counters of a reactor. The manual of EventSource::XS describes each.

use crate::histogram::{Histogram, Scale, Times, RANGES};
use crate::stream::{Reason, Stats};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The counters of one reactor.
#[derive(Debug, Default)]
pub struct Counts {
    pub(super) opened: AtomicU64,
    pub(super) refused: AtomicU64,
    /// Streams whose sockets are closed. An ended stream may linger before that.
    pub(super) closed: AtomicU64,
    pub(super) ended: [AtomicU64; 6],
    /// Streams that were handed over to hub processes, which have their sockets.
    pub(crate) handed_over: AtomicU64,
    /// The ended ones among them.
    pub(crate) returned: AtomicU64,
    pub(crate) events: AtomicU64,
    pub(crate) bytes: AtomicU64,
    /// By the reason, as in [`Stats`].
    pub(super) lost: [AtomicU64; 7],
    pub(super) stalled: AtomicU64,
    pub(super) wakeups: AtomicU64,
    pub(super) longest_delay_ns: AtomicU64,
    /// Bytes that producers pushed or published, or that the reactor added.
    pub(super) accepted: AtomicU64,
    /// The part of `accepted` that was published. No stream has buffered these bytes yet.
    pub(super) published_bytes: AtomicU64,
    /// The part of `accepted` that was lost.
    pub(super) lost_bytes: AtomicU64,
    /// Bytes of the commands that the reactor has taken.
    pub(super) consumed: AtomicU64,
    /// From the moment in which the reactor takes an event to its last write to a client that reads.
    pub(super) send: SharedHistogram,
    /// The ages of streams at their ends.
    pub(super) age: SharedHistogram,
}

/// A [`Histogram`] that the reactor's thread counts and others read.
#[derive(Debug, Default)]
pub(crate) struct SharedHistogram {
    counts: [AtomicU64; RANGES],
    sum: AtomicU64,
}

impl SharedHistogram {
    /// Counts a time of several events. Only the reactor's thread calls this.
    pub(super) fn record(&self, scale: &Scale, time: Duration, events: u64) {
        let (range, microseconds) = scale.range_of(time);
        add(&self.counts[range], events);
        add(&self.sum, microseconds.wrapping_mul(events));
    }

    fn read(&self) -> Histogram {
        let mut histogram = Histogram { sum: self.sum.load(Ordering::Relaxed), ..Histogram::default() };
        for (to, from) in histogram.counts.iter_mut().zip(&self.counts) {
            *to = from.load(Ordering::Relaxed);
        }
        histogram
    }

    fn all(&self) -> impl Iterator<Item = &AtomicU64> {
        self.counts.iter().chain([&self.sum])
    }
}

/// Adds to a counter that only one thread ever changes, so a load and a store do.
pub(crate) fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

impl Counts {
    /// Returns how many sockets the reactor holds or is about to get.
    pub(crate) fn sockets(&self) -> usize {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        read(&self.opened).saturating_sub(read(&self.closed)).saturating_sub(self.sockets_elsewhere()) as usize
    }

    /// Returns how many open streams have their sockets in other processes.
    pub(super) fn sockets_elsewhere(&self) -> u64 {
        let returned = self.returned.load(Ordering::Relaxed);
        self.handed_over.load(Ordering::Relaxed).saturating_sub(returned)
    }

    /// Reads the counters.
    pub(super) fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (mut ended, mut lost) = ([0; 6], [0; 7]);
        for (to, from) in ended.iter_mut().zip(&self.ended).chain(lost.iter_mut().zip(&self.lost)) {
            *to = read(from);
        }
        let (opened, bytes) = (read(&self.opened), read(&self.bytes));
        let done = bytes + read(&self.lost_bytes) + read(&self.published_bytes);
        Stats {
            open: opened.saturating_sub(ended.iter().sum()),
            opened,
            refused: read(&self.refused),
            ended,
            events: read(&self.events),
            bytes,
            lost,
            stalled: read(&self.stalled),
            buffered: read(&self.accepted).saturating_sub(done),
            wakeups: read(&self.wakeups),
            longest_delay_ns: read(&self.longest_delay_ns),
            refused_origins: 0, // those of the process
        }
    }

    /// Reads the times.
    pub(super) fn times(&self) -> Times {
        Times { send: self.send.read(), age: self.age.read(), ..Times::default() }
    }

    /// Records a delay if it is the longest so far. Only the reactor's thread calls this.
    pub(super) fn record_delay(&self, nanoseconds: u64) {
        if nanoseconds > self.longest_delay_ns.load(Ordering::Relaxed) {
            self.longest_delay_ns.store(nanoseconds, Ordering::Relaxed);
        }
    }
}

impl Counts {
    /// Adds the counters of a reactor that has died, with its open streams as ended, also those whose end is not counted yet.
    pub(super) fn add_dead(&self, dead: &Self) {
        let longest_delay = self.longest_delay_ns.load(Ordering::Relaxed);
        for (counter, more) in self.all().into_iter().zip(dead.all()) {
            counter.fetch_add(more.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        let Stats { open, buffered, longest_delay_ns, stalled, .. } = dead.stats();
        self.stalled.fetch_sub(stalled, Ordering::Relaxed);
        self.longest_delay_ns.store(longest_delay.max(longest_delay_ns), Ordering::Relaxed);
        self.ended[Reason::Error as usize].fetch_add(open, Ordering::Relaxed);
        self.lost_bytes.fetch_add(buffered, Ordering::Relaxed);
        let sockets = dead.opened.load(Ordering::Relaxed).saturating_sub(dead.closed.load(Ordering::Relaxed));
        self.closed.fetch_add(sockets, Ordering::Relaxed);
    }

    /// Returns a copy.
    pub(super) fn copy(&self) -> Self {
        let copy = Self::default();
        for (to, from) in copy.all().into_iter().zip(self.all()) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        copy
    }
}

impl Counts {
    /// All counters. Named one by one, so that a new one is not forgotten here.
    fn all(&self) -> Vec<&AtomicU64> {
        macro_rules! all {
            ($($name:ident),*) => {{
                let Self { ended, lost, send, age, $($name),* } = self;
                [$($name),*].iter().copied().chain(ended).chain(lost).chain(send.all()).chain(age.all()).collect()
            }};
        }
        all! {
            opened, refused, closed, handed_over, returned, events, bytes, stalled, wakeups, longest_delay_ns, accepted,
            published_bytes, lost_bytes, consumed
        }
    }
}
