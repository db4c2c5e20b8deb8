//! The world of real processes: workers, each with a thread of its own and a wire to the hub process, and the process itself.
//! The new program of an upgrade is a gate: it waits in each phase until the episode lets it continue, so that a phase lasts as
//! long as the episode likes.

use crate::support::wire::Wire;
use crate::support::{gone, in_file, kill, settings, tcp, write_script, Scene, PROGRAM};
use crate::trace::Trace;
use crate::worker::{Act, Worker};
use crate::world::{Socket, Wanted, World};
use eventsource_xs::remote::{Address, CallConnection};
use eventsource_xs::wire::HubSettings;
use rustix::fs::OFlags;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{channel, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// The phases of an upgrade in which the new program waits.
const PHASES: [&str; 3] = ["claim", "check", "exec"];

/// The thread of a worker, and its wire.
struct WorkerThread {
    wire: Wire,
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
            let mut worker = Worker::new(number, address, settings, trace);
            while let Ok(act) = todo.recv() {
                act(&mut worker);
            }
            worker.release_all();
        });
        Self { wire, acts: Some(acts), thread: Some(thread) }
    }

    fn act(&self, act: Act) {
        self.acts.as_ref().expect("a running thread").send(act).expect("a running thread");
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

pub struct Processes {
    scene: Scene,
    settings: HubSettings,
    workers: Vec<WorkerThread>,
    has_gates: bool,
    upgrade: Option<Upgrade>,
}

/// An upgrade in progress.
struct Upgrade {
    command: Child,
    gates: Vec<PathBuf>,
    phase: usize,
    /// The gate at which the program waits.
    gate: Option<File>,
}

impl Processes {
    pub fn begin(wanted: Wanted, trace: &Arc<Mutex<Trace>>) -> Box<dyn World> {
        let scene = Scene::new();
        let settings = wanted.change(if wanted.stored { in_file(&scene) } else { settings() });
        drop(scene.client_with(settings.clone()));
        let workers = (0..wanted.workers).map(|number| WorkerThread::new(&scene, number, &settings, trace)).collect();
        Box::new(Self { scene, settings, workers, has_gates: false, upgrade: None })
    }
}

impl World for Processes {
    fn act(&self, worker: usize, act: Act) {
        self.workers[worker].act(act);
    }

    fn is_done_within(&self, worker: usize, time: Duration) -> bool {
        let (done, is_done) = channel();
        self.act(worker, Box::new(move |_| done.send(()).unwrap_or(()))); // nobody waits any more
        is_done.recv_timeout(time).is_ok()
    }

    fn cut(&self, worker: usize, towards_hub: bool, after: u16) {
        self.workers[worker].wire.cut(towards_hub, after);
    }

    fn set_longest_piece(&self, worker: usize, bytes: u64) {
        self.workers[worker].wire.set_longest_piece(bytes);
    }

    fn heal(&self, worker: usize) {
        self.workers[worker].wire.heal();
    }

    fn replace_worker(&self, worker: usize) {
        self.workers[worker].wire.cut(true, 0);
        self.act(worker, Box::new(Worker::begin_anew));
    }

    fn connection(&self, is_slow: bool) -> (OwnedFd, Socket) {
        let (socket, own) = tcp();
        if is_slow {
            set_socket_send_buffer_size(&socket, 4096).expect("a socket");
            set_socket_recv_buffer_size(&own, 4096).expect("a socket");
        }
        own.set_nonblocking(true).expect("a socket");
        (socket, Box::new(own))
    }

    fn command(&self) -> CallConnection {
        self.scene.client()
    }

    fn pid(&self) -> Option<u32> {
        self.scene.pid()
    }

    fn start(&self) {
        drop(self.scene.client_with(self.settings.clone()));
    }

    fn kill(&mut self, pid: u32) {
        kill(pid);
    }

    fn stop(&mut self, pid: u32) {
        self.scene.stop();
        gone(pid);
    }

    fn begin_upgrade(&mut self, protocol: Option<u16>) {
        let folder = &self.scene.folder;
        let gates: Vec<PathBuf> = PHASES.map(|phase| folder.join(phase)).into();
        if !std::mem::replace(&mut self.has_gates, true) {
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
        let command = self.scene.command(&["upgrade", "--program", path.to_str().expect("text")]);
        self.upgrade = Some(Upgrade { command: spawn(command), gates, phase: 0, gate: None });
    }
    fn next_phase(&mut self) -> Option<&'static str> {
        let upgrade = self.upgrade.as_mut().expect("an upgrade");
        loop {
            let is_ended = upgrade.command.try_wait().expect("a child").is_some();
            if let Some(gate) = open_gate(upgrade.gates.get(upgrade.phase)?) {
                upgrade.gate = Some(gate);
                upgrade.phase += 1;
                return Some(PHASES[upgrade.phase - 1]);
            }
            if is_ended {
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn pass(&mut self, continues: bool) {
        let gate = self.upgrade.as_mut().and_then(|upgrade| upgrade.gate.take());
        let word: &[u8] = if continues { b"go\n" } else { b"no\n" };
        let _ = gate.expect("a gate").write_all(word); // whoever waited there may have been killed
    }

    fn end_upgrade(&mut self) -> bool {
        let mut upgrade = self.upgrade.take().expect("an upgrade");
        upgrade.command.wait().expect("a child").success()
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

fn spawn(mut command: Command) -> Child {
    command.stderr(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    command.spawn().expect("the program")
}

/// Opens a gate at which a program waits.
fn open_gate(gate: &Path) -> Option<File> {
    OpenOptions::new().write(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(gate).ok()
}
