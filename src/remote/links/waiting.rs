//! The requests for hub processes that do not answer, and the streams that wait with them.

use super::command::LinkCommand;
use super::connection::{Connection, Outcome};
use crate::reactor::Command;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

/// The requests for a hub process that does not answer, by their order: its connection is still to be made, or the process is
/// stopped. A stream that is to be handed over waits with them, and is the reactor's meanwhile.
#[derive(Debug)]
struct Requests {
    connection: Arc<Connection>,
    commands: BTreeMap<u64, LinkCommand>,
}

/// A stream whose subscriptions wait.
#[derive(Debug)]
struct Held {
    link: u32,
    /// The places of its subscriptions among the commands that wait.
    places: Vec<u64>,
    until: Instant,
}

/// All that waits.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// By the numbers of the connections.
    requests: HashMap<u32, Requests>,
    /// The streams, and when they are told to come back.
    held: HashMap<u64, Held>,
    due: BTreeSet<(Instant, u64)>,
    last_place: u64,
}

impl Waiting {
    /// Returns true if nothing waits for this connection, nor is about to.
    pub(super) fn is_free(&self, number: u32) -> bool {
        !self.requests.contains_key(&number)
    }

    /// Has the requests of a connection wait.
    pub(super) fn begin(&mut self, connection: Arc<Connection>) {
        let number = connection.number;
        self.requests.entry(number).or_insert(Requests { connection, commands: BTreeMap::new() });
    }

    /// Has a command wait if its hub process does not answer. Returns it otherwise.
    pub(super) fn hold(&mut self, command: LinkCommand, is_handed_over: impl Fn(u64) -> bool) -> Option<LinkCommand> {
        let (connection, held) = match &command {
            LinkCommand::Send { connection, .. } => (connection, None),
            LinkCommand::Subscribe { connection, stream, until, .. } => {
                (connection, Some((u64::from(*stream), *until)))
            }
            LinkCommand::Close(connection) if connection.is_coming() => (connection, None),
            _ => return Some(command),
        };
        let link = connection.number;
        let requests = match self.requests.get_mut(&link) {
            Some(requests) if !held.map_or(false, |(stream, _)| is_handed_over(stream)) => requests,
            _ => return Some(command),
        };
        self.last_place += 1;
        requests.commands.insert(self.last_place, command);
        if let Some((stream, until)) = held {
            let held = self.held.entry(stream).or_insert(Held { link, places: Vec::new(), until });
            held.places.push(self.last_place);
            self.due.insert((held.until, stream));
        }
        None
    }

    /// Takes what has waited for a connection, in its order. Its streams wait no longer.
    pub(super) fn take(&mut self, number: u32) -> Option<(Arc<Connection>, Vec<LinkCommand>)> {
        let Requests { connection, commands } = self.requests.remove(&number)?;
        for command in commands.values() {
            if let LinkCommand::Subscribe { stream, .. } = command {
                self.forget(u64::from(*stream));
            }
        }
        Some((connection, commands.into_values().collect()))
    }

    /// Returns when [`take_due`](Self::take_due) has a stream to return.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.iter().next().map(|(until, _)| *until)
    }

    /// Takes a stream that has waited for long enough.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<u64> {
        let (_, stream) = self.due.iter().next().copied().filter(|(until, _)| *until <= now)?;
        if let Some(Held { link, places, .. }) = self.forget(stream) {
            places.into_iter().for_each(|place| self.drop_subscription(link, place));
        }
        Some(stream)
    }

    /// Changes the subscriptions of a stream that waits as a command for the stream says. Returns true if the command is not
    /// for the reactor. The stream waits no longer if it has no subscription left, unless the reactor has given it away
    /// already: that one ends when its time is over.
    pub(super) fn change(&mut self, stream: u64, command: &Command, is_given_away: impl Fn(u64) -> bool) -> bool {
        let (link, places) = match self.held.get(&stream) {
            Some(held) => (held.link, held.places.clone()),
            None => return false,
        };
        for place in places {
            let waiting = self.requests.get_mut(&link).and_then(|requests| requests.commands.get_mut(&place));
            let (subscription, holds) = match waiting {
                Some(LinkCommand::Subscribe { subscription, holds, .. }) => (subscription, holds),
                _ => continue,
            };
            match command {
                Command::BeginSubscription { .. } => *holds = false,
                Command::Push { has_id, .. } => subscription.first_block.keeps_id |= has_id,
                Command::Unsubscribe { topics: Some(topics), .. } => {
                    subscription.topics.retain(|topic| !topics.contains(topic));
                }
                Command::Unsubscribe { topics: None, .. } => subscription.topics.clear(),
                _ => {}
            }
            if subscription.topics.is_empty() {
                self.drop_subscription(link, place);
                self.forget_place(stream, place, &is_given_away);
            }
        }
        matches!(command, Command::BeginSubscription { .. } | Command::Unsubscribe { .. })
    }

    fn forget(&mut self, stream: u64) -> Option<Held> {
        let held = self.held.remove(&stream)?;
        self.due.remove(&(held.until, stream));
        Some(held)
    }

    fn forget_place(&mut self, stream: u64, place: u64, is_given_away: &impl Fn(u64) -> bool) {
        let held = self.held.get_mut(&stream);
        let has_none = held.map_or(false, |held| {
            held.places.retain(|other| *other != place);
            held.places.is_empty()
        });
        if has_none && !is_given_away(stream) {
            self.forget(stream);
        }
    }

    fn drop_subscription(&mut self, link: u32, place: u64) {
        let requests = self.requests.get_mut(&link);
        if let Some(LinkCommand::Subscribe { connection, request, .. }) =
            requests.and_then(|requests| requests.commands.remove(&place))
        {
            connection.complete(request, Outcome::Done);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.requests.values().for_each(|requests| requests.connection.lose());
    }
}
