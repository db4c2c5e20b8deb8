//! Waits for a message of another thread of this process.

#[cfg(feature = "sim")]
use crossbeam_channel::TryRecvError;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// Receives a message; without a time, waits until there is one, or nobody can send it any more.
#[cfg(not(feature = "sim"))]
pub(crate) fn receive<T>(messages: &Receiver<T>, time: Option<Duration>) -> Result<T, RecvTimeoutError> {
    match time {
        Some(time) => messages.recv_timeout(time),
        None => messages.recv().map_err(RecvTimeoutError::from),
    }
}

#[cfg(feature = "sim")]
pub(crate) fn receive<T>(messages: &Receiver<T>, time: Option<Duration>) -> Result<T, RecvTimeoutError> {
    use crate::sys::sim::{wait_within, Awaited};
    use std::time::Instant;
    let began = Instant::now();
    loop {
        match messages.try_recv() {
            Ok(message) => return Ok(message),
            Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
            Err(TryRecvError::Empty) if time.map_or(false, |time| began.elapsed() >= time) => {
                return Err(RecvTimeoutError::Timeout);
            }
            Err(TryRecvError::Empty) => {
                wait_within(Awaited::OtherThread, time.map(|time| time.saturating_sub(began.elapsed())))
            }
        }
    }
}
