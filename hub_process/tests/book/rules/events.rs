//! Rules about events: their ids and order, gaps, publishers, pushes, and the state.

use super::{fail, newest_epoch, Broken, Known, Places};
use crate::trace::{place, reported, Change, Item, Map, Outcome, Place, Publish, Seen, Trace, COUNT};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

/// The items of a client that carry an id outside of a state that is being sent: there an id is not that of the event.
pub(super) fn located(client: &Seen) -> impl Iterator<Item = &(Instant, Item)> {
    let mut in_state = false;
    client.items.iter().filter(move |(_, item)| {
        match item {
            Item::Opened { after, .. } => in_state = client.follows_state && after.is_empty(),
            Item::Gap { .. } => in_state = client.follows_state,
            Item::Position(_) => in_state = false,
            _ => {}
        }
        !in_state
    })
}

/// Rule 1 (EventSource::Hub, "IDS"; EventSource::Stores): there is one order for all clients. An id is that of one event, and
/// an event has one id.
pub(super) fn known_places(trace: &Trace, broken: &mut Vec<Broken>) -> Places {
    let mut places = Places::new();
    let mut of_data: HashMap<String, Place> = HashMap::new();
    // A repeated key `once` is answered with the id of its first event.
    for Publish { channel, kind, data, outcome, .. } in trace.publishes.iter().filter(|of| of.once.is_none()) {
        let Outcome::Published(place) = outcome else { continue };
        let known = Known { channel: (*channel).into(), name: (*kind).into(), data: data.clone() };
        of_data.insert(data.clone(), place.clone());
        if let Some(other) = places.insert(place.clone(), known).filter(|other| other.data != *data) {
            fail(broken, 1, || format!("the id {place:?} was given for {data:?} and {:?}", other.data));
        }
    }
    let channels: HashMap<&str, &str> = trace.publishes.iter().map(|of| (&*of.data, of.channel)).collect();
    for client in &trace.clients {
        for (_, item) in located(client) {
            let Item::Event { id, name, data } = item else { continue };
            let of_members = if name == "count" { "lobby" } else { "room" };
            let channel = channels.get(&**data).copied().unwrap_or(of_members);
            let seen = place(id);
            let known = Known { channel: channel.into(), name: name.clone(), data: data.clone() };
            let there = places.entry(seen.clone()).or_insert_with(|| known.clone());
            if *there != known {
                fail(broken, 1, || format!("{seen:?} is {known:?} and {there:?}"));
            }
            if channels.contains_key(&**data) && *of_data.entry(data.clone()).or_insert_with(|| seen.clone()) != seen {
                fail(broken, 1, || format!("{data:?} was published twice, at {seen:?} and {:?}", of_data[data]));
            }
        }
    }
    places
}

/// Rules 6, 7 and 9 (EventSource::Hub, "publish"): a publisher is told the truth, the events of one thread keep their order,
/// and a key `once` has one event.
pub(super) fn publishers_are_told_the_truth(trace: &Trace, places: &Places, broken: &mut Vec<Broken>) {
    let seen: BTreeSet<&str> = places.values().map(|known| &*known.data).collect();
    let mut last: HashMap<(usize, String), u64> = HashMap::new();
    let mut keys: HashMap<(u8, String), Place> = HashMap::new();
    let place_of: HashMap<&str, &Place> = places.iter().map(|(place, known)| (&*known.data, place)).collect();
    for publish in &trace.publishes {
        let outcome = match place_of.get(&*publish.data) {
            Some(place) if publish.outcome == Outcome::Sent => Outcome::Published((*place).clone()),
            _ => publish.outcome.clone(),
        };
        match &outcome {
            Outcome::Refused if seen.contains(&*publish.data) => {
                fail(broken, 6, || format!("{} was refused, and a client received it", publish.data));
            }
            Outcome::Published(place) => {
                if let Some(once) = publish.once {
                    let first = keys.entry((once, place.0.clone())).or_insert_with(|| place.clone());
                    if first != place {
                        fail(broken, 9, || format!("the key {once} has two events, at {first:?} and {place:?}"));
                    }
                    continue;
                }
                let last = last.entry((publish.worker, place.0.clone())).or_insert(0);
                if place.1 <= *last {
                    fail(broken, 7, || format!("{place:?} of worker {} follows {last}", publish.worker));
                }
                *last = place.1;
            }
            _ => {}
        }
    }
}

/// Rules 2, 4 and 27 (SECURITY.md; EventSource::Hub): a client is sent each event of its channels once and in order, or a gap.
pub(super) fn client_is_sent_each_event_once(client: &Seen, places: &Places, broken: &mut Vec<Broken>) {
    let mut at: Option<Place> = None;
    // The client's last id says that it is still to receive a gap, or that it was told of one through a number.
    let (mut owes_gap, mut told_through) = (false, 0);
    let is_read = |known: &Known| client.channels.iter().any(|channel| *channel == known.channel);
    for (_, item) in located(client) {
        let (id, is_told) = match item {
            Item::Opened { after, .. } => {
                at = (!after.is_empty()).then(|| place(after));
                (owes_gap, told_through) = (reported(after) == Some(0), reported(after).unwrap_or(0));
                continue;
            }
            Item::Position(id) => (id, reported(id) == Some(0) || client.follows_state),
            Item::Gap { id, .. } => (id, true),
            Item::Event { id, name, data } => {
                let known = Known { channel: String::new(), name: name.clone(), data: data.clone() };
                let channel = places.get(&place(id)).map_or(&known, |known| known);
                if !is_read(channel) {
                    fail(broken, 27, || format!("{item:?} is not of {:?}", client.channels));
                }
                (id, false)
            }
            _ => continue,
        };
        if id.is_empty() {
            at = None; // a state begins, whose position follows
            continue;
        }
        let here = place(id);
        if let (Some(before), false) = (&at, is_told) {
            let is_event = matches!(item, Item::Event { .. });
            if owes_gap {
                fail(broken, 2, || format!("no gap at {item:?}"));
            } else if before.0 != here.0 {
                fail(broken, 2, || format!("another epoch without a gap at {item:?}, after {before:?}"));
            } else if before.1 > here.1 || is_event && before.1 == here.1 {
                fail(broken, 4, || format!("not in order at {item:?}, after {before:?}"));
            } else {
                let between = places.range(before.clone()..here.clone());
                let is_missed = |place: &Place| *place != *before && place.1 > told_through;
                let missed: Vec<_> = between.filter(|(place, known)| is_missed(place) && is_read(known)).collect();
                if !missed.is_empty() {
                    fail(broken, 2, || format!("missed at {item:?}: {missed:?}"));
                }
            }
        }
        owes_gap = reported(id) == Some(0) && matches!(item, Item::Position(_));
        told_through = reported(id).unwrap_or(0);
        at = Some(here);
    }
}

/// Rule 3 (EventSource::Hub, "GAPS"): a gap has a cause: an eviction, or a loss of the history.
pub(super) fn gaps_have_causes(trace: &Trace, client: &Seen, broken: &mut Vec<Broken>) {
    let lost =
        |at: Instant| trace.changes.iter().any(|(from, _, change)| *from <= at && matches!(change, Change::Died));
    for (at, item) in &client.items {
        let Item::Gap { reason, .. } = item else { continue };
        let has_cause = match &**reason {
            r#"{"reason":"unknown"}"# => !trace.stored && lost(*at),
            r#"{"reason":"slow"}"# => client.is_slow,
            _ => !trace.complete || !trace.stored && lost(*at),
        };
        if !has_cause {
            fail(broken, 3, || format!("{item:?} has no cause"));
        }
    }
}

/// Rule 5: what is pushed to a stream arrives once and in order.
pub(super) fn pushes_are_in_order(trace: &Trace, client: &Seen, broken: &mut Vec<Broken>) {
    let mut last: HashMap<u64, u64> = HashMap::new();
    for (_, item) in &client.items {
        let Item::Push { stream, number } = item else { continue };
        let before = last.insert(*stream, *number).unwrap_or(0);
        if *number != before + 1 || *number > trace.streams[stream].pushed {
            fail(broken, 5, || format!("push {number} to stream {stream} follows {before}"));
        }
    }
}

/// Rule 10 (EventSource::Hub, "STATE"): the map of each page is that of a page that begins now, and that of all that was
/// published.
pub(super) fn maps_are_the_state(trace: &Trace, places: &Places, broken: &mut Vec<Broken>) {
    let fresh = &trace.rest.fresh_map;
    for client in trace.rest.open.iter().map(|at| &trace.clients[*at]).filter(|client| client.follows_state) {
        let is_read = |key: &str| client.channels.iter().any(|channel| key.split(' ').next() == Some(channel));
        let expected: Map =
            fresh.iter().filter(|(key, _)| is_read(key)).map(|(key, data)| (key.clone(), data.clone())).collect();
        if client.map != expected {
            fail(broken, 10, || format!("a page has {:?}, and a new one {expected:?}", client.map));
        }
    }
    let Some(epoch) = newest_epoch(trace, places) else { return };
    let seen: BTreeSet<&str> = places.values().map(|known| &*known.data).collect();
    let uncertain: BTreeSet<String> = trace
        .publishes
        .iter()
        .filter(|of| matches!(of.outcome, Outcome::Unknown | Outcome::Sent) && !seen.contains(&*of.data))
        .map(|of| format!("{} {}", of.channel, of.key))
        .collect();
    let mut expected: BTreeMap<String, &str> = BTreeMap::new();
    for (_, known) in places.iter().filter(|(place, _)| place.0 == *epoch) {
        let key = known.data.split(' ').skip(1).take(2).collect::<Vec<_>>().join(" ");
        match &*known.name {
            "set" => drop(expected.insert(key, &known.data)),
            "forget" => drop(expected.remove(&key)),
            _ => {}
        }
    }
    let of_members = |key: &str| key.starts_with("room ") || key == COUNT;
    let found = fresh.iter().filter(|(key, _)| !of_members(key) && !uncertain.contains(*key));
    let found: BTreeMap<String, &str> = found.map(|(key, data)| (key.clone(), &**data)).collect();
    expected.retain(|key, _| !uncertain.contains(key));
    if found != expected {
        fail(broken, 10, || format!("a new page has {found:?}, and published was {expected:?}"));
    }
}

/// Rule 25 (EventSource::Stores): a hub in memory begins another epoch when its process dies; nothing else does.
pub(super) fn epochs_change_with_losses_only(trace: &Trace, places: &Places, broken: &mut Vec<Broken>) {
    let epochs: BTreeSet<&str> = places.keys().map(|(epoch, _)| &**epoch).collect();
    let deaths = trace.changes.iter().filter(|(_, _, change)| matches!(change, Change::Died)).count();
    let most = if trace.stored { 1 } else { 1 + deaths };
    if epochs.len() > most {
        fail(broken, 25, || format!("there are the epochs {epochs:?}, and the process has died {deaths} times"));
    }
}
