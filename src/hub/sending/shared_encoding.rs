//! Encoded events that streams share: the rounds of streams that follow the same topics.
//!
//! Such streams are a group. Within a *round* the group's window holds all events of the round, so an event that resembles
//! earlier ones becomes small. It is encoded once, for all streams of the group that were sent the round from its
//! beginning. Any other stream is sent *batches*: some of its next events, encoded alone, and shared with the streams whose
//! next events are the same. It joins at the beginning of the next round.
//!
//! A stream is sent a piece of a round only if the piece is that of the next event in its own backlog. So a window holds
//! only what each stream of the round may read, whatever has become of the topics since.

use crate::compression::{Alone, Body, ContentCoding, Piece, Window};
use crate::event::{Framing, LineEnd, Shared};
use crate::hub::channels::topics::{TopicId, Topics};
use crate::hub::{Cursor, Hub};
use crate::log::LogEntry;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many groups of a hub have a window: some 300 KB with gzip, 3 MB with zstd.
const MOST_GROUPS: usize = 16;
/// The time without an event after which the window of a group may be another one's.
const UNUSED: Duration = Duration::from_secs(10);
/// How long a round lasts at the least while a stream waits for the next one.
const LEAST_TIME: Duration = Duration::from_secs(10);
/// How many rounds of a group are kept, for streams that lag a little.
const KEPT_ROUNDS: usize = 2;
/// The most bytes of events that are encoded at once.
const MOST_AT_ONCE: usize = 256 << 10;
/// The most batches that are kept, and the most bytes of all.
const MOST_BATCHES: usize = 256;
const MOST_BATCHED_BYTES: usize = 4 << 20;

/// The bytes of events after which the next round begins. A window of gzip is 32 KB, one of zstd here 1 MB.
fn round_bytes(coding: ContentCoding) -> usize {
    match coding {
        _ if cfg!(test) => 2_000,
        ContentCoding::Zstd => 1 << 20,
        _ => 256 << 10,
    }
}

/// The encoded events of a hub.
#[derive(Debug, Default)]
pub(in crate::hub) struct Rounds {
    groups: Vec<Group>,
    batches: VecDeque<Batch>,
    batched_bytes: usize,
    last_number: u32,
}

#[derive(Debug)]
struct Group {
    content: Content,
    /// The topics, and the sequence number through which their events are encoded.
    cursor: Cursor,
    window: Window,
    /// The rounds; the last one is not over.
    rounds: VecDeque<Round>,
    /// A stream waits for the next round.
    is_awaited: bool,
    /// The last round is over: events after it are not encoded.
    is_interrupted: bool,
    used_at: Instant,
}

#[derive(Debug)]
struct Round {
    number: u32,
    began: Instant,
    /// The bytes of its events.
    bytes: usize,
    pieces: Vec<(u64, Piece)>,
}

impl Round {
    fn first(&self) -> Option<u64> {
        self.pieces.first().map(|(seq, _)| *seq)
    }

    fn after(&self, seq: u64) -> &[(u64, Piece)] {
        &self.pieces[self.pieces.partition_point(|(at, _)| *at <= seq)..]
    }
}

/// Events that were encoded together, alone.
#[derive(Debug)]
struct Batch {
    content: Content,
    seqs: Box<[u64]>,
    piece: Piece,
}

/// How the next events of a stream are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// The stream has no backlog.
    Nothing,
    /// As pieces of the round that the stream is in.
    Round,
    /// As pieces of a round that begins with the next event. The stream leaves the one that it is in, and joins that.
    Joins(u32),
    /// As a [batch](Hub::next_batch).
    Batch,
}

/// The line end and the coding that entries get before they are framed.
type Content = (LineEnd, ContentCoding);

/// How a stream is sent the entries of its backlog.
#[derive(Clone, Copy, Debug)]
pub struct Form {
    /// How the blocks are framed.
    pub framing: Framing,
    /// How they are coded.
    pub coding: ContentCoding,
    /// The line end of those that are coded. The others have that of the log.
    pub line_end: LineEnd,
    /// The round that the stream is in. Entries that are coded are not sent without one.
    pub round: Option<u32>,
}

impl Form {
    fn content(&self) -> Content {
        (self.line_end, self.coding)
    }
}

/// The entries of a stream's backlog with their blocks, as far as they can be sent in a form.
pub(in crate::hub) struct Blocks<'a, E> {
    entries: E,
    /// The pieces of the round; none if the entries are sent as they are.
    pieces: Option<std::slice::Iter<'a, (u64, Piece)>>,
}

impl<'a, E: Iterator<Item = &'a LogEntry>> Iterator for Blocks<'a, E> {
    /// None if the next entry cannot be sent in the form.
    type Item = Option<(&'a LogEntry, &'a Shared)>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.entries.next()?;
        let pieces = match &mut self.pieces {
            None => return Some(Some((entry, &entry.event))),
            Some(pieces) => pieces,
        };
        let piece = pieces.next().filter(|(seq, _)| *seq == entry.seq);
        Some(piece.map(|(_, piece)| (entry, &piece.block)))
    }
}

impl Rounds {
    fn round(&self, number: u32) -> Option<&Round> {
        self.groups.iter().flat_map(|group| &group.rounds).find(|round| round.number == number)
    }
}

impl Hub {
    /// Returns the blocks of a stream's backlog in a form.
    pub(in crate::hub) fn blocks<'a>(
        &'a self,
        cursor: &'a Cursor,
        form: &Form,
    ) -> Blocks<'a, impl Iterator<Item = &'a LogEntry> + 'a> {
        let pieces = (form.coding != ContentCoding::Identity).then(|| {
            let rounds = self.rounds.as_deref();
            let round = form.round.and_then(|number| rounds?.round(number));
            round.map_or(&[][..], |round| round.after(cursor.seq)).iter()
        });
        Blocks { entries: self.backlog(cursor), pieces }
    }

    /// Forgets the groups of a topic that is removed.
    pub(in crate::hub) fn forget_rounds(&mut self, topic: TopicId) {
        if let Some(rounds) = &mut self.rounds {
            rounds.groups.retain(|group| !group.cursor.topics.contains(&topic));
        }
    }

    /// Decides how the next events of a stream are encoded, and encodes them for its group if nobody has.
    pub fn encode_next(&mut self, cursor: &Cursor, form: &Form) -> Encoding {
        let (next, at) = match self.backlog(cursor).next() {
            Some(entry) => (entry.seq, entry.at),
            None => return Encoding::Nothing,
        };
        let mut rounds = self.rounds.take().unwrap_or_default();
        let encoding = self.encode_in(&mut rounds, cursor, form, (next, at));
        self.rounds = Some(rounds);
        encoding
    }

    fn encode_in(&self, rounds: &mut Rounds, cursor: &Cursor, form: &Form, (next, at): (u64, Instant)) -> Encoding {
        let Rounds { groups, last_number, .. } = rounds;
        let is_next = |round: &Round| round.after(cursor.seq).first().map_or(false, |(seq, _)| *seq == next);
        let find = |group: &Group| group.content == form.content() && *group.cursor.topics == *cursor.topics;
        let own = groups.iter().position(find).or_else(|| self.add_group(groups, cursor, form.content(), at));
        let group = match own {
            Some(own) if cursor.parts().is_none() => &mut groups[own],
            _ => return Encoding::Batch,
        };
        group.used_at = at;
        if group.cursor.seq < next {
            // Nobody has needed the events that the stream was sent meanwhile: the group has had no stream.
            if self.backlog(&group.cursor).next().map_or(false, |first| first.seq <= cursor.seq) {
                group.cursor.seq = cursor.seq;
                group.is_interrupted = true;
            }
            self.encode_more(group, last_number);
        }
        if group.rounds.iter().any(|known| Some(known.number) == form.round && is_next(known)) {
            return Encoding::Round;
        }
        match group.rounds.iter().find(|round| round.first() == Some(next)) {
            Some(round) => Encoding::Joins(round.number),
            None => {
                group.is_awaited = true;
                Encoding::Batch
            }
        }
    }

    /// Makes a group for the topics of a stream, in the place of one that is unused if there are many. Returns its index.
    fn add_group(&self, groups: &mut Vec<Group>, cursor: &Cursor, content: Content, at: Instant) -> Option<usize> {
        let is_unused = |group: &Group| at.saturating_duration_since(group.used_at) > UNUSED;
        if groups.len() == MOST_GROUPS {
            groups.swap_remove(groups.iter().position(is_unused)?);
        }
        let topics = Topics::from(cursor.topics.to_vec());
        groups.push(Group {
            content,
            cursor: Cursor { seq: cursor.seq, topics, ..Cursor::default() },
            window: Window::new(content.1),
            rounds: VecDeque::new(),
            is_awaited: false,
            is_interrupted: false,
            used_at: at,
        });
        Some(groups.len() - 1)
    }

    /// Encodes the next events of a group.
    fn encode_more(&self, group: &mut Group, last_number: &mut u32) {
        let Group { content: (line_end, coding), cursor, window, rounds, is_awaited, is_interrupted, .. } = group;
        let (mut seq, mut bytes) = (self.last_seq, 0);
        for entry in self.backlog(cursor) {
            let is_over = std::mem::take(is_interrupted)
                || rounds.back().map_or(true, |round| {
                    let is_old = entry.at.saturating_duration_since(round.began) >= LEAST_TIME;
                    round.bytes >= round_bytes(*coding) || *is_awaited && is_old
                });
            if is_over {
                *last_number = *last_number % Body::MAX_ROUND + 1;
                let number = *last_number;
                rounds.push_back(Round { number, began: entry.at, bytes: 0, pieces: Vec::new() });
                rounds.drain(..rounds.len().saturating_sub(KEPT_ROUNDS));
                window.begin();
                *is_awaited = false;
            }
            if let Some(round) = rounds.back_mut() {
                let block = line_end.convert(entry.event.bytes(Framing::Plain));
                round.pieces.push((entry.seq, window.encode(&block)));
                round.bytes += block.len();
                bytes += block.len();
            }
            if bytes >= MOST_AT_ONCE {
                seq = entry.seq;
                break;
            }
        }
        cursor.seq = seq;
    }

    /// Returns the next events of a stream as one piece that is encoded alone, and how many they are, and advances its cursor.
    pub fn next_batch(
        &mut self,
        cursor: &mut Cursor,
        form: &Form,
        most_bytes: usize,
        alone: &mut Alone,
    ) -> Option<(Piece, usize)> {
        let mut rounds = self.rounds.take().unwrap_or_default();
        let next = self.next_entries(cursor, most_bytes);
        let seqs: Vec<u64> = next.entries.iter().map(|entry| entry.seq).collect();
        let batch = (!seqs.is_empty()).then(|| {
            let piece = rounds.batch(form.content(), &seqs, || {
                let blocks: Vec<_> = next.entries.iter().map(|entry| entry.event.bytes(Framing::Plain)).collect();
                alone.encode(form.coding, &form.line_end.convert(&blocks.concat()))
            });
            (piece, seqs.len())
        });
        let (seq, last_id) = (next.seq, next.last_id);
        self.rounds = Some(rounds);
        self.copied(cursor, seqs.len(), seq, last_id);
        if let Some((piece, _)) = &batch {
            self.counts.count_coded(piece);
        }
        batch
    }

    /// Adds the pieces that a stream was sent to its content: those between two sequence numbers.
    pub(in crate::hub) fn add_sent(&mut self, body: &mut Body, after: u64, through: u64) {
        let Self { rounds, counts, .. } = self;
        let round = body.round().and_then(|number| rounds.as_deref()?.round(number));
        let pieces = round.map_or(&[][..], |round| round.after(after));
        for (_, piece) in pieces.iter().take_while(|(seq, _)| *seq <= through) {
            body.add(piece);
            counts.count_coded(piece);
        }
    }
}

impl Rounds {
    /// Returns the batch of these events, which `encode` makes if it is not known.
    fn batch(&mut self, content: Content, seqs: &[u64], encode: impl FnOnce() -> Piece) -> Piece {
        let is_same = |batch: &&Batch| batch.content == content && *batch.seqs == *seqs;
        if let Some(batch) = self.batches.iter().rev().find(is_same) {
            return batch.piece.clone();
        }
        let piece = encode();
        self.batched_bytes += piece.block.len();
        self.batches.push_back(Batch { content, seqs: seqs.into(), piece: piece.clone() });
        while self.batches.len() > MOST_BATCHES || self.batched_bytes > MOST_BATCHED_BYTES {
            self.batched_bytes -= self.batches.pop_front().map_or(0, |batch| batch.piece.block.len());
        }
        piece
    }
}
