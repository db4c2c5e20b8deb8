//! The keys of tickets in the file.
//!
//! With the keys of a killed process the next one opens its tickets. That must not open one which was withdrawn, so the file
//! has to have each request to end streams that was carried out before. Keys count only
//!
//! - in their epoch: another one begins where entries are missing, or may be,
//! - in their boot: a loss of power may take the last entries. Their times are those of its monotonic clock,
//! - if the file is known to have what was delivered last: an earlier one may have been written over it.
//!
//! Otherwise other keys take their place, and no earlier ticket opens.

use super::database::Database;
use super::fault::{Fault, Kind};
use super::Surroundings;
use crate::store::{Began, Delivered};
use eventsource_xs::codec::{decode, encode};
use eventsource_xs::coded;
use eventsource_xs::remote::calls::random;
use eventsource_xs::ticket::TicketKeys;

/// The name of the value with the keys.
const NAME: &str = "ticket_keys";

/// The keys, and what they are bound to.
#[derive(Debug, PartialEq, Eq)]
pub struct KeptKeys {
    epoch: Box<str>,
    boot: Box<str>,
    keys: TicketKeys,
}

coded!(KeptKeys { epoch, boot, keys });

impl KeptKeys {
    /// Returns the keys of a store that begins: those in the file, if they count, or none. [`renew`](Self::renew) makes others.
    pub fn begin(database: &Database, began: &Began, surroundings: &Surroundings) -> Result<Self, Fault> {
        let Surroundings { boot, delivered, .. } = surroundings;
        let mut begun = Self { epoch: began.history.epoch.clone(), boot: boot.clone(), keys: TicketKeys::default() };
        let is_whole = delivered.as_ref().is_some_and(|last: &Delivered| last.is_in(began));
        if is_whole && !boot.is_empty() {
            let kept = database.meta::<Vec<u8>>(NAME)?.and_then(|bytes| decode::<Self>(&bytes).ok());
            let kept = kept.filter(|kept| (&kept.epoch, &kept.boot) == (&begun.epoch, &begun.boot));
            begun.keys = kept.map_or(begun.keys, |kept| kept.keys);
        }
        Ok(begun)
    }

    /// Puts another key in the place of the one that seals, if it is time. Returns the keys.
    pub fn renew(&mut self, database: &Database, surroundings: &Surroundings) -> Result<TicketKeys, Fault> {
        let secret =
            random::bytes().map_err(|error| Fault::new(Kind::Passing, format!("no random numbers: {error}")))?;
        let mut keys = self.keys.clone();
        if keys.renew((surroundings.monotonic)(), secret) {
            let next = Self { epoch: self.epoch.clone(), boot: self.boot.clone(), keys };
            database.write_meta(&[(NAME, &encode(&next))])?;
            *self = next;
        }
        Ok(self.keys.clone())
    }
}
