//! The requests of workers and commands that have greeted: a function for each, which says what it may touch, and the table.

use super::Server;
use crate::current_hub::CurrentHub;
use crate::descriptors::Descriptors;
use crate::leases::{Candidate, Leases};
use crate::operator_log::Operator;
use crate::peers::{End, Peer, Peers};
use crate::publishing::{failure_of, Published, Requester};
use crate::served_hub::ServedHub;
use crate::streams::{HeldStream, Opener, Streams};
use eventsource_xs::hub::{EndRequest, LogPage, Publication, SubscribeRequest};
use eventsource_xs::runtime::{self, HubHandle};
use eventsource_xs::stream::Reason;
use eventsource_xs::ticket;
use eventsource_xs::wire::{Counted, Described, Failure, Fields, Frame, Open, Request, Response, MAX_FRAME_BYTES};
use eventsource_xs::ErrorCode;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// The bytes of a message beside those of a page's only event.
const OVERHEAD: usize = 4096;

/// Carries out a request: the table.
pub(super) fn carry_out(server: &mut Server, from: u64, frame: Frame<'_>, now: Instant) -> Result<(), End> {
    let descriptors = server.descriptors();
    let Server { peers, streams, leases, current, operator, listening, .. } = server;
    let hub = current.hub_mut();
    let workers = peers.count();
    let peer = peers.get_mut(from).ok_or(End::Closed)?;
    match Request::decode(frame).map_err(|_| End::Malformed)? {
        Request::Publish { request, publication } => {
            let requester = Requester { peer: from, request, bytes: frame.wire_bytes(), since: Some(now) };
            publish(peers, hub, operator, publication, requester, now)
        }
        _ if peer.is_publisher() => Err(End::Malformed), // a publish connection only publishes
        Request::Open(open) => open_with_socket(peer, streams, hub.as_deref(), &open),
        Request::OpenWithoutSocket(open) => open_without_socket(peer, streams, hub.as_deref(), &open, descriptors),
        Request::Attach { stream } => attach(peer, streams, stream),
        Request::Push { stream, event, has_id } => {
            with_stream(peer, streams, stream, |stream| stream.push(event, has_id))
        }
        Request::Subscribe { request, stream, subscription } => {
            let id = peer.streams.get(&stream).copied();
            let checked = hub.as_ref().map_or(Ok(()), |hub| hub.check(&subscription.presence, peer.show_channel));
            let subscribed = checked.and_then(|()| subscribe(hub, operator, streams, id, subscription, now));
            respond(peer, request, subscribed.map(|()| done(request)))
        }
        Request::Begin { stream } => with_stream(peer, streams, stream, HeldStream::begin),
        Request::End { stream, reason, discards } => {
            with_stream(peer, streams, stream, |stream| stream.end(reason, discards))
        }
        Request::Release { stream } => release(peer, streams, stream),
        Request::Count { request, channel } => {
            let counted = count(current, operator, workers, (request, channel), now);
            respond(peer, request, counted.map(|counted| Response::Counted(Box::new(counted))))
        }
        Request::EndStreams { request, end } => {
            let requester = Requester { peer: from, request, bytes: 0, since: None };
            respond(peer, request, end_streams(hub, end, requester))
        }
        Request::BackUp { request, path } => {
            let requester = Requester { peer: from, request, bytes: 0, since: None };
            let asked = hub.ok_or_else(not_begun).and_then(|hub| hub.back_up(path, requester));
            respond(peer, request, asked.map(|()| None))
        }
        Request::Drain { within } => drain(hub.as_deref(), within),
        Request::Channels { request, pattern, from } => {
            let pattern = Some(pattern).filter(|pattern| !pattern.is_empty());
            let page = ask(hub.as_deref(), |hub| hub.channel_page(pattern, from));
            respond(peer, request, page.map(|page| Response::Channels { request, page }))
        }
        Request::Describe { request } => {
            let described = describe(peers, operator, request, now);
            peers.answer(from, &described);
            Ok(())
        }
        Request::Elect { lease, name } => elect(peer, leases, lease, name),
        Request::Members { request, channel, after } => {
            let page = ask_hub(hub, |hub| hub.member_page(channel, after, now));
            respond(peer, request, page.map(|page| Response::Members { request, page }))
        }
        Request::ReadLog { request, channel, range } => {
            let page = ask(hub.as_deref(), |hub| hub.log_page(channel, range)).and_then(fitting);
            respond(peer, request, page.map(|page| Response::LogPage { request, page }))
        }
        Request::CountRefusedOrigin => {
            runtime::count_refused_origin();
            Ok(())
        }
        Request::CountMembers { request, channel } => {
            let number = ask_hub(hub, |hub| hub.count_members(channel, now));
            respond(peer, request, number.map(|number| Response::Number { request, number: number as u64 }))
        }
        Request::Reserve { request, label, most } => {
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let is_granted = ask(hub.as_deref(), |hub| hub.reserve(label, most));
            respond(peer, request, is_granted.map(|is_granted| Response::Number { request, number: is_granted.into() }))
        }
        Request::SealTicket { request, mut ticket, valid_for, most } => {
            ticket.passport = ticket.passport.filter(|_| listening.has_streams());
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let sealed = hub.ok_or_else(not_begun).and_then(|hub| hub.seal_ticket(ticket, valid_for, most));
            respond_ticket(peer, request, sealed)
        }
        Request::OpenTicket { request, sealed, binding } => {
            let opened = hub.ok_or_else(not_begun).and_then(|hub| hub.open_ticket(sealed, binding));
            respond_ticket(peer, request, opened.map(|opened| opened.map(|ticket| ticket::encode(&ticket))))
        }
        Request::UpdateMember { request, channel, id, data, event } => {
            let checked =
                hub.as_ref().map_or(Ok(()), |hub| hub.check_member((channel, id), &data, &event, peer.show_channel));
            let update = |hub: &mut ServedHub| hub.update_member((channel, id), data, event, now);
            let is_here = checked.and_then(|()| ask_hub(hub, update));
            respond(peer, request, is_here.map(|is_here| Response::Number { request, number: is_here.into() }))
        }
        Request::Resign { lease } => {
            announce_holders(peers, leases.resign(Candidate { peer: from, lease }));
            Ok(())
        }
    }
}

/// Publishes an event. If the hub's store has to take it, its credits are granted when that has published it, or
/// failed it.
fn publish(
    peers: &mut Peers,
    hub: Option<&mut ServedHub>,
    operator: &mut Operator,
    publication: Publication<'_, Fields<'_>>,
    requester: Requester,
    now: Instant,
) -> Result<(), End> {
    let Requester { request, bytes, .. } = requester;
    let peer = peers.publishing(requester.peer).ok_or(End::Closed)?;
    peer.spend(bytes)?;
    let channel = publication.channel;
    let publish = |hub: &mut ServedHub| {
        let published = hub.check_form(peer.show_channel).and_then(|()| hub.publish(publication, requester, now))?;
        operator.log_unread(&hub.settings.store, channel, now);
        Ok(published)
    };
    match hub.ok_or_else(not_begun).and_then(publish) {
        Ok(Published::Id(id)) if request > 0 => peer.answer(&Response::Published { request, id: &id }),
        Ok(Published::Id(_)) => {}
        Ok(Published::Waits) => return Ok(()),
        Err(failure) => peer.refuse(request, failure),
    }
    peer.grant(bytes);
    Ok(())
}

fn open_with_socket(
    peer: &mut Peer,
    streams: &mut Streams,
    hub: Option<&ServedHub>,
    open: &Open<'_>,
) -> Result<(), End> {
    let socket = peer.take_socket()?.ok_or(Reason::Error);
    open_stream(peer, streams, open, socket.map(Some), max_streams(hub))
}

/// Opens a stream whose socket comes later. It counts as if it had one.
fn open_without_socket(
    peer: &mut Peer,
    streams: &mut Streams,
    hub: Option<&ServedHub>,
    open: &Open<'_>,
    descriptors: Descriptors,
) -> Result<(), End> {
    open_stream(peer, streams, open, Ok(None), max_streams(hub).min(descriptors.for_streams()))
}

fn max_streams(hub: Option<&ServedHub>) -> usize {
    hub.map_or(usize::MAX, |hub| hub.settings.max_streams)
}

/// Takes over a stream, with its socket if that has come. The socket is closed if that fails, and the worker is sent the
/// stream's end.
fn open_stream(
    peer: &mut Peer,
    streams: &mut Streams,
    open: &Open<'_>,
    socket: Result<Option<OwnedFd>, Reason>,
    most: usize,
) -> Result<(), End> {
    if peer.streams.contains_key(&open.stream) {
        return Err(End::Malformed);
    }
    let opener = Opener { peer: peer.token(), number: open.stream };
    match socket.and_then(|socket| HeldStream::open(open, socket, opener, most)) {
        Ok(stream) => drop(peer.streams.insert(open.stream, streams.insert(stream))),
        Err(reason) => peer.answer(&Response::Ended { stream: open.stream, reason }),
    }
    Ok(())
}

/// Gives a stream its socket, unless it has ended.
fn attach(peer: &mut Peer, streams: &mut Streams, number: u64) -> Result<(), End> {
    let socket = peer.take_socket()?;
    let stream = peer.streams.get(&number).and_then(|id| streams.get_mut(*id));
    stream.map_or(Ok(()), |stream| stream.attach(socket))
}

/// Calls a function with a stream of a peer, unless it has ended.
fn with_stream(
    peer: &Peer,
    streams: &mut Streams,
    number: u64,
    function: impl FnOnce(&mut HeldStream),
) -> Result<(), End> {
    let stream = peer.streams.get(&number).and_then(|id| streams.get_mut(*id));
    if let Some(stream) = stream {
        function(stream);
    }
    Ok(())
}

fn release(peer: &mut Peer, streams: &mut Streams, number: u64) -> Result<(), End> {
    peer.streams.remove(&number).into_iter().for_each(|id| streams.release(id));
    Ok(())
}

/// Subscribes a stream. One that has ended is left alone: its end is reported.
pub(super) fn subscribe(
    mut hub: Option<&mut ServedHub>,
    operator: &mut Operator,
    streams: &mut Streams,
    id: Option<u64>,
    subscription: SubscribeRequest,
    now: Instant,
) -> Result<(), Failure> {
    let after = subscription.after.as_deref();
    if let (Some(stored), Some(id)) = (hub.as_mut().and_then(|hub| hub.stored_mut()), id) {
        if let Some(seq) = stored.seq_ahead(after) {
            streams.wait_for(id, seq, stored.is_proven(after), now);
        }
    }
    operator.note_reader(&subscription.topics);
    let handle = hub.as_ref().and_then(|hub| hub.handle());
    if subscription.presence.member.is_some() {
        operator.log_refused_members(|| hub.as_ref().is_some_and(|hub| hub.has_refused_members()));
    }
    let Some(stream) = id.and_then(|id| streams.get_mut(id)) else { return Ok(()) };
    match handle.filter(|hub| !hub.has_ended()) {
        Some(hub) => hub.subscribe(&mut stream.handle, subscription).map(drop).map_err(|error| failure_of(&error)),
        None => {
            stream.handle.end_with_retry(); // the store begins again
            Ok(())
        }
    }
}

/// Counts what the hub, as far as it has begun, and the process have, and the subscribers of a channel.
pub(super) fn count(
    current: &mut CurrentHub,
    operator: &Operator,
    workers: usize,
    (request, channel): (u64, &[u8]),
    now: Instant,
) -> Result<Counted, Failure> {
    let counted = current.hub_mut().and_then(|hub| hub.counts_and_subscribers(channel, now)).transpose();
    let (counts, subscribers) = counted.map_err(|error| failure_of(&error))?.unwrap_or_default();
    Ok(Counted {
        request,
        hub: counts,
        subscribers: subscribers as u64,
        workers: workers as u64,
        streams: runtime::stats(),
        times: operator.times(),
        cut_off: operator.cut_off(),
        started_at: operator.started_at,
        store: current.store_status(),
    })
}

/// Ends streams of the hub. There is no response yet if that waits for the store.
fn end_streams(
    hub: Option<&mut ServedHub>,
    end: EndRequest,
    requester: Requester,
) -> Result<Option<Response<'static>>, Failure> {
    let ended = hub.ok_or_else(not_begun)?.end_streams(end, requester)?;
    Ok(ended.map(|count| Response::StreamsEnded { request: requester.request, count: count as u64 }))
}

fn drain(hub: Option<&ServedHub>, within: Duration) -> Result<(), End> {
    // Fails only while the process ends, which drains, too.
    let _ = hub.and_then(ServedHub::handle).map(|hub| hub.drain(within));
    Ok(())
}

fn describe(peers: &Peers, operator: &Operator, request: u64, now: Instant) -> Response<'static> {
    let (version, age, workers) = (env!("CARGO_PKG_VERSION").into(), operator.age(now), peers.processes());
    Response::Described(Box::new(Described { request, version, age, workers }))
}

/// Asks the hub, if it has begun.
fn ask_hub<T>(
    hub: Option<&mut ServedHub>,
    ask: impl FnOnce(&mut ServedHub) -> Result<T, runtime::Error>,
) -> Result<T, Failure> {
    let hub = hub.filter(|hub| hub.handle().is_some()).ok_or_else(not_begun)?;
    ask(hub).map_err(|error| failure_of(&error))
}

/// Asks the hub in memory.
fn ask<T>(hub: Option<&ServedHub>, ask: impl FnOnce(&HubHandle) -> Result<T, runtime::Error>) -> Result<T, Failure> {
    let hub = hub.and_then(ServedHub::handle).ok_or_else(not_begun)?;
    ask(hub).map_err(|error| failure_of(&error))
}

/// Refuses a part whose only event has more bytes than a message may have: those of fields, which were sent here, are fewer.
fn fitting(page: LogPage) -> Result<LogPage, Failure> {
    if page.bytes() < MAX_FRAME_BYTES - OVERHEAD {
        return Ok(page);
    }
    let message = "an event of the channel has too many bytes to be read in this way: follow the channel";
    Err(Failure::new(ErrorCode::Full, Some("channel"), message))
}

fn elect(peer: &mut Peer, leases: &mut Leases, lease: u64, name: &[u8]) -> Result<(), End> {
    let candidate = Candidate { peer: peer.token(), lease };
    if leases.contains(candidate) {
        return Err(End::Malformed);
    }
    let elected = leases.elect(candidate, name).map(|is_held| elected(candidate, is_held));
    respond(peer, lease, elected)
}

/// Tells workers that they hold a lease now.
pub(super) fn announce_holders(peers: &mut Peers, holders: impl IntoIterator<Item = Candidate>) {
    holders.into_iter().for_each(|holder| peers.answer(holder.peer, &elected(holder, true)));
}

fn elected(candidate: Candidate, is_held: bool) -> Response<'static> {
    Response::Elected { lease: candidate.lease, is_held }
}

/// Answers a request, or refuses it.
fn respond<'a>(
    peer: &mut Peer,
    request: u64,
    result: Result<impl Into<Option<Response<'a>>>, Failure>,
) -> Result<(), End> {
    match result.map(Into::into) {
        Ok(response) => response.iter().for_each(|response| peer.answer(response)),
        Err(failure) => peer.refuse(request, failure),
    }
    Ok(())
}

/// Answers with a ticket, if there is one.
fn respond_ticket(peer: &mut Peer, request: u64, ticket: Result<Option<Vec<u8>>, Failure>) -> Result<(), End> {
    let response = ticket.as_ref().map(|bytes| Response::Ticket { request, bytes: bytes.as_deref() });
    respond(peer, request, response.map_err(Clone::clone))
}

fn done(request: u64) -> Option<Response<'static>> {
    (request > 0).then_some(Response::Done { request })
}

pub(super) fn not_begun() -> Failure {
    Failure::new(ErrorCode::Unavailable, None, "the hub's store has not begun")
}
