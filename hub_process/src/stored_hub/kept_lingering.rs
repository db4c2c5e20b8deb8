//! The members that linger, as a store of one machine keeps them: a process that begins after this one was killed lets them
//! leave when they would have left.
//!
//! The store keeps times of the system's clock: no other clock continues when a process or the machine ends. A clock that was
//! set back lets no member linger for longer than it would anew, one that was set forward lets it leave at once.

use eventsource_xs::codec::{decode, encode};
use eventsource_xs::hub::{LingeringMember, MemberKey};
use eventsource_xs::runtime::wall;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// What the store was told last, or has told.
#[derive(Debug, Default)]
pub struct KeptLingering {
    kept: HashMap<MemberKey, Instant>,
}

impl KeptLingering {
    /// Returns what a store has kept. What cannot be read is of another version: then nobody has lingered.
    pub fn of_store(bytes: &[u8], now: Instant) -> Self {
        let wall = wall();
        let leaves_at = |at: u64| now.checked_add(Duration::from_millis(at.saturating_sub(wall))).unwrap_or(now);
        let kept: Vec<(MemberKey, u64)> = decode(bytes).unwrap_or_default();
        Self { kept: kept.into_iter().map(|(key, at)| (key, leaves_at(at))).collect() }
    }

    /// Returns true if the store knows of nobody.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Returns for how long a member that has lingered before lingers still.
    pub fn rest(&self, key: &MemberKey, now: Instant) -> Option<Duration> {
        self.kept.get(key).map(|at| at.saturating_duration_since(now))
    }

    /// Takes note of who lingers. Returns what the store is to keep, if that is something else.
    pub fn change(&mut self, lingering: Vec<LingeringMember>, now: Instant) -> Option<Box<[u8]>> {
        let kept = lingering.into_iter().collect();
        if kept == self.kept {
            return None;
        }
        self.kept = kept;
        let wall = wall();
        let left = |at: &Instant| at.saturating_duration_since(now).as_millis() as u64; // at most a day
        let kept: Vec<_> = self.kept.iter().map(|(key, at)| (key.clone(), wall.saturating_add(left(at)))).collect();
        Some(encode(&kept).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_lingers_for_the_rest_of_its_time_in_a_later_process() {
        let now = Instant::now();
        let seconds = Duration::from_secs;
        let [room, ann, bob] = [&b"room"[..], b"ann", b"bob"].map(Box::<[u8]>::from);
        let mut lingering = KeptLingering::default();
        let here = |id: &[u8], left| ((Box::from(&b"room"[..]), Box::from(id)), now + seconds(left));
        let bytes = lingering.change(vec![here(b"ann", 20), here(b"bob", 0)], now).expect("it has changed");
        assert_eq!(lingering.change(vec![here(b"bob", 0), here(b"ann", 20)], now + seconds(5)), None);
        let later = KeptLingering::of_store(&bytes, now);
        let rest = later.rest(&(room.clone(), ann), now + seconds(5)).expect("it has lingered");
        assert!(rest > seconds(10) && rest <= seconds(15), "{rest:?}");
        assert_eq!(later.rest(&(room.clone(), bob), now + seconds(5)), Some(Duration::ZERO));
        assert_eq!(later.rest(&(room, b"cid"[..].into()), now), None);
        assert!(lingering.change(Vec::new(), now).is_some());
        for damaged in [&bytes[..bytes.len() - 1], &[255; 30]] {
            KeptLingering::of_store(damaged, now);
        }
    }
}
