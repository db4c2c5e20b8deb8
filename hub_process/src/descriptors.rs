//! How many descriptors this process may have, and for what.

use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

/// How many descriptors this process needs beside those of streams and workers: its own, those of streams that end, and those
/// that workers hand over.
const OWN: usize = 20;
/// How many descriptors a store needs.
const OF_STORE: usize = 12;

/// Allows this process all descriptors that it may have: it holds the streams of all workers.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// What has descriptors.
#[derive(Clone, Copy, Debug)]
pub struct Descriptors {
    /// How many there may be.
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
