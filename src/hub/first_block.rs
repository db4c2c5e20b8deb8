//! The first block of a stream: its position, a reconnection time, and a `gap` event if its client has missed events.

use super::cursor_parts::ResumePoint;
use super::event_id::Position;
use super::gap::Missed;
use super::last_id::LastId;
use super::{Cursor, FirstBlock, Hub, Notice};

impl Hub {
    /// Makes the first subscriptions of a stream effective. The cursor begins at the earliest of their resume points.
    /// The returned notices are the stream's position there, and a `gap` event if its client has missed events.
    pub fn begin(&mut self, cursor: &mut Cursor) -> Vec<Notice> {
        let mut notices = Vec::new();
        let mut points = match &mut cursor.parts {
            Some(parts) if !parts.resume_points.is_empty() => std::mem::take(&mut parts.resume_points),
            _ => return notices,
        };
        for (number, point) in points.iter_mut().enumerate() {
            self.resolve_id(point, &cursor.topics);
            cursor.ensure_parts().list[number].extent.after = point.seq;
        }
        cursor.seq = points.iter().map(|point| point.seq).min().unwrap_or(self.last_seq);
        let Missed { through, gap } = self.missed_at(cursor, &points);
        let here = Position { seq: cursor.seq, reported: through };
        let position = if gap.is_some() { Position { reported: Some(0), ..here } } else { here };
        notices.extend(self.first_notice(cursor, position, &points));
        if let Some(gap) = gap {
            cursor.ensure_parts().report(through.unwrap_or(0));
            notices.push(self.gap_notice(cursor, here, gap));
        }
        cursor.advance(cursor.seq);
        notices
    }

    /// Returns the first block of a stream: the position, and the reconnection time that the request has. A client that
    /// resumes after an id of the application is sent that id again.
    fn first_notice(&self, cursor: &mut Cursor, position: Position, points: &[ResumePoint]) -> Option<Notice> {
        let FirstBlock { position: style, retry, keeps_id, .. } = cursor.ensure_parts().first_block;
        let custom = points.first().and_then(|first| first.custom_id.as_deref());
        let custom = custom.filter(|id| points.iter().all(|point| point.custom_id.as_deref() == Some(*id)));
        cursor.last_id = LastId::new(position.seq, keeps_id || custom.is_some());
        let id = custom.map_or_else(|| self.epoch.id(position), str::to_owned);
        let id = Some(&*id).filter(|_| !keeps_id);
        self.position_block(style, id, retry).map(Notice::Position)
    }
}
