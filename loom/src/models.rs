//! The models.

use crate::notifier::Notifier;
use crate::sync::lock;
use crate::turn_lock::TurnLock;
use crate::waker::{Rest, Waker};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{fence, AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use std::time::{Duration, Instant};

/// The queue of one producer's commands, in their order. It synchronises less than a real channel: nothing in it is
/// sequentially consistent.
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
        // SAFETY: one producer adds, and the reactor reads only what `added` includes; loom fails if that is not so.
        self.commands[at].with_mut(|command_at| unsafe { *command_at = command });
        self.added.store(at + 1, Ordering::Release);
    }

    fn take(&self, taken: &mut usize) -> Option<usize> {
        if self.added.load(Ordering::Acquire) == *taken {
            return None;
        }
        *taken += 1;
        // SAFETY: as in `add`.
        Some(self.commands[*taken - 1].with(|command_at| unsafe { *command_at }))
    }
}

/// The events that wake a sleeping reactor: a signal of the waker, and a client that closes its connection.
#[derive(Default)]
struct Ready {
    is_raised: bool,
    has_left: bool,
}

/// The reactor's epoll set. The mutex stands for the kernel's locks.
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

    /// Returns whether the descriptor is raised and whether the client has left. If the reactor may block, waits until
    /// one of them is true.
    fn wait(&self, may_block: bool) -> (bool, bool) {
        let mut ready = self.ready.lock().unwrap();
        while may_block && !ready.is_raised && !ready.has_left {
            ready = self.changed.wait(ready).unwrap();
        }
        (ready.is_raised, std::mem::take(&mut ready.has_left))
    }

    fn lower(&self) {
        self.ready.lock().unwrap().is_raised = false;
    }
}

/// The parts of `ReactorHandle` and `EventLoop` where threads meet.
struct Reactor {
    waker: Waker,
    epoll: Epoll,
    lanes: Vec<Lane>,
    naps: Naps,
}

/// When the reactor naps instead of sleeping.
#[derive(Clone, Copy)]
enum Naps {
    Never,
    /// Always, and only the waker ends a nap.
    Always,
    /// Once, and the nap's timer may end it at any moment.
    Once,
}

const FINISH: usize = usize::MAX;

impl Reactor {
    fn new(lanes: usize) -> Arc<Self> {
        Self::with_naps(lanes, Naps::Never)
    }

    fn with_naps(lanes: usize, naps: Naps) -> Arc<Self> {
        Arc::new(Self {
            naps,
            waker: Waker::new(),
            epoll: Epoll { ready: Mutex::new(Ready::default()), changed: Condvar::new() },
            lanes: (0..lanes).map(|_| Lane::new()).collect(),
        })
    }

    /// Does the same as `ReactorHandle::send`.
    fn send(&self, lane: usize, command: usize) {
        self.lanes[lane].add(command);
        if self.waker.wake() {
            self.epoll.raise();
        }
    }

    /// Does the same as `ReactorHandle::send_soon`.
    fn send_soon(&self, lane: usize, command: usize) {
        self.lanes[lane].add(command);
        if self.waker.wake_from_sleep() {
            self.epoll.raise();
        }
    }

    /// Does the same as `EventLoop::run_turns`, but takes at most one command of each lane a turn. Returns when it has
    /// taken `until_taken` commands and, if `until_left` is true, seen the client leave.
    fn run(&self, until_taken: usize, until_left: bool) -> Vec<Vec<usize>> {
        let mut taken = vec![0; self.lanes.len()];
        let mut commands = vec![Vec::new(); self.lanes.len()];
        let mut has_left = false;
        let mut naps = self.naps;
        loop {
            for (number, lane) in self.lanes.iter().enumerate() {
                commands[number].extend(lane.take(&mut taken[number]));
            }
            if taken.iter().sum::<usize>() == until_taken && has_left == until_left {
                return commands;
            }
            let is_empty =
                || self.lanes.iter().zip(&taken).all(|(lane, taken)| lane.added.load(Ordering::Acquire) == *taken);
            let (rest, is_timed) = match naps {
                Naps::Never => (Rest::Sleep, false),
                Naps::Always => (Rest::Nap, false),
                Naps::Once => (Rest::Nap, true),
            };
            if is_timed {
                naps = Naps::Never;
            }
            let may_rest = self.waker.prepare_rest(rest, is_empty);
            let (is_raised, leaves) = self.epoll.wait(may_rest && !is_timed);
            has_left |= leaves;
            if is_raised {
                self.epoll.lower();
            }
            if may_rest {
                self.waker.end_rest();
            }
        }
    }
}

/// Checks a model of three threads with a bound on preemptions, for all interleavings would be too many. Mistakes show
/// with a few preemptions (loom's manual: two or three). `LOOM_MAX_PREEMPTIONS=4` takes half a minute.
fn model_of_three(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(model);
}

#[test]
fn a_command_added_while_the_reactor_falls_asleep_is_taken() {
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
fn a_command_ends_a_nap_of_the_reactor() {
    loom::model(|| {
        let reactor = Reactor::with_naps(1, Naps::Always);
        let run = thread::spawn({
            let reactor = Arc::clone(&reactor);
            move || reactor.run(2, false)
        });
        reactor.send_soon(0, 7);
        reactor.send(0, FINISH);
        assert_eq!(run.join().unwrap(), [[7, FINISH]]);
    });
}

#[test]
fn a_command_that_need_not_end_a_nap_is_taken_after_it() {
    loom::model(|| {
        let reactor = Reactor::with_naps(1, Naps::Once);
        let run = thread::spawn({
            let reactor = Arc::clone(&reactor);
            move || reactor.run(2, false)
        });
        reactor.send_soon(0, 7);
        reactor.send_soon(0, FINISH);
        assert_eq!(run.join().unwrap(), [[7, FINISH]]);
    });
}

#[test]
fn commands_that_two_threads_add_at_once_are_taken() {
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
fn a_command_added_while_a_client_wakes_the_reactor_is_taken() {
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

/// A deadline so far away that only a notification ends the wait.
fn never() -> Instant {
    Instant::now() + Duration::from_secs(1_000_000)
}

#[test]
fn a_thread_that_waits_for_room_is_woken_when_there_is_room() {
    loom::model(|| {
        let shared = Arc::new((Notifier::default(), AtomicUsize::new(2)));
        let reactor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for _ in 0..2 {
                    shared.1.fetch_sub(1, Ordering::AcqRel);
                    shared.0.notify_all();
                }
            }
        });
        assert!(shared.0.wait(never(), || shared.1.load(Ordering::Acquire) == 0));
        reactor.join().unwrap();
    });
}

#[test]
fn all_waiting_threads_are_woken_by_one_notification() {
    loom::model(|| {
        let shared = Arc::new((Notifier::default(), AtomicBool::new(false)));
        let waiters = [(); 2].map(|()| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.0.wait(never(), || shared.1.load(Ordering::Relaxed)))
        });
        shared.1.store(true, Ordering::Relaxed);
        shared.0.notify_all();
        for waiter in waiters {
            assert!(waiter.join().unwrap());
        }
    });
}

/// The model of `ReactorHandle::send` and `ReactorHandle::mark_dead`: a command that the reactor does not find in its
/// last look into the queue is found by its sender.
#[test]
fn a_command_sent_while_the_reactor_dies_is_counted_as_lost_once() {
    loom::model(|| {
        let waker = Arc::new((Waker::new(), AtomicBool::new(false), AtomicBool::new(false)));
        let take = |inbox: &AtomicBool| inbox.load(Ordering::Acquire) && inbox.swap(false, Ordering::AcqRel);
        let sender = thread::spawn({
            let waker = Arc::clone(&waker);
            move || {
                let (waker, inbox, is_dead) = &*waker;
                inbox.store(true, Ordering::Release);
                waker.wake();
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

/// The model of `ReactorHandle::queue_up` and `mark` in `src/runtime/remote/remote_hub.rs`: of two threads that each push and
/// then call, perhaps with the other one's mark, none has its call carried out before its own push was sent.
#[test]
fn the_mark_that_a_call_names_comes_after_what_its_thread_has_queued() {
    loom::model(|| {
        // The queue, with marks as `Err`; how many commands were counted; the last mark.
        let shared = Arc::new((Mutex::new(Vec::new()), AtomicUsize::new(0), AtomicUsize::new(0)));
        let push_and_call = |shared: &(Mutex<Vec<Result<u8, usize>>>, AtomicUsize, AtomicUsize), thread| {
            let (queue, counted, last_mark) = shared;
            lock(queue).push(Ok(thread));
            counted.fetch_add(1, Ordering::Release);
            let after = counted.load(Ordering::Acquire);
            if last_mark.load(Ordering::Acquire) < after {
                lock(queue).push(Err(after));
                last_mark.fetch_max(after, Ordering::Release);
            }
            after
        };
        let other = thread::spawn({
            let shared = Arc::clone(&shared);
            move || push_and_call(&shared, 1)
        });
        let own = push_and_call(&shared, 0);
        for (thread, after) in [(0, own), (1, other.join().unwrap())] {
            let queue = lock(&shared.0);
            let pushed = queue.iter().position(|queued| *queued == Ok(thread));
            let marked = queue.iter().position(|queued| matches!(queued, Err(mark) if *mark >= after));
            assert!(marked.is_some() && pushed < marked, "{queue:?}");
        }
    });
}

/// The model of `lock_all` in `src/runtime/process/forks.rs`: a fork, the reactor with two turns, and a call of `remote`. The
/// fork finds what turns change in step, waits for one turn at most, and no thread waits without end. The reactor only tries
/// the other locks, so the model leaves that out.
#[test]
fn a_fork_goes_before_the_next_turn_and_waits_for_the_end_of_the_one_that_runs() {
    model_of_three(|| {
        let turns = Arc::new(TurnLock { next: Mutex::new(()), running: Mutex::new(()) });
        // All those of `remote` are one here.
        let (above, process) = (Arc::new(Mutex::new(())), Arc::new(Mutex::new(())));
        // Whether a turn runs, the fork is next, and the fork is done.
        let flags = Arc::new([(); 3].map(|()| AtomicBool::new(false)));
        let reactor = thread::spawn({
            let (turns, flags) = (Arc::clone(&turns), Arc::clone(&flags));
            move || {
                let [runs, is_next, is_done] = &*flags;
                let mut must_be_done = false;
                for _ in 0..2 {
                    let _turn = turns.lock_turn();
                    assert!(!must_be_done || is_done.load(Ordering::Relaxed), "a turn goes before a fork that waits");
                    runs.store(true, Ordering::Relaxed);
                    must_be_done = is_next.load(Ordering::Relaxed);
                    runs.store(false, Ordering::Relaxed);
                }
            }
        });
        let call = thread::spawn({
            let (above, process) = (Arc::clone(&above), Arc::clone(&process));
            move || {
                let _above = lock(&above);
                drop(lock(&process));
            }
        });
        let [runs, is_next, is_done] = &*flags;
        let held = (lock(&above), lock(&process), lock(&turns.next));
        is_next.store(true, Ordering::Relaxed);
        let turn = lock(&turns.running);
        assert!(!runs.load(Ordering::Relaxed), "a fork meets a turn");
        is_done.store(true, Ordering::Relaxed);
        drop((held, turn));
        reactor.join().unwrap();
        call.join().unwrap();
    });
}
