//! Which requests to end streams withdraw a ticket, on all machines of a store and in processes that follow killed ones.
//!
//! The clocks of machines differ, the order of their store does not. So a ticket says through which entry its machine had read
//! the store before the application was asked ([`Ticket::known_through`]), and each later request that means it withdraws it.
//! One that was on its way when the application was asked may be among these. A hub that does not know all requests after that
//! entry, because its history begins later or it had to forget some, cannot decide; neither can one that has not read so far.
//! Then the application is asked.

use eventsource_xs::hub::{EndRequest, Ticket, TicketOutcome, LONGEST_ANSWER, MOST_REMEMBERED};
use std::collections::VecDeque;

/// The most moments of which it is known how far the store was read.
const MOST_MARKS: usize = 1000;
/// The shortest interval of those that are remembered, beside the last one and those at which a request has been read.
const MARK: u64 = 1_000_000_000;

/// The last requests, and when the store was read how far. Times are nanoseconds of the system's monotonic clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownEnds {
    /// The sequence numbers of the requests, in their order.
    requests: VecDeque<(u64, EndRequest)>,
    /// All requests after this number are known.
    pub known_after: u64,
    /// Times, and the number through which the store had been read.
    marks: VecDeque<(u64, u64)>,
    /// Requests of this machine that the store does not have yet, with their drafts' tickets.
    waiting: Vec<(u64, EndRequest)>,
}

impl KnownEnds {
    /// Begins with a history of which all after a number is there. What waits for the store still waits.
    pub fn begin(&mut self, evicted_through: u64, is_other_epoch: bool) {
        self.requests.clear();
        self.known_after = evicted_through;
        if is_other_epoch {
            self.marks.clear();
        }
    }

    /// Takes note of a request of this machine.
    pub fn wait(&mut self, ticket: u64, request: EndRequest) {
        self.waiting.push((ticket, request));
    }

    /// Takes note of an entry of the store; without a request if this version cannot read it, which may mean anybody.
    pub fn add(&mut self, seq: u64, ticket: Option<u64>, request: Option<EndRequest>) {
        self.waiting.retain(|(of, _)| Some(*of) != ticket);
        match request {
            Some(request) => self.insert(seq, request),
            None => self.known_after = self.known_after.max(seq),
        }
    }

    /// Called when a draft has ended: the store does not have its request, if that still waits.
    pub fn end_draft(&mut self, ticket: u64, last_seq: u64) {
        if let Some(index) = self.waiting.iter().position(|(of, _)| *of == ticket) {
            let (_, request) = self.waiting.swap_remove(index);
            self.add_own(request, last_seq);
        }
    }

    /// Takes note of a request that this machine has carried out, though the store does not have it: before everything that is
    /// read next.
    pub fn add_own(&mut self, request: EndRequest, last_seq: u64) {
        self.insert(last_seq + 1, request);
    }

    fn insert(&mut self, seq: u64, request: EndRequest) {
        let Self { requests, known_after, .. } = self;
        requests.push_back((seq, request));
        let (most, most_bytes) = MOST_REMEMBERED;
        let is_too_much = |requests: &VecDeque<(u64, EndRequest)>| {
            requests.len() > most || requests.iter().map(|(_, request)| request.bytes()).sum::<usize>() > most_bytes
        };
        while is_too_much(requests) {
            *known_after = requests.pop_front().map_or(0, |(seq, _)| seq).max(*known_after);
        }
    }

    /// Takes note that the store was read through a number before a time.
    pub fn mark(&mut self, seq: u64, at: u64) {
        if self.marks.back().is_some_and(|(_, marked)| *marked >= seq) {
            return;
        }
        let last_end = self.requests.back().map_or(0, |(seq, _)| *seq);
        let mut last = self.marks.iter().rev();
        if let (Some((last_at, _)), Some((before_at, before))) = (last.next(), last.next()) {
            if *before >= last_end && last_at.saturating_sub(*before_at) < MARK {
                self.marks.pop_back(); // the one before says enough
            }
        }
        self.marks.push_back((at, seq));
        let oldest = at.saturating_sub(LONGEST_ANSWER.as_nanos() as u64);
        // The one before the oldest moment says how far the store was read at that.
        while self.marks.len() > MOST_MARKS || self.marks.get(1).is_some_and(|(at, _)| *at < oldest) {
            self.marks.pop_front();
        }
    }

    /// Returns through which number the store had been read before a time, at least. 0 if that is not known, as of a time
    /// before this process: then each request counts as a later one.
    pub fn known_before(&self, at: u64) -> u64 {
        self.marks.iter().rev().find(|(marked_at, _)| *marked_at < at).map_or(0, |(_, seq)| *seq)
    }

    /// Returns why a ticket is refused, if it is. The store was read through `last_seq`.
    pub fn refusal_of(&self, ticket: &Ticket, last_seq: u64) -> Option<TicketOutcome> {
        let through = ticket.known_through;
        if through < self.known_after || through > last_seq {
            return Some(TicketOutcome::Unknown);
        }
        let later = self.requests.iter().rev().take_while(|(seq, _)| *seq > through);
        let mut later = later.chain(&self.waiting).map(|(_, request)| request);
        let is_meant = |end: &EndRequest| end.means(&ticket.request);
        later.any(is_meant).then_some(TicketOutcome::Withdrawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eventsource_xs::hub::{Access, SubscribeRequest};

    fn end(label: &str) -> EndRequest {
        EndRequest { labels: vec![label.as_bytes().into()], ..EndRequest::default() }
    }

    fn ticket(known_through: u64) -> Ticket {
        let access = Access { labels: vec![b"a"[..].into()], ..Access::default() };
        let request = SubscribeRequest { access, ..SubscribeRequest::default() };
        Ticket { known_through, request, ..Ticket::default() }
    }

    /// Returns the first letter of what becomes of tickets, with the numbers 0 to `last_seq` + 1: accepted, unknown, withdrawn.
    fn outcomes(ends: &KnownEnds, last_seq: u64) -> String {
        let outcome = |seq| match ends.refusal_of(&ticket(seq), last_seq) {
            None => 'a',
            Some(TicketOutcome::Withdrawn) => 'w',
            Some(_) => 'u',
        };
        (0..=last_seq + 1).map(outcome).collect()
    }

    #[test]
    fn each_request_after_the_entry_of_a_ticket_withdraws_it_if_it_means_it() {
        let mut ends = KnownEnds::default();
        assert_eq!(outcomes(&ends, 3), "aaaau", "it has not read so far");
        ends.add(2, None, Some(end("b")));
        assert_eq!(outcomes(&ends, 3), "aaaau");
        ends.add(3, None, Some(end("a")));
        assert_eq!(outcomes(&ends, 4), "wwwaau");
        ends.add(4, None, None);
        assert_eq!(outcomes(&ends, 5), "uuuuaau", "a request of a later version means anybody");
        ends.begin(2, false);
        ends.add(3, None, Some(end("a")));
        assert_eq!(outcomes(&ends, 4), "uuwaau", "its history begins after 2");
    }

    #[test]
    fn a_request_of_this_machine_counts_before_the_store_has_it_and_if_it_never_has() {
        let mut ends = KnownEnds::default();
        ends.wait(7, end("a"));
        assert_eq!(outcomes(&ends, 3), "wwwwu");
        let mut failed = ends.clone();
        ends.add(3, Some(7), Some(end("a")));
        ends.end_draft(7, 3);
        assert_eq!(outcomes(&ends, 3), "wwwau");
        failed.end_draft(7, 3);
        assert_eq!(outcomes(&failed, 3), "wwwwu", "tickets through 3 may have been issued before it");
        assert_eq!(outcomes(&failed, 5), "wwwwaau");
        failed.begin(0, true);
        failed.wait(8, end("a"));
        failed.begin(0, true);
        assert_eq!(outcomes(&failed, 1), "wwu", "it waits in another epoch, too");
    }

    #[test]
    fn requests_that_are_forgotten_make_older_tickets_unknown() {
        let mut ends = KnownEnds::default();
        (1..=1002).for_each(|seq| ends.add(seq, None, Some(end("b"))));
        assert_eq!(outcomes(&ends, 1002)[..5], *"uuaaa");
        let mut ends = KnownEnds::default();
        (1..=3).for_each(|seq| ends.add(seq, None, Some(end(&"b".repeat(MOST_REMEMBERED.1 / 2)))));
        assert_eq!(outcomes(&ends, 3), "uaaau");
    }

    #[test]
    fn how_far_the_store_was_read_is_known_of_the_last_minute_and_exactly_around_a_request() {
        let mut ends = KnownEnds::default();
        let second = 1_000_000_000;
        assert_eq!(ends.known_before(u64::MAX), 0);
        for (seq, at) in [(1, 0), (2, second / 2), (3, second), (3, 2 * second)] {
            ends.mark(seq, at);
        }
        assert_eq!([0, 1, second, second + 1].map(|at| ends.known_before(at)), [0, 1, 1, 3]);
        ends.add(4, None, Some(end("a")));
        ends.mark(5, second + 2);
        assert_eq!([second + 2, second + 3].map(|at| ends.known_before(at)), [3, 5]);
        (6..=200).for_each(|seq| ends.mark(seq, seq * second));
        assert_eq!(ends.known_before(140 * second), 139);
        assert_eq!(ends.known_before(139 * second), 0, "an application that takes so long");
        (201..=2000).for_each(|seq| {
            ends.add(seq, None, Some(end("b")));
            ends.mark(seq, 200 * second + seq);
        });
        assert_eq!(ends.marks.len(), MOST_MARKS);
    }
}
