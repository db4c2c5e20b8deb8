//! The announcements of members and wills as drafts, and back.

use crate::store::{Draft, MemberHere, MemberPart};
use eventsource_xs::event::Unsequenced;
use eventsource_xs::hub::{Announcement, KeptMember, MemberData, MemberKey, Statement};

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
        leave: Unsequenced::of(leave.fields().iter()),
    }
}

pub fn key_of(draft: &Draft) -> MemberKey {
    (draft.channel.clone(), draft.key.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use eventsource_xs::event::{Field, Text};
    use eventsource_xs::hub::Retain;

    #[test]
    fn what_a_store_keeps_of_a_member_is_read_as_it_was_announced() {
        let event = |text: &'static str| Unsequenced::of(std::iter::once(Field::Data(Text::from(text))));
        let data = MemberData { text: b"{}"[..].into(), is_json: true };
        let kept = KeptMember { since: 7, linger: std::time::Duration::from_secs(5), data, leave: event("left") };
        for (statement, retain) in
            [(Statement::Here, Retain::Newest), (Statement::Changed, Retain::Newest), (Statement::Gone, Retain::Forget)]
        {
            let (channel, key) = (b"room"[..].into(), b"ann"[..].into());
            let announcement = Announcement { channel, key, retain, event: event("came"), statement };
            let draft = draft_of(announcement, Some(kept.clone()));
            assert_eq!(key_of(&draft), (b"room"[..].into(), b"ann"[..].into()));
            match MemberPart::decode(&draft.member.encode()) {
                MemberPart::Here(here) => {
                    assert_eq!((kept_of(&here), statement == Statement::Gone), (kept.clone(), false))
                }
                member => assert_eq!((member, statement), (MemberPart::Gone, Statement::Gone)),
            }
        }
    }
}
