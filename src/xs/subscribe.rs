//! Subscriptions of streams to a hub: those that an application gives, and those of tickets.

use super::guard::{self, Report, Thrown, OK};
use super::hub::{names, topics, RawTopic};
use super::stream::seconds;
use super::text::{texts, OwnTexts, RawText, Texts};
use crate::compression::ContentCoding;
use crate::event::Unsequenced;
use crate::hub::{
    check_presence, Access, Announcement, FirstBlock, MemberData, MemberRequest, OtherStart, Passport, Poll,
    PollReason, PositionStyle, Presence, Retain, StartPoint, Statement, StreamLimit, SubscribeRequest, Ticket,
};
use crate::remote::{Hub, Subscribed};
use crate::runtime::{monotonic, StreamHandle};
use crate::stream::{Framing, LineEnd, Settings};
use crate::ticket;
use crate::wire::FieldList;
use std::os::raw::c_int;
use std::time::Duration;

/// `esx_request`
#[repr(C)]
pub(super) struct RawRequest {
    topics: *const RawTopic,
    len: usize,
    after: RawText,
    /// Of the other starts the index of a topic, the number of the kind and the number of events.
    starts: *const RawText,
    starts_len: usize,
    last: usize,
    retry: u64,
    start: u8,
    position: u8,
    has_retry: u8,
    keeps_id: u8,
    labels: *const RawTopic,
    labels_len: usize,
    /// In seconds; below 0 if there is none.
    max_age: f64,
    asked_at: u64,
    /// In seconds; below 0 if the stream is not a poll.
    poll_wait: f64,
    /// The number of its reason.
    poll_reason: u8,
    /// The texts of a member and of a will, in the order of EventSource::XS::Hub::Member; none if there is none.
    member: *const RawText,
    member_len: usize,
    will: *const RawText,
    will_len: usize,
}

/// `esx_ticket`
#[repr(C)]
struct RawTicket {
    request: RawRequest,
    limits: *const RawText,
    limits_len: usize,
    owner: RawText,
    binding: RawText,
    /// In the order of EventSource::XS::Hub::Ticket; none if there is none.
    passport: *const RawText,
    passport_len: usize,
    seconds: f64,
    most: usize,
}

/// The texts of a member, of its data and of a will are in the order of EventSource::XS::Hub::Member.
impl Texts<'_> {
    fn is_true(&mut self) -> bool {
        self.number::<f64>() != 0.0
    }

    /// An event that `EventSource::XS::format_event` has encoded.
    pub(super) fn event(&mut self) -> Unsequenced {
        Unsequenced::of(FieldList::of_block(self.bytes()).fields().iter())
    }

    pub(super) fn data(&mut self) -> MemberData {
        MemberData { text: self.bytes().into(), is_json: self.is_true() }
    }

    fn member(mut self) -> Box<MemberRequest> {
        Box::new(MemberRequest {
            channel: self.bytes().into(),
            id: self.bytes().into(),
            linger: seconds(self.number()),
            is_counted: self.is_true(),
            data: self.data(),
            join: self.event(),
            update: self.event(),
            leave: self.event(),
        })
    }

    fn passport(mut self) -> Passport {
        let mut time = || Some(self.number()).filter(|time| *time > 0.0).map(seconds);
        let (keepalive, timeout) = (time(), time());
        let retry = Duration::from_millis(self.number());
        let settings = Settings {
            framing: Framing::Plain,
            coding: ContentCoding::Identity,
            line_end: LineEnd::Lf,
            keepalive,
            timeout: timeout.unwrap_or_default(),
            max_buffered: self.number(),
            drop_oldest: self.is_true(),
            retry,
        };
        let may_be_coded = self.is_true();
        let (head, opening) = (self.bytes().into(), self.bytes().into());
        let retry = self.is_true();
        let retry = Some([self.number(), self.number()]).filter(|_| retry);
        let is_named = self.is_true();
        let (cookies, fields) = (self.names(), self.names());
        Passport { settings, may_be_coded, head, opening, retry, cookies: Some(cookies).filter(|_| is_named), fields }
    }

    fn names(&mut self) -> Vec<Box<[u8]>> {
        self.bytes().split(|byte| *byte == b';').filter(|name| !name.is_empty()).map(Into::into).collect()
    }

    fn will(mut self) -> Box<Announcement> {
        Box::new(Announcement {
            channel: self.bytes().into(),
            key: self.bytes().into(),
            retain: if self.is_true() { Retain::Newest } else { Retain::No },
            event: self.event(),
            statement: Statement::Nothing,
        })
    }
}

impl RawRequest {
    fn retry(&self) -> Option<u64> {
        Some(self.retry).filter(|_| self.has_retry != 0)
    }

    fn poll(&self) -> Option<Poll> {
        Some(self.poll_wait).filter(|wait| *wait >= 0.0).map(|wait| Poll {
            wait: seconds(wait),
            reason: match PollReason::ALL.get(usize::from(self.poll_reason)) {
                Some(reason) => *reason,
                None => guard::refuse_number("poll_reason", self.poll_reason),
            },
        })
    }

    /// Returns the subscription.
    ///
    /// # Safety
    ///
    /// The texts and the arrays are readable.
    unsafe fn subscription(&self) -> SubscribeRequest {
        // SAFETY: the caller guarantees that the texts and the arrays are readable.
        let (topics, after, labels) =
            unsafe { (topics(self.topics, self.len), self.after.bytes(), names(self.labels, self.labels_len)) };
        // SAFETY: as above.
        let (member, will) =
            unsafe { (Texts::new(self.member, self.member_len), Texts::new(self.will, self.will_len)) };
        // SAFETY: as above.
        let mut starts = unsafe { Texts::new(self.starts, self.starts_len) }.unwrap_or_default();
        let mut other_starts = Vec::new();
        while let Some(from) = starts.number_if() {
            other_starts.push(OtherStart { from, start: start_of(starts.number(), starts.number()) });
        }
        let first_block = FirstBlock {
            position: match self.position {
                0 => PositionStyle::Event,
                1 => PositionStyle::Id,
                2 => PositionStyle::None,
                number => guard::refuse_number("position", number),
            },
            retry: self.retry(),
            keeps_id: self.keeps_id != 0,
            names_channels: false,
        };
        let after = after.map(Into::into);
        let max_age = Some(self.max_age).filter(|age| *age >= 0.0).map(seconds).map(Access::random_age);
        let access = Access { labels, max_age, asked_at: self.asked_at, poll: self.poll() };
        let presence = Presence { member: member.map(Texts::member), will: will.map(Texts::will) };
        let start = start_of(self.start, self.last);
        SubscribeRequest { topics, after, start, other_starts, first_block, access, presence }
    }
}

/// Returns the start of a kind by its number, and a number of events.
fn start_of(kind: u8, last: usize) -> StartPoint {
    match kind {
        0 => StartPoint::Latest,
        1 => StartPoint::Oldest,
        2 => StartPoint::State,
        3 => StartPoint::Last(last),
        number => guard::refuse_number("start", number),
    }
}

/// Returns 1 if the stream is subscribed, 2 if it waits for the hub process, 0 if it has ended, and -1 with a report of the
/// error.
fn subscribed(report: &mut Report, subscribe: impl FnOnce() -> Result<Subscribed, Thrown>) -> c_int {
    let mut subscribed = Subscribed::Ended;
    let status = guard::run(report, |_| {
        subscribed = subscribe()?;
        Ok::<_, Thrown>(OK)
    });
    match subscribed {
        _ if status != OK => -1,
        Subscribed::Ended => 0,
        Subscribed::Now => 1,
        Subscribed::Waits => 2,
    }
}

/// Subscribes a stream. Returns the number of what became of it ([`subscribed`]).
#[no_mangle]
unsafe extern "C" fn esx_hub_subscribe(
    hub: *mut Hub,
    stream: *mut StreamHandle,
    raw: *const RawRequest,
    report: *mut Report,
) -> c_int {
    // SAFETY: C found both handles in the magic of live objects, which one interpreter uses at a time and C keeps alive.
    let (hub, stream, raw, report) = unsafe { (&*hub, &mut *stream, &*raw, &mut *report) };
    subscribed(report, || {
        // SAFETY: the texts and the arrays are in scalars' buffers, which live until the XSUB returns.
        let request = unsafe { raw.subscription() };
        check_presence(&request.presence, hub.settings())?;
        Ok(hub.subscribe(stream, request)?)
    })
}

/// Seals a ticket. Returns a handle of its bytes, or of nothing if it has too many; or null with a report of the error.
#[no_mangle]
unsafe extern "C" fn esx_hub_seal_ticket(hub: *mut Hub, raw: *const RawTicket, report: *mut Report) -> *mut OwnTexts {
    // SAFETY: as in `esx_hub_subscribe`.
    let (hub, raw, report) = unsafe { (&*hub, &*raw, &mut *report) };
    texts(report, || {
        // SAFETY: as in `esx_hub_subscribe`.
        let (request, limits) = unsafe { (raw.request.subscription(), Texts::new(raw.limits, raw.limits_len)) };
        // SAFETY: as in `esx_hub_subscribe`.
        let (owner, binding) =
            unsafe { (raw.owner.bytes().unwrap_or_default(), raw.binding.bytes().unwrap_or_default()) };
        check_presence(&request.presence, hub.settings())?;
        let mut limits = limits.unwrap_or_default();
        let mut all = Vec::new();
        while let Some(label) = limits.next() {
            all.push(StreamLimit { label: label.into(), most: limits.number() });
        }
        let owner = String::from_utf8_lossy(owner).into();
        // SAFETY: as in `esx_hub_subscribe`.
        let passport = unsafe { Texts::new(raw.passport, raw.passport_len) };
        let passport = passport.map(|texts| Box::new(texts.passport()));
        let binding = binding.into();
        let mut ticket = Ticket { owner, limits: all, request, binding, passport, ..Ticket::default() };
        ticket.repeat_member();
        let sealed = hub.seal_ticket(ticket, seconds(raw.seconds), raw.most)?;
        Ok(sealed.into_iter().map(Vec::into_boxed_slice).collect())
    })
}

/// Opens a ticket. Returns a handle of texts: whose stream it is, and the opened bytes; of nothing if no stream may begin with
/// it; or null with a report of the error.
#[no_mangle]
unsafe extern "C" fn esx_hub_open_ticket(
    hub: *mut Hub,
    sealed: RawText,
    binding: RawText,
    report: *mut Report,
) -> *mut OwnTexts {
    // SAFETY: as in `esx_hub_subscribe`.
    let (hub, sealed, binding, report) =
        unsafe { (&*hub, sealed.bytes().unwrap_or_default(), binding.bytes().unwrap_or_default(), &mut *report) };
    texts(report, || {
        Ok(hub
            .open_ticket(sealed, binding)?
            .map_or_else(Vec::new, |opened| [opened.owner.as_bytes().into(), ticket::encode(&opened).into()].into()))
    })
}

/// Subscribes a stream as an opened ticket says, after the id and with the reconnection time of a request. Returns the number
/// of what became of it ([`subscribed`]).
#[no_mangle]
unsafe extern "C" fn esx_hub_subscribe_ticket(
    hub: *mut Hub,
    stream: *mut StreamHandle,
    opened: RawText,
    raw: *const RawRequest,
    report: *mut Report,
) -> c_int {
    // SAFETY: as in `esx_hub_subscribe`. Of the request the rest is zeros.
    let (hub, stream, raw, report) = unsafe { (&*hub, &mut *stream, &*raw, &mut *report) };
    // SAFETY: as in `esx_hub_subscribe`.
    let (opened, after) = unsafe { (opened.bytes().unwrap_or_default(), raw.after.bytes()) };
    subscribed(report, || {
        let ticket = ticket::decode(opened).map_err(crate::remote::Error::from)?;
        Ok(hub.subscribe(stream, ticket.into_request(monotonic(), after, raw.retry(), raw.poll()))?)
    })
}
