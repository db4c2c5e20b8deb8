//! The handle behind an EventSource::Hub.

use super::counts;
use super::encode::{accepted, RawField};
use super::guard::{self, Report, Thrown, ENDING, OK};
use super::stream::seconds;
use super::text::{path_of, texts, OwnTexts, RawText, Texts};
use crate::codec::Reader;
use crate::event::Field;
use crate::hub::{
    check_fields, check_id, check_member, check_published_id, given_ids, ChannelSettings, EndRequest, GapData, OnSlow,
    Publication, Retain, Settings, StateBounds, Topic,
};
use crate::log::Bounds;
use crate::metrics::{self, Measured, TopicCounts};
use crate::remote::hub::HubCounts;
use crate::remote::{self, Address, Error, Hub, LeaseHandle, RemoteHub};
use crate::runtime;
use crate::store_settings::{self, StoreSettings};
use crate::sys::clock;
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

/// `esx_topic`
#[repr(C)]
pub(super) struct RawTopic {
    name: RawText,
    is_pattern: u8,
}

fn on_slow(number: u8) -> OnSlow {
    match number {
        0 => OnSlow::Disconnect,
        1 => OnSlow::Gap,
        2 => OnSlow::Latest,
        number => guard::refuse_number("on_slow", number),
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
        retain: retain.unwrap_or_else(|| guard::refuse_number("retain", raw.retain)),
        once: once.unwrap_or_default(),
        fields: accepted(fields),
    };
    Ok((publication, id))
}

/// `ESX_ID_MAX`
const ID_MAX: usize = 64;

/// # Safety
///
/// `topics..topics + len` is readable, and so are the texts that they point to.
pub(super) unsafe fn topics(topics: *const RawTopic, len: usize) -> Vec<Topic> {
    if len == 0 {
        return Vec::new();
    }
    // SAFETY: the caller guarantees that the topics are readable.
    let raw = unsafe { slice::from_raw_parts(topics, len) };
    let topic = |raw: &RawTopic| {
        // SAFETY: the caller guarantees that the texts are readable.
        let name = unsafe { raw.name.bytes() }.unwrap_or_default().into();
        if raw.is_pattern != 0 {
            Topic::Pattern(name)
        } else {
            Topic::Channel(name)
        }
    };
    raw.iter().map(topic).collect()
}

/// # Safety
///
/// As [`topics`].
pub(super) unsafe fn names(names: *const RawTopic, len: usize) -> Vec<Box<[u8]>> {
    // SAFETY: as for the caller.
    let topics = unsafe { topics(names, len) };
    topics.into_iter().map(|(Topic::Channel(name) | Topic::Pattern(name))| name).collect()
}

/// Ends streams, and stores their number as the report's size. Returns `ENDING` if the process ends.
#[no_mangle]
unsafe extern "C" fn esx_hub_end(
    hub: *mut Hub,
    raw_labels: *const RawTopic,
    labels_len: usize,
    raw_topics: *const RawTopic,
    topics_len: usize,
    finishes: c_int,
    report: *mut Report,
) -> c_int {
    // SAFETY: as in `esx_hub_publish`.
    let (hub, report) = unsafe { (&*hub, &mut *report) };
    // SAFETY: as in `esx_hub_subscribe`.
    let (labels, topics) = unsafe { (names(raw_labels, labels_len), topics(raw_topics, topics_len)) };
    guard::run(report, |report| match hub.end_streams(EndRequest { labels, topics, finishes: finishes != 0 }) {
        Ok(count) => {
            report.set_size(count);
            Ok(OK)
        }
        Err(error) if error.is_shutdown() => Ok(ENDING),
        Err(error) => Err(error),
    })
}

/// Returns the time of the system's monotonic clock, in nanoseconds.
#[no_mangle]
extern "C" fn esx_monotonic() -> u64 {
    guard::run_or(1, clock::monotonic)
}

/// Reserves a place for a stream with a label. Stores 1 as the report's size if the stream may begin, and 0 if not.
#[no_mangle]
unsafe extern "C" fn esx_hub_reserve(hub: *mut Hub, label: RawText, most: u64, report: *mut Report) -> c_int {
    // SAFETY: as in `esx_hub_publish`.
    let (hub, label, report) = unsafe { (&*hub, label.bytes().unwrap_or_default(), &mut *report) };
    guard::size(report, || Ok(hub.reserve(label, usize::try_from(most).unwrap_or(usize::MAX))?.into()))
}

/// Stores how many members a channel has as the report's size.
#[no_mangle]
unsafe extern "C" fn esx_hub_count_members(hub: *mut Hub, channel: RawText, report: *mut Report) -> c_int {
    // SAFETY: as in `esx_hub_publish`.
    let (hub, channel, report) = unsafe { (&*hub, channel.bytes().unwrap_or_default(), &mut *report) };
    guard::size(report, || Ok(hub.count_members(channel)?))
}

guarded! {
    /// Returns 1 if a stream of a hub of this process has opened without the member that it was to have.
    fn esx_hub_has_refused_members(hub: &mut Hub) -> c_int {
        matches!(hub, Hub::Local(hub) if hub.has_refused_members()).into()
    }

    /// Counts a request of a page of another origin that was refused. Returns 1.
    fn esx_hub_count_refused_origin(hub: &mut Hub) -> c_int {
        hub.count_refused_origin();
        1
    }

    /// Returns 1 if the hub has a hub process.
    fn esx_hub_has_process(hub: &mut Hub) -> c_int { matches!(hub, Hub::Named(_)).into() }

    /// Returns the number of what is known of a lease.
    fn esx_lease_state(lease: &mut Arc<LeaseHandle>) -> c_int { lease.state() as c_int }
}

/// Changes the data of a member, with the texts of its channel, its id, its data and the event. Stores as the report's size
/// whether it is here.
#[no_mangle]
unsafe extern "C" fn esx_hub_update_member(
    hub: *mut Hub,
    texts: *const RawText,
    len: usize,
    report: *mut Report,
) -> c_int {
    // SAFETY: as in `esx_hub_subscribe`.
    let (hub, texts, report) = unsafe { (&*hub, Texts::new(texts, len), &mut *report) };
    guard::size(report, || {
        let mut texts = texts.unwrap_or_default();
        let (channel, id, data, event) = (texts.bytes(), texts.bytes(), texts.data(), texts.event());
        check_member(&data, &event, hub.settings())?;
        Ok(hub.update_member(channel, id, data, event)?.into())
    })
}

/// Writes the epoch, with which the hub's ids begin, and stores its length as the report's size. Unless the call waits for a
/// hub process that is away, it writes nothing then.
#[no_mangle]
unsafe extern "C" fn esx_hub_epoch(hub: *mut Hub, waits: c_int, out: *mut c_char, report: *mut Report) -> c_int {
    // SAFETY: as in `esx_hub_publish`.
    let (hub, report) = unsafe { (&*hub, &mut *report) };
    guard::size(report, || {
        let epoch = hub.epoch(waits != 0)?.unwrap_or_default();
        let len = epoch.len().min(ID_MAX);
        // SAFETY: C's buffer has room for ID_MAX bytes.
        unsafe { out.copy_from_nonoverlapping(epoch.as_ptr().cast(), len) };
        Ok(len)
    })
}

/// Stores the number of a channel's subscribers as the report's size.
#[no_mangle]
unsafe extern "C" fn esx_hub_subscribers(hub: *mut Hub, channel: RawText, report: *mut Report) -> c_int {
    // SAFETY: as in `esx_hub_publish`.
    let (hub, channel, report) = unsafe { (&*hub, channel.bytes().unwrap_or_default(), &mut *report) };
    guard::size(report, || match hub.count(channel) {
        Ok(HubCounts::Local(_, subscribers)) => Ok(subscribers),
        Ok(HubCounts::Named(counted, _)) => Ok(usize::try_from(counted.subscribers).unwrap_or(usize::MAX)),
        Err(error) if error.is_shutdown() => Ok(0), // all streams have ended
        Err(error) => Err(error.into()),
    })
}

/// The [counts] of a hub, and of its process and its store if it has one of its own: names and values, in texts as
/// those of `esx_hub_members`.
#[no_mangle]
unsafe extern "C" fn esx_hub_counts(hub: *mut Hub, report: *mut Report) -> *mut OwnTexts {
    // SAFETY: as in `esx_hub_publish`.
    let (hub, report) = unsafe { (&*hub, &mut *report) };
    texts(report, || {
        let named = match hub.count(b"")? {
            HubCounts::Local(of_hub, _) => counts::of_hub(&of_hub),
            HubCounts::Named(counted, pid) => {
                let mut named = counts::of_process(&counted);
                named.push(("process.pid", pid.to_string()));
                named
            }
        };
        Ok(named.into_iter().flat_map(|(name, value)| [name.as_bytes().into(), value.into_bytes().into()]).collect())
    })
}

/// The [metrics] of a hub, as one of the texts of `esx_hub_members`. The given texts are the hub's name, empty if it has
/// none, and the [topics](counts::topics_of) that are told apart.
#[no_mangle]
unsafe extern "C" fn esx_hub_metrics(
    hub: *mut Hub,
    given: *const RawText,
    len: usize,
    report: *mut Report,
) -> *mut OwnTexts {
    // SAFETY: as in `esx_hub_publish`; the texts live until the XSUB returns.
    let (hub, given, report) = unsafe { (&*hub, slice::from_raw_parts(given, len), &mut *report) };
    // SAFETY: as above.
    let mut given = given.iter().map(|text| unsafe { text.bytes() }.unwrap_or_default());
    texts(report, || {
        let name = String::from_utf8_lossy(given.next().unwrap_or_default());
        let mut topics = Vec::new();
        for topic in counts::topics_of(given) {
            topics.push(TopicCounts::of(&topic, |name, from| hub.channel_page(name, from))?);
        }
        let topics = &topics[..];
        let text = match hub.count(b"")? {
            HubCounts::Local(of_hub, _) => metrics::text(&Measured {
                name: None,
                hub: &of_hub,
                streams: &runtime::stats(),
                times: &runtime::times(),
                process: None,
                topics,
            }),
            HubCounts::Named(counted, _) => metrics::text(&Measured::of_process(&name, &counted, topics)),
        };
        Ok(vec![text.into_bytes().into()])
    })
}

#[no_mangle]
unsafe extern "C" fn esx_hub_drain(hub: *mut Hub, time: f64, report: *mut Report) -> c_int {
    // SAFETY: as in `esx_hub_publish`.
    let (hub, report) = unsafe { (&*hub, &mut *report) };
    guard::run(report, |_| hub.drain(seconds(time)).map(|()| OK))
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
