//! Tests of the keys of tickets.

use super::*;
use eventsource_xs::hub::LONGEST_TICKET;

fn delivered(epoch: &str, seq: u64) -> Option<Delivered> {
    Some(Delivered { epoch: epoch.into(), seq })
}

fn keys_of(store: &mut Running) -> TicketKeys {
    store.store.send(StoreCommand::ReadTicketKeys);
    match store.next() {
        StoreReport::TicketKeys(keys) => keys,
        other => panic!("no keys: {other:?}"),
    }
}

#[test]
fn the_keys_of_tickets_continue_only_where_the_file_has_all_that_was_delivered_in_this_boot() {
    let boot = |boot| Machine { boot, ..Machine::default() };
    for (name, first, second, seen, expected) in [
        ("delivered", "boot 1", "boot 1", Some(2), true),
        ("there, and not delivered", "boot 1", "boot 1", Some(1), true),
        ("an earlier file", "boot 1", "boot 1", Some(3), false),
        ("nobody knows what was delivered", "boot 1", "boot 1", None, false),
        ("another boot", "boot 1", "boot 2", Some(2), false),
        ("unknown boots", "", "", Some(2), false),
    ] {
        let folder = Folder::new();
        let (mut store, beginning) = Running::begin_on(&folder.file(), FileSync::Second, &boot(first));
        let epoch = &*beginning.began.history.epoch;
        store.append(draft("a", "1"));
        store.append(draft("a", "2"));
        store.close();
        let machine = Machine { delivered: seen.and_then(|seq| delivered(epoch, seq)), ..boot(second) };
        let (store, again) = Running::begin_on(&folder.file(), FileSync::Second, &machine);
        assert_eq!((&*again.began.history.epoch, again.keys == beginning.keys), (epoch, expected), "{name}");
        store.close();
        let machine = Machine { delivered: delivered("other", 1), ..boot(second) };
        let (_store, last) = Running::begin_on(&folder.file(), FileSync::Second, &machine);
        assert_ne!(again.keys, last.keys, "{name}: another hub has used the file, or another file the hub");
    }
}

#[test]
fn another_epoch_has_other_keys() {
    let (folder, mut store, first) = Folder::begun(FileSync::Second);
    store.store.send(StoreCommand::Lost("a test".into()));
    let second = store.beginning();
    assert_ne!((&first.began.history.epoch, &first.keys), (&second.began.history.epoch, &second.keys));
    store.close();
    for epoch in [&second.began.history.epoch, &first.began.history.epoch] {
        let machine = Machine { delivered: delivered(epoch, 0), ..Machine::default() };
        let (store, again) = Running::begin_on(&folder.file(), FileSync::Second, &machine);
        assert_eq!(again.keys == second.keys, *epoch == second.began.history.epoch);
        store.close();
    }
}

#[test]
fn a_key_seals_for_an_hour_and_opens_as_long_once_more_also_in_the_next_process() {
    let (folder, mut machine, mut store) = Folder::begun_with_clock();
    let hour = LONGEST_TICKET.as_millis() as u64;
    let first = keys_of(&mut store);
    assert_eq!(format!("{first:?}"), "TicketKeys { current: Some(Key 0), previous: None }", "no secret is shown");
    machine.clock.fetch_add(hour - 1, Ordering::SeqCst);
    assert_eq!(keys_of(&mut store), first);
    machine.clock.fetch_add(1, Ordering::SeqCst);
    let second = keys_of(&mut store);
    assert_eq!(format!("{second:?}"), "TicketKeys { current: Some(Key 1), previous: Some(Key 0) }");
    store.close();
    let epoch = Running::begin_on(&folder.file(), FileSync::Second, &Machine { delivered: None, ..machine.clone() });
    let (store, Beginning { began, keys: third, .. }) = epoch;
    assert_ne!(third, second, "nobody knows what was delivered");
    store.close();
    machine.delivered = delivered(&began.history.epoch, 0);
    machine.clock.fetch_add(hour, Ordering::SeqCst);
    let (_store, again) = Running::begin_on(&folder.file(), FileSync::Second, &machine);
    assert_eq!(format!("{:?}", again.keys), "TicketKeys { current: Some(Key 1), previous: Some(Key 0) }");
}
