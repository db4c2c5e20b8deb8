//! The subscriptions that a handle makes, and when they take effect.

use crate::hub::SubscribeRequest;
use crate::reactor::HubId;

/// When a subscription takes effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SubscribeMode {
    /// At once.
    #[default]
    AtOnce,
    /// Later: a handler runs, and all of its subscriptions are one request.
    Hold,
    /// As `Hold`, and the handler has subscribed. Nothing is sent before it returns or pushes.
    Held,
}

/// What a handle knows of its stream's subscriptions.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    pub(super) mode: SubscribeMode,
    /// The hub that the stream belongs to.
    pub(super) hub: Option<HubId>,
    /// Whether an event with an id was pushed. A later subscription does not replace that id.
    pub(super) has_pushed_id: bool,
    /// Whether one waits for a hub process, or has waited.
    pub(super) has_waited_for_hub: bool,
}

impl Subscriptions {
    /// Holds subscriptions from now on: a handler runs.
    pub(super) fn hold(&mut self) {
        self.mode = SubscribeMode::Hold;
    }

    /// Gives the stream to a hub. Returns false if it belongs to another hub.
    pub(super) fn set_hub(&mut self, hub: HubId) -> bool {
        *self.hub.get_or_insert(hub) == hub
    }

    /// Completes a subscription. Returns it, and whether it is held.
    pub(super) fn add(&mut self, mut request: SubscribeRequest) -> (SubscribeRequest, bool) {
        request.first_block.keeps_id |= self.has_pushed_id;
        let holds = self.mode != SubscribeMode::AtOnce;
        if holds {
            self.mode = SubscribeMode::Held;
        }
        (request, holds)
    }

    /// Holds no subscription any longer: the handler has pushed or has returned.
    pub(super) fn begin(&mut self) {
        self.mode = SubscribeMode::AtOnce;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_of_a_handler_is_held_until_the_handler_pushes_or_returns() {
        let mut subscriptions = Subscriptions::default();
        assert!(!subscriptions.add(SubscribeRequest::default()).1);
        subscriptions.hold();
        assert_eq!(subscriptions.mode, SubscribeMode::Hold);
        assert!(subscriptions.add(SubscribeRequest::default()).1);
        assert_eq!(subscriptions.mode, SubscribeMode::Held);
        subscriptions.begin();
        assert_eq!(subscriptions.mode, SubscribeMode::AtOnce);
    }

    #[test]
    fn a_stream_belongs_to_one_hub() {
        let mut subscriptions = Subscriptions::default();
        assert_eq!([7, 7, 8, 7].map(|hub| subscriptions.set_hub(hub)), [true, true, false, true]);
    }

    #[test]
    fn a_subscription_after_a_push_with_an_id_keeps_that_id() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.has_pushed_id |= false;
        assert!(!subscriptions.add(SubscribeRequest::default()).0.first_block.keeps_id);
        subscriptions.has_pushed_id |= true;
        subscriptions.has_pushed_id |= false;
        assert!(subscriptions.add(SubscribeRequest::default()).0.first_block.keeps_id);
    }
}
