//! The first messages of a connection: a worker's or a command's, and the welcome; their version, and who is refused because of
//! that.

use super::codec::{decode, Coded, Malformed, Reader, Writer};
use super::frame::{write_frame_of, Frame};
use super::settings::{HubSettings, NamedSettings};
use crate::{ErrorCode, Failure};
use std::fmt;

/// The version of the messages. Processes of different versions work together in three requests only: the first messages of a
/// connection, which have one layout in all versions. Everything else a process refuses, and says what to do.
pub const VERSION: u16 = 24;

/// The most bytes of the first message of a connection, after its length: so much a hub process keeps of one that it
/// does not know yet.
pub const MAX_GREETING_BYTES: usize = 16 << 10;

/// The first bytes of each first message, in all versions.
const MAGIC: &[u8; 8] = b"ES-hub\r\n";

/// The kinds of first messages, in all versions.
const HELLO: u8 = 0;
const REPLACE: u8 = 253;
const STOP: u8 = 254;
const UPGRADE: u8 = 255;

/// Appends the first message of a connection as a frame.
fn write_first(out: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Writer<'_>)) -> Result<(), Failure> {
    write_frame_of(MAX_GREETING_BYTES, out, kind, |writer| {
        writer.0.extend_from_slice(MAGIC);
        write(writer);
    })
}

/// Returns the content of the first message of a connection; nothing if it is of another kind.
fn read_first(frame: Frame<'_>, kind: u8) -> Option<Reader<'_>> {
    frame.message.strip_prefix(MAGIC).filter(|_| frame.kind == kind).map(Reader)
}

/// Asks a hub process to continue as another program, instead of a [`Hello`]. The response is
/// [`Upgraded`](super::Response::Upgraded) by the new program, or [`Rejected`](super::Response::Rejected) by the old one, which
/// continues then. The layout of all three is the same in all versions: a new version asks an old one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upgrade<'a> {
    /// The path of the program; `None` stands for the path that the process has been started from.
    pub program: Option<&'a [u8]>,
}

impl<'a> Upgrade<'a> {
    /// Appends the message as a frame. Fails with `Invalid`, because of the path.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), Failure> {
        write_first(out, UPGRADE, |writer| self.program.write(writer))
    }

    /// Decodes the message; nothing if the frame is another one.
    pub fn decode(frame: Frame<'a>) -> Option<Self> {
        decode(read_first(frame, UPGRADE)?.0).ok().map(|program| Self { program })
    }
}

/// Asks a hub process to end, instead of a [`Hello`]. The response is the end of the connection, or
/// [`Rejected`](super::Response::Rejected) by a process that continues. The layout is the same in all versions from 15 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop<'a> {
    /// The hub that is to end.
    pub name: &'a str,
    /// True if only the process is to end, because another one was run for the hub: for one that a worker or a command has
    /// started. Any other one rejects this, as one of a version before 20.
    pub is_replaced: bool,
}

impl<'a> Stop<'a> {
    /// Appends the message as a frame. Fails with `Invalid`, because of the name.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), Failure> {
        let kind = if self.is_replaced { REPLACE } else { STOP };
        write_first(out, kind, |writer| self.name.write(writer))
    }

    /// Decodes the message; nothing if the frame is another one.
    pub fn decode(frame: Frame<'a>) -> Option<Self> {
        let is_replaced = frame.kind == REPLACE;
        let content = read_first(frame, if is_replaced { REPLACE } else { STOP })?;
        decode(content.0).ok().map(|name| Self { name, is_replaced })
    }
}

/// Names a connection of a worker, in all processes that have served or will serve the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerId {
    /// The hub process.
    pub process: u32,
    /// The connection's number there.
    pub number: u64,
}

/// The first message of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The hub that the worker looks for.
    pub name: Name,
    /// The role of the worker's connection.
    pub role: Role,
}

/// The purpose of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// A command, which takes the hub as it is.
    Command,
    /// A worker, with the hub's settings that it names.
    Worker(Box<NamedSettings>),
    /// A connection on which threads of a worker wait for responses, beside the one that has this number, with which it ends.
    Calls(WorkerId),
}

impl Hello {
    /// Appends the message as a frame. Fails with `Invalid`, because of `gap_data`, or the names of the events of the hub.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), Failure> {
        write_first(out, HELLO, |writer| {
            VERSION.write(writer);
            self.name.write(writer);
            self.role.write(writer);
        })
    }

    /// Decodes the message for a hub process that speaks the version `ours`.
    /// Fails with a [`Failure`] to [reject](super::Response::Rejected) the worker with: [`ErrorCode::Invalid`] if this is not a
    /// hello, [`ErrorCode::Unsupported`] if it has another version.
    pub fn decode(frame: Frame<'_>, ours: u16) -> Result<Self, Failure> {
        let malformed = |_| Failure::new(ErrorCode::Invalid, None, "the first message is not a hello of a worker");
        let mut reader = read_first(frame, HELLO).ok_or(Malformed).map_err(malformed)?;
        let version = u16::read(&mut reader).map_err(malformed)?;
        if version != ours {
            return Err(refusal_of_version(version, ours, &Name::read(&mut reader).map_err(malformed)?));
        }
        let (name, role) = Coded::read(&mut reader).map_err(malformed)?;
        reader.end().map_err(malformed)?;
        Ok(Self { name, role })
    }
}

/// The first message of a hub process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The hub's name.
    pub name: Name,
    /// The id of the process.
    pub pid: u32,
    /// The number of this connection in the process.
    pub number: u64,
    /// The epoch, with which the hub's ids begin.
    pub epoch: Box<str>,
    /// The settings that the hub has.
    pub settings: HubSettings,
    /// The number of bytes that the worker may send before it gets more [`Credits`](super::Response::Credits).
    pub credits: u64,
}

impl Welcome {
    /// Returns the id of this connection, for its [calls](Role::Calls).
    pub fn worker(&self) -> WorkerId {
        WorkerId { process: self.pid, number: self.number }
    }
}

coded! {
    WorkerId { process, number }
    Welcome { name, pid, number, epoch, settings, credits }
}

coded!(Role by { 0: Command, 1: Worker(settings), 2: Calls(worker) });

/// Returns the failure, with [`ErrorCode::Unsupported`] and the remedy, of a worker that does not speak the version `ours` of a
/// hub process.
fn refusal_of_version(workers: u16, ours: u16, hub: &Name) -> Failure {
    let remedy = if workers > ours {
        format!(
            "have the process continue as the program that was installed with the worker (eventsource hub upgrade {hub})"
        )
    } else {
        "restart the worker, so that it loads the library that was installed with the hub's program".to_owned()
    };
    let message =
        format!("this hub process speaks version {ours} of the protocol, the worker version {workers}: {remedy}");
    Failure::new(ErrorCode::Unsupported, None, &message)
}

/// The name of a hub, which is the name of files.
///
/// One to 64 ASCII letters, digits, `_`, `-` and `.`, beginning with a letter, a digit or `_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(Box<str>);

impl Name {
    const MAX_BYTES: usize = 64;

    /// Takes a name. Fails with `Invalid` if the text is not a name.
    pub fn new(text: &str) -> Result<Self, Failure> {
        let may_follow = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        let may_begin = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let is_name = text.bytes().all(may_follow) && text.as_bytes().first().map_or(false, may_begin);
        if is_name && text.len() <= Self::MAX_BYTES {
            Ok(Self(text.into()))
        } else {
            let message = "name must be 1 to 64 letters, digits, _, - and ., beginning with a letter, a digit or _";
            Err(Failure::invalid("name", message))
        }
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Coded<'_> for Name {
    fn write(&self, to: &mut Writer<'_>) {
        self.0.write(to);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        Self::new(from.str()?).map_err(|_| Malformed)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}
