//! A new program continues with the history and the streams of this process, after an `exec` in place.
//!
//! [`pause`] stops the reactor at the end of a turn: every command that was queued is carried out, every answer applied, and
//! each stream that can be is at rest. Nothing changes by that: the reactor continues when [`Paused`] is dropped.
//!
//! Streams may have ended until the reactor stops. The events that are made of their ends, such as leaves, are published to the
//! reactor before it hands the history over: otherwise they would wait in its queue, which ends with this program.

use super::handover_file::HandoverFile;
use super::process::{check_shutdown, lock_process};
use super::reactor_handle::{Pause, Queued, ReactorHandle};
use super::reactor_hub::{no_answer, ReactorHub};
use super::wake::channel::receive;
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

/// Stops the reactor, and appends its streams and what a hub remembers. `may_continue` says whether the program speaks the same
/// version of the protocol: otherwise all streams end. `take_reports` takes what the reactor has reported, and says whether it
/// has published something because of that. The caller opens no stream and publishes nothing else meanwhile. Fails with
/// `Unavailable` or `Timeout`.
pub fn pause(
    file: HandoverFile,
    hub: Option<&ReactorHub>,
    may_continue: bool,
    take_reports: impl FnMut() -> bool,
) -> Result<(HandoverFile, Paused), Failure> {
    let reactor = {
        check_shutdown()?;
        let process = lock_process();
        Arc::clone(process.running().ok_or_else(no_answer)?)
    };
    pause_reactor(&reactor, file, hub, may_continue, take_reports)
}

fn pause_reactor(
    reactor: &ReactorHandle,
    file: HandoverFile,
    hub: Option<&ReactorHub>,
    may_continue: bool,
    mut take_reports: impl FnMut() -> bool,
) -> Result<(HandoverFile, Paused), Failure> {
    let hub = hub.map(|hub| hub.number);
    let ((done, answer), (stopped, has_stopped), (more, has_more)) = (bounded(1), bounded(1), bounded(1));
    let (resumes, resumed) = bounded(0);
    let until = Instant::now() + SENDING;
    let pause = Pause { file: Box::new(file), hub, may_continue, until, stopped, has_more, done, resumed };
    reactor.send_queued(Queued::Pause(Box::new(pause)));
    let mut has_published = true;
    while has_published {
        receive(&has_stopped, Some(PAUSE_TIMEOUT)).map_err(|_| no_answer())?;
        has_published = take_reports();
        more.send(has_published).map_err(|_| no_answer())?;
    }
    let file = receive(&answer, Some(PAUSE_TIMEOUT)).map_err(|_| no_answer())?;
    Ok((*file, Paused { _resumes: resumes }))
}

#[cfg(all(test, not(miri)))] // system calls
mod tests {
    use super::*;
    use crate::compression::{Body, ContentCoding};
    use crate::event::Shared;
    use crate::hub::{Epoch, SequencedEvent};
    use crate::reactor::{Continuation, Handed};
    use crate::runtime::event_loop::EventLoop;
    use crate::runtime::HandedOver;
    use crate::stream::{Framing, LineEnd, Reason, Settings, StreamEnd, StreamId};
    use crate::sys::daemon::memory_file;
    use crate::wire::{Handover, HubSettings, Open, MAX_FRAME_BYTES};

    #[test]
    fn a_stream_whose_rest_is_too_large_for_a_message_is_cut_and_its_end_stays_that_of_the_application() {
        let mut file = HandoverFile::new(memory_file("test").expect("a descriptor"));
        let socket = memory_file("socket").expect("a descriptor").into();
        let settings = Settings {
            framing: Framing::Plain,
            coding: ContentCoding::Identity,
            line_end: LineEnd::Lf,
            keepalive: None,
            timeout: Duration::from_secs(60),
            max_buffered: 1,
            drop_oldest: false,
            retry: Duration::from_secs(3),
        };
        let end = StreamEnd { reason: Reason::Application, is_by_application: true };
        for bytes in [5, MAX_FRAME_BYTES] {
            let unsent = vec![b'x'; bytes];
            let handed = Handed { socket: &socket, settings, unsent, body: Body::default() };
            file.add_stream(StreamId { slot: 0, serial: 1 }, handed, Continuation::Ending { end, labels: Vec::new() });
        }
        assert_eq!(file.streams, (1, 1));
        let (file, _) = file.finish().expect("a file");
        let handed = HandedOver::read(file).expect("messages");
        match *handed.others() {
            [Handover::Ending { end: first, open: Open { unsent: b"xxxxx", .. }, .. }, Handover::Cut { end: second, bytes, .. }] =>
            {
                assert_eq!([first, second], [end, end]);
                assert!(bytes.len() > 1 << 20, "as much as any socket takes");
            }
            ref others => panic!("{}", others.len()),
        }
    }

    #[test]
    fn an_event_that_is_made_of_the_last_reports_of_the_reactor_is_in_the_history_that_it_hands_over() {
        let reactor = Arc::new(ReactorHandle::new().expect("a descriptor"));
        let event_loop = EventLoop::new(Arc::clone(&reactor), |_, _| true).expect("a descriptor");
        std::thread::spawn(move || event_loop.run()); // until the process ends
        let hub = ReactorHub::create(Arc::clone(&reactor), HubSettings::default().hub, Epoch::new("e", None), None);
        let mut seq = 0;
        let leave = || {
            seq += 1;
            if seq > 2 {
                return false; // nothing was reported meanwhile
            }
            let event = Shared::of(&b"data: leave\n\n"[..]);
            let (channel, key, retain) = (b"room"[..].into(), Box::default(), Default::default());
            hub.append(SequencedEvent { seq, channel, event, key, retain, has_custom_id: false }, Instant::now());
            true
        };
        let file = HandoverFile::new(memory_file("test").expect("a descriptor"));
        let (file, paused) = pause_reactor(&reactor, file, Some(&hub), true, leave).expect("a reactor");
        let (file, _) = file.finish().expect("a file");
        let handed = HandedOver::read(file.try_clone().expect("a descriptor")).expect("messages");
        let mut seqs = Vec::new();
        let note = |part: Handover<'_>| {
            if let Handover::Entry { seq, .. } = part {
                seqs.push(seq)
            }
        };
        handed.entries(note).expect("messages");
        assert_eq!(seqs, [1, 2]);
        assert!(matches!(*handed.others(), [Handover::History(_)]));
        drop(paused);
        for length in (1..handed.size().expect("a file")).rev() {
            file.set_len(length).expect("a file");
            match HandedOver::read(file.try_clone().expect("a descriptor")) {
                Ok(cut) => assert!(cut.others().len() <= 1, "whole messages"),
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::InvalidData),
            }
        }
    }
}
