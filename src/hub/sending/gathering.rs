//! Sending a stream its backlog: gathering blocks straight from the logs, and advancing the cursor past what was sent.

use super::shared_encoding::{BlockForm, NextEncoding};
use crate::compression::{Alone, Body, Piece};
use crate::event::Framing;
use crate::hub::ids::LastId;
use crate::hub::{Cursor, Hub};
use bytes::Bytes;
use std::io::IoSlice;

/// The blocks that [`gather`](Hub::gather) found.
#[derive(Debug)]
pub struct Gathered {
    /// The number of blocks.
    pub blocks: usize,
    /// Whether some of the blocks were offered before to the streams that keep up.
    pub was_offered_before: bool,
    /// Whether the backlog has nothing after these blocks.
    pub is_end: bool,
    /// The cursor's sequence number when all of the blocks are sent.
    seq: u64,
    /// The client's last id then.
    last_id: LastId,
}

/// The result of sending a part of the gathered blocks.
#[derive(Debug)]
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
                    gathered.was_offered_before |= entry.seq <= logs.offered_through();
                    gathered.seq = entry.seq;
                    gathered.last_id = entry.last_id();
                    gathered.blocks += 1;
                }
                None => {
                    gathered.seq = cursor.state_through().unwrap_or(logs.last_seq());
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
        let mut sent = Sent { events: 0, bytes: 0, rest: None };
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
        self.encoding.encode_next(&self.logs, cursor, form)
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
