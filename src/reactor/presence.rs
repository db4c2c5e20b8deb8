//! Reporting who is behind the streams of hubs: which streams with a member have entered and left, each once and in order,
//! whatever ends them. `hub::Members` decides what follows from that.
//!
//! A stream enters when its subscription takes effect, so one that ends before that never enters. Its will counts from the
//! command on: the application knows of the stream.

use super::{Answer, HubId, Io, Reactor, StreamId};
use crate::hub::{MemberRequest, Presence, MAX_MEMBERS_OF_STREAM};
use crate::stream::Reason;
use std::collections::HashMap;

/// The streams with members and wills. They are kept beside the streams, because most streams have neither.
#[derive(Debug, Default)]
pub(super) struct Presences {
    /// The members of streams whose subscriptions are held.
    joining: HashMap<u64, Vec<MemberRequest>>,
    /// The streams that were reported, by their slots.
    reported: HashMap<u32, Reported>,
}

/// A stream that was reported.
#[derive(Debug)]
struct Reported {
    hub: HubId,
    /// Whether the stream ends because of its age, which is no decision of the application.
    has_aged: bool,
}

impl<I: Io> Reactor<I> {
    /// Notes what a subscription says of the stream, which the hub has.
    pub(super) fn note_presence(&mut self, id: StreamId, hub: HubId, Presence { member, will }: Presence) {
        if let Some(will) = will {
            self.presences.reported.insert(id.slot, Reported { hub, has_aged: false });
            self.answers.push(Answer::Willed { hub, stream: id, will });
        }
        if let Some(member) = member {
            let joining = self.presences.joining.entry(id.into()).or_default();
            if joining.len() <= MAX_MEMBERS_OF_STREAM {
                joining.push(*member); // the hub refuses the last one
            }
        }
    }

    /// Reports that a stream has entered, whose subscription has taken effect.
    pub(super) fn enter(&mut self, id: StreamId, hub: HubId) {
        let joining = match self.presences.joining.remove(&id.into()) {
            Some(joining) => joining,
            None => return,
        };
        if self.record(id).map_or(true, |record| record.has_ended || record.stream.ending().is_some()) {
            return;
        }
        self.presences.reported.insert(id.slot, Reported { hub, has_aged: false });
        self.answers.extend(joining.into_iter().map(|member| {
            let member = Box::new(member);
            Answer::Entered { hub, stream: id, member }
        }));
    }

    /// Notes that a stream ends because of its age, unless it is ending already.
    pub(super) fn note_age(&mut self, id: StreamId) {
        if self.record(id).map_or(false, |record| record.stream.ending().is_none()) {
            if let Some(reported) = self.presences.reported.get_mut(&id.slot) {
                reported.has_aged = true;
            }
        }
    }

    /// Reports that a stream has ended. The application's decision counts, even if the client has left before it was sent all.
    pub(super) fn report_end(&mut self, id: StreamId, reason: Reason) {
        self.open_streams -= 1;
        self.answers.push(Answer::Ended { stream: id, reason });
        let ending = self.record(id).and_then(|record| record.stream.ending()).unwrap_or(reason);
        let Presences { joining, reported } = &mut self.presences;
        joining.remove(&id.into());
        if let Some(Reported { hub, has_aged }) = reported.remove(&id.slot) {
            let is_by_application = ending == Reason::Application && !has_aged;
            self.answers.push(Answer::Left { hub, stream: id, is_by_application });
        }
    }
}

saved!(Presences { joining, reported });
saved!(Reported { hub, has_aged });
