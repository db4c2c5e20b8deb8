//! The version of the messages, and who is refused because of it.

use super::failure::Failure;
use crate::ErrorCode;

/// The version of the messages. Processes of different versions work together in three requests only: the first messages of a
/// connection, which have one layout in all versions. Everything else a process refuses, and says what to do.
pub const VERSION: u16 = 20;

/// Checks that a worker speaks the version `ours` of a hub process. Fails with [`ErrorCode::Unsupported`] with the remedy if it
/// does not.
pub(super) fn check(workers: u16, ours: u16) -> Result<(), Failure> {
    if workers == ours {
        return Ok(());
    }
    let remedy = if workers > ours {
        "have the process continue as the program that was installed with the worker (eventsource hub upgrade NAME)"
    } else {
        "restart the worker, so that it loads the library that was installed with the hub's program"
    };
    let message =
        format!("this hub process speaks version {ours} of the protocol, the worker version {workers}: {remedy}");
    Err(Failure::new(ErrorCode::Unsupported, None, &message))
}
