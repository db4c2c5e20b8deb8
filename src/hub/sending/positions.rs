//! Positions, which tell a client where it is in the sequence, and the bytes of the blocks of the hub itself.
//!
//! A block has its fields in the order event, retry, data, id. Some clients take an id when its line arrives (the standard:
//! at the blank line), so the id is last: such a client never resumes after an event that it has received in part.
//!
//! # Positions
//!
//! A stream begins with its position, so that a client which receives no event can resume too. A quiet stream is sent its
//! position if that has advanced since the last id that the client was sent ([`LastId`]). An id of the application is not
//! replaced by a position: the client may resume at another hub, which knows that id, but not this hub's position.

use crate::event::{encode_to_vec, retry_line, EventId, EventName, Field, LineEnd, Retry, Shared, Text};
use crate::hub::ids::LastId;
use crate::hub::{Cursor, Hub, PositionStyle, Settings};

/// The comment that says that the state follows: the first line of a stream, and of a `gap` event.
pub(in crate::hub) const STATE_COMMENT: &[u8] = b":state\n";

/// A block for one stream's own buffer, which is sent before anything of the logs.
#[derive(Clone, Debug)]
pub enum OwnBlock {
    /// The stream's position, a reconnection time, or both in one block.
    Position(Vec<u8>),
    /// A comment that names the channel of the next event.
    Channel(Vec<u8>),
    /// A `gap` event.
    Gap(Vec<u8>),
    /// An event of a log.
    Event(Shared),
}

/// Encodes fields, the id last. A reconnection time alone is a line. Returns none if there is no field.
pub(in crate::hub) fn block(
    event: Option<&str>,
    retry: Option<u64>,
    data: Option<&str>,
    id: Option<&str>,
) -> Option<Vec<u8>> {
    if event.is_none() && data.is_none() && id.is_none() {
        return retry.map(retry_line);
    }
    let retry = retry.map(|retry| retry.to_string());
    let event = event.and_then(|name| EventName::new(Text::from(name)).ok()).map(Field::Event);
    let retry = retry.as_deref().and_then(|retry| Retry::new(Text::from(retry)).ok()).map(Field::Retry);
    let data = data.map(|data| Field::Data(Text::from(data)));
    let id = id.and_then(|id| EventId::new(Text::from(id)).ok()).map(Field::Id);
    let fields: Vec<Field<'_>> = [event, retry, data, id].into_iter().flatten().collect();
    (!fields.is_empty()).then(|| encode_to_vec(&fields, LineEnd::Lf))
}

impl Settings {
    /// Returns a block with an id and a reconnection time, as far as there are any and the style allows.
    pub(in crate::hub) fn position_block(
        &self,
        style: PositionStyle,
        id: Option<&str>,
        retry: Option<u64>,
    ) -> Option<Vec<u8>> {
        match style {
            PositionStyle::Event if id.is_none() && retry.is_none() => None,
            PositionStyle::Event => block(Some(&self.position_event), retry, Some(""), id),
            PositionStyle::Id => block(None, retry, None, id),
            PositionStyle::None => block(None, retry, None, None),
        }
    }
}

impl Hub {
    /// Returns true if a stream has no backlog and is not lagging. Its position is then the last sequence number,
    /// whatever its topics are.
    pub fn is_up_to_date(&self, cursor: &Cursor) -> bool {
        !cursor.is_held()
            && !cursor.has_replay()
            && cursor.state_through().is_none()
            && self.logs.backlog(cursor).next().is_none()
            && !self.is_lagging(cursor)
    }

    /// Returns the id of the position of a quiet stream, which is sent next. None if the client needs no other id than the
    /// one that it has, or if the stream is still to be sent something.
    fn advance_to_position(&mut self, cursor: &mut Cursor) -> Option<String> {
        let is_silent = cursor.position == PositionStyle::None || cursor.last_id.is_custom();
        if is_silent || cursor.last_id.seq() >= self.logs.last_seq() || !self.is_up_to_date(cursor) {
            return None;
        }
        self.advance(cursor, self.logs.last_seq());
        cursor.last_id = LastId::at(self.logs.last_seq());
        Some(self.epoch.event_id(self.logs.last_seq()))
    }

    /// Returns the position of a quiet stream as a block, if it has advanced since the last id that the client was sent.
    pub fn quiet_block(&mut self, cursor: &mut Cursor) -> Option<Vec<u8>> {
        let id = self.advance_to_position(cursor)?;
        self.logs.settings().position_block(cursor.position, Some(&id), None)
    }

    /// Returns the last block of a stream that ends: a reconnection time in milliseconds, and the position if it has
    /// advanced.
    pub fn last_block(&mut self, cursor: &mut Cursor, retry: u64) -> Option<Vec<u8>> {
        let id = self.advance_to_position(cursor);
        self.logs.settings().position_block(cursor.position, id.as_deref(), Some(retry))
    }
}
