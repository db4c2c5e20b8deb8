//! The process in which a stream began: which process it belongs to after a fork.

use crate::runtime::generation::{fork_count, generation};

/// Where and when a stream began, or was adopted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    generation: u32,
    /// The number of forks when the stream began. After another fork a child may continue the stream.
    forks: u32,
    /// Whether this process has made its parent's stream its own.
    pub(super) is_adopted: bool,
}

impl Origin {
    /// A stream that begins in this process.
    pub(super) fn here() -> Self {
        Self { generation: generation(), forks: fork_count(), is_adopted: false }
    }

    /// A stream of the parent that becomes this process' own. The parent has its connection too, as after a later fork.
    pub(super) fn adopted() -> Self {
        Self { generation: generation(), forks: fork_count().wrapping_sub(1), is_adopted: true }
    }

    /// Returns true in the process that the stream belongs to, false in a child of it.
    pub(super) fn is_here(self) -> bool {
        self.generation == generation()
    }

    /// Returns true if a child may continue the stream.
    pub(super) fn has_forked(self) -> bool {
        self.forks != fork_count()
    }
}
