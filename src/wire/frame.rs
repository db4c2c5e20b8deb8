//! Frames in a sequence of bytes that is cut anywhere, how many bytes of them a worker may send, and the messages of a side as
//! frames.

use super::codec::{Malformed, Writer};
use crate::Failure;

/// The most bytes of a frame after its length. An event that is longer is refused by its publisher.
pub const MAX_FRAME_BYTES: usize = 16 << 20;

/// The bytes of a frame's length.
const LENGTH_BYTES: usize = 4;

/// The room that an empty buffer keeps.
const KEPT_BYTES: usize = 64 << 10;

/// One frame: the kind of its message, and the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The kind of the message.
    pub kind: u8,
    /// The message.
    pub message: &'a [u8],
}

/// Returns the kind of the message of an encoded frame.
pub(super) fn kind_of(frame: &[u8]) -> Option<u8> {
    frame.get(LENGTH_BYTES).copied()
}

impl Frame<'_> {
    /// Returns the bytes that the frame had on the wire: what [`Credits`] count.
    pub fn wire_bytes(&self) -> usize {
        LENGTH_BYTES + 1 + self.message.len()
    }
}

/// Appends a frame that has at most `most` bytes after its length.
pub(super) fn write_frame_of(
    most: usize,
    out: &mut Vec<u8>,
    kind: u8,
    write: impl FnOnce(&mut Writer<'_>),
) -> Result<(), Failure> {
    let start = out.len();
    out.extend_from_slice(&[0; LENGTH_BYTES]);
    out.push(kind);
    write(&mut Writer(out));
    let bytes = out.len() - start - LENGTH_BYTES;
    if bytes > most {
        out.truncate(start);
        let message = format!("a message to the hub process has at most {most} bytes, this one has {bytes}");
        return Err(Failure::invalid("data", message));
    }
    out[start..start + LENGTH_BYTES].copy_from_slice(&(bytes as u32).to_le_bytes());
    Ok(())
}

/// The bytes that have arrived, and are not a complete frame yet or were not taken yet.
///
/// The buffer grows as bytes arrive, not by the length that a frame says it has.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    /// Bytes that have arrived are in `start..end`.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl FrameBuffer {
    /// Returns room for at least `least` bytes, to read into. [`filled`](Self::filled) says how many were read.
    pub fn room(&mut self, least: usize) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.bytes.len() > KEPT_BYTES.max(least) {
                self.bytes = Vec::new();
            }
        }
        if self.bytes.len() - self.end < least && self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.bytes.len() - self.end < least {
            // At least doubled, so that the bytes of a long frame are copied once on average.
            self.bytes.resize((self.end + least).max(self.bytes.len() * 2), 0);
        }
        &mut self.bytes[self.end..]
    }

    /// Says that the first `count` bytes of the [`room`](Self::room) were read.
    pub fn filled(&mut self, count: usize) {
        self.end = self.bytes.len().min(self.end + count);
    }

    /// Appends bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.room(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.filled(bytes.len());
    }

    /// Returns the length of the next frame, once its first bytes have arrived.
    fn next_length(&self) -> Result<Option<usize>, Malformed> {
        let length = some_or!(self.bytes().get(..LENGTH_BYTES), return Ok(None));
        let length = length.try_into().map(u32::from_le_bytes).map_err(|_| Malformed)? as usize;
        if length == 0 || length > MAX_FRAME_BYTES {
            return Err(Malformed);
        }
        Ok(Some(length))
    }

    /// Returns true if [`next_frame`](Self::next_frame) has a frame. Errors are those of [`next_frame`](Self::next_frame).
    pub fn has_frame(&self) -> Result<bool, Malformed> {
        Ok(self.next_length()?.map_or(false, |length| self.len() >= LENGTH_BYTES + length))
    }

    /// Takes the next frame; none if it is not complete. Fails with [`Malformed`] if a frame is empty or too long. What follows
    /// it cannot be read.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, Malformed> {
        let is_whole = |length: &usize| self.len() >= LENGTH_BYTES + length;
        let length = some_or!(self.next_length()?.filter(is_whole), return Ok(None));
        let start = self.start + LENGTH_BYTES;
        self.start = start + length;
        let frame = &self.bytes[start..start + length];
        Ok(Some(Frame { kind: frame[0], message: &frame[1..] }))
    }

    /// Returns the bytes that have arrived and were not taken.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Returns how many bytes have arrived and were not taken.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Returns true if no bytes have arrived that were not taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The number of bytes of publishes that a worker may have sent that the hub process has not handled.
pub const WINDOW_BYTES: u64 = 4 << 20;

/// The credits of one connection, counted by each side: how much a worker may publish before the hub process has handled it.
/// That bounds the events that wait for a hub's store.
///
/// Only publishes spend credits. All other requests are carried out when they are read, so nothing is to be bounded, and a
/// store that is slow keeps none of them waiting.
///
/// A publish may be sent while there are credits left, even if it costs more than these: an event of any size can be sent, and
/// the hub process never has more than the window and one frame to handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credits {
    left: i64,
    /// The bytes that were handled and are not granted again yet.
    pub handled: u64,
}

impl Credits {
    /// Begins with the credits of a [`Welcome`](super::Welcome).
    pub fn new(bytes: u64) -> Self {
        Self { left: i64::try_from(bytes).unwrap_or(i64::MAX), handled: 0 }
    }

    /// Continues in a hub process that has handled all publishes, and has still to grant so many bytes again.
    pub fn after(bytes: u64, handled: u64) -> Self {
        Self { handled, ..Self::new(bytes.saturating_sub(handled)) }
    }

    /// Returns true if a publish may be sent.
    pub fn may_send(&self) -> bool {
        self.left > 0
    }

    /// Counts a frame of that many bytes. Returns false if it was not allowed.
    #[must_use]
    pub fn spend(&mut self, bytes: usize) -> bool {
        let may_send = self.may_send();
        self.left = self.left.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        may_send
    }

    /// In the worker, adds what the hub process has granted.
    pub fn add(&mut self, bytes: u64) {
        self.left = self.left.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// In the hub process, counts a frame as handled. Returns the bytes to grant, if they are worth a message.
    pub fn handle(&mut self, bytes: usize) -> Option<u64> {
        self.handled += bytes as u64;
        if self.handled < WINDOW_BYTES / 4 {
            return None;
        }
        let granted = std::mem::take(&mut self.handled);
        self.add(granted);
        Some(granted)
    }
}

/// Makes the messages of a side, and their frames, of their list: the number of each, its name, and what it contains, in the
/// order of the bytes.
macro_rules! messages {
    (
        $(#[$about:meta])*
        pub enum $side:ident<'a> {
            $(
                $(#[$doc:meta])*
                $kind:literal $name:ident $(($content:ident: $type:ty))?
                $({ $($(#[$field_doc:meta])* $field:ident: $field_type:ty),+ $(,)? })?
            ),+ $(,)?
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(clippy::large_enum_variant)] // a message lives as long as it is read or written
        pub enum $side<'a> {
            $($(#[$doc])* $name $(($type))? $({ $($(#[$field_doc])* $field: $field_type),+ })?),+
        }

        impl<'a> $side<'a> {
            /// Appends the message as a frame. Fails with `Invalid` if it is too long; then nothing is appended.
            pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), crate::Failure> {
                use crate::codec::Coded;
                match self {
                    $(Self::$name { $(0: $content)? $($($field),+)? } => super::frame::write_frame_of(super::frame::MAX_FRAME_BYTES, out, $kind, |_to| {
                        $($content.write(_to);)?
                        $($($field.write(_to);)+)?
                    }),)+
                }
            }

            /// Decodes a message. Fails with [`Malformed`](super::Malformed) if the frame is not a message of this side.
            pub fn decode(frame: super::Frame<'a>) -> Result<Self, super::Malformed> {
                use crate::codec::Coded;
                let mut reader = crate::codec::Reader(frame.message);
                let message = match frame.kind {
                    $($kind => Self::$name {
                        $(0: <$type>::read(&mut reader)?)?
                        $($($field: <$field_type>::read(&mut reader)?),+)?
                    },)+
                    _ => return Err(super::Malformed),
                };
                reader.end()?;
                Ok(message)
            }
        }

        #[cfg(test)]
        impl<'a> crate::codec::Random for $side<'a> {
            fn random(rng: &mut fastrand::Rng) -> Self {
                let all: &[fn(&mut fastrand::Rng) -> Self] = &[$(|_rng| Self::$name {
                    $(0: <$type>::random(_rng))?
                    $($($field: <$field_type>::random(_rng)),+)?
                }),+];
                all[rng.usize(..all.len())](rng)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_obeys_its_credits_is_never_cut_off_and_never_stuck() {
        for size in [1, 100, WINDOW_BYTES as usize / 4, WINDOW_BYTES as usize * 3] {
            let (mut worker, mut hub) = (Credits::new(WINDOW_BYTES), Credits::new(WINDOW_BYTES));
            for _ in 0..WINDOW_BYTES as usize * 4 / size + 4 {
                let mut sent = 0;
                while worker.may_send() && sent < 3 {
                    assert!(worker.spend(size) && hub.spend(size));
                    sent += 1;
                }
                assert!(sent > 0, "{size}");
                for _ in 0..sent {
                    worker.add(hub.handle(size).unwrap_or(0));
                }
            }
        }
    }

    #[test]
    fn a_frame_without_credits_is_refused() {
        let mut credits = Credits::new(10);
        assert_eq!([credits.spend(9), credits.spend(9), credits.spend(1)], [true, true, false]);
    }
}
