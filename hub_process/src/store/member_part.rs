//! What a draft says of a member.

use eventsource_xs::coded;
use eventsource_xs::hub::KeptMember;

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
