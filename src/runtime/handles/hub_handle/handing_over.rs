//! Handing a hub without a store over to another program: what is beside its history in the reactor.

use super::HubHandle;
use crate::codec::{decode, encode};
use crate::event::Shared;
use crate::hub::{Epoch, History, Members, Question, SequencedEvent, Settings};
use crate::reactor::{Command, HubId};
use crate::runtime::handover_file::HandoverFile;
use crate::runtime::presence::PresenceChange;
use crate::runtime::process::{check_shutdown, lock_process};
use crate::runtime::reactor_handle::UNAWAITED;
use crate::runtime::registration::HubRegistration;
use crate::stream::StreamId;
use crate::wire::Handover;
use crate::Failure;
use std::time::{Duration, Instant};

impl HubHandle {
    /// Returns the number of the hub in the reactor; nothing if that does not have it.
    pub(crate) fn number(&self) -> Option<HubId> {
        let mut process = lock_process();
        let index = process.registrations.index_of(self.0.key)?;
        Some(process.registrations.at(index).hub)
    }

    /// Appends what is remembered of publications, the members and the keys of tickets. The reactor is paused.
    pub fn hand_over(&self, file: &mut HandoverFile, now: Instant) {
        let mut process = lock_process();
        let HubRegistration { once, members, tickets, .. } = match process.registrations.index_of(self.0.key) {
            Some(index) => process.registrations.at(index),
            None => return,
        };
        for (key, id, since) in once.iter() {
            file.add(&Handover::Once { key, id, age: now.saturating_duration_since(since) });
        }
        if let Some(members) = members {
            members.handed(now).for_each(|member| file.add(&Handover::Member(member.into())));
            for (channel, number) in members.published_counts() {
                file.add(&Handover::MemberCount { channel, number: number as u64 });
            }
            Self::hand_presences_over(members, file);
        }
        file.add(&Handover::TicketKeys { keys: &encode(tickets) });
    }

    /// Appends the members and wills of streams.
    pub fn hand_presences_over(members: &Members, file: &mut HandoverFile) {
        for (stream, presence) in members.presences() {
            file.add(&Handover::Presence { stream: stream.into(), presence });
        }
    }

    /// Continues with a hub that was handed over. Its members linger for `wait` at least: their streams follow. Fails with
    /// `Unavailable`.
    pub fn resumed(
        settings: Settings,
        max_topics: usize,
        handed: &[Handover<'_>],
        wait: Duration,
    ) -> Result<Self, Failure> {
        let (hub, now) = (Self::make(settings, max_topics, false), Instant::now());
        check_shutdown()?;
        let mut process = lock_process();
        let history = history_of(handed);
        let cipher_key = Some(history.cipher_key).filter(|_| hub.0.settings.opaque_ids);
        let epoch = Epoch::new(&history.epoch, cipher_key);
        let mut registration = hub.register(process.reactor_or_start()?, epoch, Some(&history))?;
        let HubRegistration { reactor, hub: number, once, members, tickets, state, retention, .. } = &mut registration;
        let mut event = Vec::new();
        for part in handed {
            match *part {
                Handover::EventPart { bytes } => event.extend_from_slice(bytes),
                Handover::Entry { seq, age, channel, key, retain, has_custom_id } => {
                    let id = has_custom_id.then(|| id_of(&event));
                    let event = Box::new(SequencedEvent {
                        seq,
                        channel: channel.into(),
                        event: Shared::of(std::mem::take(&mut event)),
                        key: key.into(),
                        retain,
                        id,
                    });
                    let _ = state.change(channel, key, (retain, event.event.len()), retention); // it was there before
                    let at = now.checked_sub(age).unwrap_or(now);
                    reactor.publish(Command::PublishStored { hub: *number, event, at });
                }
                Handover::Once { key, id, age } => once.insert(key, id, now.checked_sub(age).unwrap_or(now)),
                Handover::Member(ref member) => {
                    members.iter_mut().for_each(|members| members.resume_member(member, wait, now));
                }
                Handover::MemberCount { channel, number } => {
                    members.iter_mut().for_each(|members| members.resume_count(channel, number as usize, now));
                }
                Handover::End { at, ref end } => {
                    let request = Box::new(end.clone());
                    let question = Box::new(Question::EndStreams { request, at });
                    reactor.send(Command::Ask { hub: *number, request_id: UNAWAITED, question });
                }
                Handover::TicketKeys { keys } => *tickets = decode(keys).unwrap_or_default(),
                _ => {}
            }
        }
        process.registrations.insert(hub.0.key, registration);
        drop(process);
        Ok(hub)
    }

    /// Reports a change of a stream that this program does not have: it has ended with the one before.
    pub fn report_away(&self, stream: StreamId, change: PresenceChange) {
        let mut process = lock_process();
        if let Some(index) = process.registrations.index_of(self.0.key) {
            let HubRegistration { reactor, hub, .. } = process.registrations.at(index);
            reactor.report_presence(*hub, stream, change);
            reactor.wake();
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

/// Returns the id of an encoded event, which is its last field.
fn id_of(event: &[u8]) -> Box<[u8]> {
    event.rsplit(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"id: ")).unwrap_or_default().into()
}
