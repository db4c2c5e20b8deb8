//! What the reactor has to tell the thread that serves other processes, in one order: answers to what it was asked, and what
//! has become of streams. What the reactor knew when it answered comes before the answer, so nobody waits for it.
//!
//! The reactor says which streams have made progress only to those who watch: one report at a time, and only for streams whose
//! openers are owed one, so it does nothing for all others.

use super::presence::PresenceReport;
use super::wake::sync::lock;
use crate::hub::Answer;
use crate::reactor::StreamId;
use crate::stream::Reason;
use crate::sys::epoll::Signal;
use rustix::fd::{AsFd, OwnedFd};
use std::io;
use std::sync::Mutex;

/// A message for the thread that serves other processes.
#[derive(Debug)]
pub enum Mail {
    /// The answer to the question with this number; nothing if the reactor has died.
    Answered(u64, Option<Answer>),
    /// A change of a stream with a member or a will.
    Presence(PresenceReport),
    /// A stream has ended.
    Ended(StreamId, Reason),
    /// A stream has made progress that was watched.
    Progress(StreamId),
    /// Another thread has something, which it keeps.
    Elsewhere,
}

/// The messages, and a descriptor that is readable while there are any.
#[derive(Debug, Default)]
pub struct Mailbox(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    mail: Vec<Mail>,
    /// Exists if somebody reads.
    signal: Option<Signal>,
}

impl Mailbox {
    /// Adds a message.
    pub fn push(&self, mail: Mail) {
        let mut queue = lock(&self.0);
        if let (Some(Mail::Elsewhere), Mail::Elsewhere) = (queue.mail.last(), &mail) {
            return; // whoever looks there sees both
        }
        queue.mail.push(mail);
        if let (Some(signal), 1) = (&queue.signal, queue.mail.len()) {
            signal.raise();
        }
    }

    /// Takes all messages.
    pub fn take(&self) -> Vec<Mail> {
        let mut queue = lock(&self.0);
        if let (Some(signal), false) = (&queue.signal, queue.mail.is_empty()) {
            signal.lower();
        }
        std::mem::take(&mut queue.mail)
    }

    /// Returns true if somebody reads.
    pub(super) fn is_open(&self) -> bool {
        lock(&self.0).signal.is_some()
    }

    /// Opens the mailbox, unless it is open. Returns a descriptor that is readable while there are messages. Fails if the
    /// system has no descriptor left.
    pub fn open(&self) -> io::Result<OwnedFd> {
        let mut queue = lock(&self.0);
        let signal = match queue.signal.take() {
            Some(signal) => signal,
            None => Signal::new()?,
        };
        if !queue.mail.is_empty() {
            signal.raise();
        }
        queue.signal.insert(signal).descriptor().as_fd().try_clone_to_owned()
    }
}
