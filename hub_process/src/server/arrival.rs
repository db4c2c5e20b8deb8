//! Continuing another program: its history at once, its connections and streams when the hub can be used. They wait in their
//! sockets until then.

use super::hub_life::BEGIN_WITHIN;
use super::{requests, Server};
use crate::arguments::Arguments;
use crate::inherited::{take_kept, InstanceLock};
use crate::leases::Candidate;
use crate::listening::Listening;
use crate::new_program;
use crate::peers::Peers;
use crate::process_log::{self, log_message};
use crate::settings::Precedence;
use crate::stored_hub::log_lost_wills;
use crate::streams::{Opener, ServedStream};
use eventsource_xs::hub::{Presence, PresenceChange, SubscribeRequest};
use eventsource_xs::reactor::{Ending, ENDED_BY_UPGRADE};
use eventsource_xs::remote::calls::{send, Epoll, Readiness, Wait};
use eventsource_xs::runtime::{drain_stream, moment_of, HandedOver};
use eventsource_xs::stream::{Liveness, Reason, StreamEnd, StreamId};
use eventsource_xs::wire::{HandedProcess, Handover, Malformed, NamedSettings, Open, Response};
use rustix::net::{recv, shutdown, RecvFlags, Shutdown};
use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The time that clients may take to come back beyond their reconnection time.
const MARGIN: Duration = Duration::from_secs(2);

/// The things that were handed over.
#[derive(Default)]
pub(super) struct Arrival {
    /// All messages but the history, until the hub can be used, but for so long at most.
    waiting: Option<(Vec<u8>, Instant)>,
}

impl Arrival {
    /// Returns true if connections wait.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.as_ref().map(|(_, until)| *until)
    }
}

/// A stream that was handed over: all but its socket and its subscription.
#[derive(Default)]
struct Known {
    /// [`OWN`](crate::streams::OWN) if none is named.
    opener: Opener,
    /// The number of bytes that its opener has pushed, if that holds it.
    pushed: Option<u64>,
    presences: Vec<Presence>,
    liveness: Liveness,
    /// Until when its client may come back if it has ended, and whether another stream has come in its place.
    away: Option<(Instant, bool)>,
    /// The end, if it has one: otherwise it has ended with the program before.
    end: Option<StreamEnd>,
}

/// A stream that continues.
enum Continues {
    Subscribed(SubscribeRequest),
    Ending(StreamEnd, Vec<Box<[u8]>>),
}

/// Returns the process that has handed over.
pub fn process_of<'a>(handed: &'a [Handover<'_>]) -> Result<&'a HandedProcess, Malformed> {
    let process = |part: &'a Handover<'_>| if let Handover::Process(process) = part { Some(&**process) } else { None };
    handed.iter().find_map(process).ok_or(Malformed)
}

/// Returns for how long a client may take to come back whose stream has ended.
fn time_to_return(retry: Duration) -> Duration {
    retry * 2 + MARGIN
}

/// Returns the longest time for which members wait for streams: all may still end.
fn longest_wait(handed: &[Handover<'_>]) -> Duration {
    let waits = handed.iter().map(|part| match part {
        Handover::Cut { retry, .. } => time_to_return(*retry),
        Handover::Stream { open, .. } | Handover::Ending { open, .. } => time_to_return(open.settings.retry),
        Handover::Away { rest, .. } => *rest,
        _ => MARGIN,
    });
    waits.max().unwrap_or(MARGIN)
}

/// Continues with what the program before this one has handed over.
pub(super) fn resume(arguments: Arguments, handover: u32) -> Result<Server, Box<dyn Error>> {
    let place = arguments.place()?;
    process_log::keep_lines(&place.log());
    new_program::show_name();
    let file = HandedOver::read(take_kept(handover)?.into())?;
    let handed = file.others();
    let process = process_of(&handed)?;
    drop(take_kept(process.program_file)?);
    let settings = NamedSettings { store: process.decided.store.clone(), ..arguments.settings };
    let options = Arguments { is_started: process.is_started, settings, ..arguments };
    let instance = InstanceLock::resume(process, &place)?;
    let precedence = Precedence::of(&options, place, process.known.clone());
    let program = OsStr::from_bytes(&process.program).into();
    let epoll = Epoll::new()?;
    let listening = Listening::resume(process, &epoll)?;
    let mut server = Server::new(options, program, instance, epoll, listening, precedence)?;
    server.peers = Peers::new(process.next_token);
    server.current.resume((&file, &handed), moment_of(process.at), longest_wait(&handed))?;
    drop(handed);
    let now = Instant::now();
    server.arrival.waiting = Some((file.into_others(), now + BEGIN_WITHIN));
    server.run_arrival(now);
    Ok(server)
}

impl Server {
    /// Takes connections and streams over when the hub can be used, or when that has taken too long.
    pub(super) fn run_arrival(&mut self, now: Instant) {
        let is_due = |until: Instant| now >= until;
        let is_ready = !self.current.is_beginning();
        if let Some((bytes, _)) = self.arrival.waiting.take_if(|(_, until)| is_ready || is_due(*until)) {
            let handed = Handover::read_all(&bytes).unwrap_or_default(); // it was read before
            self.take_over(&handed, now);
        }
    }

    fn take_over(&mut self, handed: &[Handover<'_>], now: Instant) {
        let mut at = now;
        if let Ok(process) = process_of(handed) {
            at = moment_of(process.at);
            self.lifetime.resume(process, at);
            if let Some(hub) = self.current.handle() {
                hub.resume_polls(handed, process.at);
                hub.resume_reservations(handed);
            }
        }
        let mut known: BTreeMap<u64, Known> = BTreeMap::new(); // in the order in which the streams have begun
        for part in handed {
            match *part {
                Handover::Peer(ref peer) => drop(self.peers.resume(peer, &self.epoll, at, now)), // fails only without memory
                Handover::Lease { peer, lease, name } => {
                    let _ = self.leases.elect(Candidate { peer, lease }, name); // it was elected before
                }
                Handover::Opener { stream, peer, number, pushed } => {
                    let known = known.entry(stream).or_default();
                    (known.opener, known.pushed) = (Opener { peer, number }, pushed);
                }
                Handover::Presence { stream, ref presence } => {
                    known.entry(stream).or_default().presences.push(presence.clone());
                }
                Handover::Liveness { stream, liveness } => known.entry(stream).or_default().liveness = liveness,
                Handover::Away { stream, rest, is_back } => {
                    known.entry(stream).or_default().away = Some((at + rest, is_back));
                }
                _ => {}
            }
        }
        if self.current.hub.is_none() {
            let wills = known.values().flat_map(|known| &known.presences).filter(|presence| presence.will.is_some());
            log_lost_wills(wills.count(), "the hub's store cannot begin");
        }
        let (mut stay, mut cut) = (0, 0);
        for part in handed {
            match *part {
                Handover::Stream { descriptor, ref open, ref subscription, drained_in } => {
                    let mut stream = known.remove(&open.stream).unwrap_or_default();
                    let continues = Continues::Subscribed(subscription.clone());
                    match self.resume_stream(descriptor, open, continues, &mut stream, at, now) {
                        Ok((id, true)) => {
                            let within = drained_in.map(|rest| (at + rest).saturating_duration_since(now));
                            within.into_iter().for_each(|within| drain_stream(id, within));
                            stay += 1;
                        }
                        Ok((_, false)) => cut += 1,
                        Err(reason) => {
                            stream.end = Some(StreamEnd { reason, ..ENDED_BY_UPGRADE });
                            known.insert(open.stream, stream);
                        }
                    }
                }
                Handover::Ending { descriptor, ref open, end, ref labels } => {
                    let mut stream = known.remove(&open.stream).unwrap_or_default();
                    let continues = Continues::Ending(end, labels.clone());
                    if self.resume_stream(descriptor, open, continues, &mut stream, at, now).is_err() {
                        stream.end = Some(end);
                        known.insert(open.stream, stream);
                    }
                }
                Handover::Cut { descriptor, stream, end, retry, bytes } => {
                    let known = known.entry(stream).or_default();
                    (known.end, known.away) = (Some(end), Some((now + time_to_return(retry), false)));
                    send_last(descriptor, bytes);
                    cut += usize::from(!end.is_by_application);
                }
                _ => {}
            }
        }
        self.end_others(known, now + longest_wait(handed), now);
        self.follow_beginning();
        if let Ok(HandedProcess { program, requesters, .. }) = process_of(handed) {
            let program = Path::new(OsStr::from_bytes(program)).display();
            let report = format!("continues as {program}: {stay} streams stay, {cut} clients reconnect");
            log_message(&report);
            let mut answer = Vec::new();
            let _ = Response::Upgraded { report: &report }.encode(&mut answer); // it is short
            requesters.iter().for_each(|requester| send_last(*requester, &answer));
        }
        let ungreeted = self.peers.ungreeted();
        if self.current.hub.is_none() && self.current.cannot_begin.is_some() {
            return self.reject_all(ungreeted, now);
        }
        for token in ungreeted {
            self.serve(token, Readiness { readable: true, ..Readiness::default() }, now);
            // it has perhaps greeted already
        }
        self.flush_responses(now);
    }

    /// Continues with a stream, as one that a worker hands over. Its members and its will have it from the beginning, because
    /// its client has perhaps left. Returns whether it stays: otherwise it ends. Fails with the reason if it has ended.
    fn resume_stream(
        &mut self,
        descriptor: u32,
        open: &Open<'_>,
        continues: Continues,
        known: &mut Known,
        at: Instant,
        now: Instant,
    ) -> Result<(StreamId, bool), Reason> {
        let socket = take_kept(descriptor).ok();
        let Known { opener, pushed, liveness, .. } = *known;
        let members_of = self.current.handle().filter(|_| !known.presences.is_empty()).map(|hub| &**hub);
        let pushed_bytes = pushed.unwrap_or(0);
        let stream = ServedStream::resume(open, socket, opener, pushed_bytes, members_of, (at, liveness))?;
        let stream_id = stream.handle.id();
        let id = self.streams.insert(stream);
        self.apply_presences(stream_id, std::mem::take(&mut known.presences), now);
        let stays = match continues {
            Continues::Subscribed(mut subscription) => {
                subscription.first_block.is_sent = true;
                if let Some(age) = &mut subscription.access.max_age {
                    *age = age.saturating_sub(at.elapsed());
                }
                requests::subscribe_or_end(self, Some(id), subscription, now)
            }
            Continues::Ending(StreamEnd { reason, is_by_application }, labels) => {
                if let Some(hub) = self.current.handle().filter(|_| !labels.is_empty()) {
                    hub.count_stream(stream_id, labels);
                }
                let ending = Ending::HandedOver { is_by_application };
                self.streams.get_mut(id).into_iter().for_each(|stream| stream.handle.end(reason, ending));
                true
            }
        };
        match pushed.and_then(|_| self.peers.get_mut(opener.peer)) {
            Some(peer) => {
                peer.streams.insert(opener.number, id);
                let state = self.streams.get_mut(id).map(|stream| stream.state(opener.number));
                if let Some(state) = &state {
                    self.peers.answer(opener.peer, state);
                }
            }
            None => self.streams.release(id),
        }
        Ok((stream_id, stays))
    }

    /// Tells the openers of other streams that these have ended, and lets their members wait until clients may be back. The
    /// will of one without a member is published now: nobody would know whether its client is back. One that had no socket yet
    /// is given the longest time. If the application has decided the end, the member leaves now, and without its will.
    fn end_others(&mut self, others: BTreeMap<u64, Known>, longest: Instant, now: Instant) {
        let mut changes = Vec::new();
        for (number, Known { opener, presences, away, end, .. }) in (0..).zip(others.into_values()) {
            let StreamEnd { reason, is_by_application } = end.unwrap_or(ENDED_BY_UPGRADE);
            self.peers.answer(opener.peer, &Response::Ended { stream: opener.number, reason });
            let id = StreamId { slot: number, serial: 0 }; // no stream of this program has it
            if presences.is_empty() {
                continue;
            }
            let has_member = presences.iter().any(|presence| presence.member.is_some());
            self.apply_presences(id, presences, now);
            let (until, is_back) = away.unwrap_or((longest, false));
            changes.push(match has_member && !is_by_application {
                true => (id, PresenceChange::Away { until, is_back }),
                false => (id, PresenceChange::Left { is_by_application }),
            });
        }
        // When all members have their streams, those are known that come later.
        changes.into_iter().for_each(|(id, change)| self.report(id, change, now));
    }

    /// Gives a stream its members and its will.
    fn apply_presences(&mut self, id: StreamId, presences: Vec<Presence>, now: Instant) {
        for Presence { member, will } in presences {
            if let Some(member) = member {
                self.report(id, PresenceChange::Entered(member), now);
            }
            if let Some(will) = will {
                self.report(id, PresenceChange::Willed(will), now);
            }
        }
    }

    fn report(&mut self, id: StreamId, change: PresenceChange, now: Instant) {
        if let Some(hub) = self.current.hub.as_mut() {
            hub.apply(id, change, now, now);
        }
    }
}

/// Sends what a kept socket takes at once, and closes it. Unread input would have the kernel discard what it has taken.
fn send_last(descriptor: u32, mut bytes: &[u8]) {
    let Ok(socket) = take_kept(descriptor) else { return };
    while let Ok(count @ 1..) = send(socket.as_fd(), bytes, None, Wait::Never) {
        bytes = &bytes[count..];
    }
    let mut input = [0; 4096];
    while matches!(recv(&socket, &mut input, RecvFlags::DONTWAIT), Ok((1.., _))) {}
    let _ = shutdown(&socket, Shutdown::Write);
}
