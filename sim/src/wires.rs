//! The wires between workers and the hub process: pairs of sockets, whose bytes and descriptors pass as single decisions.

use eventsource_xs::remote::calls::{connect_at_once, receive, send, Wait};
use fastrand::Rng;
use rustix::cmsg_space;
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::net::{recvmsg, RecvAncillaryBuffer, RecvFlags};
use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

/// The most bytes that pass at once.
const MOST: usize = 64 << 10;

/// One direction of a connection: what has left one side and has not arrived at the other one.
#[derive(Default)]
struct Direction {
    bytes: VecDeque<u8>,
    /// The descriptors beside the last of the bytes.
    descriptors: VecDeque<Option<OwnedFd>>,
    has_ended: bool,
}

struct Connection {
    /// The worker's side, and the hub's.
    ends: [UnixStream; 2],
    directions: [Direction; 2],
}

/// A wire of a worker. Connections through it continue until it is cut.
struct Wire {
    listener: UnixListener,
    hub: PathBuf,
    connections: Vec<Connection>,
    longest_piece: usize,
    /// The bytes that may still pass in a direction before the wire breaks.
    left: [Option<usize>; 2],
}

#[derive(Default)]
pub struct Wires(Vec<Wire>);

/// Something that a wire can do.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    Accept(usize),
    Pass(usize, usize, usize),
}

/// What has passed: the number of the wire, and how many bytes.
pub struct Passed {
    pub wire: u64,
    pub bytes: u64,
}

impl Wires {
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    pub fn add(&mut self, listener: UnixListener, hub: PathBuf) {
        self.0.push(Wire { listener, hub, connections: Vec::new(), longest_piece: MOST, left: [None; 2] });
    }

    pub fn cut(&mut self, wire: usize, towards_hub: bool, after: u16) {
        let wire = &mut self.0[wire];
        match after {
            0 => wire.connections.clear(),
            _ => wire.left[usize::from(!towards_hub)] = Some(after.into()),
        }
    }

    pub fn set_longest_piece(&mut self, wire: usize, bytes: u64) {
        self.0[wire].longest_piece = usize::try_from(bytes).unwrap_or(MOST).clamp(1, MOST);
    }

    pub fn heal(&mut self, wire: usize) {
        (self.0[wire].left, self.0[wire].longest_piece) = ([None; 2], MOST);
    }

    /// Adds what has to be asked of the kernel: whether somebody connects, and of each direction whether there are bytes, and
    /// room.
    pub fn add_polled(&self, polled: &mut Vec<libc::pollfd>) {
        let mut add = |fd, events| polled.push(libc::pollfd { fd, events, revents: 0 });
        for wire in &self.0 {
            add(wire.listener.as_raw_fd(), libc::POLLIN);
            for connection in &wire.connections {
                for end in &connection.ends {
                    add(end.as_raw_fd(), libc::POLLIN | libc::POLLOUT);
                }
            }
        }
    }

    /// Returns what can be done, by what the kernel has answered.
    pub fn ready(&self, polled: &[libc::pollfd]) -> Vec<Action> {
        let mut ready = Vec::new();
        let mut polled = polled.iter().map(|polled| polled.revents);
        let mut next = || polled.next().expect("an answer");
        for (number, wire) in self.0.iter().enumerate() {
            if next() != 0 {
                ready.push(Action::Accept(number));
            }
            for (at, connection) in wire.connections.iter().enumerate() {
                let ends = [next(), next()];
                for (direction, way) in connection.directions.iter().enumerate() {
                    let ends_now = ends[direction] & (libc::POLLIN | libc::POLLHUP | libc::POLLERR) != 0;
                    let has_bytes = !way.bytes.is_empty() || way.has_ended || ends_now;
                    let has_room = ends[1 - direction] & (libc::POLLOUT | libc::POLLHUP | libc::POLLERR) != 0;
                    if has_bytes && has_room {
                        ready.push(Action::Pass(number, at, direction));
                    }
                }
            }
        }
        ready
    }

    /// Does something of what can be done.
    pub fn act(&mut self, action: &Action, rng: &mut Rng) -> Passed {
        match *action {
            Action::Accept(number) => {
                self.0[number].accept();
                Passed { wire: number as u64, bytes: 0 }
            }
            Action::Pass(number, at, direction) => {
                let bytes = self.0[number].pass(at, direction, rng);
                Passed { wire: (number * 256 + at * 2 + direction) as u64, bytes: bytes as u64 + 1 }
            }
        }
    }
}

impl Direction {
    /// Reads what has come, through the first byte that has a descriptor beside it. The kernel ends a read only after the
    /// message of that byte, and does not tell where the message begins. So bytes are read one by one if a descriptor comes.
    fn read(&mut self, from: &UnixStream) {
        let mut room = [0; MOST];
        let most = if has_descriptor(from) { 1 } else { MOST };
        loop {
            match receive(from.as_fd(), &mut room[..most], &mut self.descriptors, Wait::Never) {
                Ok(0) | Err(_) => self.has_ended = true,
                Ok(count) => self.bytes.extend(&room[..count]),
            }
            if most > 1 || self.has_ended || !self.descriptors.is_empty() {
                return;
            }
        }
    }
}

/// Returns true if a descriptor is beside any of the bytes that can be read.
fn has_descriptor(from: &UnixStream) -> bool {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let (mut room, flags) = ([0; MOST], RecvFlags::PEEK | RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC);
    let peeked = recvmsg(from, &mut [IoSliceMut::new(&mut room)], &mut control, flags);
    peeked.is_ok() && control.drain().next().is_some()
}

impl Wire {
    fn accept(&mut self) {
        let Ok((worker, _)) = self.listener.accept() else { return };
        if let Ok(hub) = connect_at_once(&self.hub) {
            self.connections.push(Connection { ends: [worker, hub], directions: Default::default() });
        }
    }

    /// Passes some bytes on. Returns how many.
    fn pass(&mut self, at: usize, direction: usize, rng: &mut Rng) -> usize {
        let connection = &mut self.connections[at];
        let way = &mut connection.directions[direction];
        let [from, to] = [&connection.ends[direction], &connection.ends[1 - direction]];
        if way.bytes.is_empty() && !way.has_ended {
            way.read(from);
        }
        let most = match self.longest_piece {
            MOST if rng.u8(..4) == 0 => rng.usize(1..=way.bytes.len().max(1)),
            most => most,
        };
        let left = &mut self.left[direction];
        let count = way.bytes.len().min(most).min(left.unwrap_or(MOST));
        let piece: Vec<u8> = way.bytes.iter().copied().take(count).collect();
        let socket = if count == way.bytes.len() { way.descriptors.pop_front().flatten() } else { None };
        let mut passed = 0;
        if count > 0 {
            match send(to.as_fd(), &piece, socket.as_ref().map(AsFd::as_fd), Wait::Never) {
                Ok(sent) => passed = sent,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    way.descriptors.extend(socket.map(Some));
                }
                Err(_) => (way.has_ended, passed) = (true, way.bytes.len()),
            }
            way.bytes.drain(..passed);
        }
        *left = left.map(|left| left.saturating_sub(passed));
        let is_cut = *left == Some(0);
        if is_cut {
            self.left = [None; 2];
        }
        let has_ended = way.has_ended && way.bytes.is_empty();
        if is_cut || has_ended {
            for end in &connection.ends {
                let _ = end.shutdown(Shutdown::Both);
            }
            self.connections.remove(at);
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_passes_beside_the_first_byte_of_its_message() {
        let [(worker, from), (to, hub)] = [UnixStream::pair(), UnixStream::pair()].map(|pair| pair.expect("sockets"));
        let folder = std::env::temp_dir().join(format!("wires-{}", std::process::id()));
        let listener = UnixListener::bind(&folder).expect("a socket");
        std::fs::remove_file(&folder).expect("its file");
        let connection = Connection { ends: [from, to], directions: Default::default() };
        let connections = vec![connection];
        let mut wire = Wire { listener, hub: PathBuf::new(), connections, longest_piece: 4, left: [None; 2] };
        send(worker.as_fd(), b"before", None, Wait::Never).expect("room");
        send(worker.as_fd(), b"own", Some(worker.as_fd()), Wait::Never).expect("room");
        let (mut came, mut descriptors) = (0, VecDeque::new());
        while descriptors.is_empty() {
            wire.pass(0, 0, &mut Rng::with_seed(1));
            came += receive(hub.as_fd(), &mut [0; 64], &mut descriptors, Wait::Never).expect("bytes");
        }
        assert_eq!(came, "beforeo".len());
    }
}
