//! All that a hub process logs for its operator, and what the process counts beside the library: what is logged once,
//! what is logged [again after a pause](crate::log_pauses), and to which worker the lines go.

use crate::log_pauses::Watch;
use crate::peers::{End, Peer};
use crate::process_log::{self, log_event, log_message};
use crate::read_channels::ReadChannels;
use eventsource_xs::histogram::{Histogram, Times};
use eventsource_xs::runtime;
use eventsource_xs::wire::{Failure, Response, StoreSettings, StoreStatus};
use std::time::{Duration, Instant};

/// The operator's counts, and the lines that were logged.
#[derive(Debug)]
pub struct Operator {
    /// When the process has begun, and the same in milliseconds since 1970.
    started: Instant,
    pub started_at: u64,
    /// The number of workers that were cut off.
    pub cut_off: u64,
    /// The times for which publishes have waited for the store.
    pub store_wait: Histogram,
    /// The lines that are logged again after a pause.
    pub watch: Watch,
    /// True if it was logged that streams have no member.
    has_logged_members: bool,
    /// The reason for which the store has not begun, as it was logged last.
    store_failure: String,
    /// The channels that were read, so that a publish without a reader is logged.
    pub read: ReadChannels,
}

impl Operator {
    /// Begins with what the library has counted: before an upgrade.
    pub fn new(now: Instant) -> Self {
        let read = ReadChannels::unknown(now);
        let watch = Watch::new(&runtime::stats());
        let (store_wait, has_logged_members, store_failure) = (Histogram::default(), false, String::new());
        let started_at = runtime::wall();
        Self { started: now, started_at, cut_off: 0, store_wait, watch, has_logged_members, store_failure, read }
    }

    /// Returns for how long the process has run.
    pub fn age(&self, now: Instant) -> Duration {
        now.duration_since(self.started)
    }

    pub fn times(&self) -> Times {
        Times { store_wait: self.store_wait, ..runtime::times() }
    }

    /// Logs and counts a peer that has broken the rules.
    pub fn count_end(&mut self, end: End) {
        if let Some(rule) = end.broken_rule() {
            self.cut_off += 1;
            log_message(&format!("cut a worker off: {rule}"));
        }
    }

    /// Logs once that a stream has opened without its member. The statistics count them.
    pub fn log_refused_members(&mut self, has_refused: impl FnOnce() -> bool) {
        if !self.has_logged_members && has_refused() {
            self.has_logged_members = true;
            log_message("a stream has opened without its member: a channel has max_members, or the state is full");
        }
    }

    /// Logs why the store has not begun, once for each reason.
    pub fn log_store_failure(&mut self, failure: &Failure) {
        let failure = failure.to_string();
        if self.store_failure != failure {
            log_event("store_not_begun", "the store has not begun", &[("error", failure.as_str().into())]);
            self.store_failure = failure;
        }
    }

    /// Logs that the hub restarts because a worker names other settings than it has.
    pub fn log_restart(&self, before: &StoreSettings, next: &StoreSettings, keeps_history: bool) {
        let settings = match before.is_same(next) {
            true => "other settings".into(),
            false => format!("another store, {} {}", next.kind(), next.place()),
        };
        let effect = match before {
            _ if keeps_history => "its clients reconnect",
            StoreSettings::Memory => "clients receive a gap, and the state is to be published again",
            _ => "clients receive a gap, and history and state stay in the store before",
        };
        log_message(&format!("a worker names {}: the hub restarts; {effect}", settings.trim_end()));
    }

    /// Logs a publish that perhaps no stream is meant to read: the name of the hub or the channel may be misspelt. Readers of a
    /// store may be those of other machines, or of before.
    pub fn log_unread(&mut self, store: &StoreSettings, channel: &[u8], now: Instant) {
        let is_kept = *store != StoreSettings::Memory;
        if let Some(others) = self.read.take_unread_hub(now).filter(|_| !is_kept) {
            let message = "an event was published to this new hub, which no stream has read: if one should have, compare names and users";
            log_event("hub_unread", message, &[("others", others.as_str().into())]);
        } else if !matches!(store, StoreSettings::Redis(_)) && self.read.take_unread_channel(channel, now) {
            let message = "an event was published to a channel that no stream has read so far: if one should have, compare the names";
            log_event("channel_unread", message, &[("channel", (&*String::from_utf8_lossy(channel)).into())]);
        }
    }

    /// Logs what has changed of the store and the streams.
    pub fn log_changes(&mut self, store: impl FnOnce() -> Option<StoreStatus>, now: Instant) {
        if self.watch.is_due(now) {
            for line in self.watch.take_lines(&runtime::stats(), store().as_ref(), now) {
                log_event(line.event, line.message, &line.fields);
            }
        }
    }
}

/// Sends the lines of the log to the worker that writes them.
pub fn send_lines(writer: &mut Peer) {
    for line in process_log::take_unsent() {
        writer.answer(&Response::Log { line: &line });
    }
}
