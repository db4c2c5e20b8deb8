//! Where a hub process keeps its events beside its memory: the kinds of stores, their settings and the rules of these. The
//! stores themselves are in eventsource-hub (`hub_process/src/store`).
//!
//! - `given`: settings as somebody has given them, and the check of paths, which several stores use
//! - `file`, `redis`: the settings of one kind of store, and their rules
//!
//! An application gives the settings by name, the command line and the environment as one text. Both have the same rules,
//! and no message shows any part of a user or a password.

mod file;
mod given;
mod redis;

pub use file::{FileSettings, FileSync};
pub use redis::RedisSettings;

use given::Given;
use std::time::Duration;

/// A kind of store.
struct StoreKind {
    /// The names of its settings, with spaces between. The first one says where the store is, and is the name of the kind.
    names: &'static str,
    /// The kind in a sentence.
    words: &'static str,
    /// Returns where the store is, if a text of the command line stands for this kind.
    place_in: fn(&str) -> Option<&str>,
    read: fn(&Given<'_>) -> Result<StoreSettings, String>,
}

impl StoreKind {
    fn name(&self) -> &'static str {
        self.names.split(' ').next().unwrap_or_default()
    }

    fn has(&self, setting: &str) -> bool {
        self.names.split(' ').any(|name| name == setting)
    }
}

/// The variable of the environment with the store of a process that is started.
pub const VARIABLE: &str = "EVENTSOURCE_STORE";

/// All kinds but memory, which has no settings.
const KINDS: [&StoreKind; 2] = [&file::KIND, &redis::KIND];

/// Where a hub process keeps its events beside its memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StoreSettings {
    /// Nowhere: the events end with the hub process.
    #[default]
    Memory,
    /// In a file of this machine.
    File(FileSettings),
    /// In a Redis stream, which the hubs of several machines share.
    Redis(Box<RedisSettings>),
}

impl StoreSettings {
    /// Reads settings by their names. Without any, the store is memory. `publish_timeout` is how long a worker waits for an id.
    /// Fails with the wrong setting and the mistake, for a person.
    pub fn new(given: &[(&str, &str)], publish_timeout: Duration) -> Result<Self, String> {
        if given.is_empty() {
            return Ok(Self::Memory);
        }
        let is_given = |kind: &&&StoreKind| given.iter().any(|(name, _)| *name == kind.name());
        let kind = KINDS.iter().find(is_given).ok_or("store needs file or redis, which says where it is")?;
        if let Some((name, _)) = given.iter().find(|(name, _)| !kind.has(name)) {
            return Err(match KINDS.iter().find(|other| other.has(name)) {
                Some(other) => format!("{name} is not for a store in {}, but for one in {}", kind.words, other.words),
                // It is not shown: it may be a part of a password.
                None => format!("unknown setting of store; known: {}", kind.names.replace(' ', ", ")),
            });
        }
        // A publish waits for Redis for less than its worker waits for the hub, so that the hub can still say whether the
        // event was perhaps published.
        (kind.read)(&Given { pairs: given, timeout: publish_timeout - publish_timeout / 5 })
    }

    /// Reads the text of a command line or the environment: `memory`, or where the store is, with other settings behind `?`.
    /// Errors are those of [`StoreSettings::new`].
    pub fn parse(text: &str, publish_timeout: Duration) -> Result<Self, String> {
        let (place, settings) = match text.rsplit_once('?') {
            Some((place, settings)) => (place, pairs(settings)?),
            None => (text, Vec::new()),
        };
        if place == "memory" {
            return if settings.is_empty() { Ok(Self::Memory) } else { Err("memory has no settings".into()) };
        }
        let of_kind = |kind: &&StoreKind| Some((kind.name(), (kind.place_in)(place)?));
        let place = KINDS.iter().find_map(of_kind).ok_or("a store is memory, file:PATH or the URL of Redis")?;
        let given: Vec<_> = std::iter::once(place).chain(settings).collect();
        Self::new(&given, publish_timeout)
    }

    /// Reads the text of the variable. A process that is started in the background has another working directory, so the path
    /// of a file is absolute. Errors are those of [`StoreSettings::new`].
    pub fn parse_variable(text: &str, publish_timeout: Duration) -> Result<Self, String> {
        let parsed = match text.strip_prefix("file:").map_or(false, |path| !path.starts_with('/')) {
            true => Err("the path must be absolute".to_owned()),
            false => Self::parse(text, publish_timeout),
        };
        parsed.map_err(|message| format!("{VARIABLE}: {message}"))
    }

    /// Returns the name of the kind of store.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::File(_) => file::KIND.name(),
            Self::Redis(_) => redis::KIND.name(),
        }
    }

    /// Returns where the store is, without user and password.
    pub fn place(&self) -> String {
        match self {
            Self::Memory => String::new(),
            Self::File(file) => file.path.to_string(),
            Self::Redis(redis) => redis.shown_url(),
        }
    }

    /// Returns true if the hubs of other machines use the same store.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Redis(_))
    }

    /// Returns true if an event counts as published when replicas of the store have it.
    pub fn has_replicas(&self) -> bool {
        matches!(self, Self::Redis(redis) if redis.replicas > 0)
    }

    /// Returns true if both settings are of the same store. Workers may wait for it for different times.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Redis(one), Self::Redis(other)) => {
                **one == RedisSettings { timeout: one.timeout, ..(**other).clone() }
            }
            _ => self == other,
        }
    }
}

coded!(StoreSettings by { 0: Memory, 1: File(settings), 2: Redis(settings) });

/// Reads `name=value&name=value`.
fn pairs(text: &str) -> Result<Vec<(&str, &str)>, String> {
    let pairs = text.split('&').map(|pair| pair.split_once('='));
    pairs.collect::<Option<_>>().ok_or_else(|| "what is behind ? must be settings: name=value&name=value".to_owned())
}

#[cfg(test)]
mod tests;
