//! A new program continues with the streams and hubs of this process, after an `exec` in place.
//!
//! [`pause`] stops the reactor at the end of a turn: every command that was queued is carried out, and every answer applied. It
//! saves what the reactor holds; the handles of streams and hubs are saved beside it. Then the process has its descriptors
//! outlive the `exec`. The new program restores the [`State`], and the handles from it.
//!
//! If the `exec` fails, the reactor continues when [`Paused`] is dropped. Nothing has been changed.

use super::error::Error;
use super::handles::hub_handle::HubHandle;
pub use super::handles::hub_handle::SavedHub;
pub use super::handles::stream_handle::SavedStream;
use super::handles::stream_handle::StreamHandle;
use super::process::{check_shutdown, lock_process};
use super::reactor_handle::{Numbers, Pause, Queued, ReactorHandle};
use super::stats::Counts;
use super::stream_state::StreamState;
use crate::reactor::{ReactorState, StreamId};
use crate::saved::Saver;
use crossbeam_channel::{bounded, Sender};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the reactor may take to end its turn. It never waits for a client.
const PAUSE_TIMEOUT: Duration = Duration::from_secs(10);

/// A reactor that has stopped, and continues when this is dropped.
#[derive(Debug)]
pub struct Paused {
    /// The numbers of the descriptors that the new program takes.
    pub descriptors: Vec<i32>,
    _resumes: Sender<()>,
}

/// Stops the reactor at the end of a turn, and saves its [`State`]. The caller opens no stream and publishes nothing meanwhile.
/// Fails with [`Error::ShuttingDown`] or [`Error::Timeout`].
pub fn pause(saver: Saver) -> Result<(Box<Saver>, Paused), Error> {
    let reactor = {
        check_shutdown()?;
        let process = lock_process();
        Arc::clone(process.running().ok_or(Error::Timeout)?)
    };
    let (saved, answer) = bounded(1);
    let (resumes, resumed) = bounded(0);
    reactor.send_queued(Queued::Pause(Pause { saver: Box::new(saver), saved, resumed }));
    let (saver, descriptors) = answer.recv_timeout(PAUSE_TIMEOUT).map_err(|_| Error::Timeout)?;
    Ok((saver, Paused { descriptors, _resumes: resumes }))
}

/// The state of a reactor, read and checked.
#[derive(Debug)]
pub struct State {
    numbers: Numbers,
    counts: Counts,
    /// The streams, with the times at which they were opened.
    streams: Vec<((StreamId, u32), StreamState)>,
    reactor: ReactorState,
}

saved!(State { numbers, counts, streams, reactor });

/// A reactor that continues with what another program has held, and the streams that have no handle yet. What it reports of
/// members is applied when this is dropped: then all hubs are registered.
#[derive(Debug)]
pub struct Restored {
    reactor: Arc<ReactorHandle>,
    states: HashMap<u64, Arc<StreamState>>,
}

/// Starts the reactor of this process with what another program has held. Takes over its descriptors. Nothing in this process
/// has used streams or hubs before. Fails with [`Error::System`].
pub fn restore(state: State) -> Result<Restored, Error> {
    let State { numbers, counts, streams, reactor } = state;
    let shared = |((stream, opened), state)| (stream, opened, Arc::new(state));
    let streams: Vec<_> = streams.into_iter().map(shared).collect();
    let states = streams.iter().map(|(stream, _, state)| (u64::from(*stream), Arc::clone(state))).collect();
    let change_handle = |handle: &mut ReactorHandle| {
        handle.restore(counts, numbers);
        handle.presence.hold();
        let _ = handle.mailbox.open(); // without a descriptor it fails again when it is read
    };
    let reactor = lock_process().start_with(change_handle, |event_loop| event_loop.restore(streams, reactor))?;
    Ok(Restored { reactor, states })
}

impl Drop for Restored {
    fn drop(&mut self) {
        self.reactor.presence.release();
        lock_process().apply_presence(&self.reactor, Instant::now());
        self.reactor.wake(); // something may be due sooner
    }
}

impl Restored {
    /// Continues with a hub.
    pub fn hub(&self, saved: SavedHub) -> HubHandle {
        HubHandle::restore(saved, &self.reactor)
    }

    /// Continues with a stream; nothing if the reactor does not have it.
    pub fn stream(&self, saved: &SavedStream) -> Option<StreamHandle> {
        let state = self.states.get(&saved.stream.into())?;
        Some(StreamHandle::restore(saved, Arc::clone(state), Arc::clone(&self.reactor)))
    }
}
