//! The world of real processes: workers, each with a thread of its own and a wire to the hub process, and the process itself,
//! which is killed, stopped and upgraded. The new program of an upgrade is a gate: it waits in each phase until the episode
//! lets it continue, so that a phase lasts as long as the episode likes.

use crate::support::wire::Wire;
use crate::support::{settings, write_script, Scene, PROGRAM};
use crate::trace::Trace;
use eventsource_xs::remote::{Address, Hub, RemoteHub, Start};
use eventsource_xs::runtime::StreamHandle;
use eventsource_xs::wire::{Call, HubSettings};
use rustix::fs::OFlags;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{channel, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a call of a worker may take, also while no process serves the hub.
const CALL: Duration = Duration::from_millis(400);

/// The phases of an upgrade in which the new program waits.
pub const PHASES: [&str; 3] = ["claim", "check", "exec"];

/// A worker: its hub and its streams, in one thread.
pub struct Worker {
    pub number: usize,
    address: Address,
    settings: HubSettings,
    pub hub: Hub,
    pub streams: BTreeMap<u64, StreamHandle>,
    /// The streams whose handlers have not returned.
    pub in_handler: BTreeMap<u64, StreamHandle>,
    pub trace: Arc<Mutex<Trace>>,
}

/// Returns the hub as a worker uses it, which does not start the process.
fn connected(address: &Address, settings: &HubSettings) -> Hub {
    let start = Start { program: None, needs_settings: false, timeout: CALL };
    Hub::named(RemoteHub::new(address.clone(), start, settings.clone().into())).expect("memory")
}

impl Worker {
    /// Forgets its streams and its connection, as a process that begins in the place of one that has died.
    pub fn begin_anew(&mut self) {
        self.release_all();
        self.hub = connected(&self.address, &self.settings);
    }

    fn release_all(&mut self) {
        self.streams.append(&mut self.in_handler);
        std::mem::take(&mut self.streams).into_values().for_each(|mut stream| stream.release());
    }

    /// Lets all handlers return.
    pub fn return_from_handlers(&mut self) {
        for (number, stream) in &mut self.in_handler {
            stream.leave_handler();
            let mut trace = self.trace.lock().expect("no panic");
            trace.streams.get_mut(number).expect("a stream").began = Some(Instant::now());
        }
        self.streams.append(&mut self.in_handler);
    }

    /// Asks for a place of a limit; if none is allowed, gives one back. A hub that does not answer lets the stream begin.
    pub fn reserve(&self, limit: &str, most: usize) -> bool {
        let reply = self.hub.call(Call::Reserve { label: limit.as_bytes().into(), most });
        reply.and_then(|reply| reply.number()).map_or(true, |number| number > 0)
    }
}

type Act = Box<dyn FnOnce(&mut Worker) + Send>;

/// The thread of a worker, and its wire.
pub struct WorkerThread {
    pub wire: Wire,
    acts: Option<Sender<Act>>,
    thread: Option<JoinHandle<()>>,
}

impl WorkerThread {
    fn new(scene: &Scene, number: usize, settings: &HubSettings, trace: &Arc<Mutex<Trace>>) -> Self {
        let wire = Wire::new(scene, number);
        let address = Address::new(wire.place.name().clone(), Some(wire.place.socket().to_owned())).expect("a path");
        let (settings, trace) = (settings.clone(), Arc::clone(trace));
        let (acts, todo) = channel::<Act>();
        let thread = std::thread::spawn(move || {
            let hub = connected(&address, &settings);
            let mut worker =
                Worker { number, address, settings, hub, streams: BTreeMap::new(), in_handler: BTreeMap::new(), trace };
            while let Ok(act) = todo.recv() {
                act(&mut worker);
            }
            worker.release_all();
        });
        Self { wire, acts: Some(acts), thread: Some(thread) }
    }

    /// Has the worker do something after all that it was asked for before.
    pub fn act(&self, act: impl FnOnce(&mut Worker) + Send + 'static) {
        self.acts.as_ref().expect("a running thread").send(Box::new(act)).expect("a running thread");
    }

    /// Waits until the worker has done everything. Returns false if that takes too long.
    pub fn is_done_within(&self, time: Duration) -> bool {
        let (done, is_done) = channel();
        self.act(move |_| done.send(()).unwrap_or(())); // nobody waits any more
        is_done.recv_timeout(time).is_ok()
    }
}

impl Drop for WorkerThread {
    fn drop(&mut self) {
        self.acts = None;
        if let Some(thread) = self.thread.take().filter(|_| !std::thread::panicking()) {
            thread.join().expect("no panic");
        }
    }
}

pub struct World {
    pub scene: Scene,
    pub settings: HubSettings,
    pub workers: Vec<WorkerThread>,
    gate: Option<PathBuf>,
}

/// An upgrade in progress.
pub struct Upgrade {
    command: Child,
    gates: Vec<PathBuf>,
    pub phase: usize,
}

impl World {
    pub fn new(
        workers: usize,
        change: impl FnOnce(&Scene, HubSettings) -> HubSettings,
        trace: &Arc<Mutex<Trace>>,
    ) -> Self {
        let scene = Scene::new();
        let settings = change(&scene, settings());
        drop(scene.client_with(settings.clone()));
        let workers = (0..workers).map(|number| WorkerThread::new(&scene, number, &settings, trace)).collect();
        Self { scene, settings, workers, gate: None }
    }

    /// Starts the process if none runs.
    pub fn start(&self) {
        drop(self.scene.client_with(self.settings.clone()));
    }

    /// Begins an upgrade to a program that waits at its gates, and returns when the first one is reached.
    pub fn begin_upgrade(&mut self, protocol: Option<u16>) -> Upgrade {
        let folder = &self.scene.folder;
        let gates: Vec<PathBuf> = PHASES.map(|phase| folder.join(phase)).into();
        if self.gate.is_none() {
            assert!(Command::new("mkfifo").args(&gates).status().expect("mkfifo").success());
        }
        let protocol =
            protocol.map(|version| format!("EVENTSOURCE_TEST_PROTOCOL={version}; export EVENTSOURCE_TEST_PROTOCOL\n"));
        let lines = format!(
            "case \"$1$(readlink /proc/self/fd/0)\" in
                check-state*memfd*) phase=check;;
                check-state*) phase=claim;;
                *) phase=exec;;
            esac
            read go <{folder}/$phase
            {}[ \"$go\" = go ] || exit 1
            exec {PROGRAM} \"$@\"",
            protocol.unwrap_or_default(),
            folder = folder.display()
        );
        let path = folder.join("gate");
        write_script(&path, &lines);
        self.gate = Some(path.clone());
        let command = self.scene.command(&["upgrade", "--program", path.to_str().expect("text")]);
        Upgrade { command: spawn(command), gates, phase: 0 }
    }
}

fn spawn(mut command: Command) -> Child {
    command.stderr(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    command.spawn().expect("the program")
}

impl Upgrade {
    /// Waits until the program is in its next phase, and returns its name; nothing if the upgrade has ended before.
    pub fn next_phase(&mut self) -> Option<(&'static str, File)> {
        loop {
            let is_ended = self.command.try_wait().expect("a child").is_some();
            if let Some(gate) = open_gate(self.gates.get(self.phase)?) {
                self.phase += 1;
                return Some((PHASES[self.phase - 1], gate));
            }
            if is_ended {
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for the end of the command. Returns true if it has succeeded.
    pub fn wait(mut self) -> bool {
        self.command.wait().expect("a child").success()
    }
}

/// Opens a gate at which a program waits.
fn open_gate(gate: &Path) -> Option<File> {
    OpenOptions::new().write(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(gate).ok()
}

/// Lets the program that waits at a gate continue, or end.
pub fn pass(mut gate: File, continues: bool) {
    let _ = gate.write_all(if continues { b"go\n" } else { b"no\n" }); // whoever waited there may have been killed
}
