//! What Redis loses: each loss ends in another epoch, or nothing was lost.

use crate::node::{settings, End, Node};
use crate::proxy::Proxy;
use crate::server::{eventually, Redis, PERSISTENT};
use crate::store::StoreCommand;
use eventsource_xs::log::Bounds;
use std::time::Duration;

/// Has two stores with some entries lose the stream. Both must begin another epoch, the same one, with a reason, and work.
fn expect_another_epoch(redis: &mut Redis, lose: impl FnOnce(&mut Redis)) {
    let [mut a, mut b] = Node::at([redis.url(), redis.url()]);
    for number in 0..20 {
        assert!(a.publish(&format!("before {number}")).is_stored());
    }
    b.until("what was before", |node| node.log().entries.len() == 20);
    lose(redis);
    for node in [&mut a, &mut b] {
        node.until("another epoch", |node| node.logs.len() == 2 && node.is_ready());
        assert!(!node.log().began.reason.is_empty());
    }
    assert_ne!(a.logs[0].began.history.epoch, a.logs[1].began.history.epoch);
    assert!(a.publish("after").is_stored() && b.publish("after, too").is_stored());
    for node in [&mut a, &mut b] {
        node.until("what is after", |node| node.log().entries.len() == 2);
        assert_eq!(node.texts(), ["after", "after, too"]);
        assert_eq!(node.logs.len(), 2);
        let status = node.store.status();
        assert_eq!((status.epoch_changes, status.failed), (1, 0), "{status:?}");
        assert!(status.last_error.contains(&*node.log().began.reason), "{status:?}");
    }
    assert_eq!(a.log().began.history.epoch, b.log().began.history.epoch);
    assert_eq!(redis.keys("*").len(), 4, "the old stream is deleted: {:?}", redis.keys("*"));
}

/// Tests of what a Redis loses.
macro_rules! begins_another_epoch {
    ($($name:ident: $lose:expr;)*) => {
        $(#[test]
        fn $name() {
            expect_another_epoch(&mut redis!(), $lose);
        })*
    };
}

/// What two masters have after each was written to: the same id, and not the same entry.
const REPLACE: &str = "local all = redis.call('XRANGE', KEYS[1], '-', '+') \
                       local fields = all[#all][2] \
                       fields[#fields] = 'another:1' \
                       redis.call('DEL', KEYS[1]) \
                       for _, entry in ipairs(all) do redis.call('XADD', KEYS[1], entry[1], unpack(entry[2])) end";

begins_another_epoch! {
    flushall_begins_another_epoch: |redis| drop(redis.call(&["FLUSHALL"]));
    a_deleted_stream_begins_another_epoch: |redis| drop(redis.call(&["DEL", &redis.stream()]));
    a_deleted_pointer_begins_another_epoch: |redis| drop(redis.call(&["DEL", "es:{shop}"]));
    a_deleted_state_begins_another_epoch: |redis| drop(redis.call(&["DEL", "es:{shop}.state"]));
    a_state_of_another_type_begins_another_epoch: |redis| {
        redis.call(&["DEL", "es:{shop}.state"]);
        redis.call(&["SET", "es:{shop}.state", "x"]);
    };
    a_stream_that_is_created_again_begins_another_epoch: |redis| {
        let stream = redis.stream();
        redis.call(&["DEL", &stream]);
        redis.call(&["XADD", &stream, "5-5", "x", "y"]);
    };
    another_entry_with_the_id_of_the_last_one_begins_another_epoch:
        |redis| drop(redis.call(&["EVAL", REPLACE, "1", &redis.stream()]));
    a_key_of_another_type_begins_another_epoch: |redis| drop(redis.call(&["SET", &redis.stream(), "x"]));
    ids_that_are_not_sequence_numbers_begin_another_epoch:
        |redis| drop(redis.call(&["XADD", &redis.stream(), "99999999999999999-0", "x", "y"]));
    a_restart_without_persistence_begins_another_epoch: |redis| {
        redis.kill();
        redis.run();
    };
}

#[test]
fn an_old_snapshot_begins_another_epoch() {
    let mut redis = redis!();
    let mut early = Node::ready(&settings(&redis.url()));
    assert!(early.publish("early").is_stored());
    assert_eq!(redis.call(&["SAVE"]), "OK");
    drop(early);
    let mut a = Node::ready(&settings(&redis.url()));
    assert!(a.publish("late").is_stored());
    redis.kill();
    redis.run();
    a.until("another epoch", |node| node.logs.len() == 2 && node.is_ready());
    assert!(a.log().began.reason.contains("read before"), "{}", a.log().began.reason);
    assert!(a.publish("after").is_stored());
    assert_eq!(a.texts(), ["after"]);
}

#[test]
fn an_epoch_that_comes_back_begins_another_one() {
    let mut redis = redis!();
    let [mut a, mut b] = Node::at([redis.url(), redis.url()]);
    assert!(a.publish("first").is_stored());
    assert_eq!(redis.call(&["SAVE"]), "OK");
    redis.call(&["FLUSHALL"]);
    for node in [&mut a, &mut b] {
        node.until("another epoch", |node| node.logs.len() == 2 && node.is_ready());
    }
    assert!(a.publish("second").is_stored());
    redis.kill();
    redis.run(); // with what it had before it was emptied
    for node in [&mut a, &mut b] {
        node.until("a third epoch", |node| node.logs.len() == 3 && node.is_ready());
        assert!(node.log().began.reason.contains("has come back"), "{}", node.log().began.reason);
    }
    assert_eq!(a.log().began.history.epoch, b.log().began.history.epoch);
    assert!(b.publish("third").is_stored());
    a.until("what is after", |node| node.texts() == ["third"]);
}

#[test]
fn a_hub_that_knows_of_a_loss_has_all_begin_another_epoch() {
    let mut redis = redis!();
    let teller = Node::ready(&settings(&redis.url()));
    expect_another_epoch(&mut redis, |_| teller.store.send(StoreCommand::Lost("a hub has delivered more".into())));
}

#[test]
fn a_restart_with_persistence_loses_nothing() {
    let mut redis = redis!(PERSISTENT);
    let [mut a, mut b] = Node::at([redis.url(), redis.url()]);
    let mut expected = Vec::new();
    for round in 0..3 {
        for number in 0..300 {
            let text = format!("{round}-{number}");
            a.append(&text);
            expected.push(text);
        }
        redis.kill();
        redis.run();
    }
    a.until("all ends", |node| node.ends.len() == 900);
    assert!(a.ends.values().all(End::is_stored));
    for node in [&mut a, &mut b] {
        node.until("all entries", |node| node.texts().len() == 900);
        assert_eq!(node.logs.len(), 1, "{}", node.log().began.reason);
        assert_eq!(node.texts(), expected);
    }
}

#[test]
fn eviction_by_maxmemory_begins_another_epoch_and_is_warned_of() {
    let redis = redis!(["--maxmemory", "8mb", "--maxmemory-policy", "allkeys-random"]);
    let mut a = Node::ready(&settings(&redis.url()));
    assert!(a.store.status().last_error.contains("allkeys-random"), "{}", a.store.status().last_error);
    assert!(a.publish("before").is_stored());
    let filler = "x".repeat(10_000);
    a.until("another epoch", |node| {
        // Fills the memory until Redis has evicted a key of the hub.
        if node.logs.len() == 1 {
            for _ in 0..100 {
                let name = format!("filler {}", redis.call(&["INCR", "fillers"]));
                redis.call(&["SET", &name, &filler]);
            }
        }
        node.logs.len() >= 2 && node.is_ready()
    });
    redis.call(&["CONFIG", "SET", "maxmemory", "0"]);
    eventually("an event is stored again", || a.publish("after").is_stored());
}

#[test]
fn eviction_by_retention_is_not_a_loss() {
    let redis = redis!();
    let [mut a, mut b] = Node::at([redis.url(), redis.url()]);
    a.keep(1000);
    for number in 0..5000 {
        a.append(&number.to_string());
        if number % 500 == 499 {
            // A store that is 1,000 entries behind would rightly begin again.
            a.until("all ends", |node| node.ends.len() == number + 1);
            b.until("all entries", |node| node.log().entries.len() == number + 1);
        }
    }
    assert_eq!(a.logs.len(), 1, "{}", a.log().began.reason);
    assert_eq!(a.texts().len(), 5000);
    let late = Node::ready(&settings(&redis.url()));
    let (count, began) = (late.log().entries.len(), &late.log().began);
    assert!((1000..1300).contains(&count), "{count}");
    let evicted = &a.log().entries[4999 - count];
    assert!(began.history.evicted_through >= evicted.seq && began.history.evicted_through < late.log().entries[0].seq);
    a.store.send(StoreCommand::Retain(Bounds { events: 1000, bytes: 1 << 30, age: Duration::ZERO }));
    eventually("the old ones are trimmed", || redis.entries() <= 100);
    assert!(a.publish("after").is_stored());
    b.until_last("after");
    assert_eq!(a.logs.len() + b.logs.len(), 2, "{} {}", a.log().began.reason, b.log().began.reason);
}

#[test]
fn the_stream_is_trimmed_to_its_bytes() {
    let redis = redis!();
    let mut a = Node::ready(&settings(&redis.url()));
    a.store.send(StoreCommand::Retain(Bounds { events: 100_000, bytes: 3 << 20, age: Duration::from_secs(3600) }));
    let long = "x".repeat(4000);
    for number in 0..2000 {
        a.append(&format!("{number} {long}"));
    }
    a.until("all ends", |node| node.ends.len() == 2000);
    eventually("3 MiB are left", || {
        a.pump();
        redis.entries() < 1100
    });
    assert!(redis.entries() > 250);
    assert_eq!(a.logs.len(), 1, "{}", a.log().began.reason);
}

#[test]
fn trimming_and_deleting_by_hand_loses_nothing_or_is_a_gap() {
    let redis = redis!();
    let [mut a, mut b] = Node::at([redis.url(), redis.url()]);
    assert!(a.publish("first").is_stored());
    b.until("first", |node| node.texts().len() == 1);
    let stream = redis.stream();
    redis.call(&["XTRIM", &stream, "MAXLEN", "0"]);
    std::thread::sleep(Duration::from_millis(1500)); // a check passes; whether it does is not asserted
    assert!(b.publish("second").is_stored());
    a.until_last("second");
    let last = redis.call(&["XREVRANGE", &stream, "+", "-", "COUNT", "1"]);
    redis.call(&["XDEL", &stream, last.lines().next().unwrap()]);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(a.publish("third").is_stored());
    b.until_last("third");
    for node in [&a, &b] {
        assert!(node.logs.iter().all(|log| log.began.history.epoch == node.logs[0].began.history.epoch));
    }
}

#[test]
fn a_store_that_begins_with_a_pointer_without_stream_begins_another_epoch() {
    let redis = redis!();
    let a = Node::ready(&settings(&redis.url()));
    let epoch = a.log().began.history.epoch.clone();
    drop(a);
    redis.call(&["DEL", &redis.stream()]);
    let mut b = Node::ready(&settings(&redis.url()));
    assert_ne!(b.log().began.history.epoch, epoch);
    assert!(b.publish("after").is_stored());
}

#[test]
fn entries_of_people_are_passed_over() {
    let redis = redis!();
    let mut a = Node::ready(&settings(&redis.url()));
    redis.call(&["XADD", &redis.stream(), "*", "hello", "world"]);
    redis.call(&["XADD", &redis.stream(), "*", "c", "news", "f", "\u{1}", "p", "x", "n", "nine"]);
    assert!(a.publish("after").is_stored());
    assert_eq!(a.texts(), ["after"]);
}

#[test]
fn entries_of_a_later_version_are_reported_without_their_unknown_parts() {
    let redis = redis!();
    let mut a = Node::ready(&settings(&redis.url()));
    let field = "\u{7f}\u{0}\u{0}\u{0}\u{0}";
    redis.call(&["XADD", &redis.stream(), "*", "c", "news", "o", "later", "f", field, "p", "later:1"]);
    redis.call(&["XADD", &redis.stream(), "*", "z", "a request", "p", "later:2"]);
    assert!(a.publish("after").is_stored());
    let b = Node::ready(&settings(&redis.url()));
    for node in [a, b] {
        assert_eq!(node.texts(), ["later", "", "after"]);
        let [later, request, _] = &node.log().entries[..] else { unreachable!() };
        assert_eq!((&*later.draft.channel, later.draft.fields.as_bytes()), (&b"news"[..], &b""[..]));
        assert_eq!((&*request.draft.channel, request.draft.end()), (&b""[..], None));
        assert!(node.store.status().last_error.contains("of a later version"));
    }
}

#[test]
fn a_store_that_was_away_for_longer_than_the_history_begins_again() {
    let redis = redis!();
    let wire = Proxy::new(redis.port);
    let [mut a, mut b] = Node::at([wire.url(), redis.url()]);
    assert!(a.publish("first").is_stored());
    wire.refuse(true);
    wire.cut();
    b.keep(1000);
    for number in 0..5000 {
        b.append(&number.to_string());
        if number % 500 == 499 {
            b.until("all ends", |node| node.ends.len() == number + 1);
        }
    }
    wire.refuse(false);
    a.until("another beginning", |node| node.logs.len() == 2 && node.is_ready());
    let (before, after) = (&a.logs[0].began, &a.logs[1].began);
    assert_eq!(before.history.epoch, after.history.epoch);
    assert!(!after.reason.is_empty() && after.history.evicted_through > a.logs[0].entries.last().unwrap().seq);
    assert!(a.publish("last").is_stored());
    b.until_last("last");
    assert_eq!(b.logs.len(), 1);
}
