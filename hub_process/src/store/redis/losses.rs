//! Losses: what shows that the stream lacks what a hub has read, or Redis has acknowledged. `mod.rs` says what follows.

use super::connection::Refusal;
use super::entry::{Id, Info, Mark, Stored};
use super::epoch::{Pointer, StreamKeys};
use std::collections::VecDeque;

pub const GONE: &str = "the stream is gone: it was deleted or evicted, or Redis has restarted without it";
pub const STATE_GONE: &str = "the key of the state is gone: it was deleted or evicted";
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

/// Returns why a refusal shows that the stream is lost, if it does: it is gone, or takes no more ids.
pub fn shown_by(refusal: &Refusal) -> Option<&str> {
    let says = |words| refusal.message.contains(words);
    if says("no such key") {
        return Some(GONE);
    }
    (refusal.code == "WRONGTYPE" || says("exhausted") || says("equal or smaller")).then_some(&refusal.message)
}

impl Pointer {
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

    /// Compares the epoch of the state.
    pub fn compare_state(&self, epoch: Option<&[u8]>) -> Result<(), Loss> {
        if epoch == Some(self.pointer.epoch.as_bytes()) {
            return Ok(());
        }
        Err(self.lost(STATE_GONE))
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

#[cfg(test)]
mod tests {
    use super::super::super::Draft;
    use super::super::entry::Event;
    use super::super::epoch::Keys;
    use super::*;

    const fn id(ms: u64) -> Id {
        Id { ms, part: 0 }
    }

    fn pointer(epoch: &str) -> Pointer {
        Pointer { epoch: epoch.into(), origin: 100, cipher_key: [0; 16], reason: String::new() }
    }

    /// Returns a reader of the epoch `e2` that has read the entry `200-0`, with the count 7.
    fn position() -> Position {
        let keys = Keys::new("es", "shop").of("e2");
        let mark = Some((b"p"[..].into(), 7));
        Position { pointer: pointer("e2"), keys, last: id(200), mark, history_end: None }
    }

    fn reason(result: Result<impl Sized, Loss>) -> String {
        result.err().map_or_else(String::new, |loss| loss.reason().split([':', ',']).next().expect("words").into())
    }

    #[test]
    fn the_stream_must_have_the_last_entry_or_have_evicted_it() {
        for (first, last, max_deleted, found, expected) in [
            (100, 200, 0, Some((200, 7)), ""),
            (100, 300, 0, Some((200, 7)), ""),
            (300, 300, 0, Some((300, 8)), "entries were evicted before this hub has read them"),
            (100, 300, 200, Some((300, 8)), "entries were evicted before this hub has read them"),
            (100, 300, 199, Some((300, 8)), "the stream lacks the entry 200-0"),
            (100, 300, 0, Some((200, 9)), "the entry 200-0 is another one than the one that was read before"),
            (100, 150, 0, None, "the stream ends at 150-0"),
            (100, 200, 200, None, ""), // deleted by hand, and nothing came since
            (50, 99, 0, None, "the id 99-0 is not a sequence number"),
        ] {
            let stored = found.map(|(ms, count)| {
                let event = Event { draft: Draft::default(), producer: b"p"[..].into(), count };
                Stored { id: id(ms), event: Some(event) }
            });
            let info = Info { length: 1, last: id(last), max_deleted: Some(id(max_deleted)), first: Some(id(first)) };
            let result = position().compare_stream(&info, stored.as_ref());
            let exists = found == Some((200, 7));
            assert!(result.as_ref().map_or(true, |found| *found == exists), "{last} {result:?}");
            assert_eq!(reason(result), expected, "{first} {last} {max_deleted} {found:?}");
        }
    }

    #[test]
    fn the_pointer_must_have_the_epoch_or_one_that_is_new() {
        let begun = VecDeque::from(["e1".to_owned(), "e2".to_owned()]);
        for (epoch, expected) in [
            (Some("e2"), Ok(())),
            (Some("e3"), Err(Loss::Changed(pointer("e3")))),
            (Some("e1"), Err(Loss::new("e1", "an earlier history has come back"))),
            (None, Err(Loss::new("e2", POINTER_GONE))),
        ] {
            assert_eq!(position().compare_pointer(epoch.map(pointer), &begun), expected, "{epoch:?}");
        }
    }

    #[test]
    fn the_state_must_have_the_epoch() {
        for (epoch, expected) in [(Some("e2"), ""), (Some("e1"), "the key of the state is gone"), (None, STATE_GONE)] {
            let result = position().compare_state(epoch.map(str::as_bytes));
            assert_eq!(reason(result), expected.split(':').next().expect("words"));
        }
    }

    #[test]
    fn some_refusals_show_a_loss() {
        for (code, message, expected) in [
            ("ERR", "ERR no such key", Some(GONE)),
            ("WRONGTYPE", "WRONGTYPE Operation against", Some("WRONGTYPE Operation against")),
            (
                "ERR",
                "ERR The stream has exhausted the last possible ID",
                Some("ERR The stream has exhausted the last possible ID"),
            ),
            ("OOM", "OOM command not allowed", None),
        ] {
            assert_eq!(shown_by(&Refusal::new(code, message)), expected);
        }
    }
}
