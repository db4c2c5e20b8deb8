//! What the process says on standard error. That never harms the hub: where nobody reads (a closed pipe, a full disk) a message
//! is lost, and a reader that is behind (a full pipe) is not waited for. The next message that is written says how many were
//! lost. With `--log json` each line is an object.

use rustix::event::{poll, PollFd, PollFlags, Timespec};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// The most bytes of a message: what a pipe takes at once if it takes anything (PIPE_BUF of Linux), less the words around it.
const MAX_LENGTH: usize = 4096 - 128;
/// The most bytes of a text in an object, as it is written. An object has few texts, so that a line fits in a pipe, too.
const MAX_TEXT: usize = 900;

const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// How many messages were lost since the last one that was written.
static LOST: Mutex<u64> = Mutex::new(0);

/// The name of the hub if lines are objects.
static OBJECTS_OF: OnceLock<Box<str>> = OnceLock::new();

/// The value of a field of a line.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    Number(u64),
    Text(Box<str>),
}

impl From<u64> for Field {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Field {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

/// Writes objects from here on, with the name of the hub.
pub fn write_objects(hub: &str) {
    let _ = OBJECTS_OF.set(hub.into()); // the second call is that of the same process
}

/// Writes a message as one line, if standard error takes it at once.
pub fn say(message: &str) {
    write(|| match OBJECTS_OF.get() {
        Some(hub) => object("message", hub, message, &[]),
        None => format!("eventsource-hub: {}\n", start_of(message)),
    });
}

/// Writes what an operator must know, as [`say`] does: the name of the event, a message, and the fields.
pub fn report(event: &str, message: &str, fields: &[(&'static str, Field)]) {
    write(|| match OBJECTS_OF.get() {
        Some(hub) => object(event, hub, message, fields),
        None => format!("eventsource-hub: {}\n", start_of(&text(event, message, fields))),
    });
}

/// Writes why a command fails, whatever becomes of it: then the status says that it has failed.
pub fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "eventsource-hub: {message}");
}

fn write(line: impl FnOnce() -> String) {
    let mut lost = LOST.lock().unwrap_or_else(|error| error.into_inner());
    let missing = match (*lost, OBJECTS_OF.get()) {
        (0, _) => String::new(),
        (count, None) => format!("eventsource-hub: {count} messages before this one are lost\n"),
        (count, Some(hub)) => {
            let fields = [("count", Field::Number(count))];
            object("messages_lost", hub, "messages before this one are lost", &fields)
        }
    };
    let line = missing + &line();
    if cfg!(test) {
        eprint!("{line}"); // shown if the test fails
        return;
    }
    let is_written = takes_a_line() && io::stderr().write_all(line.as_bytes()).is_ok();
    *lost = if is_written { 0 } else { *lost + 1 };
}

fn text(event: &str, message: &str, fields: &[(&'static str, Field)]) -> String {
    let mut line = format!("{message} ({event}");
    for (name, value) in fields {
        let _ = match value {
            Field::Number(number) => write!(line, " {name}={number}"),
            Field::Text(text) => write!(line, " {name}={text:?}"),
        };
    }
    line + ")"
}

/// Returns an object (RFC 8259) and a line feed.
fn object(event: &str, hub: &str, message: &str, fields: &[(&'static str, Field)]) -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut line = format!("{{\"time\":{:.3},\"pid\":{}", time.as_secs_f64(), std::process::id());
    for (name, text) in [("hub", hub), ("event", event), ("message", message)] {
        let _ = write!(line, ",\"{name}\":\"{}\"", escaped(text));
    }
    for (name, value) in fields {
        let _ = match value {
            Field::Number(number) => write!(line, ",\"{name}\":{number}"),
            Field::Text(text) => write!(line, ",\"{name}\":\"{}\"", escaped(text)),
        };
    }
    line + "}\n"
}

/// Returns the start of a text as it stands in a string of JSON.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        if out.len() + 6 > MAX_TEXT {
            break;
        }
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\0'..='\x1F' | '\x7F'..='\u{9F}' => out.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => out.push(character),
        }
    }
    out
}

fn start_of(message: &str) -> &str {
    let mut end = message.len().min(MAX_LENGTH);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

fn takes_a_line() -> bool {
    let stderr = io::stderr();
    let mut polled = [PollFd::new(&stderr, PollFlags::OUT)];
    matches!(poll(&mut polled, Some(&AT_ONCE)), Ok(1))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_line_is_an_object_whatever_its_texts_are() {
        use super::{object, Field};
        let fields = [("error", "a\"b\\c\nd\u{9F}é".into()), ("count", Field::Number(7))];
        let line = object("store_down", "shop", "the store is down", &fields);
        let (_, rest) = line.split_once("\"hub\"").expect("a hub");
        let expected = concat!(
            r#":"shop","event":"store_down","message":"the store is down","#,
            r#""error":"a\"b\\c\u000ad\u009fé","count":7}"#,
            "\n"
        );
        assert_eq!(rest, expected);
        let long = object("x", "shop", &"\u{1}é".repeat(5000), &[("error", (&*"\\".repeat(9000)).into())]);
        assert!(long.len() < 4096 && long.ends_with("\\\"}\n"), "{}", long.len());
    }

    #[test]
    fn a_line_of_text_has_the_event_and_the_fields() {
        use super::{text, Field};
        let fields = [("kind", "redis".into()), ("count", Field::Number(7))];
        assert_eq!(text("store_down", "it is down", &fields), "it is down (store_down kind=\"redis\" count=7)");
    }
}
