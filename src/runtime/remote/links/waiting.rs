//! The requests for hub processes that do not answer, and the streams that wait with them.

use super::connection::{Connection, LinkCommand};
use crate::reactor::Command;
use crate::wait_list::WaitList;
use crate::wire::Reply;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

/// The requests for a hub process that does not answer, by their order: its connection is still to be made, or the process is
/// stopped. A stream that is to be handed over waits with them, and is the reactor's meanwhile.
#[derive(Debug)]
struct WaitingRequests {
    connection: Arc<Connection>,
    commands: BTreeMap<u64, LinkCommand>,
}

/// A stream whose subscriptions wait.
#[derive(Debug)]
struct WaitingStream {
    link: u32,
    /// The places of its subscriptions among the commands that wait.
    places: Vec<u64>,
}

/// All that waits.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// By the numbers of the connections.
    requests: HashMap<u32, WaitingRequests>,
    streams: HashMap<u64, WaitingStream>,
    /// When the clients of these are sent a reconnection time.
    due: WaitList<u64, Instant>,
    last_place: u64,
}

impl Waiting {
    /// Returns true if nothing waits for this connection, nor is about to.
    pub(super) fn is_free(&self, number: u32) -> bool {
        !self.requests.contains_key(&number)
    }

    /// Holds the requests of a connection back.
    pub(super) fn begin(&mut self, connection: Arc<Connection>) {
        let number = connection.number;
        self.requests.entry(number).or_insert(WaitingRequests { connection, commands: BTreeMap::new() });
    }

    /// Holds a command back if its hub process does not answer. Returns it otherwise.
    pub(super) fn keep(&mut self, command: LinkCommand, is_handed_over: impl Fn(u64) -> bool) -> Option<LinkCommand> {
        let (connection, waits) = match &command {
            LinkCommand::Send { connection, .. } | LinkCommand::Mark { connection, .. } => (connection, None),
            LinkCommand::Subscribe { connection, stream, until, .. } => {
                (connection, Some((u64::from(*stream), *until)))
            }
            LinkCommand::Close(connection) if connection.is_coming() => (connection, None),
            _ => return Some(command),
        };
        let link = connection.number;
        let must_wait = !waits.map_or(false, |(stream, _)| is_handed_over(stream));
        let requests = some_or!(self.requests.get_mut(&link).filter(|_| must_wait), return Some(command));
        self.last_place += 1;
        requests.commands.insert(self.last_place, command);
        if let Some((stream, until)) = waits {
            let waiting = self.streams.entry(stream).or_insert(WaitingStream { link, places: Vec::new() });
            waiting.places.push(self.last_place);
            if self.due.get(&stream).is_none() {
                self.due.set(stream, until);
            }
        }
        None
    }

    /// Takes what has waited for a connection, in its order. Its streams wait no longer.
    pub(super) fn take(&mut self, number: u32) -> Option<(Arc<Connection>, Vec<LinkCommand>)> {
        let WaitingRequests { connection, commands } = self.requests.remove(&number)?;
        for command in commands.values() {
            if let LinkCommand::Subscribe { stream, .. } = command {
                self.streams.remove(&u64::from(*stream));
                self.due.remove(&u64::from(*stream));
            }
        }
        Some((connection, commands.into_values().collect()))
    }

    /// Returns when [`take_due`](Self::take_due) has a stream to return.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first()
    }

    /// Takes a stream that has waited for long enough.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<u64> {
        let stream = self.due.take_due(now)?;
        if let Some(WaitingStream { link, places }) = self.streams.remove(&stream) {
            places.into_iter().for_each(|place| self.drop_subscription(link, place));
        }
        Some(stream)
    }

    /// Changes what waits for a stream as a command for the stream says. Returns true if the command is not for the reactor.
    pub(super) fn change(&mut self, stream: u64, command: &Command) -> bool {
        let Self { requests, streams, last_place, .. } = self;
        let WaitingStream { places, link } = some_or!(streams.get(&stream), return false);
        let commands = &mut some_or!(requests.get_mut(link), return false).commands;
        if let Command::BeginSubscription { stream } = command {
            *last_place += 1;
            commands.insert(*last_place, LinkCommand::BeginSubscription(*stream)); // after the subscriptions of its handler
            return true;
        }
        if let Command::Push { has_id, .. } = command {
            for place in places {
                if let Some(LinkCommand::Subscribe { subscription, .. }) = commands.get_mut(place) {
                    subscription.first_block.keeps_id |= has_id;
                }
            }
        }
        false
    }

    fn drop_subscription(&mut self, link: u32, place: u64) {
        let requests = self.requests.get_mut(&link);
        if let Some(LinkCommand::Subscribe { connection, request, .. }) =
            requests.and_then(|requests| requests.commands.remove(&place))
        {
            connection.complete(request, Ok(Reply::Done));
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.requests.values().for_each(|requests| requests.connection.lose());
    }
}
