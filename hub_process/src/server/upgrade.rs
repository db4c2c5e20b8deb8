//! Continuing as another program: what is saved of the server, and how the server of the new program begins.

use super::control_requests::Upgrading;
use super::store_reports::BEGIN_WITHIN;
use super::Server;
use crate::current_hub::SavedServed;
use crate::http::SavedSockets;
use crate::inherited::{take_kept, InstanceLock, SavedInstanceLock};
use crate::leases::Leases;
use crate::lifetime::Lifetime;
use crate::new_program::{self, Program};
use crate::operator_log::{Operator, SavedOperator};
use crate::peers::{End, Peers, SavedPeer};
use crate::process_log::log_message;
use crate::protocol;
use crate::run_options::RunOptions;
use crate::settings::Precedence;
use crate::streams::{SavedStreams, Streams};
use eventsource_xs::runtime;
use eventsource_xs::saved;
use eventsource_xs::saved::Malformed;
use eventsource_xs::wire::{Failure, NamedSettings, Response};
use eventsource_xs::ErrorCode;
use std::convert::Infallible;
use std::error::Error;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::time::Instant;

/// The least memory that is tried before a state is saved.
const LEAST_MEMORY: usize = 4 << 20;

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

    fn try_upgrade(&mut self, Upgrading { requesters, program }: &Upgrading) -> Result<Infallible, String> {
        try_memory(LEAST_MEMORY)?;
        let program = Program::open(program)?;
        program.check(None)?;
        self.settle_reactor(Instant::now());
        let failed = self.settle_store().and_then(|()| self.exec_program(requesters, &program));
        self.current.stored().into_iter().for_each(|stored| stored.hold_members(false));
        failed
    }

    /// Waits until the store has done all that it was asked: the rest would be lost. Its threads end with this program, as in a
    /// killed process, so nothing has changed if the upgrade fails.
    fn settle_store(&mut self) -> Result<(), String> {
        let lost = |why: &str| Err(format!("events wait for the hub's store, which {why}, and would be lost"));
        let Some(stored) = self.current.stored() else { return Ok(()) };
        if !stored.is_ready() {
            return Err("the hub's store has not begun".to_owned());
        }
        if stored.has_waiting() && !stored.is_up() {
            return lost("is down");
        }
        stored.check_place()?;
        stored.hold_members(true);
        let effects = stored.settle(BEGIN_WITHIN);
        let has_settled = !stored.has_waiting();
        self.follow(effects, Instant::now());
        if has_settled {
            return Ok(());
        }
        lost(&format!("has not answered within {} seconds", BEGIN_WITHIN.as_secs()))
    }

    fn exec_program(&mut self, requesters: &[u64], program: &Program) -> Result<Infallible, String> {
        let state = new_program::begin_state().map_err(cannot_save)?;
        let (mut state, paused) = runtime::saved_reactor::pause(state).map_err(|error| error.to_string())?;
        self.take_mail(Instant::now()); // from here on every stream here is one of the reactor, too
        self.send_log();
        try_memory(state.size())?;
        let saved = self.saved(requesters, program);
        let descriptors: Vec<i32> = saved.numbers().chain(paused.descriptors.iter().copied()).collect();
        state.add(&saved);
        let state = state.into_file().map_err(cannot_save)?;
        program.check(Some(&state))?;
        Err(program.exec(&state, &descriptors, &self.options.place))
    }

    /// Returns what another program needs to continue, beside what the reactor holds.
    fn saved(&self, requesters: &[u64], program: &Program) -> SavedServer {
        let (peers, next_token) = self.peers.saved();
        SavedServer {
            protocol: protocol::version(),
            requesters: requesters.into(),
            options: self.options.clone(),
            known: self.current.precedence().known().clone(),
            program: program.path().as_os_str().as_bytes().into(),
            program_file: program.number(),
            instance: self.listener.instance().saved(),
            http: self.listening.saved(),
            hub: self.current.saved(),
            peers,
            next_token,
            streams: self.streams.saved(),
            leases: self.leases.clone(),
            lifetime: self.lifetime.clone(),
            operator: self.operator.saved(),
        }
    }

    /// Continues with the state of another program.
    pub(super) fn restore(mut state: &File) -> Result<Self, Box<dyn Error>> {
        new_program::show_name();
        let mut bytes = Vec::new();
        state.read_to_end(&mut bytes)?;
        let (reactor, saved) = SavedServer::read(&bytes, Instant::now())?;
        drop(bytes);
        let restored = runtime::saved_reactor::restore(reactor)?;
        drop(take_kept(saved.program_file)?);
        let instance = InstanceLock::restore(&saved.instance, &saved.options.place)?;
        let program = OsStr::from_bytes(&saved.program).into();
        let precedence = Precedence::of(&saved.options, saved.known);
        let mut server = Self::new(saved.options, program, instance, saved.http.take()?, precedence)?;
        if let Some(hub) = saved.hub {
            server.current.restore(hub, &restored)?;
        }
        server.streams = Streams::restore(saved.streams, &restored);
        (server.leases, server.lifetime) = (saved.leases, saved.lifetime);
        server.operator = Operator::restore(saved.operator);
        server.restore_peers(saved.peers, saved.next_token, saved.protocol == protocol::version())?;
        server.answer_after_upgrade(&saved.requesters);
        Ok(server)
    }

    fn restore_peers(
        &mut self,
        saved: Vec<SavedPeer>,
        next_token: u64,
        speak_this: bool,
    ) -> Result<(), Box<dyn Error>> {
        self.peers = Peers::after(next_token);
        for peer in saved {
            let is_rejected = (peer.is_greeted || peer.held.is_some()) && !speak_this;
            let token = self.peers.restore(peer, self.sources.epoll())?;
            if is_rejected {
                self.end_peer(token, End::Rejected); // it reconnects, and receives why that fails
            }
        }
        Ok(())
    }

    /// Sends what workers wait for after an upgrade.
    fn answer_after_upgrade(&mut self, requesters: &[u64]) {
        let now = Instant::now();
        requesters.iter().for_each(|token| self.peers.answer(*token, &Response::Upgraded));
        for (token, response) in self.streams.owed_states() {
            self.peers.answer(token, &response);
        }
        self.peers.resume(now);
        self.flush_responses(now);
    }
}

/// Tries whether there is memory for what the server saves: less than the reactor's part, as a rule. An allocation that fails
/// would end the process.
fn try_memory(size: usize) -> Result<(), String> {
    let tried = Vec::<u8>::new().try_reserve_exact(size.max(LEAST_MEMORY));
    tried.map_err(|error| format!("cannot save the state: {error}"))
}

/// Says why a state cannot be saved, and the remedy if it is a limit.
fn cannot_save(error: io::Error) -> String {
    let is_limit = error.kind() == io::ErrorKind::FileTooLarge;
    let remedy = format!("; prlimit --fsize=unlimited --pid {} raises the limit", std::process::id());
    format!("cannot save the state: {error}{}", if is_limit { &remedy } else { "" })
}

/// The state that another program needs to continue, beside that of the reactor.
#[derive(Debug)]
pub struct SavedServer {
    /// The version of the protocol that the workers speak.
    protocol: u16,
    requesters: Vec<u64>,
    options: RunOptions,
    known: NamedSettings,
    /// The path of the new program, and the descriptor with which it was run.
    program: Box<[u8]>,
    program_file: i32,
    instance: SavedInstanceLock,
    http: SavedSockets,
    hub: Option<SavedServed>,
    peers: Vec<SavedPeer>,
    next_token: u64,
    streams: SavedStreams,
    leases: Leases,
    lifetime: Lifetime,
    operator: SavedOperator,
}

saved!(SavedServer {
    protocol,
    requesters,
    options,
    known,
    program,
    program_file,
    instance,
    http,
    hub,
    peers,
    next_token,
    streams,
    leases,
    lifetime,
    operator
});

impl SavedServer {
    /// Reads a state: what the reactor holds, and everything else.
    pub fn read(bytes: &[u8], now: Instant) -> Result<(runtime::saved_reactor::State, Self), Malformed> {
        let mut restorer = new_program::read_state(bytes, now)?;
        let both = restorer.take()?;
        restorer.end()?;
        Ok(both)
    }

    /// Checks that this program was built with the store of the hub. Fails with the reason.
    pub fn check_store(&self) -> Result<(), String> {
        self.hub.as_ref().map_or(Ok(()), SavedServed::check_store)
    }

    /// Returns the numbers of all descriptors.
    fn numbers(&self) -> impl Iterator<Item = i32> + '_ {
        let own = [self.instance.listener, self.instance.lock];
        own.into_iter().chain(self.http.numbers()).chain(self.peers.iter().flat_map(SavedPeer::numbers))
    }
}

#[cfg(all(test, debug_assertions))]
mod tests;
