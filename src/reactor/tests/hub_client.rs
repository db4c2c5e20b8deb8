//! A strict event source: it knows which events it is owed, and fails on any event, position or gap that is wrong.

use super::hub_naive::{matches, Naive, ResumePoint, EPOCH};
use super::hub_steps::CHANNELS;
use super::*;
use crate::compression::tests::decoder::Decoder;
use crate::compression::ContentCoding;
use crate::hub::{FirstBlock, OnSlow, PositionStyle, SubscribeRequest, Topic};
use crate::parse::{Event, Parser};
use std::collections::{BTreeMap, BTreeSet};

/// Decodes the body of a response, a byte at a time.
enum BodyDecoder {
    Plain,
    Size(String),
    Data(usize),
    /// The number of bytes left of the line end after a chunk.
    Break(usize),
    Ended,
}

impl BodyDecoder {
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
                assert_eq!(byte, b"\n\r"[*left - 1], "a chunk ends with CRLF");
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

/// Decides whether the current block has an id of its own: without one, a position event repeats the last id, and says nothing.
#[derive(Default)]
struct BlockDecoder {
    line: String,
    has_id: bool,
    is_over: bool,
}

impl BlockDecoder {
    fn take(&mut self, byte: u8) {
        match byte {
            b'\r' => {}
            b'\n' => {
                self.is_over = self.line.is_empty();
                self.line.clear();
            }
            _ => {
                self.has_id &= !std::mem::take(&mut self.is_over);
                self.line.push(byte.into());
                self.has_id |= self.line == "id:";
            }
        }
    }
}

/// The terms on which an owed event need not arrive.
#[derive(Clone, Copy, Debug, Default)]
struct Terms {
    /// Events up to this sequence number were evicted when the subscription was made. Up to it a gap also excuses entries
    /// that compaction has kept.
    floor: u64,
    /// The client has said that it knows of a gap through this sequence number.
    known_gap: u64,
}

/// A subscription that is held until its handler returns.
struct Held {
    request: SubscribeRequest,
    added: Vec<Topic>,
    /// The topics that the stream had before.
    before: Vec<Topic>,
    resume_point: Option<ResumePoint>,
    start: u64,
}

/// One connection of an event source.
pub(super) struct Connection {
    pub(super) stream: usize,
    head_left: usize,
    body: BodyDecoder,
    content: Decoder,
    /// The first block, as far as it was received. None if it was received to its end.
    first: Option<String>,
    /// The form of the first block.
    pub(super) first_block: FirstBlock,
    /// The line and the block that are being received.
    block: BlockDecoder,
    /// The ids with which subscriptions resumed.
    pub(super) is_subscribed: bool,
    /// True if the stream ends without being sent its buffer.
    pub(super) is_cut: bool,
    /// True if the socket has always taken everything.
    pub(super) keeps_up: bool,
    pub(super) topics: Vec<Topic>,
    held: Vec<Held>,
    /// Events after the first position that were published to the topics and neither received nor excused.
    owed: BTreeMap<u64, Terms>,
    /// The sequence numbers through which gaps have reported evictions.
    gaps: Vec<u64>,
    /// The number of gaps that have to come whether or not something was evicted.
    gaps_due: usize,
    /// True if a later subscription was from before the merged evictions of channels whose names the hub no longer knows.
    may_err: bool,
    last: u64,
    /// The newest sequence number at the last time when nothing was owed.
    caught_up: u64,
    /// True if it began with a log that had evicted something.
    began_with_loss: bool,
    /// True if a pattern began before a channel of its own that belongs to an earlier request.
    pub(super) leaves_out: bool,
    /// The number of the last pushed event.
    pushed: u64,
}

/// An event source, with what it remembers from one connection to the next.
#[derive(Default)]
pub(super) struct EventSource {
    pub(super) parser: Parser,
    received: BTreeSet<u64>,
    /// Events that may come again: the last id is older, because the order went back.
    may_repeat: BTreeSet<u64>,
    /// True if a later subscription began with events older than the last id.
    went_back: bool,
    /// The last id of a client that went back, if the hub did not know the id: it still counts until there is another.
    went_back_at: Option<String>,
    /// Evictions through this sequence number were reported, or do not concern it.
    known_gap: u64,
    pub(super) connection: Option<Connection>,
    pub(super) gaps: u64,
    pub(super) events: u64,
}

pub(super) const HEAD: &str = "head\n";

impl Connection {
    pub(super) fn new(stream: usize, framing: Framing, coding: ContentCoding) -> Self {
        Self {
            stream,
            head_left: HEAD.len(),
            body: match framing {
                Framing::Plain => BodyDecoder::Plain,
                Framing::Chunked => BodyDecoder::Size(String::new()),
            },
            content: Decoder::new(coding),
            first: Some(String::new()),
            first_block: FirstBlock::default(),
            block: BlockDecoder::default(),
            is_subscribed: false,
            is_cut: false,
            keeps_up: true,
            topics: Vec::new(),
            held: Vec::new(),
            owed: BTreeMap::new(),
            gaps: Vec::new(),
            gaps_due: 0,
            may_err: false,
            last: 0,
            caught_up: 0,
            began_with_loss: false,
            leaves_out: false,
            pushed: 0,
        }
    }

    /// Adds topics of a request. Returns those that are new.
    fn add(&mut self, topics: &[Topic]) -> Vec<Topic> {
        let known = self.topics.len();
        for topic in topics {
            if !self.topics.contains(topic) {
                self.topics.push(topic.clone());
            }
        }
        self.topics[known..].to_vec()
    }

    /// Returns what is owed for the topics in `added` after `seq`, without that of topics before them, and whether some of it
    /// was evicted without the client's knowledge.
    fn owed(
        &self,
        (added, before): (&[Topic], &[Topic]),
        seq: u64,
        resume_point: Option<ResumePoint>,
        naive: &Naive,
    ) -> (Vec<(u64, Terms)>, bool) {
        let mut everything = naive.after(added, seq, false);
        everything.retain(|seq| !before.iter().any(|topic| matches(topic, naive.event(*seq).channel)));
        // A new client is not owed evicted events, nor is a client that knows of their eviction.
        let told = resume_point.and_then(|resume_point| resume_point.known_gap).unwrap_or(0).min(naive.newest());
        let is_evicted = |seq: u64| !naive.is_in_log(seq);
        let floor = everything.iter().copied().filter(|seq| is_evicted(*seq)).max().unwrap_or(0);
        let known_gap = if resume_point.is_none() { u64::MAX } else { told };
        let is_owed = |seq: &u64| *seq > known_gap || naive.is_in_log(*seq);
        let terms = Terms { floor, known_gap: told };
        let owed: Vec<_> = everything.into_iter().filter(is_owed).map(|seq| (seq, terms)).collect();
        let is_missed = owed.iter().any(|(seq, _)| is_evicted(*seq));
        (owed, is_missed)
    }

    /// Subscribes before the first event: in the handler.
    fn hold(&mut self, request: &SubscribeRequest, naive: &Naive) {
        for (topics, start) in request.groups() {
            let before = self.topics.clone();
            let added = self.add(topics);
            if !added.is_empty() {
                if self.held.is_empty() {
                    self.first = Some(String::new());
                    self.first_block = request.first_block;
                }
                let resume_point = naive.resume_point(request);
                let start = naive.start(start, &added, &before);
                self.is_subscribed = true;
                self.held.push(Held { request: request.clone(), added, before, resume_point, start });
            }
        }
    }

    /// Makes the held subscriptions effective as one: the handler has returned.
    fn begin(&mut self, naive: &Naive) -> (Option<ResumePoint>, u64, u64) {
        let (mut is_missed, mut is_forced) = (false, false);
        let (mut first, mut least, mut told) = (None, u64::MAX, 0);
        self.owed.clear(); // events published meanwhile are found again below
        for Held { request, added, before, resume_point, start } in std::mem::take(&mut self.held) {
            let seq = resume_point.map_or(start, |resume_point| resume_point.seq);
            self.caught_up = self.caught_up.min(seq);
            least = least.min(seq);
            told = told.max(resume_point.and_then(|resume_point| resume_point.known_gap).unwrap_or(0));
            let (owed, misses) = self.owed((&added, &before), seq, resume_point, naive);
            let is_left_out = |seq: &u64| before.iter().any(|topic| matches(topic, naive.event(*seq).channel));
            self.leaves_out |= resume_point.is_none() && naive.after(&added, seq, false).iter().any(is_left_out);
            is_missed |= misses;
            is_forced |=
                request.after.is_some() && resume_point.map_or(true, |resume_point| resume_point.known_gap == Some(0));
            self.began_with_loss |= resume_point.is_none() && owed.iter().any(|(_, terms)| terms.floor > 0);
            self.owed.extend(owed);
            first = first.or(resume_point);
        }
        self.gaps_due += usize::from(is_forced && !is_missed);
        (first, least, told)
    }

    /// Subscribes later: it is owed new events. If its id says that it has missed something of the new topics, a gap is due.
    fn join(&mut self, request: &SubscribeRequest, naive: &Naive) {
        let added = self.add(&request.topics);
        if added.is_empty() || request.after.is_none() {
            return;
        }
        let misses = naive.resume_point(request).map_or(true, |ResumePoint { seq, known_gap }| {
            let told = known_gap.unwrap_or(0).min(naive.newest());
            let is_missed = |seq: &u64| *seq > told || naive.is_in_log(*seq);
            self.may_err |= seq.max(told) < naive.merged_through;
            known_gap == Some(0) || naive.after(&added, seq, false).iter().any(is_missed)
        });
        self.gaps_due += usize::from(misses);
    }

    pub(super) fn published(&mut self, channel: &str, seq: u64) {
        if self.topics.iter().any(|topic| matches(topic, channel)) {
            self.owed.insert(seq, Terms::default());
        }
    }

    pub(super) fn is_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Returns true if a gap has reported an event.
    fn is_covered(&self, seq: u64) -> bool {
        self.gaps.iter().any(|told| seq <= *told)
    }

    /// Returns true if an owed event need not arrive.
    fn is_excused(&self, seq: u64, terms: &Terms, naive: &Naive) -> bool {
        let channel = naive.event(seq).channel;
        let conflates = naive.has_had([channel], OnSlow::Latest) && naive.has_evicted(seq, self.caught_up);
        if conflates && naive.is_superseded(seq) {
            return true;
        }
        if naive.is_in_log(seq) || (naive.is_compacted(seq) && seq > terms.floor) {
            return false;
        }
        seq <= terms.known_gap || self.is_covered(seq)
    }

    /// Checks a position: everything up to it was received or is excused.
    fn reach(&mut self, seq: u64, naive: &Naive) {
        let passed: Vec<(u64, Terms)> = self.owed.range(..=seq).map(|(passed, terms)| (*passed, *terms)).collect();
        for (passed, terms) in passed {
            assert!(
                self.is_excused(passed, &terms, naive),
                "{passed} was neither sent nor reported: {:?}, at {seq}, gaps {:?}, {terms:?}, {:?}",
                naive.event(passed),
                self.gaps,
                naive.settings
            );
            self.owed.remove(&passed);
        }
    }

    /// Checks a client for which nothing more is buffered or on its way.
    pub(super) fn check_complete(&mut self, naive: &Naive) {
        self.reach(naive.newest(), naive);
        assert!(self.gaps_due == 0 || naive.merged_through > 0, "a gap was not reported");
    }

    /// Returns true if something owed was evicted that ends a slow client's stream.
    pub(super) fn is_overtaken(&self, naive: &Naive) -> bool {
        let ends = |seq: u64| naive.has_had([naive.event(seq).channel], OnSlow::Disconnect);
        self.owed.keys().any(|seq| !naive.is_in_log(*seq) && ends(*seq))
    }

    /// Checks that the first block, except for comments, is a position. A retry alone is a line.
    fn check_first(&mut self, byte: u8) {
        let FirstBlock { position, retry, keeps_id, .. } = self.first_block;
        let retry = retry.map(|retry| format!("retry: {retry}"));
        let has_id = position != PositionStyle::None && !keeps_id;
        let is_whole = self.first.as_mut().map_or(false, |first| {
            first.push(byte.into());
            if first == ":\n" || first == ":\r\n" {
                first.clear();
            }
            let is_retry = first.starts_with("retry: ") && first.ends_with('\n');
            let is_alone = is_retry && (!has_id || retry.as_deref() != Some(first.trim_end()));
            is_alone || first.ends_with("\n\n") || first.ends_with("\r\n\r\n")
        });
        if is_whole {
            let first = self.first.take().unwrap_or_default();
            let lines: Vec<&str> = first.lines().filter(|line| !line.is_empty()).collect();
            let (event, data) = match position {
                PositionStyle::Event if retry.is_some() || !keeps_id => (Some("event: position"), Some("data: ")),
                _ => (None, None),
            };
            let expected: Vec<&str> = [event, retry.as_deref(), data].into_iter().flatten().collect();
            let is_refused = lines.len() == 1 && lines[0].starts_with("retry: ");
            let (fields, id) = lines.split_at(lines.len() - usize::from(has_id));
            let is_first = fields == expected && id.iter().all(|id| id.starts_with("id: "));
            assert!(is_refused || (expected.is_empty() && !has_id) || is_first, "{first:?} {:?}", self.first_block);
        }
    }
}

/// Parses an id: its sequence number, and through which number a gap was reported.
fn position(id: &str) -> (u64, Option<u64>) {
    let mut numbers = id.strip_prefix(EPOCH).expect("the epoch").split('-').skip(1);
    let mut number = || numbers.next().map(|number| number.parse().expect("a number"));
    (number().expect("a sequence number"), number())
}

impl EventSource {
    /// Subscribes in the handler.
    pub(super) fn hold(&mut self, request: &SubscribeRequest, naive: &Naive) {
        let connection = self.connection.as_mut().expect("a connected source");
        connection.hold(request, naive);
        let nothing = request.after.as_ref().map_or(naive.newest(), |_| 0);
        self.known_gap = self.known_gap.max(nothing);
    }

    /// Begins: the handler has returned.
    pub(super) fn begin(&mut self, naive: &Naive) {
        let connection = self.connection.as_mut().expect("a connected source");
        let (resume_point, seq, told) = connection.begin(naive);
        self.known_gap = self.known_gap.max(told.min(naive.newest()));
        let id = self.parser.last_event_id();
        self.went_back |= self.went_back_at.take().map_or(false, |at| at == id);
        self.went_back_at = Some(id.to_owned()).filter(|_| self.went_back && resume_point.is_none());
        let received = &self.received;
        self.may_repeat = connection.owed.keys().copied().filter(|seq| received.contains(seq)).collect();
        // With an id that is unknown to these channels it begins anew, and each request may resume at another point.
        self.went_back |= resume_point.map_or(true, |resume_point| seq < resume_point.seq);
        assert!(
            self.went_back || self.may_repeat.is_empty(),
            "{:?} would come again: {resume_point:?}",
            self.may_repeat
        );
        self.went_back &= received.range(seq.saturating_add(1)..).next().is_some();
    }

    /// Subscribes later.
    pub(super) fn join(&mut self, request: &SubscribeRequest, naive: &Naive) {
        self.connection.as_mut().expect("a connected source").join(request, naive);
    }

    pub(super) fn receive(&mut self, bytes: &[u8], naive: &Naive) {
        let mut connection = self.connection.take().expect("a connected source");
        for byte in bytes {
            if connection.head_left > 0 {
                connection.head_left -= 1;
                continue;
            }
            for byte in connection.body.take(*byte).map_or_else(Vec::new, |byte| connection.content.receive_byte(byte))
            {
                connection.check_first(byte);
                connection.block.take(byte);
                self.receive_byte(&mut connection, byte, naive);
            }
        }
        if connection.owed.is_empty() {
            connection.caught_up = naive.newest();
        }
        self.connection = Some(connection);
    }

    fn receive_byte(&mut self, connection: &mut Connection, byte: u8, naive: &Naive) {
        let before = (byte == b'\n').then(|| self.parser.last_event_id().to_owned());
        self.parser.feed(&[byte]).expect("events are small");
        if let Some(event) = self.parser.next_event() {
            self.receive_event(connection, &event, naive);
        } else if before.map_or(false, |before| before != self.parser.last_event_id()) {
            self.receive_position(connection, naive);
        }
    }

    fn receive_position(&mut self, connection: &mut Connection, naive: &Naive) {
        let (seq, told) = position(self.parser.last_event_id());
        assert!(seq <= naive.newest());
        assert!(naive.is_known(seq), "the client could not resume with the position {seq}");
        assert!(told <= Some(self.known_gap), "the id claims a gap through {told:?} that was not reported");
        connection.reach(seq, naive);
    }

    fn receive_event(&mut self, connection: &mut Connection, event: &Event, naive: &Naive) {
        if event.event == "gap" {
            self.gaps += 1;
            Self::receive_gap(connection, event, naive);
            self.known_gap = self.known_gap.max(connection.gaps.last().copied().unwrap_or(0));
            return;
        }
        if event.event == "position" {
            assert_eq!((&*event.data, &*event.last_event_id), ("", self.parser.last_event_id()));
            if connection.block.has_id {
                self.receive_position(connection, naive);
            }
            return;
        }
        let number = |text: &str| text.split(' ').next().and_then(|number| number.parse().ok());
        if let Some(number) = event.data.strip_prefix("pushed ").and_then(number) {
            assert!(number > connection.pushed, "pushed events come in order");
            connection.pushed = number;
            return;
        }
        let seq: u64 = number(&event.data).expect("an event of the hub");
        self.events += 1;
        assert_eq!(event.last_event_id, naive.event(seq).id);
        let was_owed = connection.owed.remove(&seq).is_some();
        assert!(was_owed, "{seq} comes twice or belongs to no topic: {:?}", naive.event(seq));
        let is_new = self.received.insert(seq);
        assert!(is_new || self.may_repeat.remove(&seq), "{seq} comes again");
        assert!(seq > connection.last, "{seq} comes after {}", connection.last);
        connection.last = seq;
        connection.reach(seq - 1, naive);
    }

    fn receive_gap(connection: &mut Connection, gap: &Event, naive: &Naive) {
        let (seq, told) = position(&gap.last_event_id);
        connection.reach(seq, naive);
        let is_forced = gap.data == r#"{"reason":"unknown"}"#;
        if is_forced {
            assert!(connection.gaps_due > 0 || connection.may_err, "a gap without a reason");
            connection.gaps_due = connection.gaps_due.saturating_sub(1);
        } else {
            let told = told.expect("a gap has a sequence number");
            let is_missed = |(seq, _): (&u64, &Terms)| !naive.is_in_log(*seq) && !connection.is_covered(*seq);
            // With compaction, a slow client may have begun with a log that had evicted something. The hub does not know
            // whether later evictions are older than its beginning, and reports a gap in any case. So it does for a pattern
            // that began before a channel of an earlier request: of what a pattern has evicted it does not know the channel.
            let compacts = naive.has_had(CHANNELS, OnSlow::Latest);
            let is_unsure = !connection.keeps_up && (compacts && connection.began_with_loss || connection.leaves_out);
            let news = connection.owed.range(..=told).any(is_missed);
            assert!(news || is_unsure || told <= naive.merged_through, "a gap that reports nothing new: {gap:?}");
        }
        connection.gaps.push(told.unwrap_or(0));
        if gap.data == r#"{"reason":"slow"}"# {
            assert!(!connection.keeps_up, "a gap with reason slow for a client that was not slow");
        }
    }
}
