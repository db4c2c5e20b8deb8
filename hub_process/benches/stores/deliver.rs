//! From publish to delivery on another machine, one event at a time, beside Redis' own XADD to blocked XREAD.

use crate::figures::{percentile_ms, Table};
use crate::hubs::{answer_to, data, event, subscribe, Hub, Kept};
use crate::servers::{Nchan, Poster, Redis};
use crate::{Plan, DEADLINE};
use eventsource_xs::remote::CallConnection;
use redis::Connection;
use std::io::Read;
use std::net::TcpStream;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// The pause before each event.
const PAUSE: Duration = Duration::from_millis(1);
const WARM_UP: usize = 50;
/// A stream as XREAD returns it: its key, and its entries, each an id and fields.
type Stream = (String, Vec<(String, Vec<String>)>);
const WARM_UP_TIME: Duration = Duration::from_secs(15);
const NCHAN: &str = "two nchan over Redis";
const FLOOR: &str = "XADD to XREAD";

/// A way of an event: it is published here, and arrives there.
struct Way {
    name: &'static str,
    publish: Box<dyn FnMut(&str)>,
    arrived: Receiver<Instant>,
}

pub fn run(plan: &Plan) {
    let redis = Redis::start();
    let mut hubs =
        [Hub::start(Kept::Memory, 1000), Hub::start(Kept::Redis(&redis), 1000), Hub::start(Kept::Redis(&redis), 1000)];
    let nginx = Nchan::is_installed().then(|| [Nchan::start(&redis), Nchan::start(&redis)]);
    let mut ways = vec![raw(redis.connect(), redis.connect())];
    let [memory, one, two] = &mut hubs;
    ways.push(hub("a hub without store", memory.publisher(), memory.client()));
    ways.push(hub("one hub over Redis", one.publisher(), one.client()));
    ways.push(hub("two hubs over Redis", one.publisher(), two.client()));
    ways.extend(nginx.as_ref().map(|[one, two]| nchan(one.publisher(), two)));
    let columns = [
        ("p50", 3),
        ("p99", 3),
        ("p50 above XREAD", 3),
        ("p99 above XREAD", 3),
        ("publish p50", 3),
        ("publish p99", 3),
    ];
    let mut table = Table::new(&columns);
    ways.retain_mut(warm_up);
    for _ in 0..plan.turns {
        let mut floor = [0.0; 2];
        for way in &mut ways {
            let (mut delivered, mut published) = measure(way, plan.delivered);
            let here = [500, 990].map(|per_mille| percentile_ms(&mut delivered, per_mille));
            if way.name == FLOOR {
                floor = here;
            }
            for (name, figure, least) in [("p50", here[0], floor[0]), ("p99", here[1], floor[1])] {
                table.add(way.name, name, figure);
                table.add(way.name, &format!("{name} above XREAD"), figure - least);
            }
            table.add(way.name, "publish p50", percentile_ms(&mut published, 500));
            table.add(way.name, "publish p99", percentile_ms(&mut published, 990));
        }
    }
    println!("deliver: {} events a turn, one at a time; ms, medians of {} turns", plan.delivered, plan.turns);
    table.print();
}

/// Publishes until an event arrives: subscriptions take a while to reach Redis. Returns false if none arrives with nchan, whose
/// subscriber is sometimes deaf after its start.
fn warm_up(way: &mut Way) -> bool {
    let deadline = Instant::now() + WARM_UP_TIME;
    while {
        (way.publish)(&data(0));
        way.arrived.recv_timeout(Duration::from_millis(200)).is_err()
    } {
        if Instant::now() >= deadline {
            assert_eq!(way.name, NCHAN, "no event arrives");
            println!("{NCHAN}: no event arrives within {WARM_UP_TIME:?}, left out\n");
            return false;
        }
    }
    while way.arrived.recv_timeout(Duration::from_millis(200)).is_ok() {}
    measure(way, WARM_UP);
    true
}

/// Returns the times until events arrived, and until their publisher had its answer.
fn measure(way: &mut Way, events: usize) -> (Vec<Duration>, Vec<Duration>) {
    let once = |number| {
        let text = data(number);
        thread::sleep(PAUSE);
        let begun = Instant::now();
        (way.publish)(&text);
        let answered = begun.elapsed();
        let at = way.arrived.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("{}: an event is lost", way.name));
        (at.saturating_duration_since(begun), answered)
    };
    (0..events).map(once).unzip()
}

fn raw(mut writer: Connection, mut reader: Connection) -> Way {
    let (arrives, arrived) = channel();
    thread::spawn(move || {
        let mut after = "$".to_owned();
        loop {
            let mut command = redis::cmd("XREAD");
            command.arg("BLOCK").arg(0).arg("STREAMS").arg("floor").arg(&after);
            // Redis ends before this thread.
            let Ok(answer) = command.query::<Vec<Stream>>(&mut reader) else { return };
            for (id, _) in answer.into_iter().flat_map(|(_, entries)| entries) {
                after = id;
                let _ = arrives.send(Instant::now());
            }
        }
    });
    let publish = move |data: &str| {
        let mut command = redis::cmd("XADD");
        command.arg("floor").arg("*").arg("c").arg("news").arg("d").arg(data);
        command.query::<String>(&mut writer).expect("an id");
    };
    Way { name: FLOOR, publish: Box::new(publish), arrived }
}

fn hub(name: &'static str, mut publisher: CallConnection, worker: &mut CallConnection) -> Way {
    let channel = name.replace(' ', "-");
    static STREAMS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let stream = STREAMS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let arrived = arrivals(subscribe(worker, stream, &channel));
    let publish = move |data: &str| drop(answer_to(&mut publisher, &event(&channel, data)));
    Way { name, publish: Box::new(publish), arrived }
}

fn nchan(mut publisher: Poster, other: &Nchan) -> Way {
    let arrived = arrivals(other.subscribe());
    Way { name: NCHAN, publish: Box::new(move |data| publisher.publish(data)), arrived }
}

/// Reports when events of a stream arrive.
fn arrivals(socket: TcpStream) -> Receiver<Instant> {
    let (arrives, arrived) = channel();
    thread::spawn(move || read_events(socket, &arrives));
    arrived
}

fn read_events(mut socket: TcpStream, arrives: &Sender<Instant>) {
    let mut text = Vec::new();
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = socket.read(&mut bytes) {
        let now = Instant::now();
        text.extend_from_slice(&bytes[..count]);
        if text.ends_with(b"\n\n") {
            let lines = text.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"data:")).count();
            for _ in 0..lines {
                let _ = arrives.send(now);
            }
            text.clear();
        }
    }
}
