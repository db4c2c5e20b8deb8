//! The members of this machine's streams: what the reactor and the application say of them changes the members of the hub in
//! memory, and what these announce goes to the store.

use super::member_drafts::draft_of;
use super::{StoredHub, TOO_MANY};
use crate::store::{self, Draft};
use eventsource_xs::event::Unsequenced;
use eventsource_xs::hub::{Announcement, MemberData, Members, Retain, Statement};
use eventsource_xs::runtime::{HubHandle, PresenceChange, PresenceReport};
use eventsource_xs::stream::StreamId;
use eventsource_xs::wire::Failure;
use std::time::Instant;

/// How many leaves and numbers that are due are handled before others have their turn.
const STEPS: usize = 256;

impl StoredHub {
    /// Checks that an event of a member can be retained.
    pub fn check_update(&self, channel: &[u8], id: &[u8], event: &Unsequenced) -> Result<(), Failure> {
        let (channel, key, fields) = (channel.into(), id.into(), event.into());
        let draft = Draft { channel, key, retain: Retain::Newest, fields, ..Draft::default() };
        self.sequencer.state_change(&draft).map(drop)
    }

    /// Changes the data of a member. Returns false if it is not here.
    pub fn update_member(
        &mut self,
        (channel, id): (&[u8], &[u8]),
        data: MemberData,
        event: Unsequenced,
        now: Instant,
    ) -> Result<bool, Failure> {
        self.sequencer.set_time(now);
        let mut updated = Ok(false);
        self.change_members(|members, handle, out| {
            let fits = |announced: &Announcement| handle.check_announcement(announced);
            updated = members.update_member(channel, id, data, event, &fits, out);
        });
        Ok(updated?)
    }

    /// Applies a report of the reactor to the members of the hub in memory, if the stream is one of that hub: a hub before has
    /// ended its streams, and its members linger in this one.
    pub fn apply_presence(&mut self, report: PresenceReport, now: Instant) {
        if self.handle().is_some_and(|handle| handle.has_reported(&report)) {
            let PresenceReport { stream, at, change, .. } = report;
            self.sequencer.set_time(now);
            self.apply_change(stream, (at, store::now_ms()), change);
        }
    }

    /// Applies a change of a stream of the hub in memory, after what was due before.
    pub(super) fn apply_change(&mut self, stream: StreamId, (at, wall): (Instant, u64), change: PresenceChange) {
        let most = self.sequencer.settings.hub.max_members;
        self.change_members(|members, handle, out| {
            let mut left = usize::MAX;
            members.run_due(at, &mut left, out);
            match change {
                PresenceChange::Entered(member) => {
                    let fits = |announced: &Announcement| handle.check_announcement(announced);
                    members.enter_stream(stream, *member, (most, &fits), (at, wall), out);
                }
                PresenceChange::Willed(will) => members.set_will(stream, will),
                PresenceChange::Away => members.end_away(stream, at, out),
                PresenceChange::Left { is_by_application } => members.end_stream(stream, is_by_application, at, out),
            }
        });
    }

    /// Lets members leave that have lingered, and publishes numbers that have changed.
    pub(super) fn run_members(&mut self) {
        let (now, mut left) = (self.sequencer.now(), STEPS);
        self.change_members(|members, _, out| members.run_due(now, &mut left, out));
    }

    /// Changes the members, and asks the store for what follows.
    fn change_members(&mut self, change: impl FnOnce(&mut Members, &HubHandle, &mut Vec<Announcement>)) {
        for announcement in self.sequencer.change_members(change) {
            let is_number = announcement.statement == Statement::Number;
            let draft = draft_of(announcement, None);
            if is_number {
                self.members.publish_number(draft, &mut self.sequencer);
            } else {
                self.wills.keep(draft, TOO_MANY);
                self.publish_wills();
            }
        }
        self.members.announce_changes(&mut self.sequencer);
    }
}
