//! The rules: what the manuals promise, judged by a trace. Each has a number, and cites the manual that promises it. A rule
//! says what must be and what may be; between both is an excuse, which needs its cause in the trace.

use crate::trace::{
    member_of, place, reported, Change, Item, Map, Outcome, Place, Publish, Seen, Stream, Trace, COUNT, LASTING, MOST,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// A broken rule: its number, and what was seen.
pub type Broken = (u32, String);

/// Times that a busy machine may take for what takes no time.
const SLACK: Duration = Duration::from_secs(2);

/// An event as somebody saw it: its channel and name, as far as they are known, and its data.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    channel: String,
    name: String,
    data: String,
}

/// All events by their places.
type Places = BTreeMap<Place, Known>;

/// Judges a trace. Returns the broken rules.
pub fn judge(trace: &Trace) -> Vec<Broken> {
    let mut broken = Vec::new();
    let places = known_places(trace, &mut broken);
    publishers_are_told_the_truth(trace, &places, &mut broken);
    for client in &trace.clients {
        client_is_sent_each_event_once(client, &places, &mut broken);
        gaps_have_causes(trace, client, &mut broken);
        pushes_are_in_order(trace, client, &mut broken);
        members_alternate(client, &mut broken);
    }
    maps_are_the_state(trace, &places, &mut broken);
    members_are_the_streams(trace, &places, &mut broken);
    the_number_is_that_of_the_members(trace, &mut broken);
    joins_and_leaves_are_those_of_streams(trace, &places, &mut broken);
    wills_are_published_once(trace, &places, &mut broken);
    ended_streams_read_no_more(trace, &mut broken);
    finished_clients_are_told(trace, &mut broken);
    an_upgrade_tells_clients_to_come_back(trace, &mut broken);
    epochs_change_with_losses_only(trace, &places, &mut broken);
    subscribers_are_the_streams(trace, &mut broken);
    free_places_are_given(trace, &mut broken);
    a_drain_ends_all_streams(trace, &mut broken);
    broken.extend(trace.stuck.iter().map(|call| (26, format!("{call} did not return in time"))));
    broken
}

fn fail(broken: &mut Vec<Broken>, rule: u32, what: impl FnOnce() -> String) {
    broken.push((rule, what()));
}

/// The items of a client that carry an id outside of a state that is being sent: there an id is not that of the event.
fn located(client: &Seen) -> impl Iterator<Item = &(Instant, Item)> {
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
fn known_places(trace: &Trace, broken: &mut Vec<Broken>) -> Places {
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
fn publishers_are_told_the_truth(trace: &Trace, places: &Places, broken: &mut Vec<Broken>) {
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
fn client_is_sent_each_event_once(client: &Seen, places: &Places, broken: &mut Vec<Broken>) {
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
fn gaps_have_causes(trace: &Trace, client: &Seen, broken: &mut Vec<Broken>) {
    let lost = |at: Instant| trace.has_change(trace.publishes[0].called, at, |change| matches!(change, Change::Died));
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
fn pushes_are_in_order(trace: &Trace, client: &Seen, broken: &mut Vec<Broken>) {
    let mut last: HashMap<u64, u64> = HashMap::new();
    for (_, item) in &client.items {
        let Item::Push { stream, number } = item else { continue };
        let before = last.insert(*stream, *number).unwrap_or(0);
        if *number != before + 1 || *number > trace.streams[stream].pushed {
            fail(broken, 5, || format!("push {number} to stream {stream} follows {before}"));
        }
    }
}

/// Rule 11 (EventSource::Presence): on a page without a gap join and leave of a member alternate.
fn members_alternate(client: &Seen, broken: &mut Vec<Broken>) {
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

/// Rule 10 (EventSource::Hub, "STATE"): the map of each page is that of a page that begins now, and that of all that was
/// published.
fn maps_are_the_state(trace: &Trace, places: &Places, broken: &mut Vec<Broken>) {
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

/// The streams at rest of members that are listed, or only counted.
fn streams_of_members(trace: &Trace, is_counted: bool) -> impl Iterator<Item = (&'static str, &Stream)> {
    let newest = trace.rest.open.iter().filter_map(|client| trace.newest_stream(*client));
    newest.filter(move |stream| stream.is_counted == is_counted).filter_map(|stream| Some((stream.member?, stream)))
}

/// Rule 11: the members at rest are those of the open streams, with their numbers of streams, and one who stays for longer. A
/// page shows the data that the hub has, and these are the newest.
fn members_are_the_streams(trace: &Trace, places: &Places, broken: &mut Vec<Broken>) {
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
        let of_member = |of: &&Stream| of.member == Some(id) && !of.is_counted;
        let newest = streams_of_members(trace, false).map(|(_, of)| of).filter(of_member).max_by_key(|of| of.asked);
        let Some(newest) = newest else { continue };
        let began = newest.asked.map(|(from, _)| from);
        let is_last = trace.streams.values().filter(of_member).all(|of| of.asked == newest.asked || of.began < began);
        if is_last && *data != newest.data.to_string() {
            fail(broken, 11, || format!("{id} has the data {data}, and the newest are {}", newest.data));
        }
    }
}

/// Rule 14 (EventSource::Presence, "LARGE ROOMS"): the number of members that a page was told last is that of the members.
fn the_number_is_that_of_the_members(trace: &Trace, broken: &mut Vec<Broken>) {
    let expected = streams_of_members(trace, true).map(|(member, _)| member).collect::<BTreeSet<_>>().len().to_string();
    let pages = trace.rest.open.iter().map(|at| &trace.clients[*at]).filter(|page| page.channels.contains(&"lobby"));
    let maps = pages.filter(|page| page.follows_state).map(|page| &page.map).chain([&trace.rest.fresh_map]);
    for told in maps.map(|map| map.get(COUNT).map_or("0", |told| told)).filter(|told| *told != expected) {
        fail(broken, 14, || format!("a page was told of {told} members, and {expected} are here"));
    }
}

/// Returns the epoch of the last event.
fn newest_epoch<'a>(trace: &'a Trace, places: &'a Places) -> Option<&'a String> {
    let last = trace.publishes.iter().rev().find_map(|of| match &of.outcome {
        Outcome::Published(place) => Some(&place.0),
        _ => None,
    });
    last.or_else(|| Some(&places.keys().next_back()?.0))
}

/// The life of a stream as its client saw it.
struct Life<'a> {
    stream: &'a Stream,
    /// True if its client sees late what happens.
    is_slow: bool,
    number: u64,
    opened: Instant,
    /// When its client first saw that it had begun.
    begun: Option<Instant>,
    ended: Option<(Instant, &'a Item)>,
    /// When the next stream of its client that has begun did so.
    back: Option<Instant>,
    was_told_to_come_back: bool,
    was_told_to_finish: bool,
}

fn lives(trace: &Trace) -> Vec<Life<'_>> {
    let mut lives: Vec<Life<'_>> = Vec::new();
    for client in &trace.clients {
        let first = lives.len();
        for (at, item) in &client.items {
            match item {
                Item::Opened { stream: number, .. } => lives.push(Life {
                    stream: &trace.streams[number],
                    is_slow: client.is_slow,
                    number: *number,
                    opened: *at,
                    begun: None,
                    ended: None,
                    back: None,
                    was_told_to_come_back: false,
                    was_told_to_finish: false,
                }),
                Item::Left | Item::Ended => lives.last_mut().expect("a stream").ended = Some((*at, item)),
                Item::Retry => lives.last_mut().expect("a stream").was_told_to_come_back = true,
                Item::Finish => lives.last_mut().expect("a stream").was_told_to_finish = true,
                Item::Push { .. } => {}
                _ => drop(lives.last_mut().expect("a stream").begun.get_or_insert(*at)),
            }
        }
        for at in first + 1..lives.len() {
            lives[at - 1].back = lives[at..].iter().find_map(|life| life.begun);
        }
    }
    lives
}

impl Life<'_> {
    /// Returns true if the application may have ended the stream.
    fn may_be_ended_by_application(&self, trace: &Trace) -> bool {
        let until = self.ended.map_or(self.opened, |(at, _)| at) + SLACK;
        trace.has_change(self.opened, until, |change| self.is_meant(change))
    }

    /// Returns true if the application ends this stream by a change.
    fn is_meant(&self, change: &Change) -> bool {
        match change {
            Change::EndedLabel(label, _) => self.stream.label == Some(label),
            Change::Closed(number) => *number == self.number,
            _ => false,
        }
    }

    /// Returns true if the application has certainly ended the stream: that began after the subscription, and before anything
    /// else could end it.
    fn is_ended_by_application(&self, trace: &Trace, is: impl Fn(&Change) -> bool) -> bool {
        let Some((at, Item::Ended)) = self.ended else { return false };
        let Some(subscribed) = self.stream.began.filter(|_| self.begun.is_some()) else { return false };
        let others =
            |change: &Change| !matches!(change, Change::EndedLabel(..) | Change::Closed(_) | Change::Drained(_));
        trace.changes.iter().any(|(from, to, change)| {
            let is_first = subscribed < *from && !trace.has_change(self.opened, *to, others);
            is(change) && self.is_meant(change) && is_first && *to < at
        })
    }

    fn member(&self) -> Option<(&'static str, bool)> {
        Some((self.stream.member?, self.stream.is_counted))
    }

    /// Returns true if another stream of its member was opened when it ended, or later. Its client has perhaps left before it
    /// saw anything.
    fn is_replaced(&self, lives: &[Life<'_>]) -> bool {
        let Some((at, _)) = self.ended.filter(|_| self.member().is_some()) else { return false };
        lives.iter().any(|other| other.member() == self.member() && other.opened >= at && other.stream.asked.is_some())
    }

    /// Returns true if its member has no other stream that has ended: a client that comes back takes the place of one of them.
    fn is_alone(&self, lives: &[Life<'_>]) -> bool {
        let is_other = |other: &&Life<'_>| other.number != self.number && other.member() == self.member();
        self.member().is_some() && !lives.iter().filter(is_other).any(|other| other.ended.is_some())
    }

    /// Returns true if an upgrade has ended the stream, as far as its client can know.
    fn is_ended_by_upgrade(&self, trace: &Trace) -> bool {
        let Some((at, Item::Ended)) = self.ended else { return false };
        let is_upgrade = |change: &Change| matches!(change, Change::Upgraded);
        let was_told = self.was_told_to_come_back && trace.has_change(at - SLACK, at, is_upgrade);
        was_told && !self.may_be_ended_by_application(trace)
    }

    /// Returns the span in which the stream was certainly there. It includes the time for which its member waits for its
    /// client. The client may see an end by the server long afterwards, so nothing is certain of such a stream.
    fn certain(&self, trace: &Trace) -> Option<(Instant, Option<Instant>)> {
        let begun = self.begun?;
        let ended = match (self.ended, self.back) {
            (None, _) => None,
            (Some((at, Item::Left)), _) => Some(at),
            (Some((at, _)), Some(back))
                if !self.is_slow && self.is_ended_by_upgrade(trace) && back < at + trace.retry =>
            {
                Some(back)
            }
            _ => return None,
        };
        Some((begun, ended))
    }
}

/// Rules 12 and 25 (EventSource::Presence): a member joins once for each time it has come, and no more.
fn joins_and_leaves_are_those_of_streams(trace: &Trace, places: &Places, broken: &mut Vec<Broken>) {
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
fn watched_since(trace: &Trace) -> Option<Instant> {
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
fn wills_are_published_once(trace: &Trace, places: &Places, broken: &mut Vec<Broken>) {
    let mut wills: HashMap<&str, u32> = HashMap::new();
    for known in places.values().filter(|known| known.name == "will") {
        *wills.entry(&known.data).or_default() += 1;
    }
    let watched_since = watched_since(trace);
    let lives = lives(trace);
    for life in lives.iter().filter(|life| life.stream.has_will) {
        let found = wills.get(&*format!("will {}", life.number)).copied().unwrap_or(0);
        let Some((at, how)) = life.ended else {
            if found > 0 {
                fail(broken, 13, || format!("the will of stream {} is published, which is open", life.number));
            }
            continue;
        };
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
        if found < least || found > most {
            fail(broken, 13, || {
                format!(
                    "the will of stream {} is published {found} times, not {least} to {most}: {how:?}, {by_upgrade}",
                    life.number
                )
            });
        }
    }
}

/// Rule 15 (EventSource::Hub, "end"): a stream that the application has ended reads no event that is published afterwards.
fn ended_streams_read_no_more(trace: &Trace, broken: &mut Vec<Broken>) {
    for (began, ended, change) in &trace.changes {
        let Change::EndedLabel(label, _) = change else { continue };
        let later: BTreeSet<&str> =
            trace.publishes.iter().filter(|publish| publish.called > *ended).map(|publish| &*publish.data).collect();
        for client in &trace.clients {
            let mut is_meant = false;
            for (_, item) in &client.items {
                match item {
                    Item::Opened { stream, .. } => {
                        let stream = &trace.streams[stream];
                        let asked_before = stream.asked.is_some_and(|(_, answered)| answered < *began);
                        is_meant = stream.label == Some(*label) && asked_before;
                    }
                    Item::Event { data, .. } if is_meant && later.contains(&**data) => {
                        fail(broken, 15, || format!("{data} reached a stream with the label {label}, which was ended"));
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Rule 15: a client that is not to come back is told so, whatever happens while its stream ends, and that is the last thing
/// that it is sent.
fn finished_clients_are_told(trace: &Trace, broken: &mut Vec<Broken>) {
    for life in lives(trace) {
        let finishes = |change: &Change| matches!(change, Change::EndedLabel(_, true));
        // The stream may have been ended before with a retry.
        let by_finish_only = !trace.has_change(life.opened, life.ended.map_or(life.opened, |(at, _)| at), |change| {
            life.is_meant(change) && !finishes(change) || matches!(change, Change::Died | Change::Cut)
        });
        if by_finish_only && life.is_ended_by_application(trace, finishes) && !life.was_told_to_finish {
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
fn an_upgrade_tells_clients_to_come_back(trace: &Trace, broken: &mut Vec<Broken>) {
    for life in lives(trace) {
        let Some((at, Item::Ended)) = life.ended else { continue };
        let ends_it = |change: &Change| match change {
            Change::Upgraded | Change::NotUpgraded => false,
            Change::EndedLabel(..) | Change::Closed(_) => life.is_meant(change),
            Change::Died | Change::Drained(_) | Change::Cut => true,
        };
        let only_upgrades = !trace.has_change(life.opened, at + SLACK, ends_it);
        if only_upgrades && trace.complete && life.begun.is_some() && !life.is_slow && !life.was_told_to_come_back {
            fail(broken, 22, || format!("stream {} ends without a word", life.number));
        }
    }
}

/// Rule 25 (EventSource::Stores): a hub in memory begins another epoch when its process dies; nothing else does.
fn epochs_change_with_losses_only(trace: &Trace, places: &Places, broken: &mut Vec<Broken>) {
    let epochs: BTreeSet<&str> = places.keys().map(|(epoch, _)| &**epoch).collect();
    let deaths = trace.changes.iter().filter(|(_, _, change)| matches!(change, Change::Died)).count();
    let most = if trace.stored { 1 } else { 1 + deaths };
    if epochs.len() > most {
        fail(broken, 25, || format!("there are the epochs {epochs:?}, and the process has died {deaths} times"));
    }
}

/// Rule 28: the hub counts the subscribers of each channel that have open streams.
fn subscribers_are_the_streams(trace: &Trace, broken: &mut Vec<Broken>) {
    for (channel, counted) in &trace.rest.subscribers {
        let readers =
            trace.rest.open.iter().filter(|client| trace.clients[**client].channels.contains(channel)).count();
        if *counted != readers as u64 {
            fail(broken, 28, || format!("{counted} subscribers of {channel}, and {readers} readers"));
        }
    }
}

/// Rule 19 (EventSource::Hub, "max_streams_per"): a limit has a free place if fewer streams are open than it allows.
fn free_places_are_given(trace: &Trace, broken: &mut Vec<Broken>) {
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
fn a_drain_ends_all_streams(trace: &Trace, broken: &mut Vec<Broken>) {
    let drained = trace.changes.iter().find_map(|(_, to, change)| match change {
        Change::Drained(within) => Some((*to, *within)),
        _ => None,
    });
    let Some((from, within)) = drained else { return };
    if trace.changes.iter().any(|(began, _, change)| *began > from && matches!(change, Change::Died)) {
        return; // the next process is not drained
    }
    for life in lives(trace).iter().filter(|life| life.ended.is_none_or(|(at, _)| at > from)) {
        let number = life.number;
        let end = (from + within).max(life.opened) + SLACK;
        match life.ended {
            None => fail(broken, 18, || format!("stream {number} is open")),
            Some((at, _)) if at > end => fail(broken, 18, || format!("stream {number} ends {:?} late", at - end)),
            Some(_) if life.was_told_to_come_back || life.was_told_to_finish || life.is_slow => {}
            Some((_, Item::Ended)) if life.stream.asked.is_some() => {
                fail(broken, 18, || format!("the client of stream {number} is not told to come back"));
            }
            _ => {}
        }
    }
}
