//! The settings and the health of the store of a hub process, at the boundary to Perl.

use super::text::RawText;
use crate::codec::Reader;
use crate::store_settings::{names, StoreSettings};
use crate::wire::StoreStatus;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Reads the settings of a store: names and values, each with its length before it (`pack '(V/a*)*'`).
///
/// # Errors
///
/// The wrong setting and the mistake, for a person.
pub(super) fn settings(given: &[u8], publish_timeout: Duration) -> Result<StoreSettings, String> {
    let mut reader = Reader(given);
    let mut texts = Vec::new();
    while !reader.0.is_empty() {
        texts.push(reader.str().map_err(|error| error.to_string())?);
    }
    let pairs: Vec<_> = texts.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    StoreSettings::new(&pairs, publish_timeout)
}

/// Returns the names of the settings of a kind of store, with spaces between. They are empty after the last kind.
#[no_mangle]
extern "C" fn esx_store_names(kind: usize) -> RawText {
    RawText::of(names().nth(kind).unwrap_or_default().as_bytes())
}

/// `ESX_STORE_KIND_MAX`, `ESX_STORE_PLACE_MAX`, `ESX_STORE_ERROR_MAX`
const KIND_MAX: usize = 16;
const PLACE_MAX: usize = 1024;
const ERROR_MAX: usize = 1024;

/// `esx_store_health`
#[repr(C)]
pub(super) struct StoreHealth {
    since: f64,
    lag: f64,
    last_error_age: f64,
    is_up: u64,
    pending: u64,
    events: u64,
    bytes: u64,
    failed: u64,
    reconnects: u64,
    epoch_changes: u64,
    kind_len: usize,
    place_len: usize,
    last_error_len: usize,
    kind: [u8; KIND_MAX],
    place: [u8; PLACE_MAX],
    last_error: [u8; ERROR_MAX],
}

impl Default for StoreHealth {
    fn default() -> Self {
        Self::of(&StoreStatus::default())
    }
}

impl StoreHealth {
    pub(super) fn of(status: &StoreStatus) -> Self {
        let (kind, kind_len) = cut(&status.kind);
        let (place, place_len) = cut(&status.place);
        let (last_error, last_error_len) = cut(&status.last_error);
        Self {
            since: in_seconds(status.since),
            lag: in_seconds(status.lag),
            last_error_age: error_age(status),
            is_up: status.is_up.into(),
            pending: status.pending,
            events: status.events,
            bytes: status.bytes,
            failed: status.failed,
            reconnects: status.reconnects,
            epoch_changes: status.epoch_changes,
            kind_len,
            place_len,
            last_error_len,
            kind,
            place,
            last_error,
        }
    }
}

/// Returns names and values of a store's health, as the Perl side shows them. Without an error, its text is empty.
pub(super) fn texts_of(status: &StoreStatus) -> Vec<(&'static str, String)> {
    let seconds = |milliseconds| format!("{:.3}", in_seconds(milliseconds));
    vec![
        ("kind", status.kind.to_string()),
        ("place", status.place.to_string()),
        ("up", u8::from(status.is_up).to_string()),
        ("since", seconds(status.since)),
        ("lag", seconds(status.lag)),
        ("pending", status.pending.to_string()),
        ("events", status.events.to_string()),
        ("bytes", status.bytes.to_string()),
        ("failed", status.failed.to_string()),
        ("reconnects", status.reconnects.to_string()),
        ("epoch_changes", status.epoch_changes.to_string()),
        ("last_error", status.last_error.to_string()),
        ("last_error_age", format!("{:.3}", error_age(status))),
    ]
}

/// Returns the seconds since the last error.
fn error_age(status: &StoreStatus) -> f64 {
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(status.last_error_at));
    let age = at.and_then(|at| SystemTime::now().duration_since(at).ok());
    age.unwrap_or_default().as_secs_f64()
}

fn in_seconds(milliseconds: u64) -> f64 {
    Duration::from_millis(milliseconds).as_secs_f64()
}

/// Returns as much of a text as fits, up to the end of a character, and its length.
fn cut<const MAX: usize>(text: &str) -> ([u8; MAX], usize) {
    let len = (0..=MAX.min(text.len())).rev().find(|&len| text.is_char_boundary(len)).unwrap_or(0);
    let mut bytes = [0; MAX];
    bytes[..len].copy_from_slice(&text.as_bytes()[..len]);
    (bytes, len)
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_long_text_is_cut_at_the_end_of_a_character() {
        assert_eq!(cut::<4>("aéé"), ([b'a', 0xC3, 0xA9, 0], 3));
        assert_eq!(cut::<4>("abcd"), (*b"abcd", 4));
        assert_eq!(cut::<4>(""), ([0; 4], 0));
    }
}
