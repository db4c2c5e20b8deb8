//! What a member or a will announces as a draft, and back; and the packed form of the draft that says that a member is here.

use crate::store::{Draft, MemberHere, MemberPart};
use eventsource_xs::event::Unnumbered;
use eventsource_xs::hub::{Announcement, KeptMember, MemberData, Retain, Statement};
use eventsource_xs::wire::FieldList;

/// A channel and a member's id there.
pub type MemberKey = (Box<[u8]>, Box<[u8]>);

/// Who has asked for the entry of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryOrigin {
    /// This machine, for a member of its own.
    OwnMember,
    /// Anybody else, just now.
    Other,
    /// Anybody else, before the store has begun.
    History,
}

/// Returns the draft of what a member or a will announces.
pub fn draft_of(announcement: Announcement, kept: Option<KeptMember>) -> Draft {
    let here = || {
        kept.map(|KeptMember { since, linger, data: MemberData { text, is_json }, leave }| {
            let rest = [&since.to_le_bytes()[..], &[is_json.into()], &text].concat().into();
            Box::new(MemberHere { linger, leave: (&leave).into(), rest })
        })
    };
    let member = match announcement.statement {
        Statement::Nothing | Statement::Number => MemberPart::None,
        Statement::Here => MemberPart::Here(here().unwrap_or_default()),
        Statement::Changed => MemberPart::Changed(here().unwrap_or_default()),
        Statement::Gone => MemberPart::Gone,
    };
    let Announcement { channel, key, retain, event, .. } = announcement;
    Draft { channel, key, retain, fields: (&event).into(), member, ..Draft::default() }
}

/// Returns what a store has kept of a member.
pub fn kept_of(MemberHere { linger, leave, rest }: &MemberHere) -> KeptMember {
    let (since, data) = rest.split_first_chunk().unwrap_or((&[0; 8], &[]));
    let (is_json, text) = data.split_first().unwrap_or((&0, &[]));
    KeptMember {
        since: u64::from_le_bytes(*since),
        linger: *linger,
        data: MemberData { text: text.into(), is_json: *is_json != 0 },
        leave: Unnumbered::of(leave.fields().iter()),
    }
}

pub fn key_of(draft: &Draft) -> MemberKey {
    (draft.channel.clone(), draft.key.clone())
}

pub fn is_here(draft: &Draft) -> bool {
    matches!(draft.member, MemberPart::Here(_))
}

/// Returns the draft that says that a member is here, as one that says so or has changed it does, in one piece: there is one
/// for each member.
pub fn packed(draft: &Draft) -> Option<Box<[u8]>> {
    let fields = draft.fields.as_bytes();
    let length = fields.len() as u32; // a message has less than 4 GB
    match draft.member {
        MemberPart::Here(_) | MemberPart::Changed(_) => {
            Some([&length.to_le_bytes()[..], fields, &draft.member.encode()].concat().into())
        }
        MemberPart::None | MemberPart::Gone => None,
    }
}

/// Returns the draft of what is [packed].
pub fn unpacked((channel, key): &MemberKey, here: &[u8]) -> Draft {
    let (length, rest) = here.split_first_chunk().unwrap_or((&[0; 4], &[]));
    let (fields, member) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).unwrap_or_default();
    let fields = FieldList::from_bytes(fields).unwrap_or_default();
    let (channel, key, member) = (channel.clone(), key.clone(), MemberPart::decode(member));
    Draft { channel, key, retain: Retain::Newest, fields, member, ..Draft::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eventsource_xs::event::{Field, Text};

    #[test]
    fn a_member_that_is_here_is_unpacked_as_it_was_packed() {
        let event = |text: &'static str| Unnumbered::of(std::iter::once(Field::Data(Text::from(text))));
        let data = MemberData { text: b"{}"[..].into(), is_json: true };
        let kept = KeptMember { since: 7, linger: std::time::Duration::from_secs(5), data, leave: event("left") };
        for (statement, retain) in
            [(Statement::Here, Retain::Newest), (Statement::Changed, Retain::Newest), (Statement::Gone, Retain::Forget)]
        {
            let (channel, key) = (b"room"[..].into(), b"ann"[..].into());
            let announcement = Announcement { channel, key, retain, event: event("came"), statement };
            let draft = draft_of(announcement, Some(kept.clone()));
            let Some(here) = packed(&draft) else {
                assert_eq!(statement, Statement::Gone);
                continue;
            };
            let read = unpacked(&key_of(&draft), &here);
            let MemberPart::Here(here) = &read.member else { panic!("{read:?}") };
            assert_eq!((kept_of(here), &read.fields), (kept.clone(), &draft.fields));
            assert!(is_here(&read) && key_of(&read) == key_of(&draft));
        }
    }
}
