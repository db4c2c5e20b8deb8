//! The handle behind an EventSource::Hub::Process: a connection to a hub process, for commands and jobs.
//!
//! A call has a name and texts, and returns texts, so that the boundary is one function for all of them. Both sides are in
//! this distribution: `perl/EventSource/Hub/Process.pm` has the arguments and results of each call.

use super::counts;
use super::guard::{self, Report, Thrown, OK};
use super::lists;
use super::stream::seconds;
use super::text::{path_of, texts, OwnTexts, RawText, Texts};
use crate::compression::ContentCoding;
use crate::event::{EventId, EventName, Field, Framing, LineEnd, Retry, Text};
use crate::hub::{
    EndRequest, FirstBlock, LogRange, PositionStyle, Publication, Retain, StartPoint, SubscribeRequest, Topic,
};
use crate::metrics::{self, Measured, TopicCounts};
use crate::remote::{self, kept_settings, CallConnection, Place};
use crate::store_settings::StoreSettings;
use crate::stream::Settings;
use crate::wire::{FieldList, Name, Open, Request, ShowChannel};
use rustix::fd::BorrowedFd;
use std::os::raw::c_int;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

/// A connection, and the results of the call that it makes.
struct HubProcess {
    client: CallConnection,
    streams: u64,
    results: OwnTexts,
}

impl HubProcess {
    fn call(&mut self, name: &[u8], mut arguments: Texts<'_>) -> Result<OwnTexts, Thrown> {
        self.results.clear();
        match name {
            b"welcome" => self.welcome(),
            b"publish" => self.publish(arguments)?,
            b"answers" => self.answers()?,
            b"count" => self.count(arguments)?,
            b"channels" => self.channels(arguments)?,
            b"metrics" => self.metrics(arguments)?,
            b"members" => self.members(arguments)?,
            b"log" => self.log(arguments)?,
            b"describe" => self.describe()?,
            b"follow" => self.follow(arguments)?,
            b"drain" => self.client.drain(seconds(arguments.number()))?,
            b"end" => self.end(arguments)?,
            b"backup" => self.client.back_up(arguments.bytes())?,
            _ => {
                let message = "there is no such call".to_owned();
                return Err(remote::Error::Invalid { field: "name", message }.into());
            }
        }
        Ok(std::mem::take(&mut self.results))
    }

    fn push(&mut self, result: impl AsRef<[u8]>) {
        self.results.push(result.as_ref().into());
    }

    fn welcome(&mut self) {
        let welcome = self.client.welcome().clone();
        self.push(welcome.pid.to_string());
        self.push(&*welcome.epoch);
        self.push(welcome.settings.hub.gap_event.as_bytes());
        self.push(welcome.settings.hub.position_event.as_bytes());
        self.push(welcome.settings.show_channel.map_or("", ShowChannel::name));
    }

    fn publish(&mut self, mut given: Texts<'_>) -> Result<(), Thrown> {
        let (channel, key, once) = (given.bytes(), given.bytes(), given.bytes());
        let retain = match given.bytes() {
            b"" => Retain::No,
            b"forget" => Retain::Forget,
            _ => Retain::Newest,
        };
        let [comment, event, id, retry, data] = [(); 5].map(|()| given.characters());
        let mut fields: Vec<_> =
            comment.as_deref().map(|comment| Field::Comment(Text::from(comment))).into_iter().collect();
        if let Some(event) = event.as_deref() {
            fields.push(Field::Event(EventName::new(Text::from(event))?));
        }
        if let Some(id) = id.as_deref() {
            fields.push(Field::Id(EventId::new(Text::from(id))?));
        }
        if let Some(retry) = retry.as_deref() {
            fields.push(Field::Retry(Retry::new(Text::from(retry))?));
        }
        fields.extend(data.as_deref().map(|data| Field::Data(Text::from(data))));
        self.client.begin_publish(&Publication { channel, key, retain, once, fields: FieldList::of(fields) })?;
        Ok(())
    }

    fn answers(&mut self) -> Result<(), Thrown> {
        for answer in self.client.publish_results()? {
            match answer {
                Ok(id) => {
                    self.push(id);
                    self.push("");
                    self.push("");
                    self.push("");
                }
                Err(failure) => {
                    self.push("");
                    self.push(&*failure.message);
                    self.push(failure.code.name());
                    self.push(failure.field.as_deref().unwrap_or_default());
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, mut given: Texts<'_>) -> Result<(), Thrown> {
        let counted = self.client.count(given.bytes())?;
        self.push(counted.subscribers.to_string());
        for (name, value) in counts::of_process(&counted) {
            self.push(name);
            self.push(value);
        }
        Ok(())
    }

    /// The metrics as text. The arguments are the [topics](counts::topics_of) that are told apart.
    fn metrics(&mut self, mut given: Texts<'_>) -> Result<(), Thrown> {
        let mut topics = Vec::new();
        for topic in counts::topics_of(given.rest()) {
            topics.push(TopicCounts::of(&topic, |name, from| self.client.channels(name, from))?);
        }
        let counted = self.client.count(b"")?;
        let name = self.client.welcome().name.clone();
        self.push(metrics::text(&Measured::of_process(name.as_str(), &counted, &topics)));
        Ok(())
    }

    fn members(&mut self, mut given: Texts<'_>) -> Result<(), Thrown> {
        let page = self.client.members(given.bytes(), given.next().filter(|after| !after.is_empty()))?;
        self.results = page.into_texts();
        Ok(())
    }

    fn log(&mut self, mut given: Texts<'_>) -> Result<(), Thrown> {
        let channel = given.bytes();
        let mut number = || given.number::<u64>();
        let range = LogRange { is_state: number() > 0, after: number(), through: number(), last: number() };
        self.results = lists::of_log(self.client.log_page(channel, range)?);
        Ok(())
    }

    fn channels(&mut self, mut given: Texts<'_>) -> Result<(), Thrown> {
        self.results = lists::of_channels(self.client.channels(given.bytes(), given.number())?);
        Ok(())
    }

    fn describe(&mut self) -> Result<(), Thrown> {
        let described = self.client.describe()?;
        self.push(&*described.version);
        self.push(format!("{:.3}", described.age.as_secs_f64()));
        for worker in described.workers {
            self.push(worker.to_string());
        }
        Ok(())
    }

    /// Ends streams: whether for good, then labels, channels and patterns.
    fn end(&mut self, mut given: Texts<'_>) -> Result<(), Thrown> {
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
    fn follow(&mut self, mut given: Texts<'_>) -> Result<(), Thrown> {
        let number: c_int = given.number_if().filter(|number| *number >= 0).ok_or_else(no_socket)?;
        let (start, last) = (given.bytes(), given.number());
        let start = match start {
            b"oldest" => StartPoint::Oldest,
            b"last" => StartPoint::Last(last),
            b"state" => StartPoint::State,
            _ => StartPoint::Latest,
        };
        let after = given.next().map(Into::into);
        let mut topics = Vec::new();
        while let Some(kind) = given.next() {
            let name = given.bytes().into();
            topics.push(if kind == b"pattern" { Topic::Pattern(name) } else { Topic::Channel(name) });
        }
        let settings = Settings {
            framing: Framing::Plain,
            coding: ContentCoding::Identity,
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
        self.client.open(Open::new(stream, settings, b""), socket)?;
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
    guard::make(report, || {
        let place = place(name, socket)?;
        let (program, needs_settings) = (path(program), needs_settings != 0);
        let start = remote::Start { program, needs_settings, timeout: seconds(timeout) };
        let client = CallConnection::connect(&start, &place, None)?;
        Ok(HubProcess { client, streams: 0, results: Vec::new() })
    })
}

/// Asks a process of any version to continue as another program; without the path of one, to end.
#[no_mangle]
unsafe extern "C" fn esx_process_replace(
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
        let place = place(name, socket)?;
        match path(program) {
            Some(program) => remote::upgrade(&start, &place, Some(&program)),
            None => remote::stop(&start, &place),
        }
        .map(|()| OK)
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

/// Calls by name: the first of the texts. Returns a handle of the results, or null with a report of the error.
#[no_mangle]
unsafe extern "C" fn esx_process_call(
    process: *mut HubProcess,
    raw: *const RawText,
    len: usize,
    report: *mut Report,
) -> *mut OwnTexts {
    // SAFETY: C found `process` in the magic of a live object and keeps it alive; the texts are in a mortal's buffer, and what
    // they point to are scalars' buffers. All live until the XSUB returns.
    let (process, given, report) = unsafe { (&mut *process, Texts::new(raw, len), &mut *report) };
    texts(report, || {
        let mut arguments = given.unwrap_or_default();
        let name = arguments.bytes();
        process.call(name, arguments)
    })
}

/// Returns the paths of the folders with the sockets of this user's hubs.
#[no_mangle]
unsafe extern "C" fn esx_process_folders(report: *mut Report) -> *mut OwnTexts {
    // SAFETY: the report is on the stack of C.
    texts(unsafe { &mut *report }, || {
        let folders = remote::place::folders()?;
        Ok(folders.iter().map(|folder| folder.as_os_str().as_bytes().into()).collect())
    })
}

/// Returns whether settings of the hub are kept, as a text that is empty if not, and the store with which a process would
/// begin that is started now: `memory`; `file` and the path; or `redis`, or `rediss` with TLS, and the addresses. The text is
/// that of the environment, empty if it has none.
#[no_mangle]
unsafe extern "C" fn esx_process_store(
    name: RawText,
    socket: RawText,
    text: RawText,
    report: *mut Report,
) -> *mut OwnTexts {
    // SAFETY: the report is on the stack of C. The texts are scalars' buffers, which live until the XSUB returns.
    let (report, [name, socket, text]) = unsafe { (&mut *report, [name.bytes(), socket.bytes(), text.bytes()]) };
    texts(report, || {
        let text = String::from_utf8_lossy(text.unwrap_or_default());
        let place = place(name, socket)?;
        let is_known = if kept_settings::exist(&place) { "known" } else { "" };
        let store = match text.is_empty() {
            true => kept_settings::to_begin_with(&place).store.unwrap_or_default(),
            false => StoreSettings::parse_variable(&text, Duration::ZERO)
                .map_err(|message| remote::Error::Invalid { field: "store", message })?,
        };
        let texts = match &store {
            StoreSettings::Redis(redis) if redis.has_tls() => [vec!["rediss".to_owned()], redis.addresses()].concat(),
            StoreSettings::Redis(redis) => [vec!["redis".to_owned()], redis.addresses()].concat(),
            _ => vec![store.kind().to_owned(), store.place()],
        };
        Ok(std::iter::once(is_known.to_owned()).chain(texts).map(|text| text.into_bytes().into()).collect())
    })
}
