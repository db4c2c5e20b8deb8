//! The members of each channel, in the order of their ids; and the list of them as applications read it, in parts.

use crate::event::{Form, Unsequenced};
use crate::hub::members::member::{Common, Member};
use crate::hub::members::slots::Slots;
use crate::hub::MemberData;
use std::collections::HashMap;
use std::sync::Arc;

/// A channel with members.
#[derive(Clone, Debug)]
struct ChannelMembers {
    /// The slots of the members, in the order of their ids.
    members: Vec<u32>,
    /// The data that the newest members have in common.
    common: Arc<Common>,
}

impl ChannelMembers {
    /// Finds a member's place in the list, or that which it would have.
    fn search(&self, slots: &Slots, id: &[u8]) -> Result<usize, usize> {
        self.members.binary_search_by(|at| slots.id(*at).cmp(id))
    }
}

/// The channels with members, and the members in numbered slots.
#[derive(Clone, Debug, Default)]
pub(super) struct MemberLists {
    lists: HashMap<Arc<[u8]>, ChannelMembers>,
    slots: Slots,
    pub(super) listed: usize,
}

impl MemberLists {
    pub(super) fn find(&self, channel: &[u8], id: &[u8]) -> Option<u32> {
        let list = self.lists.get(channel)?;
        list.search(&self.slots, id).ok().map(|at| list.members[at])
    }

    pub(super) fn find_mut(&mut self, channel: &[u8], id: &[u8]) -> Option<(u32, &mut Member)> {
        let at = self.find(channel, id)?;
        Some((at, self.slots.get_mut(at)?))
    }

    pub(super) fn get(&self, at: u32) -> Option<&Member> {
        self.slots.get(at)
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut Member> {
        self.slots.get_mut(at)
    }

    /// Returns the name of a channel. Its members share one.
    pub(super) fn channel(&self, channel: &[u8]) -> Arc<[u8]> {
        self.lists.get(channel).map_or_else(|| channel.into(), |list| Arc::clone(&list.common.channel))
    }

    /// Returns what a new member has in common with others of its channel.
    pub(super) fn common(&self, channel: &[u8], id: &[u8], leave: &Unsequenced) -> Arc<Common> {
        let common = self.lists.get(channel).map(|list| &list.common);
        match common.filter(|common| common.leave.with(id) == *leave) {
            Some(common) => Arc::clone(common),
            None => Arc::new(Common { channel: self.channel(channel), leave: Form::of(leave, id) }),
        }
    }

    /// Lists a member that is not here.
    pub(super) fn add(&mut self, member: Member) -> u32 {
        let common = Arc::clone(&member.common);
        let at = self.slots.add(member);
        let new = || ChannelMembers { members: Vec::new(), common: Arc::clone(&common) };
        let list = self.lists.entry(Arc::clone(&common.channel)).or_insert_with(new);
        if let Err(place) = list.search(&self.slots, self.slots.id(at)) {
            list.members.insert(place, at);
            self.listed += 1;
        }
        list.common = common;
        at
    }

    /// Removes a member from the list. Its slot stays while streams have it.
    pub(super) fn remove(&mut self, at: u32) {
        let Self { lists, slots, listed } = self;
        let member = some_or!(slots.get(at), return);
        let (streams, common) = (member.streams, Arc::clone(&member.common));
        if let Some(list) = lists.get_mut(&common.channel) {
            if let Ok(place) = list.search(slots, slots.id(at)) {
                list.members.remove(place);
                *listed -= 1;
            }
            if list.members.is_empty() {
                lists.remove(&common.channel);
            } else if list.members.len() < list.members.capacity() / 4 {
                list.members.shrink_to(2 * list.members.len());
            }
        }
        if streams == 0 {
            slots.remove(at);
        }
    }

    /// Gives back the slot of a member that is not listed and has no stream any more.
    pub(super) fn free_slot(&mut self, at: u32) {
        self.slots.remove(at);
    }

    /// Returns how many members a channel has.
    pub(super) fn count(&self, channel: &[u8]) -> usize {
        self.lists.get(channel).map_or(0, |list| list.members.len())
    }

    /// Returns the members of a channel.
    pub(super) fn of_channel(&self, channel: &[u8]) -> impl Iterator<Item = &Member> {
        let slots = self.lists.get(channel).map_or(&[][..], |list| &list.members);
        slots.iter().filter_map(move |at| self.slots.get(*at))
    }

    /// Returns all members that are listed, those of a channel in the order of their ids.
    pub(super) fn all(&self) -> impl Iterator<Item = &Member> {
        let slots = self.lists.values().flat_map(|list| &list.members);
        slots.filter_map(move |at| self.slots.get(*at))
    }

    /// Returns all members with their slots, also those that are not listed.
    pub(super) fn slots(&self) -> impl Iterator<Item = (u32, &Member)> {
        self.slots.iter()
    }

    /// Returns a part of the list of a channel's members: those after an id, or from the first one.
    pub(super) fn page(&self, channel: &[u8], after: Option<&[u8]>) -> MemberPage {
        let list = some_or!(self.lists.get(channel), return MemberPage::default());
        let from = after.map_or(0, |after| list.search(&self.slots, after).map_or_else(|at| at, |at| at + 1));
        MemberPage::of(list.members[from..].iter().filter_map(|at| self.slots.get(*at)))
    }

    /// Gives back the memory of many that have left. Returns the new number of each slot.
    pub(super) fn pack(&mut self) -> Option<Vec<u32>> {
        let new = self.slots.pack()?;
        let slots = self.lists.values_mut().flat_map(|list| &mut list.members);
        slots.for_each(|at| *at = new.get(*at as usize).copied().unwrap_or(0));
        Some(new)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.slots.iter().next().is_none()
    }
}

/// A member as the list of members shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberInfo {
    /// The member.
    pub id: Box<[u8]>,
    /// Its data.
    pub data: MemberData,
    /// When it has come, in milliseconds of the system's clock since 1970.
    pub since: u64,
    /// The number of streams that it has; 0 while it lingers.
    pub streams: u32,
}

/// A part of the list of a channel's members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberPage {
    /// Some members, in the order of their ids.
    pub members: Vec<MemberInfo>,
    /// The id after which the list continues, if there is more.
    pub next: Option<Box<[u8]>>,
}

impl MemberPage {
    /// The most members of a page.
    const MOST: usize = if cfg!(test) { 2 } else { 1000 };
    /// The bytes after which a page ends.
    const MOST_BYTES: usize = 256 << 10;

    /// Returns the first of these members, as many as a page has.
    pub(super) fn of<'a>(members: impl Iterator<Item = &'a Member>) -> Self {
        let (mut page, mut bytes) = (Self::default(), 0);
        for member in members {
            if page.members.len() == Self::MOST || bytes > Self::MOST_BYTES {
                page.next = page.members.last().map(|last| last.id.clone());
                break;
            }
            let (id, data) = (member.id().into(), member.data());
            page.members.push(MemberInfo { id, data, since: member.since, streams: member.streams });
            bytes += member.bytes();
        }
        page
    }
}
