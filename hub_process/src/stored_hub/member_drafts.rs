//! The announcements of members and wills as drafts.

use crate::store::{Draft, MemberPart};
use eventsource_xs::hub::{Announcement, KeptMember, MemberKey, Statement};

/// Returns the draft of what a member or a will announces.
pub fn draft_of(announcement: Announcement, kept: Option<KeptMember>) -> Draft {
    let kept = || kept.map(Box::new).unwrap_or_default();
    let member = match announcement.statement {
        Statement::Nothing | Statement::Number => MemberPart::None,
        Statement::Here => MemberPart::Here(kept()),
        Statement::Changed => MemberPart::Changed(kept()),
        Statement::Gone => MemberPart::Gone,
    };
    let Announcement { channel, key, retain, event, .. } = announcement;
    Draft { channel, key, retain, fields: (&event).into(), member, ..Draft::default() }
}

pub fn key_of(draft: &Draft) -> MemberKey {
    (draft.channel.clone(), draft.key.clone())
}
