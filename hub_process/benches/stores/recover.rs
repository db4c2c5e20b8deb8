//! From the start of a hub process, with a history in its store, until it welcomes a worker.

use crate::figures::{cpu, Table};
use crate::hubs::{answer_to, counted, data, event, Hub, Kept};
use crate::servers::Redis;
use crate::Plan;
use eventsource_xs::wire::FileSync;
use std::time::Instant;

/// Events of a channel.
const A_CHANNEL: usize = 100;

pub fn run(plan: &Plan) {
    let redis = Redis::start();
    let stores = [("memory", Kept::Memory), ("file", Kept::File(FileSync::Never)), ("Redis", Kept::Redis(&redis))];
    let mut table = Table::new(&[
        ("after stop", 1),
        ("after kill -9", 1),
        ("CPU of the hub", 1),
        ("events", 0),
        ("MB of files", 1),
    ]);
    for (name, kept) in stores {
        let mut hub = Hub::start(kept, 2 * A_CHANNEL);
        fill(&mut hub, plan.recovered);
        let expected = if matches!(kept, Kept::Memory) { 0 } else { plan.recovered };
        for _ in 0..plan.turns {
            for (column, end) in [("after stop", Hub::stop as fn(&mut Hub)), ("after kill -9", Hub::kill)] {
                end(&mut hub);
                let begun = Instant::now();
                hub.resume();
                table.add(name, column, begun.elapsed().as_secs_f64() * 1e3);
                table.add(name, "CPU of the hub", cpu(hub.pid()).as_secs_f64() * 1e3);
            }
            let events = counted(hub.client(), b"").hub.events;
            assert_eq!(events, expected as u64, "{name}: events are missing");
            table.add(name, "events", events as f64);
            table.add(name, "MB of files", hub.file_bytes() as f64 / 1e6);
        }
    }
    println!(
        "recover: {} events, {A_CHANNEL} a channel; ms until a worker is welcomed, medians of {}",
        plan.recovered, plan.turns
    );
    table.print();
}

fn fill(hub: &mut Hub, events: usize) {
    let client = hub.client();
    for number in 0..events - 1 {
        let channel = format!("channel-{}", number / A_CHANNEL);
        let text = data(number);
        client.publish_unanswered(&event(&channel, &text)).expect("a connection");
    }
    answer_to(client, &event("channel-0", &data(events - 1))); // all before it are stored
}
