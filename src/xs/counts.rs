//! The counts of a hub for Perl: names and values, of which EventSource::XS::Hub::Calls makes hashes. A dot is between the name
//! of a hash and the name in it.

use crate::hub::Counts;
use crate::wire::{Counted, StoreStatus};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

type Named = (&'static str, String);

pub(super) fn of_hub(counts: &Counts) -> Vec<Named> {
    let numbers = [
        ("streams", counts.streams),
        ("channels", counts.channels),
        ("patterns", counts.patterns),
        ("published", counts.published),
        ("delivered", counts.delivered),
        ("resumed", counts.resumed),
        ("gaps", counts.gaps),
        ("history.events", counts.events),
        ("history.bytes", counts.bytes),
        ("state.keys", counts.keys),
        ("state.bytes", counts.state_bytes),
        ("slow.disconnect", counts.disconnected),
        ("slow.gap", counts.skipped),
        ("slow.latest", counts.compacted),
        ("members.here", counts.members),
        ("members.refused", counts.members_refused),
        ("compression.before", counts.content_bytes),
        ("compression.after", counts.coded_bytes),
        ("limited", counts.limited),
        ("polls.waiting", counts.polls),
        ("polls.mute", counts.polls_mute),
        ("polls.silent", counts.polls_silent),
        ("polls.refused", counts.polls_refused),
        ("polls.cut", counts.polls_cut),
        ("polls.other", counts.polls_other),
        ("tickets.issued", counts.tickets_issued),
        ("tickets.too_large", counts.tickets_too_large),
        ("tickets.accepted", counts.tickets_accepted),
        ("tickets.expired", counts.tickets_expired),
        ("tickets.limited", counts.tickets_limited),
        ("tickets.unknown", counts.tickets_unknown),
        ("tickets.withdrawn", counts.tickets_withdrawn),
    ];
    numbers.iter().map(|(name, number)| (*name, number.to_string())).collect()
}

/// Returns the counts of a named hub, its process and its store. Without an error of the store, its text is empty.
pub(super) fn of_process(counted: &Counted) -> Vec<Named> {
    let StoreStatus { kind, place, last_error, .. } = &counted.store;
    let StoreStatus { is_up, since, lag, pending, events, bytes, failed, reconnects, epoch_changes, .. } =
        counted.store;
    let numbers = [
        ("process.pid", counted.pid.into()),
        ("process.workers", counted.workers),
        ("process.open", counted.streams.open),
        ("process.refused", counted.streams.refused),
        ("process.buffered", counted.streams.buffered),
        ("process.cut_off", counted.cut_off),
        ("store.up", is_up.into()),
        ("store.pending", pending),
        ("store.events", events),
        ("store.bytes", bytes),
        ("store.failed", failed),
        ("store.reconnects", reconnects),
        ("store.epoch_changes", epoch_changes),
    ];
    let since_error = UNIX_EPOCH.checked_add(Duration::from_millis(counted.store.last_error_at));
    let age = since_error.and_then(|at| SystemTime::now().duration_since(at).ok()).unwrap_or_default();
    let seconds = [
        ("store.since", Duration::from_millis(since)),
        ("store.lag", Duration::from_millis(lag)),
        ("store.last_error_age", age),
    ];
    let texts = [("store.kind", kind), ("store.place", place), ("store.last_error", last_error)];
    let mut all = of_hub(&counted.hub);
    all.extend(numbers.iter().map(|(name, number)| (*name, number.to_string())));
    all.extend(seconds.iter().map(|(name, time)| (*name, format!("{:.3}", time.as_secs_f64()))));
    all.extend(texts.iter().map(|(name, text)| (*name, text.to_string())));
    all
}
