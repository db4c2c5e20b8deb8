//! Rules about rights: tickets, the ages of streams, and leases. And about polls.

use super::lives::lives;
use super::{fail, Broken, SLACK};
use crate::trace::{Change, Item, Trace};
use std::time::{Duration, Instant};

/// The time after which a worker no longer waits for the answer whether a ticket is good.
const LATE: Duration = Duration::from_millis(300);

/// The time within which the next poll of a client has to come, less what a busy machine takes.
const NEXT_POLL: Duration = Duration::from_secs(13);

/// Rule 16 (SECURITY.md, "A ticket gives its request again, and no more"; EventSource::Hub, "ticket"): a ticket is good for its
/// own client until it expires or is withdrawn, and no more.
pub(super) fn tickets_give_their_right_and_no_more(trace: &Trace, broken: &mut Vec<Broken>) {
    for (number, stream) in &trace.streams {
        let Some(offer) = &stream.offer else { continue };
        let (Some((from, to)), Some(is_admitted)) = (offer.opened, offer.is_admitted) else { continue };
        let ticket = &trace.tickets[offer.ticket];
        let issued_for = &trace.streams[&ticket.stream];
        let is_meant = |change: &Change| matches!(change, Change::Ended(meant, _) if trace.is_meant(meant, issued_for));
        let sealed = issued_for.asked.map_or(to, |(_, answered)| answered);
        // Without a store, a process that follows a killed one does not know the end, which is to be repeated then.
        let is_forgotten =
            |since: Instant| !trace.stored && trace.has_change(since, sealed, |of| matches!(of, Change::Died));
        let is_withdrawn = trace.changes.iter().any(|(began, ended, change)| {
            is_meant(change) && *began > ticket.asked && *ended < from && !is_forgotten(*began)
        });
        let expires = ticket.asked + ticket.valid_for;
        if is_admitted {
            for (is_wrong, why) in [
                (offer.is_foreign, "is that of another client"),
                (is_withdrawn, "was withdrawn"),
                (from > expires, "has expired"),
            ] {
                if is_wrong {
                    fail(broken, 16, || format!("stream {number} is admitted by ticket {}, which {why}", offer.ticket));
                }
            }
            continue;
        }
        // A fifth of the time may be missing, and a tenth of what a cut worker has asked for comes late.
        // With a store, a program that seals a ticket knows which entries were read when the application was asked. If it has
        // begun since then, it knows none, so that each earlier end counts as a later one.
        let is_other_program = |change: &Change| matches!(change, Change::Upgraded | Change::Died);
        let knows_no_entry = trace.stored && trace.has_change(ticket.asked, sealed, is_other_program);
        let may_be_withdrawn = trace.changes.iter().any(|(began, ended, change)| {
            is_meant(change) && *began <= to && (*ended >= ticket.asked - SLACK / 100 || knows_no_entry)
        });
        let may_be_late = to - from > LATE
            || trace.has_change(ticket.asked, to, |change| match change {
                Change::Died => !trace.stored || !trace.complete,
                Change::Cut => true,
                _ => false,
            });
        let may_be_full = issued_for.limit.is_some();
        let is_valid = to < ticket.asked + ticket.valid_for.mul_f64(0.79);
        if is_valid && !may_be_withdrawn && !may_be_late && !may_be_full && !offer.is_foreign {
            fail(broken, 16, || format!("ticket {} is good, and the application of {number} is asked", offer.ticket));
        }
    }
}

/// Rule 17 (EventSource::Hub, "max_age", "ticket"): a stream ends within its age, and one by ticket with that.
pub(super) fn streams_end_with_their_age(trace: &Trace, broken: &mut Vec<Broken>) {
    for life in lives(trace) {
        let (stream, ended) = (life.stream, life.ended.map_or(trace.rest.at, |(at, _)| Some(at)));
        let (Some((_, answered)), Some(ended)) = (stream.asked, ended) else { continue };
        let end = match &stream.offer {
            Some(offer) if stream.is_by_ticket() => {
                let ticket = &trace.tickets[offer.ticket];
                Some(ticket.asked + ticket.valid_for)
            }
            _ => stream.max_age.map(|age| stream.began.unwrap_or(answered) + age),
        };
        let is_late = end.is_some_and(|end| ended > end.max(life.opened) + SLACK);
        if is_late && !life.is_slow {
            fail(broken, 17, || format!("stream {} lives longer than it may", life.number));
        }
        let least = life.opened + stream.max_age.unwrap_or_default().mul_f64(0.74);
        let others = |change: &Change| match change {
            Change::Ended(..) | Change::Closed(_) => life.is_meant(change),
            Change::NotUpgraded | Change::Updated(..) => false,
            _ => true,
        };
        let is_early = matches!(life.ended, Some((at, Item::Ended)) if at < least);
        if is_early && life.begun.is_some() && trace.complete && !trace.has_change(life.opened, ended + SLACK, others) {
            fail(broken, 17, || format!("stream {} ends before its age", life.number));
        }
    }
}

/// Rule 20 (EventSource::Hub, "to_app"): a poll ends within its time, with something new, or when it has waited for three
/// quarters of that.
pub(super) fn polls_are_answered(trace: &Trace, broken: &mut Vec<Broken>) {
    for life in lives(trace) {
        let stream = life.stream;
        let (Some(wait), Some((_, answered)), Some(began)) = (stream.poll, stream.asked, stream.began) else {
            continue;
        };
        let others = |change: &Change| match change {
            Change::Ended(..) | Change::Closed(_) => life.is_meant(change),
            Change::Updated(..) => false,
            _ => true,
        };
        let ended = life.ended.map_or(trace.rest.at, |(at, _)| Some(at)).unwrap_or(answered);
        // A worker may learn late that its link was cut.
        let since = life.opened.checked_sub(SLACK).unwrap_or(life.opened);
        if trace.has_change(since, ended + SLACK, others) {
            continue;
        }
        // A poll that is ahead of its hub waits for a second.
        if ended > began.max(answered) + wait.max(Duration::from_secs(1)) + SLACK {
            fail(broken, 20, || format!("poll {} ends late", life.number));
        }
        let is_news = |item: &Item| match item {
            Item::Event { .. } | Item::Gap { .. } | Item::Push { .. } | Item::Finish => true,
            Item::Position(_) => life.is_first,
            _ => false,
        };
        let is_early = matches!(life.ended, Some((at, Item::Ended)) if at < life.opened + wait.mul_f64(0.74));
        if is_early && !life.items.iter().any(|(_, item)| is_news(item)) && !life.may_have_aged(trace) {
            fail(broken, 20, || format!("poll {} ends early, and without news", life.number));
        }
    }
}

/// Rule 21 (EventSource::Hub::Lease): one worker holds a lease, and keeps it; two do so only around a lost process. At rest
/// each lease that is wanted has a holder.
pub(super) fn leases_have_one_holder(trace: &Trace, broken: &mut Vec<Broken>) {
    for (name, holders) in trace.rest.holders.iter().filter(|(_, holders)| **holders != 1) {
        fail(broken, 21, || format!("{holders} workers hold the lease {name}"));
    }
    // A worker that was cut learns that later than the hub.
    let is_lost = |from: Instant, to: Instant| {
        let is_cut = trace.changes.iter().any(|(began, _, change)| matches!(change, Change::Cut) && *began <= to);
        is_cut || trace.has_change(from - SLACK, to, |change| matches!(change, Change::Died))
    };
    for (at, held) in trace.leases.iter().enumerate() {
        if let Some(lost) = held.lost.filter(|lost| !is_lost(held.from, *lost)) {
            fail(broken, 21, || format!("worker {} loses {} before {lost:?}", held.worker, held.name));
        }
        for other in trace.leases[..at].iter().filter(|of| of.name == held.name && of.worker != held.worker) {
            let (from, to) = (held.from.max(other.from), held.to.min(other.to));
            if from <= to && !is_lost(from, to) {
                fail(broken, 21, || format!("the workers {} and {} hold {}", other.worker, held.worker, held.name));
            }
        }
    }
}

/// Rule 15 (EventSource::Hub, "end"): a client between two polls is told not to come back, too, with its next poll.
pub(super) fn polls_that_follow_an_end_are_told(trace: &Trace, broken: &mut Vec<Broken>) {
    let lives = lives(trace);
    for pair in lives.windows(2).filter(|pair| pair[0].stream.client == pair[1].stream.client) {
        let [first, next] = pair else { continue };
        let (Some((at, Item::Ended)), Some((told_at, Item::Ended))) = (first.ended, next.ended) else { continue };
        let (Some(began), Some((asked, _))) = (first.stream.began, next.stream.asked) else { continue };
        let is_poll = first.stream.poll.is_some() && next.stream.poll.is_some() && first.begun.is_some();
        if !is_poll || first.was_told_to_finish || next.was_told_to_finish || asked > at + NEXT_POLL {
            continue;
        }
        let finishes = |change: &Change| matches!(change, Change::Ended(_, true)) && first.is_meant(change);
        let others = |change: &Change| match change {
            Change::Ended(_, false) | Change::Closed(_) => first.is_meant(change) || next.is_meant(change),
            Change::Upgraded | Change::NotUpgraded | Change::Updated(..) | Change::Ended(_, true) => false,
            _ => true,
        };
        let is_ended =
            |(from, to, change): &(Instant, Instant, Change)| finishes(change) && *from > began && *to < asked;
        if trace.changes.iter().any(is_ended) && !trace.has_change(first.opened, told_at, others) {
            fail(broken, 15, || format!("poll {} follows an end, and is not told to finish", next.number));
        }
    }
}
