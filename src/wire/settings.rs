//! The settings of hubs and streams in messages.

use super::codec::{decode, encode, Coded, Malformed, Reader, Writer};
use super::show_channel::ShowChannel;
use crate::compression::ContentCoding;
use crate::event::{Framing, LineEnd};
use crate::hub::{self, ChannelSettings, GapData, OnSlow, StateBounds};
use crate::log::Bounds;
use crate::store_settings::StoreSettings;
use crate::stream::Settings as StreamSettings;
use std::time::Duration;

/// The settings of a named hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubSettings {
    /// The settings that every hub has.
    pub hub: hub::Settings,
    /// The number of channels and patterns that a stream may be subscribed to.
    pub max_topics: usize,
    /// The number of streams that the process may hold.
    pub max_streams: usize,
    /// The time for which the process runs without worker and stream.
    pub idle_exit: Duration,
    /// The time for which streams stay open when the last worker has disconnected.
    pub grace: Duration,
    /// Where the hub keeps its events beside its memory.
    pub store: StoreSettings,
    /// The form in which events include the name of their channel.
    pub show_channel: Option<ShowChannel>,
}

/// The defaults of EventSource::Hub.
impl Default for HubSettings {
    fn default() -> Self {
        let history = Bounds { events: 1000, bytes: 1 << 20, age: Duration::from_secs(3600) };
        let total_history = Bounds { events: 100_000, bytes: 64 << 20, age: Duration::MAX };
        let hub = hub::Settings::new(history, total_history);
        let (idle_exit, grace) = (Duration::from_secs(60), Duration::from_secs(30));
        let store = StoreSettings::default();
        Self { hub, max_topics: 1000, max_streams: usize::MAX, idle_exit, grace, store, show_channel: None }
    }
}

impl HubSettings {
    /// Returns true if the data of events shows their channels and keys.
    pub fn shows_channels(&self) -> bool {
        self.show_channel == Some(ShowChannel::Data)
    }
}

/// Makes [`NamedSettings`] of the list of settings: each one's name for applications and here, type, place in
/// [`HubSettings`], and which values may be named for one hub.
macro_rules! named_settings {
    ($($option:literal $name:ident: $type:ty, $first:ident $(. $rest:ident)*, $agree:expr;)*) => {
        /// The settings of a hub that somebody has named. The others are taken as they are.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[allow(missing_docs)] // those of `HubSettings`
        pub struct NamedSettings {
            $(pub $name: Option<$type>,)*
        }

        /// Names all settings.
        impl From<HubSettings> for NamedSettings {
            fn from(settings: HubSettings) -> Self {
                Self { $($name: Some(settings.$first $(.$rest)*),)* }
            }
        }

        impl NamedSettings {
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
                $(if let Some(value) = self.$name {
                    base.$first $(.$rest)* = value;
                })*
                base
            }
        }

        /// Each is written with its name. A program of any version takes those that it knows.
        impl<'a> Coded<'a> for NamedSettings {
            fn write(&self, to: &mut Writer<'_>) {
                let mut all: Vec<(&str, Box<[u8]>)> = Vec::new();
                $(all.extend(self.$name.as_ref().map(|value| ($option, encode(value).into())));)*
                all.write(to);
            }

            fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
                let all = Vec::<(&str, &[u8])>::read(from)?;
                let of = |option| all.iter().find(|(name, _)| *name == option).map(|(_, value)| *value);
                Ok(Self { $($name: of($option).and_then(|value| decode(value).ok()),)* })
            }
        }

        in_tests! {
            impl crate::codec::Random for NamedSettings {
                fn random(rng: &mut fastrand::Rng) -> Self {
                    Self { $($name: crate::codec::Random::random(rng),)* }
                }
            }
        }
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
    "keep_history" history: Bounds, hub.retention.history, newest;
    "keep_total_history" total_history: Bounds, hub.retention.total_history, newest;
    "keep_state" state: StateBounds, hub.retention.state, newest;
    "keep_total_state" total_state: StateBounds, hub.retention.total_state, newest;
    "per_channel" channels: Vec<ChannelSettings>, hub.retention.channels, newest;
    "max_members" max_members: usize, hub.retention.max_members, newest;
    "on_slow" on_slow: OnSlow, hub.on_slow, same;
    "gap_event" gap_event: Box<str>, hub.gap_event, same;
    "gap_data" gap_data: Option<Box<GapData>>, hub.gap_data, same;
    "position_event" position_event: Box<str>, hub.position_event, same;
    "position" refuses_position_event: bool, hub.refuses_position_event, same;
    "opaque_ids" opaque_ids: bool, hub.opaque_ids, same;
    "max_topics" max_topics: usize, max_topics, newest;
    "max_streams" max_streams: usize, max_streams, newest;
    "idle_exit" idle_exit: Duration, idle_exit, newest;
    "grace" grace: Duration, grace, newest;
    "store" store: StoreSettings, store, StoreSettings::is_same;
    "show_channel" show_channel: Option<ShowChannel>, show_channel, same;
}

impl Coded<'_> for HubSettings {
    fn write(&self, to: &mut Writer<'_>) {
        NamedSettings::from(self.clone()).write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let named = NamedSettings::read(from)?;
        let settings = named.clone().over(Self::default());
        // All are written, so a message without one of them has another form.
        if NamedSettings::from(settings.clone()) == named {
            Ok(settings)
        } else {
            Err(Malformed)
        }
    }
}

coded! {
    Bounds { events, bytes, age }
    GapData { evicted, unknown, slow }
    StateBounds { keys, bytes }
    StreamSettings { framing, coding, line_end, keepalive, timeout, max_buffered, drop_oldest, retry }
}

coded!(
    ContentCoding in ContentCoding::ALL,
    Framing in [Framing::Plain, Framing::Chunked],
    LineEnd in [LineEnd::Lf, LineEnd::CrLf],
    OnSlow in OnSlow::ALL,
    ShowChannel in ShowChannel::ALL,
);
