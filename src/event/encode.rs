//! Fields to bytes: one pass to size, one to write.

use super::breaks::{count_breaks, each_break};
use super::{Field, Text};

/// What ends a line in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnd {
    /// A line feed, the shortest.
    Lf,
    /// Carriage return and line feed, as many libraries send.
    CrLf,
}

impl LineEnd {
    const fn bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::CrLf => b"\r\n",
        }
    }
}

/// The longest line end and the longest name of a field of several lines: `"\r\ndata: "`.
const LONGEST_BREAK: usize = 8;

/// Enough for `"retry: "`, the longest name, and a line end.
const LONGEST_FRAME: usize = 9;

/// How many bytes [`encode`] may need for these fields: an upper bound, and close to the truth.
pub fn size_bound<'a>(fields: impl IntoIterator<Item = Field<'a>>) -> usize {
    let blank = LineEnd::CrLf.bytes().len();
    fields.into_iter().map(field_bound).fold(blank, usize::saturating_add)
}

fn field_bound(field: Field<'_>) -> usize {
    let (text, breaks) = match field {
        Field::Event(name) => (name.text(), 0),
        Field::Id(id) => (id.text(), 0),
        Field::Retry(retry) => (retry.text(), 0),
        Field::Data(text) | Field::Comment(text) => (text, count_breaks(text.bytes())),
        Field::Blank => return LineEnd::CrLf.bytes().len(),
    };
    breaks.saturating_mul(LONGEST_BREAK).saturating_add(text.size_bound()).saturating_add(LONGEST_FRAME)
}

/// Writes a block, the fields in their order and a blank line, to the front of `out`; returns how many bytes it took.
///
/// # Panics
///
/// If `out` is shorter than [`size_bound`] says.
pub fn encode<'a>(fields: impl IntoIterator<Item = Field<'a>>, line_end: LineEnd, out: &mut [u8]) -> usize {
    let mut block = Block { out, at: 0, line_end };
    for field in fields {
        match field {
            Field::Event(name) => block.line(b"event: ", name.text()),
            Field::Id(id) => block.line(b"id: ", id.text()),
            Field::Retry(retry) => block.line(b"retry: ", retry.text()),
            Field::Data(text) => block.lines(b"data: ", text),
            Field::Comment(text) => block.lines(b": ", text),
            Field::Blank => block.end_line(),
        }
    }
    block.end_line();
    block.at
}

/// [`encode`] into a vector of its own.
pub fn encode_to_vec(fields: &[Field<'_>], line_end: LineEnd) -> Vec<u8> {
    let mut out = vec![0; size_bound(fields.iter().copied())];
    let len = encode(fields.iter().copied(), line_end, &mut out);
    out.truncate(len);
    out
}

/// The block that is being written, and how far it has got.
struct Block<'out> {
    out: &'out mut [u8],
    at: usize,
    line_end: LineEnd,
}

impl Block<'_> {
    fn line(&mut self, name: &[u8], text: Text<'_>) {
        self.put(name);
        self.put_text(text, text.bytes());
        self.end_line();
    }

    /// One line for each line of the text. WHATWG HTML 9.2.5: CRLF, LF and a lone CR each end a line.
    fn lines(&mut self, name: &[u8], text: Text<'_>) {
        self.put(name);
        if text.is_verbatim() {
            self.split(name, text.bytes(), |block, line| block.put(line));
        } else {
            self.split(name, text.bytes(), |block, line| block.put_latin1(line));
        }
        self.end_line();
    }

    fn split(&mut self, name: &[u8], bytes: &[u8], put_line: impl Fn(&mut Block<'_>, &[u8])) {
        let next_line = LineBreak::new(self.line_end, name);
        // A copy that nothing outside refers to: its place stays in a register.
        let mut block = Block { out: &mut *self.out, ..*self };
        let mut start = 0;
        each_break(bytes, |at| {
            if at < start {
                return; // the LF of a CRLF
            }
            put_line(&mut block, &bytes[start..at]);
            block.put_break(&next_line);
            let is_crlf = bytes[at] == b'\r' && bytes.get(at + 1) == Some(&b'\n');
            start = at + 1 + usize::from(is_crlf);
        });
        put_line(&mut block, &bytes[start..]);
        self.at = block.at;
    }

    fn end_line(&mut self) {
        self.put(self.line_end.bytes());
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn put_text(&mut self, text: Text<'_>, part: &[u8]) {
        if text.is_verbatim() {
            self.put(part);
        } else {
            self.put_latin1(part);
        }
    }

    fn put_latin1(&mut self, part: &[u8]) {
        for byte in part {
            if byte.is_ascii() {
                self.put(&[*byte]);
            } else {
                self.put(&[0xC0 | byte >> 6, 0x80 | byte & 0x3F]);
            }
        }
    }

    /// Always copies all eight bytes, which is one move instead of a call; what is too much is written over next.
    fn put_break(&mut self, next_line: &LineBreak) {
        self.out[self.at..self.at + LONGEST_BREAK].copy_from_slice(&next_line.bytes);
        self.at += next_line.len;
    }
}

/// What stands between two lines of one field: a line end and the field's name again.
struct LineBreak {
    bytes: [u8; LONGEST_BREAK],
    len: usize,
}

impl LineBreak {
    fn new(line_end: LineEnd, name: &[u8]) -> Self {
        let mut bytes = [0; LONGEST_BREAK];
        let (end, len) = (line_end.bytes(), line_end.bytes().len() + name.len());
        bytes[..end.len()].copy_from_slice(end);
        bytes[end.len()..len].copy_from_slice(name);
        Self { bytes, len }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{naive, EventId, EventName, Retry};
    use super::*;
    use proptest::prelude::*;

    const DATA: [(&str, &str); 16] = [
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
    fn every_line_of_data_gets_a_line_of_its_own() {
        for (text, expected) in DATA {
            let fields = [Field::Data(Text::from(text))];
            assert_eq!(encode_to_vec(&fields, LineEnd::Lf), expected.as_bytes(), "{text:?}");
            let crlf = expected.replace('\n', "\r\n");
            assert_eq!(encode_to_vec(&fields, LineEnd::CrLf), crlf.as_bytes(), "{text:?}");
        }
    }

    #[test]
    fn fields_come_in_the_order_given() {
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
    fn no_field_is_a_blank_line_and_a_blank_is_one_more() {
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
    fn the_shortest_lines_fit_into_the_bound() {
        for line_end in [LineEnd::Lf, LineEnd::CrLf] {
            for count in 0..40 {
                let breaks = "\n".repeat(count);
                for field in [Field::Data(Text::from(&*breaks)), Field::Comment(Text::from(&*breaks))] {
                    assert_eq!(encode_to_vec(&[field], line_end), naive::encode(&[field], line_end));
                }
            }
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

    /// Few under Miri, which is some hundred times slower and has no files to keep failures in.
    fn cases() -> ProptestConfig {
        if cfg!(miri) {
            ProptestConfig { cases: 4, failure_persistence: None, ..ProptestConfig::default() }
        } else {
            ProptestConfig::default()
        }
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
}
