//! Members that are only counted: the store keeps them in channels that no stream reads, and the hub publishes their number.
//!
//! Each machine knows the members from the store, in its order, and publishes a number that differs from the last one. The key
//! `once` of a number names the entry with the number before it. So of several machines that publish one at the same time, one
//! succeeds. Another number follows if that was not the right one.

use crate::store::Draft;
use eventsource_xs::hub::{number_of_members, MemberKey, Retain, COUNT_KEY};
use std::collections::HashMap;

/// Begins the keys `once` of numbers.
const ONCE: &[u8] = b"\0count ";

/// The last numbers of channels, and the entries of members that a store is to keep.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// The sequence number of the entry with a channel's number, or of that with its first member; and the number.
    numbers: HashMap<Box<[u8]>, (u64, usize)>,
    /// The sequence numbers of the entries that are retained.
    retained: HashMap<MemberKey, u64>,
}

impl Counted {
    /// Takes note of an entry of a member of a channel.
    pub fn count_member(&mut self, channel: &[u8], draft: &Draft, seq: u64) {
        if draft.retain == Retain::Newest {
            self.numbers.entry(channel.into()).or_insert((seq, 0));
        } else if self.number(channel) == 0 {
            self.numbers.remove(channel);
        }
    }

    /// Takes note of the entry of a member. Returns the entries that the store may forget: no stream reads them.
    pub fn retain_member(&mut self, draft: &Draft, seq: u64) -> impl Iterator<Item = u64> {
        let before = match draft.retain {
            Retain::Newest => self.retained.insert(draft.member_key(), seq),
            Retain::Forget => self.retained.remove(&draft.member_key()),
            Retain::No => None,
        };
        before.into_iter().chain((draft.retain != Retain::Newest).then_some(seq))
    }

    /// Takes note of an entry of a channel. Returns the number of members that a hub has published with it.
    pub fn take_number(&mut self, draft: &Draft, seq: u64) -> Option<usize> {
        if *draft.key != *COUNT_KEY {
            return None;
        }
        let number = number_of_members(draft.fields.fields().iter());
        match number.filter(|number| *number > 0) {
            Some(number) => drop(self.numbers.insert(draft.channel.clone(), (seq, number))),
            None => drop(self.numbers.remove(&draft.channel)),
        }
        number
    }

    /// Returns the last number of a channel.
    fn number(&self, channel: &[u8]) -> usize {
        self.numbers.get(channel).map_or(0, |(_, number)| *number)
    }

    /// Returns the key `once` of the next number of a channel.
    pub fn once(&self, channel: &[u8], last_seq: u64) -> Box<[u8]> {
        let seq = self.numbers.get(channel).map_or(last_seq, |(seq, _)| *seq);
        [ONCE, seq.to_string().as_bytes()].concat().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eventsource_xs::event::{EventName, Field, Text};
    use eventsource_xs::wire::FieldList;

    #[test]
    fn an_event_of_an_application_is_not_taken_for_a_number_that_a_hub_has_published() {
        let mut counted = Counted::default();
        let name = EventName::new(Text::from("count")).expect("a name");
        let fields = FieldList::of([Field::Event(name), Field::Data(Text::from("3"))]);
        let given = Draft { channel: (*b"room").into(), retain: Retain::Newest, fields, ..Draft::default() };
        assert_eq!(counted.take_number(&given, 1), None);
        let number = Draft { key: COUNT_KEY.into(), ..given };
        assert_eq!((counted.take_number(&number, 2), counted.number(b"room")), (Some(3), 3));
        assert_eq!(counted.once(b"room", 9), (*b"\0count 2").into());
    }
}
