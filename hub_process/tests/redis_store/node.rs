//! A store as the wire thread has it, and books of what it reports.

use crate::server::eventually;
use crate::store::{self, Began, Draft, Store, StoreCommand, StoreEntry, StoreReport};
use eventsource_xs::event::{Field, Text};
use eventsource_xs::hub::Retain;
use eventsource_xs::log::Bounds;
use eventsource_xs::ticket::TicketKeys;
use eventsource_xs::wire::{Failure, FieldList, HubSettings, Name, RedisSettings, StoreSettings};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// How a draft ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// In the log with this index, with this sequence number.
    Stored(usize, u64),
    /// Without an entry.
    Done,
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
    /// The retained events that are older than the history.
    pub retained: Vec<StoreEntry>,
    pub entries: Vec<StoreEntry>,
    pub is_ready: bool,
}

pub struct Node {
    pub store: Store,
    pub logs: Vec<Log>,
    pub ends: HashMap<u64, End>,
    pub refusals: Vec<(Failure, bool)>,
    pub next_ticket: u64,
    /// How many times the hub was asked to announce its members.
    pub announcements: u32,
    /// The keys of tickets, each time they were reported.
    pub ticket_keys: Vec<TicketKeys>,
}

/// Returns a number of the environment.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Returns two random seeds, or that of the environment. Says which, so that a run can be repeated.
pub fn seeds() -> impl Iterator<Item = u64> {
    let seeds =
        number("EVENTSOURCE_XS_SEED").map_or_else(|| vec![fastrand::u64(..), fastrand::u64(..)], |seed| vec![seed]);
    seeds.into_iter().inspect(|seed| eprintln!("EVENTSOURCE_XS_SEED={seed}"))
}

/// Settings for a server.
pub fn settings(url: &str) -> RedisSettings {
    let (url, prefix, timeout) = (url.into(), "es".into(), Duration::from_secs(40));
    RedisSettings { url, prefix, timeout, ..RedisSettings::default() }
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

/// Makes a draft that changes the state.
pub fn retained(retain: Retain, key: &str, text: &str) -> Draft {
    Draft { key: key.as_bytes().into(), retain, once: Box::default(), ..draft(text) }
}

fn text_of(draft: &Draft) -> String {
    let data = draft.fields.fields().iter().find_map(|field| match field {
        Field::Data(text) => Some(String::from_utf8_lossy(text.bytes()).into_owned()),
        _ => None,
    });
    data.unwrap_or_default()
}

/// Does to a state what an entry does.
pub fn change(state: &mut BTreeMap<String, (u64, String)>, entry: &StoreEntry) {
    let key =
        format!("{} {}", String::from_utf8_lossy(&entry.draft.channel), String::from_utf8_lossy(&entry.draft.key));
    match entry.draft.retain {
        Retain::No => {}
        Retain::Newest => drop(state.insert(key, (entry.seq, text_of(&entry.draft)))),
        Retain::Forget => drop(state.remove(&key)),
    }
}

impl Node {
    pub fn start(settings: &RedisSettings) -> Self {
        let name = Name::new("shop").expect("a name");
        let store = StoreSettings::Redis(Box::new(settings.clone()));
        let store = store::start(&HubSettings { store, ..HubSettings::default() }, &name, None).expect("threads");
        let node = Self {
            store,
            logs: Vec::new(),
            ends: HashMap::new(),
            refusals: Vec::new(),
            next_ticket: 1,
            announcements: 0,
            ticket_keys: Vec::new(),
        };
        node.keep(100_000);
        node
    }

    /// Starts a store, and waits until its history is complete.
    pub fn ready(settings: &RedisSettings) -> Self {
        let mut node = Self::start(settings);
        node.until("ready", Node::is_ready);
        node
    }

    /// Starts stores at several addresses.
    pub fn at<const N: usize>(urls: [String; N]) -> [Self; N] {
        urls.map(|url| Self::ready(&settings(&url)))
    }

    /// Limits the history to so many events.
    pub fn keep(&self, events: usize) {
        self.store.send(StoreCommand::Retain(Bounds { events, bytes: 1 << 30, age: Duration::from_secs(3600) }));
    }

    /// Waits until this is the text of the last entry.
    pub fn until_last(&mut self, expected: &str) {
        self.until(expected, |node| node.texts().last().is_some_and(|text| text == expected));
    }

    pub fn is_ready(&self) -> bool {
        self.logs.last().is_some_and(|log| log.is_ready)
    }

    pub fn append(&mut self, text: &str) -> u64 {
        self.append_draft(draft(text))
    }

    pub fn append_draft(&mut self, draft: Draft) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.store.send(StoreCommand::Append { ticket, draft });
        ticket
    }

    /// Appends, and waits until the draft has ended.
    pub fn publish(&mut self, text: &str) -> End {
        self.publish_draft(draft(text))
    }

    pub fn publish_draft(&mut self, draft: Draft) -> End {
        let ticket = self.append_draft(draft);
        self.until("an end", |node| node.ends.contains_key(&ticket));
        self.ends[&ticket].clone()
    }

    /// Publishes a text that is retained.
    pub fn retain(&mut self, key: &str, text: &str) -> End {
        self.publish_draft(retained(Retain::Newest, key, text))
    }

    /// The same with a key `once`.
    pub fn retain_once(&mut self, key: &str, text: &str, once: &str) -> End {
        self.publish_draft(Draft { once: once.as_bytes().into(), ..retained(Retain::Newest, key, text) })
    }

    /// Forgets a key.
    pub fn forget(&mut self, key: &str) -> End {
        self.publish_draft(retained(Retain::Forget, key, ""))
    }

    /// Returns the state that a page would have: the sequence number and the text of each key.
    pub fn state(&self) -> BTreeMap<String, (u64, String)> {
        let mut state = BTreeMap::new();
        self.log().retained.iter().chain(&self.log().entries).for_each(|entry| change(&mut state, entry));
        state
    }

    /// Waits until the condition is true. The deadline counts from the store's last report: a disk may be slow.
    pub fn until(&mut self, expected: &str, is_true: impl Fn(&Self) -> bool) {
        self.pump();
        while !is_true(self) {
            let mut count = 0;
            eventually(expected, || {
                count += 1;
                if count % 2500 == 0 {
                    eprintln!("{expected}: {:?}", self.store.status());
                    if let Some(Log { began, entries, is_ready, .. }) = self.logs.last() {
                        let last = entries.last().map(|entry| (entry.seq, String::from_utf8_lossy(&entry.draft.once)));
                        eprintln!("{began:?}, ready: {is_ready}, {} entries, the last {last:?}", entries.len());
                    }
                }
                self.pump() || is_true(self)
            });
        }
    }

    /// Takes the reports, and checks what is true of all of them. Returns true if there were some.
    pub fn pump(&mut self) -> bool {
        let reports = self.store.take_reports(Instant::now()).0;
        let has_reports = !reports.is_empty();
        for report in reports {
            match report {
                StoreReport::Began(began) => {
                    if self.logs.iter().rev().skip(1).any(|log| log.began.history.epoch == began.history.epoch) {
                        let last = self.logs.last().map(|log| log.began.history.epoch.clone());
                        assert_eq!(last, Some(began.history.epoch.clone()), "an epoch has come back");
                    }
                    let (retained, entries) = (Vec::new(), Vec::new());
                    self.logs.push(Log { began, retained, entries, is_ready: false });
                }
                StoreReport::Ready => self.logs.last_mut().expect("a beginning").is_ready = true,
                StoreReport::Entries(entries) => self.note(entries),
                StoreReport::Done(ticket) => self.end(ticket, End::Done),
                StoreReport::TicketKeys(keys) => self.ticket_keys.push(keys),
                StoreReport::Announce => self.announcements += 1,
                StoreReport::Failed { ticket, failure } => self.end(ticket, End::Failed(failure)),
                StoreReport::CannotBegin { failure, retries } => self.refusals.push((failure, retries)),
            }
        }
        has_reports
    }

    fn note(&mut self, entries: Vec<StoreEntry>) {
        let index = self.logs.len() - 1;
        for entry in entries {
            let log = &mut self.logs[index];
            if entry.seq <= log.began.history.evicted_through {
                assert!(log.retained.last().is_none_or(|last| last.seq < entry.seq) && log.entries.is_empty());
                log.retained.push(entry);
                continue;
            }
            let last = log.entries.last().map_or(log.began.history.evicted_through, |last| last.seq);
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
        let text = |entry: &StoreEntry| String::from_utf8(entry.draft.once.to_vec()).expect("UTF-8");
        self.log().entries.iter().map(|entry| (entry.seq, text(entry))).collect()
    }

    pub fn texts(&self) -> Vec<String> {
        self.entries().into_iter().map(|(_, text)| text).collect()
    }
}
