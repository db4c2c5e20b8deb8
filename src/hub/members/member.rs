//! A member as a hub keeps it: in few bytes, because a channel may have thousands.

use super::pending::Here;
use crate::event::{Form, Unsequenced};
use crate::hub::{Announcement, KeptMember, MemberData, Statement};
use std::sync::Arc;
use std::time::Duration;

/// The longest time for which a member lingers.
const MAX_LINGER: Duration = Duration::from_secs(86_400);

/// The data that members of a channel have in common.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) channel: Arc<[u8]>,
    /// The event that says that one of them has gone.
    pub(super) leave: Form,
}

/// Somebody who is here.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// The id, then the data: in one allocation.
    text: Box<[u8]>,
    pub(super) common: Arc<Common>,
    /// When it has come, in milliseconds of the system's clock since 1970.
    pub(super) since: u64,
    id_bytes: u32,
    pub(super) streams: u32,
    linger_ms: u32,
    is_json: bool,
    pub(super) is_counted: bool,
    /// True if it has streams here, or lingers here. Otherwise only the store has it.
    pub(super) is_own: bool,
    /// The form in which the hub's store has it: 1 as one that is announced, 2 as one that is counted, 3 if machines differ.
    pub(super) stored: u8,
    /// The way in which it is announced again to the store, if it is one of this machine, or of a process before.
    pub(super) here: Option<Box<Here>>,
}

impl Member {
    /// A member without a stream.
    pub(super) fn new(id: &[u8], is_counted: bool, kept: KeptMember, common: Arc<Common>) -> Self {
        let KeptMember { since, linger, data: MemberData { text, is_json }, leave: _ } = kept;
        let mut member = Self {
            text: [id, &text].concat().into(),
            common,
            since,
            id_bytes: id.len() as u32, // a message has less than 4 GB
            streams: 0,
            linger_ms: 0,
            is_json,
            is_counted,
            is_own: false,
            stored: 0,
            here: None,
        };
        member.set_linger(linger);
        member
    }

    pub(super) fn id(&self) -> &[u8] {
        &self.text[..self.id_bytes as usize]
    }

    pub(super) fn data(&self) -> MemberData {
        MemberData { text: self.text[self.id_bytes as usize..].into(), is_json: self.is_json }
    }

    pub(super) fn set_data(&mut self, MemberData { text, is_json }: &MemberData) {
        self.text = [self.id(), text].concat().into();
        self.is_json = *is_json;
    }

    /// Returns how many bytes its texts have.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    pub(super) fn linger(&self) -> Duration {
        Duration::from_millis(self.linger_ms.into())
    }

    pub(super) fn set_linger(&mut self, linger: Duration) {
        self.linger_ms = linger.min(MAX_LINGER).as_millis() as u32;
    }

    /// Returns the event that says that it has gone.
    pub(super) fn leave(&self) -> Unsequenced {
        self.common.leave.with(self.id())
    }

    /// Returns what an event says of it.
    pub(super) fn announcement(&self, statement: Statement, event: Unsequenced) -> Announcement {
        Announcement::of_member(&self.common.channel, self.id(), self.is_counted, statement, event)
    }

    /// Returns false if the hub's store has refused it: then its streams have no member.
    pub(super) fn is_here(&self) -> bool {
        self.is_own || self.is_stored()
    }

    /// Returns true if the hub's store has it.
    pub(super) fn is_stored(&self) -> bool {
        self.stored > 0
    }

    pub(super) fn kept(&self) -> KeptMember {
        KeptMember { since: self.since, linger: self.linger(), data: self.data(), leave: self.leave() }
    }
}
