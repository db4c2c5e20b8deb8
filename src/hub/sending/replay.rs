//! Replaying events through a stream's own buffer, with positions between them.
//!
//! An entry's id cannot say that a gap was reported, so after a `gap` event older events follow with a position each, which
//! says it: up to where evictions were reported. Events that a compacted hub sends in full are replayed too, up to the
//! sequence number where compaction begins again.

use crate::event::{Framing, Shared};
use crate::hub::cursor::Parts;
use crate::hub::ids::{ClientPosition, LastId};
use crate::hub::logs::Logs;
use crate::hub::{Cursor, Hub, OwnBlock};
use crate::log::LogEntry;

/// The events that one call of [`replay_into_buffer`](Hub::replay_into_buffer) sends, and where they end.
struct Replayed {
    own_blocks: Vec<OwnBlock>,
    events: u64,
    seq: u64,
    last_id: LastId,
}

/// The next entries of a stream.
pub(super) struct NextEntries<'a> {
    pub(super) entries: Vec<&'a LogEntry>,
    /// The cursor's sequence number after them.
    pub(super) seq: u64,
    /// The client's last id then.
    pub(super) last_id: LastId,
}

impl Logs {
    /// Returns the next entries of a stream, about `most_bytes`.
    pub(super) fn next_entries<'a>(&'a self, cursor: &'a Cursor, most_bytes: usize) -> NextEntries<'a> {
        let seq = cursor.state_through().unwrap_or(self.last_seq);
        let mut next = NextEntries { entries: Vec::new(), seq, last_id: cursor.last_id };
        let mut bytes = 0;
        for entry in self.backlog(cursor) {
            next.last_id = entry.last_id();
            bytes += entry.event.len();
            next.entries.push(entry);
            if bytes >= most_bytes {
                next.seq = entry.seq;
                break;
            }
        }
        next
    }

    /// Returns the comment that names an entry's channel, if the stream is sent such comments.
    fn channel_block(&self, cursor: &Cursor, entry: &LogEntry) -> Option<OwnBlock> {
        let channel = self.channels.get(entry.channel as usize).filter(|_| cursor.names_channels)?;
        let mut line = b":channel ".to_vec();
        for byte in channel.name.iter() {
            match byte {
                0..=31 | 127 | b'%' => line.extend_from_slice(format!("%{byte:02X}").as_bytes()),
                byte => line.push(*byte),
            }
        }
        line.push(b'\n');
        Some(OwnBlock::Channel(line))
    }
}

impl Hub {
    /// Returns the next events of a stream that [replays through its buffer](Cursor::has_replay), with
    /// positions, and advances its cursor.
    ///
    /// A call returns a limited number of bytes, because the client may not read.
    pub fn replay_into_buffer(&mut self, cursor: &mut Cursor) -> Vec<OwnBlock> {
        let (through, reported) = match cursor.parts() {
            Some(parts) => (parts.boundary(cursor.seq), parts.reported_through),
            None => (None, 0),
        };
        let through = some_or!(through, return Vec::new());
        let Replayed { own_blocks, events, seq, last_id } = self.replay_through(cursor, through, reported);
        cursor.last_id = last_id;
        cursor.has_news |= events > 0;
        self.counts.delivered += events;
        self.advance(cursor, seq);
        own_blocks
    }

    /// Returns the next events of a stream that ends after a sequence number, about as many as have `most_bytes`, and advances
    /// its cursor.
    pub fn replay_before_end(&mut self, cursor: &mut Cursor, through: u64, most_bytes: usize) -> Vec<OwnBlock> {
        let (mut own_blocks, mut bytes) = (Vec::new(), 0);
        while cursor.seq < through && bytes < most_bytes {
            let Replayed { own_blocks: next, events, seq, last_id } = self.replay_through(cursor, through, 0);
            let of_event = |block: &OwnBlock| if let OwnBlock::Event(event) = block { event.len() } else { 0 };
            bytes += next.iter().map(of_event).sum::<usize>();
            own_blocks.extend(next);
            self.record_copied(cursor, events as usize, seq, last_id);
        }
        own_blocks
    }

    /// Returns the next events through a sequence number. Those through `reported` are followed by a position.
    fn replay_through(&self, cursor: &Cursor, through: u64, reported: u64) -> Replayed {
        /// The bytes after which a call ends.
        const MOST_BYTES: usize = if cfg!(test) { 700 } else { 48 << 10 };
        /// The bytes that an event costs besides its own, with its position.
        const OVERHEAD: usize = 160;
        let mut replayed = Replayed { own_blocks: Vec::new(), events: 0, seq: through, last_id: cursor.last_id };
        let mut bytes = 0;
        let mut last = cursor.seq;
        let state_as_of = cursor.parts().and_then(Parts::state_as_of);
        for entry in self.logs.backlog(cursor).take_while(|entry| entry.seq <= through) {
            if bytes >= MOST_BYTES {
                replayed.seq = last;
                break;
            }
            last = entry.seq;
            bytes += entry.event.len() + OVERHEAD;
            replayed.events += 1;
            replayed.last_id = entry.last_id();
            replayed.own_blocks.extend(self.logs.channel_block(cursor, entry));
            if let Some(as_of) = state_as_of {
                replayed.own_blocks.push(OwnBlock::Event(self.with_mark(entry, as_of.max(last))));
                continue;
            }
            replayed.own_blocks.push(OwnBlock::Event(entry.event.clone()));
            if last <= reported {
                let id =
                    self.epoch.id(ClientPosition { seq: last, reported: Some(reported).filter(|_| last < reported) });
                replayed.own_blocks.extend(
                    self.logs.settings().position_block(cursor.position, Some(&id), None).map(OwnBlock::Position),
                );
            }
        }
        replayed
    }

    /// Returns an entry of the state, whose last id says that the client has the state as of a sequence number through this
    /// entry.
    fn with_mark(&self, entry: &LogEntry, as_of: u64) -> Shared {
        let line = |id: String| format!("id: {id}\n\n");
        let own = line(self.epoch.event_id(entry.seq));
        match entry.event.bytes(Framing::Plain).strip_suffix(own.as_bytes()) {
            Some(before) => {
                let mark = ClientPosition { seq: as_of, reported: Some(entry.seq) };
                Shared::of([before, line(self.epoch.id(mark)).as_bytes()].concat())
            }
            None => entry.event.clone(),
        }
    }

    /// Returns the next events of a stream as blocks, about `most_bytes`, and advances its cursor: a stream whose lines end
    /// in CRLF is not sent the blocks of the log itself, nor is one whose events come with the names of their channels: then
    /// the line `:channel NAME` is before each event. An event's own comments begin with a blank, so they are never taken
    /// for it. In the name each control character and `%` is a `%` and two hexadecimal digits.
    pub fn copy_into_buffer(&mut self, cursor: &mut Cursor, most_bytes: usize) -> Vec<OwnBlock> {
        let NextEntries { entries, seq, last_id } = self.logs.next_entries(cursor, most_bytes);
        let mut own_blocks = Vec::new();
        for entry in &entries {
            own_blocks.extend(self.logs.channel_block(cursor, entry));
            own_blocks.push(OwnBlock::Event(entry.event.clone()));
        }
        let events = entries.len();
        self.record_copied(cursor, events, seq, last_id);
        own_blocks
    }

    /// Advances the cursor of a stream that was given its next entries.
    pub(super) fn record_copied(&mut self, cursor: &mut Cursor, events: usize, seq: u64, last_id: LastId) {
        self.counts.delivered += events as u64;
        cursor.last_id = last_id;
        cursor.has_news |= events > 0;
        self.advance(cursor, seq);
    }

    /// Returns whether the next event of a stream was offered before to the streams that keep up. None if the stream has
    /// no backlog.
    pub fn has_next_been_offered(&self, cursor: &Cursor) -> Option<bool> {
        self.logs.backlog(cursor).next().map(|entry| entry.seq <= self.logs.offered_through)
    }
}
