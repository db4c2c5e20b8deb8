//! Positions in a hub's sequence, as ids say them, and what a gap is reported for.

/// A place in the hub's sequence, as an id says it: `EPOCH-PLACE`, or `EPOCH-PLACE-TOLD` where the client has been told
/// already that something through the place TOLD is forgotten. TOLD is 0 where it is still to be told of a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) seq: u64,
    pub(super) told: Option<u64>,
}

/// Decimal digits and nothing else.
fn number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok()
}

impl Position {
    pub(super) fn at(seq: u64) -> Self {
        Self { seq, told: None }
    }

    /// What an id of that epoch says; nothing, if it is none.
    pub(super) fn parse(id: &[u8], epoch: &str) -> Option<Self> {
        let mut parts = id.strip_prefix(epoch.as_bytes())?.strip_prefix(b"-")?.splitn(2, |byte| *byte == b'-');
        let seq = number(parts.next()?)?;
        let told = match parts.next() {
            Some(told) => Some(number(told)?),
            None => None,
        };
        Some(Self { seq, told })
    }

    pub(super) fn id(self, epoch: &str) -> String {
        match self.told {
            Some(told) => format!("{epoch}-{}-{told}", self.seq),
            None => format!("{epoch}-{}", self.seq),
        }
    }
}

/// Why a client may have missed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// Some of what it has missed is no longer in the history.
    Forgotten,
    /// Its id says nothing to this hub: it is of another one, ahead of the newest event, or nonsense.
    Unknown,
    /// It was slower than the history is long.
    Slow,
}

impl Gap {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forgotten => "forgotten",
            Self::Unknown => "unknown",
            Self::Slow => "slow",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_a_place_or_nothing() {
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
            let position = position.map(|(seq, told)| Position { seq, told });
            assert_eq!(Position::parse(id.as_bytes(), "e"), position, "{id}");
            if let Some(position) = position {
                assert_eq!(position.id("e"), id);
            }
        }
    }
}
