use super::*;
use std::collections::HashSet;
use std::time::Duration;

fn text_of(name: Option<&str>, process: Option<&Counted>, topics: &[TopicCounts]) -> String {
    let hub = Counts { streams: 3, published: 7, skipped: 2, polls: 1, polls_mute: 4, ..Counts::default() };
    let streams = Stats { ended: [1, 2, 3, 4, 5, 6], lost: [1, 2, 3, 4, 5, 6, 7], stalled: 8, ..Stats::default() };
    text(&Measured { name, hub: &hub, streams: &streams, times: &Times::default(), process, topics })
}

#[test]
fn names_units_and_help_follow_the_conventions() {
    let mut names = HashSet::new();
    let mut counted = Counted::default();
    counted.store.kind = "redis".into();
    let text = text_of(Some("shop"), Some(&counted), &[TopicCounts::default()]);
    for (name, help) in text.lines().filter_map(|line| line.strip_prefix("# HELP eventsource_")?.split_once(' ')) {
        assert!(names.insert(name), "{name} stands once");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        assert!(!["_total", "_info", "_count", "_sum", "_bucket", "_created"].iter().any(|end| name.ends_with(end)));
        assert!(help.ends_with('.') && !help.contains(&['\\', '"'][..]), "{name}: {help}");
    }
    let units = text.lines().filter_map(|line| line.strip_prefix("# UNIT eventsource_")?.split_once(' '));
    assert!(names.len() > 50 && units.clone().count() > 10);
    assert!(units.into_iter().all(|(name, unit)| name.ends_with(&format!("_{unit}"))));
}

#[test]
fn a_hub_of_a_process_has_no_metrics_of_a_hub_process_and_no_label_of_its_name() {
    let text = text_of(None, None, &[]);
    for line in [
        "# TYPE eventsource_streams gauge\n# HELP eventsource_streams Streams that are subscribed to the hub.\n\
         eventsource_streams 3\n",
        "# TYPE eventsource_published counter\n",
        "\neventsource_published_total 7\n",
        "\neventsource_slow_total{on_slow=\"gap\"} 2\n",
        "\neventsource_polls_waiting 1\n",
        "\neventsource_polls_total{reason=\"mute\"} 4\n",
        "\neventsource_streams_ended_total{reason=\"application\"} 6\n",
        "# UNIT eventsource_history_bytes bytes\n",
        "\neventsource_lost_total{reason=\"slow\"} 2\n",
        "\neventsource_lost_total{reason=\"dropped\"} 7\n",
        "\neventsource_stalled_streams 8\n",
    ] {
        assert!(text.contains(line), "{line}");
    }
    assert!(!text.contains("start_time"));
    assert!(!text.contains("store") && !text.contains("workers") && !text.contains("channel_"));
    assert!(text.ends_with("\n# EOF\n") && !text.contains("\n\n"));
}

#[test]
fn labels_are_the_hub_and_what_was_chosen_with_escapes() {
    let mut counted = Counted::default();
    (counted.store.kind, counted.store.lag, counted.workers) = ("file".into(), 1500, 4);
    counted.started_at = 1_764_021_600_123;
    let channel = |name: &[u8]| ChannelCounts {
        name: name.into(),
        subscribers: 2,
        events: 1,
        bytes: 10,
        keys: 0,
        events_per_hour: 0,
        last_id: "".into(),
    };
    let topic = |topic| {
        let page = |_: &[u8], from| {
            let channels = vec![channel(if from == 0 { b"a\"\\\n" } else { b"b" })];
            Ok::<_, ()>(ChannelPage { channels, next: Some(1).filter(|_| from == 0) })
        };
        TopicCounts::of(&topic, page).expect("pages")
    };
    let topics = [topic(Topic::Channel((*b"a\"\\\n").into())), topic(Topic::Pattern((*b"**").into()))];
    counted.times.store_wait.record(&Scale::DELAYS, Duration::from_millis(2));
    counted.times.store_wait.record(&Scale::DELAYS, Duration::from_secs(7));
    let text = text_of(Some("shop"), Some(&counted), &topics);
    for line in [
        "eventsource_streams{hub=\"shop\"} 3",
        "eventsource_store_info{hub=\"shop\",kind=\"file\"} 1",
        "eventsource_store_lag_seconds{hub=\"shop\"} 1.5",
        "eventsource_workers{hub=\"shop\"} 4",
        "eventsource_start_time_seconds{hub=\"shop\"} 1764021600.123",
        "# TYPE eventsource_store_wait_seconds histogram",
        "eventsource_store_wait_seconds_bucket{hub=\"shop\",le=\"0.001\"} 0",
        "eventsource_store_wait_seconds_bucket{hub=\"shop\",le=\"0.005\"} 1",
        "eventsource_store_wait_seconds_bucket{hub=\"shop\",le=\"5.0\"} 1",
        "eventsource_store_wait_seconds_bucket{hub=\"shop\",le=\"+Inf\"} 2",
        "eventsource_store_wait_seconds_count{hub=\"shop\"} 2",
        "eventsource_store_wait_seconds_sum{hub=\"shop\"} 7.002",
        "eventsource_channel_subscribers{hub=\"shop\",channel=\"a\\\"\\\\\\n\"} 2",
        "eventsource_channel_subscribers{hub=\"shop\",channel=\"**\"} 4",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}");
    }
}
