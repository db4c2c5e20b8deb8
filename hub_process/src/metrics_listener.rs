//! `run --metrics`: answers a monitor over HTTP/1.1 with the metrics of the hub.
//!
//! A thread of its own serves one connection at a time, within a time and with a bound for the request, so a client that is
//! slow or hostile delays other monitors, but neither the wire thread nor a stream. It asks the wire thread as a command
//! does, over the socket of the hub.

use crate::messages::say;
use eventsource_xs::metrics::{self, Measured};
use eventsource_xs::remote::{Client, Error, Place, Start};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

/// The most bytes of a request's head.
const MAX_HEAD: usize = 8 << 10;
/// How long a client may take to send its request, and to take the answer.
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
pub fn serve(listener: TcpListener, place: Place) {
    let serve = move || loop {
        match listener.accept() {
            Ok((mut client, _)) => drop(answer(&mut client, &place)), // a client that has left needs no answer
            Err(_) => thread::sleep(ACCEPT_PAUSE),
        }
    };
    if let Err(error) = thread::Builder::new().name("metrics".to_owned()).spawn(serve) {
        say(&format!("the metrics are not served: {error}"));
    }
}

fn answer(client: &mut TcpStream, place: &Place) -> io::Result<()> {
    let deadline = Instant::now() + CLIENT_TIME;
    let request = match read_head(client, deadline)? {
        Some(head) => Request::of(&head),
        None => Request::Malformed,
    };
    let plain = "text/plain; charset=utf-8";
    let (status, kind, body) = match request {
        Request::Metrics { .. } => match text(place) {
            Ok(text) => ("200 OK", metrics::CONTENT_TYPE, text),
            Err(error) => ("503 Service Unavailable", plain, format!("{error}\n")),
        },
        Request::Other => ("404 Not Found", plain, "the metrics are at /metrics\n".to_owned()),
        Request::OtherMethod => ("405 Method Not Allowed", plain, "GET or HEAD\n".to_owned()),
        Request::Malformed => ("400 Bad Request", plain, "this is not a request of HTTP/1\n".to_owned()),
    };
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        body.len()
    );
    if !matches!(request, Request::Metrics { is_head: true }) {
        bytes.push_str(&body);
    }
    client.set_write_timeout(Some(CLIENT_TIME))?;
    client.write_all(bytes.as_bytes())
}

/// Reads until the empty line after the head. Returns nothing if the head is too long, too slow or cut off.
fn read_head(client: &mut TcpStream, deadline: Instant) -> io::Result<Option<Vec<u8>>> {
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Metrics { is_head: bool },
    Other,
    OtherMethod,
    Malformed,
}

impl Request {
    /// Reads the request line (RFC 9112, section 3).
    fn of(head: &[u8]) -> Self {
        let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let words: Vec<_> = line.split(|byte| *byte == b' ').collect();
        let [method, target, version] = words[..] else { return Self::Malformed };
        if !version.starts_with(b"HTTP/1.") {
            return Self::Malformed;
        }
        let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
        match (method, path) {
            (b"GET" | b"HEAD", b"/metrics") => Self::Metrics { is_head: method == b"HEAD" },
            (b"GET" | b"HEAD", _) => Self::Other,
            _ => Self::OtherMethod,
        }
    }
}

fn text(place: &Place) -> Result<String, Error> {
    let start = Start { program: None, needs_settings: false, timeout: HUB_TIME };
    let counted = Client::connect(&start, place, None)?.count(b"")?;
    Ok(metrics::text(&Measured::of_process(place.name().as_str(), &counted, &[])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_line_is_read_as_the_standard_says() {
        for (head, request) in [
            ("GET /metrics HTTP/1.1\r\n\r\n", Request::Metrics { is_head: false }),
            ("HEAD /metrics?a=b HTTP/1.0\r\n\r\n", Request::Metrics { is_head: true }),
            ("GET / HTTP/1.1\r\n\r\n", Request::Other),
            ("POST /metrics HTTP/1.1\r\n\r\n", Request::OtherMethod),
            ("GET /metrics\r\n\r\n", Request::Malformed),
            ("GET /metrics HTTP/2\r\n\r\n", Request::Malformed),
            ("GET  /metrics HTTP/1.1\r\n\r\n", Request::Malformed),
            ("\r\n\r\n", Request::Malformed),
        ] {
            assert_eq!(Request::of(head.as_bytes()), request, "{head}");
        }
    }
}
