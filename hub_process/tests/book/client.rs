//! A client: it reads what has arrived, and remembers its last id as a browser does.

use crate::trace::{member_of, place, Item, Place, Seen, COUNT};
use crate::world::Socket;
use eventsource_xs::hub::{FINISHED_ID, HUB_EVENT};
use eventsource_xs::parse::Parser;
use std::io::ErrorKind;
use std::time::Instant;

const RETRY: &[u8] = b"retry: ";

/// The word from which on the data of an event only make it large.
pub const PADDING: &str = " padding";

#[derive(Default)]
pub struct Client {
    pub connection: Option<(Socket, Parser)>,
    pub last_id: String,
    pub seen: Seen,
    /// The number of its newest stream.
    pub stream: u64,
    /// True if that is a poll.
    pub polls: bool,
    /// The last bytes, in which a field `retry` may begin.
    pub tail: Vec<u8>,
}

impl Client {
    pub fn note(&mut self, item: Item) {
        self.seen.items.push((Instant::now(), item));
    }

    pub fn open(&mut self, stream: u64, socket: Socket) {
        self.leave();
        self.stream = stream;
        if self.is_finished() {
            self.last_id.clear(); // it is another page
        }
        if self.last_id.is_empty() {
            self.seen.map.clear();
        }
        let after = self.last_id.clone();
        self.note(Item::Opened { stream, after });
        self.connection = Some((socket, Parser::new()));
    }

    /// Returns true if it was told not to come back.
    pub fn is_finished(&self) -> bool {
        self.last_id.as_bytes() == FINISHED_ID
    }

    /// Closes the connection as somebody who closes a page.
    pub fn leave(&mut self) {
        self.read();
        if self.connection.take().is_some() {
            self.note(Item::Left);
        }
    }

    /// Reads everything that has arrived.
    pub fn read(&mut self) {
        let Some((mut socket, mut parser)) = self.connection.take() else { return };
        let mut room = [0; 16 << 10];
        let is_open = loop {
            match socket.read(&mut room) {
                Ok(0) => break false,
                Ok(count) => {
                    parser.feed(&room[..count]).expect("events");
                    while let Some(event) = parser.next_event() {
                        self.take(event.event, event.data, event.last_event_id);
                    }
                    self.tail.extend_from_slice(&room[..count]);
                    if self.tail.windows(RETRY.len()).any(|bytes| bytes == RETRY) {
                        self.note(Item::Retry);
                        self.tail.clear();
                    }
                    self.tail.drain(..self.tail.len().saturating_sub(RETRY.len()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break true,
                Err(_) => break false,
            }
        };
        if is_open {
            self.connection = Some((socket, parser));
        } else {
            self.note(Item::Ended);
        }
    }

    fn take(&mut self, name: String, data: String, id: String) {
        if name == HUB_EVENT {
            return;
        }
        if let Some(push) = data.strip_prefix("push ") {
            let numbers: Vec<u64> = push.split(' ').map(|word| word.parse().expect("a number")).collect();
            return self.note(Item::Push { stream: numbers[0], number: numbers[1] });
        }
        if !id.is_empty() {
            self.last_id.clone_from(&id);
        }
        if self.is_finished() {
            return self.note(Item::Finish);
        }
        let data = data.split(PADDING).next().unwrap_or_default().to_owned();
        let mut words = data.split(' ').skip(1);
        let key = words.next().zip(words.next()).map(|(channel, key)| format!("{channel} {key}"));
        match (&*name, key) {
            ("gap", _) => self.seen.map.clear(),
            ("set", Some(key)) => drop(self.seen.map.insert(key, data.clone())),
            ("forget", Some(key)) => drop(self.seen.map.remove(&key)),
            ("join" | "update", _) => drop(self.seen.map.insert(format!("room {}", member_of(&data)), data.clone())),
            ("leave", _) => drop(self.seen.map.remove(&format!("room {data}"))),
            ("count", _) if data == "0" => drop(self.seen.map.remove(COUNT)), // a state does not have it
            ("count", _) => drop(self.seen.map.insert(COUNT.into(), data.clone())),
            _ => {}
        }
        self.note(match &*name {
            "position" => Item::Position(id),
            "gap" => Item::Gap { id, reason: data },
            _ => Item::Event { id, name, data },
        });
    }

    /// True if its stream has begun: it knows where it is.
    pub fn has_begun(&self) -> bool {
        let items = self.seen.items.iter().rev().map(|(_, item)| item);
        self.connection.is_some()
            && items
                .take_while(|item| !matches!(item, Item::Opened { .. }))
                .any(|item| matches!(item, Item::Position(_) | Item::Gap { .. } | Item::Event { .. }))
    }

    /// True if its stream has begun at this place or later, so that it is not sent the event there.
    pub fn has_begun_after(&self, wanted: &Place) -> bool {
        let begins = self.seen.items.iter().rev().find_map(|(_, item)| match item {
            Item::Opened { .. } => Some(None),
            Item::Position(id) | Item::Gap { id, .. } if !id.is_empty() => Some(Some(place(id))),
            _ => None,
        });
        begins.flatten().is_some_and(|begins| begins.0 == wanted.0 && begins.1 >= wanted.1)
    }

    pub fn has(&self, wanted: &str) -> bool {
        self.seen.items.iter().rev().any(|(_, item)| matches!(item, Item::Event { data, .. } if data == wanted))
    }
}
