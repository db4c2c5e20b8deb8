//! Streams that are subscribed to a hub, on real sockets, with publishers in several threads and in a child.
#![cfg(target_os = "linux")]

#[path = "client/child.rs"]
mod child;
mod client;

use child::fork;
use client::{eventually, local, open, opening, read_events, read_to_end, read_until, settings, tcp};
use eventsource_xs::event::{EventId, Field, Framing, Shared, Text};
use eventsource_xs::hub::{
    EndRequest, Epoch, Evictions, History, OnSlow, Publication, Question, Retain, SequencedEvent,
    Settings as HubSettings, StartPoint, SubscribeRequest, Topic,
};
use eventsource_xs::log::Bounds;
use eventsource_xs::parse::{Event, Parser};
use eventsource_xs::remote::calls::memory_file;
use eventsource_xs::remote::{Act, Hub, Subscribed};
use eventsource_xs::runtime::{
    create_hub, create_own_hub, handing_over, stats, HandoverFile, OpenOptions, OwnHub, Pushed, StreamHandle,
};
use eventsource_xs::stream::{Reason, Settings};
use eventsource_xs::wire::{self, Call, Counted};
use eventsource_xs::ErrorCode;
use std::fs::DirEntry;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Lets one test run at a time, for a child inherits the sockets of every test that runs.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn settings_of_hub(events: usize) -> HubSettings {
    let bounds = Bounds { events, bytes: 1 << 30, age: Duration::from_secs(3_600) };
    HubSettings { on_slow: OnSlow::Disconnect, ..HubSettings::new(bounds, bounds) }
}

fn hub(events: usize) -> Hub {
    Hub::local(wire::HubSettings { hub: settings_of_hub(events), ..Default::default() })
}

fn publication<'a>(channel: &'a str, data: &'a str) -> Publication<'a, std::iter::Once<Field<'a>>> {
    let fields = std::iter::once(Field::Data(Text::from(data)));
    Publication { channel: channel.as_bytes(), key: b"", retain: Retain::No, once: b"", fields }
}

/// Publishes an event, and returns its id.
fn publish(hub: &Hub, channel: &str, data: &str) -> String {
    let mut published_id = String::new();
    hub.publish(publication(channel, data), Act::Wait, |id| published_id = id.to_owned()).expect("a reactor");
    published_id
}

fn epoch_of(hub: &Hub) -> String {
    hub.epoch(true).expect("a reactor").expect("an epoch").into()
}

fn subscribe(hub: &Hub, stream: &mut StreamHandle, channels: &[&str], after: Option<&str>) -> bool {
    let topics = channels.iter().map(|name| Topic::Channel(name.as_bytes().into())).collect();
    let after = after.map(|id| id.as_bytes().into());
    let request = SubscribeRequest { topics, after, start: StartPoint::Latest, ..Default::default() };
    hub.subscribe(stream, request, false).expect("a reactor") == Subscribed::Now
}

/// Reads a client's bytes until the end of the event with this data.
fn read_event(client: &mut impl Read, data: &str) -> String {
    read_until(client, &format!("data: {data}\n")) + &read_until(client, "\n\n")
}

/// Reads a client's events until one with this data.
fn events_until(client: &mut impl Read, data: &str) -> Vec<Event> {
    let mut events = Vec::new();
    read_events(client, &mut Parser::new(), |event| {
        let is_last = event.data == data;
        events.extend(Some(event).filter(|event| event.event != "position"));
        is_last
    });
    events
}

fn without_end(framing: Framing) -> OpenOptions<'static> {
    OpenOptions { head: b"", ends_with_handle: false, ..opening(None, Settings { framing, ..settings() }) }
}

/// Subscribes a new stream on a socket. Returns the stream and the other end of its socket.
fn follow<C>(hub: &Hub, (socket, client): (OwnedFd, C), channels: &[&str], after: Option<&str>) -> (StreamHandle, C) {
    let mut stream = open(OpenOptions { socket: Some(socket), ..without_end(Framing::Plain) });
    assert!(subscribe(hub, &mut stream, channels, after));
    (stream, client)
}

#[test]
fn events_of_many_threads_reach_every_stream_in_the_same_order() {
    const THREADS: usize = 4;
    const EVENTS: usize = 500;
    let _alone = alone();
    let hub = hub(100_000);
    let mut clients = Vec::new();
    for _ in 0..20 {
        let (_stream, client) = follow(&hub, tcp(), &["0", "1", "2", "3"], None);
        clients.push(client); // the hub keeps the stream open
    }
    let publishers = (0..THREADS).map(|channel| {
        let hub = hub.clone();
        thread::spawn(move || {
            for number in 0..EVENTS {
                publish(&hub, &channel.to_string(), &format!("{channel}.{number}"));
            }
        })
    });
    for publisher in publishers.collect::<Vec<_>>() {
        publisher.join().expect("the thread has published");
    }
    publish(&hub, "0", "end");
    let all: Vec<_> = clients.iter_mut().map(|client| events_until(client, "end")).collect();
    for events in &all {
        assert_eq!(events, &all[0]);
    }
    let events = &all[0];
    assert_eq!(events.len(), THREADS * EVENTS + 1);
    let seq = |event: &Event| event.last_event_id.rsplit('-').next().and_then(|seq| seq.parse::<u64>().ok());
    assert!(events.windows(2).all(|pair| seq(&pair[0]) < seq(&pair[1])), "in the order of their sequence numbers");
    for channel in 0..THREADS {
        let texts = events.iter().filter_map(|event| event.data.strip_prefix(&format!("{channel}.")));
        let numbers: Vec<usize> = texts.map(|number| number.parse().expect("a number")).collect();
        assert_eq!(
            numbers,
            (0..EVENTS).collect::<Vec<_>>(),
            "events of thread {channel} in the order in which it published them"
        );
    }
    let counted = || hub.call(Call::Count { channel: b"3"[..].into() }).expect("an answer").counted().expect("counts");
    let Counted { hub: counts, subscribers, .. } = *counted();
    assert_eq!((counts.streams, counts.published, subscribers), (20, 2_001, 20));
    assert_eq!(counts.delivered, 20 * 2_001);
    drop(clients);
    eventually("all streams have ended", || counted().hub.streams == 0);
}

#[test]
fn a_client_that_reconnects_again_and_again_misses_no_event() {
    const EVENTS: usize = 3_000;
    let _alone = alone();
    let hub = hub(100_000);
    let publisher = {
        let hub = hub.clone();
        thread::spawn(move || {
            for number in 0..EVENTS {
                publish(&hub, "news", &number.to_string());
                thread::yield_now();
            }
        })
    };
    let mut parser = Parser::new();
    let mut numbers: Vec<usize> = Vec::new();
    let mut after = format!("{}-0", epoch_of(&hub));
    let mut connections = 0;
    while numbers.last() != Some(&(EVENTS - 1)) {
        let (_stream, mut client) = follow(&hub, tcp(), &["news"], Some(&after));
        connections += 1;
        let mut left = 1 + connections * 977 % 4_000; // bytes until the connection is cut, often within an event
        while left > 0 && numbers.last() != Some(&(EVENTS - 1)) {
            let mut bytes = vec![0; left.min(500)];
            let count = client.read(&mut bytes).expect("more bytes");
            left -= count;
            parser.feed(&bytes[..count]).expect("small events");
            while let Some(event) = parser.next_event() {
                if event.event == "position" {
                    continue;
                }
                assert_eq!(event.event, "message", "a message, not a gap");
                numbers.push(event.data.parse().expect("a number"));
            }
        }
        after = parser.last_event_id().to_owned();
        parser.finish();
    }
    publisher.join().expect("the thread has published");
    assert_eq!(numbers, (0..EVENTS).collect::<Vec<_>>(), "after {connections} connections");
    assert!(connections > 10);
}

#[test]
fn a_chunked_stream_and_a_client_slower_than_the_publisher_receive_whole_events() {
    let _alone = alone();
    let hub = hub(100_000);
    let (socket, mut chunked) = local();
    let mut stream = open(OpenOptions { socket: Some(socket), ..without_end(Framing::Chunked) });
    assert!(subscribe(&hub, &mut stream, &["news"], None));
    let (_other, mut slow) = follow(&hub, local(), &["big"], None);
    let big = "x".repeat(100_000);
    for _ in 0..100 {
        publish(&hub, "big", &big);
    }
    let id = publish(&hub, "news", "hello");
    let epoch = epoch_of(&hub);
    let framed = |block: String| format!("{:x}\r\n{block}\r\n", block.len());
    let position = format!("event: position\ndata: \nid: {epoch}-0\n\n");
    let expected = framed(position) + &framed(format!("data: hello\nid: {id}\n\n"));
    assert_eq!(read_until(&mut chunked, &format!("{id}\n\n\r\n")), expected);
    publish(&hub, "big", "end");
    assert_eq!(events_until(&mut slow, "end").len(), 101);
    stream.close(Reason::Application);
    assert_eq!(read_to_end(&mut chunked), "0\r\n\r\n");
}

#[test]
fn a_stream_ends_after_the_events_published_before_its_end_or_the_end_of_its_hub() {
    let _alone = alone();
    let hub = hub(0);
    let mut ends = Vec::new();
    for _ in 0..2 {
        let (stream, client) = follow(&hub, tcp(), &["news"], None);
        ends.push((stream, client));
    }
    for number in 0..1_000 {
        publish(&hub, "news", &number.to_string());
    }
    let (mut stream, mut client) = ends.remove(0);
    stream.close(Reason::Application);
    assert!(read_to_end(&mut client).contains("data: 999\n"));
    publish(&hub, "news", "last");
    drop(hub);
    let text = read_to_end(&mut ends[0].1);
    let events = || text.split("\n\n").filter(|block| block.contains("data: ") && !block.contains("event: position"));
    assert_eq!(events().count(), 1_001);
    assert!(events().last().map_or(false, |event| event.starts_with("data: last\n")), "{text}");
    assert_eq!(text.matches("retry: ").count(), 1, "the client is told when to reconnect");
}

#[test]
fn an_end_that_was_carried_out_elsewhere_keeps_its_place_without_waiting_for_the_reactor() {
    let _alone = alone();
    let mut hub = create_own_hub(settings_of_hub(10)).expect("a reactor");
    let (socket, mut client) = tcp();
    let mut stream = open(OpenOptions { socket: Some(socket), ..without_end(Framing::Plain) });
    let topics = vec![Topic::Channel(b"news"[..].into())];
    let request = SubscribeRequest { topics: topics.clone(), start: StartPoint::Latest, ..Default::default() };
    assert!(stream.subscribe(&hub.hub, request, 1000).expect("a reactor"));
    let file = HandoverFile::new(memory_file("hub").expect("memory"));
    let paused = handing_over::pause(file, None, false, || false).expect("a reactor");
    let in_reactor = Arc::clone(&hub.hub);
    let mut publish = |data| hub.publish(publication("news", data), None, |_| {}).expect("room");
    publish("before");
    in_reactor.end_streams_of(EndRequest { topics, ..EndRequest::default() }, Duration::ZERO, 0);
    publish("after");
    drop(paused);
    let text = read_to_end(&mut client);
    assert!(text.contains("data: before\n") && !text.contains("data: after\n"), "{text}");
}

#[test]
fn a_stream_belongs_to_the_first_hub_that_does_not_refuse_its_topics() {
    let _alone = alone();
    let [first, other] = [(); 2].map(|()| create_own_hub(settings_of_hub(10)).expect("a reactor"));
    let (socket, _client) = local();
    let mut stream = open(OpenOptions { socket: Some(socket), ..without_end(Framing::Plain) });
    let mut subscribe = |hub: &OwnHub, max_topics| {
        let topics = ["a", "b"].map(|name| Topic::Channel(name.as_bytes().into())).into();
        let request = SubscribeRequest { topics, ..Default::default() };
        stream.subscribe(&hub.hub, request, max_topics).map_err(|failure| failure.code)
    };
    assert_eq!(subscribe(&first, 1), Err(ErrorCode::Invalid));
    assert_eq!([subscribe(&other, 2), subscribe(&other, 4)], [Ok(true); 2]);
    assert_eq!(subscribe(&first, 4), Err(ErrorCode::State));
}

#[test]
fn a_child_has_a_hub_with_its_own_epoch_and_streams() {
    let _alone = alone();
    let hub = hub(1_000);
    let (mut stream, mut client) = follow(&hub, local(), &["news"], None);
    let id = publish(&hub, "news", "before");
    let before = read_event(&mut client, "before");
    let (childs_socket, mut childs_client) = local();
    let child = fork(|| {
        assert_ne!(epoch_of(&hub), id.split('-').next().unwrap_or_default());
        assert!(
            !subscribe(&hub, &mut stream, &["news"], None),
            "the parent's stream cannot subscribe to the child's hub"
        );
        let mut own = open(OpenOptions { socket: Some(childs_socket), ..without_end(Framing::Plain) });
        assert!(subscribe(&hub, &mut own, &["news"], Some(&id)));
        publish(&hub, "news", "from the child");
        eventually("the events are sent", || stats().events == 2);
    });
    child.wait();
    let text = read_event(&mut childs_client, "from the child");
    assert!(text.contains("event: gap\n") && !text.contains("before"), "{text}");
    publish(&hub, "news", "after");
    let after = read_event(&mut client, "after");
    assert_eq!((before + &after).matches("data: ").count(), 3, "the position and two events");
}

#[test]
fn a_child_cannot_push_to_a_stream_of_its_parents_hub() {
    let _alone = alone();
    let hub = hub(1_000);
    let (mut stream, mut client) = follow(&hub, local(), &["news"], None);
    let mut text = read_until(&mut client, "\n\n");
    let (mut parent, mut child_side) = UnixStream::pair().expect("a pair of sockets");
    let child = fork(|| {
        child_side.read_exact(&mut [0]).expect("a byte from the parent, in the middle of an event");
        let pushed = stream.push(b"data: from the child\n\n", false);
        stream.close(Reason::Application);
        assert_eq!(pushed, Pushed::Ended);
    });
    let large = "x".repeat(1_000_000); // more than a socket takes
    publish(&hub, "news", &large);
    eventually("a part of the event is sent", || stream.buffered_bytes() > 0);
    parent.write_all(b"x").expect("the child reads");
    child.wait();
    publish(&hub, "news", "after");
    text.push_str(&read_event(&mut client, "after"));
    let data: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| !data.is_empty()).collect();
    assert!(data == [&*large, "after"], "the events arrive as they were published");
}

/// Lets the reactor of this process die, by replacing its epoll set with a file on which it cannot wait.
fn kill_reactor() {
    let witness = open(without_end(Framing::Plain));
    let numbers = std::fs::read_dir("/proc/self/fd").expect("the descriptors").flatten();
    let is_epoll = |number: &DirEntry| {
        std::fs::read_link(number.path()).map_or(false, |to| to.to_string_lossy().ends_with("[eventpoll]"))
    };
    let epoll = numbers.filter(is_epoll).find_map(|number| number.file_name().to_str()?.parse().ok());
    let null = std::fs::File::open("/dev/null").expect("/dev/null");
    // SAFETY: only the reactor uses the descriptor, and its calls fail from here on.
    assert!(unsafe { libc::dup2(null.as_raw_fd(), epoll.expect("a reactor")) } >= 0);
    drop(open(without_end(Framing::Plain))); // wakes the reactor
    eventually("the reactor is dead", || !witness.is_open());
}

#[test]
fn a_hub_outlives_its_reactor_and_is_not_confused_with_a_hub_of_the_next() {
    let _alone = alone();
    let (first, second) = (hub(10), hub(10));
    kill_reactor();
    // The next reactor could give the first hub's number to the second one.
    let id = publish(&first, "news", "before");
    kill_reactor();
    let (_stream, mut client) = follow(&second, local(), &["news"], None);
    publish(&second, "news", "from the second");
    assert!(read_event(&mut client, "from the second").starts_with("event: position\n"));
    let (_stream, mut client) = follow(&first, local(), &["news"], Some(&id));
    publish(&first, "news", "from the first");
    assert!(read_event(&mut client, "from the first").contains("event: gap\n"));
}

#[test]
fn a_hub_continues_with_stored_events_and_reports_evictions() {
    let _alone = alone();
    let bounds = Bounds { events: 2, bytes: 1 << 30, age: Duration::from_secs(3_600) };
    let evicted = vec![(b"news"[..].into(), 5)];
    let history = History { epoch: "kept".into(), last_seq: 40, evicted, ..History::default() };
    let settings = HubSettings::new(bounds, bounds);
    let hub = create_hub(settings, Epoch::new("kept", None), &history).expect("a reactor");
    let now = Instant::now();
    let append = |seq: u64, text: &str, ago| {
        let at = now.checked_sub(Duration::from_secs(ago)).expect("a time");
        let id = format!("kept-{seq}");
        let fields = std::iter::once(Field::Data(Text::from(text)));
        let event = Shared::with_id_last(fields, EventId::new(Text::from(&*id)).ok());
        let (channel, key) = (b"news"[..].into(), Box::default());
        hub.append(SequencedEvent { seq, channel, event, key, retain: Default::default(), has_custom_id: false }, at);
    };
    for (seq, text, ago) in [(10, "10", 100_000), (20, "20", 60), (40, "40", 1)] {
        append(seq, text, ago);
    }
    let (socket, mut client) = local();
    let mut stream = open(OpenOptions { socket: Some(socket), ..without_end(Framing::Plain) });
    let (topics, after) = (vec![Topic::Channel(b"news"[..].into())], Some(b"kept-10"[..].into()));
    let request = SubscribeRequest { topics, after, start: StartPoint::Latest, ..Default::default() };
    assert!(stream.subscribe(&hub, request, 1000).expect("an open stream"));
    append(90, "90", 0);
    append(91, "end", 0);
    let sent = events_until(&mut client, "end").into_iter().map(|event| (event.data, event.last_event_id));
    let expected = [("20", "kept-20"), ("40", "kept-40"), ("90", "kept-90"), ("end", "kept-91")];
    assert!(sent.eq(expected.map(|(data, id)| (data.to_owned(), id.to_owned()))));
    let evictions = || hub.ask(Question::TakeEvictions).expect("an answer").evictions();
    let all = Evictions { numbers: vec![10, 20, 40], channels: [(b"news"[..].into(), 40)].into(), others: 0 };
    assert_eq!((evictions(), evictions()), (all, Evictions::default()));
    kill_reactor();
    assert!(hub.is_dead());
}
