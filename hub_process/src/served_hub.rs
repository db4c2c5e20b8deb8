//! The hub that this process serves: none before the first peer, and from then on one: its settings, and what is published to
//! it. Its store begins and ends here. For a worker whose settings do not fit it the process continues as the same program,
//! with another hub (`server/upgrade.rs`).

use crate::settings::{Precedence, Wanted};
use crate::store::{DeadMachine, MachineState};
use crate::stored_hub::{not_begun, EndedCount, HandedMembers, LastDelivered, Published, Requester, StoredHub};
use eventsource_xs::hub::{
    self, check_member, check_presence, Answer, EndRequest, Presence, PresenceChange, Publication, Sequence, Ticket,
    TicketOutcome, STEPS,
};
use eventsource_xs::remote::Place;
use eventsource_xs::runtime::{
    create_own_hub, resume_hub, Begun, HandedOver, HandoverFile, OwnHub, PresenceReport, ReactorHub,
};
use eventsource_xs::stream::StreamId;
use eventsource_xs::wire::{
    Call, Failure, Fields, HandedDeadMachine, HandedMachine, Handover, HubSettings, NamedSettings, Reply, ShowChannel,
    StoreSettings, StoreStatus,
};
use eventsource_xs::ErrorCode;
use std::error::Error;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The hub that is served, and whose settings it has.
pub struct CurrentHub {
    pub precedence: Precedence,
    pub hub: Option<ServedHub>,
    /// The reason for which the store has not begun. While there is a hub it tries again; otherwise the next peer begins one.
    pub cannot_begin: Option<Failure>,
}

impl CurrentHub {
    /// Begins without a hub: the first peer decides its settings.
    pub fn new(precedence: Precedence) -> Self {
        Self { precedence, hub: None, cannot_begin: None }
    }

    pub fn stored(&mut self) -> Option<&mut StoredHub> {
        self.hub.as_mut().and_then(ServedHub::stored_mut)
    }

    /// Returns the hub in memory; nothing while the hub does not exist, or its store has not begun.
    pub fn handle(&self) -> Option<&Arc<ReactorHub>> {
        self.hub.as_ref().and_then(ServedHub::handle)
    }

    /// Returns the epoch of the hub, once it has begun.
    pub fn epoch(&self) -> Option<&str> {
        self.hub.as_ref().filter(|hub| hub.handle().is_some()).map(|hub| hub.sequence().epoch.as_str())
    }

    /// Returns true while the hub's store has not begun.
    pub fn is_beginning(&self) -> bool {
        self.hub.is_some() && self.handle().is_none()
    }

    /// Returns the health of the store. Memory is up, and a store that nobody has needed so far is not down.
    pub fn store_status(&self) -> StoreStatus {
        let source = self.source_of_store().into();
        if let Some(ServedHub { source: Source::Stored(stored), .. }) = &self.hub {
            return StoreStatus { source, ..stored.status() };
        }
        let wanted = self.precedence.wanted(NamedSettings::default(), self.hub.as_ref().map(|hub| &hub.settings));
        let (kind, is_up) = (wanted.all.store.kind().into(), self.cannot_begin.is_none());
        StoreStatus { kind, source, is_up, ..StoreStatus::default() }
    }

    /// Says who has named the store.
    fn source_of_store(&self) -> &'static str {
        let Precedence { decided, known, .. } = &self.precedence;
        let claimed = self.hub.as_ref().map(|hub| &hub.claimed);
        let names = |settings: &NamedSettings| settings.store.is_some();
        match (names(decided), claimed.is_some_and(names), names(known)) {
            (true, ..) => "option",
            (_, true, _) => "worker",
            (.., true) => "kept",
            _ => "",
        }
    }

    /// Returns the settings that the hub is to have, if it can have them. A command names none.
    pub fn wanted(&self, given: NamedSettings) -> Result<Wanted, Failure> {
        let wanted = self.precedence.wanted(given, self.hub.as_ref().map(|hub| &hub.settings));
        wanted.check(self.precedence.place.name(), self.hub.as_ref().map(|hub| &hub.claimed))?;
        Ok(wanted)
    }

    /// Returns true if workers have claimed another store than these settings name.
    pub fn has_other_store_claimed(&self, given: &NamedSettings) -> bool {
        let decided = self.precedence.decided.store.as_ref();
        let claimed = self.hub.as_ref().and_then(|hub| hub.claimed.store.as_ref());
        let both = decided.or(given.store.as_ref()).zip(claimed);
        both.is_some_and(|(given, claimed)| !claimed.is_same(given))
    }

    /// Begins the hub.
    pub fn begin(&mut self, wanted: &Wanted) -> Result<(), Failure> {
        self.cannot_begin = None;
        self.hub = Some(ServedHub::new(&self.precedence.place, wanted.all.clone(), wanted.named.clone())?);
        Ok(())
    }

    /// Called when the last worker has left: others may name other values than those that have.
    pub fn release_claims(&mut self) {
        if let Some(hub) = &mut self.hub {
            hub.claimed = self.precedence.decided.clone();
        }
    }

    /// Returns the hub, if it has no store.
    pub fn own(&self) -> Option<&Arc<ReactorHub>> {
        match &self.hub.as_ref()?.source {
            Source::Own(own) => Some(&own.hub),
            Source::Stored(_) => None,
        }
    }

    /// Applies what the reactor has reported of a stream with a member or a will, if it is one of this hub: a hub before has
    /// ended its streams, and its members linger in this one.
    pub fn apply_presence(&mut self, report: PresenceReport, now: Instant) {
        let is_reported = |hub: &&mut ServedHub| hub.handle().is_some_and(|hub| hub.has_reported(&report));
        if let Some(hub) = self.hub.as_mut().filter(is_reported) {
            hub.apply(report.stream, report.change, report.at, now);
        }
    }

    /// Appends the settings of the hub, and what is beside the history of one that is kept.
    pub fn hand_over(&self, file: &mut HandoverFile, keeps_history: bool) {
        let Some(hub) = &self.hub else { return };
        let all = NamedSettings::from(hub.settings.clone()).into();
        let (claimed, is_draining) = (hub.claimed.clone().into(), hub.is_draining);
        file.add(&Handover::Settings { all, claimed, is_draining });
        if !keeps_history {
            return;
        }
        match &hub.source {
            Source::Own(own) => own.hand_over(file),
            Source::Stored(stored) => {
                if let Some(machine) = stored.machine() {
                    file.add(&Handover::Machine(hand_over_machine(&machine, file.at).into()));
                }
            }
        }
        let (at, members) = (file.at, &hub.sequence().members);
        for ((channel, id), until) in members.lingering() {
            file.add(&Handover::Lingering { channel: &channel, id: &id, rest: until.saturating_duration_since(at) });
        }
        for (channel, number, next) in members.published_counts() {
            let rest = next.saturating_duration_since(at);
            file.add(&Handover::MemberCount { channel, number: number as u64, rest });
        }
        for (stream, presence) in members.presences() {
            file.add(&Handover::Presence { stream: stream.into(), presence });
        }
        for (stream, until, is_back) in members.away() {
            let rest = until.saturating_duration_since(at);
            file.add(&Handover::Away { stream: stream.into(), rest, is_back });
        }
    }

    /// Continues with the hub of another program, which has handed it `over` at a time, and whose members linger for `wait` at
    /// least: their streams follow. One with a store begins with that.
    pub fn resume(
        &mut self,
        (file, handed): (&HandedOver, &[Handover<'_>]),
        at: Instant,
        wait: Duration,
    ) -> Result<(), Box<dyn Error>> {
        let all = handed.iter().find_map(|part| match part {
            Handover::Settings { all, claimed, is_draining } => {
                Some((all.clone().over(HubSettings::default()), (**claimed).clone(), *is_draining))
            }
            _ => None,
        });
        let Some((settings, claimed, is_draining)) = all else { return Ok(()) };
        let place = &self.precedence.place;
        let hub = match handed.iter().any(|part| matches!(part, Handover::History(_))) {
            true => {
                let own = resume_hub(settings.hub.clone(), (file, handed), at, wait)?;
                ServedHub::of(Source::Own(own.into()), place, settings, claimed)
            }
            false => ServedHub::new(place, settings, claimed)?,
        };
        self.hub = Some(ServedHub { is_draining, ..hub });
        if let Some(stored) = self.stored() {
            let mut members = HandedMembers { least: wait, lingering: Vec::new(), counts: Vec::new() };
            for part in handed {
                match *part {
                    Handover::Lingering { channel, id, rest } => {
                        members.lingering.push(((channel.into(), id.into()), at + rest));
                    }
                    Handover::MemberCount { channel, rest, .. } => members.counts.push((channel.into(), at + rest)),
                    Handover::Machine(ref machine) => stored.replace_machine(resume_machine(machine, at)),
                    _ => {}
                }
            }
            stored.await_streams(members);
        }
        Ok(())
    }
}

/// The hub, from its first worker on.
pub struct ServedHub {
    pub settings: HubSettings,
    /// The settings that workers or the command line have named. The others are as they are because nobody has.
    pub claimed: NamedSettings,
    source: Source,
    /// True if the hub is drained: streams that come later end at once. It stays so if another hub in memory takes its place.
    is_draining: bool,
    /// All that a store has delivered before, if this hub has none: its first event, or request to end streams, is not in that
    /// history, and the store has to know of it when it comes back.
    before: Option<LastDelivered>,
}

/// Where the order of events comes from.
enum Source {
    /// This process decides it, and keeps the events.
    Own(Box<OwnHub>),
    /// A store does.
    Stored(Box<StoredHub>),
}

impl ServedHub {
    /// Begins with these settings.
    fn new(place: &Place, settings: HubSettings, claimed: NamedSettings) -> Result<Self, Failure> {
        let source = match &settings.store {
            StoreSettings::Memory => Source::Own(create_own_hub(settings.hub.clone())?.into()),
            _ => Source::Stored(StoredHub::begin(&settings, place.name(), LastDelivered::open(&place.seen()))?.into()),
        };
        Ok(Self::of(source, place, settings, claimed))
    }

    /// Serves a hub with these settings and claims.
    fn of(source: Source, place: &Place, settings: HubSettings, claimed: NamedSettings) -> Self {
        let has_before = matches!(source, Source::Own(_)) && place.seen().exists();
        let before = has_before.then(|| LastDelivered::open(&place.seen()));
        let mut hub = Self { settings, claimed, source, is_draining: false, before };
        hub.note_form();
        hub
    }

    /// Lets numbers of members have the form of all events.
    fn note_form(&mut self) {
        let shows_channels = self.settings.shows_channels();
        match &mut self.source {
            Source::Own(own) => own.sequence.members.shows_channels = shows_channels,
            Source::Stored(stored) => stored.show_channels(shows_channels),
        }
    }

    /// Returns the hub in the reactor; nothing while its store has not begun.
    pub fn handle(&self) -> Option<&Arc<ReactorHub>> {
        match &self.source {
            Source::Own(own) => Some(&own.hub),
            Source::Stored(stored) => stored.handle(),
        }
    }

    /// Returns the order of its events.
    pub fn sequence(&self) -> &Sequence {
        match &self.source {
            Source::Own(own) => &own.sequence,
            Source::Stored(stored) => stored.sequence(),
        }
    }

    /// Does what a call does at once, before the hub in the reactor is asked. `given` is the form of the peer's events.
    pub fn begin(&mut self, call: &Call, given: Option<ShowChannel>) -> Result<Begun, Failure> {
        if let Call::UpdateMember(update) = call {
            self.check_form(given)?;
            check_member(&update.data, &update.event, Some(&self.settings.hub))?;
            self.stored_mut().map_or(Ok(()), |stored| stored.check_update(update))?;
        }
        self.is_draining |= matches!(call, Call::Drain { .. }) && self.handle().is_some();
        match (call, &mut self.source) {
            (call, Source::Own(own)) => own.begin(call),
            (Call::OpenTicket { sealed, binding }, Source::Stored(stored)) => {
                let opened = stored.unseal_ticket(sealed, |ticket| ticket.binding == *binding);
                Ok(self.handle().ok_or_else(not_begun)?.admit(opened, true))
            }
            (Call::SealTicket { ticket, valid_for, most }, Source::Stored(stored)) => {
                let sealed = stored.seal_ticket((**ticket).clone(), *valid_for, *most)?;
                Ok(Begun::Replied(Reply::Sealed(sealed.map(Into::into))))
            }
            (call, Source::Stored(_)) => Ok(self.handle().ok_or_else(not_begun)?.begin(call)),
        }
    }

    /// Ends a drain: the hub accepts streams again.
    pub fn end_drain(&mut self) {
        if std::mem::take(&mut self.is_draining) {
            self.handle().into_iter().for_each(|hub| hub.set_draining(false));
        }
    }

    /// Lets the hub in memory refuse streams if the hub is drained, because that hub has just begun.
    pub fn continue_drain(&self) {
        if self.is_draining {
            self.handle().into_iter().for_each(|hub| hub.set_draining(true));
        }
    }

    /// Completes a call when the hub in the reactor has answered.
    pub fn complete(&mut self, call: Call, answer: Answer, now: Instant) -> Result<Reply, Failure> {
        match (call, &mut self.source) {
            (call, Source::Own(own)) => own.complete(call, answer),
            (Call::UpdateMember(update), Source::Stored(stored)) => {
                stored.update_member(update, now).map(|is_here| Reply::Number(is_here.into()))
            }
            (call, Source::Stored(stored)) => {
                let mut reply = call.reply(answer, &stored.sequence().members);
                if let Reply::Counted(counted) = &mut reply {
                    counted.hub.gaps += stored.gaps();
                }
                Ok(reply)
            }
        }
    }

    /// Opens a ticket, if it is for the request of whoever asks and nothing that it allows was withdrawn.
    pub fn unseal_ticket(
        &mut self,
        sealed: &[u8],
        is_for: impl FnOnce(&Ticket) -> bool,
    ) -> Result<Ticket, TicketOutcome> {
        match &mut self.source {
            Source::Own(own) => own.unseal_ticket(sealed, is_for),
            Source::Stored(stored) => stored.unseal_ticket(sealed, is_for),
        }
    }

    /// Applies a change of a stream, after what was due before.
    pub fn apply(&mut self, stream: StreamId, change: PresenceChange, at: Instant, now: Instant) {
        match &mut self.source {
            Source::Own(own) => {
                own.run_due(at, &mut { usize::MAX });
                own.apply(stream, change, at);
            }
            Source::Stored(stored) => stored.apply(stream, change, at, now),
        }
    }

    /// Does what is due.
    pub fn run_timers(&mut self, now: Instant) {
        match &mut self.source {
            Source::Own(own) => own.run_due(now, &mut { STEPS }),
            Source::Stored(stored) => stored.run_timers(now),
        }
    }

    /// Returns when [`run_timers`](Self::run_timers) has something to do.
    pub fn next_due(&self) -> Option<Instant> {
        match &self.source {
            Source::Own(own) => own.sequence.members.next_due(),
            Source::Stored(stored) => stored.next_due(),
        }
    }

    pub fn stored_mut(&mut self) -> Option<&mut StoredHub> {
        match &mut self.source {
            Source::Own(_) => None,
            Source::Stored(stored) => Some(stored),
        }
    }

    /// Takes over settings, if the hub can continue with them. Returns false if it cannot: clients and logs depend on some.
    pub fn adopt(&mut self, wanted: &Wanted) -> bool {
        let (own, retention) = (&mut self.settings, &wanted.all.hub.retention);
        let continued = hub::Settings { retention: own.hub.retention.clone(), ..wanted.all.hub.clone() };
        if own.hub != continued || !own.store.is_same(&wanted.all.store) {
            return false;
        }
        self.claimed = wanted.named.clone().or(std::mem::take(&mut self.claimed));
        (own.max_streams, own.show_channel) = (wanted.all.max_streams, wanted.all.show_channel);
        (own.idle_exit, own.grace) = (wanted.all.idle_exit, wanted.all.grace);
        if own.hub.retention != *retention || own.max_topics != wanted.all.max_topics {
            own.hub.retention = retention.clone();
            own.max_topics = wanted.all.max_topics;
            match &mut self.source {
                Source::Own(own) => own.set_retention(retention.clone()),
                Source::Stored(stored) => stored.adopt(own),
            }
        }
        self.note_form();
        true
    }

    /// Takes note of a request to end streams, which the reactor is asked to carry out at `at`, and says how many. Returns true
    /// if the store will say when others know of it.
    pub fn end_streams(
        &mut self,
        end: EndRequest,
        at: u64,
        requester: Requester,
        ended: EndedCount,
    ) -> Result<bool, Failure> {
        match &mut self.source {
            Source::Own(own) => {
                own.ends.add(&end, at, 0);
                deliver_other(&mut self.before, own);
                Ok(false)
            }
            Source::Stored(stored) => stored.end_streams(end, requester, ended).map(|()| true),
        }
    }

    /// Has the store copy everything into a new file. The requester waits for that.
    pub fn back_up(&mut self, path: &[u8], requester: Requester) -> Result<(), Failure> {
        let path = Path::new(OsStr::from_bytes(path));
        let message = match &mut self.source {
            Source::Own(_) => "the hub keeps its events in memory: give it a store in a file to back them up",
            Source::Stored(_) if self.settings.store.is_shared() => {
                "the hub keeps its events in Redis: back that up by its own means, such as BGSAVE or a replica"
            }
            Source::Stored(_) if path.exists() => "the file of the backup exists",
            Source::Stored(stored) => return stored.back_up(path, requester),
        };
        Err(Failure::new(ErrorCode::Refused, None, message))
    }

    /// Checks that the events of a peer have the form that all events of this hub have.
    pub fn check_form(&self, given: Option<ShowChannel>) -> Result<(), Failure> {
        let of_hub = self.settings.show_channel;
        if given == of_hub {
            return Ok(());
        }
        let remedy = of_hub.map_or(String::new(), |way| {
            let name = way.name();
            format!(
                ": give the publisher show_channel => '{name}', and connect again; if none names it any more, end the \
                 process (eventsource hub stop)"
            )
        });
        let message = format!("show_channel differs from that of the hub process{remedy}");
        Err(Failure::new(ErrorCode::Refused, Some("show_channel"), &message))
    }

    /// Checks what a stream is to have beside its topics.
    pub fn check(&self, presence: &Presence, given: Option<ShowChannel>) -> Result<(), Failure> {
        if presence.member.is_some() || presence.will.is_some() {
            self.check_form(given)?;
        }
        check_presence(presence, Some(&self.settings.hub))
    }

    /// Returns true if a stream is known to have opened without the member that it was to have.
    pub fn has_refused_members(&self) -> bool {
        self.sequence().members.totals().1 > 0
    }

    /// Publishes an event, which is checked first.
    pub fn publish(
        &mut self,
        publication: Publication<'_, Fields<'_>>,
        requester: Requester,
        now: Instant,
    ) -> Result<Published, Failure> {
        let given = publication.map(Fields::iter).check(Some(&self.settings.hub))?;
        match &mut self.source {
            Source::Own(own) => {
                let mut id = String::new();
                let publication = publication.map(Fields::iter);
                own.publish(publication, given.as_deref(), |made| id.push_str(made))?;
                deliver_other(&mut self.before, own);
                Ok(Published::Id(id))
            }
            Source::Stored(stored) => stored.append_event(publication.into(), given.as_deref(), requester, now),
        }
    }
}

/// Returns a machine with the times that are left, or have passed, at the time of an upgrade.
fn hand_over_machine(machine: &MachineState, at: Instant) -> HandedMachine {
    let dead = |dead: &DeadMachine| HandedDeadMachine {
        name: (*dead.name).into(),
        age: at.saturating_duration_since(dead.seen),
        has_ended_in_order: dead.has_ended_in_order,
    };
    HandedMachine {
        names: (*machine.names).into(),
        calm: machine.calm_until.saturating_duration_since(at),
        dead: machine.dead.iter().map(dead).collect(),
    }
}

/// Returns a machine as it was at the time of an upgrade.
fn resume_machine(machine: &HandedMachine, at: Instant) -> MachineState {
    let dead = |dead: &HandedDeadMachine| DeadMachine {
        name: (*dead.name).into(),
        seen: at.checked_sub(dead.age).unwrap_or(at),
        has_ended_in_order: dead.has_ended_in_order,
    };
    MachineState {
        names: (*machine.names).into(),
        calm_until: at + machine.calm,
        dead: machine.dead.iter().map(dead).collect(),
    }
}

/// Takes note that something happens to a hub without a store that the one before does not have.
fn deliver_other(before: &mut Option<LastDelivered>, own: &OwnHub) {
    if let Some(mut before) = before.take() {
        before.write(own.sequence.epoch.as_str(), 1);
    }
}
