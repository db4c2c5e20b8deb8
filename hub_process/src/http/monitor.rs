//! The request of a monitor (RFC 9112): its method and target, and whether its host is this one.
//!
//! A page in a browser can let its own name stand for another address after it was loaded (DNS rebinding). Its requests then
//! come from the browser's machine, with that name in `Host`. So a name must be known here. An address cannot be rebound.

use super::connections::Head;
use std::net::IpAddr;

/// Says whether a host, with or without a port, is this one: an address, `localhost`, or the name of this machine, or one of
/// these.
fn is_known(authority: &str, names: &[String]) -> bool {
    let end = authority.rfind(':').filter(|at| authority[at + 1..].bytes().all(|byte| byte.is_ascii_digit()));
    let host = if authority.ends_with(']') { authority } else { &authority[..end.unwrap_or(authority.len())] };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is = |name: &str| name.eq_ignore_ascii_case(host);
    host.is_empty()
        || address.parse::<IpAddr>().is_ok()
        || is("localhost")
        || names.iter().any(|name| is(name))
        || own_name().is_some_and(|name| is(&name))
}

fn own_name() -> Option<String> {
    std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim_end().to_owned())
}

/// Returns the status and the text with which a request is refused that is not for the metrics. Monitors may ask for these
/// names, too.
pub fn refusal(head: &Head<'_>, names: &[String]) -> Option<(&'static str, &'static str)> {
    let host = head.field("host").unwrap_or_default();
    let host = String::from_utf8_lossy(&host);
    let (host, path) = absolute(head.target).unwrap_or((&host, head.target));
    let path = path.split('?').next().unwrap_or_default();
    match (head.method, path) {
        _ if !is_known(host, names) => Some((
            "403 Forbidden",
            "this name is not known here: write it behind the address, --metrics ADDRESS:PORT,NAME\n",
        )),
        ("GET" | "HEAD", "/metrics") => None,
        ("GET" | "HEAD", _) => Some(("404 Not Found", "the metrics are at /metrics\n")),
        _ => Some(("405 Method Not Allowed", "GET or HEAD\n")),
    }
}

/// The host and the path of a target in absolute form, whose host counts instead of that of the header (section 3.2.2).
fn absolute(target: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    scheme.eq_ignore_ascii_case("http").then(|| rest.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the status of a refusal.
    fn request_of(head: &str) -> &str {
        let head = Head::read(head.as_bytes()).expect("a head").expect("a whole head");
        let refusal = refusal(&head, &["hub.example".to_owned()]);
        refusal.map_or("", |(status, _)| &status[..3])
    }

    #[test]
    fn a_request_line_is_read_as_the_standard_says() {
        for (head, request) in [
            ("GET /metrics HTTP/1.1\r\nHost:\r\n\r\n", ""),
            ("HEAD /metrics?a=b HTTP/1.0\r\n\r\n", ""),
            ("GET http://127.0.0.1:9464/metrics HTTP/1.1\r\nHost:\r\n\r\n", ""),
            ("HEAD HTTP://hub.example/metrics?a=b HTTP/1.1\r\nHost:\r\n\r\n", ""),
            ("GET http://localhost?metrics HTTP/1.1\r\nHost:\r\n\r\n", "404"),
            ("GET / HTTP/1.1\r\nHost:\r\n\r\n", "404"),
            ("POST /metrics HTTP/1.1\r\nHost:\r\n\r\n", "405"),
            ("OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n", "405"),
        ] {
            assert_eq!(request_of(head), request, "{head}");
        }
    }

    #[test]
    fn the_host_must_be_an_address_or_a_known_name() {
        let own = own_name().expect("a name");
        for host in [
            "127.0.0.1:9464",
            "127.0.0.1",
            "[::1]:9464",
            "[::1]",
            "192.0.2.7:80",
            "LocalHost:1",
            "hub.EXAMPLE:9464",
            &own,
            "",
        ] {
            assert_eq!(request_of(&format!("GET /metrics HTTP/1.1\r\nhost: {host}\r\n\r\n")), "", "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:9464",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "a@localhost",
            "[::1",
        ] {
            assert_eq!(request_of(&format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n")), "403", "{host}");
            let absolute = format!("GET http://{host}/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert_eq!(request_of(&absolute), "403", "{absolute}");
        }
        assert_eq!(request_of("GET http://localhost/metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n"), "");
    }
}
