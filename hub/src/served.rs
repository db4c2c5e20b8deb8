//! The hub of this process, from its first worker on: its settings, and what is published to it.

use crate::run_options::RunOptions;
use crate::store::Draft;
use crate::stored::{Asker, Seen, StoredHub};
use eventsource_xs::event::{encode_to_vec, EventId, Field, LineEnd, Shared, Text};
use eventsource_xs::hub::{check_fields, check_published_id, Refusal, MAX_ONCE_BYTES};
use eventsource_xs::runtime::{self, HubHandle, PublishMeta};
use eventsource_xs::wire::{Failure, Fields, HubSettings, Publish, StoreSettings, StoreStatus};
use eventsource_xs::ErrorCode;
use std::io;
use std::time::Instant;

/// The hub, from its first worker on.
pub struct Served {
    pub settings: HubSettings,
    /// Whether a worker has given the settings.
    pub has_settings: bool,
    pub source: Source,
}

/// Where the order of events comes from.
pub enum Source {
    /// This process decides it, and keeps the events.
    Own(HubHandle),
    /// A store does.
    Stored(Box<StoredHub>),
}

/// What became of an event that was to be published.
pub enum Published {
    /// It has an id.
    Id(String),
    /// The store will say.
    Waits,
}

impl Served {
    /// Begins with the settings of a worker, or with the defaults for a command.
    pub fn new(options: &RunOptions, given: Option<HubSettings>) -> io::Result<Self> {
        let has_settings = given.is_some();
        let settings = options.settings(given.unwrap_or_default());
        let source = match &settings.store {
            StoreSettings::Memory => Source::Own(HubHandle::new(settings.hub.clone(), settings.max_topics)),
            _ => Source::Stored(Box::new(StoredHub::begin(
                &settings,
                options.place.name(),
                Seen::open(&options.place.seen()),
            )?)),
        };
        Ok(Self { settings, has_settings, source })
    }

    /// Returns the hub; nothing while its store has not begun.
    pub fn handle(&self) -> Option<&HubHandle> {
        match &self.source {
            Source::Own(handle) => Some(handle),
            Source::Stored(stored) => stored.handle(),
        }
    }

    pub fn stored_mut(&mut self) -> Option<&mut StoredHub> {
        match &mut self.source {
            Source::Own(_) => None,
            Source::Stored(stored) => Some(stored),
        }
    }

    /// Returns the health of the store.
    pub fn store_status(&self) -> StoreStatus {
        match &self.source {
            Source::Own(_) => StoreStatus { kind: "memory".into(), is_up: true, ..StoreStatus::default() },
            Source::Stored(stored) => stored.status(),
        }
    }

    /// Takes over the settings that may change: the newest count.
    pub fn adopt(&mut self, given: &HubSettings) {
        let (history, total_history) = (given.hub.history, given.hub.total_history);
        let own = &mut self.settings;
        if (own.hub.history, own.hub.total_history, own.max_topics) != (history, total_history, given.max_topics) {
            (own.hub.history, own.hub.total_history, own.max_topics) = (history, total_history, given.max_topics);
            match &mut self.source {
                Source::Own(handle) => handle.set_bounds(history, total_history, given.max_topics),
                Source::Stored(stored) => stored.adopt(&self.settings),
            }
        }
    }

    /// Publishes an event, which is checked first.
    pub fn publish(&mut self, publish: &Publish<'_>, asker: Asker, now: Instant) -> Result<Published, Failure> {
        let Publish { channel, key, once, fields, .. } = *publish;
        if once.len() > MAX_ONCE_BYTES {
            let message = format!("once has at most {MAX_ONCE_BYTES} bytes");
            return Err(Failure::new(ErrorCode::Invalid, Some("once"), &message));
        }
        let given = given_id(fields);
        given.as_deref().map_or(Ok(()), check_published_id).map_err(refusal)?;
        check_fields(fields.iter(), &self.settings.hub).map_err(refusal)?;
        match &mut self.source {
            Source::Own(handle) => {
                let mut published = String::new();
                let meta = PublishMeta { channel, key, id: given.as_deref() };
                let published_id = |id: &str| published.push_str(id);
                let encode = |made: &str| encode(fields, made);
                handle.publish_once(meta, once, encode, published_id).map_err(|error| failure_of(&error))?;
                Ok(Published::Id(published))
            }
            Source::Stored(stored) => {
                let draft =
                    Draft { channel: channel.into(), key: key.into(), once: once.into(), fields: fields.into() };
                stored.publish(draft, given.as_deref(), asker, now)
            }
        }
    }
}

/// Encodes an event whose hub has given it an id.
pub fn encode(fields: Fields<'_>, made: &str) -> Shared {
    Shared::with_id_last(fields.iter(), EventId::new(Text::from(made)).ok())
}

/// Returns the id that the application has given an event, as it is sent.
pub fn given_id(fields: Fields<'_>) -> Option<Vec<u8>> {
    let id = fields.iter().find(|field| matches!(field, Field::Id(_)))?;
    let line = encode_to_vec(&[id], LineEnd::Lf);
    Some(line[b"id: ".len()..line.len() - b"\n\n".len()].to_vec())
}

/// Checks that a worker's settings fit the hub: clients and logs depend on these.
pub fn check_settings(served: &HubSettings, given: &HubSettings) -> Result<(), Failure> {
    let differs = [
        ("gap_event", served.hub.gap_event != given.hub.gap_event),
        ("gap_data", served.hub.gap_data != given.hub.gap_data),
        ("position_event", served.hub.position_event != given.hub.position_event),
        ("position_event", served.hub.refuses_position_event != given.hub.refuses_position_event),
        ("opaque_ids", served.hub.opaque_ids != given.hub.opaque_ids),
        ("on_slow", served.hub.on_slow != given.hub.on_slow),
        ("store", given.store != StoreSettings::Memory && !is_same_store(&served.store, &given.store)),
    ];
    match differs.iter().find(|(_, differs)| *differs) {
        None => Ok(()),
        Some((field, _)) => {
            let message = format!(
                "{field} differs from that of the hub's process: give all workers the same settings, \
                 or stop the hub (eventsource hub stop NAME)"
            );
            Err(Failure::new(ErrorCode::Refused, Some(field), &message))
        }
    }
}

/// Returns true if both settings are of the same store. Workers may wait for it for different times.
pub fn is_same_store(one: &StoreSettings, other: &StoreSettings) -> bool {
    match (one, other) {
        (StoreSettings::Redis(one), StoreSettings::Redis(other)) => {
            let mut other = other.clone();
            other.timeout = one.timeout;
            *one == other
        }
        _ => one == other,
    }
}

fn refusal(refusal: Refusal) -> Failure {
    Failure::new(ErrorCode::Invalid, Some(refusal.field().name()), &refusal.to_string())
}

pub fn failure_of(error: &runtime::Error) -> Failure {
    Failure::new(error.code(), error.field(), &error.to_string())
}
