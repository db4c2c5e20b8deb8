//! Handing a hub over to another program: what is beside its history in the reactor.

use super::{OwnHub, ReactorHub};
use crate::codec::{decode, encode};
use crate::event::Shared;
use crate::hub::{Call, EndRequests, Epoch, History, Members, Question, Sequence, SequencedEvent, Settings};
use crate::runtime::handover_file::HandoverFile;
use crate::runtime::reactor_handle::ReactorHandle;
use crate::ticket::TicketKeys;
use crate::wire::Handover;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl OwnHub {
    /// Appends what is remembered of publications, the members and the keys of tickets. The reactor is paused.
    pub fn hand_over(&self, file: &mut HandoverFile, now: Instant) {
        let Self { sequence: Sequence { once, members, .. }, tickets, .. } = self;
        for (key, id, since) in once.iter() {
            file.add(&Handover::Once { key, id, age: now.saturating_duration_since(since) });
        }
        members.handed(now).for_each(|member| file.add(&Handover::Member(member.into())));
        for (channel, number) in members.published_counts() {
            file.add(&Handover::MemberCount { channel, number: number as u64 });
        }
        file.add(&Handover::TicketKeys { keys: &encode(tickets) });
    }

    /// Continues with a hub that was handed over. Its members linger for `wait` at least: their streams follow.
    pub(in crate::runtime) fn resume(
        reactor: Arc<ReactorHandle>,
        settings: Settings,
        handed: &[Handover<'_>],
        wait: Duration,
    ) -> Self {
        let (history, now) = (history_of(handed), Instant::now());
        let epoch = Epoch::new(&history.epoch, settings.opaque_ids.then_some(history.cipher_key));
        let retention = settings.retention.clone();
        let hub = ReactorHub::create(reactor, settings, epoch.clone(), Some(&history));
        let mut sequence = Sequence::new(epoch, history.through(), retention, Members::default());
        let mut ends = EndRequests::after(history.ends_forgotten_through);
        let (mut tickets, mut event) = (TicketKeys::default(), Vec::new());
        for part in handed {
            let Sequence { once, state, members, retention, .. } = &mut sequence;
            match *part {
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
                    hub.append(event, now.checked_sub(age).unwrap_or(now));
                }
                Handover::Once { key, id, age } => once.insert(key, id, now.checked_sub(age).unwrap_or(now)),
                Handover::Member(ref member) => members.resume_member(member, wait, now),
                Handover::MemberCount { channel, number } => members.resume_count(channel, number as usize, now),
                Handover::End { at, ref end } => {
                    ends.add(end, at);
                    hub.tell(Question::Call { call: Call::EndStreams(end.clone()), at });
                }
                Handover::TicketKeys { keys } => tickets = decode(keys).unwrap_or_default(),
                _ => {}
            }
        }
        Self { hub, sequence, tickets, ends }
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
