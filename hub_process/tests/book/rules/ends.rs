//! Rules about the ends of streams, and about how many there are.

use super::lives::{lives, Life};
use super::{fail, Broken, SLACK};
use crate::trace::{Change, Item, Trace, MOST};
use std::collections::{BTreeMap, BTreeSet};

/// Rule 15 (EventSource::Hub, "end"): a stream that the application has ended reads no event that is published afterwards.
pub(super) fn ended_streams_read_no_more(trace: &Trace, broken: &mut Vec<Broken>) {
    for (began, ended, change) in &trace.changes {
        let Change::Ended(meant, _) = change else { continue };
        let later: BTreeSet<&str> =
            trace.publishes.iter().filter(|publish| publish.called > *ended).map(|publish| &*publish.data).collect();
        for client in &trace.clients {
            let mut is_meant = false;
            for (_, item) in &client.items {
                match item {
                    Item::Opened { stream, .. } => {
                        let stream = &trace.streams[stream];
                        // A process that follows a killed one may not know the end, which is repeated then.
                        let asked_before = stream.asked.is_some_and(|(asked, answered)| {
                            let is_forgotten = trace.has_change(*began, answered, |of| matches!(of, Change::Died));
                            answered < *began || asked < *began && !is_forgotten
                        });
                        is_meant = trace.is_meant(meant, stream) && asked_before;
                    }
                    Item::Event { data, .. } if is_meant && later.contains(&**data) => {
                        fail(broken, 15, || format!("{data} reached a stream of {meant:?}, which was ended"));
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Rule 15: a client that is not to come back is told so, whatever happens while its stream ends, and that is the last thing
/// that it is sent.
pub(super) fn finished_clients_are_told(trace: &Trace, broken: &mut Vec<Broken>) {
    for life in lives(trace) {
        let finishes = |change: &Change| matches!(change, Change::Ended(_, true));
        // The stream may have been ended before with a retry.
        let by_finish_only = !trace.has_change(life.opened, life.ended.map_or(life.opened, |(at, _)| at), |change| {
            life.is_meant(change) && !finishes(change) || matches!(change, Change::Died | Change::Cut)
        });
        let is_certain = life.stream.poll.is_none() && !life.may_have_aged(trace);
        if is_certain && by_finish_only && life.is_ended_by_application(trace, finishes) && !life.was_told_to_finish {
            fail(broken, 15, || format!("the client of stream {} is not told to finish", life.number));
        }
    }
    for client in &trace.clients {
        let mut is_finished = false;
        for (_, item) in &client.items {
            match item {
                Item::Finish => is_finished = true,
                Item::Opened { .. } => is_finished = false,
                Item::Event { data, .. } if is_finished => {
                    fail(broken, 15, || format!("{data} comes after the finish"))
                }
                _ => {}
            }
        }
    }
}

/// Rule 22 (SECURITY.md): an upgrade ends no stream without telling its client to come back.
pub(super) fn an_upgrade_tells_clients_to_come_back(trace: &Trace, broken: &mut Vec<Broken>) {
    for life in lives(trace) {
        let Some((at, Item::Ended)) = life.ended else { continue };
        let ends_it = |change: &Change| match change {
            Change::Upgraded | Change::NotUpgraded | Change::Updated(..) => false,
            Change::Ended(..) | Change::Closed(_) => life.is_meant(change),
            Change::Died | Change::Drained(_) | Change::Cut => true,
        };
        let only_upgrades = !trace.has_change(life.opened, at + SLACK, ends_it);
        let ends_by_itself = life.stream.poll.is_some() || life.may_have_aged(trace);
        if only_upgrades
            && !ends_by_itself
            && trace.complete
            && life.begun.is_some()
            && !life.is_slow
            && !life.was_told_to_come_back
        {
            fail(broken, 22, || format!("stream {} ends without a word", life.number));
        }
    }
}

/// Rule 28: the hub counts the subscribers of each channel that have open streams.
pub(super) fn subscribers_are_the_streams(trace: &Trace, broken: &mut Vec<Broken>) {
    for (channel, counted) in &trace.rest.subscribers {
        let readers =
            trace.rest.open.iter().filter(|client| trace.clients[**client].channels.contains(channel)).count();
        if *counted != readers as u64 {
            fail(broken, 28, || format!("{counted} subscribers of {channel}, and {readers} readers"));
        }
    }
}

/// Rule 19 (EventSource::Hub, "max_streams_per"): a limit has a free place if fewer streams are open than it allows.
pub(super) fn free_places_are_given(trace: &Trace, broken: &mut Vec<Broken>) {
    let mut open: BTreeMap<&str, usize> = BTreeMap::new();
    for stream in trace.streams.values() {
        open.extend(stream.limit.map(|limit| (limit, 0)));
    }
    for client in &trace.rest.open {
        let newest = trace.newest_stream(*client);
        if let Some(limit) = newest.and_then(|stream| stream.limit) {
            *open.entry(limit).or_default() += 1;
        }
    }
    // A worker that has lost its hub leaves a reservation behind, which expires after ten seconds.
    let may_expire = |change: &Change| matches!(change, Change::Died | Change::Cut);
    if trace.changes.iter().any(|(_, _, change)| may_expire(change)) {
        return;
    }
    for (limit, open) in open {
        if trace.rest.free.contains(&limit) != (open < MOST) {
            fail(broken, 19, || {
                format!("{open} streams of {limit} are open, and these have a place: {:?}", trace.rest.free)
            });
        }
    }
}

/// Rule 18 (EventSource::Hub, "drain"): streams end within the time, and later ones at once. Each client is told to come back.
pub(super) fn a_drain_ends_all_streams(trace: &Trace, broken: &mut Vec<Broken>) {
    let drained = trace.changes.iter().find_map(|(_, to, change)| match change {
        Change::Drained(within) => Some((*to, *within)),
        _ => None,
    });
    let Some((from, within)) = drained else { return };
    if trace.changes.iter().any(|(began, _, change)| *began > from && matches!(change, Change::Died)) {
        return; // the next process is not drained
    }
    // The client of a stream that its application closes is told nothing.
    let is_closed = |life: &Life<'_>, at| {
        trace.has_change(life.opened, at, |change| matches!(change, Change::Closed(_)) && life.is_meant(change))
    };
    for life in lives(trace).iter().filter(|life| life.ended.is_none_or(|(at, _)| at > from)) {
        let number = life.number;
        let end = (from + within).max(life.opened) + SLACK;
        match life.ended {
            None => fail(broken, 18, || format!("stream {number} is open")),
            // A slow client is sent the rest of its buffer before its stream ends.
            Some((at, _)) if at > end && !life.is_slow => {
                fail(broken, 18, || format!("stream {number} ends {:?} late", at - end))
            }
            Some(_) if life.was_told_to_come_back || life.was_told_to_finish || life.is_slow => {}
            Some((at, Item::Ended)) if life.stream.asked.is_some() && !is_closed(life, at) => {
                fail(broken, 18, || format!("the client of stream {number} is not told to come back"));
            }
            _ => {}
        }
    }
}
