//! The settings of hubs and streams in messages.

use super::codec::{Malformed, Reader, Writer};
use crate::event::{Framing, LineEnd};
use crate::hub::{self, ChannelSettings, GapData, OnSlow, StateBounds};
use crate::log::Bounds;
use crate::store_settings::StoreSettings;
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

/// A setting as it is in [`HubSettings`]: `T`, or none of it.
trait Setting<T> {
    fn named(self) -> Option<T>;
    fn with(self, named: Option<T>) -> Self;
}

impl<T> Setting<T> for T {
    fn named(self) -> Option<T> {
        Some(self)
    }

    fn with(self, named: Option<T>) -> Self {
        named.unwrap_or(self)
    }
}

impl<T> Setting<T> for Option<T> {
    fn named(self) -> Self {
        self
    }

    fn with(self, named: Self) -> Self {
        named.or(self)
    }
}

/// Makes [`NamedSettings`] of the list of settings: each one's name for applications and here, type, place in
/// [`HubSettings`], which values may be named for one hub, and how it is read and written.
macro_rules! named_settings {
    ($($option:literal $name:ident: $type:ty, $first:ident $(. $rest:ident)?, $agree:expr, $read:expr, $write:expr;)*) => {
        /// The settings of a hub that somebody has named. The others are taken as they are.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[allow(missing_docs)] // those of `HubSettings`
        pub struct NamedSettings {
            $(pub $name: Option<$type>,)*
        }

        /// Names all settings.
        impl From<HubSettings> for NamedSettings {
            fn from(settings: HubSettings) -> Self {
                Self { $($name: Setting::<$type>::named(settings.$first $(.$rest)?),)* }
            }
        }

        impl NamedSettings {
            /// Returns the settings whose names for applications a function accepts.
            pub fn only(self, is_named: impl Fn(&str) -> bool) -> Self {
                Self { $($name: self.$name.filter(|_| is_named($option)),)* }
            }

            /// Returns these settings, and those of `other` that are not among them.
            pub fn or(self, other: Self) -> Self {
                Self { $($name: self.$name.or(other.$name),)* }
            }

            /// Returns the name for applications of a setting that must be the same in `other`, and is not.
            pub fn disagreement(&self, other: &Self) -> Option<&'static str> {
                $(
                    let agree: fn(&$type, &$type) -> bool = $agree;
                    if self.$name.as_ref().zip(other.$name.as_ref()).map_or(false, |(one, other)| !agree(one, other)) {
                        return Some($option);
                    }
                )*
                None
            }

            /// Returns all settings: these, and the others of `base`.
            pub fn over(self, mut base: HubSettings) -> HubSettings {
                $(base.$first $(.$rest)? = Setting::<$type>::with(base.$first $(.$rest)?, self.$name);)*
                base
            }

            pub(super) fn write(&self, writer: &mut Writer<'_>) {
                $(writer.option(self.$name.as_ref(), $write);)*
            }

            pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                Ok(Self { $($name: reader.option($read)?,)* })
            }
        }

        saved!(NamedSettings { $($name),* });
    };
}

/// All have to name the same value.
fn same<T: PartialEq>(one: &T, other: &T) -> bool {
    one == other
}

/// The newest value that is named counts.
fn newest<T>(_: &T, _: &T) -> bool {
    true
}

named_settings! {
    "history" history: Bounds, hub.history, newest, read_bounds, write_bounds;
    "total_history" total_history: Bounds, hub.total_history, newest, read_bounds, write_bounds;
    "state" state: StateBounds, hub.state, newest, read_state, |writer, state| write_state(writer, *state);
    "total_state" total_state: StateBounds, hub.total_state, newest, read_state, |writer, state| write_state(writer, *state);
    "channels" channels: Vec<ChannelSettings>, hub.channels, newest, read_channels, |writer, list| write_channels(writer, list);
    "max_members" max_members: usize, hub.max_members, newest, Reader::size, |writer, most| writer.size(*most);
    "on_slow" on_slow: OnSlow, hub.on_slow, same, read_on_slow, |writer, on_slow| writer.u8(*on_slow as u8);
    "gap_event" gap_event: Box<str>, hub.gap_event, same, read_text, |to, text| to.bytes(text.as_bytes());
    "gap_data" gap_data: Box<GapData>, hub.gap_data, same, read_gap_data, |writer, data| write_gap_data(writer, data);
    "position_event" position_event: Box<str>, hub.position_event, same, read_text, |to, text| to.bytes(text.as_bytes());
    "position" refuses_position_event: bool, hub.refuses_position_event, same, Reader::bool, |writer, yes| writer.bool(*yes);
    "opaque_ids" opaque_ids: bool, hub.opaque_ids, same, Reader::bool, |writer, yes| writer.bool(*yes);
    "max_topics" max_topics: usize, max_topics, newest, Reader::size, |writer, most| writer.size(*most);
    "max_streams" max_streams: usize, max_streams, newest, Reader::size, |writer, most| writer.size(*most);
    "idle_exit" idle_exit: Duration, idle_exit, newest, Reader::duration, |writer, time| writer.duration(*time);
    "grace" grace: Duration, grace, newest, Reader::duration, |writer, time| writer.duration(*time);
    "store" store: StoreSettings, store, StoreSettings::is_same, StoreSettings::read, |writer, store| store.write(writer);
}

impl HubSettings {
    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        NamedSettings::from(self.clone()).write(writer);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        NamedSettings::read(reader).map(|named| named.over(Self::default()))
    }
}

fn write_state(writer: &mut Writer<'_>, StateBounds { keys, bytes }: StateBounds) {
    writer.size(keys);
    writer.size(bytes);
}

fn read_state(reader: &mut Reader<'_>) -> Result<StateBounds, Malformed> {
    Ok(StateBounds { keys: reader.size()?, bytes: reader.size()? })
}

fn write_channels(writer: &mut Writer<'_>, list: &[ChannelSettings]) {
    writer.size(list.len());
    for channels in list {
        let ChannelSettings { events, bytes, age, state_keys, state_bytes, on_slow, .. } = *channels;
        writer.bytes(channels.pattern());
        writer.option(events, Writer::size);
        writer.option(bytes, Writer::size);
        writer.option(age, Writer::duration);
        writer.option(state_keys, Writer::size);
        writer.option(state_bytes, Writer::size);
        writer.option(on_slow, |writer, on_slow| writer.u8(on_slow as u8));
    }
}

fn read_channels(reader: &mut Reader<'_>) -> Result<Vec<ChannelSettings>, Malformed> {
    let count = reader.size()?;
    let read = |_| {
        let mut channels = ChannelSettings::new(reader.bytes()?);
        channels.events = reader.option(Reader::size)?;
        channels.bytes = reader.option(Reader::size)?;
        channels.age = reader.option(Reader::duration)?;
        channels.state_keys = reader.option(Reader::size)?;
        channels.state_bytes = reader.option(Reader::size)?;
        channels.on_slow = reader.option(read_on_slow)?;
        Ok(channels)
    };
    (0..count).map(read).collect()
}

fn read_text(reader: &mut Reader<'_>) -> Result<Box<str>, Malformed> {
    reader.str().map(Into::into)
}

fn write_gap_data(writer: &mut Writer<'_>, GapData { evicted, unknown, slow }: &GapData) {
    for data in [evicted, unknown, slow] {
        writer.bytes(data.as_bytes());
    }
}

fn read_gap_data(reader: &mut Reader<'_>) -> Result<Box<GapData>, Malformed> {
    let (evicted, unknown, slow) = (read_text(reader)?, read_text(reader)?, read_text(reader)?);
    Ok(Box::new(GapData { evicted, unknown, slow }))
}

fn write_bounds(writer: &mut Writer<'_>, Bounds { events, bytes, age }: &Bounds) {
    writer.size(*events);
    writer.size(*bytes);
    writer.duration(*age);
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
