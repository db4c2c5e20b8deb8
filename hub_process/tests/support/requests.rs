//! What tests ask a hub process, and the settings with which nothing ends by itself.

#![allow(dead_code)] // no file of tests uses all of it

use super::client::{self, DEADLINE};
use eventsource_xs::hub::{MemberPage, Publication, SubscribeRequest, Topic};
use eventsource_xs::remote::CallConnection;
use eventsource_xs::stream::Settings;
use eventsource_xs::wire::{Call, Counted, Described, Failure, FieldList, HubSettings, Reply, Request};

/// What tests ask a hub process.
pub trait Asks {
    fn make(&mut self, call: &Call) -> Result<Reply, Failure>;

    /// Publishes an event, and returns its id in the hub's order.
    fn publish(&mut self, publication: &Publication<'_, FieldList>) -> Result<String, Failure>;

    fn count(&mut self, channel: &[u8]) -> Result<Counted, Failure> {
        Ok(*self.make(&Call::Count { channel: channel.into() })?.counted()?)
    }

    fn describe(&mut self) -> Result<Described, Failure> {
        Ok(*self.make(&Call::Describe)?.described()?)
    }

    fn members(&mut self, channel: &[u8], after: Option<&[u8]>) -> Result<MemberPage, Failure> {
        self.make(&Call::Members { channel: channel.into(), after: after.map(Into::into) })?.members()
    }
}

impl Asks for CallConnection {
    fn make(&mut self, call: &Call) -> Result<Reply, Failure> {
        self.call(call)
    }

    fn publish(&mut self, publication: &Publication<'_, FieldList>) -> Result<String, Failure> {
        let publish = |request| Request::Publish { request, publication: publication.borrowed() };
        Ok(self.ask(publish)?.id()?.into())
    }
}

/// Settings with which nothing ends by itself during a test.
pub fn settings() -> HubSettings {
    HubSettings { idle_exit: DEADLINE * 2, grace: DEADLINE * 2, ..HubSettings::default() }
}

pub fn stream_settings() -> Settings {
    Settings { max_buffered: 1 << 20, ..client::settings() }
}

pub fn topics(channel: &str, after: Option<&str>) -> SubscribeRequest {
    let topics = vec![Topic::Channel(channel.as_bytes().into())];
    SubscribeRequest { topics, after: after.map(|id| id.as_bytes().into()), ..SubscribeRequest::default() }
}
