//! The store in Redis, with real servers: order, resumption, losses, broken connections.

#![allow(clippy::unwrap_used)]

/// Ends a test on a machine that lacks something.
macro_rules! needs {
    ($is_there:expr) => {
        if !$is_there {
            return;
        }
    };
}

/// Starts a Redis with these arguments. Ends the test on a machine without one.
macro_rules! redis {
    () => {
        redis!([])
    };
    ($arguments:expr) => {{
        needs!(crate::server::has("redis-server"));
        crate::server::Redis::start(&$arguments)
    }};
}

mod access;
mod failover;
mod faults;
mod losses;
mod members;
mod node;
#[allow(dead_code)]
#[path = "../../src/process_log/mod.rs"]
mod process_log;
mod proxy;
mod random;
mod scripts;
#[allow(clippy::duplicate_mod)]
#[path = "../../src/store/redis/scripts.rs"]
mod scripts_of_store;
mod server;
mod state;
#[allow(dead_code)]
#[path = "../../src/store/mod.rs"]
mod store;

use eventsource_xs::wire::RedisSettings;
use node::{settings, End, Node};
use std::time::Duration;

#[test]
fn three_stores_report_the_same_order_and_their_own_tickets() {
    let redis = redis!();
    let mut nodes: Vec<Node> = (0..3).map(|_| Node::start(&settings(&redis.url()))).collect();
    for node in &mut nodes {
        node.until("ready", Node::is_ready);
        assert_eq!((node.log().began.history.last_seq, &*node.log().began.reason), (0, ""));
    }
    for number in 0..300 {
        let node = number % 3;
        nodes[node].append(&format!("{node}-{number}"));
    }
    for node in &mut nodes {
        node.until("all entries", |node| node.log().entries.len() == 300);
        assert_eq!(node.ends.len(), 100);
        assert!(node.ends.values().all(|end| matches!(end, End::Stored(..))), "{:?}", node.ends);
    }
    let first = nodes[0].entries();
    let epoch = nodes[0].log().began.clone();
    for node in &nodes {
        assert_eq!(node.entries(), first);
        assert_eq!(node.log().began, epoch);
        assert_eq!(node.logs.len(), 1);
    }
    let mut late = Node::ready(&settings(&redis.url()));
    assert_eq!(late.entries(), first);
    assert_eq!(late.log().began.history.last_seq, first.last().unwrap().0);
    assert_eq!(late.log().began.history.cipher_key, epoch.history.cipher_key);
    assert!(matches!(late.publish("late"), End::Stored(0, _)));
    let entry = late.log().entries.last().unwrap().clone();
    assert_eq!((&*entry.draft.channel, &*entry.draft.key, &*entry.draft.once), (&b"news"[..], &b"k"[..], &b"late"[..]));
    assert_eq!(entry.draft, node::draft("late"));
}

#[test]
fn a_flood_is_stored_without_a_refusal() {
    let redis = redis!();
    // The last event waits for all others.
    let patient = RedisSettings { timeout: Duration::from_secs(300), ..settings(&redis.url()) };
    let mut node = Node::ready(&patient);
    node.keep(1_000_000);
    // From here on the writer is connected.
    assert!(matches!(node.publish("first"), End::Stored(..)));
    let count = 150_000;
    for _ in 0..count {
        node.append("");
    }
    node.until("all", |node| node.ends.len() == count + 1);
    let refused = node.ends.values().find(|end| !matches!(end, End::Stored(..)));
    assert_eq!(refused, None);
}

#[test]
fn a_killed_connection_loses_nothing() {
    let redis = redis!();
    let [mut a, mut b] = Node::at([redis.url(), redis.url()]);
    for number in 0..2000 {
        a.append(&number.to_string());
        if number % 500 == 250 {
            redis.call(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        }
    }
    a.until("all", |node| node.ends.len() == 2000);
    b.until("all", |node| node.log().entries.len() == 2000);
    assert_eq!(a.entries(), b.entries());
    let expected: Vec<String> = (0..2000).map(|number| number.to_string()).collect();
    assert_eq!(a.texts(), expected);
    assert_eq!((a.logs.len(), b.logs.len()), (1, 1));
}
