//! A store in a Redis stream, which the hubs of several machines share.
//!
//! ```text
//! PREFIX:{HUB}          the pointer: a hash with the epoch, its origin, the key of opaque ids, the version of this layout
//! PREFIX:{HUB}:EPOCH    the live stream: a marker, then the entries
//! PREFIX:{HUB}.state    the state: a hash with what is retained, and of what epoch, machines, producers (`state`)
//! PREFIX:{HUB}.once     a sorted set of the keys `once` of retained events
//! PREFIX:{HUB}.tickets  a hash with the epoch, and its keys of tickets, for two hours at most
//! ```
//!
//! - `connection`: a connection, why a call fails, and how long a thread waits before it makes another one
//! - `endpoint`, `sentinels`: where Redis is, and which one is the master
//! - `entry`: ids and entries of the stream, and which of them were stored twice
//! - `epoch`: the pointer, and how another epoch begins
//! - `in_flight`: the drafts that were asked for, and their states
//! - `losses`: what shows that something is missing
//! - `machines`: which machines have members, and whose lifetime has ended
//! - `state`: what is retained, beyond the stream
//! - `ticket_keys`: the keys of tickets
//! - `scripts`: what Redis does as one, in Lua: `scripts/*.lua`
//! - `shared`: what both threads know: drafts in flight, the stream that is served, how many bytes it has, the health
//! - `reader`, `writer`: the threads. `reader/reconnecting`: how the reader connects, and again; what becomes of drafts
//!   meanwhile: `expire` in `writer`
//!
//! Redis assigns the ids, so the stream has one order for all hubs. A sequence number is `(ms - origin) << 24 | part` of the id
//! `ms-part`. A dense counter would be used again after a loss, and clients would silently miss events.
//!
//! # One path of delivery
//!
//! Only the reader reports entries, those of its own process too, so every hub has the same order. The answer to XADD proves
//! nothing to a publisher: his draft ends when the reader reads its entry. So an entry that Redis has lost before its own hub
//! read it is not lost: the writer sends the draft again.
//!
//! With `replicas`, a hub reports its own entries, and the entries after them, when the replicas have them. Entries of other
//! hubs are reported at once: if a failover loses one, the next check finds that.
//!
//! # Exactly once
//!
//! An entry carries its producer (a process) and a count, and a producer's counts increase in the stream. A reader drops a
//! count that is not greater than the producer's last one. After its connection broke, the writer asks for the last id of the
//! stream, waits until the reader has read it, and sends the drafts again that were not read, with the same counts, or with new
//! ones if the reader has read a later count of this process: the old ones would count as repetitions. If the broken
//! connection's commands are carried out after all, their counts are dropped, by all readers alike; those that would change the
//! state, by Redis itself.
//!
//! # Loss
//!
//! The last entry that was read must exist or be evicted: the reader looks at it after each reconnection and every second, and
//! also at the pointer and the stream's last id, for a blocked XREAD stays silent when its stream is deleted and created again.
//! If the entry does not exist, or its id is that of another one, or the state is not that of the epoch, a script sets another
//! epoch, if no other hub has, and deletes the old stream. XADD never creates a stream.
//!
//! An entry that Redis has acknowledged must exist as well, before the writer sends anything on another connection: other hubs
//! have perhaps delivered it, and in one epoch they would deliver it twice.
//!
//! Nobody finds the loss of an entry that was read by no hub which is left: the master died before a replica had it, together
//! with the hubs that had read it. A client may prove it. One that has an opaque id of this epoch, beyond everything that the
//! stream has, was given it by such a hub (`hub_process/src/ids_ahead.rs`), so another epoch begins. A plain id proves nothing,
//! for a hostile client could begin epochs for all with invented ones: only this client is sent a `gap` event. So is one whose
//! entry is missing between others that were added since: its number may be a position that another hub has given.
//!
//! An entry whose answer never came, and that a failover has lost, is sent again in the same epoch. A hub that has read it
//! meanwhile notices that it is gone and begins another epoch: its clients are sent a `gap` event. To begin one for each such
//! entry would tell all clients of a gap at nearly every failover.
//!
//! A reader that was away for so long that entries which it had not read were evicted begins again with the same epoch: the
//! others have lost nothing.

mod answer_size;
mod connection;
mod endpoint;
mod entry;
mod epoch;
mod in_flight;
mod losses;
mod machines;
mod reader;
mod scripts;
mod sentinels;
mod shared;
mod state;
mod ticket_keys;
mod writer;

use super::{Delivered, Engine, StoreEnd};
use endpoint::Endpoint;
use eventsource_xs::remote::calls::{random, spawn_thread};
use eventsource_xs::wire::RedisSettings;
use reader::Reader;
use shared::Shared;
use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Weak};
use std::time::Duration;
use writer::Writer;

/// The time that Redis may take for an answer, beyond what it was told to wait.
const ANSWER: Duration = Duration::from_secs(2);
/// The longest time that XREAD waits for entries.
const BLOCK: Duration = Duration::from_millis(500);
/// The interval at which Sentinels are asked whether the master is still the same.
const ASK_SENTINELS: Duration = Duration::from_secs(2);
/// The interval at which the reader looks for a loss.
const CHECK: Duration = Duration::from_secs(1);
/// The most entries that are read at once. No hub trims the stream to fewer.
const CHUNK: usize = 1000;
/// The most bytes that a hub sends at once. No hub trims the stream to fewer.
const CHUNK_BYTES: usize = 1 << 20;
/// After this time without progress the store counts as down.
const STALE: Duration = Duration::from_secs(3);

impl Engine for RedisSettings {
    fn start(&self, hub: &str, _: Option<Delivered>, end: StoreEnd) -> io::Result<()> {
        // Fails if the process has a provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let producer = random::text::<12>()?;
        let shared = Arc::new(Shared::new(self, end.reporter));
        let endpoint = Endpoint { settings: self.clone() };
        if endpoint.has_sentinels() {
            let (shared, endpoint) = (Arc::downgrade(&shared), endpoint.clone());
            spawn_thread("redis-sentinels", move || ask_sentinels(&shared, &endpoint))?;
        }
        let reader = Reader::new(Arc::clone(&shared), endpoint.clone(), hub, &producer);
        let writer = Writer::new(Arc::clone(&shared), endpoint, &producer, end.commands);
        let also = Arc::clone(&shared);
        spawn_thread("redis-reader", move || guard(&also, || reader.run()))?;
        spawn_thread("redis-writer", move || guard(&shared, || writer.run()))?;
        Ok(())
    }
}

/// Runs a thread of the store. If it has a defect, the others end too, so that the hub begins the store anew.
fn guard(shared: &Shared, run: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(run)).is_err() {
        shared.reporter.record_error("the store has ended: this is a defect of eventsource-hub");
        shared.reporter.update(|status| status.is_up = false);
        shared.update(|state| state.is_closing = true);
    }
}

/// Asks the Sentinels now and then whether another Redis is the master. They may take their time to answer, so this is a
/// thread of its own: what they say matters only while the master does not answer, or is cut off from them.
fn ask_sentinels(shared: &Weak<Shared>, endpoint: &Endpoint) {
    loop {
        std::thread::sleep(ASK_SENTINELS);
        let Some(target) = shared.upgrade().map(|shared| shared.lock().target.clone()) else { return };
        let other = target.and_then(|target| endpoint.other_master(&target.url));
        // The store does not wait for this thread to end.
        let Some(shared) = shared.upgrade().filter(|shared| !shared.lock().is_closing) else { return };
        if other.is_some() {
            shared.update(|state| state.master = other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::*;

    #[test]
    fn a_thread_with_a_defect_ends_the_store() {
        let (store, end) = Store::new().expect("descriptors");
        let shared = Shared::new(&RedisSettings::default(), end.reporter);
        shared.reporter.update(|status| status.is_up = true);
        guard(&shared, || panic!("on purpose"));
        assert!(shared.lock().is_closing);
        let status = store.status();
        assert!(!status.is_up && status.last_error.contains("defect"), "{status:?}");
    }
}
