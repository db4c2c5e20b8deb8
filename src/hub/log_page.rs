//! The history and the state of a channel as applications read them: in parts.

use super::{Hub, COUNT_KEY};
use crate::event::Framing;
use crate::log::LogEntry;

/// What is read of a channel's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogRange {
    /// Whether the state is read; otherwise the history.
    pub is_state: bool,
    /// The sequence number after which entries are read.
    pub after: u64,
    /// The sequence number through which the history is read; 0 for all of it.
    pub through: u64,
    /// How many entries of the history are read, the last ones; 0 for all.
    pub last: u64,
}

/// An entry as applications read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoggedEvent {
    /// The key. Events without one have an empty key.
    pub key: Box<[u8]>,
    /// The event as clients are sent it, without framing.
    pub block: Box<[u8]>,
}

/// A part of a channel's history or state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPage {
    /// Some entries, in their order.
    pub events: Vec<LoggedEvent>,
    /// The sequence number after which there is more.
    pub next: Option<u64>,
    /// The sequence number through which the history was read.
    pub through: u64,
}

impl LogPage {
    /// The most entries of a page.
    const MOST: usize = if cfg!(test) { 2 } else { 1000 };
    /// The most bytes of a page with several entries.
    const MOST_BYTES: usize = 256 << 10;

    /// Returns how many bytes of keys and events the page has.
    pub fn bytes(&self) -> usize {
        self.events.iter().map(|event| event.key.len() + event.block.len()).sum()
    }

    /// Adds the first entries, as many as a page has.
    fn fill<'a>(&mut self, entries: impl Iterator<Item = &'a LogEntry>) {
        let (mut bytes, mut last) = (0, 0);
        for entry in entries {
            bytes += entry.size();
            if self.events.len() == Self::MOST || bytes > Self::MOST_BYTES && !self.events.is_empty() {
                self.next = Some(last);
                break;
            }
            last = entry.seq;
            // The key of a number of members is the hub's own.
            let key = if *entry.key == *COUNT_KEY { Box::default() } else { entry.key.clone() };
            self.events.push(LoggedEvent { key, block: entry.event.bytes(Framing::Plain).into() });
        }
    }
}

impl Hub {
    /// Returns a part of the history or the state of a channel. A key of the state that changes between two parts comes in the
    /// second one, perhaps once more.
    pub fn log_page(&self, channel: &[u8], range: LogRange) -> LogPage {
        let LogRange { is_state, after, through, last } = range;
        let through = if through == 0 { self.logs.last_seq() } else { through };
        let mut page = LogPage { through, ..LogPage::default() };
        let log = match self.logs.channels().at_name(channel) {
            Some(at) => &self.logs.channels()[at].log,
            None => return page,
        };
        if is_state {
            page.fill(log.state(after, u64::MAX).into_iter().flatten());
        } else {
            let entries = log.between(after, through);
            let wanted = usize::try_from(last).unwrap_or(usize::MAX);
            let skipped = if wanted == 0 { 0 } else { entries.len().saturating_sub(wanted) };
            page.fill(entries.skip(skipped));
        }
        page
    }
}
