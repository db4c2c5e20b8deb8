//! The members of this machine's streams: what the reactor and the application say of them changes the members of the hub in
//! memory, and what these announce goes to the store.

use super::member_drafts::draft_of;
use super::{StoredHub, TOO_MANY};
use crate::store::Draft;
use eventsource_xs::hub::{Announcement, MemberUpdate, PresenceChange, Retain, Statement, STEPS};
use eventsource_xs::runtime::wall;
use eventsource_xs::stream::StreamId;
use eventsource_xs::wire::Failure;
use std::time::Instant;

impl StoredHub {
    /// Checks that an event of a member can be retained.
    pub fn check_update(&self, MemberUpdate { channel, id, event, .. }: &MemberUpdate) -> Result<(), Failure> {
        let (channel, key, fields) = (channel.clone(), id.clone(), event.into());
        let draft = Draft { channel, key, retain: Retain::Newest, fields, ..Draft::default() };
        self.sequencer.state_change(&draft).map(drop)
    }

    /// Changes the data of a member. Returns false if it is not here.
    pub fn update_member(&mut self, update: MemberUpdate, now: Instant) -> Result<bool, Failure> {
        self.sequencer.set_time(now);
        let (is_here, announced) = self.sequencer.sequence.update_member(update)?;
        self.announce(announced);
        Ok(is_here)
    }

    /// Applies a change of a stream of the hub in memory, after what was due before.
    pub fn apply(&mut self, stream: StreamId, change: PresenceChange, at: Instant, now: Instant) {
        self.sequencer.set_time(now);
        if self.handle().is_some() {
            self.run_due(at, usize::MAX);
            let announced = self.sequencer.sequence.apply(stream, change, (at, wall()));
            self.announce(announced);
        }
    }

    /// Lets members leave that have lingered, and publishes numbers that have changed.
    pub(super) fn run_members(&mut self) {
        self.run_due(self.sequencer.now(), STEPS);
    }

    fn run_due(&mut self, now: Instant, mut left: usize) {
        let announced = self.sequencer.sequence.run_due(now, &mut left);
        self.announce(announced);
    }

    /// Asks the store for what follows when members have changed.
    fn announce(&mut self, announced: Vec<Announcement>) {
        for announcement in announced {
            let is_number = announcement.statement == Statement::Number;
            let draft = draft_of(announcement, None);
            if is_number {
                self.members.publish_number(draft, &mut self.sequencer);
            } else {
                self.wills.keep(draft, TOO_MANY);
                self.store_wills();
            }
        }
        self.members.announce_changes(&mut self.sequencer);
    }
}
