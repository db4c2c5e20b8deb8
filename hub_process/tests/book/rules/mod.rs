//! The rules: what the manuals promise, judged by a trace. Each has a number, and cites the manual that promises it. A rule
//! says what must be and what may be; between both is an excuse, which needs its cause in the trace.

mod ends;
mod events;
mod lives;
mod members;
mod rights;

use crate::trace::{Outcome, Place, Trace};
use ends::*;
use events::*;
use members::*;
use rights::*;
use std::collections::BTreeMap;
use std::time::Duration;

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
    polls_that_follow_an_end_are_told(trace, &mut broken);
    tickets_give_their_right_and_no_more(trace, &mut broken);
    streams_end_with_their_age(trace, &mut broken);
    polls_are_answered(trace, &mut broken);
    leases_have_one_holder(trace, &mut broken);
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

/// Returns the epoch of the last event.
fn newest_epoch<'a>(trace: &'a Trace, places: &'a Places) -> Option<&'a String> {
    let last = trace.publishes.iter().rev().find_map(|of| match &of.outcome {
        Outcome::Published(place) => Some(&place.0),
        _ => None,
    });
    last.or_else(|| Some(&places.keys().next_back()?.0))
}
