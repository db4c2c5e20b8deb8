//! An event source that believes nobody: it knows what it is owed, and what it may be told.

use super::hub_naive::{matches, Naive, EPOCH};
use super::*;
use crate::hub::{OnSlow, Request, Topic};
use crate::parse::{Event, Parser};
use std::collections::{BTreeSet, VecDeque};

/// Takes a chunked body out of its chunks, a byte at a time.
enum Body {
    Plain,
    Size(String),
    Data(usize),
    /// So many bytes of the line end after a chunk.
    Break(usize),
    Ended,
}

impl Body {
    fn take(&mut self, byte: u8) -> Option<u8> {
        let (next, out) = match self {
            Self::Plain => (None, Some(byte)),
            Self::Size(text) => {
                text.push(byte.into());
                let size = text.strip_suffix("\r\n").map(|size| usize::from_str_radix(size, 16).expect("a size"));
                (size.map(|size| if size == 0 { Self::Ended } else { Self::Data(size) }), None)
            }
            Self::Data(left) => (Some(if *left == 1 { Self::Break(2) } else { Self::Data(*left - 1) }), Some(byte)),
            Self::Break(left) => {
                assert_eq!(byte, b"\n\r"[*left - 1], "a chunk ends with a line end");
                (Some(if *left == 1 { Self::Size(String::new()) } else { Self::Break(1) }), None)
            }
            Self::Ended => (None, None),
        };
        if let Some(next) = next {
            *self = next;
        }
        out
    }
}

/// What it is told of one connection.
pub(super) struct Connection {
    pub(super) stream: usize,
    head_left: usize,
    body: Body,
    /// The first block, as far as it is there.
    first: Option<String>,
    pub(super) follows: bool,
    /// Whether it ends without being sent what waits.
    pub(super) is_cut: bool,
    /// Whether its socket has always taken everything.
    pub(super) keeps_up: bool,
    pub(super) topics: Vec<Topic>,
    /// What was published to what it follows after its first place and was neither received nor excused.
    pub(super) owed: BTreeSet<u64>,
    /// The same of what it follows besides since a place: what was on its way before may say of nothing of that.
    owed_besides: VecDeque<(u64, BTreeSet<u64>)>,
    /// All of that, which may be something that it has from before it followed that no longer.
    besides: BTreeSet<u64>,
    /// Where it begins, while nothing was sent and it is told of nothing.
    begins: Option<u64>,
    /// Through which place it was told that something is forgotten.
    told: u64,
    /// The same, as its id said when it began: what is forgotten of that while it is told of the rest, it has heard of.
    knows: u64,
    /// The same, when it began to follow: then what is kept beyond the history is not sent.
    told_at_first: u64,
    /// How often it has to be told of a gap, whatever is forgotten.
    must_be_told: usize,
    /// How often it may go back in the order: it has begun to follow more than before.
    may_go_back: usize,
    last: u64,
    /// When it had everything last.
    caught_up: u64,
    /// The number of what was last pushed to it alone.
    pushed: u64,
}

/// An event source, from its first connection on.
#[derive(Default)]
pub(super) struct Visitor {
    pub(super) parser: Parser,
    received: BTreeSet<u64>,
    /// What it may be sent again: its last id is older than that, for it went back in the order.
    may_repeat: BTreeSet<u64>,
    /// Whether it has begun to follow more than before, with what is older than its last id.
    went_back: bool,
    /// Through which place it has heard of gaps, or what is forgotten is nothing to it.
    heard: u64,
    pub(super) connection: Option<Connection>,
    pub(super) gaps: u64,
    pub(super) events: u64,
}

pub(super) const HEAD: &str = "head\n";

impl Connection {
    pub(super) fn new(stream: usize, framing: Framing) -> Self {
        Self {
            stream,
            head_left: HEAD.len(),
            body: match framing {
                Framing::Plain => Body::Plain,
                Framing::Chunked => Body::Size(String::new()),
            },
            first: Some(String::new()),
            follows: false,
            is_cut: false,
            keeps_up: true,
            topics: Vec::new(),
            owed: BTreeSet::new(),
            owed_besides: VecDeque::new(),
            besides: BTreeSet::new(),
            begins: None,
            told: 0,
            knows: 0,
            told_at_first: 0,
            must_be_told: 0,
            may_go_back: 0,
            last: 0,
            caught_up: 0,
            pushed: 0,
        }
    }

    /// It asks for this, nothing or something having been sent before. What it follows twice counts once.
    fn follow(&mut self, request: &Request, is_sent: bool, naive: &Naive) {
        let known = self.topics.clone();
        for topic in &request.topics {
            if !self.topics.contains(topic) {
                self.topics.push(topic.clone());
            }
        }
        let added = self.topics[known.len()..].to_vec();
        if added.is_empty() {
            return;
        }
        let is_first = !std::mem::replace(&mut self.follows, true);
        let resumed = naive.resumed(request);
        let topics = added.clone();
        let start = || naive.start(&Request { topics, ..request.clone() });
        let place = resumed.map_or_else(start, |resumed| resumed.place);
        self.caught_up = self.caught_up.min(place);
        let told = resumed.and_then(|resumed| resumed.told);
        let everything = naive.after(&added, place, false);
        let is_invented = resumed.is_none() && request.after.is_some();
        let is_plain = !is_invented && told.is_none() && everything.iter().all(|place| naive.is_held(*place));
        let begins = Some(place).filter(|_| is_plain && !is_sent);
        // Who was never here is owed nothing that is forgotten, who knows of it neither.
        if is_first {
            self.knows = told.unwrap_or(0).min(naive.newest());
        }
        let knows = if resumed.is_none() { u64::MAX } else { told.unwrap_or(0) };
        let is_new = |place: u64| !known.iter().any(|topic| matches(topic, naive.event(place).channel));
        let is_owed = |place: &u64| (*place > knows || naive.is_held(*place)) && is_new(*place);
        let owed: BTreeSet<u64> = everything.into_iter().filter(is_owed).collect();
        let is_due = told == Some(0) && owed.iter().all(|place| naive.is_held(*place));
        self.must_be_told += usize::from(is_invented || is_due);
        if is_first || (begins.is_some() && begins == self.begins) {
            self.owed.extend(owed);
        } else {
            self.besides.extend(&owed);
            self.owed_besides.push_back((naive.newest(), owed));
            self.may_go_back += 1;
        }
        self.begins = begins.filter(|_| is_first || begins == self.begins);
    }

    /// From here on it counts what it follows besides, through the first of which that is so.
    fn go_on(&mut self, is_so: impl Fn(&(u64, BTreeSet<u64>)) -> bool) {
        let count = self.owed_besides.iter().position(is_so).map_or(0, |at| at + 1);
        self.owed.extend(self.owed_besides.drain(..count).flat_map(|(_, owed)| owed));
    }

    pub(super) fn unfollow(&mut self, topics: Option<&[Topic]>) {
        self.begins = None;
        self.topics.retain(|topic| topics.map_or(false, |topics| !topics.contains(topic)));
    }

    pub(super) fn published(&mut self, channel: &str, place: u64) {
        if self.topics.iter().any(|topic| matches(topic, channel)) {
            self.owed.insert(place);
        }
    }

    /// Whether it need not have been sent an event.
    fn is_excused(&self, place: u64, naive: &Naive) -> bool {
        let conflates = naive.settings.on_slow == OnSlow::Newest && naive.has_forgotten(place, self.caught_up);
        let told = if naive.is_kept(place) { self.told_at_first } else { self.told };
        (conflates && naive.is_superseded(place)) || (place <= told.max(self.knows) && !naive.is_held(place))
    }

    /// An id says that it has everything through a place.
    fn reach(&mut self, place: u64, naive: &Naive) {
        while self.owed_besides.front().map_or(false, |(newest, _)| place > *newest) {
            self.go_on(|_| true);
        }
        let passed: Vec<u64> = self.owed.range(..=place).copied().collect();
        for passed in passed {
            assert!(
                self.is_excused(passed, naive),
                "{passed} was never sent and nothing told of it: {:?}, at {place}, told {}",
                naive.event(passed),
                self.told
            );
            self.owed.remove(&passed);
        }
    }

    /// Nothing more is on its way to it.
    pub(super) fn has_everything(&mut self, naive: &Naive) {
        while !self.owed_besides.is_empty() {
            self.go_on(|_| true);
        }
        self.reach(naive.newest(), naive);
        assert_eq!(self.must_be_told, 0, "it was not told of the gap");
    }

    /// Whether history has overtaken it.
    pub(super) fn is_overtaken(&self, naive: &Naive) -> bool {
        let besides = self.owed_besides.iter().flat_map(|(_, owed)| owed);
        self.owed.iter().chain(besides).any(|place| !naive.is_held(*place))
    }

    /// The first block is a position, after comments at most.
    fn check_first(&mut self, byte: u8) {
        let is_whole = self.first.as_mut().map_or(false, |first| {
            first.push(byte.into());
            if first == ":\r\n\r\n" {
                first.clear();
            }
            first.ends_with("\n\n") || first.ends_with("\r\n\r\n")
        });
        if is_whole {
            let first = self.first.take().unwrap_or_default();
            let is_refused = first.starts_with("retry: ") || !self.follows;
            assert!(is_refused || first.starts_with("id: ") && first.matches('\n').count() == 2, "{first:?}");
        }
    }
}

/// The place that an id has in its text, and what it says of what was told.
fn position(id: &str) -> (u64, Option<u64>) {
    let mut numbers = id.strip_prefix(EPOCH).expect("the epoch").split('-').skip(1);
    let mut number = || numbers.next().map(|number| number.parse().expect("a number"));
    (number().expect("a place"), number())
}

impl Visitor {
    /// Its connection asks for this.
    pub(super) fn follow(&mut self, request: &Request, is_sent: bool, naive: &Naive) {
        let connection = self.connection.as_mut().expect("it has one");
        let is_first = !connection.follows;
        connection.follow(request, is_sent, naive);
        let nothing = request.after.as_ref().map_or(naive.newest(), |_| 0);
        let says = naive.resumed(request).and_then(|resumed| resumed.told);
        self.heard = self.heard.max(nothing).max(says.unwrap_or(0).min(naive.newest()));
        let received = &self.received;
        let again = || connection.owed.iter().copied().filter(|place| received.contains(place));
        if is_first {
            let place = naive.resumed(request).map_or(0, |resumed| resumed.place);
            self.may_repeat = again().collect();
            assert!(self.went_back || self.may_repeat.is_empty(), "{:?} is to come again", self.may_repeat);
            self.went_back &= received.range(place + 1..).next().is_some();
        } else if self.went_back {
            let again: Vec<u64> = again().collect();
            self.may_repeat.extend(again);
        }
        self.went_back |= !is_first;
    }

    pub(super) fn receive(&mut self, bytes: &[u8], naive: &Naive) {
        let mut connection = self.connection.take().expect("it has one");
        for byte in bytes {
            if connection.head_left > 0 {
                connection.head_left -= 1;
                continue;
            }
            if let Some(byte) = connection.body.take(*byte) {
                connection.check_first(byte);
                self.take(&mut connection, byte, naive);
            }
        }
        if connection.owed.is_empty() && connection.owed_besides.is_empty() {
            connection.caught_up = naive.newest();
        }
        self.connection = Some(connection);
    }

    fn take(&mut self, connection: &mut Connection, byte: u8, naive: &Naive) {
        let before = (byte == b'\n').then(|| self.parser.last_event_id().to_owned());
        self.parser.feed(&[byte]).expect("events are small");
        if let Some(event) = self.parser.next_event() {
            self.event(connection, &event, naive);
        } else if before.map_or(false, |before| before != self.parser.last_event_id()) {
            let (place, told) = position(self.parser.last_event_id());
            assert!(place <= naive.newest());
            assert!(told <= Some(self.heard), "it has not heard of a gap through {told:?}");
            connection.reach(place, naive);
        }
    }

    fn event(&mut self, connection: &mut Connection, event: &Event, naive: &Naive) {
        if event.event == "gap" {
            self.gaps += 1;
            Self::gap(connection, event, naive);
            self.heard = self.heard.max(connection.told);
            return;
        }
        let number = |text: &str| text.split(' ').next().and_then(|number| number.parse().ok());
        if let Some(number) = event.data.strip_prefix("pushed ").and_then(number) {
            assert!(number > connection.pushed, "what is pushed comes in order");
            connection.pushed = number;
            return;
        }
        let place: u64 = number(&event.data).expect("an event of the hub");
        self.events += 1;
        assert_eq!(event.last_event_id, naive.event(place).id);
        if !connection.owed.contains(&place) {
            connection.go_on(|(_, owed)| owed.contains(&place));
        }
        assert!(connection.owed.remove(&place), "{place} comes twice or was not asked for: {:?}", naive.event(place));
        let is_new = self.received.insert(place);
        let mut may_repeat = || self.may_repeat.remove(&place) || connection.besides.remove(&place);
        assert!(is_new || may_repeat(), "{place} comes again");
        if place < connection.last {
            assert!(connection.may_go_back > 0, "{place} comes after {}", connection.last);
            connection.may_go_back -= 1;
        }
        connection.last = place;
        connection.reach(place - 1, naive);
    }

    fn gap(connection: &mut Connection, gap: &Event, naive: &Naive) {
        let (place, told) = position(&gap.last_event_id);
        connection.reach(place, naive);
        let is_forced = gap.data == r#"{"reason":"unknown"}"#;
        if is_forced {
            assert!(connection.must_be_told > 0, "it is told of a gap that is none");
            connection.must_be_told -= 1;
        } else {
            let told = told.expect("what is forgotten is forgotten through a place");
            if told <= connection.told || !connection.owed.contains(&told) {
                assert!(connection.besides.contains(&told), "it is told again, or of what it has: {gap:?}");
                connection.go_on(|(_, owed)| owed.contains(&told));
            }
            assert!(!naive.is_held(told), "it is told of what is not forgotten");
        }
        connection.told = connection.told.max(told.unwrap_or(0));
        if gap.data == r#"{"reason":"slow"}"# {
            assert!(!connection.keeps_up, "it was not slow");
        } else {
            connection.told_at_first = connection.told;
        }
    }
}
