//! `run --metrics`: answers a monitor over HTTP/1.1 with the metrics of the hub.
//!
//! Connections are served side by side, each by a thread, within a time and with a bound for the request. If there are too
//! many, one that has its answer makes room, or the one that has been silent for the longest time. So a client that is slow or
//! hostile delays neither a monitor nor the wire thread nor a stream. An answer asks the wire thread as a command does, over
//! the socket of the hub.

mod request;

pub use self::request::Hosts;
use self::request::HttpRequest;
use crate::process_log::log_message;
use eventsource_xs::metrics::{self, Measured};
use eventsource_xs::remote::{CallConnection, Error, Place, Start};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The most connections at a time.
const MAX_CONNECTIONS: usize = 16;
/// The most bytes of a request's head.
const MAX_HEAD: usize = 8 << 10;
/// How long a client may take to send its request, to take the answer, and to close its side then.
const CLIENT_TIME: Duration = Duration::from_secs(2);
/// How long the wire thread may take to answer.
const HUB_TIME: Duration = Duration::from_secs(2);
/// How long no connection is accepted when the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens on an address.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address} for --metrics: {error}")))
}

/// Serves connections until the process ends.
pub fn serve(listener: TcpListener, place: Place, hosts: Hosts) {
    let monitors = Arc::new(Monitors { place, hosts, connections: Mutex::default() });
    let serve = move || loop {
        match listener.accept() {
            Ok((client, _)) => serve_in_thread(&monitors, client),
            Err(_) => thread::sleep(ACCEPT_PAUSE),
        }
    };
    if let Err(error) = thread::Builder::new().name("metrics".to_owned()).spawn(serve) {
        log_message(&format!("the metrics are not served: {error}"));
    }
}

/// What the threads share.
struct Monitors {
    place: Place,
    hosts: Hosts,
    connections: Mutex<Connections>,
}

impl Monitors {
    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads one request and answers it. Fails if the client has left, which then needs no answer.
    fn serve(&self, client: &Arc<TcpStream>) -> io::Result<()> {
        let head = read_head(client, Instant::now() + CLIENT_TIME);
        if !self.connections().begin_answer(client) {
            return Ok(());
        }
        let answered = head.and_then(|head| {
            let head = head.unwrap_or_default();
            answer(client, HttpRequest::of(&head, &self.hosts), head.starts_with(b"HEAD "), &self.place)
        });
        self.connections().end_answer(client);
        if answered.is_ok() {
            wait_for_close(client, Instant::now() + CLIENT_TIME);
        }
        self.connections().remove(client);
        answered
    }
}

/// The connections that are served.
#[derive(Default)]
struct Connections {
    /// Those that have their answer, then those that have not sent a whole request, the oldest first.
    silent: VecDeque<Arc<TcpStream>>,
    /// The number of the others.
    answered: usize,
}

impl Connections {
    /// Takes a connection, unless all are being answered.
    fn add(&mut self, client: &Arc<TcpStream>) -> bool {
        if self.silent.len() + self.answered >= MAX_CONNECTIONS {
            let Some(oldest) = self.silent.pop_front() else { return false };
            let _ = oldest.shutdown(Shutdown::Both); // which ends its thread
        }
        self.silent.push_back(client.clone());
        true
    }

    fn remove(&mut self, client: &Arc<TcpStream>) {
        self.silent.retain(|silent| !Arc::ptr_eq(silent, client));
    }

    fn end_answer(&mut self, client: &Arc<TcpStream>) {
        self.answered -= 1;
        self.silent.push_front(client.clone());
    }

    /// Notes that a connection is being answered. Returns false if it had to make room.
    fn begin_answer(&mut self, client: &Arc<TcpStream>) -> bool {
        let at = self.silent.iter().position(|silent| Arc::ptr_eq(silent, client));
        self.answered += usize::from(at.is_some());
        at.is_some_and(|at| self.silent.remove(at).is_some())
    }
}

/// Serves a connection in a thread of its own. Without a thread it is closed.
fn serve_in_thread(monitors: &Arc<Monitors>, client: TcpStream) {
    let client = Arc::new(client);
    if !monitors.connections().add(&client) {
        return;
    }
    let of_thread = (monitors.clone(), client.clone());
    let thread = thread::Builder::new().name("monitor".to_owned()).spawn(move || {
        let (monitors, client) = of_thread;
        let _ = monitors.serve(&client);
    });
    if thread.is_err() {
        monitors.connections().remove(&client);
    }
}

fn answer(client: &TcpStream, request: HttpRequest, is_head: bool, place: &Place) -> io::Result<()> {
    let plain = "text/plain; charset=utf-8";
    let (status, kind, body) = match request {
        HttpRequest::Metrics => match text(place) {
            Ok(text) => ("200 OK", metrics::CONTENT_TYPE, text),
            Err(error) => ("503 Service Unavailable", plain, format!("{error}\n")),
        },
        HttpRequest::Other => ("404 Not Found", plain, "the metrics are at /metrics\n".to_owned()),
        HttpRequest::OtherMethod => ("405 Method Not Allowed", plain, "GET or HEAD\n".to_owned()),
        HttpRequest::OtherHost => (
            "403 Forbidden",
            plain,
            "this name is not known here: write it behind the address, --metrics ADDRESS:PORT,NAME\n".to_owned(),
        ),
        HttpRequest::Malformed => ("400 Bad Request", plain, "this is not a request of HTTP/1\n".to_owned()),
    };
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        body.len()
    );
    if !is_head {
        bytes.push_str(&body);
    }
    write(client, bytes.as_bytes(), Instant::now() + CLIENT_TIME)
}

/// Fails if the client does not take the bytes in time, however few it takes at once.
fn write(mut client: &TcpStream, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        client.set_write_timeout(Some(left))?;
        match client.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads what the client still sends, such as a body, until it has closed its side. If the connection were closed with unread
/// bytes, it would be reset, and the client could lose the answer.
fn wait_for_close(mut client: &TcpStream, deadline: Instant) {
    let mut ignored = [0; MAX_HEAD];
    let mut is_open = client.shutdown(Shutdown::Write).is_ok();
    while is_open {
        let left = deadline.saturating_duration_since(Instant::now());
        is_open = !left.is_zero()
            && client.set_read_timeout(Some(left)).is_ok()
            && match client.read(&mut ignored) {
                Ok(count) => count > 0,
                Err(error) => error.kind() == io::ErrorKind::Interrupted,
            };
    }
}

/// Reads until the empty line after the head. Returns nothing if the head is too long, too slow or cut off.
fn read_head(mut client: &TcpStream, deadline: Instant) -> io::Result<Option<Vec<u8>>> {
    let mut head = vec![0; MAX_HEAD];
    let mut len = 0;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || len == MAX_HEAD {
            return Ok(None);
        }
        client.set_read_timeout(Some(left))?;
        match client.read(&mut head[len..]) {
            Ok(0) => return Ok(None),
            Ok(count) => len += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        if head[..len].windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            head.truncate(len);
            return Ok(Some(head));
        }
    }
}

fn text(place: &Place) -> Result<String, Error> {
    let start = Start { program: None, needs_settings: false, timeout: HUB_TIME };
    let counted = CallConnection::connect(&start, place, None)?.count(b"")?;
    Ok(metrics::text(&Measured::of_process(place.name().as_str(), &counted, &[])))
}
