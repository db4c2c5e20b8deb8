//! What the reports of the hub's store mean for peers: those who have published are answered, and those who wait for the hub
//! are welcomed or rejected.

use super::greeting::welcome;
use super::{Server, STORE_LINGER};
use crate::process_log::log_message;
use crate::publishing::Asker;
use crate::stored_hub::{Progress, Reply};
use eventsource_xs::runtime;
use eventsource_xs::wire::{Answer, Failure};
use std::time::Instant;

impl Server {
    pub(super) fn take_store_reports(&mut self, now: Instant) {
        self.succession.take_presence(now); // the wills of a hub that another one replaces
        let progress = self.succession.stored().map(|stored| stored.take_reports(now));
        progress.into_iter().for_each(|progress| self.follow(progress, now));
    }

    /// Does what follows when the store has made progress.
    pub(super) fn follow(&mut self, progress: Progress, now: Instant) {
        let Progress { replies, queued, epoch, cannot_begin, is_ready } = progress;
        self.answer_askers(replies, queued, now);
        if let Some(epoch) = epoch {
            self.streams.ahead.clear(); // they have ended with the hub of the other epoch
            self.peers.announce_epoch(&epoch);
        }
        if let Some((failure, _)) = &cannot_begin {
            self.operator.log_store_failure(failure);
        }
        match cannot_begin {
            Some((failure, true)) => self.succession.note_cannot_begin(failure),
            Some((failure, false)) => {
                let waiting = self.peers.take_waiting();
                self.reject_waiting(waiting, &failure, now);
                self.succession.return_to_predecessor(self.sources.epoll());
            }
            None => {}
        }
        if is_ready {
            self.succeed(now);
        }
    }

    /// Answers those whose requests the store has carried out, or has taken into its own queue.
    pub(super) fn answer_askers(&mut self, replies: Vec<Reply>, queued: Vec<(u64, usize)>, now: Instant) {
        let Self { peers, operator, .. } = self;
        for (peer, bytes) in queued {
            peers.answer_with(peer, |peer| peer.grant(bytes));
        }
        for Reply { asker, result, ended } in replies {
            let Asker { peer, request, bytes, since } = asker;
            if let (Some(since), None) = (since, ended) {
                operator.count_store_wait(now.duration_since(since));
            }
            peers.answer_with(peer, |peer| {
                match (result, ended) {
                    (Ok(_), Some(count)) => peer.answer(&Answer::StreamsEnded { request, count: count as u64 }),
                    (Ok(id), None) if request > 0 => peer.answer(&Answer::Published { request, id: &id }),
                    (Ok(_), None) => {}
                    (Err(failure), _) => peer.refuse(request, failure),
                }
                peer.grant(bytes);
            });
        }
    }

    /// Tells peers that have waited for a store that does not begin why they are not served.
    pub(super) fn reject_impatient(&mut self, now: Instant) {
        if self.succession.cannot_begin().is_none() || !self.peers.is_sweep_due(now) {
            return;
        }
        let impatient = self.peers.take_impatient(now);
        if let Some(failure) = self.succession.cannot_begin().filter(|_| !impatient.is_empty()).cloned() {
            self.reject_waiting(impatient, &failure, now);
        }
    }

    fn reject_waiting(&mut self, waiting: Vec<u64>, failure: &Failure, now: Instant) {
        waiting.into_iter().for_each(|token| self.reject(token, failure.clone(), now));
    }

    /// Gives the hub the events of the one before. When it has them, workers are sent its epoch, and those who wait for it are
    /// welcomed.
    pub(super) fn succeed(&mut self, now: Instant) {
        let Self { options, succession, peers, lifetime, .. } = self;
        if !succession.succeed(now) {
            return;
        }
        let epoch = succession.handle().and_then(|hub| hub.epoch().ok());
        epoch.into_iter().for_each(|epoch| peers.announce_epoch(&epoch));
        for token in peers.take_waiting() {
            let welcome = welcome(options, succession, lifetime, token);
            peers.answer(token, &welcome.unwrap_or_else(Answer::Rejected));
        }
    }

    /// Ends the streams and then the store, which is sent their wills, and the events of the hub before if it has still to get
    /// these.
    pub(super) fn close_store(&mut self) {
        if self.succession.stored().is_none() {
            return;
        }
        runtime::end_streams();
        let until = Instant::now() + STORE_LINGER;
        if self.succession.has_predecessor() {
            let begun = self.succession.stored().map(|stored| stored.wait_until_ready(until));
            self.follow(begun.unwrap_or_default(), Instant::now());
        }
        if self.succession.has_predecessor() {
            log_message("the events of before are lost: the process ends, and the hub's store has not begun");
        }
        let finished = self.succession.finish_store(until.saturating_duration_since(Instant::now()));
        self.answer_askers(finished.replies, finished.queued, Instant::now());
        if let Some((failure, _)) = finished.cannot_begin {
            let waiting = self.peers.take_waiting();
            self.reject_waiting(waiting, &failure, Instant::now());
        }
    }
}
