//! The hub begins and ends, and what the reports of its store mean for peers: those who have published are answered, and those
//! who wait for the hub are welcomed or rejected.

use super::greeting::welcome;
use super::{Server, STORE_LINGER};
use crate::http::Service;
use crate::peers::End;
use crate::stored_hub::{Completion, Effects, Requester};
use eventsource_xs::histogram::Scale;
use eventsource_xs::hub::Question;
use eventsource_xs::runtime;
use eventsource_xs::wire::{Failure, Reply, Response};
use std::time::{Duration, Instant};

/// The time for which HTTP clients of a new process, and what was handed over to it, wait until the hub's store has begun, and
/// an upgrade until it has answered. Requests of workers wait that long unread, so this is shorter than their calls may take
/// (`publish_timeout`).
pub(super) const BEGIN_WITHIN: Duration = Duration::from_secs(3);

impl Server {
    pub(super) fn take_store_reports(&mut self, now: Instant) {
        let effects = self.current.stored().map(|stored| stored.take_reports(now));
        if let Some(effects) = effects {
            self.follow(effects, now);
        }
    }

    /// Does what follows when the store has made progress.
    pub(super) fn follow(&mut self, effects: Effects, now: Instant) {
        let Effects { completions, epoch, cannot_begin, is_ready } = effects;
        self.answer_requesters(completions, now);
        if let Some(epoch) = epoch {
            self.streams.ahead.clear(); // they have ended with the hub of the other epoch
            self.peers.announce_epoch(&epoch);
        }
        if let Some((failure, retries)) = cannot_begin {
            self.operator.log_store_failure(&failure);
            self.current.cannot_begin = Some(failure);
            if !retries {
                self.current.hub = None;
                let waiting = self.peers.take_waiting(|peer| peer.is_greeted);
                self.reject_all(waiting, now);
            }
        }
        if is_ready {
            self.follow_beginning();
        }
    }

    /// Answers those whose requests the store has carried out.
    pub(super) fn answer_requesters(&mut self, completions: Vec<Completion>, now: Instant) {
        for completion in completions {
            if completion.ended.as_ref().is_some_and(|ended| ended.get().is_none()) {
                self.answer_when_ended(completion, now);
                continue;
            }
            let Self { peers, operator, .. } = self;
            let Completion { requester, result, ended } = completion;
            let ended = ended.and_then(|ended| ended.get());
            let Requester { peer, request, bytes, since } = requester;
            if let (Some(since), None) = (since, ended) {
                operator.store_wait.record(&Scale::DELAYS, now.duration_since(since));
            }
            peers.answer_with(peer, |peer| {
                match (result, ended) {
                    (Ok(_), Some(count)) => peer.reply(request, Ok(Reply::Number(count as u64))),
                    (Ok(id), None) if request > 0 => peer.answer(&Response::Published { request, id: &id }),
                    (Ok(_), None) => {}
                    (Err(failure), _) => peer.reply(request, Err(failure)),
                }
                peer.grant(bytes);
            });
        }
    }

    /// Answers a requester when the reactor has said how many streams it has ended: before its next answer.
    fn answer_when_ended(&mut self, completion: Completion, now: Instant) {
        self.ask(Question::reports(), now, move |server, _, now| {
            if let Some(ended) = &completion.ended {
                ended.set(ended.get().or(Some(0)));
            }
            server.answer_requesters(vec![completion], now);
        });
    }

    /// Tells peers that have waited for a store that does not begin why they are not served.
    pub(super) fn reject_impatient(&mut self, now: Instant) {
        let is_due = self.peers.is_sweep_due(now);
        if let Some(failure) = self.current.cannot_begin.as_ref().filter(|_| is_due).cloned() {
            let impatient = self.peers.take_waiting(|peer| peer.is_greeted && peer.has_waited(now));
            self.reject_waiting(impatient, &failure, now);
        }
    }

    /// Tells peers why there is no hub. A hub before has perhaps had workers: they reconnect, and learn it, too.
    pub(super) fn reject_all(&mut self, waiting: Vec<u64>, now: Instant) {
        if let Some(failure) = self.current.cannot_begin.clone() {
            self.reject_waiting(waiting, &failure, now);
            self.peers.greeted().into_iter().for_each(|token| self.end_peer(token, End::Closed));
        }
    }

    fn reject_waiting(&mut self, waiting: Vec<u64>, failure: &Failure, now: Instant) {
        waiting.into_iter().for_each(|token| self.reject(token, failure.clone(), now));
    }

    /// Called when the hub has perhaps begun: workers are sent its epoch, and those who wait for it are welcomed or accepted.
    pub(super) fn follow_beginning(&mut self) {
        let Self { current, peers, listening, arrival, .. } = self;
        if current.handle().is_none() {
            return;
        }
        current.cannot_begin = None;
        if let Some(hub) = current.hub.as_ref().filter(|_| !arrival.is_waiting()) {
            hub.continue_drain(); // streams that were handed over subscribe before
        }
        if let Some(acceptor) = listening.of(Service::Streams) {
            acceptor.end_pause(Instant::now());
        }
        if let Some(epoch) = current.epoch() {
            peers.announce_epoch(epoch);
        }
        for token in peers.take_waiting(|peer| peer.is_greeted) {
            let welcome = welcome(current, token);
            peers.answer(token, &welcome.unwrap_or_else(Response::Rejected));
        }
    }

    /// Ends the streams and then the store, which is sent their wills.
    pub(super) fn close_store(&mut self) {
        if self.current.stored().is_none() {
            return;
        }
        runtime::end_streams();
        self.wait_for_reactor(Instant::now());
        let Some(stored) = self.current.stored() else { return };
        let finished = stored.finish(STORE_LINGER);
        self.answer_requesters(finished.completions, Instant::now());
        if let Some((failure, _)) = finished.cannot_begin {
            let waiting = self.peers.take_waiting(|peer| peer.is_greeted);
            self.reject_waiting(waiting, &failure, Instant::now());
        }
    }
}
