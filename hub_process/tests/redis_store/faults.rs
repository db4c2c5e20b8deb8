//! Connections that break, stop or lie; Redis that is away.

use crate::node::{settings, End, Node};
use crate::proxy::Proxy;
use crate::server::{eventually, has, Port, Redis, PERSISTENT};
use crate::store::{Draft, StoreCommand};
use eventsource_xs::hub::EndRequest;
use eventsource_xs::wire::RedisSettings;
use eventsource_xs::ErrorCode;
use std::fs;
use std::process::Command;
use std::time::Duration;

fn code(end: &End) -> Option<ErrorCode> {
    match end {
        End::Stored(..) => None,
        End::Done => None,
        End::Failed(failure) => Some(failure.code),
    }
}

/// Lets a fault disturb a store that publishes 1,000 events. All must be stored once and in order.
fn expect_nothing_lost(fault: impl Fn(&Proxy, &Redis, usize)) {
    let redis = Redis::start(&[]);
    let proxy = Proxy::new(redis.port);
    let [mut a, mut b] = Node::at([proxy.url(), redis.url()]);
    let expected: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
    for (number, text) in expected.iter().enumerate() {
        a.append(text);
        if number % 100 == 50 {
            std::thread::sleep(Duration::from_millis(2)); // some are on their way
            fault(&proxy, &redis, number / 100);
        }
    }
    a.until("all ends", |node| node.ends.len() == 1000);
    assert!(a.ends.values().all(|end| code(end).is_none()), "{:?}", a.ends.values().find(|end| code(end).is_some()));
    for node in [&mut a, &mut b] {
        node.until("all entries", |node| node.log().entries.len() >= 1000);
        assert_eq!(node.texts(), expected);
        assert_eq!(node.logs.len(), 1, "{}", node.log().began.reason);
    }
    a.until("up", |node| node.store.status().is_up);
}

/// Tests of faults.
macro_rules! loses_nothing {
    ($($name:ident: $fault:expr;)*) => {
        $(#[test]
        fn $name() {
            needs!(has("redis-server"));
            expect_nothing_lost($fault);
        })*
    };
}

loses_nothing! {
    a_cut_connection_loses_and_repeats_nothing: |proxy, _, _| proxy.cut();
    a_connection_that_is_cut_within_an_answer_loses_and_repeats_nothing:
        |proxy, _, number| proxy.cut_after(number % 2 == 0, 37 * number as i64 + 1);
    a_half_closed_connection_loses_and_repeats_nothing: |proxy, _, _| proxy.half_close();
    a_slow_connection_loses_and_repeats_nothing:
        |proxy, _, number| proxy.delay(if number % 3 == 0 { 30 } else { 0 });
    a_killed_client_loses_and_repeats_nothing:
        |_, redis, _| drop(redis.call(&["CLIENT", "KILL", "TYPE", "normal"]));
    a_paused_redis_loses_and_repeats_nothing: |_, redis, number| {
        if number == 3 {
            // Longer than an answer may take: the commands of the broken connection are carried out, too.
            redis.call(&["CLIENT", "PAUSE", "3500", "ALL"]);
        }
    };
}

#[test]
fn a_connection_that_swallows_answers_is_noticed_and_nothing_is_repeated() {
    needs!(has("redis-server"));
    for towards_redis in [true, false] {
        let redis = Redis::start(&[]);
        let proxy = Proxy::new(redis.port);
        let mut a = Node::ready(&settings(&proxy.url()));
        a.until("up", |node| node.store.status().is_up);
        proxy.swallow(towards_redis, true);
        a.append("swallowed");
        a.until("down", |node| !node.store.status().is_up);
        proxy.heal();
        a.until("stored", |node| node.ends.len() == 1);
        a.until("up", |node| node.store.status().is_up);
        assert_eq!(a.texts(), ["swallowed"]);
        assert!(a.store.status().reconnects > 0);
        assert_eq!(Node::ready(&settings(&redis.url())).texts(), ["swallowed"]);
    }
}

#[test]
fn a_process_that_is_stopped_and_continues_takes_no_signal_for_a_failure() {
    needs!(has("redis-server"));
    // In a process of its own, because a stop interrupts the stores of all tests of a process.
    const ALONE: &str = "EVENTSOURCE_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "faults::a_process_that_is_stopped_and_continues_takes_no_signal_for_a_failure";
        let program = std::env::current_exe().expect("this program");
        let status = Command::new(program).args([name, "--exact", "--nocapture"]).env(ALONE, "1").status();
        return assert!(status.expect("this program runs").success(), "alone");
    }
    let redis = redis!();
    let mut a = Node::ready(&settings(&redis.url()));
    a.until("up", |node| node.store.status().is_up);
    let since = a.store.status().since;
    for thread in fs::read_dir("/proc/self/task").expect("threads").flatten() {
        // A thread may end meanwhile.
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        if status.starts_with("Name:\tredis-") {
            assert!(status.contains("SigBlk:\tfffffffe7ffbfa07"), "no signal runs or interrupts it: {status}");
        }
    }
    for number in 0..20 {
        // Continued by another process, as a debugger, `docker pause` or a shell does.
        let signals = format!("kill -STOP {0}; kill -CONT {0}", std::process::id());
        assert!(Command::new("sh").args(["-c", &signals]).status().expect("a shell").success());
        assert!(a.publish(&number.to_string()).is_stored());
        let status = a.store.status();
        assert_eq!((status.is_up, status.since, status.reconnects, &*status.last_error), (true, since, 0, ""));
    }
    assert_eq!((a.texts().len(), a.logs.len()), (20, 1));
}

#[test]
fn a_store_begins_when_redis_comes() {
    needs!(has("redis-server"));
    let port = Port::reserve();
    let place = format!("127.0.0.1:{}", port.number);
    let url = format!("redis://someone:secret@{place}");
    let mut a = Node::start(&settings(&url));
    a.until("a refusal", |node| !node.refusals.is_empty());
    let (failure, retries) = a.refusals[0].clone();
    assert!(retries && failure.code == ErrorCode::Unavailable);
    assert!(failure.message.starts_with(&format!("Redis at {place} cannot be reached: ")), "{failure}");
    let _redis = Redis::start_at(port, &["--user", "someone", "on", ">secret", "~*", "&*", "+@all"]);
    let ticket = a.append("waited");
    a.until("stored", |node| node.ends.contains_key(&ticket));
    assert_eq!(a.texts(), ["waited"]);
}

#[test]
fn a_draft_fails_in_time_while_redis_is_away() {
    let mut redis = redis!(PERSISTENT);
    let settings = RedisSettings { timeout: Duration::from_secs(3), ..settings(&redis.url()) };
    let mut a = Node::ready(&settings);
    assert_eq!(code(&a.publish("before")), None);
    a.until("up", |node| node.store.status().is_up);
    redis.kill();
    a.until("down", |node| !node.store.status().is_up);
    let End::Failed(failure) = a.publish("away") else { panic!("stored") };
    assert_eq!(failure.code, ErrorCode::Unavailable);
    assert!(failure.message.contains("the event was not published: Redis at 127.0.0.1"), "{failure}");
    let End::Failed(failure) = a.publish_draft(Draft::of_end(&EndRequest::default())) else { panic!("stored") };
    assert!(failure.message.contains("streams on other machines were not ended: Redis at 127.0.0.1"), "{failure}");
    redis.run();
    a.until("up", |node| node.store.status().is_up);
    assert_eq!(code(&a.publish("after")), None);
    assert_eq!((a.logs.len(), a.texts()), (1, vec!["before".into(), "after".into()]));
    assert_eq!(a.store.status().failed, 2);
}

#[test]
fn a_draft_that_was_perhaps_stored_fails_as_unknown() {
    let redis = redis!();
    let proxy = Proxy::new(redis.port);
    let settings = RedisSettings { timeout: Duration::from_millis(500), ..settings(&proxy.url()) };
    let mut a = Node::ready(&settings);
    a.until("up", |node| node.store.status().is_up);
    proxy.swallow(false, true);
    assert_eq!(code(&a.publish("perhaps")), Some(ErrorCode::Unknown));
    proxy.heal();
    a.until("it is there", |node| node.texts() == ["perhaps"]);
    assert_eq!(a.log().entries[0].ticket, None);
}

#[test]
fn a_closed_store_finishes_earlier_requests() {
    let redis = redis!();
    let mut a = Node::ready(&settings(&redis.url()));
    for number in 0..500 {
        a.append(&number.to_string());
    }
    a.store.send(StoreCommand::Close);
    a.until("all", |node| node.ends.len() == 500);
    assert!(a.ends.values().all(|end| code(end).is_none()));
    let connections = || redis.call(&["CLIENT", "LIST"]).lines().filter(|line| line.contains("age=")).count();
    eventually("both connections are closed", || connections() <= 1);
    let b = Node::ready(&settings(&redis.url()));
    assert_eq!(b.texts().len(), 500);
    drop(b);
    eventually("a dropped store closes its connections", || connections() <= 1);
}

#[test]
fn a_redis_that_is_full_says_so() {
    let redis = redis!();
    let mut a = Node::ready(&settings(&redis.url()));
    redis.call(&["CONFIG", "SET", "maxmemory", "1"]);
    let End::Failed(failure) = a.publish("too much") else { panic!("stored") };
    assert_eq!(failure.code, ErrorCode::Unavailable);
    assert!(failure.message.contains("OOM"), "{failure}");
    a.until("down", |node| !node.store.status().is_up);
    // It stays so while nobody publishes, and until Redis has room.
    for _ in 0..30 {
        std::thread::sleep(Duration::from_millis(400));
        assert!(!a.store.status().is_up);
    }
    redis.call(&["CONFIG", "SET", "maxmemory", "0"]);
    a.until("up, though nobody publishes", |node| node.store.status().is_up);
    assert_eq!(code(&a.publish("now")), None);
    assert_eq!(a.texts(), ["now"]);
}

#[test]
fn a_user_who_may_only_read_has_a_store_that_is_down() {
    let redis = redis!(["--user", "hub", "on", ">secret", "~*", "&*", "+@all"]);
    let mut a = Node::ready(&settings(&format!("redis://hub:secret@127.0.0.1:{}", redis.port)));
    redis.call(&["ACL", "SETUSER", "hub", "-xadd"]);
    assert_eq!(code(&a.publish("not allowed")), Some(ErrorCode::Unavailable));
    a.until("down", |node| !node.store.status().is_up);
    redis.call(&["ACL", "SETUSER", "hub", "+xadd"]);
    a.until("up, though nobody publishes", |node| node.store.status().is_up);
    assert_eq!(a.logs.len(), 1);
}

#[test]
fn commands_of_a_broken_connection_that_arrive_late_repeat_nothing() {
    let redis = redis!();
    let proxy = Proxy::new(redis.port);
    let [mut a, mut b] = Node::at([proxy.url(), redis.url()]);
    a.until("up", |node| node.store.status().is_up);
    proxy.hold();
    let expected: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    for text in &expected {
        a.append(text);
    }
    a.until("all ends", |node| node.ends.len() == 20);
    let stream = redis.stream();
    let length = || redis.call(&["XLEN", &stream]).parse::<u32>().unwrap();
    let before = length();
    proxy.release();
    eventually("the late commands are carried out", || length() > before);
    assert_eq!(code(&a.publish("after")), None);
    let expected = [expected, vec!["after".into()]].concat();
    for node in [&mut a, &mut b, &mut Node::ready(&settings(&redis.url()))] {
        node.until_last("after");
        assert_eq!(node.texts(), expected);
        assert_eq!(node.logs.len(), 1);
    }
}

#[test]
fn a_limit_of_redis_that_is_smaller_than_an_event_is_in_the_reason() {
    let redis = redis!();
    let mut a = Node::ready(&settings(&redis.url()));
    for _ in 0..4 {
        assert!(a.publish(&"x".repeat(50_000)).is_stored());
    }
    redis.call(&["CONFIG", "SET", "client-output-buffer-limit", "normal 20kb 0 0"]);
    let b = Node::start(&settings(&redis.url()));
    eventually("the reason names the setting", || b.store.status().last_error.contains("client-output-buffer-limit"));
}
