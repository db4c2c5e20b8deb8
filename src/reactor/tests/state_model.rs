//! The state model: random clients that keep a map of retained events, each compared with all that was published. Some streams
//! have a channel, too, that does not begin with its state.

use super::hub_steps::any;
use super::*;
use crate::cases::run_seeds;
use crate::compression::tests::decoder::Decoder;
use crate::compression::ContentCoding;
use crate::event::Shared;
use crate::hub::{
    Access, ChannelSettings, Epoch, FirstBlock, Hub, OnSlow, OtherStart, Poll, PollReason, PositionStyle, Retain,
    SequencedEvent, Settings as HubSettings, StartPoint, SubscribeRequest, Topic, HUB_EVENT,
};
use crate::log::Bounds;
use crate::parse::{Event, Parser};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};

const HUB: HubId = 0;
const CLIENTS: usize = 4;
const EPISODE: u64 = if cfg!(miri) { 60 } else { 500 };
const CHANNELS: [&str; 4] = ["room/1", "room/2", "stock", "x"];
/// A channel that clients read from its history.
const HISTORY: &str = "history/of/x";
const KEYS: [&str; 4] = ["", "a", "b", "c"];

/// A client is sent at most so many times what the logs hold before the state is complete.
const MOST_TIMES: usize = 6;

/// The retained events: channel and key to sequence number.
type State = BTreeMap<(String, String), u64>;

/// An event that was published.
struct Published {
    channel: &'static str,
    key: &'static str,
    retain: Retain,
}

/// A client that keeps a map, as a page does.
#[derive(Default)]
struct Client {
    parser: Parser,
    content: Decoder,
    /// The topics whose state it follows.
    topics: Vec<Topic>,
    /// Where it begins to read [`HISTORY`], if it does.
    history: Option<StartPoint>,
    /// The last event of that, and the last one before which nothing is missing unless a gap was told.
    last_of_history: u64,
    history_through: Option<u64>,
    map: State,
    /// Everything through this number was received, or a gap was told. None while the state is coming.
    complete_through: Option<u64>,
    /// The last event of the state that is coming.
    last_of_state: u64,
    /// The events that came before the state was complete, and a number that the hub had reached when the state began.
    came: BTreeSet<u64>,
    began_through: u64,
    connected_through: u64,
    /// It has resumed, perhaps in the middle of the state, and has received no position yet.
    is_resuming: bool,
    /// True if it may receive a `gap` event because it is slow.
    may_lag: bool,
    /// The last event before the application ended the stream, which the client still reads.
    ends_through: Option<u64>,
    stream: Option<usize>,
    /// The number of times that the state was complete, and the gaps before that.
    states: usize,
    gaps: usize,
}

struct Run {
    rng: Rng,
    world: World,
    settings: HubSettings,
    epoch: u64,
    published: BTreeMap<u64, Published>,
    clients: Vec<Client>,
}

fn matches(topics: &[Topic], channel: &str) -> bool {
    topics.iter().any(|topic| super::hub_naive::matches(topic, channel))
}

impl Client {
    fn receive(&mut self, event: &Event, run: &Truth<'_>) {
        match &*event.event {
            "gap" => {
                assert!(self.may_lag || !event.data.contains("slow"), "a slow client is not told that it must end");
                self.gaps += usize::from(self.states == 0);
                self.map.clear();
                self.begin_state(run);
                (self.complete_through, self.history_through, self.last_of_state) = (None, None, 0);
                self.is_resuming = false;
            }
            "position" => {
                let seq = run.seq_of(&event.last_event_id).expect("a position has an id");
                if let Some(complete) = self.complete_through {
                    self.check_none_between(run, complete, seq);
                    let is_early = self.is_resuming && seq < self.connected_through;
                    assert!(!is_early, "{seq} before what was missed: {}", self.connected_through);
                }
                self.is_resuming = false;
                if self.complete_through.is_none() && self.ends_through.is_none() {
                    self.check_none_lost(run, seq);
                }
                self.states += usize::from(self.complete_through.is_none());
                self.complete_through = Some(seq);
            }
            HUB_EVENT => {}
            _ => self.receive_event(event, run),
        }
    }

    fn begin_state(&mut self, run: &Truth<'_>) {
        self.came.clear();
        self.began_through = run.last_seq();
    }

    /// Checks that everything came that was published since the state began, except what the history has evicted, and
    /// that what was retained, and still is, has come.
    fn check_none_lost(&mut self, run: &Truth<'_>, through: u64) {
        let since = run.published.range(self.began_through + 1..).take_while(|(seq, _)| **seq <= through);
        let mut due = since.filter(|(_, event)| matches(&self.topics, event.channel));
        let lost = due.find(|(seq, event)| !self.came.contains(seq) && run.hub.holds(event.channel.as_bytes(), **seq));
        let lost = lost.map(|(seq, event)| (seq, event.channel));
        let state = run.state(&self.topics);
        let mut due = state.iter().filter(|(_, newest)| **newest <= through);
        let missing = due.find(|(key, newest)| self.map.get(*key) != Some(*newest));
        assert_eq!((lost, missing), (None, None), "at {through}");
    }

    /// Checks that nothing is missing.
    fn check_none_between(&mut self, run: &Truth<'_>, after: u64, through: u64) {
        let missed = run.first_between(&self.topics, after, through);
        assert_eq!(missed, None, "after {after}, through {through}");
    }

    fn receive_event(&mut self, event: &Event, run: &Truth<'_>) {
        let parts: Vec<&str> = event.data.split(' ').collect();
        let (seq, channel, key) = (parts[0].parse().expect("a number"), parts[1], parts[2]);
        let retain = Retain::ALL[parts[3].parse::<usize>().expect("a number")];
        let is_of_history = self.history.is_some() && channel == HISTORY;
        let is_of_state = matches(&self.topics, channel);
        assert!(is_of_history || is_of_state, "{channel} is not for this client");
        if !is_of_state {
            assert!(seq > self.last_of_history, "{seq} came again after {}", self.last_of_history);
            let through = self.history_through.unwrap_or(seq);
            assert_eq!(run.first_between(&[Topic::Channel(HISTORY.as_bytes().into())], through, seq - 1), None);
            (self.last_of_history, self.history_through) = (seq, Some(seq));
        }
        match self.complete_through {
            None => {
                self.came.insert(seq);
                // Beside the state comes what was published since it began.
                assert!(
                    is_of_history || retain != Retain::No || seq > self.connected_through,
                    "{seq} of {channel} is not of the state of {:?}, {:?}",
                    self.topics,
                    self.history
                );
                assert!(seq > self.last_of_state, "{seq} after {}", self.last_of_state);
                self.last_of_state = seq;
            }
            Some(_) if !is_of_state => {}
            Some(complete) => {
                assert!(seq > complete, "{seq} came again after {complete}");
                self.check_none_between(run, complete, seq - 1);
                self.complete_through = Some(seq);
            }
        }
        let key = (channel.to_owned(), key.to_owned());
        match retain {
            Retain::Newest if is_of_state => drop(self.map.insert(key, seq)),
            Retain::Forget => drop(self.map.remove(&key)),
            _ => {}
        }
    }
}

/// The published events.
struct Truth<'a> {
    hub: &'a Hub,
    published: &'a BTreeMap<u64, Published>,
    epoch: String,
}

impl Truth<'_> {
    fn last_seq(&self) -> u64 {
        self.published.keys().next_back().copied().unwrap_or(0)
    }

    fn state(&self, topics: &[Topic]) -> State {
        let mut state = State::new();
        for (seq, event) in self.published.iter().filter(|(_, event)| matches(topics, event.channel)) {
            let key = (event.channel.to_owned(), event.key.to_owned());
            match event.retain {
                Retain::No => {}
                Retain::Newest => drop(state.insert(key, *seq)),
                Retain::Forget => drop(state.remove(&key)),
            }
        }
        state
    }

    /// Returns the numbers of an id that says that the client has a state in part: as of which number, and through which.
    fn mark_of(&self, id: &str) -> Option<(u64, u64)> {
        let (as_of, through) = id.strip_prefix(&*self.epoch)?.split_once('-')?;
        let mark = (as_of.parse().ok()?, through.parse().ok()?);
        Some(mark).filter(|(as_of, through)| *through > 0 && through <= as_of)
    }

    /// Returns the sequence number of an id; none if it is of another epoch or of the application.
    fn seq_of(&self, id: &str) -> Option<u64> {
        let seq = |text: &str| text.split('-').next().and_then(|seq| seq.parse().ok());
        id.strip_prefix(&*self.epoch).and_then(seq)
    }

    fn first_between(&self, topics: &[Topic], after: u64, through: u64) -> Option<u64> {
        let mut between = self.published.range(after + 1..).take_while(|(seq, _)| **seq <= through);
        between.find(|(_, event)| matches(topics, event.channel)).map(|(seq, _)| *seq)
    }
}

/// In half of the runs some channels differ in how lagging streams are treated.
fn channel_settings(rng: &mut Rng) -> Vec<ChannelSettings> {
    let most = any(rng, &[0, 0, 1, 2]);
    let of_channels = |_| {
        let mut channels = ChannelSettings::new(any(rng, &["room/*", "room/1", "stock", "x", HISTORY]).as_bytes());
        channels.on_slow = Some(any(rng, &[OnSlow::Disconnect, OnSlow::Gap, OnSlow::Latest]));
        channels.events = any(rng, &[None, Some(0), Some(2), Some(30)]);
        channels
    };
    (0..most).map(of_channels).collect()
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let ages = [Duration::from_secs(3), Duration::from_secs(20), Duration::MAX];
        let bounds = |rng: &mut Rng, events: &[usize]| Bounds {
            events: any(rng, events),
            bytes: any(rng, &[200, 10_000, usize::MAX]),
            age: any(rng, &ages),
        };
        let history = bounds(&mut rng, &[0, 1, 3, 20, usize::MAX]);
        let total_history = bounds(&mut rng, &[0, 4, 30, usize::MAX]);
        let on_slow = any(&mut rng, &[OnSlow::Disconnect, OnSlow::Gap, OnSlow::Latest]);
        let channels = channel_settings(&mut rng);
        let mut settings = HubSettings { on_slow, ..HubSettings::new(history, total_history) };
        settings.retention.channels = channels;
        let clients = (0..CLIENTS).map(|_| Client::default()).collect();
        let mut run = Self { rng, world: World::new(), settings, epoch: 0, published: BTreeMap::new(), clients };
        for client in &mut run.clients {
            let count = run.rng.usize(1..3);
            client.topics = (0..count)
                .map(|_| match run.rng.bool() {
                    true => Topic::Channel(any(&mut run.rng, &CHANNELS).as_bytes().into()),
                    false => Topic::Pattern(any(&mut run.rng, &["room/*", "**", "*"]).as_bytes().into()),
                })
                .collect();
            if run.rng.bool() {
                client.history =
                    Some(any(&mut run.rng, &[StartPoint::Oldest, StartPoint::Last(2), StartPoint::Latest]));
            }
        }
        run.create_hub();
        run
    }

    fn epoch_text(&self) -> String {
        format!("e{}-", self.epoch)
    }

    fn create_hub(&mut self) {
        let (epoch, settings) = (Epoch::new(&format!("e{}", self.epoch), None), Box::new(self.settings.clone()));
        self.world.apply(Command::CreateHub { hub: HUB, epoch, settings, history: None });
    }

    fn truth(&self) -> Truth<'_> {
        let hub = self.world.reactor.hubs.get(HUB).expect("the hub exists");
        Truth { hub, published: &self.published, epoch: self.epoch_text() }
    }

    fn publish(&mut self) {
        for _ in 0..any(&mut self.rng, &[1, 1, 2, 10, 40]) {
            let retain = any(&mut self.rng, &[Retain::No, Retain::Newest, Retain::Newest, Retain::Forget]);
            let channel = if self.rng.u8(..4) == 0 { HISTORY } else { any(&mut self.rng, &CHANNELS) };
            self.publish_one(channel, retain);
        }
    }

    fn publish_one(&mut self, channel: &'static str, retain: Retain) {
        let seq = self.published.keys().next_back().copied().unwrap_or(0) + 1;
        let key = any(&mut self.rng, &KEYS);
        self.published.insert(seq, Published { channel, key, retain });
        let own = (self.rng.u8(..10) == 0).then(|| format!("{}{seq}-own", self.epoch_text().replace('e', "own")));
        let id = own.iter().cloned().chain([format!("{}{seq}", self.epoch_text())]);
        let ids: String = id.map(|id| format!("id: {id}\n\n")).collect();
        let filler = "x".repeat(any(&mut self.rng, &[1, 20, 300]));
        let text = format!("data: {seq} {channel} {key} {} {filler}\n{ids}", retain as u8);
        let event = Shared::of(text);
        let (channel, key) = (channel.as_bytes().into(), key.as_bytes().into());
        let has_custom_id = own.is_some();
        let event = Box::new(SequencedEvent { seq, channel, event, key, retain, has_custom_id });
        self.world.apply(Command::Publish { hub: HUB, event });
    }

    /// A new client reads a little at a time, perhaps less than is published and forgotten meanwhile, whatever the history is
    /// and however often the process is upgraded. It is sent the state without a gap, after a few times its size.
    fn read_slowly(&mut self, number: usize) {
        if self.clients[number].history.is_some() {
            return; // what it follows beside the state may be evicted
        }
        self.leave(number);
        self.clients[number].parser = Parser::default();
        self.connect(number);
        (self.clients[number].gaps, self.clients[number].states) = (0, 0);
        let stream = self.clients[number].stream.expect("it is connected");
        self.world.client(stream).default_send = Some(Err(libc::EAGAIN));
        let reads = any(&mut self.rng, &[400, 1000]);
        let published = any(&mut self.rng, &[1, 2, 8, 30]);
        let end = any(&mut self.rng, &[1, 5, 20, usize::MAX, usize::MAX]);
        let (mut sent, mut largest) = (0, 0);
        for round in 0.. {
            assert!(
                sent <= MOST_TIMES * (largest + 1000),
                "client {number} was sent {sent} bytes of a state of {largest}"
            );
            if round == end {
                self.end(number, stream);
            }
            for _ in 0..published {
                let retain = any(&mut self.rng, &[Retain::No, Retain::Newest, Retain::Newest, Retain::Forget]);
                let channel = any(&mut self.rng, &CHANNELS);
                self.publish_one(channel, retain);
            }
            self.world.run_until_idle();
            let counts = self.truth().hub.counts();
            largest = largest.max((counts.bytes + counts.state_bytes) as usize);
            let client = self.world.client(stream);
            client.sends.push_back(Ok(reads));
            sent += reads;
            if self.rng.u8(..8) == 0 {
                self.world.upgrade();
            }
            let client = self.world.client(stream);
            if client.is_watched {
                self.world.writable(stream);
            }
            self.world.run_until_idle();
            self.read(number, false);
            if self.clients[number].states > 0 || self.world.records[stream].ended.is_some() {
                break;
            }
        }
        let expected = self.clients[number].ends_through.map(|_| Reason::Application);
        let ended = self.world.records[stream].ended;
        let has_state = self.clients[number].states > 0; // it may lag after that
        let lags_at_end = expected.is_some() && ended == Some(Reason::Slow); // it has the state, and not all that follows
        assert!(ended.is_none() || ended == expected || lags_at_end || has_state, "client {number}: {ended:?}");
        assert_eq!(self.clients[number].gaps, 0, "client {number}");
        self.forget_ended(number);
    }

    fn connect(&mut self, number: usize) {
        let line_end = any(&mut self.rng, &[LineEnd::Lf, LineEnd::Lf, LineEnd::CrLf]);
        let (framing, coding) = (Framing::Plain, any(&mut self.rng, ContentCoding::ALL));
        let settings = Settings { framing, coding, line_end, keepalive: Some(Duration::from_secs(5)), ..settings() };
        let stream = self.world.open(settings, "");
        self.world.records[stream].is_subscribed = true;
        if self.rng.u8(..3) == 0 {
            // It is still sent the state while others publish and forget.
            self.world.client(stream).default_send = any(&mut self.rng, &[Some(Ok(200)), Some(Err(libc::EAGAIN))]);
        }
        let holds = self.rng.bool();
        let last_id = self.clients[number].parser.last_event_id().to_owned();
        let mark = self.truth().mark_of(&last_id);
        let complete_through = self.truth().seq_of(&last_id).filter(|_| mark.is_none());
        let connected_through = mark.map_or(self.truth().last_seq(), |(as_of, _)| as_of);
        let may_lag = self.may_lag(number);
        let client = &mut self.clients[number];
        client.parser.finish();
        client.stream = Some(stream);
        client.content = Decoder::new(coding);
        client.complete_through = complete_through; // unless a gap is told
        client.is_resuming = complete_through.is_some();
        (client.connected_through, client.may_lag, client.ends_through) = (connected_through, may_lag, None);
        (client.last_of_history, client.history_through) = (0, None);
        let after = (!last_id.is_empty()).then(|| last_id.into_bytes().into());
        if after.is_none() {
            client.map.clear();
            client.last_of_state = 0;
        }
        let position = any(&mut self.rng, &[PositionStyle::Event, PositionStyle::Id]);
        let first_block = FirstBlock { position, ..FirstBlock::default() };
        let id = self.world.records[stream].id;
        let mut groups = vec![(client.topics.clone(), StartPoint::State)];
        groups.extend(client.history.map(|start| (vec![Topic::Channel(HISTORY.as_bytes().into())], start)));
        if self.rng.bool() && !matches(&client.topics, HISTORY) {
            groups.reverse();
        }
        let wait = Duration::from_secs(any(&mut self.rng, &[0, 3, 30]));
        let poll = (self.rng.u8(..4) == 0).then_some(Poll { wait, reason: PollReason::Other });
        let other_starts: Vec<_> =
            groups.get(1).map(|(_, start)| OtherStart { from: groups[0].0.len(), start: *start }).into_iter().collect();
        let (start, access) = (groups[0].1, Access { poll, ..Access::default() });
        let topics = groups.into_iter().flat_map(|(topics, _)| topics).collect();
        let request =
            SubscribeRequest { topics, after, start, other_starts, first_block, access, ..Default::default() };
        self.world.apply(Command::Subscribe { hub: HUB, stream: id, request: Box::new(request), holds });
        if holds {
            if self.rng.bool() {
                self.publish();
            }
            self.world.apply(Command::BeginSubscription { stream: id });
        }
        let hub = self.world.reactor.hubs.get(HUB).expect("the hub exists");
        let truth = Truth { hub, published: &self.published, epoch: self.epoch_text() };
        self.clients[number].begin_state(&truth);
        if mark.is_some() {
            self.clients[number].began_through = connected_through;
        }
    }

    /// Returns true if a client reads a channel in which a lagging stream does not end.
    fn may_lag(&self, number: usize) -> bool {
        let Client { topics, history, .. } = &self.clients[number];
        let mut channels = CHANNELS.into_iter().filter(|channel| matches(topics, channel));
        let lags = |channel: &str| self.settings.on_slow_of(channel.as_bytes()) != OnSlow::Disconnect;
        channels.any(lags) || (history.is_some() || matches(topics, HISTORY)) && lags(HISTORY)
    }

    /// The application ends a stream, which is still sent what was published before.
    fn end(&mut self, number: usize, stream: usize) {
        let id = self.world.records[stream].id;
        let is_poll_ending = self.world.reactor.record(id).map_or(true, |record| record.stream.ending.is_some());
        if self.clients[number].ends_through.is_none() && !is_poll_ending {
            self.clients[number].ends_through = Some(self.truth().last_seq());
            self.world.end(stream, Reason::Application, Ending::Flush);
        }
    }

    /// Changes how lagging streams are treated. Those that are open may have lagged before.
    fn change_settings(&mut self) {
        self.settings.retention.channels = channel_settings(&mut self.rng);
        self.world.apply(Command::SetRetention { hub: HUB, retention: Box::new(self.settings.retention.clone()) });
        for number in 0..CLIENTS {
            self.clients[number].may_lag |= self.may_lag(number);
        }
    }

    /// A client reads what was sent, perhaps only some of it.
    fn read(&mut self, number: usize, only_some: bool) {
        let stream = some_or!(self.clients[number].stream, return);
        let came = self.world.client(stream).take_received();
        let came = &came[..if only_some { self.rng.usize(..=came.len()) } else { came.len() }];
        let hub = self.world.reactor.hubs.get(HUB).expect("the hub exists");
        let truth = Truth { hub, published: &self.published, epoch: self.epoch_text() };
        let client = &mut self.clients[number];
        let mut parser = std::mem::take(&mut client.parser);
        for byte in came {
            parser.feed(&client.content.receive_byte(*byte)).expect("events are small");
        }
        while let Some(event) = parser.next_event() {
            client.receive(&event, &truth);
        }
        client.parser = parser;
    }

    fn leave(&mut self, number: usize) {
        self.read(number, true);
        if let Some(stream) = self.clients[number].stream.take() {
            let client = self.world.client(stream);
            if !client.is_closed {
                client.default_send = Some(Err(libc::EPIPE));
                self.world.ready(stream, Ready { hung_up: true, ..Ready::default() });
            }
        }
    }

    /// The hub ends, and another begins without its events.
    fn restart(&mut self) {
        for number in 0..CLIENTS {
            self.leave(number);
        }
        self.world.run_until_idle();
        self.world.apply(Command::CloseHub { hub: HUB });
        self.world.run_until_idle();
        self.epoch += 1;
        self.published.clear();
        self.create_hub();
        for client in &mut self.clients {
            client.complete_through = None;
            client.last_of_state = 0;
        }
    }

    /// Lets all clients read everything. Those that follow the state have it then.
    fn let_all_read(&mut self) {
        for number in 0..CLIENTS {
            if let Some(stream) = self.clients[number].stream {
                let client = self.world.client(stream);
                client.sends.clear();
                client.default_send = None;
                if client.is_watched && !client.is_closed {
                    self.world.writable(stream);
                }
            }
        }
        self.world.advance(Duration::from_secs(6));
        for number in 0..CLIENTS {
            self.read(number, false);
            self.forget_ended(number);
            let client = &self.clients[number];
            if client.stream.is_some() {
                assert_eq!(client.map, self.truth().state(&client.topics), "client {number}");
            }
        }
    }

    fn forget_ended(&mut self, number: usize) {
        let ended = self.clients[number].stream.and_then(|stream| self.world.records[stream].ended);
        if let Some(reason) = ended {
            self.read(number, false);
            let hub = self.world.reactor.hubs.get(HUB).expect("the hub exists");
            let truth = Truth { hub, published: &self.published, epoch: self.epoch_text() };
            let client = &mut self.clients[number];
            client.stream = None;
            match (client.ends_through, client.complete_through) {
                (Some(through), complete) if reason == Reason::Application && client.history.is_none() => {
                    match complete {
                        Some(complete) => client.check_none_between(&truth, complete, through),
                        None => client.check_none_lost(&truth, through),
                    }
                }
                _ => {}
            }
        }
    }

    fn step(&mut self) {
        let number = self.rng.usize(..CLIENTS);
        self.forget_ended(number);
        match (self.rng.u8(..100), self.clients[number].stream) {
            (0..=34, _) => self.publish(),
            (35..=49, _) => self.world.turn(),
            (50..=51, _) => {
                self.world.turn();
                self.world.upgrade();
            }
            (52..=56, _) => {
                let most = any(&mut self.rng, &[10, 1000, 30_000]);
                self.world.advance(Duration::from_millis(self.rng.u64(..most)));
            }
            (57..=96, None) => self.connect(number),
            (57..=66, Some(_)) => self.leave(number),
            (67..=76, Some(stream)) => {
                let takes = any(&mut self.rng, &[Ok(0), Ok(1), Ok(17), Ok(200), Err(libc::EAGAIN)]);
                let takes = if takes == Ok(0) { Err(libc::EAGAIN) } else { takes };
                self.world.client(stream).default_send = Some(takes);
            }
            (77..=90, Some(stream)) => {
                let client = self.world.client(stream);
                client.default_send = None;
                if client.is_watched && !client.is_closed {
                    self.world.writable(stream);
                }
            }
            (91..=93, Some(_)) => self.read(number, false),
            (94..=95, Some(stream)) => self.end(number, stream),
            (96, Some(_)) => self.change_settings(),
            (97, _) if self.rng.u8(..10) == 0 => self.restart(),
            (97..=98, _) => self.read_slowly(number),
            _ => self.let_all_read(),
        }
    }

    fn check(&mut self) {
        let hub = self.world.reactor.hubs.get_mut(HUB).expect("the hub exists");
        hub.check();
        let keys = hub.counts().keys;
        let all = [Topic::Pattern((*b"**").into())];
        assert_eq!(keys as usize, self.truth().state(&all).len());
    }
}

#[test]
fn every_client_ends_with_the_state_of_the_hub() {
    run_seeds("state_model", EPISODE, 5_000, |seed| {
        let mut run = Run::new(seed);
        for _ in 0..EPISODE {
            run.step();
            run.check();
        }
        run.let_all_read();
    });
}
