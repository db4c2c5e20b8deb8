//! The ids of a reactor's streams: a slot, and a serial number.

use super::wake::sync::lock;
use crate::reactor::StreamId;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Mutex;

/// The serial numbers given so far. A forked child continues the sequence, because it may keep the ids of its parent's
/// streams.
static SERIALS: AtomicU32 = AtomicU32::new(0);

/// The number of the waker's descriptor in the epoll set. No stream has it, because [`next_serial`] never returns 0.
pub(super) const WAKER_TOKEN: u64 = 0;

fn next_serial(serials: &AtomicU32) -> u32 {
    loop {
        match serials.fetch_add(1, Ordering::Relaxed).wrapping_add(1) {
            0 => {}
            serial => return serial,
        }
    }
}

/// The slots of a reactor's streams.
#[derive(Debug, Default)]
pub(super) struct StreamIds(Mutex<Slots>);

#[derive(Debug, Default)]
struct Slots {
    free: Vec<u32>,
    used: u32,
}

impl StreamIds {
    /// Returns an id for a new stream.
    pub(super) fn next(&self) -> StreamId {
        let mut slots = lock(&self.0);
        let serial = next_serial(&SERIALS);
        let slot = slots.free.pop().unwrap_or_else(|| {
            slots.used += 1;
            slots.used - 1
        });
        StreamId { slot, serial }
    }

    /// Frees the slot of a stream whose socket is closed.
    pub(super) fn free(&self, stream: StreamId) {
        lock(&self.0).free.push(stream.slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_stream_has_the_number_of_the_waker() {
        let serials = AtomicU32::new(u32::MAX - 1);
        assert_eq!([(); 3].map(|()| next_serial(&serials)), [u32::MAX, 1, 2]);
        assert_eq!(StreamId::from(WAKER_TOKEN).serial, 0);
    }
}
