//! The head of a request (RFC 9112), read by httparse: what is left to check here is what counts for streams and metrics.
//!
//! It is read strictly. What two readers could understand in two ways is malformed: a proxy is in front.

use std::borrow::Cow;

/// The most bytes of a head.
pub const MAX_HEAD: usize = 16 << 10;
/// The most fields.
const MAX_FIELDS: usize = 100;

/// A head that is complete.
#[derive(Debug)]
pub struct Head<'a> {
    pub method: &'a str,
    /// The target as it was sent.
    pub target: &'a str,
    /// The fields in their order.
    fields: Vec<(&'a str, &'a [u8])>,
    /// How many bytes it has. What follows is a body, or another request, which nobody answers.
    pub len: usize,
}

/// Why a head has no answer but its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not one of HTTP/1.
    Malformed,
    /// It has too many bytes or fields.
    TooLarge,
}

impl<'a> Head<'a> {
    /// Reads a head. Returns nothing while it is not complete.
    pub fn read(bytes: &'a [u8]) -> Result<Option<Self>, Refusal> {
        let mut room = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut room);
        let len = match request.parse(bytes) {
            Ok(httparse::Status::Complete(len)) => len,
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Ok(None),
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLarge),
            Err(_) => return Err(Refusal::Malformed),
        };
        let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
            return Err(Refusal::Malformed);
        };
        let fields = request.headers.iter().map(|field| (field.name, field.value)).collect();
        let head = Self { method, target, fields, len };
        let hosts = head.all("host").count();
        match hosts > 1 || hosts == 0 && version > 0 {
            true => Err(Refusal::Malformed),
            false => Ok(Some(head)),
        }
    }

    fn all<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'a [u8]> + 'b {
        self.fields.iter().filter(move |(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// Returns a field, as PSGI servers give it to an application: the values of several lines with commas between them, of
    /// cookies, too.
    pub fn field(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        let mut all = self.all(name);
        let first = Cow::Borrowed(all.next()?);
        Some(all.fold(first, |joined, value| Cow::Owned([&*joined, b", ", value].concat())))
    }

    /// Returns the path and the query of a target that is a path.
    pub fn path_and_query(&self) -> Option<(&'a str, &'a str)> {
        let target = Some(self.target).filter(|target| target.starts_with('/') && !target.contains('#'))?;
        Some(target.split_once('?').unwrap_or((target, "")))
    }

    /// Returns true if an application may take a field for another one: PSGI has the same name for `X_A` and `X-A`.
    pub fn is_ambiguous(&self) -> bool {
        self.fields.iter().any(|(name, _)| name.contains('_'))
    }

    /// Returns true if a body follows.
    pub fn has_body(&self) -> bool {
        self.all("transfer-encoding").next().is_some() || self.all("content-length").any(|length| length != b"0")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal_of(head: &str) -> Refusal {
        Head::read(head.as_bytes()).expect_err(head)
    }

    #[test]
    fn a_head_is_read_as_the_standard_says() {
        let bytes =
            b"GET /events?a=b HTTP/1.1\r\nHost: h\r\nCookie: a=1\r\ncookie: b=2\r\nX-A: 1\r\nX-A:2 \r\n\r\nrest";
        let head = Head::read(bytes).expect("a head").expect("a whole head");
        assert_eq!((head.method, head.target, head.len), ("GET", "/events?a=b", bytes.len() - 4));
        assert_eq!(head.path_and_query(), Some(("/events", "a=b")));
        assert_eq!(head.field("cookie").as_deref(), Some(&b"a=1, b=2"[..]));
        assert_eq!(head.field("x-a").as_deref(), Some(&b"1, 2"[..]));
        assert_eq!(head.field("x-b"), None);
        assert!(!head.has_body() && !head.is_ambiguous());
        for len in 0..head.len {
            assert!(matches!(Head::read(&bytes[..len]), Ok(None)), "{len}");
        }
    }

    #[test]
    fn what_could_be_understood_in_two_ways_is_malformed() {
        for head in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
            "GET / HTTP/2\r\nHost: a\r\n\r\n",
            "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ] {
            assert_eq!(refusal_of(head), Refusal::Malformed, "{head:?}");
        }
        assert!(matches!(Head::read(b"GET / HTTP/1.0\r\n\r\n"), Ok(Some(_))), "HTTP/1.0 needs no host");
    }

    #[test]
    fn a_head_has_its_bounds() {
        let fields = |count| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: 1\r\n".repeat(count));
        assert!(matches!(Head::read(fields(MAX_FIELDS - 1).as_bytes()), Ok(Some(_))));
        assert_eq!(refusal_of(&fields(MAX_FIELDS)), Refusal::TooLarge);
        assert_eq!(refusal_of(&format!("GET /{}", "a".repeat(MAX_HEAD))), Refusal::TooLarge);
    }

    #[test]
    fn a_body_is_seen_by_its_length_or_its_coding() {
        for (field, has_body) in
            [("Content-Length: 0", false), ("Content-Length: 1", true), ("Transfer-Encoding: x", true)]
        {
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n");
            assert_eq!(
                Head::read(text.as_bytes()).expect("a head").expect("a whole one").has_body(),
                has_body,
                "{field}"
            );
        }
    }
}
