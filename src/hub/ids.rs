//! Ids of events: those that the hub gives, plain, `EPOCH-SEQ` or `EPOCH-SEQ-REPORTED`, or opaque, `EPOCH-CIPHERTEXT`; and the
//! last one that a client has.
//!
//! # Ids of the application
//!
//! An event may have an id of the application. A client resumes by ids of the hub only, because an id of the application does
//! not say which epoch it is of: the application may publish its events again, in another order, after the history was lost.
//! So a block with the hub's id, without data, follows such an event in the same bytes
//! ([`with_id_last`](crate::event::Shared::with_id_last)). The event has the id of the application for the page, and the
//! client comes back with that of the hub. Nothing that a publisher writes is looked up.

use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit};
use aes::Aes128;
use std::fmt;

/// The last id that the client of a stream was sent: the sequence number that it stands for, and whether the application
/// pushed it to the stream, in the lowest bit.
///
/// One word, because each stream has one. With a flag of its own a [`Cursor`](crate::hub::Cursor) would need a larger block
/// of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::hub) struct LastId(u64);

impl LastId {
    pub(in crate::hub) fn new(seq: u64, is_pushed: bool) -> Self {
        Self(seq << 1 | u64::from(is_pushed))
    }

    /// Returns the id of the hub for a sequence number.
    pub(in crate::hub) fn at(seq: u64) -> Self {
        Self::new(seq, false)
    }

    pub(in crate::hub) fn seq(self) -> u64 {
        self.0 >> 1
    }

    pub(in crate::hub) fn is_pushed(self) -> bool {
        self.0 & 1 != 0
    }
}

/// A client's position in the hub's sequence. Its id is `EPOCH-SEQ`, or `EPOCH-SEQ-REPORTED`.
///
/// REPORTED is present while a client is sent older events of some channels, of which others have evicted theirs:
/// evictions through that sequence number need no `gap` event. The client has received one, or it is new and has
/// missed nothing. REPORTED is 0 if the `gap` event is still to be sent. If it is not greater than SEQ, the client has the
/// state as of SEQ through REPORTED, and was not told that the state is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::hub) struct ClientPosition {
    pub(in crate::hub) seq: u64,
    pub(in crate::hub) reported: Option<u64>,
}

/// Parses decimal digits and nothing else.
fn decimal(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok()
}

impl ClientPosition {
    pub(in crate::hub) fn at(seq: u64) -> Self {
        Self { seq, reported: None }
    }

    /// Parses an id. Returns none if it is not an id of that epoch.
    pub(in crate::hub) fn parse(id: &[u8], epoch: &str) -> Option<Self> {
        let mut parts = id.strip_prefix(epoch.as_bytes())?.strip_prefix(b"-")?.splitn(2, |byte| *byte == b'-');
        let seq = decimal(parts.next()?)?;
        let reported = match parts.next() {
            Some(reported) => Some(decimal(reported)?),
            None => None,
        };
        Some(Self { seq, reported })
    }

    pub(in crate::hub) fn id(self, epoch: &str) -> String {
        match self.reported {
            Some(reported) => format!("{epoch}-{}-{reported}", self.seq),
            None => [epoch, "-", &self.seq.to_string()].concat(),
        }
    }
}

/// One life of a hub's logs. Every id begins with the epoch's text, so that no id of another epoch is taken for one
/// of this.
#[derive(Clone)]
pub struct Epoch {
    text: Box<str>,
    /// The ciphers of opaque ids. They are boxed because a key schedule is large.
    ciphers: Option<Box<Ciphers>>,
}

/// The cipher of opaque ids.
#[derive(Clone)]
struct Ciphers {
    /// The key, with which a new program continues.
    key: [u8; 16],
    position: Aes128,
    check: Aes128,
}

/// The digits of an opaque id, of five bits each.
const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
/// The number of digits for one block of the cipher.
const BLOCK_LENGTH: usize = 26;
/// The number of digits that show whether an id was invented: one of 2^40 invented ids has the right ones.
const CHECK_LENGTH: usize = 8;

impl Epoch {
    /// Creates an epoch. Its ids show sequence numbers, or are enciphered with a secret key.
    pub fn new(text: &str, key: Option<[u8; 16]>) -> Self {
        Self { text: text.into(), ciphers: key.map(|key| Box::new(Ciphers::new(&key))) }
    }

    /// Returns the text that ids begin with.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the key of opaque ids, if they are.
    pub(in crate::hub) fn key(&self) -> Option<[u8; 16]> {
        self.ciphers.as_ref().map(|ciphers| ciphers.key)
    }

    /// Returns true if an id is one of this epoch, or looks like one.
    pub fn is_like(&self, id: &[u8]) -> bool {
        id.strip_prefix(self.text.as_bytes()).map_or(false, |rest| rest.starts_with(b"-"))
    }

    /// Returns the id of the event with a sequence number.
    pub fn event_id(&self, seq: u64) -> String {
        self.id(ClientPosition::at(seq))
    }

    /// Returns the sequence number of a position that an id names; none if it is not an id of this epoch.
    pub fn seq(&self, id: &[u8]) -> Option<u64> {
        self.position(id).map(|position| position.seq)
    }

    /// Returns the sequence number that an id names, if only a hub with the key of this epoch can have made the id: a part of
    /// what an opaque id enciphers is fixed, and it has a check value. An invented one would have to meet both.
    pub fn proven_seq(&self, id: &[u8]) -> Option<u64> {
        self.ciphers.as_ref()?;
        self.position(id).filter(|position| position.reported.is_none()).map(|position| position.seq)
    }

    pub(in crate::hub) fn id(&self, position: ClientPosition) -> String {
        match &self.ciphers {
            Some(ciphers) => format!("{}-{}", self.text, ciphers.encipher(position)),
            None => position.id(&self.text),
        }
    }

    /// Returns the position of an id; none if it is not an id of this epoch.
    pub(in crate::hub) fn position(&self, id: &[u8]) -> Option<ClientPosition> {
        match &self.ciphers {
            Some(ciphers) => ciphers.decipher(id.strip_prefix(self.text.as_bytes())?.strip_prefix(b"-")?),
            None => ClientPosition::parse(id, &self.text),
        }
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Epoch").field("text", &self.text).field("is_opaque", &self.ciphers.is_some()).finish()
    }
}

impl Ciphers {
    fn new(key: &[u8; 16]) -> Self {
        let position = Aes128::new(key.into());
        // A block that is not a position, since no event has this number.
        let mut of_check = [u8::MAX; 16].into();
        position.encrypt_block(&mut of_check);
        Self { key: *key, position, check: Aes128::new(&of_check) }
    }

    /// Enciphers both numbers of a position as one block, so that two ids do not show which is the later one. Numbers of a
    /// store may be so large that a block of random bytes is one of them: the check tells it from the hub's own.
    fn encipher(&self, position: ClientPosition) -> String {
        let mut block = [0; 16];
        block[..8].copy_from_slice(&position.seq.to_be_bytes());
        block[8..].copy_from_slice(&position.reported.unwrap_or(u64::MAX).to_be_bytes());
        let mut block = block.into();
        self.position.encrypt_block(&mut block);
        let number = u128::from_be_bytes(block.into());
        digits(number, BLOCK_LENGTH) + &digits(self.check_of(number), CHECK_LENGTH)
    }

    fn decipher(&self, text: &[u8]) -> Option<ClientPosition> {
        if text.len() != BLOCK_LENGTH + CHECK_LENGTH || text[0] > b'7' {
            return None;
        }
        let (block, check) = text.split_at(BLOCK_LENGTH);
        let number = number(block)?;
        if digits(self.check_of(number), CHECK_LENGTH).as_bytes() != check {
            return None;
        }
        let mut block = number.to_be_bytes().into();
        self.position.decrypt_block(&mut block);
        let block: [u8; 16] = block.into();
        let half = |from: usize| u64::from_be_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|at| block[from + at]));
        Some(ClientPosition { seq: half(0), reported: Some(half(8)).filter(|reported| *reported < u64::MAX) })
    }

    fn check_of(&self, number: u128) -> u128 {
        let mut block = number.to_be_bytes().into();
        self.check.encrypt_block(&mut block);
        u128::from_be_bytes(block.into())
    }
}

/// Returns the last digits of a number.
fn digits(number: u128, count: usize) -> String {
    (0..count).rev().map(|at| char::from(DIGITS[(number >> (5 * at)) as usize % 32])).collect()
}

fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = DIGITS.iter().position(|known| known == digit)?;
        Some(number << 5 | value as u128)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_id_keeps_its_number_and_its_kind() {
        for (seq, is_pushed) in [(0, false), (0, true), (7, false), (u64::MAX >> 1, true)] {
            let id = LastId::new(seq, is_pushed);
            assert_eq!((id.seq(), id.is_pushed()), (seq, is_pushed));
        }
    }

    const KEY: [u8; 16] = [7; 16];

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
            let position = position.map(|(seq, reported)| ClientPosition { seq, reported });
            assert_eq!(ClientPosition::parse(id.as_bytes(), "e"), position, "{id}");
            if let Some(position) = position {
                assert_eq!(position.id("e"), id);
            }
        }
    }

    #[test]
    fn an_opaque_id_gives_its_position_only_with_the_key_of_its_hub() {
        let epoch = Epoch::new("abcdefgh", Some(KEY));
        let other = Epoch::new("abcdefgh", Some([8; 16]));
        for seq in [0, 1, 2, 1 << 40, u64::MAX] {
            for reported in [None, Some(0), Some(1), Some(1 << 50)] {
                let position = ClientPosition { seq, reported };
                let id = epoch.id(position);
                assert_eq!(id.len(), 9 + BLOCK_LENGTH + CHECK_LENGTH, "{id}");
                assert_eq!(epoch.position(id.as_bytes()), Some(position), "{id}");
                assert_eq!(other.position(id.as_bytes()), None, "{id}");
            }
        }
    }

    #[test]
    fn an_invented_opaque_id_gives_no_position() {
        let epoch = Epoch::new("e", Some(KEY));
        for id in ["e-0", "e-1", "e-", "e-7-8", "e-0000000000000000000000000", "e-z0000000000000000000000000", "f-0"] {
            assert_eq!(epoch.position(id.as_bytes()), None, "{id}");
        }
        let real = epoch.event_id(7);
        for number in 0..1000 {
            let of_right_form = format!("e-{:0width$}", number, width = real.len() - 2);
            let short = format!("e-{:026}", number);
            let mut changed = real.clone().into_bytes();
            let at = 2 + number % (real.len() - 2);
            changed[at] = DIGITS[number % 32];
            for id in [of_right_form.as_bytes(), short.as_bytes(), &changed] {
                assert!(id == real.as_bytes() || epoch.position(id).is_none(), "{}", String::from_utf8_lossy(id));
            }
        }
    }

    #[test]
    fn only_an_opaque_id_of_this_epoch_proves_that_it_was_given() {
        let (plain, opaque) = (Epoch::new("e", None), Epoch::new("e", Some(KEY)));
        assert_eq!(plain.proven_seq(b"e-7"), None);
        let seq = 7 << 40;
        assert_eq!(opaque.proven_seq(opaque.event_id(seq).as_bytes()), Some(seq));
        let reported = opaque.id(ClientPosition { seq, reported: Some(3) });
        assert_eq!(opaque.proven_seq(reported.as_bytes()), None);
        for number in 0..10_000 {
            assert_eq!(opaque.proven_seq(format!("e-{number:034}").as_bytes()), None);
        }
    }

    #[test]
    fn opaque_ids_of_neighbouring_positions_share_few_digits() {
        let epoch = Epoch::new("e", Some(KEY));
        let ids: Vec<String> = (1..100).map(|seq| epoch.event_id(seq)).collect();
        for pair in ids.windows(2) {
            let same = pair[0].bytes().skip(2).zip(pair[1].bytes().skip(2)).filter(|(one, other)| one == other).count();
            assert!(same < 10, "{pair:?}");
        }
    }
}
