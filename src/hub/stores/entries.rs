//! All entries of a hub, for another hub that takes its place.
//!
//! The events are decoded from the logs. Keeping their fields beside the logs would double the memory of a hub.

use crate::hub::Hub;
use crate::log::LogEntry;

/// An entry of a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubEntry {
    /// The channel's name.
    pub channel: Box<[u8]>,
    /// The key with which it was published once. Empty if the event has none.
    pub once: Box<[u8]>,
    /// The entry of the channel's log.
    pub entry: LogEntry,
}

impl Hub {
    /// Returns the entries in their order. The hub does not know their keys `once`.
    pub fn entries(&self) -> Vec<HubEntry> {
        let logs = self.logs.channels().iter().map(|(_, channel)| channel);
        let mut events: Vec<HubEntry> = logs
            .flat_map(|channel| {
                channel.log.all().map(move |entry| HubEntry {
                    channel: (*channel.name).into(),
                    once: Box::default(),
                    entry: entry.clone(),
                })
            })
            .collect();
        events.sort_unstable_by_key(|event| event.entry.seq);
        events.dedup_by_key(|event| event.entry.seq);
        events
    }
}
