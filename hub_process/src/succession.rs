//! Which hub this process serves: the first one, another one in its place, and the one before while that has events that are
//! nowhere else.

use crate::process_log::log_message;
use crate::served_hub::{ServedHub, Source};
use crate::settings::{Precedence, Wanted};
use crate::store::check_built;
use crate::stored_hub::{LastDelivered, Progress, SavedStored, StoredHub};
use eventsource_xs::hub::HubEntry;
use eventsource_xs::remote::calls::Epoll;
use eventsource_xs::remote::Place;
use eventsource_xs::runtime::saved_reactor::{Restored, SavedHub};
use eventsource_xs::runtime::{self, HubHandle};
use eventsource_xs::saved;
use eventsource_xs::wire::{Failure, HubSettings, NamedSettings};
use std::error::Error;
use std::io;
use std::time::{Duration, Instant};

/// The hub that is served, and what decides which it is.
pub struct Succession {
    place: Place,
    precedence: Precedence,
    hub: Option<ServedHub>,
    /// The hub in whose place that one is, until its store has begun. It has events that are nowhere else.
    predecessor: Option<ServedHub>,
    /// Why the store has not begun, if it still tries to.
    cannot_begin: Option<Failure>,
    /// The number of the hub's store in the epoll set.
    number: u64,
}

impl Succession {
    /// Begins without a hub: the first peer decides its settings.
    pub fn new(place: Place, precedence: Precedence, number: u64) -> Self {
        Self { place, precedence, hub: None, predecessor: None, cannot_begin: None, number }
    }

    pub fn hub(&self) -> Option<&ServedHub> {
        self.hub.as_ref()
    }

    pub fn hub_mut(&mut self) -> Option<&mut ServedHub> {
        self.hub.as_mut()
    }

    pub fn stored(&mut self) -> Option<&mut StoredHub> {
        self.hub.as_mut().and_then(ServedHub::stored_mut)
    }

    /// Returns the hub in memory; nothing while the hub does not exist, or its store has not begun.
    pub fn handle(&self) -> Option<&HubHandle> {
        self.hub.as_ref().and_then(ServedHub::handle)
    }

    /// Returns true while the hub's store has not begun.
    pub fn is_beginning(&self) -> bool {
        self.hub.is_some() && self.handle().is_none()
    }

    /// Returns true if a hub before has events that are nowhere else.
    pub fn has_predecessor(&self) -> bool {
        self.predecessor.is_some()
    }

    pub fn precedence(&self) -> &Precedence {
        &self.precedence
    }
}

/// A peer has come.
impl Succession {
    /// Returns the settings that the hub is to have, if it can have them. A command names none.
    pub fn wanted(&self, given: NamedSettings) -> Result<Wanted, Failure> {
        let wanted = self.precedence.wanted(given, self.hub.as_ref().map(|hub| &hub.settings));
        wanted.check(self.hub.as_ref().map(|hub| &hub.claimed))?;
        Ok(wanted)
    }

    /// Gives the hub settings that it can have as it is. Returns false if there must be another one.
    pub fn adopt(&mut self, wanted: &Wanted) -> bool {
        self.hub.as_mut().is_some_and(|hub| hub.adopt(wanted))
    }

    /// Begins the hub: the first one, or another one in the place of one whose settings nobody has named, whose store has
    /// [finished](Self::finish_store). If that fails, the hub before continues.
    pub fn begin(&mut self, wanted: &Wanted, epoll: &Epoll) -> io::Result<()> {
        self.unwatch_store(epoll);
        let before = self.hub.take();
        let claimed = before.as_ref().map(|before| before.claimed.clone()).unwrap_or_default();
        match ServedHub::new(&self.place, wanted.all.clone(), wanted.named.clone().or(claimed)) {
            Ok(next) => {
                (self.hub, self.cannot_begin) = (Some(next), None);
                self.predecessor = before.filter(ServedHub::has_own_events).or(self.predecessor.take());
                self.watch_store(epoll)
            }
            Err(error) => {
                self.hub = before;
                self.stored().map_or(Ok(()), StoredHub::restart)?;
                self.watch_store(epoll)?;
                Err(error)
            }
        }
    }

    /// Takes note of settings that a peer has named for the hub, as it is now.
    pub fn remember(&mut self, named: &NamedSettings) {
        self.precedence.remember(named);
    }
}

/// The hub's store has begun, or has not.
impl Succession {
    /// Publishes the events of the hub before to the hub in its place, once that has begun, and ends its streams. Returns true
    /// when the hub has these events: a stream that subscribes before that would be sent them as new ones.
    pub fn succeed(&mut self, now: Instant) -> bool {
        if self.handle().is_none() {
            return false;
        }
        if let (Some(before), Some(hub)) = (self.predecessor.take(), &mut self.hub) {
            match before.handle().map_or(Ok(Vec::new()), HubHandle::entries) {
                Ok(events) if hub.takes_events_of_before(runtime::stats().opened > 0) => hub.take_events(events, now),
                Ok(events) => log_left_out(&events),
                Err(error) => log_message(&format!("the events of before are lost: {error}")),
            }
        }
        let is_ready = self.handle().is_some();
        if is_ready {
            self.cannot_begin = None;
        }
        is_ready
    }

    /// Takes note of why the store has not begun. It tries again.
    pub fn note_cannot_begin(&mut self, failure: Failure) {
        self.cannot_begin = Some(failure);
    }

    /// Returns why the store has not begun, if it still tries to.
    pub fn cannot_begin(&self) -> Option<&Failure> {
        self.cannot_begin.as_ref()
    }

    /// Returns to the hub before, if there is one, because the store of the hub in its place cannot begin. Without one the next
    /// peer begins a hub.
    pub fn return_to_predecessor(&mut self, epoll: &Epoll) {
        if self.stored().is_some_and(|stored| !stored.is_ready()) {
            self.unwatch_store(epoll);
            (self.hub, self.cannot_begin) = (self.predecessor.take(), None);
        }
    }

    /// Applies what the reactor has reported of streams with members and wills, if a store has the order of events.
    pub fn take_presence(&mut self, now: Instant) {
        self.hub.iter_mut().for_each(|hub| hub.take_presence(now));
    }

    /// Ends the store, if there is one, when it has the wills of the streams: these have ended, or do so with the hub. Returns
    /// what has become of those who wait for it; the hub is not ready afterwards.
    pub fn finish_store(&mut self, within: Duration) -> Progress {
        if self.stored().is_none() {
            return Progress::default();
        }
        let hub = self.hub.as_mut().filter(|hub| hub.handle().is_some());
        let _ = hub.map(|hub| hub.take_all_presence(Instant::now())); // fails only if the reactor has died, with its wills
        self.stored().map(|stored| stored.finish(within)).unwrap_or_default()
    }

    /// Waits for the reports of the hub's store from here on.
    pub fn watch_store(&mut self, epoll: &Epoll) -> io::Result<()> {
        let number = self.number;
        self.stored().map_or(Ok(()), |stored| epoll.add(stored.descriptor(), number))
    }

    pub fn unwatch_store(&mut self, epoll: &Epoll) {
        self.stored().into_iter().for_each(|stored| epoll.remove(stored.descriptor()));
    }
}

/// The state that another program needs to continue with the hub.
#[derive(Debug)]
pub struct SavedServed {
    handle: SavedHub,
    settings: HubSettings,
    claimed: NamedSettings,
    stored: Option<SavedStored>,
}

saved!(SavedServed { handle, settings, claimed, stored });

impl SavedServed {
    /// Checks that this program was built with the store of the hub. Fails with the reason.
    pub fn check_store(&self) -> Result<(), String> {
        check_built(&self.settings.store)
    }
}

impl Succession {
    /// Returns what another program needs to continue with the hub, if that has begun.
    pub fn saved(&self) -> Option<SavedServed> {
        let hub = self.hub.as_ref()?;
        let (stored, members) = match &hub.source {
            Source::Own(_) => (None, None),
            Source::Stored(stored) => (Some(stored.saved()?), stored.members()),
        };
        let handle = hub.handle()?.saved(members)?;
        Some(SavedServed { handle, settings: hub.settings.clone(), claimed: hub.claimed.clone(), stored })
    }

    /// Continues with the hub of another program.
    pub fn restore(&mut self, saved: SavedServed, restored: &Restored, epoll: &Epoll) -> Result<(), Box<dyn Error>> {
        let SavedServed { mut handle, settings, claimed, stored } = saved;
        let source = match stored {
            None => Source::Own(restored.hub(handle)),
            Some(stored) => {
                let (members, seen) = (handle.take_members(), LastDelivered::open(&self.place.seen()));
                let hub = (restored.hub(handle), members);
                Source::Stored(Box::new(StoredHub::restore(stored, &settings, self.place.name(), seen, hub)?))
            }
        };
        self.hub = Some(ServedHub { settings, claimed, source });
        Ok(self.watch_store(epoll)?)
    }
}

/// Logs which events are not in the store of the hub that has begun in the place of another one.
fn log_left_out(events: &[HubEntry]) {
    if !events.is_empty() {
        log_message(&format!(
            "{} events of before are not in the store, for it has events of other machines, whose clients would receive them \
             as new ones: clients receive a gap, and what is retained is to be published again",
            events.len()
        ));
    }
}

#[cfg(all(test, feature = "file"))]
mod tests {
    use super::*;
    use crate::publishing::{Asker, Published};
    use crate::run_options::RunOptions;
    use eventsource_xs::event::{Field, Text};
    use eventsource_xs::hub::{Publication, Retain};
    use eventsource_xs::wire::{FieldList, FileSettings, FileSync, Name, StoreSettings};
    use std::path::PathBuf;
    use std::thread;

    const DEADLINE: Duration = Duration::from_secs(20);

    struct Scene {
        folder: PathBuf,
        epoll: Epoll,
        succession: Succession,
    }

    impl Scene {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("eventsource-succession-{}-{name}", std::process::id()));
            std::fs::create_dir(&folder).expect("a new folder");
            let place = Place::new(Name::new("shop").expect("a name"), Some(&folder.join("s"))).expect("a place");
            let (idle_exit, grace, store, metrics) = (None, None, None, None);
            let options = RunOptions { place, idle_exit, grace, store, metrics, logs_objects: false };
            let precedence = Precedence::of(&options, NamedSettings::default());
            let succession = Succession::new(options.place, precedence, 4);
            Self { folder, epoll: Epoll::new().expect("a descriptor"), succession }
        }

        fn store_in(&self, file: &str) -> NamedSettings {
            let path = self.folder.join(file).to_str().expect("text").into();
            let store = Some(StoreSettings::File(FileSettings { path, sync: FileSync::Event }));
            NamedSettings { store, ..NamedSettings::default() }
        }

        /// Begins a hub for a peer that names these settings.
        fn begin(&mut self, named: NamedSettings) {
            let wanted = self.succession.wanted(named).expect("settings that agree");
            assert!(!self.succession.adopt(&wanted), "another hub is needed");
            self.succession.finish_store(DEADLINE);
            self.succession.begin(&wanted, &self.epoll).expect("a hub");
            assert!(self.succession.adopt(&wanted), "the hub has these settings");
        }

        /// Publishes an event to a hub without a store.
        fn publish(&mut self, data: &str) {
            let fields = FieldList::of([Field::Data(Text::from(data))]);
            let (channel, key, retain, once) = (&b"news"[..], &b""[..], Retain::No, &b""[..]);
            let event = Publication { channel, key, retain, once, fields: fields.fields() };
            let hub = self.succession.hub_mut().expect("a hub");
            let asker = Asker { peer: 0, request: 0, bytes: 0, since: None };
            let published = hub.publish(event, asker, Instant::now());
            assert!(matches!(published, Ok(Published::Id(_))));
        }

        /// Takes reports of the store until one of them has what is asked for.
        fn wait_for(&mut self, what: impl Fn(&Progress) -> bool) -> Progress {
            let until = Instant::now() + DEADLINE;
            loop {
                let progress = self.succession.stored().expect("a store").take_reports(Instant::now());
                if what(&progress) {
                    return progress;
                }
                assert!(Instant::now() < until, "{progress:?}");
                thread::sleep(Duration::from_millis(1));
            }
        }

        fn events(&self) -> usize {
            self.succession.handle().expect("a hub").entries().expect("entries").len()
        }
    }

    impl Drop for Scene {
        fn drop(&mut self) {
            self.succession.finish_store(DEADLINE);
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }

    #[test]
    fn the_events_of_a_hub_move_to_the_one_in_its_place_when_its_store_has_begun() {
        let mut scene = Scene::new("move");
        scene.begin(NamedSettings::default());
        assert!(scene.succession.succeed(Instant::now()) && !scene.succession.is_beginning());
        scene.publish("one");
        // Two hubs follow before a store has begun. The first one's reports are read when it ends.
        scene.begin(scene.store_in("first.db"));
        let other = NamedSettings { gap_event: Some("lost".into()), ..scene.store_in("first.db") };
        scene.begin(other);
        assert!(scene.succession.is_beginning());
        assert!(!scene.succession.succeed(Instant::now()), "its store has not begun");
        assert!(scene.succession.has_predecessor());
        scene.wait_for(|progress| progress.is_ready);
        assert!(!scene.succession.succeed(Instant::now()), "it has not the events yet");
        assert!(!scene.succession.has_predecessor());
        scene.wait_for(|progress| progress.is_ready);
        assert!(scene.succession.succeed(Instant::now()));
        assert_eq!(scene.events(), 1);
    }

    #[test]
    fn the_hub_before_continues_if_the_store_of_the_next_one_cannot_begin() {
        let mut scene = Scene::new("return");
        scene.begin(NamedSettings::default());
        scene.publish("one");
        scene.begin(scene.store_in("missing/events.db"));
        let progress = scene.wait_for(|progress| progress.cannot_begin.is_some());
        assert!(progress.cannot_begin.is_some_and(|(_, retries)| !retries));
        scene.succession.return_to_predecessor(&scene.epoll);
        assert_eq!((scene.succession.is_beginning(), scene.succession.has_predecessor()), (false, false));
        assert_eq!(scene.events(), 1);
        // A peer that names another store is not refused: nobody has claimed the one that could not begin.
        scene.begin(scene.store_in("events.db"));
        assert!(scene.succession.has_predecessor());
    }

    #[test]
    fn why_a_store_has_not_begun_is_known_until_it_has_or_another_hub_comes() {
        let failure = || Failure::new(eventsource_xs::ErrorCode::Unavailable, None, "it is away");
        let mut scene = Scene::new("reason");
        scene.begin(scene.store_in("events.db"));
        scene.succession.note_cannot_begin(failure());
        assert_eq!(scene.succession.cannot_begin(), Some(&failure()));
        scene.wait_for(|progress| progress.is_ready);
        assert!(scene.succession.succeed(Instant::now()));
        assert_eq!(scene.succession.cannot_begin(), None);
        scene.succession.note_cannot_begin(failure());
        let other = NamedSettings { gap_event: Some("lost".into()), ..scene.store_in("events.db") };
        scene.begin(other);
        assert_eq!(scene.succession.cannot_begin(), None);
    }
}
