//! The settings of a hub's store, and its health, in messages.

use super::codec::{Malformed, Reader, Writer};
use crate::saved::{Restorer, Saved, Saver};
use std::time::Duration;

/// Where a hub in a process of its own keeps its events beside its memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StoreSettings {
    /// Nowhere: the events end with the hub's process.
    #[default]
    Memory,
    /// In a file of this machine.
    File(FileSettings),
    /// In a Redis stream, which the hubs of several machines share.
    Redis(Box<RedisSettings>),
}

/// The settings of a store in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    /// The absolute path of the file.
    pub path: Box<str>,
    /// What survives a loss of power.
    pub sync: FileSync,
}

/// When a store in a file has the disk write what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSync {
    /// When the system does.
    Never,
    /// Every second.
    Second,
    /// Before an event counts as published.
    Event,
}

/// The settings of a store in Redis.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisSettings {
    /// `redis://`, `rediss://` (TLS), `redis-sentinel://` or `rediss-sentinel://`, with user, password and number of the
    /// database.
    pub url: Box<str>,
    /// `USER:PASSWORD` or `:PASSWORD` for the Sentinels, encoded as in a URL. If empty, they need none, or that of Redis.
    pub sentinel_login: Box<str>,
    /// How many replicas have an event before it counts as published.
    pub replicas: u32,
    /// How many events wait while Redis is away; 0 if publishing fails then.
    pub queue: u32,
    /// The first part of all keys.
    pub prefix: Box<str>,
    /// The path of the certificates of the authorities that Redis' certificate is checked with; those of the system, if empty.
    pub ca: Box<str>,
    /// The path of the client's certificate; none, if empty.
    pub cert: Box<str>,
    /// The path of the client's key; none, if empty.
    pub key: Box<str>,
    /// How long a publish waits for Redis.
    pub timeout: Duration,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379/0".into(),
            sentinel_login: "".into(),
            replicas: 0,
            queue: 0,
            prefix: "es".into(),
            ca: "".into(),
            cert: "".into(),
            key: "".into(),
            timeout: Duration::from_secs(5),
        }
    }
}

/// Shows everything but users and passwords.
impl std::fmt::Debug for RedisSettings {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { replicas, queue, prefix, .. } = self;
        write!(out, "RedisSettings({}, prefix {prefix}, replicas {replicas}, queue {queue})", self.shown_url())
    }
}

impl RedisSettings {
    /// Returns the URL without user and password.
    pub fn shown_url(&self) -> String {
        match (self.url.find("://"), self.url.rfind('@')) {
            (Some(scheme), Some(at)) if at > scheme => format!("{}{}", &self.url[..scheme + 3], &self.url[at + 1..]),
            _ => self.url.to_string(),
        }
    }
}

impl StoreSettings {
    /// Returns the name of the kind of store.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::File(_) => "file",
            Self::Redis(_) => "redis",
        }
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        match self {
            Self::Memory => writer.u8(0),
            Self::File(FileSettings { path, sync }) => {
                writer.u8(1);
                writer.bytes(path.as_bytes());
                writer.u8(*sync as u8);
            }
            Self::Redis(settings) => {
                let RedisSettings { url, sentinel_login, replicas, queue, prefix, ca, cert, key, timeout } =
                    &**settings;
                writer.u8(2);
                writer.bytes(url.as_bytes());
                writer.bytes(sentinel_login.as_bytes());
                writer.u32(*replicas);
                writer.u32(*queue);
                for text in [prefix, ca, cert, key] {
                    writer.bytes(text.as_bytes());
                }
                writer.duration(*timeout);
            }
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        match reader.u8()? {
            0 => Ok(Self::Memory),
            1 => {
                let path = reader.str()?.into();
                let all = [FileSync::Never, FileSync::Second, FileSync::Event];
                let number = reader.u8()?;
                let sync = all.iter().copied().find(|sync| *sync as u8 == number).ok_or(Malformed)?;
                Ok(Self::File(FileSettings { path, sync }))
            }
            2 => Ok(Self::Redis(Box::new(RedisSettings {
                url: reader.str()?.into(),
                sentinel_login: reader.str()?.into(),
                replicas: reader.u32()?,
                queue: reader.u32()?,
                prefix: reader.str()?.into(),
                ca: reader.str()?.into(),
                cert: reader.str()?.into(),
                key: reader.str()?.into(),
                timeout: reader.duration()?,
            }))),
            _ => Err(Malformed),
        }
    }
}

impl Saved for StoreSettings {
    fn save(&self, to: &mut Saver) {
        let mut bytes = Vec::new();
        self.write(&mut Writer(&mut bytes));
        to.add_bytes(&bytes);
    }

    fn restore(from: &mut Restorer<'_>) -> Result<Self, Malformed> {
        let mut reader = Reader(from.take_bytes()?);
        let settings = Self::read(&mut reader)?;
        reader.end()?;
        Ok(settings)
    }
}

/// The health of a hub's store. Times are milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// `memory`, `file` or `redis`.
    pub kind: Box<str>,
    /// The path of the file, or the URL of Redis without user and password.
    pub place: Box<str>,
    /// Whether the store takes events, and reports what it has taken and what others have appended.
    pub is_up: bool,
    /// Since when that is so.
    pub since: u64,
    /// How many events wait to be stored.
    pub pending: u64,
    /// How many entries the store holds.
    pub events: u64,
    /// How many bytes they take.
    pub bytes: u64,
    /// The milliseconds between the storing of the last entry and its arrival here.
    pub lag: u64,
    /// How often history was lost, so that another epoch has begun.
    pub epoch_changes: u64,
    /// How often the connection was made anew.
    pub reconnects: u64,
    /// How many events could not be stored.
    pub failed: u64,
    /// The last error; empty if there was none.
    pub last_error: Box<str>,
    /// When it was.
    pub last_error_at: u64,
}

impl StoreStatus {
    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        let Self {
            kind,
            place,
            is_up,
            since,
            pending,
            events,
            bytes,
            lag,
            epoch_changes,
            reconnects,
            failed,
            last_error,
            last_error_at,
        } = self;
        for text in [kind, place, last_error] {
            writer.bytes(text.as_bytes());
        }
        writer.bool(*is_up);
        for number in [since, pending, events, bytes, lag, epoch_changes, reconnects, failed, last_error_at] {
            writer.u64(*number);
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let [kind, place, last_error] = [reader.str()?.into(), reader.str()?.into(), reader.str()?.into()];
        Ok(Self {
            kind,
            place,
            last_error,
            is_up: reader.bool()?,
            since: reader.u64()?,
            pending: reader.u64()?,
            events: reader.u64()?,
            bytes: reader.u64()?,
            lag: reader.u64()?,
            epoch_changes: reader.u64()?,
            reconnects: reader.u64()?,
            failed: reader.u64()?,
            last_error_at: reader.u64()?,
        })
    }
}
