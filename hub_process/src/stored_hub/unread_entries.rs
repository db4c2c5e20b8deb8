//! Entries of a later version, which this one cannot read: clients are sent a gap in their place. It is an entry of its
//! channel, so that it comes in order and once, also to those who resume, and ends no stream.

use eventsource_xs::event::{EventName, Field, Text};
use eventsource_xs::hub::Gap;
use eventsource_xs::wire::{FieldList, HubSettings};

/// The entries that could not be read.
#[derive(Debug, Default)]
pub struct UnreadEntries {
    /// How many streams were sent a gap for one.
    gaps: u64,
}

impl UnreadEntries {
    pub fn gaps(&self) -> u64 {
        self.gaps
    }

    pub fn count(&mut self, subscribers: usize) {
        self.gaps += subscribers as u64;
    }

    /// Returns the event that clients are sent.
    pub fn event(settings: &HubSettings) -> FieldList {
        let settings = &settings.hub;
        let data = Gap::Evicted.data(settings.gap_data.as_deref());
        let name = EventName::new(Text::from(&*settings.gap_event)).map(Field::Event);
        FieldList::of(name.into_iter().chain([Field::Data(Text::from(&*data))]))
    }
}
