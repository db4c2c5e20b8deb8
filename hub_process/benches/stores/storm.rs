//! Clients that return all at once, each with many missed events: what they cost Redis and the hub process.

use crate::figures::{cpu, Table};
use crate::hubs::{answer_to, connect, counted, data, event, hand_over, Hub, Kept};
use crate::servers::{Meter, Redis};
use crate::{Plan, DEADLINE};
use eventsource_xs::remote::calls::Epoll;
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use std::io::Read;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

const CHANNEL: &str = "news";
const IDLE: Duration = Duration::from_secs(5);
/// Bytes that are read at once.
const ROOM: usize = 256 << 10;

pub fn run(plan: &Plan) {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let redis = Redis::start();
    let mut meter = Meter::new(&redis);
    let columns = [
        "seconds",
        "CPU ms a client",
        "Redis CPU, ms",
        "without events",
        "Redis commands",
        "of the same time without clients",
    ];
    let mut table =
        Table::new(&columns.map(|name| (name, if name.contains("CPU ms") || name == "seconds" { 3 } else { 1 })));
    for (name, kept) in [("memory", Kept::Memory), ("Redis", Kept::Redis(&redis))] {
        let mut hub = Hub::start(kept, 2 * plan.missed);
        let first = answer_to(hub.client(), &event(CHANNEL, &data(0)));
        for number in 1..=plan.missed {
            answer_to(hub.client(), &event(CHANNEL, &data(number)));
        }
        for _ in 0..plan.turns {
            let quiet = at_rest(&mut meter);
            let (commands, redis_cpu, hub_cpu) = (meter.commands(), meter.cpu(), cpu(hub.pid()));
            let took = storm(&mut hub, plan, &first).as_secs_f64();
            let used = (cpu(hub.pid()) - hub_cpu).as_secs_f64();
            table.add(name, "seconds", took);
            table.add(name, "CPU ms a client", used * 1e3 / plan.clients as f64);
            table.add(name, "Redis CPU, ms", (meter.cpu() - redis_cpu).as_secs_f64() * 1e3);
            table.add(name, "without events", quiet[1] * took * 1e3);
            table.add(name, "Redis commands", (meter.commands() - commands) as f64);
            table.add(name, "of the same time without clients", quiet[0] * took);
        }
        assert_eq!(counted(hub.client(), b"").hub.gaps, 0, "events were lost");
    }
    println!("storm: {} clients, {} missed events each; medians of {}", plan.clients, plan.missed, plan.turns);
    table.print();
}

/// Returns commands, and CPU seconds of Redis, a second, without clients.
fn at_rest(meter: &mut Meter) -> [f64; 2] {
    let (commands, used, begun) = (meter.commands(), meter.cpu(), Instant::now());
    thread::sleep(IDLE);
    let seconds = begun.elapsed().as_secs_f64();
    [(meter.commands() - commands) as f64 / seconds, (meter.cpu() - used).as_secs_f64() / seconds]
}

/// Returns the time until all clients have all events.
fn storm(hub: &mut Hub, plan: &Plan, after: &str) -> Duration {
    let (sockets, clients): (Vec<_>, Vec<_>) = (0..plan.clients).map(|_| connect()).unzip();
    let expected = plan.missed + 1; // a stream begins with an event of its position
    let reader = thread::spawn(move || read_all(clients, expected));
    // The streams end with their worker.
    let mut worker = hub.publisher();
    let begun = Instant::now();
    for (stream, socket) in (1..).zip(&sockets) {
        hand_over(&mut worker, stream, socket, CHANNEL, Some(after));
    }
    drop(sockets);
    let clients = reader.join().expect("no panic");
    let took = begun.elapsed();
    drop(clients);
    let deadline = Instant::now() + DEADLINE;
    while counted(&mut worker, b"").streams.open > 0 {
        assert!(Instant::now() < deadline, "streams stay");
        thread::sleep(Duration::from_millis(10));
    }
    took
}

/// Reads until each client has so many events.
fn read_all(mut clients: Vec<TcpStream>, expected: usize) -> Vec<TcpStream> {
    let epoll = Epoll::new().expect("descriptors");
    for (number, client) in (0..).zip(&clients) {
        client.set_nonblocking(true).expect("an option");
        epoll.add(client.as_fd(), number).expect("memory");
    }
    let mut room = vec![0; ROOM];
    let mut events = vec![0; clients.len()];
    let mut last = vec![0; clients.len()];
    let mut unfinished = clients.len();
    let deadline = Instant::now() + DEADLINE;
    while unfinished > 0 {
        assert!(Instant::now() < deadline, "{unfinished} clients lack events");
        let mut ready = Vec::new();
        epoll.wait(Some(Duration::from_secs(1)), |number, _| ready.push(number as usize)).expect("readiness");
        for at in ready {
            let count = clients[at].read(&mut room).unwrap_or(0);
            let before = events[at];
            for byte in &room[..count] {
                events[at] += usize::from(*byte == b'd' && last[at] == b'\n'); // the line "data: ..."
                last[at] = *byte;
            }
            assert!(events[at] <= expected, "a client has got an event twice");
            unfinished -= usize::from(before < expected && events[at] == expected);
        }
    }
    clients
}
