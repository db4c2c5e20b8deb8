//! The state: what is retained survives what the history survives, and is the same on all machines.

use crate::node::{retained, settings, End, Node};
use crate::proxy::Proxy;
use crate::server::{eventually, Redis, PERSISTENT};
use crate::store::{Draft, StoreCommand};
use eventsource_xs::hub::Retain;
use eventsource_xs::log::Bounds;
use std::time::Duration;

const KEY: &str = "es:{shop}.state";

/// Returns the keys and texts of a state.
fn texts(node: &Node) -> Vec<String> {
    node.state().into_iter().map(|(key, (_, text))| format!("{key}={text}")).collect()
}

/// Trims the stream to its last entries.
fn trim(redis: &Redis, entries: u32) {
    let stream = redis.stream();
    redis.call(&["XTRIM", &stream, "MAXLEN", &entries.to_string()]);
}

#[test]
fn what_is_retained_outlives_the_history_on_all_machines() {
    let redis = redis!();
    let [mut a, mut b] = Node::at([redis.url(), redis.url()]);
    for (key, text) in [("x", "1"), ("y", "1"), ("", "without a key"), ("x", "2"), ("gone", "1")] {
        assert!(a.retain(key, text).is_stored());
    }
    assert!(b.forget("gone").is_stored() && b.forget("never there").is_stored());
    assert!(b.publish("not retained").is_stored());
    assert!(b.retain("z", "1").is_stored());
    let expected = ["news =without a key", "news x=2", "news y=1", "news z=1"];
    a.until("z", |node| node.state().len() == 4);
    assert_eq!((texts(&a), a.state()), (expected.map(str::to_owned).to_vec(), b.state()));
    // Without history, with a part of it, and with all.
    for (entries, older) in [(6, 2), (1, 3), (0, 4)] {
        trim(&redis, entries);
        let late = Node::ready(&settings(&redis.url()));
        assert_eq!((late.state(), late.log().retained.len()), (a.state(), older), "{entries} entries");
        assert_eq!(late.log().began.history.epoch, a.log().began.history.epoch);
    }
    let mut c = Node::ready(&settings(&redis.url()));
    assert!(c.retain("y", "2").is_stored() && c.forget("z").is_stored());
    a.until("z is forgotten", |node| node.state().len() == 3);
    assert_eq!((a.state(), texts(&a).pop()), (c.state(), Some("news y=2".into())));
}

#[test]
fn what_is_retained_survives_redis_and_all_hubs() {
    let mut redis = redis!(PERSISTENT);
    let mut a = Node::ready(&settings(&redis.url()));
    for number in 0..200 {
        a.append_draft(retained(Retain::Newest, &(number % 40).to_string(), &number.to_string()));
    }
    a.until("all ends", |node| node.ends.len() == 200);
    assert!(a.forget("7").is_stored());
    trim(&redis, 10);
    redis.kill();
    redis.run();
    a.until("up", |node| node.store.status().is_up);
    assert!(a.retain("8", "after").is_stored());
    let expected = a.state();
    assert_eq!((expected.len(), a.logs.len()), (39, 1));
    drop(a);
    redis.kill();
    redis.run();
    let b = Node::ready(&settings(&redis.url()));
    assert_eq!((b.state(), b.log().retained.len()), (expected, 29));
}

#[test]
fn what_is_retained_survives_a_loss_of_the_history() {
    let redis = redis!();
    let [mut a, mut b] = Node::at([redis.url(), redis.url()]);
    for key in ["x", "y", "z"] {
        assert!(a.retain(key, "1").is_stored());
    }
    assert!(a.forget("y").is_stored() && a.publish("before").is_stored());
    for (number, key) in ["es:{shop}:*", "es:{shop}"].into_iter().enumerate() {
        redis.keys(key).iter().for_each(|key| drop(redis.call(&["DEL", key])));
        for node in [&mut a, &mut b] {
            node.until("another epoch", |node| node.logs.len() == number + 2 && node.is_ready());
            assert_eq!(texts(node), ["news x=1", "news z=1"]);
            assert_eq!((node.log().retained.len(), node.log().entries.len()), (2, 0));
        }
        assert_eq!(a.state(), b.state());
    }
    assert!(b.retain("x", "2").is_stored());
    a.until("2", |node| node.log().entries.len() == 1);
    assert_eq!((texts(&a), a.state()), (vec!["news x=2".into(), "news z=1".into()], b.state()));
    // If the hash is lost, or has ids that are not sequence numbers, it is lost on all machines.
    for loss in [&["DEL", KEY][..], &["HSET", KEY, "last", "99999999999999999-0"]] {
        redis.call(loss);
        if loss[0] == "HSET" {
            redis.keys("es:{shop}:*").iter().for_each(|key| drop(redis.call(&["DEL", key])));
        }
        let count = a.logs.len() + 1;
        for node in [&mut a, &mut b] {
            node.until("another epoch", |node| node.logs.len() == count && node.is_ready());
            assert_eq!(texts(node), [""; 0]);
        }
        assert!(b.retain("x", "3").is_stored());
        a.until("3", |node| texts(node) == ["news x=3"]);
    }
}

#[test]
fn a_clock_that_has_gone_back_keeps_the_order_of_what_is_retained() {
    let redis = redis!();
    let mut a = Node::ready(&settings(&redis.url()));
    let stream = redis.stream();
    let origin = redis.call(&["HGET", "es:{shop}", "origin"]).parse::<u64>().unwrap();
    redis.call(&["XADD", &stream, &format!("{}-0", origin + 86_400_000), "of", "people"]); // tomorrow
    assert!(a.retain("x", "1").is_stored());
    redis.call(&["DEL", &stream]);
    a.until("another epoch", |node| node.logs.len() == 2 && node.is_ready());
    assert!(a.retain("y", "2").is_stored());
    let state = a.state();
    assert_eq!(texts(&a), ["news x=1", "news y=2"]);
    assert!(state["news x"].0 > 86_400_000 << 24 && state["news x"].0 < state["news y"].0, "{state:?}");
    assert_eq!(Node::ready(&settings(&redis.url())).state(), state);
}

#[test]
fn a_hub_begins_with_the_whole_state_while_others_change_it() {
    let redis = redis!();
    let mut a = Node::ready(&settings(&redis.url()));
    a.keep(1000);
    let mut random = fastrand::Rng::with_seed(7);
    let mut change = |a: &mut Node| {
        let key = random.u32(..6000).to_string();
        let retain = if random.u32(..4) == 0 { Retain::Forget } else { Retain::Newest };
        a.append_draft(retained(retain, &key, &random.u32(..).to_string()));
    };
    for _ in 0..20_000 {
        change(&mut a);
    }
    a.until("all ends", |node| node.ends.len() == 20_000);
    for round in 0..10 {
        let mut b = Node::start(&settings(&redis.url()));
        let ended = a.ends.len();
        // About as fast as it is stored: a store that is 1,000 entries behind would rightly begin again.
        for batch in 1..=20 {
            (0..50).for_each(|_| change(&mut a));
            a.until("all ends", |node| node.ends.len() == ended + batch * 50);
            b.pump();
        }
        let last = a.log().entries.last().unwrap().seq;
        b.until("the last entry", |node| node.is_ready() && node.log().entries.last().is_some_and(|at| at.seq == last));
        assert!(b.state() == a.state(), "round {round}: the states differ");
        assert!(b.log().retained.len() > 1000, "{}", b.log().retained.len());
    }
}

#[test]
fn commands_of_a_broken_connection_that_arrive_late_bring_nothing_back() {
    let redis = redis!();
    let proxy = Proxy::new(redis.port);
    let [mut a, mut b] = Node::at([proxy.url(), redis.url()]);
    a.until("up", |node| node.store.status().is_up);
    proxy.hold();
    a.append_draft(retained(Retain::Newest, "x", "late"));
    a.append_draft(retained(Retain::Newest, "y", "late"));
    a.append_draft(retained(Retain::Forget, "y", ""));
    a.until("all ends", |node| node.ends.len() == 3);
    assert!(a.ends.values().all(|end| end.is_stored()), "{:?}", a.ends);
    assert!(b.retain("x", "newer").is_stored() && a.publish("the last").is_stored());
    let calls = || {
        let stats = redis.call(&["INFO", "commandstats"]);
        let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_eval:calls=")).expect("scripts");
        calls.split(',').next().unwrap().parse::<u32>().unwrap()
    };
    let before = calls();
    proxy.release();
    eventually("the late commands are carried out", || calls() > before);
    a.until_last("the last");
    trim(&redis, 1);
    for node in [&mut a, &mut b, &mut Node::ready(&settings(&redis.url()))] {
        node.until_last("the last");
        assert_eq!(texts(node), ["news x=newer"]);
        assert_eq!(node.logs.len(), 1);
    }
}

#[test]
fn a_hub_in_an_earlier_epoch_does_not_change_the_state_of_the_next_one() {
    let redis = redis!();
    let mut a = Node::ready(&settings(&redis.url()));
    assert!(a.retain("x", "1").is_stored());
    let before = a.log().began.history.epoch.clone();
    // Another hub, which has not known of this epoch, begins the next one: the stream of this one stays.
    let begin = "local first = redis.call('HGET', KEYS[2], 'origin') + 2^20
        first = string.format('%.0f', first)
        redis.call('HSET', KEYS[1], 'epoch', 'next')
        redis.call('XADD', KEYS[1] .. ':next', first .. '-0', 'marker', 'next')
        return redis.call('HSET', KEYS[2], 'epoch', 'next')";
    redis.call(&["EVAL", begin, "2", "es:{shop}", KEY]);
    let end = a.forget("x");
    assert_eq!(end, End::Stored(1, a.log().entries.last().expect("the event").seq), "it is not of the epoch {before}");
    assert_eq!((&*a.log().began.history.epoch, a.state().len()), ("next", 0));
    assert_eq!(a.log().retained.len(), 1, "the state was as it had been when the epoch began");
}

#[test]
fn a_retained_event_of_a_later_version_is_reported_without_fields() {
    let redis = redis!();
    let mut a = Node::ready(&settings(&redis.url()));
    assert!(a.retain("x", "1").is_stored());
    let value = redis.call(&["HGET", KEY, "4:newsx"]);
    let id = value.split(' ').next().unwrap();
    redis.call(&["HSET", KEY, "4:newsx", &format!("{id} \u{7f}\u{0}\u{0}\u{0}\u{0}")]);
    redis.call(&["HSET", KEY, "of people", "anything"]);
    trim(&redis, 0);
    let late = Node::ready(&settings(&redis.url()));
    let [entry] = &late.log().retained[..] else { panic!("{:?}", late.log()) };
    assert!(entry.draft.is_unread() && &*entry.draft.key == b"x");
    assert!(late.store.status().last_error.contains("of a later version"));
}

#[test]
fn what_redis_refuses_for_a_moment_is_stored_later() {
    let redis = redis!();
    let mut a = Node::ready(&settings(&redis.url()));
    a.until("up", |node| node.store.status().is_up);
    for (refuse, accept) in [
        (["REPLICAOF", "127.0.0.1", "1"], ["REPLICAOF", "NO", "ONE"]),
        (["CONFIG SET", "min-replicas-to-write", "1"], ["CONFIG SET", "min-replicas-to-write", "0"]),
    ] {
        let call = |words: &[&str]| {
            redis.call(&words.iter().flat_map(|word| word.split(' ')).collect::<Vec<_>>());
        };
        for retain in Retain::ALL {
            call(&refuse);
            let ticket = a.append_draft(retained(retain, "x", "later"));
            a.until("down", |node| !node.store.status().is_up);
            call(&accept);
            a.until("an end", |node| node.ends.contains_key(&ticket) && node.store.status().is_up);
            assert!(a.ends[&ticket].is_stored(), "{:?}", a.ends[&ticket]);
        }
    }
    assert_eq!((texts(&a), a.logs.len(), a.log().entries.len()), (vec![], 1, 6));
}

#[test]
fn producers_of_long_ago_are_removed() {
    let redis = redis!();
    let mut a = Node::ready(&settings(&redis.url()));
    redis.call(&["HSET", KEY, "p:long-ago", "7 1000-0"]);
    assert!(a.retain("x", "1").is_stored());
    let producers = || redis.call(&["HKEYS", KEY]).lines().filter(|field| field.starts_with("p:")).count();
    assert_eq!(producers(), 2);
    let _b = Node::ready(&settings(&redis.url()));
    assert_eq!(producers(), 1);
}

/// Hubs drop the second event with a key `once`. Machines may store it, for at that moment they have not read the first one.
#[test]
fn an_event_that_hubs_drop_because_of_its_key_once_changes_nothing() {
    let redis = redis!();
    let [mut a, mut b] = Node::at([redis.url(), redis.url()]);
    let age =
        |seconds| StoreCommand::Retain(Bounds { events: 1000, bytes: 1 << 30, age: Duration::from_secs(seconds) });
    let in_hash = || Node::ready(&settings(&redis.url())).state();
    a.store.send(age(3600));
    b.store.send(age(3600));
    assert!(a.retain_once("x", "first", "o").is_stored() && a.retain("x", "second").is_stored());
    let expected = a.state();
    assert!(b.retain_once("x", "first", "o").is_stored());
    trim(&redis, 0);
    assert_eq!(in_hash(), expected);
    assert!(b.retain_once("x", "third", "p").is_stored());
    // After the time of the history the key means another event.
    b.store.send(age(0));
    std::thread::sleep(Duration::from_millis(5));
    assert!(b.retain_once("x", "fourth", "o").is_stored());
    trim(&redis, 0);
    assert_eq!(in_hash()["news x"].1, "fourth");
    assert_eq!(redis.call(&["ZCARD", "es:{shop}.once"]), "1");
    b.store.send(age(3600));
    for number in 0..1100 {
        b.append_draft(Draft { once: number.to_string().as_bytes().into(), ..retained(Retain::Newest, "x", "many") });
    }
    b.until("all ends", |node| node.ends.len() == 1103);
    assert_eq!(redis.call(&["ZCARD", "es:{shop}.once"]), "1000");
}

#[test]
fn a_hub_begins_while_others_publish_more_than_the_history_keeps() {
    let redis = redis!();
    let mut a = Node::ready(&settings(&redis.url()));
    a.keep(1000);
    for number in 0..20_000 {
        a.append_draft(retained(Retain::Newest, &number.to_string(), "text"));
    }
    a.until("all", |node| node.ends.len() == 20_000);
    let proxy = Proxy::new(redis.port);
    proxy.delay(30); // for each part of the state
    let mut late = Node::start(&settings(&proxy.url()));
    eventually("ready", || {
        for number in 0..500 {
            a.append_draft(retained(Retain::Newest, &number.to_string(), "changed"));
        }
        let all = a.next_ticket - 1;
        a.until("all", |node| node.ends.len() as u64 == all);
        late.pump();
        late.is_ready()
    });
    assert!(a.retain("last", "text").is_stored());
    late.until("the last", |node| node.state().contains_key("news last"));
    assert_eq!(late.state(), a.state());
}
