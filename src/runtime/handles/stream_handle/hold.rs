//! Who holds a stream: the application by its handles, or a child that is still to be forked.

use crate::runtime::stream_state::StreamState;

/// What one handle has to do with the life of its stream.
#[derive(Debug)]
pub(super) struct Hold {
    /// Whether the stream ends when the last handle is released.
    pub(super) ends_with_handle: bool,
    /// Whether the application has released the stream. The handle may exist longer.
    pub(super) is_released: bool,
    /// Whether the stream is promised to a child that is still to be forked. To the application it has ended.
    pub(super) is_promised: bool,
}

impl Hold {
    /// The hold of the handle that opens a stream, which its state counts already.
    pub(super) fn new(ends_with_handle: bool) -> Self {
        Self { ends_with_handle, is_released: false, is_promised: false }
    }

    /// The hold of one more handle, which the state of the stream counts.
    pub(super) fn add(&self, state: &StreamState) -> Self {
        if !self.is_released {
            state.add_handle();
        }
        Self { ..*self }
    }

    /// Releases the stream. Returns true for the last of its handles. Several threads may do that at the same time; one of
    /// them is the last.
    pub(super) fn release(&mut self, state: &StreamState) -> bool {
        !std::mem::replace(&mut self.is_released, true) && state.remove_handle()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::StreamId;

    #[test]
    fn the_last_of_the_holds_that_is_released_ends_the_stream_once() {
        let state = StreamState::new(StreamId { slot: 1, serial: 1 }, 0, 0);
        let mut first = Hold::new(true);
        let mut second = first.add(&state);
        assert!(!first.release(&state));
        let mut third = first.add(&state); // a copy of one that is released holds nothing
        assert!(!third.release(&state));
        assert!(!first.release(&state));
        assert!(second.release(&state));
        assert!(!second.release(&state));
    }
}
