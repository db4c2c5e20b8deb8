//! The encoder: fields to bytes; and the framing of these bytes in a response: none, or the chunks of HTTP/1.1.
//!
//! # The problem
//!
//! An event is written straight into the buffer of a Perl scalar, or into a chunk that many streams share. The buffer has
//! to be allocated once, before the first byte is written, and no byte may be copied twice.
//!
//! # The algorithm
//!
//! Two passes over the fields:
//!
//! 1. [`size_bound`] adds up an upper bound. It counts the line breaks of data and comments, and adds the longest bytes
//!    that can replace each. The bound exceeds the result by less than 16 bytes a line and a block.
//! 2. [`encode`] writes. Between two line breaks ([`Breaks`]) it copies the text, and then a `Literal`: the line end and the
//!    field name of the next line. A literal is always copied as eight bytes, which is one move instead of a call to
//!    `memcpy`; the next write overwrites the excess. The bound includes that excess.
//!
//! Latin-1 text is encoded as UTF-8 while it is copied, eight bytes at a time as long as they are ASCII.
//!
//! # Complexity
//!
//! O(n) in the bytes of the fields, without an allocation. Both passes search each text of data once.
//!
//! # The naive twin
//!
//! `naive.rs` builds a string for each line and joins them. Property tests compare every block with it.

use super::byte_mask::{self, Breaks};
use super::{EventId, Field, Text};
use bytes::Bytes;
use std::borrow::Cow;
use std::io::Write;

/// The end of a line in the output (WHATWG HTML 9.2.5, `end-of-line`). It is fixed when a stream opens, because some clients
/// split the whole stream at the first line end that they see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnd {
    /// A line feed: the shortest.
    Lf,
    /// Carriage return and line feed, as many libraries send it.
    CrLf,
}

/// The fixed bytes between two texts. All eight are copied; the first `len` count.
struct Literal {
    bytes: [u8; 8],
    len: usize,
}

impl Literal {
    const fn new(bytes: [u8; 8], len: usize) -> Self {
        Self { bytes, len }
    }
}

static EVENT: Literal = Literal::new(*b"event: \0", 7);
static ID: Literal = Literal::new(*b"id: \0\0\0\0", 4);
static RETRY: Literal = Literal::new(*b"retry: \0", 7);
static LF: Literal = Literal::new(*b"\n\0\0\0\0\0\0\0", 1);
static CRLF: Literal = Literal::new(*b"\r\n\0\0\0\0\0\0", 2);

/// The frames of a field with several lines: the name before the first line, a line end and the name between two lines.
struct FieldLiterals {
    name: Literal,
    lf: Literal,
    crlf: Literal,
}

static DATA: FieldLiterals = FieldLiterals {
    name: Literal::new(*b"data: \0\0", 6),
    lf: Literal::new(*b"\ndata: \0", 7),
    crlf: Literal::new(*b"\r\ndata: ", 8),
};
static COMMENT: FieldLiterals = FieldLiterals {
    name: Literal::new(*b": \0\0\0\0\0\0", 2),
    lf: Literal::new(*b"\n: \0\0\0\0\0", 3),
    crlf: Literal::new(*b"\r\n: \0\0\0\0", 4),
};

impl LineEnd {
    /// Returns the characters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lf => "\n",
            Self::CrLf => "\r\n",
        }
    }

    /// Gives a block whose lines end in LF this line end. The block has no CR, as no encoded block with LF has.
    pub fn convert(self, block: &[u8]) -> Cow<'_, [u8]> {
        if self == Self::Lf {
            return Cow::Borrowed(block);
        }
        let mut converted = Vec::with_capacity(block.len() + memchr::memchr_iter(b'\n', block).count());
        let mut start = 0;
        for at in memchr::memchr_iter(b'\n', block) {
            converted.extend_from_slice(&block[start..at]);
            converted.extend_from_slice(b"\r\n");
            start = at + 1;
        }
        converted.extend_from_slice(&block[start..]);
        Cow::Owned(converted)
    }

    fn literal(self) -> &'static Literal {
        match self {
            Self::Lf => &LF,
            Self::CrLf => &CRLF,
        }
    }

    fn between(self, lines: &FieldLiterals) -> &Literal {
        match self {
            Self::Lf => &lines.lf,
            Self::CrLf => &lines.crlf,
        }
    }
}

/// The longest frame between two lines.
const LONGEST_BREAK: usize = 8;

/// Enough for `"retry: "`, the longest name, and a line end.
const LONGEST_FRAME: usize = 9;

/// Returns an upper bound of the bytes that [`encode`] needs for these fields.
pub fn size_bound<'a>(fields: impl IntoIterator<Item = Field<'a>>) -> usize {
    fields.into_iter().map(Field::size_bound).fold(BLANK_SIZE_BOUND, usize::saturating_add)
}

/// The bytes that the blank line at the end of a block may need: a whole `Literal`.
pub const BLANK_SIZE_BOUND: usize = 8;

impl Field<'_> {
    /// Returns an upper bound of the bytes of this field: [`size_bound`] is the sum of these and [`BLANK_SIZE_BOUND`].
    pub fn size_bound(self) -> usize {
        let (text, breaks) = match self {
            Self::Event(name) => (name.text(), 0),
            Self::Id(id) => (id.text(), 0),
            Self::Retry(retry) => (retry.text(), 0),
            Self::Data(text) | Self::Comment(text) => (text, byte_mask::count(text.bytes())),
            Self::Blank => return BLANK_SIZE_BOUND,
        };
        breaks.saturating_mul(LONGEST_BREAK).saturating_add(text.size_bound()).saturating_add(LONGEST_FRAME)
    }
}

/// Writes a block to the front of `out`: the fields in their order, then a blank line. Comments alone have none: some clients
/// report an empty event for it. Returns the number of bytes.
///
/// # Panics
///
/// If `out` is shorter than [`size_bound`] of the fields.
pub fn encode<'a>(fields: impl IntoIterator<Item = Field<'a>>, line_end: LineEnd, out: &mut [u8]) -> usize {
    let mut block = Block::new(out, line_end);
    let written = fields.into_iter().try_for_each(|field| block.add(field)).and_then(|()| block.end());
    written.expect("the buffer has the size that was measured")
}

/// Encodes a block into a new vector, as [`encode`] does.
pub fn encode_to_vec(fields: &[Field<'_>], line_end: LineEnd) -> Vec<u8> {
    let mut out = vec![0; size_bound(fields.iter().copied())];
    let len = encode(fields.iter().copied(), line_end, &mut out);
    out.truncate(len);
    out
}

/// Returns a reconnection time in milliseconds as a line. It counts as soon as the line ends (WHATWG HTML 9.2.6), so it has no
/// blank line, for which some clients report an empty event: the next block may follow, or the end of the response.
pub fn retry_line(milliseconds: u64) -> Vec<u8> {
    format!("retry: {milliseconds}\n").into_bytes()
}

/// Returns true if a line of a block is an `id`.
pub fn has_id_line(block: &[u8]) -> bool {
    let mut lines = block.split(|byte| matches!(byte, b'\n' | b'\r'));
    lines.any(|line| line.strip_prefix(b"id").map_or(false, |rest| rest.is_empty() || rest[0] == b':'))
}

/// A block while it is written, up to `at`, as [`encode`] does: for a buffer that may be too short.
#[derive(Debug)]
pub struct Block<'out> {
    out: &'out mut [u8],
    at: usize,
    line_end: LineEnd,
    has_comment: bool,
    has_field: bool,
}

impl<'out> Block<'out> {
    /// Begins a block at the front of `out`.
    pub fn new(out: &'out mut [u8], line_end: LineEnd) -> Self {
        Self { out, at: 0, line_end, has_comment: false, has_field: false }
    }

    /// False if the buffer is empty.
    pub fn has_room(&self) -> bool {
        !self.out.is_empty()
    }

    /// Writes a field. Returns none if it does not fit; then the block is of no use.
    #[inline]
    pub fn add(&mut self, field: Field<'_>) -> Option<()> {
        let is_comment = matches!(field, Field::Comment(_));
        self.has_comment |= is_comment;
        self.has_field |= !is_comment;
        match field {
            Field::Event(name) => self.line(&EVENT, name.text()),
            Field::Id(id) => self.line(&ID, id.text()),
            Field::Retry(retry) => self.line(&RETRY, retry.text()),
            Field::Data(text) => self.lines(&DATA, text),
            Field::Comment(text) => self.lines(&COMMENT, text),
            Field::Blank => self.end_line(),
        }
    }

    /// Writes the end of the block. Returns its length; none if it does not fit.
    #[inline]
    pub fn end(mut self) -> Option<usize> {
        if self.has_field || !self.has_comment {
            self.end_line()?;
        }
        Some(self.at)
    }

    fn line(&mut self, name: &Literal, text: Text<'_>) -> Option<()> {
        self.put_literal(name)?;
        self.put_text(text, text.bytes())?;
        self.end_line()
    }

    /// Writes one line of the field for each line of the text. WHATWG HTML 9.2.5: CRLF, LF and a lone CR each end a line.
    fn lines(&mut self, lines: &FieldLiterals, text: Text<'_>) -> Option<()> {
        let bytes = text.bytes();
        if bytes.len() > self.out.len() {
            return None; // without the first lines
        }
        let between = self.line_end.between(lines);
        let mut start = 0;
        self.put_literal(&lines.name)?;
        for at in Breaks::new(bytes) {
            if at < start {
                continue; // the LF of a CRLF
            }
            self.put_text(text, &bytes[start..at])?;
            self.put_literal(between)?;
            let is_crlf = bytes[at] == b'\r' && bytes.get(at + 1) == Some(&b'\n');
            start = at + 1 + usize::from(is_crlf);
        }
        self.put_text(text, &bytes[start..])?;
        self.end_line()
    }

    #[inline]
    fn end_line(&mut self) -> Option<()> {
        self.put_literal(self.line_end.literal())
    }

    #[inline]
    fn put_literal(&mut self, frame: &Literal) -> Option<()> {
        self.out.get_mut(self.at..self.at + frame.bytes.len())?.copy_from_slice(&frame.bytes);
        self.at += frame.len;
        Some(())
    }

    #[inline]
    fn put_text(&mut self, text: Text<'_>, part: &[u8]) -> Option<()> {
        if text.is_verbatim() {
            self.put(part)
        } else {
            self.put_latin1(part)
        }
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        self.out.get_mut(self.at..self.at + bytes.len())?.copy_from_slice(bytes);
        self.at += bytes.len();
        Some(())
    }

    /// Writes Latin-1 as UTF-8, eight bytes at a time as long as they are ASCII, as most text is.
    fn put_latin1(&mut self, part: &[u8]) -> Option<()> {
        let mut words = part.chunks_exact(8);
        for word in words.by_ref() {
            match <[u8; 8]>::try_from(word) {
                Ok(word) if word.is_ascii() => self.put(&word)?,
                _ => self.put_characters(word)?,
            }
        }
        self.put_characters(words.remainder())
    }

    fn put_characters(&mut self, latin1: &[u8]) -> Option<()> {
        latin1.iter().try_for_each(|byte| {
            if byte.is_ascii() {
                self.put(&[*byte])
            } else {
                self.put(&[0xC0 | byte >> 6, 0x80 | byte & 0x3F])
            }
        })
    }
}

/// The framing of a response's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No framing: the response ends with the connection.
    Plain,
    /// Chunks (RFC 9112, section 7.1). Each block is one chunk.
    Chunked,
}

impl Framing {
    /// Frames a block. An empty block stays empty: a chunk without bytes would end the response.
    pub fn frame(self, block: &[u8]) -> Bytes {
        match self {
            Self::Chunked if !block.is_empty() => {
                let mut framed = format!("{:x}\r\n", block.len()).into_bytes();
                framed.reserve_exact(block.len() + 2);
                framed.extend_from_slice(block);
                framed.extend_from_slice(b"\r\n");
                framed.into()
            }
            _ => Bytes::copy_from_slice(block),
        }
    }

    /// Returns a block without its framing. Unframed input is returned unchanged.
    pub fn unframe(self, framed: &[u8]) -> &[u8] {
        let start = match self {
            Self::Plain => return framed,
            Self::Chunked => framed.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1),
        };
        framed.get(start..framed.len().saturating_sub(2)).unwrap_or(framed)
    }

    /// Returns a framed keepalive: a comment, which clients ignore (WHATWG HTML 9.2.5). It has no blank line, for which
    /// some clients report an empty event.
    pub fn keepalive(self, line_end: LineEnd) -> Bytes {
        Bytes::from_static(match (self, line_end) {
            (Self::Plain, LineEnd::Lf) => b":\n",
            (Self::Plain, LineEnd::CrLf) => b":\r\n",
            (Self::Chunked, LineEnd::Lf) => b"2\r\n:\n\r\n",
            (Self::Chunked, LineEnd::CrLf) => b"3\r\n:\r\n\r\n",
        })
    }

    /// Returns the bytes that end a response.
    pub fn end(self) -> Bytes {
        Bytes::from_static(match self {
            Self::Plain => b"",
            Self::Chunked => b"0\r\n\r\n",
        })
    }
}

/// A block that many streams send, encoded once for both framings: it is stored as a chunk, whose middle is the block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    chunk: Bytes,
    /// The number of bytes of the chunk before the block.
    before: u8,
}

impl Shared {
    /// The most bytes before a block in its chunk: sixteen digits and a line end.
    const BEFORE: usize = 18;
    const AFTER: &'static [u8] = b"\r\n";

    /// Makes a block: `write` fills a buffer of `room` bytes and returns how many it wrote, at least one.
    pub fn write(room: usize, write: impl FnOnce(&mut [u8]) -> usize) -> Self {
        let mut chunk = vec![0; Self::BEFORE + room + Self::AFTER.len()];
        let len = write(&mut chunk[Self::BEFORE..Self::BEFORE + room]);
        let mut digits = [0; Self::BEFORE];
        let mut rest = &mut digits[..];
        let written = write!(rest, "{:x}\r\n", len);
        debug_assert!(written.is_ok(), "a length has sixteen digits at most");
        let before = Self::BEFORE - rest.len();
        let start = Self::BEFORE - before;
        chunk[start..Self::BEFORE].copy_from_slice(&digits[..before]);
        chunk.truncate(Self::BEFORE + len);
        chunk.extend_from_slice(Self::AFTER);
        Self { chunk: Bytes::from(chunk).slice(start..), before: before as u8 }
    }

    /// Makes a block of these bytes.
    pub(crate) fn of(block: impl AsRef<[u8]>) -> Self {
        let block = block.as_ref();
        Self::write(block.len(), |out| {
            out.copy_from_slice(block);
            block.len()
        })
    }

    /// Encodes an event. Its id is the last field: the given one, unless the fields contain an id. A client that takes an id
    /// when its line arrives then has received the rest of the event. After an id of the fields the given one follows in a
    /// block without data: the client comes back with that.
    pub fn with_id_last<'a: 'b, 'b>(fields: impl Iterator<Item = Field<'a>> + Clone, id: Option<EventId<'b>>) -> Self {
        #[allow(clippy::map_identity)] // both ends of the chain below have one lifetime
        let fields = fields.map(|field| -> Field<'b> { field });
        let is_id = |field: &Field<'_>| matches!(field, Field::Id(_));
        let own = fields.clone().filter(is_id);
        let has_own = own.clone().next().is_some();
        let (last, after) = if has_own { (None, id) } else { (id, None) };
        let all = fields.filter(move |field| !is_id(field)).chain(own).chain(last.map(Field::Id));
        let after = after.map(Field::Id);
        let sizes = all.clone().chain(after).map(Field::size_bound);
        let room = sizes.fold(2 * BLANK_SIZE_BOUND, usize::saturating_add);
        Self::write(room, |out| {
            let length = encode(all, LineEnd::Lf, out);
            length + after.map_or(0, |id| encode(std::iter::once(id), LineEnd::Lf, &mut out[length..]))
        })
    }

    /// Returns the framed block.
    pub fn bytes(&self, framing: Framing) -> &[u8] {
        match framing {
            Framing::Chunked => &self.chunk,
            Framing::Plain => &self.chunk[self.before.into()..self.chunk.len() - Self::AFTER.len()],
        }
    }

    /// Returns the framed block from an offset on, without copying.
    pub fn from(&self, framing: Framing, at: usize) -> Bytes {
        self.chunk.slice_ref(&self.bytes(framing)[at..])
    }

    /// Returns the memory that the block takes, in bytes.
    pub fn len(&self) -> usize {
        self.chunk.len()
    }

    /// Returns false: a block has at least one byte.
    pub fn is_empty(&self) -> bool {
        self.chunk.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::cases;
    use crate::event::{naive, EventId, EventName, Retry};
    use proptest::prelude::*;

    const SPLIT: [(&str, &str); 16] = [
        ("", "data: \n\n"),
        ("foo", "data: foo\n\n"),
        (" lead", "data:  lead\n\n"),
        (": c", "data: : c\n\n"),
        ("a\nb", "data: a\ndata: b\n\n"),
        ("a\rb", "data: a\ndata: b\n\n"),
        ("a\r\nb", "data: a\ndata: b\n\n"),
        ("a\n\rb", "data: a\ndata: \ndata: b\n\n"),
        ("a\r\r\nb", "data: a\ndata: \ndata: b\n\n"),
        ("\n", "data: \ndata: \n\n"),
        ("\r\n", "data: \ndata: \n\n"),
        ("a\n", "data: a\ndata: \n\n"),
        ("a\r", "data: a\ndata: \n\n"),
        ("\n\na", "data: \ndata: \ndata: a\n\n"),
        ("a\u{85}b\u{2028}c", "data: a\u{85}b\u{2028}c\n\n"),
        ("\0", "data: \0\n\n"),
    ];

    #[test]
    fn each_line_of_data_becomes_a_data_line() {
        for (text, expected) in SPLIT {
            let fields = [Field::Data(Text::from(text))];
            assert_eq!(encode_to_vec(&fields, LineEnd::Lf), expected.as_bytes(), "{text:?}");
            let crlf = expected.replace('\n', "\r\n");
            assert_eq!(encode_to_vec(&fields, LineEnd::CrLf), crlf.as_bytes(), "{text:?}");
            for line_end in [LineEnd::Lf, LineEnd::CrLf] {
                assert_eq!(line_end.convert(expected.as_bytes()), encode_to_vec(&fields, line_end), "{text:?}");
            }
        }
    }

    #[test]
    fn fields_are_written_in_the_order_given() {
        let fields = [
            Field::Comment(Text::from("a\nb")),
            Field::Event(EventName::new(Text::from("ping")).unwrap()),
            Field::Id(EventId::new(Text::from("")).unwrap()),
            Field::Retry(Retry::new(Text::from("50")).unwrap()),
            Field::Data(Text::from("x")),
            Field::Data(Text::from("y")),
        ];
        let expected = ": a\n: b\nevent: ping\nid: \nretry: 50\ndata: x\ndata: y\n\n";
        assert_eq!(encode_to_vec(&fields, LineEnd::Lf), expected.as_bytes());
    }

    #[test]
    fn comments_alone_have_no_blank_line() {
        let comment = |text| Field::Comment(Text::from(text));
        assert_eq!(encode_to_vec(&[comment("ping")], LineEnd::Lf), b": ping\n");
        assert_eq!(encode_to_vec(&[comment("a\nb"), comment("")], LineEnd::CrLf), b": a\r\n: b\r\n: \r\n");
        let retry = Field::Retry(Retry::new(Text::from("5")).unwrap());
        assert_eq!(encode_to_vec(&[comment("a"), retry], LineEnd::Lf), b": a\nretry: 5\n\n");
    }

    #[test]
    fn an_id_line_is_found_among_other_lines() {
        for block in ["id: 7\n\n", "data: x\r\nid:\r\n\r\n", "event: id\nid\n\n", "5\r\nid:7\n\r\n"] {
            assert!(has_id_line(block.as_bytes()), "{block:?}");
        }
        for block in ["", "data: id: 7\n\n", "identity: 7\n\n", ": id: 7\n\n", " id: 7\n"] {
            assert!(!has_id_line(block.as_bytes()), "{block:?}");
        }
    }

    #[test]
    fn no_field_gives_one_blank_line_and_a_blank_field_two() {
        assert_eq!(encode_to_vec(&[], LineEnd::CrLf), b"\r\n");
        assert_eq!(encode_to_vec(&[Field::Blank], LineEnd::CrLf), b"\r\n\r\n");
    }

    #[test]
    fn latin1_is_sent_as_utf8() {
        let all: Vec<u8> = (0..=255).filter(|byte| !b"\r\n".contains(byte)).collect();
        let text: String = all.iter().map(|byte| char::from(*byte)).collect();
        let expected = format!("data: {text}\n\n");
        assert_eq!(encode_to_vec(&[Field::Data(Text::latin1(&all))], LineEnd::Lf), expected.as_bytes());
    }

    #[test]
    fn texts_of_line_breaks_alone_fit_into_the_size_bound() {
        for line_end in [LineEnd::Lf, LineEnd::CrLf] {
            for count in 0..40 {
                let breaks = "\n".repeat(count);
                for field in [Field::Data(Text::from(&*breaks)), Field::Comment(Text::from(&*breaks))] {
                    assert_eq!(encode_to_vec(&[field], line_end), naive::encode(&[field], line_end));
                }
            }
        }
    }

    #[test]
    fn a_block_is_written_whole_or_not_at_all() {
        let fields = [
            Field::Comment(Text::from("a\nb")),
            Field::Id(EventId::new(Text::from("7")).unwrap()),
            Field::Data(Text::latin1(b"caf\xe9 and\r\n\xe9")),
            Field::Blank,
        ];
        let whole = encode_to_vec(&fields, LineEnd::CrLf);
        for room in 0..100 {
            let mut out = vec![0; room];
            let mut block = Block::new(&mut out, LineEnd::CrLf);
            let written = fields.iter().try_for_each(|field| block.add(*field)).and_then(|()| block.end());
            assert_eq!(
                written.is_some(),
                room >= whole.len() + 6,
                "the last literal is written as eight bytes: {room}"
            );
            assert!(written.map_or(true, |len| out[..len] == *whole), "{room}");
        }
    }

    /// Text in which line breaks, colons and characters outside ASCII are frequent.
    fn text() -> impl Strategy<Value = String> {
        let letter = prop_oneof![3 => Just('\n'), 3 => Just('\r'), 2 => Just(':'), 2 => Just(' '), 8 => any::<char>()];
        prop::collection::vec(letter, 0..80).prop_map(String::from_iter)
    }

    fn line() -> impl Strategy<Value = String> {
        text().prop_map(|text| text.replace(['\n', '\r', '\0'], ""))
    }

    proptest! {
        #![proptest_config(cases())]

        #[test]
        fn every_block_equals_the_naive_twin(
            event in line(), id in line(), retry in "[0-9]{1,9}", data in prop::collection::vec(text(), 0..4), note in text(),
            latin1 in prop::collection::vec(any::<u8>(), 0..80), crlf in any::<bool>(),
        ) {
            let line_end = if crlf { LineEnd::CrLf } else { LineEnd::Lf };
            let mut fields = vec![
                Field::Comment(Text::from(&*note)),
                Field::Event(EventName::new(Text::from(&*event)).unwrap()),
                Field::Id(EventId::new(Text::from(&*id)).unwrap()),
                Field::Retry(Retry::new(Text::from(&*retry)).unwrap()),
                Field::Data(Text::latin1(&latin1)),
            ];
            fields.extend(data.iter().map(|text| Field::Data(Text::from(&**text))));
            prop_assert_eq!(encode_to_vec(&fields, line_end), naive::encode(&fields, line_end));
        }
    }

    #[test]
    fn a_keepalive_is_a_comment_of_one_line() {
        for (line_end, comment) in [(LineEnd::Lf, ":\n"), (LineEnd::CrLf, ":\r\n")] {
            assert_eq!(Framing::Plain.keepalive(line_end), comment);
            assert_eq!(Framing::Chunked.keepalive(line_end), Framing::Chunked.frame(comment.as_bytes()));
        }
    }

    #[test]
    fn a_shared_block_is_framed_as_a_block_of_one_stream() {
        for len in [1, 15, 16, 255, 256, 70_000] {
            let block = vec![b'x'; len];
            let shared = Shared::write(len + 9, |out| {
                out[..len].copy_from_slice(&block);
                len
            });
            for framing in [Framing::Plain, Framing::Chunked] {
                assert_eq!(shared.bytes(framing), framing.frame(&block), "{len} bytes");
                assert_eq!(framing.unframe(&framing.frame(&block)), block, "{len} bytes");
                assert_eq!(shared.from(framing, 1), framing.frame(&block).slice(1..));
            }
        }
    }
}
