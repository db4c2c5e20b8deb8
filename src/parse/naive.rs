//! A naive parser of a whole stream, written directly from the standard's text. The tests compare the parser with it.

use super::Event;

/// The result of a whole stream: its events, the last event ID and the reconnection time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) events: Vec<Event>,
    pub(super) last_event_id: String,
    pub(super) retry: Option<u64>,
}

/// Parses a whole stream as WHATWG HTML 9.2.6 says.
pub(super) fn parse(stream: &[u8]) -> Parsed {
    let text = String::from_utf8_lossy(stream);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<&str> = text.split('\n').collect();
    lines.pop(); // not terminated

    let mut parsed = Parsed::default();
    let (mut data, mut event, mut id) = (String::new(), String::new(), String::new());
    for line in lines {
        if line.is_empty() {
            parsed.last_event_id = id.clone();
            if !data.is_empty() {
                parsed.events.push(Event {
                    event: if event.is_empty() { "message".into() } else { event.clone() },
                    data: data.strip_suffix('\n').unwrap().into(),
                    last_event_id: id.clone(),
                });
            }
            data.clear();
            event.clear();
            continue;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => event = value.into(),
            "data" => data += &format!("{value}\n"),
            "id" if !value.contains('\0') => id = value.into(),
            "retry" if !value.is_empty() && value.chars().all(|c| c.is_ascii_digit()) => {
                parsed.retry = Some(value.parse().unwrap_or(u64::MAX));
            }
            _ => {}
        }
    }
    parsed
}
