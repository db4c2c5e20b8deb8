//! Reporting who is behind the streams of hubs: which streams with a member have entered and left, each once and in order,
//! whatever ends them. `hub::Members` decides what follows from that.
//!
//! A stream enters when its subscription takes effect, so one that ends before that never enters. Its will counts from the
//! command on: the application knows of the stream.

use super::{Answer, HubId, Io, Reactor, StreamId};
use crate::hub::{MemberRequest, Presence, PresenceChange, MAX_MEMBERS_OF_STREAM};
use crate::stream::Reason;
use std::collections::HashMap;

/// The members of streams whose subscriptions are held.
#[derive(Debug, Default)]
pub(super) struct Presences {
    joining: HashMap<u64, Vec<MemberRequest>>,
}

/// Says whether a stream's end is reported to the members of a hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndReport {
    /// It has neither a member nor a will.
    None,
    /// It is reported.
    Due,
    /// It is reported. The stream ends because of its age, and not by a decision of the application.
    DueOfAge,
}

impl<I: Io> Reactor<I> {
    /// Notes what a subscription says of the stream, which the hub has.
    pub(super) fn note_presence(&mut self, id: StreamId, hub: HubId, Presence { member, will }: Presence) {
        if let Some(will) = will {
            self.will_report_end(id, hub);
            self.answers.push(Answer::Presence { hub, stream: id, change: PresenceChange::Willed(will) });
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
        let joining = some_or!(self.presences.joining.remove(&id.into()), return);
        if self.record(id).map_or(true, |record| record.has_ended || record.stream.ending.is_some()) {
            return;
        }
        self.will_report_end(id, hub);
        self.answers.extend(joining.into_iter().map(|member| {
            let change = PresenceChange::Entered(Box::new(member));
            Answer::Presence { hub, stream: id, change }
        }));
    }

    /// Notes that a stream ends because of its age, unless it is ending already.
    pub(super) fn note_age(&mut self, id: StreamId) {
        if let Some(record) = self.record(id).filter(|record| record.end_report == EndReport::Due) {
            if record.stream.ending.is_none() {
                record.end_report = EndReport::DueOfAge;
            }
        }
    }

    fn will_report_end(&mut self, id: StreamId, hub: HubId) {
        if let Some(record) = self.record(id) {
            (record.presence_hub, record.end_report) = (hub, EndReport::Due);
        }
    }

    /// Reports that a stream has ended. The application's decision counts, even if the client has left before it was sent all.
    pub(super) fn report_end(&mut self, id: StreamId, reason: Reason) {
        self.open_streams -= 1;
        self.answers.push(Answer::Ended { stream: id, reason });
        self.presences.joining.remove(&id.into());
        let record = some_or!(self.record(id), return);
        let ending = record.stream.ending.unwrap_or(reason);
        let (hub, report) = (record.presence_hub, std::mem::replace(&mut record.end_report, EndReport::None));
        if report != EndReport::None {
            let is_by_application = ending == Reason::Application && report != EndReport::DueOfAge;
            let change = PresenceChange::Left { is_by_application };
            self.answers.push(Answer::Presence { hub, stream: id, change });
        }
    }
}
