//! Fuzzes the Perl boundary under the address sanitizer: an embedded interpreter passes arbitrary scalars to every XSUB.
//!
//! The boot function is linked in, so the sanitizer instruments both the C of the XS file and the Rust behind it.
//! boundary.pl chooses the function and its arguments from the input. The buffers of strings and of Rust's values are
//! separate allocations, so the sanitizer detects their misuse at once. Scalars are allocated from arenas, where it would
//! detect the use of a freed one only with a perl built with -DPURIFY. boundary.pl therefore overwrites freed memory and
//! checks results; natives.pl checks the bytes that each client receives. The reactor's thread runs at the same time.
#![no_main]

// Links the crate, whose boot function is declared below by its name only.
use eventsource_xs as _;
use libfuzzer_sys::fuzz_target;
use libperl_sys as perl;
use std::ffi::CString;
use std::os::raw::{c_char, c_int};
use std::ptr::{null, null_mut};

extern "C" {
    fn boot_DynaLoader(my_perl: *mut perl::PerlInterpreter, cv: *mut perl::CV);
    fn boot_EventSource__XS(my_perl: *mut perl::PerlInterpreter, cv: *mut perl::CV);
}

/// Registers the extensions that are linked in. perl calls this at its start. XSLoader uses a `bootstrap` that exists.
unsafe extern "C" fn link_extensions(my_perl: *mut perl::PerlInterpreter) {
    let file = c"boundary.rs".as_ptr();
    // SAFETY: perl passes its own interpreter; the names are static C strings.
    unsafe {
        perl::Perl_newXS(my_perl, c"DynaLoader::boot_DynaLoader".as_ptr(), Some(boot_DynaLoader), file);
        perl::Perl_newXS(my_perl, c"EventSource::XS::bootstrap".as_ptr(), Some(boot_EventSource__XS), file);
    }
}

/// The only interpreter of this process, with boundary.pl loaded.
#[derive(Clone, Copy)]
struct Interpreter(*mut perl::PerlInterpreter);

impl Interpreter {
    fn new() -> Self {
        let root = env!("CARGO_MANIFEST_DIR");
        let args = ["boundary".into(), format!("-I{root}/../perl"), format!("{root}/boundary.pl")];
        let args = args.map(|arg| CString::new(arg).expect("no NUL in paths").into_raw()); // perl keeps them
        let mut argv = args.to_vec();
        argv.push(null_mut());
        let argv = argv.leak();
        let (mut argc, mut argv, mut env) = (args.len() as c_int, argv.as_mut_ptr(), null_mut::<*mut c_char>());
        // SAFETY: the order that perlembed gives; the arguments are leaked and so outlive the interpreter.
        unsafe {
            perl::Perl_sys_init3(&mut argc, &mut argv, &mut env);
            let my_perl = perl::perl_alloc();
            perl::perl_construct(my_perl);
            assert_eq!(perl::perl_parse(my_perl, Some(link_extensions), argc, argv, null_mut()), 0);
            assert_eq!(perl::perl_run(my_perl), 0);
            Self(my_perl)
        }
    }

    /// Runs `main::run` with `$main::input` set. Returns the number of live scalars afterwards.
    fn run(self, input: &[u8]) -> perl::IV {
        // SAFETY: the interpreter lives as long as the process and is used by this thread alone; perl copies the input.
        unsafe {
            let variable = perl::Perl_get_sv(self.0, c"main::input".as_ptr(), perl::GV_ADD as perl::I32);
            perl::Perl_sv_setpvn(self.0, variable, input.as_ptr().cast(), input.len() as _);
            let mut no_args = [null::<c_char>().cast_mut()];
            let flags = (perl::G_DISCARD | perl::G_VOID) as perl::I32;
            perl::Perl_call_argv(self.0, c"main::run".as_ptr(), flags, no_args.as_mut_ptr());
            (*self.0).Isv_count
        }
    }
}

thread_local! {
    static INTERPRETER: Interpreter = Interpreter::new();
}

fuzz_target!(|input: &[u8]| {
    let interpreter = INTERPRETER.with(|interpreter| *interpreter);
    // perl fills caches at first; a number that grows with each of many runs is a leak.
    let mut live = interpreter.run(input);
    for _ in 0..12 {
        let before = live;
        live = interpreter.run(input);
        if live <= before {
            return;
        }
    }
    panic!("each run leaks scalars: {live}");
});
