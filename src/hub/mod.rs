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
//! 1. [`append`](Hub::append) appends it to the log of its channel, and queues the channel's subscribers for
//!    notification.
//! 2. [`notify_subscribers`](Hub::notify_subscribers) names the streams that may have a backlog now, once for all
//!    that was published since the last time.
//! 3. [`catch_up`](Hub::catch_up) handles a lagging stream. [`gather`](Hub::gather) points the reactor at the backlog,
//!    straight in the logs.
//! 4. When the reactor has sent that, [`record_all_sent`](Hub::record_all_sent) or [`record_sent`](Hub::record_sent)
//!    advances the cursor.
//! 5. [`evict`](Hub::evict) drops what exceeds the retention. It comes last, so a client that keeps up misses
//!    nothing, however small the logs are.
//!
//! # Several requests
//!
//! A request has groups of topics, each of which may begin elsewhere. All subscriptions of one handler are one request. They
//! take effect together when the stream [begins](Hub::begin), with one position and at most one `gap` event. A channel of
//! several groups begins as the first one says. A later subscription begins with new events: after the last sequence number.
//!
//! A cursor is one number if that says all of what the stream has been sent. Otherwise it has *parts*, one for each
//! group, each with topics and with the number after which their events are still to be sent. Say the stream above, whose
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
//! # Own blocks
//!
//! An [`OwnBlock`] is sent to one stream only: its position, a `gap` event, or an event that is followed by a position.
//! The reactor puts these into the stream's own buffer, which is sent before anything of the logs.
//!
//! # Parts
//!
//! A [`Hub`] has parts that own their fields, and joins them. What needs one part is a method of that part. Of the parts, those
//! that come later here use the earlier ones.
//!
//! [`Epoch`] makes the hub's ids (`ids`). `Policies` are the settings, and what they say for a channel (`settings`).
//!
//! `Channels` are the tables of channels and patterns (`channels`), each with its subscribers: `names` remembers removed
//! ones, and finds names and patterns, `evictions` says how far topics have evicted.
//!
//! `Logs` are the channels in one order (`logs`): the last sequence number, the last publications
//! the first entries, and the next entries of a stream. A stream's position is a [`Cursor`] (`cursor`).
//!
//! `PendingWork` is what follows from the publications of a turn. [`Counts`] and [`LogPage`] are what the application reads.
//! `StoreMemory` is for a hub with a store. [`Readers`] has labels and ages of streams, requests to end streams, and limits.
//! `SharedEncoding` has encoded events, `StateSnapshots` what is kept for streams that are sent the state.
//!
//! # Acts
//!
//! Each of these has methods of the hub, for one act:
//!
//! - `log_changes`: appends an event to its channel's log, and marks what is pending; evicts and expires entries, and removes
//!   channels.
//! - `subscribing`: registers a stream as a `request` says, decides where it begins, begins it, and ends its subscription.
//! - `sending`: `blocks` points at a stream's next events, in the logs or as they are encoded for all streams of a group, of
//!   which `window_rounds` has the windows; `state_phases` sends the state, `replay` sends through the stream's own buffer.
//! - `gaps`: decides between a `gap` event, compaction and the end of a stream that has missed events, and makes the hub's own
//!   blocks: gaps and positions.
//! - `readers`: finds the streams that a request to end streams means, `stream_limits` counts those of a key, both by their
//!   labels; `polls` decides when a poll is answered.
//! - `ticket`: what a client may have again without the application being asked.
//! - `stored_history`: continues with events that a store has kept, and says what it may forget; and what another program
//!   continues with.
//!
//! `call` is what the application and other threads ask the hub, `store_status` what they learn of its store.
//!
//! Beside the hub: `sequence` is the order of its events, before they reach the logs: which are refused, numbers, what was
//! published once (`once_keys`), what can be retained (`state_sizes`), members. `presence` is what a stream says of its member
//! and its will; `members` decides who is here, from the streams that enter and leave. Their announcements are published as any
//! other event. `glob` matches names with patterns, `steps` counts what searches do, for tests.

#![forbid(unsafe_code)]

mod call;
mod channels;
mod counts;
mod cursor;
mod gaps;
mod glob;
mod ids;
mod log_changes;
mod logs;
mod members;
mod presence;
mod readers;
mod request;
mod sending;
mod sequence;
mod settings;
pub(crate) mod steps;
mod store_status;
mod stored_history;
mod subscribing;
#[cfg(test)]
mod tests;
mod ticket;

pub use crate::log::Retain;
pub use call::{Answer, Call, Counted, Described, LogPage, LogRange, LoggedEvent, Question, Reply};
pub use counts::{ChannelCounts, ChannelPage, Counts};
pub use cursor::Cursor;
pub use gaps::{Gap, Lagging, OwnBlock};
pub use ids::Epoch;
pub use members::{
    EntryOrigin, Fits, HandedMember, LingeringMember, MemberChange, MemberInfo, MemberKey, MemberPage, Members,
    MAX_MEMBERS_OF_STREAM,
};
pub use presence::{
    channel_of_kept, number_of_members, Announcement, KeptMember, MemberData, MemberRequest, MemberUpdate, Presence,
    PresenceChange, Statement, COUNT_KEY,
};
pub use readers::polls::{EndedPoll, POLL_LINGER};
pub use readers::stream_limits::{LIMITED_RETRY, RESERVED};
pub use readers::{
    is_counted, EndRequest, EndRequests, Readers, FINISH_BLOCK, LONGEST_ANSWER, MAX_LABELS, MAX_LABEL_BYTES,
    MOST_REMEMBERED,
};
pub use request::{
    Access, FirstBlock, OtherStart, Poll, PollReason, PositionStyle, StartPoint, StreamLimit, SubscribeRequest, Topic,
};
pub use sending::blocks::{BlockForm, Gathered, NextEncoding, Sent};
pub use sequence::once_keys::OnceKeys;
pub use sequence::state_sizes::StateSizes;
pub use sequence::{
    check_id, check_member, check_once, check_presence, given_ids, is_finish, refused_member_key, Publication,
    Sequence, SequencedEvent, FINISHED_ID, HUB_EVENT, MAX_ID_BYTES, STEPS,
};
pub use settings::{ChannelSettings, GapData, OnSlow, Retention, Settings, StateBounds};
pub use store_status::StoreStatus;
pub use stored_history::{Evictions, History};
pub use ticket::{Passport, Ticket, TicketOutcome, LONGEST_TICKET};

use log_changes::PendingWork;
use logs::Logs;
use sending::blocks::SharedEncoding;
use sending::state_phases::StateSnapshots;
use stored_history::StoreMemory;

/// The channels of an application, and their events.
#[derive(Debug)]
pub struct Hub {
    epoch: Epoch,
    logs: Logs,
    /// The work that follows from the publications of a turn.
    pending: PendingWork,
    counts: Counts,
    /// The memory for a store, if the hub has one.
    stored: Option<Box<StoreMemory>>,
    /// The readers.
    pub readers: Readers,
    encoding: SharedEncoding,
    snapshots: StateSnapshots,
}

impl Hub {
    /// Creates a hub without channels. Its ids begin with the epoch, which differs from that of every other hub that
    /// the same clients use.
    pub fn new(epoch: Epoch, settings: Settings) -> Self {
        Self::with_logs(epoch, Logs::new(settings))
    }

    /// Creates a hub that begins with logs.
    fn with_logs(epoch: Epoch, logs: Logs) -> Self {
        Self {
            epoch,
            logs,
            pending: PendingWork::default(),
            counts: Counts::default(),
            stored: None,
            readers: Readers::default(),
            encoding: SharedEncoding::default(),
            snapshots: StateSnapshots::default(),
        }
    }
}
