//! An event source that believes nobody: it knows what it is owed, and what it may be told.

use super::hub_naive::{matches, Naive, Resumed, EPOCH};
use super::*;
use crate::hub::{OnSlow, Request, Topic};
use crate::parse::{Event, Parser};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

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

/// How an event that is owed may be excused.
#[derive(Clone, Copy, Debug, Default)]
struct Terms {
    /// How many gaps were told before it was asked for: those excuse nothing.
    gaps: usize,
    /// Through which place what it was asked for with had lost something: up to there a gap excuses also the newest of keys.
    floor: u64,
    /// Through which place the client said that it knows of a gap.
    knows: u64,
}

/// A later subscription, which is effective from so many bytes of the response on.
#[derive(Debug)]
struct Join {
    from_byte: usize,
    owed: Vec<(u64, Terms)>,
    must_be_told: bool,
}

/// A subscription that is held until its handler returns.
struct Held {
    request: Request,
    added: Vec<Topic>,
    resumed: Option<Resumed>,
    start: u64,
}

/// What it is told of one connection.
pub(super) struct Connection {
    pub(super) stream: usize,
    head_left: usize,
    body: Body,
    /// The first block, as far as it is there.
    first: Option<String>,
    /// How many bytes of the response were received.
    bytes: usize,
    pub(super) follows: bool,
    /// Whether it ends without being sent what waits.
    pub(super) is_cut: bool,
    /// Whether its socket has always taken everything.
    pub(super) keeps_up: bool,
    pub(super) topics: Vec<Topic>,
    held: Vec<Held>,
    joins: VecDeque<Join>,
    /// What was asked for again while it was still owed: it may be told of that again.
    asked_again: BTreeSet<u64>,
    /// What was published to what it follows after its first place and was neither received nor excused.
    owed: BTreeMap<u64, Terms>,
    /// Through which places it was told that something is forgotten, a gap at a time.
    gaps: Vec<u64>,
    /// How often it has to be told of a gap, whatever is forgotten.
    must_be_told: usize,
    /// How often it may go back in the order: it has begun to follow more than before.
    may_go_back: usize,
    last: u64,
    /// When it had everything last.
    caught_up: u64,
    /// Whether it began with what is left of a history that had lost something.
    began_with_loss: bool,
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
            bytes: 0,
            follows: false,
            is_cut: false,
            keeps_up: true,
            topics: Vec::new(),
            held: Vec::new(),
            joins: VecDeque::new(),
            asked_again: BTreeSet::new(),
            owed: BTreeMap::new(),
            gaps: Vec::new(),
            must_be_told: 0,
            may_go_back: 0,
            last: 0,
            caught_up: 0,
            began_with_loss: false,
            pushed: 0,
        }
    }

    /// What is asked for that was not asked for before; it counts as asked for from here on.
    fn add(&mut self, request: &Request) -> Vec<Topic> {
        let known = self.topics.len();
        for topic in &request.topics {
            if !self.topics.contains(topic) {
                self.topics.push(topic.clone());
            }
        }
        self.topics[known..].to_vec()
    }

    /// What is owed to one who asks for some topics, from a place on, and knows others already; and whether something of it
    /// is forgotten that its client does not know of.
    fn owed(
        &self,
        added: &[Topic],
        known: &[Topic],
        seq: u64,
        resumed: Option<Resumed>,
        naive: &Naive,
    ) -> (Vec<(u64, Terms)>, bool) {
        let everything = naive.after(added, seq, false);
        // Who was never here is owed nothing that is forgotten, who knows of it neither.
        let told = resumed.and_then(|resumed| resumed.told).unwrap_or(0).min(naive.newest());
        let is_new = |seq: u64| !known.iter().any(|topic| matches(topic, naive.event(seq).channel));
        let is_gone = |seq: u64| !naive.is_held(seq);
        let floor = everything.iter().copied().filter(|seq| is_gone(*seq) && is_new(*seq)).max().unwrap_or(0);
        let knows = if resumed.is_none() { u64::MAX } else { told };
        let is_owed = |seq: &u64| (*seq > knows || naive.is_held(*seq)) && is_new(*seq);
        let terms = Terms { gaps: 0, floor, knows: told };
        let owed: Vec<_> = everything.into_iter().filter(is_owed).map(|seq| (seq, terms)).collect();
        let is_missed = owed.iter().any(|(seq, _)| is_gone(*seq));
        (owed, is_missed)
    }

    /// It asks for this in its handler, or before anything else.
    fn hold(&mut self, request: &Request, naive: &Naive) {
        let added = self.add(request);
        if !added.is_empty() {
            let resumed = naive.resumed(request, &self.topics);
            let start = naive.start(&Request { topics: added.clone(), ..request.clone() });
            self.follows = true;
            self.held.push(Held { request: request.clone(), added, resumed, start });
        }
    }

    /// What it has asked for is one request: its handler has returned.
    fn begin(&mut self, naive: &Naive) -> (Option<Resumed>, u64, u64) {
        let (mut is_missed, mut is_forced) = (false, false);
        let mut known: Vec<Topic> = Vec::new();
        let (mut first, mut least, mut told) = (None, u64::MAX, 0);
        self.owed.clear(); // what was published meanwhile is found again
        for Held { request, added, resumed, start } in std::mem::take(&mut self.held) {
            let resumed = resumed.or_else(|| naive.resumed(&request, &self.topics));
            let seq = resumed.map_or(start, |resumed| resumed.seq);
            self.caught_up = self.caught_up.min(seq);
            least = least.min(seq);
            told = told.max(resumed.and_then(|resumed| resumed.told).unwrap_or(0));
            let (owed, misses) = self.owed(&added, &known, seq, resumed, naive);
            is_missed |= misses;
            is_forced |= request.after.is_some() && resumed.map_or(true, |resumed| resumed.told == Some(0));
            self.began_with_loss |= resumed.is_none() && owed.iter().any(|(_, terms)| terms.floor > 0);
            self.owed.extend(owed);
            known.extend(added);
            first = first.or(resumed);
        }
        self.must_be_told += usize::from(is_forced && !is_missed);
        (first, least, told)
    }

    /// It asks for more later, when so many bytes of its response are sent or buffered.
    fn join(&mut self, request: &Request, from_byte: usize, naive: &Naive) {
        let known = self.topics.clone();
        let added = self.add(request);
        if added.is_empty() {
            return;
        }
        self.follows = true;
        let resumed = naive.resumed(request, &self.topics);
        let start = || naive.start(&Request { topics: added.clone(), ..request.clone() });
        let seq = resumed.map_or_else(start, |resumed| resumed.seq);
        self.caught_up = self.caught_up.min(seq);
        let (owed, is_missed) = self.owed(&added, &known, seq, resumed, naive);
        self.began_with_loss |= resumed.is_none() && owed.iter().any(|(_, terms)| terms.floor > 0);
        let is_forced = request.after.is_some() && resumed.map_or(true, |resumed| resumed.told == Some(0));
        self.joins.push_back(Join { from_byte, owed, must_be_told: is_forced && !is_missed });
    }

    /// Makes the later subscriptions effective whose place in the response is reached. Answers what is owed for them.
    fn go_on(&mut self) -> Vec<u64> {
        let mut all = Vec::new();
        while let Some(join) =
            self.joins.front().map_or(false, |join| join.from_byte <= self.bytes).then(|| self.joins.pop_front())
        {
            let join = join.expect("it is there");
            self.must_be_told += usize::from(join.must_be_told);
            self.may_go_back += 1;
            all.extend(join.owed.iter().map(|(seq, _)| *seq));
            for (seq, terms) in join.owed {
                if self.owed.contains_key(&seq) {
                    self.asked_again.insert(seq);
                }
                self.owed.entry(seq).or_insert(Terms { gaps: self.gaps.len(), ..terms });
            }
        }
        all
    }

    pub(super) fn unsubscribe(&mut self, topics: Option<&[Topic]>) {
        let was_held = self.is_held();
        self.topics.retain(|topic| topics.map_or(false, |topics| !topics.contains(topic)));
        for held in &mut self.held {
            held.added.retain(|topic| topics.map_or(false, |topics| !topics.contains(topic)));
        }
        self.held.retain(|held| !held.added.is_empty());
        if was_held {
            self.owed.clear();
        }
    }

    pub(super) fn published(&mut self, channel: &str, seq: u64) {
        if self.topics.iter().any(|topic| matches(topic, channel)) {
            self.owed.insert(seq, Terms::default());
        }
    }

    pub(super) fn is_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether a gap was told that excuses an event.
    fn is_told(&self, seq: u64, terms: &Terms) -> bool {
        self.gaps[terms.gaps..].iter().any(|told| seq <= *told)
    }

    /// Whether it need not have been sent an event.
    fn is_excused(&self, seq: u64, terms: &Terms, naive: &Naive) -> bool {
        let conflates = naive.settings.on_slow == OnSlow::Newest && naive.has_forgotten(seq, self.caught_up);
        if conflates && naive.is_superseded(seq) {
            return true;
        }
        if naive.is_held(seq) || (naive.is_kept(seq) && seq > terms.floor) {
            return false;
        }
        seq <= terms.knows || self.is_told(seq, terms)
    }

    /// An id says that it has everything through a place.
    fn reach(&mut self, seq: u64, naive: &Naive) {
        let passed: Vec<(u64, Terms)> = self.owed.range(..=seq).map(|(passed, terms)| (*passed, *terms)).collect();
        for (passed, terms) in passed {
            assert!(
                self.is_excused(passed, &terms, naive),
                "{passed} was never sent and nothing told of it: {:?}, at {seq}, told {:?}, {terms:?}, {:?}",
                naive.event(passed),
                self.gaps,
                naive.settings
            );
            self.owed.remove(&passed);
        }
    }

    /// Nothing more is on its way to it.
    pub(super) fn has_everything(&mut self, naive: &Naive) {
        self.go_on();
        assert!(self.joins.is_empty(), "it was sent less than was buffered for it");
        self.reach(naive.newest(), naive);
        assert_eq!(self.must_be_told, 0, "it was not told of the gap");
    }

    /// Whether history has overtaken it.
    pub(super) fn is_overtaken(&self, naive: &Naive) -> bool {
        let joined = self.joins.iter().flat_map(|join| join.owed.iter().map(|(seq, _)| seq));
        self.owed.keys().chain(joined).any(|seq| !naive.is_held(*seq))
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
            let is_refused = first.starts_with("retry: ") || self.topics.is_empty();
            assert!(is_refused || first.starts_with("id: ") && first.matches('\n').count() == 2, "{first:?}");
        }
    }
}

/// The place that an id has in its text, and what it says of what was told.
fn position(id: &str) -> (u64, Option<u64>) {
    let mut numbers = id.strip_prefix(EPOCH).expect("the epoch").split('-').skip(1);
    let mut number = || numbers.next().map(|number| number.parse().expect("a number"));
    (number().expect("a seq"), number())
}

impl Visitor {
    /// The handler of its connection asks for this.
    pub(super) fn hold(&mut self, request: &Request, naive: &Naive) {
        let connection = self.connection.as_mut().expect("it has one");
        connection.hold(request, naive);
        let nothing = request.after.as_ref().map_or(naive.newest(), |_| 0);
        self.heard = self.heard.max(nothing);
    }

    /// The handler has returned.
    pub(super) fn begin(&mut self, naive: &Naive) {
        let connection = self.connection.as_mut().expect("it has one");
        let (resumed, seq, told) = connection.begin(naive);
        self.heard = self.heard.max(told.min(naive.newest()));
        let received = &self.received;
        self.may_repeat = connection.owed.keys().copied().filter(|seq| received.contains(seq)).collect();
        // With an id that says nothing to these channels it begins anew, and each request may say something else.
        self.went_back |= resumed.map_or(true, |resumed| seq < resumed.seq);
        assert!(self.went_back || self.may_repeat.is_empty(), "{:?} is to come again: {resumed:?}", self.may_repeat);
        self.went_back &= received.range(seq.saturating_add(1)..).next().is_some();
    }

    /// Its connection asks for more, later.
    pub(super) fn join(&mut self, request: &Request, from_byte: usize, naive: &Naive) {
        let connection = self.connection.as_mut().expect("it has one");
        connection.join(request, from_byte, naive);
        let says = naive.resumed(request, &connection.topics).and_then(|resumed| resumed.told);
        let nothing = request.after.as_ref().map_or(naive.newest(), |_| 0);
        self.heard = self.heard.max(nothing).max(says.unwrap_or(0).min(naive.newest()));
        self.went_back = true;
    }

    pub(super) fn receive(&mut self, bytes: &[u8], naive: &Naive) {
        let mut connection = self.connection.take().expect("it has one");
        for byte in bytes {
            let owed = connection.go_on();
            self.may_repeat.extend(owed.into_iter().filter(|seq| self.received.contains(seq)));
            connection.bytes += 1;
            if connection.head_left > 0 {
                connection.head_left -= 1;
                continue;
            }
            if let Some(byte) = connection.body.take(*byte) {
                connection.check_first(byte);
                self.take(&mut connection, byte, naive);
            }
        }
        if connection.owed.is_empty() && connection.joins.is_empty() {
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
            let (seq, told) = position(self.parser.last_event_id());
            assert!(seq <= naive.newest());
            assert!(told <= Some(self.heard), "it has not heard of a gap through {told:?}");
            connection.reach(seq, naive);
        }
    }

    fn event(&mut self, connection: &mut Connection, event: &Event, naive: &Naive) {
        if event.event == "gap" {
            self.gaps += 1;
            Self::gap(connection, event, naive);
            self.heard = self.heard.max(connection.gaps.last().copied().unwrap_or(0));
            return;
        }
        let number = |text: &str| text.split(' ').next().and_then(|number| number.parse().ok());
        if let Some(number) = event.data.strip_prefix("pushed ").and_then(number) {
            assert!(number > connection.pushed, "what is pushed comes in order");
            connection.pushed = number;
            return;
        }
        let seq: u64 = number(&event.data).expect("an event of the hub");
        self.events += 1;
        assert_eq!(event.last_event_id, naive.event(seq).id);
        let was_owed = connection.owed.remove(&seq).is_some();
        assert!(was_owed, "{seq} comes twice or was not asked for: {:?}", naive.event(seq));
        let is_new = self.received.insert(seq);
        assert!(is_new || self.may_repeat.remove(&seq), "{seq} comes again");
        if seq < connection.last {
            assert!(connection.may_go_back > 0, "{seq} comes after {}", connection.last);
            connection.may_go_back -= 1;
        }
        connection.last = seq;
        connection.reach(seq - 1, naive);
    }

    fn gap(connection: &mut Connection, gap: &Event, naive: &Naive) {
        let (seq, told) = position(&gap.last_event_id);
        connection.reach(seq, naive);
        let is_forced = gap.data == r#"{"reason":"unknown"}"#;
        if is_forced {
            assert!(connection.must_be_told > 0, "it is told of a gap that is none");
            connection.must_be_told -= 1;
        } else {
            let told = told.expect("what is forgotten is forgotten through a seq");
            let is_missed = |(seq, terms): (&u64, &Terms)| {
                let is_told = connection.is_told(*seq, terms) && !connection.asked_again.contains(seq);
                !naive.is_held(*seq) && !is_told
            };
            // A slow one that began with a history which had lost something, and wants the newest of each key: whether what
            // else is lost meanwhile was older the hub does not know, and tells it.
            let is_newest = naive.settings.on_slow == OnSlow::Newest;
            let is_unsure = is_newest && !connection.keeps_up && connection.began_with_loss;
            let news = connection.owed.range(..=told).any(is_missed);
            assert!(news || is_unsure, "it is told again, or of what is not forgotten: {gap:?}");
        }
        connection.gaps.push(told.unwrap_or(0));
        if gap.data == r#"{"reason":"slow"}"# {
            assert!(!connection.keeps_up, "it was not slow");
        }
    }
}
