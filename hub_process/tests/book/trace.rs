//! The trace of an episode: what publishers were told, what clients received, and what happened to the process. The rules judge
//! only this, as an application and its clients could.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// An event's place: the hub's epoch, and its number there.
pub type Place = (String, u64);

/// The answer that a publisher received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Published(Place),
    /// The event was not published.
    Refused,
    /// The event may have been published.
    Unknown,
    /// The publisher did not wait for an answer.
    Sent,
}

/// One publish.
#[derive(Clone, Debug)]
pub struct Publish {
    pub worker: usize,
    pub channel: &'static str,
    pub key: &'static str,
    /// The name of the event: `plain`, `set` or `forget`.
    pub kind: &'static str,
    pub once: Option<u8>,
    pub data: String,
    pub called: Instant,
    pub returned: Instant,
    pub outcome: Outcome,
}

/// One thing that a client saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The client opened a stream, and sent this id.
    Opened {
        stream: u64,
        after: String,
    },
    Position(String),
    Gap {
        id: String,
        reason: String,
    },
    Event {
        id: String,
        name: String,
        data: String,
    },
    /// An event that was pushed to this stream only.
    Push {
        stream: u64,
        number: u64,
    },
    /// The client was told to come back after a time.
    Retry,
    /// The client was told not to come back.
    Finish,
    /// The client closed its connection.
    Left,
    /// The server closed the connection.
    Ended,
}

/// A client: its items, each with the time at which it saw it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub channels: Vec<&'static str>,
    pub follows_state: bool,
    /// True if it reads now and then only. So it sees late what happens to its streams.
    pub is_slow: bool,
    pub items: Vec<(Instant, Item)>,
    /// What a page that follows the state has in its map.
    pub map: Map,
}

/// The member that stays longer than an episode.
pub const LASTING: &str = "ann";

/// A time after each episode.
pub const FOREVER: Duration = Duration::from_secs(3600);

/// The most streams of a limit.
pub const MOST: usize = 3;

pub type Map = BTreeMap<String, String>;

/// The key of the number of members in a [`Map`].
pub const COUNT: &str = "lobby members";

/// What an application knows of a stream.
#[derive(Clone, Debug)]
pub struct Stream {
    pub client: usize,
    pub member: Option<&'static str>,
    /// True if the member is only counted.
    pub is_counted: bool,
    /// The data of the member.
    pub data: u8,
    pub has_will: bool,
    pub label: Option<&'static str>,
    /// The limit by which it is counted.
    pub limit: Option<&'static str>,
    /// The time for which its client waits for something new, if it polls.
    pub poll: Option<Duration>,
    /// The time after which it ends.
    pub max_age: Option<Duration>,
    /// The ticket that its client has brought.
    pub offer: Option<Offer>,
    /// The number in its will: that of the stream for which the application was asked.
    pub will: u64,
    /// The number of events that were pushed to it.
    pub pushed: u64,
    /// The worker asked the hub to subscribe it in this time.
    pub asked: Option<(Instant, Instant)>,
    /// When that had taken effect at the latest: its handler has returned.
    pub began: Option<Instant>,
}

impl Stream {
    /// Returns true if its application was not asked.
    pub fn is_by_ticket(&self) -> bool {
        self.offer.as_ref().is_some_and(|offer| offer.is_admitted == Some(true))
    }
}

/// A ticket.
#[derive(Clone, Debug)]
pub struct Ticket {
    pub client: usize,
    /// The stream for which it was issued, and the data of its member.
    pub stream: u64,
    pub data: u8,
    /// When the application was asked.
    pub asked: Instant,
    /// The time from then for which it is valid at most.
    pub valid_for: Duration,
    pub sealed: Vec<u8>,
}

/// A ticket that a client brings.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Its index.
    pub ticket: usize,
    /// True if it is the ticket of another client.
    pub is_foreign: bool,
    /// When the hub was asked.
    pub opened: Option<(Instant, Instant)>,
    /// The hub's answer.
    pub is_admitted: Option<bool>,
}

/// A lease that a worker holds from one time to another, at least.
#[derive(Clone, Debug)]
pub struct Held {
    pub worker: usize,
    pub name: &'static str,
    pub from: Instant,
    pub to: Instant,
    /// When it was first seen that the worker no longer has it, without having given it back.
    pub lost: Option<Instant>,
}

/// The streams that are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meant {
    Label(&'static str),
    Channel(&'static str),
    /// The channels whose names begin so.
    Pattern(&'static str),
}

impl Meant {
    /// Returns true if it means a stream that reads these channels.
    pub fn is(&self, stream: &Stream, channels: &[&str]) -> bool {
        match self {
            Self::Label(label) => stream.label == Some(label),
            Self::Channel(name) => channels.contains(name),
            Self::Pattern(name) => channels.iter().any(|channel| channel.starts_with(name)),
        }
    }
}

/// Something that happens to the hub.
#[derive(Clone, Debug)]
pub enum Change {
    /// The process was killed or stopped, and another one began.
    Died,
    /// The process continued as another program.
    Upgraded,
    /// An upgrade was refused.
    NotUpgraded,
    /// Streams were ended, so that their clients do not come back if this is true.
    Ended(Meant, bool),
    /// The application has ended this stream.
    Closed(u64),
    /// The application changed the data of a member, if it was here.
    Updated(&'static str, u8, bool),
    /// The hub was drained within a time.
    Drained(Duration),
    /// A worker lost its connection.
    Cut,
}

/// The state of the hub when nothing happens any more.
#[derive(Clone, Debug, Default)]
pub struct Rest {
    /// When it was so.
    pub at: Option<Instant>,
    /// The members, their numbers of streams, and their data.
    pub members: BTreeMap<String, (u32, String)>,
    /// The clients whose streams are open.
    pub open: Vec<usize>,
    /// The subscribers of each channel, as the hub counts them.
    pub subscribers: BTreeMap<&'static str, u64>,
    /// The map of a page that has just begun.
    pub fresh_map: Map,
    /// For each lease that is wanted: how many workers hold it.
    pub holders: BTreeMap<&'static str, usize>,
    /// The limits that have a free place, as the hub says.
    pub free: Vec<&'static str>,
}

#[derive(Clone, Debug)]
pub struct Trace {
    /// True if the hub has a file.
    pub stored: bool,
    /// The client that reads everything, and is always there.
    pub auditor: usize,
    /// True if nothing is evicted: the bounds are wider than an episode.
    pub complete: bool,
    pub retry: Duration,
    pub publishes: Vec<Publish>,
    pub clients: Vec<Seen>,
    pub streams: BTreeMap<u64, Stream>,
    pub tickets: Vec<Ticket>,
    pub leases: Vec<Held>,
    pub changes: Vec<(Instant, Instant, Change)>,
    pub rest: Rest,
    /// Calls that did not return in time.
    pub stuck: Vec<String>,
}

impl Trace {
    /// Returns the newest stream of a client.
    pub fn newest_stream(&self, client: usize) -> Option<&Stream> {
        self.streams.values().rev().find(|stream| stream.client == client)
    }

    /// Returns true if an end means a stream.
    pub fn is_meant(&self, meant: &Meant, stream: &Stream) -> bool {
        meant.is(stream, &self.clients[stream.client].channels)
    }

    /// Returns true if a change of a kind overlaps a span.
    pub fn has_change(&self, from: Instant, to: Instant, is: impl Fn(&Change) -> bool) -> bool {
        self.changes.iter().any(|(began, ended, change)| *began <= to && *ended >= from && is(change))
    }

    /// Prints what happened, in the order of time.
    pub fn print(&self) {
        let mut lines: Vec<(Instant, String)> = Vec::new();
        for publish in &self.publishes {
            let Publish { worker, kind, data, once, outcome, .. } = publish;
            lines.push((publish.returned, format!("worker {worker}: {kind} {data:?} {once:?}: {outcome:?}")));
        }
        for (at, client) in self.clients.iter().enumerate() {
            lines.extend(client.items.iter().map(|(time, item)| (*time, format!("client {at}: {item:?}"))));
        }
        for (from, to, change) in &self.changes {
            lines.push((*from, format!("{change:?} begins")));
            lines.push((*to, format!("{change:?} ends")));
        }
        lines.sort();
        let Some(first) = lines.first().map(|(at, _)| *at) else { return };
        for (at, line) in &lines {
            println!("{:9.3} {line}", at.duration_since(first).as_secs_f64());
        }
        for (at, ticket) in self.tickets.iter().enumerate() {
            println!("ticket {at}: for stream {}, valid for {:?}", ticket.stream, ticket.valid_for);
        }
        for Held { worker, name, from, to, lost } in &self.leases {
            let [from, to] = [from, to].map(|at| at.duration_since(first).as_secs_f64());
            println!("worker {worker} holds {name} from {from:.3} to {to:.3}, lost: {}", lost.is_some());
        }
        for (number, stream) in &self.streams {
            println!("stream {number}: {stream:?}");
        }
        println!("{:?} stored {} complete {}", self.rest, self.stored, self.complete);
    }
}

/// Returns the place that an id stands for.
pub fn place(id: &str) -> Place {
    let mut parts = id.split('-');
    let epoch = parts.next().expect("an epoch").to_owned();
    (epoch, parts.next().and_then(|seq| seq.parse().ok()).unwrap_or_else(|| panic!("an id: {id:?}")))
}

/// Returns the number through which a client with this id needs no gap; 0 if it still needs one.
pub fn reported(id: &str) -> Option<u64> {
    id.split('-').nth(2).and_then(|number| number.parse().ok())
}

/// Returns the member of a join, an update or a leave.
pub fn member_of(data: &str) -> &str {
    data.split(' ').next().unwrap_or_default()
}
