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
use crate::streams::{Opener, ServedStream};
use eventsource_xs::hub::{FirstBlock, Presence, PresenceChange, SubscribeRequest};
use eventsource_xs::remote::calls::{send, Epoll, Readiness, Wait};
use eventsource_xs::stream::{Reason, StreamId};
use eventsource_xs::wire::{HandedProcess, Handover, Malformed, NamedSettings, Open, Response};
use rustix::net::{recv, shutdown, RecvFlags, Shutdown};
use std::collections::HashMap;
use std::error::Error;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The time that clients may take to come back beyond their reconnection time.
const MARGIN: Duration = Duration::from_secs(2);

/// The things that were handed over.
#[derive(Default)]
pub(super) struct Arrival {
    /// All messages, until the hub can be used, but for so long at most.
    waiting: Option<(Vec<u8>, Instant)>,
    /// Streams that have ended with the program before, with members: until when their clients may come back.
    away: Option<(Vec<StreamId>, Instant)>,
}

impl Arrival {
    /// Returns true if connections wait.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        let waiting = self.waiting.iter().map(|(_, until)| *until);
        waiting.chain(self.away.iter().map(|(_, until)| *until)).min()
    }
}

/// The handed-over stream, without its socket.
#[derive(Default)]
struct Known {
    /// [`OWN`](crate::streams::OWN) if none is named.
    opener: Opener,
    /// The number of bytes that its opener has pushed, if that holds it.
    pushed: Option<u64>,
    presences: Vec<Presence>,
}

/// Returns the process that has handed over.
pub fn process_of<'a>(handed: &'a [Handover<'_>]) -> Result<&'a HandedProcess, Malformed> {
    let process = |part: &'a Handover<'_>| if let Handover::Process(process) = part { Some(&**process) } else { None };
    handed.iter().find_map(process).ok_or(Malformed)
}

/// Returns for how long clients whose streams have ended may take to come back.
fn time_to_return(handed: &[Handover<'_>]) -> Duration {
    let retries = handed.iter().filter_map(|part| match part {
        Handover::Cut { retry, .. } => Some(*retry),
        _ => None,
    });
    retries.max().unwrap_or_default() * 2 + MARGIN
}

/// Continues with what the program before this one has handed over.
pub(super) fn resume(arguments: Arguments, handover: u32) -> Result<Server, Box<dyn Error>> {
    let place = arguments.place()?;
    process_log::keep_lines(&place.log());
    new_program::show_name();
    let mut bytes = Vec::new();
    File::from(take_kept(handover)?).read_to_end(&mut bytes)?;
    let handed = Handover::read_all(&bytes)?;
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
    server.current.resume(&handed, time_to_return(&handed))?;
    drop(handed);
    let now = Instant::now();
    server.arrival.waiting = Some((bytes, now + BEGIN_WITHIN));
    server.run_arrival(now);
    Ok(server)
}

impl Server {
    /// Takes connections and streams over when the hub can be used, or when that has taken too long. Lets those leave whose
    /// clients have not come back.
    pub(super) fn run_arrival(&mut self, now: Instant) {
        let is_due = |until: Instant| now >= until;
        let is_ready = !self.current.is_beginning();
        if let Some((bytes, _)) = self.arrival.waiting.take_if(|(_, until)| is_ready || is_due(*until)) {
            let handed = Handover::read_all(&bytes).unwrap_or_default(); // it was read before
            self.take_over(&handed, now);
        }
        if let Some((streams, _)) = self.arrival.away.take_if(|(_, until)| is_due(*until)) {
            streams.into_iter().for_each(|id| self.report_away(id, PresenceChange::Away, now));
        }
    }

    fn take_over(&mut self, handed: &[Handover<'_>], now: Instant) {
        let mut known: HashMap<u64, Known> = HashMap::new();
        for part in handed {
            match part {
                Handover::Peer(peer) => drop(self.peers.resume(peer, &self.epoll, now)), // fails only without memory
                Handover::Lease { peer, lease, name } => {
                    let _ = self.leases.elect(Candidate { peer: *peer, lease: *lease }, name);
                    // it was elected before
                }
                Handover::Opener { stream, peer, number, pushed } => {
                    let known = known.entry(*stream).or_default();
                    (known.opener, known.pushed) = (Opener { peer: *peer, number: *number }, *pushed);
                }
                Handover::Presence { stream, presence } => {
                    known.entry(*stream).or_default().presences.push(presence.clone());
                }
                _ => {}
            }
        }
        let (mut stay, mut cut) = (0, 0);
        for part in handed {
            match *part {
                Handover::Stream { descriptor, ref open, ref subscription } => {
                    let known = known.remove(&open.stream).unwrap_or_default();
                    self.resume_stream(descriptor, open, subscription.clone(), known, now);
                    stay += 1;
                }
                Handover::Cut { descriptor, bytes, .. } => {
                    send_last(descriptor, bytes);
                    cut += 1;
                }
                _ => {}
            }
        }
        self.end_others(known, now + time_to_return(handed));
        self.follow_beginning();
        if let Ok(HandedProcess { program, requesters, .. }) = process_of(handed) {
            let program = Path::new(OsStr::from_bytes(program)).display();
            log_message(&format!("continues as {program}: {stay} streams stay, {cut} clients reconnect"));
            let mut answer = Vec::new();
            let _ = Response::Upgraded.encode(&mut answer); // it is short
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

    /// Continues with a stream, as one that a worker hands over.
    fn resume_stream(
        &mut self,
        descriptor: u32,
        open: &Open<'_>,
        subscription: SubscribeRequest,
        known: Known,
        now: Instant,
    ) {
        let Known { opener, pushed, presences } = known;
        let first_block = FirstBlock { is_sent: true, ..subscription.first_block };
        let subscription = SubscribeRequest { first_block, ..subscription };
        let socket = take_kept(descriptor).ok();
        let stream = match ServedStream::resume(open, socket, opener, pushed.unwrap_or(0)) {
            Ok(stream) => stream,
            Err(reason) => return self.peers.answer(opener.peer, &Response::Ended { stream: opener.number, reason }),
        };
        let id = self.streams.insert(stream);
        let more = |presence| SubscribeRequest { presence, ..SubscribeRequest::default() };
        for subscription in std::iter::once(subscription).chain(presences.into_iter().map(more)) {
            requests::subscribe_or_end(self, id, subscription, now);
        }
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
    }

    /// Tells the openers of other streams that these have ended, and lets their members wait until clients may be back. The
    /// will of one without a member is published now: nobody would know whether its client is back.
    fn end_others(&mut self, others: HashMap<u64, Known>, until: Instant) {
        let (now, mut away) = (Instant::now(), Vec::new());
        for (number, Known { opener, presences, .. }) in (0..).zip(others.into_values()) {
            self.peers.answer(opener.peer, &Response::Ended { stream: opener.number, reason: Reason::Server });
            if presences.is_empty() {
                continue;
            }
            let id = StreamId { slot: number, serial: 0 }; // no stream of this program has it
            let has_member = presences.iter().any(|presence| presence.member.is_some());
            for Presence { member, will } in presences {
                if let Some(member) = member {
                    self.report_away(id, PresenceChange::Entered(member), now);
                }
                if let Some(will) = will {
                    self.report_away(id, PresenceChange::Willed(will), now);
                }
            }
            match has_member {
                true => away.push(id),
                false => self.report_away(id, PresenceChange::Left { is_by_application: false }, now),
            }
        }
        self.arrival.away = (!away.is_empty()).then_some((away, until));
    }

    /// Applies a change of a stream that this program does not have: it has ended with the one before.
    fn report_away(&mut self, id: StreamId, change: PresenceChange, now: Instant) {
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
