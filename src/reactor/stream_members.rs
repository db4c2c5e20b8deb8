//! Reporting who is behind the streams of hubs: which streams with a member have entered and left, each once and in order,
//! whatever ends them. `hub::Members` decides what follows from that.
//!
//! A stream enters when its subscription takes effect, and its will counts from then on, too. So a stream that ends before
//! that has neither, and the will of a member is never alone: an upgrade would publish it at once.

use super::{Answer, HubId, Io, Reactor, StreamId};
use crate::hub::{Announcement, MemberRequest, Presence, PresenceChange, MAX_MEMBERS_OF_STREAM};
use crate::stream::Reason;
use std::collections::HashMap;

/// The members and the wills of streams whose subscriptions are held.
#[derive(Debug, Default)]
pub(super) struct Presences {
    joining: HashMap<u64, Joining>,
}

#[derive(Debug, Default)]
struct Joining {
    members: Vec<MemberRequest>,
    /// The last one.
    will: Option<Box<Announcement>>,
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

impl EndReport {
    /// Returns true if the application has decided that a stream ends for this reason.
    pub(super) fn is_by_application(self, reason: Reason) -> bool {
        reason == Reason::Application && self != Self::DueOfAge
    }
}

impl<I: Io> Reactor<I> {
    /// Notes what a subscription says of the stream, until the stream enters.
    pub(super) fn note_presence(&mut self, id: StreamId, Presence { member, will }: Presence) {
        if member.is_none() && will.is_none() {
            return;
        }
        let joining = self.presences.joining.entry(id.into()).or_default();
        joining.will = will.or_else(|| joining.will.take());
        if joining.members.len() <= MAX_MEMBERS_OF_STREAM {
            joining.members.extend(member.map(|member| *member)); // the hub refuses the last one
        }
    }

    /// Reports that a stream has entered, whose subscription has taken effect. Its will comes first: by that the hub knows a
    /// client that is back after an upgrade.
    pub(super) fn enter(&mut self, id: StreamId, hub: HubId) {
        let Joining { members, will } = some_or!(self.presences.joining.remove(&id.into()), return);
        let record = some_or!(self.record(id), return);
        if record.has_ended || record.stream.ending.is_some() {
            return;
        }
        (record.presence_hub, record.end_report) = (hub, EndReport::Due);
        let members = members.into_iter().map(|member| PresenceChange::Entered(Box::new(member)));
        let changes = will.map(PresenceChange::Willed).into_iter().chain(members);
        self.answers.extend(changes.map(|change| Answer::Presence { hub, stream: id, change }));
    }

    /// Notes that a stream ends because of its age, unless it is ending already.
    pub(super) fn note_age(&mut self, id: StreamId) {
        if let Some(record) = self.record(id).filter(|record| record.stream.ending.is_none()) {
            record.note_age();
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
            let change = PresenceChange::Left { is_by_application: report.is_by_application(ending) };
            self.answers.push(Answer::Presence { hub, stream: id, change });
        }
    }
}
