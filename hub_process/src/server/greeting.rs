//! The first message of a connection: a greeting, which may begin the hub, or a control request of a command.

use super::Server;
use crate::peers::{End, MAX_PEERS};
use crate::process_log::log_message;
use crate::protocol;
use crate::served_hub::CurrentHub;
use crate::store::check_place;
use crate::stored_hub::not_begun;
use eventsource_xs::wire::{
    Failure, Frame, Hello, Name, NamedSettings, Response, Role, Stop, Upgrade, Welcome, WorkerId, WINDOW_BYTES,
};
use eventsource_xs::ErrorCode;
use std::time::Instant;

/// Carries out a message of a connection that has not greeted.
pub(super) fn carry_out(server: &mut Server, from: u64, frame: Frame<'_>, now: Instant) -> Result<(), End> {
    let Server { options, control, .. } = server;
    let taken = match (Upgrade::decode(frame), Stop::decode(frame)) {
        (Some(upgrade), _) => control.upgrade(Some(from), upgrade.program),
        // The connection of the command that asks ends with the process, at the end of this turn.
        (_, Some(stop)) if stop.is_replaced && !options.is_started => {
            Err(Failure::new(ErrorCode::Refused, None, "this process was run itself"))
        }
        (_, Some(stop)) => check_name(&options.name, stop.name).map(|()| {
            if stop.is_replaced {
                let pid = server.peers.get_mut(from).and_then(|peer| peer.process());
                log_message(&format!("ends: process {} was run for the hub", pid.unwrap_or(0)));
            }
            control.stop(stop.is_replaced);
        }),
        _ => greet(server, from, frame, now),
    };
    taken.map_err(|failure| {
        server.peers.answer(from, &Response::Rejected(failure));
        End::Rejected
    })
}

fn check_name(name: &Name, given: &str) -> Result<(), Failure> {
    if given != name.as_str() {
        let message = format!("this is the hub process {name}, not {given}");
        return Err(Failure::new(ErrorCode::Invalid, Some("name"), &message));
    }
    Ok(())
}

fn greet(server: &mut Server, from: u64, frame: Frame<'_>, now: Instant) -> Result<(), Failure> {
    let hello = Hello::decode(frame, protocol::version())?;
    check_name(&server.options.name, hello.name.as_str())?;
    greet_as(server, from, hello.role, now)
}

/// Carries out the greetings that were held, if no worker is left, or if they have waited long enough: these are refused.
pub(super) fn greet_waiting(server: &mut Server, now: Instant) {
    let is_free = server.workers() == 0;
    if !is_free && !server.peers.is_sweep_due(now) {
        return;
    }
    for token in server.peers.take_waiting(|peer| !peer.is_greeted && (is_free || peer.has_waited(now))) {
        let settings = server.peers.get_mut(token).and_then(|peer| peer.greeting.take());
        let greeted = settings.map_or(Ok(()), |settings| greet_as(server, token, Role::Worker(settings), now));
        greeted.unwrap_or_else(|failure| server.reject(token, failure, now));
    }
}

fn greet_as(server: &mut Server, from: u64, role: Role, now: Instant) -> Result<(), Failure> {
    let show_channel = match role {
        Role::Command => {
            take_settings(server, &NamedSettings::default())?;
            // Its welcome says how the hub shows channels.
            server.current.hub.as_ref().and_then(|hub| hub.settings.show_channel)
        }
        Role::Worker(settings) => {
            let may_wait = server.peers.get_mut(from).is_some_and(|peer| !peer.has_waited(now));
            let show_channel = settings.show_channel.flatten();
            // At a deployment the workers of before are about to leave.
            let waits = may_wait && server.current.has_other_store_claimed(&settings);
            if waits || !take_settings(server, &settings)? {
                server.peers.wait_with_greeting(from, settings, now);
                return Ok(());
            }
            add_worker(server, from);
            show_channel
        }
        Role::Calls(of) => {
            add_calls(server, from, of)?;
            server.peers.get_mut(of.number).and_then(|worker| worker.show_channel)
        }
    };
    let Server { peers, current, .. } = server;
    if let Some(peer) = peers.get_mut(from) {
        (peer.is_greeted, peer.show_channel) = (true, show_channel);
    }
    if current.is_beginning() {
        peers.wait_for_hub(from, now);
        return Ok(());
    }
    let welcome = welcome(current, from)?;
    peers.answer(from, &welcome);
    Ok(())
}

/// Takes the settings that a worker names; a command names none. The first call creates the hub. Returns false if the process
/// restarts for them: the greeting waits for that. Nothing happens if the next store obviously cannot begin.
fn take_settings(server: &mut Server, given: &NamedSettings) -> Result<bool, Failure> {
    let wanted = server.current.wanted(given.clone())?;
    match server.current.hub.as_mut().map(|hub| hub.adopt(&wanted)) {
        None => {
            server.current.begin(&wanted)?;
            server.follow_beginning();
        }
        Some(true) => {}
        Some(false) => {
            check_place(&wanted.all.store).map_err(Failure::unavailable)?;
            server.wanted.get_or_insert(wanted);
            return Ok(false);
        }
    }
    server.lifetime.adopt(&wanted.all);
    server.current.precedence.remember(&wanted.named);
    Ok(true)
}

/// Counts a worker. Where none was, those that were drained have gone.
fn add_worker(server: &mut Server, token: u64) {
    if server.workers() == 0 {
        if let Some(hub) = &mut server.current.hub {
            hub.end_drain();
        }
    }
    server.peers.add_worker(token);
}

/// Takes a connection for calls of a worker. It can do with one.
fn add_calls(server: &mut Server, calls: u64, of: WorkerId) -> Result<(), Failure> {
    let refused = |why: &str| Err(Failure::unavailable(why));
    let peers = &server.peers;
    if of.process != std::process::id() || !peers.may_have_calls(of.number) {
        return refused("the worker is not connected to this process");
    }
    let has_one = peers.calls_of(of.number).next().is_some();
    if has_one && peers.len() > server.descriptors().for_peers().min(MAX_PEERS) / 2 {
        return refused("half of the connections that this process may have are in use");
    }
    server.peers.add_calls(of.number, calls);
    Ok(())
}

/// Returns the welcome of a peer, by its number.
pub(super) fn welcome(current: &CurrentHub, number: u64) -> Result<Response<'static>, Failure> {
    let (Some(hub), Some(epoch)) = (current.hub.as_ref(), current.epoch().map(Into::into)) else {
        return Err(not_begun());
    };
    let (name, pid, credits) = (current.precedence.place.name().clone(), std::process::id(), WINDOW_BYTES);
    Ok(Response::Welcome(Box::new(Welcome { name, pid, number, epoch, settings: hub.settings.clone(), credits })))
}
