//! Tickets: what an application has allowed for a stream, sealed, so that its client can bring it back.
//!
//! A client gets a ticket as a cookie, in the head of a stream that the application has accepted. Whoever has the keys opens
//! it: the hub process, or the worker for a hub without a name. A worker never has the keys of a named hub. The hub processes
//! of machines that share a store have the same keys.
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
//! than the 2^32 tickets for which random nonces suffice. Keys live as long as the hub in memory. An upgrade hands them over. A
//! store makes keys itself, which outlive the hub process (`hub_process/src/stored_hub/tickets.rs`).

#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use crate::codec::{decode, Coded, Writer};
use crate::hub::{Ticket, TicketOutcome, LONGEST_TICKET};
use crate::wire::VERSION;
use aes_gcm::aead::{AeadInPlace, KeyInit};
use aes_gcm::{Aes128Gcm, Nonce, Tag};

/// The content. The version of messages follows, because a ticket is encoded as they are: an upgrade keeps the keys, and a
/// ticket of another layout must not open.
const PURPOSE: &[u8] = b"EventSource-XS ticket\0";

const KEY_BYTES: usize = 16;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

/// The number of random bytes that a ticket takes: for its key, if that has to be made, and its nonce.
pub const RANDOM_BYTES: usize = KEY_BYTES + NONCE_BYTES;

/// A key.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// The keys of a hub have the numbers 0 to 255, over and over.
    pub number: u8,
    /// The key itself.
    pub secret: [u8; KEY_BYTES],
    /// From when it seals, in nanoseconds.
    pub since: u64,
}

/// The secret is not shown.
impl std::fmt::Debug for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Key {}", self.number)
    }
}

/// The keys of a hub's tickets. Times are nanoseconds of one clock: the system's monotonic one, or that of a shared store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TicketKeys {
    current: Option<Key>,
    previous: Option<Key>,
}

coded! {
    Key { number, secret, since }
    TicketKeys { current, previous }
}

impl TicketKeys {
    /// Returns keys that a store has made.
    pub fn new(current: Key, previous: Option<Key>) -> Self {
        Self { current: Some(current), previous }
    }

    /// Seals a ticket, with another key if it is time. `random` are bytes that nobody can guess.
    pub fn seal(&mut self, ticket: &Ticket, now: u64, random: [u8; RANDOM_BYTES]) -> Vec<u8> {
        let mut next = [0; KEY_BYTES];
        next.copy_from_slice(&random[..KEY_BYTES]);
        self.renew(now, next);
        self.seal_with_current(ticket, random).unwrap_or_default()
    }

    /// Puts another key in the place of the one that seals, if it is time. Returns true if it has.
    pub fn renew(&mut self, now: u64, secret: [u8; KEY_BYTES]) -> bool {
        if self.is_fresh(now) {
            return false;
        }
        let number = self.current.as_ref().map_or(0, |key| key.number.wrapping_add(1));
        self.previous = self.current.replace(Key { number, secret, since: now });
        true
    }

    /// Returns true if there is no key.
    pub fn is_empty(&self) -> bool {
        self.current.is_none()
    }

    /// Returns true if there is a key, and another one is not to take its place.
    pub fn is_fresh(&self, now: u64) -> bool {
        let longest = LONGEST_TICKET.as_nanos() as u64;
        self.current.as_ref().map_or(false, |key| now < key.since.saturating_add(longest))
    }

    /// Seals a ticket, if there is a key. The last random bytes are the nonce.
    pub fn seal_with_current(&self, ticket: &Ticket, random: [u8; RANDOM_BYTES]) -> Option<Vec<u8>> {
        let (key, nonce) = (self.current.as_ref()?, &random[KEY_BYTES..]);
        let mut bytes = vec![key.number];
        bytes.extend_from_slice(nonce);
        let content = bytes.len();
        ticket.write(&mut Writer(&mut bytes));
        let cipher = Aes128Gcm::new((&key.secret).into());
        let nonce = Nonce::from_slice(nonce);
        // It fails for more than 64 GiB.
        let tag = cipher.encrypt_in_place_detached(nonce, &associated(), &mut bytes[content..]).ok()?;
        bytes.extend_from_slice(&tag);
        Some(bytes)
    }

    /// Opens a ticket, if it is for the request of whoever asks. Fails with `Expired` or `Unknown`.
    pub fn open(&self, sealed: &[u8], is_for: impl FnOnce(&Ticket) -> bool, now: u64) -> Result<Ticket, TicketOutcome> {
        let (number, rest) = sealed.split_first().ok_or(TicketOutcome::Unknown)?;
        if rest.len() < NONCE_BYTES + TAG_BYTES {
            return Err(TicketOutcome::Unknown);
        }
        let (nonce, rest) = rest.split_at(NONCE_BYTES);
        let (content, tag) = rest.split_at(rest.len() - TAG_BYTES);
        let key = self.current.iter().chain(&self.previous).find(|key| key.number == *number);
        let cipher = Aes128Gcm::new((&key.ok_or(TicketOutcome::Unknown)?.secret).into());
        let mut content = content.to_vec();
        cipher
            .decrypt_in_place_detached(Nonce::from_slice(nonce), &associated(), &mut content, Tag::from_slice(tag))
            .map_err(|_| TicketOutcome::Unknown)?;
        let ticket = decode::<Ticket>(&content).ok().filter(is_for).ok_or(TicketOutcome::Unknown)?;
        if ticket.expires_at <= now {
            return Err(TicketOutcome::Expired);
        }
        Ok(ticket)
    }
}

fn associated() -> Vec<u8> {
    [PURPOSE, &VERSION.to_le_bytes()].concat()
}
