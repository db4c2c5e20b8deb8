//! The handle behind an EventSource::Hub.

use super::calls;
use super::encode::{accepted, RawField};
use super::guard::{self, refuse, Report, ENDING, OK};
use super::stream::seconds;
use super::text::{answer, Answer, RawText, Texts};
use crate::codec;
use crate::hub::{
    check_id, check_once, check_presence, given_ids, ChannelSettings, GapData, OnSlow, Publication, Retain, StateBounds,
};
use crate::log::Bounds;
use crate::remote::{self, Act, Address, Hub, LeaseHandle, RemoteHub};
use crate::runtime;
use crate::store_settings::StoreSettings;
use crate::sys::clock;
use crate::wire::{Call, FieldList, HubSettings, Name, NamedSettings, ShowChannel};
use crate::Failure;
use std::borrow::Cow;
use std::os::raw::{c_char, c_int};
use std::slice;
use std::time::Duration;

/// `esx_publication`
#[repr(C)]
struct RawPublication {
    channel: RawText,
    key: RawText,
    once: RawText,
    fields: *const RawField,
    len: usize,
    act: u8,
    retain: u8,
    is_json: u8,
}

/// The time for which a publish waits for the id of a named hub, unless the application says it.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

fn on_slow(name: &[u8]) -> OnSlow {
    OnSlow::of_name(name).unwrap_or_else(|| refuse("on_slow", String::from_utf8_lossy(name)))
}

impl Texts<'_> {
    fn text<T: for<'a> From<Cow<'a, str>>>(&mut self) -> T {
        String::from_utf8_lossy(self.bytes()).into()
    }

    /// Takes the settings of channels: the pattern, the bounds of the history and of the state, and the policy for slow
    /// clients. What is not given is undefined.
    fn channels(&mut self) -> ChannelSettings {
        let mut channels = ChannelSettings::new(self.bytes());
        (channels.events, channels.bytes) = (self.number_if(), self.number_if());
        channels.age = self.number_if().map(seconds);
        (channels.state_keys, channels.state_bytes) = (self.number_if(), self.number_if());
        channels.on_slow = self.next().map(on_slow);
        channels
    }

    /// Takes bounds of the history. What is not given is as in `default`.
    fn bounds(&mut self, default: Bounds) -> Bounds {
        Bounds {
            events: self.number_if().unwrap_or(default.events),
            bytes: self.number_if().unwrap_or(default.bytes),
            age: self.number_if().map_or(default.age, seconds),
        }
    }

    /// Takes bounds of the state, as [`bounds`](Self::bounds).
    fn state_bounds(&mut self, default: StateBounds) -> StateBounds {
        let (keys, bytes) = (self.number_if(), self.number_if());
        StateBounds { keys: keys.unwrap_or(default.keys), bytes: bytes.unwrap_or(default.bytes) }
    }

    /// Takes the settings of a hub that the application gives: names, each with its texts behind it. The others have their
    /// defaults, or are those of the hub process.
    fn hub(mut self) -> Result<Hub, Failure> {
        let (mut given, default) = (NamedSettings::default(), HubSettings::default());
        let (mut name, mut socket, mut program, mut store) = (String::new(), None, None, None);
        let mut timeout = PUBLISH_TIMEOUT;
        while let Some(setting) = self.next() {
            match setting {
                b"per_channel" => {
                    let count: usize = self.number();
                    given.channels = Some((0..count).map(|_| self.channels()).collect());
                }
                b"gap_data" => {
                    let (evicted, unknown, slow) = (self.text(), self.text(), self.text());
                    given.gap_data = Some(Some(Box::new(GapData { evicted, unknown, slow })));
                }
                b"gap_event" => given.gap_event = Some(self.text()),
                b"grace" => given.grace = Some(seconds(self.number())),
                b"keep_history" => given.history = Some(self.bounds(default.hub.retention.history)),
                b"idle_exit" => given.idle_exit = Some(seconds(self.number())),
                b"max_members" => given.max_members = Some(self.number()),
                b"max_streams" => given.max_streams = Some(self.number()),
                b"max_topics" => given.max_topics = Some(self.number()),
                b"name" => name = self.text(),
                b"on_slow" => given.on_slow = Some(on_slow(self.bytes())),
                b"opaque_ids" => given.opaque_ids = Some(self.is_true()),
                b"position_event" => given.position_event = Some(self.text()),
                b"program" => program = self.path(),
                b"publish_timeout" => timeout = seconds(self.number()),
                b"refuses_position_event" => given.refuses_position_event = Some(self.is_true()),
                b"show_channel" => given.show_channel = Some(ShowChannel::of_name(self.text::<String>().as_bytes())),
                b"socket" => socket = self.path(),
                b"keep_state" => given.state = Some(self.state_bounds(default.hub.retention.state)),
                b"store" => {
                    let count: usize = self.number();
                    store = Some((0..count).map(|_| (self.text(), self.text())).collect::<Vec<(String, String)>>());
                }
                b"keep_total_history" => given.total_history = Some(self.bounds(default.hub.retention.total_history)),
                b"keep_total_state" => given.total_state = Some(self.state_bounds(default.hub.retention.total_state)),
                name => refuse("setting", String::from_utf8_lossy(name)),
            }
        }
        if name.is_empty() {
            return Ok(Hub::local(given.over(default)));
        }
        let address = Address::new(Name::new(&name)?, socket)?;
        if let Some(store) = store {
            let pairs: Vec<_> = store.iter().map(|(name, value)| (&**name, &**value)).collect();
            let invalid = |message| Failure::invalid("store", message);
            given.store = Some(StoreSettings::new(&pairs, timeout).map_err(invalid)?);
        }
        let start = remote::Start { program, needs_settings: false, timeout };
        Hub::named(RemoteHub::new(address, start, given))
    }
}

#[no_mangle]
unsafe extern "C" fn esx_hub_new(given: *const RawText, len: usize, report: *mut Report) -> *mut Hub {
    // SAFETY: the report is on the stack of C. The texts are scalars' buffers, which live until the XSUB returns.
    let (given, report) = unsafe { (Texts::new(given, len), &mut *report) };
    guard::make(report, || given.hub())
}

handles! {
    Hub: esx_hub_drop;
    LeaseHandle: esx_lease_drop;
}

/// Copies the handle for a new ithread, whose copy of the object is the same hub.
#[no_mangle]
unsafe extern "C" fn esx_hub_clone(hub: *const Hub) -> *mut Hub {
    // SAFETY: the object is alive.
    let hub = unsafe { &*hub };
    guard::run_or(std::ptr::null_mut(), || Box::into_raw(Box::new(hub.clone())))
}

/// Checks the ids of fields that are pushed to a stream with subscriptions.
#[no_mangle]
unsafe extern "C" fn esx_hub_check_ids(fields: *const RawField, len: usize, report: *mut Report) -> c_int {
    // SAFETY: C passes the fields that `esx_measure` has accepted and a report, both on its own stack or in a mortal's
    // buffer.
    let (fields, report) = unsafe { (slice::from_raw_parts(fields, len), &mut *report) };
    guard::run(report, |_| given_ids(accepted(fields)).try_for_each(|id| check_id(&id)).map(|()| OK))
}

/// Publishes the fields, which `esx_measure` has accepted, or only checks them. Writes the hub's id and stores its length as
/// the report's size, unless the call does not wait for the id of a named hub. Returns `ENDING` if the process ends.
#[no_mangle]
unsafe extern "C" fn esx_hub_publish(
    hub: *mut Hub,
    raw: *const RawPublication,
    out: *mut c_char,
    report: *mut Report,
) -> c_int {
    // SAFETY: C found `hub` in the magic of a live object and keeps it alive. The other arguments are on C's stack.
    let (hub, raw, report) = unsafe { (&*hub, &*raw, &mut *report) };
    // SAFETY: the texts are scalars' buffers, which live until the XSUB returns.
    let (fields, channel, key, once) =
        unsafe { (slice::from_raw_parts(raw.fields, raw.len), raw.channel.bytes(), raw.key.bytes(), raw.once.bytes()) };
    guard::run::<Failure>(report, |report| {
        let at = |number: u8| usize::from(number);
        let retain = Retain::ALL.get(at(raw.retain)).copied().unwrap_or_else(|| refuse("retain", raw.retain));
        let act = Act::ALL.get(at(raw.act)).copied().unwrap_or_else(|| refuse("act", raw.act));
        let (channel, key, once) = (channel.unwrap_or_default(), key.unwrap_or_default(), check_once(once)?);
        let given = Publication { channel, key, retain, once, fields: accepted(fields) };
        let mut len = 0;
        let write = |made: &str| {
            len = made.len().min(ID_MAX);
            // SAFETY: C's buffer has room for ID_MAX bytes.
            unsafe { out.copy_from_nonoverlapping(made.as_ptr().cast(), len) };
        };
        let way = hub.show_channel();
        let published = if way.is_none() && retain != Retain::Forget {
            hub.publish(given, act, write)
        } else {
            let shown = given.map(FieldList::of).shown(way, raw.is_json != 0)?;
            hub.publish(Publication { channel, key, retain, once, fields: shown.fields().iter() }, act, write)
        };
        report.set_size(len);
        match published {
            Err(_) if runtime::is_shutting_down() => Ok(ENDING), // all streams have ended: the callback of one may publish
            result => result.map(|()| OK),
        }
    })
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
    fn esx_lease_state(lease: &mut LeaseHandle) -> c_int { lease.state() as c_int }
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
                hub.call(Call::CountRefusedOrigin)?;
                Answer::default()
            }
            b"epoch" => Answer::of(&*hub.epoch(true)?.unwrap_or_default()),
            b"has_refused_members" => Answer::of_truth(matches!(hub, Hub::Local(hub) if hub.has_refused_members())),
            b"known_epoch" => Answer::of(&*hub.epoch(false)?.unwrap_or_default()),
            b"open_ticket" => {
                let (sealed, binding) = (given.octets().into(), given.octets().into());
                let opened = hub.call(Call::OpenTicket { sealed, binding })?.admitted()?;
                let texts = opened.map(|opened| {
                    let asked_at = opened.asked_at().to_string().into_bytes();
                    let texts = vec![opened.owner.as_bytes().into(), codec::encode(&opened), asked_at];
                    texts
                        .into_iter()
                        .chain(opened.request.access.limits.into_iter().map(|limit| limit.label.into_vec()))
                });
                Answer::of_bytes(texts.into_iter().flatten())
            }
            b"reserve" => {
                let label = given.bytes().into();
                let call = Call::Reserve { label, most: given.number(), asked_at: given.number() };
                Answer::of_truth(hub.call(call)?.number()? > 0)
            }
            b"seal_ticket" => {
                let (valid_for, most) = (seconds(given.number()), given.number());
                let mut ticket = given.ticket(hub.show_channel())?;
                check_presence(&ticket.request.presence, hub.settings())?;
                ticket.repeat_member();
                let call = Call::SealTicket { ticket: ticket.into(), valid_for, most };
                Answer::of_bytes(hub.call(call)?.sealed()?)
            }
            name => calls::call(&mut |call| hub.call(call), hub.settings(), hub.show_channel(), name, given)?,
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
) -> *mut LeaseHandle {
    // SAFETY: as in `esx_hub_publish`.
    let (hub, name, report) = unsafe { (&*hub, name.bytes().unwrap_or_default(), &mut *report) };
    guard::make(report, || hub.elect(name, interpreter))
}
