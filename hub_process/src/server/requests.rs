//! The requests of workers and commands that have greeted: a function for each, which says what it may touch, and the table.

use super::Server;
use crate::descriptors::Descriptors;
use crate::leases::{Candidate, Leases};
use crate::operator_log::Operator;
use crate::peers::{End, Peer, Peers};
use crate::publishing::{failure_of, Published, Requester};
use crate::served_hub::ServedHub;
use crate::stored_hub::EndedCount;
use crate::streams::{HeldStream, Opener, Streams};
use eventsource_xs::codec;
use eventsource_xs::hub::{Answer, EndRequest, LogPage, Publication, Question, SubscribeRequest};
use eventsource_xs::runtime;
use eventsource_xs::stream::Reason;
use eventsource_xs::wire::{Counted, Described, Failure, Fields, Frame, Open, Request, Response, MAX_FRAME_BYTES};
use eventsource_xs::ErrorCode;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// The bytes of a message beside those of a page's only event.
const OVERHEAD: usize = 4096;

/// Carries out a request: the table.
pub(super) fn carry_out(server: &mut Server, from: u64, frame: Frame<'_>, now: Instant) -> Result<(), End> {
    let descriptors = server.descriptors();
    let Server { peers, streams, leases, current, operator, listening, .. } = server;
    let hub = current.hub_mut();
    let peer = peers.get_mut(from).ok_or(End::Closed)?;
    match Request::decode(frame).map_err(|_| End::Malformed)? {
        Request::Publish { request, publication } => {
            let requester = Requester { peer: from, request, bytes: frame.wire_bytes(), since: Some(now) };
            publish(peers, hub, operator, publication, requester, now)
        }
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
            server.ask(Question::Count { channel: channel.into() }, now, move |server, answer, _| {
                let counted = counted(server, request, answer).map(|counted| Response::Counted(Box::new(counted)));
                server.peers.answer_with(from, |peer| _ = respond(peer, request, counted));
            });
            Ok(())
        }
        Request::EndStreams { request, end } => end_streams(server, (from, request), end, now),
        Request::BackUp { request, path } => {
            let requester = Requester { peer: from, request, bytes: 0, since: None };
            let asked = hub.ok_or_else(not_begun).and_then(|hub| hub.back_up(path, requester));
            respond(peer, request, asked.map(|()| None))
        }
        Request::Drain { within } => drain(hub.as_deref(), within),
        Request::Channels { request, pattern, from: place } => {
            let pattern = Some(pattern).filter(|pattern| !pattern.is_empty()).map(Into::into);
            ask(server, (from, request), Question::Channels { pattern, from: place }, now, move |_, answer, _| {
                Ok(Response::Channels { request, page: answer.channels() })
            })
        }
        Request::Describe { request } => {
            let described = describe(peers, operator, request, now);
            peers.answer(from, &described);
            Ok(())
        }
        Request::Elect { lease, name } => elect(peer, leases, lease, name),
        Request::Members { request, channel, after } => {
            let (channel, after) = (Box::<[u8]>::from(channel), after.map(Box::<[u8]>::from));
            ask(server, (from, request), Question::reports(), now, move |hub, _, _| {
                Ok(Response::Members { request, page: hub.member_page(&channel, after.as_deref())? })
            })
        }
        Request::ReadLog { request, channel, range } => {
            let question = Question::ReadLog { channel: channel.into(), range };
            ask(server, (from, request), question, now, move |_, answer, _| {
                fitting(answer.log()).map(|page| Response::LogPage { request, page })
            })
        }
        Request::CountRefusedOrigin => {
            runtime::count_refused_origin();
            Ok(())
        }
        Request::CountMembers { request, channel } => {
            let channel = Box::<[u8]>::from(channel);
            ask(server, (from, request), Question::reports(), now, move |hub, _, _| {
                Ok(Response::Number { request, number: hub.count_members(&channel)? as u64 })
            })
        }
        Request::Reserve { request, label, most } => {
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let question = Question::Reserve { label: label.into(), most };
            ask(server, (from, request), question, now, move |_, answer, _| {
                Ok(Response::Number { request, number: answer.number() as u64 })
            })
        }
        Request::SealTicket { request, mut ticket, valid_for, most } => {
            ticket.passport = ticket.passport.filter(|_| listening.has_streams());
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let sealed = hub.ok_or_else(not_begun).and_then(|hub| hub.seal_ticket(ticket, valid_for, most));
            respond_ticket(peer, request, sealed)
        }
        Request::OpenTicket { request, sealed, binding } => {
            let unseal = |hub: &mut ServedHub| hub.unseal_ticket(sealed, |ticket| *ticket.binding == *binding);
            let opened = match hub.ok_or_else(not_begun).and_then(unseal) {
                Ok(opened) => opened.map(Box::new),
                Err(failure) => return respond(peer, request, Err::<Option<_>, _>(failure)),
            };
            server.ask(Question::Admit { opened, counts_refusal: true }, now, move |server, answer, _| {
                let ticket = answer.map(|answer| answer.admitted().map(|ticket| codec::encode(&ticket)));
                server.peers.answer_with(from, |peer| _ = respond_ticket(peer, request, ticket));
            });
            Ok(())
        }
        Request::UpdateMember { request, channel, id, data, event } => {
            let checked =
                hub.as_ref().map_or(Ok(()), |hub| hub.check_member((channel, id), &data, &event, peer.show_channel));
            if let Err(failure) = checked {
                return respond(peer, request, Err::<Option<_>, _>(failure));
            }
            let (channel, id) = (Box::<[u8]>::from(channel), Box::<[u8]>::from(id));
            ask(server, (from, request), Question::reports(), now, move |hub, _, now| {
                let is_here = hub.update_member((&channel, &id), data, event, now)?;
                Ok(Response::Number { request, number: is_here.into() })
            })
        }
        Request::Resign { lease } => {
            announce_holders(peers, leases.resign(Candidate { peer: from, lease }));
            Ok(())
        }
        Request::Mark { number, has_publishes } => {
            let (all, publishes) = peer.marks; // threads may send theirs in another order
            peer.marks = (all.max(number), if has_publishes { publishes.max(number) } else { publishes });
            Ok(())
        }
        Request::After { mark } => {
            peer.after = mark;
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
    match socket.and_then(|socket| HeldStream::open(open, b"", socket, opener, most)) {
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

/// Returns what the hub, as far as it has begun, and the process have, when the hub in the reactor has counted.
pub(super) fn counted(server: &Server, request: u64, answer: Result<Answer, Failure>) -> Result<Counted, Failure> {
    let Server { current, peers, operator, .. } = server;
    let (counts, subscribers) = match answer {
        Err(_) if current.handle().is_none() => Default::default(),
        answer => *answer?.counted(),
    };
    let hub = current.hub().map_or(Ok(counts), |hub| hub.complete_counts(counts));
    Ok(Counted {
        request,
        hub: hub?,
        subscribers: subscribers as u64,
        workers: peers.count() as u64,
        streams: runtime::stats(),
        times: operator.times(),
        cut_off: operator.cut_off(),
        started_at: operator.started_at,
        store: current.store_status(),
    })
}

/// Ends streams of the hub. There is no response yet if that waits for the store.
fn end_streams(server: &mut Server, (from, request): (u64, u64), end: EndRequest, now: Instant) -> Result<(), End> {
    let requester = Requester { peer: from, request, bytes: 0, since: None };
    let question = Question::EndStreams { request: Box::new(end.clone()), at: runtime::monotonic() };
    let ended = EndedCount::default();
    let noted = server.current.hub_mut().ok_or_else(not_begun);
    let noted = noted.and_then(|hub| hub.end_streams(end, requester, Rc::clone(&ended)));
    server.ask(question, now, move |server, answer, _| {
        let count = answer.map(Answer::number);
        ended.set(Some(*count.as_ref().unwrap_or(&0)));
        let response = match noted {
            Ok(true) => return, // the store's answer follows
            Ok(false) => count.map(|count| Response::StreamsEnded { request, count: count as u64 }),
            Err(failure) => Err(failure),
        };
        server.peers.answer_with(from, |peer| _ = respond(peer, request, response));
    });
    Ok(())
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

/// Asks the hub in the reactor, and answers the request of a peer when it has answered.
fn ask(
    server: &mut Server,
    (from, request): (u64, u64),
    question: Question,
    now: Instant,
    response: impl FnOnce(&mut ServedHub, Answer, Instant) -> Result<Response<'static>, Failure> + 'static,
) -> Result<(), End> {
    server.ask(question, now, move |server, answer, now| {
        let hub = server.current.hub_mut().ok_or_else(not_begun);
        let response = hub.and_then(|hub| response(hub, answer?, now));
        server.peers.answer_with(from, |peer| _ = respond(peer, request, response));
    });
    Ok(())
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
