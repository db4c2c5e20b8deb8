//! A draft: an event, or a request to end streams, that is to be stored; and what it says of a member.

use eventsource_xs::codec::{decode, encode};
use eventsource_xs::hub::{
    channel_of_kept, Announcement, EndRequest, KeptMember, MemberKey, Publication, Retain, Statement,
};
use eventsource_xs::wire::{Failure, FieldList, Fields};
use eventsource_xs::{coded, ErrorCode};

/// An event that is to be stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// The channel's name.
    pub channel: Box<[u8]>,
    /// The key for compaction. Empty if the event has none.
    pub key: Box<[u8]>,
    /// The effect of the event on the state of its channel.
    pub retain: Retain,
    /// The key that makes a repeated publish none. Empty if the event has none. Stores only keep it.
    pub once: Box<[u8]>,
    /// The event's fields. None if this version cannot read them: each event has some.
    pub fields: FieldList,
    /// The event's statement of a member.
    pub member: MemberPart,
}

coded!(Draft { channel, key, retain, once, fields, member });

impl From<Publication<'_, Fields<'_>>> for Draft {
    fn from(Publication { channel, key, retain, once, fields }: Publication<'_, Fields<'_>>) -> Self {
        let (channel, key, once, fields) = (channel.into(), key.into(), once.into(), fields.into());
        Self { channel, key, retain, once, fields, member: MemberPart::None }
    }
}

/// An event's statement of the member whose id is its key. It has no key `once`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MemberPart {
    /// Nothing.
    #[default]
    None,
    /// The member has a stream on this machine.
    Here(Box<KeptMember>),
    /// Its data has changed. The machine need not have a stream of it.
    Changed(Box<KeptMember>),
    /// It has no stream on this machine, and has lingered.
    Gone,
}

coded!(MemberPart by { 0: None, 1: Here(kept), 2: Changed(kept), 3: Gone });

impl MemberPart {
    /// Returns what a store keeps of a member who is here, with its retained event.
    pub fn kept(&self) -> Option<&KeptMember> {
        match self {
            Self::None | Self::Gone => None,
            Self::Here(kept) | Self::Changed(kept) => Some(kept),
        }
    }

    /// Returns how many bytes its texts have.
    pub fn bytes(&self) -> usize {
        self.kept().map_or(0, |kept| kept.leave.bytes().len() + kept.data.text.len())
    }
}

/// The kind of an entry, which says what the hubs do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DraftKind<'a> {
    /// They end streams.
    End,
    /// They count a member of this channel, which has no other events. No stream reads the entry.
    CountedMember(&'a [u8]),
    /// They publish an event.
    Event,
}

impl Draft {
    /// Returns what it is: its channel says so.
    pub fn kind(&self) -> DraftKind<'_> {
        match channel_of_kept(&self.channel) {
            _ if self.channel.is_empty() => DraftKind::End,
            (channel, true) => DraftKind::CountedMember(channel),
            (_, false) => DraftKind::Event,
        }
    }

    /// Returns how many bytes its texts have.
    pub fn bytes(&self) -> usize {
        let Self { channel, key, retain: _, once, fields, member } = self;
        channel.len() + key.len() + once.len() + fields.as_bytes().len() + member.bytes()
    }

    /// Makes what a member or a will announces a draft.
    pub fn of_announcement(announcement: Announcement, kept: Option<KeptMember>) -> Self {
        let kept = || kept.map(Box::new).unwrap_or_default();
        let member = match announcement.statement {
            Statement::Nothing | Statement::Number => MemberPart::None,
            Statement::Here => MemberPart::Here(kept()),
            Statement::Changed => MemberPart::Changed(kept()),
            Statement::Gone => MemberPart::Gone,
        };
        let Announcement { channel, key, retain, event, .. } = announcement;
        Self { channel, key, retain, fields: (&event).into(), member, ..Self::default() }
    }

    /// Returns the member that it is about.
    pub fn member_key(&self) -> MemberKey {
        (self.channel.clone(), self.key.clone())
    }

    /// Makes a request to end streams a draft, for the hubs of other machines. It has no channel, which no event lacks.
    pub fn of_end(end: &EndRequest) -> Self {
        Self { key: encode(end).into(), ..Self::default() }
    }

    /// Returns true if this version cannot read it: it is of a later one.
    pub fn is_unread(&self) -> bool {
        match self.kind() {
            DraftKind::End => self.end().is_none(),
            DraftKind::CountedMember(_) | DraftKind::Event => self.fields.as_bytes().is_empty(),
        }
    }

    /// Returns the failure of a draft that was not stored, or perhaps was, if the code is `Unknown`.
    pub fn failure(&self, code: ErrorCode, why: &str) -> Failure {
        let happened = match (self.kind(), code) {
            (DraftKind::End, ErrorCode::Unknown) => "the streams on other machines were perhaps not ended",
            (DraftKind::End, _) => "the streams on other machines were not ended",
            (_, ErrorCode::Unknown) => "the event was perhaps published",
            (_, _) => "the event was not published",
        };
        Failure::new(code, None, &format!("{happened}: {why}"))
    }

    /// Returns the request to end streams, if this is one; none also if it is of a later version.
    pub fn end(&self) -> Option<EndRequest> {
        match self.kind() {
            DraftKind::End => decode(&self.key).ok(),
            DraftKind::CountedMember(_) | DraftKind::Event => None,
        }
    }
}
