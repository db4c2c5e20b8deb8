//! The models.

use crate::waker::Waker;
use crate::notifier::Notifier;
use loom::cell::UnsafeCell;
use loom::sync::atomic::{fence, AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use std::time::{Duration, Instant};

/// The commands of one producer, in their order. Weaker than a channel: nothing here is sequentially consistent.
struct Lane {
    commands: [UnsafeCell<usize>; 2],
    added: AtomicUsize,
}

impl Lane {
    fn new() -> Self {
        Self { commands: [UnsafeCell::new(0), UnsafeCell::new(0)], added: AtomicUsize::new(0) }
    }

    fn add(&self, command: usize) {
        let at = self.added.load(Ordering::Relaxed);
        // Only its producer adds, and the reactor reads what was added alone; loom fails if that is not so.
        self.commands[at].with_mut(|place| unsafe { *place = command });
        self.added.store(at + 1, Ordering::Release);
    }

    fn take(&self, taken: &mut usize) -> Option<usize> {
        if self.added.load(Ordering::Acquire) == *taken {
            return None;
        }
        *taken += 1;
        Some(self.commands[*taken - 1].with(|place| unsafe { *place }))
    }
}

/// What a sleeping reactor is woken by. The locks are the kernel's.
#[derive(Default)]
struct Ready {
    is_raised: bool,
    has_left: bool,
}

struct Epoll {
    ready: Mutex<Ready>,
    changed: Condvar,
}

impl Epoll {
    fn raise(&self) {
        self.ready.lock().unwrap().is_raised = true;
        self.changed.notify_one();
    }

    fn leave(&self) {
        self.ready.lock().unwrap().has_left = true;
        self.changed.notify_one();
    }

    /// Whether the signal is raised and whether the client has left, once one is so, or as it is.
    fn wait(&self, may_sleep: bool) -> (bool, bool) {
        let mut ready = self.ready.lock().unwrap();
        while may_sleep && !ready.is_raised && !ready.has_left {
            ready = self.changed.wait(ready).unwrap();
        }
        (ready.is_raised, std::mem::take(&mut ready.has_left))
    }

    fn lower(&self) {
        self.ready.lock().unwrap().is_raised = false;
    }
}

/// `ReactorHandle` and `EventLoop`, as far as threads meet there.
struct Reactor {
    waker: Waker,
    epoll: Epoll,
    lanes: Vec<Lane>,
}

const FINISH: usize = usize::MAX;

impl Reactor {
    fn new(lanes: usize) -> Arc<Self> {
        Arc::new(Self {
            waker: Waker::new(),
            epoll: Epoll { ready: Mutex::new(Ready::default()), changed: Condvar::new() },
            lanes: (0..lanes).map(|_| Lane::new()).collect(),
        })
    }

    /// As `ReactorHandle::send`.
    fn send(&self, lane: usize, command: usize) {
        self.lanes[lane].add(command);
        if self.waker.ring() {
            self.epoll.raise();
        }
    }

    /// As `EventLoop::turn_for_ever`, but that a turn takes one command at most of each lane. Ends when so many are taken,
    /// and, if a client is to leave, when it has.
    fn run(&self, until_taken: usize, until_left: bool) -> Vec<Vec<usize>> {
        let mut taken = vec![0; self.lanes.len()];
        let mut commands = vec![Vec::new(); self.lanes.len()];
        let mut has_left = false;
        loop {
            for (number, lane) in self.lanes.iter().enumerate() {
                commands[number].extend(lane.take(&mut taken[number]));
            }
            if taken.iter().sum::<usize>() == until_taken && has_left == until_left {
                return commands;
            }
            let is_empty =
                || self.lanes.iter().zip(&taken).all(|(lane, taken)| lane.added.load(Ordering::Acquire) == *taken);
            let may_sleep = self.waker.may_sleep(is_empty);
            let (is_raised, leaves) = self.epoll.wait(may_sleep);
            has_left |= leaves;
            if is_raised {
                self.epoll.lower();
            }
            if may_sleep {
                self.waker.wake();
            }
        }
    }
}

/// Three threads have too many interleavings; mistakes show with a few switches that no thread asked for (loom's manual:
/// two or three). `LOOM_MAX_PREEMPTIONS=4` takes half a minute.
fn model_of_three(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(model);
}

#[test]
fn what_one_thread_adds_while_the_reactor_falls_asleep_is_taken() {
    loom::model(|| {
        let reactor = Reactor::new(1);
        let run = thread::spawn({
            let reactor = Arc::clone(&reactor);
            move || reactor.run(2, false)
        });
        reactor.send(0, 7);
        reactor.send(0, FINISH);
        assert_eq!(run.join().unwrap(), [[7, FINISH]]);
    });
}

#[test]
fn what_two_threads_add_at_once_is_taken() {
    model_of_three(|| {
        let reactor = Reactor::new(2);
        let run = thread::spawn({
            let reactor = Arc::clone(&reactor);
            move || reactor.run(3, false)
        });
        let other = thread::spawn({
            let reactor = Arc::clone(&reactor);
            move || reactor.send(1, 8)
        });
        reactor.send(0, 7);
        reactor.send(0, FINISH);
        other.join().unwrap();
        assert_eq!(run.join().unwrap(), [vec![7, FINISH], vec![8]]);
    });
}

#[test]
fn a_reactor_that_a_client_wakes_misses_nothing_that_is_added() {
    model_of_three(|| {
        let reactor = Reactor::new(1);
        let run = thread::spawn({
            let reactor = Arc::clone(&reactor);
            move || reactor.run(2, true)
        });
        let client = thread::spawn({
            let reactor = Arc::clone(&reactor);
            move || reactor.epoll.leave()
        });
        reactor.send(0, 7);
        reactor.send(0, FINISH);
        client.join().unwrap();
        assert_eq!(run.join().unwrap(), [[7, FINISH]]);
    });
}

/// So far away that only a change ends the waiting.
fn never() -> Instant {
    Instant::now() + Duration::from_secs(1_000_000)
}

#[test]
fn who_waits_for_room_is_told_when_there_is_some() {
    loom::model(|| {
        let shared = Arc::new((Notifier::default(), AtomicUsize::new(2)));
        let reactor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for _ in 0..2 {
                    shared.1.fetch_sub(1, Ordering::AcqRel);
                    shared.0.tell();
                }
            }
        });
        assert!(shared.0.wait(never(), || shared.1.load(Ordering::Acquire) == 0));
        reactor.join().unwrap();
    });
}

#[test]
fn all_who_wait_are_told_of_the_end() {
    loom::model(|| {
        let shared = Arc::new((Notifier::default(), AtomicBool::new(false)));
        let waiters = [(); 2].map(|()| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.0.wait(never(), || shared.1.load(Ordering::Relaxed)))
        });
        shared.1.store(true, Ordering::Relaxed);
        shared.0.tell();
        for waiter in waiters {
            assert!(waiter.join().unwrap());
        }
    });
}

/// `ReactorHandle::send` and `ReactorHandle::die`: what the reactor does not find in its last look into the inbox, the sender finds.
#[test]
fn a_command_sent_while_the_reactor_dies_is_lost_once() {
    loom::model(|| {
        let waker = Arc::new((Waker::new(), AtomicBool::new(false), AtomicBool::new(false)));
        let take = |inbox: &AtomicBool| inbox.load(Ordering::Acquire) && inbox.swap(false, Ordering::AcqRel);
        let sender = thread::spawn({
            let waker = Arc::clone(&waker);
            move || {
                let (waker, inbox, is_dead) = &*waker;
                inbox.store(true, Ordering::Release);
                waker.ring();
                is_dead.load(Ordering::Acquire) && take(inbox)
            }
        });
        let (_, inbox, is_dead) = &*waker;
        is_dead.store(true, Ordering::Release);
        fence(Ordering::SeqCst);
        let is_found = take(inbox);
        assert!(sender.join().unwrap() != is_found);
    });
}
