//! Incremental parsing of a response to GET: its head, then its body without the chunks.

/// The framing of the body.
#[derive(Debug, PartialEq)]
pub enum Framing {
    Plain,
    Chunked(Chunks),
}

/// Why a response is not a stream.
#[derive(Debug, PartialEq)]
pub enum Bad {
    Status,
    Chunk,
}

/// Parses a head. Returns `None` if it is incomplete, otherwise its length and the framing of the body.
pub fn head(bytes: &[u8]) -> Option<Result<(usize, Framing), Bad>> {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    if text.split(' ').nth(1) != Some("200") {
        return Some(Err(Bad::Status));
    }
    let is_chunked = text.lines().any(|line| line.starts_with("transfer-encoding:") && line.ends_with("chunked"));
    Some(Ok((end, if is_chunked { Framing::Chunked(Chunks::Size(0)) } else { Framing::Plain })))
}

/// Returns the value of a field of a head; its name is in lower case.
pub fn field<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let mut fields = std::str::from_utf8(head).ok()?.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// The state of the parser of chunks (RFC 9112, section 7.1).
#[derive(Debug, PartialEq)]
pub enum Chunks {
    Size(usize),
    /// After the size: an extension, or the CR of the line's end.
    SizeLine(usize),
    Data(usize),
    DataEnd,
    /// After the last chunk: what follows is not part of the body.
    Over,
}

impl Chunks {
    /// Appends the body's bytes among `bytes` to `body`. The input may be split anywhere.
    pub fn unframe(&mut self, mut bytes: &[u8], body: &mut Vec<u8>) -> Result<(), Bad> {
        while let [first, rest @ ..] = bytes {
            if let Self::Data(left) = self {
                let (data, after) = bytes.split_at(bytes.len().min(*left));
                body.extend_from_slice(data);
                *self = if data.len() == *left { Self::DataEnd } else { Self::Data(*left - data.len()) };
                bytes = after;
                continue;
            }
            self.step(*first)?;
            bytes = rest;
        }
        Ok(())
    }

    fn step(&mut self, byte: u8) -> Result<(), Bad> {
        *self = match (&self, byte) {
            (Self::Size(size), b'\r' | b';' | b' ') => Self::SizeLine(*size),
            (Self::Size(size), _) => {
                let digit = char::from(byte).to_digit(16).ok_or(Bad::Chunk)?;
                Self::Size(size.checked_mul(16).ok_or(Bad::Chunk)? + digit as usize)
            }
            (Self::SizeLine(0), b'\n') => Self::Over,
            (Self::SizeLine(size), b'\n') => Self::Data(*size),
            (Self::SizeLine(size), _) => Self::SizeLine(*size),
            (Self::DataEnd, b'\r') => Self::DataEnd,
            (Self::DataEnd, b'\n') => Self::Size(0),
            (Self::Over, _) => Self::Over,
            _ => return Err(Bad::Chunk),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_determines_the_framing() {
        let chunked = Framing::Chunked(Chunks::Size(0));
        for (bytes, expected) in [
            ("HTTP/1.1 200 OK\r\nA: b\r\n", None),
            ("HTTP/1.0 200 OK\r\nA: b\r\n\r\ndata", Some(Ok((25, Framing::Plain)))),
            ("HTTP/1.1 200 OK\r\ntransfer-Encoding: chunked\r\n\r\n", Some(Ok((47, chunked)))),
            ("HTTP/1.1 503 No\r\n\r\n", Some(Err(Bad::Status))),
        ] {
            assert_eq!(head(bytes.as_bytes()), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_body_is_the_same_wherever_its_chunks_are_split() {
        let framed = b"5\r\nhello\r\nA;x=y\r\n, world, a\r\n1\r\n!\r\n0\r\n\r\nmore";
        for cut in 0..=framed.len() {
            let (mut chunks, mut body) = (Chunks::Size(0), Vec::new());
            chunks.unframe(&framed[..cut], &mut body).unwrap();
            chunks.unframe(&framed[cut..], &mut body).unwrap();
            assert_eq!(body, b"hello, world, a!", "cut at {cut}");
            assert_eq!(chunks, Chunks::Over);
        }
    }

    #[test]
    fn a_malformed_chunk_is_refused() {
        for framed in ["x\r\n", "2\r\nabc\r\n"] {
            assert_eq!(Chunks::Size(0).unframe(framed.as_bytes(), &mut Vec::new()), Err(Bad::Chunk), "{framed:?}");
        }
    }
}
