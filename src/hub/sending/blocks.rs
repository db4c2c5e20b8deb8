//! The blocks of a stream's backlog: they are gathered straight from the logs, or from what was encoded for several streams,
//! and the cursor advances past what was sent.
//!
//! # Encoded events that streams share
//!
//! Streams that follow the same topics are a group. Events are encoded once, for all streams of the group that were sent its
//! [round](super::window_rounds) from the beginning. Any other stream is sent *batches*: some of its next events, encoded
//! alone, and shared with the streams whose next events are the same. It joins at the beginning of the next round.
//!
//! A stream is sent a piece of a round only if the piece is that of the next event in its own backlog. So a window holds
//! only what each stream of the round may read, whatever has become of the topics since.

use crate::compression::{Alone, Body, ContentCoding, Piece};
use crate::event::{Framing, LineEnd, Shared};
use crate::hub::channels::{TopicId, Topics};
use crate::hub::ids::LastId;
use crate::hub::logs::Logs;
use crate::hub::sending::window_rounds::{Round, WindowRounds};
use crate::hub::{Counts, Cursor, Hub};
use crate::log::LogEntry;
use bytes::Bytes;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::{Duration, Instant};

/// The blocks that [`gather`](Hub::gather) found.
#[derive(Debug)]
pub struct Gathered {
    /// The number of blocks.
    pub blocks: usize,
    /// True if some of the blocks were offered before to the streams that keep up.
    pub was_offered_before: bool,
    /// True if the backlog has nothing after these blocks.
    pub is_end: bool,
    /// The cursor's sequence number when all of the blocks are sent.
    seq: u64,
    /// The client's last id then.
    last_id: LastId,
}

/// The result of sending a part of the gathered blocks.
#[derive(Debug, Default)]
pub struct Sent {
    /// The number of events that were sent to their end.
    pub events: usize,
    /// The number of bytes that were taken from the logs: all of an event, even if only part of it was sent.
    pub bytes: usize,
    /// The rest of an event that was sent in part. It belongs into the stream's own buffer: the stream is then between two
    /// events of the log, and eviction cannot tear an event.
    pub rest: Option<Bytes>,
}

impl Hub {
    /// Puts the first blocks of a stream's backlog into `blocks`: about `most_bytes`, but at least one block.
    pub fn gather<'a>(
        &'a self,
        cursor: &'a Cursor,
        form: &BlockForm,
        most_bytes: usize,
        blocks: &mut [IoSlice<'a>],
    ) -> Gathered {
        let logs = &self.logs;
        let mut entries = self.encoding.blocks(logs, cursor, form);
        let Cursor { seq, last_id, .. } = *cursor;
        let mut gathered = Gathered { blocks: 0, seq, last_id, was_offered_before: false, is_end: false };
        let mut bytes = 0;
        for block in blocks {
            if bytes >= most_bytes {
                return gathered;
            }
            match entries.next() {
                Some(None) => return gathered,
                Some(Some((entry, shared))) => {
                    *block = IoSlice::new(shared.bytes(form.framing));
                    bytes += block.len();
                    gathered.was_offered_before |= entry.seq <= logs.offered_through;
                    gathered.seq = entry.seq;
                    gathered.last_id = entry.last_id();
                    gathered.blocks += 1;
                }
                None => {
                    gathered.seq = cursor.state_through().unwrap_or(logs.last_seq);
                    gathered.is_end = cursor.state_through().is_none();
                    break;
                }
            }
        }
        gathered
    }

    /// Advances the cursor past all that was gathered.
    pub fn record_all_sent(&mut self, cursor: &mut Cursor, gathered: &Gathered, body: &mut Body) {
        self.encoding.add_sent(body, cursor.seq, gathered.seq, &mut self.counts);
        self.counts.delivered += gathered.blocks as u64;
        cursor.last_id = gathered.last_id;
        cursor.has_news |= gathered.blocks > 0;
        self.advance(cursor, gathered.seq);
    }

    /// Advances the cursor past the first `bytes` bytes of its backlog, and past the event that they end in.
    pub fn record_sent(&mut self, cursor: &mut Cursor, form: &BlockForm, bytes: usize, body: &mut Body) -> Sent {
        let mut sent = Sent::default();
        let (mut seq, mut last_id) = (cursor.seq, cursor.last_id);
        for (entry, shared) in self.encoding.blocks(&self.logs, cursor, form).map_while(|next| next) {
            let block = shared.bytes(form.framing);
            if sent.bytes == bytes {
                break;
            }
            seq = entry.seq;
            last_id = entry.last_id();
            sent.bytes += block.len();
            if sent.bytes > bytes {
                sent.rest = Some(shared.from(form.framing, block.len() - (sent.bytes - bytes)));
                break;
            }
            sent.events += 1;
        }
        self.encoding.add_sent(body, cursor.seq, seq, &mut self.counts);
        self.counts.delivered += sent.events as u64 + u64::from(sent.rest.is_some());
        cursor.last_id = last_id;
        cursor.has_news |= sent.bytes > 0;
        self.advance(cursor, seq);
        sent
    }

    /// Advances a cursor to a sequence number. A stream that ends there has no subscription any more.
    pub(in crate::hub) fn advance(&mut self, cursor: &mut Cursor, seq: u64) {
        let had_parts = cursor.parts().is_some();
        cursor.advance(seq);
        if cursor.has_ended() {
            self.remove_stream(std::mem::take(cursor));
        } else if had_parts && cursor.parts().is_none() {
            self.update_compaction(cursor);
        }
    }

    /// Decides how the next events of a stream are encoded, and encodes them for its group if nobody has.
    pub fn encode_next(&mut self, cursor: &Cursor, form: &BlockForm) -> NextEncoding {
        match self.logs.backlog(cursor).next() {
            Some(next) => self.encoding.0.get_or_insert_with(Box::default).encode(&self.logs, cursor, form, next),
            None => NextEncoding::Nothing,
        }
    }

    /// Returns the next events of a stream as one piece that is encoded alone, and how many they are, and advances its cursor.
    pub fn next_batch(
        &mut self,
        cursor: &mut Cursor,
        form: &BlockForm,
        most_bytes: usize,
        alone: &mut Alone,
    ) -> Option<(Piece, usize)> {
        let next = self.logs.next_entries(cursor, most_bytes);
        let seqs: Vec<u64> = next.entries.iter().map(|entry| entry.seq).collect();
        let piece = (!seqs.is_empty()).then(|| {
            self.encoding.batch(form, &seqs, || {
                let blocks: Vec<_> = next.entries.iter().map(|entry| entry.event.bytes(Framing::Plain)).collect();
                alone.encode(form.coding, &form.line_end.convert(&blocks.concat()))
            })
        });
        let (seq, last_id) = (next.seq, next.last_id);
        self.record_copied(cursor, seqs.len(), seq, last_id);
        let piece = piece?;
        self.counts.count_coded(&piece);
        Some((piece, seqs.len()))
    }
}

/// The most groups of a hub that have a window: some 300 KB with gzip, 3 MB with zstd.
const MOST_GROUPS: usize = 16;
/// The time without an event after which the window of a group may be another one's.
const UNUSED: Duration = Duration::from_secs(10);
/// The most bytes of events that are encoded at once.
const MOST_AT_ONCE: usize = 256 << 10;
/// The most batches that are kept, and the most bytes of all.
const MOST_BATCHES: usize = 256;
const MOST_BATCHED_BYTES: usize = 4 << 20;

/// The encoded events of a hub, once a stream has a content coding.
#[derive(Debug, Default)]
pub(in crate::hub) struct SharedEncoding(Option<Box<Encoded>>);

#[derive(Debug, Default)]
struct Encoded {
    groups: Vec<Group>,
    batches: VecDeque<EncodedBatch>,
    batched_bytes: usize,
    /// The number of the last round.
    last_number: u32,
}

#[derive(Debug)]
struct Group {
    content: Content,
    /// The topics, and the sequence number through which their events are encoded.
    cursor: Cursor,
    rounds: WindowRounds,
    used_at: Instant,
}

/// Events that were encoded together, alone.
#[derive(Debug)]
struct EncodedBatch {
    content: Content,
    seqs: Box<[u64]>,
    piece: Piece,
}

/// The encoding of a stream's next events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextEncoding {
    /// The stream has no backlog.
    Nothing,
    /// As pieces of the round that the stream is in.
    Round,
    /// As pieces of a round that begins with the next event. The stream leaves the one that it is in, and joins that.
    Joins(u32),
    /// As a [batch](crate::hub::Hub::next_batch).
    Batch,
}

/// The line end and the coding that entries get before they are framed.
type Content = (LineEnd, ContentCoding);

/// The form in which a stream is sent the entries of its backlog.
#[derive(Clone, Copy, Debug)]
pub struct BlockForm {
    /// The framing of the blocks.
    pub framing: Framing,
    /// Their coding.
    pub coding: ContentCoding,
    /// The line end of those that are coded. The others have that of the log.
    pub line_end: LineEnd,
    /// The round that the stream is in. Entries that are coded are not sent without one.
    pub round: Option<u32>,
}

impl BlockForm {
    fn content(&self) -> Content {
        (self.line_end, self.coding)
    }
}

/// The entries of a stream's backlog with their blocks, as far as they can be sent in a form.
pub(super) struct Blocks<'a, E> {
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

impl SharedEncoding {
    fn round(&self, number: u32) -> Option<&Round> {
        let groups = self.0.as_deref()?.groups.iter();
        groups.flat_map(|group| group.rounds.iter()).find(|round| round.number == number)
    }

    /// Returns the blocks of a stream's backlog in a form.
    pub(super) fn blocks<'a>(
        &'a self,
        logs: &'a Logs,
        cursor: &'a Cursor,
        form: &BlockForm,
    ) -> Blocks<'a, impl Iterator<Item = &'a LogEntry> + 'a> {
        let pieces = (form.coding != ContentCoding::Identity).then(|| {
            let round = form.round.and_then(|number| self.round(number));
            round.map_or(&[][..], |round| round.after(cursor.seq)).iter()
        });
        Blocks { entries: logs.backlog(cursor), pieces }
    }

    /// Forgets the groups of a topic that is removed.
    pub(in crate::hub) fn forget_topic(&mut self, topic: TopicId) {
        if let Some(encoded) = &mut self.0 {
            encoded.groups.retain(|group| !group.cursor.topics.contains(&topic));
        }
    }

    /// Returns the batch of some entries, which `encode` makes if it is not known.
    pub(super) fn batch(&mut self, form: &BlockForm, seqs: &[u64], encode: impl FnOnce() -> Piece) -> Piece {
        let Encoded { batches, batched_bytes, .. } = &mut **self.0.get_or_insert_with(Box::default);
        let is_same = |batch: &&EncodedBatch| batch.content == form.content() && *batch.seqs == *seqs;
        if let Some(batch) = batches.iter().rev().find(is_same) {
            return batch.piece.clone();
        }
        let piece = encode();
        *batched_bytes += piece.block.len();
        batches.push_back(EncodedBatch { content: form.content(), seqs: seqs.into(), piece: piece.clone() });
        while batches.len() > MOST_BATCHES || *batched_bytes > MOST_BATCHED_BYTES {
            *batched_bytes -= batches.pop_front().map_or(0, |batch| batch.piece.block.len());
        }
        piece
    }

    /// Adds the pieces that a stream was sent to its content: those between two sequence numbers.
    pub(super) fn add_sent(&self, body: &mut Body, after: u64, through: u64, counts: &mut Counts) {
        let round = body.round().and_then(|number| self.round(number));
        let pieces = round.map_or(&[][..], |round| round.after(after));
        for (_, piece) in pieces.iter().take_while(|(seq, _)| *seq <= through) {
            body.add(piece);
            counts.count_coded(piece);
        }
    }
}

impl Encoded {
    /// Does the same as [`encode_next`](Hub::encode_next) for a stream whose next entry is `next`.
    fn encode(&mut self, logs: &Logs, cursor: &Cursor, form: &BlockForm, next: &LogEntry) -> NextEncoding {
        let is_own = |group: &Group| group.content == form.content() && *group.cursor.topics == *cursor.topics;
        let own = self.groups.iter().position(is_own).or_else(|| self.add_group(cursor, form.content(), next.at));
        let own = some_or!(own.filter(|_| cursor.parts().is_none()), return NextEncoding::Batch);
        let group = &mut self.groups[own];
        group.used_at = next.at;
        group.encode_through(next.seq, logs, cursor, &mut self.last_number);
        let is_next = |round: &Round| round.after(cursor.seq).first().map_or(false, |(seq, _)| *seq == next.seq);
        if group.rounds.iter().any(|round| Some(round.number) == form.round && is_next(round)) {
            return NextEncoding::Round;
        }
        match group.rounds.iter().find(|round| round.first() == Some(next.seq)) {
            Some(round) => NextEncoding::Joins(round.number),
            None => {
                group.rounds.await_next();
                NextEncoding::Batch
            }
        }
    }

    /// Makes a group for the topics of a stream, in the place of one that is unused if there are many. Returns its index.
    fn add_group(&mut self, cursor: &Cursor, content: Content, at: Instant) -> Option<usize> {
        let groups = &mut self.groups;
        let is_unused = |group: &Group| at.saturating_duration_since(group.used_at) > UNUSED;
        if groups.len() == MOST_GROUPS {
            groups.swap_remove(groups.iter().position(is_unused)?);
        }
        let topics = Topics::from(cursor.topics.to_vec());
        let cursor = Cursor { seq: cursor.seq, topics, ..Cursor::default() };
        groups.push(Group { content, cursor, rounds: WindowRounds::new(content.1), used_at: at });
        Some(groups.len() - 1)
    }
}

impl Group {
    /// Encodes events through one that a stream is sent next, and some more, unless they are encoded.
    fn encode_through(&mut self, next: u64, logs: &Logs, cursor: &Cursor, last_number: &mut u32) {
        if self.cursor.seq >= next {
            return;
        }
        // Nobody has needed the events that the stream was sent meanwhile: the group has had no stream.
        if logs.backlog(&self.cursor).next().map_or(false, |first| first.seq <= cursor.seq) {
            self.cursor.seq = cursor.seq;
            self.rounds.interrupt();
        }
        let (mut seq, mut bytes) = (logs.last_seq, 0);
        for entry in logs.backlog(&self.cursor) {
            bytes += self.rounds.encode(entry, self.content.0, last_number);
            if bytes >= MOST_AT_ONCE {
                seq = entry.seq;
                break;
            }
        }
        self.cursor.seq = seq;
    }
}
