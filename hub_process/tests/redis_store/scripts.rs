//! The scripts that Redis carries out, each alone, as tables of calls and what they return and leave.

use crate::scripts_of_store as scripts;
use crate::server::Redis;

const STREAM: &str = "es:{shop}:e1";
const STATE: &str = "es:{shop}.state";
const ONCE: &str = "es:{shop}.once";
const TICKETS: &str = "es:{shop}.tickets";

/// Starts a Redis with an epoch.
fn begun(redis: Redis) -> Redis {
    redis.call(&["XADD", STREAM, "1-0", "marker", "e1"]);
    redis.call(&["HSET", STATE, "epoch", "e1"]);
    redis
}

/// Runs a script with keys and arguments.
fn run(redis: &Redis, script: &str, keys: &[&str], arguments: &[&str]) -> String {
    let count = keys.len().to_string();
    redis.call(&[&["EVAL", script, &count][..], keys, arguments].concat())
}

/// Appends an event as a producer, with its count, does: `r` retains a value, `x` forgets it.
fn append(redis: &Redis, producer: &str, retain: &str, once: &str, value: &str) -> String {
    let mut words = vec!["1000", "60000", "4:newsk", "c", "news", retain, "k"];
    words.extend(if once.is_empty() { vec![] } else { vec!["o", once] });
    words.extend(["f", value, "p", producer]);
    run(redis, &scripts::APPEND, &[STREAM, STATE, ONCE], &words)
}

/// Says what happened to a member on a machine.
fn append_member(redis: &Redis, count: usize, happened: &str, machine: &str) -> String {
    let (machine, former) = machine.split_once('<').unwrap_or((machine, ""));
    let retain = if ["here", "changed"].contains(&happened) { "r" } else { "x" };
    let producer = format!("p:{count}");
    let words = [
        happened,
        machine,
        "60000",
        former,
        "1000",
        "60000",
        "4:roomann",
        "c",
        "room",
        retain,
        "ann",
        "m",
        "M",
        "f",
        happened,
    ];
    run(redis, &scripts::APPEND_MEMBER, &[STREAM, STATE, ONCE], &[&words[..], &["p", &producer]].concat())
}

fn state(redis: &Redis, field: &str) -> String {
    redis.call(&["HGET", STATE, field])
}

fn entries(redis: &Redis) -> usize {
    redis.call(&["XLEN", STREAM]).parse().expect("a number")
}

/// Returns the value of a field without its id.
fn value(redis: &Redis, field: &str) -> String {
    let value = state(redis, field);
    value.find([',', ' ']).map_or(String::new(), |at| value[at..].to_owned())
}

#[test]
fn an_event_is_appended_with_its_state_once() {
    let redis = begun(redis!());
    for (producer, retain, once, text, appended, expected) in [
        ("p:1", "r", "", "one", true, " one"),
        ("p:1", "r", "", "repeated", false, " one"),
        ("p:3", "r", "o1", "three", true, " three"),
        ("p:2", "r", "", "late", false, " three"),
        ("q:1", "r", "o1", "known", true, " three"),
        ("q:2", "x", "o1", "known", true, " three"),
        ("q:3", "x", "", "forgotten", true, ""),
        ("q:4", "r", "o2", "back", true, " back"),
    ] {
        let before = entries(&redis);
        let answer = append(&redis, producer, retain, once, text);
        assert_eq!((answer != "0-0", entries(&redis) > before), (appended, appended), "{text}: {answer}");
        assert_eq!(value(&redis, "4:newsk"), expected, "{text}");
        assert!(!appended || state(&redis, "last") == answer, "{text}");
    }
    assert_eq!(redis.call(&["ZCARD", ONCE]), "2");
}

#[test]
fn nothing_is_appended_to_the_stream_of_another_epoch_or_with_the_key_of_a_member() {
    let redis = begun(redis!());
    redis.call(&["HSET", STATE, "4:newsk", "1-0,machine 1:Mfields"]);
    assert_eq!(append(&redis, "p:1", "r", "", "x"), "member");
    redis.call(&["SET", ONCE, "of another type"]);
    redis.call(&["HDEL", STATE, "4:newsk"]);
    assert!(append(&redis, "p:2", "r", "o", "x").contains("WRONGTYPE"));
    redis.call(&["HSET", STATE, "epoch", "e2"]);
    assert_eq!([append(&redis, "p:3", "r", "", "x"), append_member(&redis, 4, "here", "a")], ["", ""]);
    assert_eq!((entries(&redis), state(&redis, "p:p")), (1, String::new()), "nothing was left behind");
}

#[test]
fn the_event_of_a_member_is_appended_when_its_first_machine_has_it_and_when_its_last_has_it_no_more() {
    let redis = begun(redis!());
    for (count, (happened, machine, is_news, expected)) in [
        ("changed", "a", false, ""),
        ("gone", "a", false, ""),
        ("here", "a", true, ",a 1:Mhere"),
        ("here", "a", false, ",a 1:Mhere"),
        ("here", "b", false, ",a,b 1:Mhere"),
        ("changed", "c", true, ",a,b 1:Mchanged"),
        ("gone", "a", false, ",b 1:Mchanged"),
        ("gone", "a", false, ",b 1:Mchanged"),
        ("reap", "b", true, ""),
        ("here", "b", true, ",b 1:Mhere"),
        ("changed", "c<b", true, ",b 1:Mchanged"),
        ("here", "c<b", false, ",c 1:Mchanged"),
        ("here", "d<a", false, ",c,d 1:Mchanged"),
        ("gone", "e<c", false, ",d 1:Mchanged"),
        ("gone", "e<d", true, ""),
    ]
    .into_iter()
    .enumerate()
    {
        let before = entries(&redis);
        if happened == "reap" {
            redis.call(&["HSET", STATE, "machines", &format!(" {machine}=1")]);
        }
        let answer = append_member(&redis, count + 1, happened, machine);
        let found = (answer != "done", entries(&redis) > before, value(&redis, "4:roomann"));
        assert_eq!(found, (is_news, is_news, expected.into()), "{count}: {happened} {machine}");
        assert_eq!(append_member(&redis, count + 1, happened, machine), "0-0", "it was done before");
    }
}

#[test]
fn a_machine_with_a_lifetime_keeps_its_members_and_one_whose_lifetime_has_ended_has_none_when_the_clock_goes_back() {
    let redis = begun(redis!());
    assert_ne!(append_member(&redis, 1, "here", "a"), "done");
    let renew = |own: &str, end: &str, removed: &[&str]| {
        let words = [&["60000", own, end, ""][..], removed].concat();
        run(&redis, &scripts::RENEW_LIFETIMES, &[STATE], &words)
    };
    let had_lifetime = |answer: String| answer.lines().next() == Some("1");
    assert_eq!(append_member(&redis, 2, "reap", "a"), "done", "it has a lifetime from its first member on");
    assert!(had_lifetime(renew("a", "", &["a"])), "one with a lifetime is not removed");
    redis.call(&["HDEL", STATE, "machines"]);
    assert_eq!(append_member(&redis, 1, "here", "a"), "0-0");
    assert!(had_lifetime(renew("a", "", &[])), "also if it was on another connection that this was done");
    assert_eq!(value(&redis, "4:roomann"), ",a 1:Mhere");
    redis.call(&["HSET", STATE, "machines", " a=1"]);
    assert_ne!(append_member(&redis, 3, "reap", "a"), "done");
    assert_eq!((value(&redis, "4:roomann"), state(&redis, "machines")), (String::new(), " a=0".into()));
    assert!(had_lifetime(renew("b", "", &["a"])) == had_lifetime(renew("c", "end", &[])), "neither had one");
    let machines = state(&redis, "machines");
    assert!(machines.contains(" b=") && machines.contains(" c=-1") && !machines.contains(" a="), "{machines}");
}

#[test]
fn another_epoch_begins_once_with_the_state_of_the_one_before() {
    let redis = begun(redis!());
    let replace = |expected: &str, epoch: &str| {
        let (before, after) = (format!("es:{{shop}}:{expected}"), format!("es:{{shop}}:{epoch}"));
        let keys = ["es:{shop}", &before, &after, STATE, ONCE];
        run(&redis, &scripts::REPLACE_EPOCH, &keys, &[expected, "1", epoch, "key", "reason"])
    };
    assert_eq!([replace("", "e2"), replace("", "e3"), replace("e1", "e3")], ["1", "0", "0"]);
    assert_eq!(state(&redis, "epoch"), "e2", "a state without ids of an epoch does not continue");
    let origin = state(&redis, "origin");
    let last = origin.parse::<u64>().expect("milliseconds") + 1_000_000;
    let id = format!("{last}-5");
    redis.call(&["HSET", STATE, "last", &id, "4:newsk", &format!("{id} text")]);
    assert_eq!(replace("e2", "e3"), "1");
    assert_eq!((state(&redis, "origin"), value(&redis, "4:newsk")), (origin, " text".into()));
    let first = redis.call(&["XRANGE", "es:{shop}:e3", "-", "+", "COUNT", "1"]);
    assert!(first.starts_with(&format!("{}-0", last + 1)), "{first} comes after all ids of the state");
    assert_eq!(redis.call(&["EXISTS", "es:{shop}:e2"]), "0");
}

#[test]
fn a_field_is_removed_if_it_has_not_changed() {
    let redis = begun(redis!());
    redis.call(&["HSET", STATE, "p:a", "1 1-0", "p:b", "2 2-0"]);
    run(&redis, &scripts::REMOVE_FIELDS, &[STATE], &["p:a", "1 1-0", "p:b", "1 1-0"]);
    assert_eq!([state(&redis, "p:a"), state(&redis, "p:b")], ["", "2 2-0"]);
    let read = run(&redis, &scripts::READ_STATE, &[STATE, STREAM], &["1"]);
    assert!(read.contains("2 2-0") && read.contains("last-generated-id") && read.ends_with("marker\ne1"), "{read}");
}

#[test]
fn the_key_of_tickets_is_the_same_for_all_until_another_one_takes_its_place() {
    let redis = redis!();
    let pointer = "es:{shop}";
    let of = |epoch: &str, secret: &str| {
        run(&redis, &scripts::TICKET_KEYS, &[TICKETS, pointer], &[epoch, "3600000", secret, "255"])
    };
    let read = |secret: &str| of("e1", secret);
    assert_eq!(read("zero"), "", "no epoch has begun");
    redis.call(&["HSET", pointer, "epoch", "e1"]);
    let words = |answer: &str| answer.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let first = words(&read("one"));
    assert_eq!((&*first[0], &*first[2]), ("255", "one"));
    assert_eq!(words(&read("two")), first, "it seals for an hour");
    let lifetime = redis.call(&["PTTL", TICKETS]).parse::<u64>().expect("milliseconds");
    assert!((7_100_000..=7_200_000).contains(&lifetime), "{lifetime}");
    let age = |by: u64| {
        let current = words(&redis.call(&["HGET", TICKETS, "current"]));
        let since = current[1].parse::<u64>().expect("milliseconds") - by;
        redis.call(&["HSET", TICKETS, "current", &format!("{} {since} {}", current[0], current[2])]);
    };
    age(3_590_000);
    assert_eq!(words(&read("two"))[2], "one");
    age(20_000);
    let second = words(&read("two"));
    assert_eq!([&*second[0], &*second[2], &*second[3], &*second[5]], ["0", "two", "255", "one"]);
    assert_eq!(words(&read("three")), second);
    age(4_000_000);
    let third = words(&read("three"));
    assert_eq!([&*third[0], &*third[2], &*third[3], &*third[5]], ["1", "three", "0", "two"]);
    redis.call(&["HSET", pointer, "epoch", "e2"]);
    assert_eq!(read("four"), "", "a hub that has not read of another epoch");
    let other = words(&of("e2", "five"));
    assert_eq!((other.len(), &*other[2]), (3, "five"), "the keys end with their epoch");
}
