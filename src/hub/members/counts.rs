//! When the number of a channel's members is published.
//!
//! A channel has a number once a member was counted in it. Streams are told of another number at most once in
//! [`COUNT_INTERVAL`]. When nobody is left and that was told, the channel has no number any more.
//!
//! Over a store the number is one for all machines, and what the store has told last is what streams were told. The machine
//! whose members have changed it publishes the next one. The others wait for [`COUNT_RESERVE`]: that machine has perhaps died.

use crate::stream::after;
use crate::wait_list::WaitList;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The shortest time between two numbers of a channel.
pub(super) const COUNT_INTERVAL: Duration = Duration::from_secs(1);

/// The time for which a machine waits until it publishes a number that members of another machine have changed.
const COUNT_RESERVE: Duration = Duration::from_secs(3);

/// The number of a channel's members, as streams were sent it.
#[derive(Clone, Debug)]
pub(super) struct Count {
    /// The last number.
    published: usize,
    /// When another one may be published.
    next: Instant,
}

/// Whose number is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Publisher {
    /// That of this hub alone. What it publishes counts.
    Hub,
    /// That of all machines of a store. What the store tells counts.
    Store,
}

/// The numbers of channels.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    counts: HashMap<Arc<[u8]>, Count>,
    /// When the numbers of channels are looked at again.
    due: WaitList<Arc<[u8]>, Instant>,
}

impl Counts {
    /// Returns true if a channel has a number, which is perhaps still to be published.
    pub(super) fn has(&self, channel: &[u8]) -> bool {
        self.counts.contains_key(channel)
    }

    /// Gives a channel a number, unless it has one.
    pub(super) fn begin(&mut self, channel: Arc<[u8]>, now: Instant) {
        self.counts.entry(channel).or_insert(Count { published: 0, next: now });
    }

    /// Returns the number of a channel that is published now: `number`, if streams were told of another one and the time has
    /// come. Otherwise it is looked at again. A channel that `is_empty`, as was told, has no number any more.
    pub(super) fn take_number(
        &mut self,
        channel: &Arc<[u8]>,
        is_empty: bool,
        number: impl FnOnce() -> usize,
        publisher: Publisher,
        now: Instant,
    ) -> Option<usize> {
        let count = self.counts.get_mut(channel)?;
        if count.next > now {
            let next = count.next;
            self.schedule(channel, next);
            return None;
        }
        let number = number();
        if count.published != number {
            count.next = after(now, COUNT_INTERVAL);
            if publisher == Publisher::Hub {
                count.published = number; // otherwise the store tells it
            }
            let next = count.next;
            self.schedule(channel, next);
            return Some(number);
        }
        if is_empty {
            self.counts.remove(channel);
            self.due.remove(channel);
        }
        None
    }

    /// Takes note that a counted member of a channel has come or gone, as the store has told. This machine has said so, or
    /// another one.
    pub(super) fn note_change(&mut self, channel: &Arc<[u8]>, is_own: bool, now: Instant) {
        if let Some(Count { next, .. }) = self.counts.get(channel) {
            let at = if is_own { *next } else { after(now, COUNT_RESERVE) };
            self.schedule(channel, at);
        }
    }

    /// Takes note of the number that the store has told. It is perhaps that of members who have gone meanwhile, so a number of
    /// a channel without members is looked at, too.
    pub(super) fn note_published(&mut self, channel: Arc<[u8]>, number: usize, now: Instant) {
        if number > 0 || self.has(&channel) {
            let next = after(now, COUNT_INTERVAL);
            self.counts.insert(Arc::clone(&channel), Count { published: number, next });
            self.schedule(&channel, after(next, COUNT_RESERVE));
        }
    }

    /// Looks at the number of a channel at a time, if not before.
    fn schedule(&mut self, channel: &Arc<[u8]>, at: Instant) {
        if self.due.get(channel).map_or(true, |due| at < due) {
            self.due.set(Arc::clone(channel), at);
        }
    }

    /// Takes the first channel whose number is looked at now.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Arc<[u8]>> {
        self.due.take_due(now)
    }

    /// Returns when the first number is looked at.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first()
    }

    /// Returns the numbers that streams were told, and when they may be told of another one.
    pub(super) fn published(&self) -> impl Iterator<Item = (&[u8], usize, Instant)> {
        self.counts.iter().map(|(channel, count)| (&**channel, count.published, count.next))
    }

    /// Returns the number of a channel that streams were told.
    pub(super) fn number(&self, channel: &[u8]) -> Option<usize> {
        Some(self.counts.get(channel)?.published)
    }

    /// Continues with a number that streams were told by another program. It is looked at when they may be told of another one.
    pub(super) fn resume(&mut self, channel: Arc<[u8]>, number: usize, next: Instant) {
        self.counts.insert(Arc::clone(&channel), Count { published: number, next });
        self.schedule(&channel, next);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.due.first().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A channel, and when something happens.
    struct Scene {
        counts: Counts,
        channel: Arc<[u8]>,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let (mut counts, channel, now) = (Counts::default(), Arc::from(&b"lobby"[..]), Instant::now());
            counts.begin(Arc::clone(&channel), now);
            Self { counts, channel, now }
        }

        fn take(&mut self, number: usize, publisher: Publisher, seconds: u64) -> Option<usize> {
            let now = self.now + Duration::from_secs(seconds);
            while self.counts.take_due(now).is_some() {}
            self.counts.take_number(&self.channel, number == 0, || number, publisher, now)
        }

        fn due(&self) -> Option<Duration> {
            self.counts.next_due().map(|due| due - self.now)
        }
    }

    #[test]
    fn a_hub_publishes_a_number_once_in_an_interval_until_nobody_is_left() {
        let mut scene = Scene::new();
        assert_eq!(scene.take(1, Publisher::Hub, 0), Some(1));
        assert_eq!((scene.take(2, Publisher::Hub, 0), scene.due()), (None, Some(COUNT_INTERVAL)));
        assert_eq!(scene.take(2, Publisher::Hub, 1), Some(2));
        assert_eq!(scene.take(2, Publisher::Hub, 2), None);
        assert_eq!((scene.take(0, Publisher::Hub, 3), scene.counts.has(b"lobby")), (Some(0), true));
        assert_eq!(scene.take(0, Publisher::Hub, 4), None);
        assert!(scene.counts.is_empty());
    }

    #[test]
    fn a_number_over_a_store_is_published_again_until_the_store_tells_it() {
        let mut scene = Scene::new();
        for second in 0..3 {
            assert_eq!(scene.take(1, Publisher::Store, second), Some(1));
        }
        scene.counts.note_published(Arc::clone(&scene.channel), 1, scene.now + Duration::from_secs(3));
        assert_eq!(scene.take(1, Publisher::Store, 9), None);
        assert_eq!(scene.due(), None);
        scene.counts.note_change(&scene.channel, false, scene.now + Duration::from_secs(9));
        assert_eq!(scene.due(), Some(Duration::from_secs(9) + COUNT_RESERVE), "the other machine has time");
        scene.counts.note_change(&scene.channel, true, scene.now + Duration::from_secs(9));
        assert_eq!(scene.due(), Some(Duration::from_secs(4)), "this machine has said so: as soon as it may");
    }
}
