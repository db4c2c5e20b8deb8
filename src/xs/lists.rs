//! What applications read of a hub in parts: members, channels, and the events of a channel, as lists of texts.

use super::text::Answer;
use crate::hub::{ChannelPage, LogPage, MemberInfo, MemberPage};

/// Returns where a list of members continues, and of each member its id, when it came, how many streams it has, whether its
/// data is JSON, and the data.
pub(super) fn of_members(page: MemberPage) -> Answer {
    let mut answer = Answer::of(page.next.unwrap_or_default());
    for MemberInfo { id, data, since, streams } in page.members {
        answer.push(id);
        for number in [since.to_string(), streams.to_string(), u8::from(data.is_json).to_string()] {
            answer.push(number);
        }
        answer.push(data.text);
    }
    answer
}

/// Returns where a list of channels continues, and seven texts of each channel.
pub(super) fn of_channels(page: ChannelPage) -> Answer {
    let mut answer = Answer::of(page.next.map_or_else(String::new, |next| next.to_string()));
    for channel in page.channels {
        answer.push(&channel.name);
        for number in [channel.subscribers, channel.events, channel.bytes, channel.keys, channel.events_per_hour] {
            answer.push(number.to_string());
        }
        answer.push(channel.last_id.into_string());
    }
    answer
}

/// Returns where a history or a state continues, through which number it was read, and two texts of each event: the key, and
/// the block.
pub(super) fn of_log(page: LogPage) -> Answer {
    let mut answer = Answer::of(page.next.map_or_else(String::new, |next| next.to_string()));
    answer.push(page.through.to_string());
    for event in page.events {
        answer.push(event.key);
        answer.push(&*String::from_utf8_lossy(&event.block));
    }
    answer
}
