//! How members are saved, for another program: what is due follows from the rest.

use super::counts::{Count, Counts};
use super::member::{Member, SavedMember};
use super::pending::{Here, Pending};
use super::{MemberChange, MemberKey, Members};
use crate::event::Unnumbered;
use crate::hub::presence::{room_of, MemberData};
use crate::saved::{Malformed, Restorer, Saved, Saver};
use crate::stream::StreamId;
use std::collections::HashMap;
use std::sync::Arc;

impl Saved for Members {
    fn save(&self, to: &mut Saver) {
        let mut streams: HashMap<u32, Vec<StreamId>> = HashMap::new();
        self.streams.iter().for_each(|(stream, at)| streams.entry(at).or_default().push(stream));
        let saved = |(at, member): (u32, &Member)| {
            let streams = streams.remove(&at).unwrap_or_default();
            member.saved(streams, self.lingering.leaves_at(at))
        };
        to.add(&self.rooms.slots().map(saved).collect::<Vec<SavedMember>>());
        to.add(self.counts.saved());
        to.add(&self.wills);
        to.add(&self.refused);
        to.add(&self.order);
        to.add(&self.pending);
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
        let mut members = Self::default();
        for saved in from.take::<Vec<SavedMember>>()? {
            let common = members.rooms.common(&saved.channel, &saved.id, &saved.kept.leave);
            let leaves_at = saved.leaves_at;
            let (member, streams) = saved.restored(common);
            let at = match member.is_here() {
                true => members.rooms.add(member),
                false => members.rooms.add_unlisted(member),
            };
            leaves_at.into_iter().for_each(|leaves_at| members.lingering.resume(at, leaves_at));
            streams.into_iter().for_each(|stream| _ = members.streams.add(stream, at));
        }
        members.counts = Counts::restore(from.take::<HashMap<Arc<[u8]>, Count>>()?);
        (members.wills, members.refused) = (from.take()?, from.take()?);
        members.order = from.take()?; // the version before has the same for each store
        if !from.is_of_before() {
            members.pending = from.take()?;
        }
        Ok(members)
    }
}

impl Members {
    /// Takes over what the version before has kept beside the list of a member: how it is announced again, and what waits for
    /// the store.
    pub fn take_over(&mut self, key: &MemberKey, here: Option<(Unnumbered, MemberData)>, changes: Vec<MemberChange>) {
        let member = self.rooms.find_mut(room_of(&key.0).0, &key.1).map(|(_, member)| member);
        let stored = member.as_ref().filter(|member| member.is_stored()).map(|member| member.data());
        if let Some(member) = member {
            member.here = here.map(|(event, data)| Box::new(Here { event, data }));
        }
        if !changes.is_empty() {
            let pending = self.pending.entry(key.clone()).or_insert_with(|| Pending::new(stored));
            changes.into_iter().for_each(|change| pending.add(change));
        }
    }
}
