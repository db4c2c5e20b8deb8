//! The settings of hubs and streams in messages.

use super::codec::{Malformed, Reader, Writer};
use super::store::StoreSettings;
use crate::event::{Framing, LineEnd};
use crate::hub::{self, GapData, OnSlow};
use crate::log::Bounds;
use crate::stream;
use std::time::Duration;

/// The settings of a hub that has a process of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubSettings {
    /// The settings that every hub has.
    pub hub: hub::Settings,
    /// How many channels and patterns a stream may be subscribed to.
    pub max_topics: usize,
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
        Self { hub, max_topics: 1000, idle_exit, grace, store: StoreSettings::default() }
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
        let max_topics = reader.size()?;
        let (idle_exit, grace) = (reader.duration()?, reader.duration()?);
        Ok(Self { hub, max_topics, idle_exit, grace, store: StoreSettings::read(reader)? })
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

saved!(HubSettings { hub, max_topics, idle_exit, grace, store });
