//! The guard around every Rust function that C calls: an error or a panic becomes a status and a report.
//!
//! Only functions that read a field or two, and cannot panic, do without it.

use crate::event::FieldError;
use crate::parse::TooLarge;
use crate::{ErrorCode, Failure};
use std::cell::RefCell;
use std::fmt::Display;
use std::mem::MaybeUninit;
use std::os::raw::{c_char, c_int};
use std::panic::{catch_unwind, set_hook, AssertUnwindSafe};

/// `esx_status`: the call succeeded.
pub(super) const OK: c_int = 0;
/// C has to replace the texts that need a conversion, and measure again.
pub(super) const CONVERT: c_int = 1;
/// The report holds the code, the field and the message of an error.
pub(super) const ERROR: c_int = 2;
/// The function panicked: as `ERROR`, with [`ErrorCode::Internal`] and no field.
pub(super) const PANIC: c_int = 3;

/// The process ends, and the call has had no effect.
#[cfg(target_os = "linux")]
pub(super) const ENDING: c_int = 4;
/// The block is encoded, not only measured.
pub(super) const ENCODED: c_int = 5;

impl From<FieldError> for Failure {
    fn from(error: FieldError) -> Self {
        Self::invalid(error.field.name(), error)
    }
}

impl From<TooLarge> for Failure {
    fn from(error: TooLarge) -> Self {
        Self::invalid("max_event", error)
    }
}

/// `esx_report`. C allocates it on its stack, uninitialized. Rust writes each member that C reads afterwards.
#[repr(C)]
pub(super) struct Report {
    size: MaybeUninit<usize>,
    at: MaybeUninit<usize>,
    utf8: MaybeUninit<u8>,
    code: MaybeUninit<u8>,
    field: [MaybeUninit<c_char>; 32],
    message: [MaybeUninit<c_char>; 248],
}

impl Report {
    pub(super) fn set_size(&mut self, size: usize) {
        self.size = MaybeUninit::new(size);
    }

    pub(super) fn set_at(&mut self, at: usize) {
        self.at = MaybeUninit::new(at);
    }

    pub(super) fn set_utf8(&mut self, utf8: bool) {
        self.utf8 = MaybeUninit::new(u8::from(utf8));
    }

    fn set_failure(&mut self, Failure { code, field, message }: &Failure) {
        self.code = MaybeUninit::new(*code as u8);
        copy(field.as_deref().unwrap_or_default(), &mut self.field);
        copy(message, &mut self.message);
    }
}

/// Copies a text, cut at a character boundary if it is too long, and ends it with NUL.
fn copy(text: &str, out: &mut [MaybeUninit<c_char>]) {
    let mut end = text.len().min(out.len() - 1);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    for (to, from) in out.iter_mut().zip(text[..end].bytes().chain([0])) {
        *to = MaybeUninit::new(from as c_char);
    }
}

thread_local! {
    static PANICKED_AT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Records the location of a panic instead of printing it; [`run`] adds it to the message.
///
/// The hook belongs to this library alone, which carries its own copy of the standard library.
pub(super) fn keep_panics_quiet() {
    set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        // Fails only while the thread ends, when the location cannot be read any more.
        let _ = PANICKED_AT.try_with(|at| *at.borrow_mut() = location);
    }));
}

/// Runs `body`. An error becomes [`ERROR`], a panic [`PANIC`]; the report describes both.
pub(super) fn run<E: Into<Failure>>(report: &mut Report, body: impl FnOnce(&mut Report) -> Result<c_int, E>) -> c_int {
    match catch_unwind(AssertUnwindSafe(|| body(report))) {
        Ok(Ok(status)) => status,
        Ok(Err(error)) => {
            report.set_failure(&error.into());
            ERROR
        }
        Err(cause) => {
            report.set_failure(&Failure::new(ErrorCode::Internal, None, &describe(&*cause)));
            std::mem::forget(cause); // dropping it might panic again
            PANIC
        }
    }
}

/// As [`run`]. Returns a handle of what `body` makes, or null with a report of the error.
pub(super) fn make<T>(report: &mut Report, body: impl FnOnce() -> Result<T, Failure>) -> *mut T {
    let mut handle = std::ptr::null_mut();
    run(report, |_| {
        handle = Box::into_raw(Box::new(body()?));
        Ok::<_, Failure>(OK)
    });
    handle
}

/// Runs `body`, which has no report to write to. A panic becomes `otherwise`.
pub(super) fn run_or<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|cause| {
        std::mem::forget(cause);
        otherwise
    })
}

/// Defines functions that C calls, with a handle or without, each behind [`run_or`]: after a panic they return 0.
///
/// C found the pointer in the magic of a live object, which one interpreter uses at a time, and keeps the object alive during
/// the call.
macro_rules! guarded {
    ($($(#[$doc:meta])* fn $name:ident($it:ident: &mut $of:ty $(, $given:ident: $type:ty)*) $(-> $result:ty)? $body:block)*) => {$(
        $(#[$doc])*
        #[no_mangle]
        unsafe extern "C" fn $name($it: *mut $of $(, $given: $type)*) $(-> $result)? {
            // SAFETY: the handle is alive and not used elsewhere, see above.
            let $it = unsafe { &mut *$it };
            $crate::xs::guard::run_or(Default::default(), || $body)
        }
    )*};
    ($($(#[$doc:meta])* fn $name:ident($($given:ident: $type:ty),*) $(-> $result:ty)? $body:block)*) => {$(
        $(#[$doc])*
        #[no_mangle]
        extern "C" fn $name($($given: $type),*) $(-> $result)? {
            $crate::xs::guard::run_or(Default::default(), || $body)
        }
    )*};
}

/// Defines how C frees handles, once each. C takes them from the magic of objects, where only functions of this folder put
/// them.
macro_rules! handles {
    ($($of:ty: $drop:ident;)*) => {$(
        #[no_mangle]
        unsafe extern "C" fn $drop(handle: *mut $of) {
            // SAFETY: called once, when the owner of the handle is freed.
            let handle = unsafe { Box::from_raw(handle) };
            $crate::xs::guard::run_or((), || drop(handle));
        }
    )*};
}

/// Refuses a number or a name that C does not have: a defect, which [`run`] reports as one.
pub(super) fn refuse(what: &str, given: impl Display) -> ! {
    panic!("{given} from C is no {what}")
}

fn describe(cause: &(dyn std::any::Any + Send)) -> String {
    let message = cause.downcast_ref::<&str>().copied().or_else(|| cause.downcast_ref::<String>().map(|text| &**text));
    let location = PANICKED_AT.try_with(|at| at.borrow_mut().take()).ok().flatten();
    format!("internal error: {} ({})", message.unwrap_or("unknown"), location.as_deref().unwrap_or("unknown location"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventId, Text};

    fn report() -> Report {
        Report {
            size: MaybeUninit::new(0),
            at: MaybeUninit::new(0),
            utf8: MaybeUninit::new(0),
            code: MaybeUninit::new(99),
            field: [MaybeUninit::new(1); 32],
            message: [MaybeUninit::new(1); 248],
        }
    }

    fn text(out: &[MaybeUninit<c_char>]) -> String {
        // SAFETY: `report` has given every byte a value.
        let bytes = out.iter().map(|byte| unsafe { byte.assume_init() } as u8);
        String::from_utf8(bytes.take_while(|byte| *byte != 0).collect()).unwrap()
    }

    fn message(report: &Report) -> String {
        text(&report.message)
    }

    fn field(report: &Report) -> String {
        text(&report.field)
    }

    fn code(report: &Report) -> u8 {
        // SAFETY: `report` has given the code a value.
        unsafe { report.code.assume_init() }
    }

    #[test]
    fn a_panic_is_an_internal_error_whose_message_names_its_location() {
        let mut report = report();
        keep_panics_quiet();
        let status = run::<Failure>(&mut report, |_| panic!("{} is odd", 7));
        let _ = std::panic::take_hook();
        assert_eq!((status, code(&report), field(&report)), (PANIC, ErrorCode::Internal as u8, String::new()));
        let message = message(&report);
        assert!(message.starts_with("internal error: 7 is odd ("), "{message}");
        assert!(message.contains("guard.rs:"), "{message}");
    }

    #[test]
    fn an_error_about_a_field_reports_code_field_and_message() {
        let mut report = report();
        let status = run(&mut report, |_| EventId::new(Text::from("\n")).map(|_| OK));
        assert_eq!((status, code(&report), field(&report)), (ERROR, ErrorCode::Invalid as u8, "id".to_owned()));
        assert_eq!(message(&report), "id must not contain a line break");
    }

    #[test]
    fn a_panic_without_a_report_returns_the_default() {
        assert_eq!(run_or(7, || panic!("never seen")), 7);
    }

    #[test]
    fn a_long_message_is_cut_at_a_character_boundary() {
        let mut report = report();
        run(&mut report, |_| Err(Failure::unavailable(["x", &"é".repeat(300)].concat())));
        assert_eq!(message(&report), ["x", &"é".repeat(123)].concat());
    }
}
