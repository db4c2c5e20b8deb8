//! Reporting who is behind the streams of hubs: which streams with a member have entered and left, each once and in order,
//! whatever ends them. `hub::Members` decides what follows from that.
//!
//! A stream enters when its subscription takes effect, so one that ends before that never enters. Its will counts from the
//! command on: the application knows of the stream.

use super::{Answer, HubId, Io, Reactor, StreamId};
use crate::hub::{MemberRequest, Presence};
use crate::stream::Reason;
use std::collections::HashMap;

/// The streams with members and wills. They are kept beside the streams, because most streams have neither.
#[derive(Debug, Default)]
pub(super) struct Presences {
    /// The members of streams whose subscriptions are held.
    joining: HashMap<u64, Vec<MemberRequest>>,
    /// The hubs of the streams that were reported.
    reported: HashMap<u64, HubId>,
}

impl<I: Io> Reactor<I> {
    /// Notes what a subscription says of the stream, which the hub has.
    pub(super) fn note_presence(&mut self, id: StreamId, hub: HubId, Presence { member, will }: Presence) {
        let stream = u64::from(id);
        if let Some(will) = will {
            self.presences.reported.insert(stream, hub);
            self.answers.push(Answer::Willed { hub, stream: id, will });
        }
        if let Some(member) = member {
            self.presences.joining.entry(stream).or_default().push(*member);
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
        self.presences.reported.insert(id.into(), hub);
        self.answers.extend(joining.into_iter().map(|member| {
            let member = Box::new(member);
            Answer::Entered { hub, stream: id, member }
        }));
    }

    /// Reports that a stream has ended.
    pub(super) fn report_end(&mut self, id: StreamId, reason: Reason) {
        self.open_streams -= 1;
        self.answers.push(Answer::Ended { stream: id, reason });
        let Presences { joining, reported } = &mut self.presences;
        joining.remove(&id.into());
        if let Some(hub) = reported.remove(&id.into()) {
            self.answers.push(Answer::Left { hub, stream: id, reason });
        }
    }
}

saved!(Presences { joining, reported });
