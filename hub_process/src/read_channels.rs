//! Which channels were read: a publish to a misspelt hub or channel is a line of the log.
//!
//! To publish without a reader is normal: publishers start before readers, and `user/7` is away. So only these are logged,
//! once:
//!
//! - a publish to a hub that nobody has used before or read since, while another hub of this user runs beside it, or of root if
//!   another user has a hub of that name
//! - a publish to a channel if no name with this beginning was read, up to the first character that is not a letter (`user` of
//!   `user/7`), other channels were, and clients have had the time to come back to a new process
//!
//! At most [`MOST_LINES`] beginnings are logged, and none if streams follow patterns that may mean any, or if names have no
//! common beginnings.

use eventsource_xs::hub::Topic;
use eventsource_xs::remote::foreign;
use eventsource_xs::wire::Name;
use std::collections::HashSet;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The most channels that are logged.
const MOST_LINES: usize = 10;
/// The most beginnings of names that are known.
const MOST_BEGINNINGS: usize = 1000;
/// The time that clients may take to come back, and the shortest interval between searches for other hubs.
const PAUSE: Duration = Duration::from_secs(10);
/// With these begin the names of the library's own channels.
const OWN: [&[u8]; 2] = [b"\0", b"EventSource::"];

/// The names that were read since this process has begun.
#[derive(Debug)]
pub struct ReadChannels {
    /// The beginnings of the names that were read or logged.
    beginnings: HashSet<Box<[u8]>>,
    was_read: bool,
    /// When to look for other hubs, beside this socket. None if the hub was used before, was read or is logged.
    looks_at: Option<(Instant, PathBuf)>,
    /// The number of channels that may still be logged.
    lines_left: usize,
    began: Instant,
}

impl ReadChannels {
    /// Begins with those of a new process. Of a socket that has not the name of its hub, as the application has chosen it, a
    /// process with another name refuses its peers.
    pub fn new(hub: &str, socket: &Path, is_new_hub: bool, now: Instant) -> Self {
        let is_by_name = socket.file_stem().is_some_and(|stem| stem == hub);
        let looks_at = (is_new_hub && is_by_name).then(|| (now, socket.to_owned()));
        Self { beginnings: HashSet::new(), was_read: false, looks_at, lines_left: MOST_LINES, began: now }
    }

    /// Watches nothing: of a process that was upgraded the names are not known.
    pub fn unknown(now: Instant) -> Self {
        Self { lines_left: 0, ..Self::new("", Path::new(""), false, now) }
    }

    /// Takes note of what a stream subscribes to.
    pub fn note(&mut self, topics: &[Topic]) {
        (self.was_read, self.looks_at) = (true, None);
        for topic in topics {
            if self.lines_left == 0 {
                break; // none is logged any more
            }
            let (Topic::Channel(name) | Topic::Pattern(name)) = topic;
            let beginning = beginning_of(name);
            if matches!(topic, Topic::Pattern(_)) && name.get(beginning.len()).is_none_or(|next| *next == b'*') {
                self.lines_left = 0;
            }
            self.add(beginning);
        }
    }

    /// Returns true if a channel that was published to is to be logged.
    pub fn take_unread_channel(&mut self, name: &[u8], now: Instant) -> bool {
        if self.lines_left == 0
            || !self.was_read
            || now < self.began + PAUSE
            || OWN.iter().any(|own| name.starts_with(own))
        {
            return false;
        }
        let is_logged = self.add(beginning_of(name));
        self.lines_left -= usize::from(is_logged);
        is_logged
    }

    /// Returns the names of other hubs of this user if this hub is to be logged, to which an event was published.
    pub fn take_unread_hub(&mut self, now: Instant) -> Option<String> {
        let (at, socket) = self.looks_at.as_mut().filter(|(at, _)| *at <= now)?;
        *at = now + PAUSE;
        let others = others_beside(socket);
        if others.is_empty() {
            return None;
        }
        self.looks_at = None;
        Some(others)
    }

    /// Adds the beginning of a name. Returns true if it is new.
    fn add(&mut self, beginning: &[u8]) -> bool {
        if self.beginnings.contains(beginning) {
            return false;
        }
        if self.beginnings.len() >= MOST_BEGINNINGS {
            self.lines_left = 0;
            return false;
        }
        self.beginnings.insert(beginning.into())
    }
}

/// Returns a name up to the first character that is not a letter.
fn beginning_of(name: &[u8]) -> &[u8] {
    let is_letter = |byte: &u8| byte.is_ascii_alphabetic() || !byte.is_ascii();
    &name[..name.iter().position(|byte| !is_letter(byte)).unwrap_or(name.len())]
}

/// Returns the names of some hubs that listen in the folder of a socket, apart from its own. Before them, if this user is root,
/// come hubs of the same name of other users: a job that root runs publishes to a hub of its own.
fn others_beside(socket: &Path) -> String {
    let entries = socket.parent().and_then(|folder| folder.read_dir().ok()).into_iter().flatten().flatten();
    let is_other = |path: &PathBuf| path != socket && path.extension().is_some_and(|extension| extension == "sock");
    let others = entries.map(|entry| entry.path()).filter(|path| is_other(path) && UnixStream::connect(path).is_ok());
    let names = others.filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()));
    let own_name = socket.file_stem().unwrap_or_default().to_string_lossy();
    let users = Name::new(&own_name).map_or_else(|_| Vec::new(), |name| foreign::users_with(&name));
    let of_users = users.iter().map(|user| format!("{own_name} of {user}"));
    of_users.chain(names).take(3).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn channel(name: &str) -> Topic {
        Topic::Channel(name.as_bytes().into())
    }

    fn pattern(text: &str) -> Topic {
        Topic::Pattern(text.as_bytes().into())
    }

    #[test]
    fn a_channel_is_logged_once_if_no_name_with_its_beginning_was_read() {
        let news = || channel("news");
        let cases: [(&str, Vec<Topic>, &str, &str); 8] = [
            ("nobody reads the hub", vec![], "nwes", ""),
            ("it is read", vec![news()], "news news/7", ""),
            ("it is misspelt", vec![news()], "nwes news nwes", "nwes"),
            ("another user is here", vec![channel("user/8")], "user/7 user-7 user7", ""),
            ("one of a pattern", vec![news(), pattern("user/*")], "user/7 order/7 order/8", "order/7"),
            ("a pattern means any", vec![news(), pattern("**")], "nwes", ""),
            ("a pattern means names that begin so", vec![pattern("new*")], "newsletter", ""),
            ("a channel of the library", vec![news()], "\0EventSourceOutbox EventSource::XMPP/a", ""),
        ];
        for (case, topics, published, logged) in cases {
            let began = Instant::now();
            let mut read = ReadChannels::new("hub", Path::new("/none/hub.sock"), true, began);
            if !topics.is_empty() {
                read.note(&topics);
            }
            let mut take = |now: Instant| -> Vec<&str> {
                let is_logged = |name: &&str| read.take_unread_channel(name.as_bytes(), now);
                published.split(' ').filter(is_logged).collect()
            };
            assert!(take(began + PAUSE / 2).is_empty(), "{case}: clients may still come back");
            assert_eq!(take(began + PAUSE).join(" "), logged, "{case}");
        }
    }

    #[test]
    fn lines_and_memory_are_bounded() {
        let began = Instant::now();
        let name = |number: usize| -> String {
            number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
        };
        let mut read = ReadChannels::new("hub", Path::new("/none/hub.sock"), false, began);
        read.note(&[channel("news")]);
        let logged = (0..100).filter(|number| read.take_unread_channel(name(*number).as_bytes(), began + PAUSE));
        assert_eq!(logged.count(), MOST_LINES);
        let mut read = ReadChannels::new("hub", Path::new("/none/hub.sock"), false, began);
        (0..2 * MOST_BEGINNINGS).for_each(|number| read.note(&[channel(&name(number))]));
        assert_eq!(read.beginnings.len(), MOST_BEGINNINGS);
        assert!(!read.take_unread_channel(b"zzz", began + PAUSE), "the names have no common beginnings");
    }

    #[test]
    fn a_new_hub_is_logged_once_if_another_one_runs_and_nobody_has_read_it() {
        let folder = std::env::temp_dir().join(format!("eventsource-read-{}", std::process::id()));
        std::fs::create_dir(&folder).expect("a new folder");
        let (own, now) = (folder.join("shpo.sock"), Instant::now());
        let mut alone = ReadChannels::new("shpo", &own, true, now);
        std::fs::write(folder.join("dead.sock"), "").expect("a file");
        assert_eq!(alone.take_unread_hub(now), None, "no other one runs");
        let _other = UnixListener::bind(folder.join("shop.sock")).expect("a socket");
        assert_eq!(alone.take_unread_hub(now), None, "it looks seldom");
        assert_eq!(alone.take_unread_hub(now + PAUSE).as_deref(), Some("shop"));
        assert_eq!(alone.take_unread_hub(now + 2 * PAUSE), None, "once");
        assert_eq!(ReadChannels::new("shpo", &own, false, now).take_unread_hub(now), None, "the hub was used before");
        assert_eq!(ReadChannels::new("own", &own, true, now).take_unread_hub(now), None, "the socket is given");
        let mut read = ReadChannels::new("shpo", &own, true, now);
        read.note(&[channel("news")]);
        assert_eq!(read.take_unread_hub(now), None, "the hub was read");
        std::fs::remove_dir_all(&folder).expect("its owner may");
    }
}
