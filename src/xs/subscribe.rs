//! Subscriptions of streams to a hub: those that an application gives, and those of tickets.

use super::guard::{refuse, Report};
use super::stream::seconds;
use super::text::{answer, Answer, RawText, Texts};
use crate::codec;
use crate::compression::ContentCoding;
use crate::event::Unsequenced;
use crate::hub::{
    check_presence, Access, Announcement, MemberData, MemberRequest, OtherStart, Passport, Poll, PollReason,
    PositionStyle, Publication, Retain, StartPoint, Statement, StreamLimit, SubscribeRequest, Ticket,
};
use crate::remote::{Hub, Subscribed};
use crate::runtime::{monotonic, StreamHandle};
use crate::stream::{Framing, LineEnd, Settings};
use crate::wire::{FieldList, ShowChannel};
use crate::Failure;
use std::time::Duration;

/// The longest id of an event is shorter.
const TOO_LONG_ID: usize = 1025;

/// The texts of a member, of its data and of a will are in the order of EventSource::XS::Hub::Member.
impl Texts<'_> {
    pub(super) fn is_true(&mut self) -> bool {
        self.number::<f64>() != 0.0
    }

    /// An event of a key that `EventSource::XS::format_event` has encoded, and whether its data is JSON.
    pub(super) fn event(
        &mut self,
        way: Option<ShowChannel>,
        (channel, key, retain): (&[u8], &[u8], Retain),
    ) -> Result<Unsequenced, Failure> {
        let given = Publication { channel, key, retain, once: b"", fields: FieldList::of_block(self.bytes()) };
        let shown = given.shown(way, self.is_true())?;
        Ok(Unsequenced::of(shown.fields().iter()))
    }

    pub(super) fn data(&mut self) -> MemberData {
        MemberData { text: self.bytes().into(), is_json: self.is_true() }
    }

    /// Takes a subscription, and what a ticket says beside: names, each with its texts behind it. A start counts for the topics
    /// behind it. `way` is the form of the events of a member and of the will.
    pub(super) fn ticket(mut self, way: Option<ShowChannel>) -> Result<Ticket, Failure> {
        let mut ticket = Ticket::default();
        while let Some(name) = self.next() {
            let SubscribeRequest { topics, after, start, other_starts, first_block, access, presence } =
                &mut ticket.request;
            match name {
                b"after" => *after = self.next().map(|id| id[..id.len().min(TOO_LONG_ID)].into()),
                b"asked_at" => access.asked_at = self.number(),
                b"binding" => ticket.binding = self.octets().into(),
                b"channel" | b"pattern" => topics.push(self.topic(name)),
                b"keeps_id" => first_block.keeps_id = self.is_true(),
                b"label" => access.labels.push(self.bytes().into()),
                b"limit" => {
                    access.limits.push(StreamLimit { label: self.bytes().into(), most: self.number() });
                }
                b"max_age" => access.max_age = self.number_if().map(seconds).map(Access::random_age),
                b"member" => presence.member = Some(self.member(way)?),
                b"owner" => ticket.owner = String::from_utf8_lossy(self.bytes()).into(),
                b"passport" => ticket.passport = Some(self.passport()),
                b"poll" => access.poll = Some(self.poll()),
                b"position" => first_block.position = self.position(),
                b"retry" => first_block.retry = self.number_if(),
                b"start" if topics.is_empty() => *start = self.start(),
                b"start" => other_starts.push(OtherStart { from: topics.len(), start: self.start() }),
                b"will" => presence.will = Some(self.will(way)?),
                name => refuse("part of a subscription", String::from_utf8_lossy(name)),
            }
        }
        Ok(ticket)
    }

    /// Takes the name of a start, and a number of events.
    fn start(&mut self) -> StartPoint {
        match (self.bytes(), self.number()) {
            (b"latest", _) => StartPoint::Latest,
            (b"oldest", _) => StartPoint::Oldest,
            (b"state", _) => StartPoint::State,
            (b"last", last) => StartPoint::Last(last),
            (name, _) => refuse("start", String::from_utf8_lossy(name)),
        }
    }

    fn position(&mut self) -> PositionStyle {
        let name = self.bytes();
        PositionStyle::of_name(name).unwrap_or_else(|| refuse("position", String::from_utf8_lossy(name)))
    }

    fn poll(&mut self) -> Poll {
        let (wait, reason) = (seconds(self.number()), self.number::<usize>());
        let reason = PollReason::ALL.get(reason).copied().unwrap_or_else(|| refuse("poll_reason", reason));
        Poll { wait, reason }
    }

    fn member(&mut self, way: Option<ShowChannel>) -> Result<Box<MemberRequest>, Failure> {
        let (channel, id) = (self.bytes(), self.bytes());
        Ok(Box::new(MemberRequest {
            channel: channel.into(),
            id: id.into(),
            linger: seconds(self.number()),
            is_counted: self.is_true(),
            data: self.data(),
            join: self.event(way, (channel, id, Retain::Newest))?,
            update: self.event(way, (channel, id, Retain::Newest))?,
            leave: self.event(way, (channel, id, Retain::Forget))?,
        }))
    }

    fn passport(&mut self) -> Box<Passport> {
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
        let cookies = Some(cookies).filter(|_| is_named);
        Box::new(Passport { settings, may_be_coded, head, opening, retry, cookies, fields })
    }

    fn names(&mut self) -> Vec<Box<[u8]>> {
        self.bytes().split(|byte| *byte == b';').filter(|name| !name.is_empty()).map(Into::into).collect()
    }

    fn will(&mut self, way: Option<ShowChannel>) -> Result<Box<Announcement>, Failure> {
        let (channel, key) = (self.bytes(), self.bytes());
        let retain = if self.is_true() { Retain::Newest } else { Retain::No };
        let event = self.event(way, (channel, key, retain))?;
        let (channel, key, statement) = (channel.into(), key.into(), Statement::Nothing);
        Ok(Box::new(Announcement { channel, key, retain, event, statement }))
    }
}

/// Subscribes a stream. The texts are a ticket as it was opened, empty if there is none, and a [subscription](Texts::ticket):
/// all of it, or what a ticket leaves to the request. Answers what became of the stream.
#[no_mangle]
unsafe extern "C" fn esx_hub_subscribe(
    hub: *mut Hub,
    stream: *mut StreamHandle,
    given: *const RawText,
    len: usize,
    report: *mut Report,
) -> *mut Answer {
    // SAFETY: C found both handles in the magic of live objects, which one interpreter uses at a time and C keeps alive. The
    // texts are in scalars' buffers, which live until the XSUB returns.
    let (hub, stream, mut given, report) = unsafe { (&*hub, &mut *stream, Texts::new(given, len), &mut *report) };
    answer(report, || {
        let opened = given.octets();
        let asked = given.ticket(hub.show_channel())?.request;
        check_presence(&asked.presence, hub.settings())?;
        let is_admitted = !opened.is_empty();
        let request = match is_admitted {
            false => asked,
            true => {
                let ticket = codec::decode::<Ticket>(&opened)?;
                let SubscribeRequest { after, first_block, access, .. } = asked;
                ticket.into_request(monotonic(), after, first_block.retry, access.poll)
            }
        };
        Ok(Answer::of(match hub.subscribe(stream, request, is_admitted)? {
            Subscribed::Ended => "ended",
            Subscribed::Now => "now",
            Subscribed::Waits => "waits",
        }))
    })
}
