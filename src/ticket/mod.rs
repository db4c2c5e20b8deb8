//! Tickets: what an application has allowed for a stream, sealed, so that its client can bring it back.
//!
//! A client gets a ticket as a cookie, in the head of a stream that the application has accepted. Whoever has the keys opens
//! it: the hub process, or the worker for a hub without a name. A worker never has the keys of a named hub.
//!
//! # What a ticket is
//!
//! ```text
//! number of the key (1 byte), nonce (12 random bytes), the Ticket as a message has it, tag (16 bytes)
//! ```
//!
//! The last two are AES-128-GCM's. Its associated data are `PURPOSE` and the version of messages. There is no field that says
//! how it is sealed, and nothing is read before the tag is right. Then whoever opens it compares what it is bound to.
//!
//! # Keys
//!
//! A key seals for `LONGEST_TICKET`, and opens as long once more; then no ticket of it is valid. So a key seals far fewer
//! than the 2^32 tickets for which random nonces suffice. Keys live as long as the hub in memory. An upgrade keeps them.

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use crate::codec::{Coded, Malformed, Reader, Writer};
use crate::hub::{Ticket, LONGEST_TICKET};
use crate::wire::VERSION;
use aes_gcm::aead::{AeadInPlace, KeyInit};
use aes_gcm::{Aes128Gcm, Nonce, Tag};

/// What is sealed. The version of messages follows, because a ticket is encoded as they are: an upgrade keeps the keys, and a
/// ticket of another layout must not open.
const PURPOSE: &[u8] = b"EventSource-XS ticket\0";

const KEY_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// How many random bytes a ticket takes.
pub const RANDOM_BYTES: usize = KEY_BYTES + NONCE_BYTES;

/// Why a ticket is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is too old.
    Expired,
    /// It does not open.
    Unknown,
}

/// A key.
#[derive(Clone, PartialEq, Eq)]
struct Key {
    /// The keys of a hub have the numbers 0 to 255, over and over.
    number: u8,
    secret: [u8; KEY_BYTES],
    /// From when it seals: nanoseconds of the system's monotonic clock.
    since: u64,
}

/// The secret is not shown.
impl std::fmt::Debug for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Key {}", self.number)
    }
}

/// The keys of a hub's tickets. Times are nanoseconds of the system's monotonic clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TicketKeys {
    current: Option<Key>,
    previous: Option<Key>,
}

impl TicketKeys {
    /// Seals a ticket. `random` are bytes that nobody can guess.
    pub fn seal(&mut self, ticket: &Ticket, now: u64, random: [u8; RANDOM_BYTES]) -> Vec<u8> {
        let (secret, nonce) = random.split_at(KEY_BYTES);
        let key = self.sealing(secret, now);
        let mut bytes = vec![key.number];
        bytes.extend_from_slice(nonce);
        let content = bytes.len();
        ticket.write(&mut Writer(&mut bytes));
        let cipher = Aes128Gcm::new((&key.secret).into());
        let nonce = Nonce::from_slice(nonce);
        match cipher.encrypt_in_place_detached(nonce, &associated(), &mut bytes[content..]) {
            Ok(tag) => bytes.extend_from_slice(&tag),
            Err(_) => bytes.clear(), // it has more than 64 GiB
        }
        bytes
    }

    /// Opens a ticket, if it is for the request of whoever asks.
    pub fn open(&self, sealed: &[u8], is_for: impl FnOnce(&Ticket) -> bool, now: u64) -> Result<Ticket, Refusal> {
        let (number, rest) = sealed.split_first().ok_or(Refusal::Unknown)?;
        if rest.len() < NONCE_BYTES + TAG_BYTES {
            return Err(Refusal::Unknown);
        }
        let (nonce, rest) = rest.split_at(NONCE_BYTES);
        let (content, tag) = rest.split_at(rest.len() - TAG_BYTES);
        let key = self.current.iter().chain(&self.previous).find(|key| key.number == *number);
        let cipher = Aes128Gcm::new((&key.ok_or(Refusal::Unknown)?.secret).into());
        let mut content = content.to_vec();
        cipher
            .decrypt_in_place_detached(Nonce::from_slice(nonce), &associated(), &mut content, Tag::from_slice(tag))
            .map_err(|_| Refusal::Unknown)?;
        let ticket = decode(&content).ok().filter(is_for).ok_or(Refusal::Unknown)?;
        if ticket.expires_at <= now {
            return Err(Refusal::Expired);
        }
        Ok(ticket)
    }

    /// Returns the key that seals now. If the last one has done so for long enough, another one with this secret follows.
    fn sealing(&mut self, secret: &[u8], now: u64) -> &Key {
        let longest = LONGEST_TICKET.as_nanos() as u64;
        let is_fresh = self.current.as_ref().map_or(false, |key| now < key.since.saturating_add(longest));
        if !is_fresh {
            let number = self.current.as_ref().map_or(0, |key| key.number.wrapping_add(1));
            self.previous = self.current.take();
            let mut next = Key { number, secret: [0; KEY_BYTES], since: now };
            next.secret.copy_from_slice(secret);
            self.current = Some(next);
        }
        self.current.as_ref().expect("it was made")
    }
}

fn associated() -> Vec<u8> {
    [PURPOSE, &VERSION.to_le_bytes()].concat()
}

/// Returns an opened ticket as bytes, for the process that subscribes its stream.
pub fn encode(ticket: &Ticket) -> Vec<u8> {
    let mut bytes = Vec::new();
    ticket.write(&mut Writer(&mut bytes));
    bytes
}

/// Returns the ticket that [`encode`] has made bytes of.
///
/// # Errors
///
/// [`Malformed`] if the bytes are not a ticket.
pub fn decode(bytes: &[u8]) -> Result<Ticket, Malformed> {
    let mut reader = Reader(bytes);
    let ticket = Ticket::read(&mut reader)?;
    reader.end().map(|()| ticket)
}

saved!(Key { number, secret, since });
saved!(TicketKeys { current, previous });
