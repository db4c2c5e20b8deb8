//! Fuzzes the Perl boundary under the address sanitizer: an embedded interpreter passes arbitrary scalars to every XSUB.
//!
//! The boot function is linked in, so the sanitizer instruments both the C of the XS file and the Rust behind it.
//! boundary.pl chooses the function and its arguments from the input. The buffers of strings and of Rust's values are
//! separate allocations, so the sanitizer detects their misuse at once. Scalars are allocated from arenas, where it would
//! detect the use of a freed one only with a perl built with -DPURIFY. boundary.pl therefore overwrites freed memory and
//! checks results; natives.pl checks the bytes that each client receives. The reactor's thread runs at the same time.
#![no_main]

// Links the crate, whose boot function perl.c declares.
use eventsource_xs as _;
use libfuzzer_sys::fuzz_target;
use std::ffi::{c_char, c_int, CString};
use std::sync::Once;

// perl.c
extern "C" {
    fn start_perl(modules: *mut c_char, script: *mut c_char) -> c_int;
    fn run_perl(input: *const c_char, bytes: usize) -> isize;
}

static STARTED: Once = Once::new();

/// Starts a perl with boundary.pl loaded.
fn start() {
    let root = env!("CARGO_MANIFEST_DIR");
    // No path has a NUL. perl keeps them.
    let [modules, script] =
        [format!("-I{root}/../perl"), format!("{root}/boundary.pl")].map(|text| CString::new(text).unwrap().into_raw());
    // SAFETY: both are strings that are never freed, and this is called once.
    assert_eq!(unsafe { start_perl(modules, script) }, 0);
}

/// Returns the number of live scalars afterwards.
fn run(input: &[u8]) -> isize {
    // SAFETY: perl has been started, this thread alone uses it, and it copies the input.
    unsafe { run_perl(input.as_ptr().cast(), input.len()) }
}

fuzz_target!(|input: &[u8]| {
    STARTED.call_once(start);
    // perl fills caches at first; a number that grows with each of many runs is a leak.
    let mut live = run(input);
    for _ in 0..12 {
        let before = live;
        live = run(input);
        if live <= before {
            return;
        }
    }
    panic!("each run leaks scalars: {live}");
});
