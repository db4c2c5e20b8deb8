//! How a client comes: as whom, with which topics and rights, and how its worker opens the stream. A client with a ticket comes
//! without its application being asked. A client that polls comes again as soon as it was answered.

use crate::episode::{Episode, CHANNELS, LABELS, LIMITS, LOBBY, MEMBERS, RETRY, ROOM, WORKERS};
use crate::support::stream_settings;
use crate::trace::{Change, Offer, Stream, Ticket, FOREVER, LASTING, MOST};
use crate::worker::Worker;
use eventsource_xs::event::{EventName, Field, Text, Unsequenced};
use eventsource_xs::hub::{
    self, Access, Announcement, MemberData, MemberRequest, MemberUpdate, Poll, PollReason, Presence, Retain,
    StartPoint, Statement, StreamLimit, SubscribeRequest, Topic,
};
use eventsource_xs::remote::Subscribed;
use eventsource_xs::runtime::{monotonic, OpenOptions, StreamHandle};
use eventsource_xs::stream::{Reason, Settings};
use eventsource_xs::wire::{Call, Reply};
use fastrand::Rng;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// The most bytes of a ticket.
const LONGEST_TICKET: usize = 4000;

/// How a client behaves: as which member, with which topics.
#[derive(Clone, Debug, Default)]
pub struct Role {
    pub channels: Vec<&'static str>,
    pub follows_state: bool,
    pub member: Option<&'static str>,
    /// True if the member is only counted.
    pub is_counted: bool,
    pub has_will: bool,
    pub label: Option<&'static str>,
    pub limit: Option<&'static str>,
    /// True if the client reads now and then only, with little room for what waits.
    pub is_slow: bool,
    /// The time for which the tickets of its streams are valid.
    pub ticket: Option<Duration>,
    /// The time for which it waits, if it polls.
    pub poll: Option<Duration>,
    /// The time after which its streams end.
    pub max_age: Option<Duration>,
}

impl Role {
    pub fn draw(rng: &mut Rng) -> Self {
        let mut channels = rng.choose_multiple(CHANNELS, 1 + rng.clone().usize(..CHANNELS.len()));
        channels.extend([ROOM, LOBBY].into_iter().filter(|_| rng.bool()));
        let role = Self {
            channels,
            follows_state: rng.u8(..3) == 0,
            member: rng.choice(MEMBERS).filter(|_| rng.bool()),
            is_counted: rng.u8(..3) == 0,
            has_will: rng.bool(),
            label: rng.choice(LABELS).filter(|_| rng.u8(..3) == 0),
            limit: rng.choice(LIMITS).filter(|_| rng.bool()),
            is_slow: rng.u8(..4) == 0,
            ticket: match rng.u8(..8) {
                0 => Some(Duration::from_millis(rng.u64(100..1000))),
                1..=2 => Some(Duration::from_secs(600)),
                _ => None,
            },
            poll: None,
            max_age: (rng.u8(..8) == 0).then(|| Duration::from_millis(rng.u64(100..1000))),
        };
        if rng.u8(..5) > 0 {
            return role;
        }
        // The member of a poll stays for at least 15 seconds. So it is the one who stays, or none.
        let (follows_state, has_will, is_slow, is_counted) = (false, false, false, false);
        let poll = rng.choice([0, 0, 40, 400]).map(Duration::from_millis);
        let member = role.member.filter(|member| *member == LASTING);
        let label = rng.choice(LABELS).filter(|_| rng.u8(..4) > 0);
        Self { follows_state, has_will, is_slow, is_counted, poll, member, label, max_age: None, ..role }
    }

    /// Returns the subscription that the application allows.
    fn request(&self, stream: u64, data: u8, asked_at: u64) -> SubscribeRequest {
        let labels = self.label.iter().chain(&self.limit).map(|label| label.as_bytes().into()).collect();
        let limit = |label: &str| StreamLimit { label: label.as_bytes().into(), most: MOST as u64 };
        let limits = self.limit.map(limit).into_iter().collect();
        SubscribeRequest {
            topics: self.channels.iter().map(|name| Topic::Channel(name.as_bytes().into())).collect(),
            start: if self.follows_state { StartPoint::State } else { StartPoint::Latest },
            access: Access { labels, limits, asked_at, max_age: self.max_age, ..Access::default() },
            presence: Presence {
                member: self.member.map(|id| member(id, data, self.is_counted)),
                will: self.has_will.then(|| will(stream)),
            },
            ..SubscribeRequest::default()
        }
    }
}

fn unsequenced(name: &str, data: &str) -> Unsequenced {
    let name = EventName::new(Text::from(name)).expect("a name");
    Unsequenced::of([Field::Event(name), Field::Data(Text::from(data))].into_iter())
}

/// A member of the room, with what it says, or one of the lobby. One of the room stays longer than any episode, one for a
/// moment.
fn member(id: &str, data: u8, is_counted: bool) -> Box<MemberRequest> {
    let linger = match id {
        _ if is_counted => Duration::ZERO,
        LASTING => Duration::from_secs(3600),
        "bob" => Duration::from_millis(100),
        _ => Duration::ZERO,
    };
    Box::new(MemberRequest {
        channel: if is_counted { LOBBY } else { ROOM }.as_bytes().into(),
        id: id.as_bytes().into(),
        linger,
        is_counted,
        data: MemberData { text: data.to_string().as_bytes().into(), is_json: false },
        join: unsequenced("join", &format!("{id} {data}")),
        update: unsequenced("update", &format!("{id} {data}")),
        leave: unsequenced("leave", id),
    })
}

fn will(stream: u64) -> Box<Announcement> {
    Box::new(Announcement {
        channel: b"room"[..].into(),
        key: Box::default(),
        retain: Retain::No,
        event: unsequenced("will", &format!("will {stream}")),
        statement: Statement::Nothing,
    })
}

/// A request of a client, and how its application serves it.
struct Arrival {
    number: u64,
    role: Role,
    data: u8,
    last_id: String,
    /// The ticket that it brings, and the binding of its request.
    offered: Option<(Vec<u8>, u8)>,
    binding: u8,
    /// When the application was asked.
    asked: Instant,
    asked_at: u64,
    may_wait: bool,
    in_handler: bool,
    returns_later: bool,
}

impl Episode {
    /// Opens a stream of a client, which resumes, at a worker.
    pub fn connect(&mut self, client: usize) {
        let worker = self.rng.usize(..WORKERS);
        let mut role = self.roles[client].clone();
        if self.is_resting {
            (role.poll, role.max_age) = (None, None);
        }
        let (socket, own) = self.world.connection(role.is_slow);
        self.streams += 1;
        let (number, data) = (self.streams, self.rng.u8(..3));
        let asked_at = monotonic();
        let asked = Instant::now();
        let mut trace = self.trace.lock().expect("no panic");
        // Most clients bring their newest ticket. Some have kept an old one, and some bring that of another client.
        let of_client = |ticket: &&(usize, &Ticket)| ticket.1.client == client;
        let tickets: Vec<_> = trace.tickets.iter().enumerate().collect();
        let own_tickets: Vec<_> = tickets.iter().filter(of_client).collect();
        let brings = role.ticket.is_some() && self.rng.u8(..8) > 0;
        let ticket = match self.rng.u8(..8) {
            0 => tickets.get(self.rng.usize(..tickets.len().max(1))),
            1 | 2 => own_tickets.get(self.rng.usize(..own_tickets.len().max(1))).copied(),
            _ => own_tickets.last().copied(),
        };
        let ticket = ticket.filter(|_| brings).map(|(at, ticket)| (*at, ticket.sealed.clone(), ticket.client));
        let offer = ticket.as_ref().map(|(ticket, _, owner)| Offer {
            ticket: *ticket,
            is_foreign: *owner != client,
            opened: None,
            is_admitted: None,
        });
        let stream = Stream {
            client,
            member: role.member,
            is_counted: role.is_counted,
            data,
            has_will: role.has_will,
            label: role.label,
            limit: role.limit,
            poll: role.poll,
            max_age: role.max_age,
            offer,
            will: number,
            pushed: 0,
            asked: None,
            began: None,
        };
        trace.streams.insert(number, stream);
        drop(trace);
        self.clients[client].open(number, own);
        self.clients[client].polls = role.poll.is_some();
        let last_id = self.clients[client].last_id.clone();
        let (may_wait, in_handler) = (self.rng.bool(), self.rng.bool());
        let returns_later = in_handler && !self.is_resting && self.rng.bool();
        let offered = ticket.map(|(_, sealed, _)| (sealed, client as u8));
        let binding = client as u8;
        let arrival = Arrival {
            number,
            role,
            data,
            last_id,
            offered,
            binding,
            asked,
            asked_at,
            may_wait,
            in_handler,
            returns_later,
        };
        self.act(worker, move |worker| worker.serve(arrival, socket));
    }
}

impl Worker {
    /// Changes the data of a member of the room.
    pub fn update_member(&self, id: &'static str, data: u8) {
        let noted = self.begin_change(Instant::now(), Change::Updated(id, data, true));
        let MemberRequest { channel, id: member, data: text, update: event, .. } = *member(id, data, false);
        let update = MemberUpdate { channel, id: member, data: text, event };
        if let Ok(is_here) = self.hub.call(Call::UpdateMember(update)).and_then(Reply::number) {
            self.note(|trace| trace.changes[noted].2 = Change::Updated(id, data, is_here > 0));
            self.end_change(noted);
        }
    }

    /// Serves a client, as EventSource::XS::Hub::App does.
    fn serve(&mut self, arrival: Arrival, socket: OwnedFd) {
        let Arrival { number, role, asked, returns_later, .. } = &arrival;
        let opened = self.open_ticket(&arrival);
        let is_admitted = opened.is_some() || role.limit.is_some();
        let after = Some(arrival.last_id.as_bytes()).filter(|id| !id.is_empty()).map(Into::into);
        let poll = role.poll.map(|wait| Poll { wait, reason: PollReason::Mute });
        let request = match opened {
            Some(ticket) => ticket.into_request(monotonic(), after, None, poll),
            None => {
                // Before the response begins.
                if role.limit.is_some_and(|limit| !self.reserve(limit, MOST, arrival.asked_at)) {
                    return;
                }
                let mut request = role.request(*number, arrival.data, arrival.asked_at);
                self.seal_ticket(&arrival, &request);
                (request.after, request.access.poll) = (after, poll);
                request
            }
        };
        let opening = OpenOptions {
            socket: Some(socket),
            head: b"",
            content: b"",
            body: Default::default(),
            settings: Settings { retry: RETRY, ..stream_settings() },
            waits: false,
            ends_with_handle: false,
            interpreter: 0,
            max_streams: 1000,
            handler_limit: None,
            may_wait: arrival.may_wait,
            members_of: None,
        };
        self.note(|trace| trace.streams.get_mut(number).expect("a stream").asked = Some((*asked, *asked + FOREVER)));
        let mut handle = StreamHandle::open(opening).map_err(|(error, _)| error).expect("a reactor");
        let (asked_at, limits) = (request.access.asked_at, request.access.limits.clone());
        if arrival.in_handler {
            handle.enter_handler(); // the subscription takes effect when the handler returns
        }
        let subscribed = self.hub.subscribe(&mut handle, request, is_admitted);
        if let (Ok(Subscribed::Ended), Some(limit)) = (&subscribed, limits.first()) {
            self.reserve(std::str::from_utf8(&limit.label).expect("UTF-8"), 0, asked_at);
        }
        match subscribed {
            Ok(_) if *returns_later => {}
            Ok(_) => handle.leave_handler(),
            Err(_) => handle.close(Reason::Application), // as an application does that cannot serve the client
        }
        self.note(|trace| {
            let (stream, now) = (trace.streams.get_mut(number).expect("a stream"), Instant::now());
            (stream.asked, stream.began) = (Some((*asked, now)), Some(now).filter(|_| !returns_later));
        });
        let streams = if *returns_later { &mut self.in_handler } else { &mut self.streams };
        streams.insert(*number, handle);
    }

    /// Opens the ticket that a client brings, and notes what the hub says.
    fn open_ticket(&self, arrival: &Arrival) -> Option<hub::Ticket> {
        let (sealed, binding) = arrival.offered.as_ref()?;
        let from = Instant::now();
        let call = Call::OpenTicket { sealed: sealed[..].into(), binding: [*binding][..].into() };
        let reply = self.hub.call(call).and_then(Reply::admitted);
        let opened = (from, Instant::now());
        let ticket = reply.as_ref().map_or(None, |ticket| ticket.as_deref().cloned());
        self.note(|trace| {
            let stream = trace.streams.get_mut(&arrival.number).expect("a stream");
            let offer = stream.offer.as_mut().expect("an offer");
            (offer.opened, offer.is_admitted) = (Some(opened), reply.ok().map(|ticket| ticket.is_some()));
            if ticket.is_some() {
                let issued = &trace.tickets[offer.ticket];
                (stream.will, stream.data, stream.max_age) = (issued.stream, issued.data, None);
            }
        });
        ticket
    }

    /// Has the hub seal a ticket for the client.
    fn seal_ticket(&self, arrival: &Arrival, request: &SubscribeRequest) {
        let Some(valid_for) = arrival.role.ticket else { return };
        let binding = [arrival.binding][..].into();
        let request = request.clone();
        let mut ticket = hub::Ticket { request, binding, ..hub::Ticket::default() };
        ticket.repeat_member();
        let call = Call::SealTicket { ticket: Box::new(ticket), valid_for, most: LONGEST_TICKET };
        let Ok(Some(sealed)) = self.hub.call(call).and_then(Reply::sealed) else { return };
        let client = self.note(|trace| trace.streams[&arrival.number].client);
        let valid_for = valid_for.min(arrival.role.max_age.unwrap_or(valid_for));
        let (stream, asked, data, sealed) = (arrival.number, arrival.asked, arrival.data, sealed.into_vec());
        self.note(|trace| trace.tickets.push(Ticket { client, stream, asked, data, valid_for, sealed }));
    }
}
