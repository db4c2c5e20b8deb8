//! The handle behind an EventSource::XS::Stream::Native, and the operations on descriptors that a takeover needs.

use super::guard::{self, Report};
use super::text::RawText;
use crate::compression::{Body, ContentCoding};
use crate::event::has_id_line;
use crate::remote;
use crate::runtime::{self, descriptor_reserve, OpenOptions, Pushed, RelayedClient, StreamHandle, Takeover};
use crate::stream::{Framing, LineEnd, Reason, Settings};
use crate::sys::{descriptor, signal};
use rustix::fd::OwnedFd;
use std::io;
use std::os::raw::{c_char, c_int};
use std::slice;
use std::time::Duration;

/// `esx_opening`
#[repr(C)]
struct RawOpening {
    head: *const c_char,
    opening: *const c_char,
    head_len: usize,
    opening_len: usize,
    keepalive: f64,
    timeout: f64,
    retry: f64,
    handler_limit: f64,
    max_buffered: usize,
    max_streams: usize,
    socket: c_int,
    interpreter: u32,
    is_chunked: u8,
    line_end: u8,
    drops_oldest: u8,
    waits: u8,
    ends_with_handle: u8,
    may_wait: u8,
    coding: u8,
}

/// `esx_pushed`
mod pushed {
    use std::os::raw::c_int;
    pub(super) const TAKEN: c_int = 0;
    pub(super) const FULL: c_int = 1;
    pub(super) const ENDED: c_int = 2;
    /// `ESX_ID_UNKNOWN`
    pub(super) const ID_UNKNOWN: c_int = 2;
}

/// Converts Perl's seconds. A value that is not a time becomes a very long one.
pub(super) fn seconds(seconds: f64) -> Duration {
    const LONG: f64 = 1e9;
    Duration::from_secs_f64(if seconds >= 0.0 { seconds.min(LONG) } else { LONG })
}

impl RawOpening {
    fn settings(&self) -> Settings {
        Settings {
            framing: if self.is_chunked != 0 { Framing::Chunked } else { Framing::Plain },
            coding: ContentCoding::ALL
                .get(usize::from(self.coding))
                .copied()
                .unwrap_or_else(|| guard::refuse("content coding", self.coding)),
            line_end: super::encode::line_end(self.line_end.into()),
            keepalive: Some(self.keepalive).filter(|quiet| *quiet > 0.0).map(seconds),
            timeout: seconds(self.timeout),
            max_buffered: self.max_buffered,
            drop_oldest: self.drops_oldest != 0,
            retry: seconds(self.retry),
        }
    }

    /// Returns the head, and the first bytes of the body.
    ///
    /// # Safety
    ///
    /// `head..head + head_len` and `opening..opening + opening_len` are readable.
    unsafe fn texts(&self) -> (&[u8], &[u8]) {
        // SAFETY: the caller guarantees that the bytes are readable.
        unsafe { (bytes_of(self.head, self.head_len), bytes_of(self.opening, self.opening_len)) }
    }

    fn begin<'a>(&self, socket: Option<OwnedFd>, head: &'a [u8], content: &'a [u8]) -> OpenOptions<'a> {
        OpenOptions {
            socket,
            head,
            content,
            body: Body::default(),
            settings: self.settings(),
            waits: self.waits != 0,
            ends_with_handle: self.ends_with_handle != 0,
            interpreter: self.interpreter,
            handler_limit: Some(self.handler_limit).filter(|limit| *limit > 0.0).map(seconds),
            may_wait: self.may_wait != 0,
            members_of: None,
            max_streams: if self.max_streams == 0 {
                descriptor_reserve::default_max_streams()
            } else {
                self.max_streams
            },
        }
    }
}

/// # Safety
///
/// `start..start + len` is readable if `len` is not 0.
unsafe fn bytes_of<'a>(start: *const c_char, len: usize) -> &'a [u8] {
    if len == 0 {
        return b"";
    }
    // SAFETY: the caller guarantees that the bytes are readable.
    unsafe { slice::from_raw_parts(start.cast(), len) }
}

/// Opens a stream, which then owns the descriptor. If this fails, the caller keeps it.
#[no_mangle]
unsafe extern "C" fn esx_stream_open(raw: *const RawOpening, report: *mut Report) -> *mut StreamHandle {
    // SAFETY: both are on the stack of C. The opening has a value, and its head is a scalar's buffer.
    let (raw, (head, opening), report) = unsafe { (&*raw, (*raw).texts(), &mut *report) };
    guard::make(report, || {
        let adopted = Some(raw.socket).filter(|number| *number >= 0).map(descriptor::adopt).transpose();
        let Settings { framing, coding, .. } = raw.settings();
        let head = [head, &framing.frame(coding.beginning())].concat();
        StreamHandle::open(raw.begin(adopted?, &head, opening)).map_err(|(error, socket)| {
            let _number = socket.map(descriptor::into_number);
            error
        })
    })
}

/// Puts one end of a pipe in the place of the server's socket. Returns NULL if that fails.
#[no_mangle]
unsafe extern "C" fn esx_takeover_begin(
    number: c_int,
    must_be_connection: c_int,
    report: *mut Report,
) -> *mut Takeover {
    // SAFETY: the report is on the stack of C.
    let report = unsafe { &mut *report };
    guard::make(report, || Takeover::begin(number, must_be_connection != 0))
}

handles! {
    Takeover: esx_takeover_drop;
    RelayedClient: esx_relayed_client_drop;
    StreamHandle: esx_stream_drop;
}

#[no_mangle]
extern "C" fn esx_relayed_client_new() -> *mut RelayedClient {
    guard::run_or(std::ptr::null_mut(), || Box::into_raw(Box::default()))
}

/// Returns the seconds until the next look, or a negative number if the client is dead.
#[no_mangle]
unsafe extern "C" fn esx_relayed_client_look(handle: *mut RelayedClient, number: c_int, timeout: f64) -> f64 {
    // SAFETY: the object is alive, and used by one interpreter at a time.
    let handle = unsafe { &mut *handle };
    guard::run_or(-1.0, || handle.look(number, seconds(timeout)).map_or(-1.0, |time| time.as_secs_f64()))
}

guarded! {
    fn esx_takeover_has_head(takeover: &mut Takeover) -> c_int { takeover.has_head().into() }

    fn esx_stream_attach(handle: &mut StreamHandle, number: c_int) -> c_int {
        match descriptor::adopt(number) {
            Ok(socket) => {
                handle.attach(socket);
                1
            }
            Err(_) => 0,
        }
    }

    /// Attaches a stream to a duplicate of a server's descriptor, and leaves the server with `/dev/null`. Returns 0 if that
    /// fails; the server may be left with `/dev/null` then too.
    fn esx_stream_take_over(handle: &mut StreamHandle, number: c_int) -> c_int {
        let taken = descriptor::duplicate(number).and_then(|socket| descriptor::silence(number).map(|()| socket));
        taken.map_or(0, |socket| {
            handle.attach(socket);
            1
        })
    }

    fn esx_stream_wait(handle: &mut StreamHandle, len: usize, milliseconds: u32) {
        handle.wait_for_room(len, Duration::from_millis(milliseconds.into()))
    }

    fn esx_stream_wait_for_end(handle: &mut StreamHandle, milliseconds: u32) {
        handle.wait_for_end(Duration::from_millis(milliseconds.into()))
    }

    /// Returns 0 if there is no such reason.
    fn esx_stream_close(handle: &mut StreamHandle, reason: RawText) -> c_int {
        // SAFETY: the word is a scalar's buffer, which lives until the XSUB returns.
        let word = unsafe { reason.bytes() }.unwrap_or_default();
        let reason = Reason::ALL.iter().find(|reason| reason.name().as_bytes() == word);
        reason.map_or(0, |reason| {
            handle.close(*reason);
            1
        })
    }

    /// Lets the reactor write a line to a descriptor once, when the running handler has reached its limit.
    fn esx_stream_report_handler(handle: &mut StreamHandle, line: RawText, log: c_int) {
        // SAFETY: the line is a scalar's buffer, which lives until the XSUB returns.
        let line = unsafe { line.bytes() }.unwrap_or_default();
        // Most lines are UTF-8, which is checked much more quickly than it is mended.
        match std::str::from_utf8(line) {
            Ok(line) => handle.report_handler(line, log),
            Err(_) => handle.report_handler(&String::from_utf8_lossy(line), log),
        }
    }

    fn esx_stream_end_with_retry(handle: &mut StreamHandle) { handle.end_with_retry() }
    fn esx_stream_fail(handle: &mut StreamHandle) { handle.end_without_socket() }
    fn esx_stream_release(handle: &mut StreamHandle) { handle.release() }
    fn esx_stream_enter_handler(handle: &mut StreamHandle) { handle.enter_handler() }
    fn esx_stream_leave_handler(handle: &mut StreamHandle) { handle.leave_handler() }
    fn esx_stream_is_subscribed(handle: &mut StreamHandle) -> c_int { handle.is_subscribed().into() }
    fn esx_stream_has_begun(handle: &mut StreamHandle) -> c_int { handle.has_begun().into() }

    /// Returns the line end with which events for the stream are encoded.
    fn esx_stream_line_end(handle: &mut StreamHandle) -> c_int { (handle.line_end() == LineEnd::CrLf).into() }
    fn esx_stream_is_open(handle: &mut StreamHandle) -> c_int { handle.is_open().into() }
    fn esx_stream_is_attached(handle: &mut StreamHandle) -> c_int { handle.is_attached().into() }
    fn esx_stream_is_handed_over(handle: &mut StreamHandle) -> c_int { handle.is_handed_over().into() }
    fn esx_stream_is_for_hub_process(handle: &mut StreamHandle) -> c_int { handle.is_for_hub_process().into() }
    fn esx_stream_ends_with_handle(handle: &mut StreamHandle) -> c_int { handle.ends_with_handle().into() }
    fn esx_stream_buffered(handle: &mut StreamHandle) -> usize { handle.buffered_bytes() }
    fn esx_stream_name(handle: &mut StreamHandle) -> u64 { handle.id().into() }

    /// Promises the stream to a child that is still to be forked, or takes it back.
    fn esx_stream_promise(handle: &mut StreamHandle, is_promised: c_int) { handle.promise(is_promised != 0) }

    /// Gives the stream to a forked child.
    fn esx_stream_transfer(handle: &mut StreamHandle) { handle.transfer() }

    /// In a forked child: closes the inherited connections of all other clients.
    fn esx_stream_leave_other_clients(handle: &mut StreamHandle) { handle.leave_other_clients() }

    /// Makes this process end with the stream, and writes the reason to a descriptor first.
    fn esx_stream_end_process_too(handle: &mut StreamHandle, grace: f64, report: c_int) {
        handle.end_process_too(seconds(grace), report)
    }

    /// Waits until everything is sent. Returns 1 if it is.
    fn esx_stream_wait_until_sent(handle: &mut StreamHandle, milliseconds: u32) -> c_int {
        handle.wait_until_sent(Duration::from_millis(milliseconds.into())).into()
    }
}

/// Opens the stream of a captured response. Its settings are those of the opening; the opening's head is the probe.
#[no_mangle]
unsafe extern "C" fn esx_takeover_open(
    takeover: *mut Takeover,
    raw: *const RawOpening,
    report: *mut Report,
) -> *mut StreamHandle {
    // SAFETY: see `esx_takeover_has_head`; the others are on the stack of C, and the opening's texts are scalars' buffers.
    let (takeover, raw, (probe, opening), report) = unsafe { (&mut *takeover, &*raw, (*raw).texts(), &mut *report) };
    guard::make(report, || takeover.open(probe, raw.is_chunked != 0, raw.begin(None, b"", opening)))
}

#[no_mangle]
unsafe extern "C" fn esx_stream_push(
    handle: *mut StreamHandle,
    event: *const c_char,
    len: usize,
    has_id: c_int,
) -> c_int {
    // SAFETY: the handle as that of a `guarded!` function; the event is a scalar's buffer, which lives until the XSUB returns.
    let (handle, event) = unsafe { (&mut *handle, slice::from_raw_parts(event.cast(), len)) };
    guard::run_or(pushed::ENDED, || {
        // An id of the application matters only to a stream of a hub.
        let has_id =
            if has_id == pushed::ID_UNKNOWN { handle.is_subscribed() && has_id_line(event) } else { has_id != 0 };
        match handle.push(event, has_id) {
            Pushed::Taken => pushed::TAKEN,
            Pushed::Full => pushed::FULL,
            Pushed::Ended => pushed::ENDED,
        }
    })
}

/// Returns the number of the reason for which the stream has ended, or -1 if it is open. Its end is then reported later, by
/// [`esx_next_end`].
#[no_mangle]
unsafe extern "C" fn esx_stream_want_end(handle: *mut StreamHandle) -> c_int {
    // SAFETY: the handle as above.
    let handle = unsafe { &mut *handle };
    guard::run_or(-1, || handle.report_end_or_reason().map_or(-1, |reason| reason as c_int))
}

/// Takes the next stream that has ended: writes its name and returns the reason's number, or -1 if there is none.
#[no_mangle]
unsafe extern "C" fn esx_next_end(interpreter: u32, name: *mut u64) -> c_int {
    guard::run_or(-1, || match runtime::take_ended(interpreter) {
        Some((stream, reason)) => {
            // SAFETY: `name` is a variable on the stack of C, perhaps without a value yet.
            unsafe { name.write(stream.into()) };
            reason as c_int
        }
        None => -1,
    })
}

/// Returns the word for a reason; an empty one if no reason has that number.
#[no_mangle]
extern "C" fn esx_reason(number: u32) -> RawText {
    RawText::of(Reason::ALL.get(number as usize).map_or("", |reason| reason.name()).as_bytes())
}

/// Returns the result of a system call for C: its value, or the negated error number.
fn or_errno(result: io::Result<c_int>) -> c_int {
    const EIO: c_int = 5;
    result.unwrap_or_else(|error| -error.raw_os_error().unwrap_or(EIO))
}

#[no_mangle]
extern "C" fn esx_notify_descriptor(interpreter: u32) -> c_int {
    guard::run_or(-1, || or_errno(runtime::notify_descriptor(interpreter)))
}

#[no_mangle]
extern "C" fn esx_duplicate(number: c_int) -> c_int {
    guard::run_or(-1, || or_errno(descriptor::duplicate(number).map(descriptor::into_number)))
}

guarded! {
    /// Returns a number that no other interpreter of this process has.
    fn esx_new_interpreter() -> u32 {
        use std::sync::atomic::{AtomicU32, Ordering};
        static LAST: AtomicU32 = AtomicU32::new(0);
        LAST.fetch_add(1, Ordering::Relaxed)
    }

    fn esx_remove_interpreter(interpreter: u32) { runtime::remove_interpreter(interpreter) }
    fn esx_finish() { remote::shutdown() }
    fn esx_linger(time: f64) { runtime::linger(seconds(time)) }

    /// Says that this process serves an application, and whether it has a request to answer.
    fn esx_serve(has_request: c_int) { remote::serve(has_request != 0) }

    /// Returns 1 if the process has ended streams to report or callbacks to run.
    fn esx_has_callbacks() -> c_int { (runtime::has_callbacks() || remote::LOSSES.are_there()).into() }
    fn esx_count_callbacks(added: isize) { runtime::count_callbacks(added) }

    /// Returns 0 if a signal has its default effect, 1 if it is ignored, or else the address of its handler.
    fn esx_signal_action(number: c_int) -> usize { signal::action(number) }

    /// Sends this thread a signal while ends are queued for an interpreter; 0 stops that.
    fn esx_set_end_signal(number: c_int, interpreter: u32) {
        runtime::set_end_signal(Some(number).filter(|number| *number > 0), interpreter)
    }

    fn esx_cork(number: c_int) { descriptor::cork(number) }
    fn esx_is_connection(number: c_int) -> c_int { descriptor::is_connection(number).into() }
    fn esx_has_left(number: c_int) -> c_int { descriptor::has_left(number).into() }
    fn esx_is_hung_up(number: c_int) -> c_int { descriptor::is_hung_up(number).into() }
    /// Returns a number that differs in each forked child from its parent's.
    fn esx_generation() -> u32 { runtime::counted_generation() }

    fn esx_default_max_streams() -> usize { descriptor_reserve::default_max_streams() }

    /// Returns 1 if few descriptors are left for one more stream that is not native.
    fn esx_is_short() -> c_int { descriptor_reserve::recount_if_due(|| 0).into() }
}
