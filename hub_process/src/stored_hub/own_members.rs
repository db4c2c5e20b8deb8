//! The members of this machine as a program of saved state 27 kept them, beside the list of members, which has all now.

use super::member_drafts::kept_of;
use crate::store::{Draft, MemberPart};
use eventsource_xs::event::Unnumbered;
use eventsource_xs::hub::{Announcement, MemberChange, MemberData, MemberKey, Members, Statement};
use eventsource_xs::saved;
use eventsource_xs::saved::{Malformed, Restorer, Saved, Saver};
use eventsource_xs::wire::FieldList;
use std::collections::HashMap;

/// The members of this machine; none in a state of the present version.
#[derive(Debug, Default)]
pub struct OwnMembers(HashMap<MemberKey, Own>);

#[derive(Debug)]
struct Own {
    /// The fields of the event that says that the member is here, after their length, and what the store keeps of it.
    here: Option<Box<[u8]>>,
    is_of_before: bool,
    is_stored: bool,
    pending: Option<Box<Pending>>,
}

#[derive(Debug)]
struct Pending {
    asked: Option<Draft>,
    is_asking: bool,
    changes: Vec<Draft>,
    before: Option<Box<[u8]>>,
    announced: u32,
}

saved!(Own { here, is_of_before, is_stored, pending });
saved!(Pending { asked, is_asking, changes, before, announced });

impl Saved for OwnMembers {
    fn save(&self, _: &mut Saver) {}

    fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
        if from.is_of_before() {
            return from.take().map(Self);
        }
        Ok(Self::default())
    }
}

impl OwnMembers {
    /// Gives them to the list of members.
    pub fn hand_over(self, members: &mut Members) {
        for (key, Own { here, pending, .. }) in self.0 {
            let waiting = pending.into_iter().flat_map(|pending| pending.asked.into_iter().chain(pending.changes));
            members.take_over(&key, here.and_then(|here| unpacked(&here)), waiting.map(change_of).collect());
        }
    }
}

fn unpacked(here: &[u8]) -> Option<(Unnumbered, MemberData)> {
    let (length, rest) = here.split_first_chunk()?;
    let (fields, member) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let fields = FieldList::from_bytes(fields).ok()?;
    match MemberPart::decode(member) {
        MemberPart::Here(here) => Some((Unnumbered::of(fields.fields().iter()), kept_of(&here).data)),
        _ => None,
    }
}

fn change_of(Draft { channel, key, retain, fields, member, .. }: Draft) -> MemberChange {
    let (statement, here) = match &member {
        MemberPart::Here(here) => (Statement::Here, Some(here)),
        MemberPart::Changed(here) => (Statement::Changed, Some(here)),
        MemberPart::Gone | MemberPart::None => (Statement::Gone, None),
    };
    let event = Unnumbered::of(fields.fields().iter());
    (Announcement { channel, key, retain, event, statement }, here.map(|here| kept_of(here)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemberHere;
    use crate::stored_hub::member_drafts::{draft_of, key_of};
    use eventsource_xs::event::{Field, Text};
    use eventsource_xs::hub::{EntryOrigin, Retain};
    use eventsource_xs::saved::{BEFORE, VERSION};
    use std::time::Instant;

    #[test]
    fn members_of_saved_state_27_are_announced_again_before_what_waits_of_them() {
        let fields = |text: &'static str| FieldList::of([Field::Data(Text::from(text))]);
        let part = |data: &str| {
            let (leave, rest) = (fields("leave"), [&[0; 9], data.as_bytes()].concat().into());
            Box::new(MemberHere { leave, rest, ..MemberHere::default() })
        };
        let key = |id: &str| -> MemberKey { (b"room"[..].into(), id.as_bytes().into()) };
        let draft = |id, text, member| {
            let (channel, key) = key(id);
            Draft { channel, key, fields: fields(text), member, ..Draft::default() }
        };
        let packed = |text, data| {
            let (fields, member) = (fields(text), MemberPart::Here(part(data)).encode());
            let length = fields.as_bytes().len() as u32;
            Some([&length.to_le_bytes()[..], fields.as_bytes(), &member].concat().into())
        };
        let own = |here, pending| Own { here, is_of_before: false, is_stored: true, pending };
        let changed = draft("ann", "update", MemberPart::Changed(part("new")));
        let gone = draft("bob", "leave", MemberPart::Gone);
        let waits =
            |changes| Some(Pending { asked: None, is_asking: false, changes, before: None, announced: 1 }.into());
        let saved = HashMap::from([
            (key("ann"), own(packed("join", "old"), waits(vec![changed.clone()]))),
            (key("bob"), own(None, waits(vec![gone.clone()]))),
        ]);
        let now = Instant::now();
        let mut saver = Saver::new(now);
        saver.add(&saved);
        let bytes = saver.into_bytes();
        let restored = |version| Restorer::new(&bytes, now).of_version(version).take::<OwnMembers>().expect("members");
        assert!(restored(VERSION).0.is_empty(), "the present version has none here");

        let mut members = Members::stored(true);
        let kept = |part: &MemberHere| Some((kept_of(part), Unnumbered::default()));
        members.apply_entry(&key("ann"), kept(&part("old")), EntryOrigin::Other, now);
        restored(BEFORE).hand_over(&mut members);
        members.resume(|_| None, now);
        assert_eq!(members.reannounce(), [key("ann"), key("bob")]);
        let here = Draft { retain: Retain::Newest, ..draft("ann", "join", MemberPart::Here(part("old"))) };
        for draft in [here, changed, gone] {
            let (announcement, kept) = members.next_request(&key_of(&draft)).expect("it waits");
            assert_eq!(draft_of(announcement, kept), draft);
            members.confirm_request(&key_of(&draft));
        }
    }
}
