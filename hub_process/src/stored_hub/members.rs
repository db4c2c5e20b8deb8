//! The members of this machine, between the hub in memory and the store: what the reactor and the application say of their
//! streams changes the members of the hub in memory, what these announce goes to the store, and the hub lists whom the store
//! has.

use super::drafts::{Purpose, WaitingDraft};
use super::sequencer::Sequencer;
use super::{StoredHub, TOO_MANY};
use crate::store::{Draft, MemberPart, StoreCommand};
use eventsource_xs::codec::{decode, encode};
use eventsource_xs::event::Unsequenced;
use eventsource_xs::hub::{
    Announcement, EntryOrigin, LingeringMember, MemberKey, MemberUpdate, PresenceChange, Retain, Statement, STEPS,
};
use eventsource_xs::runtime::wall;
use eventsource_xs::stream::StreamId;
use eventsource_xs::wire::Failure;
use eventsource_xs::ErrorCode;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The interval of checks whether other members linger.
const LINGER: Duration = Duration::from_millis(500);

/// The members that linger, as a store of one machine keeps them: a process that begins after this one was killed lets them
/// leave when they would have left.
///
/// The store keeps times of the system's clock: no other clock continues when a process or the machine ends. A clock that was
/// set back lets no member linger for longer than it would anew, one that was set forward lets it leave at once.
#[derive(Default)]
pub struct StoredMembers {
    /// When they leave, as the store was told last, or has told.
    lingering: HashMap<MemberKey, Instant>,
    /// When the store is told next.
    pub linger_at: Option<Instant>,
    /// What the program before has handed over, until the store has begun.
    pub handed: Option<HandedMembers>,
}

/// What the program before an upgrade knew of its members.
pub struct HandedMembers {
    /// The time for which they linger at least, except for those that lingered already.
    pub least: Duration,
    pub lingering: Vec<LingeringMember>,
    /// The channels with a number of members, and when streams may be told of another one.
    pub counts: Vec<(Box<[u8]>, Instant)>,
}

impl StoredMembers {
    /// Asks the store for what members have announced.
    pub fn announce_changes(&mut self, sequencer: &mut Sequencer) {
        let changed = sequencer.sequence.members.take_changed();
        if !changed.is_empty() {
            self.linger_at.get_or_insert(sequencer.now + LINGER);
        }
        ask_for(&changed, sequencer);
    }

    /// Publishes the number of a channel's members. It is announced again until the store has told it.
    pub fn publish_number(&self, draft: Draft, sequencer: &mut Sequencer) {
        let draft = Draft { once: sequencer.counted.once(&draft.channel, sequencer.position.last_seq), ..draft };
        if !sequencer.is_open() || sequencer.drafts.has_once(&draft.once) {
            return;
        }
        let mut publish = |draft| sequencer.append_event(draft, None, WaitingDraft::new(Purpose::Number, None));
        if publish(draft.clone()).is_err_and(|failure| failure.code == ErrorCode::Full) {
            // It is sent, and what is retained of the key is older.
            let _ = publish(Draft { retain: Retain::Forget, ..draft });
        }
    }

    /// Called when another history begins, with what the store has kept of the members that linger. What cannot be read is of
    /// another version: then nobody has lingered.
    pub fn begin_history(&mut self, lingering: &[u8], now: Instant) {
        let wall = wall();
        let leaves_at = |at: u64| now.checked_add(Duration::from_millis(at.saturating_sub(wall))).unwrap_or(now);
        let kept: Vec<(MemberKey, u64)> = decode(lingering).unwrap_or_default();
        self.lingering = kept.into_iter().map(|(key, at)| (key, leaves_at(at))).collect();
    }

    /// Called when the store has reported its history: members whose streams were those of a process, or of a hub in memory,
    /// before this one linger from now on, and the members are announced.
    pub fn resume_members(&mut self, is_other_history: bool, sequencer: &mut Sequencer) {
        let now = sequencer.now;
        if is_other_history {
            let members = &mut sequencer.sequence.members;
            let (mut least, mut counts) = (Duration::ZERO, Vec::new());
            if let Some(handed) = self.handed.take() {
                // Before an upgrade the store was perhaps not told who lingers, and who does no more.
                (least, counts) = (handed.least, handed.counts);
                self.lingering = handed.lingering.into_iter().collect();
            }
            let rest = |key: &MemberKey| Some(self.lingering.get(key)?.saturating_duration_since(now));
            members.resume(rest, least, now);
            counts.iter().for_each(|(channel, next)| members.resume_count_time(channel, *next));
        }
        self.lingering.clear();
        self.keep_lingering(sequencer);
        reannounce(sequencer);
    }

    /// Lets the store keep which members linger, if it is time.
    pub fn keep_lingering_in_time(&mut self, sequencer: &Sequencer) {
        if self.linger_at.is_some_and(|at| sequencer.now >= at) {
            self.keep_lingering(sequencer);
        }
    }

    /// Lets the store keep which members linger, if that has changed and the store is of this machine alone. Looks again later
    /// while there are members.
    pub fn keep_lingering(&mut self, sequencer: &Sequencer) {
        self.linger_at = None;
        if !sequencer.is_open()
            || sequencer.is_shared()
            || sequencer.sequence.members.is_empty() && self.lingering.is_empty()
        {
            return;
        }
        let (lingering, now) = (sequencer.sequence.members.lingering().into_iter().collect(), sequencer.now);
        if self.lingering != lingering {
            self.lingering = lingering;
            let wall = wall();
            let left = |at: &Instant| at.saturating_duration_since(now).as_millis() as u64; // at most a day
            let kept: Vec<(MemberKey, u64)> =
                self.lingering.iter().map(|(key, at)| (key.clone(), wall.saturating_add(left(at)))).collect();
            sequencer.store.send(StoreCommand::Linger(encode(&kept).into()));
        }
        self.linger_at = Some(now + LINGER);
    }
}

impl StoredHub {
    /// Checks that an event of a member can be retained.
    pub fn check_update(&self, MemberUpdate { channel, id, event, .. }: &MemberUpdate) -> Result<(), Failure> {
        let (channel, key, fields) = (channel.clone(), id.clone(), event.into());
        let draft = Draft { channel, key, retain: Retain::Newest, fields, ..Draft::default() };
        self.sequencer.state_change(&draft).map(drop)
    }

    /// Changes the data of a member. Returns false if it is not here.
    pub fn update_member(&mut self, update: MemberUpdate, now: Instant) -> Result<bool, Failure> {
        self.sequencer.now = now;
        let (is_here, announced) = self.sequencer.sequence.update_member(update)?;
        self.announce(announced);
        Ok(is_here)
    }

    /// Applies a change of a stream of the hub in memory, after what was due before. If the store has not begun, the stream was
    /// one of the program before, and ends: its will waits for the store, which has its members.
    pub fn apply(&mut self, stream: StreamId, change: PresenceChange, at: Instant, now: Instant) {
        self.sequencer.now = now;
        if self.sequencer.hub.is_some() || !matches!(change, PresenceChange::Entered(_)) {
            self.run_due(at, usize::MAX);
            let announced = self.sequencer.sequence.apply(stream, change, at, wall());
            self.announce(announced);
        }
    }

    /// Lets members leave that have lingered, and publishes numbers that have changed.
    pub(super) fn run_members(&mut self) {
        self.run_due(self.sequencer.now, STEPS);
    }

    /// Does what is due, in so many steps at most. Each is announced before the next one: the store has a will before its
    /// member's leave.
    fn run_due(&mut self, now: Instant, steps: usize) {
        for _ in 0..steps {
            let mut left = 1;
            let announced = self.sequencer.sequence.run_due(now, &mut left);
            self.announce(announced);
            if left > 0 {
                break;
            }
        }
    }

    /// Asks the store for what follows when members have changed.
    fn announce(&mut self, announced: Vec<Announcement>) {
        for announcement in announced {
            let is_number = announcement.statement == Statement::Number;
            let draft = Draft::of_announcement(announcement, None);
            if is_number {
                self.members.publish_number(draft, &mut self.sequencer);
            } else {
                self.wills.keep(draft, TOO_MANY);
                self.store_wills();
            }
        }
        self.members.announce_changes(&mut self.sequencer);
    }
}

/// Asks the store for what waits of a member.
fn ask_store(key: &MemberKey, sequencer: &mut Sequencer) {
    while let Some((announcement, kept)) =
        sequencer.is_open().then(|| sequencer.sequence.members.next_request(key)).flatten()
    {
        let draft = Draft::of_announcement(announcement, kept);
        match sequencer.state_change(&draft) {
            Ok(state) => {
                let waiting = WaitingDraft::new(Purpose::Member(key.clone()), None);
                return sequencer.append(draft, waiting.with_state(state));
            }
            Err(_) => sequencer.sequence.members.refuse_request(key),
        }
    }
}

/// Asks the store for what it is to have of these members.
pub fn ask_for(keys: &[MemberKey], sequencer: &mut Sequencer) {
    keys.iter().for_each(|key| ask_store(key, sequencer));
}

/// Announces all members again, of which the store may not know.
pub fn reannounce(sequencer: &mut Sequencer) {
    ask_for(&sequencer.sequence.members.reannounce(), sequencer);
}

/// Called when the store has answered a request of a member.
pub fn take_answer(key: &MemberKey, failure: Option<&Failure>, sequencer: &mut Sequencer) {
    match failure.map(|failure| failure.code) {
        None => sequencer.sequence.members.confirm_request(key),
        Some(ErrorCode::Invalid | ErrorCode::Unsupported) => sequencer.sequence.members.refuse_request(key),
        // Full is the store. That of the state was found before the store was asked.
        Some(code) => {
            if sequencer.sequence.members.fail_request(key, matches!(code, ErrorCode::Full | ErrorCode::Unavailable)) {
                return sequencer.retry_later();
            }
        }
    }
    ask_store(key, sequencer);
}

/// Applies what an entry says of a member, if it does.
pub fn apply_entry(draft: &Draft, origin: EntryOrigin, sequencer: &mut Sequencer) {
    if draft.member == MemberPart::None {
        return;
    }
    let here = draft.member.kept().map(|kept| (kept.clone(), Unsequenced::of(draft.fields.fields().iter())));
    let (key, now) = (draft.member_key(), sequencer.now);
    sequencer.sequence.members.apply_entry(&key, here, origin, now);
    if origin == EntryOrigin::Other {
        ask_store(&key, sequencer);
    }
}
