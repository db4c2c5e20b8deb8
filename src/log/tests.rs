use super::*;

fn entry(seq: u64, at: Instant, key: &str) -> LogEntry {
    let text = format!("data: {seq}\n\n");
    let event = Shared::of(text);
    LogEntry { seq, at, event, key: key.as_bytes().into(), retain: Retain::No, has_custom_id: false, channel: 0 }
}

fn seqs<'a>(entries: impl Iterator<Item = &'a LogEntry>) -> Vec<u64> {
    entries.map(|entry| entry.seq).collect()
}

const BOUNDS: Bounds = Bounds { events: 2, bytes: 1000, age: Duration::from_secs(1) };

#[test]
fn after_returns_all_later_entries_also_if_the_log_does_not_hold_the_given_seq() {
    let now = Instant::now();
    let mut log = Log::new(0, false);
    for seq in [3, 5, 9] {
        log.append(entry(seq, now, ""), &Snapshots::default(), &mut drop);
    }
    for (seq, after) in [(0, vec![3, 5, 9]), (3, vec![5, 9]), (4, vec![5, 9]), (8, vec![9]), (9, vec![]), (10, vec![])]
    {
        assert_eq!(seqs(log.after(seq)), after, "after {seq}");
    }
    for seq in 0..11 {
        let at = log.at(seq).map(|entry| entry.seq);
        assert_eq!(at, Some(seq).filter(|seq| [3, 5, 9].contains(seq)), "at {seq}");
    }
}

#[test]
fn an_eviction_raises_evicted_through_to_the_seq_of_the_evicted_entry() {
    let mut log = Log::new(2, false);
    assert_eq!(log.evicted_through(), 2);
    log.append(entry(5, Instant::now(), ""), &Snapshots::default(), &mut drop);
    log.append(entry(7, Instant::now(), ""), &Snapshots::default(), &mut drop);
    let beyond = [log.excess(&Bounds { events: 1, ..BOUNDS }), log.excess(&Bounds { bytes: 1, ..BOUNDS })];
    assert_eq!(beyond, [log.first_of_history(); 2]);
    log.evict_first(&BOUNDS, &Snapshots::default(), &mut drop);
    assert_eq!((log.evicted_through(), log.size().0, log.is_empty()), (5, 1, false));
    assert_eq!(log.excess(&Bounds { bytes: 1, ..BOUNDS }), None, "a single entry may exceed the bound of bytes");
    log.discard_first(&Snapshots::default(), &mut drop);
    assert_eq!((log.evicted_through(), log.size(), log.is_empty()), (7, (0, 0), true));
    log.discard_first(&Snapshots::default(), &mut drop);
    assert_eq!(log.first(), None);
}

#[test]
fn the_pace_is_that_of_a_span_or_of_a_history_that_is_shorter() {
    let (span, begin) = (Duration::from_secs(10), Instant::now());
    let at = |ms| begin + Duration::from_millis(ms);
    let mut log = Log::new(0, false);
    assert_eq!(log.entries_per_hour(at(0), span), 0);
    for seq in 1..=40 {
        log.append(entry(seq, at(1000 * seq), ""), &Snapshots::default(), &mut drop);
    }
    for (now, per_second) in [(40_000, 1.0), (44_500, 0.6), (49_900, 0.1), (50_000, 0.0)] {
        assert_eq!(log.entries_per_hour(at(now), span), (3600.0 * per_second) as u64, "after {now} ms");
    }
    while log.history_len() > 5 {
        log.evict_first(&BOUNDS, &Snapshots::default(), &mut drop);
    }
    assert_eq!(log.entries_per_hour(at(41_000), span), 3600, "five entries in five seconds");
    assert_eq!(log.entries_per_hour(at(36_000), span), 5 * 3600 * 1000, "a span of nothing counts as a millisecond");
}

#[test]
fn a_compacted_log_keeps_the_latest_evicted_entry_of_each_key_within_its_bounds() {
    let now = Instant::now();
    let mut log = Log::new(0, true);
    for (seq, key) in [(1, "a"), (2, "b"), (3, "a"), (4, "c"), (5, "d")] {
        log.append(entry(seq, now, key), &Snapshots::default(), &mut drop);
    }
    assert_eq!(seqs(log.newest_after(0)), [2, 3, 4, 5]);
    for _ in 0..3 {
        log.evict_first(&BOUNDS, &Snapshots::default(), &mut drop);
    }
    assert_eq!((seqs(log.newest_after(0)), log.discarded_through()), (vec![2, 3, 4, 5], 0));
    log.evict_first(&BOUNDS, &Snapshots::default(), &mut drop); // three keys exceed two entries, and b is the first
    assert_eq!((seqs(log.newest_after(0)), log.discarded_through()), (vec![3, 4, 5], 2));
    log.append(entry(6, now, "a"), &Snapshots::default(), &mut drop);
    log.evict_first(&BOUNDS, &Snapshots::default(), &mut drop); // the superseded a makes room for d
    assert_eq!((seqs(log.newest_after(0)), log.discarded_through()), (vec![4, 5, 6], 2));
    assert_eq!((log.size().0, log.first().map(|(seq, _)| seq)), (3, Some(4)));
    log.discard_first(&Snapshots::default(), &mut drop);
    log.discard_first(&Snapshots::default(), &mut drop);
    assert_eq!((seqs(log.newest_after(0)), log.discarded_through()), (vec![6], 5));
    log.discard_first(&Snapshots::default(), &mut drop);
    assert_eq!((log.discarded_through(), log.is_empty()), (6, true));
}

#[test]
fn a_retained_entry_that_was_evicted_before_is_of_the_state_only() {
    let now = Instant::now();
    let retained = |seq, key| LogEntry { retain: Retain::Newest, ..entry(seq, now, key) };
    let mut log = Log::new(10, true);
    for entry in [retained(3, "a"), retained(5, "b"), retained(8, "a"), retained(11, "c"), entry(12, now, "b")] {
        log.append(entry, &Snapshots::default(), &mut drop);
    }
    assert_eq!((seqs(log.state(0, 99).into_iter().flatten()), seqs(log.after(0))), (vec![5, 8, 11], vec![11, 12]));
    assert_eq!((seqs(log.newest_after(0)), log.first().map(|(seq, _)| seq)), (vec![11, 12], Some(11)));
    log.append(LogEntry { retain: Retain::Forget, ..entry(13, now, "b") }, &Snapshots::default(), &mut drop);
    assert_eq!((seqs(log.state(0, 99).into_iter().flatten()), log.retained().0), (vec![8, 11], 2));
}

#[test]
fn a_log_keeps_what_the_state_had_as_of_a_snapshot_and_what_has_forgotten_it_until_nobody_needs_it() {
    let now = Instant::now();
    let mut snapshots = Snapshots::default();
    let mut log = Log::new(0, false);
    let append = |log: &mut Log, seq, key: &str, retain, snapshots: &Snapshots| {
        log.append(LogEntry { retain, ..entry(seq, now, key) }, snapshots, &mut drop);
        log.evict_first(&BOUNDS, snapshots, &mut drop);
    };
    append(&mut log, 1, "a", Retain::Newest, &snapshots);
    append(&mut log, 2, "b", Retain::Newest, &snapshots);
    append(&mut log, 3, "c", Retain::Newest, &snapshots);
    snapshots.keep(3);
    append(&mut log, 4, "a", Retain::Newest, &snapshots); // replaced
    append(&mut log, 5, "a", Retain::Newest, &snapshots); // 4 is in no snapshot
    append(&mut log, 6, "b", Retain::Forget, &snapshots); // forgotten
    append(&mut log, 7, "d", Retain::Newest, &snapshots); // has come
    append(&mut log, 8, "d", Retain::Forget, &snapshots); // and gone
    append(&mut log, 9, "b", Retain::No, &snapshots); // no change of the state
    let state = |log: &Log, after, snapshot, is_change| {
        let versions = log.versions(after, snapshot, snapshot, is_change).into_iter().flatten();
        let mut all = seqs(log.state(after, snapshot).into_iter().flatten().chain(versions));
        all.sort_unstable();
        all
    };
    assert_eq!(state(&log, 0, 3, false), [1, 2, 3]);
    snapshots.keep(9);
    append(&mut log, 10, "b", Retain::Newest, &snapshots);
    append(&mut log, 11, "c", Retain::Forget, &snapshots);
    assert_eq!(state(&log, 0, 3, false), [1, 2, 3], "the first snapshot is as it was");
    assert_eq!(state(&log, 3, 9, true), [5, 6], "what has changed as of the second one");
    snapshots.release(3);
    log.clean(&snapshots);
    assert_eq!((state(&log, 0, 9, false), state(&log, 9, 11, true)), (vec![3, 5], vec![10, 11]));
    snapshots.release(9);
    log.clean(&snapshots);
    assert_eq!((log.version_bytes(), state(&log, 0, 11, true)), (0, vec![5, 10]));
}

#[test]
fn what_a_log_holds_no_longer_is_reported_once() {
    for seed in 0..300 {
        let (mut random, now) = (fastrand::Rng::with_seed(seed), Instant::now());
        let evicted_through = random.u64(0..20);
        let (mut log, mut snapshots) = (Log::new(evicted_through, random.bool()), Snapshots::default());
        let (mut appended, mut gone) = (Vec::new(), Vec::new());
        for seq in 1..100 {
            let bounds = Bounds { events: random.usize(0..4), ..BOUNDS };
            let report = &mut |seq| gone.push(seq);
            match random.u8(0..10) {
                0 => log.discard_first(&snapshots, report),
                1..=3 => log.evict_first(&bounds, &snapshots, report),
                4 if random.u8(0..5) == 0 => log.set_compacted(Some(&bounds).filter(|_| seq % 2 == 0), report),
                5 => snapshots.keep(seq),
                _ => {
                    let (key, retain) = (["", "a", "b"][random.usize(0..3)], Retain::ALL[random.usize(0..3)]);
                    // A store has no other entry that was evicted before.
                    if seq > evicted_through || retain == Retain::Newest {
                        log.append(LogEntry { retain, ..entry(seq, now, key) }, &snapshots, report);
                        appended.push(seq);
                    }
                }
            }
            let mut all = seqs(log.after(0).chain(log.newest_after(0)).chain(log.state(0, 99).into_iter().flatten()));
            all.sort_unstable();
            all.dedup();
            all.extend(&gone);
            all.sort_unstable();
            assert_eq!(all, appended, "seed {seed} after {seq}: {gone:?}");
        }
    }
}
