//! What applications read of a hub in parts: members, channels, and the events of a channel, as lists of texts.

use super::guard::Report;
use super::text::{texts, OwnTexts, RawText};
use crate::hub::{ChannelPage, LogPage, LogRange, MemberInfo, MemberPage};
use crate::remote::Hub;

/// `esx_log_range`
#[derive(Clone, Copy)]
#[repr(C)]
struct RawLogRange {
    after: u64,
    through: u64,
    last: u64,
    is_state: u8,
}

impl MemberPage {
    /// Returns the page for EventSource::XS::Hub::Member: where the list continues, and of each member its id, when it came,
    /// how many streams it has, whether its data is JSON, and the data.
    pub(super) fn into_texts(self) -> OwnTexts {
        let mut all = vec![self.next.unwrap_or_default()];
        for MemberInfo { id, data, since, streams } in self.members {
            let numbers = [since.to_string(), streams.to_string(), u8::from(data.is_json).to_string()];
            all.push(id);
            all.extend(numbers.iter().map(|number| number.as_bytes().into()));
            all.push(data.text);
        }
        all
    }
}

/// Returns where a list of channels continues, and seven texts of each channel.
pub(super) fn of_channels(page: ChannelPage) -> OwnTexts {
    let mut texts: OwnTexts = vec![page.next.map_or_else(String::new, |next| next.to_string()).into_bytes().into()];
    for channel in page.channels {
        texts.push((&*channel.name).into());
        let numbers = [channel.subscribers, channel.events, channel.bytes, channel.keys, channel.events_per_hour];
        texts.extend(numbers.iter().map(|number| number.to_string().into_bytes().into()));
        texts.push(channel.last_id.into_string().into_bytes().into());
    }
    texts
}

/// Returns where a history or a state continues, through which number it was read, and two texts of each event: the key, and
/// the block.
pub(super) fn of_log(page: LogPage) -> OwnTexts {
    let next = page.next.map_or_else(String::new, |next| next.to_string());
    let mut texts: OwnTexts = vec![next.into_bytes().into(), page.through.to_string().into_bytes().into()];
    for event in page.events {
        texts.push(event.key);
        texts.push(String::from_utf8_lossy(&event.block).into_owned().into_bytes().into());
    }
    texts
}

/// The [texts](MemberPage::into_texts) of a page of members. Returns a handle, or null with a report of the error.
#[no_mangle]
unsafe extern "C" fn esx_hub_members(
    hub: *mut Hub,
    channel: RawText,
    after: RawText,
    report: *mut Report,
) -> *mut OwnTexts {
    // SAFETY: as in `esx_hub_publish` (`hub`).
    let (hub, channel, after, report) =
        unsafe { (&*hub, channel.bytes().unwrap_or_default(), after.bytes(), &mut *report) };
    texts(report, || Ok(hub.member_page(channel, after.filter(|after| !after.is_empty()))?.into_texts()))
}

/// The [texts](of_log) of a page of a channel's history or state. Returns a handle, or null with a report of the error.
#[no_mangle]
unsafe extern "C" fn esx_hub_log(
    hub: *mut Hub,
    channel: RawText,
    range: *const RawLogRange,
    report: *mut Report,
) -> *mut OwnTexts {
    // SAFETY: as in `esx_hub_publish` (`hub`). The range is the caller's until this returns.
    let (hub, channel, range, report) = unsafe { (&*hub, channel.bytes().unwrap_or_default(), *range, &mut *report) };
    let RawLogRange { is_state, after, through, last } = range;
    let range = LogRange { is_state: is_state != 0, after, through, last };
    texts(report, || Ok(of_log(hub.log_page(channel, range)?)))
}

/// A part of the list of the channels whose names match a pattern, as texts ([`of_channels`]). Returns a handle, or
/// null with a report of the error.
#[no_mangle]
unsafe extern "C" fn esx_hub_channels(
    hub: *mut Hub,
    pattern: RawText,
    from: u64,
    report: *mut Report,
) -> *mut OwnTexts {
    // SAFETY: as in `esx_hub_publish` (`hub`).
    let (hub, pattern, report) = unsafe { (&*hub, pattern.bytes().unwrap_or_default(), &mut *report) };
    texts(report, || Ok(of_channels(hub.channel_page(pattern, from)?)))
}
