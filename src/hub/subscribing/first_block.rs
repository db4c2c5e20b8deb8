//! The first block of a stream: its position, a reconnection time, and a `gap` event if its client has missed events.

use crate::hub::cursor::parts::{Part, ResumePoint};
use crate::hub::gaps::missed::Missed;
use crate::hub::ids::plain_and_opaque::ClientPosition;
use crate::hub::ids::LastId;
use crate::hub::logs::Logs;
use crate::hub::sending::positions::{block, STATE_COMMENT};
use crate::hub::{Cursor, FirstBlock, Hub, OwnBlock};

impl Hub {
    /// Makes the first subscriptions of a stream effective. The cursor begins at the earliest of their resume points.
    /// The returned blocks are the stream's position there, and a `gap` event if its client has missed events.
    pub fn begin(&mut self, cursor: &mut Cursor) -> Vec<OwnBlock> {
        let mut points = match &mut cursor.parts {
            Some(parts) if !parts.resume_points.is_empty() => std::mem::take(&mut parts.resume_points),
            _ => return Vec::new(),
        };
        points.iter_mut().for_each(|point| self.resolve_id(point, &cursor.topics));
        self.place_parts(cursor, &points);
        // The client is sent its first id, or another one, or is told that its state is complete.
        let is_in_state = points.iter().any(|point| point.state_after().is_some());
        cursor.has_news = is_in_state || !points.iter().all(ResumePoint::has_known_id);
        let missed = self.logs.set_baselines(cursor, &points);
        let own_blocks = self.first_blocks(cursor, &missed, &points);
        if cursor.state_through().is_some() {
            // There are no positions before the state is complete. If the client may be cut before, ids say what it has.
            let has_marks = cursor.is_poll() || is_in_state;
            let parts = cursor.ensure_parts();
            let through = parts.list.iter().map(|part| part.extent.state_through.unwrap_or(0)).min();
            parts.reported_through = through.filter(|_| has_marks).unwrap_or(0);
        }
        cursor.advance(cursor.seq);
        own_blocks
    }

    /// Lets each part begin at its resume point, or with the state, and the cursor at the earliest of these. A client that
    /// resumes may have only some of the state: it has all of it when it has been sent what was published before.
    fn place_parts(&mut self, cursor: &mut Cursor, points: &[ResumePoint]) {
        let list = &cursor.ensure_parts().list;
        let has_missed = list.iter().zip(points).any(|(part, point)| self.logs.has_missed_at(part, point));
        let state_after = |point: &ResumePoint| point.state_after().filter(|_| !has_missed);
        let starts_with_state = |point: &ResumePoint| {
            point.follows_state && (!point.has_known_id() || has_missed || point.state_after().is_some())
        };
        let as_of = points.iter().filter_map(|point| state_after(point).map(|_| point.seq)).max().unwrap_or(0);
        let held = points.iter().any(starts_with_state).then(|| self.hold_first_snapshot(as_of));
        let last_seq = self.logs.last_seq();
        let parts = cursor.ensure_parts();
        (parts.held, parts.is_ordered) = (held, true);
        for (part, point) in parts.list.iter_mut().zip(points) {
            if let Some(held) = held.filter(|_| starts_with_state(point)) {
                *part = Part::of_state(std::mem::take(&mut part.topics), held.through);
                if let Some(after) = state_after(point) {
                    (part.extent.after, part.extent.state_since) = (after, point.seq);
                }
            } else {
                part.extent.after = point.seq;
                if point.follows_state && point.seq < last_seq {
                    part.extent.state_since = last_seq;
                }
            }
        }
        let first = parts.list.iter().map(|part| part.extent.after).min();
        cursor.seq = first.unwrap_or_else(|| self.logs.last_seq());
    }

    /// Returns the first block of a stream, and a `gap` event if its client has missed events.
    fn first_blocks(&mut self, cursor: &mut Cursor, missed: &Missed, points: &[ResumePoint]) -> Vec<OwnBlock> {
        let Missed { through, gap } = *missed;
        let here = ClientPosition { seq: cursor.seq, reported: through };
        let position = if gap.is_some() { ClientPosition { reported: Some(0), ..here } } else { here };
        let mut own_blocks: Vec<OwnBlock> = self.first_position(cursor, position, points).into_iter().collect();
        if let Some(gap) = gap {
            let has_position = cursor.state_through().is_none();
            cursor.ensure_parts().record_gap(through.unwrap_or(0));
            own_blocks.push(self.gap_block(cursor, Some(here).filter(|_| has_position), gap));
        }
        own_blocks
    }

    /// Returns the first block of a stream: the position, and the reconnection time that the request has. A client that
    /// resumes after an id of the application is sent that id again. A stream that begins with the state has no position before
    /// the state is complete. It says so in a comment: what comes until then is not all that was published in between.
    fn first_position(
        &self,
        cursor: &mut Cursor,
        position: ClientPosition,
        points: &[ResumePoint],
    ) -> Option<OwnBlock> {
        let FirstBlock { position: style, retry, keeps_id, is_sent, .. } = cursor.ensure_parts().first_block;
        let custom = points.first().and_then(|first| first.custom_id.as_deref());
        let custom = custom.filter(|id| points.iter().all(|point| point.custom_id.as_deref() == Some(*id)));
        cursor.last_id = LastId::new(position.seq, keeps_id || custom.is_some());
        if is_sent {
            return None;
        }
        if cursor.state_through().is_some() {
            let retry = block(None, retry, None, None).unwrap_or_default();
            return Some(OwnBlock::Position([STATE_COMMENT, &retry].concat()));
        }
        let id = custom.map_or_else(|| self.epoch.id(position), str::to_owned);
        let id = Some(&*id).filter(|_| !keeps_id);
        self.logs.settings().position_block(style, id, retry).map(OwnBlock::Position)
    }
}

impl Logs {
    /// Returns true if the client has missed events of a part. Then each part that follows the state begins with it: the client
    /// receives one gap, whatever it has missed.
    fn has_missed_at(&self, part: &Part, point: &ResumePoint) -> bool {
        let seen = if point.follows_state { point.seq } else { point.seq.max(point.reported_through) };
        let lost = match point.state_after() {
            Some(_) => self.forgotten_through,
            None => self.channels().evicted_through(&part.topics),
        };
        point.has_gap() || (point.has_known_id() && lost > seen)
    }
}
