//! Publishes a second, with an answer to each and without answers, from several publishers.

use crate::figures::Table;
use crate::hubs::{answer_to, data, event, Hub, Kept};
use crate::servers::{Nchan, Redis};
use crate::Plan;
use eventsource_xs::wire::FileSync;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

const PUBLISHERS: [usize; 3] = [1, 4, 16];

/// One publisher: publishes until the time is over. Returns how many.
type Publisher<'a> = Box<dyn FnOnce() -> usize + Send + 'a>;

pub fn run(plan: &Plan) {
    let redis = Redis::start();
    let nginx = Nchan::is_installed().then(|| Nchan::start(&redis));
    let stores = [
        ("memory", Kept::Memory),
        ("file, never", Kept::File(FileSync::Never)),
        ("file, second", Kept::File(FileSync::Second)),
        ("file, event", Kept::File(FileSync::Event)),
        ("Redis", Kept::Redis(&redis)),
    ];
    let hubs = stores.map(|(name, kept)| (name, Hub::start(kept, 1000)));
    let columns: Vec<String> =
        ["", " wait 0"].iter().flat_map(|way| PUBLISHERS.map(|publishers| format!("{publishers}{way}"))).collect();
    let mut table = Table::new(&columns.iter().map(|name| (&name[..], 0)).collect::<Vec<_>>());
    for _ in 0..plan.turns {
        for publishers in PUBLISHERS {
            for (name, hub) in &hubs {
                let answered = (0..publishers).map(|_| answered(hub, plan)).collect();
                table.add(name, &publishers.to_string(), rate(answered));
                let unanswered = (0..publishers).map(|_| unanswered(hub, plan)).collect();
                table.add(name, &format!("{publishers} wait 0"), rate(unanswered));
            }
            if let Some(nginx) = &nginx {
                let posting = (0..publishers).map(|_| posting(nginx, plan)).collect();
                table.add("nchan, Redis", &publishers.to_string(), rate(posting));
            }
        }
    }
    println!("publish: events a second of 1, 4 and 16 publishers, medians of {} turns", plan.turns);
    table.print();
}

/// Returns the events a second of all publishers together.
fn rate(publishers: Vec<Publisher<'_>>) -> f64 {
    let barrier = Barrier::new(publishers.len() + 1);
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for publisher in publishers {
            let barrier = &barrier;
            threads.push(scope.spawn(move || {
                barrier.wait();
                publisher()
            }));
        }
        barrier.wait();
        let begun = Instant::now();
        let published: usize = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
        published as f64 / begun.elapsed().as_secs_f64()
    })
}

fn answered<'a>(hub: &Hub, plan: &'a Plan) -> Publisher<'a> {
    let mut client = hub.publisher();
    Box::new(move || {
        let text = data(0);
        let publication = event("news", &text);
        repeat(plan, || drop(answer_to(&mut client, &publication)))
    })
}

/// The last event is answered, when all before it are stored.
fn unanswered<'a>(hub: &Hub, plan: &'a Plan) -> Publisher<'a> {
    let mut client = hub.publisher();
    Box::new(move || {
        let text = data(0);
        let publication = event("news", &text);
        let count = repeat(plan, || client.publish_unanswered(&publication).expect("a connection"));
        answer_to(&mut client, &publication);
        count + 1
    })
}

fn posting<'a>(nginx: &Nchan, plan: &'a Plan) -> Publisher<'a> {
    let mut publisher = nginx.publisher();
    Box::new(move || {
        let text = data(0);
        repeat(plan, || publisher.publish(&text))
    })
}

fn repeat(plan: &Plan, mut publish: impl FnMut()) -> usize {
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < plan.publishing {
        publish();
        count += 1;
    }
    count
}
