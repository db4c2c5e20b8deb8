//! The requests of HTTP clients: a stream for one with a ticket, the application for every other one, and metrics.

use super::hub_life::BEGIN_WITHIN;
use super::{requests, Server};
use crate::http::{self, Client, Head, Refusal, Service};
use crate::streams::{ServedStream, OWN};
use eventsource_xs::compression::ContentCoding;
use eventsource_xs::hub::{Passport, Poll, Question, Ticket, FINISHED_ID};
use eventsource_xs::metrics::{self, Measured};
use eventsource_xs::remote::calls::Readiness;
use eventsource_xs::request::{self, BoundRequest, Preference, ONLY_OF_STREAMS};
use eventsource_xs::runtime::{monotonic, Begun};
use eventsource_xs::stream::Settings;
use eventsource_xs::wire::Open;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// The number of connections that are accepted before other requests have their turn again.
const AT_ONCE: usize = 64;
/// The time for which clients of a new process wait for its first worker.
const PEER_WITHIN: Duration = Duration::from_secs(1);

/// Asks the proxy to let the application answer: nginx and Caddy by the field, HAProxy by the status. Nginx would add other
/// fields, Cache-Control among them, to what the application answers.
const ASK_APPLICATION: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nX-Accel-Redirect: @app\r\nContent-Length: 0\r\n\
    Connection: close\r\n\r\n";

/// The bytes of a stream's head beside those of its passport, mostly.
const OWN_FIELDS: usize = 64;

const PLAIN: &str = "text/plain; charset=utf-8";

/// Accepts connections, and reads the requests that are there.
///
/// Without the hub no ticket opens. So clients wait while it is about to be there: otherwise the application would be asked for
/// all that come back after a `kill -9`. One now and then has it asked if no worker is connected, which brings one.
pub(super) fn accept(server: &mut Server, service: Service, now: Instant) {
    let mut most = AT_ONCE;
    if service == Service::Streams && awaits_hub(server, now) {
        let Server { listening, epoll, .. } = server;
        if let Some(acceptor) = listening.of(service) {
            acceptor.pause(epoll, now);
        }
        most = usize::from(server.current.hub.is_none());
    }
    for _ in 0..most {
        let Server { listening, connections, epoll, .. } = server;
        let Some(acceptor) = listening.of(service) else { return };
        let Some(socket) = acceptor.accept(epoll, now) else { return };
        if let Some(client) = connections.add(socket, service, epoll, now) {
            take(server, client, now);
        }
        server.keep_descriptors();
    }
}

/// Returns true while this process is new and its hub is about to begin.
fn awaits_hub(Server { current, operator, .. }: &Server, now: Instant) -> bool {
    let within = if current.hub.is_some() { BEGIN_WITHIN } else { PEER_WITHIN };
    operator.age(now) < within && current.handle().is_none() && current.cannot_begin.is_none()
}

/// Continues with a connection that is ready.
pub(super) fn serve(server: &mut Server, number: u64, readiness: Readiness, now: Instant) {
    if let Some(client) = server.connections.serve(number, readiness, &server.epoll, now) {
        take(server, client, now);
    }
}

/// Takes a request. The hub is asked for a client with a ticket, and for metrics; every other one is answered.
fn take(server: &mut Server, client: Client, now: Instant) {
    let hosts = server.options.metrics.as_ref().map_or(&[][..], |(_, hosts)| hosts);
    let answer = match Head::read(&client.bytes) {
        Ok(Some(head)) => match client.service {
            Service::Metrics => match (http::refusal(&head, hosts), head.method == "HEAD") {
                (None, is_head) => return send_metrics(server, client, is_head, now),
                (Some((status, body)), is_head) => response(status, PLAIN, body, is_head),
            },
            Service::Streams => match Beginning::of(server, &head) {
                Some((ticket, beginning)) => return beginning.ask(server, ticket, client, now),
                None => ASK_APPLICATION.to_vec(),
            },
        },
        // What the proxy has passed on is the application's to refuse: it reads more than is read here.
        Ok(None) | Err(_) if client.service == Service::Streams => ASK_APPLICATION.to_vec(),
        Ok(None) | Err(Refusal::Malformed) => refusal("400 Bad Request", "this is not a request of HTTP/1\n"),
        Err(Refusal::TooLarge) => {
            refusal("431 Request Header Fields Too Large", "the head has too many bytes or fields\n")
        }
    };
    server.connections.answer(client, answer, &server.epoll, now);
}

/// The beginning of a stream whose client has a ticket.
struct Beginning {
    head: Vec<u8>,
    settings: Settings,
    opening: Box<[u8]>,
    after: Option<Vec<u8>>,
    retry: Option<u64>,
    poll: Option<Poll>,
}

impl Beginning {
    /// Opens the ticket of a request. Returns nothing if the application is to be asked.
    fn of(server: &mut Server, head: &Head<'_>) -> Option<(Ticket, Self)> {
        if head.method != "GET" || head.has_body() || head.is_ambiguous() {
            return None;
        }
        let (path, query) = head.path_and_query()?;
        let name = server.options.name.as_str().as_bytes();
        let cookies = head.field("cookie")?;
        let sealed = request::ticket_of(&cookies, name, path.as_bytes())?;
        let after = request::last_event_id(head.field("last-event-id").as_deref(), query.as_bytes());
        if after.as_deref() == Some(FINISHED_ID) {
            return None;
        }
        let is_for = |ticket: &Ticket| {
            let Some(passport) = &ticket.passport else { return false };
            let names = passport.cookies.as_ref().map(|names| names.iter().map(|name| &**name).collect::<Vec<_>>());
            let fields = passport.fields.iter().map(|name| head.field(&String::from_utf8_lossy(name)));
            let fields: Vec<_> = fields.collect();
            let fields: Vec<_> = fields.iter().map(Option::as_deref).collect();
            let [host, origin, authorization] = ["host", "origin", "authorization"].map(|name| head.field(name));
            let request = BoundRequest {
                hub: name,
                method: head.method.as_bytes(),
                host: host.as_deref(),
                origin: origin.as_deref(),
                authorization: authorization.as_deref(),
                path: path.as_bytes(),
                query: query.as_bytes(),
                cookies: Some(&cookies),
                cookie_names: names.as_deref(),
                headers: &fields,
            };
            ticket.binding.starts_with(&request.digest())
        };
        let mut ticket = server.current.hub.as_mut()?.unseal_ticket(&sealed, is_for).ok()?;
        let passport = ticket.passport.take()?;
        Some((ticket, Self::with(*passport, head, after)))
    }

    /// Begins the stream if the hub has a place of each limit for it. If not, or if there is no room, the application is
    /// asked.
    fn ask(self, server: &mut Server, ticket: Ticket, client: Client, now: Instant) {
        if server.room_for_streams() <= server.waiting_clients {
            return server.connections.answer(client, ASK_APPLICATION.to_vec(), &server.epoll, now);
        }
        match server.current.handle().map(|hub| hub.admit(Ok(ticket), false)) {
            Some(Begun::Asks(question)) => {
                server.waiting_clients += 1;
                server.ask(question, now, move |server, answer, now| {
                    server.waiting_clients -= 1;
                    let admitted = answer.and_then(|answer| answer.reply().admitted());
                    self.conclude(server, admitted.ok().flatten(), client, now);
                });
            }
            Some(Begun::Replied(reply)) => self.conclude(server, reply.admitted().ok().flatten(), client, now),
            None => self.conclude(server, None, client, now),
        }
    }

    /// Begins the stream of a ticket that was admitted. Otherwise the application is asked.
    fn conclude(self, server: &mut Server, admitted: Option<Box<Ticket>>, client: Client, now: Instant) {
        match admitted {
            Some(ticket) => self.begin(server, *ticket, client.socket, now),
            None => server.connections.answer(client, ASK_APPLICATION.to_vec(), &server.epoll, now),
        }
    }

    fn with(passport: Passport, head: &Head<'_>, after: Option<Vec<u8>>) -> Self {
        let preference = head.field("prefer").and_then(|prefer| Preference::of(&prefer));
        let coding = match passport.may_be_coded {
            true => request::content_coding(head.field("accept-encoding").as_deref()),
            false => ContentCoding::Identity,
        };
        Self {
            head: response_head(&passport, preference.as_ref(), coding),
            settings: Settings { coding, ..passport.settings },
            after,
            retry: passport.random_retry(),
            poll: preference.as_ref().and_then(Preference::poll),
            opening: passport.opening,
        }
    }

    /// Begins the stream. If it cannot begin, it gives its places of limits back, and the client reconnects.
    fn begin(self, server: &mut Server, ticket: Ticket, socket: OwnedFd, now: Instant) {
        let open = Open::new(OWN.number, self.settings, &self.head);
        let stream = ServedStream::open(&open, &self.opening, Some(socket), OWN, usize::MAX);
        let id = stream.ok().map(|stream| server.streams.insert(stream));
        let request = ticket.into_request(monotonic(), self.after.map(Into::into), self.retry, self.poll);
        requests::subscribe_or_end(server, id, request, now);
        id.into_iter().for_each(|id| server.streams.release(id));
    }
}

/// Returns the head of a stream.
fn response_head(passport: &Passport, preference: Option<&Preference>, coding: ContentCoding) -> Vec<u8> {
    let mut head = Vec::with_capacity(passport.head.len() + OWN_FIELDS);
    head.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    let is_poll = preference.is_some_and(|preference| preference.wait.is_some());
    let lines = passport.head.split_inclusive(|byte| *byte == b'\n');
    let is_of_streams = |line: &[u8]| {
        line.split(|byte| *byte == b':').next().unwrap_or_default().eq_ignore_ascii_case(ONLY_OF_STREAMS.as_bytes())
    };
    lines.filter(|line| !is_poll || !is_of_streams(line)).for_each(|line| head.extend_from_slice(line));
    if coding != ContentCoding::Identity {
        head.extend_from_slice(format!("Content-Encoding: {}\r\n", coding.name()).as_bytes());
    }
    if let Some(preference) = preference {
        let applied = preference.applied();
        head.extend_from_slice(format!("Preference-Applied: {applied}, ticket=hub\r\nVary: Prefer\r\n").as_bytes());
    }
    head.extend_from_slice(b"Connection: close\r\n\r\n");
    head.extend_from_slice(coding.beginning());
    head
}

/// Sends a monitor the metrics when the hub has counted.
fn send_metrics(server: &mut Server, client: Client, is_head: bool, now: Instant) {
    server.waiting_clients += 1;
    server.ask(Question::reports(), now, move |server, answer, now| {
        server.waiting_clients -= 1;
        let answer = match requests::counted(server, answer, now) {
            Ok(counted) => {
                let name = server.options.name.as_str();
                let text = metrics::text(&Measured::of_process(name, &counted, &[]));
                response("200 OK", metrics::CONTENT_TYPE, &text, is_head)
            }
            Err(failure) => response("503 Service Unavailable", PLAIN, &format!("{}\n", failure.message), is_head),
        };
        server.connections.answer(client, answer, &server.epoll, now);
    });
}

fn refusal(status: &str, message: &str) -> Vec<u8> {
    response(status, PLAIN, message, false)
}

/// Returns the answer to a client that has not sent a whole head in time.
pub(super) fn too_late() -> Vec<u8> {
    refusal("408 Request Timeout", "the head came too slowly\n")
}

/// Returns a response, to HEAD without its body.
fn response(status: &str, kind: &str, body: &str, is_head: bool) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        body.len()
    );
    (head + if is_head { "" } else { body }).into_bytes()
}

impl Server {
    /// Returns how many more streams there may be.
    fn room_for_streams(&self) -> usize {
        let hub = self.current.hub.as_ref();
        let room = self.descriptors().for_streams();
        room.min(hub.map_or(usize::MAX, |hub| hub.settings.max_streams)).saturating_sub(self.streams.count())
    }
}
