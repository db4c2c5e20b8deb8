//! Entries of a later version, which this one cannot read: clients are sent a gap in their place. It is an entry of its
//! channel, so that it comes in order and once, also to those who resume, and ends no stream.

use eventsource_xs::event::{EventName, Field, Text};
use eventsource_xs::hub::Gap;
use eventsource_xs::wire::{FieldList, HubSettings};

/// Returns the event that clients are sent.
pub fn gap_event(settings: &HubSettings) -> FieldList {
    let settings = &settings.hub;
    let data = Gap::Evicted.data(settings.gap_data.as_deref());
    let name = EventName::new(Text::from(&*settings.gap_event)).map(Field::Event);
    FieldList::of(name.into_iter().chain([Field::Data(Text::from(&*data))]))
}
