//! All entries of a hub, for another hub that takes its place.
//!
//! The events are decoded from the logs. Keeping their fields beside the logs would double the memory of a hub.

use crate::event::Shared;
use crate::hub::Hub;
use crate::log::Retain;

/// An entry of a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubEntry {
    /// Its position in the hub's order.
    pub seq: u64,
    /// The channel's name.
    pub channel: Box<[u8]>,
    /// The key. Empty if the event has none.
    pub key: Box<[u8]>,
    /// What the event does to the state of its channel.
    pub retain: Retain,
    /// The key with which it was published once. Empty if the event has none.
    pub once: Box<[u8]>,
    /// The encoded event.
    pub event: Shared,
    /// Whether the application gave the event its id.
    pub has_custom_id: bool,
}

impl Hub {
    /// Returns the entries in their order. The hub does not know their keys `once`.
    pub fn entries(&self) -> Vec<HubEntry> {
        let logs = self.logs.channels().iter().map(|(_, channel)| channel);
        let mut events: Vec<HubEntry> = logs
            .flat_map(|channel| {
                channel.log.all().map(move |entry| HubEntry {
                    seq: entry.seq,
                    channel: (*channel.name).into(),
                    key: entry.key.clone(),
                    retain: entry.retain,
                    once: Box::default(),
                    event: entry.event.clone(),
                    has_custom_id: entry.has_custom_id,
                })
            })
            .collect();
        events.sort_unstable_by_key(|event| event.seq);
        events.dedup_by_key(|event| event.seq);
        events
    }
}
