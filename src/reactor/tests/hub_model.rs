//! Hubs among clients that do anything: what each has been told and sent is compared with a list of everything that was
//! published. Seeded: a failure names its seed.
//!
//! EVENTSOURCE_XS_STEPS says how many steps to take (some thousands, unless told), EVENTSOURCE_XS_SEED where to begin.

use super::hub_client::Connection;
use super::hub_steps::{Run, HUB, VISITORS};
use super::*;
use crate::hub::{Counts, OnSlow};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};

/// How many steps one world lasts.
const EPISODE: u64 = if cfg!(miri) { 60 } else { 600 };

impl Run {
    /// A client takes what its socket has.
    pub(super) fn read(&mut self, visitor: usize) {
        let Self { world, visitors, naive, .. } = self;
        let visitor = &mut visitors[visitor];
        let stream = match &visitor.connection {
            Some(connection) => connection.stream,
            None => return,
        };
        if world.accounts[stream].client.is_some() {
            let came = world.client(stream).take_received();
            visitor.receive(&came, naive);
        }
        let account = &world.accounts[stream];
        let reason = match account.ended {
            Some(reason) => reason,
            None => return,
        };
        if let Some(mut connection) = visitor.connection.take() {
            let was_cut = connection.is_cut || account.lost.bytes > 0;
            if reason == Reason::Slow {
                assert!(naive.settings.on_slow == OnSlow::Disconnect && !connection.keeps_up, "it was not slow");
                assert!(connection.is_overtaken(naive), "it misses nothing");
            } else if !was_cut && matches!(reason, Reason::Application | Reason::Server) && connection.follows {
                connection.has_everything(naive);
            }
        }
        visitor.parser.finish();
        self.deserted.push(stream);
    }

    /// A client leaves, in the middle of anything.
    pub(super) fn leave(&mut self, visitor: usize) {
        let Self { world, visitors, naive, rng, .. } = self;
        let visitor = &mut visitors[visitor];
        let stream = visitor.connection.as_ref().expect("it is connected").stream;
        if world.accounts[stream].client.is_some() {
            let came = world.client(stream).take_received();
            visitor.receive(&came[..rng.usize(..=came.len())], naive);
        }
        visitor.parser.finish();
        visitor.connection = None;
        self.deserted.push(stream);
        if rng.bool() {
            self.desert();
        }
    }

    /// The reactor sees that a client has left.
    pub(super) fn desert(&mut self) {
        if let Some(stream) = self.deserted.pop().filter(|stream| self.world.accounts[*stream].client.is_some()) {
            let client = self.world.client(stream);
            if !client.is_closed {
                client.always = Some(Err(libc::EPIPE));
                self.world.ready(stream, Ready { left: true, ..Ready::default() });
            }
        }
    }

    pub(super) fn check(&mut self) {
        let hub = match self.world.reactor.hubs.get_mut(HUB) {
            Some(hub) => hub,
            None => return,
        };
        hub.check();
        let counts = hub.counts();
        let naive = &self.naive;
        assert_eq!((counts.events as usize, counts.bytes as usize), naive.held());
        let history = &naive.settings.total_history;
        assert!(counts.events as usize <= history.events);
        assert!(counts.bytes as usize <= history.bytes || counts.events == 1);
        assert_eq!((counts.published, counts.resumed), (naive.newest(), self.resumed));
        let subscription = self.world.reactor.entries.iter().flatten().flat_map(|entry| &entry.subscription);
        let of_hub = subscription.filter(|subscription| subscription.is_of(HUB) && !subscription.is_finished());
        assert_eq!(counts.streams, of_hub.count() as u64);
        self.check_policy(&counts);
    }

    fn check_policy(&self, counts: &Counts) {
        let on_slow = self.naive.settings.on_slow;
        let ended = self.world.accounts.iter().filter(|account| account.ended == Some(Reason::Slow)).count();
        assert_eq!(counts.disconnected, ended as u64);
        assert!(on_slow == OnSlow::Disconnect || ended == 0);
        assert!(on_slow == OnSlow::Newest || counts.conflated == 0);
        assert!(counts.skipped <= counts.gaps);
    }

    /// Whatever becomes of the streams of one hub, one of another's gets everything.
    pub(super) fn check_neighbour(&mut self) {
        if self.world.accounts[self.neighbour].ended.is_some() {
            return;
        }
        let came = self.world.received(self.neighbour);
        let seqs = came.lines().filter_map(|line| line.strip_prefix("data: ")?.split(' ').next()?.parse::<u64>().ok());
        assert!(seqs.eq(self.seen_beside + 1..=self.published_beside), "{came}");
        self.world.client(self.neighbour).take_received();
        self.seen_beside = self.published_beside;
    }

    /// What was handed to the streams is what was counted.
    fn check_delivered(&mut self) {
        let (mut handed, mut pushed) = (0, 0);
        for (stream, account) in self.world.accounts.iter().enumerate() {
            assert!(account.is_closed);
            if stream == self.neighbour {
                continue;
            }
            handed += account.sent.events + account.lost.events;
            pushed += account.pushed_events;
        }
        let counts = self.world.reactor.hubs.get_mut(HUB).expect("it is there").counts();
        assert_eq!(handed as u64, counts.delivered + counts.gaps + pushed as u64);
        let received: u64 = self.visitors.iter().map(|visitor| visitor.events).sum();
        let gaps: u64 = self.visitors.iter().map(|visitor| visitor.gaps).sum();
        assert!(received <= counts.delivered && gaps <= counts.gaps);
    }

    /// From here on all clients take what comes, until all of it has come.
    pub(super) fn calm_down(&mut self) {
        while !self.deserted.is_empty() {
            self.desert();
        }
        for visitor in 0..VISITORS {
            if let Some(stream) = self.visitors[visitor].connection.as_ref().map(|connection| connection.stream) {
                self.calm(stream);
            }
        }
        self.pass(Duration::from_millis(200));
        for visitor in 0..VISITORS {
            self.read(visitor);
            let is_sent = |connection: &&mut Connection| connection.follows && !connection.is_held();
            if let Some(connection) = self.visitors[visitor].connection.as_mut().filter(is_sent) {
                connection.has_everything(&self.naive);
            }
        }
    }

    fn calm(&mut self, stream: usize) {
        if self.world.accounts[stream].client.is_none() && !self.world.accounts[stream].is_closed {
            self.world.attach(stream);
        }
        if self.world.accounts[stream].client.is_some() {
            let client = self.world.client(stream);
            client.sends.clear();
            client.always = None;
            let is_asked = client.is_asked && !client.is_closed;
            if is_asked {
                self.world.writable(stream);
            }
        }
    }

    /// In the end nobody is there any more, and nothing is left.
    fn end_all(&mut self) {
        let decision = self.rng.u8(..4);
        let is_finished = decision == 1;
        match decision {
            0 => {
                self.is_drained = true;
                self.world.tell(Command::Drain { hub: HUB, within: Duration::from_secs(5) });
                for visitor in 0..VISITORS {
                    if self.visitors[visitor].connection.is_none() {
                        self.connect(visitor);
                    }
                }
                self.publish();
                self.pass(Duration::from_secs(6));
            }
            1 => self.world.tell(Command::ShutDown { within: Duration::from_secs(5) }),
            2 => {
                self.publish();
                self.world.tell(Command::CloseHub { hub: HUB });
            }
            _ => {}
        }
        self.see_who_has_begun();
        let has_left = decision == 2;
        if !has_left {
            self.publish();
        }
        self.calm_down();
        for visitor in 0..VISITORS {
            if self.visitors[visitor].connection.is_some() {
                self.leave(visitor);
            }
        }
        while !self.deserted.is_empty() {
            self.desert();
        }
        if !is_finished {
            assert_eq!(self.world.accounts[self.neighbour].ended, None, "what ends one hub's streams ends no other's");
            self.world.end(self.neighbour, Reason::Application, Ending::Flush);
        }
        self.pass(Duration::from_secs(100_000));
        if has_left {
            assert!(self.world.reactor.hubs.get_mut(HUB).is_none(), "with its last stream the hub is gone");
            return;
        }
        let hub = self.world.reactor.hubs.get_mut(HUB).expect("it is there");
        assert!(hub.is_at_rest(), "{hub:?}");
        let Counts { streams, channels, patterns, events, bytes, .. } = hub.counts();
        assert_eq!((streams, channels, patterns, events, bytes), (0, 0, 0, 0, 0));
        self.check_delivered();
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |number| number.parse().expect(variable))
}

#[test]
fn whatever_happens_every_client_is_sent_everything_once_in_order_or_told_of_a_gap() {
    let steps = number("EVENTSOURCE_XS_STEPS", if cfg!(miri) { EPISODE } else { 40_000 });
    let first = number("EVENTSOURCE_XS_SEED", 1);
    for seed in first..first + (steps + EPISODE - 1) / EPISODE {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut run = Run::new(seed);
            for _ in 0..EPISODE {
                run.step();
            }
            run.end_all();
        }));
        if let Err(panic) = outcome {
            eprintln!(
                "EVENTSOURCE_XS_SEED={seed} EVENTSOURCE_XS_STEPS=1 cargo test --no-default-features --lib hub_model"
            );
            resume_unwind(panic);
        }
    }
}
