//! The handler that runs, on a server where one handler runs at a time and holds its worker.
//!
//! A fork waits until its events are sent. And if it runs for long, the server's log says so once for each application: the
//! interpreter is busy or asleep then, so the reactor's thread does that.

use super::spawned;
use super::stream_state::StreamState;
use super::wake::sync::lock;
use crate::sys::{descriptor, thread};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The most applications that are reported in a process.
const MAX_REPORTS: usize = 64;

#[derive(Debug)]
struct Handler {
    stream: Arc<StreamState>,
    due: Option<Instant>,
    /// The application's name in the log, and the descriptor of the log.
    report: Option<(Box<str>, i32)>,
}

/// The running handler, if any, and the applications whose handlers were reported.
#[derive(Debug, Default)]
pub(super) struct RunningHandler(Mutex<(Option<Handler>, Vec<Box<str>>)>);

impl RunningHandler {
    /// Called before the reactor sees the stream of a new handler. So it wakes when the limit is over.
    pub(super) fn begin(&self, stream: Arc<StreamState>, limit: Option<Duration>) {
        let due = limit.and_then(|limit| Instant::now().checked_add(limit));
        lock(&self.0).0 = Some(Handler { stream, due, report: None });
    }

    /// Sets the line that is written to a descriptor when the handler has run for as long as its limit.
    pub(super) fn report_later(&self, stream: &Arc<StreamState>, line: &str, log: i32) {
        if let Some(handler) = lock(&self.0).0.as_mut().filter(|handler| Arc::ptr_eq(&handler.stream, stream)) {
            handler.report = Some((line.into(), log));
        }
    }

    pub(super) fn end(&self) {
        lock(&self.0).0 = None;
    }

    /// Returns the stream of the handler.
    pub(super) fn stream(&self) -> Option<Arc<StreamState>> {
        lock(&self.0).0.as_ref().map(|handler| Arc::clone(&handler.stream))
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        lock(&self.0).0.as_ref().and_then(|handler| handler.due)
    }

    /// Called in each turn of the reactor: reports a handler that has run for as long as its limit, also if its client has
    /// left: then it may never notice. A handler that has closed its stream works for something else.
    pub(super) fn report_if_due(&self, now: Instant) {
        let mut inner = lock(&self.0);
        let (handler, reported) = &mut *inner;
        let handler = some_or!(handler.as_mut().filter(|handler| handler.due.map_or(false, |due| due <= now)), return);
        handler.due = None;
        let is_reported = !handler.stream.is_closed() && !spawned::is_spawned();
        let (line, log) = some_or!(handler.report.take().filter(|_| is_reported), return);
        if reported.len() < MAX_REPORTS && !reported.contains(&line) {
            reported.push(line.clone());
            // A log that nobody reads must not stop the reactor.
            let _ = thread::spawn("eventsource-log", move || descriptor::write(log, line.as_bytes()));
        }
    }
}

#[cfg(all(test, not(miri)))] // descriptors
mod tests {
    use super::*;
    use crate::reactor::StreamId;
    use rustix::fd::AsRawFd;
    use std::io::{BufRead, BufReader, Lines};
    use std::os::unix::net::UnixStream;

    const LIMIT: Duration = Duration::from_secs(10);

    fn stream() -> Arc<StreamState> {
        Arc::new(StreamState::new(StreamId { slot: 1, serial: 1 }, 0, 0))
    }

    /// Returns a log, and the lines that are read from it.
    fn log() -> (UnixStream, Lines<BufReader<UnixStream>>) {
        let (log, reader) = UnixStream::pair().expect("a pair of sockets");
        reader.set_read_timeout(Some(LIMIT)).expect("a timeout");
        (log, BufReader::new(reader).lines())
    }

    /// A handler runs, and the reactor looks after some time.
    fn run(handler: &RunningHandler, line: &str, log: &UnixStream, stream: &Arc<StreamState>, after: Duration) {
        handler.begin(Arc::clone(stream), Some(LIMIT));
        handler.report_later(stream, line, log.as_raw_fd());
        handler.report_if_due(Instant::now() + after);
    }

    #[test]
    fn a_handler_that_has_reached_its_limit_is_reported_once_for_each_line() {
        let (handler, (log, mut lines)) = (RunningHandler::default(), log());
        run(&handler, "early\n", &log, &stream(), LIMIT / 2);
        assert!(handler.next_due().is_some());
        for line in ["first\n", "first\n", "second\n"] {
            run(&handler, line, &log, &stream(), LIMIT);
            assert_eq!(handler.next_due(), None);
        }
        let mut read = || lines.next().expect("a line").expect("the log");
        let mut both = [read(), read()];
        both.sort(); // each is written by a thread of its own
        assert_eq!(both, ["first", "second"]);
        drop(log);
        assert!(lines.next().is_none(), "there is no third line");
    }

    #[test]
    fn a_handler_that_has_closed_its_stream_or_has_returned_is_not_reported() {
        let (handler, (log, mut lines)) = (RunningHandler::default(), log());
        let closed = stream();
        closed.close();
        run(&handler, "closed\n", &log, &closed, LIMIT);
        handler.begin(stream(), Some(LIMIT));
        handler.report_later(&stream(), "another handler\n", log.as_raw_fd());
        handler.report_if_due(Instant::now() + LIMIT);
        run(&handler, "returned\n", &log, &stream(), Duration::ZERO);
        handler.end();
        handler.report_if_due(Instant::now() + LIMIT);
        assert_eq!(handler.next_due(), None);
        run(&handler, "the only one\n", &log, &stream(), LIMIT);
        assert_eq!(lines.next().expect("a line").expect("the log"), "the only one");
    }
}
