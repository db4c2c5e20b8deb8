//! The baton: each simulated thread is a thread of this process, and only the one that has the baton runs. A seed decides which
//! one is next, among those that can continue and the wires that have something to pass. When nothing can continue, time jumps.
//!
//! A simulated process is its threads and its copies of the statics. A process that is killed gets the baton until all of its
//! threads have unwound from their waits. Dropping what they held only closes descriptors.

use crate::kernel;
use crate::wires::{Passed, Wires};
use eventsource_xs::sim::{Awaited, World};
use fastrand::Rng;
use rustix::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The most steps of an episode. One with more never comes to rest.
const MOST_STEPS: u64 = 5_000_000;

/// What a thread of a killed process unwinds with.
struct Killed;

/// Where a thread waits for the baton.
#[derive(Default)]
struct Hand {
    has_baton: Mutex<bool>,
    given: Condvar,
}

impl Hand {
    fn give(&self) {
        *lock(&self.has_baton) = true;
        self.given.notify_one();
    }

    fn wait(&self) {
        let mut has_baton = lock(&self.has_baton);
        while !*has_baton {
            has_baton = self.given.wait(has_baton).unwrap_or_else(PoisonError::into_inner);
        }
        *has_baton = false;
    }
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a thread waits for, without a lifetime: it waits as long as this is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Waits {
    No,
    Notified(usize),
    Readable(RawFd),
    Writable(RawFd),
    OtherThread,
    Time,
}

struct Thread {
    process: u32,
    hand: Arc<Hand>,
    waits: Waits,
    until: Option<u64>,
    /// The turns that its process had had when it began to wait.
    turns: u64,
    /// How often it is chosen.
    weight: f32,
}

type Copies = HashMap<usize, Box<dyn Any + Send + Sync>>;
pub type Body = Box<dyn FnOnce() + Send>;

/// What becomes of a process when its threads have ended.
pub struct Exec {
    pub words: Vec<OsString>,
    copies: Vec<(RawFd, OwnedFd)>,
}

#[derive(Default)]
struct Process {
    threads: u32,
    turns: u64,
    is_killed: bool,
    copies: Copies,
    exec: Option<Exec>,
    /// The descriptors that its program was handed. It makes an `exec` close those that it takes.
    handed: Vec<RawFd>,
}

#[derive(Default)]
struct State {
    rng: Rng,
    now: u64,
    /// The nanoseconds that a step takes.
    step: u64,
    steps: u64,
    threads: BTreeMap<u64, Thread>,
    next_thread: u64,
    processes: BTreeMap<u32, Process>,
    next_process: u32,
    wires: Wires,
    hash: u64,
    log: Vec<String>,
    failure: Option<String>,
    /// One of so many locks lets another thread run; 0 for none.
    lock_pass: u64,
    /// True if some threads are rarely chosen.
    starves: bool,
    prints: bool,
}

/// What decides about the program of an upgrade.
pub trait Programs: Send + Sync {
    fn check(&self, handed: Option<&File>) -> Result<u16, String>;

    /// Runs a program as a process, with its words.
    fn run(&self, words: Vec<OsString>, is_exec: bool);
}

pub struct Simulation {
    state: Mutex<State>,
    /// Signals the end of an episode.
    ended: Hand,
    programs: Mutex<Option<Arc<dyn Programs>>>,
}

thread_local! {
    static THREAD: Cell<u64> = const { Cell::new(0) };
    static OWN_COPIES: RefCell<Vec<(usize, *const ())>> = const { RefCell::new(Vec::new()) };
}

/// What an episode of the simulation was.
#[derive(Debug)]
pub struct Ran {
    pub steps: u64,
    pub virtual_time: f64,
    pub hash: u64,
    pub failure: Option<String>,
}

impl Simulation {
    pub const fn new() -> Self {
        let hand = Hand { has_baton: Mutex::new(false), given: Condvar::new() };
        Self { state: Mutex::new(State::empty()), ended: hand, programs: Mutex::new(None) }
    }

    /// Runs an episode whose first process has this body, until that has ended.
    pub fn run(&'static self, seed: u64, prints: bool, body: impl FnOnce() + Send + 'static) -> Ran {
        kernel::set_now(0);
        kernel::enter_process(0, seed);
        let first = {
            let mut state = lock(&self.state);
            *state =
                State { rng: Rng::with_seed(seed), prints, next_thread: 1, next_process: 1000, ..State::default() };
            state.step = *state.rng.choice(&[2_000, 20_000, 200_000]).expect("one");
            state.lock_pass = *state.rng.choice(&[0, 100, 10]).expect("one");
            state.starves = state.rng.bool();
            drop(state);
            self.begin_process(Box::new(body))
        };
        let hand = lock(&self.state).threads.values().next().map(|thread| Arc::clone(&thread.hand));
        let _ = first;
        hand.expect("a thread").give();
        self.ended.wait();
        let mut state = lock(&self.state);
        *lock(&self.programs) = None;
        let State { steps, now, hash, .. } = *state;
        let failure = state.failure.take();
        state.wires = Wires::default();
        Ran { steps, virtual_time: now as f64 / 1e9, hash, failure }
    }

    pub fn set_programs(&self, programs: Arc<dyn Programs>) {
        *lock(&self.programs) = Some(programs);
    }

    fn programs(&self) -> Option<Arc<dyn Programs>> {
        lock(&self.programs).clone()
    }

    /// Calls a function with the wires.
    pub fn with_wires<T>(&self, function: impl FnOnce(&mut Wires) -> T) -> T {
        function(&mut lock(&self.state).wires)
    }

    /// Draws a number.
    pub fn draw(&self) -> u64 {
        lock(&self.state).rng.u64(..)
    }

    /// Begins a process, whose first thread has this body. Returns its number.
    pub fn begin_process(&'static self, body: Body) -> u32 {
        let number = {
            let mut state = lock(&self.state);
            state.next_process += 1;
            let number = state.next_process;
            state.processes.insert(number, Process::default());
            number
        };
        self.begin_thread(number, body);
        number
    }

    fn begin_thread(&'static self, process: u32, body: Body) {
        let body = self.adopt_for(process, body);
        std::thread::Builder::new().spawn(body).expect("a thread");
    }

    fn adopt_for(&'static self, process: u32, body: Body) -> Body {
        let (number, hand, seed) = {
            let mut state = lock(&self.state);
            let number = state.next_thread;
            state.next_thread += 1;
            let hand = Arc::new(Hand::default());
            let seed = state.rng.u64(..);
            let weight = if state.starves && state.rng.u8(..4) == 0 { 0.02 } else { 1.0 };
            let thread = Thread { process, hand: Arc::clone(&hand), waits: Waits::No, until: None, turns: 0, weight };
            state.threads.insert(number, thread);
            state.processes.get_mut(&process).expect("a process").threads += 1;
            (number, hand, seed)
        };
        Box::new(move || {
            THREAD.set(number);
            kernel::enter_process(process, seed);
            fastrand::seed(seed);
            hand.wait();
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                self.unwind_if_killed();
                body();
            }));
            if catch_unwind(AssertUnwindSafe(|| self.end_thread(outcome.err()))).is_err() {
                kernel::exit(4); // a defect of the simulation
            }
        })
    }

    fn end_thread(&'static self, cause: Option<Box<dyn Any + Send>>) {
        let (thread, number) = (THREAD.get(), kernel::current_process());
        if let Some(cause) = cause.filter(|cause| !cause.is::<Killed>()) {
            self.fail(format!("process {number} has panicked: {}", text_of(&*cause)));
        }
        OWN_COPIES.with_borrow_mut(Vec::clear);
        let is_last = {
            let mut state = lock(&self.state);
            let process = state.processes.get_mut(&number).expect("a process");
            process.threads -= 1;
            process.threads == 0
        };
        if is_last {
            self.end_process(number);
        }
        let next = {
            let mut state = lock(&self.state);
            state.threads.remove(&thread);
            if state.threads.is_empty() {
                drop(state);
                THREAD.set(0);
                kernel::enter_process(0, 0);
                return self.ended.give();
            }
            state.choose()
        };
        THREAD.set(0);
        next.give();
    }

    fn end_process(&'static self, number: u32) {
        self.tell("ends");
        loop {
            let copies = std::mem::take(&mut lock(&self.state).processes.get_mut(&number).expect("a process").copies);
            OWN_COPIES.with_borrow_mut(Vec::clear);
            if copies.is_empty() {
                break;
            }
            drop(copies);
        }
        let exec = {
            let mut state = lock(&self.state);
            let process = state.processes.get_mut(&number).expect("a process");
            let exec = process.exec.take();
            std::mem::take(&mut process.handed).into_iter().for_each(kernel::close_if_unclaimed);
            match &exec {
                Some(exec) => {
                    process.is_killed = false;
                    process.handed = exec.copies.iter().map(|(number, _)| *number).collect();
                }
                None => drop(state.processes.remove(&number)),
            }
            state.notify(number as usize);
            exec
        };
        if let Some(Exec { words, copies }) = exec {
            copies.iter().for_each(|(number, copy)| kernel::put_back(*number, copy));
            drop(copies);
            let programs = self.programs().expect("programs");
            self.begin_thread(number, Box::new(move || programs.run(words, true)));
        }
    }

    /// Kills a process. It has ended when this returns.
    pub fn kill(&'static self, number: u32) {
        self.tell(&format!("{number} is killed"));
        {
            let mut state = lock(&self.state);
            let Some(process) = state.processes.get_mut(&number) else { return };
            (process.is_killed, process.exec) = (true, None);
        }
        while self.is_running(number) {
            self.wait(Awaited::Notified(number as usize), None);
        }
    }

    /// Ends this process, as the return from its `main` does: its other threads end, too.
    pub fn exit(&self) -> ! {
        if let Some(process) = lock(&self.state).processes.get_mut(&kernel::current_process()) {
            process.is_killed = true;
        }
        resume_unwind(Box::new(Killed));
    }

    pub fn is_running(&self, number: u32) -> bool {
        lock(&self.state).processes.contains_key(&number)
    }

    /// Returns the processes that run, but this one.
    pub fn others(&self) -> Vec<u32> {
        let own = kernel::current_process();
        lock(&self.state).processes.keys().copied().filter(|number| *number != own && *number > 0).collect()
    }

    /// Notes why an episode fails. The first reason counts.
    pub fn fail(&self, why: String) {
        lock(&self.state).failure.get_or_insert(why);
    }

    pub fn has_failed(&self) -> bool {
        lock(&self.state).failure.is_some()
    }

    fn unwind_if_killed(&self) {
        let is_killed = {
            let state = lock(&self.state);
            state.processes.get(&kernel::current_process()).is_some_and(|process| process.is_killed)
        };
        if is_killed && !std::thread::panicking() {
            resume_unwind(Box::new(Killed));
        }
    }

    /// Prints a line, if this is to be seen.
    pub fn tell(&self, what: &str) {
        let state = lock(&self.state);
        if state.prints {
            eprintln!("{:10.6} {} {what}", state.now as f64 / 1e9, kernel::current_process());
        }
    }

    /// Adds something to what the trace's hash is of.
    pub fn note(&self, text: &str) {
        let mut state = lock(&self.state);
        text.bytes().for_each(|byte| state.mix(byte.into()));
    }

    fn wait_for(&'static self, waits: Waits, until: Option<u64>) {
        let thread = THREAD.get();
        let (next, own) = {
            let mut state = lock(&self.state);
            let process = state.threads[&thread].process;
            let process = state.processes.get_mut(&process).expect("a process");
            process.turns += 1;
            let turns = process.turns;
            let own = state.threads.get_mut(&thread).expect("a thread");
            (own.waits, own.until, own.turns) = (waits, until, turns);
            let own = Arc::clone(&own.hand);
            (state.choose(), own)
        };
        if !Arc::ptr_eq(&next, &own) {
            next.give();
            own.wait();
        }
        self.unwind_if_killed();
    }
}

impl State {
    const fn empty() -> Self {
        Self {
            rng: Rng::with_seed(0),
            now: 0,
            step: 0,
            steps: 0,
            threads: BTreeMap::new(),
            next_thread: 1,
            processes: BTreeMap::new(),
            next_process: 0,
            wires: Wires::new(),
            hash: 0,
            log: Vec::new(),
            failure: None,
            lock_pass: 0,
            starves: false,
            prints: false,
        }
    }

    fn mix(&mut self, number: u64) {
        self.hash = (self.hash.rotate_left(5) ^ number).wrapping_mul(0x517C_C1B7_2722_0A95);
    }

    fn notify(&mut self, key: usize) {
        for thread in self.threads.values_mut().filter(|thread| thread.waits == Waits::Notified(key)) {
            thread.waits = Waits::No;
        }
    }

    /// Chooses the thread that runs next, and lets wires pass what they have before. Returns its hand.
    fn choose(&mut self) -> Arc<Hand> {
        loop {
            if let Some(hand) = self.try_choose() {
                return hand;
            }
        }
    }

    fn try_choose(&mut self) -> Option<Arc<Hand>> {
        if self.steps >= MOST_STEPS {
            self.give_up("there is no rest");
        }
        // Whoever was killed ends at once.
        let is_killed = |thread: &Thread| self.processes[&thread.process].is_killed;
        let killed: Vec<u64> =
            self.threads.iter().filter(|(_, thread)| is_killed(thread)).map(|(number, _)| *number).collect();
        if !killed.is_empty() {
            let at = self.rng.usize(..killed.len()); // one of them may wait for a lock of another one
            return Some(self.begin_turn(killed[at]));
        }
        let mut polled: Vec<libc::pollfd> = Vec::new();
        for thread in self.threads.values() {
            match thread.waits {
                Waits::Readable(fd) => polled.push(libc::pollfd { fd, events: libc::POLLIN, revents: 0 }),
                Waits::Writable(fd) => polled.push(libc::pollfd { fd, events: libc::POLLOUT, revents: 0 }),
                _ => {}
            }
        }
        let of_threads = polled.len();
        self.wires.add_polled(&mut polled);
        kernel::poll(&mut polled);
        let mut is_ready = polled[..of_threads].iter().map(|polled| polled.revents != 0);
        let mut ready: Vec<(u64, f32)> = Vec::new();
        for (number, thread) in &self.threads {
            let may_continue = match thread.waits {
                Waits::No => true,
                Waits::Readable(_) | Waits::Writable(_) => is_ready.next().expect("an answer"),
                Waits::OtherThread => self.processes[&thread.process].turns > thread.turns,
                Waits::Notified(_) | Waits::Time => false,
            };
            if may_continue || thread.until.is_some_and(|until| until <= self.now) {
                ready.push((*number, thread.weight));
            }
        }
        let passing = self.wires.ready(&polled[of_threads..]);
        if ready.is_empty() && passing.is_empty() {
            let next = self.threads.values().filter_map(|thread| thread.until).min();
            match next {
                Some(next) => self.now = self.now.max(next),
                None => self.give_up("all threads wait for ever"),
            }
            kernel::set_now(self.now);
            return None;
        }
        let total: f32 = ready.iter().map(|(_, weight)| weight).sum::<f32>() + passing.len() as f32;
        let mut at = self.rng.f32() * total;
        self.steps += 1;
        self.now += self.step;
        kernel::set_now(self.now);
        for (number, weight) in &ready {
            if at < *weight {
                return Some(self.begin_turn(*number));
            }
            at -= weight;
        }
        let Some(action) = passing.get(at as usize).or(passing.last()) else {
            return ready.last().map(|(number, _)| self.begin_turn(*number));
        };
        let Passed { wire, bytes } = self.wires.act(action, &mut self.rng);
        self.mix(wire << 32 | bytes);
        None
    }

    fn begin_turn(&mut self, number: u64) -> Arc<Hand> {
        let now = self.now;
        self.mix(number);
        self.mix(now);
        let thread = self.threads.get_mut(&number).expect("a thread");
        (thread.waits, thread.until) = (Waits::No, None);
        Arc::clone(&thread.hand)
    }

    /// Ends everything: nothing can be drawn from here on.
    fn give_up(&self, why: &str) -> ! {
        eprintln!("the simulation ends: {why}, after {} steps and {} s", self.steps, self.now as f64 / 1e9);
        for (number, thread) in &self.threads {
            eprintln!(
                "thread {number} of process {} waits: {:?} until {:?}",
                thread.process, thread.waits, thread.until
            );
        }
        self.log.iter().for_each(|line| eprint!("{line}"));
        kernel::exit(3);
    }
}

pub fn text_of(cause: &(dyn Any + Send)) -> String {
    let text = cause.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| cause.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".into())
}

fn since_begin(until: Instant) -> u64 {
    let now = kernel::monotonic() - kernel::monotonic_begin();
    let left = until.saturating_duration_since(Instant::now());
    now.saturating_add(u64::try_from(left.as_nanos()).unwrap_or(u64::MAX / 2))
}

impl World for &'static Simulation {
    fn wait(&self, awaited: Awaited<'_>, until: Option<Instant>) {
        let waits = match awaited {
            Awaited::Notified(key) => Waits::Notified(key),
            Awaited::Readable(fd) => Waits::Readable(fd.as_raw_fd()),
            Awaited::Writable(fd) => Waits::Writable(fd.as_raw_fd()),
            Awaited::OtherThread => Waits::OtherThread,
            Awaited::Time => Waits::Time,
        };
        self.wait_for(waits, until.map(since_begin));
    }

    fn end_if_killed(&self) {
        self.unwind_if_killed();
    }

    fn pass_lock(&self) {
        if THREAD.get() == 0 || std::thread::panicking() {
            return;
        }
        let one_of = lock(&self.state).lock_pass;
        if one_of > 0 && kernel::next_random() < u64::MAX / one_of {
            self.wait_for(Waits::No, None);
        }
    }

    fn notify(&self, key: usize) {
        lock(&self.state).notify(key);
    }

    fn adopt(&self, body: Body) -> Body {
        self.adopt_for(kernel::current_process(), body)
    }

    fn local(&self, key: usize, make: &dyn Fn() -> Box<dyn Any + Send + Sync>) -> *const () {
        let kept = OWN_COPIES.with_borrow(|copies| copies.iter().find(|(of, _)| *of == key).map(|(_, copy)| *copy));
        if let Some(kept) = kept {
            return kept;
        }
        let number = kernel::current_process();
        let known = |state: &State| {
            let copy: &(dyn Any + Send + Sync) = &**state.processes.get(&number)?.copies.get(&key)?;
            Some(std::ptr::from_ref(copy).cast::<()>())
        };
        let found = known(&lock(&self.state));
        let found = found.unwrap_or_else(|| {
            let made = make();
            let mut state = lock(&self.state);
            state.processes.entry(number).or_default().copies.insert(key, made);
            known(&state).expect("it was made")
        });
        OWN_COPIES.with_borrow_mut(|copies| copies.push((key, found)));
        found
    }

    fn monotonic(&self) -> u64 {
        kernel::monotonic()
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        kernel::fill_random(bytes);
    }

    fn log(&self, line: &[u8]) -> bool {
        let mut state = lock(&self.state);
        let line =
            format!("{:10.6} {} {}", state.now as f64 / 1e9, kernel::current_process(), String::from_utf8_lossy(line));
        if state.prints {
            eprint!("{line}");
        }
        state.log.push(line);
        true
    }

    fn pid_of(&self, _: BorrowedFd<'_>) -> Option<u32> {
        None // as if it was in another container
    }

    fn limit(&self) -> usize {
        10_000
    }

    fn start(&self, _: &str, _: &Path, _: OwnedFd, _: File) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn check(&self, handed: Option<&File>) -> Result<u16, String> {
        self.programs().expect("programs").check(handed)
    }

    fn execute(&self, words: &[OsString]) -> io::Error {
        let copies = match kernel::copies_for_exec() {
            Ok(copies) => copies,
            Err(error) => return error,
        };
        {
            let mut state = lock(&self.state);
            let process = state.processes.get_mut(&kernel::current_process()).expect("a process");
            process.exec = Some(Exec { words: words.to_vec(), copies });
            process.is_killed = true;
        }
        resume_unwind(Box::new(Killed));
    }
}
