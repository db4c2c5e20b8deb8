//! Calls by name: all that hubs do for Perl and that is not hot. A call has a name and texts, and answers texts, so the
//! boundary is one function for all of them. These are the calls that a hub and a connection to a hub process have in common;
//! `hub.rs` and `process.rs` have the others. `perl/EventSource/XS/Hub/Calls.pm` makes them; `xt/boundary.t` compares the
//! names.

use super::counts;
use super::guard::{refuse, Thrown};
use super::lists;
use super::stream::seconds;
use super::text::{Answer, Texts};
use crate::event::Unsequenced;
use crate::hub::{check_member, ChannelPage, EndRequest, LogPage, LogRange, MemberData, MemberPage, Settings, Topic};
use crate::metrics::{self, Measured, TopicCounts};
use crate::remote::hub::HubCounts;
use crate::remote::{CallConnection, Error, Hub};
use crate::runtime;
use std::time::Duration;

/// Defines what answers calls: the name of each function of a hub, and that of a connection.
macro_rules! answering {
    ($(fn $name:ident | $of_connection:ident($($given:ident: $type:ty),*) -> $result:ty;)*) => {
        /// A hub as a worker holds it, or a connection to a hub process.
        pub(super) trait Answering {
            fn counts(&mut self, channel: &[u8]) -> Result<HubCounts, Error>;
            fn known_settings(&self) -> Option<&Settings>;
            $(fn $name(&mut self, $($given: $type),*) -> Result<$result, Error>;)*
        }

        impl Answering for Hub {
            fn counts(&mut self, channel: &[u8]) -> Result<HubCounts, Error> {
                self.count(channel)
            }
            fn known_settings(&self) -> Option<&Settings> {
                self.settings()
            }
            $(fn $name(&mut self, $($given: $type),*) -> Result<$result, Error> {
                Hub::$name(self, $($given),*)
            })*
        }

        impl Answering for CallConnection {
            fn counts(&mut self, channel: &[u8]) -> Result<HubCounts, Error> {
                let pid = self.welcome().pid;
                self.count(channel).map(|counted| HubCounts::Named(Box::new(counted), pid))
            }
            fn known_settings(&self) -> Option<&Settings> {
                None
            }
            $(fn $name(&mut self, $($given: $type),*) -> Result<$result, Error> {
                CallConnection::$of_connection(self, $($given),*)
            })*
        }
    };
}

answering! {
    fn channel_page | channels(pattern: &[u8], from: u64) -> ChannelPage;
    fn count_members | count_members(channel: &[u8]) -> usize;
    fn drain | drain(within: Duration) -> ();
    fn end_streams | end_streams(end: EndRequest) -> usize;
    fn log_page | log_page(channel: &[u8], range: LogRange) -> LogPage;
    fn member_page | members(channel: &[u8], after: Option<&[u8]>) -> MemberPage;
    fn update_member | update_member(channel: &[u8], id: &[u8], data: MemberData, event: Unsequenced) -> bool;
}

pub(super) fn call(of: &mut impl Answering, name: &[u8], mut given: Texts<'_>) -> Result<Answer, Thrown> {
    Ok(match name {
        b"channels" => lists::of_channels(of.channel_page(given.bytes(), given.number())?),
        b"count" => count(of.counts(b"")?),
        b"count_members" => Answer::of(of.count_members(given.bytes())?.to_string()),
        b"drain" => of.drain(seconds(given.number())).map(|()| Answer::default())?,
        b"end" => Answer::of(unless_ending(of.end_streams(given.end()))?.to_string()),
        b"log" => {
            let channel = given.bytes();
            let is_state = given.is_true();
            let mut number = || given.number();
            let (after, through) = (number(), number());
            lists::of_log(of.log_page(channel, LogRange { is_state, after, through, last: number() })?)
        }
        b"members" => lists::of_members(of.member_page(given.bytes(), given.next().filter(|after| !after.is_empty()))?),
        b"metrics" => metrics_of(of, given)?,
        b"subscribers" => {
            let counted = of.counts(given.bytes()).map(|counts| match counts {
                HubCounts::Local(_, subscribers) => subscribers,
                HubCounts::Named(counted, _) => usize::try_from(counted.subscribers).unwrap_or(usize::MAX),
            });
            Answer::of(unless_ending(counted)?.to_string())
        }
        b"update_member" => {
            let (channel, id, data, event) = (given.bytes(), given.bytes(), given.data(), given.event());
            check_member(&data, &event, of.known_settings())?;
            Answer::of_truth(of.update_member(channel, id, data, event)?)
        }
        name => refuse("call", String::from_utf8_lossy(name)),
    })
}

/// All streams have ended.
fn unless_ending(counted: Result<usize, Error>) -> Result<usize, Error> {
    match counted {
        Err(error) if error.is_shutdown() => Ok(0),
        counted => counted,
    }
}

/// The [counts] of a hub, and of its process and its store if it has one of its own: names and values.
fn count(counted: HubCounts) -> Answer {
    let mut answer = Answer::default();
    let (named, pid) = match counted {
        HubCounts::Local(of_hub, _) => (counts::of_hub(&of_hub), None),
        HubCounts::Named(counted, pid) => (counts::of_process(&counted), Some(("process.pid", pid.to_string()))),
    };
    for (name, value) in named.into_iter().chain(pid) {
        answer.push(name);
        answer.push(value);
    }
    answer
}

/// The [metrics] as text in UTF-8. The given texts are the hub's name, empty if it has none, and the topics that are told
/// apart.
fn metrics_of(of: &mut impl Answering, mut given: Texts<'_>) -> Result<Answer, Thrown> {
    let name = String::from_utf8_lossy(given.bytes());
    let mut topics = Vec::new();
    while let Some(kind) = given.next() {
        topics.push(TopicCounts::of(&given.topic(kind), |name, from| of.channel_page(name, from))?);
    }
    let topics = &topics[..];
    let text = match of.counts(b"")? {
        HubCounts::Local(of_hub, _) => metrics::text(&Measured {
            name: None,
            hub: &of_hub,
            streams: &runtime::stats(),
            times: &runtime::times(),
            process: None,
            topics,
        }),
        HubCounts::Named(counted, _) => metrics::text(&Measured::of_process(&name, &counted, topics)),
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
