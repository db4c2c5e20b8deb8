//! Redis' CPU time for an event, with one hub and with eight, less that of the same time without events.

use crate::figures::{cpu, Table};
use crate::hubs::{answer_to, counted, data, event, Hub, Kept};
use crate::servers::{Meter, Redis};
use crate::{Plan, DEADLINE};
use std::thread::sleep;
use std::time::{Duration, Instant};

const HUBS: [usize; 2] = [1, 8];
const PAUSE: Duration = Duration::from_millis(1);
const IDLE: Duration = Duration::from_secs(3);

/// CPU seconds of Redis, and of all hubs.
type Used = [f64; 2];

pub fn run(plan: &Plan) {
    let columns = ["Redis, paced", "Redis, at once", "a hub, paced", "a hub, at once"];
    let mut table = Table::new(&columns.map(|name| (name, 2)));
    let mut idle = Table::new(&[("commands/s", 1), ("Redis CPU, %", 2), ("CPU of a hub, %", 2)]);
    for _ in 0..plan.turns {
        for count in HUBS {
            let name = format!("{count} hub{}", if count == 1 { "" } else { "s" });
            let redis = Redis::start();
            let mut hubs: Vec<Hub> = (0..count).map(|_| Hub::start(Kept::Redis(&redis), 1000)).collect();
            let mut meter = Meter::new(&redis);
            let quiet = at_rest(&mut meter, &hubs);
            for (column, figure) in ["commands/s", "Redis CPU, %", "CPU of a hub, %"].into_iter().zip(quiet) {
                idle.add(&name, column, figure);
            }
            for (way, events) in [("paced", plan.paced), ("at once", plan.at_once)] {
                let begun = Instant::now();
                let before = used(&mut meter, &hubs);
                publish(&mut hubs, way, events);
                let after = used(&mut meter, &hubs);
                let seconds = begun.elapsed().as_secs_f64();
                let each = |at: usize, per: f64| {
                    let rest = quiet[at + 1] / 100.0 * per * seconds;
                    (after[at] - before[at] - rest) / per * 1e6 / events as f64
                };
                table.add(&name, &format!("Redis, {way}"), each(0, 1.0));
                table.add(&name, &format!("a hub, {way}"), each(1, count as f64));
            }
        }
    }
    println!(
        "readers: CPU us of an event; {} events every ms, {} at once; medians of {}",
        plan.paced, plan.at_once, plan.turns
    );
    table.print();
    println!("readers, without events:");
    idle.print();
}

fn used(meter: &mut Meter, hubs: &[Hub]) -> Used {
    let of_hubs = hubs.iter().map(|hub| cpu(hub.pid()).as_secs_f64()).sum();
    [meter.cpu().as_secs_f64(), of_hubs]
}

/// Returns commands a second, and the CPU time in per cent of Redis and of one hub, without events.
fn at_rest(meter: &mut Meter, hubs: &[Hub]) -> [f64; 3] {
    sleep(Duration::from_millis(200));
    let (before, commands, begun) = (used(meter, hubs), meter.commands(), Instant::now());
    sleep(IDLE);
    let (after, later, seconds) = (used(meter, hubs), meter.commands(), begun.elapsed().as_secs_f64());
    let per_cent = |at: usize| (after[at] - before[at]) * 100.0 / seconds;
    [(later - commands) as f64 / seconds, per_cent(0), per_cent(1) / hubs.len() as f64]
}

/// Publishes, and waits until all hubs have all events.
fn publish(hubs: &mut [Hub], way: &str, events: usize) {
    let before: Vec<u64> = hubs.iter_mut().map(published).collect();
    let text = data(0);
    let publication = event("news", &text);
    let client = hubs[0].client();
    for number in 1..=events {
        if way == "paced" {
            sleep(PAUSE);
            answer_to(client, &publication);
        } else if number < events {
            client.publish_unanswered(&publication).expect("a connection");
        } else {
            answer_to(client, &publication);
        }
    }
    let deadline = Instant::now() + DEADLINE;
    for (hub, before) in hubs.iter_mut().zip(before) {
        while published(hub) < before + events as u64 {
            assert!(Instant::now() < deadline, "a hub has not got all events");
            sleep(Duration::from_millis(5));
        }
    }
}

fn published(hub: &mut Hub) -> u64 {
    counted(hub.client(), b"").hub.published
}
