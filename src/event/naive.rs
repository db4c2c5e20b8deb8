//! The naive encoder, written without regard to speed: the oracle of the encoder's tests.

use super::{Field, LineEnd, Text};

/// Returns the bytes that [`encode`](super::encode) must write.
pub(super) fn encode(fields: &[Field<'_>], line_end: LineEnd) -> Vec<u8> {
    let mut lines = Vec::new();
    for field in fields {
        match field {
            Field::Event(name) => lines.push(["event: ", &string(name.text())].concat()),
            Field::Id(id) => lines.push(["id: ", &string(id.text())].concat()),
            Field::Retry(retry) => lines.push(["retry: ", &string(retry.text())].concat()),
            Field::Data(text) => lines.extend(split(*text).map(|line| ["data: ", &*line].concat())),
            Field::Comment(text) => lines.extend(split(*text).map(|line| [": ", &*line].concat())),
            Field::Blank => lines.push(String::new()),
        }
    }
    if fields.is_empty() || fields.iter().any(|field| !matches!(field, Field::Comment(_))) {
        lines.push(String::new());
    }
    let end = if line_end == LineEnd::CrLf { "\r\n" } else { "\n" };
    lines.iter().flat_map(|line| [line, end]).collect::<String>().into_bytes()
}

fn string(text: Text<'_>) -> String {
    if text.is_verbatim() {
        String::from_utf8(text.bytes().to_vec()).unwrap()
    } else {
        text.bytes().iter().map(|byte| char::from(*byte)).collect()
    }
}

fn split(text: Text<'_>) -> impl Iterator<Item = String> {
    let unified = string(text).replace("\r\n", "\n").replace('\r', "\n");
    unified.split('\n').map(String::from).collect::<Vec<_>>().into_iter()
}
