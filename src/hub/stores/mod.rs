//! Hubs with stored events, and hubs that take the place of another one.

pub(super) mod entries;
pub(super) mod stored_history;
