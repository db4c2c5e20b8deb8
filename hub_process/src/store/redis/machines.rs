//! The machines that have members: the lifetime of this one, and the members of those whose lifetime has ended.
//!
//! A machine here is what a process is on one connection. After each reconnection Redis may have lost what this process has
//! told it, so it takes another name, and its hub announces its members again. The lifetime of a former name ends by itself,
//! and with it whatever is said wrongly of it. If the hub says that a member is here or has gone, the member loses all former
//! names. Otherwise it would leave only when their lifetimes have ended. A machine renews its lifetime as long as it has
//! members and reaches Redis.
//!
//! An upgrade is no such reconnection, because Redis has lost nothing. So the next program knows the former names, the machines
//! whose lifetime has ended, and since when ([`MachineState`]). If each program began with that anew, no member of a dead
//! machine would leave while upgrades follow each other.
//!
//! Redis' clock decides whether a lifetime has ended. The script that removes a machine from a member looks again, so a machine
//! that has come back keeps its members.

use super::super::{DeadMachine, Draft, MachineState, MemberPart};
use super::answer_size::AnswerSize;
use super::connection::{CallError, RedisConnection};
use super::epoch::StreamKeys;
use super::scripts;
use super::state::{self, scan_command, Scanned};
use super::ANSWER;
use eventsource_xs::hub::Retain;
use redis::{cmd, from_redis_value};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::mem;
use std::time::{Duration, Instant};

/// The time for which a lifetime lasts. Tests have less time.
pub const LIFETIME: Duration = if cfg!(test) { Duration::from_secs(3) } else { Duration::from_secs(8) };
/// The interval at which it is renewed, and Redis is asked for lifetimes that have ended.
const RENEW: Duration = if cfg!(test) { Duration::from_millis(500) } else { Duration::from_secs(2) };
/// The time after the end of a lifetime at which its members leave: all lifetimes end if Redis' clock jumps, until they are
/// renewed.
const GRACE: Duration = if cfg!(test) { Duration::from_secs(1) } else { Duration::from_secs(3) };
/// The lifetime of a machine that has ended in order.
const ENDED: i64 = -1;
/// The most former names that a machine knows. The oldest ones go first.
const MOST_FORMER: usize = 32;

/// A machine whose lifetime has ended.
#[derive(Clone, Copy, Debug)]
struct Dead {
    seen: Instant,
    has_ended_in_order: bool,
    /// True if a member still lingers on it, as far as the hash was read.
    is_needed: bool,
}

impl Dead {
    fn new(seen: Instant, has_ended_in_order: bool) -> Self {
        Self { seen, has_ended_in_order, is_needed: true }
    }

    /// Returns when a member leaves that is on no other machine.
    fn due(&self, linger: Duration) -> Instant {
        let rest = if self.has_ended_in_order { linger } else { linger.saturating_sub(LIFETIME) };
        self.seen.checked_add(rest.max(GRACE)).unwrap_or(self.seen + Duration::from_secs(1 << 32))
    }
}

/// A member on a machine whose lifetime has ended, and the event with which it leaves.
pub struct Lapsed {
    pub machine: String,
    pub draft: Draft,
}

/// The answer to [`RENEW_LIFETIMES`](scripts::RENEW_LIFETIMES): true if this machine had a lifetime, the time by Redis' clock,
/// and the ends of all lifetimes.
type Lifetimes = (bool, i64, String);

pub struct Machines {
    producer: String,
    sessions: u16,
    /// The name of this machine on this connection.
    own: String,
    /// True if Redis was told of a member on it.
    has_members: bool,
    /// The name on the connection before, until its lifetime is renewed for the last time.
    before: String,
    /// The names under which Redis may still have members of this machine, separated by blanks: on connections before, and of
    /// programs before an upgrade. Whatever is said of a member replaces them.
    former: String,
    /// True until the first connection if a program before an upgrade has handed over what it knew.
    continues: bool,
    /// True if [`take_state`](Self::take_state) has something new.
    has_changed: bool,
    tended: Option<Instant>,
    /// No member of another machine leaves before: others reconnect, too.
    calm_until: Instant,
    /// The machines that have a lifetime.
    living: HashSet<String>,
    dead: HashMap<String, Dead>,
    removed: Vec<String>,
    /// When the hash is read for members of machines whose lifetime has ended, and how far it was.
    scan_at: Option<Instant>,
    pub cursor: Option<Vec<u8>>,
    /// How much of it is read at once.
    answer: AnswerSize,
}

impl Machines {
    pub fn new(producer: &str) -> Self {
        Self {
            producer: producer.into(),
            sessions: 0,
            own: format!("{producer}0000"),
            has_members: false,
            before: String::new(),
            former: String::new(),
            continues: false,
            has_changed: false,
            tended: None,
            calm_until: Instant::now(),
            living: HashSet::new(),
            dead: HashMap::new(),
            removed: Vec::new(),
            scan_at: None,
            cursor: None,
            answer: AnswerSize::default(),
        }
    }

    /// Continues as the machine that the program before an upgrade was.
    pub fn replace(&mut self, before: MachineState) {
        self.add_former(&before.names);
        self.calm_until = before.calm_until;
        let dead = |DeadMachine { name, seen, has_ended_in_order }| (name, Dead::new(seen, has_ended_in_order));
        self.dead = before.dead.into_iter().map(dead).collect();
        self.continues = self.sessions == 0;
    }

    /// Takes another name. The hub announces its members under it.
    pub fn begin(&mut self) {
        self.sessions = self.sessions.wrapping_add(1);
        let name = format!("{}{:04x}", self.producer, self.sessions); // all names are of one length
        let before = mem::replace(&mut self.own, name);
        if mem::take(&mut self.has_members) {
            self.add_former(&before);
            self.before = before;
        }
        let now = Instant::now();
        self.tended = None;
        if !mem::take(&mut self.continues) {
            self.calm_until = now + LIFETIME;
            self.dead.clear();
        }
        (self.scan_at, self.cursor) = (Some(now), None);
        self.has_changed = true;
    }

    fn add_former(&mut self, names: &str) {
        let all: Vec<&str> = self.former.split_whitespace().chain(names.split_whitespace()).collect();
        self.former = all[all.len().saturating_sub(MOST_FORMER)..].join(" ");
    }

    /// Returns what the program after an upgrade continues with, if that has changed.
    pub fn take_state(&mut self) -> Option<MachineState> {
        let dead = |(name, dead): (&String, &Dead)| DeadMachine {
            name: name.clone(),
            seen: dead.seen,
            has_ended_in_order: dead.has_ended_in_order,
        };
        mem::take(&mut self.has_changed).then(|| MachineState {
            names: format!("{} {}", self.former, self.own),
            calm_until: self.calm_until,
            dead: self.dead.iter().map(dead).collect(),
        })
    }

    /// Returns the name under which a draft is sent, and those that it replaces.
    pub fn names_for(&mut self, draft: &Draft) -> (&str, &str) {
        if matches!(draft.member, MemberPart::Here(_)) && !mem::replace(&mut self.has_members, true) {
            self.tended = None; // it begins to renew the lifetime that the draft gives it
        }
        (&self.own, &self.former)
    }

    /// Renews the lifetime, and looks for others that have ended. Returns false if the lifetime of this machine had ended.
    pub fn tend(&mut self, connection: &mut RedisConnection, keys: &StreamKeys) -> Result<bool, CallError> {
        let now = Instant::now();
        if self.tended.is_some_and(|tended| now < tended + RENEW) {
            return Ok(true);
        }
        self.tended = Some(now);
        let own = if self.has_members { self.own.as_str() } else { "" };
        let Some((had_lifetime, clock, lifetimes)) = self.call(connection, keys, own, "")? else { return Ok(true) };
        self.before.clear();
        if !mem::take(&mut self.removed).is_empty() {
            self.scan_at = Some(now); // what they have said late came after the look before, and before their removal
        }
        let is_lost = self.has_members && !had_lifetime;
        self.has_changed = true;
        self.living.clear();
        for (name, lifetime) in lifetimes.split(' ').filter_map(|word| word.split_once('=')) {
            let Ok(lifetime) = lifetime.parse::<i64>() else { continue };
            if lifetime > clock || name == self.own {
                self.dead.remove(name);
                self.living.insert(name.into());
            } else if let Entry::Vacant(place) = self.dead.entry(name.into()) {
                place.insert(Dead::new(now, lifetime == ENDED));
                self.scan_at = Some(now);
            }
        }
        Ok(!is_lost)
    }

    /// Ends the lifetime: this process ends.
    pub fn end(&mut self, connection: &mut RedisConnection, keys: &StreamKeys) {
        if self.has_members {
            let own = self.own.clone();
            let _ = self.call(connection, keys, &own, "end"); // otherwise it ends by itself
        }
    }

    /// Renews lifetimes; returns nothing if Redis refuses.
    fn call(
        &self,
        connection: &mut RedisConnection,
        keys: &StreamKeys,
        own: &str,
        end: &str,
    ) -> Result<Option<Lifetimes>, CallError> {
        let mut command = cmd("EVAL");
        command.arg(scripts::RENEW_LIFETIMES.as_str()).arg(1).arg(&keys.state).arg(LIFETIME.as_millis() as u64);
        command.arg(own).arg(end).arg(&self.before).arg(&self.removed);
        connection.set_read_timeout(ANSWER)?;
        let [answer] = connection.calls([&command])?;
        Ok(answer.ok().and_then(|answer| from_redis_value(answer).ok()))
    }

    /// Reads a part of the hash, if it is time. Returns members who leave a machine.
    pub fn lapsed(&mut self, connection: &mut RedisConnection, keys: &StreamKeys) -> Result<Vec<Lapsed>, CallError> {
        let now = Instant::now();
        if self.cursor.is_none() && self.scan_at.is_some_and(|at| at <= now) {
            self.scan_at = None;
            self.dead.values_mut().for_each(|dead| dead.is_needed = false);
            self.cursor = Some(b"0".to_vec());
        }
        let Some(cursor) = self.cursor.take() else { return Ok(Vec::new()) };
        connection.set_read_timeout(ANSWER)?;
        let command = scan_command(&keys.state, &cursor, self.answer.ask());
        let [answer] = connection.calls([&command]).inspect_err(|_| _ = self.answer.reduce())?;
        let scanned = answer.ok().and_then(|answer| from_redis_value::<Scanned>(answer).ok());
        let Some((cursor, pairs)) = scanned else {
            self.scan_at = Some(now + RENEW);
            return Ok(Vec::new());
        };
        self.answer.adapt(pairs.len(), state::size(&pairs));
        let mut out = Vec::new();
        for (field, value) in pairs {
            for machine in state::machines(&value) {
                out.extend(self.lapsed_of(machine, &field, &value, now));
            }
        }
        if cursor != b"0" {
            self.cursor = Some(cursor);
            return Ok(out);
        }
        self.dead.retain(|name, dead| {
            if !dead.is_needed {
                self.removed.push(name.clone());
            }
            dead.is_needed
        });
        let is_removed = |name: &&str| self.removed.iter().any(|removed| removed == name);
        self.former = self.former.split(' ').filter(|name| !is_removed(name)).collect::<Vec<_>>().join(" ");
        Ok(out)
    }

    /// Returns the member if its machine has no lifetime, and it has lingered.
    fn lapsed_of(&mut self, machine: &[u8], field: &[u8], value: &[u8], now: Instant) -> Option<Lapsed> {
        let machine = std::str::from_utf8(machine).ok()?;
        if machine == self.own || self.living.contains(machine) {
            return None;
        }
        let dead = self.dead.entry(machine.into()).or_insert_with(|| Dead::new(now, false));
        let (_, Draft { channel, key, member, .. }) = state::event(field, value)?;
        let kept = member.kept()?;
        dead.is_needed = true;
        let due = dead.due(kept.linger).max(self.calm_until);
        if due > now {
            self.scan_at = Some(self.scan_at.map_or(due, |at| at.min(due)));
            return None;
        }
        let (fields, retain, member) = ((&kept.leave).into(), Retain::Forget, MemberPart::Gone);
        self.scan_at.get_or_insert(now + RENEW); // it is removed if nobody is on it then
        Some(Lapsed {
            machine: machine.into(),
            draft: Draft { channel, key, retain, fields, member, ..Draft::default() },
        })
    }
}
