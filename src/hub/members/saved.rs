//! How members are saved, for another program: what is due follows from the rest.

use super::counts::{Count, Counts};
use super::member::{Member, SavedMember};
use super::Members;
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
        to.add(&self.lists.slots().map(saved).collect::<Vec<SavedMember>>());
        to.add(self.counts.saved());
        to.add(&self.wills);
        to.add(&self.refused);
        to.add(&self.order);
        to.add(&self.pending);
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
        let mut members = Self::default();
        for saved in from.take::<Vec<SavedMember>>()? {
            let common = members.lists.common(&saved.channel, &saved.id, &saved.kept.leave);
            let leaves_at = saved.leaves_at;
            let (member, streams) = saved.restored(common);
            let at = match member.is_here() {
                true => members.lists.add(member),
                false => members.lists.add_unlisted(member),
            };
            leaves_at.into_iter().for_each(|leaves_at| members.lingering.resume(at, leaves_at));
            streams.into_iter().for_each(|stream| _ = members.streams.add(stream, at));
        }
        members.counts = Counts::restore(from.take::<HashMap<Arc<[u8]>, Count>>()?);
        (members.wills, members.refused) = (from.take()?, from.take()?);
        (members.order, members.pending) = (from.take()?, from.take()?);
        Ok(members)
    }
}
