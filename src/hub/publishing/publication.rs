//! An event as its producer gives it, which the hub gives its sequence number and its id.

use crate::log::Retain;

/// An event that is to be published, with its fields in one of their forms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Publication<'a, F> {
    /// The channel's name.
    pub channel: &'a [u8],
    /// The key: a later event with the same key replaces this one. Empty if the event has none.
    pub key: &'a [u8],
    /// The effect of the event on the state of its channel.
    pub retain: Retain,
    /// The key that the producer gives the event: a second publish with it returns the id of the first one. Empty if the event
    /// has none.
    pub once: &'a [u8],
    /// The event's fields. With an id among them, the event has that id for its clients.
    pub fields: F,
}

impl<'a, F> Publication<'a, F> {
    /// Returns the same event with its fields in another form.
    pub fn map<G>(self, form: impl FnOnce(F) -> G) -> Publication<'a, G> {
        let Self { channel, key, retain, once, fields } = self;
        Publication { channel, key, retain, once, fields: form(fields) }
    }
}
