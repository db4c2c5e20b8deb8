//! Ids of events: those that the hub makes, plain or opaque, those that the application chooses, and the last one that a
//! client has.

pub(super) mod custom_ids;
pub(super) mod event_id;
pub(super) mod hub_ids;
pub(super) mod last_id;
