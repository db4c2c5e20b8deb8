//! A request to subscribe: the topics, and where the stream begins.

/// A subscription that a stream asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeRequest {
    /// The channels and patterns.
    pub topics: Vec<Topic>,
    /// The id of the last event that the client received. Clients can send any bytes here.
    pub after: Option<Box<[u8]>>,
    /// The beginning of the stream if the id is missing or unknown.
    pub start: Start,
}

/// A channel or a pattern in a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topic {
    /// The channel of that name.
    Channel(Box<[u8]>),
    /// All channels whose names match: `*` stands for any characters but `/`, `**` for any characters.
    Pattern(Box<[u8]>),
}

/// The beginning of a stream whose client sends no last event id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With events that are published from now on.
    Latest,
    /// With all events that the logs hold.
    Oldest,
    /// With that many of the last events that the logs hold.
    Last(usize),
}
