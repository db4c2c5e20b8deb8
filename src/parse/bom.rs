//! The byte order mark that a stream may begin with, also when it arrives a byte at a time.

const MARK: &[u8] = b"\xEF\xBB\xBF";

/// How much of a byte order mark has been seen.
#[derive(Clone, Debug)]
pub(super) enum Bom {
    /// The stream began with this many bytes of the mark and nothing else.
    Seen(usize),
    /// The stream is past where a mark may stand.
    Past,
}

impl Default for Bom {
    fn default() -> Self {
        Self::Seen(0)
    }
}

impl Bom {
    /// Takes the next bytes and gives what belongs to the text: bytes held back earlier that turned out to be no
    /// mark, and what follows in `bytes`. WHATWG HTML 9.2.6: one leading U+FEFF is ignored.
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
