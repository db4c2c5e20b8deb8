//! The functions of the C library that a seed decides: the clocks, the process's number and random bytes. The standard library
//! calls them, so `Instant::now()` and the seeds of hash maps are those of the simulation. All `unsafe` code is here.

use rustix::fd::RawFd;
use std::cell::Cell;
use std::ffi::{c_int, c_uint, c_void};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The time of the monotonic clock when an episode begins, and that of the wall clock.
const BEGIN: u64 = 1_000_000;
const BEGIN_OF_WALL: u64 = 1_750_000_000;

/// The nanoseconds since the beginning of the episode.
static NOW: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static PROCESS: Cell<u32> = const { Cell::new(0) };
    static RANDOM: Cell<u64> = const { Cell::new(1) };
}

pub fn monotonic_begin() -> u64 {
    BEGIN * 1_000_000_000
}

pub fn set_now(nanoseconds: u64) {
    NOW.store(nanoseconds, Ordering::Relaxed);
}

/// Returns the time of the monotonic clock.
pub fn monotonic() -> u64 {
    BEGIN * 1_000_000_000 + NOW.load(Ordering::Relaxed)
}

/// Makes this thread one of a process, with random bytes of its own.
pub fn enter_process(number: u32, seed: u64) {
    PROCESS.set(number);
    RANDOM.set(seed);
}

/// Returns the simulated process of this thread; 0 if it is none of the simulation.
pub fn current_process() -> u32 {
    PROCESS.get()
}

/// Fills bytes with the random numbers of this thread.
pub fn fill_random(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = next_random() as u8;
    }
}

/// Returns the next random number of this thread (SplitMix64).
pub fn next_random() -> u64 {
    let state = RANDOM.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
    RANDOM.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Returns the time that the kernel tells, for people.
pub fn real_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes the time to `time`, which lives until the call returns.
    unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_MONOTONIC, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// # Safety
///
/// As of the C library: `time` is where a time may be written.
#[no_mangle]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    let now = NOW.load(Ordering::Relaxed);
    let begin = if clock == libc::CLOCK_REALTIME { BEGIN_OF_WALL } else { BEGIN };
    // SAFETY: the caller says so.
    unsafe {
        (*time).tv_sec = (begin + now / 1_000_000_000) as libc::time_t;
        (*time).tv_nsec = (now % 1_000_000_000) as libc::c_long;
    }
    0
}

#[no_mangle]
pub extern "C" fn getpid() -> libc::pid_t {
    match PROCESS.get() {
        // SAFETY: the call only returns a number.
        0 => unsafe { libc::syscall(libc::SYS_getpid) as libc::pid_t },
        number => number as libc::pid_t,
    }
}

/// # Safety
///
/// As of the C library: `buffer` has room for `length` bytes.
#[no_mangle]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, _flags: c_uint) -> isize {
    // SAFETY: the caller says so; any bytes are bytes.
    fill_random(unsafe { std::slice::from_raw_parts_mut(buffer.cast(), length) });
    length as isize
}

/// Asks which descriptors are ready for what is wanted of them, without waiting.
pub fn poll(descriptors: &mut [libc::pollfd]) {
    if !descriptors.is_empty() {
        // SAFETY: the kernel reads and writes as many entries as the slice has, and returns an error for closed descriptors.
        unsafe { libc::poll(descriptors.as_mut_ptr(), descriptors.len() as libc::nfds_t, 0) };
    }
}

/// Returns copies of the descriptors that an `exec` does not close, but the standard ones, each with its number.
pub fn copies_for_exec() -> io::Result<Vec<(RawFd, OwnedFd)>> {
    let numbers: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    let mut copies = Vec::new();
    for number in numbers {
        // SAFETY: the calls take numbers, and fail for a descriptor that is closed. The copy is new, so nothing else owns it.
        unsafe {
            if libc::fcntl(number, libc::F_GETFD) == 0 {
                let copy = libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3);
                assert!(copy >= 0, "{}", io::Error::last_os_error());
                copies.push((number, OwnedFd::from_raw_fd(copy)));
            }
        }
    }
    copies.sort_by_key(|(number, _)| *number);
    Ok(copies)
}

/// Puts a copy back in its number, which must be free.
pub fn put_back(number: RawFd, copy: &OwnedFd) {
    use std::os::fd::AsRawFd;
    // SAFETY: the number is free, as the first call has said, so nothing owns it; whoever continues takes it over.
    unsafe {
        let is_free = libc::fcntl(number, libc::F_GETFD) < 0;
        let file = std::fs::read_link(format!("/proc/self/fd/{number}"));
        assert!(
            is_free,
            "the descriptor {number} of a program is in use after its end: {file:?}, copy {:?}",
            std::fs::read_link(format!("/proc/self/fd/{}", copy.as_raw_fd()))
        );
        assert!(libc::dup3(copy.as_raw_fd(), number, 0) == number, "{}", io::Error::last_os_error());
    }
}

/// Closes a descriptor that an `exec` would not close: nobody has claimed it.
pub fn close_if_unclaimed(number: RawFd) {
    // SAFETY: whoever takes such a descriptor over sets the flag first, so nothing owns it.
    unsafe {
        if libc::fcntl(number, libc::F_GETFD) == 0 {
            libc::close(number);
        }
    }
}

/// Ends the process at once. Functions that run at its exit would find no simulation.
pub fn exit(code: i32) -> ! {
    // SAFETY: the call only ends the process.
    unsafe { libc::_exit(code) }
}

/// Closes all descriptors but the standard ones, as if this process had inherited no others: an `exec` of the simulation keeps
/// those that the kernel would keep.
pub fn close_inherited() {
    // SAFETY: called when this process begins, so nothing owns one of them.
    unsafe { libc::syscall(libc::SYS_close_range, 3, c_uint::MAX, 0) };
}

/// Returns how many processors there are.
pub fn processors() -> usize {
    // SAFETY: the call only returns a number.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }).unwrap_or(1).max(1)
}

/// Binds this process to one processor: handing the baton on is quicker there.
pub fn use_processor(number: usize) {
    // SAFETY: a set of processors is bits; the calls write and read `set`, which lives until they return.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(number, &mut set);
        libc::sched_setaffinity(0, std::mem::size_of_val(&set), &set);
    }
}

/// A child of this process, which runs a function and says something.
pub struct Child {
    number: libc::pid_t,
    says: io::PipeReader,
}

impl Child {
    pub fn begin(body: impl FnOnce() -> String) -> Self {
        use std::io::Write;
        let (says, mut write) = io::pipe().expect("a pipe");
        io::stdout().flush().expect("an output");
        // SAFETY: this process has one thread. The child ends without the parent's exit handlers.
        match unsafe { libc::fork() } {
            0 => {
                drop(says);
                let said = body();
                let _ = io::stdout().flush();
                let _ = write.write_all(said.as_bytes());
                exit(0);
            }
            number => Self { number, says },
        }
    }

    /// Waits for its end. Returns what it has said; nothing if it has crashed.
    pub fn wait(mut self) -> Option<String> {
        use std::io::Read;
        let mut said = String::new();
        self.says.read_to_string(&mut said).expect("a pipe");
        let mut status = 0;
        // SAFETY: `status` lives until the call returns.
        unsafe { libc::waitpid(self.number, &mut status, 0) };
        Some(said).filter(|_| status == 0)
    }
}
