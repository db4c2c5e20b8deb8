//! A store in a Redis stream, which the hubs of several machines share.
//!
//! ```text
//! PREFIX:{HUB}          the pointer: a hash with the epoch, its origin, the key of opaque ids, the version of this layout
//! PREFIX:{HUB}:EPOCH    the live stream: a marker, then the entries
//! ```
//!
//! - `connect`: the URL, connections, and what Redis refuses
//! - `entry`: ids and entries of the stream
//! - `epoch`: the pointer, and how another epoch begins
//! - `producers`: which entries were stored twice
//! - `retained`: how many bytes the stream holds
//! - `shared`: what both threads know: drafts on their way, the epoch, the health
//! - `reader`, `writer`: the threads
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
//! # Exactly once
//!
//! An entry carries its producer (a process) and a count, and a producer's counts increase in the stream. A reader drops a
//! count that is not greater than the producer's last one. After its connection broke, the writer asks for the last id of the
//! stream, waits until the reader has read it, and sends the drafts again that were not read, with the same counts. If the
//! broken connection's commands are carried out after all, their counts are dropped, by all readers alike.
//!
//! # Loss
//!
//! The last id that was read must exist or be evicted: the reader looks at it after each reconnection and every second, and
//! also at the pointer and the stream's last id, for a blocked XREAD stays silent when its stream is deleted and created again.
//! If the id does not exist, a script sets another epoch, if no other hub has, and deletes the old stream. XADD never creates
//! a stream.
//!
//! An entry that Redis has acknowledged must exist as well, before the writer sends anything on another connection: other hubs
//! have perhaps delivered it, and in one epoch they would deliver it twice.
//!
//! An entry whose answer never came, and that a failover has lost, is sent again in the same epoch. A hub that has read it
//! meanwhile notices that it is gone and begins another epoch: its clients are told of a gap. To begin one for each such entry
//! would tell all clients of a gap at nearly every failover.
//!
//! A reader that was away for so long that entries which it had not read were evicted begins again with the same epoch: the
//! others have lost nothing.

mod connect;
mod entry;
mod epoch;
mod producers;
mod reader;
mod retained;
mod shared;
mod writer;

use super::StoreEnd;
use connect::Place;
use eventsource_xs::wire::RedisSettings;
use reader::Reader;
use shared::Shared;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use writer::Writer;

/// How long Redis may take for an answer, beyond what it was told to wait.
const ANSWER: Duration = Duration::from_secs(2);
/// The longest time that XREAD waits for entries.
const BLOCK: Duration = Duration::from_millis(500);
/// How often the reader looks for a loss.
const CHECK: Duration = Duration::from_secs(1);
/// The most entries that are read at once. No hub trims the stream to fewer.
const CHUNK: usize = 1000;
/// The most bytes that a hub sends at once. No hub trims the stream to fewer.
const CHUNK_BYTES: usize = 1 << 20;
/// After this time without progress the store counts as down.
const STALE: Duration = Duration::from_secs(3);

/// Starts the threads of the store.
pub fn start(settings: RedisSettings, hub: &str, end: StoreEnd) -> io::Result<()> {
    // Fails if the process has a provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let producer = random_text()?;
    let shared = Arc::new(Shared::new(&settings, end.reporter));
    let place = Place::new(&settings);
    let reader = Reader::new(Arc::clone(&shared), place.clone(), &settings, hub, &producer);
    let writer = Writer::new(Arc::clone(&shared), place, &settings, &producer, end.asks);
    thread::Builder::new().name("redis-reader".into()).spawn(move || reader.run())?;
    thread::Builder::new().name("redis-writer".into()).spawn(move || writer.run())?;
    Ok(())
}

/// Returns random bytes.
fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Returns 12 random letters and digits.
fn random_text() -> io::Result<String> {
    let letters = b"0123456789abcdefghijklmnopqrstuv";
    Ok(random::<12>()?.iter().map(|byte| char::from(letters[usize::from(byte % 32)])).collect())
}
