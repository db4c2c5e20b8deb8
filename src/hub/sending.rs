//! Sending a stream what is in the log, and seeing to one that the log has overtaken.

use super::*;

impl Hub {
    /// Sends a stream the next of the events for which its client needs more than the log holds: after a gap each is
    /// followed by a position that says that the gap was told, and after going back for the events of new topics comes the
    /// position from which the stream went back. The notices are not many bytes, for the client may not read.
    pub fn replay(&mut self, cursor: &mut Cursor) -> Vec<Notice> {
        /// So many bytes at a time.
        const MOST_BYTES: usize = if cfg!(test) { 700 } else { 48 << 10 };
        /// What an event costs besides its bytes, with its position.
        const OVERHEAD: usize = 160;
        let mut notices = Vec::new();
        let boundary = cursor.parts.as_ref().and_then(|parts| parts.boundary(cursor.seq));
        let (through, told, went_back_from) = match (boundary, &cursor.parts) {
            (Some(through), Some(parts)) => (through, parts.told, parts.went_back_from),
            _ => return notices,
        };
        let (mut bytes, mut count) = (0, 0);
        let mut seq = through;
        let mut last = cursor.seq;
        for entry in self.pending_of(cursor).take_while(|entry| entry.seq <= through) {
            if bytes >= MOST_BYTES {
                seq = last;
                break;
            }
            last = entry.seq;
            bytes += entry.event.len() + OVERHEAD;
            count += 1;
            notices.push(Notice::Event(entry.event.clone()));
            if last <= told {
                let position = Position { seq: last, told: Some(told) };
                notices.push(Notice::Position(self.epoch.block(position)));
            }
        }
        if seq == through && went_back_from == through {
            notices.push(Notice::Position(self.epoch.block(Position::at(through))));
        }
        self.counts.delivered += count;
        self.advance(cursor, seq);
        notices
    }

    /// Sees to a stream that was not sent all that was published: nothing, if nothing of that was evicted. `Err`, if it is
    /// to end.
    ///
    /// # Errors
    ///
    /// That the log has overtaken it, and that it is to end for that.
    pub fn catch_up(&mut self, cursor: &mut Cursor) -> Result<Vec<Notice>, Gap> {
        let mut notices = Vec::new();
        if self.is_overtaken(cursor) {
            if self.settings.on_slow == OnSlow::Disconnect {
                self.counts.disconnected += 1;
                return Err(Gap::Slow);
            }
            notices.push(self.skip(cursor));
        }
        self.conflate(cursor);
        Ok(notices)
    }

    /// A stream ends because more is buffered for it alone than may be.
    pub fn count_disconnected(&mut self) {
        self.counts.disconnected += 1;
    }

    /// Decides whether a stream is sent only the newest event of each key from where it is.
    fn conflate(&mut self, cursor: &mut Cursor) {
        let is_slow = cursor.is_conflated || self.forgotten > cursor.seq;
        if self.settings.on_slow == OnSlow::Newest && is_slow && cursor.parts.is_none() {
            let was = cursor.is_conflated;
            cursor.is_conflated = self.forgotten(&cursor.topics) > cursor.seq;
            self.counts.conflated += u64::from(cursor.is_conflated && !was);
        }
    }

    /// Tells a stream of the gap, after which it goes on with what is left.
    fn skip(&mut self, cursor: &mut Cursor) -> Notice {
        self.counts.skipped += 1;
        cursor.parts();
        let through = cursor.parts.as_ref().map_or(0, |parts| {
            let of_list = (0..parts.list.len()).map(|number| self.overtaken_part(cursor, parts, number));
            let of_leaving = parts.leaving.iter().map(|leaving| self.overtaken_leaving(cursor, leaving));
            of_list.chain(of_leaving).max().unwrap_or(0)
        });
        let seq = cursor.seq;
        let parts = cursor.parts();
        parts.report(through);
        parts.leaving.retain(|leaving| self.left_channel(leaving).is_some());
        let here = Position { seq: seq, told: Some(parts.told) };
        self.gap_notice(here, Gap::Slow)
    }

    /// Puts what a stream is to be sent next into `blocks`, at most so many bytes, but at least one block.
    pub fn gather<'a>(
        &'a self,
        cursor: &'a Cursor,
        framing: Framing,
        most_bytes: usize,
        blocks: &mut [IoSlice<'a>],
    ) -> Gathered {
        let mut events = self.pending_of(cursor);
        let mut gathered = Gathered { blocks: 0, seq: cursor.seq, is_lagging: false, is_end: false };
        let mut bytes = 0;
        for block in blocks {
            if bytes >= most_bytes {
                return gathered;
            }
            match events.next() {
                Some(entry) => {
                    *block = IoSlice::new(entry.event.bytes(framing));
                    bytes += block.len();
                    gathered.is_lagging |= entry.seq <= self.offered;
                    gathered.seq = entry.seq;
                    gathered.blocks += 1;
                }
                None => {
                    gathered.seq = self.newest;
                    gathered.is_end = true;
                    break;
                }
            }
        }
        gathered
    }

    /// All that was gathered was sent.
    pub fn all_sent(&mut self, cursor: &mut Cursor, gathered: &Gathered) {
        self.counts.delivered += gathered.blocks as u64;
        self.advance(cursor, gathered.seq);
    }

    /// So many bytes of it were.
    pub fn sent(&mut self, cursor: &mut Cursor, framing: Framing, bytes: usize) -> Sent {
        let mut sent = Sent { events: 0, bytes: 0, rest: None };
        let mut seq = cursor.seq;
        for entry in self.pending_of(cursor) {
            let block = entry.event.bytes(framing);
            if sent.bytes == bytes {
                break;
            }
            seq = entry.seq;
            sent.bytes += block.len();
            if sent.bytes > bytes {
                sent.rest = Some(entry.event.from(framing, block.len() - (sent.bytes - bytes)));
                break;
            }
            sent.events += 1;
        }
        self.counts.delivered += sent.events as u64 + u64::from(sent.rest.is_some());
        self.advance(cursor, seq);
        sent
    }

    /// What a stream that has unsubscribed from everything is still to be sent, if that is no more than so many bytes. The
    /// stream has left then.
    ///
    /// # Errors
    ///
    /// What it is told before that, if it is more: the stream has not left.
    pub fn take_rest(&mut self, cursor: &mut Cursor, most_bytes: usize) -> Result<Vec<Notice>, Vec<Notice>> {
        let mut notices = Vec::new();
        if self.is_overtaken(cursor) {
            if self.settings.on_slow == OnSlow::Disconnect {
                return Err(notices);
            }
            notices.push(self.skip(cursor));
        }
        let mut room = most_bytes;
        while cursor.is_replaying() {
            let replayed = self.replay(cursor);
            let fits = room.checked_sub(replayed.iter().map(Notice::len).sum());
            notices.extend(replayed);
            match fits {
                Some(rest) => room = rest,
                None => return Err(notices),
            }
        }
        let events = self.pending_of(cursor).scan(room, |room, entry| {
            let fits = room.checked_sub(entry.event.len());
            *room = fits.unwrap_or(0);
            Some(fits.map(|_| Notice::Event(entry.event.clone())))
        });
        let events: Option<Vec<Notice>> = events.collect();
        match events {
            Some(events) => {
                self.counts.delivered += events.len() as u64;
                notices.extend(events);
                self.leave(std::mem::take(cursor));
                Ok(notices)
            }
            None => Err(notices),
        }
    }

    fn advance(&mut self, cursor: &mut Cursor, seq: u64) {
        let (was_idle, had_parts) = (cursor.is_idle(), cursor.parts.is_some());
        cursor.advance(seq);
        if !was_idle {
            self.count_idle(cursor);
        }
        if had_parts && cursor.parts.is_none() {
            self.conflate(cursor);
        }
    }

    /// Whether a stream has been sent everything. Then its position is the newest sequence number, whatever its topics are.
    pub fn is_up_to_date(&self, cursor: &Cursor) -> bool {
        !cursor.is_opening()
            && !cursor.is_replaying()
            && self.pending_of(cursor).next().is_none()
            && !self.is_overtaken(cursor)
    }

    /// The position of a stream that is up to date, as a block.
    pub fn position(&mut self, cursor: &mut Cursor) -> Vec<u8> {
        self.advance(cursor, self.newest);
        self.epoch.block(Position::at(self.newest))
    }
}
