//! The requests of a connection that are not answered: who waits for them, and in which order the hub process carries them out.

use super::connection::Connection;
use super::effect::Effect;
use crate::remote::response_reader::{Outcome, UNAWAITED};
use std::collections::HashMap;

/// The unanswered requests of a connection.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    /// The places in the order of the requests that threads wait for.
    awaited: HashMap<u64, u64>,
    /// The streams of the subscriptions, by request.
    subscriptions: HashMap<u64, u64>,
    /// The place of the last request, of the last unawaited one, and of the last one that the hub process has certainly
    /// carried out.
    last: u64,
    last_unawaited: u64,
    last_carried_out: u64,
    /// Whether there are publishes that are still to get a place.
    has_uncredited: bool,
}

impl Unanswered {
    /// Returns true if a thread waits for a request that is not answered.
    pub(super) fn is_awaited(&self, request: u64) -> bool {
        self.awaited.contains_key(&request)
    }

    pub(super) fn add(&mut self, request: u64, connection: &Connection) {
        self.last += 1;
        connection.set_quiet(false);
        match request {
            0 => {}
            UNAWAITED => self.last_unawaited = self.last,
            _ => drop(self.awaited.insert(request, self.last)),
        }
    }

    /// Notes that a request subscribes a stream.
    pub(super) fn add_subscription(&mut self, request: u64, stream: u64) {
        self.subscriptions.insert(request, stream);
    }

    /// Completes a request that is answered. Returns what follows if no thread has waited for it.
    pub(super) fn complete(&mut self, request: u64, outcome: Outcome, connection: &Connection) -> Option<Effect> {
        self.note_response(request, connection);
        let refusal = match &outcome {
            Outcome::Refused(failure) => Some(failure.to_string()),
            _ => None,
        };
        if request == UNAWAITED {
            return refusal.map(Effect::EventRefused);
        }
        let stream = self.subscriptions.remove(&request);
        let is_awaited = connection.complete(request, outcome);
        let (stream, refusal) = (stream.filter(|_| !is_awaited)?, refusal?);
        Some(Effect::SubscriptionRefused { stream, refusal })
    }

    /// Takes note of the response to a request. The hub process carries requests out in their order, so those before this one
    /// were carried out, too.
    fn note_response(&mut self, request: u64, connection: &Connection) {
        let place = match request {
            UNAWAITED => Some(self.last_unawaited).filter(|_| connection.count_answered()),
            _ => self.awaited.remove(&request),
        };
        self.last_carried_out = self.last_carried_out.max(place.unwrap_or(0));
        self.report(connection);
    }

    /// Forgets a request that was not sent.
    pub(super) fn forget(&mut self, request: u64) {
        self.awaited.remove(&request);
    }

    /// Completes all requests, because the connection is lost.
    pub(super) fn lose(&mut self, connection: &Connection) {
        for (request, _) in self.awaited.drain() {
            connection.complete(request, Outcome::Lost);
        }
    }

    pub(super) fn set_uncredited(&mut self, has_uncredited: bool, connection: &Connection) {
        self.has_uncredited = has_uncredited;
        self.report(connection);
    }

    fn report(&self, connection: &Connection) {
        connection.set_quiet(self.last_carried_out == self.last && !self.has_uncredited);
    }
}
