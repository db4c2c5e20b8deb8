//! Keeps what an application says of who is behind a stream, and what it wants to be published when the stream is gone.

use crate::event::{json_string, EventName, Field, Text, Unsequenced};
use crate::log::Retain;
use std::time::{Duration, Instant};

/// The type of the event with the number of members.
pub(super) const COUNT_EVENT: &str = "count";

/// Begins the name of the channel in which a store keeps the counted members of a channel: streams are not told of them. No
/// name in UTF-8 has this byte.
const COUNTED: u8 = 0xFF;

/// The key of the event with the number of members. No event of an application has it, as no key in UTF-8 does, and it has no
/// name for clients: such an event and one that the application retains without a key do not replace each other.
pub const COUNT_KEY: &[u8] = &[0xFF];

/// Ends the data of that event if it shows the channel.
const AFTER_COUNT: &str = ",\"key\":null}";

/// Returns the channel in which a store keeps members of a channel.
pub(super) fn kept_channel(channel: &[u8], is_counted: bool) -> Box<[u8]> {
    match is_counted {
        true => [&[COUNTED], channel].concat().into(),
        false => channel.into(),
    }
}

/// Returns the channel whose members a store keeps in a channel, and whether these are counted only: streams are not told of
/// the events of those.
pub fn channel_of_kept(kept_channel: &[u8]) -> (&[u8], bool) {
    kept_channel.strip_prefix(&[COUNTED]).map_or((kept_channel, false), |channel| (channel, true))
}

/// The member of a stream, as its application says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberRequest {
    /// The channel whose state says who is here.
    pub channel: Box<[u8]>,
    /// The member, and the key of its events.
    pub id: Box<[u8]>,
    /// The time for which the member stays when its last stream has left. That of its newest stream counts.
    pub linger: Duration,
    /// True if the member is counted only.
    pub is_counted: bool,
    /// The data of the member.
    pub data: MemberData,
    /// The event that says that the member has come.
    pub join: Unsequenced,
    /// The event that says that its data has changed. Without it the data changes nothing of a member that is here.
    pub update: Unsequenced,
    /// The event that says that it has gone.
    pub leave: Unsequenced,
}

/// The member and the will that an application gives its streams beside their topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// The member whose stream it is.
    pub member: Option<Box<MemberRequest>>,
    /// The stream's will: what is published when the stream ends, unless the application ends it.
    pub will: Option<Box<Announcement>>,
}

/// A change of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PresenceChange {
    /// It has a member from here on.
    Entered(Box<MemberRequest>),
    /// It has a will from here on.
    Willed(Box<Announcement>),
    /// It has ended with the program before, and its client may come back.
    Away {
        /// Until when.
        until: Instant,
        /// True if another stream has come in its place.
        is_back: bool,
    },
    /// It has ended.
    Left {
        /// True if the application has decided that it ends, whatever has ended it then.
        is_by_application: bool,
    },
}

/// The data of a member, as its application gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberData {
    /// The data.
    pub text: Box<[u8]>,
    /// True if the text is JSON that was made of a value.
    pub is_json: bool,
}

/// A change of the data of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberUpdate {
    /// The channel.
    pub channel: Box<[u8]>,
    /// The member.
    pub id: Box<[u8]>,
    /// The data.
    pub data: MemberData,
    /// The event that says so.
    pub event: Unsequenced,
}

/// A member as a store keeps it, so that a later process continues it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptMember {
    /// When it has come, in milliseconds of the system's clock since 1970.
    pub since: u64,
    /// The time for which it stays when its last stream has left.
    pub linger: Duration,
    /// Its data.
    pub data: MemberData,
    /// The event that says that it has gone.
    pub leave: Unsequenced,
}

/// An event's statement of the member whose id is its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Statement {
    /// Nothing.
    #[default]
    Nothing,
    /// It is here.
    Here,
    /// Its data has changed.
    Changed,
    /// It has gone.
    Gone,
    /// The number of members.
    Number,
}

/// An event that is to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The channel.
    pub channel: Box<[u8]>,
    /// The key. Empty if the event has none.
    pub key: Box<[u8]>,
    /// The event's effect on the state of its channel.
    pub retain: Retain,
    /// The event.
    pub event: Unsequenced,
    /// Its statement of a member.
    pub statement: Statement,
}

impl Announcement {
    /// An event of a member.
    pub(super) fn of_member(
        channel: &[u8],
        id: &[u8],
        is_counted: bool,
        statement: Statement,
        event: Unsequenced,
    ) -> Self {
        let retain = if statement == Statement::Gone { Retain::Forget } else { Retain::Newest };
        Self { channel: kept_channel(channel, is_counted), key: id.into(), retain, event, statement }
    }

    /// The number of a channel's members. Nothing is retained of nobody. If `shows_channel`, its data names the channel, and no
    /// key, which each event of an application has there.
    pub(super) fn of_count(channel: &[u8], number: usize, shows_channel: bool) -> Self {
        let name = || json_string(&String::from_utf8_lossy(channel));
        let text = match shows_channel {
            true => format!("{{\"channel\":{},\"data\":{number}{AFTER_COUNT}", name()),
            false => number.to_string(),
        };
        let name = EventName::new(Text::from(COUNT_EVENT)).ok().map(Field::Event);
        let event = Unsequenced::of(name.into_iter().chain([Field::Data(Text::from(&*text))]));
        let retain = if number == 0 { Retain::Forget } else { Retain::Newest };
        Self { channel: channel.into(), key: COUNT_KEY.into(), retain, event, statement: Statement::Number }
    }
}

/// Returns the number of members that the event with these fields tells, if it is one of a channel's number.
pub fn number_of_members<'a>(fields: impl Iterator<Item = Field<'a>>) -> Option<usize> {
    let (mut is_number, mut number) = (false, None);
    for field in fields {
        match field {
            Field::Event(name) => is_number = name.text().bytes() == COUNT_EVENT.as_bytes(),
            Field::Data(text) => {
                let text = std::str::from_utf8(text.bytes()).ok()?;
                let shown = text.strip_suffix(AFTER_COUNT).and_then(|text| text.rsplit(':').next());
                number = shown.unwrap_or(text).parse().ok();
            }
            _ => {}
        }
    }
    number.filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_members_is_read_as_it_was_announced() {
        for (number, shows_channel, data) in
            [(0, false, "0"), (4711, false, "4711"), (1, true, r#"{"channel":"a \"b\"","data":1,"key":null}"#)]
        {
            let Announcement { event, key, .. } = Announcement::of_count(b"a \"b\"", number, shows_channel);
            let name = EventName::new(Text::from("count")).expect("a name");
            let fields = [Field::Event(name), Field::Data(Text::from(data))];
            assert_eq!((&event, &*key), (&Unsequenced::of(fields.iter().copied()), COUNT_KEY));
            assert_eq!(number_of_members(fields.iter().copied()), Some(number));
            assert_eq!(number_of_members(fields[1..].iter().copied()), None, "an event of another type");
            assert_eq!(number_of_members(fields[..1].iter().copied()), None, "an event without data");
        }
    }
}
