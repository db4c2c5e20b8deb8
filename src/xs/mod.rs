//! The Perl boundary. No other module depends on Perl.
//!
//! C reads Perl's scalars (the `.xs` files, `snapshot.h`) in two passes. The first does everything that may run Perl code
//! and die. The second takes pointers and lengths, and passes them to the functions of this module. These return a status,
//! and C croaks after they have returned. Perl code therefore never runs above a Rust frame, and no panic leaves a Rust
//! function (`guard`).
//!
//! - `strings`: the conversion of a Perl string to bytes
//! - `encode`: a block of fields, sized and written into a scalar's buffer
//! - `parser`: the handle behind an EventSource::Parser
//! - `text`: texts of C, and texts for C
//! - `request`: what the head of a request says, by name
//! - `stream`: the handle behind an EventSource::XS::Stream::Native (Linux)
//! - `hub`: the handle behind an EventSource::Hub, and the settings of its store (Linux)
//! - `subscribe`: subscriptions of streams to a hub, and tickets (Linux)
//! - `calls`: calls by name, and what they return: counts, and what is read of a hub in parts (Linux)
//! - `process`: the handle behind an EventSource::Hub::Process (Linux)
//! - `guard`: panics become statuses
//!
//! `eventsource.xs` includes an `.xs` file for each noun, with its XSUBs. An `.h` file of the same name, if there is one, reads
//! their arguments, and a Rust file is behind them. The types and functions that C sees are declared in `eventsource.h`.

// build.rs sets perl_multiplicity. Newer compilers warn about the unknown cfg, and Rust 1.63 warns about the unknown lint.
#![allow(unknown_lints, unexpected_cfgs)]

#[cfg(target_os = "linux")]
mod calls;
mod encode;
#[macro_use]
mod guard;
#[cfg(target_os = "linux")]
mod hub;
mod parser;
#[cfg(target_os = "linux")]
mod process;
mod request;
#[cfg(target_os = "linux")]
mod stream;
mod strings;
#[cfg(target_os = "linux")]
mod subscribe;
mod text;

use std::os::raw::c_void;

extern "C" {
    #[cfg(perl_multiplicity)]
    fn esx_boot(perl: *mut c_void, cv: *mut c_void);
    #[cfg(not(perl_multiplicity))]
    fn esx_boot(cv: *mut c_void);
}

/// The function that XSLoader looks up. The library would not export a C function of this name, so this function calls it.
///
/// # Safety
///
/// Called by perl alone, with its interpreter and the code value of the boot function.
#[cfg(perl_multiplicity)]
#[no_mangle]
#[allow(non_snake_case)]
pub unsafe extern "C" fn boot_EventSource__XS(perl: *mut c_void, cv: *mut c_void) {
    // SAFETY: the arguments are passed on unchanged. If the versions differ, the C function dies past this frame, which holds
    // nothing that would have to be dropped.
    unsafe { esx_boot(perl, cv) }
}

/// The function that XSLoader looks up, for a perl that has one interpreter in a process.
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
