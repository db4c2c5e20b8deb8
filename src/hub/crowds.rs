//! What a hub costs when there are many: ratios of times, for what costs ten times as much for each when there are ten
//! times as many keeps everybody waiting.

use super::*;

const NEVER: Duration = Duration::from_secs(1_000_000);

fn hub(on_slow: OnSlow, events: usize, events_in_all: usize) -> Hub {
    let history = Bounds { events, bytes: usize::MAX, age: NEVER };
    let history_in_all = Bounds { events: events_in_all, ..history };
    Hub::new("e", Settings { history, history_in_all, on_slow, gap_event: "gap".into() })
}

fn publish(hub: &mut Hub, channel: &str, key: &str, now: Instant) {
    let event = Shared::write(6, |out| {
        out.copy_from_slice(b"data\n\n");
        6
    });
    let (channel, key) = (channel.as_bytes().into(), key.as_bytes().into());
    hub.publish(Publication { place: hub.newest + 1, channel, event, key, id: None }, now);
}

fn follow(hub: &mut Hub, slot: u32, topics: &[Topic], start: Start, now: Instant) -> Follower {
    let mut follower = Follower::default();
    let request = Request { topics: topics.into(), after: None, start };
    hub.follow(StreamId { slot, serial: 1 }, &mut follower, &request, now);
    follower
}

fn pattern(text: &str) -> Topic {
    Topic::Pattern(text.as_bytes().into())
}

/// Runs something for a few and for sixteen times as many, and checks that it does not cost several times as much for each:
/// a little more it does, for more does not fit into the processor's cache. What it returns is how long it took, without what
/// it had to prepare. Other work on the machine only makes it longer.
fn costs_each_the_same(few: usize, what: impl Fn(usize) -> Duration) {
    let least = |count| (0..3).map(|_| what(count)).min().unwrap_or_default();
    let (of_few, of_many) = (least(few), least(16 * few));
    assert!(of_many < of_few * 16 * 6, "{few}: {of_few:?}, {}: {of_many:?}", 16 * few);
}

#[test]
#[cfg_attr(miri, ignore)] // it takes its time
fn what_many_channels_have_is_merged_without_looking_at_each_for_every_event() {
    costs_each_the_same(500, |channels| {
        let now = Instant::now();
        let mut hub = hub(OnSlow::Gap, 1000, usize::MAX);
        for number in 0..10 * channels {
            publish(&mut hub, &(number % channels).to_string(), "", now);
        }
        let follower = follow(&mut hub, 0, &[pattern("**")], Start::Oldest, now);
        let mut blocks = vec![IoSlice::new(&[]); 10 * channels];
        let begun = Instant::now();
        assert_eq!(hub.gather(&follower, Framing::Plain, &mut blocks).blocks, 10 * channels);
        begun.elapsed()
    });
}

#[test]
#[cfg_attr(miri, ignore)] // it takes its time
fn a_channel_vanishes_without_looking_at_all_others_that_its_pattern_matches() {
    costs_each_the_same(1000, |channels| {
        let now = Instant::now();
        let mut hub = hub(OnSlow::Gap, 1000, usize::MAX);
        follow(&mut hub, 0, &[pattern("**")], Start::Newest, now);
        for number in 0..channels {
            publish(&mut hub, &number.to_string(), "", now);
        }
        hub.forget(now);
        let begun = Instant::now();
        hub.expire(now + NEVER);
        assert_eq!(hub.counts().channels, 0);
        begun.elapsed()
    });
}

#[test]
#[cfg_attr(miri, ignore)] // it takes its time
fn many_topics_are_left_at_once_without_comparing_each_with_each() {
    costs_each_the_same(150, |count| {
        let now = Instant::now();
        let mut hub = hub(OnSlow::Gap, 1000, usize::MAX);
        let channel = |number: usize| Topic::Channel(number.to_string().into_bytes().into());
        let topics: Vec<Topic> = (0..count).map(channel).chain([pattern("*"), pattern("**")]).collect();
        let mut follower = follow(&mut hub, 0, &topics, Start::Newest, now);
        let begun = Instant::now();
        hub.unfollow(StreamId { slot: 0, serial: 1 }, &mut follower, Some(&topics), &mut Vec::new());
        assert!(hub.is_at_rest() && !follower.is_following());
        begun.elapsed()
    });
}

#[test]
#[cfg_attr(miri, ignore)] // it takes its time
fn to_publish_costs_the_same_however_many_keys_there_are_to_keep() {
    costs_each_the_same(250, |keys| {
        let now = Instant::now();
        let mut hub = hub(OnSlow::Newest, keys, usize::MAX);
        let mut publish_some = || {
            for number in 0..2 * keys + 2 {
                publish(&mut hub, "a", &(number % (2 * keys + 1)).to_string(), now);
                hub.forget(now);
            }
        };
        publish_some();
        let begun = Instant::now();
        publish_some();
        begun.elapsed()
    });
}
