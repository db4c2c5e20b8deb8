//! The pointer to the live stream, and how another epoch begins.

use super::super::is_epoch;
use super::connection::{CallError, RedisConnection};
use super::scripts;
use eventsource_xs::remote::calls::random;
use redis::{cmd, from_redis_value, Cmd, Value};

/// The version of the layout in Redis.
const LAYOUT: &str = "2";

/// The content of the pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    pub epoch: String,
    /// Milliseconds since 1970 by Redis' clock.
    pub origin: u64,
    pub cipher_key: [u8; 16],
    /// The reason for which the epoch began.
    pub reason: String,
}

/// The keys of a hub.
#[derive(Clone, Debug)]
pub struct Keys {
    pub pointer: String,
}

/// The keys of an epoch. All but the stream are those of all epochs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamKeys {
    pub stream: String,
    pub state: String,
    pub once: String,
    pub tickets: String,
}

impl Keys {
    pub fn new(prefix: &str, hub: &str) -> Self {
        Self { pointer: format!("{prefix}:{{{hub}}}") }
    }

    /// Returns the keys of an epoch.
    pub fn of(&self, epoch: &str) -> StreamKeys {
        let of = |name: &str| format!("{}{name}", self.pointer);
        StreamKeys { stream: of(&format!(":{epoch}")), state: of(".state"), once: of(".once"), tickets: of(".tickets") }
    }

    /// Returns the command that reads the pointer.
    pub fn read_command(&self) -> Cmd {
        let mut command = cmd("HMGET");
        command.arg(&self.pointer).arg(&["layout", "epoch", "origin", "cipher", "reason"]);
        command
    }

    /// Reads the pointer.
    pub fn read(&self, connection: &mut RedisConnection) -> Result<Option<Pointer>, CallError> {
        Pointer::parse(connection.call(&self.read_command())?)
    }

    /// Begins another epoch, if the epoch is still the expected one or there is none. Returns the pointer: this hub's, or that
    /// of another hub, which was first.
    pub fn replace(
        &self,
        connection: &mut RedisConnection,
        expected: &str,
        reason: &str,
    ) -> Result<Pointer, CallError> {
        let fresh = |error: std::io::Error| CallError::Cut(format!("no random numbers: {error}"));
        let epoch = random::text::<12>().map_err(fresh)?;
        let cipher = hex(random::bytes().map_err(fresh)?);
        let mut command = cmd("EVAL");
        let after = self.of(&epoch);
        command.arg(scripts::REPLACE_EPOCH.as_str()).arg(5).arg(&self.pointer).arg(self.of(expected).stream);
        command.arg(after.stream).arg(after.state).arg(after.once);
        command.arg(expected).arg(LAYOUT).arg(&epoch).arg(cipher).arg(reason);
        connection.call::<()>(&command)?;
        let gone = || CallError::Cut(format!("the key {} vanished", self.pointer));
        self.read(connection)?.ok_or_else(gone)
    }
}

impl Pointer {
    /// Takes the answer to [`Keys::read_command`].
    pub fn parse(answer: Value) -> Result<Option<Self>, CallError> {
        let refused = |message| CallError::Refused { code: "LAYOUT".into(), message };
        let malformed = || refused("the key of this hub holds something else".into());
        let parts = from_redis_value::<[Option<String>; 5]>(answer).map_err(|_| malformed())?;
        let [Some(layout), epoch, origin, cipher, reason] = parts else { return Ok(None) };
        if layout != LAYOUT {
            return Err(refused(format!("its history has the layout {layout}, this version knows {LAYOUT}")));
        }
        let epoch = epoch.filter(|epoch| is_epoch(epoch)).ok_or_else(malformed)?;
        let origin = origin.and_then(|text| text.parse().ok()).ok_or_else(malformed)?;
        let cipher_key = cipher.and_then(|text| parse_key(&text)).ok_or_else(malformed)?;
        Ok(Some(Self { epoch, origin, cipher_key, reason: reason.unwrap_or_default() }))
    }
}

/// Returns a key as text.
pub fn hex(key: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(key))
}

/// Reads a key from text.
pub fn parse_key(text: &str) -> Option<[u8; 16]> {
    u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32).map(u128::to_be_bytes)
}
