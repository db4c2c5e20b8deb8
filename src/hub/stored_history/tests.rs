//! A hub that continues with stored events: its clients resume as if it had never ended.
//!
//! The expected output of a stream is written as in the tests of the hub.

use super::*;
use crate::hub::tests::{compacting, settings, Case};
use crate::hub::{Retention, StartPoint};
use crate::log::Bounds;
use std::time::Duration;

fn history(last_seq: u64, evicted: &[(&str, u64)], evicted_through: u64) -> History {
    let evicted = evicted.iter().map(|(name, through)| (name.as_bytes().into(), *through)).collect();
    History { epoch: "e".into(), last_seq, evicted, evicted_through, ..History::default() }
}

fn stored(settings: Settings, history: &History) -> Case {
    Case::of(Hub::stored(Epoch::new("e", None), settings, history))
}

/// Publishes stored entries, and evicts what exceeds the retention.
fn replay(case: &mut Case, entries: &[(u64, &str)]) {
    for (seq, channel) in entries {
        case.publish_stored(*seq, case.now, channel, "", None);
    }
    assert!(case.hub.evict(case.now, &[]).is_ok());
}

/// Takes what was evicted, sorted: the numbers, then the channels.
fn evictions(case: &mut Case) -> String {
    let Evictions { mut numbers, channels, .. } = case.hub.take_evictions();
    numbers.sort_unstable();
    let name = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let mut channels: Vec<_> = channels.iter().map(|(of, through)| format!(" {}:{through}", name(of))).collect();
    channels.sort();
    format!("{numbers:?}{}", channels.concat())
}

#[test]
fn resume_before_a_stored_eviction_sends_a_gap_and_after_it_none() {
    let mut case = stored(settings(), &history(90, &[("a", 40), ("b", 20)], 10));
    replay(&mut case, &[(50, "a"), (60, "b"), (70, "c"), (90, "a")]);
    for (names, after, sent) in [
        ("a", "e-30", "@e-30-0, gap e-30-40 evicted, 50, 90"),
        ("a", "e-40", "@e-40, 50, 90"),
        ("a", "e-50", "@e-50, 90"),
        ("a", "e-90", "@e-90"),
        ("b", "e-30", "@e-30, 60"),
        ("b", "e-10", "@e-10-0, gap e-10-20 evicted, 60"),
        ("c", "e-10", "@e-10, 70"),
        ("c", "e-5", "@e-5-0, gap e-5-10 evicted, 70"),
        ("never", "e-5", "@e-5-0, gap e-5-10 evicted"),
        ("never", "e-10", "@e-10"),
        ("?", "e-5", "@e-5-0, gap e-5-10 evicted"),
        ("*", "e-30", "@e-30-0, gap e-30-40 evicted, 50, 60, 70, 90"),
        ("*", "e-40", "@e-40, 50, 60, 70, 90"),
        ("a b", "e-30", "@e-30-0, gap e-30-40 evicted, 50, 60, 90"),
        ("a", "e-91", "@e-91-0, gap e-90 unknown"),
        ("a", "f-90", "@e-90-0, gap e-90 unknown"),
    ] {
        let sent = sent.replace("@e-91-0", "@e-90-0");
        assert_eq!(case.resume(names, after), sent, "{names} {after}");
    }
    assert_eq!(case.hub.counts().published, 0, "entries of the history were published by an earlier hub");
    replay(&mut case, &[(1000, "a")]);
    assert_eq!(case.resume("a b", "e-60"), "@e-60, 90, 1000");
    assert_eq!(case.hub.counts().published, 1);
}

#[test]
fn a_new_client_of_a_hub_with_stored_events_is_sent_a_position_that_it_can_resume_after() {
    let mut case = stored(settings(), &history(95, &[("a", 40)], 0));
    assert_eq!(case.start("a", None, StartPoint::Latest), "@e-95");
    assert_eq!(case.resume("a", "e-95"), "@e-95");
    replay(&mut case, &[(50, "a"), (60, "b"), (70, "a"), (90, "b")]);
    for (start, sent, resumed) in [
        (StartPoint::Latest, "@e-95", "@e-95"),
        (StartPoint::Oldest, "@e-0-40, 50, 60, 70, 90", "@e-0-0, gap e-0-40 evicted, 50, 60, 70, 90"),
        (StartPoint::Last(4), "@e-40, 50, 60, 70, 90", "@e-40, 50, 60, 70, 90"),
        (StartPoint::Last(2), "@e-60, 70, 90", "@e-60, 70, 90"),
    ] {
        assert_eq!(case.start("*", None, start), sent);
        let id = sent[1..].split([',', '-'].as_ref()).take(2).collect::<Vec<_>>().join("-");
        assert_eq!(case.resume("*", &id), resumed, "{id}");
    }
}

#[test]
fn an_id_between_the_numbers_of_entries_is_unknown_unless_a_process_before_has_perhaps_given_it() {
    let mut cases = [false, true].map(|is_shared| {
        let mut case = stored(settings(), &History { is_shared, ..history(90, &[("a", 40)], 0) });
        replay(&mut case, &[(50, "a"), (60, "b"), (100, "a"), (200, "b")]);
        for (after, is_known) in [
            (0, true),
            (39, true),
            (41, !is_shared),
            (50, true),
            (55, !is_shared),
            (60, true),
            (90, true),
            (99, false),
            (100, true),
        ] {
            let sent = case.resume("b", &format!("e-{after}"));
            assert_eq!(sent.ends_with("gap e-200 unknown"), !is_known, "{after}: {sent}");
        }
        case
    });
    let case = &mut cases[0];
    // All through what was evicted is known again: a gap event reports that.
    replay(case, &[(300, "b"), (400, "b"), (500, "b")]); // 60 and 200 are evicted
    assert_eq!(case.resume("b", "e-99"), "@e-99-0, gap e-99-200 evicted, 300, 400, 500");
    assert_eq!(case.resume("a", "e-99"), "@e-99, 100");
    assert_eq!(case.resume("a", "e-301"), "@e-500-0, gap e-500 unknown");
}

#[test]
fn stored_entries_expire_by_the_time_at_which_they_were_stored() {
    let age = Duration::from_secs(100);
    let mut settings = settings();
    settings.retention.history.age = age;
    let mut case = stored(settings, &history(5, &[], 0));
    let now = case.now;
    let ago = |seconds| now.checked_sub(Duration::from_secs(seconds)).expect("a time before the system was started");
    for (seq, at) in [(1, ago(1 << 31)), (3, ago(100)), (5, ago(60))] {
        case.publish_stored(seq, at, "a", "", None);
    }
    assert!(case.hub.evict(case.now, &[]).is_ok());
    assert_eq!(case.resume("a", "e-1"), "@e-1-0, gap e-1-3 evicted, 5");
    assert_eq!(evictions(&mut case), "[1, 3] a:3");
    // A new event that is too old already is offered to the streams that keep up.
    case.publish_stored(9, ago(200), "a", "", None);
    assert!(case.hub.evict(case.now, &[]).is_ok());
    assert_eq!(case.sent(), "9");
    case.now += Duration::from_secs(40);
    assert!(case.hub.evict(case.now, &[]).is_ok());
    assert_eq!(case.resume("a", "e-3"), "@e-3-0, gap e-3-9 evicted");
}

#[test]
fn take_evictions_reports_each_entry_once_and_how_far_channels_have_evicted() {
    let mut case = stored(settings(), &history(0, &[], 0));
    assert_eq!(evictions(&mut case), "[]");
    replay(&mut case, &[(2, "a"), (4, "a"), (6, "a"), (8, "b"), (10, "a"), (12, "a")]);
    assert_eq!(evictions(&mut case), "[2, 4] a:4");
    assert_eq!(evictions(&mut case), "[]");
    let retention = settings().retention;
    case.hub.set_retention(Retention { total_history: Bounds { events: 0, ..retention.total_history }, ..retention });
    assert!(case.hub.evict(case.now, &[]).is_ok());
    assert_eq!(evictions(&mut case), "[6, 8, 10, 12] a:12 b:8");
    let mut ordinary = Case::of(Hub::new(Epoch::new("e", None), settings()));
    replay(&mut ordinary, &[(1, "a"), (2, "a"), (3, "a"), (4, "a")]);
    assert_eq!(evictions(&mut ordinary), "[]");
}

#[test]
fn take_evictions_of_compacted_logs_reports_no_entry_that_is_the_latest_of_its_key() {
    let mut case = stored(compacting(settings()), &history(0, &[], 0));
    for (seq, key) in [(2, "k"), (4, "l"), (6, "l"), (8, "m"), (10, "n"), (12, "n"), (14, "n")] {
        case.publish_stored(seq, case.now, "a", key, None);
    }
    assert!(case.hub.evict(case.now, &[]).is_ok());
    assert_eq!(evictions(&mut case), "[4] a:8"); // 2, 6 and 8 are kept
    case.publish_stored(16, case.now, "a", "o", None);
    case.publish_stored(18, case.now, "a", "p", None);
    case.publish_stored(20, case.now, "a", "q", None);
    assert!(case.hub.evict(case.now, &[]).is_ok());
    assert_eq!(evictions(&mut case), "[2, 10, 12] a:14");
    assert_eq!(case.start("a", None, StartPoint::Oldest), "@e-0-14, 16, 18, 20");
    // A hub that continues with these entries compacts them again, and does not report what it still has.
    let mut next = stored(compacting(settings()), &history(20, &[("a", 14)], 0));
    for (seq, key) in [(6, "l"), (8, "m"), (14, "n"), (16, "o"), (18, "p"), (20, "q")] {
        next.publish_stored(seq, next.now, "a", key, None);
    }
    assert!(next.hub.evict(next.now, &[]).is_ok());
    assert_eq!(next.start("a", None, StartPoint::Oldest), "@e-0-14, 16, 18, 20");
    assert_eq!(next.resume("a", "e-8"), "@e-8-0, gap e-8-14 evicted, 16, 18, 20");
    assert_eq!(next.resume("a", "e-16"), "@e-16, 18, 20");
    assert_eq!(evictions(&mut next), "[] a:14");
}

#[test]
fn a_lagging_stream_is_sent_a_gap_for_entries_below_a_merged_tombstone() {
    let mut case = stored(settings(), &history(50, &[], 50));
    replay(&mut case, &[(10, "a"), (20, "a"), (30, "a")]);
    assert_eq!(case.start("a", None, StartPoint::Oldest), "@e-0-50, 10, 20, 30");
    assert_eq!(case.resume("a", "e-10"), "@e-10-0, gap e-10-50 evicted, 20, @e-20-50, 30, @e-30-50");
    case.hub.remove_stream(std::mem::take(&mut case.cursor));
    let request = crate::hub::SubscribeRequest {
        topics: vec![crate::hub::Topic::Channel(b"a"[..].into())],
        start: StartPoint::Oldest,
        ..Default::default()
    };
    let stream = crate::stream::StreamId { slot: 0, serial: 1 };
    case.hub.subscribe(stream, &mut case.cursor, &request);
    case.hub.begin(&mut case.cursor);
    replay(&mut case, &[(60, "a"), (70, "a")]); // 10 and 20 are evicted before they were sent
    assert_eq!(evictions(&mut case), "[10, 20] a:50");
    assert!(case.sent().starts_with("gap e-0-50 slow, 30"));
}
