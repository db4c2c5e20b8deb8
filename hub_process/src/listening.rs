//! The sockets that listen, for peers and for HTTP clients, and for how many connections and streams there are descriptors.

use crate::arguments::Arguments;
use crate::http::{Endpoint, Service};
use crate::inherited::take_kept;
use crate::process_log::log_message;
use eventsource_xs::remote::calls::{defer_accept, limit_unsent, Epoll};
use eventsource_xs::runtime::HandoverFile;
use eventsource_xs::wire::HandedProcess;
use rustix::io::Errno;
use rustix::net::{accept_with, SocketFlags};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
use std::fmt::Display;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// The numbers of the sockets for HTTP clients in the epoll set.
pub const HTTP_STREAMS: u64 = 3;
pub const HTTP_METRICS: u64 = 4;

/// The time for which no connection is accepted when this process has no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// A socket that listens, in an epoll set.
#[derive(Debug)]
pub struct Acceptor {
    socket: OwnedFd,
    /// Its number in the epoll set.
    number: u64,
    /// Until when no connection is accepted.
    pub paused_until: Option<Instant>,
    /// True if the file of the socket could not be made again.
    is_file_missing: bool,
}

impl Acceptor {
    /// Waits for connections from here on.
    pub fn new(socket: OwnedFd, epoll: &Epoll, number: u64) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        epoll.add(socket.as_fd(), number)?;
        Ok(Self { socket, number, paused_until: None, is_file_missing: false })
    }

    /// Waits for connections on another socket, because the file of the previous one was removed. Logs that, or why there is
    /// none and the consequence.
    pub fn restore(&mut self, epoll: &Epoll, path: &dyn Display, made: io::Result<OwnedFd>, consequence: &str) {
        match made.and_then(|socket| Self::new(socket, epoll, self.number)) {
            Ok(acceptor) => {
                *self = acceptor;
                log_message(&format!("the socket {path} was removed, and is made again"));
            }
            Err(_) if self.is_file_missing => {}
            Err(error) => {
                self.is_file_missing = true;
                log_message(&format!(
                    "the socket {path} was removed, and cannot be made again: {error}; {consequence}"
                ));
            }
        }
    }

    /// Accepts the next connection, if there is one.
    pub fn accept(&mut self, epoll: &Epoll, now: Instant) -> Option<OwnedFd> {
        loop {
            match accept_with(&self.socket, SocketFlags::CLOEXEC) {
                Ok(socket) => return Some(socket),
                Err(Errno::AGAIN) => return None,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(_) => {
                    self.pause(epoll, now);
                    return None;
                }
            }
        }
    }

    /// Leaves connections to wait for a while.
    pub fn pause(&mut self, epoll: &Epoll, now: Instant) {
        epoll.remove(self.socket.as_fd());
        self.paused_until = Some(now + PAUSE);
    }

    /// Ends a pause with the next [`run_timers`](Self::run_timers).
    pub fn end_pause(&mut self, now: Instant) {
        self.paused_until = self.paused_until.map(|until| until.min(now));
    }

    /// Accepts again after a pause.
    pub fn run_timers(&mut self, epoll: &Epoll, now: Instant) -> io::Result<()> {
        if self.paused_until.is_some_and(|until| now >= until) {
            self.paused_until = None;
            epoll.add(self.socket.as_fd(), self.number)?;
        }
        Ok(())
    }
}

/// The sockets at which HTTP clients connect.
#[derive(Debug)]
pub struct Listening {
    pub streams: Option<Acceptor>,
    metrics: Option<Acceptor>,
    /// True if the file of the socket for streams is removed at the end: systemd's stays.
    is_own: bool,
}

impl Listening {
    /// Listens as the command line says; not for streams if systemd does.
    pub fn begin(options: &Arguments, of_systemd: Option<OwnedFd>, epoll: &Epoll) -> io::Result<Self> {
        let is_own = of_systemd.is_none();
        let metrics = listen("--metrics", options.metrics.as_ref().map(|(endpoint, _)| endpoint))?;
        let streams = listen("--http", options.http.as_ref().filter(|_| is_own))?;
        Self::new(of_systemd.or(streams), metrics, is_own, epoll)
    }

    /// Waits for connections from here on, for streams and for metrics.
    fn new(streams: Option<OwnedFd>, metrics: Option<OwnedFd>, is_own: bool, epoll: &Epoll) -> io::Result<Self> {
        let accept =
            |socket: Option<OwnedFd>, number| socket.map(|socket| Acceptor::new(socket, epoll, number)).transpose();
        if let Some(socket) = &streams {
            defer_accept(socket.as_fd()); // a proxy sends its request at once
            limit_unsent(socket.as_fd());
        }
        let (streams, metrics) = (accept(streams, HTTP_STREAMS)?, accept(metrics, HTTP_METRICS)?);
        Ok(Self { streams, metrics, is_own })
    }

    /// Takes over the sockets that the program before this one has kept, as they were handed over.
    pub fn resume(handed: &HandedProcess, epoll: &Epoll) -> io::Result<Self> {
        let take = |number: Option<u32>| number.map(take_kept).transpose();
        Self::new(take(handed.streams)?, take(handed.metrics)?, handed.removes_streams, epoll)
    }

    pub fn of(&mut self, service: Service) -> Option<&mut Acceptor> {
        match service {
            Service::Streams => self.streams.as_mut(),
            Service::Metrics => self.metrics.as_mut(),
        }
    }

    /// Returns when [`run_timers`](Self::run_timers) has something to do.
    pub fn next_due(&self) -> Option<Instant> {
        self.streams.iter().chain(&self.metrics).filter_map(|acceptor| acceptor.paused_until).min()
    }

    /// Accepts again after a pause.
    pub fn run_timers(&mut self, epoll: &Epoll, now: Instant) -> io::Result<()> {
        self.streams.iter_mut().chain(&mut self.metrics).try_for_each(|acceptor| acceptor.run_timers(epoll, now))
    }

    /// Makes the file of the socket for streams again if it was removed: a proxy that does not find it asks the application for
    /// each client, and nobody would notice. That of systemd is systemd's.
    pub fn restore_file(&mut self, endpoint: &Endpoint, epoll: &Epoll) {
        let is_removed = self.is_own && !endpoint.is_there();
        let Some(streams) = self.streams.as_mut().filter(|_| is_removed) else { return };
        streams.restore(epoll, endpoint, endpoint.listen(), "proxies ask the application for each client");
    }

    /// Hands the sockets over.
    pub fn hand_over(&self, file: &mut HandoverFile, to: &mut HandedProcess) {
        let mut keep = |acceptor: &Option<Acceptor>| acceptor.as_ref().map(|acceptor| file.keep(&acceptor.socket));
        (to.streams, to.metrics, to.removes_streams) = (keep(&self.streams), keep(&self.metrics), self.is_own);
    }

    /// Removes the file of the socket for streams, if this process has made it.
    pub fn close(&self, endpoint: Option<&Endpoint>) {
        if let Some(Endpoint::Unix(path)) = endpoint.filter(|_| self.is_own) {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Listens where an option says, if it is given.
fn listen(option: &str, endpoint: Option<&Endpoint>) -> io::Result<Option<OwnedFd>> {
    let Some(endpoint) = endpoint else { return Ok(None) };
    let cannot = |error: io::Error| format!("cannot listen on {endpoint} for {option}: {error}");
    endpoint.listen().map(Some).map_err(|error| io::Error::new(error.kind(), cannot(error)))
}

/// The number of descriptors that this process needs beside those of streams and workers: its own, those of streams that end,
/// and those that workers hand over.
const OWN: usize = 20;
/// The number of descriptors that a store needs.
const OF_STORE: usize = 12;

/// Allows this process all descriptors that it may have: it holds the streams of all workers.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// The users of descriptors.
#[derive(Clone, Copy, Debug)]
pub struct Descriptors {
    /// The most that there may be.
    pub most: usize,
    pub peers: usize,
    /// HTTP clients that are no streams.
    pub clients: usize,
    pub streams: usize,
    pub has_store: bool,
}

impl Descriptors {
    fn own(self) -> usize {
        OWN + if self.has_store { OF_STORE } else { 0 }
    }

    /// Returns how many streams there may be.
    pub fn for_streams(self) -> usize {
        self.most.saturating_sub(self.own() + self.peers + self.clients)
    }

    /// Returns how many HTTP clients there may be that are no streams: half of what streams and peers leave. Workers, and the
    /// streams that they hand over, find the other half.
    pub fn for_clients(self) -> usize {
        self.for_peers().saturating_sub(self.peers) / 2
    }

    /// Returns how many connections there may be.
    pub fn for_peers(self) -> usize {
        self.most.saturating_sub(self.own() + self.streams)
    }

    /// Returns true if there is room for another connection. Streams leave more descriptors free (`descriptor_reserve`), so
    /// their sockets can be taken even to be refused.
    pub fn has_room(self) -> bool {
        self.peers + self.clients < self.for_peers()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_file_that_was_removed_is_made_again() {
        let folder = std::env::temp_dir().join(format!("eventsource-listen-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("a new folder");
        let path = folder.join("shop.sock");
        let endpoint = Endpoint::Unix(path.clone());
        let epoll = Epoll::new().expect("an epoll set");
        let listen = |is_own| Listening::new(endpoint.listen().ok(), None, is_own, &epoll).expect("it listens");
        let connects = |listening: &mut Listening| {
            let _client = UnixStream::connect(&path).ok()?;
            listening.of(Service::Streams)?.accept(&epoll, Instant::now())
        };
        for is_own in [true, false] {
            let mut listening = listen(is_own);
            for time in 1..=3 {
                let _ = std::fs::remove_file(&path);
                listening.restore_file(&endpoint, &epoll);
                assert_eq!(connects(&mut listening).is_some(), is_own, "removed {time} times");
                listening.restore_file(&endpoint, &epoll);
                assert_eq!(connects(&mut listening).is_some(), is_own, "it stays");
            }
            listening.close(Some(&endpoint));
        }
        let mut listening = listen(true);
        std::fs::remove_dir_all(&folder).expect("its own folder");
        listening.restore_file(&endpoint, &epoll);
        let is_missing =
            |listening: &Listening| listening.streams.as_ref().is_some_and(|streams| streams.is_file_missing);
        assert!(is_missing(&listening));
        std::fs::create_dir(&folder).expect("a new folder");
        listening.restore_file(&endpoint, &epoll);
        assert!(connects(&mut listening).is_some() && !is_missing(&listening));
        std::fs::remove_dir_all(&folder).expect("its own folder");
    }
}
