//! Says what is known of a request that has no reply: whoever makes it decides by that whether it is made again. All others
//! have it as a [`Failure`].

use crate::wire::{Malformed, Name};
use crate::{ErrorCode, Failure};

/// The reason for which a request has no reply.
#[derive(Debug)]
pub enum Unanswered {
    /// There is no connection to the hub process. Nothing was done.
    Unsent(String),
    /// The connection broke before the response: the request was perhaps carried out.
    Lost,
    /// The hub process did not answer in time: the request was perhaps carried out. The name of the hub, if it is known.
    Late(Option<Name>),
    /// The hub process refuses the request.
    Refused(Failure),
    /// This process cannot make it.
    Failed(Failure),
}

/// Nothing was done.
pub(crate) fn too_many() -> Failure {
    let message = "too many requests wait for the hub process, which does not take them";
    Failure::new(ErrorCode::Full, None, message)
}

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        // A publish that was not answered in time was perhaps carried out, too.
        let late = |message: String| Self::new(ErrorCode::Unknown, None, &message);
        match unanswered {
            Unanswered::Unsent(message) => Self::unavailable(message),
            Unanswered::Lost => Self::unknown(),
            Unanswered::Late(None) => late("the hub process does not answer".into()),
            Unanswered::Late(Some(name)) => {
                late(format!("the hub process {name} does not answer; eventsource hub log {name} may say why"))
            }
            // A process of another version, or one that cannot continue as another program: this system can do it.
            Unanswered::Refused(failure) if failure.code == ErrorCode::Unsupported && failure.field.is_none() => {
                Self { code: ErrorCode::Refused, ..failure }
            }
            Unanswered::Refused(failure) | Unanswered::Failed(failure) => failure,
        }
    }
}

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Malformed> for Unanswered {
    fn from(_: Malformed) -> Self {
        Self::Lost
    }
}
