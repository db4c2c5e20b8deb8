//! The peers: workers, their connections for calls, and commands; what these keep alive, and who is sent responses.
//!
//! A peer stays in its place while it is served, so everybody sees it: whoever counts, describes or answers peers. What ends
//! with a peer (its streams, its leases) is with the caller of [`remove`](Peers::remove).

mod connection;

pub use connection::{End, Keeps, Peer};

use eventsource_xs::remote::calls::Epoll;
use eventsource_xs::runtime::HandoverFile;
use eventsource_xs::wire::{FrameBuffer, HandedPeer, Name, NamedSettings, Request, Response};
use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// The most connections of workers and commands, beside those for calls.
pub const MAX_PEERS: usize = 4096;
/// The token of the first peer: the smaller ones are for what else the loop waits for.
pub const FIRST_TOKEN: u64 = 16;
/// The interval of checks for peers whose time may be over.
const SWEEP: Duration = Duration::from_secs(1);

/// Hashes tokens, and ids of streams. This process gives them, one after the other, so nobody chooses some that collide. With
/// SipHash the three times that a publish looks its peer up took 5 % of its instructions (callgrind, publishes without
/// responses).
#[derive(Debug, Default)]
pub struct TokenHasher(u64);

impl Hasher for TokenHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 ^ u64::from(*byte)));
    }

    fn write_u64(&mut self, token: u64) {
        self.0 = token.wrapping_mul(0x9E37_79B9_7F4A_7C15); // the golden ratio spreads successive numbers
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

pub type ByToken<T> = HashMap<u64, T, BuildHasherDefault<TokenHasher>>;

/// The connections, by their tokens.
#[derive(Debug, Default)]
pub struct Peers {
    peers: ByToken<Peer>,
    /// The connections for calls, each after its worker.
    calls: BTreeSet<(u64, u64)>,
    /// The token of the next connection.
    pub next_token: u64,
    /// The peers that have greeted and wait for the hub's store, and those whose greeting [waits](Peer::greeting).
    waiting: Vec<u64>,
    /// The peers that have responses to be sent.
    answered: Vec<u64>,
    /// When peers are looked at that may have had their time.
    pub sweep: Option<Instant>,
    /// The numbers of connections by what they [keep](Keeps).
    keepers: [usize; 3],
    /// True if something was published since the timers ran: a command may come and go in one turn.
    was_used: bool,
}

impl Peers {
    /// Begins without a peer, of which the first is given this token.
    pub fn new(next_token: u64) -> Self {
        Self { next_token, ..Self::default() }
    }

    /// Adds a connection, which is in the epoll set from here on.
    pub fn add(&mut self, socket: OwnedFd, epoll: &Epoll, now: Instant) -> io::Result<()> {
        let token = self.next_token;
        epoll.add(socket.as_fd(), token)?;
        self.next_token += 1;
        self.peers.insert(token, Peer::new(socket, token, now));
        self.keepers[Keeps::Nothing as usize] += 1;
        self.sweep.get_or_insert(now + SWEEP);
        Ok(())
    }

    /// Removes a connection. Those for calls of a worker are to be removed before it.
    pub fn remove(&mut self, token: u64) -> Option<Peer> {
        let peer = self.peers.remove(&token)?;
        self.keepers[peer.keeps as usize] -= 1;
        self.waiting.retain(|waiting| *waiting != token);
        peer.calls_for.map(|worker| self.calls.remove(&(worker, token)));
        Some(peer)
    }

    pub fn get_mut(&mut self, token: u64) -> Option<&mut Peer> {
        self.peers.get_mut(&token)
    }

    /// Returns a peer that publishes. A command keeps the process from here on.
    pub fn publishing(&mut self, token: u64) -> Option<&mut Peer> {
        let peer = self.peers.get_mut(&token)?;
        self.was_used = true;
        if peer.keeps == Keeps::Nothing && peer.calls_for.is_none() {
            peer.set_keeps(Keeps::Process, &mut self.keepers);
        }
        Some(peer)
    }

    /// Returns how many connections there are.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Returns how many workers and commands are connected.
    pub fn count(&self) -> usize {
        self.peers.len().saturating_sub(self.calls.len())
    }

    /// Returns the processes that have greeted.
    pub fn processes(&self) -> Vec<u32> {
        let greeted = self.peers.values().filter(|peer| peer.is_greeted);
        let mut processes: Vec<u32> = greeted.filter_map(Peer::process).collect();
        processes.sort_unstable();
        processes.dedup();
        processes
    }

    /// Returns the workers and commands that have greeted.
    pub fn greeted(&self) -> Vec<u64> {
        let is_greeted = |peer: &&Peer| peer.is_greeted && peer.calls_for.is_none();
        self.peers.values().filter(is_greeted).map(|peer| peer.token).collect()
    }

    /// Returns the connections that have not greeted.
    pub fn ungreeted(&self) -> Vec<u64> {
        self.peers.values().filter(|peer| !peer.is_greeted).map(|peer| peer.token).collect()
    }

    /// Counts a worker that has greeted. Its streams stay open while it is connected.
    pub fn add_worker(&mut self, token: u64) {
        if let Some(peer) = self.peers.get_mut(&token) {
            peer.set_keeps(Keeps::Streams, &mut self.keepers);
        }
    }

    /// Returns how many workers keep the streams.
    pub fn workers(&self) -> usize {
        self.keepers[Keeps::Streams as usize]
    }

    /// Returns true if something other than workers has used the process since the last call, or is about to.
    pub fn take_use(&mut self) -> bool {
        // A worker that waits for the store may be about to use the process.
        let commands = self.keepers[Keeps::Process as usize];
        std::mem::take(&mut self.was_used) || !self.waiting.is_empty() || commands > 0
    }

    /// Returns the connections for calls of a worker.
    pub fn calls_of(&self, worker: u64) -> impl Iterator<Item = u64> + '_ {
        self.calls.range((worker, 0)..=(worker, u64::MAX)).map(|(_, calls)| *calls)
    }

    /// Returns true if a connection for calls may be that of this peer.
    pub fn may_have_calls(&self, worker: u64) -> bool {
        self.peers.get(&worker).is_some_and(|peer| peer.is_greeted && peer.calls_for.is_none())
    }

    /// Makes a connection one for calls of a worker.
    pub fn add_calls(&mut self, worker: u64, calls: u64) {
        if let Some(peer) = self.peers.get_mut(&calls) {
            peer.calls_for = Some(worker);
            self.calls.insert((worker, calls));
        }
    }

    /// Returns true if the next call of a peer, with which these bytes begin, is to be kept until its worker's mark has come.
    pub fn keep_call(&mut self, token: u64, bytes: &[u8]) -> bool {
        let after = self.peers.get(&token).filter(|peer| peer.after > 0);
        let Some(worker) = after.and_then(|peer| peer.calls_for) else { return false };
        let marks = self.peers.get(&worker).map_or((u64::MAX, u64::MAX), |worker| worker.marks);
        let Some(peer) = self.peers.get_mut(&token) else { return false };
        peer.is_kept = peer.after > if Request::is_publish(bytes) { marks.1 } else { marks.0 };
        if peer.after <= marks.1 {
            peer.after = 0;
        }
        peer.is_kept
    }

    /// Returns the connections of a worker that have a call which is kept.
    pub fn kept_calls(&self, worker: u64) -> Vec<u64> {
        let is_kept = |token: &u64| self.peers.get(token).is_some_and(|peer| peer.is_kept);
        self.calls_of(worker).filter(is_kept).collect()
    }
}

/// The responses that peers are sent.
impl Peers {
    /// Queues a response, which is sent in this turn. A peer that has left needs none.
    pub fn answer(&mut self, token: u64, response: &Response<'_>) {
        self.answer_with(token, |peer| peer.answer(response));
    }

    /// Queues the responses that a function gives.
    pub fn answer_with(&mut self, token: u64, give: impl FnOnce(&mut Peer)) {
        if let Some(peer) = self.peers.get_mut(&token) {
            give(peer);
            self.answered.push(token);
        }
    }

    /// Keeps the welcome of a peer back until the hub's store has begun.
    pub fn wait_for_hub(&mut self, token: u64, now: Instant) {
        self.waiting.push(token);
        self.sweep.get_or_insert(now + SWEEP);
    }

    /// Keeps the greeting of a worker back.
    pub fn wait_with_greeting(&mut self, token: u64, settings: Box<NamedSettings>, now: Instant) {
        if let Some(peer) = self.peers.get_mut(&token) {
            peer.greeting = Some(settings);
            self.wait_for_hub(token, now);
        }
    }

    /// Takes the peers that wait, and for which a condition is true: those that have greeted wait for the hub's store.
    pub fn take_waiting(&mut self, is_taken: impl Fn(&Peer) -> bool) -> Vec<u64> {
        let is_taken = |token: &u64| self.peers.get(token).is_some_and(&is_taken);
        let (taken, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(is_taken);
        self.waiting = waiting;
        taken
    }

    /// Sends workers and commands the epoch that has begun. Those that still wait for their welcome receive it with that.
    pub fn announce_epoch(&mut self, epoch: &str) {
        let Self { peers, waiting, answered, .. } = self;
        let is_told = |peer: &Peer| peer.is_greeted && peer.calls_for.is_none() && !waiting.contains(&peer.token);
        for (token, peer) in peers.iter_mut().filter(|(_, peer)| is_told(peer)) {
            peer.answer(&Response::Epoch { epoch });
            answered.push(*token);
        }
    }

    /// Sends a peer its responses. Fails if its connection has ended.
    pub fn flush(&mut self, token: u64, epoll: &Epoll, now: Instant) -> Result<(), End> {
        let Some(peer) = self.peers.get_mut(&token) else { return Ok(()) };
        peer.flush(epoll, now)?;
        if peer.may_be_overdue() {
            self.sweep.get_or_insert(now + SWEEP);
        }
        Ok(())
    }

    /// Sends all peers their responses. Returns those whose connections have ended.
    pub fn flush_answered(&mut self, epoll: &Epoll, now: Instant) -> Vec<(u64, End)> {
        let mut answered = std::mem::take(&mut self.answered);
        answered.sort_unstable();
        answered.dedup();
        let ended = |token: u64| self.flush(token, epoll, now).err().map(|end| (token, end));
        answered.into_iter().filter_map(ended).collect()
    }
}

/// The requests of peers, and their times.
impl Peers {
    /// Reads once what a peer has sent, and returns it; [`return_inbox`](Self::return_inbox) follows when the complete messages
    /// in it were carried out.
    pub fn read(&mut self, token: u64) -> Result<FrameBuffer, End> {
        self.peers.get_mut(&token).ok_or(End::Closed)?.read()?;
        Ok(self.take_inbox(token))
    }

    /// Returns what has arrived, as [`read`](Self::read) does.
    pub fn take_inbox(&mut self, token: u64) -> FrameBuffer {
        self.peers.get_mut(&token).map_or_else(FrameBuffer::default, |peer| std::mem::take(&mut peer.inbox))
    }

    /// Puts back what has not arrived completely or is kept, and checks that it may be so much.
    pub fn return_inbox(&mut self, token: u64, inbox: FrameBuffer) -> Result<(), End> {
        let peer = self.peers.get_mut(&token).ok_or(End::Closed)?;
        peer.inbox = inbox;
        peer.check_greeting(peer.inbox.len())?;
        peer.check_descriptors()
    }

    /// Returns true if it is looked now which peers have had their time.
    pub fn is_sweep_due(&self, now: Instant) -> bool {
        self.sweep.is_some_and(|at| now >= at)
    }

    /// Returns the peers that have had their time.
    pub fn overdue(&mut self, now: Instant) -> Vec<(u64, End)> {
        if !self.is_sweep_due(now) {
            return Vec::new();
        }
        let is_needed = !self.waiting.is_empty() || self.peers.values().any(Peer::may_be_overdue);
        self.sweep = is_needed.then(|| now + SWEEP);
        self.peers.iter().filter_map(|(token, peer)| Some((*token, peer.overdue(now)?))).collect()
    }
}

/// The handover to a new program.
impl Peers {
    /// Hands connections over, for which a condition is true.
    pub fn hand_over(&self, file: &mut HandoverFile, hub: &Name, continues: impl Fn(&Peer) -> bool) {
        let continuing = self.peers.values().filter(|peer| continues(peer));
        continuing.for_each(|peer| peer.hand_over(file, hub, self.waiting.contains(&peer.token)));
    }

    /// Returns the descriptors of connections, which stay open.
    pub fn keep(&self, file: &mut HandoverFile, tokens: &[u64]) -> Vec<u32> {
        tokens.iter().filter_map(|token| Some(self.peers.get(token)?.keep(file))).collect()
    }

    /// Continues with a connection that another program has handed over `at` a time, and which is added to the epoll set.
    pub fn resume(&mut self, handed: &HandedPeer<'_>, epoll: &Epoll, at: Instant, now: Instant) -> io::Result<()> {
        let peer = Peer::resume(handed, epoll, at)?;
        let token = peer.token;
        self.keepers[peer.keeps as usize] += 1;
        self.waiting.extend((handed.waits && peer.is_greeted).then_some(token));
        self.calls.extend(peer.calls_for.map(|worker| (worker, token)));
        self.peers.insert(token, peer);
        self.answered.push(token);
        self.sweep = Some(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eventsource_xs::wire::{Call, MAX_GREETING_BYTES};
    use std::borrow::Cow;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    struct Scene {
        peers: Peers,
        epoll: Epoll,
        now: Instant,
        /// The other ends of the connections, in the order of their tokens.
        others: Vec<UnixStream>,
    }

    impl Scene {
        fn new() -> Self {
            let epoll = Epoll::new().expect("a descriptor");
            Self { peers: Peers::new(FIRST_TOKEN), epoll, now: Instant::now(), others: Vec::new() }
        }

        /// Adds a connection, and returns its token.
        fn add(&mut self, is_greeted: bool) -> u64 {
            let token = FIRST_TOKEN + self.others.len() as u64;
            let (socket, other) = UnixStream::pair().expect("a pair of sockets");
            other.set_nonblocking(true).expect("a socket");
            self.others.push(other);
            self.peers.add(socket.into(), &self.epoll, self.now).expect("a socket");
            self.peers.get_mut(token).expect("it was added").is_greeted = is_greeted;
            token
        }

        fn add_calls(&mut self, worker: u64) -> u64 {
            let calls = self.add(true);
            self.peers.add_calls(worker, calls);
            calls
        }

        /// Returns how many bytes a peer is sent in this turn.
        fn sent(&mut self, token: u64) -> usize {
            assert_eq!(self.peers.flush_answered(&self.epoll, self.now), []);
            let mut bytes = [0; 4096];
            self.others[(token - FIRST_TOKEN) as usize].read(&mut bytes).unwrap_or(0)
        }
    }

    #[test]
    fn the_connections_of_a_worker_are_one_peer() {
        let mut scene = Scene::new();
        let (worker, command) = (scene.add(true), scene.add(true));
        let calls = [scene.add_calls(worker), scene.add_calls(worker), scene.add_calls(command)];
        assert_eq!((scene.peers.len(), scene.peers.count()), (5, 2));
        assert_eq!(scene.peers.calls_of(worker).collect::<Vec<_>>(), calls[..2]);
        assert_eq!([worker, command, calls[0]].map(|token| scene.peers.may_have_calls(token)), [true, true, false]);
        assert_eq!(scene.peers.processes(), [std::process::id()]);
        assert!(scene.peers.remove(calls[0]).is_some());
        assert_eq!((scene.peers.count(), scene.peers.calls_of(worker).collect::<Vec<_>>()), (2, vec![calls[1]]));
    }

    #[test]
    fn a_call_is_kept_until_the_mark_of_its_worker_has_come() {
        let mut scene = Scene::new();
        let (worker, other) = (scene.add(true), scene.add(true));
        let calls = scene.add_calls(worker);
        let call = |request: Request<'_>| {
            let mut bytes = Vec::new();
            request.encode(&mut bytes).expect("a short message");
            bytes
        };
        let publish = call(Request::Publish { request: 1, publication: Default::default() });
        let count = call(Request::Call { request: 1, until: 0, call: Cow::Owned(Call::Describe) });
        let mut kept = |after, marks, of: u64| {
            scene.peers.get_mut(of).expect("a peer").marks = marks;
            scene.peers.get_mut(calls).expect("a peer").after = after;
            let kept = [&publish, &count].map(|bytes| scene.peers.keep_call(calls, bytes));
            (kept, scene.peers.kept_calls(worker).len())
        };
        assert_eq!(kept(0, (0, 0), worker), ([false, false], 0));
        assert_eq!(kept(7, (6, 6), worker), ([true, true], 1));
        assert_eq!(kept(7, (9, 9), other), ([true, true], 1), "another worker's marks do not count");
        assert_eq!(
            kept(7, (7, 6), worker),
            ([true, false], 0),
            "publishes that have no credits are waited for by publishes"
        );
        assert_eq!(kept(7, (8, 8), worker), ([false, false], 0));
    }

    #[test]
    fn workers_keep_the_streams_and_commands_that_publish_keep_the_process() {
        let mut scene = Scene::new();
        let (worker, command) = (scene.add(true), scene.add(true));
        let calls = scene.add_calls(worker);
        assert_eq!((scene.peers.workers(), scene.peers.take_use()), (0, false));
        scene.peers.add_worker(worker);
        assert_eq!((scene.peers.workers(), scene.peers.take_use()), (1, false));
        // What a worker publishes is a use of this turn alone, whichever connection it comes on.
        for token in [worker, calls] {
            assert!(scene.peers.publishing(token).is_some());
            assert_eq!([scene.peers.take_use(), scene.peers.take_use()], [true, false]);
        }
        assert!(scene.peers.publishing(command).is_some());
        assert_eq!([scene.peers.take_use(), scene.peers.take_use()], [true, true]);
        scene.peers.remove(command);
        scene.peers.remove(worker);
        assert_eq!((scene.peers.workers(), scene.peers.take_use()), (0, false));
        // One that comes and goes in one turn has used it.
        let command = scene.add(true);
        assert!(scene.peers.publishing(command).is_some());
        scene.peers.remove(command);
        assert_eq!([scene.peers.take_use(), scene.peers.take_use()], [true, false]);
    }

    #[test]
    fn an_epoch_is_announced_to_all_who_were_welcomed() {
        let mut scene = Scene::new();
        let (welcomed, waiting, silent) = (scene.add(true), scene.add(true), scene.add(false));
        let calls = scene.add_calls(welcomed);
        scene.peers.wait_for_hub(waiting, scene.now);
        scene.peers.announce_epoch("e");
        let sent = [welcomed, waiting, silent, calls].map(|token| scene.sent(token) > 0);
        assert_eq!(sent, [true, false, false, false]);
    }

    #[test]
    fn a_peer_waits_for_the_hub_until_it_leaves_or_has_waited_long_enough() {
        let mut scene = Scene::new();
        let (first, second) = (scene.add(true), scene.add(true));
        for token in [first, second] {
            scene.peers.wait_for_hub(token, scene.now);
        }
        assert_eq!(scene.peers.take_waiting(|peer| peer.has_waited(scene.now)), []);
        assert_eq!([0, 1].map(|sweeps| scene.peers.is_sweep_due(scene.now + sweeps * SWEEP)), [false, true]);
        assert!(scene.peers.take_use(), "it may be about to use the process");
        scene.peers.remove(first);
        let later = scene.now + Duration::from_secs(60);
        assert_eq!(scene.peers.take_waiting(|peer| peer.has_waited(later)), [second]);
        assert!(scene.peers.take_waiting(|_| true).is_empty() && !scene.peers.take_use());
    }

    #[test]
    fn a_message_that_has_not_arrived_completely_is_continued_with_the_next_read() {
        let mut scene = Scene::new();
        let peer = scene.add(false);
        for (bytes, has_frame) in [(&[2, 0, 0][..], false), (&[0, 7], false), (&[7], true)] {
            scene.others[0].write_all(bytes).expect("room");
            let mut inbox = scene.peers.read(peer).expect("a connection");
            assert_eq!(inbox.next_frame().expect("a frame").is_some(), has_frame);
            assert_eq!(scene.peers.return_inbox(peer, inbox), Ok(()));
        }
        assert!(scene.peers.read(peer).expect("a connection").is_empty());
        let mut inbox = FrameBuffer::default();
        inbox.feed(&vec![0; MAX_GREETING_BYTES * 2]);
        assert_eq!(scene.peers.return_inbox(peer, inbox), Err(End::Flood));
    }
}
