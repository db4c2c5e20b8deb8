//! Several stores, random faults, then the books: whatever happens, each event is stored once and in one order, or its
//! publisher is told, or another epoch has begun.
//!
//! EVENTSOURCE_XS_SEED repeats a run, EVENTSOURCE_XS_STEPS makes it longer.

use crate::node::{settings, End, Node};
use crate::proxy::Proxy;
use crate::server::{has, Redis};
use eventsource_xs::wire::RedisSettings;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

const NODES: usize = 3;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

struct Run {
    redis: Redis,
    nodes: Vec<Node>,
    proxies: Vec<Proxy>,
    random: fastrand::Rng,
    is_persistent: bool,
    published: u64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let is_persistent = seed % 2 == 0;
        let arguments: &[&str] = if is_persistent { &["--appendonly", "yes", "--appendfsync", "always"] } else { &[] };
        let redis = Redis::start(arguments);
        let proxies: Vec<Proxy> = (0..NODES).map(|_| Proxy::new(redis.port)).collect();
        let nodes = proxies.iter().enumerate().map(|(index, proxy)| {
            let queue = if index == 2 { 10_000 } else { 0 };
            Node::ready(&RedisSettings { timeout: Duration::from_secs(4), queue, ..settings(&proxy.url()) })
        });
        let nodes = nodes.collect();
        Self { redis, nodes, proxies, random: fastrand::Rng::with_seed(seed), is_persistent, published: 0 }
    }

    fn step(&mut self) {
        let index = self.random.usize(..NODES);
        let proxy = &self.proxies[index];
        match self.random.u32(..100) {
            0..=69 => {
                for _ in 0..self.random.u32(1..60) {
                    self.published += 1;
                    let text = format!("{index}:{}", self.published);
                    self.nodes[index].append(&text);
                }
            }
            70..=73 => proxy.cut(),
            74 => proxy.hold(),
            75..=80 => proxy.cut_after(self.random.bool(), self.random.i64(1..3000)),
            81..=82 => proxy.half_close(),
            83 => proxy.delay(self.random.u64(1..20)),
            84 => proxy.swallow(self.random.bool(), true),
            85 => proxy.refuse(true),
            86..=91 => proxy.heal(),
            92..=93 => drop(self.redis.try_call(&["CLIENT", "KILL", "TYPE", "normal"])),
            94 => drop(self.redis.try_call(&["CLIENT", "PAUSE", &self.random.u32(1..800).to_string(), "ALL"])),
            95 => {
                self.redis.kill();
                self.pump();
                self.redis.run();
            }
            96 => drop(self.redis.try_call(&["FLUSHALL"])),
            97 => self.redis.keys("es:{shop}").iter().for_each(|key| drop(self.redis.try_call(&["DEL", key]))),
            98 => self.redis.keys("es:{shop}:*").iter().for_each(|key| drop(self.redis.try_call(&["DEL", key]))),
            _ => std::thread::sleep(Duration::from_millis(self.random.u64(1..300))),
        }
        std::thread::sleep(Duration::from_millis(self.random.u64(..4)));
        self.pump();
    }

    fn pump(&mut self) {
        self.nodes.iter_mut().for_each(Node::pump);
    }

    /// Ends all faults, waits until all drafts have ended and all stores have a last entry, then compares the books.
    fn finish(mut self) {
        self.proxies.iter().for_each(Proxy::heal);
        for node in &mut self.nodes {
            let all = node.next_ticket - 1;
            node.until("all ends", |node| node.ends.len() as u64 == all && node.store.status().is_up);
        }
        let last = loop {
            let end = self.nodes[0].publish("the last");
            if let End::Stored(..) = end {
                break self.nodes[0].entries().last().cloned().unwrap();
            }
        };
        for node in &mut self.nodes {
            node.until("the last entry", |node| node.is_ready() && node.entries().last() == Some(&last));
        }
        self.compare();
    }

    fn compare(&self) {
        let mut orders: HashMap<&str, HashMap<u64, &[u8]>> = HashMap::new();
        for node in &self.nodes {
            for (index, log) in node.logs.iter().enumerate() {
                let mut texts = HashSet::new();
                let order = orders.entry(&log.began.epoch).or_default();
                for entry in &log.entries {
                    let text = &*entry.draft.once;
                    assert!(texts.insert(text), "{} is twice in {}", String::from_utf8_lossy(text), log.began.epoch);
                    assert_eq!(*order.entry(entry.seq).or_insert(text), text, "two entries have one number");
                }
                assert!(log.is_ready || index + 1 < node.logs.len());
            }
        }
        // Who has a part of a log has all of it.
        for node in &self.nodes {
            for log in &node.logs {
                let (Some(first), Some(last)) = (log.entries.first(), log.entries.last()) else { continue };
                let order = &orders[&*log.began.epoch];
                let expected = order.keys().filter(|seq| (first.seq..=last.seq).contains(seq)).count();
                assert_eq!(log.entries.len(), expected, "an entry of {} is missing", log.began.epoch);
            }
        }
        let current = &self.nodes[0].log().began.epoch;
        for node in &self.nodes {
            assert_eq!(node.log().began.epoch, *current);
            assert_eq!(node.entries(), self.nodes[0].entries());
            for end in node.ends.values() {
                let End::Stored(index, seq) = end else { continue };
                // What was acknowledged in the current epoch is there.
                if node.logs[*index].began.epoch == *current {
                    assert!(self.nodes.iter().all(|node| node.log().entries.iter().any(|entry| entry.seq == *seq)));
                }
            }
        }
    }
}

#[test]
fn random_faults_lose_and_repeat_nothing_within_an_epoch() {
    needs!(has("redis-server"));
    let runs =
        number("EVENTSOURCE_XS_SEED").map_or_else(|| vec![fastrand::u64(..), fastrand::u64(..)], |seed| vec![seed]);
    for seed in runs {
        eprintln!("EVENTSOURCE_XS_SEED={seed}");
        let mut run = Run::new(seed);
        for _ in 0..number("EVENTSOURCE_XS_STEPS").unwrap_or(300) {
            run.step();
        }
        let (published, persistent) = (run.published, run.is_persistent);
        let logs: Vec<usize> = run.nodes.iter().map(|node| node.logs.len()).collect();
        let failed: usize =
            run.nodes.iter().map(|node| node.ends.values().filter(|end| matches!(end, End::Failed(_))).count()).sum();
        run.finish();
        eprintln!("{published} events, {failed} failed, beginnings {logs:?}, persistent: {persistent}");
    }
}
