//! The metrics of a hub for a monitor, as text of OpenMetrics 1.0. [`text`] is the only list of them: the application, the
//! command and the listener of the hub process print what this module writes.
//!
//! prometheus-client 0.24 could replace the 60 lines above `text`, not the list. It takes only values that outlive it and
//! histograms that it has counted itself, and needs 14 crates, 8 s of a processor to build, 59 kB and Rust 1.71.
//!
//! The labels have few values, whatever clients and producers do: reasons, policies, and the channels that the operator has
//! chosen.

#[cfg(test)]
mod tests;

use crate::histogram::{Histogram, Scale, Times};
use crate::hub::{ChannelCounts, ChannelPage, Counts, Topic};
use crate::stream::{Reason, Stats};
use crate::wire::Counted;
use std::fmt::{Display, Write};

/// The media type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Begins the name of each metric.
const PREFIX: &str = "eventsource_";

/// The numbers of which the metrics are made.
#[derive(Clone, Debug)]
pub struct Measured<'a> {
    /// The name of a named hub. All samples have it as a label.
    pub name: Option<&'a str>,
    /// The hub.
    pub hub: &'a Counts,
    /// The streams of the process that has the hub.
    pub streams: &'a Stats,
    /// The times that this process has measured.
    pub times: &'a Times,
    /// The hub process and the store of a named hub.
    pub process: Option<&'a Counted>,
    /// The channels and patterns that are told apart.
    pub topics: &'a [TopicCounts],
}

impl<'a> Measured<'a> {
    /// Returns the numbers of a named hub.
    pub fn of_process(name: &'a str, counted: &'a Counted, topics: &'a [TopicCounts]) -> Self {
        Self {
            name: Some(name),
            hub: &counted.hub,
            streams: &counted.streams,
            times: &counted.times,
            process: Some(counted),
            topics,
        }
    }
}

/// The counts of a channel, or the sums of all channels that match a pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicCounts {
    /// The channel or the pattern.
    pub topic: String,
    subscribers: u64,
    events: u64,
    bytes: u64,
    keys: u64,
}

impl TopicCounts {
    /// Adds up the channels of a topic, from a function that returns a part of the list of those that match a pattern.
    /// Errors are those of the function.
    pub fn of<E>(topic: &Topic, mut page: impl FnMut(&[u8], u64) -> Result<ChannelPage, E>) -> Result<Self, E> {
        let (Topic::Channel(name) | Topic::Pattern(name)) = topic;
        let is_pattern = matches!(topic, Topic::Pattern(_));
        let mut counts = Self { topic: String::from_utf8_lossy(name).into_owned(), ..Self::default() };
        let mut next = Some(0);
        while let Some(from) = next {
            let part = page(name, from)?;
            // A channel's name may have stars.
            part.channels.iter().filter(|channel| is_pattern || *channel.name == **name).for_each(|of| counts.add(of));
            next = part.next;
        }
        Ok(counts)
    }

    fn add(&mut self, channel: &ChannelCounts) {
        self.subscribers += channel.subscribers;
        self.events += channel.events;
        self.bytes += channel.bytes;
        self.keys += channel.keys;
    }
}

/// The text, as it is written.
struct Text<'a> {
    hub: Option<&'a str>,
    out: String,
}

impl Text<'_> {
    /// Begins a family. Its unit is at the end of its name.
    fn begin(&mut self, kind: &str, name: &str, help: &str) {
        let _ = writeln!(self.out, "# TYPE {PREFIX}{name} {kind}"); // a String takes everything
        if let Some(unit) = ["bytes", "seconds"].into_iter().find(|unit| name.ends_with(unit)) {
            let _ = writeln!(self.out, "# UNIT {PREFIX}{name} {unit}");
        }
        let _ = writeln!(self.out, "# HELP {PREFIX}{name} {help}");
    }

    fn sample(&mut self, name: &str, suffix: &str, label: Option<(&str, &str)>, value: impl Display) {
        let _ = write!(self.out, "{PREFIX}{name}{suffix}");
        let mut separator = '{';
        for (label, value) in self.hub.map(|hub| ("hub", hub)).into_iter().chain(label) {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.out, "{separator}{label}=\"{value}\"");
            separator = ',';
        }
        let _ = writeln!(self.out, "{} {value}", if separator == ',' { "}" } else { "" });
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.begin("gauge", name, help);
        self.sample(name, "", None, value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.begin("counter", name, help);
        self.sample(name, "_total", None, value);
    }

    /// Writes a counter for each value of a label.
    fn counters<'a>(&mut self, name: &str, help: &str, label: &str, values: impl IntoIterator<Item = (&'a str, u64)>) {
        self.begin("counter", name, help);
        values.into_iter().for_each(|(of, value)| self.sample(name, "_total", Some((label, of)), value));
    }

    fn info(&mut self, name: &str, help: &str, label: &str, value: &str) {
        self.begin("info", name, help);
        self.sample(name, "_info", Some((label, value)), 1);
    }

    fn times(&mut self, name: &str, help: &str, times: &Histogram, scale: &Scale) {
        self.begin("histogram", name, help);
        // The canonical form of a bound has a point.
        let bounds = scale.0.iter().map(|bound| format!("{:?}", *bound as f64 / 1e6)).chain(["+Inf".to_owned()]);
        let mut count = 0;
        for (bound, more) in bounds.zip(times.counts) {
            count += more;
            self.sample(name, "_bucket", Some(("le", &bound)), count);
        }
        self.sample(name, "_count", None, count);
        self.sample(name, "_sum", None, times.sum as f64 / 1e6);
    }

    fn by_topic(&mut self, name: &str, help: &str, topics: &[TopicCounts], count: fn(&TopicCounts) -> u64) {
        if !topics.is_empty() {
            self.begin("gauge", name, help);
        }
        topics.iter().for_each(|topic| self.sample(name, "", Some(("channel", &topic.topic)), count(topic)));
    }
}

/// Returns the text.
#[rustfmt::skip]
pub fn text(measured: &Measured<'_>) -> String {
    let Measured { name, hub, streams, times, process, topics } = *measured;
    let mut out = Text { hub: name, out: String::new() };
    out.info("build", "The version of the library that wrote this text.", "version", env!("CARGO_PKG_VERSION"));
    out.gauge("streams", "Streams that are subscribed to the hub.", hub.streams);
    out.gauge("channels", "Channels that have subscribers, a history or a state.", hub.channels);
    out.gauge("patterns", "Patterns that have subscribers.", hub.patterns);
    out.counter("published", "Events that were published.", hub.published);
    out.counter("delivered", "Events that were handed to the kernel, counted for each stream.", hub.delivered);
    out.counter("resumed", "Streams that began with an id of the client.", hub.resumed);
    out.counter("gaps", "Gap events that were sent.", hub.gaps);
    out.counters("slow", "Slow clients that were overtaken by evictions, by what became of their streams.", "on_slow",
        [("disconnect", hub.disconnected), ("gap", hub.skipped), ("latest", hub.compacted)]);
    out.gauge("history_events", "Events in the history.", hub.events);
    out.gauge("history_bytes", "Bytes of the history.", hub.bytes);
    out.gauge("state_keys", "Keys in the state.", hub.keys);
    out.gauge("state_bytes", "Bytes of the state that the history has no longer.", hub.state_bytes);
    out.gauge("members", "Members that are here.", hub.members);
    out.counter("members_refused", "Streams that opened without the member that they were to have.", hub.members_refused);
    out.counter("limited", "Streams that were refused because of a limit of their key.", hub.limited);
    out.gauge("polls_waiting", "Polls that are open: their clients' streams are held back.", hub.polls);
    out.counters("polls", "Polls that were answered, by why their clients poll.", "reason", [
        ("mute", hub.polls_mute), ("silent", hub.polls_silent), ("refused", hub.polls_refused), ("cut", hub.polls_cut),
        ("other", hub.polls_other),
    ]);
    out.counter("tickets_issued", "Tickets that clients were given.", hub.tickets_issued);
    out.counter("tickets_too_large", "Tickets that were too large for a cookie.", hub.tickets_too_large);
    out.counter("tickets_accepted", "Streams that began with a ticket: the application was not asked.",
        hub.tickets_accepted);
    out.counters("tickets_refused", "Tickets with which the application was asked, by reason.", "reason", [
        ("expired", hub.tickets_expired), ("limited", hub.tickets_limited), ("unknown", hub.tickets_unknown),
        ("withdrawn", hub.tickets_withdrawn),
    ]);
    out.counter("content_bytes", "Bytes of events for streams with a content coding, before they were encoded.",
        hub.content_bytes);
    out.counter("coded_bytes", "Bytes that these streams were sent instead.", hub.coded_bytes);
    out.gauge("open_streams", "Open streams of the process that has the hub.", streams.open);
    out.counter("streams_opened", "Streams that were opened.", streams.opened);
    out.counter("streams_refused", "Streams that were refused: max_streams, or too few descriptors.", streams.refused);
    out.counter("origins_refused", "Requests of pages of other origins that were refused (origins).",
        streams.refused_origins);
    let reasons = || Reason::ALL.iter().map(|reason| reason.name());
    out.counters("streams_ended", "Streams that have ended, by reason.", "reason", reasons().zip(streams.ended));
    out.counter("sent_bytes", "Bytes that were handed to the kernel.", streams.bytes);
    out.gauge("buffered_bytes", "Bytes that are buffered for streams.", streams.buffered);
    out.gauge("stalled_streams", "Open streams whose clients read more slowly than they are sent, now.", streams.stalled);
    out.counters("lost", "Events that were accepted and not handed to the kernel, by why their streams ended.", "reason",
        reasons().chain(["dropped"]).zip(streams.lost));
    if let Some(Counted { started_at, workers, cut_off, store, .. }) = process {
        let seconds = |milliseconds: &u64| *milliseconds as f64 / 1e3;
        out.gauge("start_time_seconds", "When the hub process has begun, in seconds since 1970.", seconds(started_at));
        out.gauge("workers", "Workers and commands that are connected to the hub process.", workers);
        out.counter("workers_cut_off", "Connections that the hub process ended because they broke the protocol.", *cut_off);
        out.info("store", "The kind of the store.", "kind", &store.kind);
        out.gauge("store_up", "1 if the store takes events and reports those of other machines, otherwise 0.",
            u64::from(store.is_up));
        out.gauge("store_changed_timestamp_seconds", "Since when eventsource_store_up has its value.",
            seconds(&store.since));
        out.gauge("store_pending", "Events that wait to be stored.", store.pending);
        out.gauge("store_events", "Events in the store.", store.events);
        out.gauge("store_bytes", "Bytes of the store.", store.bytes);
        out.gauge("store_lag_seconds", "Seconds between the storing of the last event and its arrival.", seconds(&store.lag));
        out.counter("store_failed", "Events that could not be stored.", store.failed);
        out.counter("store_reconnects", "Connections to the store that were made anew.", store.reconnects);
        out.counter("store_epoch_changes", "Losses of history, after each of which another epoch has begun.",
            store.epoch_changes);
    }
    out.times("send_seconds", "Seconds from taking an event to its last write to a client that reads, for each event.",
        &times.send, &Scale::DELAYS);
    out.times("stream_age_seconds", "The ages of streams at their ends.", &times.age, &Scale::AGES);
    let kind = process.map_or("", |process| &process.store.kind);
    if let Some(process) = process.filter(|_| ["file", "redis"].contains(&kind)) {
        out.times("store_wait_seconds", "Seconds from a publish to the answer of the store.", &process.times.store_wait,
            &Scale::DELAYS);
    }
    if let Some(process) = process.filter(|_| kind == "redis") {
        out.times("store_arrival_seconds",
            "Seconds between the storing of events in Redis and their arrival, for each round of reading.",
            &process.store.arrivals, &Scale::DELAYS);
    }
    out.by_topic("channel_subscribers", "Subscriptions to chosen channels.", topics, |topic| topic.subscribers);
    out.by_topic("channel_events", "Events in the history of chosen channels.", topics, |topic| topic.events);
    out.by_topic("channel_bytes", "Bytes of the history of chosen channels.", topics, |topic| topic.bytes);
    out.by_topic("channel_keys", "Keys in the state of chosen channels.", topics, |topic| topic.keys);
    out.out + "# EOF\n"
}
