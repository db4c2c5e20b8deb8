//! An event whose hub is still to give it an id.

use super::{encode_to_vec, Field, LineEnd, Shared};

/// An encoded event without an id, whose lines end in LF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsequenced {
    block: Box<[u8]>,
}

impl Unsequenced {
    /// Encodes fields. Ids among them are left out.
    pub fn of<'a>(fields: impl Iterator<Item = Field<'a>>) -> Self {
        let fields: Vec<_> = fields.filter(|field| !matches!(field, Field::Id(_))).collect();
        Self { block: encode_to_vec(&fields, LineEnd::Lf).into() }
    }

    /// Returns the block.
    pub fn bytes(&self) -> &[u8] {
        &self.block
    }

    /// Returns true if it has blank lines at most, as one without fields that has travelled.
    pub fn is_empty(&self) -> bool {
        self.block.iter().all(|byte| *byte == b'\n')
    }

    /// Returns the event with an id, which is its last field.
    pub fn with_id(&self, id: &str) -> Shared {
        // Comments alone have no blank line.
        let has_blank_line = self.block.ends_with(b"\n\n") || *self.block == *b"\n";
        let fields = &self.block[..self.block.len() - usize::from(has_blank_line)];
        let parts = [fields, b"id: ", id.as_bytes(), b"\n\n"];
        Shared::write(parts.iter().map(|part| part.len()).sum(), |out| {
            let mut at = 0;
            for part in parts {
                out[at..at + part.len()].copy_from_slice(part);
                at += part.len();
            }
            at
        })
    }
}

/// An event in which one text may stand for another, such as the id of a member. Events of one form need not be kept each.
#[derive(Clone, Debug)]
pub struct Form {
    before: Box<[u8]>,
    /// The bytes after the text; none if the text is not in the event.
    after: Option<Box<[u8]>>,
}

impl Form {
    /// Returns the form of an event with a text. Only its last occurrence is replaced.
    pub fn of(event: &Unsequenced, text: &[u8]) -> Self {
        let at = event.block.len().checked_sub(text.len()).and_then(|last| {
            let mut starts = (0..=last).rev().filter(|_| !text.is_empty());
            starts.find(|start| event.block[*start..].starts_with(text))
        });
        let (before, after) = event.block.split_at(at.unwrap_or(event.block.len()));
        Self { before: before.into(), after: at.map(|_| after[text.len()..].into()) }
    }

    /// Returns the event with a text.
    pub fn with(&self, text: &[u8]) -> Unsequenced {
        let block = match &self.after {
            Some(after) => [&*self.before, text, after].concat().into(),
            None => self.before.clone(),
        };
        Unsequenced { block }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventId, EventName, Framing, Text};

    #[test]
    fn a_form_of_an_event_gives_that_event_and_others_with_another_text() {
        let event = |id: &str| Unsequenced::of(std::iter::once(Field::Data(Text::from(&*format!("who: {id}")))));
        for id in ["ann", "a", "d", "data", "who: ann", "", "\u{e9}", "data: who: data: who: data: who: "] {
            assert_eq!(Form::of(&event(id), id.as_bytes()).with(id.as_bytes()), event(id), "{id}");
            let of_ann = Form::of(&event("ann"), b"ann");
            assert_eq!(of_ann.with(id.as_bytes()), event(id), "{id}");
        }
        assert_eq!(Form::of(&event("ann"), b"bob").with(b"bob"), event("ann"));
    }

    #[test]
    fn an_event_with_a_later_id_is_the_event_that_is_encoded_with_it() {
        let name = EventName::new(Text::from("join")).expect("a name");
        let id = EventId::new(Text::from("e-1")).expect("an id");
        let all = [Field::Event(name), Field::Data(Text::from("a\nb")), Field::Comment(Text::from("c"))];
        for fields in [&all[..], &all[..1], &all[1..2], &all[2..], &[]] {
            let unsequenced = Unsequenced::of(fields.iter().copied().chain([Field::Id(id)]));
            let expected = Shared::with_id_last(fields.iter().copied(), Some(id));
            assert_eq!(unsequenced.with_id("e-1").bytes(Framing::Chunked), expected.bytes(Framing::Chunked));
        }
    }
}
