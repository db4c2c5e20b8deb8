//! Rules about members: joins and leaves, their numbers, and wills.

use super::lives::lives;
use super::{fail, newest_epoch, Broken, Known, Places};
use crate::trace::{member_of, Change, Item, Map, Place, Seen, Stream, Trace, COUNT, LASTING};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

/// Rule 11 (EventSource::Presence): on a page without a gap join and leave of a member alternate.
pub(super) fn members_alternate(client: &Seen, broken: &mut Vec<Broken>) {
    if !client.channels.contains(&"room") {
        return;
    }
    let mut here: HashMap<&str, bool> = HashMap::new();
    for (_, item) in &client.items {
        match item {
            Item::Gap { .. } => here.clear(),
            Item::Opened { after, .. } if after.is_empty() => here.clear(),
            Item::Event { name, data, .. } if name == "join" || name == "leave" => {
                let joins = name == "join";
                if here.insert(member_of(data), joins) == Some(joins) {
                    fail(broken, 11, || format!("{name} of {data} twice"));
                }
            }
            Item::Event { name, data, .. } if name == "update" && here.insert(member_of(data), true) == Some(false) => {
                fail(broken, 11, || format!("{data} changes, and is not here"));
            }
            _ => {}
        }
    }
}

/// The streams at rest of members that are listed, or only counted.
pub(super) fn streams_of_members(trace: &Trace, is_counted: bool) -> impl Iterator<Item = (&'static str, &Stream)> {
    let newest = trace.rest.open.iter().filter_map(|client| trace.newest_stream(*client));
    newest.filter(move |stream| stream.is_counted == is_counted).filter_map(|stream| Some((stream.member?, stream)))
}

/// Rule 11: the members at rest are those of the open streams, with their numbers of streams, and one who stays for longer. A
/// page shows the data that the hub has, and these are the newest.
pub(super) fn members_are_the_streams(trace: &Trace, places: &Places, broken: &mut Vec<Broken>) {
    let mut expected: BTreeMap<&str, u32> = BTreeMap::new();
    streams_of_members(trace, false).for_each(|(member, _)| *expected.entry(member).or_default() += 1);
    let is_here = |(place, known): (&Place, &Known)| {
        known.name == "join" && member_of(&known.data) == LASTING && Some(&place.0) == newest_epoch(trace, places)
    };
    let came = trace.streams.values().any(|stream| stream.member == Some(LASTING) && stream.asked.is_some());
    if places.iter().any(is_here) || came && trace.rest.members.contains_key(LASTING) {
        expected.entry(LASTING).or_default();
    }
    let found: BTreeMap<&str, u32> = trace.rest.members.iter().map(|(id, (streams, _))| (&**id, *streams)).collect();
    if found != expected {
        fail(broken, 11, || format!("the members are {found:?}, and the streams {expected:?}"));
    }
    let in_room = |(key, data): (&String, &String)| Some((key.strip_prefix("room ")?.to_owned(), data.clone()));
    let listed: Map = trace.rest.fresh_map.iter().filter_map(in_room).collect();
    let expected: Map = trace.rest.members.iter().map(|(id, (_, data))| (id.clone(), format!("{id} {data}"))).collect();
    if listed != expected {
        fail(broken, 11, || format!("a new page lists {listed:?}, and the members are {expected:?}"));
    }
    if trace.changes.iter().any(|(_, _, change)| matches!(change, Change::Cut | Change::Died)) {
        return; // workers that reconnect subscribe their streams again, in an order of their own
    }
    for (id, (_, data)) in &trace.rest.members {
        // A stream by ticket changes no member.
        let of_member = |of: &&Stream| of.member == Some(id) && !of.is_counted && !of.is_by_ticket();
        let newest = streams_of_members(trace, false).map(|(_, of)| of).filter(of_member).max_by_key(|of| of.asked);
        let Some(newest) = newest else { continue };
        let began = newest.asked.map(|(from, _)| from);
        let is_last = trace.streams.values().filter(of_member).all(|of| of.asked == newest.asked || of.began < began);
        let updates = trace.changes.iter().filter_map(|(from, to, change)| match change {
            Change::Updated(of, data, true) if of == id && Some(*to) >= began => Some((*from, *to, *data)),
            _ => None,
        });
        let updates: Vec<_> = updates.collect();
        let last = updates.iter().max_by_key(|(from, ..)| *from);
        let (expected, is_known) = match last {
            None => (newest.data, true),
            // An update that overlaps with another one, or with the subscription, may have come first.
            Some((from, to, data)) => {
                let is_before = |(_, other, _): &&(Instant, Instant, u8)| *other < *from;
                let is_only = updates.iter().filter(is_before).count() + 1 == updates.len();
                (*data, is_only && newest.began.is_some_and(|began| began < *from) && Some(*to) < trace.rest.at)
            }
        };
        if is_last && is_known && *data != expected.to_string() {
            fail(broken, 11, || format!("{id} has the data {data}, and the newest are {expected}"));
        }
    }
}

/// Rule 14 (EventSource::Presence, "LARGE ROOMS"): the number of members that a page was told last is that of the members.
pub(super) fn the_number_is_that_of_the_members(trace: &Trace, broken: &mut Vec<Broken>) {
    let expected = streams_of_members(trace, true).map(|(member, _)| member).collect::<BTreeSet<_>>().len().to_string();
    let pages = trace.rest.open.iter().map(|at| &trace.clients[*at]).filter(|page| page.channels.contains(&"lobby"));
    let maps = pages.filter(|page| page.follows_state).map(|page| &page.map).chain([&trace.rest.fresh_map]);
    for told in maps.map(|map| map.get(COUNT).map_or("0", |told| told)).filter(|told| *told != expected) {
        fail(broken, 14, || format!("a page was told of {told} members, and {expected} are here"));
    }
}

/// Rules 12 and 25 (EventSource::Presence): a member joins once for each time it has come, and no more.
pub(super) fn joins_and_leaves_are_those_of_streams(trace: &Trace, places: &Places, broken: &mut Vec<Broken>) {
    if trace.changes.iter().any(|(_, _, change)| matches!(change, Change::Died)) {
        return; // whoever is here joins again, or stays, as the store says
    }
    let lives = lives(trace);
    let listed = || lives.iter().filter(|life| !life.stream.is_counted);
    let members: BTreeSet<&str> = listed().filter_map(|life| life.stream.member).collect();
    for member in members {
        let mut spans = Vec::new();
        let mut most = 0;
        for life in listed().filter(|life| life.stream.member == Some(member)) {
            match life.certain(trace) {
                Some(span) => spans.push(span),
                None => most += 1,
            }
        }
        spans.sort();
        let mut through: Option<Option<Instant>> = None;
        for (from, to) in spans {
            match through {
                Some(None) => {}
                Some(Some(last)) if from <= last => through = Some(to.map(|to| to.max(last))),
                _ => {
                    most += 1;
                    through = Some(to);
                }
            }
        }
        let told =
            |name: &str| places.values().filter(|known| known.name == name && member_of(&known.data) == member).count();
        if member == LASTING && told("leave") > 0 {
            fail(broken, 12, || format!("{member} leaves too early"));
        }
        let (joins, most) = (told("join"), if member == LASTING { 1 } else { most });
        if joins > most {
            fail(broken, 12, || format!("{member} joins {joins} times, and was away {most} times at most"));
        }
    }
}

/// Returns since when the client that reads everything has received all events.
pub(super) fn watched_since(trace: &Trace) -> Option<Instant> {
    let mut since = None;
    for (at, item) in &trace.clients[trace.auditor].items {
        match item {
            Item::Opened { after, .. } if after.is_empty() => since = None,
            Item::Gap { .. } => since = Some(*at),
            Item::Position(_) => since = since.or(Some(*at)),
            _ => {}
        }
    }
    since
}

/// Rule 13 (EventSource::Presence, "WILLS"): the will of a stream is published once, unless the application has ended the
/// stream, or its client is back in time after an upgrade.
pub(super) fn wills_are_published_once(trace: &Trace, places: &Places, broken: &mut Vec<Broken>) {
    let mut wills: HashMap<&str, u32> = HashMap::new();
    for known in places.values().filter(|known| known.name == "will") {
        *wills.entry(&known.data).or_default() += 1;
    }
    let watched_since = watched_since(trace);
    let lives = lives(trace);
    // Streams by one ticket have the same will.
    let mut expected: BTreeMap<u64, (u32, u32, Vec<String>)> = BTreeMap::new();
    for life in lives.iter().filter(|life| life.stream.has_will) {
        let (least_of_all, most_of_all, ends) = expected.entry(life.stream.will).or_default();
        let Some((at, how)) = life.ended else { continue };
        let since_then =
            |is: fn(&Change) -> bool| trace.changes.iter().any(|(_, to, change)| *to >= life.opened && is(change));
        let died = since_then(|change| matches!(change, Change::Died));
        let by_application = life.may_be_ended_by_application(trace);
        let is_back = life.back.is_some_and(|back| back < at + trace.retry);
        let by_upgrade = life.is_ended_by_upgrade(trace);
        // It may have been cut by an upgrade without having seen that.
        let is_upgrade = |change: &Change| matches!(change, Change::Upgraded);
        let is_cut = life.is_slow && trace.has_change(life.opened, at, is_upgrade);
        let (least, most) = match how {
            _ if life.is_ended_by_application(trace, |_| true) => (0, 0),
            _ if is_cut => (0, 1),
            _ if died || by_application => (0, 1),
            Item::Ended if by_upgrade && is_back && life.is_alone(&lives) => (0, 0),
            _ if life.begun.is_none() => (0, 1), // it has perhaps not entered
            // A stream of the same member has perhaps come in its place.
            _ if (by_upgrade || trace.has_change(at, at, is_upgrade)) && life.is_replaced(&lives) => (0, 1),
            _ => (1, 1),
        };
        // Somebody must have seen it.
        let all_is_seen = trace.complete && watched_since.is_some_and(|since| since < at);
        let least = if all_is_seen { least } else { 0 };
        ends.push(format!("stream {}, by upgrade: {by_upgrade}", life.number));
        *least_of_all += least;
        *most_of_all += most;
    }
    for (number, (least, most, ends)) in expected {
        let found = wills.get(&*format!("will {number}")).copied().unwrap_or(0);
        if found < least || found > most {
            let what = format!("the will of stream {number} is published {found} times, not {least} to {most}");
            fail(broken, 13, || format!("{what}: ended have {ends:?}"));
        }
    }
}
