//! The hub model: random clients of a hub, each compared with a list of everything that was published.

use super::hub_client::Connection;
use super::hub_steps::{Run, CHANNELS, HUB, SOURCES};
use super::*;
use crate::cases::run_seeds;
use crate::hub::{Counts, OnSlow};

/// The number of steps in one world.
const EPISODE: u64 = if cfg!(miri) { 60 } else { 600 };

impl Run {
    /// A client reads what was sent.
    pub(super) fn read(&mut self, source: usize) {
        let Self { world, sources, naive, .. } = self;
        let source = &mut sources[source];
        let stream = match &source.connection {
            Some(connection) => connection.stream,
            None => return,
        };
        if world.records[stream].client.is_some() {
            let came = world.client(stream).take_received();
            source.receive(&came, naive);
        }
        let record = &world.records[stream];
        let reason = some_or!(record.ended, return);
        if let Some(mut connection) = source.connection.take() {
            let was_cut = connection.is_cut || record.lost.bytes > 0;
            if reason == Reason::Slow {
                assert!(!connection.keeps_up, "only a slow client is disconnected");
                let may_err = naive.merged_through > 0 || connection.leaves_out;
                assert!(may_err || connection.is_overtaken(naive), "a stream ends as slow only if it misses something");
            } else if !was_cut && matches!(reason, Reason::Application | Reason::Server) && connection.is_subscribed {
                connection.check_complete(naive);
            }
        }
        source.parser.finish();
        self.left_unreported.push(stream);
    }

    /// A client leaves at any byte.
    pub(super) fn leave(&mut self, source: usize) {
        let Self { world, sources, naive, rng, .. } = self;
        let source = &mut sources[source];
        let stream = source.connection.as_ref().expect("a connected source").stream;
        if world.records[stream].client.is_some() {
            let came = world.client(stream).take_received();
            source.receive(&came[..rng.usize(..=came.len())], naive);
        }
        source.parser.finish();
        source.connection = None;
        self.left_unreported.push(stream);
        if rng.bool() {
            self.report_left();
        }
    }

    /// Reports to the reactor that a client has left.
    pub(super) fn report_left(&mut self) {
        if let Some(stream) = self.left_unreported.pop().filter(|stream| self.world.records[*stream].client.is_some()) {
            let client = self.world.client(stream);
            if !client.is_closed {
                client.default_send = Some(Err(libc::EPIPE));
                self.world.ready(stream, Ready { hung_up: true, ..Ready::default() });
            }
        }
    }

    pub(super) fn check(&mut self) {
        let hub = some_or!(self.world.reactor.hubs.get_mut(HUB), return);
        hub.check();
        let counts = hub.counts();
        let naive = &self.naive;
        assert_eq!((counts.events as usize, counts.bytes as usize), naive.log_size());
        let history = &naive.settings.retention.total_history;
        assert!(counts.events as usize <= history.events);
        assert!(counts.bytes as usize <= history.bytes || counts.events == 1);
        assert_eq!((counts.published, counts.resumed), (naive.published, self.resumed_streams));
        let subscription = self.world.reactor.records.iter().flatten().flat_map(|entry| &entry.subscription);
        let of_hub = subscription.filter(|subscription| subscription.hub == HUB && !subscription.is_finished());
        assert_eq!(counts.streams, of_hub.count() as u64);
        self.check_policy(&counts);
    }

    fn check_policy(&self, counts: &Counts) {
        let has_had = |on_slow| self.naive.has_had(CHANNELS, on_slow);
        let ended = self.world.records.iter().filter(|record| record.ended == Some(Reason::Slow)).count();
        assert_eq!(counts.disconnected + self.past.disconnected, ended as u64);
        assert!(has_had(OnSlow::Disconnect) || ended == 0);
        assert!(has_had(OnSlow::Latest) || counts.compacted == 0);
        assert!(counts.skipped <= counts.gaps);
    }

    /// Checks that a stream of another hub is sent everything.
    pub(super) fn check_neighbour(&mut self) {
        if self.world.records[self.neighbour].ended.is_some() {
            return;
        }
        let came = self.world.received(self.neighbour);
        let seqs = came.lines().filter_map(|line| line.strip_prefix("data: ")?.split(' ').next()?.parse::<u64>().ok());
        assert!(seqs.eq(self.seen_of_other_hub + 1..=self.published_to_other_hub), "{came}");
        self.world.client(self.neighbour).take_received();
        self.seen_of_other_hub = self.published_to_other_hub;
    }

    /// Checks that the hub has counted what the streams were sent.
    fn check_delivered(&mut self) {
        let (mut handed, mut pushed) = (0, 0);
        for (stream, record) in self.world.records.iter().enumerate() {
            assert!(record.is_closed);
            if stream == self.neighbour {
                continue;
            }
            handed += record.sent.events + record.lost.events;
            pushed += record.pushed_events;
        }
        let counts = self.world.reactor.hubs.get_mut(HUB).expect("the hub exists").counts();
        let (delivered, gap_events) = (counts.delivered + self.past.delivered, counts.gaps + self.past.gaps);
        assert_eq!(handed as u64, delivered + gap_events + pushed as u64);
        let received: u64 = self.sources.iter().map(|source| source.events).sum();
        let gaps: u64 = self.sources.iter().map(|source| source.gaps).sum();
        assert!(received <= delivered && gaps <= gap_events);
    }

    /// Lets all clients read everything, and checks that they have it.
    pub(super) fn let_all_read(&mut self) {
        while !self.left_unreported.is_empty() {
            self.report_left();
        }
        for source in 0..SOURCES {
            if let Some(stream) = self.sources[source].connection.as_ref().map(|connection| connection.stream) {
                self.let_read(stream);
            }
        }
        self.advance(Duration::from_millis(200));
        for source in 0..SOURCES {
            self.read(source);
            let is_sent = |connection: &&mut Connection| connection.is_subscribed && !connection.is_held();
            if let Some(connection) = self.sources[source].connection.as_mut().filter(is_sent) {
                connection.check_complete(&self.naive);
            }
        }
    }

    fn let_read(&mut self, stream: usize) {
        if self.world.records[stream].client.is_none() && !self.world.records[stream].is_closed {
            self.world.attach(stream);
        }
        if self.world.records[stream].client.is_some() {
            let client = self.world.client(stream);
            client.sends.clear();
            client.default_send = None;
            let is_watched = client.is_watched && !client.is_closed;
            if is_watched {
                self.world.writable(stream);
            }
        }
    }

    /// Ends everything, and checks that nothing is left.
    fn end_all(&mut self) {
        let ending = self.rng.u8(..4);
        let is_shut_down = ending == 1;
        match ending {
            0 => {
                self.is_drained = true;
                self.world.apply(Command::Drain { hub: HUB, within: Duration::from_secs(5) });
                for source in 0..SOURCES {
                    if self.sources[source].connection.is_none() {
                        self.connect(source);
                    }
                }
                self.publish();
                self.advance(Duration::from_secs(6));
            }
            1 => self.world.apply(Command::ShutDown { within: Duration::from_secs(5) }),
            2 => {
                self.publish();
                self.world.apply(Command::CloseHub { hub: HUB });
            }
            _ => {}
        }
        self.update_held();
        let has_left = ending == 2;
        if !has_left {
            self.publish();
        }
        self.let_all_read();
        for source in 0..SOURCES {
            if self.sources[source].connection.is_some() {
                self.leave(source);
            }
        }
        while !self.left_unreported.is_empty() {
            self.report_left();
        }
        if !is_shut_down {
            assert_eq!(self.world.records[self.neighbour].ended, None, "the streams of another hub do not end");
            self.world.end(self.neighbour, Reason::Application, Ending::Flush);
        }
        self.advance(Duration::from_secs(100_000));
        if has_left {
            assert!(self.world.reactor.hubs.get_mut(HUB).is_none(), "a closed hub is dropped with its last stream");
            return;
        }
        if !is_shut_down {
            self.forget_all();
            self.advance(Duration::from_secs(100_000));
        }
        let hub = self.world.reactor.hubs.get_mut(HUB).expect("the hub exists");
        assert!(is_shut_down || hub.is_at_rest(), "{hub:?}");
        let Counts { streams, channels, patterns, events, bytes, keys, .. } = hub.counts();
        assert_eq!((streams, patterns, events, bytes), (0, 0, 0, 0));
        assert!(is_shut_down || (channels, keys) == (0, 0));
        self.check_delivered();
    }
}

#[test]
fn every_client_receives_each_event_once_in_order_or_a_gap() {
    run_seeds("hub_model", EPISODE, 10_000, |seed| {
        let mut run = Run::new(seed);
        for _ in 0..EPISODE {
            run.step();
        }
        run.end_all();
    });
}
