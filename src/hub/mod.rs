//! Channels, their logs, and each stream's position in them.
//!
//! A [`Hub`] belongs to the reactor. Like a [`Stream`](crate::stream) it does no I/O and reads no clock: its
//! caller passes the time, and it returns the bytes that a stream is to be sent.
//!
//! # Sequence, logs and cursors
//!
//! A hub has one *sequence*. Every event, whatever its channel, gets the next sequence number, and with it its id.
//! The event becomes an entry of its channel's [log](crate::log). A stream's [`Cursor`] is one number: all events of
//! the stream's topics up to it have been sent, and none after it.
//!
//! ```text
//! sequence     1    2    3    4    5    6    7    8    9
//! log of a     -         a3        a5             a8            a1 is evicted: the log has evicted through 1
//! log of b          b2                  b6   b7
//! log of c                    c4                       c9
//!                             |
//!                             cursor of a stream with the topics a and b: 4
//! ```
//!
//! This stream has been sent everything of `a` and `b` through 4. Its *backlog* is the merge of both logs after 4:
//! a5, b6, b7 and a8. When these are sent the cursor is at 9, the last sequence number, because 9 is of another channel.
//!
//! Live events and replay are the same. A stream that begins now has its cursor at the last sequence number; one
//! that resumes has it at its client's last event id. One id resumes any number of channels, and there is no queue
//! for each stream: a slow client costs a number, not a copy of its backlog.
//!
//! An event travels like this:
//!
//! 1. [`publish`](Hub::publish) appends it to the log of its channel, and queues the channel's subscribers for
//!    notification.
//! 2. [`notify_subscribers`](Hub::notify_subscribers) names the streams that may have a backlog now, once for all
//!    that was published since the last time.
//! 3. [`catch_up`](Hub::catch_up) handles a lagging stream. [`gather`](Hub::gather) points the reactor at the backlog,
//!    straight in the logs.
//! 4. When the reactor has sent that, [`all_sent`](Hub::all_sent) or [`sent`](Hub::sent) advances the cursor.
//! 5. [`evict`](Hub::evict) drops what exceeds the retention. It comes last, so a client that keeps up misses
//!    nothing, however small the logs are.
//!
//! # Several requests
//!
//! All subscriptions of one handler are one request. They take effect together when the stream [begins](Hub::begin),
//! with one position and at most one `gap` event. A later subscription begins with new events: after the last sequence number.
//!
//! A cursor is one number if that says all of what the stream has been sent. Otherwise it has *parts*, one for each
//! request, each with topics and with the number after which their events are still to be sent. Say the stream above, whose
//! client reads slowly, subscribes to `c`:
//!
//! ```text
//! part 1: a, b     after 4
//! part 2: c        after 9      a5, b6, b7 and a8 are sent; at 9 the parts do not differ any more
//! ```
//!
//! Parts never hold events. A stream that ends is still sent what was published before; its cursor keeps that as parts that
//! have an end.
//!
//! # Eviction, gaps and tombstones
//!
//! A log that exceeds its retention evicts its first entries, and entries that are too old expire. The log remembers
//! the sequence number through which it has done so. A stream whose cursor is before that number has missed events:
//! it is *lagging*. [`OnSlow`] says whether it ends, is sent a `gap` event, or is sent the latest entry of each key. Channels
//! may differ in that: a stream ends if it lags in one whose policy says so, else it is sent a `gap` event if it lags in one
//! whose policy is that.
//! A client that resumes from before that number has missed events too, and is sent a [`Gap`] first.
//!
//! A channel without subscribers and entries is removed. Its *tombstone* remembers how far it had evicted its
//! entries, so that a client that comes back later is still sent a `gap` event.
//!
//! After a `gap` event older events of other channels may follow. A client that resumes in between must not be sent
//! the same `gap` event again, so each of these events is followed by a position `EPOCH-SEQ-REPORTED`: evictions
//! through REPORTED are reported. The *baseline* of each part of a cursor says which evictions the stream does not
//! miss.
//!
//! # Compaction
//!
//! With [`OnSlow::Latest`] a log is compacted: it keeps the latest entry of each key longer than others. A lagging
//! stream is sent only these of it, until its cursor has passed everything that its logs have evicted.
//!
//! # Notices
//!
//! A [`Notice`] is sent to one stream only: its position, a `gap` event, or an event that is followed by a position.
//! The reactor puts notices into the stream's own buffer, which is sent before anything of the logs.
//!
//! # Files
//!
//! `settings`: what the application sets; `policies` are what that says for a channel.
//!
//! `ids`: `hub_ids` (the hub's, plain or opaque), `event_id` (positions), `custom_ids` (the application's), `last_id` (the last
//! one that a client has).
//!
//! `channels`: `channel` creates and removes channels and patterns, `names` remembers removed ones, `prefixes`, `glob` and
//! `topics` find the channels of a topic, `subscribers` notifies their streams, `recent_channels` has the last publications.
//!
//! `publishing`: appends an event to its channel's log. `refusal` checks it before; `once_keys` and `state_sizes` are for those
//! who publish: what has been published once, and what can be retained.
//!
//! `retention`: evicts and expires entries; `eviction_clock` orders evictions in time.
//!
//! `subscribing`: `request` and `subscription` register a stream, `first_block` begins it, `resume_point` decides where,
//! `subscription_end` ends it.
//!
//! `sending`: `cursor` and `cursor_parts` are a stream's position, `backlog` and `merge` find its next entries, `gathering`
//! points at them in the logs, `shared_encoding` encodes them for all streams of a group, `state_phases` sends the state,
//! `replay` and `notice` send through the stream's own buffer, `positions` makes the hub's own blocks.
//!
//! `gaps`: finds what a stream has missed, and decides between a `gap` event, compaction and the end of the stream.
//!
//! `readers`: `ends` has the labels and ages of streams, and finds those that a request to end streams means; `stream_limits`
//! counts the streams of a key.
//!
//! `stores`: `stored_history` continues with events that a store has kept, and says what it may forget; `entries` are those of
//! a hub whose place another one takes.
//!
//! Beside the hub: `presence` is what a stream says of its member and its will; `members` decides who is here, from the streams
//! that enter and leave. Their announcements are published as any other event.
//!
//! `counts` is what the application reads. `steps` counts what searches do, for tests.

#![forbid(unsafe_code)]

mod channels;
mod counts;
mod gaps;
mod ids;
mod members;
#[cfg(test)]
mod model;
mod presence;
mod publishing;
mod readers;
mod retention;
mod sending;
mod settings;
pub(crate) mod steps;
mod stores;
mod subscribing;
#[cfg(test)]
mod tests;

pub use counts::{ChannelCounts, ChannelPage, Counts};
pub use gaps::{Gap, GapData, Lagging, OnSlow};
pub use ids::hub_ids::Epoch;
pub use members::{Fits, LingeringMember, MemberInfo, MemberPage, Members, MAX_MEMBERS_OF_STREAM};
pub use presence::{number_of_members, room_of, Announcement, KeptMember, MemberData, MemberRequest, Presence, Says};
pub use publishing::once_keys::{OnceKeys, MAX_ONCE_BYTES};
pub use publishing::refusal::{
    check_fields, check_id, check_member, check_presence, check_published_id, given_ids, Refusal,
};
pub use publishing::Publication;
pub use readers::ends::{EndRequest, FINISH_BLOCK, MAX_LABELS, MAX_LABEL_BYTES, REMEMBERED};
pub use readers::stream_limits::RESERVED;
pub use sending::cursor::Cursor;
pub use sending::notice::Notice;
pub use settings::channel_settings::ChannelSettings;
pub use stores::stored_history::{ChannelEvictions, History};

pub use crate::log::Retain;
pub use publishing::state_sizes::{Full, StateSizes};
pub use sending::gathering::{Gathered, Sent};
pub use sending::shared_encoding::{Encoding, Form};
pub use settings::state_bounds::StateBounds;
pub use settings::{Retention, Settings};
pub use stores::entries::HubEntry;
pub use subscribing::request::{Access, FirstBlock, PositionStyle, Start, SubscribeRequest, Topic};

use crate::log::Snapshots;
use crate::saved::{Malformed, Restorer, Saved, Saver};
use channels::channel::{Channel, Pattern};
use channels::names::Names;
use channels::prefixes::PatternIndex;
use channels::recent_channels::RecentChannels;
use channels::topics::TopicId;
use ids::custom_ids::CustomIds;
use readers::ends::Marks;
use readers::stream_limits::Reservations;
use sending::shared_encoding::Rounds;
use settings::policies::Policies;
use slab::Slab;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use stores::stored_history::Stored;

/// The channels of an application, and their events.
#[derive(Debug)]
pub struct Hub {
    epoch: Epoch,
    settings: Settings,
    /// The sequence number of the last event that was published, or of the last one of the history; 0 before the first.
    last_seq: u64,
    /// The sequence number through which events were offered to the streams that keep up.
    offered_through: u64,
    channels: Slab<Channel>,
    channel_by_name: HashMap<Arc<[u8]>, usize>,
    /// The same and the tombstones in the order of the names. A publication finds its channel sooner in the hash map.
    names: Names,
    patterns: Slab<Pattern>,
    pattern_by_text: PatternIndex,
    /// How many names new patterns were compared with since that was last taken.
    compared: usize,
    /// What the settings say for channels.
    policies: Policies,
    custom_ids: CustomIds,
    /// The channels of the last publications.
    recent: RecentChannels,
    /// The sequence number through which any log has evicted anything.
    evicted_through: u64,
    /// The eviction clock: the number of evictions.
    eviction_clock: u64,
    /// The topics whose subscribers are to be notified.
    to_notify: Vec<TopicId>,
    /// The channels that were published to since the last eviction.
    grown: Vec<usize>,
    counts: Counts,
    /// The memory for a store, if the hub has one.
    stored: Option<Box<Stored>>,
    /// The encoded events, if a stream has a content coding.
    rounds: Option<Box<Rounds>>,
    /// By what streams can be ended.
    marks: Marks,
    /// The streams that may begin.
    reservations: Reservations,
    /// The sequence numbers as of which streams are sent the state.
    snapshots: Snapshots,
    /// The channels whose logs keep something for these, how many bytes that is, and how many it was when nothing of it was
    /// superfluous.
    versioned: BTreeSet<usize>,
    version_bytes: u64,
    cleaned_bytes: u64,
}

impl Hub {
    /// Creates a hub without channels. Its ids begin with the epoch, which differs from that of every other hub that
    /// the same clients use.
    pub fn new(epoch: Epoch, settings: Settings) -> Self {
        Self {
            epoch,
            policies: Policies::new(&settings),
            settings,
            last_seq: 0,
            offered_through: 0,
            channels: Slab::new(),
            channel_by_name: HashMap::new(),
            names: Names::default(),
            patterns: Slab::new(),
            pattern_by_text: PatternIndex::default(),
            compared: 0,
            custom_ids: CustomIds::default(),
            recent: RecentChannels::default(),
            evicted_through: 0,
            eviction_clock: 0,
            to_notify: Vec::new(),
            grown: Vec::new(),
            counts: Counts::default(),
            stored: None,
            rounds: None,
            marks: Marks::default(),
            reservations: Reservations::default(),
            snapshots: Snapshots::default(),
            versioned: BTreeSet::new(),
            version_bytes: 0,
            cleaned_bytes: 0,
        }
    }
}

/// Values at stable indexes, which they keep.
struct Slots<'a, T>(&'a Slab<T>);

impl<T: Saved> Slots<'_, T> {
    fn save(&self, to: &mut Saver) {
        to.add_count(self.0.len());
        for (at, value) in self.0 {
            to.add(&at);
            to.add(value);
        }
    }
}

impl Saved for Hub {
    fn save(&self, to: &mut Saver) {
        let Self {
            epoch,
            settings,
            last_seq,
            offered_through,
            channels,
            channel_by_name: _,
            names,
            patterns,
            pattern_by_text: _,
            compared: _,
            policies: _,
            custom_ids,
            recent,
            evicted_through,
            eviction_clock,
            to_notify,
            grown,
            counts,
            stored,
            rounds: _,
            marks,
            reservations,
            snapshots: _,
            versioned: _,
            version_bytes: _,
            cleaned_bytes: _,
        } = self;
        to.add(epoch);
        to.add(settings);
        to.add(last_seq);
        to.add(offered_through);
        Slots(channels).save(to);
        Slots(patterns).save(to);
        to.add(names);
        to.add(custom_ids);
        to.add(recent);
        to.add(evicted_through);
        to.add(eviction_clock);
        to.add(to_notify);
        to.add(grown);
        to.add(counts);
        to.add(stored);
        to.add(marks);
        to.add(reservations);
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
        let (epoch, settings, last_seq, offered_through) = (from.take()?, from.take()?, from.take()?, from.take()?);
        let channels: Slab<Channel> = from.collect::<(usize, Channel), _>()?;
        let patterns: Slab<Pattern> = from.collect::<(usize, Pattern), _>()?;
        let mut policies = Policies::new(&settings);
        for (at, channel) in &channels {
            if channel.policy >= policies.len() {
                return Err(Malformed);
            }
            policies[channel.policy].firsts.extend(channel.log.first().map(|(seq, _)| (seq, at)));
        }
        let mut names: Names = from.take()?;
        let mut channel_by_name = HashMap::new();
        for (at, channel) in &channels {
            names.add(Arc::clone(&channel.name), at);
            channel_by_name.insert(Arc::clone(&channel.name), at);
        }
        let slots: Vec<usize> = channels.iter().map(|(at, _)| at).collect();
        let mut hub = Self {
            epoch,
            settings,
            policies,
            last_seq,
            offered_through,
            channels,
            channel_by_name,
            names,
            pattern_by_text: patterns.iter().map(|(at, pattern)| (pattern.glob.text(), at)).collect(),
            patterns,
            compared: 0,
            custom_ids: from.take()?,
            recent: from.take()?,
            evicted_through: from.take()?,
            eviction_clock: from.take()?,
            to_notify: from.take()?,
            grown: from.take()?,
            counts: from.take()?,
            stored: from.take()?,
            rounds: None,
            marks: from.take()?,
            reservations: from.take()?,
            snapshots: Snapshots::default(),
            versioned: BTreeSet::new(),
            version_bytes: 0,
            cleaned_bytes: 0,
        };
        // A channel may have had only what was kept for a snapshot.
        slots.into_iter().for_each(|at| hub.remove_if_unused(TopicId::Channel(at as u32)));
        Ok(hub)
    }
}
