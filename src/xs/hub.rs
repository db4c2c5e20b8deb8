//! The handle behind an EventSource::Hub.

use super::calls;
use super::encode::{accepted, RawField};
use super::guard::{self, Report, Thrown, ENDING, OK};
use super::stream::seconds;
use super::text::{answer, path_of, Answer, RawText, Texts};
use crate::codec::Reader;
use crate::event::Field;
use crate::hub::{
    check_fields, check_id, check_presence, check_published_id, given_ids, ChannelSettings, GapData, OnSlow,
    Publication, Retain, Settings, StateBounds,
};
use crate::log::Bounds;
use crate::remote::{self, Address, Error, Hub, LeaseHandle, RemoteHub};
use crate::store_settings::{self, StoreSettings};
use crate::sys::clock;
use crate::ticket;
use crate::wire::{HubSettings, Name, NamedSettings, ShowChannel};
use std::os::raw::{c_char, c_int};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

/// `esx_hub_settings`
#[repr(C)]
struct RawSettings {
    gap_event: RawText,
    gap_data: [RawText; 3],
    position_event: RawText,
    show_channel: RawText,
    events: usize,
    bytes: usize,
    events_in_total: usize,
    bytes_in_total: usize,
    state_keys: usize,
    state_bytes: usize,
    total_state_keys: usize,
    total_state_bytes: usize,
    max_topics: usize,
    max_streams: usize,
    max_members: usize,
    seconds: f64,
    seconds_in_total: f64,
    on_slow: u8,
    opaque_ids: u8,
    refuses_position_event: u8,
    name: RawText,
    socket: RawText,
    program: RawText,
    idle_exit: f64,
    grace: f64,
    publish_timeout: f64,
    store: RawText,
    named: RawText,
    channels: RawText,
}

/// `esx_publication`
#[repr(C)]
struct RawPublication {
    channel: RawText,
    key: RawText,
    once: RawText,
    fields: *const RawField,
    len: usize,
    waits: u8,
    retain: u8,
}

fn on_slow(number: u8) -> OnSlow {
    match number {
        0 => OnSlow::Disconnect,
        1 => OnSlow::Gap,
        2 => OnSlow::Latest,
        number => guard::refuse("on_slow", number),
    }
}

/// Reads the settings of channels: of each the pattern, the bounds of the history and of the state, and the policy for slow
/// clients. A part that is not given is empty.
fn channel_settings(given: &[u8]) -> Result<Vec<ChannelSettings>, Error> {
    let malformed = |_| Error::Invalid { field: "channels", message: "channels cannot be read".into() };
    let mut reader = Reader(given);
    let mut all = Vec::new();
    while !reader.0.is_empty() {
        let mut channels = ChannelSettings::new(reader.bytes().map_err(malformed)?);
        let mut text = || reader.str().map_err(malformed);
        (channels.events, channels.bytes) = (text()?.parse().ok(), text()?.parse().ok());
        channels.age = text()?.parse().ok().map(seconds);
        (channels.state_keys, channels.state_bytes) = (text()?.parse().ok(), text()?.parse().ok());
        channels.on_slow = text()?.parse().ok().map(on_slow);
        all.push(channels);
    }
    Ok(all)
}

#[no_mangle]
unsafe extern "C" fn esx_hub_new(raw: *const RawSettings, report: *mut Report) -> *mut Hub {
    // SAFETY: both are on the stack of C, and the settings have values.
    let (raw, report) = unsafe { (&*raw, &mut *report) };
    // SAFETY: the texts are scalars' buffers, which live until the XSUB returns, or null.
    let text = |raw: RawText| unsafe { raw.bytes() }.map(|text| String::from_utf8_lossy(text).into());
    guard::make(report, || {
        let history = Bounds { events: raw.events, bytes: raw.bytes, age: seconds(raw.seconds) };
        let age = seconds(raw.seconds_in_total);
        let total_history = Bounds { events: raw.events_in_total, bytes: raw.bytes_in_total, age };
        // SAFETY: as for `text`.
        let channels = channel_settings(unsafe { raw.channels.bytes() }.unwrap_or_default())?;
        let settings = Settings {
            on_slow: on_slow(raw.on_slow),
            channels,
            gap_event: text(raw.gap_event).unwrap_or_default(),
            gap_data: match raw.gap_data.map(text) {
                [Some(evicted), Some(unknown), Some(slow)] => Some(Box::new(GapData { evicted, unknown, slow })),
                _ => None,
            },
            position_event: text(raw.position_event).unwrap_or_default(),
            refuses_position_event: raw.refuses_position_event != 0,
            opaque_ids: raw.opaque_ids != 0,
            state: StateBounds { keys: raw.state_keys, bytes: raw.state_bytes },
            max_members: raw.max_members,
            total_state: StateBounds { keys: raw.total_state_keys, bytes: raw.total_state_bytes },
            ..Settings::new(history, total_history)
        };
        // SAFETY: as for `text`.
        let path = |raw: RawText| unsafe { raw.bytes() }.filter(|path| !path.is_empty()).map(path_of);
        let name: Box<str> = text(raw.name).unwrap_or_default();
        if name.is_empty() {
            return Ok(Hub::local(settings, raw.max_topics));
        }
        let name = Name::new(&name).map_err(Error::from)?;
        let address = Address::new(name, path(raw.socket))?;
        let timeout = seconds(raw.publish_timeout);
        let start = remote::Start { program: path(raw.program), needs_settings: false, timeout };
        // SAFETY: as for `text`.
        let store = store_of(unsafe { raw.store.bytes() }.unwrap_or_default(), timeout)
            .map_err(|message| Error::Invalid { field: "store", message })?;
        let settings = HubSettings {
            hub: settings,
            max_topics: raw.max_topics,
            max_streams: raw.max_streams,
            idle_exit: seconds(raw.idle_exit),
            grace: seconds(raw.grace),
            store,
            show_channel: text(raw.show_channel).and_then(|name: Box<str>| ShowChannel::of_name(&name)),
        };
        let named: Box<str> = text(raw.named).unwrap_or_default();
        let settings = NamedSettings::from(settings).only(|option| named.split(' ').any(|name| name == option));
        Ok(Hub::named(RemoteHub::new(address, start, settings))?)
    })
}

/// Reads the settings of a store: names and values, each with its length before it (`pack '(V/a*)*'`).
fn store_of(given: &[u8], publish_timeout: Duration) -> Result<StoreSettings, String> {
    let mut reader = Reader(given);
    let mut texts = Vec::new();
    while !reader.0.is_empty() {
        texts.push(reader.str().map_err(|error| error.to_string())?);
    }
    let pairs: Vec<_> = texts.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    StoreSettings::new(&pairs, publish_timeout)
}

/// Returns the names of the settings of a kind of store, with spaces between. They are empty after the last kind.
#[no_mangle]
extern "C" fn esx_store_names(kind: usize) -> RawText {
    RawText::of(store_settings::names().nth(kind).unwrap_or_default().as_bytes())
}

handles! {
    Hub: esx_hub_drop,
    /// Copies the handle for a new ithread, whose copy of the object is the same hub.
    esx_hub_clone;
    Arc<LeaseHandle>: esx_lease_drop,
    /// Copies the handle for a new ithread. The lease is given back when the last copy is freed.
    esx_lease_clone;
}

/// Checks the ids of fields that are pushed to a stream with subscriptions.
#[no_mangle]
unsafe extern "C" fn esx_hub_check_ids(fields: *const RawField, len: usize, report: *mut Report) -> c_int {
    // SAFETY: C passes the fields that `esx_measure` has accepted and a report, both on its own stack or in a mortal's
    // buffer.
    let (fields, report) = unsafe { (slice::from_raw_parts(fields, len), &mut *report) };
    guard::run(report, |_| given_ids(accepted(fields)).try_for_each(|id| check_id(&id)).map(|()| OK))
}

/// Publishes the fields, which `esx_measure` has accepted. Writes the hub's id and stores its length as the report's size.
/// Writes nothing if the fields contain an id, or if the call does not wait for the id of a named hub.
/// Returns `ENDING` if the process ends.
#[no_mangle]
unsafe extern "C" fn esx_hub_publish(
    hub: *mut Hub,
    raw: *const RawPublication,
    out: *mut c_char,
    report: *mut Report,
) -> c_int {
    // SAFETY: C found `hub` in the magic of a live object and keeps it alive. The other arguments are on C's stack. The texts
    // are scalars' buffers, which live until the XSUB returns.
    let (hub, raw, report) = unsafe { (&*hub, &*raw, &mut *report) };
    guard::run::<Thrown>(report, |report| {
        // SAFETY: as above.
        let (publication, id) = unsafe { checked(hub, raw) }?;
        let mut len = 0;
        let published = hub.publish(publication, id.as_deref(), raw.waits != 0, |made| {
            len = if id.is_some() { 0 } else { made.len().min(ID_MAX) };
            // SAFETY: C's buffer has room for ID_MAX bytes.
            unsafe { out.copy_from_nonoverlapping(made.as_ptr().cast(), len) };
        });
        report.set_size(len);
        match published {
            Err(error) if error.is_shutdown() => Ok(ENDING), // all streams have ended: the callback of one may publish
            result => Ok(result.map(|()| OK)?),
        }
    })
}

/// Checks an event as [`esx_hub_publish`] does, without publishing it.
#[no_mangle]
unsafe extern "C" fn esx_hub_check(hub: *mut Hub, raw: *const RawPublication, report: *mut Report) -> c_int {
    // SAFETY: as in `esx_hub_publish`.
    let (hub, raw, report) = unsafe { (&*hub, &*raw, &mut *report) };
    guard::run::<Thrown>(report, |_| {
        // SAFETY: as in `esx_hub_publish`.
        let (publication, _) = unsafe { checked(hub, raw) }?;
        hub.check_size(publication)?;
        Ok(OK)
    })
}

/// Returns what is published, and the id among its fields.
///
/// # Safety
///
/// The fields and texts of `raw` are readable for `'a`.
unsafe fn checked<'a>(
    hub: &Hub,
    raw: &'a RawPublication,
) -> Result<(Publication<'a, impl Iterator<Item = Field<'a>> + Clone>, Option<Vec<u8>>), Thrown> {
    // SAFETY: the caller guarantees that the fields and the texts are readable.
    let (fields, channel, key, once) =
        unsafe { (slice::from_raw_parts(raw.fields, raw.len), raw.channel.bytes(), raw.key.bytes(), raw.once.bytes()) };
    let id = given_ids(accepted(fields)).next();
    id.as_deref().map_or(Ok(()), check_published_id)?;
    check_fields(accepted(fields), hub.settings())?;
    let retain = Retain::ALL.get(usize::from(raw.retain)).copied();
    let publication = Publication {
        channel: channel.unwrap_or_default(),
        key: key.unwrap_or_default(),
        retain: retain.unwrap_or_else(|| guard::refuse("retain", raw.retain)),
        once: once.unwrap_or_default(),
        fields: accepted(fields),
    };
    Ok((publication, id))
}

/// `ESX_ID_MAX`
const ID_MAX: usize = 64;

/// Returns the time of the system's monotonic clock, in nanoseconds.
#[no_mangle]
extern "C" fn esx_monotonic() -> u64 {
    guard::run_or(1, clock::monotonic)
}

guarded! {
    /// Returns the number of what is known of a lease.
    fn esx_lease_state(lease: &mut Arc<LeaseHandle>) -> c_int { lease.state() as c_int }
}

/// Calls by name, the first of the texts. Returns a handle of the answer, or null with a report of the error.
#[no_mangle]
unsafe extern "C" fn esx_hub_call(
    hub: *mut Hub,
    given: *const RawText,
    len: usize,
    report: *mut Report,
) -> *mut Answer {
    // SAFETY: as in `esx_hub_publish`. One interpreter uses the hub at a time.
    let (hub, mut given, report) = unsafe { (&mut *hub, Texts::new(given, len), &mut *report) };
    answer(report, || {
        Ok(match given.bytes() {
            b"count_refused_origin" => {
                hub.count_refused_origin();
                Answer::default()
            }
            b"epoch" => Answer::of(&*hub.epoch(true)?.unwrap_or_default()),
            b"has_refused_members" => Answer::of_truth(matches!(hub, Hub::Local(hub) if hub.has_refused_members())),
            b"known_epoch" => Answer::of(&*hub.epoch(false)?.unwrap_or_default()),
            b"open_ticket" => {
                let opened = hub.open_ticket(&given.octets(), &given.octets())?;
                let texts = opened.map(|opened| [opened.owner.as_bytes().into(), ticket::encode(&opened)]);
                Answer::of_bytes(texts.into_iter().flatten())
            }
            b"reserve" => Answer::of_truth(hub.reserve(given.bytes(), given.number())?),
            b"seal_ticket" => {
                let (valid_for, most) = (seconds(given.number()), given.number());
                let mut ticket = given.ticket();
                check_presence(&ticket.request.presence, hub.settings())?;
                ticket.repeat_member();
                Answer::of_bytes(hub.seal_ticket(ticket, valid_for, most)?)
            }
            name => calls::call(hub, name, given)?,
        })
    })
}

/// Asks for a lease of a named hub. Returns a handle; or null, with a report of the error.
#[no_mangle]
unsafe extern "C" fn esx_hub_elect(
    hub: *mut Hub,
    name: RawText,
    interpreter: u32,
    report: *mut Report,
) -> *mut Arc<LeaseHandle> {
    // SAFETY: as in `esx_hub_publish`.
    let (hub, name, report) = unsafe { (&*hub, name.bytes().unwrap_or_default(), &mut *report) };
    guard::make(report, || Ok(Arc::new(hub.elect(name, interpreter)?)))
}
