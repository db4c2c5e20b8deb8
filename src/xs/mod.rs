//! The only place that knows Perl.
//!
//! Perl's scalars are read in C (`eventsource.xs`, `snapshot.h`), in two passes: first everything that may run Perl code
//! and die, then pointers and lengths, which the functions here get. They return a status; C croaks when they have
//! returned. No Rust frame is ever below Perl code, and no panic leaves a Rust function (`guard`).
//!
//! - `strings`: which bytes a Perl string becomes
//! - `encode`: a block of fields, sized and written into a scalar's buffer
//! - `parser`: the handle behind an EventSource::Parser
//! - `stream`: the handle behind an EventSource::Stream::Native (Linux)
//! - `hub`: the handle behind an EventSource::Hub (Linux)
//! - `guard`: panics become statuses
//!
//! The types and functions that C sees are declared in `eventsource.h`.

// build.rs sets perl_multiplicity; Rust 1.63 warns if it is told so, newer ones if not.
#![allow(unknown_lints, unexpected_cfgs)]

mod encode;
mod guard;
#[cfg(target_os = "linux")]
mod hub;
mod parser;
#[cfg(target_os = "linux")]
mod stream;
mod strings;

use std::os::raw::c_void;

extern "C" {
    #[cfg(perl_multiplicity)]
    fn esx_boot(perl: *mut c_void, cv: *mut c_void);
    #[cfg(not(perl_multiplicity))]
    fn esx_boot(cv: *mut c_void);
}

/// What XSLoader looks for. A C function of this name would not be exported from the library, so this forwards to it.
///
/// # Safety
///
/// Called by perl alone, with its interpreter and the code value of the boot function.
#[cfg(perl_multiplicity)]
#[no_mangle]
#[allow(non_snake_case)]
pub unsafe extern "C" fn boot_EventSource__XS(perl: *mut c_void, cv: *mut c_void) {
    // SAFETY: the arguments go through untouched. If versions differ the C function dies past this frame, which
    // holds nothing that would have to be dropped.
    unsafe { esx_boot(perl, cv) }
}

/// The same for a perl that has one interpreter in a process.
///
/// # Safety
///
/// Called by perl alone, with the code value of the boot function.
#[cfg(not(perl_multiplicity))]
#[no_mangle]
#[allow(non_snake_case)]
pub unsafe extern "C" fn boot_EventSource__XS(cv: *mut c_void) {
    // SAFETY: as above.
    unsafe { esx_boot(cv) }
}

/// Called once when the library is loaded.
#[no_mangle]
extern "C" fn esx_start() {
    guard::keep_panics_quiet();
}
