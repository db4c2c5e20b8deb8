//! The list of a channel's members as applications read it: in parts.

use super::member::Member;
use crate::hub::MemberData;

/// A member as the list of members shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberInfo {
    /// The member.
    pub id: Box<[u8]>,
    /// Its data.
    pub data: MemberData,
    /// When it has come, in milliseconds of the system's clock since 1970.
    pub since: u64,
    /// How many streams it has; 0 while it lingers.
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
