//! The kinds of errors, for Rust and for Perl.

/// The kind of an error: the codes of the Perl class EventSource::Error.
///
/// `esx_code` in `src/xs/eventsource.h` has the values of those that C finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ErrorCode {
    /// An argument or a setting has a value that it cannot have.
    Invalid,
    /// The call does not fit the state of its object.
    State,
    /// This system does not support the call.
    Unsupported,
    /// The system has too few resources, or the process is ending. The same call may succeed later.
    Unavailable,
    /// An answer did not come in time.
    Timeout,
    /// A defect of this crate.
    Internal,
    /// The connection to a hub process broke before the answer: the call has perhaps had its effect.
    Unknown,
    /// Too much waits for a hub process, or what is to be retained does not fit into the state: the call had no effect.
    Full,
    /// A hub process refuses this one: it has other settings or another version.
    Refused,
}

impl ErrorCode {
    /// All kinds in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Invalid,
        Self::State,
        Self::Unsupported,
        Self::Unavailable,
        Self::Timeout,
        Self::Internal,
        Self::Unknown,
        Self::Full,
        Self::Refused,
    ];

    /// Returns the name of the kind, as Perl has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::State => "state",
            Self::Unsupported => "unsupported",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
            Self::Unknown => "unknown",
            Self::Full => "full",
            Self::Refused => "refused",
        }
    }
}
