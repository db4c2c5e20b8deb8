//! The handle behind an EventSource::Hub::Process: a connection to a hub process, for commands and jobs.
//!
//! `perl/EventSource/Hub/Process.pm` has the arguments and results of each call.

use super::calls;
use super::guard::{self, Report};
use super::stream::seconds;
use super::text::{answer, Answer, RawText, Texts};
use crate::compression::ContentCoding;
use crate::event::{EventId, EventName, Field, Framing, LineEnd, Retry, Text};
use crate::hub::{check_once, FirstBlock, PositionStyle, Publication, Retain, SubscribeRequest};
use crate::remote::{self, kept_settings, CallConnection, Place};
use crate::runtime;
use crate::store_settings::StoreSettings;
use crate::stream::{Reason, Settings};
use crate::wire::{Call, FieldList, Fields, Name, Open, Request, ShowChannel};
use crate::{ErrorCode, Failure};
use rustix::fd::BorrowedFd;
use std::os::raw::c_int;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// A connection, and how many streams it has handed over.
struct HubProcess {
    client: CallConnection,
    process: u32,
    streams: u64,
    /// The form of its events: that of the hub, or the one that was given to [`esx_process_connect`].
    show_channel: Option<ShowChannel>,
}

impl HubProcess {
    fn call(&mut self, name: &[u8], mut given: Texts<'_>) -> Result<Answer, Failure> {
        if self.process != std::process::id() {
            let message = "this connection belongs to another process; connect in the forked child";
            return Err(Failure::new(ErrorCode::State, None, message));
        }
        match name {
            b"answers" => self.answers(),
            b"backup" => Ok(self.client.back_up(given.bytes()).map(|()| Answer::default())?),
            b"begin_publish" => self.begin_publish(given),
            b"describe" => self.describe(),
            b"epoch" => Ok(Answer::of(&*self.client.welcome().epoch)),
            b"follow" => self.follow(given),
            b"welcome" => Ok(self.welcome()),
            name => calls::call(&mut |call| self.client.call(&call), None, self.show_channel, name, given),
        }
    }

    fn welcome(&self) -> Answer {
        let welcome = self.client.welcome();
        let mut answer = Answer::of(welcome.pid.to_string());
        answer.push(&*welcome.settings.hub.gap_event);
        answer.push(&*welcome.settings.hub.position_event);
        answer.push(self.show_channel.map_or("", ShowChannel::name));
        answer
    }

    fn begin_publish(&mut self, mut given: Texts<'_>) -> Result<Answer, Failure> {
        let (channel, key, once) = (given.bytes(), given.bytes(), check_once(given.next())?);
        let retain = match given.bytes() {
            b"" => Retain::No,
            b"forget" => Retain::Forget,
            _ => Retain::Newest,
        };
        let is_json = given.is_true();
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
        let given = Publication { channel, key, retain, once, fields: FieldList::of(fields) };
        let fields = given.shown(self.show_channel, is_json)?;
        let publication = Publication { fields, ..given };
        publication.borrowed().map(Fields::iter).check(None)?;
        self.client.begin_publish(&publication)?;
        Ok(Answer::default())
    }

    /// Of each event its id; or an empty text, the message, the code and the field of the error.
    fn answers(&mut self) -> Result<Answer, Failure> {
        let mut answer = Answer::default();
        for result in self.client.publish_results()? {
            let texts = match &result {
                Ok(id) => [id, "", "", ""],
                Err(failure) => {
                    ["", &failure.message, failure.code.name(), failure.field.as_deref().unwrap_or_default()]
                }
            };
            texts.iter().for_each(|text| answer.push(text));
        }
        Ok(answer)
    }

    /// The version, the age, and the process ids of the workers.
    fn describe(&mut self) -> Result<Answer, Failure> {
        let described = self.client.call(&Call::Describe)?.described()?;
        let mut answer = Answer::of(&*described.version);
        answer.push(format!("{:.3}", described.age.as_secs_f64()));
        described.workers.iter().for_each(|worker| answer.push(worker.to_string()));
        Ok(answer)
    }

    /// Hands a stream over and subscribes it. The hub process holds it from then on.
    fn follow(&mut self, mut given: Texts<'_>) -> Result<Answer, Failure> {
        let number: c_int = given
            .number_if()
            .filter(|number| *number >= 0) // a closed handle has no number
            .ok_or_else(|| Failure::invalid("socket", "the socket is not open"))?;
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
        let first_block = FirstBlock { position: PositionStyle::Id, names_channels: true, ..FirstBlock::default() };
        self.client.subscribe(stream, SubscribeRequest { first_block, ..given.ticket(None)?.request })?;
        self.client.send(&Request::Release { stream }, None)?; // its end shows at the other end of the socket
        Ok(Answer::default())
    }
}

/// Takes the name of a hub, and the path of its socket, which is empty if it is the default.
fn place(given: &mut Texts<'_>) -> Result<Place, Failure> {
    let name = Name::new(&String::from_utf8_lossy(given.bytes()))?;
    Place::new(name, given.path().as_deref())
}

/// Connects, and starts the process if need be: unless the path of its program is empty, or no settings are kept for a hub that
/// needs them. The texts are the name, the paths of the socket and the program, the timeout, whether the hub needs
/// settings, and the form of events.
#[no_mangle]
unsafe extern "C" fn esx_process_connect(given: *const RawText, len: usize, report: *mut Report) -> *mut HubProcess {
    // SAFETY: the report is on the stack of C. The texts are scalars' buffers, which live until the XSUB returns.
    let (mut given, report) = unsafe { (Texts::new(given, len), &mut *report) };
    guard::make(report, || {
        let place = place(&mut given)?;
        let (program, timeout, needs_settings) = (given.path(), seconds(given.number()), given.is_true());
        let client = CallConnection::connect(&remote::Start { program, needs_settings, timeout }, &place, None)?;
        let way = ShowChannel::of_name(given.bytes());
        let of_hub = client.welcome().settings.show_channel;
        if let Some((of_hub, _)) = of_hub.zip(way).filter(|(of_hub, way)| of_hub != way) {
            let message = format!("show_channel differs from that of the hub process, '{}'", of_hub.name());
            return Err(Failure::new(ErrorCode::Refused, Some("show_channel"), &message));
        }
        Ok(HubProcess { client, process: std::process::id(), streams: 0, show_channel: of_hub.or(way) })
    })
}

handles! {
    HubProcess: esx_process_drop;
}

/// Calls by name, the first of the texts; without a process one of the calls that need no connection. Returns a handle of the
/// answer, or null with a report of the error.
#[no_mangle]
unsafe extern "C" fn esx_process_call(
    process: *mut HubProcess,
    given: *const RawText,
    len: usize,
    report: *mut Report,
) -> *mut Answer {
    // SAFETY: C found `process` in the magic of a live object and keeps it alive, or it is null; the texts are in a mortal's
    // buffer, and what they point to are scalars' buffers. All live until the XSUB returns.
    let (process, mut given, report) = unsafe { (process.as_mut(), Texts::new(given, len), &mut *report) };
    answer(report, || {
        let name = given.bytes();
        match (process, name) {
            (Some(process), name) => process.call(name, given),
            (None, b"first_store") => first_store(given),
            (None, b"folders") => {
                let folders = remote::place::folders()?;
                Ok(Answer::of_bytes(folders.iter().map(|folder| folder.as_os_str().as_bytes())))
            }
            (None, b"losses") => Ok(losses()),
            (None, b"replace") => replace(given),
            (None, b"stats") => Ok(stats()),
            (None, name) => guard::refuse("call", String::from_utf8_lossy(name)),
        }
    })
}

/// Takes the losses that no interpreter has told of: how many there are, and the cause of the first. Empty if there are none.
fn losses() -> Answer {
    if !remote::LOSSES.are_there() {
        return Answer::default();
    }
    let (count, cause) = remote::LOSSES.take();
    let mut answer = Answer::of(count.to_string());
    answer.push(cause);
    answer
}

/// The counts of the streams of this process: names and values.
fn stats() -> Answer {
    let stats = runtime::stats();
    let numbers = [
        ("native", stats.open),
        ("opened", stats.opened),
        ("refused", stats.refused),
        ("events", stats.events),
        ("bytes", stats.bytes),
        ("buffered", stats.buffered),
        ("wakeups", stats.wakeups),
        ("lost", stats.lost.iter().sum()),
    ];
    let mut named: Vec<_> = numbers.iter().map(|(name, number)| ((*name).to_owned(), number.to_string())).collect();
    let ended = Reason::ALL.iter().zip(&stats.ended);
    named.extend(ended.map(|(reason, number)| (format!("closed.{}", reason.name()), number.to_string())));
    named.push(("longest_delay".to_owned(), Duration::from_nanos(stats.longest_delay_ns).as_secs_f64().to_string()));
    Answer::of_named(named)
}

/// Asks a process of any version to continue as another program, and returns what that reports; without the path of one, to
/// end. The texts are those of
/// [`esx_process_connect`] up to the timeout.
fn replace(mut given: Texts<'_>) -> Result<Answer, Failure> {
    let place = place(&mut given)?;
    let program = given.path();
    let start = remote::Start { program: None, needs_settings: false, timeout: seconds(given.number()) };
    match program {
        Some(program) => Ok(Answer::of(remote::upgrade(&start, &place, Some(&program))?)),
        None => remote::stop(&start, &place).map(|()| Answer::default()),
    }
}

/// Returns whether settings of the hub are kept, as a text that is empty if not, and the store with which a process would
/// begin that is started now: `memory`; `file` and the path; or `redis`, or `rediss` with TLS, and the addresses. The texts are
/// the name, the path of the socket, and the store of the environment, empty if it has none.
fn first_store(mut given: Texts<'_>) -> Result<Answer, Failure> {
    let place = place(&mut given)?;
    let text = String::from_utf8_lossy(given.bytes());
    let store = match text.is_empty() {
        true => kept_settings::to_begin_with(&place).store.unwrap_or_default(),
        false => StoreSettings::parse_variable(&text, Duration::ZERO)
            .map_err(|message| Failure::invalid("store", message))?,
    };
    let texts = match &store {
        StoreSettings::Redis(redis) if redis.has_tls() => [vec!["rediss".to_owned()], redis.addresses()].concat(),
        StoreSettings::Redis(redis) => [vec!["redis".to_owned()], redis.addresses()].concat(),
        _ => vec![store.kind().to_owned(), store.place()],
    };
    let is_known = if kept_settings::exist(&place) { "known" } else { "" };
    Ok(Answer::of_bytes(std::iter::once(is_known.to_owned()).chain(texts).map(String::into_bytes)))
}
