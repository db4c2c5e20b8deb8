//! The log of the process. Each line goes to standard error, and to the file with the last lines. Standard error of a process
//! that a worker has started is `/dev/null`; then the wire thread sends the lines to a worker, which writes them into the log
//! of its server. A descriptor of the worker's would do, but whoever waits for the end of a pipe that the server writes to (a
//! supervisor, a shell) would wait for the end of this process.
//!
//! That never harms the hub: where nobody reads (a closed pipe, a full disk) a message is lost, and a reader that is behind (a
//! full pipe) is not waited for. The next message that is written says how many were lost. With `--log json` each line on
//! standard error is an object.

mod kept_lines;

use eventsource_xs::event::push_json;
use eventsource_xs::per_process;
use eventsource_xs::remote::calls::standard_error;
use kept_lines::{KeptLines, MOST_LINES};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// The most bytes of a message: what a pipe takes at once if it takes anything (PIPE_BUF of Linux), less the words around it.
const MAX_LENGTH: usize = 4096 - 384;
/// The most bytes of a text in an object, as it is written. An object has few texts, so that a line fits in a pipe, too.
const MAX_TEXT: usize = 900;

per_process! {
    /// The number of messages that were lost since the last one that was written.
    static LOST: Mutex<u64> = Mutex::new(0);
    /// The name of the hub if lines are objects.
    static OBJECTS_OF: OnceLock<Box<str>> = OnceLock::new();
    /// The file with the last lines, once this process has one.
    static KEPT: Mutex<Option<KeptLines>> = Mutex::new(None);
    /// The lines that are still to be sent to a worker: the newest ones. None if standard error is read.
    static UNSENT: Mutex<Option<VecDeque<Box<str>>>> = Mutex::new(None);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the last lines in a file from here on. If nobody reads standard error, they are to be [taken](take_unsent), too. A
/// panic is a line.
pub fn keep_lines(path: &Path) {
    *lock(&KEPT) = Some(KeptLines::open(path));
    *lock(&UNSENT) = standard_error::is_unread().then(VecDeque::new);
    if !cfg!(feature = "sim") {
        keep_panics(); // a process of the simulation has no hook of its own
    }
}

fn keep_panics() {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // Whoever panics may have a lock: then there is no line.
        if KEPT.try_lock().is_ok() && UNSENT.try_lock().is_ok() {
            keep_line(&one_line(&format!("a defect of eventsource-hub: {panic}")));
        }
        print(panic);
    }));
}

/// Returns true if there are lines to send. A line of a store's thread may be a second old: until then the wire thread looks.
pub fn has_unsent() -> bool {
    lock(&UNSENT).as_ref().is_some_and(|unsent| !unsent.is_empty())
}

/// Takes the lines that are to be sent to a worker.
pub fn take_unsent() -> VecDeque<Box<str>> {
    lock(&UNSENT).as_mut().map(std::mem::take).unwrap_or_default()
}

/// The value of a field of a line.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue {
    Number(u64),
    Text(Box<str>),
}

impl From<u64> for FieldValue {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for FieldValue {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

/// Writes objects from here on, with the name of the hub.
pub fn write_objects(hub: &str) {
    let _ = OBJECTS_OF.set(hub.into()); // the second call is that of the same process
}

/// Logs a message, as one line.
pub fn log_message(message: &str) {
    log("message", message, &[], &one_line(message));
}

/// Logs what an operator must know, as [`log_message`] does: the name of the event, a message, and the fields.
pub fn log_event(event: &str, message: &str, fields: &[(&'static str, FieldValue)]) {
    log(event, message, fields, &one_line(&text(event, message, fields)));
}

/// Writes why a command fails, whatever becomes of it: then the status says that it has failed.
pub fn print_failure(message: &str) {
    keep_line(&one_line(message));
    let _ = writeln!(io::stderr(), "eventsource-hub: {message}");
}

fn log(event: &str, message: &str, fields: &[(&'static str, FieldValue)], line: &str) {
    keep_line(line);
    let mut lost = lock(&LOST);
    let mut written = String::new();
    if *lost > 0 {
        let message = "messages before this one are lost";
        written = as_written("messages_lost", message, &[("count", (*lost).into())], &format!("{lost} {message}"));
    }
    written += &as_written(event, message, fields, line);
    if cfg!(test) {
        eprint!("{written}"); // shown if the test fails
        return;
    }
    let is_written = standard_error::write_at_once(written.as_bytes());
    *lost = if is_written { 0 } else { *lost + 1 };
}

/// Returns what is written on standard error: an object, or a line.
fn as_written(event: &str, message: &str, fields: &[(&'static str, FieldValue)], line: &str) -> String {
    match OBJECTS_OF.get() {
        Some(hub) => object(event, hub, message, fields),
        None => format!("eventsource-hub: {line}\n"),
    }
}

/// Keeps a line, and has it sent to a worker.
fn keep_line(line: &str) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    if let Some(kept) = &mut *lock(&KEPT) {
        kept.add(&format!("{:.3}\t{line}", since.as_secs_f64()));
    }
    if let Some(unsent) = &mut *lock(&UNSENT) {
        unsent.push_back(line.into());
        if unsent.len() > MOST_LINES {
            unsent.pop_front(); // the file has it
        }
    }
}

fn text(event: &str, message: &str, fields: &[(&'static str, FieldValue)]) -> String {
    let mut line = format!("{message} ({event}");
    for (name, value) in fields {
        let _ = match value {
            FieldValue::Number(number) => write!(line, " {name}={number}"),
            FieldValue::Text(text) => write!(line, " {name}={text:?}"),
        };
    }
    line + ")"
}

/// Returns an object (RFC 8259) and a line feed. With serde_json 1.0 that has 8 lines more, because each text is still measured
/// to fit in a pipe, and the program 19 kB and 4 crates.
fn object(event: &str, hub: &str, message: &str, fields: &[(&'static str, FieldValue)]) -> String {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut line = format!("{{\"time\":{:.3},\"pid\":{}", time.as_secs_f64(), std::process::id());
    for (name, text) in [("hub", hub), ("event", event), ("message", message)] {
        let _ = write!(line, ",\"{name}\":\"{}\"", escaped(text));
    }
    for (name, value) in fields {
        let _ = match value {
            FieldValue::Number(number) => write!(line, ",\"{name}\":{number}"),
            FieldValue::Text(text) => write!(line, ",\"{name}\":\"{}\"", escaped(text)),
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
        push_json(&mut out, character);
    }
    out
}

/// Returns a message as one line, which fits in a pipe: errors have texts of stores.
fn one_line(message: &str) -> String {
    let mut line = String::new();
    for character in message.chars() {
        if line.len() + 10 > MAX_LENGTH {
            break; // an escape has at most 10 bytes
        }
        match character.is_control() {
            true => line.extend(character.escape_default()),
            false => line.push(character),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_line_is_an_object_whatever_its_texts_are() {
        use super::{object, FieldValue};
        let fields = [("error", "a\"b\\c\nd\u{9F}é".into()), ("count", FieldValue::Number(7))];
        let line = object("store_down", "shop", "the store is down", &fields);
        let (_, rest) = line.split_once("\"hub\"").expect("a hub");
        let expected = concat!(
            r#":"shop","event":"store_down","message":"the store is down","#,
            r#""error":"a\"b\\c\nd\u009fé","count":7}"#,
            "\n"
        );
        assert_eq!(rest, expected);
        let long = object("x", "shop", &"\u{1}é".repeat(5000), &[("error", (&*"\\".repeat(9000)).into())]);
        assert!(long.len() < 4096 && long.ends_with("\\\"}\n"), "{}", long.len());
    }

    #[test]
    fn a_message_is_one_line_that_fits_in_a_pipe() {
        use super::one_line;
        assert_eq!(one_line("a\r\nb\u{1b}[1mé"), "a\\r\\nb\\u{1b}[1mé");
        let long = one_line(&"\u{9f}é".repeat(5000));
        assert!(long.len() > 3000 && long.len() + 384 <= 4096, "{}", long.len());
    }
}
