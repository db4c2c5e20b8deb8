//! Tests of subscribed streams: order, slow clients, resuming, unsubscribing.

use super::hub_world::*;
use super::*;
use crate::hub::{self, OnSlow, StartPoint, SubscribeRequest};

/// Returns the number of bytes in a stream's own buffer.
fn buffered(world: &mut World, stream: usize) -> usize {
    let id = world.records[stream].id;
    world.reactor.record(id).map_or(0, |entry| entry.stream.buffered_bytes())
}

#[test]
fn a_client_that_keeps_up_misses_nothing_however_short_the_log_is() {
    for (history, burst) in [(0, 1), (1, 20), (10, 20), (10, 512), (100, 5000)] {
        let mut world = with_history(history);
        let stream = world.open(settings(), "");
        subscribe(&mut world, stream);
        deliver(&mut world, 1..=burst);
        deliver(&mut world, burst + 1..=2 * burst);
        assert_eq!(world.records[stream].ended, None, "{history} {burst}");
        assert_eq!(world.received(stream), format!("event: position\ndata: \nid: e-0\n\n{}", numbers(1..=2 * burst)));
    }
}

#[test]
fn a_client_with_crlf_that_keeps_up_misses_nothing_however_short_the_log_is() {
    // Each copied batch is one event, so that there are more batches than calls for lagging streams in a turn.
    let crlf = Settings { line_end: LineEnd::CrLf, max_buffered: 1, ..settings() };
    for on_slow in [OnSlow::Disconnect, OnSlow::Gap, OnSlow::Latest] {
        let mut world = with_policy(1, on_slow);
        let stream = world.open(crlf, "");
        subscribe(&mut world, stream);
        let event = |seq| format!("data: {seq}\r\n\r\n");
        for burst in [1..=3000, 3001..=6000] {
            publish_lines(&mut world, burst.clone());
            world.run_until_idle();
            let expected: String = burst.map(event).collect();
            assert!(take_received(&mut world, stream).ends_with(&expected), "{on_slow:?}");
        }
        assert_eq!(world.records[stream].ended, None, "{on_slow:?}");
        let counts = counts(&mut world);
        assert_eq!((counts.gaps, counts.compacted, counts.delivered), (0, 0, 6000), "{on_slow:?}");
    }
}

#[test]
fn a_new_subscriber_does_not_make_others_miss_events() {
    let mut world = with_history(3);
    let stream = world.open(settings(), "");
    subscribe(&mut world, stream);
    publish(&mut world, 1..=10);
    let other = world.open(settings(), "");
    subscribe(&mut world, other);
    deliver(&mut world, 11..=20);
    assert_eq!(world.received(stream), format!("event: position\ndata: \nid: e-0\n\n{}", numbers(1..=20)));
    assert_eq!(world.received(other), format!("event: position\ndata: \nid: e-10\n\n{}", numbers(11..=20)));
}

#[test]
fn an_event_is_stored_once_for_all_streams() {
    let mut world = with_history(10);
    let chunked = Settings { framing: Framing::Chunked, ..settings() };
    let streams: Vec<usize> =
        (0..100).map(|number| subscriber(&mut world, if number % 2 == 0 { chunked } else { settings() })).collect();
    publish(&mut world, 1..=1);
    assert_eq!(world.records.iter().map(|record| record.sent.events).sum::<usize>(), 0);
    world.run_until_idle();
    for (number, stream) in streams.iter().enumerate() {
        let block = if number % 2 == 0 { "2\r\n1.\r\n" } else { "1." };
        assert_eq!(take_received(&mut world, *stream), block);
        assert_eq!(world.client(*stream).send_calls, 2);
    }
    let counts = counts(&mut world);
    assert_eq!((counts.events, counts.bytes, counts.delivered), (1, "2\r\n1.\r\nc".len() as u64, 100));
}

#[test]
fn a_push_goes_before_published_events_but_not_inside_one() {
    for framing in [Framing::Plain, Framing::Chunked] {
        let block = |text: &str| String::from_utf8(framing.frame(text.as_bytes()).to_vec()).expect("text");
        let whole = [block("pushed"), block("1."), block("2.")].concat();
        for cut in 0..=whole.len() {
            let mut world = with_history(10);
            let stream = subscriber(&mut world, Settings { framing, ..settings() });
            world.client(stream).sends.push_back(Ok(cut));
            publish(&mut world, 1..=2);
            world.push(stream, block("pushed").as_bytes());
            assert_eq!(take_received(&mut world, stream), whole[..cut]);
            world.push(stream, block("later").as_bytes());
            publish(&mut world, 3..=3);
            if world.client(stream).is_watched {
                world.writable(stream);
            }
            world.run_until_idle();
            // The later push comes after the event that was sent in part, before the others.
            let ends = [block("pushed").len(), whole.len() - block("2.").len(), whole.len()];
            let end = if cut == 0 { ends[0] } else { ends.into_iter().find(|end| cut <= *end).expect("it ends") };
            let all = [&whole[..end], &block("later"), &whole[end..], &block("3.")].concat();
            assert_eq!(take_received(&mut world, stream), all[cut..], "{framing:?} cut at {cut}");
            assert_eq!(world.records[stream].sent.events, 5);
        }
    }
}

#[test]
fn thousands_of_events_are_sent_in_gathered_writes() {
    let mut world = with_history(10_000);
    let stream = subscriber(&mut world, settings());
    publish(&mut world, 1..=3000);
    world.push(stream, b"pushed");
    assert_eq!(take_received(&mut world, stream), format!("pushed{}", numbers(1..=3000)));
    assert_eq!(world.client(stream).most_blocks, MAX_BLOCKS);
    assert_eq!(world.client(stream).send_calls, 1 + 3001_usize.div_ceil(MAX_BLOCKS));
}

#[test]
fn events_that_fit_into_one_write_are_sent_in_one() {
    for count in (1..20).chain(MAX_BLOCKS - 2..MAX_BLOCKS) {
        let mut world = with_history(10_000);
        let stream = subscriber(&mut world, settings());
        publish(&mut world, 1..=count as u64);
        assert_eq!(take_received(&mut world, stream), numbers(1..=count as u64));
        assert_eq!(
            (world.client(stream).most_blocks, world.client(stream).send_calls),
            (count, 1 + 1),
            "{count} events"
        );
    }
}

#[test]
fn a_quiet_subscribed_stream_is_sent_its_position_as_keepalive() {
    let mut world = with_history(10);
    let stream = subscriber(&mut world, settings());
    let idle = world.open(settings(), "");
    publish(&mut world, 1..=6);
    publish_to(&mut world, "other", 7..=7);
    world.advance(Duration::from_secs(17));
    let position = "event: position\ndata: \nid: e-7\n\n";
    assert_eq!(take_received(&mut world, stream), format!("{}{position}", numbers(1..=6)));
    assert_eq!(take_received(&mut world, idle), ":\n", "a stream without a subscription is sent a comment");
    world.advance(Duration::from_secs(15));
    assert_eq!(take_received(&mut world, stream), ":\n", "a position is not sent twice");
    publish(&mut world, 8..=8);
    world.advance(Duration::from_secs(16));
    assert_eq!(take_received(&mut world, stream), "8.:\n", "the id of the last event is the position");
}

#[test]
fn a_stream_overtaken_while_blocked_receives_the_gap_when_its_socket_is_writable() {
    for (on_slow, then) in [
        (OnSlow::Gap, "event: gap\ndata: {\"reason\":\"slow\"}\nid: e-10-15\n\n16.17.18."),
        (OnSlow::Latest, "18."),
        (OnSlow::Disconnect, ""),
    ] {
        let mut world = with_policy(3, on_slow);
        let stream = subscriber(&mut world, settings());
        deliver(&mut world, 1..=9);
        world.client(stream).sends.push_back(Ok(1)); // the first byte of the event
        deliver(&mut world, 10..=10);
        for seq in 11..=18 {
            deliver(&mut world, seq..=seq);
        }
        assert_eq!(take_received(&mut world, stream), format!("{}1", numbers(1..=9)));
        if on_slow == OnSlow::Disconnect {
            assert_eq!(world.records[stream].ended, Some(Reason::Slow));
            assert_eq!(world.records[stream].lost.events, 1, "the event that was sent in part");
        } else {
            assert_eq!(world.records[stream].ended, None);
            world.writable(stream);
            assert_eq!(take_received(&mut world, stream), format!("0.{then}"), "{on_slow:?}");
        }
        let hub::Counts { disconnected, skipped, compacted, gaps, streams, .. } = counts(&mut world);
        let expected = match on_slow {
            OnSlow::Gap => (0, 1, 0, 1, 1),
            OnSlow::Latest => (0, 0, 1, 0, 1),
            OnSlow::Disconnect => (1, 0, 0, 0, 0),
        };
        assert_eq!((disconnected, skipped, compacted, gaps, streams), expected, "{on_slow:?}");
    }
}

#[test]
fn a_stream_does_not_subscribe_to_a_second_hub() {
    let mut world = with_history(10);
    create_hub(&mut world, HUB + 1);
    let stream = subscriber(&mut world, settings());
    let request = SubscribeRequest { topics: topics(&["**"]), start: StartPoint::Oldest, ..Default::default() };
    subscribe_at(&mut world, HUB + 1, stream, request, false);
    publish(&mut world, 1..=1);
    assert_eq!(take_received(&mut world, stream), "1.");
}

#[test]
fn a_reused_slot_has_no_subscription() {
    let mut world = with_history(10);
    let stays = subscriber(&mut world, settings());
    let closed = subscriber(&mut world, settings());
    world.end(closed, Reason::Slow, Ending::Discard);
    world.run_until_idle();
    let next = world.open(settings(), "");
    assert_eq!(world.records[next].id.slot, world.records[closed].id.slot);
    publish(&mut world, 1..=1);
    assert_eq!((take_received(&mut world, stays), take_received(&mut world, next)), ("1.".into(), String::new()));
    // A late command for the closed stream does not affect the new one.
    subscribe(&mut world, closed);
    publish(&mut world, 2..=2);
    assert_eq!((take_received(&mut world, stays), take_received(&mut world, next)), ("2.".into(), String::new()));
    assert_eq!(counts(&mut world).streams, 1);
}

#[test]
fn closed_streams_are_removed_from_subscriber_lists_without_a_publication() {
    let mut world = with_history(10);
    let stays = subscriber(&mut world, settings());
    for _ in 0..200 {
        let closed = subscriber(&mut world, settings());
        world.ready(closed, Ready { hung_up: true, ..Ready::default() });
        world.run_until_idle();
        world.reactor.hubs.get_mut(HUB).expect("the hub exists").check();
    }
    publish(&mut world, 1..=1);
    assert_eq!((take_received(&mut world, stays), counts(&mut world).streams), ("1.".into(), 1));
}

#[test]
fn a_stream_overtaken_many_times_has_a_bounded_buffer() {
    for on_slow in [OnSlow::Gap, OnSlow::Latest] {
        let mut world = with_policy(3, on_slow);
        let stream = subscriber(&mut world, settings());
        world.client(stream).default_send = Some(Err(libc::EAGAIN));
        for turn in 0..200 {
            deliver(&mut world, 10 * turn + 1..=10 * turn + 10);
            world.client(stream).sends.push_back(Ok(7));
            world.writable(stream);
            world.run_until_idle();
            let record = &world.records[stream];
            let buffered = record.added_bytes - record.sent.bytes;
            assert!(buffered < 100, "{buffered} bytes buffered in turn {turn} with {on_slow:?}");
        }
        world.unblock(stream);
        assert!(world.received(stream).ends_with("2000."), "the client receives the newest event");
    }
}

#[test]
fn a_resuming_client_that_does_not_read_has_a_bounded_buffer() {
    let mut world = with_policy(1000, OnSlow::Gap);
    publish_to(&mut world, "quiet", 1..=1000);
    publish_to(&mut world, "busy", 1001..=2500);
    world.run_until_idle();
    let stream = world.open(settings(), "");
    world.client(stream).default_send = Some(Err(libc::EAGAIN));
    let request = SubscribeRequest { after: Some((*b"e-1").into()), ..Default::default() };
    subscribe_to(&mut world, stream, &["quiet", "busy"], request);
    world.run_until_idle();
    let record = &world.records[stream];
    assert!(record.added_bytes - record.sent.bytes < 1000, "{record:?}");
    world.unblock(stream);
    let before: String = (2..=1000).map(|seq| format!("{seq}.event: position\ndata: \nid: e-{seq}-1500\n\n")).collect();
    let first = "event: position\ndata: \nid: e-1-0\n\nevent: gap\ndata: {\"reason\":\"evicted\"}\nid: e-1-1500\n\n";
    let came = take_received(&mut world, stream);
    let expected = format!("{first}{before}{}", numbers(1501..=2500));
    assert!(came == expected, "{came}");
}

#[test]
fn a_client_that_never_reads_has_a_bounded_buffer_however_its_stream_ends() {
    type Act = (&'static str, fn(&mut World, usize));
    let acts: [Act; 5] = [
        ("nothing", |_, _| {}),
        ("a drain", |world, _| world.apply(Command::Drain { hub: HUB, within: Duration::ZERO })),
        ("a shutdown", |world, _| world.apply(Command::ShutDown { within: Duration::from_secs(5) })),
        ("closing the hub", |world, _| world.apply(Command::CloseHub { hub: HUB })),
        ("a close", |world, stream| world.end(stream, Reason::Application, Ending::Flush)),
    ];
    for on_slow in [OnSlow::Disconnect, OnSlow::Gap, OnSlow::Latest] {
        for (what, act) in acts {
            for after in [None, Some(b"e-1".as_slice())] {
                let mut world = with_policy(1000, on_slow);
                publish_to(&mut world, "quiet", 1..=900);
                publish_to(&mut world, "busy", 901..=2500); // some of these are evicted
                world.run_until_idle();
                let stream = world.open(settings(), "");
                world.client(stream).default_send = Some(Err(libc::EAGAIN));
                let request =
                    SubscribeRequest { after: after.map(Into::into), start: StartPoint::Oldest, ..Default::default() };
                subscribe_to(&mut world, stream, &["**"], request);
                world.run_until_idle();
                act(&mut world, stream);
                world.turn();
                let bytes = buffered(&mut world, stream);
                assert!(bytes < 2000, "{bytes} bytes after {what} with {on_slow:?}, resumed: {}", after.is_some());
            }
        }
    }
}

#[test]
fn a_stream_with_crlf_is_sent_copies_of_events_whole_and_in_order() {
    for framing in [Framing::Plain, Framing::Chunked] {
        let mut world = with_history(10_000);
        let crlf = Settings { framing, line_end: LineEnd::CrLf, ..settings() };
        let stream = world.open(crlf, "");
        subscribe(&mut world, stream);
        publish_lines(&mut world, 1..=3000);
        world.run_until_idle();
        let expected: String = (1..=3000)
            .map(|seq| format!("data: {seq}\r\n\r\n"))
            .map(|event| String::from_utf8(framing.frame(event.as_bytes()).to_vec()).expect("text"))
            .collect();
        let text = take_received(&mut world, stream);
        assert!(text.ends_with(&expected) && !text.replace("\r\n", "").contains('\n'), "{framing:?}");
        // A client that does not read costs no more than one batch.
        world.client(stream).default_send = Some(Err(libc::EAGAIN));
        publish_lines(&mut world, 3001..=9000);
        world.run_until_idle();
        let record = &world.records[stream];
        assert!(record.added_bytes - record.sent.bytes < 100_000, "{record:?}");
        world.unblock(stream);
        let text = take_received(&mut world, stream);
        assert_eq!(text.matches("data: ").count(), 6000);
        assert_eq!(counts(&mut world).delivered, 9000);
    }
}

#[test]
fn a_turn_that_sends_to_many_streams_that_keep_up_also_sends_to_as_many_that_lag() {
    let mut world = with_history(10);
    publish(&mut world, 1..=2);
    world.run_until_idle();
    for _ in 0..2000 {
        let stream = world.open(settings(), "");
        subscribe(&mut world, stream);
    }
    world.run_until_idle();
    let lagging: Vec<_> = (0..3000).map(|_| world.open(settings(), "")).collect();
    for stream in &lagging {
        let after_1 = SubscribeRequest { after: Some((*b"e-1").into()), ..Default::default() };
        subscribe_to(&mut world, *stream, &["c"], after_1);
    }
    publish(&mut world, 3..=3);
    world.turn();
    let has_all = lagging.iter().filter(|stream| world.received(**stream).ends_with(&numbers(2..=3))).count();
    assert_eq!(has_all, 3000, "of the streams that lag");
}

/// Subscribes a new stream, whose client has received the first event of 60, to 20 patterns that begin with stars.
fn subscribe_to_stars(world: &mut World) -> usize {
    (1..=60).for_each(|seq| publish_to(world, &format!("user/{seq}"), seq..=seq));
    world.run_until_idle();
    let stream = world.open(settings(), "");
    let topics: Vec<String> = (1..=20).map(|number| format!("*/{number}")).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    subscribe_to(world, stream, &topics, SubscribeRequest { after: Some((*b"e-1").into()), ..Default::default() });
    stream
}

#[test]
fn a_turn_compares_few_patterns_of_a_request_which_takes_effect_as_one() {
    let mut world = with_history(10);
    let neighbour = world.open(settings(), "");
    let stream = subscribe_to_stars(&mut world);
    let mut turns = 0;
    while world.reactor.is_turn_over() {
        turns += 1;
        assert_eq!(world.received(stream), "");
        world.ready(neighbour, Ready { hung_up: turns == 2, ..Ready::default() });
        let steps = hub::steps::of(|| world.turn());
        assert!(steps < 1500, "{steps} steps in turn {turns}, about 9 for each of 120 names");
        assert_eq!(world.records[neighbour].ended.is_some(), turns >= 2, "neighbours are served meanwhile");
    }
    assert_eq!(turns, 10, "two patterns a turn");
    assert_eq!(take_received(&mut world, stream), format!("event: position\ndata: \nid: e-1\n\n{}", numbers(2..=20)));
    let counts = counts(&mut world);
    assert_eq!((counts.resumed, counts.gaps), (1, 0));
}

#[test]
fn commands_after_a_request_with_many_patterns_are_executed_after_it() {
    let mut world = with_history(10);
    let stream = subscribe_to_stars(&mut world);
    publish_to(&mut world, "other/20", 61..=61);
    world.run_until_idle();
    assert!(world.received(stream).ends_with(&format!("{}61.", numbers(2..=20))));
}

#[test]
fn a_client_that_leaves_while_its_patterns_are_compared_leaves_none() {
    let mut world = with_history(10);
    let stream = subscribe_to_stars(&mut world);
    world.turn();
    world.ready(stream, Ready { hung_up: true, ..Ready::default() });
    world.run_until_idle();
    assert!(!world.reactor.is_turn_over());
    world.reactor.hubs.get_mut(HUB).expect("the hub exists").check();
}

#[test]
fn a_turn_is_over_when_patterns_were_compared_with_many_names() {
    let mut world = with_history(10);
    (1..=60).for_each(|seq| publish_to(&mut world, &format!("user/{seq}"), seq..=seq));
    let streams = [0; 3].map(|_| world.open(settings(), ""));
    for (stream, text, is_over) in
        [(streams[0], "user/7*", false), (streams[1], "*/7", false), (streams[2], "**7", true)]
    {
        subscribe_to(&mut world, stream, &[text], SubscribeRequest::default());
        assert_eq!(world.reactor.is_turn_over(), is_over, "{text}");
    }
    world.flush();
    assert!(!world.reactor.is_turn_over());
}
