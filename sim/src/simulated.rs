//! The world of the book in the simulation: each worker and the hub process are processes of it, and the episode is one more.

use crate::arguments::{Arguments, Subcommand};
use crate::baton::{lock, Programs, Ran, Simulation};
use crate::episode::Episode;
use crate::kernel;
use crate::plan::Operation;
use crate::program::commands::read_state;
use crate::protocol;
use crate::rules::Broken;
use crate::server;
use crate::support::{settings, DEADLINE};
use crate::trace::Trace;
use crate::worker::{Act, Worker};
use crate::world::{Socket, Wanted, World};
use eventsource_xs::remote::calls::connect_at_once;
use eventsource_xs::remote::{self, Address, CallConnection, Place, Start};
use eventsource_xs::sim::{self, Awaited, World as _};
use eventsource_xs::wire::{HubSettings, Name};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

static SIMULATION: Simulation = Simulation::new();

fn simulation() -> &'static Simulation {
    &SIMULATION
}

/// What becomes of an episode besides its steps.
#[derive(Default)]
pub struct Judged {
    pub broken: Vec<Broken>,
    pub crossings: BTreeMap<(Operation, &'static str), u64>,
}

/// Runs an episode: who its clients are, the operations, and the order in which threads run.
pub fn run(seed: u64, decisions: Vec<u64>, schedule: u64, prints: bool) -> (Ran, Judged) {
    sim::begin(Box::leak(Box::new(simulation())));
    let folder = PathBuf::from(format!("/dev/shm/eventsource-sim-{:010}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).expect("a new folder");
    let of_episode = folder.clone();
    let judged = Arc::new(Mutex::new(Judged::default()));
    let of_body = Arc::clone(&judged);
    let ran = simulation().run(schedule, prints, move || {
        let ended = catch_unwind(AssertUnwindSafe(|| run_episode(seed, decisions, prints, of_episode)));
        // Whatever still runs ends with the episode.
        simulation().others().into_iter().for_each(|process| simulation().kill(process));
        match ended {
            Ok(ended) => *lock(&of_body) = ended,
            Err(cause) => resume_unwind(cause),
        }
    });
    let _ = std::fs::remove_dir_all(&folder);
    let judged = std::mem::take(&mut *lock(&judged));
    (ran, judged)
}

fn run_episode(seed: u64, decisions: Vec<u64>, prints: bool, folder: PathBuf) -> Judged {
    let mut episode = Episode::new(seed, decisions, |wanted, trace| Box::new(Hub::begin(wanted, trace, folder)));
    episode.run();
    episode.rest();
    let mut broken = episode.broken();
    let mut trace = lock(&episode.trace).clone();
    if broken.is_empty() && seed.is_multiple_of(3) {
        episode.drain();
        broken = episode.broken();
        trace = lock(&episode.trace).clone();
    }
    simulation().note(&format!("{trace:?}"));
    if prints && !broken.is_empty() {
        trace.print();
    }
    Judged { broken, crossings: std::mem::take(&mut episode.crossings) }
}

/// Waits until a condition is true, which something makes true that notifies of a key; at most for a time.
fn wait_until(key: usize, time: Duration, is_true: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + time;
    while !is_true() {
        if Instant::now() >= deadline {
            return false;
        }
        simulation().wait(Awaited::Notified(key), Some(deadline));
    }
    true
}

fn key_of<T>(shared: &Arc<T>) -> usize {
    Arc::as_ptr(shared) as usize
}

/// What a worker is to do.
#[derive(Default)]
struct Acts {
    todo: Mutex<VecDeque<Act>>,
    is_busy: Mutex<bool>,
}

/// A worker: its process, and what that is to do.
struct WorkerProcess {
    process: Mutex<u32>,
    acts: Arc<Acts>,
    address: Address,
}

/// The program of an upgrade, which waits in its phases.
#[derive(Default)]
struct Gate {
    is_upgrade: bool,
    /// The protocol of the program.
    protocol: Option<u16>,
    waits_in: Option<&'static str>,
    passes: Option<bool>,
    /// How the command has ended.
    ended: Option<bool>,
}

/// What the simulation runs as programs.
#[derive(Default)]
struct Hubs(Mutex<Gate>);

impl Hubs {
    /// Waits in a phase until the episode lets the program continue. Returns false if it is to fail.
    fn pass(self: &Arc<Self>, phase: &'static str, within: Duration) -> bool {
        {
            let mut gate = lock(&self.0);
            if !gate.is_upgrade {
                return true;
            }
            (gate.waits_in, gate.passes) = (Some(phase), None);
        }
        simulation().notify(key_of(self));
        let is_decided = wait_until(key_of(self), within, || lock(&self.0).passes.is_some());
        let mut gate = lock(&self.0);
        gate.waits_in = None;
        is_decided && gate.passes.take() == Some(true)
    }
}

/// The programs, as the simulation calls them.
struct Runs(Arc<Hubs>);

impl Programs for Runs {
    fn check(&self, handed: Option<&File>) -> Result<u16, String> {
        let (phase, within) = match handed {
            None => ("claim", Duration::from_secs(2)),
            Some(_) => ("check", Duration::from_secs(20)),
        };
        if !self.0.pass(phase, within) {
            return Err("the program is not a hub program that can continue here".into());
        }
        if let Some(file) = handed {
            let mut file = file.try_clone().map_err(|error| error.to_string())?;
            std::io::Seek::rewind(&mut file).map_err(|error| error.to_string())?;
            read_state(file.try_clone().map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
            std::io::Seek::rewind(&mut file).map_err(|error| error.to_string())?;
        }
        Ok(lock(&self.0 .0).protocol.unwrap_or(protocol::version()))
    }

    fn run(&self, words: Vec<OsString>, is_exec: bool) {
        simulation().tell(&format!("runs {words:?}"));
        if is_exec && !self.0.pass("exec", Duration::MAX / 4) {
            return;
        }
        if let Some(version) = lock(&self.0 .0).protocol.filter(|_| is_exec) {
            std::env::set_var("EVENTSOURCE_TEST_PROTOCOL", version.to_string());
        }
        let arguments = Arguments::parse(words.into_iter().skip(1)).expect("a command");
        assert_eq!(arguments.command, Subcommand::Run);
        if let Err(error) = server::run(arguments) {
            simulation().log(format!("the hub process ends: {error}\n").as_bytes());
        }
        simulation().exit();
    }
}

struct Hub {
    folder: PathBuf,
    place: Place,
    settings: HubSettings,
    workers: Vec<WorkerProcess>,
    trace: Arc<Mutex<Trace>>,
    hubs: Arc<Hubs>,
    process: Mutex<Option<u32>>,
}

fn place_at(path: PathBuf) -> Place {
    Place::new(Name::new("shop").expect("a name"), Some(&path)).expect("a place")
}

/// How the episode connects: it has started the process itself.
fn start() -> Start {
    Start { program: None, needs_settings: false, timeout: DEADLINE }
}

impl Hub {
    fn begin(wanted: Wanted, trace: &Arc<Mutex<Trace>>, folder: PathBuf) -> Self {
        lock(trace).stored = false; // there is no store here
        let hubs = Arc::new(Hubs::default());
        simulation().set_programs(Arc::new(Runs(Arc::clone(&hubs))));
        let place = place_at(folder.join("s"));
        let (process, workers, trace) = (Mutex::new(None), Vec::new(), Arc::clone(trace));
        let mut hub = Self { folder, place, settings: wanted.change(settings()), workers, trace, hubs, process };
        World::start(&hub);
        for number in 0..wanted.workers {
            let path = hub.folder.join(format!("w{number}"));
            let listener = UnixListener::bind(&path).expect("a new socket");
            let socket = hub.place.socket().to_owned();
            simulation().with_wires(|wires| wires.add(listener, socket));
            let place = place_at(path);
            let address = Address::new(place.name().clone(), Some(place.socket().to_owned())).expect("a path");
            let worker = WorkerProcess { process: Mutex::new(0), acts: Arc::default(), address };
            hub.workers.push(worker);
            hub.begin_worker(number);
        }
        hub
    }

    fn begin_worker(&self, number: usize) {
        let WorkerProcess { process, acts, address } = &self.workers[number];
        let (settings, trace, address) = (self.settings.clone(), Arc::clone(&self.trace), address.clone());
        lock(&acts.todo).clear();
        *lock(&acts.is_busy) = false;
        let acts = Arc::clone(acts);
        let begun = simulation().begin_process(Box::new(move || {
            // One that takes the place of another is another publisher: what that has sent may still be on its way.
            let mut worker = Worker::new(kernel::current_process() as usize, address, settings, trace);
            loop {
                let act = lock(&acts.todo).pop_front();
                *lock(&acts.is_busy) = act.is_some();
                match act {
                    Some(act) => act(&mut worker),
                    None => {
                        simulation().notify(key_of(&acts) + 1);
                        simulation().wait(Awaited::Notified(key_of(&acts)), None);
                    }
                }
            }
        }));
        *lock(process) = begun;
    }
}

impl World for Hub {
    fn act(&self, worker: usize, act: Act) {
        let acts = &self.workers[worker].acts;
        lock(&acts.todo).push_back(act);
        simulation().notify(key_of(acts));
    }

    fn is_done_within(&self, worker: usize, time: Duration) -> bool {
        let acts = &self.workers[worker].acts;
        wait_until(key_of(acts) + 1, time, || lock(&acts.todo).is_empty() && !*lock(&acts.is_busy))
    }

    fn cut(&self, worker: usize, towards_hub: bool, after: u16) {
        simulation().with_wires(|wires| wires.cut(worker, towards_hub, after));
    }

    fn set_longest_piece(&self, worker: usize, bytes: u64) {
        simulation().with_wires(|wires| wires.set_longest_piece(worker, bytes));
    }

    fn heal(&self, worker: usize) {
        simulation().with_wires(|wires| wires.heal(worker));
    }

    fn replace_worker(&self, worker: usize) {
        let process = *lock(&self.workers[worker].process);
        simulation().kill(process);
        self.begin_worker(worker);
    }

    fn connection(&self, is_slow: bool) -> (OwnedFd, Socket) {
        let (socket, own) = UnixStream::pair().expect("a pair of sockets");
        if is_slow {
            set_socket_send_buffer_size(&socket, 4096).expect("a socket");
            set_socket_recv_buffer_size(&own, 4096).expect("a socket");
        }
        own.set_nonblocking(true).expect("a socket");
        (socket.into(), Box::new(own))
    }

    fn command(&self) -> CallConnection {
        World::start(self);
        CallConnection::connect(&start(), &self.place, None).expect("a hub")
    }

    fn pid(&self) -> Option<u32> {
        connect_at_once(self.place.socket()).ok()?;
        CallConnection::connect(&start(), &self.place, None).ok().map(|client| client.welcome().pid)
    }

    fn start(&self) {
        let runs = lock(&self.process).is_some_and(|process| simulation().is_running(process));
        if !runs {
            std::env::remove_var("EVENTSOURCE_TEST_PROTOCOL");
            let words = ["eventsource-hub", "run", "--name", "shop", "--socket"].map(OsString::from);
            let words: Vec<OsString> = words.into_iter().chain([self.place.socket().as_os_str().to_owned()]).collect();
            let runs = Runs(Arc::clone(&self.hubs));
            *lock(&self.process) = Some(simulation().begin_process(Box::new(move || runs.run(words, false))));
        }
        drop(CallConnection::connect(&start(), &self.place, Some(self.settings.clone().into())).expect("a hub"));
    }

    fn kill(&mut self, pid: u32) {
        simulation().kill(pid);
    }

    fn stop(&mut self, pid: u32) {
        remote::stop(&start(), &self.place).expect("an end");
        wait_until(pid as usize, DEADLINE, || !simulation().is_running(pid));
    }

    fn begin_upgrade(&mut self, protocol: Option<u16>) {
        *lock(&self.hubs.0) = Gate { is_upgrade: true, protocol, ..Gate::default() };
        let (place, hubs) = (self.place.clone(), Arc::clone(&self.hubs));
        let program = std::env::current_exe().expect("a program");
        simulation().begin_process(Box::new(move || {
            let upgraded = remote::upgrade(&start(), &place, Some(&program));
            lock(&hubs.0).ended = Some(upgraded.is_ok());
            simulation().notify(key_of(&hubs));
        }));
    }

    fn next_phase(&mut self) -> Option<&'static str> {
        let hubs = &self.hubs;
        let is_next = || {
            let gate = lock(&hubs.0);
            gate.waits_in.is_some() && gate.passes.is_none() || gate.ended.is_some()
        };
        assert!(wait_until(key_of(hubs), DEADLINE, is_next), "an upgrade has no end");
        let gate = lock(&hubs.0);
        gate.waits_in.filter(|_| gate.ended.is_none())
    }

    fn pass(&mut self, continues: bool) {
        simulation().tell(&format!("lets {:?} pass: {continues}", lock(&self.hubs.0).waits_in));
        lock(&self.hubs.0).passes = Some(continues);
        simulation().notify(key_of(&self.hubs));
    }

    fn end_upgrade(&mut self) -> bool {
        let hubs = &self.hubs;
        assert!(wait_until(key_of(hubs), DEADLINE, || lock(&hubs.0).ended.is_some()), "an upgrade has no end");
        let mut gate = lock(&hubs.0);
        let protocol = gate.protocol;
        let has_succeeded = gate.ended == Some(true);
        *gate = Gate { protocol: protocol.filter(|_| false), ..Gate::default() };
        has_succeeded
    }

    fn pause(&self, time: Duration) {
        simulation().wait(Awaited::Time, Some(Instant::now() + time));
    }
}
