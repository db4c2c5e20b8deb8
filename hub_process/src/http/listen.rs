//! The sockets at which HTTP clients connect.

use super::connections::Service;
use super::endpoint::Endpoint;
use crate::acceptor::Acceptor;
use crate::inherited::take_kept;
use eventsource_xs::remote::calls::{defer_accept, Epoll};
use eventsource_xs::saved;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

/// The sockets at which HTTP clients connect.
#[derive(Debug, Default)]
pub struct Sockets {
    pub streams: Option<OwnedFd>,
    pub metrics: Option<OwnedFd>,
    /// Whether the file of the socket for streams is removed at the end: systemd's stays.
    pub is_own: bool,
}

/// The state for a new program: the numbers of the descriptors.
#[derive(Debug)]
pub struct SavedSockets {
    streams: Option<i32>,
    metrics: Option<i32>,
    is_own: bool,
}

saved!(SavedSockets { streams, metrics, is_own });

impl SavedSockets {
    pub fn numbers(&self) -> impl Iterator<Item = i32> {
        self.streams.into_iter().chain(self.metrics)
    }

    pub fn take(&self) -> io::Result<Sockets> {
        let take = |number: Option<i32>| number.map(take_kept).transpose();
        Ok(Sockets { streams: take(self.streams)?, metrics: take(self.metrics)?, is_own: self.is_own })
    }
}

/// The sockets, while connections are accepted.
#[derive(Debug)]
pub struct Listening {
    streams: Option<Acceptor>,
    metrics: Option<Acceptor>,
    is_own: bool,
}

impl Listening {
    /// Waits for connections from here on. The numbers are those of the sockets for streams and for metrics in the epoll set.
    pub fn new(sockets: Sockets, epoll: &Epoll, [streams, metrics]: [u64; 2]) -> io::Result<Self> {
        let accept =
            |socket: Option<OwnedFd>, number| socket.map(|socket| Acceptor::new(socket, epoll, number)).transpose();
        sockets.streams.iter().for_each(|socket| defer_accept(socket.as_fd())); // a proxy sends its request at once
        Ok(Self {
            streams: accept(sockets.streams, streams)?,
            metrics: accept(sockets.metrics, metrics)?,
            is_own: sockets.is_own,
        })
    }

    pub fn of(&mut self, service: Service) -> Option<&mut Acceptor> {
        match service {
            Service::Streams => self.streams.as_mut(),
            Service::Metrics => self.metrics.as_mut(),
        }
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Acceptor> {
        self.streams.iter_mut().chain(&mut self.metrics)
    }

    /// Returns true if streams are served here.
    pub fn has_streams(&self) -> bool {
        self.streams.is_some()
    }

    /// Returns when [`run_timers`](Self::run_timers) has something to do.
    pub fn next_due(&self) -> Option<Instant> {
        self.streams.iter().chain(&self.metrics).filter_map(Acceptor::next_due).min()
    }

    /// Accepts again after a pause.
    pub fn run_timers(&mut self, epoll: &Epoll, now: Instant) -> io::Result<()> {
        self.all().try_for_each(|acceptor| acceptor.run_timers(epoll, now))
    }

    pub fn saved(&self) -> SavedSockets {
        let number = |acceptor: &Option<Acceptor>| acceptor.as_ref().map(Acceptor::descriptor);
        SavedSockets { streams: number(&self.streams), metrics: number(&self.metrics), is_own: self.is_own }
    }

    /// Removes the file of the socket for streams, if this process has made it.
    pub fn close(&self, endpoint: Option<&Endpoint>) {
        if let Some(Endpoint::Unix(path)) = endpoint.filter(|_| self.is_own) {
            let _ = std::fs::remove_file(path);
        }
    }
}
