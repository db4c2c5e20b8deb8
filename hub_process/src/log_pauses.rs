//! All that an operator must know, in the log: the store is down or up again, the epoch has changed, streams were refused, slow
//! clients were ended.
//!
//! Each of these is logged within a second, and then at most once in [`PAUSE`], with the number since the last line. So
//! nothing that clients or a store do fills the log.

use crate::process_log::FieldValue;
use eventsource_xs::stream::{Reason, Stats};
use eventsource_xs::wire::StoreStatus;
use std::time::{Duration, Instant};

/// The least time between two lines of the same event.
const PAUSE: Duration = Duration::from_secs(10);
/// The shortest interval of checks, however busy the process is, and the longest of a store: its threads do not wake the wire
/// thread when it is down.
const CHECK: Duration = Duration::from_secs(1);

const REFUSED: &str =
    "streams are refused: as many are open as max_streams allows, or few descriptors are left (LimitNOFILE)";

/// A line of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub event: &'static str,
    pub message: &'static str,
    pub fields: Vec<(&'static str, FieldValue)>,
}

/// A number that grows, and how much of it was logged.
#[derive(Clone, Copy, Debug, Default)]
struct Growing {
    logged: u64,
    logged_at: Option<Instant>,
}

impl Growing {
    /// Returns by how much the number has grown since the last time, if that may be logged now; otherwise it is due later.
    fn take(&mut self, number: u64, now: Instant, due: &mut Option<Instant>) -> Option<u64> {
        let grown = Some(number.saturating_sub(self.logged)).filter(|grown| *grown > 0)?;
        let from = self.logged_at.map_or(now, |logged_at| logged_at + PAUSE);
        if from > now {
            *due = Some(due.map_or(from, |due| due.min(from)));
            return None;
        }
        (self.logged, self.logged_at) = (number, Some(now));
        Some(grown)
    }
}

/// The lines that were logged.
#[derive(Debug, Default)]
pub struct Watch {
    checked_at: Option<Instant>,
    /// True if the store was up when it was checked.
    was_up: bool,
    /// True if the log has that it is up.
    is_up: bool,
    /// The numbers of lines that the store is down, and that it is up.
    of_store: [Growing; 2],
    epochs: Growing,
    refused: Growing,
    slow: Growing,
    /// When to check again.
    pub due: Option<Instant>,
}

impl Watch {
    /// Begins with what was counted before an upgrade.
    pub fn new(stats: &Stats) -> Self {
        let counted = |logged| Growing { logged, logged_at: None };
        Self {
            was_up: true,
            is_up: true,
            refused: counted(stats.refused),
            slow: counted(stats.ended[Reason::Slow as usize]),
            ..Self::default()
        }
    }

    /// Returns true if it is time to check.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let from = self.checked_at.map_or(now, |checked_at| checked_at + CHECK);
        if now < from {
            self.due = Some(self.due.map_or(from, |due| due.min(from)));
        }
        now >= from
    }

    /// Returns what is to be logged. A store that was up a moment ago is not logged as down: it may just begin.
    pub fn take_lines(&mut self, stats: &Stats, store: Option<&StoreStatus>, now: Instant) -> Vec<Line> {
        let mut lines = Vec::new();
        let Self { of_store, epochs, refused, slow, due, .. } = self;
        (self.checked_at, *due) = (Some(now), store.map(|_| now + CHECK));
        if let Some(store) = store {
            let was_up = std::mem::replace(&mut self.was_up, store.is_up);
            let has_changed = store.is_up != self.is_up && (store.is_up || !was_up);
            let logged = &mut of_store[usize::from(store.is_up)];
            if logged.take(logged.logged + u64::from(has_changed), now, due).is_some() {
                self.is_up = store.is_up;
                lines.push(line_of(store));
            }
        }
        let epoch_changes = store.map_or(0, |store| store.epoch_changes);
        let slow_ended = stats.ended[Reason::Slow as usize];
        for (growing, number, event, message) in [
            (epochs, epoch_changes, "epoch_changed", "the store has lost history: all clients receive a gap"),
            (refused, stats.refused, "streams_refused", REFUSED),
            (slow, slow_ended, "slow_clients", "streams of slow clients have ended: these read less than is published"),
        ] {
            if let Some(count) = growing.take(number, now, due) {
                let mut fields = vec![("count", count.into())];
                fields.extend((event == "streams_refused").then(|| ("open", stats.open.into())));
                lines.push(Line { event, message, fields });
            }
        }
        lines
    }
}

fn line_of(store: &StoreStatus) -> Line {
    let mut fields =
        vec![("kind", (&*store.kind).into()), ("place", (&*store.place).into()), ("source", (&*store.source).into())];
    if store.is_up {
        return Line { event: "store_up", message: "the store is up", fields };
    }
    fields.push(("pending", store.pending.into()));
    if !store.last_error.is_empty() {
        fields.push(("error", (&*store.last_error).into()));
    }
    Line { event: "store_down", message: "the store is down", fields }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(lines: &[Line]) -> Vec<(&'static str, Option<&FieldValue>)> {
        lines
            .iter()
            .map(|line| (line.event, line.fields.iter().find(|field| field.0 == "count").map(|field| &field.1)))
            .collect()
    }

    #[test]
    fn a_number_is_logged_at_once_and_then_once_in_a_pause() {
        let began = Instant::now();
        let mut stats = Stats { refused: 3, ..Stats::default() };
        let mut watch = Watch::new(&stats);
        assert_eq!(watch.take_lines(&stats, None, began), []);
        assert_eq!(watch.due, None, "an idle process is not woken");
        for (refused, slow, seconds, logged) in [
            (4, 0, 0, vec![("streams_refused", Some(1))]),
            (9, 2, 1, vec![("slow_clients", Some(2))]),
            (9, 2, 9, vec![]),
            (9, 2, 10, vec![("streams_refused", Some(5))]),
            (9, 2, 30, vec![]),
        ] {
            (stats.refused, stats.ended[Reason::Slow as usize]) = (refused, slow);
            let lines = watch.take_lines(&stats, None, began + Duration::from_secs(seconds));
            let logged: Vec<_> =
                logged.into_iter().map(|(event, count)| (event, count.map(FieldValue::Number))).collect();
            let expected: Vec<_> = logged.iter().map(|(event, count)| (*event, count.as_ref())).collect();
            assert_eq!(events(&lines), expected, "after {seconds} s");
        }
    }

    #[test]
    fn what_must_wait_is_due_after_the_pause() {
        let began = Instant::now();
        let mut watch = Watch::new(&Stats::default());
        watch.take_lines(&Stats { refused: 1, ..Stats::default() }, None, began);
        watch.take_lines(&Stats { refused: 2, ..Stats::default() }, None, began + Duration::from_secs(4));
        assert_eq!(watch.due, Some(began + PAUSE));
    }

    #[test]
    fn a_busy_process_checks_once_a_second() {
        let began = Instant::now();
        let mut watch = Watch::new(&Stats::default());
        assert!(watch.is_due(began));
        watch.take_lines(&Stats::default(), None, began);
        assert!(!watch.is_due(began + CHECK / 2));
        assert_eq!(watch.due, Some(began + CHECK));
        assert!(watch.is_due(began + CHECK));
        watch.take_lines(&Stats::default(), None, began + CHECK);
        assert_eq!(watch.due, None);
    }

    #[test]
    fn a_store_that_comes_and_goes_is_logged_down_and_up_once_each_in_a_pause() {
        let began = Instant::now();
        let mut watch = Watch::new(&Stats::default());
        let mut store = StoreStatus { kind: "redis".into(), last_error: "refused".into(), ..StoreStatus::default() };
        for (is_up, epoch_changes, seconds, logged) in [
            (false, 0, 0, vec![]),
            (true, 0, 1, vec![]),
            (false, 0, 2, vec![]),
            (false, 0, 3, vec!["store_down"]),
            (true, 0, 4, vec!["store_up"]),
            (false, 0, 5, vec![]),
            (true, 1, 6, vec!["epoch_changed"]),
            (false, 1, 7, vec![]),
            (false, 1, 8, vec![]),
            (false, 1, 13, vec!["store_down"]),
            (true, 1, 13, vec![]),
            (true, 1, 14, vec!["store_up"]),
        ] {
            (store.is_up, store.epoch_changes) = (is_up, epoch_changes);
            let now = began + Duration::from_secs(seconds);
            let lines = watch.take_lines(&Stats::default(), Some(&store), now);
            assert_eq!(lines.iter().map(|line| line.event).collect::<Vec<_>>(), logged, "after {seconds} s");
            assert!(watch.due.is_some_and(|due| due > now && due <= now + CHECK));
        }
    }
}
