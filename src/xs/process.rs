//! The handle behind an EventSource::Hub::Process: a connection to a hub process, for commands and jobs.
//!
//! A call has a name and texts, and returns texts, so that the boundary is one function for all of them. Both sides are in
//! this distribution: `perl/EventSource/Hub/Process.pm` has the arguments and results of each call.

use super::counts;
use super::guard::{self, Failure, Report, OK};
use super::stream::seconds;
use super::text::{path_of, RawText};
use crate::event::{EventId, EventName, Field, FieldError, Framing, LineEnd, Retry, Text};
use crate::hub::{EndRequest, FirstBlock, PositionStyle, Retain, Start, SubscribeRequest, Topic};
use crate::remote::{self, kept_settings, Client, Place, Publication};
use crate::store_settings::StoreSettings;
use crate::stream::Settings;
use crate::wire::{FieldList, Name, Open, Request};
use crate::ErrorCode;
use rustix::fd::BorrowedFd;
use std::fmt;
use std::os::raw::{c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::slice;
use std::time::Duration;

/// A connection, and the results of its last call.
struct HubProcess {
    client: Client,
    streams: u64,
    results: Vec<Vec<u8>>,
}

/// Why a call failed.
#[derive(Debug)]
enum Error {
    Field(FieldError),
    Remote(remote::Error),
}

impl From<FieldError> for Error {
    fn from(error: FieldError) -> Self {
        Self::Field(error)
    }
}

impl From<remote::Error> for Error {
    fn from(error: remote::Error) -> Self {
        Self::Remote(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(error) => error.fmt(out),
            Self::Remote(error) => error.fmt(out),
        }
    }
}

impl Failure for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Field(error) => Failure::code(error),
            Self::Remote(error) => error.code(),
        }
    }

    fn field(&self) -> Option<&'static str> {
        match self {
            Self::Field(error) => Failure::field(error),
            Self::Remote(error) => error.field(),
        }
    }
}

/// The arguments of a call, in their order.
struct Arguments<'a>(slice::Iter<'a, Option<&'a [u8]>>);

impl<'a> Arguments<'a> {
    /// Returns the next one; none if it is undefined.
    fn next(&mut self) -> Option<&'a [u8]> {
        self.0.next().copied().flatten()
    }

    fn bytes(&mut self) -> &'a [u8] {
        self.next().unwrap_or_default()
    }

    fn text(&mut self) -> Option<&'a str> {
        self.next().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    fn number<T: std::str::FromStr + Default>(&mut self) -> T {
        self.text().and_then(|text| text.parse().ok()).unwrap_or_default()
    }
}

impl HubProcess {
    fn call(&mut self, name: &[u8], mut arguments: Arguments<'_>) -> Result<(), Error> {
        match name {
            b"welcome" => self.welcome(),
            b"publish" => self.publish(arguments)?,
            b"answers" => self.answers()?,
            b"count" => self.count(arguments)?,
            b"channels" => self.channels(arguments)?,
            b"members" => self.members(arguments)?,
            b"describe" => self.describe()?,
            b"follow" => self.follow(arguments)?,
            b"drain" => self.client.drain(seconds(arguments.number()))?,
            b"end" => self.end(arguments)?,
            b"stop" => self.client.stop()?,
            _ => {
                let message = "there is no such call".to_owned();
                return Err(remote::Error::Invalid { field: "name", message }.into());
            }
        }
        Ok(())
    }

    fn push(&mut self, result: impl Into<Vec<u8>>) {
        self.results.push(result.into());
    }

    fn welcome(&mut self) {
        let welcome = self.client.welcome().clone();
        self.push(welcome.pid.to_string());
        self.push(&*welcome.epoch);
        self.push(welcome.settings.hub.gap_event.as_bytes());
        self.push(welcome.settings.hub.position_event.as_bytes());
    }

    fn publish(&mut self, mut given: Arguments<'_>) -> Result<(), Error> {
        let (channel, key, once) = (given.bytes(), given.bytes(), given.bytes());
        let retain = match given.bytes() {
            b"" => Retain::No,
            b"forget" => Retain::Forget,
            _ => Retain::Newest,
        };
        let (event, id, retry, data) = (given.text(), given.text(), given.text(), given.text());
        let mut fields = Vec::new();
        if let Some(event) = event {
            fields.push(Field::Event(EventName::new(Text::from(event))?));
        }
        if let Some(id) = id {
            fields.push(Field::Id(EventId::new(Text::from(id))?));
        }
        if let Some(retry) = retry {
            fields.push(Field::Retry(Retry::new(Text::from(retry))?));
        }
        fields.extend(data.map(|data| Field::Data(Text::from(data))));
        self.client.begin_publish(&Publication { channel, key, retain, once, fields: FieldList::of(fields) })?;
        Ok(())
    }

    fn answers(&mut self) -> Result<(), Error> {
        for answer in self.client.answers()? {
            match answer {
                Ok(id) => {
                    self.push(id);
                    self.push("");
                    self.push("");
                }
                Err(failure) => {
                    self.push("");
                    self.push(&*failure.message);
                    self.push(failure.code.name());
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, mut given: Arguments<'_>) -> Result<(), Error> {
        let counted = self.client.count(given.bytes())?;
        self.push(counted.subscribers.to_string());
        for (name, value) in counts::of_process(&counted) {
            self.push(name);
            self.push(value);
        }
        Ok(())
    }

    fn members(&mut self, mut given: Arguments<'_>) -> Result<(), Error> {
        let page = self.client.members(given.bytes(), given.next().filter(|after| !after.is_empty()))?;
        self.results = page.into_texts().into_iter().map(Into::into).collect();
        Ok(())
    }

    fn channels(&mut self, mut given: Arguments<'_>) -> Result<(), Error> {
        let page = self.client.channels(given.bytes(), given.number())?;
        self.push(page.next.map_or_else(String::new, |next| next.to_string()));
        for channel in page.channels {
            self.push(&*channel.name);
            for number in [channel.subscribers, channel.events, channel.bytes, channel.keys] {
                self.push(number.to_string());
            }
            self.push(&*channel.last_id);
        }
        Ok(())
    }

    fn describe(&mut self) -> Result<(), Error> {
        let described = self.client.describe()?;
        self.push(&*described.version);
        self.push(format!("{:.3}", described.age.as_secs_f64()));
        for worker in described.workers {
            self.push(worker.to_string());
        }
        Ok(())
    }

    /// Ends streams: whether for good, then labels, channels and patterns.
    fn end(&mut self, mut given: Arguments<'_>) -> Result<(), Error> {
        let mut end = EndRequest { finishes: given.bytes() == b"1", ..EndRequest::default() };
        while let Some(kind) = given.next() {
            let name = given.bytes().into();
            match kind {
                b"label" => end.labels.push(name),
                b"pattern" => end.topics.push(Topic::Pattern(name)),
                _ => end.topics.push(Topic::Channel(name)),
            }
        }
        let count = self.client.end_streams(end)?;
        self.push(count.to_string());
        Ok(())
    }

    /// Hands a stream over and subscribes it. The hub process holds it from then on, for as long as this connection.
    fn follow(&mut self, mut given: Arguments<'_>) -> Result<(), Error> {
        let number: c_int =
            given.text().and_then(|text| text.parse().ok()).filter(|number| *number >= 0).ok_or_else(no_socket)?;
        let (start, last) = (given.bytes(), given.number());
        let start = match start {
            b"oldest" => Start::Oldest,
            b"last" => Start::Last(last),
            b"state" => Start::State,
            _ => Start::Latest,
        };
        let after = given.next().map(Into::into);
        let mut topics = Vec::new();
        while let Some(kind) = given.next() {
            let name = given.bytes().into();
            topics.push(if kind == b"pattern" { Topic::Pattern(name) } else { Topic::Channel(name) });
        }
        let settings = Settings {
            framing: Framing::Plain,
            line_end: LineEnd::Lf,
            keepalive: None,
            timeout: Duration::from_secs(3600),
            max_buffered: 1 << 20,
            drop_oldest: false,
            retry: Duration::from_secs(2),
        };
        self.streams += 1;
        let stream = self.streams;
        // SAFETY: the caller, EventSource::Hub::Process, holds the file open until this call returns; it is duplicated.
        let socket = unsafe { BorrowedFd::borrow_raw(number) };
        self.client.open(Open { stream, settings, unsent: b"", holds: false }, socket)?;
        let first_block =
            FirstBlock { position: PositionStyle::Id, retry: None, keeps_id: false, names_channels: true };
        self.client.subscribe(stream, SubscribeRequest { topics, after, start, first_block, ..Default::default() })?;
        self.client.send(&Request::Release { stream }, None)?; // its end shows at the other end of the socket
        Ok(())
    }
}

/// A closed handle has no number.
fn no_socket() -> remote::Error {
    remote::Error::Invalid { field: "socket", message: "the socket is not open".into() }
}

fn path(path: Option<&[u8]>) -> Option<PathBuf> {
    path.filter(|path| !path.is_empty()).map(path_of)
}

fn place(name: Option<&[u8]>, socket: Option<&[u8]>) -> Result<Place, remote::Error> {
    let name = Name::new(&String::from_utf8_lossy(name.unwrap_or_default()))?;
    Place::new(name, path(socket).as_deref())
}

/// Connects, and starts the process if need be: unless the path of its program is empty, or no settings are kept for a hub that
/// needs them.
#[no_mangle]
unsafe extern "C" fn esx_process_connect(
    name: RawText,
    socket: RawText,
    program: RawText,
    needs_settings: u8,
    timeout: f64,
    report: *mut Report,
) -> *mut HubProcess {
    // SAFETY: the report is on the stack of C. The texts are scalars' buffers, which live until the XSUB returns.
    let (report, [name, socket, program]) = unsafe { (&mut *report, [name.bytes(), socket.bytes(), program.bytes()]) };
    let mut process = std::ptr::null_mut();
    guard::run(report, |_| {
        let place = place(name, socket)?;
        let (program, needs_settings) = (path(program), needs_settings != 0);
        let start = remote::Start { program, needs_settings, timeout: seconds(timeout) };
        let client = Client::connect(&start, &place, None)?;
        process = Box::into_raw(Box::new(HubProcess { client, streams: 0, results: Vec::new() }));
        Ok::<_, Error>(OK)
    });
    process
}

/// Upgrades a process: it continues as another program.
#[no_mangle]
unsafe extern "C" fn esx_process_upgrade(
    name: RawText,
    socket: RawText,
    program: RawText,
    timeout: f64,
    report: *mut Report,
) -> c_int {
    // SAFETY: the report is on the stack of C. The texts are scalars' buffers, which live until the XSUB returns.
    let (report, [name, socket, program]) = unsafe { (&mut *report, [name.bytes(), socket.bytes(), program.bytes()]) };
    guard::run(report, |_| {
        let start = remote::Start { program: None, needs_settings: false, timeout: seconds(timeout) };
        remote::upgrade(&start, &place(name, socket)?, path(program).as_deref())?;
        Ok::<_, Error>(OK)
    })
}

/// A new ithread has no connection: both would read each other's answers.
#[no_mangle]
extern "C" fn esx_process_clone(_process: *const HubProcess) -> *mut HubProcess {
    std::ptr::null_mut()
}

handles! {
    HubProcess: esx_process_drop;
}

/// Calls by name: the first of the texts. Stores the number of results as the report's size.
#[no_mangle]
unsafe extern "C" fn esx_process_call(
    process: *mut HubProcess,
    texts: *const RawText,
    len: usize,
    report: *mut Report,
) -> c_int {
    // SAFETY: C found `process` in the magic of a live object and keeps it alive; the texts are in a mortal's buffer, and what
    // they point to are scalars' buffers. All live until the XSUB returns.
    let (process, texts, report) = unsafe { (&mut *process, slice::from_raw_parts(texts, len), &mut *report) };
    // SAFETY: as above.
    let texts: Vec<Option<&[u8]>> = texts.iter().map(|text| unsafe { text.bytes() }).collect();
    guard::run(report, |report| {
        process.results.clear();
        let mut arguments = Arguments(texts.iter());
        let name = arguments.bytes();
        process.call(name, arguments)?;
        report.set_size(process.results.len());
        Ok::<_, Error>(OK)
    })
}

/// Returns a result of the last call.
#[no_mangle]
unsafe extern "C" fn esx_process_result(process: *const HubProcess, at: usize) -> RawText {
    // SAFETY: as in `esx_process_call`.
    let process = unsafe { &*process };
    let result: &[u8] = process.results.get(at).map_or(b"", |result| result);
    RawText::of(result)
}

/// Writes the paths of the folders with the sockets of this user's hubs as [`write_texts`] does.
#[no_mangle]
unsafe extern "C" fn esx_process_folders(out: *mut c_char, report: *mut Report) -> c_int {
    // SAFETY: the report is on the stack of C.
    guard::run(unsafe { &mut *report }, |report| {
        let folders = remote::place::folders()?;
        let paths: Vec<_> = folders.iter().map(|folder| folder.as_os_str().as_bytes()).collect();
        // SAFETY: C's buffer has room for PATHS_MAX bytes.
        unsafe { write_texts(out, &paths, report) };
        Ok::<_, Error>(OK)
    })
}

/// Writes the store with which a process would begin that is started now, as [`write_texts`] does: `memory`; `file` and the
/// path; or `redis`, or `rediss` with TLS, and the addresses. The text is that of the environment, empty if it has none.
#[no_mangle]
unsafe extern "C" fn esx_process_store(
    name: RawText,
    socket: RawText,
    text: RawText,
    out: *mut c_char,
    report: *mut Report,
) -> c_int {
    // SAFETY: the report is on the stack of C. The texts are scalars' buffers, which live until the XSUB returns.
    let (report, [name, socket, text]) = unsafe { (&mut *report, [name.bytes(), socket.bytes(), text.bytes()]) };
    guard::run(report, |report| {
        let text = String::from_utf8_lossy(text.unwrap_or_default());
        let store = match text.is_empty() {
            true => kept_settings::to_begin_with(&place(name, socket)?).store.unwrap_or_default(),
            false => StoreSettings::parse_variable(&text, Duration::ZERO)
                .map_err(|message| remote::Error::Invalid { field: "store", message })?,
        };
        let texts = match &store {
            StoreSettings::Redis(redis) if redis.has_tls() => [vec!["rediss".to_owned()], redis.addresses()].concat(),
            StoreSettings::Redis(redis) => [vec!["redis".to_owned()], redis.addresses()].concat(),
            _ => vec![store.kind().to_owned(), store.place()],
        };
        let texts: Vec<_> = texts.iter().map(String::as_bytes).collect();
        // SAFETY: C's buffer has room for PATHS_MAX bytes.
        unsafe { write_texts(out, &texts, report) };
        Ok::<_, Error>(OK)
    })
}

/// Writes texts, each with a NUL after it, and stores their length as the report's size. A text that has no room is left out.
///
/// # Safety
///
/// `out` has room for `PATHS_MAX` bytes.
unsafe fn write_texts(out: *mut c_char, texts: &[&[u8]], report: &mut Report) {
    let mut written = Vec::new();
    for text in texts {
        if written.len() + text.len() < PATHS_MAX {
            written.extend_from_slice(text);
            written.push(0);
        }
    }
    // SAFETY: the caller guarantees the room.
    unsafe { out.copy_from_nonoverlapping(written.as_ptr().cast(), written.len()) };
    report.set_size(written.len());
}

/// `ESX_PATHS_MAX`
const PATHS_MAX: usize = 4096;
