//! The store in Redis beside the commands that it consists of, with a server of its own: events stored a second, the time from
//! a publish to its report by another store, and the time to begin with a history.
//!
//! `cargo bench --bench redis`. Figures of one run are comparable.

#[allow(dead_code)]
#[path = "../src/messages.rs"]
mod messages;
#[allow(dead_code)]
#[path = "../tests/redis_store/server.rs"]
mod server;
#[allow(dead_code, unused_imports)] // of its tests
#[path = "../src/store/mod.rs"]
mod store;

use ::redis::{cmd, Client, Connection, Value};
use eventsource_xs::event::{Field, Text};
use eventsource_xs::wire::{FieldList, Name, RedisSettings, StoreSettings};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use server::Redis;
use std::thread;
use std::time::{Duration, Instant};
use store::{Ask, Draft, Report, Store};

const TIME: Duration = Duration::from_secs(3);

fn draft() -> Draft {
    let text = "x".repeat(100);
    let fields = FieldList::of([Field::Data(Text::from(&text[..]))]);
    Draft { channel: b"news"[..].into(), fields, ..Draft::default() }
}

fn open(redis: &Redis) -> Store {
    let settings = RedisSettings { url: redis.url().into(), ..RedisSettings::default() };
    let name = Name::new("shop").expect("a name");
    let store = Store::start(&StoreSettings::Redis(Box::new(settings)), &name).expect("threads");
    store.ask(Ask::Retain { events: 200_000, bytes: 1 << 30, age: Duration::from_secs(3600) });
    let mut is_ready = false;
    while !is_ready {
        wait(&store, |report| is_ready |= matches!(report, Report::Ready));
    }
    store
}

fn wait(store: &Store, mut each: impl FnMut(Report)) {
    let descriptor = store.descriptor();
    let _ = poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&Timespec { tv_sec: 1, tv_nsec: 0 }));
    store.take_reports().0.into_iter().for_each(&mut each);
}

/// Stores events with so many on their way. Returns how many a second.
fn appends(store: &Store, in_flight: usize) -> f64 {
    let (start, mut sent, mut done) = (Instant::now(), 0_u64, 0_u64);
    let ask = |sent: &mut u64| {
        *sent += 1;
        store.ask(Ask::Append { ticket: *sent, draft: draft() });
    };
    (0..in_flight).for_each(|_| ask(&mut sent));
    while start.elapsed() < TIME {
        let before = done;
        wait(store, |report| match report {
            Report::Entries(entries) => done += entries.len() as u64,
            Report::Failed { failure, .. } => panic!("{failure}"),
            _ => {}
        });
        (before..done).for_each(|_| ask(&mut sent));
    }
    let rate = done as f64 / start.elapsed().as_secs_f64();
    while done < sent {
        wait(store, |report| {
            if let Report::Entries(entries) = report {
                done += entries.len() as u64
            }
        });
    }
    rate
}

/// The same with bare commands and their answers.
fn bare_appends(connection: &mut Connection, in_flight: usize) -> f64 {
    let (start, mut done) = (Instant::now(), 0_u64);
    let mut bytes = Vec::new();
    for _ in 0..in_flight {
        let text = draft();
        cmd("XADD")
            .arg("bare")
            .arg("MAXLEN")
            .arg("~")
            .arg(200_000)
            .arg("*")
            .arg("f")
            .arg(text.fields.as_bytes())
            .write_packed_command(&mut bytes);
    }
    while start.elapsed() < TIME {
        connection.send_packed_command(&bytes).expect("XADD");
        (0..in_flight).for_each(|_| drop(connection.recv_response().expect("an id")));
        done += in_flight as u64;
    }
    done as f64 / start.elapsed().as_secs_f64()
}

fn show(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: usize| times[times.len() * part / 1000].as_micros();
    println!("{what:<44} p50 {:>5} us   p99 {:>5} us   p99.9 {:>5} us", at(500), at(990), at(999));
}

const EVENTS: usize = 3000;
const PAUSE: Duration = Duration::from_millis(1);

fn latency(from: &Store, to: &Store) -> Vec<Duration> {
    from.take_reports();
    to.take_reports();
    (0..EVENTS as u64)
        .map(|ticket| {
            thread::sleep(PAUSE);
            let start = Instant::now();
            from.ask(Ask::Append { ticket: 1 << 40 | ticket, draft: draft() });
            let mut is_there = false;
            while !is_there {
                wait(to, |report| is_there |= matches!(report, Report::Entries(_)));
            }
            start.elapsed()
        })
        .collect()
}

fn bare_latency(client: &Client) -> Vec<Duration> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let mut reader = client.get_connection().expect("a connection");
    let reading = thread::spawn(move || {
        let mut last = "$".to_owned();
        for _ in 0..EVENTS {
            let answer: Value = cmd("XREAD")
                .arg("BLOCK")
                .arg(0)
                .arg("STREAMS")
                .arg("bare")
                .arg(&last)
                .query(&mut reader)
                .expect("XREAD");
            let now = Instant::now();
            let Value::Array(streams) = answer else { panic!("no stream") };
            let Value::Array(stream) = &streams[0] else { panic!("no stream") };
            let Value::Array(entries) = &stream[1] else { panic!("no entries") };
            let Value::Array(entry) = &entries[0] else { panic!("no entry") };
            let Value::BulkString(id) = &entry[0] else { panic!("no id") };
            last = String::from_utf8(id.clone()).expect("an id");
            sender.send(now).expect("a receiver");
        }
    });
    let mut writer = client.get_connection().expect("a connection");
    thread::sleep(Duration::from_millis(100));
    let event = draft();
    let times = (0..EVENTS)
        .map(|_| {
            thread::sleep(PAUSE);
            let start = Instant::now();
            let _: Value = cmd("XADD")
                .arg("bare")
                .arg("*")
                .arg("f")
                .arg(event.fields.as_bytes())
                .query(&mut writer)
                .expect("XADD");
            receiver.recv().expect("a time").saturating_duration_since(start)
        })
        .collect();
    reading.join().expect("a reader");
    times
}

fn main() {
    let redis = Redis::start(&[]);
    let client = Client::open(redis.url()).expect("a URL");
    let mut connection = client.get_connection().expect("a connection");
    let (a, b) = (open(&redis), open(&redis));
    show("bare XADD to XREAD of another connection", bare_latency(&client));
    show("publish to the report of another store", latency(&a, &b));
    show("publish to the own report", latency(&a, &a));
    drop(b);
    for in_flight in [1, 64, 1000] {
        let bare = bare_appends(&mut connection, in_flight);
        println!("{in_flight:>4} in flight: bare XADD {bare:>8.0}/s   store {:>8.0}/s", appends(&a, in_flight));
    }
    let _: Value = cmd("DEL").arg("bare").query(&mut connection).expect("DEL");
    drop(a);
    let settings = RedisSettings { url: redis.url().into(), ..RedisSettings::default() };
    let name = Name::new("shop").expect("a name");
    let start = Instant::now();
    let store = Store::start(&StoreSettings::Redis(Box::new(settings)), &name).expect("threads");
    let (mut entries, mut is_ready) = (0, false);
    while !is_ready {
        wait(&store, |report| match report {
            Report::Entries(list) => entries += list.len(),
            Report::Ready => is_ready = true,
            _ => {}
        });
    }
    println!("a history of {entries} entries was read in {} ms", start.elapsed().as_millis());
}
