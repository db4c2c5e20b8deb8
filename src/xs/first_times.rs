//! Actions that a process does once, such as a warning. Perl cannot know: each of its threads has variables of its own.
//!
//! A child of fork inherits the marks, so the caller makes the process a part of each name. The set takes no lock that a
//! fork could leave locked. It has a fixed size; when it is full, nothing happens for the first time any more.

use super::guard;
use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;
use std::os::raw::{c_char, c_int};
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};

const SIZE: usize = 256;

#[allow(clippy::declare_interior_mutable_const)] // each element of the array is a new one
const FREE: AtomicU64 = AtomicU64::new(0);

static MARKS: [AtomicU64; SIZE] = [FREE; SIZE];

/// Returns 1 at the first call with a name, then 0.
#[no_mangle]
unsafe extern "C" fn esx_is_first_time(name: *const c_char, len: usize) -> c_int {
    // SAFETY: `name` is the buffer of a scalar of `len` bytes, which lives until the XSUB returns.
    let name = unsafe { slice::from_raw_parts(name.cast::<u8>(), len) };
    guard::run_or(0, || is_first_time(&MARKS, name).into())
}

fn is_first_time(marks: &[AtomicU64], name: &[u8]) -> bool {
    let mark = mark_of(name);
    for place in marks {
        match place.compare_exchange(0, mark, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return true,
            Err(taken) if taken == mark => return false,
            Err(_) => {}
        }
    }
    false
}

/// A number that stands for a name. It is not 0.
fn mark_of(name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(name);
    hasher.finish() | 1
}

#[cfg(test)]
mod tests {
    use super::{is_first_time, FREE};
    use std::sync::atomic::AtomicUsize;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn each_name_has_one_first_time() {
        let marks = [FREE; 8];
        let first: Vec<bool> =
            ["a", "b", "a", "", "b", ""].iter().map(|n| is_first_time(&marks, n.as_bytes())).collect();
        assert_eq!(first, [true, true, false, true, false, false]);
    }

    #[test]
    fn a_full_set_has_no_earliest_time() {
        let marks = [FREE; 2];
        assert!(is_first_time(&marks, b"a") && is_first_time(&marks, b"b"));
        assert!(!is_first_time(&marks, b"c"));
    }

    #[test]
    fn of_many_threads_one_is_first() {
        let marks = [FREE; 64];
        let count = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for name in 0..50_u8 {
                        count.fetch_add(is_first_time(&marks, &[name]).into(), Relaxed);
                    }
                });
            }
        });
        assert_eq!(count.load(Relaxed), 50);
    }
}
