//! Stores: what keeps a hub's events beyond the life of its process.
//!
//! - `file`: a file of this machine
//! - `redis`: a Redis stream, which the hubs of several machines share
//!
//! A hub without a store assigns ids itself, and its events end with its process. A store assigns the sequence numbers, and
//! decides the order. It has threads of its own, so that the wire thread never waits for a disk or a network. The wire thread
//! asks ([`Ask`]) and takes reports ([`Report`]); [`Store`] joins both.
//!
//! ```text
//! worker -> wire thread -- Ask::Append(draft) --> store's thread -> disk, network
//!                       <- Report::Entries ------                   (what other machines have appended, too)
//! worker <- id <- wire thread -> reactor -> clients
//! ```
//!
//! # Reports
//!
//! A store begins with [`Report::Began`], then reports its history as [`Report::Entries`], then [`Report::Ready`]. From there
//! on it reports every entry once, in the order of sequence numbers, with the tickets of those that this process has asked for.
//! A draft ends in exactly one way: its entry is reported, or [`Report::Failed`] is, or [`Report::Done`]. A draft that failed
//! as `Unknown` may be reported as an entry later, without its ticket.
//!
//! Another `Began` means that history was lost: an entry was delivered, or acknowledged, that the store has no longer. What was
//! reported before is void, and its epoch never comes back. Drafts without report are reported after it, or fail.
//!
//! A `Began` with the same epoch and a reason means that this process alone has missed entries, which were evicted while it
//! was away. Its memory is void and its clients need a gap, but ids of the epoch stay valid for the history that follows.
//!
//! # Members
//!
//! A draft may say that a member is here, or is gone ([`MemberPart`]). A file has one machine, so each of these is an entry.
//! Several machines share a Redis, and a member is here while it is on any of them. So a shared store keeps a set of machines
//! with each member, and changes it with the entry, as one:
//!
//! - [`Here`](MemberPart::Here) adds this machine. It appends the entry if the set was empty.
//! - [`Changed`](MemberPart::Changed) appends the entry if the set is not empty. It adds no machine.
//! - [`Gone`](MemberPart::Gone) removes this machine. It appends the entry if the set is empty then, and was not before.
//!
//! A draft without entry ends with [`Report::Done`]. A draft that repeats what is true already does nothing, so a hub may send
//! each of them again.
//!
//! A machine that dies, or cannot reach the store for some seconds, is removed from the sets; a member who is on no other one
//! then leaves with its event [`leave`](MemberHere::leave), when it has lingered. The entry has no ticket on any machine.
//!
//! [`Report::Announce`] tells the hub that the store may have lost sets, or has removed this machine from them. The hub then
//! sends `Here` for each member that has streams on this machine or lingers, and `Changed` where the retained entry shows
//! other data than the hub has. It may forget the drafts `Gone` that have failed: who is not announced is gone.
//!
//! # What a store keeps
//!
//! An entry is garbage when all of this is true:
//!
//! - The history has evicted it: by [`Ask::Forget`], or by the store's own bounds ([`Ask::Retain`]).
//! - It is not the latest entry of its key, or that was discarded, too ([`ChannelEvictions`]).
//! - It is not retained: it is no [`Retain::Newest`], or a later entry of its channel and key is `Newest` or `Forget`.
//!
//! No bound evicts what is retained. The hub refuses a draft that does not fit before it asks the store, and counts the drafts
//! that wait.
//!
//! A store deletes garbage in the order of sequence numbers, or all at once: without the entry that has forgotten a key, or has
//! replaced its value, an earlier value would come back.
//!
//! What the history has evicted and what is still retained is reported as the rest of the history is, in the order of sequence
//! numbers. The hub has these entries in its state only, because their channels have evicted as much ([`Began::evicted`]).
//!
//! # Clocks
//!
//! The clock of the store decides how old an entry is: that of Redis, which also assigns the ids, or that of the machine with
//! the file. The clock of the hub's machine cannot: what is too old on one machine must be so on all. A store says what its
//! clock shows ([`Reporter::set_clock`]) before it reports entries, and now and then. [`Store::instant_of`] turns the time of
//! an entry into one of this process's monotonic clock. From there on only that one counts, so no jump of any clock changes the
//! age of what the hub has in memory. If the store's clock jumps forward, what is stored is older from then on, and clients
//! that come to a hub that begins are told of that as of any eviction. If it jumps back, the times of entries stand still until
//! it has caught up, and what is stored is kept for longer.

// A program without stores has nobody who reports.
#![cfg_attr(not(all(feature = "file", feature = "redis")), allow(dead_code, unused_variables))]

#[cfg(feature = "file")]
mod file;
#[cfg(feature = "redis")]
mod redis;

use eventsource_xs::hub::{ChannelEvictions, EndRequest, Retain};
use eventsource_xs::saved;
use eventsource_xs::saved::{Malformed, Restorer, Saved, Saver};
use eventsource_xs::wire::{decode_end, encode_end, Failure, FieldList, Name, StoreSettings, StoreStatus};
use rustix::io::{read, write};
use rustix::pipe::{pipe_with, PipeFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// An event's statement of the member whose id is its key. It has no key `once`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MemberPart {
    /// Nothing.
    #[default]
    None,
    /// The member has a stream on this machine. Entries that are [`Changed`](Self::Changed) are read as this, too.
    Here(Box<MemberHere>),
    /// Its data has changed. The machine need not have a stream of it.
    Changed(Box<MemberHere>),
    /// It has no stream on this machine, and has lingered.
    Gone,
}

/// What a store keeps of a member who is here, with its retained event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberHere {
    /// How long it stays when its last stream has left.
    pub linger: Duration,
    /// The event that says that it has gone.
    pub leave: FieldList,
    /// What else the hub needs to continue it. Stores only keep it.
    pub rest: Box<[u8]>,
}

impl MemberPart {
    /// Returns how many bytes its texts have.
    pub fn bytes(&self) -> usize {
        match self {
            Self::None | Self::Gone => 0,
            Self::Here(here) | Self::Changed(here) => here.leave.as_bytes().len() + here.rest.len(),
        }
    }

    /// Returns it as stores keep it; empty if it says nothing.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Gone => vec![0],
            Self::Here(here) | Self::Changed(here) => {
                let MemberHere { linger, leave, rest } = &**here;
                let linger = u64::try_from(linger.as_millis()).unwrap_or(u64::MAX);
                let length = leave.as_bytes().len() as u32; // a record has less than 4 GB
                [&[1], &linger.to_le_bytes()[..], &length.to_le_bytes(), leave.as_bytes(), rest].concat()
            }
        }
    }

    /// Returns what was encoded; nothing if it is of a later version.
    pub fn decode(bytes: &[u8]) -> Self {
        let here = || {
            let (linger, bytes) = bytes.strip_prefix(&[1])?.split_first_chunk()?;
            let (length, bytes) = bytes.split_first_chunk()?;
            let (leave, rest) = bytes.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            let linger = Duration::from_millis(u64::from_le_bytes(*linger));
            let leave = FieldList::from_bytes(leave).ok()?;
            Some(Self::Here(Box::new(MemberHere { linger, leave, rest: rest.into() })))
        };
        match bytes {
            [0] => Self::Gone,
            _ => here().unwrap_or_default(),
        }
    }
}

saved!(MemberHere { linger, leave, rest });
saved!(Draft { channel, key, retain, once, fields, member });

impl Saved for MemberPart {
    fn save(&self, to: &mut Saver) {
        let (kind, here): (u8, _) = match self {
            Self::None => (0, None),
            Self::Here(here) => (1, Some((**here).clone())),
            Self::Changed(here) => (2, Some((**here).clone())),
            Self::Gone => (3, None),
        };
        to.add(&kind);
        to.add(&here);
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
        match (from.take::<u8>()?, from.take::<Option<MemberHere>>()?) {
            (0, None) => Ok(Self::None),
            (1, Some(here)) => Ok(Self::Here(here.into())),
            (2, Some(here)) => Ok(Self::Changed(here.into())),
            (3, None) => Ok(Self::Gone),
            _ => Err(Malformed),
        }
    }
}

/// An event that is to be stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// The channel's name.
    pub channel: Box<[u8]>,
    /// The key for compaction. Empty if the event has none.
    pub key: Box<[u8]>,
    /// What the event does to the state of its channel.
    pub retain: Retain,
    /// The key that makes a repeated publish none. Empty if the event has none. Stores only keep it.
    pub once: Box<[u8]>,
    /// The event's fields. None if this version cannot read them: each event has some.
    pub fields: FieldList,
    /// What the event says of a member.
    pub member: MemberPart,
}

impl Draft {
    /// Returns how many bytes its texts have.
    pub fn bytes(&self) -> usize {
        let Self { channel, key, retain: _, once, fields, member } = self;
        channel.len() + key.len() + once.len() + fields.as_bytes().len() + member.bytes()
    }

    /// Makes a request to end streams a draft, for the hubs of other machines. It has no channel, which no event lacks.
    pub fn of_end(end: &EndRequest) -> Self {
        Self { key: encode_end(end).into(), ..Self::default() }
    }

    /// Returns true if this version cannot read it: it is of a later one.
    pub fn is_unread(&self) -> bool {
        if self.channel.is_empty() {
            self.end().is_none()
        } else {
            self.fields.as_bytes().is_empty()
        }
    }

    /// Returns the request to end streams, if this is one; none also if it is of a later version.
    pub fn end(&self) -> Option<EndRequest> {
        if self.channel.is_empty() {
            decode_end(&self.key).ok()
        } else {
            None
        }
    }
}

/// An event that is stored, or a [request](Draft::of_end) to end streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The sequence number: greater than that of every entry before, not always by one.
    pub seq: u64,
    /// When it was stored: milliseconds since 1970 by the store's clock. It does not go back.
    pub at: u64,
    /// The ticket, if this process has asked for it since it began and it has not failed.
    pub ticket: Option<u64>,
    /// The event.
    pub draft: Draft,
}

/// A request to a store.
#[derive(Debug)]
pub enum Ask {
    /// Append an event. Tickets are numbers that the asker uses once.
    Append { ticket: u64, draft: Draft },
    /// Forget entries of channels, unless they are retained.
    Forget(Vec<ChannelEvictions>),
    /// The retention of the history of all channels together.
    Retain { events: usize, bytes: usize, age: Duration },
    /// Keep what the hub says of the members that linger, in the place of what it has said before. A shared store, which knows
    /// when a machine was removed, is not asked.
    Linger(Box<[u8]>),
    /// Begin another epoch: entries are missing that this process has delivered before it began the store anew.
    Lost(Box<str>),
    /// End, after what was asked before. If the hub continues, in this process or in another program, its members stay on this
    /// machine meanwhile.
    Close { hub_continues: bool },
}

/// A report of a store.
#[derive(Debug)]
pub enum Report {
    /// The store begins with an epoch: its history follows.
    Began(Began),
    /// Entries, in their order.
    Entries(Vec<Entry>),
    /// The history is complete.
    Ready,
    /// The store keeps these drafts in a queue of its own, which it bounds, until it is up again.
    Queued(Vec<u64>),
    /// The store did what a draft says of a member. It appended no entry, or one that it reports without ticket.
    Done(u64),
    /// The hub should say again which members it has: the store is new, or was away.
    Announce,
    /// A draft was not stored, or perhaps was (`Unknown`).
    Failed { ticket: u64, failure: Failure },
    /// The store cannot begin. It tries again if it `retries`.
    CannotBegin { failure: Failure, retries: bool },
}

/// How a store begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Began {
    /// The epoch, with which ids begin: 1 to 16 letters and digits.
    pub epoch: Box<str>,
    /// The key of opaque ids, which all hubs of the store share.
    pub cipher_key: [u8; 16],
    /// The sequence number of the last entry that the store has ever had in this epoch; 0 if none.
    pub last_seq: u64,
    /// How far channels have evicted entries.
    pub evicted: Vec<(Box<[u8]>, u64)>,
    /// How far all other channels have.
    pub evicted_through: u64,
    /// Why another epoch has begun, for people; empty at the first beginning and if nothing was lost.
    pub reason: Box<str>,
    /// What the hub has said last of the members that linger.
    pub lingering: Box<[u8]>,
}

/// A reading of a store's clock, and its time.
#[derive(Clone, Copy, Debug)]
struct ClockReading {
    shown: u64,
    read_at: Instant,
}

impl ClockReading {
    /// Returns how long ago a time of that clock is; zero if it is still to come.
    fn age(&self, at: u64, now: Instant) -> Duration {
        let shown = Duration::from_millis(self.shown) + now.saturating_duration_since(self.read_at);
        shown.saturating_sub(Duration::from_millis(at))
    }
}

/// How many bytes of entries may wait for the wire thread. A store that has reported more waits: a hub of another machine may
/// publish more than this one delivers.
const MOST_UNTAKEN: usize = 64 << 20;

/// The entries that were reported and not taken.
#[derive(Debug, Default)]
struct Untaken {
    state: Mutex<UntakenState>,
    taken: Condvar,
}

#[derive(Debug, Default)]
struct UntakenState {
    bytes: usize,
    /// Whether nobody will take them.
    is_closed: bool,
}

impl Untaken {
    fn lock(&self) -> MutexGuard<'_, UntakenState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the wire thread has taken enough, then adds entries.
    fn add(&self, entries: &[Entry]) {
        let is_full = |state: &mut UntakenState| state.bytes >= MOST_UNTAKEN && !state.is_closed;
        let mut state = self.taken.wait_while(self.lock(), is_full).unwrap_or_else(PoisonError::into_inner);
        state.bytes += bytes_of(entries);
    }

    fn take(&self, report: &Report) {
        if let Report::Entries(entries) = report {
            self.lock().bytes -= bytes_of(entries);
            self.taken.notify_all();
        }
    }

    fn close(&self) {
        self.lock().is_closed = true;
        self.taken.notify_all();
    }
}

fn bytes_of(entries: &[Entry]) -> usize {
    entries.iter().map(|entry| size_of::<Entry>() + entry.draft.bytes()).sum()
}

/// A store, as the wire thread has it.
#[derive(Debug)]
pub struct Store {
    asks: Sender<Ask>,
    reports: Receiver<Report>,
    untaken: Arc<Untaken>,
    bell: Arc<Bell>,
    status: Arc<Mutex<StoreStatus>>,
    clock: Arc<Mutex<Option<ClockReading>>>,
}

/// The other end of a [`Store`], for its threads.
#[derive(Debug)]
pub struct StoreEnd {
    pub asks: Receiver<Ask>,
    pub reporter: Reporter,
}

/// Reports from any thread of a store.
#[derive(Clone, Debug)]
pub struct Reporter {
    reports: Sender<Report>,
    untaken: Arc<Untaken>,
    /// Dropped after `reports`, so that the wire thread sees that nothing more will come.
    ringer: Ringer,
    status: Arc<Mutex<StoreStatus>>,
    clock: Arc<Mutex<Option<ClockReading>>>,
}

/// Rings when it is dropped, too.
#[derive(Clone, Debug)]
struct Ringer(Arc<Bell>);

impl Drop for Ringer {
    fn drop(&mut self) {
        self.0.ring();
    }
}

/// What a kind of store does for the rest of the program: its settings, as an interface.
trait Engine {
    /// Checks that the store could begin anew. Fails with the reason.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// Starts the threads of the store, which take what is asked and report.
    fn start(&self, hub: &str, end: StoreEnd) -> io::Result<()>;
}

/// Returns the store of these settings: the list of the stores that this program was built with. Fails with the reason and the
/// remedy.
fn engine(settings: &StoreSettings) -> Result<&dyn Engine, String> {
    match settings {
        #[cfg(feature = "file")]
        StoreSettings::File(settings) => Ok(settings),
        #[cfg(feature = "redis")]
        StoreSettings::Redis(settings) => Ok(&**settings),
        other => Err(format!(
            "this eventsource-hub was built without the store {}; `perl Makefile.PL && make install` builds all stores",
            other.kind()
        )),
    }
}

/// Checks that this program was built with the store. Fails with the reason and the remedy.
pub fn check_built(settings: &StoreSettings) -> Result<(), String> {
    match settings {
        StoreSettings::Memory => Ok(()),
        _ => engine(settings).map(drop),
    }
}

/// Checks that the store could begin anew with its settings. Fails with the reason.
pub fn check_place(settings: &StoreSettings) -> Result<(), String> {
    engine(settings)?.check()
}

/// Returns the milliseconds since 1970.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Wakes the wire thread: a pipe of one byte.
#[derive(Debug)]
struct Bell {
    reader: OwnedFd,
    writer: OwnedFd,
    is_rung: AtomicBool,
}

impl Bell {
    fn new() -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Self { reader, writer, is_rung: AtomicBool::new(false) })
    }

    fn ring(&self) {
        if !self.is_rung.swap(true, Ordering::SeqCst) {
            let _ = write(&self.writer, b"!"); // a pipe that is full rings, too
        }
    }

    /// Called before the reports are taken, so that a later one rings again.
    fn silence(&self) {
        let _ = read(&self.reader, &mut [0; 16]);
        self.is_rung.store(false, Ordering::SeqCst);
    }
}

impl Store {
    /// Creates a store, and the end for its threads.
    pub fn new() -> io::Result<(Self, StoreEnd)> {
        let bell = Arc::new(Bell::new()?);
        let (asks, asked) = channel();
        let (reported, reports) = channel();
        let status = Arc::<Mutex<StoreStatus>>::default();
        let clock = Arc::<Mutex<Option<ClockReading>>>::default();
        let (untaken, ringer) = (Arc::<Untaken>::default(), Ringer(Arc::clone(&bell)));
        let reporter = Reporter {
            reports: reported,
            untaken: Arc::clone(&untaken),
            ringer,
            status: Arc::clone(&status),
            clock: Arc::clone(&clock),
        };
        Ok((Self { asks, reports, untaken, bell, status, clock }, StoreEnd { asks: asked, reporter }))
    }

    /// Starts the store of these settings, which are not those of memory.
    pub fn start(settings: &StoreSettings, hub: &Name) -> io::Result<Self> {
        let engine = engine(settings).map_err(|message| io::Error::new(io::ErrorKind::Unsupported, message))?;
        let (store, end) = Self::new()?;
        engine.start(hub.as_str(), end)?;
        Ok(store)
    }

    /// Asks the store. A store whose threads have ended says no more.
    pub fn ask(&self, ask: Ask) {
        let _ = self.asks.send(ask);
    }

    /// Returns the descriptor that is readable while there are reports.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.bell.reader.as_fd()
    }

    /// Takes all reports that there are. The flag says that no more will come: the threads of the store have ended.
    pub fn take_reports(&self) -> (Vec<Report>, bool) {
        self.bell.silence();
        let mut reports = Vec::new();
        loop {
            match self.reports.try_recv() {
                Ok(report) => {
                    self.untaken.take(&report);
                    reports.push(report);
                }
                Err(TryRecvError::Empty) => return (reports, false),
                Err(TryRecvError::Disconnected) => return (reports, true),
            }
        }
    }

    /// Waits for the next report. Returns nothing if the time is over, or if the threads of the store have ended.
    pub fn wait_for_report(&self, until: Instant) -> Option<Report> {
        let report = self.reports.recv_timeout(until.saturating_duration_since(Instant::now())).ok()?;
        self.untaken.take(&report);
        Some(report)
    }

    /// Returns the time of this process that a time by the store's clock was; `now` if it is still to come.
    pub fn instant_of(&self, at: u64, now: Instant) -> Instant {
        let reading = *self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        let age = reading.map_or(Duration::ZERO, |reading| reading.age(at, now));
        now.checked_sub(age).unwrap_or(now)
    }

    /// Returns what is known of the store's health.
    pub fn status(&self) -> StoreStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Store {
    /// Lets its threads continue, so that they can end.
    fn drop(&mut self) {
        self.untaken.close();
    }
}

impl Reporter {
    /// Reports to the wire thread. Waits while this has many entries to take.
    pub fn report(&self, report: Report) {
        if let Report::Entries(entries) = &report {
            self.untaken.add(entries);
        }
        let _ = self.reports.send(report); // fails only while the process ends
        self.ringer.0.ring();
    }

    /// Says what the store's clock shows now: milliseconds since 1970. Times of entries are of this clock.
    pub fn set_clock(&self, shown: u64) {
        let reading = ClockReading { shown, read_at: Instant::now() };
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = Some(reading);
    }

    /// Returns how old something is by the store's clock, in milliseconds.
    pub fn age(&self, at: u64) -> u64 {
        let reading = *self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        reading.map_or(0, |reading| u64::try_from(reading.age(at, Instant::now()).as_millis()).unwrap_or(u64::MAX))
    }

    /// Changes what is known of the store's health.
    pub fn update(&self, change: impl FnOnce(&mut StoreStatus)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Takes note of an error.
    pub fn record_error(&self, message: &str) {
        self.update(|status| {
            status.last_error = message.into();
            status.last_error_at = now_ms();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eventsource_xs::event::{Field, Text};
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    const ENTRIES: usize = 100;

    #[test]
    fn what_a_draft_says_of_a_member_is_read_as_it_was_kept() {
        let leave = FieldList::of([Field::Data(Text::from("left"))]);
        let here = MemberHere { linger: Duration::from_millis(5500), leave, rest: b"since"[..].into() };
        let empty = MemberHere::default();
        for member in
            [MemberPart::None, MemberPart::Gone, MemberPart::Here(here.into()), MemberPart::Here(empty.into())]
        {
            let bytes = member.encode();
            assert_eq!(MemberPart::decode(&bytes), member);
            let cut = (1..bytes.len().min(14)).map(|length| MemberPart::decode(&bytes[..length]));
            assert!(cut.into_iter().all(|member| member == MemberPart::None));
        }
    }

    /// Starts a thread that reports entries of a MiB. Returns how many it has reported so far.
    fn report_entries(reporter: Reporter) -> (Arc<AtomicUsize>, thread::JoinHandle<()>) {
        let reported = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&reported);
        let run = move || {
            for seq in 1..=ENTRIES as u64 {
                let key = vec![b'k'; 1 << 20].into();
                let draft = Draft { channel: "news".as_bytes().into(), key, ..Draft::default() };
                reporter.report(Report::Entries(vec![Entry { seq, at: 0, ticket: None, draft }]));
                count.fetch_add(1, Ordering::SeqCst);
            }
        };
        (reported, thread::spawn(run))
    }

    fn wait_until_full(reported: &AtomicUsize) {
        while reported.load(Ordering::SeqCst) < MOST_UNTAKEN >> 20 {
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_millis(50)); // it could go on meanwhile
        assert!(reported.load(Ordering::SeqCst) <= MOST_UNTAKEN >> 20, "{reported:?}");
    }

    #[test]
    fn a_store_waits_while_its_hub_has_many_entries_to_take() {
        let (store, end) = Store::new().expect("descriptors");
        let (reported, thread) = report_entries(end.reporter);
        wait_until_full(&reported);
        let mut taken = 0;
        while taken < ENTRIES {
            taken += store.take_reports().0.len();
        }
        thread.join().expect("no panic");
        assert_eq!((taken, store.untaken.lock().bytes), (ENTRIES, 0));
    }

    #[test]
    fn a_store_without_hub_does_not_wait() {
        let (store, end) = Store::new().expect("descriptors");
        let (reported, thread) = report_entries(end.reporter);
        wait_until_full(&reported);
        drop(store);
        thread.join().expect("no panic");
    }
}
