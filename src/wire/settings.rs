//! The settings of hubs and streams in messages.

use super::codec::{Malformed, Reader, Writer};
use crate::event::{Framing, LineEnd};
use crate::hub::{self, GapData, OnSlow};
use crate::log::Bounds;
use crate::store::StoreSettings;
use crate::stream;
use std::time::Duration;

/// The settings of a named hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubSettings {
    /// The settings that every hub has.
    pub hub: hub::Settings,
    /// How many channels and patterns a stream may be subscribed to.
    pub max_topics: usize,
    /// How many streams the process may hold.
    pub max_streams: usize,
    /// How long the process runs without worker and stream.
    pub idle_exit: Duration,
    /// How long streams stay open when the last worker has disconnected.
    pub grace: Duration,
    /// Where the hub keeps its events beside its memory.
    pub store: StoreSettings,
}

/// The defaults of EventSource::Hub.
impl Default for HubSettings {
    fn default() -> Self {
        let history = Bounds { events: 1000, bytes: 1 << 20, age: Duration::from_secs(3600) };
        let total_history = Bounds { events: 100_000, bytes: 64 << 20, age: Duration::MAX };
        let hub = hub::Settings::new(history, total_history);
        let (idle_exit, grace) = (Duration::from_secs(60), Duration::from_secs(30));
        Self { hub, max_topics: 1000, max_streams: usize::MAX, idle_exit, grace, store: StoreSettings::default() }
    }
}

impl HubSettings {
    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        // Named one by one, so that a new setting is not forgotten here.
        let hub::Settings {
            history,
            total_history,
            on_slow,
            gap_event,
            gap_data,
            position_event,
            refuses_position_event,
            opaque_ids,
        } = &self.hub;
        write_bounds(writer, *history);
        write_bounds(writer, *total_history);
        writer.u8(*on_slow as u8);
        writer.bytes(gap_event.as_bytes());
        writer.option(gap_data.as_deref(), write_gap_data);
        writer.bytes(position_event.as_bytes());
        writer.bool(*refuses_position_event);
        writer.bool(*opaque_ids);
        writer.size(self.max_topics);
        writer.size(self.max_streams);
        writer.duration(self.idle_exit);
        writer.duration(self.grace);
        self.store.write(writer);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let hub = hub::Settings {
            history: read_bounds(reader)?,
            total_history: read_bounds(reader)?,
            on_slow: read_on_slow(reader)?,
            gap_event: reader.str()?.into(),
            gap_data: reader.option(read_gap_data)?.map(Box::new),
            position_event: reader.str()?.into(),
            refuses_position_event: reader.bool()?,
            opaque_ids: reader.bool()?,
        };
        let (max_topics, max_streams) = (reader.size()?, reader.size()?);
        let (idle_exit, grace) = (reader.duration()?, reader.duration()?);
        Ok(Self { hub, max_topics, max_streams, idle_exit, grace, store: StoreSettings::read(reader)? })
    }
}

/// The settings of a hub that somebody has named. The others are taken as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // those of `HubSettings`
pub struct NamedSettings {
    pub history: Option<Bounds>,
    pub total_history: Option<Bounds>,
    pub on_slow: Option<OnSlow>,
    pub gap_event: Option<Box<str>>,
    pub gap_data: Option<Box<GapData>>,
    pub position_event: Option<Box<str>>,
    pub refuses_position_event: Option<bool>,
    pub opaque_ids: Option<bool>,
    pub max_topics: Option<usize>,
    pub max_streams: Option<usize>,
    pub idle_exit: Option<Duration>,
    pub grace: Option<Duration>,
    pub store: Option<StoreSettings>,
}

/// Names all settings.
impl From<HubSettings> for NamedSettings {
    fn from(HubSettings { hub, max_topics, max_streams, idle_exit, grace, store }: HubSettings) -> Self {
        Self {
            history: Some(hub.history),
            total_history: Some(hub.total_history),
            on_slow: Some(hub.on_slow),
            gap_event: Some(hub.gap_event),
            gap_data: hub.gap_data,
            position_event: Some(hub.position_event),
            refuses_position_event: Some(hub.refuses_position_event),
            opaque_ids: Some(hub.opaque_ids),
            max_topics: Some(max_topics),
            max_streams: Some(max_streams),
            idle_exit: Some(idle_exit),
            grace: Some(grace),
            store: Some(store),
        }
    }
}

impl NamedSettings {
    /// Returns these settings, and those of `other` that are not among them.
    pub fn or(self, other: Self) -> Self {
        Self {
            history: self.history.or(other.history),
            total_history: self.total_history.or(other.total_history),
            on_slow: self.on_slow.or(other.on_slow),
            gap_event: self.gap_event.or(other.gap_event),
            gap_data: self.gap_data.or(other.gap_data),
            position_event: self.position_event.or(other.position_event),
            refuses_position_event: self.refuses_position_event.or(other.refuses_position_event),
            opaque_ids: self.opaque_ids.or(other.opaque_ids),
            max_topics: self.max_topics.or(other.max_topics),
            max_streams: self.max_streams.or(other.max_streams),
            idle_exit: self.idle_exit.or(other.idle_exit),
            grace: self.grace.or(other.grace),
            store: self.store.or(other.store),
        }
    }

    /// Returns all settings: these, and the others of `base`.
    pub fn over(self, base: HubSettings) -> HubSettings {
        let HubSettings { hub, max_topics, max_streams, idle_exit, grace, store } = base;
        HubSettings {
            hub: hub::Settings {
                history: self.history.unwrap_or(hub.history),
                total_history: self.total_history.unwrap_or(hub.total_history),
                on_slow: self.on_slow.unwrap_or(hub.on_slow),
                gap_event: self.gap_event.unwrap_or(hub.gap_event),
                gap_data: self.gap_data.or(hub.gap_data),
                position_event: self.position_event.unwrap_or(hub.position_event),
                refuses_position_event: self.refuses_position_event.unwrap_or(hub.refuses_position_event),
                opaque_ids: self.opaque_ids.unwrap_or(hub.opaque_ids),
            },
            max_topics: self.max_topics.unwrap_or(max_topics),
            max_streams: self.max_streams.unwrap_or(max_streams),
            idle_exit: self.idle_exit.unwrap_or(idle_exit),
            grace: self.grace.unwrap_or(grace),
            store: self.store.unwrap_or(store),
        }
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        let Self {
            history,
            total_history,
            on_slow,
            gap_event,
            gap_data,
            position_event,
            refuses_position_event,
            opaque_ids,
            max_topics,
            max_streams,
            idle_exit,
            grace,
            store,
        } = self;
        writer.option(*history, write_bounds);
        writer.option(*total_history, write_bounds);
        writer.option(*on_slow, |writer, on_slow| writer.u8(on_slow as u8));
        writer.option(gap_event.as_deref().map(str::as_bytes), Writer::bytes);
        writer.option(gap_data.as_deref(), write_gap_data);
        writer.option(position_event.as_deref().map(str::as_bytes), Writer::bytes);
        writer.option(*refuses_position_event, Writer::bool);
        writer.option(*opaque_ids, Writer::bool);
        writer.option(*max_topics, Writer::size);
        writer.option(*max_streams, Writer::size);
        writer.option(*idle_exit, Writer::duration);
        writer.option(*grace, Writer::duration);
        writer.option(store.as_ref(), |writer, store| store.write(writer));
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            history: reader.option(read_bounds)?,
            total_history: reader.option(read_bounds)?,
            on_slow: reader.option(read_on_slow)?,
            gap_event: reader.option(Reader::str)?.map(Into::into),
            gap_data: reader.option(read_gap_data)?.map(Box::new),
            position_event: reader.option(Reader::str)?.map(Into::into),
            refuses_position_event: reader.option(Reader::bool)?,
            opaque_ids: reader.option(Reader::bool)?,
            max_topics: reader.option(Reader::size)?,
            max_streams: reader.option(Reader::size)?,
            idle_exit: reader.option(Reader::duration)?,
            grace: reader.option(Reader::duration)?,
            store: reader.option(StoreSettings::read)?,
        })
    }
}

fn write_gap_data(writer: &mut Writer<'_>, GapData { evicted, unknown, slow }: &GapData) {
    for data in [evicted, unknown, slow] {
        writer.bytes(data.as_bytes());
    }
}

fn read_gap_data(reader: &mut Reader<'_>) -> Result<GapData, Malformed> {
    Ok(GapData { evicted: reader.str()?.into(), unknown: reader.str()?.into(), slow: reader.str()?.into() })
}

fn write_bounds(writer: &mut Writer<'_>, Bounds { events, bytes, age }: Bounds) {
    writer.size(events);
    writer.size(bytes);
    writer.duration(age);
}

fn read_bounds(reader: &mut Reader<'_>) -> Result<Bounds, Malformed> {
    Ok(Bounds { events: reader.size()?, bytes: reader.size()?, age: reader.duration()? })
}

fn read_on_slow(reader: &mut Reader<'_>) -> Result<OnSlow, Malformed> {
    let all = [OnSlow::Disconnect, OnSlow::Gap, OnSlow::Latest];
    let number = reader.u8()?;
    all.iter().copied().find(|on_slow| *on_slow as u8 == number).ok_or(Malformed)
}

pub(super) fn write_stream(writer: &mut Writer<'_>, settings: &stream::Settings) {
    let stream::Settings { framing, line_end, keepalive, timeout, max_buffered, drop_oldest, retry } = settings;
    writer.bool(*framing == Framing::Chunked);
    writer.bool(*line_end == LineEnd::CrLf);
    writer.option(*keepalive, Writer::duration);
    writer.duration(*timeout);
    writer.size(*max_buffered);
    writer.bool(*drop_oldest);
    writer.duration(*retry);
}

pub(super) fn read_stream(reader: &mut Reader<'_>) -> Result<stream::Settings, Malformed> {
    Ok(stream::Settings {
        framing: if reader.bool()? { Framing::Chunked } else { Framing::Plain },
        line_end: if reader.bool()? { LineEnd::CrLf } else { LineEnd::Lf },
        keepalive: reader.option(Reader::duration)?,
        timeout: reader.duration()?,
        max_buffered: reader.size()?,
        drop_oldest: reader.bool()?,
        retry: reader.duration()?,
    })
}

saved!(HubSettings { hub, max_topics, max_streams, idle_exit, grace, store });
saved!(NamedSettings {
    history,
    total_history,
    on_slow,
    gap_event,
    gap_data,
    position_event,
    refuses_position_event,
    opaque_ids,
    max_topics,
    max_streams,
    idle_exit,
    grace,
    store
});
