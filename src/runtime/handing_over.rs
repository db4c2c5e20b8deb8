//! A new program continues with the history and the streams of this process, after an `exec` in place.
//!
//! [`pause`] stops the reactor at the end of a turn: every command that was queued is carried out, every answer applied, and
//! each stream that can be is at rest. Nothing changes by that: the reactor continues when [`Paused`] is dropped.

use super::handover_file::HandoverFile;
use super::process::{check_shutdown, lock_process};
use super::reactor_handle::{Pause, Queued};
use super::reactor_hub::{no_answer, ReactorHub};
use crate::Failure;
use crossbeam_channel::{bounded, Sender};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time that the reactor may take to end its turn. It never waits for a client.
const PAUSE_TIMEOUT: Duration = Duration::from_secs(10);
/// The time for which it may send before that, so that more streams are at rest.
const SENDING: Duration = Duration::from_secs(1);

/// A reactor that has stopped, and continues when this is dropped.
#[derive(Debug)]
pub struct Paused {
    _resumes: Sender<()>,
}

/// Stops the reactor, and appends its streams and the history of a hub. `may_continue` says whether the program speaks the same
/// version of the protocol: otherwise all streams end. The caller opens no stream and publishes nothing meanwhile. Fails with
/// `Unavailable` or `Timeout`.
pub fn pause(
    file: HandoverFile,
    history: Option<&ReactorHub>,
    may_continue: bool,
) -> Result<(HandoverFile, Paused), Failure> {
    let history = history.map(|hub| hub.number);
    let reactor = {
        check_shutdown()?;
        let process = lock_process();
        Arc::clone(process.running().ok_or_else(no_answer)?)
    };
    let (done, answer) = bounded(1);
    let (resumes, resumed) = bounded(0);
    let until = Instant::now() + SENDING;
    let pause = Pause { file: Box::new(file), history, may_continue, until, done, resumed };
    reactor.send_queued(Queued::Pause(Box::new(pause)));
    let file = answer.recv_timeout(PAUSE_TIMEOUT).map_err(|_| no_answer())?;
    Ok((*file, Paused { _resumes: resumes }))
}
