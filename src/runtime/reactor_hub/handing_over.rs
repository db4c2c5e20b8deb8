//! Handing a hub over to another program: what is beside its history in the reactor.

use super::{OwnHub, ReactorHub};
use crate::codec::{decode, encode};
use crate::event::Shared;
use crate::hub::{
    Access, Call, EndRequests, EndedPoll, Epoch, History, Members, Question, Sequence, SequencedEvent, Settings,
    SubscribeRequest,
};
use crate::reactor::Command;
use crate::runtime::handover_file::{HandedOver, HandoverFile};
use crate::runtime::reactor_handle::ReactorHandle;
use crate::stream::{after, StreamId};
use crate::sys::clock::moment_of;
use crate::ticket::TicketKeys;
use crate::wire::Handover;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl OwnHub {
    /// Appends what is remembered of publications, the members and the keys of tickets. The reactor is paused.
    pub fn hand_over(&self, file: &mut HandoverFile) {
        let Self { sequence: Sequence { once, members, .. }, tickets, .. } = self;
        for (key, id, since) in once.iter() {
            file.add(&Handover::Once { key, id, age: file.at.saturating_duration_since(since) });
        }
        members.handed().for_each(|member| file.add(&Handover::Member(member.into())));
        file.add(&Handover::TicketKeys { keys: &encode(tickets) });
    }

    /// Continues with a hub that was handed over `at` a time. Its members linger for `wait`: their streams follow.
    pub(in crate::runtime) fn resume(
        reactor: Arc<ReactorHandle>,
        settings: Settings,
        (file, handed): (&HandedOver, &[Handover<'_>]),
        at: Instant,
        wait: Duration,
    ) -> io::Result<Self> {
        let history = history_of(handed);
        let before = |age| at.checked_sub(age).unwrap_or(at);
        let epoch = Epoch::new(&history.epoch, settings.opaque_ids.then_some(history.cipher_key));
        let retention = settings.retention.clone();
        let hub = ReactorHub::create(reactor, settings, epoch.clone(), Some(&history));
        let mut sequence = Sequence::new(epoch, history.through(), retention, Members::default());
        let mut ends = EndRequests::after(history.ends_forgotten_through);
        let (mut tickets, mut event) = (TicketKeys::default(), Vec::new());
        let Sequence { once, state, members, retention, .. } = &mut sequence;
        file.entries(|part| match part {
            Handover::EventPart { bytes } => event.extend_from_slice(bytes),
            Handover::Entry { seq, age, channel, key, retain, has_custom_id } => {
                let event = SequencedEvent {
                    seq,
                    channel: channel.into(),
                    event: Shared::of(std::mem::take(&mut event)),
                    key: key.into(),
                    retain,
                    has_custom_id,
                };
                let _ = state.change(channel, key, retain, event.event.len(), retention); // it was there before
                hub.append(event, before(age));
            }
            _ => {}
        })?;
        for part in handed {
            match *part {
                Handover::Once { key, id, age } => once.insert(key, id, before(age)),
                Handover::Member(ref member) => members.resume_member(member, after(Instant::now(), wait)),
                Handover::Lingering { channel, id, rest } => {
                    members.resume_linger(&(channel.into(), id.into()), after(at, rest));
                }
                Handover::MemberCount { channel, number, rest } => {
                    members.resume_count(channel, number as usize, after(at, rest));
                }
                Handover::End { at, ref end } => {
                    ends.add(end, at, 0);
                    hub.tell(Question::Call { call: Call::EndStreams(end.clone()), at });
                }
                Handover::TicketKeys { keys } => tickets = decode(keys).unwrap_or_default(),
                _ => {}
            }
        }
        Ok(Self { hub, sequence, tickets, ends })
    }
}

impl ReactorHub {
    /// Counts a stream by labels that was handed over while it was ending.
    pub fn count_stream(&self, stream: StreamId, labels: Vec<Box<[u8]>>) {
        self.reactor.send(Command::CountStream { hub: self.number, stream, labels });
    }

    /// Reserves the places that were reserved before.
    pub fn resume_reservations(&self, handed: &[Handover<'_>]) {
        for part in handed {
            if let Handover::Reservation { label, asked_at } = *part {
                let call = Call::Reserve { label: label.into(), most: usize::MAX, asked_at };
                self.tell(Question::Call { call, at: 0 });
            }
        }
    }

    /// Has the hub remember the polls that were handed over at a time of the system's monotonic clock. Its history comes
    /// before.
    pub fn resume_polls(&self, handed: &[Handover<'_>], at: u64) {
        for part in handed {
            if let Handover::EndedPoll { topics, labels, from, through, rest, is_finished } = part {
                let access = Access { labels: labels.clone(), asked_at: at, ..Access::default() };
                let reads = SubscribeRequest { topics: topics.clone(), access, ..SubscribeRequest::default() };
                let (until, seqs) = (after(moment_of(at), *rest), *from..=*through);
                let poll = EndedPoll { until, reads, seqs, is_finished: *is_finished };
                self.tell(Question::ResumePoll(poll.into()));
            }
        }
    }
}

/// Returns where the hub begins.
fn history_of(handed: &[Handover<'_>]) -> History {
    let mut history = History::default();
    for part in handed {
        match part {
            Handover::History(begins) => history = (**begins).clone(),
            Handover::Evicted { channel, through } => history.evicted.push(((*channel).into(), *through)),
            _ => {}
        }
    }
    history
}
