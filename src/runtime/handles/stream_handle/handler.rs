//! The handler of a stream, while it runs: what it changes about pushes.

/// The phase of a stream's beginning, as the reactor knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// The head waits for the first push: the reactor is still to be woken for it.
    HeadWaits,
    /// The first handler runs. What it pushes may wait for a nap of the reactor.
    Begun,
    /// The first handler has returned, or runs in another process.
    Over,
}

/// The handler of a stream.
#[derive(Debug)]
pub(super) struct Handler {
    /// True if a push to a full buffer waits for room, where one may.
    blocks: bool,
    /// True if a push may wait: the handler keeps nothing up but its own process.
    pub(super) may_wait: bool,
    /// True if the handler runs on a server where one handler runs at a time.
    pub(super) occupies_worker: bool,
    pub(super) opening: Opening,
}

impl Handler {
    /// The first handler of a new stream.
    pub(super) fn new(blocks: bool, occupies_worker: bool, head_waits: bool) -> Self {
        let opening = if head_waits { Opening::HeadWaits } else { Opening::Begun };
        Self { blocks, may_wait: occupies_worker, occupies_worker, opening }
    }

    /// Returns true if a push to a full buffer waits for room.
    pub(super) fn waits(&self) -> bool {
        self.blocks && self.may_wait
    }

    /// Returns true if the reactor is still to be woken for the stream's head.
    pub(super) fn has_waiting_head(&self) -> bool {
        self.opening == Opening::HeadWaits
    }

    /// The head waits no longer. Returns true if it did.
    pub(super) fn release_head(&mut self) -> bool {
        let has_waited = self.has_waiting_head();
        if has_waited {
            self.opening = Opening::Begun;
        }
        has_waited
    }

    /// The handler has returned. Returns true if it has held a worker.
    pub(super) fn leave(&mut self) -> bool {
        self.may_wait = false;
        self.opening = Opening::Over;
        std::mem::take(&mut self.occupies_worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_waits_until_it_is_released_or_the_handler_returns() {
        let mut handler = Handler::new(true, true, true);
        assert_eq!((handler.has_waiting_head(), handler.opening != Opening::Over), (true, true));
        assert_eq!((handler.release_head(), handler.release_head()), (true, false));
        assert_eq!((handler.has_waiting_head(), handler.opening != Opening::Over), (false, true));
        assert!(!Handler::new(true, true, false).has_waiting_head());
        let mut returned = Handler::new(true, true, true);
        returned.leave();
        assert_eq!((returned.has_waiting_head(), returned.opening != Opening::Over), (false, false));
    }

    #[test]
    fn a_handler_that_has_returned_occupies_no_worker_and_its_pushes_do_not_wait() {
        let mut handler = Handler::new(true, true, false);
        assert_eq!((handler.waits(), handler.occupies_worker), (true, true));
        assert_eq!((handler.leave(), handler.leave()), (true, false));
        assert_eq!((handler.waits(), handler.occupies_worker), (false, false));
    }

    #[test]
    fn pushes_wait_under_an_event_loop_only_in_a_process_of_the_handler() {
        for blocks in [true, false] {
            let mut handler = Handler::new(blocks, false, true);
            handler.leave();
            assert!(!handler.waits());
            handler.may_wait = true;
            assert_eq!(handler.waits(), blocks);
        }
    }
}
