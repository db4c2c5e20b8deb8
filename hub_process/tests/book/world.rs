//! The world in which an episode happens: workers, each with a wire to the hub process, and the process itself, which is
//! killed, stopped and upgraded. There are two: `processes`, in which all of this is real, and that of `sim/`, in which a
//! seed decides everything.

use crate::worker::Act;
use eventsource_xs::hub::OnSlow;
use eventsource_xs::remote::CallConnection;
use eventsource_xs::wire::HubSettings;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The hub of an episode.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub workers: usize,
    /// True if the hub has a file.
    pub stored: bool,
    /// The events that its history keeps.
    pub events: usize,
    pub on_slow: OnSlow,
}

impl Wanted {
    /// Returns the settings of this hub.
    pub fn change(&self, mut settings: HubSettings) -> HubSettings {
        let retention = &mut settings.hub.retention;
        (retention.history.events, retention.history.bytes, retention.total_history.bytes) =
            (self.events, 1 << 30, 1 << 30);
        settings.hub.on_slow = self.on_slow;
        settings
    }
}

/// The client's end of a connection. It never waits for bytes.
pub type Socket = Box<dyn Read>;

pub trait World {
    /// Has a worker do something after all that it was asked for before.
    fn act(&self, worker: usize, act: Act);

    /// Waits until a worker has done everything. Returns false if that takes too long.
    fn is_done_within(&self, worker: usize, time: Duration) -> bool;

    /// Cuts the wire of a worker at once, or when that many more bytes have passed in one direction.
    fn cut(&self, worker: usize, towards_hub: bool, after: u16);

    /// Lets bytes pass a worker's wire in pieces of at most that length.
    fn set_longest_piece(&self, worker: usize, bytes: u64);

    /// Takes back what was done to a worker's wire and has not happened yet.
    fn heal(&self, worker: usize);

    /// Ends a worker, and begins another one in its place.
    fn replace_worker(&self, worker: usize);

    /// Makes the connection of a client: the application's end, and the client's. There is little room in that of a client that
    /// is slow.
    fn connection(&self, is_slow: bool) -> (OwnedFd, Socket);

    /// Connects to the hub as a command does. Starts the process if none runs.
    fn command(&self) -> CallConnection;

    /// Returns the process that serves the hub, if one does.
    fn pid(&self) -> Option<u32>;

    /// Starts the process if none runs.
    fn start(&self);

    /// Kills a process, and waits for its end.
    fn kill(&mut self, pid: u32);

    /// Ends a process in order, and waits for its end.
    fn stop(&mut self, pid: u32);

    /// Begins an upgrade to a program that waits in each phase.
    fn begin_upgrade(&mut self, protocol: Option<u16>);

    /// Waits until the program is in its next phase, and returns its name; nothing if the upgrade has ended before.
    fn next_phase(&mut self) -> Option<&'static str>;

    /// Lets the program that waits in its phase continue, or fail.
    fn pass(&mut self, continues: bool);

    /// Waits for the end of the upgrade. Returns true if it has succeeded.
    fn end_upgrade(&mut self) -> bool;

    /// Lets time pass.
    fn pause(&self, time: Duration);
}
