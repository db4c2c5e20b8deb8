//! The stream model: random commands and clients of streams without a hub.
//!
//! A client receives whole blocks in the order in which they were pushed, except for those that were dropped whole, and
//! perhaps the beginning of one more. The [`World`] checks after each turn that every byte and event is recorded.

use super::*;
use crate::cases::cases;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Open {
        chunked: bool,
        drop_oldest: bool,
        keepalive: bool,
        has_socket: bool,
    },
    Attach(usize),
    Push {
        stream: usize,
        size: usize,
    },
    End {
        stream: usize,
        reason: usize,
        ending: Ending,
    },
    Refuse(usize),
    /// Scripts the result of a write to this client.
    Send {
        stream: usize,
        result: Result<usize, i32>,
    },
    Writable(usize),
    /// The client sends something, or leaves.
    Read {
        stream: usize,
        result: Result<usize, i32>,
        left: bool,
    },
    Turn,
    Upgrade,
    Advance(u64),
    ShutDown(u64),
}

impl Step {
    /// Returns the stream that the step is about.
    fn stream(&self) -> Option<usize> {
        match self {
            Self::Attach(stream) | Self::Refuse(stream) => Some(*stream),
            Self::Push { stream, .. } | Self::End { stream, .. } => Some(*stream),
            _ => self.client(),
        }
    }

    /// Returns the stream whose client acts in the step.
    fn client(&self) -> Option<usize> {
        match self {
            Self::Send { stream, .. } | Self::Writable(stream) | Self::Read { stream, .. } => Some(*stream),
            _ => None,
        }
    }
}

const STREAMS: usize = 6;

fn open() -> impl Strategy<Value = Step> {
    let flag = any::<bool>;
    (flag(), flag(), flag(), proptest::bool::weighted(0.8)).prop_map(|(chunked, drop_oldest, keepalive, has_socket)| {
        Step::Open { chunked, drop_oldest, keepalive, has_socket }
    })
}

fn step() -> impl Strategy<Value = Step> {
    let stream = || 0..STREAMS;
    let ending = prop_oneof![Just(Ending::Flush), Just(Ending::Transfer), Just(Ending::Discard)];
    let taken = || prop_oneof![3 => (0_usize..80).prop_map(Ok), 1 => Just(Ok(usize::MAX))];
    let harmless = || prop_oneof![Just(Err(libc::EAGAIN)), Just(Err(libc::EINTR)), Just(Err(libc::ENOBUFS))];
    let broken = || prop_oneof![Just(Err(libc::EPIPE)), Just(Err(libc::ETIMEDOUT)), Just(Err(libc::EBADF))];
    let send = prop_oneof![20 => taken(), 8 => harmless(), 1 => broken()];
    let read = prop_oneof![9 => (1_usize..20_000).prop_map(Ok), 9 => harmless(), 1 => broken(), 1 => Just(Ok(0))];
    prop_oneof![
        2 => open(),
        2 => stream().prop_map(Step::Attach),
        20 => (stream(), 1_usize..60).prop_map(|(stream, size)| Step::Push { stream, size }),
        1 => (stream(), 0..Reason::ALL.len(), ending)
            .prop_map(|(stream, reason, ending)| Step::End { stream, reason, ending }),
        1 => stream().prop_map(Step::Refuse),
        12 => (stream(), send).prop_map(|(stream, result)| Step::Send { stream, result }),
        6 => stream().prop_map(Step::Writable),
        3 => (stream(), read, proptest::bool::weighted(0.05))
            .prop_map(|(stream, result, left)| Step::Read { stream, result, left }),
        12 => Just(Step::Turn),
        1 => Just(Step::Upgrade),
        3 => (0_u64..20_000).prop_map(Step::Advance),
        1 => (0_u64..5_000).prop_map(Step::ShutDown),
    ]
}

/// Generates steps of which the first opens a stream with a client.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    (open(), proptest::collection::vec(step(), 0..400)).prop_map(|(first, mut steps)| {
        let earliest = steps.len() / 2;
        // A shutdown comes only late, so that most of the steps find open streams.
        let mut number = 0;
        steps.retain(|step| {
            number += 1;
            number > earliest || !matches!(step, Step::ShutDown(_))
        });
        match first {
            Step::Open { chunked, drop_oldest, keepalive, .. } => {
                steps.insert(0, Step::Open { chunked, drop_oldest, keepalive, has_socket: true });
            }
            _ => unreachable!("the first step opens a stream"),
        }
        steps
    })
}

/// The events that were pushed to a stream, framed.
struct Pushed {
    framing: Framing,
    head: String,
    is_dropping: bool,
    events: Vec<Bytes>,
}

struct Run {
    world: World,
    pushed: Vec<Pushed>,
}

impl Run {
    fn new() -> Self {
        Self { world: World::new(), pushed: Vec::new() }
    }

    /// Returns the stream that a step means: one of those that were opened last. None if it was not opened yet.
    fn stream(&self, number: usize) -> Option<usize> {
        let first = self.pushed.len().saturating_sub(STREAMS);
        Some(first + number).filter(|stream| *stream < self.pushed.len())
    }

    fn run(&mut self, step: &Step) {
        match step.stream().map(|number| self.stream(number)) {
            None => self.run_for(step, 0),
            Some(Some(stream)) => self.run_for(step, stream),
            Some(None) => {}
        }
    }

    fn run_for(&mut self, step: &Step, stream: usize) {
        match step {
            Step::Open { chunked, drop_oldest, keepalive, has_socket } => {
                let framing = if *chunked { Framing::Chunked } else { Framing::Plain };
                let settings = Settings {
                    framing,
                    drop_oldest: *drop_oldest,
                    max_buffered: 200,
                    keepalive: settings().keepalive.filter(|_| *keepalive),
                    ..settings()
                };
                let head = format!("head {}\n", self.pushed.len());
                if *has_socket {
                    self.world.open(settings, &head);
                } else {
                    self.world.open_without_socket(settings, &head);
                }
                self.pushed.push(Pushed { framing, head, is_dropping: *drop_oldest, events: Vec::new() });
            }
            Step::Attach(_) => {
                if self.world.records[stream].client.is_none() && !self.world.records[stream].is_closed {
                    self.world.attach(stream);
                }
            }
            Step::Push { size, .. } => {
                let pushed = &mut self.pushed[stream];
                let event = format!("id: {stream}-{}\ndata: {}\n\n", pushed.events.len(), "x".repeat(*size));
                pushed.events.push(pushed.framing.frame(event.as_bytes()));
                let event = pushed.events.last().expect("an event was pushed").clone();
                self.world.push(stream, &event);
            }
            Step::End { reason, ending, .. } => {
                self.world.end(stream, Reason::ALL[*reason], *ending);
            }
            Step::Refuse(_) => {
                self.world.apply(Command::Refuse { stream: self.world.records[stream].id });
            }
            Step::Send { result, .. } => {
                if self.world.records[stream].client.is_some() {
                    self.world.client(stream).sends.push_back(*result);
                }
            }
            Step::Writable(_) => {
                if self.world.records[stream].client.is_some() && self.world.client(stream).is_watched {
                    self.world.writable(stream);
                }
            }
            Step::Read { result, left, .. } => {
                if self.world.records[stream].client.is_some() {
                    self.world.client(stream).reads.push_back(*result);
                    self.world.ready(stream, Ready { readable: true, hung_up: *left, writable: false });
                }
            }
            Step::Turn => self.world.turn(),
            Step::Upgrade => self.world.upgrade(),
            Step::Advance(time) => self.world.advance(Duration::from_millis(*time)),
            Step::ShutDown(within) => self.world.apply(Command::ShutDown { within: Duration::from_millis(*within) }),
        }
    }

    /// Lets all clients read everything.
    fn let_all_read(&mut self) {
        self.world.run_until_idle();
        for stream in 0..self.pushed.len() {
            if self.world.records[stream].client.is_some() {
                self.world.client(stream).sends.clear();
                if self.world.client(stream).is_watched {
                    self.world.writable(stream);
                }
            }
        }
        self.world.advance(Duration::from_secs(1));
    }

    fn check(&mut self) {
        for stream in 0..self.pushed.len() {
            let record = &self.world.records[stream];
            let (ended, sent, lost, client) = (record.ended, record.sent, record.lost, record.client);
            if client.is_none() {
                continue;
            }
            let received = self.world.client(stream).received.clone();
            let events = self.pushed[stream].read(&received);
            assert_eq!(events.whole, sent.events);
            if ended.is_none() {
                assert!(!events.is_cut, "a client that reads everything has all that was pushed");
                assert_eq!(events.whole + lost.events, self.pushed[stream].events.len());
            }
            if !self.pushed[stream].is_dropping {
                assert_eq!(events.skipped, 0, "nothing is dropped");
            }
        }
    }
}

struct Read {
    whole: usize,
    /// The number of missing events before one that was received.
    skipped: usize,
    is_cut: bool,
}

impl Pushed {
    fn read(&self, received: &[u8]) -> Read {
        let mut read = Read { whole: 0, skipped: 0, is_cut: received.len() < self.head.len() };
        if read.is_cut {
            assert!(self.head.as_bytes().starts_with(received));
            return read;
        }
        let mut rest = received.strip_prefix(self.head.as_bytes()).expect("the head comes first");
        let mut next = 0;
        while !rest.is_empty() {
            if let Some(at) = (next..self.events.len()).find(|at| rest.starts_with(&self.events[*at])) {
                read.skipped += at - next;
                read.whole += 1;
                next = at + 1;
                rest = &rest[self.events[at].len()..];
            } else if let Some(after) = self.strip_non_event(rest) {
                rest = after;
            } else {
                let is_beginning = |event: &Bytes| event.starts_with(rest);
                let of_event = self.events[next..].iter().any(is_beginning);
                assert!(of_event || self.may_become_non_event(rest), "{:?}", String::from_utf8_lossy(rest));
                read.is_cut = true;
                break;
            }
        }
        read
    }

    /// Returns what follows a comment, a retry or the last chunk at the beginning of `text`.
    fn strip_non_event<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        if let Some(rest) = text.strip_prefix(&*self.framing.keepalive(LineEnd::Lf)) {
            return Some(rest);
        }
        if self.framing == Framing::Chunked && text == b"0\r\n\r\n" {
            return Some(b"");
        }
        let (start, end) = self.retry();
        let digits = text.strip_prefix(start.as_bytes())?;
        digits.get(4..)?.strip_prefix(end.as_bytes()).filter(|_| digits[..4].iter().all(u8::is_ascii_digit))
    }

    fn may_become_non_event(&self, text: &[u8]) -> bool {
        let (start, end) = self.retry();
        let retry = format!("{start}0000{end}");
        let digits_are_zero: Vec<u8> = text
            .iter()
            .enumerate()
            .map(
                |(at, byte)| {
                    if (start.len()..start.len() + 4).contains(&at) && byte.is_ascii_digit() {
                        b'0'
                    } else {
                        *byte
                    }
                },
            )
            .collect();
        self.framing.keepalive(LineEnd::Lf).starts_with(text)
            || self.framing.end().starts_with(text)
            || retry.as_bytes().starts_with(&digits_are_zero)
    }

    /// Returns the bytes before and after the four digits of a retry.
    fn retry(&self) -> (&str, &str) {
        match self.framing {
            Framing::Plain => ("retry: ", "\n"),
            Framing::Chunked => ("c\r\nretry: ", "\n\r\n"),
        }
    }
}

fn run(steps: &[Step]) -> Run {
    let mut run = Run::new();
    for step in steps {
        run.run(step);
    }
    run.let_all_read();
    run
}

proptest! {
    // Each case has some hundred steps.
    #![proptest_config(ProptestConfig { cases: cases().cases.min(100), ..cases() })]

    #[test]
    fn a_client_receives_whole_blocks_in_order(steps in steps()) {
        run(&steps).check();
    }

    #[test]
    fn other_clients_do_not_affect_a_clients_events(steps in steps()) {
        // At most six streams are opened, so that a step's number always means the same stream.
        let opened = |step: &Step| matches!(step, Step::Open { .. });
        let mut opens = 0;
        let mut steps = steps;
        steps.retain(|step| {
            opens += usize::from(opened(step));
            !matches!(step, Step::ShutDown(_) | Step::Refuse(_)) && (!opened(step) || opens <= STREAMS)
        });
        let calm: Vec<Step> = steps.iter().filter(|step| step.client().map_or(true, |stream| stream == 0)).cloned().collect();
        let (wild, calm) = (run(&steps), run(&calm));
        let of_first = |mut run: Run| (run.world.client(0).received.clone(), run.world.records.remove(0));
        let ((wild, wild_record), (calm, calm_record)) = (of_first(wild), of_first(calm));
        prop_assert_eq!(wild, calm);
        prop_assert_eq!(format!("{wild_record:?}"), format!("{calm_record:?}"));
    }
}
