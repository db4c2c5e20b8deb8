//! Calls by name: all that hubs do for Perl and that is not hot. A call has a name and texts, and answers texts, so the
//! boundary is one function for all of them: numbers, and what is read of a hub in parts, as lists of texts. These are the
//! calls that a hub and a connection to a hub process have in common; `hub.rs` and `process.rs` have the others.
//! `perl/EventSource/XS/Hub/Calls.pm` makes them; `xt/boundary.t` compares the names.

use super::guard::refuse;
use super::stream::seconds;
use super::text::{Answer, Texts};
use crate::hub::{
    check_member, ChannelPage, EndRequest, LogPage, LogRange, MemberInfo, MemberPage, MemberUpdate, Retain, Settings,
    Topic,
};
use crate::metrics::{self, Measured, TopicCounts};
use crate::runtime;
use crate::wire::{Call, Counted, Reply, ShowChannel, StoreStatus};
use crate::Failure;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Makes a call of a hub, or on a connection to a hub process.
pub(super) type Make<'a> = &'a mut dyn FnMut(Call) -> Result<Reply, Failure>;

/// Makes a call by name. A hub without a name has settings. `way` is the form of its events.
pub(super) fn call(
    make: Make<'_>,
    settings: Option<&Settings>,
    way: Option<ShowChannel>,
    name: &[u8],
    mut given: Texts<'_>,
) -> Result<Answer, Failure> {
    Ok(match name {
        b"channels" => channel_texts(channels(make, given.bytes(), given.number())?),
        b"count" => count(&*counted(make, b"")?),
        b"count_members" => {
            Answer::of(make(Call::CountMembers { channel: given.bytes().into() })?.number()?.to_string())
        }
        b"drain" => make(Call::Drain { within: seconds(given.number()) }).map(|_| Answer::default())?,
        b"end" => {
            let ended = make(Call::EndStreams(given.end())).and_then(|reply| reply.number());
            Answer::of(unless_ending(ended)?.to_string())
        }
        b"last_id" => Answer::of(&*make(Call::LastId)?.id()?),
        b"log" => {
            let (channel, is_state) = (given.bytes().into(), given.is_true());
            let mut number = || given.number();
            let (after, through) = (number(), number());
            let range = LogRange { is_state, after, through, last: number() };
            log_texts(make(Call::ReadLog { channel, range })?.log()?)
        }
        b"members" => {
            let channel = given.bytes().into();
            let after = given.next().filter(|after| !after.is_empty()).map(Into::into);
            member_texts(make(Call::Members { channel, after })?.members()?)
        }
        b"metrics" => metrics_of(make, given)?,
        b"oldest" => {
            let mut answer = Answer::default();
            if let Some((id, age)) = make(Call::Oldest { channel: given.bytes().into() })?.oldest()? {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                answer.push(&*id);
                answer.push(format!("{:.3}", now.saturating_sub(age).as_secs_f64()));
            }
            answer
        }
        b"subscribers" => {
            let counted = counted(make, given.bytes()).map(|counted| counted.subscribers);
            Answer::of(unless_ending(counted)?.to_string())
        }
        b"update_member" => {
            let (channel, id) = (given.bytes(), given.bytes());
            let (data, event) = (given.data(), given.event(way, (channel, id, Retain::Newest))?);
            check_member(&data, &event, settings)?;
            let (channel, id) = (channel.into(), id.into());
            Answer::of_truth(make(Call::UpdateMember(MemberUpdate { channel, id, data, event }))?.number()? > 0)
        }
        name => refuse("call", String::from_utf8_lossy(name)),
    })
}

fn channels(make: Make<'_>, pattern: &[u8], from: u64) -> Result<ChannelPage, Failure> {
    make(Call::Channels { pattern: pattern.into(), from })?.channels()
}

fn counted(make: Make<'_>, channel: &[u8]) -> Result<Box<Counted>, Failure> {
    make(Call::Count { channel: channel.into() })?.counted()
}

/// All streams have ended.
fn unless_ending(counted: Result<u64, Failure>) -> Result<u64, Failure> {
    match counted {
        Err(_) if runtime::is_shutting_down() => Ok(0),
        counted => counted,
    }
}

/// The counts of a hub, and of its process and its store if it has one of its own: names and values.
fn count(counted: &Counted) -> Answer {
    let hub = counted.hub.named().into_iter().map(|(name, number)| (name, number.to_string()));
    Answer::of_named(match counted.pid {
        0 => hub.collect(),
        _ => hub.chain(process_counts(counted)).collect::<Vec<_>>(),
    })
}

/// The [metrics] as text in UTF-8. The given texts are the hub's name, empty if it has none, and the topics that are told
/// apart.
fn metrics_of(make: Make<'_>, mut given: Texts<'_>) -> Result<Answer, Failure> {
    let name = String::from_utf8_lossy(given.bytes());
    let mut topics = Vec::new();
    while let Some(kind) = given.next() {
        topics.push(TopicCounts::of(&given.topic(kind), |name, from| channels(make, name, from))?);
    }
    let topics = &topics[..];
    let counted = counted(make, b"")?;
    let text = match counted.pid {
        0 => metrics::text(&Measured {
            name: None,
            hub: &counted.hub,
            streams: &runtime::stats(),
            times: &runtime::times(),
            process: None,
            topics,
        }),
        _ => metrics::text(&Measured::of_process(&name, &counted, topics)),
    };
    Ok(Answer::of_bytes([text.into_bytes()]))
}

impl Texts<'_> {
    /// Takes which streams end, after whether they end for good.
    fn end(mut self) -> EndRequest {
        let mut end = EndRequest { finishes: self.is_true(), ..EndRequest::default() };
        while let Some(kind) = self.next() {
            match kind {
                b"label" => end.labels.push(self.bytes().into()),
                kind => end.topics.push(self.topic(kind)),
            }
        }
        end
    }

    /// Takes a topic, whose kind was before it.
    pub(super) fn topic(&mut self, kind: &[u8]) -> Topic {
        let name = self.bytes().into();
        match kind {
            b"channel" => Topic::Channel(name),
            b"pattern" => Topic::Pattern(name),
            kind => refuse("kind of topic", String::from_utf8_lossy(kind)),
        }
    }
}

/// Returns where a list of members continues, and of each member its id, when it came, how many streams it has, whether its
/// data is JSON, and the data.
fn member_texts(page: MemberPage) -> Answer {
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
fn channel_texts(page: ChannelPage) -> Answer {
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
fn log_texts(page: LogPage) -> Answer {
    let mut answer = Answer::of(page.next.map_or_else(String::new, |next| next.to_string()));
    answer.push(page.through.to_string());
    for event in page.events {
        answer.push(event.key);
        answer.push(&*String::from_utf8_lossy(&event.block));
    }
    answer
}

/// Returns the counts of the process of a named hub and of its store. Without an error of the store, its text is empty.
fn process_counts(counted: &Counted) -> impl Iterator<Item = (&'static str, String)> {
    let StoreStatus { kind, place, source, last_error, .. } = &counted.store;
    let StoreStatus { is_up, since, lag, pending, events, bytes, failed, reconnects, epoch_changes, .. } =
        counted.store;
    let numbers = [
        ("process.pid", counted.pid.into()),
        ("process.workers", counted.workers),
        ("process.open", counted.streams.open),
        ("process.refused", counted.streams.refused),
        ("process.buffered", counted.streams.buffered),
        ("process.cut_off", counted.cut_off),
        ("store.up", is_up.into()),
        ("store.pending", pending),
        ("store.events", events),
        ("store.bytes", bytes),
        ("store.failed", failed),
        ("store.reconnects", reconnects),
        ("store.epoch_changes", epoch_changes),
    ];
    let since_error = UNIX_EPOCH.checked_add(Duration::from_millis(counted.store.last_error_at));
    let age = since_error.and_then(|at| SystemTime::now().duration_since(at).ok()).unwrap_or_default();
    let seconds = [
        ("store.since", Duration::from_millis(since)),
        ("store.lag", Duration::from_millis(lag)),
        ("store.last_error_age", age),
    ];
    let texts =
        [("store.kind", kind), ("store.place", place), ("store.source", source), ("store.last_error", last_error)];
    let numbers = numbers.map(|(name, number)| (name, number.to_string()));
    let seconds = seconds.map(|(name, time)| (name, format!("{:.3}", time.as_secs_f64())));
    let texts = texts.map(|(name, text)| (name, text.to_string()));
    numbers.into_iter().chain(seconds).chain(texts)
}
