//! The fields of an event, without the id that its hub gives it.
//!
//! Fields travel, not the bytes of an event: the hub process encodes the event with its id, and checks it by constructing it.
//! So no worker can send bytes to clients that are not an event.

use super::codec::{Coded, Malformed, Reader, Writer};
use crate::event::{EventId, EventName, Field, FieldError, Retry, Text, Unsequenced};
use crate::hub::Publication;

/// The fields of an event as they are in a message: any sequence of them, each valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a>(&'a [u8]);

/// Fields, to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldList(Vec<u8>);

const EVENT: u8 = 1;
const ID: u8 = 2;
const RETRY: u8 = 3;
const DATA: u8 = 4;
const COMMENT: u8 = 5;
const BLANK: u8 = 6;

impl FieldList {
    /// Encodes fields.
    pub fn of<'a>(fields: impl IntoIterator<Item = Field<'a>>) -> Self {
        let mut list = Self::default();
        for field in fields {
            list.push(field);
        }
        list
    }

    /// Returns the fields of an encoded event whose lines end in LF, without its id.
    pub fn of_block(block: &[u8]) -> Self {
        let block = String::from_utf8_lossy(block);
        let lines = block.strip_suffix('\n').unwrap_or(&block);
        let lines = lines.strip_suffix('\n').unwrap_or(lines); // comments alone have no blank line
        let mut list = Self::default();
        let mut lines = lines.split('\n').map(|line| line.split_once(": ")).peekable();
        while let Some(line) = lines.next() {
            let (name, first) = line.unwrap_or(("blank", ""));
            let mut text = first.to_owned();
            let may_have_lines = matches!(name, "data" | "");
            while let Some(Some((_, next))) = lines.next_if(|next| may_have_lines && is_of(*next, name)) {
                text.push('\n');
                text.push_str(next);
            }
            let text = Text::from(&*text);
            match name {
                "event" => EventName::new(text).into_iter().for_each(|name| list.push(Field::Event(name))),
                "id" => {}
                "retry" => Retry::new(text).into_iter().for_each(|retry| list.push(Field::Retry(retry))),
                "data" => list.push(Field::Data(text)),
                "" => list.push(Field::Comment(text)),
                _ => list.push(Field::Blank),
            }
        }
        list
    }

    fn push(&mut self, field: Field<'_>) {
        let (kind, text) = match field {
            Field::Event(name) => (EVENT, name.text()),
            Field::Id(id) => (ID, id.text()),
            Field::Retry(retry) => (RETRY, retry.text()),
            Field::Data(text) => (DATA, text),
            Field::Comment(text) => (COMMENT, text),
            Field::Blank => (BLANK, Text::from("")),
        };
        let mut writer = Writer(&mut self.0);
        writer.u8(kind);
        writer.bytes(&text.to_utf8());
    }

    /// Returns the fields.
    pub fn fields(&self) -> Fields<'_> {
        Fields(&self.0)
    }

    /// Returns the fields as bytes, for a store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes fields that a store has kept as bytes, and checks all of them. Fails with [`Malformed`] if the bytes are not
    /// fields.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        check_fields(bytes)?;
        Ok(Self(bytes.into()))
    }
}

impl Publication<'_, FieldList> {
    /// Returns the event as a message has it.
    pub fn borrowed(&self) -> Publication<'_, Fields<'_>> {
        let Self { channel, key, retain, once, ref fields } = *self;
        Publication { channel, key, retain, once, fields: fields.fields() }
    }
}

fn is_of(line: Option<(&str, &str)>, field: &str) -> bool {
    line.map_or(false, |(name, _)| name == field)
}

/// Checks that bytes are fields.
fn check_fields(bytes: &[u8]) -> Result<(), Malformed> {
    let mut rest = Reader(bytes);
    while !rest.0.is_empty() {
        read_field(&mut rest)?;
    }
    Ok(())
}

impl From<&Unsequenced> for FieldList {
    fn from(event: &Unsequenced) -> Self {
        Self::of_block(event.bytes())
    }
}

impl From<Fields<'_>> for FieldList {
    fn from(fields: Fields<'_>) -> Self {
        Self(fields.0.into())
    }
}

impl Coded<'_> for FieldList {
    fn write(&self, to: &mut Writer<'_>) {
        self.fields().write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::from_bytes(from.bytes()?)
    }
}

impl<'a> Coded<'a> for Fields<'a> {
    fn write(&self, to: &mut Writer<'_>) {
        to.bytes(self.0);
    }

    fn read(from: &mut Reader<'a>) -> Result<Self, Malformed> {
        let fields = Self(from.bytes()?);
        check_fields(fields.0)?;
        Ok(fields)
    }
}

impl<'a> Fields<'a> {
    /// Returns the fields in their order.
    pub fn iter(self) -> impl Iterator<Item = Field<'a>> + Clone {
        let mut rest = Reader(self.0);
        // The fields were checked when they were read, so the iterator ends where they end.
        std::iter::from_fn(move || read_field(&mut rest).ok())
    }
}

fn read_field<'a>(reader: &mut Reader<'a>) -> Result<Field<'a>, Malformed> {
    let refused = |_: FieldError| Malformed;
    let kind = reader.u8()?;
    let text = Text::from(reader.str()?);
    match kind {
        EVENT => EventName::new(text).map(Field::Event).map_err(refused),
        ID => EventId::new(text).map(Field::Id).map_err(refused),
        RETRY => Retry::new(text).map(Field::Retry).map_err(refused),
        DATA => Ok(Field::Data(text)),
        COMMENT => Ok(Field::Comment(text)),
        BLANK if text.bytes().is_empty() => Ok(Field::Blank),
        _ => Err(Malformed),
    }
}
