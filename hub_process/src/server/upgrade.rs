//! Continuing as another program, or as this one with other settings of the hub: the history and the connections are handed
//! over. `arrival` is the other side.

use super::control_requests::Upgrading;
use super::hub_life::BEGIN_WITHIN;
use super::{Server, STORE_LINGER};
use crate::new_program::Program;
use crate::process_log::log_message;
use crate::protocol;
use crate::settings::Wanted;
use eventsource_xs::hub::Question;
use eventsource_xs::remote::calls::memory_file;
use eventsource_xs::runtime::{handing_over, monotonic_at, HandoverFile};
use eventsource_xs::wire::{Failure, HandedProcess, Handover};
use eventsource_xs::ErrorCode;
use std::convert::Infallible;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

/// The memory that is tried before anything is handed over, and that for each entry and each stream.
const MEMORY: usize = 4 << 20;
const MEMORY_OF_EACH: u64 = 64;

/// The things that the program that continues keeps.
struct Keeps {
    /// The connections of workers.
    workers: bool,
    /// The streams that are at rest.
    streams: bool,
    /// The published events, and the members.
    history: bool,
}

impl Server {
    /// Continues as another program. Returns only if that fails; then the process continues as it is, and the requesters
    /// receive why.
    pub(super) fn upgrade(&mut self, upgrading: &Upgrading) {
        let Err(message) = self.try_upgrade(upgrading);
        log_message(&format!("no upgrade: {message}"));
        for token in &upgrading.requesters {
            self.reject(*token, Failure::new(ErrorCode::Unsupported, None, &message), Instant::now());
        }
    }

    fn try_upgrade(&mut self, Upgrading { requesters, program, .. }: &Upgrading) -> Result<Infallible, String> {
        let asked = self.current.own().and_then(|hub| hub.ask(Question::reports()).ok());
        let counted = asked.and_then(|answer| answer.reply().counted().ok());
        let entries = counted.map_or(0, |counted| counted.hub.events + counted.hub.keys);
        try_memory(entries + self.streams.count() as u64)?;
        // It is on the command line.
        self.current.precedence.place.socket().to_str().ok_or("the path of the socket is not UTF-8")?;
        let program = Program::open(program)?;
        let is_same = program.check(None)? == protocol::version();
        self.wait_for_reactor(Instant::now());
        self.continue_as(&program, requesters, &Keeps { workers: is_same, streams: is_same, history: true })
    }

    /// Continues with other settings of the hub, as this program: a process is one hub for life. Workers stay connected, and
    /// streams end. What was published stays, unless another store is to have it. If that fails the process ends: workers
    /// reconnect, and begin another one.
    pub(super) fn restart(&mut self, wanted: &Wanted) {
        let Err(message) = self.try_restart(wanted);
        log_message(&format!("the process ends, and the next one has these settings: {message}"));
        self.current.precedence.remember(&wanted.named);
        self.control.ends = true;
    }

    fn try_restart(&mut self, wanted: &Wanted) -> Result<Infallible, String> {
        let now = Instant::now();
        let before = self.current.hub.as_ref().ok_or("there is no hub")?.settings.clone();
        let is_same_store = before.store.is_same(&wanted.all.store);
        let has_history = match self.current.stored() {
            Some(stored) => stored.has_begun(),
            None => before.hub.opaque_ids == wanted.all.hub.opaque_ids, // otherwise its ids are unknown
        };
        let keeps = Keeps { workers: true, streams: false, history: is_same_store && has_history };
        self.operator.log_restart(&before.store, &wanted.all.store, keeps.history);
        let program = Program::running()?;
        self.wait_for_reactor(now);
        if !keeps.history {
            let finished = self.current.stored().map(|stored| stored.finish(STORE_LINGER));
            self.answer_requesters(finished.unwrap_or_default().completions, now);
        }
        if let Some(hub) = &mut self.current.hub {
            hub.settings = wanted.all.clone();
        }
        self.continue_as(&program, &[], &keeps)
    }

    /// Continues as a program, which keeps some of what this one has. Returns only if that fails.
    fn continue_as(&mut self, program: &Program, requesters: &[u64], keeps: &Keeps) -> Result<Infallible, String> {
        self.wait_for_store(keeps)?;
        let file = HandoverFile::new(memory_file("eventsource-hub").map_err(cannot_hand_over)?);
        let hub = self.current.handle().filter(|_| keeps.history).cloned();
        let take_reports = || self.take_mail(Instant::now());
        let paused = handing_over::pause(file, hub.as_deref(), keeps.streams, take_reports);
        let (mut file, _paused) = paused.map_err(|error| error.to_string())?; // every stream here is one of the reactor, too
        self.wait_for_store(keeps)?;
        self.send_log();
        self.hand_over(requesters, program, keeps, &mut file);
        let (file, descriptors) = file.finish().map_err(cannot_hand_over)?;
        if !program.is_running {
            program.check(Some(&file))?;
        }
        Err(program.exec(&file, &descriptors, &self.options, &self.current.precedence.place))
    }

    /// Waits until the store has everything: the other program begins with it. Its threads end with this program, as in a
    /// killed process, so nothing has changed if the upgrade fails.
    fn wait_for_store(&mut self, keeps: &Keeps) -> Result<(), String> {
        let Some(stored) = self.current.stored().filter(|_| keeps.history) else { return Ok(()) };
        let refused = |has_waiting, why: &str| match has_waiting {
            true => Err(format!("events wait for the hub's store, which {why}, and would be lost")),
            false => Err(format!("the hub's store {why}")),
        };
        if !stored.has_begun() || !stored.is_up() {
            return refused(stored.has_waiting(), "is down");
        }
        stored.check_place()?;
        let (has_all, effects) = stored.wait_until_stored(BEGIN_WITHIN);
        let has_waiting = stored.has_waiting();
        self.follow(effects, Instant::now());
        match has_all {
            true => Ok(()),
            false => refused(has_waiting, &format!("has not answered within {} seconds", BEGIN_WITHIN.as_secs())),
        }
    }

    /// Hands over what the reactor does not have. Workers that have greeted go to a program of the same protocol only: another
    /// one would refuse them.
    fn hand_over(&self, requesters: &[u64], program: &Program, keeps: &Keeps, file: &mut HandoverFile) {
        let mut process = HandedProcess {
            program: program.path.as_os_str().as_bytes().into(),
            program_file: program.number() as u32,
            at: monotonic_at(file.at),
            is_started: self.options.is_started,
            requesters: self.peers.keep(file, requesters),
            next_token: self.peers.next_token,
            decided: self.current.precedence.decided.clone(),
            known: self.current.precedence.known.clone(),
            ..HandedProcess::default()
        };
        self.instance.hand_over(file, &mut process);
        self.listening.hand_over(file, &mut process);
        self.lifetime.hand_over(file.at, &mut process);
        file.add(&Handover::Process(process.into()));
        self.current.hand_over(file, keeps.history);
        self.peers.hand_over(file, &self.options.name, |peer| {
            (keeps.workers || !peer.is_greeted) && !requesters.contains(&peer.token)
        });
        if keeps.workers {
            self.leases.hand_over(file);
            self.streams.hand_over(file);
        }
    }
}

/// Tries whether there is memory for what handing over needs: an allocation that fails would end the process.
fn try_memory(count: u64) -> Result<(), String> {
    let size = usize::try_from(count * MEMORY_OF_EACH).unwrap_or(usize::MAX).saturating_add(MEMORY);
    Vec::<u8>::new().try_reserve_exact(size).map_err(|error| format!("cannot hand over: {error}"))
}

/// Says why nothing can be handed over, and the remedy if it is a limit.
fn cannot_hand_over(error: io::Error) -> String {
    let is_limit = error.kind() == io::ErrorKind::FileTooLarge;
    let remedy = format!("; prlimit --fsize=unlimited --pid {} raises the limit", std::process::id());
    format!("cannot hand over: {error}{}", if is_limit { &remedy } else { "" })
}
