//! The version of the messages, and who is refused because of it.

use super::hub_name::Name;
use crate::ErrorCode;
use crate::Failure;

/// The version of the messages. Processes of different versions work together in three requests only: the first messages of a
/// connection, which have one layout in all versions. Everything else a process refuses, and says what to do.
pub const VERSION: u16 = 23;

/// Returns the failure, with [`ErrorCode::Unsupported`] and the remedy, of a worker that does not speak the version `ours` of a
/// hub process.
pub(super) fn refusal(workers: u16, ours: u16, hub: &Name) -> Failure {
    let remedy = if workers > ours {
        format!(
            "have the process continue as the program that was installed with the worker (eventsource hub upgrade {hub})"
        )
    } else {
        "restart the worker, so that it loads the library that was installed with the hub's program".to_owned()
    };
    let message =
        format!("this hub process speaks version {ours} of the protocol, the worker version {workers}: {remedy}");
    Failure::new(ErrorCode::Unsupported, None, &message)
}
