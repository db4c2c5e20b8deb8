//! The byte order mark at the start of a stream. It may arrive one byte at a time.

const MARK: &[u8] = b"\xEF\xBB\xBF";

/// The state of the search for a byte order mark.
#[derive(Clone, Debug)]
pub(super) enum Bom {
    /// The stream began with this many bytes of the mark and nothing else.
    Seen(usize),
    /// The position of the mark has passed.
    Past,
}

impl Default for Bom {
    fn default() -> Self {
        Self::Seen(0)
    }
}

impl Bom {
    /// Takes the next bytes of the stream and returns the text among them, in two parts: earlier bytes that turned out not
    /// to be a mark, and the rest of `bytes`. WHATWG HTML 9.2.6: one leading U+FEFF is ignored.
    pub(super) fn pass<'a>(&mut self, bytes: &'a [u8]) -> (&'static [u8], &'a [u8]) {
        let seen = match *self {
            Self::Seen(seen) => seen,
            Self::Past => return (b"", bytes),
        };
        let more = bytes.iter().zip(&MARK[seen..]).take_while(|(byte, mark)| byte == mark).count();
        if seen + more == MARK.len() {
            *self = Self::Past;
            return (b"", &bytes[more..]);
        }
        if more == bytes.len() {
            *self = Self::Seen(seen + more);
            return (b"", b"");
        }
        *self = Self::Past;
        (&MARK[..seen], bytes)
    }
}
