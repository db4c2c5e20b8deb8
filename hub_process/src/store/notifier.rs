//! The notifier of the wire thread: a store has reported.

use eventsource_xs::runtime::{self, Mail, Mailbox};
use std::io;
use std::sync::Arc;

/// Sends the wire thread mail, also when it is dropped.
#[derive(Clone, Debug)]
pub struct WireNotifier(Arc<Mailbox>);

impl WireNotifier {
    pub fn new() -> io::Result<Self> {
        runtime::mailbox().map(Self).map_err(io::Error::other)
    }

    pub fn notify(&self) {
        self.0.push(Mail::Elsewhere);
    }
}

impl Drop for WireNotifier {
    fn drop(&mut self) {
        self.notify();
    }
}
