//! The metrics of a hub for a monitor, as text of OpenMetrics 1.0. `FAMILIES` is the only list of them: the application, the
//! command and the listener of the hub process print what this module writes.
//!
//! prometheus-client 0.24 could replace the 60 lines below `text`, not the list. It takes only values that outlive it and
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
use std::fmt::Write;

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
        let (name, is_pattern) = match topic {
            Topic::Channel(name) => (name, false),
            Topic::Pattern(name) => (name, true),
        };
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MetricKind {
    Gauge,
    Counter,
    Histogram,
    Info,
}

impl MetricKind {
    /// Returns the type's name, and what is appended to the names of its samples.
    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::Gauge => ("gauge", ""),
            Self::Counter => ("counter", "_total"),
            Self::Histogram => ("histogram", ""),
            Self::Info => ("info", "_info"),
        }
    }
}

enum Values<'a> {
    Number(u64),
    /// Milliseconds, which become seconds.
    Milliseconds(u64),
    Times(Histogram, Scale),
    /// A label, and the numbers of its values.
    By(&'static str, Vec<(&'a str, u64)>),
}

impl From<u64> for Values<'_> {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

struct Family {
    kind: MetricKind,
    /// The name without the prefix, with the unit at its end.
    name: &'static str,
    /// Empty if there is none.
    unit: &'static str,
    help: &'static str,
    /// Returns nothing if the hub does not have the metric.
    values: for<'a> fn(&Measured<'a>) -> Option<Values<'a>>,
}

const fn family(
    kind: MetricKind,
    (name, unit): (&'static str, &'static str),
    help: &'static str,
    values: for<'a> fn(&Measured<'a>) -> Option<Values<'a>>,
) -> Family {
    Family { kind, name, unit, help, values }
}

fn by_topic<'a>(measured: &Measured<'a>, count: fn(&TopicCounts) -> u64) -> Option<Values<'a>> {
    let counts = || measured.topics.iter().map(|topic| (&*topic.topic, count(topic))).collect();
    (!measured.topics.is_empty()).then(|| Values::By("channel", counts()))
}

use MetricKind::{Counter, Gauge, Info};

/// The times of the kinds of store that have them.
fn of_stores<'a>(m: &Measured<'a>, kinds: &[&str], times: fn(&Counted) -> Histogram) -> Option<Values<'a>> {
    let process = m.process.filter(|process| kinds.contains(&&*process.store.kind))?;
    Some(Values::Times(times(process), Scale::DELAYS))
}

#[rustfmt::skip]
static FAMILIES: &[Family] = &[
    family(Info, ("build", ""), "The version of the library that wrote this text.",
        |_| Some(Values::By("version", vec![(env!("CARGO_PKG_VERSION"), 1)]))),
    family(Gauge, ("streams", ""), "Streams that are subscribed to the hub.", |m| Some(m.hub.streams.into())),
    family(Gauge, ("channels", ""), "Channels that have subscribers, a history or a state.",
        |m| Some(m.hub.channels.into())),
    family(Gauge, ("patterns", ""), "Patterns that have subscribers.", |m| Some(m.hub.patterns.into())),
    family(Counter, ("published", ""), "Events that were published.", |m| Some(m.hub.published.into())),
    family(Counter, ("delivered", ""), "Events that were handed to the kernel, counted for each stream.",
        |m| Some(m.hub.delivered.into())),
    family(Counter, ("resumed", ""), "Streams that began with an id of the client.", |m| Some(m.hub.resumed.into())),
    family(Counter, ("gaps", ""), "Gap events that were sent.", |m| Some(m.hub.gaps.into())),
    family(Counter, ("slow", ""), "Slow clients that were overtaken by evictions, by what became of their streams.",
        |m| Some(Values::By("on_slow", vec![
            ("disconnect", m.hub.disconnected), ("gap", m.hub.skipped), ("latest", m.hub.compacted),
        ]))),
    family(Gauge, ("history_events", ""), "Events in the history.", |m| Some(m.hub.events.into())),
    family(Gauge, ("history_bytes", "bytes"), "Bytes of the history.", |m| Some(m.hub.bytes.into())),
    family(Gauge, ("state_keys", ""), "Keys in the state.", |m| Some(m.hub.keys.into())),
    family(Gauge, ("state_bytes", "bytes"), "Bytes of the state that the history has no longer.",
        |m| Some(m.hub.state_bytes.into())),
    family(Gauge, ("members", ""), "Members that are here.", |m| Some(m.hub.members.into())),
    family(Counter, ("members_refused", ""), "Streams that opened without the member that they were to have.",
        |m| Some(m.hub.members_refused.into())),
    family(Counter, ("limited", ""), "Streams that were refused because of a limit of their key.",
        |m| Some(m.hub.limited.into())),
    family(Gauge, ("polls_waiting", ""), "Polls that are open: their clients' streams are held back.",
        |m| Some(m.hub.polls.into())),
    family(Counter, ("polls", ""), "Polls that were answered, by why their clients poll.",
        |m| Some(Values::By("reason", vec![
            ("mute", m.hub.polls_mute), ("silent", m.hub.polls_silent), ("refused", m.hub.polls_refused),
            ("cut", m.hub.polls_cut), ("other", m.hub.polls_other),
        ]))),
    family(Counter, ("tickets_issued", ""), "Tickets that clients were given.", |m| Some(m.hub.tickets_issued.into())),
    family(Counter, ("tickets_too_large", ""), "Tickets that were too large for a cookie.",
        |m| Some(m.hub.tickets_too_large.into())),
    family(Counter, ("tickets_accepted", ""), "Streams that began with a ticket: the application was not asked.",
        |m| Some(m.hub.tickets_accepted.into())),
    family(Counter, ("tickets_refused", ""), "Tickets with which the application was asked, by reason.",
        |m| Some(Values::By("reason", vec![
            ("expired", m.hub.tickets_expired), ("limited", m.hub.tickets_limited),
            ("unknown", m.hub.tickets_unknown), ("withdrawn", m.hub.tickets_withdrawn),
        ]))),
    family(Counter, ("content_bytes", "bytes"), "Bytes of events for streams with a content coding, before they were encoded.",
        |m| Some(m.hub.content_bytes.into())),
    family(Counter, ("coded_bytes", "bytes"), "Bytes that these streams were sent instead.",
        |m| Some(m.hub.coded_bytes.into())),
    family(Gauge, ("open_streams", ""), "Open streams of the process that has the hub.",
        |m| Some(m.streams.open.into())),
    family(Counter, ("streams_opened", ""), "Streams that were opened.", |m| Some(m.streams.opened.into())),
    family(Counter, ("streams_refused", ""), "Streams that were refused: max_streams, or too few descriptors.",
        |m| Some(m.streams.refused.into())),
    family(Counter, ("origins_refused", ""), "Requests of pages of other origins that were refused (origins).",
        |m| Some(m.streams.refused_origins.into())),
    family(Counter, ("streams_ended", ""), "Streams that have ended, by reason.",
        |m| Some(Values::By("reason", {
            Reason::ALL.iter().map(|reason| (reason.name(), m.streams.ended[*reason as usize])).collect()
        }))),
    family(Counter, ("sent_bytes", "bytes"), "Bytes that were handed to the kernel.",
        |m| Some(m.streams.bytes.into())),
    family(Gauge, ("buffered_bytes", "bytes"), "Bytes that are buffered for streams.",
        |m| Some(m.streams.buffered.into())),
    family(Gauge, ("stalled_streams", ""), "Open streams whose clients read more slowly than they are sent, now.",
        |m| Some(m.streams.stalled.into())),
    family(Counter, ("lost", ""), "Events that were accepted and not handed to the kernel, by why their streams ended.",
        |m| Some(Values::By("reason", {
            let reasons = Reason::ALL.iter().map(|reason| reason.name()).chain(["dropped"]);
            reasons.zip(m.streams.lost).collect()
        }))),
    family(Gauge, ("start_time_seconds", "seconds"), "When the hub process has begun, in seconds since 1970.",
        |m| m.process.map(|process| Values::Milliseconds(process.started_at))),
    family(Gauge, ("workers", ""), "Workers and commands that are connected to the hub process.",
        |m| m.process.map(|process| process.workers.into())),
    family(Counter, ("workers_cut_off", ""), "Connections that the hub process ended because they broke the protocol.",
        |m| m.process.map(|process| process.cut_off.into())),
    family(Info, ("store", ""), "The kind of the store.",
        |m| m.process.map(|process| Values::By("kind", vec![(&*process.store.kind, 1)]))),
    family(Gauge, ("store_up", ""), "1 if the store takes events and reports those of other machines, otherwise 0.",
        |m| m.process.map(|process| u64::from(process.store.is_up).into())),
    family(Gauge, ("store_changed_timestamp_seconds", "seconds"), "Since when eventsource_store_up has its value.",
        |m| m.process.map(|process| Values::Milliseconds(process.store.since))),
    family(Gauge, ("store_pending", ""), "Events that wait to be stored.",
        |m| m.process.map(|process| process.store.pending.into())),
    family(Gauge, ("store_events", ""), "Events in the store.", |m| m.process.map(|process| process.store.events.into())),
    family(Gauge, ("store_bytes", "bytes"), "Bytes of the store.", |m| m.process.map(|process| process.store.bytes.into())),
    family(Gauge, ("store_lag_seconds", "seconds"), "Seconds between the storing of the last event and its arrival.",
        |m| m.process.map(|process| Values::Milliseconds(process.store.lag))),
    family(Counter, ("store_failed", ""), "Events that could not be stored.",
        |m| m.process.map(|process| process.store.failed.into())),
    family(Counter, ("store_reconnects", ""), "Connections to the store that were made anew.",
        |m| m.process.map(|process| process.store.reconnects.into())),
    family(Counter, ("store_epoch_changes", ""), "Losses of history, after each of which another epoch has begun.",
        |m| m.process.map(|process| process.store.epoch_changes.into())),
    family(MetricKind::Histogram, ("send_seconds", "seconds"),
        "Seconds from taking an event to its last write to a client that reads, for each event.",
        |m| Some(Values::Times(m.times.send, Scale::DELAYS))),
    family(MetricKind::Histogram, ("stream_age_seconds", "seconds"), "The ages of streams at their ends.",
        |m| Some(Values::Times(m.times.age, Scale::AGES))),
    family(MetricKind::Histogram, ("store_wait_seconds", "seconds"), "Seconds from a publish to the answer of the store.",
        |m| of_stores(m, &["file", "redis"], |process| process.times.store_wait)),
    family(MetricKind::Histogram, ("store_arrival_seconds", "seconds"),
        "Seconds between the storing of events in Redis and their arrival, for each round of reading.",
        |m| of_stores(m, &["redis"], |process| process.store.arrivals)),
    family(Gauge, ("channel_subscribers", ""), "Subscriptions to chosen channels.",
        |m| by_topic(m, |topic| topic.subscribers)),
    family(Gauge, ("channel_events", ""), "Events in the history of chosen channels.",
        |m| by_topic(m, |topic| topic.events)),
    family(Gauge, ("channel_bytes", "bytes"), "Bytes of the history of chosen channels.",
        |m| by_topic(m, |topic| topic.bytes)),
    family(Gauge, ("channel_keys", ""), "Keys in the state of chosen channels.", |m| by_topic(m, |topic| topic.keys)),
];

/// Returns the text.
pub fn text(measured: &Measured<'_>) -> String {
    let mut out = String::new();
    for family in FAMILIES {
        if let Some(values) = (family.values)(measured) {
            family.write(measured.name, &values, &mut out);
        }
    }
    out.push_str("# EOF\n");
    out
}

impl Family {
    fn write(&self, hub: Option<&str>, values: &Values<'_>, out: &mut String) {
        let Self { kind, name, unit, help, .. } = self;
        let (kind, suffix) = kind.texts();
        let _ = writeln!(out, "# TYPE {PREFIX}{name} {kind}"); // a String takes everything
        if !unit.is_empty() {
            let _ = writeln!(out, "# UNIT {PREFIX}{name} {unit}");
        }
        let _ = writeln!(out, "# HELP {PREFIX}{name} {help}");
        let mut sample = |suffix: &str, label: Option<(&str, &str)>, value: &dyn std::fmt::Display| {
            let _ = write!(out, "{PREFIX}{name}{suffix}");
            write_labels(hub.map(|hub| ("hub", hub)).into_iter().chain(label), out);
            let _ = writeln!(out, " {value}");
        };
        match values {
            Values::Number(number) => sample(suffix, None, number),
            Values::Milliseconds(number) => sample(suffix, None, &(*number as f64 / 1e3)),
            Values::Times(times, scale) => {
                let bounds = scale.0.iter().map(|bound| float(*bound as f64 / 1e6)).chain(["+Inf".to_owned()]);
                let mut count = 0;
                for (bound, more) in bounds.zip(times.counts) {
                    count += more;
                    sample("_bucket", Some(("le", &bound)), &count);
                }
                sample("_count", None, &count);
                sample("_sum", None, &(times.sum as f64 / 1e6));
            }
            Values::By(label, numbers) => {
                for (value, number) in numbers {
                    sample(suffix, Some((label, value)), number);
                }
            }
        }
    }
}

/// Returns the canonical form of a bound, which has a point.
fn float(number: f64) -> String {
    format!("{number:?}")
}

fn write_labels<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>, out: &mut String) {
    let mut separator = '{';
    for (label, value) in labels {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(out, "{separator}{label}=\"{value}\"");
        separator = ',';
    }
    if separator == ',' {
        out.push('}');
    }
}
