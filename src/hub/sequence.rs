//! The work of a hub on events before they reach the logs, whoever owns it: it refuses those with which one publisher could
//! harm its clients, gives the others numbers and ids, and knows which are published once, what of the state fits, and what
//! members and wills announce.
//!
//! A hub that owns its order [numbers](Sequence::number) an event at once. Over a store the same is checked before the store
//! is asked, and an event has its number when the store has it. Keys of tickets stay beside this: their ciphers are of a
//! higher layer.

pub(super) mod once_keys;
pub(super) mod state_sizes;

use super::members::Room;
use super::presence::{MemberData, Presence, COUNT_EVENT};
use super::{Announcement, Epoch, Fits, MemberUpdate, Members, PresenceChange, Retention, Settings, Statement};
use crate::event::{encode_to_vec, EventId, EventName, Field, LineEnd, Retry, Shared, Text, Unsequenced};
use crate::log::Retain;
use crate::stream::StreamId;
use crate::Failure;
use once_keys::{OnceKeys, MAX_ONCE_BYTES};
use state_sizes::StateSizes;
use std::time::Instant;

/// An event that is to be published, with its fields in one of their forms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Publication<'a, F> {
    /// The channel's name.
    pub channel: &'a [u8],
    /// The key: a later event with the same key replaces this one. Empty if the event has none.
    pub key: &'a [u8],
    /// The effect of the event on the state of its channel.
    pub retain: Retain,
    /// The key that the producer gives the event: a second publish with it returns the id of the first one. Empty if the event
    /// has none.
    pub once: &'a [u8],
    /// The event's fields. With an id among them, the event has that id for its clients.
    pub fields: F,
}

impl<'a, F> Publication<'a, F> {
    /// Returns the same event with its fields in another form.
    pub fn map<G>(self, form: impl FnOnce(F) -> G) -> Publication<'a, G> {
        let Self { channel, key, retain, once, fields } = self;
        Publication { channel, key, retain, once, fields: form(fields) }
    }
}

/// An event that has its sequence number and its id.
#[derive(Clone, Debug)]
pub struct SequencedEvent {
    /// The sequence number: the next one of the hub, or one that a store has given.
    pub seq: u64,
    /// The name of the channel.
    pub channel: Box<[u8]>,
    /// The encoded event, its id included.
    pub event: Shared,
    /// The key, for the state of the channel and for [`OnSlow::Latest`](crate::hub::OnSlow::Latest). Empty if the event has
    /// none.
    pub key: Box<[u8]>,
    /// The effect of the event on the state of its channel.
    pub retain: Retain,
    /// True if the event has an id of the application.
    pub has_custom_id: bool,
}

impl SequencedEvent {
    /// Returns how many bytes of memory the event takes. For a small event that is mostly this struct.
    pub fn size(&self) -> usize {
        std::mem::size_of::<Self>() + self.event.len() + self.channel.len() + self.key.len()
    }
}

/// The most bytes of an id, a channel's name and a key.
pub const MAX_ID_BYTES: usize = 1024;

/// The beginning of the names of the library's own channels, which patterns with a star in front do not match.
const LIBRARY_CHANNELS: &[u8] = b"\0EventSource";

/// The longest reconnection time of an event, a day in milliseconds. With a longer one a single event could keep
/// clients away permanently.
const MAX_RETRY: u64 = 86_400_000;

/// The most bytes of the data of a member, and of each event of a member or a will: the hub keeps them for each.
const MAX_PRESENCE_BYTES: usize = 65_536;

/// The last event ID of a stream that is finished for good (`$conn->finish`). A client that reconnects with it is answered
/// 204, and stays away.
pub const FINISHED_ID: &[u8] = b"eventsource-finished";

/// Returns true if the block of an event has that id, before its data: there EventSource::XS writes ids.
pub fn is_finish(block: &[u8]) -> bool {
    let lines = block.split(|byte| matches!(byte, b'\n' | b'\r')).take_while(|line| !line.starts_with(b"data"));
    lines.filter_map(|line| line.strip_prefix(b"id: ")).any(|id| id == FINISHED_ID)
}

/// The type of the event in which a hub says what its clients must not miss (EventSource::Wire). No event of a publisher has
/// it, so a client may believe what it says.
pub const HUB_EVENT: &str = "eventsource-hub";

/// Returns the ids among fields, as they are sent.
pub fn given_ids<'a>(fields: impl Iterator<Item = Field<'a>> + 'a) -> impl Iterator<Item = Vec<u8>> + 'a {
    fields.filter(|field| matches!(field, Field::Id(_))).map(|id| {
        let line = encode_to_vec(&[id], LineEnd::Lf);
        line[b"id: ".len()..line.len() - b"\n\n".len()].to_vec()
    })
}

/// Refuses an id with which no client could resume.
///
/// A client sends the id back as the value of an HTTP header. Servers answer 400 to a value with a control character,
/// after which an EventSource never reconnects. They also remove blanks at both ends, so the id that comes back is a
/// different one (RFC 9110, section 5.5). Fails with `Invalid`.
pub fn check_id(id: &[u8]) -> Result<(), Failure> {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let why = if id.is_empty() {
        "not be empty: it would reset the client's last event ID"
    } else if id.len() > MAX_ID_BYTES {
        "have at most 1024 bytes in UTF-8"
    } else if id.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        "not contain a control character other than TAB: no client could send it back; remove it"
    } else if is_blank(id.first()) || is_blank(id.last()) {
        "not begin or end with a space or TAB: no client could send it back; remove them"
    } else {
        return Ok(());
    };
    Err(Failure::invalid("id", format!("id must {why}")))
}

/// Refuses an id that an event of a hub must not have: one with which no client could resume, and that of finished streams,
/// with which one publisher could send all readers away for good. Fails with `Invalid`.
fn check_published_id(id: &[u8]) -> Result<(), Failure> {
    check_id(id)?;
    if id == FINISHED_ID {
        let why = "each client that reconnects with it is sent away for good";
        return Err(Failure::invalid("id", format!("id must not be that of a finished stream: {why}")));
    }
    Ok(())
}

impl<'a, F: Iterator<Item = Field<'a>> + Clone + 'a> Publication<'_, F> {
    /// Refuses wrong names and keys, and what `check_published_id`, `check_data` and `check_fields` refuse. Returns the id
    /// among the fields, if they have one.
    pub fn check(&self, settings: Option<&Settings>) -> Result<Option<Vec<u8>>, Failure> {
        if self.channel.is_empty() {
            return Err(Failure::invalid("channel", "a channel's name must be a string that is not empty"));
        }
        for (field, what, text) in [("channel", "a channel's name", self.channel), ("key", "key", self.key)] {
            if text.len() > MAX_ID_BYTES {
                let message = format!("{what} must have at most {MAX_ID_BYTES} bytes in UTF-8");
                return Err(Failure::invalid(field, message));
            }
            check_unicode(field, what, text)?;
        }
        if self.channel.starts_with(b"\0") && !self.channel.starts_with(LIBRARY_CHANNELS) {
            let why = "must not begin with NUL, as channels of the library do";
            return Err(Failure::invalid("channel", format!("a channel's name {why}")));
        }
        if self.key.contains(&b'\r') {
            let why = "the event that forgets it has it as data, which has no CR: remove it";
            return Err(Failure::invalid("key", format!("key must not contain a CR, because {why}")));
        }
        check_once(Some(self.once).filter(|once| !once.is_empty()))?;
        let id = given_ids(self.fields.clone()).next();
        id.as_deref().map_or(Ok(()), check_published_id)?;
        check_data(self.fields.clone())?;
        check_fields(self.fields.clone(), settings)?;
        Ok(id)
    }
}

/// Refuses an id without data. Clients are given no event for it, and take it for the id that the hub gives after an event of
/// an application. Fails with `Invalid`.
fn check_data<'a>(fields: impl Iterator<Item = Field<'a>>) -> Result<(), Failure> {
    let (mut has_id, mut has_data) = (false, false);
    for field in fields.chain([Field::Blank]) {
        match field {
            Field::Id(_) => has_id = true,
            Field::Data(_) => has_data = true,
            Field::Blank if has_id && !has_data => {
                let why = "clients receive no event without data, and would take the id for one of the hub";
                return Err(Failure::invalid("data", format!("an event with an id must have data: {why}")));
            }
            Field::Blank => (has_id, has_data) = (false, false),
            _ => {}
        }
    }
    Ok(())
}

/// Refuses a name that is not UTF-8: perl's strings may have halves of surrogate pairs, and numbers above U+10FFFF. Pages would
/// have U+FFFD in the place of each, so that two names became one.
fn check_unicode(field: &'static str, what: &str, name: &[u8]) -> Result<(), Failure> {
    let why = "must be Unicode, without halves of surrogate pairs and numbers above U+10FFFF";
    std::str::from_utf8(name).map(|_| ()).map_err(|_| Failure::invalid(field, format!("{what} {why}")))
}

/// Refuses a key `once` that is no name or has a wrong length, also an empty one. Returns it as a [`Publication`] has it.
pub fn check_once(given: Option<&[u8]>) -> Result<&[u8], Failure> {
    match given {
        Some(once) if once.is_empty() || once.len() > MAX_ONCE_BYTES => {
            Err(Failure::invalid("once", format!("once must have 1 to {MAX_ONCE_BYTES} bytes in UTF-8")))
        }
        given => {
            let once = given.unwrap_or_default();
            check_unicode("once", "once", once).map(|()| once)
        }
    }
}

/// Refuses an event with which one publisher could harm all clients of the hub: one that looks like an event of the hub
/// itself, and one that keeps clients away for more than a day.
///
/// If the application gives the data of `gap` events, it means them for readers of its own events, so these may have the
/// same name. Without settings no name of these two is refused: only the hub process knows those of a named hub, and it checks
/// the event. Fails with `Invalid`.
fn check_fields<'a>(fields: impl Iterator<Item = Field<'a>>, settings: Option<&Settings>) -> Result<(), Failure> {
    let is_gap = |name: EventName<'_>, settings: &Settings| {
        settings.gap_data.is_none() && is_sent_as(name.text(), &settings.gap_event)
    };
    let is_position = |name: EventName<'_>, settings: &Settings| {
        settings.refuses_position_event && is_sent_as(name.text(), &settings.position_event)
    };
    let is_name_of =
        |what| format!("event must not be the name of the hub's event for {what}: choose another, or set ");
    for field in fields {
        match (field, settings) {
            (Field::Event(name), _) if is_sent_as(name.text(), HUB_EVENT) => {
                let why = "clients take it for the word of the hub itself; choose another";
                return Err(Failure::invalid("event", format!("event must not be '{HUB_EVENT}': {why}")));
            }
            (Field::Event(name), Some(settings)) if is_gap(name, settings) => {
                return Err(Failure::invalid("event", is_name_of("gaps") + "gap_event"));
            }
            (Field::Event(name), Some(settings)) if is_position(name, settings) => {
                return Err(Failure::invalid("event", is_name_of("positions") + "position_event"));
            }
            (Field::Retry(retry), _) if !is_day_at_most(retry.text().bytes()) => {
                return Err(Failure::invalid("retry", "retry must be at most 86400000 milliseconds, a day"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses events of members and wills as `check_fields` does others, those that are too large, and a number of members that
/// has the name of an event of the hub itself. Fails with `Invalid`.
pub fn check_presence(presence: &Presence, settings: Option<&Settings>) -> Result<(), Failure> {
    let Presence { member, will } = presence;
    if let Some(member) = member {
        for event in [&member.join, &member.update, &member.leave] {
            check_member(&member.data, event, settings)?;
        }
        let count = || EventName::new(Text::from(COUNT_EVENT)).ok().map(Field::Event).into_iter();
        if member.is_counted && check_fields(count(), settings).is_err() {
            let why = "'count' is the name of the hub's event for gaps or positions; choose another for that";
            return Err(Failure::invalid("event", format!("members cannot be counted: {why}")));
        }
    }
    will.iter().try_for_each(|will| check_unsequenced(&will.event, settings))
}

/// Refuses the data of a member and its event: data or an event that is too large, and what `check_fields` refuses. Fails with
/// `Invalid`.
pub fn check_member(data: &MemberData, event: &Unsequenced, settings: Option<&Settings>) -> Result<(), Failure> {
    check_presence_size(data.text.len())?;
    check_unsequenced(event, settings)
}

/// Refuses data of a member, or an event of a member or a will, with so many bytes.
fn check_presence_size(bytes: usize) -> Result<(), Failure> {
    if bytes > MAX_PRESENCE_BYTES {
        let message = "the data and each event of a member or a will must have at most 65536 bytes";
        return Err(Failure::invalid("data", message));
    }
    Ok(())
}

fn check_unsequenced(event: &Unsequenced, settings: Option<&Settings>) -> Result<(), Failure> {
    check_presence_size(event.bytes().len())?;
    let lines = event.bytes().split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    let fields = lines.filter_map(|line| match line.split_once(": ") {
        Some(("event", name)) => EventName::new(Text::from(name)).ok().map(Field::Event),
        Some(("retry", retry)) => Retry::new(Text::from(retry)).ok().map(Field::Retry),
        _ => None,
    });
    check_fields(fields, settings)
}

/// Refuses an event that would change what is retained of a member who is here.
pub fn refused_member_key() -> Failure {
    Failure::invalid("key", "this key is that of a member who is here: change it with update_member()")
}

/// Returns true if a text, encoded as it is sent, equals `other`. The stored form of the text does not matter.
fn is_sent_as(text: Text<'_>, other: &str) -> bool {
    let sent = |text| encode_to_vec(&[Field::Data(text)], LineEnd::Lf);
    if text.bytes().is_ascii() {
        text.bytes() == other.as_bytes()
    } else {
        sent(text) == sent(other.into())
    }
}

/// Returns true if decimal digits, which may begin with any number of zeros, are at most [`MAX_RETRY`].
fn is_day_at_most(digits: &[u8]) -> bool {
    let number = std::str::from_utf8(digits).map(|digits| digits.trim_start_matches('0')).unwrap_or_default();
    number.is_empty() || number.parse().map_or(false, |number: u64| number <= MAX_RETRY)
}

/// The number of due leaves and numbers of members that are handled before others have their turn.
pub const STEPS: usize = 256;

/// More bytes than the id of an event has, with its line.
const ID_LINE_BYTES: usize = 72;

/// The order of a hub's events, and what takes part in it.
#[derive(Debug)]
pub struct Sequence {
    /// The epoch, with which ids begin.
    pub epoch: Epoch,
    /// The last sequence number that clients may have been given.
    pub last_seq: u64,
    /// The keys of events that are published once.
    pub once: OnceKeys,
    /// The sizes of what is retained, and over a store of what waits for it.
    pub state: StateSizes,
    /// The bounds.
    pub retention: Retention,
    /// The members.
    pub members: Members,
}

impl Sequence {
    /// Begins after a sequence number.
    pub fn new(epoch: Epoch, last_seq: u64, retention: Retention, members: Members) -> Self {
        let once = OnceKeys::new(retention.total_history.events, retention.longest_age());
        Self { epoch, last_seq, once, state: StateSizes::default(), retention, members }
    }

    /// Changes the settings that may change.
    pub fn set_retention(&mut self, retention: Retention) {
        self.once.set_bounds(retention.total_history.events, retention.longest_age());
        self.retention = retention;
    }

    /// Returns the id of the event that was published with this key `once`, if it has one.
    pub fn once_id(&mut self, once: &[u8], now: impl FnOnce() -> Instant) -> Option<&str> {
        if once.is_empty() {
            return None;
        }
        self.once.id_of(once, now())
    }

    /// Checks the application's id of an event, and that its key is not that of a member who is here.
    pub fn check(&self, channel: &[u8], key: &[u8], retain: Retain, id: Option<&[u8]>) -> Result<(), Failure> {
        if id.map_or(false, |id| self.epoch.is_like(id)) {
            return Err(Failure::invalid("id", "id must not begin as the hub's own ids do"));
        }
        if retain.changes_state() && self.members.has_event(channel, key) {
            return Err(refused_member_key());
        }
        Ok(())
    }

    /// Gives an event the next number, unless one with its key `once` was published. `published` is called with the id of that
    /// event.
    pub fn number<'a>(
        &mut self,
        publication: Publication<'_, impl Iterator<Item = Field<'a>> + Clone>,
        id: Option<&[u8]>,
        now: impl Fn() -> Instant,
        published: impl FnOnce(&str),
    ) -> Result<Option<SequencedEvent>, Failure> {
        let Publication { channel, key, retain, once, fields } = publication;
        if let Some(id) = self.once_id(once, &now) {
            published(id);
            return Ok(None);
        }
        self.check(channel, key, retain, id)?;
        let made = self.epoch.event_id(self.last_seq + 1);
        let event = Shared::with_id_last(fields, EventId::new(Text::from(&*made)).ok());
        self.state.change(channel, key, retain, event.len(), &self.retention)?;
        if !once.is_empty() {
            self.once.insert(once, &made, now());
        }
        published(&made);
        Ok(Some(self.next_event(channel.into(), key.into(), retain, event, id.is_some())))
    }

    /// Gives an event the next number, which its id has already.
    fn next_event(
        &mut self,
        channel: Box<[u8]>,
        key: Box<[u8]>,
        retain: Retain,
        event: Shared,
        has_custom_id: bool,
    ) -> SequencedEvent {
        self.last_seq += 1;
        SequencedEvent { seq: self.last_seq, channel, event, key, retain, has_custom_id }
    }

    /// Gives an event of a member or a will the next number. One that does not fit, which only a will or a growing number can
    /// be, is sent, and its key forgotten.
    pub fn number_announcement(
        &mut self,
        Announcement { channel, key, retain, event, .. }: Announcement,
    ) -> SequencedEvent {
        let event = event.with_id(&self.epoch.event_id(self.last_seq + 1));
        let retain = match self.state.change(&channel, &key, retain, event.len(), &self.retention) {
            Ok(()) => retain,
            Err(_) => {
                let _ = self.state.change(&channel, &key, Retain::Forget, 0, &self.retention); // never full
                Retain::Forget // what is retained of the key is older
            }
        };
        self.next_event(channel, key, retain, event, false)
    }

    /// Applies a change of a stream to the members. `wall` is the time of the system's clock in milliseconds.
    #[must_use]
    pub fn apply(&mut self, stream: StreamId, change: PresenceChange, at: Instant, wall: u64) -> Vec<Announcement> {
        let most = self.retention.max_members;
        self.change_members(|members, fits, out| match change {
            PresenceChange::Entered(member) => {
                members.enter_stream(stream, *member, Room { most, fits }, at, wall, out);
            }
            PresenceChange::Willed(will) => members.set_will(stream, will),
            PresenceChange::Away { until, is_back } => members.await_return(stream, until, is_back),
            PresenceChange::Left { is_by_application } => members.end_stream(stream, is_by_application, at, out),
        })
        .0
    }

    /// Does what is due for the members, in at most `left` steps, which it counts down.
    #[must_use]
    pub fn run_due(&mut self, now: Instant, left: &mut usize) -> Vec<Announcement> {
        self.change_members(|members, _, out| members.run_due(now, left, out)).0
    }

    /// Changes the data of a member. Returns whether it is here. Fails if its event does not fit.
    pub fn update_member(&mut self, update: MemberUpdate) -> Result<(bool, Vec<Announcement>), Failure> {
        let (out, updated) = self.change_members(|members, fits, out| members.update_member(update, fits, out));
        Ok((updated?, out))
    }

    /// Changes the members, and returns what is to be published. A will does not change what is retained of a member who is
    /// here: it is sent.
    fn change_members<T>(
        &mut self,
        change: impl FnOnce(&mut Members, Fits<'_>, &mut Vec<Announcement>) -> T,
    ) -> (Vec<Announcement>, T) {
        let Self { members, state, retention, .. } = self;
        // A store says itself whether a member fits beside what else is retained then.
        let (alone, is_stored) = (StateSizes::default(), members.are_stored());
        let sizes = if is_stored { &alone } else { &*state };
        let fits = |announced: &Announcement| {
            let Announcement { channel, key, event, .. } = announced;
            sizes.check(channel, key, key.len() + event.bytes().len() + ID_LINE_BYTES, retention)
        };
        let mut out = Vec::new();
        let changed = change(members, &fits, &mut out);
        for Announcement { channel, key, statement, retain, .. } in &mut out {
            if *statement == Statement::Nothing && members.has_event(channel, key) {
                *retain = Retain::No;
            }
        }
        (out, changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Unsequenced;
    use crate::hub::{GapData, OnSlow, Settings, StateBounds};
    use crate::log::Bounds;
    use std::time::Duration;

    fn settings() -> Settings {
        let bounds = Bounds { events: 1, bytes: 1, age: Duration::ZERO };
        Settings { on_slow: OnSlow::Gap, ..Settings::new(bounds, bounds) }
    }

    /// Returns the message of what is refused; nothing if it is not.
    fn refusal(checked: Result<(), Failure>) -> String {
        checked.err().map_or_else(String::new, |failure| failure.to_string())
    }

    #[test]
    fn an_id_that_no_client_could_send_back_is_refused() {
        let long = [b'i'; MAX_ID_BYTES + 1];
        let cases: [(&[u8], &str); 8] = [
            (b"7", ""),
            (b"a\tb", ""),
            (&long[1..], ""),
            (b"", "empty"),
            (&long, "at most 1024 bytes"),
            (b"a\x7F", "control character"),
            (b" a", "begin or end with a space or TAB"),
            (b"a\t", "begin or end with a space or TAB"),
        ];
        for (id, why) in cases {
            let refusal = refusal(check_id(id));
            assert!(refusal.contains(why) && refusal.is_empty() == why.is_empty(), "{id:?}: {refusal}");
        }
    }

    #[test]
    fn the_id_of_a_finished_stream_can_be_pushed_and_not_published() {
        assert_eq!(check_id(FINISHED_ID), Ok(()));
        assert!(refusal(check_published_id(FINISHED_ID)).contains("that of a finished stream"));
        assert_eq!(check_published_id(b"eventsource-finished-7"), Ok(()));
    }

    #[test]
    fn an_id_without_data_is_refused_in_each_block() {
        let id = || Field::Id(EventId::new(Text::from("e-7")).expect("an id"));
        let (data, empty) = (Field::Data(Text::from("x")), Field::Data(Text::from("")));
        for (fields, is_refused) in [
            (vec![id()], true),
            (vec![id(), data], false),
            (vec![empty, id()], false),
            (vec![data, Field::Blank, id()], true),
            (vec![id(), Field::Blank, data], true),
            (vec![Field::Comment(Text::from("x"))], false),
        ] {
            let refused = refusal(check_data(fields.iter().copied()));
            assert_eq!(refused.contains("an event with an id must have data"), is_refused, "{fields:?}: {refused}");
        }
    }

    #[test]
    fn the_name_of_an_event_of_the_hub_is_refused_unless_the_application_gives_its_data() {
        let check = |name: &str, settings: &Settings| {
            let name = EventName::new(Text::from(name)).expect("a name");
            check_fields(std::iter::once(Field::Event(name)), Some(settings))
        };
        let standard = settings();
        assert!(refusal(check("gap", &standard)).contains("for gaps"));
        assert!(refusal(check("position", &standard)).contains("for positions"));
        assert_eq!(check("other", &standard), Ok(()));
        let gap_data = GapData { evicted: "e".into(), unknown: "u".into(), slow: "s".into() };
        let own = Settings { gap_data: Some(Box::new(gap_data)), refuses_position_event: false, ..standard };
        assert_eq!((check("gap", &own), check("position", &own)), (Ok(()), Ok(())));
    }

    #[test]
    fn a_retry_of_more_than_a_day_is_refused() {
        for (digits, is_refused) in [("0086400000", false), ("86400001", true)] {
            let retry = Retry::new(Text::from(digits)).expect("digits");
            let checked = check_fields(std::iter::once(Field::Retry(retry)), None);
            assert_eq!(checked.is_err(), is_refused, "{digits}");
        }
    }

    #[test]
    fn a_will_that_does_not_fit_is_sent_and_its_key_forgotten() {
        let bounds = Bounds { events: 10, bytes: 1000, age: Duration::MAX };
        let mut settings = Settings::new(bounds, bounds);
        settings.retention.state = StateBounds { keys: 9, bytes: 100 };
        let mut sequence = Sequence::new(Epoch::new("e", None), 0, settings.retention.clone(), Members::default());
        for (slot, (bytes, retain)) in (0..).zip([(10, Retain::Newest), (200, Retain::Forget), (10, Retain::Newest)]) {
            let event = Unsequenced::of(std::iter::once(Field::Data(Text::from(&*"x".repeat(bytes)))));
            let (channel, key, statement) = (b"wills"[..].into(), b"k"[..].into(), Statement::Nothing);
            let will = Announcement { channel, key, retain: Retain::Newest, event, statement };
            let (stream, now) = (StreamId { slot, serial: 1 }, Instant::now());
            assert_eq!(sequence.apply(stream, PresenceChange::Willed(will.into()), now, 0), []);
            let left = sequence.apply(stream, PresenceChange::Left { is_by_application: false }, now, 0);
            let published: Vec<_> = left.into_iter().map(|will| sequence.number_announcement(will)).collect();
            assert_eq!((published.len(), published[0].retain), (1, retain));
            assert_eq!(sequence.state.size(b"wills", b"k").is_some(), retain == Retain::Newest);
        }
    }
}
