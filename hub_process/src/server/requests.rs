//! The requests of workers and commands that have greeted: a function for each, which says what it may touch, and the table.

use super::Server;
use crate::leases::{Candidate, Leases};
use crate::operator_log::Operator;
use crate::peers::{End, Peer, Peers};
use crate::served_hub::ServedHub;
use crate::stored_hub::{not_begun, EndedCount, Published, Requester};
use crate::streams::{Opener, ServedStream, Streams};
use eventsource_xs::hub::{Access, Answer, EndRequest, Publication, Question, SubscribeRequest};
use eventsource_xs::runtime::{self, Begun};
use eventsource_xs::stream::Reason;
use eventsource_xs::wire::{
    Call, Counted, Described, Failure, Fields, Frame, Open, Reply, Request, Response, MAX_FRAME_BYTES,
};
use eventsource_xs::ErrorCode;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Instant;

/// The bytes of a message beside those of a page's only event.
const OVERHEAD: usize = 4096;

/// Carries out a request: the table.
pub(super) fn carry_out(server: &mut Server, from: u64, frame: Frame<'_>, now: Instant) -> Result<(), End> {
    let descriptors = server.descriptors();
    let Server { peers, streams, leases, current, operator, .. } = server;
    let hub = current.hub.as_mut();
    let max_streams = hub.as_ref().map_or(usize::MAX, |hub| hub.settings.max_streams);
    let peer = peers.get_mut(from).ok_or(End::Closed)?;
    let Ok(decoded) = Request::decode(frame) else {
        let (request, call) = Request::unknown_call(frame).ok_or(End::Malformed)?;
        peer.reply(request, Err(Failure::unknown_call(call, env!("CARGO_PKG_VERSION"))));
        return Ok(());
    };
    match decoded {
        Request::Publish { request, publication } => {
            let requester = Requester { peer: from, request, bytes: frame.wire_bytes(), since: Some(now) };
            publish(peers, hub, operator, publication, requester, now)
        }
        Request::Open(open) => {
            let socket = peer.take_socket()?.ok_or(Reason::Error);
            open_stream(peer, streams, &open, socket.map(Some), max_streams)
        }
        // It counts as if it had a socket.
        Request::OpenWithoutSocket(open) => {
            open_stream(peer, streams, &open, Ok(None), max_streams.min(descriptors.for_streams()))
        }
        Request::Attach { stream } => attach(peer, streams, stream),
        Request::Push { stream, event, has_id } => {
            with_stream(peer, streams, stream, |stream| stream.push(event, has_id))
        }
        Request::Subscribe { request, stream, subscription } => {
            let id = peer.streams.get(&stream).copied();
            let checked = hub.as_ref().map_or(Ok(()), |hub| hub.check(&subscription.presence, peer.show_channel));
            let subscribed = match checked {
                Ok(()) => subscribe(hub, operator, streams, id, subscription, now),
                Err(refusal) => {
                    let handle = hub.as_ref().and_then(|hub| hub.handle());
                    let Access { asked_at, .. } = subscription.access;
                    handle.into_iter().for_each(|hub| hub.free_places(subscription.access.counted_labels(), asked_at));
                    Err(refusal)
                }
            };
            peer.reply(request, subscribed.map(|_| Reply::Done));
            Ok(())
        }
        Request::Begin { stream } => with_stream(peer, streams, stream, ServedStream::begin),
        Request::End { stream, reason, discards } => {
            with_stream(peer, streams, stream, |stream| stream.end(reason, discards))
        }
        Request::Release { stream } => release(peer, streams, stream),
        Request::Call { request, until, .. } if until > 0 && until <= runtime::monotonic() => {
            peer.reply(request, Err(Failure::new(ErrorCode::Timeout, None, "nobody waits for the reply")));
            Ok(())
        }
        Request::Call { request, call, .. } => {
            let requester = Requester { peer: from, request, bytes: 0, since: None };
            carry_out_call(server, requester, call.into_owned(), now);
            Ok(())
        }
        Request::Elect { lease, name } => elect(peer, leases, lease, name),
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

/// Carries out a call: what is not the same for a hub without a name is here.
fn carry_out_call(server: &mut Server, requester: Requester, mut call: Call, now: Instant) {
    let Requester { peer, request, .. } = requester;
    let Server { peers, current, operator, listening, .. } = server;
    let given = peers.get_mut(peer).and_then(|peer| peer.show_channel);
    let hub = current.hub.as_mut().ok_or_else(not_begun);
    if let (Call::SealTicket { ticket, .. }, false) = (&mut call, listening.streams.is_some()) {
        ticket.passport = None; // no client comes here with it
    }
    let begun = match call {
        Call::BackUp { ref path } => match hub.and_then(|hub| hub.back_up(path, requester)) {
            Ok(()) => return, // the store's answer follows
            Err(failure) => Err(failure),
        },
        Call::CountRefusedOrigin => {
            runtime::count_refused_origin();
            Ok(Begun::Replied(Reply::Done))
        }
        Call::Describe => {
            let (version, age, workers) = (env!("CARGO_PKG_VERSION").into(), operator.age(now), peers.processes());
            Ok(Begun::Replied(Reply::Described(Box::new(Described { version, age, workers }))))
        }
        Call::EndStreams(end) => return end_streams(server, requester, end, now),
        Call::Count { channel } => {
            return server.ask(Question::count(channel), now, move |server, answer, now| {
                let counted = counted(server, answer, now).map(|counted| Reply::Counted(Box::new(counted)));
                reply(&mut server.peers, peer, request, counted);
            });
        }
        ref call => hub.and_then(|hub| hub.begin(call, given)),
    };
    match begun {
        Ok(Begun::Asks(question)) => server.ask(question, now, move |server, answer, now| {
            let hub = server.current.hub.as_mut().ok_or_else(not_begun);
            let result = hub.and_then(|hub| hub.complete(call, answer?, now)).and_then(fitting);
            reply(&mut server.peers, peer, request, result);
        }),
        Ok(Begun::Replied(done)) => reply(peers, peer, request, Ok(done)),
        Err(failure) => reply(peers, peer, request, Err(failure)),
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
        Err(failure) => peer.reply(request, Err(failure)),
    }
    peer.grant(bytes);
    Ok(())
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
    let opener = Opener { peer: peer.token, number: open.stream };
    match socket.and_then(|socket| ServedStream::open(open, b"", socket, opener, most)) {
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
    function: impl FnOnce(&mut ServedStream),
) -> Result<(), End> {
    let stream = peer.streams.get(&number).and_then(|id| streams.get_mut(*id));
    if let Some(stream) = stream {
        function(stream);
    }
    Ok(())
}

fn release(peer: &mut Peer, streams: &mut Streams, number: u64) -> Result<(), End> {
    if let Some(id) = peer.streams.remove(&number) {
        streams.release(id);
    }
    Ok(())
}

/// Subscribes a stream that no worker subscribes. If it cannot be, it ends, and its client reconnects. Returns false then.
pub(super) fn subscribe_or_end(
    server: &mut Server,
    id: Option<u64>,
    subscription: SubscribeRequest,
    now: Instant,
) -> bool {
    let Server { current, operator, streams, .. } = server;
    let subscribed = subscribe(current.hub.as_mut(), operator, streams, id, subscription, now);
    if let (Err(_), Some(stream)) = (&subscribed, id.and_then(|id| streams.get_mut(id))) {
        stream.handle.end_with_retry();
    }
    subscribed == Ok(true)
}

/// Subscribes a stream. One that has ended is left alone, because its end is reported: only its places of limits are given
/// back. Returns false then, and if the stream ends because there is no hub.
fn subscribe(
    mut hub: Option<&mut ServedHub>,
    operator: &mut Operator,
    streams: &mut Streams,
    id: Option<u64>,
    mut subscription: SubscribeRequest,
    now: Instant,
) -> Result<bool, Failure> {
    subscription.first_block.shows_channels = hub.as_ref().is_some_and(|hub| hub.settings.shows_channels());
    let after = subscription.after.as_deref();
    if let (Some(stored), Some(id)) = (hub.as_mut().and_then(|hub| hub.stored_mut()), id) {
        if let Some((seq, is_proven)) = stored.seq_ahead(after) {
            streams.wait_for(id, seq, is_proven, now);
        }
    }
    operator.read.note(&subscription.topics);
    let handle = hub.as_ref().and_then(|hub| hub.handle());
    let max_topics = hub.as_ref().map_or(0, |hub| hub.settings.max_topics);
    if subscription.presence.member.is_some() {
        operator.log_refused_members(|| hub.as_ref().is_some_and(|hub| hub.has_refused_members()));
    }
    let stream = id.and_then(|id| streams.get_mut(id));
    let Some(hub) = handle else {
        stream.into_iter().for_each(|stream| stream.handle.end_with_retry()); // the store begins again
        return Ok(false);
    };
    let (places, asked_at) = (subscription.access.counted_labels(), subscription.access.asked_at);
    let subscribed = stream.map_or(Ok(false), |stream| stream.handle.subscribe(hub, subscription, max_topics));
    if !matches!(subscribed, Ok(true)) {
        hub.free_places(places, asked_at);
    }
    subscribed
}

/// Returns what the hub, as far as it has begun, and the process have, when the hub in the reactor has counted.
pub(super) fn counted(server: &mut Server, answer: Result<Answer, Failure>, now: Instant) -> Result<Counted, Failure> {
    let Server { current, peers, operator, .. } = server;
    let of_hub = match current.hub.as_mut().filter(|hub| hub.handle().is_some()) {
        Some(hub) => *hub.complete(Call::Count { channel: Box::default() }, answer?, now)?.counted()?,
        None => Counted::default(),
    };
    Ok(Counted {
        pid: std::process::id(),
        workers: peers.count() as u64,
        streams: runtime::stats(),
        times: operator.times(),
        cut_off: operator.cut_off,
        started_at: operator.started_at,
        store: current.store_status(),
        ..of_hub
    })
}

/// Ends streams of the hub. There is no response yet if that waits for the store.
fn end_streams(server: &mut Server, requester: Requester, end: EndRequest, now: Instant) {
    let Requester { peer, request, .. } = requester;
    let at = runtime::monotonic();
    let question = Question::Call { call: Call::EndStreams(end.clone()), at };
    let ended = EndedCount::default();
    let noted = server.current.hub.as_mut().ok_or_else(not_begun);
    let noted = noted.and_then(|hub| hub.end_streams(end, at, requester, Rc::clone(&ended)));
    server.ask(question, now, move |server, answer, _| {
        let count = answer.and_then(|answer| answer.reply().size());
        ended.set(Some(*count.as_ref().unwrap_or(&0)));
        let result = match noted {
            Ok(true) => return, // the store's answer follows
            Ok(false) => count.map(|count| Reply::Number(count as u64)),
            Err(failure) => Err(failure),
        };
        reply(&mut server.peers, peer, request, result);
    });
}

/// Refuses a part whose only event has more bytes than a message may have: those of fields, which were sent here, are fewer.
fn fitting(reply: Reply) -> Result<Reply, Failure> {
    match reply {
        Reply::Log(page) if page.bytes() >= MAX_FRAME_BYTES - OVERHEAD => {
            let message = "an event of the channel has too many bytes to be read in this way: follow the channel";
            Err(Failure::new(ErrorCode::Full, Some("channel"), message))
        }
        reply => Ok(reply),
    }
}

fn elect(peer: &mut Peer, leases: &mut Leases, lease: u64, name: &[u8]) -> Result<(), End> {
    let candidate = Candidate { peer: peer.token, lease };
    if leases.contains(candidate) {
        return Err(End::Malformed);
    }
    match leases.elect(candidate, name) {
        Ok(is_held) => peer.answer(&elected(candidate, is_held)),
        Err(failure) => peer.reply(lease, Err(failure)),
    }
    Ok(())
}

/// Tells workers that they hold a lease now.
pub(super) fn announce_holders(peers: &mut Peers, holders: impl IntoIterator<Item = Candidate>) {
    holders.into_iter().for_each(|holder| peers.answer(holder.peer, &elected(holder, true)));
}

fn elected(candidate: Candidate, is_held: bool) -> Response<'static> {
    Response::Elected { lease: candidate.lease, is_held }
}

/// Answers the request of a peer in this turn.
fn reply(peers: &mut Peers, peer: u64, request: u64, result: Result<Reply, Failure>) {
    peers.answer_with(peer, |peer| peer.reply(request, result));
}
