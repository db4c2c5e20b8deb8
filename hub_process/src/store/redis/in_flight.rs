//! The drafts in flight: from when the hub asks for them until they have ended. They wait for a batch, or for a Redis that is
//! away. The writer sends them, and takes Redis' answers. The reader ends those whose entries it has read, for only these
//! count; the writer ends what Redis refuses, needs no entry for, or has not confirmed in time.
//!
//! # States
//!
//! | event \ state | `Unsent` | `Unanswered` | `OnWire` | `OnWireAgain` | `Acknowledged` | `Confirmed` |
//! |---|---|---|---|---|---|---|
//! | `Sent` | `OnWire` | `OnWireAgain` | | | | |
//! | `Refused` | | | `Unsent` | `Unanswered` | | |
//! | `Stored` | | | `Acknowledged` | `Acknowledged` | | |
//! | `Replicated` | | | | | `Confirmed` | |
//! | `Cut` | `Unsent` | `Unanswered` | `Unanswered` | `Unanswered` | `Unanswered` | `Confirmed` |
//! | `Restarted` | `Unsent` | `Unsent` | `Unsent` | `Unsent` | `Unsent` | `Unsent` |
//!
//! An event does not happen in a state where it has no cell. A draft may end in each state: its entry is read
//! ([`InFlight::claim`]), its time is over, it is refused for good, Redis needs no entry for it, or replicas or the history
//! lack it. `Unsent` is certainly not stored; in the other states a draft that fails was perhaps stored.
//!
//! Without replicas a draft ends as soon as its entry is read: the answer may come later. With replicas, its entry waits for
//! `Confirmed`. If the connection is cut before, nobody can tell which replicas have it: the draft fails as unknown when its
//! entry is read.

use super::super::{Draft, MemberPart};
use super::entry::Id;
use super::CHUNK;
use eventsource_xs::wire::RedisSettings;
use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::time::{Duration, Instant};

/// The most drafts that wait while Redis is away.
const MOST_WAITING: usize = 100_000;
/// The most bytes of drafts that wait for Redis.
const MOST_BYTES: usize = 256 << 20;

/// The state of a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendState {
    /// It is to be sent. Redis has refused what was sent before, if anything was.
    Unsent,
    /// It is to be sent again, with the same count: a connection was cut before the answer.
    Unanswered,
    /// Redis is to answer.
    OnWire,
    /// Redis is to answer, and an earlier copy was perhaps stored.
    OnWireAgain,
    /// Redis has stored it.
    Acknowledged,
    /// So have the replicas that are needed.
    Confirmed,
}

/// An event in the life of a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendEvent {
    Sent,
    /// Redis has not stored what was sent last.
    Refused,
    /// Redis has stored it, now or before.
    Stored,
    /// As many replicas as are needed have it.
    Replicated,
    /// The connection has ended.
    Cut,
    /// Another epoch has begun.
    Restarted,
}

impl SendState {
    /// Returns the next state, as the table says.
    fn after(self, event: SendEvent) -> Option<Self> {
        use SendEvent::{Cut, Refused, Replicated, Restarted, Sent, Stored};
        use SendState::{Acknowledged, Confirmed, OnWire, OnWireAgain, Unanswered, Unsent};
        Some(match (self, event) {
            (Unsent, Sent) => OnWire,
            (Unanswered, Sent) => OnWireAgain,
            (OnWire, Refused) | (Unsent, Cut) | (_, Restarted) => Unsent,
            (OnWireAgain, Refused) | (Unanswered | OnWire | OnWireAgain | Acknowledged, Cut) => Unanswered,
            (OnWire | OnWireAgain, Stored) => Acknowledged,
            (Acknowledged, Replicated) | (Confirmed, Cut) => Confirmed,
            _ => return None,
        })
    }
}

/// A draft in flight.
#[derive(Debug)]
pub struct Sending {
    pub ticket: u64,
    pub draft: Draft,
    /// When it fails.
    deadline: Instant,
    since: Instant,
    state: SendState,
}

impl Sending {
    pub fn is_perhaps_stored(&self) -> bool {
        self.state != SendState::Unsent
    }

    fn apply(&mut self, event: SendEvent) {
        let next = self.state.after(event);
        debug_assert!(next.is_some(), "{event:?} does not happen in {:?}", self.state);
        self.state = next.unwrap_or(self.state);
    }
}

/// The outcome of a draft whose entry was read.
#[derive(Debug)]
pub enum Claim {
    /// It has ended, now or before: its ticket, if now.
    Ended(Option<u64>),
    /// Replicas are to confirm it.
    Waits,
    /// The connection was cut before replicas have confirmed it, so it has failed.
    Unconfirmed(Sending),
}

#[derive(Debug, Default)]
pub struct InFlight {
    needs_replicas: bool,
    timeout: Duration,
    /// The count of the last draft. Those of this producer increase in the stream.
    count: u64,
    /// The drafts, by their counts.
    drafts: BTreeMap<u64, Sending>,
    bytes: usize,
    /// The first count of which the draft is perhaps to be sent.
    unsent_from: Option<u64>,
    /// Own entries that Redis has acknowledged and the reader has not read. Other hubs may have read and delivered them.
    acknowledged: BTreeSet<Id>,
    /// The greatest own count that the reader has read.
    own_count: u64,
    /// The last id that the reader has reported.
    pub read_through: Id,
}

impl InFlight {
    pub fn new(settings: &RedisSettings) -> Self {
        Self { needs_replicas: settings.replicas > 0, timeout: settings.timeout, ..Self::default() }
    }

    pub fn len(&self) -> usize {
        self.drafts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.drafts.is_empty()
    }

    pub fn has_unsent(&self) -> bool {
        self.unsent_from.is_some()
    }

    /// Returns true if no more may wait for a Redis that is away.
    pub fn is_full(&self) -> bool {
        self.len() >= MOST_WAITING || self.bytes >= MOST_BYTES
    }

    /// Returns how many drafts to add at most. One has its time from when it is added, so what cannot be sent soon stays where
    /// it is; but while Redis is away, what is too much is refused.
    pub fn room(&self, is_connected: bool) -> usize {
        if !is_connected {
            return (2 * MOST_WAITING).saturating_sub(self.len());
        }
        let unsent = self.unsent_from.map_or(0, |from| self.drafts.range(from..).take(2 * CHUNK).count());
        2 * CHUNK - unsent
    }

    /// Returns how long ago the first draft was sent.
    pub fn age(&self) -> Option<Duration> {
        let first = self.drafts.values().next().filter(|sent| sent.is_perhaps_stored())?;
        Some(first.since.elapsed())
    }

    /// Returns when the first of these drafts fails.
    pub fn deadline(&self, counts: &[u64]) -> Option<Instant> {
        counts.iter().filter_map(|count| Some(self.drafts.get(count)?.deadline)).min()
    }

    /// Returns true if the reader has not read, for so long, an entry that may be reported.
    pub fn has_overdue(&self, age: Duration) -> bool {
        let stored = if self.needs_replicas { SendState::Confirmed } else { SendState::Acknowledged };
        self.drafts.values().any(|sent| sent.state == stored && sent.since.elapsed() > age)
    }

    /// Returns true if the reader has not read an entry that Redis has acknowledged.
    pub fn has_unread(&self) -> bool {
        !self.acknowledged.is_empty()
    }

    // These are the writer's.

    /// Adds a draft that is to be sent.
    pub fn add(&mut self, ticket: u64, draft: Draft, now: Instant) {
        self.bytes += draft.bytes();
        self.append(Sending { ticket, draft, deadline: now + self.timeout, since: now, state: SendState::Unsent });
    }

    fn append(&mut self, sent: Sending) {
        self.count += 1;
        self.drafts.insert(self.count, sent);
        self.unsent_from.get_or_insert(self.count);
    }

    /// Sends the drafts that are to be sent as long as there is room.
    pub fn send(&mut self, mut send: impl FnMut(u64, &Draft) -> bool) {
        let Some(from) = self.unsent_from.take() else { return };
        let now = Instant::now();
        for (count, sent) in self.drafts.range_mut(from..) {
            if sent.state.after(SendEvent::Sent).is_none() {
                continue;
            }
            if !send(*count, &sent.draft) {
                self.unsent_from = Some(*count);
                return;
            }
            if sent.state == SendState::Unsent {
                sent.since = now;
            }
            sent.apply(SendEvent::Sent);
        }
    }

    /// Takes note of the answers to drafts. None of those that have ended meanwhile.
    pub fn apply(&mut self, counts: impl IntoIterator<Item = u64>, event: SendEvent) {
        for count in counts {
            if let Some(sent) = self.drafts.get_mut(&count) {
                sent.apply(event);
            }
        }
    }

    /// Takes note of an entry that Redis has acknowledged and that the reader is to read.
    pub fn acknowledge(&mut self, id: Id) {
        if id > self.read_through {
            self.acknowledged.insert(id);
        }
    }

    /// Takes note that the connection has ended.
    pub fn cut(&mut self) {
        self.unsent_from = Some(0);
        self.drafts.values_mut().for_each(|sent| sent.apply(SendEvent::Cut));
    }

    /// Gives drafts new counts if the reader has read a later one: it would take theirs for repetitions. What was not sent
    /// stays behind them.
    pub fn renumber_passed(&mut self) {
        let rest = self.drafts.split_off(&self.own_count.saturating_add(1));
        let passed = mem::replace(&mut self.drafts, rest);
        if !passed.is_empty() {
            let unsent = self.split_off(|sent| !sent.is_perhaps_stored());
            passed.into_values().chain(unsent).for_each(|sent| self.append(sent));
        }
    }

    fn split_off(&mut self, is_taken: impl Fn(&Sending) -> bool) -> Vec<Sending> {
        let (taken, rest) = mem::take(&mut self.drafts).into_iter().partition(|(_, sent)| is_taken(sent));
        self.drafts = rest;
        let taken: BTreeMap<u64, Sending> = taken;
        taken.into_values().collect()
    }

    /// Removes a draft that has ended.
    pub fn remove(&mut self, count: u64) -> Option<Sending> {
        let sent = self.drafts.remove(&count)?;
        self.bytes -= sent.draft.bytes();
        Some(sent)
    }

    /// Removes a draft of which Redis says that nothing is to be done, if it is of a member.
    pub fn remove_of_member(&mut self, count: u64) -> Option<Sending> {
        self.drafts.get(&count).filter(|sent| sent.draft.member != MemberPart::None)?;
        self.remove(count)
    }

    /// Removes the drafts whose time is over.
    pub fn remove_late(&mut self, now: Instant) -> Vec<Sending> {
        let counts = self.drafts.iter().take_while(|(_, sent)| sent.deadline <= now).map(|(count, _)| *count);
        counts.collect::<Vec<u64>>().into_iter().filter_map(|count| self.remove(count)).collect()
    }

    // These are the reader's.

    /// Ends the draft of an own entry that was read, unless replicas are to confirm it.
    pub fn claim(&mut self, count: u64) -> Claim {
        use SendState::{Acknowledged, Confirmed, OnWire, OnWireAgain, Unanswered, Unsent};
        self.own_count = self.own_count.max(count);
        let state = self.drafts.get(&count).map(|sent| sent.state);
        if self.needs_replicas && matches!(state, Some(OnWire | OnWireAgain | Acknowledged)) {
            return Claim::Waits;
        }
        let Some(sent) = self.remove(count) else { return Claim::Ended(None) };
        match sent.state {
            Unsent | Unanswered if self.needs_replicas => Claim::Unconfirmed(sent),
            Unsent | Unanswered | OnWire | OnWireAgain | Acknowledged | Confirmed => Claim::Ended(Some(sent.ticket)),
        }
    }

    /// Takes note of own entries that were read, and of the last id that was.
    pub fn read(&mut self, own: &[Id], last: Id) {
        for id in own {
            self.acknowledged.remove(id);
        }
        self.read_through = self.read_through.max(last);
    }

    /// Takes note of a beginning. In another epoch everything is to be sent, under new counts, for the state may have those of
    /// the epoch before. In the same one it is perhaps in the history.
    pub fn restart(&mut self, is_same_epoch: bool) {
        (self.own_count, self.read_through) = (0, Id::default());
        self.acknowledged.clear();
        if !is_same_epoch {
            for mut sent in mem::take(&mut self.drafts).into_values() {
                sent.apply(SendEvent::Restarted);
                self.append(sent);
            }
        }
    }

    /// Removes the drafts that were perhaps stored: the history is complete, and lacks them.
    pub fn remove_missing(&mut self) -> Vec<Sending> {
        let missing = self.split_off(Sending::is_perhaps_stored);
        self.bytes -= missing.iter().map(|sent| sent.draft.bytes()).sum::<usize>();
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::SendState::*;
    use super::*;

    const STATES: [SendState; 6] = [Unsent, Unanswered, OnWire, OnWireAgain, Acknowledged, Confirmed];
    const LATER: Duration = Duration::from_secs(5);

    /// Returns drafts in these states, with counts from 1 on and tickets from 11 on.
    fn in_flight(needs_replicas: bool, states: &[SendState]) -> InFlight {
        let mut in_flight = InFlight::new(&RedisSettings {
            replicas: needs_replicas.into(),
            timeout: LATER,
            ..RedisSettings::default()
        });
        for (ticket, state) in (11..).zip(states) {
            in_flight.add(ticket, Draft::default(), Instant::now());
            in_flight.drafts.last_entry().expect("it was added").get_mut().state = *state;
        }
        in_flight
    }

    /// Returns the count, ticket and state of each draft.
    fn drafts(in_flight: &InFlight) -> Vec<(u64, u64, SendState)> {
        in_flight.drafts.iter().map(|(count, sent)| (*count, sent.ticket, sent.state)).collect()
    }

    /// Sends what is to be sent, at most so much. Returns the counts.
    fn send(in_flight: &mut InFlight, most: usize) -> Vec<u64> {
        let mut counts = Vec::new();
        in_flight.send(|count, _| {
            let has_room = counts.len() < most;
            counts.extend(has_room.then_some(count));
            has_room
        });
        counts
    }

    #[test]
    fn an_entry_that_was_read_ends_its_draft_unless_replicas_are_to_confirm_it() {
        for (state, expected) in STATES.into_iter().zip(["fails", "fails", "waits", "waits", "waits", "ends"]) {
            for needs_replicas in [false, true] {
                let mut in_flight = in_flight(needs_replicas, &[state]);
                let (is, rest) = match in_flight.claim(1) {
                    Claim::Ended(ticket) => ("ends", usize::from(ticket != Some(11))),
                    Claim::Waits => ("waits", 0),
                    Claim::Unconfirmed(sent) => ("fails", usize::from(sent.ticket != 11)),
                };
                let expected = if needs_replicas { expected } else { "ends" };
                assert_eq!((is, rest, in_flight.len()), (expected, 0, usize::from(is == "waits")), "{state:?}");
            }
        }
        assert!(matches!(in_flight(true, &[]).claim(1), Claim::Ended(None)), "it has ended before");
    }

    #[test]
    fn a_draft_whose_count_the_reader_has_passed_gets_a_new_one() {
        let mut in_flight = in_flight(false, &[Unsent, Unanswered, Unanswered, Unanswered, Unsent]);
        assert!(matches!(in_flight.claim(3), Claim::Ended(Some(13))));
        in_flight.renumber_passed();
        let expected = [(4, 14, Unanswered), (6, 11, Unsent), (7, 12, Unanswered), (8, 15, Unsent)];
        assert_eq!(drafts(&in_flight), expected, "what was not sent keeps its place");
    }

    #[test]
    fn what_the_history_of_the_same_epoch_lacks_was_perhaps_stored_and_evicted() {
        let mut in_flight = in_flight(true, &STATES);
        in_flight.restart(true);
        assert!(matches!(in_flight.claim(6), Claim::Ended(Some(16))));
        let missing: Vec<u64> = in_flight.remove_missing().iter().map(|sent| sent.ticket).collect();
        assert_eq!((missing, drafts(&in_flight)), (vec![12, 13, 14, 15], vec![(1, 11, Unsent)]));
    }

    #[test]
    fn an_acknowledged_entry_is_unread_until_it_is_read_or_the_reader_begins_anew() {
        let [first, second] = [1, 2].map(|ms| Id { ms, part: 0 });
        let mut in_flight = in_flight(false, &[]);
        in_flight.acknowledge(second);
        in_flight.read(&[first], first);
        assert!(in_flight.has_unread());
        in_flight.read(&[second], second);
        in_flight.acknowledge(second);
        assert!(!in_flight.has_unread(), "the reader was first");
        in_flight.restart(true);
        in_flight.acknowledge(second);
        assert!(in_flight.has_unread());
    }

    #[test]
    fn a_draft_has_its_time_from_when_it_was_asked_for() {
        let (mut in_flight, now) = (in_flight(false, &[]), Instant::now());
        in_flight.add(1, Draft::default(), now);
        in_flight.add(2, Draft::default(), now);
        assert!(in_flight.remove_late(now).is_empty(), "they have time");
        assert_eq!(send(&mut in_flight, 1).len(), 1);
        let late: Vec<bool> = in_flight.remove_late(now + LATER).iter().map(Sending::is_perhaps_stored).collect();
        assert_eq!((late, in_flight.len()), (vec![true, false], 0));
    }

    #[test]
    fn bytes_are_counted_until_a_draft_has_ended() {
        let mut in_flight = in_flight(false, &[]);
        let large = || Draft { key: vec![b'k'; MOST_BYTES].into(), ..Draft::default() };
        in_flight.add(1, large(), Instant::now());
        assert!(in_flight.is_full());
        assert!(matches!(in_flight.claim(1), Claim::Ended(Some(1))));
        assert!(!in_flight.is_full());
        in_flight.add(2, large(), Instant::now());
        assert_eq!(send(&mut in_flight, 1), [2]);
        assert_eq!((in_flight.remove_missing().len(), in_flight.is_full()), (1, false));
    }

    #[test]
    fn an_overdue_entry_is_one_that_may_be_reported() {
        for (needs_replicas, expected) in [(false, [Acknowledged]), (true, [Confirmed])] {
            let is_overdue = |state: &SendState| in_flight(needs_replicas, &[*state]).has_overdue(Duration::ZERO);
            assert_eq!(STATES.into_iter().filter(is_overdue).collect::<Vec<_>>(), expected);
        }
        let (mut in_flight, added) = (in_flight(false, &[]), Instant::now() + LATER);
        in_flight.add(1, Draft::default(), added);
        assert_eq!(send(&mut in_flight, 1), [1]);
        assert!(in_flight.drafts[&1].since < added, "it counts from when it was sent first");
    }

    #[test]
    fn no_more_is_added_than_can_be_sent_soon_while_redis_answers() {
        let mut in_flight = in_flight(false, &[OnWire, Unsent, Unsent]);
        assert_eq!(in_flight.room(true), 2 * CHUNK - 3);
        assert_eq!(send(&mut in_flight, 1), [2]);
        assert_eq!(in_flight.room(true), 2 * CHUNK - 1);
        assert_eq!(send(&mut in_flight, 1), [3]);
        assert_eq!((in_flight.room(true), in_flight.room(false)), (2 * CHUNK, 2 * MOST_WAITING - 3));
    }
}
