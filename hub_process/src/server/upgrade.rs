//! Continuing as another program: what is saved of the server, and how the server of the new program begins.

use super::{Server, STORE_LINGER};
use crate::hub::{Hub, Source};
use crate::inherited::{take_kept, SavedSeat, Seat};
use crate::leases::Leases;
use crate::lifetime::Lifetime;
use crate::messages::say;
use crate::new_program::{self, Program};
use crate::peer::{End, Peer, SavedPeer};
use crate::protocol;
use crate::run_options::RunOptions;
use crate::store::check_built;
use crate::stored_hub::{LastDelivered, SavedStored, StoredHub};
use crate::streams::{SavedStreams, Streams};
use crate::streams_ahead::StreamAhead;
use eventsource_xs::histogram::Histogram;
use eventsource_xs::runtime;
use eventsource_xs::runtime::saved_reactor::SavedHub;
use eventsource_xs::saved;
use eventsource_xs::saved::{Malformed, Restorer};
use eventsource_xs::wire::{Answer, Failure, HubSettings, NamedSettings, Upgrade};
use eventsource_xs::ErrorCode;
use std::convert::Infallible;
use std::error::Error;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Instant;

/// An upgrade that was asked for.
pub(super) struct Upgrading {
    /// The connections that are to be answered; none if a signal has asked.
    askers: Vec<u64>,
    program: PathBuf,
}

impl Server {
    /// Takes note of a signal: the process is to continue as the program that is installed now.
    pub(super) fn upgrade_to_installed(&mut self) {
        let installed = || Upgrading { askers: Vec::new(), program: self.program.clone() };
        self.upgrading.get_or_insert_with(installed);
    }

    /// Takes note of an upgrade, which follows when all workers have had their turn.
    pub(super) fn ask_for_upgrade(&mut self, peer: &mut Peer, upgrade: Upgrade<'_>) -> Result<(), End> {
        let program = upgrade.program.map_or(self.program.clone(), |path| OsStr::from_bytes(path).into());
        let failure = if self.is_ending {
            Failure::new(ErrorCode::Unavailable, None, "the process ends")
        } else if program.is_relative() {
            Failure::new(ErrorCode::Invalid, Some("program"), "the path of the program must be absolute")
        } else {
            let upgrading = self.upgrading.get_or_insert(Upgrading { askers: Vec::new(), program: program.clone() });
            if upgrading.program == program {
                upgrading.askers.push(peer.token());
                return Ok(());
            }
            let message = format!("the process continues as {} already", upgrading.program.display());
            Failure::new(ErrorCode::Unavailable, None, &message)
        };
        peer.answer(&Answer::Rejected(failure));
        Err(End::Rejected)
    }

    /// Continues as another program. Returns only if that fails; then the process continues as it is, and the askers are told
    /// why.
    pub(super) fn upgrade(&mut self, upgrading: &Upgrading) {
        let Err(message) = self.try_upgrade(upgrading);
        say(&format!("no upgrade: {message}"));
        for token in &upgrading.askers {
            let Some(mut peer) = self.peers.remove(token) else { continue };
            peer.answer(&Answer::Rejected(Failure::new(ErrorCode::Unsupported, None, &message)));
            let _ = peer.flush(&self.epoll, Instant::now());
            self.end_peer(peer, End::Rejected);
        }
    }

    fn try_upgrade(&mut self, Upgrading { askers, program }: &Upgrading) -> Result<Infallible, String> {
        let program = Program::open(program)?;
        program.check(None)?;
        self.end_store()?;
        let gone_on = self.go_on_as(askers, &program);
        if let Some(stored) = self.stored() {
            let restarted = stored.restart();
            restarted
                .and_then(|()| self.watch_store())
                .map_err(|error| format!("the store cannot begin anew: {error}"))?;
        }
        gone_on
    }

    /// Ends the store, with which the new program continues: its file is locked as long as one of its threads is there.
    fn end_store(&mut self) -> Result<(), String> {
        let Some(stored) = self.stored() else { return Ok(()) };
        if !stored.is_ready() {
            return Err("the hub's store has not begun".to_owned());
        }
        if stored.has_waiting() && !stored.status().is_up {
            return Err(
                "events wait for the hub's store, which is down, and would be lost: try again when it is up".to_owned()
            );
        }
        stored.check_place()?;
        let (progress, has_ended) = stored.pause(STORE_LINGER);
        self.answer_progress(progress, Instant::now());
        if !has_ended {
            let within = STORE_LINGER.as_secs();
            return Err(format!("the hub's store has not ended within {within} seconds: try again when it answers"));
        }
        self.unwatch_store();
        Ok(())
    }

    fn go_on_as(&mut self, askers: &[u64], program: &Program) -> Result<Infallible, String> {
        let paused = runtime::saved_reactor::pause().map_err(|error| error.to_string())?;
        self.report_ends(); // from here on every stream here is one of the reactor, too
        self.report_progress();
        self.take_announced();
        self.send_log();
        let now = Instant::now();
        let saved = self.saved(askers, program);
        let descriptors: Vec<i32> = saved.numbers().chain(paused.descriptors.iter().copied()).collect();
        let mut state = new_program::begin_state(now);
        state.add_bytes(&paused.state);
        state.add(&saved);
        let failed = |error: std::io::Error| format!("cannot save the state: {error}");
        let state = new_program::state_file(&state.into_bytes()).map_err(failed)?;
        program.check(Some(&state))?;
        Err(program.go_on(&state, &descriptors, &self.options.place))
    }

    /// Returns what another program needs to continue, beside what the reactor holds.
    fn saved(&self, askers: &[u64], program: &Program) -> SavedServer {
        let hub = self.hub.as_ref().and_then(|served| {
            Some(SavedServed {
                handle: served.handle()?.saved()?,
                settings: served.settings.clone(),
                claimed: served.claimed.clone(),
                stored: match &served.source {
                    Source::Own(_) => None,
                    Source::Stored(stored) => Some(stored.saved()?),
                },
            })
        });
        SavedServer {
            protocol: protocol::version(),
            askers: askers.into(),
            options: self.options.clone(),
            known: self.known.clone(),
            program: program.path().as_os_str().as_bytes().into(),
            program_file: program.number(),
            seat: self.seat.saved(),
            hub,
            peers: self.peers.values().map(Peer::saved).collect(),
            next_token: self.next_token,
            streams: self.streams.saved(),
            ahead: self.ahead.values().cloned().collect(),
            leases: self.leases.clone(),
            lifetime: self.lifetime.clone(),
            cut_off: self.cut_off,
            store_wait: self.store_wait,
            started: self.started,
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
        let seat = Seat::restore(&saved.seat, &saved.options.place)?;
        let program = OsStr::from_bytes(&saved.program).into();
        let mut server = Self::new(saved.options, program, seat, saved.known)?;
        if let Some(SavedServed { handle, settings, claimed, stored }) = saved.hub {
            let handle = restored.hub(handle);
            let source = match stored {
                None => Source::Own(handle),
                Some(stored) => Source::Stored(Box::new(StoredHub::restore(
                    stored,
                    &settings,
                    server.options.place.name(),
                    LastDelivered::open(&server.options.place.seen()),
                    handle,
                )?)),
            };
            server.hub = Some(Hub { settings, claimed, source });
            server.watch_store()?;
        }
        server.streams = Streams::restore(saved.streams, &restored);
        server.ahead = saved.ahead.into_iter().map(|ahead| (ahead.stream, ahead)).collect();
        (server.leases, server.started) = (saved.leases, saved.started);
        (server.next_token, server.lifetime, server.cut_off) = (saved.next_token, saved.lifetime, saved.cut_off);
        server.store_wait = saved.store_wait;
        for peer in saved.peers {
            let speaks_other_version = peer.is_greeted && saved.protocol != protocol::version();
            let peer = Peer::restore(peer, &server.epoll)?;
            server.kept.add(&peer);
            match speaks_other_version {
                true => server.end_peer(peer, End::Rejected), // it connects anew, and is told why that fails
                false => {
                    server.publishers.extend(peer.publishes_for.map(|first| (first, peer.token())));
                    server.peers.insert(peer.token(), peer);
                }
            }
        }
        server.answer_after_upgrade(&saved.askers);
        Ok(server)
    }

    /// Sends what workers wait for after an upgrade.
    fn answer_after_upgrade(&mut self, askers: &[u64]) {
        for token in askers {
            if let Some(peer) = self.peers.get_mut(token) {
                peer.answer(&Answer::Upgraded);
            }
        }
        for (token, answer) in self.streams.owed_states() {
            if let Some(peer) = self.peers.get_mut(&token) {
                peer.answer(&answer);
            }
        }
        self.answered = self.peers.keys().copied().collect();
        self.sweep = Some(Instant::now());
        self.flush_answers(Instant::now());
    }
}

/// The state that another program needs to continue, beside that of the reactor.
#[derive(Debug)]
pub struct SavedServer {
    /// The version of the protocol that the workers speak.
    protocol: u16,
    askers: Vec<u64>,
    options: RunOptions,
    known: NamedSettings,
    /// The path of the new program, and the descriptor with which it was run.
    program: Box<[u8]>,
    program_file: i32,
    seat: SavedSeat,
    hub: Option<SavedServed>,
    peers: Vec<SavedPeer>,
    next_token: u64,
    streams: SavedStreams,
    ahead: Vec<StreamAhead>,
    leases: Leases,
    lifetime: Lifetime,
    cut_off: u64,
    store_wait: Histogram,
    started: Instant,
}

saved!(SavedServer {
    protocol,
    askers,
    options,
    known,
    program,
    program_file,
    seat,
    hub,
    peers,
    next_token,
    streams,
    ahead,
    leases,
    lifetime,
    cut_off,
    store_wait,
    started
});

/// The state that another program needs to continue with the hub.
#[derive(Debug)]
struct SavedServed {
    handle: SavedHub,
    settings: HubSettings,
    claimed: NamedSettings,
    stored: Option<SavedStored>,
}

saved!(SavedServed { handle, settings, claimed, stored });

impl SavedServer {
    /// Reads a state: what the reactor holds, and everything else.
    pub fn read(bytes: &[u8], now: Instant) -> Result<(runtime::saved_reactor::State, Self), Malformed> {
        let mut restorer = new_program::read_state(bytes, now)?;
        let mut reactor = Restorer::new(restorer.take_bytes()?, now);
        let both = (reactor.take()?, restorer.take()?);
        reactor.end()?;
        restorer.end()?;
        Ok(both)
    }

    /// Checks that this program was built with the store of the hub. Fails with the reason.
    pub fn check_store(&self) -> Result<(), String> {
        self.hub.as_ref().map_or(Ok(()), |hub| check_built(&hub.settings.store))
    }

    /// Returns the numbers of all descriptors.
    fn numbers(&self) -> impl Iterator<Item = i32> + '_ {
        let own = [self.seat.listener, self.seat.lock];
        own.into_iter().chain(self.peers.iter().flat_map(SavedPeer::numbers))
    }
}

/// Returns the path that this program has been started from, even if another file is there now.
pub(super) fn own_program() -> std::io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    let kept = path.as_os_str().as_bytes().strip_suffix(b" (deleted)").map(OsStr::from_bytes);
    Ok(kept.map_or_else(|| path.clone(), PathBuf::from))
}
