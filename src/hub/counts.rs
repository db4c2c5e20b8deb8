//! The counters of a hub.

use super::glob::Glob;
use super::Hub;
use crate::compression::Piece;
use crate::event::Framing;
use crate::stream::StreamId;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The counters, which travel in their order, each with its name for applications: a dot is between the name of a hash and the
/// name in it.
macro_rules! counts {
    ($($(#[$meaning:meta])* $name:ident = $shown:literal,)+) => {
        /// The counters of a hub.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[$meaning])* pub $name: u64,)+
        }

        coded!(Counts { $($name),+ });

        impl Counts {
            /// Returns the counters with their names for applications.
            pub fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$(($shown, self.$name)),+]
            }
        }
    };
}

counts! {
    /// Streams that are subscribed, or are ending and still to be sent events.
    streams = "streams",
    /// Channels that have subscribers or entries.
    channels = "channels",
    /// Patterns that have subscribers.
    patterns = "patterns",
    /// Events that were published.
    published = "published",
    /// Events that were given to the kernel, or put into a stream's own buffer, counted once for each stream.
    delivered = "delivered",
    /// Entries in all logs.
    events = "history.events",
    /// The bytes of these entries, and of the names of their channels.
    bytes = "history.bytes",
    /// Streams that began with a client's last event id.
    resumed = "resumed",
    /// `gap` events that were sent.
    gaps = "gaps",
    /// Lagging streams that were ended.
    disconnected = "slow.disconnect",
    /// Lagging streams that were sent a `gap` event and continued.
    skipped = "slow.gap",
    /// Lagging streams that continued with the newest entry of each key.
    compacted = "slow.latest",
    /// Retained keys.
    keys = "state.keys",
    /// The bytes of the retained entries that the history has evicted.
    state_bytes = "state.bytes",
    /// Members that are here.
    members = "members.here",
    /// Streams that were to have a member, and opened without one.
    members_refused = "members.refused",
    /// The bytes of events that were sent to streams with a content coding, before they were encoded.
    content_bytes = "compression.before",
    /// The bytes that these were sent instead.
    coded_bytes = "compression.after",
    /// Streams that were refused because of a limit of their key.
    limited = "limited",
    /// Polls that are open.
    polls = "polls.waiting",
    /// Polls that have begun because a stream was [mute](crate::hub::PollReason).
    polls_mute = "polls.mute",
    /// Those whose stream was silent.
    polls_silent = "polls.silent",
    /// Those whose streams are refused.
    polls_refused = "polls.refused",
    /// Those whose streams are cut.
    polls_cut = "polls.cut",
    /// All others.
    polls_other = "polls.other",
    /// Tickets that clients were given.
    tickets_issued = "tickets.issued",
    /// Tickets that were too large to be given.
    tickets_too_large = "tickets.too_large",
    /// Streams that began with a ticket.
    tickets_accepted = "tickets.accepted",
    /// Tickets that were refused because of their age.
    tickets_expired = "tickets.expired",
    /// Tickets that were refused because a stream that they allow was to end.
    tickets_withdrawn = "tickets.withdrawn",
    /// Tickets that were refused because of a limit of their key.
    tickets_limited = "tickets.limited",
    /// Tickets that do not open.
    tickets_unknown = "tickets.unknown",
}

impl Counts {
    /// Returns the bytes that logs hold, without what they keep for snapshots.
    pub(super) fn log_bytes(&self) -> u64 {
        self.bytes + self.state_bytes
    }

    /// Counts a piece that a stream is sent.
    pub(super) fn count_coded(&mut self, piece: &Piece) {
        self.content_bytes += piece.content_bytes as u64;
        self.coded_bytes += piece.block.bytes(Framing::Plain).len() as u64;
    }
}

/// The counters of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelCounts {
    /// The channel's name.
    pub name: Arc<[u8]>,
    /// The subscriptions to it, by its name and by patterns.
    pub subscribers: u64,
    /// The entries of its log.
    pub events: u64,
    /// The bytes of these entries.
    pub bytes: u64,
    /// Its retained keys.
    pub keys: u64,
    /// The number of events that an hour has at the pace of the last ten seconds.
    pub events_per_hour: u64,
    /// The id of its last entry in the order of the hub. Empty if there is none.
    pub last_id: Box<str>,
}

/// A part of the list of channels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelPage {
    /// Some channels, in no order.
    pub channels: Vec<ChannelCounts>,
    /// Where the list continues, if there may be more.
    pub next: Option<u64>,
}

impl ChannelPage {
    /// The most channels that one call looks at.
    const MOST_SLOTS: usize = if cfg!(test) { 3 } else { 4096 };
    /// The bytes of names after which a call ends.
    const MOST_BYTES: usize = 256 << 10;
    /// The time over which the pace of events is measured.
    const PACE_SPAN: Duration = Duration::from_secs(10);
}

impl Hub {
    /// Returns a part of the list of channels whose names match a pattern, `**` if it is empty. It takes little time however
    /// many channels there are, so a channel that is created or removed between two calls may be missing.
    pub fn channel_page(&self, pattern: &[u8], from: u64, now: Instant) -> ChannelPage {
        let glob = Glob::new(if pattern.is_empty() { b"**" } else { pattern });
        let mut page = ChannelPage::default();
        let mut bytes = 0;
        let (mut at, slots) = (usize::try_from(from).unwrap_or(usize::MAX), self.logs.channels.slots());
        let until = at.saturating_add(ChannelPage::MOST_SLOTS).min(slots);
        while at < until && bytes < ChannelPage::MOST_BYTES {
            if let Some(channel) = self.logs.channels.get(at) {
                if glob.is_match(&channel.name) {
                    bytes += channel.name.len();
                    page.channels.push(self.channel_counts(at, now));
                }
            }
            at += 1;
        }
        page.next = Some(at as u64).filter(|_| at < slots);
        page
    }

    fn channel_counts(&self, at: usize, now: Instant) -> ChannelCounts {
        let channel = &self.logs.channels[at];
        let (events, bytes) = channel.log.size();
        let last = channel.log.after(0).next_back();
        ChannelCounts {
            name: Arc::clone(&channel.name),
            subscribers: self.logs.channels.subscriptions(at) as u64,
            events: events as u64,
            bytes: bytes as u64,
            keys: channel.log.retained().0 as u64,
            events_per_hour: channel.log.entries_per_hour(now, ChannelPage::PACE_SPAN),
            last_id: last.map_or_else(Box::default, |entry| self.epoch.event_id(entry.seq).into()),
        }
    }

    /// Returns the counters.
    pub fn counts(&self) -> Counts {
        let channels = &self.logs.channels;
        Counts {
            channels: channels.len() as u64,
            patterns: channels.pattern_count() as u64,
            polls: self.readers.open_polls(),
            ..self.counts
        }
    }

    /// Returns the number of streams that are subscribed to a channel, by its name or by a pattern.
    ///
    /// A stream with several such topics counts once. Lists then have to be compared, so `is_open` says which streams
    /// of these lists have not ended.
    pub fn subscribers_of(&self, name: &[u8], is_open: impl Fn(StreamId) -> bool) -> usize {
        let mut lists = self.logs.channels.subscriber_lists(name);
        lists.retain(|subscribers| subscribers.len() > 0);
        if let [one] = lists[..] {
            return one.len();
        }
        let streams = lists.iter().flat_map(|subscribers| subscribers.iter()).filter(|stream| is_open(*stream));
        streams.map(u64::from).collect::<HashSet<_>>().len()
    }
}
