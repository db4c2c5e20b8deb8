//! A wire between a worker and the hub process that the test controls: it cuts bytes into pieces of any length, passes
//! sockets on, breaks after any byte, and has workers speak another version of the protocol.

use super::Scene;
use eventsource_xs::remote::calls::{receive, send, Wait};
use eventsource_xs::remote::Place;
use eventsource_xs::wire::Name;
use std::collections::VecDeque;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;

/// The bytes that a wire still takes in one direction, if it does not break.
const UNLIMITED: i64 = i64::MAX / 2;

/// Where a greeting has the version: after its length, its kind and the magic.
const VERSION_AT: std::ops::Range<usize> = 13..15;

#[derive(Debug)]
struct Shared {
    hub: PathBuf,
    /// The bytes that may still pass: towards the hub, and back.
    left: [AtomicI64; 2],
    /// The longest piece.
    most: AtomicU64,
    /// What workers say they speak; zero for what they do.
    version: AtomicU16,
    /// A connection ends with its threads, and with it the sockets that were on their way.
    open: Mutex<Vec<Weak<UnixStream>>>,
}

/// A wire. Connections through it continue until it is [cut](Wire::cut).
#[derive(Debug)]
pub struct Wire {
    pub place: Place,
    shared: Arc<Shared>,
}

impl Wire {
    /// Lays a wire to the hub of a scene.
    pub fn new(scene: &Scene, number: usize) -> Self {
        let path = scene.folder.join(format!("w{number}"));
        let listener = UnixListener::bind(&path).expect("a new socket");
        let shared = Arc::new(Shared {
            hub: scene.place.socket().to_owned(),
            left: [AtomicI64::new(UNLIMITED), AtomicI64::new(UNLIMITED)],
            most: AtomicU64::new(u64::MAX),
            version: AtomicU16::new(0),
            open: Mutex::default(),
        });
        let of_thread = Arc::clone(&shared);
        // The thread ends with the process of the test.
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                of_thread.connect(socket);
            }
        });
        let place = Place::new(Name::new("shop").expect("a name"), Some(&path)).expect("a place");
        Self { place, shared }
    }

    /// Lets the bytes pass in pieces of at most that length.
    pub fn set_longest_piece(&self, bytes: u64) {
        self.shared.most.store(bytes.max(1), Ordering::Relaxed);
    }

    /// Lets the greetings of the next workers say that they speak that version.
    pub fn set_version(&self, version: u16) {
        self.shared.version.store(version, Ordering::Relaxed);
    }

    /// Breaks the wire at once, or when that many more bytes have passed in one direction. It can be used anew afterwards.
    pub fn cut(&self, towards_hub: bool, after: u16) {
        if after == 0 {
            self.shared.break_all();
        } else {
            self.shared.left[usize::from(!towards_hub)].store(after.into(), Ordering::Relaxed);
        }
    }

    /// Takes a break back that has not come yet.
    pub fn heal(&self) {
        self.shared.left.iter().for_each(|left| left.store(UNLIMITED, Ordering::Relaxed));
        self.set_longest_piece(u64::MAX);
    }
}

impl Shared {
    fn connect(self: &Arc<Self>, worker: UnixStream) {
        let Ok(hub) = UnixStream::connect(&self.hub) else { return };
        let (worker, hub) = (Arc::new(worker), Arc::new(hub));
        self.open.lock().expect("no panic").extend([&worker, &hub].map(Arc::downgrade));
        let pairs = [(Arc::clone(&worker), Arc::clone(&hub)), (hub, worker)];
        for (direction, (from, to)) in pairs.into_iter().enumerate() {
            let shared = Arc::clone(self);
            thread::spawn(move || {
                shared.pass(direction, &from, &to);
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
    }

    /// Passes bytes and sockets on until one side ends or the wire breaks.
    fn pass(&self, direction: usize, from: &UnixStream, to: &UnixStream) {
        let mut descriptors: VecDeque<Option<OwnedFd>> = VecDeque::new();
        let mut room = vec![0; 64 << 10];
        let mut at = 0;
        let version = match direction {
            0 => self.version.load(Ordering::Relaxed),
            _ => 0,
        };
        loop {
            let most = usize::try_from(self.most.load(Ordering::Relaxed)).unwrap_or(room.len()).min(room.len());
            let count = match receive(from.as_fd(), &mut room[..most], &mut descriptors, Wait::Forever) {
                Ok(0) | Err(_) => return,
                Ok(count) => count,
            };
            if version > 0 {
                for (place, byte) in VERSION_AT.zip(version.to_le_bytes()).filter(|(place, _)| *place >= at) {
                    if let Some(passing) = room[..count].get_mut(place - at) {
                        *passing = byte;
                    }
                }
            }
            at = at.saturating_add(count);
            let left = self.left[direction].fetch_sub(count as i64, Ordering::Relaxed);
            let passed = count.min(usize::try_from(left).unwrap_or(0));
            let mut rest = &room[..passed];
            while !rest.is_empty() {
                // A socket is beside the first byte of what was received with it.
                let socket = descriptors.pop_front().flatten();
                match send(to.as_fd(), rest, socket.as_ref().map(AsFd::as_fd), Wait::Forever) {
                    Ok(sent) => rest = &rest[sent..],
                    Err(_) => return,
                }
            }
            if passed < count {
                self.left.iter().for_each(|left| left.store(UNLIMITED, Ordering::Relaxed));
                return;
            }
        }
    }

    fn break_all(&self) {
        for socket in self.open.lock().expect("no panic").drain(..).filter_map(|socket| socket.upgrade()) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}
