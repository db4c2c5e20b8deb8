//! Losses: what shows that the stream lacks what a hub has read, or Redis has acknowledged. `mod.rs` says what follows.

use super::connection::CallError;
use super::entry::{Id, Info, Mark, Stored};
use super::epoch::{Pointer, StreamKeys};
use std::collections::VecDeque;

pub const GONE: &str = "the stream is gone: it was deleted or evicted, or Redis has restarted without it";
const STATE_GONE: &str = "the key of the state is gone: it was deleted or evicted";
const POINTER_GONE: &str = "the key of the hub is gone: it was deleted or evicted, or Redis has restarted without it";

/// Something is missing.
#[derive(Debug, PartialEq, Eq)]
pub enum Loss {
    /// The stream of an epoch lacks what it must have: another epoch must begin.
    Lost { epoch: String, reason: String },
    /// Entries were evicted before they were read here.
    Missed,
    /// Another hub has begun another epoch.
    Changed(Pointer),
}

impl Loss {
    pub fn new(epoch: &str, reason: &str) -> Self {
        Self::Lost { epoch: epoch.into(), reason: reason.into() }
    }

    /// Returns the reason, for people.
    pub fn reason(&self) -> &str {
        match self {
            Self::Lost { reason, .. } => reason,
            Self::Missed => "entries were evicted before this hub has read them",
            Self::Changed(Pointer { reason, .. }) if reason.is_empty() => "another hub began anew",
            Self::Changed(Pointer { reason, .. }) => reason,
        }
    }
}

/// Returns why a fault shows that the stream is lost, if it does: it is gone, or takes no more ids.
pub fn shown_by(fault: &CallError) -> Option<&str> {
    let CallError::Refused { code, message } = fault else { return None };
    let says = |words| message.contains(words);
    if says("no such key") {
        return Some(GONE);
    }
    (code == "WRONGTYPE" || says("exhausted") || says("equal or smaller")).then_some(message)
}

impl Pointer {
    /// Compares the epoch of the state.
    pub fn compare_state(&self, epoch: &[u8]) -> Result<(), Loss> {
        match epoch == self.epoch.as_bytes() {
            true => Ok(()),
            false => Err(Loss::new(&self.epoch, STATE_GONE)),
        }
    }

    /// Returns the sequence number of an id. An epoch in which there is none is lost.
    pub fn seq(&self, id: Id) -> Result<u64, Loss> {
        let reason = || {
            format!("the id {id} is not a sequence number: Redis' clock has stood back for long, or people added it")
        };
        id.seq(self.origin).ok_or_else(|| Loss::new(&self.epoch, &reason()))
    }
}

/// The epoch that was reported, and how far.
pub struct Position {
    pub pointer: Pointer,
    pub keys: StreamKeys,
    /// The last id that was read.
    pub last: Id,
    /// The event of that entry, if it was one.
    pub mark: Option<Mark>,
    /// The id with which the history is complete, until it is.
    pub history_end: Option<Id>,
}

impl Position {
    fn lost(&self, reason: &str) -> Loss {
        Loss::new(&self.pointer.epoch, reason)
    }

    /// Compares the pointer, which must not be that of an epoch that has ended here.
    pub fn compare_pointer(&self, pointer: Option<Pointer>, begun: &VecDeque<String>) -> Result<(), Loss> {
        match pointer {
            None => Err(self.lost(POINTER_GONE)),
            Some(pointer) if pointer.epoch == self.pointer.epoch => Ok(()),
            // A failover to a Redis that was away brings an earlier history back. What came since is lost.
            Some(pointer) if begun.contains(&pointer.epoch) => {
                Err(Loss::new(&pointer.epoch, "an earlier history has come back"))
            }
            Some(pointer) => Err(Loss::Changed(pointer)),
        }
    }

    /// Compares the stream, and the first of its entries from the last one on that was read. Returns true if it is that one.
    pub fn compare_stream(&self, info: &Info, first: Option<&Stored>) -> Result<bool, Loss> {
        let last = self.last;
        self.pointer.seq(info.last)?;
        if info.last < last {
            return Err(self.lost(&format!("the stream ends at {}, and {last} was read before", info.last)));
        }
        let exists = self.is_last(first)?;
        if exists || info.last == last {
            return Ok(exists);
        }
        let is_evicted = info.first.is_none_or(|first| first > last);
        let is_deleted = info.max_deleted.is_some_and(|deleted| deleted >= last);
        if is_evicted || is_deleted {
            return Err(Loss::Missed);
        }
        Err(self.lost(&format!("the stream lacks the entry {last}, which was read before")))
    }

    /// Returns true if this is the last entry that was read. Two masters, of which one was cut off, may assign the same id: the
    /// entry of one of them is lost.
    pub fn is_last(&self, stored: Option<&Stored>) -> Result<bool, Loss> {
        let Some(stored) = stored.filter(|stored| stored.id == self.last) else { return Ok(false) };
        match (&self.mark, stored.mark()) {
            (Some(mark), Some(found)) if *mark != found => {
                Err(self.lost(&format!("the entry {} is another one than the one that was read before", self.last)))
            }
            _ => Ok(true),
        }
    }
}
