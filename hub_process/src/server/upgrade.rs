//! Continuing as another program: the history and the connections are handed over. `arrival` is the other side.

use super::control_requests::Upgrading;
use super::store_reports::BEGIN_WITHIN;
use super::Server;
use crate::new_program::Program;
use crate::process_log::log_message;
use crate::protocol;
use eventsource_xs::remote::calls::memory_file;
use eventsource_xs::runtime::{handing_over, HandoverFile};
use eventsource_xs::wire::{Call, Failure, HandedProcess, Handover};
use eventsource_xs::ErrorCode;
use std::convert::Infallible;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

/// The memory that is tried before anything is handed over, and that for each entry and each stream.
const MEMORY: usize = 4 << 20;
const MEMORY_OF_EACH: u64 = 64;

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
        let count = Call::Count { channel: Box::default() };
        let counted = self.current.own().and_then(|hub| hub.call(&count).ok()?.counted().ok());
        let entries = counted.map_or(0, |counted| counted.hub.events + counted.hub.keys);
        try_memory(entries + self.streams.len() as u64)?;
        self.options.place.socket().to_str().ok_or("the path of the socket is not UTF-8")?; // it is on the command line
        let program = Program::open(program)?;
        let may_continue = program.check(None)? == protocol::version();
        self.wait_for_reactor(Instant::now());
        self.wait_for_store()?;
        let file = HandoverFile::new(memory_file("eventsource-hub").map_err(cannot_hand_over)?);
        let paused = handing_over::pause(file, self.current.own(), may_continue);
        let (mut file, _paused) = paused.map_err(|error| error.to_string())?;
        self.take_mail(Instant::now()); // from here on every stream here is one of the reactor, too
        self.wait_for_store()?;
        self.send_log();
        self.hand_over(requesters, &program, may_continue, &mut file);
        let (file, descriptors) = file.finish().map_err(cannot_hand_over)?;
        program.check(Some(&file))?;
        Err(program.exec(&file, &descriptors, &self.options))
    }

    /// Waits until the store has everything: the other program begins with it. Its threads end with this program, as in a
    /// killed process, so nothing has changed if the upgrade fails.
    fn wait_for_store(&mut self) -> Result<(), String> {
        let Some(stored) = self.current.stored() else { return Ok(()) };
        let lost = |why: &str| Err(format!("events wait for the hub's store, which {why}, and would be lost"));
        if !stored.has_begun() || !stored.is_up() {
            return if stored.has_waiting() { lost("is down") } else { Err("the hub's store is down".to_owned()) };
        }
        stored.check_place()?;
        let (has_all, effects) = stored.wait_until_stored(BEGIN_WITHIN);
        self.follow(effects, Instant::now());
        match has_all {
            true => Ok(()),
            false => lost(&format!("has not answered within {} seconds", BEGIN_WITHIN.as_secs())),
        }
    }

    /// Hands over what the reactor does not have. Workers that have greeted go to a program of the same protocol only: another
    /// one would refuse them.
    fn hand_over(&self, requesters: &[u64], program: &Program, may_continue: bool, file: &mut HandoverFile) {
        let mut process = HandedProcess {
            program: program.path().as_os_str().as_bytes().into(),
            program_file: program.number() as u32,
            is_started: self.options.is_started,
            requesters: self.peers.keep(file, requesters),
            next_token: self.peers.next_token(),
            decided: self.current.precedence().decided().clone(),
            known: self.current.precedence().known().clone(),
            ..HandedProcess::default()
        };
        self.listener.instance().hand_over(file, &mut process);
        self.listening.hand_over(file, &mut process);
        file.add(&Handover::Process(process.into()));
        self.current.hand_over(file, Instant::now());
        self.peers.hand_over(file, self.options.place.name(), |peer| {
            (may_continue || !peer.is_greeted) && !requesters.contains(&peer.token())
        });
        if may_continue {
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
