//! A store as the wire thread has it, and books of what it reports.

use crate::server::eventually;
use crate::store::{Ask, Began, Draft, Entry, Report, Store};
use eventsource_xs::event::{Field, Text};
use eventsource_xs::wire::{Failure, FieldList, Name, RedisSettings, StoreSettings};
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// How a draft ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// In the log with this index, with this sequence number.
    Stored(usize, u64),
    Failed(Failure),
}

impl End {
    pub fn is_stored(&self) -> bool {
        matches!(self, Self::Stored(..))
    }
}

/// What was reported from one beginning on.
#[derive(Debug)]
pub struct Log {
    pub began: Began,
    pub entries: Vec<Entry>,
    pub is_ready: bool,
}

pub struct Node {
    pub store: Store,
    pub logs: Vec<Log>,
    pub ends: HashMap<u64, End>,
    /// The tickets of the drafts that the store has taken into its queue.
    pub queued: BTreeSet<u64>,
    pub refusals: Vec<(Failure, bool)>,
    pub next_ticket: u64,
}

/// Settings for a server.
pub fn settings(url: &str) -> RedisSettings {
    RedisSettings { url: url.into(), timeout: Duration::from_secs(40), ..RedisSettings::default() }
}

/// Makes a draft.
pub fn draft(text: &str) -> Draft {
    let fields = FieldList::of([Field::Data(Text::from(text))]);
    Draft {
        channel: b"news"[..].into(),
        key: b"k"[..].into(),
        once: text.as_bytes().into(),
        fields,
        ..Draft::default()
    }
}

impl Node {
    pub fn start(settings: &RedisSettings) -> Self {
        let name = Name::new("shop").expect("a name");
        let store = Store::start(&StoreSettings::Redis(Box::new(settings.clone())), &name).expect("threads");
        let node = Self {
            store,
            logs: Vec::new(),
            ends: HashMap::new(),
            queued: BTreeSet::new(),
            refusals: Vec::new(),
            next_ticket: 1,
        };
        node.store.ask(Ask::Retain { events: 100_000, bytes: 1 << 30, age: Duration::from_secs(3600) });
        node
    }

    /// Starts a store, and waits until its history is complete.
    pub fn ready(settings: &RedisSettings) -> Self {
        let mut node = Self::start(settings);
        node.until("ready", Node::is_ready);
        node
    }

    pub fn is_ready(&self) -> bool {
        self.logs.last().is_some_and(|log| log.is_ready)
    }

    pub fn append(&mut self, text: &str) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.store.ask(Ask::Append { ticket, draft: draft(text) });
        ticket
    }

    /// Appends, and waits until the draft has ended.
    pub fn publish(&mut self, text: &str) -> End {
        let ticket = self.append(text);
        self.until(text, |node| node.ends.contains_key(&ticket));
        self.ends[&ticket].clone()
    }

    pub fn until(&mut self, expected: &str, is_true: impl Fn(&Self) -> bool) {
        let mut count = 0;
        eventually(expected, || {
            self.pump();
            count += 1;
            if count % 2500 == 0 {
                eprintln!("{expected}: {:?}", self.store.status());
                if let Some(Log { began, entries, is_ready }) = self.logs.last() {
                    let last = entries.last().map(|entry| (entry.seq, String::from_utf8_lossy(&entry.draft.once)));
                    eprintln!("{began:?}, ready: {is_ready}, {} entries, the last {last:?}", entries.len());
                }
            }
            is_true(self)
        });
    }

    /// Takes the reports, and checks what is true of all of them.
    pub fn pump(&mut self) {
        for report in self.store.take_reports().0 {
            match report {
                Report::Queued(tickets) => self.queued.extend(tickets),
                Report::Began(began) => {
                    if self.logs.iter().rev().skip(1).any(|log| log.began.epoch == began.epoch) {
                        let last = self.logs.last().map(|log| log.began.epoch.clone());
                        assert_eq!(last, Some(began.epoch.clone()), "an epoch has come back");
                    }
                    self.logs.push(Log { began, entries: Vec::new(), is_ready: false });
                }
                Report::Ready => self.logs.last_mut().expect("a beginning").is_ready = true,
                Report::Entries(entries) => self.note(entries),
                Report::Failed { ticket, failure } => self.end(ticket, End::Failed(failure)),
                Report::CannotBegin { failure, retries } => self.refusals.push((failure, retries)),
            }
        }
    }

    fn note(&mut self, entries: Vec<Entry>) {
        let index = self.logs.len() - 1;
        for entry in entries {
            let log = &mut self.logs[index];
            let last = log.entries.last().map_or(log.began.evicted_through, |last| last.seq);
            assert!(entry.seq > last, "{} after {last}", entry.seq);
            if let Some(ticket) = entry.ticket {
                self.end(ticket, End::Stored(index, entry.seq));
            }
            self.logs[index].entries.push(entry);
        }
    }

    fn end(&mut self, ticket: u64, end: End) {
        if let Some(before) = self.ends.insert(ticket, end.clone()) {
            panic!("the ticket {ticket} ended twice: {before:?}, {end:?}");
        }
    }

    pub fn log(&self) -> &Log {
        self.logs.last().expect("a beginning")
    }

    /// Returns sequence numbers and texts of the last log.
    pub fn entries(&self) -> Vec<(u64, String)> {
        let text = |entry: &Entry| String::from_utf8(entry.draft.once.to_vec()).expect("UTF-8");
        self.log().entries.iter().map(|entry| (entry.seq, text(entry))).collect()
    }

    pub fn texts(&self) -> Vec<String> {
        self.entries().into_iter().map(|(_, text)| text).collect()
    }
}
