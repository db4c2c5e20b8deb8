//! What a draft says of a member, and how stores keep that.

use eventsource_xs::wire::FieldList;
use std::time::Duration;

/// An event's statement of the member whose id is its key. It has no key `once`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MemberPart {
    /// Nothing.
    #[default]
    None,
    /// The member has a stream on this machine. Entries that are [`Changed`](Self::Changed) are read as this, too.
    Here(Box<MemberHere>),
    /// Its data has changed. The machine need not have a stream of it.
    Changed(Box<MemberHere>),
    /// It has no stream on this machine, and has lingered.
    Gone,
}

/// What a store keeps of a member who is here, with its retained event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberHere {
    /// How long it stays when its last stream has left.
    pub linger: Duration,
    /// The event that says that it has gone.
    pub leave: FieldList,
    /// What else the hub needs to continue it. Stores only keep it.
    pub rest: Box<[u8]>,
}

impl MemberPart {
    /// Returns how many bytes its texts have.
    pub fn bytes(&self) -> usize {
        match self {
            Self::None | Self::Gone => 0,
            Self::Here(here) | Self::Changed(here) => here.leave.as_bytes().len() + here.rest.len(),
        }
    }

    /// Returns it as stores keep it; empty if it says nothing.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Gone => vec![0],
            Self::Here(here) | Self::Changed(here) => {
                let MemberHere { linger, leave, rest } = &**here;
                let linger = u64::try_from(linger.as_millis()).unwrap_or(u64::MAX);
                let length = leave.as_bytes().len() as u32; // a record has less than 4 GB
                [&[1], &linger.to_le_bytes()[..], &length.to_le_bytes(), leave.as_bytes(), rest].concat()
            }
        }
    }

    /// Returns what was encoded; nothing if it is of a later version.
    pub fn decode(bytes: &[u8]) -> Self {
        let here = || {
            let (linger, bytes) = bytes.strip_prefix(&[1])?.split_first_chunk()?;
            let (length, bytes) = bytes.split_first_chunk()?;
            let (leave, rest) = bytes.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            let linger = Duration::from_millis(u64::from_le_bytes(*linger));
            let leave = FieldList::from_bytes(leave).ok()?;
            Some(Self::Here(Box::new(MemberHere { linger, leave, rest: rest.into() })))
        };
        match bytes {
            [0] => Self::Gone,
            _ => here().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eventsource_xs::event::{Field, Text};

    #[test]
    fn what_a_draft_says_of_a_member_is_read_as_it_was_kept() {
        let leave = FieldList::of([Field::Data(Text::from("left"))]);
        let here = MemberHere { linger: Duration::from_millis(5500), leave, rest: b"since"[..].into() };
        let empty = MemberHere::default();
        for member in
            [MemberPart::None, MemberPart::Gone, MemberPart::Here(here.into()), MemberPart::Here(empty.into())]
        {
            let bytes = member.encode();
            assert_eq!(MemberPart::decode(&bytes), member);
            let cut = (1..bytes.len().min(14)).map(|length| MemberPart::decode(&bytes[..length]));
            assert!(cut.into_iter().all(|member| member == MemberPart::None));
        }
    }
}
