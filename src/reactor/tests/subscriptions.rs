//! Streams that follow a hub, as the thread of the reactor sees to them.

use super::*;
use crate::event::Shared;
use crate::hub::{self, Epoch, OnSlow, Publication, Request, Start, Topic};
use crate::log::Bounds;

const HUB: u32 = 0;

/// A world with a hub that remembers so many events.
fn with_history(events: usize) -> World {
    with_policy(events, OnSlow::Disconnect)
}

fn with_policy(events: usize, on_slow: OnSlow) -> World {
    let mut world = World::new();
    let history = Bounds { events, bytes: 1 << 20, age: Duration::from_secs(3600) };
    let total_history = Bounds { events: 10 * events, ..history };
    let settings = hub::Settings { history, total_history, on_slow, gap_event: "gap".into(), opaque_ids: false };
    world.tell(Command::CreateHub { hub: HUB, epoch: Epoch::new("e", None), settings: Box::new(settings) });
    world
}

/// A hub beside the one that all follow.
fn another_hub(world: &mut World) -> HubId {
    let history = Bounds { events: 9, bytes: 1 << 20, age: Duration::from_secs(3600) };
    let other = hub::Settings {
        history,
        total_history: history,
        on_slow: OnSlow::Gap,
        gap_event: "gap".into(),
        opaque_ids: false,
    };
    world.tell(Command::CreateHub { hub: HUB + 1, epoch: Epoch::new("f", None), settings: Box::new(other) });
    HUB + 1
}

fn publish(world: &mut World, seqs: std::ops::RangeInclusive<u64>) {
    publish_to(world, "c", seqs);
}

fn publish_to(world: &mut World, channel: &str, seqs: std::ops::RangeInclusive<u64>) {
    for seq in seqs {
        let text = format!("{seq}.");
        let event = Shared::write(text.len(), |out| {
            out.copy_from_slice(text.as_bytes());
            text.len()
        });
        let publication = Publication { seq, channel: channel.as_bytes().into(), event, key: (*b"").into(), id: None };
        world.tell(Command::Publish { hub: HUB, publication: Box::new(publication) });
    }
}

fn subscribe(world: &mut World, stream: usize) {
    world.accounts[stream].follows = true;
    let topics = vec![Topic::Channel((*b"c").into())];
    let request = Box::new(Request { topics, after: None, start: Start::Newest });
    world.tell(Command::Subscribe { hub: HUB, stream: world.accounts[stream].id, request, holds: false });
}

fn numbers(seqs: std::ops::RangeInclusive<u64>) -> String {
    seqs.map(|seq| format!("{seq}.")).collect()
}

#[test]
fn who_keeps_up_misses_nothing_however_short_the_history_is() {
    for (history, burst) in [(0, 1), (1, 20), (10, 20), (10, 512), (100, 5000)] {
        let mut world = with_history(history);
        let stream = world.open(settings(), "");
        subscribe(&mut world, stream);
        publish(&mut world, 1..=burst);
        world.settle();
        publish(&mut world, burst + 1..=2 * burst);
        world.settle();
        assert_eq!(world.accounts[stream].ended, None, "{history} {burst}");
        assert_eq!(world.received(stream), format!("id: e-0\n\n{}", numbers(1..=2 * burst)));
    }
}

#[test]
fn that_somebody_comes_makes_nobody_miss_anything() {
    let mut world = with_history(3);
    let stream = world.open(settings(), "");
    subscribe(&mut world, stream);
    publish(&mut world, 1..=10);
    let other = world.open(settings(), "");
    subscribe(&mut world, other);
    publish(&mut world, 11..=20);
    world.settle();
    assert_eq!(world.received(stream), format!("id: e-0\n\n{}", numbers(1..=20)));
    assert_eq!(world.received(other), format!("id: e-10\n\n{}", numbers(11..=20)));
}

/// A stream that follows, and has been sent its position.
fn subscriber(world: &mut World, settings: Settings) -> usize {
    let stream = world.open(settings, "");
    subscribe(world, stream);
    world.settle();
    world.client(stream).take_received();
    stream
}

/// What a client has received since that was asked last.
fn came(world: &mut World, stream: usize) -> String {
    String::from_utf8(world.client(stream).take_received()).expect("only text is sent")
}

fn counts(world: &mut World) -> hub::Counts {
    world.tell(Command::Count { hub: HUB, request_id: 1, channel: (*b"c").into() });
    world.settle();
    world.counts.expect("it has answered")
}

#[test]
fn an_event_is_one_block_that_all_streams_share() {
    let mut world = with_history(10);
    let chunked = Settings { framing: Framing::Chunked, ..settings() };
    let streams: Vec<usize> =
        (0..100).map(|number| subscriber(&mut world, if number % 2 == 0 { chunked } else { settings() })).collect();
    publish(&mut world, 1..=1);
    assert_eq!(world.accounts.iter().map(|account| account.sent.events).sum::<usize>(), 0);
    world.settle();
    for (number, stream) in streams.iter().enumerate() {
        let block = if number % 2 == 0 { "2\r\n1.\r\n" } else { "1." };
        assert_eq!(came(&mut world, *stream), block);
        assert_eq!(world.client(*stream).send_calls, 2);
    }
    let counts = counts(&mut world);
    assert_eq!((counts.events, counts.bytes, counts.delivered), (1, "2\r\n1.\r\nc".len() as u64, 100));
}

#[test]
fn what_is_pushed_goes_before_what_is_shared_but_not_into_it() {
    for framing in [Framing::Plain, Framing::Chunked] {
        let block = |text: &str| String::from_utf8(framing.frame(text.as_bytes()).to_vec()).expect("text");
        let whole = [block("pushed"), block("1."), block("2.")].concat();
        for cut in 0..=whole.len() {
            let mut world = with_history(10);
            let stream = subscriber(&mut world, Settings { framing, ..settings() });
            world.client(stream).sends.push_back(Ok(cut));
            publish(&mut world, 1..=2);
            world.push(stream, block("pushed").as_bytes());
            world.settle();
            assert_eq!(came(&mut world, stream), whole[..cut]);
            world.push(stream, block("later").as_bytes());
            publish(&mut world, 3..=3);
            if world.client(stream).is_asked {
                world.writable(stream);
            }
            world.settle();
            // After the event that is on its way, before those that are not.
            let ends = [block("pushed").len(), whole.len() - block("2.").len(), whole.len()];
            let end = if cut == 0 { ends[0] } else { ends.into_iter().find(|end| cut <= *end).expect("it ends") };
            let all = [&whole[..end], &block("later"), &whole[end..], &block("3.")].concat();
            assert_eq!(came(&mut world, stream), all[cut..], "{framing:?} cut at {cut}");
            assert_eq!(world.accounts[stream].sent.events, 5);
        }
    }
}

#[test]
fn very_many_events_take_turns_of_so_many_blocks() {
    let mut world = with_history(10_000);
    let stream = subscriber(&mut world, settings());
    publish(&mut world, 1..=3000);
    world.push(stream, b"pushed");
    world.settle();
    assert_eq!(came(&mut world, stream), format!("pushed{}", numbers(1..=3000)));
    assert_eq!(world.client(stream).most_blocks, GATHERED);
    assert_eq!(world.client(stream).send_calls, 1 + 3001_usize.div_ceil(GATHERED));
}

#[test]
fn a_stream_that_is_quiet_is_sent_its_position() {
    let mut world = with_history(10);
    let [stream, idle] = [(); 2].map(|()| subscriber(&mut world, settings()));
    world.tell(Command::Unsubscribe { stream: world.accounts[idle].id, topics: None });
    publish(&mut world, 1..=7);
    world.pass(Duration::from_secs(17));
    assert_eq!(came(&mut world, stream), format!("{}id: e-7\n\n", numbers(1..=7)));
    assert_eq!(came(&mut world, idle), ":\r\n\r\n", "that follows nothing any more");
}

#[test]
fn a_stream_that_is_overtaken_while_its_socket_takes_nothing_is_told_when_it_takes_something() {
    for (on_slow, then) in [
        (OnSlow::Gap, "event: gap\nid: e-10-15\ndata: {\"reason\":\"slow\"}\n\n16.17.18."),
        (OnSlow::Newest, "18."),
        (OnSlow::Disconnect, ""),
    ] {
        let mut world = with_policy(3, on_slow);
        let stream = subscriber(&mut world, settings());
        publish(&mut world, 1..=9);
        world.settle();
        world.client(stream).sends.push_back(Ok(1)); // of the event
        publish(&mut world, 10..=10);
        world.settle();
        for seq in 11..=18 {
            publish(&mut world, seq..=seq);
            world.settle();
        }
        assert_eq!(came(&mut world, stream), format!("{}1", numbers(1..=9)));
        if on_slow == OnSlow::Disconnect {
            assert_eq!(world.accounts[stream].ended, Some(Reason::Slow));
            assert_eq!(world.accounts[stream].lost.events, 1, "the one that was on its decision");
        } else {
            assert_eq!(world.accounts[stream].ended, None);
            world.writable(stream);
            world.settle();
            assert_eq!(came(&mut world, stream), format!("0.{then}"), "{on_slow:?}");
        }
        let hub::Counts { disconnected, skipped, conflated, gaps, streams, .. } = counts(&mut world);
        let expected = match on_slow {
            OnSlow::Gap => (0, 1, 0, 1, 1),
            OnSlow::Newest => (0, 0, 1, 0, 1),
            OnSlow::Disconnect => (1, 0, 0, 0, 0),
        };
        assert_eq!((disconnected, skipped, conflated, gaps, streams), expected, "{on_slow:?}");
    }
}

#[test]
fn a_hub_that_is_drained_sends_its_streams_away_one_by_one_and_takes_no_more() {
    let mut world = with_history(10);
    let streams: Vec<usize> = (0..10).map(|_| subscriber(&mut world, settings())).collect();
    let other = world.open(settings(), "");
    publish(&mut world, 1..=1);
    world.settle();
    world.tell(Command::Drain { hub: HUB, within: Duration::from_secs(10) });
    world.pass(Duration::from_millis(4500));
    let ended = |world: &World| streams.iter().filter(|stream| world.accounts[**stream].ended.is_some()).count();
    assert_eq!(ended(&world), 5);
    publish(&mut world, 2..=2);
    world.pass(Duration::from_secs(6));
    assert_eq!(ended(&world), 10);
    for (number, stream) in streams.iter().enumerate() {
        let events = if number < 5 { "1.id: e-1" } else { "1.2.id: e-2" };
        let text = came(&mut world, *stream);
        assert!(text.starts_with(&format!("{events}\n\nretry: ")) && text.ends_with("\r\n\r\n"), "{text:?}");
        assert_eq!(world.accounts[*stream].ended, Some(Reason::Server));
    }
    subscribe(&mut world, other);
    world.settle();
    assert_eq!(world.accounts[other].ended, Some(Reason::Server));
    assert!(came(&mut world, other).starts_with("retry: "));
    assert_eq!(counts(&mut world).streams, 0);
}

#[test]
fn a_stream_that_ends_is_sent_what_was_published_before() {
    type End = fn(&mut World, usize);
    let closes: End = |world, stream| world.end(stream, Reason::Application, Ending::Flush);
    let hub_leaves: End = |world, _| world.tell(Command::CloseHub { hub: HUB });
    let process_ends: End = |world, _| world.tell(Command::ShutDown { within: Duration::from_secs(5) });
    let is_refused: End = |world, stream| world.tell(Command::Refuse { stream: world.accounts[stream].id });
    for end in [closes, hub_leaves, process_ends, is_refused] {
        for is_slow in [false, true] {
            let mut world = with_history(10);
            let stream = subscriber(&mut world, Settings { framing: Framing::Chunked, ..settings() });
            if is_slow {
                world.client(stream).sends.push_back(Ok(3));
            }
            publish(&mut world, 1..=1);
            if is_slow {
                world.settle();
            }
            publish(&mut world, 2..=2);
            end(&mut world, stream);
            publish(&mut world, 3..=3);
            world.settle();
            if is_slow {
                world.writable(stream);
            }
            world.pass(Duration::from_secs(1));
            assert!(world.accounts[stream].ended.is_some());
            let text = came(&mut world, stream);
            let [first, second] = ["2\r\n1.\r\n", "2\r\n2.\r\n"].map(|event| text.find(event).expect(&text));
            assert!(first < second && text.ends_with("\r\n0\r\n\r\n"), "{text:?}");
        }
    }
}

#[test]
fn a_stream_of_one_hub_follows_no_other() {
    let mut world = with_history(10);
    let other = another_hub(&mut world);
    let stream = subscriber(&mut world, settings());
    let request = Request { topics: vec![Topic::Pattern((*b"**").into())], after: None, start: Start::Oldest };
    let id = world.accounts[stream].id;
    world.tell(Command::Subscribe { hub: other, stream: id, request: Box::new(request.clone()), holds: false });
    publish(&mut world, 1..=1);
    world.settle();
    assert_eq!(came(&mut world, stream), "1.");
    // When it follows nothing any more, it may.
    world.tell(Command::Unsubscribe { stream: id, topics: None });
    world.tell(Command::Subscribe { hub: other, stream: id, request: Box::new(request), holds: false });
    publish(&mut world, 2..=2);
    world.settle();
    assert_eq!(came(&mut world, stream), "id: f-0\n\n");
}

#[test]
fn a_place_that_is_used_again_follows_nothing() {
    let mut world = with_history(10);
    let stays = subscriber(&mut world, settings());
    let gone = subscriber(&mut world, settings());
    world.end(gone, Reason::Slow, Ending::Discard);
    world.settle();
    let next = world.open(settings(), "");
    assert_eq!(world.accounts[next].id.slot, world.accounts[gone].id.slot);
    publish(&mut world, 1..=1);
    world.settle();
    assert_eq!((came(&mut world, stays), came(&mut world, next)), ("1.".into(), String::new()));
    // A late word about the one that is gone does nothing to it either.
    subscribe(&mut world, gone);
    world.tell(Command::Unsubscribe { stream: world.accounts[gone].id, topics: None });
    publish(&mut world, 2..=2);
    world.settle();
    assert_eq!((came(&mut world, stays), came(&mut world, next)), ("2.".into(), String::new()));
    assert_eq!(counts(&mut world).streams, 1);
}

#[test]
fn streams_that_come_and_go_leave_nothing_in_lists_though_nothing_is_published() {
    let mut world = with_history(10);
    let stays = subscriber(&mut world, settings());
    for _ in 0..200 {
        let gone = subscriber(&mut world, settings());
        world.ready(gone, Ready { left: true, ..Ready::default() });
        world.settle();
        world.reactor.hubs.get_mut(HUB).expect("it is there").check();
    }
    publish(&mut world, 1..=1);
    world.settle();
    assert_eq!((came(&mut world, stays), counts(&mut world).streams), ("1.".into(), 1));
}

#[test]
fn a_stream_that_follows_nothing_any_more_is_not_sent_away_with_the_others() {
    let mut world = with_history(10);
    let [stream, other] = [(); 2].map(|()| subscriber(&mut world, settings()));
    world.tell(Command::Drain { hub: HUB, within: Duration::from_secs(10) });
    world.tell(Command::Unsubscribe { stream: world.accounts[other].id, topics: None });
    world.pass(Duration::from_secs(11));
    assert_eq!([stream, other].map(|stream| world.accounts[stream].ended), [Some(Reason::Server), None]);
}

#[test]
fn a_stream_that_follows_another_hub_by_now_is_not_sent_away_with_those_of_the_first() {
    let mut world = with_history(10);
    let other = another_hub(&mut world);
    let [stream, moved] = [(); 2].map(|()| subscriber(&mut world, settings()));
    world.tell(Command::Drain { hub: HUB, within: Duration::from_secs(10) });
    let id = world.accounts[moved].id;
    world.tell(Command::Unsubscribe { stream: id, topics: None });
    let request = Request { topics: vec![Topic::Channel((*b"c").into())], after: None, start: Start::Newest };
    world.tell(Command::Subscribe { hub: other, stream: id, request: Box::new(request), holds: false });
    world.pass(Duration::from_secs(11));
    assert_eq!([stream, moved].map(|stream| world.accounts[stream].ended), [Some(Reason::Server), None]);
}

#[test]
fn a_stream_that_is_overtaken_again_and_again_has_no_more_waiting_for_that() {
    for on_slow in [OnSlow::Gap, OnSlow::Newest] {
        let mut world = with_policy(3, on_slow);
        let stream = subscriber(&mut world, settings());
        world.client(stream).always = Some(Err(libc::EAGAIN));
        for turn in 0..200 {
            publish(&mut world, 10 * turn + 1..=10 * turn + 10);
            world.settle();
            world.client(stream).sends.push_back(Ok(7));
            world.writable(stream);
            world.settle();
            let account = &world.accounts[stream];
            let waiting = account.added_bytes - account.sent.bytes;
            assert!(waiting < 100, "{waiting} bytes wait in turn {turn} with {on_slow:?}");
        }
        world.client(stream).always = None;
        world.writable(stream);
        world.settle();
        assert!(world.received(stream).ends_with("2000."), "and in the end it has the newest");
    }
}

#[test]
fn a_client_that_takes_nothing_is_not_kept_more_for_each_time_that_its_stream_follows_something_else() {
    let settings = Settings { max_buffered: 1000, ..settings() };
    let other = || vec![Topic::Channel((*b"other").into())];
    for takes_nothing in [true, false] {
        let mut world = with_history(10);
        let stream = world.open(settings, "");
        let id = world.accounts[stream].id;
        world.accounts[stream].follows = true;
        world.reactor.io().clients[stream].always = takes_nothing.then_some(Err(libc::EAGAIN));
        subscribe(&mut world, stream);
        for burst in 0..1000 {
            publish(&mut world, 5 * burst + 1..=5 * burst + 5);
            world.settle();
            let request = Box::new(Request { topics: other(), after: None, start: Start::Newest });
            world.tell(Command::Subscribe { hub: HUB, stream: id, request, holds: false });
            world.tell(Command::Unsubscribe { stream: id, topics: Some(other().into()) });
            let account = &world.accounts[stream];
            assert!(account.added_bytes <= account.sent.bytes + account.lost.bytes + 1000 + 1000, "{burst}");
        }
        assert_eq!(world.accounts[stream].ended, Some(Reason::Slow).filter(|_| takes_nothing));
    }
}

#[test]
fn a_client_that_comes_back_after_long_and_takes_nothing_has_no_more_waiting_for_that() {
    let mut world = with_policy(1000, OnSlow::Gap);
    publish_to(&mut world, "quiet", 1..=1000);
    publish_to(&mut world, "busy", 1001..=2500);
    world.settle();
    let stream = world.open(settings(), "");
    world.accounts[stream].follows = true;
    world.client(stream).always = Some(Err(libc::EAGAIN));
    let topics = ["quiet", "busy"].map(|name| Topic::Channel(name.as_bytes().into())).into();
    let request = Box::new(Request { topics, after: Some((*b"e-1").into()), start: Start::Newest });
    world.tell(Command::Subscribe { hub: HUB, stream: world.accounts[stream].id, request, holds: false });
    world.settle();
    let account = &world.accounts[stream];
    assert!(account.added_bytes - account.sent.bytes < 1000, "{account:?}");
    world.client(stream).always = None;
    world.writable(stream);
    world.settle();
    let before: String = (2..=1000).map(|seq| format!("{seq}.id: e-{seq}-1500\n\n")).collect();
    let first = "id: e-1-0\n\nevent: gap\nid: e-1-1500\ndata: {\"reason\":\"forgotten\"}\n\n";
    let came = came(&mut world, stream);
    let expected = format!("{first}{before}{}", numbers(1501..=2500));
    assert!(came == expected, "{came}");
}

#[test]
fn nothing_is_left_of_hubs_that_are_dropped() {
    let mut world = with_history(10);
    for hub in 1..1000 {
        let settings = hub::Settings {
            history: Bounds { events: 1, bytes: 1, age: Duration::ZERO },
            total_history: Bounds { events: 1, bytes: 1, age: Duration::ZERO },
            on_slow: OnSlow::Gap,
            gap_event: "gap".into(),
            opaque_ids: false,
        };
        world.tell(Command::CreateHub { hub, epoch: Epoch::new("e", None), settings: Box::new(settings) });
        world.tell(Command::CloseHub { hub });
    }
    assert_eq!(world.reactor.hubs.len(), 1);
}

/// Subscribes a stream to a channel, as a handler does that may subscribe to more.
fn subscribe_held(world: &mut World, stream: usize, channel: &str) {
    world.accounts[stream].follows = true;
    let topics = vec![Topic::Channel(channel.as_bytes().into())];
    let request = Box::new(Request { topics, after: None, start: Start::Newest });
    world.tell(Command::Subscribe { hub: HUB, stream: world.accounts[stream].id, request, holds: true });
}

#[test]
fn a_held_stream_is_sent_nothing_before_its_handler_returns() {
    let mut world = with_history(10);
    let stream = world.open(settings(), "head");
    subscribe_held(&mut world, stream, "c");
    publish(&mut world, 1..=1);
    world.settle();
    subscribe_held(&mut world, stream, "d");
    publish_to(&mut world, "d", 2..=2);
    world.settle();
    assert_eq!(came(&mut world, stream), "head", "but for the head");
    assert_eq!(counts(&mut world).streams, 1, "though it counts");
    world.tell(Command::BeginSubscription { stream: world.accounts[stream].id });
    publish(&mut world, 3..=3);
    world.settle();
    assert_eq!(came(&mut world, stream), "id: e-0\n\n1.2.3.");
}

#[test]
fn a_held_stream_begins_after_five_seconds() {
    let mut world = with_history(10);
    let stream = world.open(settings(), "");
    subscribe_held(&mut world, stream, "c");
    world.pass(Duration::from_millis(2500));
    publish(&mut world, 1..=1);
    world.pass(Duration::from_millis(2400));
    assert_eq!(came(&mut world, stream), "");
    world.pass(Duration::from_millis(200));
    assert_eq!(came(&mut world, stream), "id: e-0\n\n1.");
}

#[test]
fn a_held_stream_begins_before_the_log_evicts_what_it_is_owed() {
    for history in [0, 1, 3] {
        let mut world = with_history(history);
        let stream = world.open(settings(), "");
        subscribe_held(&mut world, stream, "c");
        let most = history as u64;
        if most > 0 {
            publish(&mut world, 1..=most);
            world.settle();
            assert_eq!(came(&mut world, stream), "", "as long as everything is in the log it waits");
        }
        publish(&mut world, most + 1..=most + 5);
        world.settle();
        assert_eq!(came(&mut world, stream), format!("id: e-0\n\n{}", numbers(1..=most + 5)), "history {history}");
        assert_eq!(world.accounts[stream].ended, None);
    }
}

#[test]
fn a_held_stream_that_ends_is_sent_what_it_subscribed_to() {
    let mut world = with_history(10);
    let stream = world.open(settings(), "");
    subscribe_held(&mut world, stream, "c");
    publish(&mut world, 1..=2);
    world.end(stream, Reason::Application, Ending::Flush);
    world.settle();
    assert_eq!(came(&mut world, stream), "id: e-0\n\n1.2.");
    assert_eq!(world.accounts[stream].ended, Some(Reason::Application));
}

/// How many bytes are buffered for a stream alone.
fn buffered(world: &mut World, stream: usize) -> usize {
    let id = world.accounts[stream].id;
    world.reactor.entry(id).map_or(0, |entry| entry.stream.buffered_bytes())
}

#[test]
fn a_client_that_never_reads_has_no_backlog_buffered_whatever_becomes_of_its_stream() {
    type Act = (&'static str, fn(&mut World, usize));
    let acts: [Act; 6] = [
        ("nothing", |_, _| {}),
        ("a drain", |world, _| world.tell(Command::Drain { hub: HUB, within: Duration::ZERO })),
        ("the end of the process", |world, _| world.tell(Command::ShutDown { within: Duration::from_secs(5) })),
        ("a dropped hub", |world, _| world.tell(Command::CloseHub { hub: HUB })),
        ("a close", |world, stream| world.end(stream, Reason::Application, Ending::Flush)),
        ("unsubscribing", |world, stream| {
            world.tell(Command::Unsubscribe { stream: world.accounts[stream].id, topics: None });
        }),
    ];
    for on_slow in [OnSlow::Disconnect, OnSlow::Gap, OnSlow::Newest] {
        for (what, act) in acts {
            for after in [None, Some(b"e-1".as_slice())] {
                let mut world = with_policy(1000, on_slow);
                publish_to(&mut world, "quiet", 1..=900);
                publish_to(&mut world, "busy", 901..=2500); // of which some are evicted
                world.settle();
                let stream = world.open(settings(), "");
                world.accounts[stream].follows = true;
                world.client(stream).always = Some(Err(libc::EAGAIN));
                let topics = vec![Topic::Pattern((*b"**").into())];
                let request = Box::new(Request { topics, after: after.map(Into::into), start: Start::Oldest });
                world.tell(Command::Subscribe { hub: HUB, stream: world.accounts[stream].id, request, holds: false });
                world.settle();
                act(&mut world, stream);
                world.turn();
                let bytes = buffered(&mut world, stream);
                assert!(bytes < 2000, "{bytes} bytes after {what} with {on_slow:?}, resumed: {}", after.is_some());
            }
        }
    }
}

#[test]
fn a_hub_that_was_dropped_is_there_until_its_last_stream_has_been_sent_everything() {
    let mut world = with_history(10);
    let [slow, quick] = [(); 2].map(|()| subscriber(&mut world, settings()));
    world.client(slow).always = Some(Err(libc::EAGAIN));
    publish(&mut world, 1..=3);
    world.tell(Command::CloseHub { hub: HUB });
    world.settle();
    assert!(came(&mut world, quick).starts_with("retry: "));
    assert_eq!((world.accounts[quick].ended, world.reactor.hubs.len()), (Some(Reason::Application), 1));
    let late = world.open(settings(), "");
    subscribe(&mut world, late);
    world.settle();
    assert_eq!(world.accounts[late].ended, Some(Reason::Server), "nobody can subscribe any more");
    world.client(slow).always = None;
    world.writable(slow);
    world.settle();
    assert!(came(&mut world, slow).ends_with("1.2.3."));
    assert_eq!((world.accounts[slow].ended, world.reactor.hubs.len()), (Some(Reason::Application), 0));
}

#[test]
fn what_is_pushed_after_unsubscribing_comes_after_what_was_published_before() {
    for is_slow in [false, true] {
        let mut world = with_history(10);
        let stream = subscriber(&mut world, settings());
        if is_slow {
            world.client(stream).always = Some(Err(libc::EAGAIN));
        }
        publish(&mut world, 1..=3);
        world.tell(Command::Unsubscribe { stream: world.accounts[stream].id, topics: None });
        publish(&mut world, 4..=4);
        world.push(stream, b"pushed");
        world.settle();
        if is_slow {
            world.client(stream).always = None;
            world.writable(stream);
            world.settle();
        }
        assert_eq!(came(&mut world, stream), "1.2.3.pushed", "slow: {is_slow}");
        assert_eq!(counts(&mut world).streams, 0);
    }
}
