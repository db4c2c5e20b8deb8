//! Positions in a hub's sequence as event ids, and the reasons of `gap` events.

/// A client's position in the hub's sequence. Its id is `EPOCH-SEQ`, or `EPOCH-SEQ-REPORTED`.
///
/// REPORTED is present while a client is sent older events of some channels, of which others have evicted theirs:
/// evictions through that sequence number need no `gap` event. The client has received one, or it is new and has
/// missed nothing. REPORTED is 0 if the `gap` event is still to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) struct Position {
    pub(in crate::hub) seq: u64,
    pub(in crate::hub) reported: Option<u64>,
}

/// Parses decimal digits and nothing else.
fn number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok()
}

impl Position {
    pub(in crate::hub) fn at(seq: u64) -> Self {
        Self { seq, reported: None }
    }

    /// Parses an id. Returns none if it is not an id of that epoch.
    pub(in crate::hub) fn parse(id: &[u8], epoch: &str) -> Option<Self> {
        let mut parts = id.strip_prefix(epoch.as_bytes())?.strip_prefix(b"-")?.splitn(2, |byte| *byte == b'-');
        let seq = number(parts.next()?)?;
        let reported = match parts.next() {
            Some(reported) => Some(number(reported)?),
            None => None,
        };
        Some(Self { seq, reported })
    }

    pub(in crate::hub) fn id(self, epoch: &str) -> String {
        match self.reported {
            Some(reported) => format!("{epoch}-{}-{reported}", self.seq),
            None => format!("{epoch}-{}", self.seq),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_parses_to_its_position_or_to_none_if_it_is_malformed() {
        for (id, position) in [
            ("e-7", Some((7, None))),
            ("e-0", Some((0, None))),
            ("e-7-9", Some((7, Some(9)))),
            ("e-18446744073709551615", Some((u64::MAX, None))),
            ("e-18446744073709551616", None),
            ("e-", None),
            ("e", None),
            ("", None),
            ("e-+7", None),
            ("e--7", None),
            ("e-7-", None),
            ("e-7-8-9", None),
            ("e-7 ", None),
            ("f-7", None),
            ("ee-7", None),
            ("e-\u{664}", None),
        ] {
            let position = position.map(|(seq, reported)| Position { seq, reported });
            assert_eq!(Position::parse(id.as_bytes(), "e"), position, "{id}");
            if let Some(position) = position {
                assert_eq!(position.id("e"), id);
            }
        }
    }
}
